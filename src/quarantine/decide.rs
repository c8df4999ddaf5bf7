//! The next state of an incident.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use uuid::Uuid;

use super::cordon::{Contest, Write};
use super::drain::RunFacts;
use super::report::{moment, moment_of, phase, publish_all, set};
use super::tally::Tally;
use super::{DEADLINE_EXCEEDED, RESIDENTS_SHOWN};
use crate::api::condition::{ANOTHER_ACTIVE, Kind, OBSERVING, State, find, is_true};
use crate::api::quarantine::{DrainMeasured, Phase, Resident, ResidentReason, TimelineEntry, TimelineEvent};
use crate::api::units::{Bound, ClockName, Mode};
use crate::api::{HostQuarantine, HostQuarantineSpec, HostQuarantineStatus};
use crate::inventory::{ComputeService, HostView, ServerId, ServiceId};

/// How long an allocation may outlive the last server before it is reported: Nova drops a migration's own a moment after its record ends.
const ALLOCATION_PATIENCE: Duration = Duration::from_secs(10);

/// What does not change during one decision.
#[derive(Clone, Debug)]
pub struct Incident<'a> {
    /// The object's UID, which the mark in Nova carries.
    pub uid: &'a str,
    /// Its spec.
    pub spec: &'a HostQuarantineSpec,
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// When it was created.
    pub created: Timestamp,
    /// When its deletion was asked for, if it was.
    pub deleted: Option<Timestamp>,
    /// The moments before this object existed: the alert's.
    pub alert_moments: &'a [TimelineEntry],
    /// The cloud's active interval: two lists that show an empty host lie at least so far apart.
    pub tick: Duration,
}

/// Whether the cloud can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudSight {
    /// It answers.
    Usable,
    /// It does not, or Sidestep does not know it.
    Unusable {
        /// One PascalCase word.
        reason: String,
        /// The sentence, with the remedy.
        message: String,
    },
}

/// A gate that said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One PascalCase word.
    pub reason: String,
    /// The sentence, with the remedy.
    pub message: String,
    /// Whether asking again cannot change it.
    pub is_final: bool,
}

/// The host's service in the latest look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceSight<'a> {
    /// Exactly one row, and when the look was begun.
    One(&'a ComputeService, Timestamp),
    /// So many rows, which is not one.
    NotOne(usize),
    /// No look yet.
    Unseen,
}

/// What was seen for one decision.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    /// Whether the cloud can be asked.
    pub cloud: CloudSight,
    /// What the gates say. Read only while the object is not accepted.
    pub gates: Result<(), Refusal>,
    /// What an earlier object for the same host remembered as the disabled reason before it.
    pub earlier_reason: Option<&'a str>,
    /// The latest look at the host. Placement must have been asked when no server is listed.
    pub view: Option<&'a HostView>,
    /// The runs of this incident.
    pub runs: &'a [RunFacts],
}

/// What is kept between decisions and not in status: losing it costs two more looks, or shortens the deadline by an outage that ended before a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// When the first list that found nothing was begun.
    pub first_empty: Option<Timestamp>,
    /// Since when nothing but allocations is left.
    pub allocations_since: Option<Timestamp>,
    /// How long the cloud could not be asked since this object was first looked at.
    pub lost: Duration,
    /// The last moment at which the cloud could not be asked.
    pub unusable_at: Option<Timestamp>,
    /// Nova's words when it refused the last write to the service; absent when it took it.
    pub refused: Option<String>,
    /// The dispute about the cordon.
    pub contest: Contest,
}

/// A run to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// The server.
    pub server: ServerId,
    /// 1 for its first run in this incident.
    pub ordinal: u32,
}

/// What to do after the status was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write to the host's service.
    WriteService(ServiceId, Write),
    /// Make these runs.
    MakeRuns(Vec<NewRun>),
    /// Let the object go.
    RemoveFinalizer,
}

/// When to decide again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At once, with a new look.
    Now,
    /// After a few seconds: the cloud could not be asked.
    Soon,
    /// When something changes, at the latest after the active interval.
    Active,
    /// When something changes, at the latest after the idle interval.
    Idle,
    /// When the object changes.
    Never,
}

/// The result of a decision.
#[derive(Clone, Debug)]
pub struct Next {
    /// The status to write, if it differs, before the actions.
    pub status: HostQuarantineStatus,
    /// What to do then, in this order.
    pub actions: Vec<Action>,
    /// When to decide again.
    pub pace: Pace,
    /// What to remember.
    pub memory: Memory,
}

/// What the incident says about its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// New requests may go out.
    Permits,
    /// Not now, and why.
    Holds(String),
    /// Never again, and why.
    Over(String),
}

/// What this object says about its runs.
#[must_use]
pub fn permission(quarantine: &HostQuarantine) -> Permission {
    let name = quarantine.metadata.name.as_deref().unwrap_or_default();
    let default = HostQuarantineStatus::default();
    let status = quarantine.status.as_ref().unwrap_or(&default);
    if quarantine.metadata.deletion_timestamp.is_some() {
        return Permission::Over(format!("HostQuarantine {name} is being deleted"));
    }
    if quarantine.spec.release.requested {
        return Permission::Over(format!("HostQuarantine {name} was released"));
    }
    if quarantine.spec.mode != Mode::Enforce || !is_true(&status.conditions, Kind::Accepted) {
        return Permission::Holds(format!("HostQuarantine {name} is not in force"));
    }
    if moment_of(status, TimelineEvent::CordonVerified).is_none() {
        return Permission::Holds(format!("the cordon of host {} is not verified yet", quarantine.spec.host));
    }
    match find(&status.conditions, Kind::Drained) {
        Some(drained) if drained.reason == DEADLINE_EXCEEDED => Permission::Holds(format!("the deadline of HostQuarantine {name} has passed")),
        _ => Permission::Permits,
    }
}

/// Decides the next state of an incident.
#[must_use]
pub fn decide(incident: &Incident<'_>, status: &HostQuarantineStatus, seen: &Observation<'_>, memory: &Memory, now: Timestamp) -> Next {
    let next = Next { status: status.clone(), actions: Vec::new(), pace: Pace::Idle, memory: memory.clone() };
    let mut draft = Draft { incident, seen, now, next };
    draft.next.status.observed_generation = incident.generation;
    draft.count_lost_time();
    for entry in incident.alert_moments {
        moment(&mut draft.next.status, entry.event, entry.time.0, entry.clock);
    }
    publish_all(&mut draft.next.status, now);
    if let Some(deleted) = incident.deleted {
        draft.delete(deleted);
    } else if is_true(&status.conditions, Kind::Released) {
        draft.next.pace = Pace::Never;
    } else if incident.spec.release.requested {
        draft.release();
    } else if draft.accept() {
        draft.work();
    }
    draft.next
}

/// The status that is being made.
pub(super) struct Draft<'a> {
    pub(super) incident: &'a Incident<'a>,
    pub(super) seen: &'a Observation<'a>,
    pub(super) now: Timestamp,
    pub(super) next: Next,
}

impl Draft<'_> {
    pub(super) fn phase(&mut self, to: Phase, reason: &str, message: &str) {
        phase(&mut self.next.status, self.now, to, reason, message);
    }

    pub(super) fn set(&mut self, kind: Kind, state: impl Into<State>, reason: &str, message: &str) {
        set(&mut self.next.status, self.now, kind, state.into(), reason, message);
    }

    pub(super) fn moment(&mut self, event: TimelineEvent) {
        moment(&mut self.next.status, event, self.now, ClockName::Operator);
    }

    pub(super) fn moment_of(&self, event: TimelineEvent) -> Option<Timestamp> {
        moment_of(&self.next.status, event)
    }

    fn count_lost_time(&mut self) {
        let memory = &mut self.next.memory;
        if let Some(since) = memory.unusable_at.take() {
            memory.lost = memory.lost.saturating_add(Duration::try_from(self.now.duration_since(since)).unwrap_or_default());
        }
        if self.seen.cloud != CloudSight::Usable {
            memory.unusable_at = Some(self.now);
        }
    }

    pub(super) fn service(&self) -> ServiceSight<'_> {
        match self.seen.view {
            None => ServiceSight::Unseen,
            Some(view) => match view.service() {
                Some(service) => ServiceSight::One(service, view.begun_at),
                None => ServiceSight::NotOne(view.services.len()),
            },
        }
    }

    /// Asks the gates, once. True when work may go on.
    fn accept(&mut self) -> bool {
        let mode = self.incident.spec.mode;
        let accepted = find(&self.next.status.conditions, Kind::Accepted).cloned();
        if let Some(earlier) = &accepted
            && earlier.status == State::True.as_str()
            && (mode == Mode::Observe || earlier.reason != OBSERVING)
        {
            return true;
        }
        if let Some(refused) = accepted.filter(|earlier| earlier.status == State::False.as_str())
            && self.stays_refused(&refused)
        {
            return false;
        }
        if let CloudSight::Unusable { reason, message } = &self.seen.cloud {
            self.phase(Phase::Pending, reason, message);
            self.next.pace = Pace::Soon;
            return false;
        }
        match &self.seen.gates {
            Err(refusal) => {
                self.set(Kind::Accepted, State::False, &refusal.reason, &refusal.message);
                self.phase(Phase::Refused, &refusal.reason, &refusal.message);
                if refusal.is_final {
                    self.next.pace = Pace::Never;
                }
                false
            }
            Ok(()) if mode == Mode::Observe => {
                self.set(Kind::Accepted, State::True, OBSERVING, "the host exists; in mode Observe nothing is written to the cloud");
                true
            }
            Ok(()) => {
                self.set(Kind::Accepted, State::True, "GatesPassed", "every gate let it through");
                true
            }
        }
    }

    /// Whether an earlier refusal is not asked again: it was final, or its time is over.
    fn stays_refused(&mut self, refused: &Condition) -> bool {
        let asked_until = later(self.incident.created.max(refused.last_transition_time.0), self.incident.spec.deadline.get());
        if refused.reason != ANOTHER_ACTIVE && asked_until >= self.now {
            return false;
        }
        self.phase(Phase::Refused, &refused.reason, &refused.message);
        self.next.pace = Pace::Never;
        true
    }

    fn work(&mut self) {
        if let CloudSight::Unusable { reason, message } = &self.seen.cloud {
            // The phase stays: what runs in Nova goes on.
            let current = self.next.status.phase.unwrap_or(Phase::Pending);
            let current = if matches!(current, Phase::Empty | Phase::Observed) { Phase::Pending } else { current };
            self.phase(current, reason, message);
            self.next.pace = Pace::Soon;
            return;
        }
        let service = match self.service() {
            ServiceSight::Unseen => {
                self.phase(Phase::Pending, "Looking", "looking at the host for the first time");
                self.next.pace = Pace::Now;
                return;
            }
            ServiceSight::NotOne(rows) => {
                let message = format!("Nova has {rows} compute services named {:?} and must have exactly one", self.incident.spec.host);
                self.not_empty("ServiceNotFound");
                self.set(Kind::Cordoned, State::False, "ServiceNotFound", &message);
                self.blocked("ServiceNotFound", &message);
                return;
            }
            ServiceSight::One(service, _) => service.clone(),
        };
        if self.incident.spec.mode == Mode::Observe {
            self.observe();
        } else if self.cordon(&service) {
            self.drain();
        }
    }

    /// Mode Observe: say what would happen.
    fn observe(&mut self) {
        let Some(view) = self.seen.view else { return };
        let tally = Tally::of(view, &[], false);
        let message = format!("{} servers would be moved and {} would stay; nothing is written to the cloud", tally.new_runs.len(), tally.residents.len());
        self.next.status.progress = Some(tally.progress);
        self.report_residents(tally.residents);
        self.phase(Phase::Observed, "Observed", &message);
    }

    /// Derives the work from what is on the host now.
    fn drain(&mut self) {
        let verified = self.moment_of(TimelineEvent::CordonVerified);
        let Some((view, verified)) = self.seen.view.zip(verified).filter(|(view, verified)| view.begun_at >= *verified) else {
            self.phase(Phase::Planning, "Planning", "listing the servers on the host");
            self.next.pace = Pace::Now;
            return;
        };
        let closed = later(verified, self.incident.spec.deadline.get().saturating_add(self.next.memory.lost)) < self.now;
        let tally = Tally::of(view, self.seen.runs, closed);
        self.moment(TimelineEvent::Planned);
        if let Some(first) = self.seen.runs.iter().filter_map(|run| run.first_intent).min() {
            moment(&mut self.next.status, TimelineEvent::FirstMigrationRequested, first, ClockName::Operator);
        }
        self.measure();
        self.next.status.progress = Some(tally.progress);
        if !tally.new_runs.is_empty() {
            self.next.actions.push(Action::MakeRuns(tally.new_runs.clone()));
        }
        self.conclude(view, tally, closed);
    }

    /// The phase that goes with what is left on the host.
    fn conclude(&mut self, view: &HostView, tally: Tally, closed: bool) {
        let left = tally.progress.remaining;
        if tally.in_motion > 0 {
            self.not_empty(if closed { DEADLINE_EXCEEDED } else { "Draining" });
            self.report_residents(tally.residents);
            self.set(Kind::Blocked, State::False, "NotBlocked", "");
            self.phase(Phase::Draining, "Draining", "servers are leaving the host");
            self.next.pace = Pace::Active;
        } else if !tally.residents.is_empty() {
            self.not_empty(if closed { DEADLINE_EXCEEDED } else { "Residents" });
            self.report_residents(tally.residents);
            self.blocked("Residents", &format!("{left} servers are left on the host; status.residents says why"));
        } else if tally.arriving > 0 {
            self.not_empty(DEADLINE_EXCEEDED);
            self.report_residents(Vec::new());
            self.blocked("Arriving", "no server is left, but a migration heads to the host, and the drain's deadline has passed");
        } else if let Some(consumers) = view.consumers.as_deref().filter(|consumers| !consumers.is_empty()) {
            self.allocations_left(consumers);
        } else if is_true(&self.next.status.conditions, Kind::Contested) {
            self.not_empty("Contested");
            self.report_residents(Vec::new());
            let reason = find(&self.next.status.conditions, Kind::Contested).map_or_else(|| "Contested".to_owned(), |contested| contested.reason.clone());
            self.blocked(&reason, "no server is left, but the host is not out of service by this object: see condition Contested");
        } else {
            self.report_residents(Vec::new());
            self.verify_empty(view);
        }
    }

    fn allocations_left(&mut self, consumers: &[Uuid]) {
        let since = *self.next.memory.allocations_since.get_or_insert(self.now);
        self.not_empty("AllocationsLeft");
        if later(since, ALLOCATION_PATIENCE) > self.now {
            self.set(Kind::Blocked, State::False, "NotBlocked", "");
            self.phase(Phase::Draining, "Draining", "no server is left; waiting until Placement holds no allocation on the host");
            self.next.pace = Pace::Active;
            return;
        }
        let message = "Placement holds an allocation on this host for something that is no server listed here: a resize that waits for confirmation, a shelved or soft-deleted server, or a leak";
        let residents = consumers
            .iter()
            .map(|consumer| Resident { server: consumer.to_string(), name: String::new(), reason: ResidentReason::AllocationLeft, message: message.to_owned() })
            .collect();
        self.report_residents(residents);
        self.blocked("Residents", "no server is left, but Placement still holds allocations on the host; status.residents names them");
    }

    fn verify_empty(&mut self, view: &HostView) {
        self.next.memory.allocations_since = None;
        if view.consumers.is_none() {
            self.phase(Phase::Draining, "Verifying", "no server is left; asking Placement");
            self.next.pace = Pace::Now;
            return;
        }
        let first = *self.next.memory.first_empty.get_or_insert(view.begun_at);
        if is_true(&self.next.status.conditions, Kind::Drained) || later(first, self.incident.tick) <= view.begun_at {
            self.set(Kind::Drained, State::True, "Empty", "two lists of the host found nothing, and Placement holds nothing on it");
            self.set(Kind::Blocked, State::False, "NotBlocked", "");
            self.moment(TimelineEvent::Empty);
            self.measure();
            self.phase(Phase::Empty, "Empty", "nothing is left on the host, and it is out of service");
            return;
        }
        self.set(Kind::Blocked, State::False, "NotBlocked", "");
        self.phase(Phase::Draining, "Verifying", "one list found nothing; the next one must agree");
        self.next.pace = Pace::Active;
    }

    pub(super) fn not_empty(&mut self, reason: &str) {
        self.next.memory.first_empty = None;
        self.next.status.timeline.retain(|entry| entry.event != TimelineEvent::Empty);
        self.set(Kind::Drained, State::False, reason, "");
        if reason != "AllocationsLeft" {
            self.next.memory.allocations_since = None;
        }
    }

    pub(super) fn blocked(&mut self, reason: &str, message: &str) {
        self.set(Kind::Blocked, State::True, reason, message);
        self.phase(Phase::Blocked, reason, message);
        self.next.pace = Pace::Idle;
    }

    fn report_residents(&mut self, mut residents: Vec<Resident>) {
        residents.sort_by(|a, b| a.server.cmp(&b.server));
        self.next.status.resident_count = u32::try_from(residents.len()).ok();
        residents.truncate(RESIDENTS_SHOWN);
        self.next.status.residents = residents;
    }

    pub(super) fn measure(&mut self) {
        let bytes = self.seen.runs.iter().filter_map(|run| run.transferred_bytes).reduce(i64::saturating_add);
        let empty = self.moment_of(TimelineEvent::Empty).zip(self.moment_of(TimelineEvent::CordonRequested));
        let duration = empty.and_then(|(end, begin)| i64::try_from(end.duration_since(begin).as_millis()).ok());
        if bytes.is_some() || duration.is_some() {
            self.next.status.measured =
                Some(DrainMeasured { duration_millis: duration, transferred_bytes: bytes, transferred_bytes_bound: bytes.map(|_| Bound::AtLeast) });
        }
    }
}

/// `time` moved on by `by`.
pub(super) fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
