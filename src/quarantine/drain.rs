//! What each server on the host needs: a run, patience, or to be reported as a resident.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::RUNS_PER_SERVER;
use super::facts::PlanSight;
use crate::api::MigrationRun;
use crate::api::condition::shorten;
use crate::api::condition::{Kind, State, find, is_true};
use crate::api::quarantine::{Resident, ResidentReason};
use crate::api::run::{ABORTED, FailureReason, MigrationRunStatus, SUPERSEDED};
use crate::inventory::{Server, ServerId, ServerStatus};

/// The annotation of a run that says which retry it was made after: `status.retry.since` of its quarantine.
pub const RETRY: &str = "sidestep.dev/retry";

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
    /// The digest of the plan that it belongs to; empty for none.
    pub plan: String,
    /// When it was made, by the API server's clock and cut to whole seconds.
    pub created: Timestamp,
    /// The retry that it was made after; absent where there was none, or where a person made it.
    pub retry: Option<Timestamp>,
    /// The ids of Nova's records of its attempts.
    pub rows: Vec<i64>,
    /// The server's status when it was last asked for; absent before the first attempt.
    pub tried_as: Option<String>,
    /// What it waits for, where nothing is under way and more than patience is needed.
    pub wait: Option<Wait>,
}

/// What a run waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// In a word.
    pub reason: ResidentReason,
    /// In a sentence.
    pub message: String,
    /// When it is tried again at the latest, where that is known.
    pub until: Option<Timestamp>,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Nothing is under way.
    Pending,
    /// Nothing is under way: there is no place for the server, and why.
    Unplaced(ResidentReason, String),
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
    let first = first_name(server, quarantine_uid);
    if ordinal <= 1 { first } else { format!("{first}-{ordinal}") }
}

fn first_name(server: ServerId, quarantine_uid: &str) -> String {
    let incident: String = quarantine_uid.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    format!("{server}-{incident}")
}

/// Which run of the server a name is of. `None` for a name that is none of this incident's.
fn ordinal(name: &str, server: ServerId, quarantine_uid: &str) -> Option<u32> {
    match name.strip_prefix(&first_name(server, quarantine_uid))? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse().ok().filter(|ordinal| *ordinal > 1),
    }
}

impl RunFacts {
    /// Reads a run. `None` when its server is no UUID, which the API server does not let through, or its name none of this incident's.
    #[must_use]
    pub fn of(run: &MigrationRun, quarantine_uid: &str) -> Option<Self> {
        let server = ServerId(run.spec.server.parse().ok()?);
        let ordinal = ordinal(run.metadata.name.as_deref().unwrap_or_default(), server, quarantine_uid)?;
        Some(Self::read(run, server, ordinal))
    }

    /// Reads a run that a person made for a server of the host. It goes before the incident's own.
    #[must_use]
    pub fn by_hand(run: &MigrationRun) -> Option<Self> {
        Some(Self::read(run, ServerId(run.spec.server.parse().ok()?), 0))
    }

    fn read(run: &MigrationRun, server: ServerId, ordinal: u32) -> Self {
        let status = run.status.clone().unwrap_or_default();
        let bytes = status.measured.as_ref().and_then(|measured| measured.transferred_bytes);
        Self {
            server,
            ordinal,
            state: state_of(run),
            transferred_bytes: bytes.map(|bytes| bytes.memory.unwrap_or(0).saturating_add(bytes.disk.unwrap_or(0))),
            first_intent: status.attempts.first().map(|attempt| attempt.intent_at.0),
            plan: run.spec.plan.clone(),
            created: run.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0),
            retry: run.annotations().get(RETRY).and_then(|time| time.parse().ok()),
            rows: status.attempts.iter().filter_map(|attempt| attempt.migration_id).collect(),
            tried_as: status.attempts.last().and_then(|attempt| attempt.server_status.clone()),
            wait: wait_of(&status),
        }
    }
}

/// What a run waits for, as it says itself.
fn wait_of(status: &MigrationRunStatus) -> Option<Wait> {
    let reconciling = find(&status.conditions, Kind::Reconciling)?;
    let reason = ResidentReason::of_wait(&reconciling.reason).filter(|_| reconciling.status == State::True.as_str())?;
    Some(Wait { reason, message: reconciling.message.clone(), until: status.next_attempt.as_ref().map(|time| time.0) })
}

fn state_of(run: &MigrationRun) -> RunState {
    let deleted = run.metadata.deletion_timestamp.is_some();
    let Some(status) = run.status.as_ref() else {
        return if deleted { RunState::Deleted } else { RunState::Pending };
    };
    let open = status.attempts.last().is_some_and(|attempt| attempt.ended_at.is_none());
    let verdict = find(&status.conditions, Kind::Succeeded);
    match verdict {
        Some(condition) if condition.status == State::True.as_str() => {
            let ended = status.attempts.last().and_then(|attempt| attempt.ended_at.as_ref()).map_or(condition.last_transition_time.0, |time| time.0);
            RunState::Succeeded(ended)
        }
        Some(condition) if condition.status == State::False.as_str() => match condition.reason.as_str() {
            // What says how an attempt left the server is worth more than that a person deleted it.
            reason if deleted && !is_about_the_server(reason) => RunState::Deleted,
            SUPERSEDED => RunState::Superseded,
            reason => RunState::Failed(reason.to_owned(), condition.message.clone()),
        },
        Some(condition) if open && is_true(&status.conditions, Kind::Stalled) => RunState::Overdue(condition.message.clone()),
        _ if open && status.attempts.last().is_some_and(|attempt| attempt.copying_at.is_none()) => RunState::Queued,
        _ if open => RunState::Open,
        _ if deleted => RunState::Deleted,
        Some(condition) => match [ResidentReason::NoDestination, ResidentReason::PoolFull].into_iter().find(|reason| reason.as_str() == condition.reason) {
            Some(reason) => RunState::Unplaced(reason, condition.message.clone()),
            None => RunState::Pending,
        },
        None => RunState::Pending,
    }
}

/// Whether a run's last reason says something about its server that a person must look at.
fn is_about_the_server(reason: &str) -> bool {
    FailureReason::of(reason).is_some_and(|reason| reason != FailureReason::AttemptsExhausted)
}

/// What a server on the host needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A run with this ordinal.
    Run(u32),
    /// A run with this ordinal, which then waits for an approval of its own.
    LateRun(u32),
    /// Patience: its run has not begun, or Nova is busy with it.
    Waiting,
    /// Patience, and a person should know what it waits for.
    Held(Wait),
    /// Patience: its run is under way.
    Running,
    /// Nothing will happen by itself.
    Resident(ResidentReason, String),
}

/// What the need of a server depends on beside the server and its runs.
pub(super) struct Rules<'a> {
    /// The drain's deadline has passed.
    pub(super) closed: bool,
    /// When a person asked to begin anew: what was tried before counts no more.
    pub(super) retried: Option<Timestamp>,
    /// Whether locked servers move.
    pub(super) moves_locked: bool,
    /// Whether servers that are shut off move.
    pub(super) moves_stopped: bool,
    /// The digests of the plans that count. A run of another one was replaced by a new plan.
    pub(super) plans: Vec<&'a str>,
    /// Where each server would go now; absent while that is not known.
    pub(super) sight: Option<&'a PlanSight>,
    /// Whether a server needs an approval of its own: it is in no plan that was approved.
    pub(super) late: &'a dyn Fn(ServerId) -> bool,
}

impl Rules<'_> {
    /// Whether a run was made before a person asked to begin anew. The times of two clocks, one of them in whole seconds, would not tell: a run says itself which retry it was made after.
    fn is_past(&self, run: &RunFacts) -> bool {
        self.retried.is_some_and(|retried| run.retry.map_or(run.created <= retried, |after| after != retried))
    }

    /// Whether a run was replaced by a new plan before it had begun.
    fn is_replaced(&self, run: &RunFacts) -> bool {
        run.state == RunState::Superseded && !run.plan.is_empty() && !self.plans.contains(&run.plan.as_str())
    }
}

/// What the server needs, given the runs that it had in this incident. `listed_at` is when the list that shows it was begun.
pub(super) fn need(server: &Server, runs: &[RunFacts], listed_at: Timestamp, rules: &Rules<'_>) -> Need {
    let own = || runs.iter().filter(|run| run.server == server.id);
    let Some(run) = own().max_by_key(|run| run.ordinal) else { return begin(server, 1, rules) };
    let again = || {
        let spent = own().filter(|run| !rules.is_past(run) && !rules.is_replaced(run)).count();
        if spent >= usize::try_from(RUNS_PER_SERVER).unwrap_or(usize::MAX) {
            let message = format!("it has had {RUNS_PER_SERVER} runs off this host and is here again: something brings it back");
            Need::Resident(ResidentReason::KeepsReturning, message)
        } else {
            begin(server, run.ordinal.saturating_add(1), rules)
        }
    };
    match &run.state {
        // Its run has asked for it before, and says in a moment what came of that.
        RunState::Pending if run.first_intent.is_some() && server.status == ServerStatus::Error => still_in_error(server, rules),
        RunState::Pending => match fresh(server, run.ordinal, rules) {
            Need::Run(_) if (rules.late)(server.id) => Need::Resident(ResidentReason::ArrivedAfterApproval, LATE.to_owned()),
            Need::Run(_) => match rules.sight.and_then(|sight| sight.unplaced.get(&server.id)) {
                Some((reason, message)) => Need::Resident(*reason, message.clone()),
                None => waiting(run),
            },
            other => other,
        },
        RunState::Unplaced(reason, message) => match fresh(server, run.ordinal, rules) {
            Need::Run(_) => Need::Resident(*reason, message.clone()),
            other => other,
        },
        RunState::Queued if rules.closed => Need::Resident(
            ResidentReason::Busy,
            "its move was asked for, and Nova had not begun with it when the drain's deadline passed; it is followed to its end".to_owned(),
        ),
        RunState::Queued | RunState::Open => Need::Running,
        RunState::Overdue(message) => Need::Resident(ResidentReason::MoveDeadlineExceeded, message.clone()),
        // A list that was begun before the end was seen does not show a return.
        RunState::Succeeded(ended) if listed_at <= *ended => Need::Running,
        RunState::Succeeded(_) | RunState::Superseded => again(),
        RunState::Deleted | RunState::Failed(..) if rules.is_past(run) => again(),
        RunState::Deleted => Need::Resident(
            ResidentReason::RunDeleted,
            "its MigrationRun was deleted, so it is left alone until spec.retryToken changes; to stop a drain, set spec.suspend or spec.abort, or release the HostQuarantine".to_owned(),
        ),
        RunState::Failed(reason, message) => failed(server, run, (reason, message), again()),
    }
}

/// A server that an attempt left in ERROR, before its run has judged it: the run waits until Nova's task with it is over, which may be never.
fn still_in_error(server: &Server, rules: &Rules<'_>) -> Need {
    if !rules.closed {
        return Need::Waiting;
    }
    let task = server.task_state.as_deref().unwrap_or("none");
    let message = format!("it is in ERROR after an attempt, and Nova's task with it ({task}) was not over when the drain's deadline passed");
    Need::Resident(ResidentReason::ErrorAfterAttempt, message)
}

/// A run of which nothing is under way: it waits for its turn, or for something that a person should know of.
fn waiting(run: &RunFacts) -> Need {
    run.wait.clone().map_or(Need::Waiting, Need::Held)
}

/// Whether the server would be moved, and nothing is under way for it.
pub(super) fn is_to_be_moved(server: &Server, runs: &[RunFacts], listed_at: Timestamp, rules: &Rules<'_>) -> bool {
    let latest = runs.iter().filter(|run| run.server == server.id).max_by_key(|run| run.ordinal);
    match need(server, runs, listed_at, rules) {
        Need::Run(_) => true,
        Need::Waiting | Need::Held(_) => latest.is_some_and(|run| run.state == RunState::Pending) && matches!(fresh(server, 1, rules), Need::Run(_)),
        Need::Resident(..) => latest.is_some_and(|run| matches!(run.state, RunState::Unplaced(..))) && matches!(fresh(server, 1, rules), Need::Run(_)),
        Need::LateRun(_) | Need::Running => false,
    }
}

/// What follows from a run that was given up, for this reason and with this sentence.
fn failed(server: &Server, run: &RunFacts, (reason, message): (&str, &str), again: Need) -> Need {
    let kind = match FailureReason::of(reason) {
        // Somebody repaired it: its state has changed, so it is tried again.
        Some(FailureReason::ErrorAfterAttempt | FailureReason::ErrorAfterAbort) if server.status != ServerStatus::Error => return again,
        Some(FailureReason::ErrorAfterAttempt) => ResidentReason::ErrorAfterAttempt,
        Some(FailureReason::ErrorAfterAbort) => ResidentReason::ErrorAfterAbort,
        Some(FailureReason::RecordBehindGuest) => ResidentReason::RecordBehindGuest,
        Some(FailureReason::LeftInError) => return again,
        Some(FailureReason::AttemptsExhausted) if has_changed(server, run) && !matches!(again, Need::Resident(ResidentReason::KeepsReturning, _)) => {
            return again;
        }
        None if reason == ABORTED => return Need::Resident(ResidentReason::Aborted, format!("{message}; a new spec.retryToken tries it again")),
        Some(FailureReason::AttemptsExhausted) | None => ResidentReason::AttemptsExhausted,
    };
    Need::Resident(kind, message.to_owned())
}

/// Whether the server can be moved in another state than that in which its run asked for it: paused it is copied more easily, and shut off it moves cold.
fn has_changed(server: &Server, run: &RunFacts) -> bool {
    let movable = matches!(server.status, ServerStatus::Active | ServerStatus::Paused | ServerStatus::Shutoff);
    movable && run.tried_as.as_deref().is_some_and(|status| status != server.status.as_str())
}

/// A server for which a run would have to be made: there must be a place for it, and it must be among what was approved.
fn begin(server: &Server, ordinal: u32, rules: &Rules<'_>) -> Need {
    let need = fresh(server, ordinal, rules);
    if !matches!(need, Need::Run(_)) {
        return need;
    }
    if let Some((reason, message)) = rules.sight.and_then(|sight| sight.unplaced.get(&server.id)) {
        return Need::Resident(*reason, message.clone());
    }
    if (rules.late)(server.id) {
        return Need::LateRun(ordinal);
    }
    need
}

/// What is said of a server that is in no approved plan.
pub(super) const LATE: &str = "it is not in the plan that was approved: it came afterwards, or had nowhere to go then. Set allowLateArrivals, or approve the present plan (status.plan.digest)";

/// A server for which nothing is under way.
fn fresh(server: &Server, ordinal: u32, rules: &Rules<'_>) -> Need {
    let stays = |reason, message: &str| Need::Resident(reason, message.to_owned());
    match (&server.status, server.task_state.as_deref()) {
        (ServerStatus::Active | ServerStatus::Paused | ServerStatus::Shutoff, None) if server.locked && !rules.moves_locked => stays(
            ResidentReason::Locked,
            "it is locked, so nothing is done with it. Unlock it (openstack server unlock), or set spec.migration.lockedServers to Migrate before the drain begins or with a new retryToken",
        ),
        (ServerStatus::Shutoff, None) if !rules.moves_stopped => stays(
            ResidentReason::StateNotMovable,
            "it is shut off (SHUTOFF), and spec.migration.stoppedServers is Report. Start it, or migrate it cold: openstack server migrate, then confirm",
        ),
        (ServerStatus::Active | ServerStatus::Paused | ServerStatus::Shutoff, None) if rules.closed => {
            stays(ResidentReason::DrainDeadlineExceeded, "the drain's deadline passed before it was moved; a new spec.retryToken begins anew")
        }
        (ServerStatus::Active | ServerStatus::Paused | ServerStatus::Shutoff, None) => Need::Run(ordinal),
        (ServerStatus::Active | ServerStatus::Paused | ServerStatus::Shutoff | ServerStatus::Migrating, task) => busy(task.unwrap_or("migrating"), rules),
        (ServerStatus::Error, _) => stays(
            ResidentReason::ServerInError,
            "it is in ERROR, and was so before the drain or came to it without an attempt of this quarantine's; Sidestep changes nothing about it. It is looked at again when its status changes",
        ),
        (ServerStatus::Other(word), task) => other(word, task, rules),
    }
}

/// Nova works on it: patience, as long as there is time.
fn busy(task: &str, rules: &Rules<'_>) -> Need {
    if rules.closed {
        return Need::Resident(ResidentReason::Busy, format!("Nova has been busy with it ({task}) until the drain's deadline passed"));
    }
    Need::Waiting
}

/// The states in which Nova does not live-migrate, and what gets a server out of each.
fn other(word: &str, task: Option<&str>, rules: &Rules<'_>) -> Need {
    let remedy = match word {
        // Under way; another state follows by itself.
        "BUILD" | "REBUILD" | "REBOOT" | "HARD_REBOOT" | "PASSWORD" | "RESIZE" | "REVERT_RESIZE" | "DELETED" => return busy(task.unwrap_or(word), rules),
        "VERIFY_RESIZE" => {
            let message = "it came to this host by a resize or cold migration that waits for its owner to confirm or revert it (VERIFY_RESIZE); Sidestep confirms only moves that it started. Afterwards it moves";
            return Need::Resident(ResidentReason::PendingResize, message.to_owned());
        }
        "SOFT_DELETED" => return Need::Resident(ResidentReason::SoftDeleted, SOFT_DELETED.to_owned()),
        "SUSPENDED" => "its memory lies in a file on this host. Resume it (openstack server resume), and it moves",
        "RESCUE" => "it runs from a rescue image. End that (openstack server unrescue), and it moves",
        "SHELVED" => "it is shelved and not offloaded yet. Unshelve it, or offload it (openstack server shelve --offload)",
        "UNKNOWN" => "its cell cannot be reached, so Nova knows nothing of it",
        _ => "it is looked at again when its status changes",
    };
    Need::Resident(ResidentReason::StateNotMovable, format!("its status is {word}: only ACTIVE, PAUSED and SHUTOFF servers are moved; {remedy}"))
}

/// What is said of a server that was deleted and can still be restored.
pub(super) const SOFT_DELETED: &str = "it was deleted and can still be restored (SOFT_DELETED): Nova keeps its disk on this host until the reclaim interval has passed. To be rid of it: openstack server delete --force; when it is restored, it moves";

/// A resident for status.
pub(super) fn resident(server: &Server, reason: ResidentReason, message: &str) -> Resident {
    let name: String = server.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Resident { server: server.id.to_string(), name: shorten(name, 255), reason, message: shorten(message.to_owned(), 512), next_attempt: None }
}
