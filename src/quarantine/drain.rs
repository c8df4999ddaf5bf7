//! What each server on the host needs: a run, patience, or to be reported as a resident.

use jiff::Timestamp;

use super::RUNS_PER_SERVER;
use crate::api::condition::shorten;
use crate::api::condition::{Kind, State, find, is_true};
use crate::api::quarantine::{Resident, ResidentReason};
use crate::api::run::{FailureReason, SUPERSEDED};
use crate::api::{FINALIZER, MigrationRun};
use crate::inventory::{Server, ServerId, ServerStatus};

/// One MigrationRun of this incident, as far as the incident cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFacts {
    /// The server.
    pub server: ServerId,
    /// 1 for the first run of the server in this incident.
    pub ordinal: u32,
    /// Where it stands.
    pub state: RunState,
    /// Bytes that left the source so far, memory and disk, where Nova gave a figure.
    pub transferred_bytes: Option<i64>,
    /// When its first request was written down.
    pub first_intent: Option<Timestamp>,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Nothing is under way.
    Pending,
    /// An attempt was asked for, and Nova has not begun with it.
    Queued,
    /// An attempt is under way.
    Open,
    /// An attempt is under way for longer than its deadline.
    Overdue(String),
    /// The server left at this time.
    Succeeded(Timestamp),
    /// Given up: the reason of the run's Succeeded condition, and the sentence.
    Failed(String, String),
    /// Nothing to do any more.
    Superseded,
    /// A person deleted it before it had ended.
    Deleted,
}

/// The name of the `ordinal`th run of a server in the incident with this UID.
#[must_use]
pub fn run_name(server: ServerId, quarantine_uid: &str, ordinal: u32) -> String {
    let incident: String = quarantine_uid.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    if ordinal <= 1 { format!("{server}-{incident}") } else { format!("{server}-{incident}-{ordinal}") }
}

impl RunFacts {
    /// Reads a run. `None` when its server is no UUID, which the API server does not let through.
    #[must_use]
    pub fn of(run: &MigrationRun, quarantine_uid: &str) -> Option<Self> {
        let server = ServerId(run.spec.server.parse().ok()?);
        let name = run.metadata.name.as_deref().unwrap_or_default();
        let ordinal = (1..=RUNS_PER_SERVER).find(|ordinal| run_name(server, quarantine_uid, *ordinal) == name)?;
        let status = run.status.clone().unwrap_or_default();
        let bytes = status.measured.as_ref().and_then(|measured| measured.transferred_bytes);
        Some(Self {
            server,
            ordinal,
            state: state_of(run),
            transferred_bytes: bytes.map(|bytes| bytes.memory.unwrap_or(0).saturating_add(bytes.disk.unwrap_or(0))),
            first_intent: status.attempts.first().map(|attempt| attempt.intent_at.0),
        })
    }
}

fn state_of(run: &MigrationRun) -> RunState {
    let Some(status) = run.status.as_ref() else {
        return if run.metadata.deletion_timestamp.is_some() { RunState::Deleted } else { RunState::Pending };
    };
    let open = status.attempts.last().is_some_and(|attempt| attempt.ended_at.is_none());
    let verdict = find(&status.conditions, Kind::Succeeded);
    match verdict {
        Some(condition) if condition.status == State::True.as_str() => {
            let ended = status.attempts.last().and_then(|attempt| attempt.ended_at.as_ref()).map_or(condition.last_transition_time.0, |time| time.0);
            RunState::Succeeded(ended)
        }
        Some(condition) if condition.status == State::False.as_str() => match condition.reason.as_str() {
            SUPERSEDED if run.metadata.deletion_timestamp.is_some() && run.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER) => {
                RunState::Deleted
            }
            SUPERSEDED => RunState::Superseded,
            reason => RunState::Failed(reason.to_owned(), condition.message.clone()),
        },
        Some(condition) if open && is_true(&status.conditions, Kind::Stalled) => RunState::Overdue(condition.message.clone()),
        _ if open && status.attempts.last().is_some_and(|attempt| attempt.copying_at.is_none()) => RunState::Queued,
        _ if open => RunState::Open,
        _ if run.metadata.deletion_timestamp.is_some() => RunState::Deleted,
        _ => RunState::Pending,
    }
}

/// What a server on the host needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A run with this ordinal.
    Run(u32),
    /// Patience: its run has not begun, or Nova is busy with it.
    Waiting,
    /// Patience: its run is under way.
    Running,
    /// Nothing will happen by itself.
    Resident(ResidentReason, String),
}

/// What the server needs, given the runs that it had in this incident. `listed_at` is when the list that shows it was begun; `closed` means that the drain's deadline has passed.
pub(super) fn need(server: &Server, runs: &[RunFacts], listed_at: Timestamp, closed: bool) -> Need {
    let latest = runs.iter().filter(|run| run.server == server.id).max_by_key(|run| run.ordinal);
    let Some(run) = latest else { return fresh(server, 1, closed) };
    let again = |closed| {
        if run.ordinal >= RUNS_PER_SERVER {
            let message = format!("it has had {RUNS_PER_SERVER} runs off this host and is here again: something brings it back");
            Need::Resident(ResidentReason::KeepsReturning, message)
        } else {
            fresh(server, run.ordinal + 1, closed)
        }
    };
    match &run.state {
        // Its run has asked for it before, and says in a moment what came of that.
        RunState::Pending if run.first_intent.is_some() && server.status == ServerStatus::Error => Need::Waiting,
        RunState::Pending => match fresh(server, run.ordinal, closed) {
            Need::Run(_) => Need::Waiting,
            other => other,
        },
        RunState::Queued if closed => Need::Resident(
            ResidentReason::Busy,
            "its move was asked for, and Nova had not begun with it when the drain's deadline passed; it is followed to its end".to_owned(),
        ),
        RunState::Queued | RunState::Open => Need::Running,
        RunState::Overdue(message) => Need::Resident(ResidentReason::MoveDeadlineExceeded, message.clone()),
        // A list that was begun before the end was seen does not show a return.
        RunState::Succeeded(ended) if listed_at <= *ended => Need::Running,
        RunState::Succeeded(_) | RunState::Superseded => again(closed),
        RunState::Deleted => Need::Resident(
            ResidentReason::RunDeleted,
            "its MigrationRun was deleted, so it is left alone; to stop a drain, release the HostQuarantine".to_owned(),
        ),
        RunState::Failed(reason, message) => failed(server, reason, message, again(closed)),
    }
}

fn failed(server: &Server, reason: &str, message: &str, again: Need) -> Need {
    let kind = match FailureReason::of(reason) {
        // Somebody repaired it: its state has changed, so it is tried again.
        Some(FailureReason::ErrorAfterAttempt) if server.status != ServerStatus::Error => return again,
        Some(FailureReason::ErrorAfterAttempt) => ResidentReason::ErrorAfterAttempt,
        Some(FailureReason::RecordBehindGuest) => ResidentReason::RecordBehindGuest,
        Some(FailureReason::LeftInError) => return again,
        Some(FailureReason::AttemptsExhausted) | None => ResidentReason::AttemptsExhausted,
    };
    Need::Resident(kind, message.to_owned())
}

/// A server for which nothing is under way.
fn fresh(server: &Server, ordinal: u32, closed: bool) -> Need {
    match (&server.status, server.task_state.as_deref()) {
        (ServerStatus::Active | ServerStatus::Paused, None) if closed => {
            Need::Resident(ResidentReason::DrainDeadlineExceeded, "the drain's deadline passed before it was moved".to_owned())
        }
        (ServerStatus::Active | ServerStatus::Paused, None) => Need::Run(ordinal),
        (ServerStatus::Active | ServerStatus::Paused | ServerStatus::Migrating, task) if closed => {
            Need::Resident(ResidentReason::Busy, format!("Nova has been busy with it ({}) until the drain's deadline passed", task.unwrap_or("migrating")))
        }
        (ServerStatus::Active | ServerStatus::Paused | ServerStatus::Migrating, _) => Need::Waiting,
        (ServerStatus::Error, _) => Need::Resident(
            ResidentReason::ServerInError,
            "it is in ERROR, and not by an attempt of Sidestep's for this quarantine; Sidestep changes nothing about it. It is looked at again when its status changes".to_owned(),
        ),
        (ServerStatus::Shutoff, _) => Need::Resident(
            ResidentReason::StateNotMovable,
            "it is shut off (SHUTOFF): Nova live-migrates only ACTIVE and PAUSED servers. Start it, or migrate it cold: openstack server migrate, then confirm"
                .to_owned(),
        ),
        (ServerStatus::Other(word), _) => Need::Resident(
            ResidentReason::StateNotMovable,
            format!("its status is {word}: Nova live-migrates only ACTIVE and PAUSED servers. It is looked at again when its status changes"),
        ),
    }
}

/// A resident for status.
pub(super) fn resident(server: &Server, reason: ResidentReason, message: &str) -> Resident {
    let name: String = server.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Resident { server: server.id.to_string(), name: shorten(name, 255), reason, message: shorten(message.to_owned(), 512) }
}
