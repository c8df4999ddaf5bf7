//! The next state of an incident.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::facts::{CloudSight, Incident, Memory, Next, Observation, Pace, ServiceSight};
use super::permission::release_takes_effect;
use super::report::{moment, moment_of, phase, publish_all, set};
use super::{TRIGGER_TOO_OLD, later};
use crate::api::HostQuarantineStatus;
use crate::api::condition::{ANOTHER_ACTIVE, Kind, OBSERVING, State, find, is_true};
use crate::api::quarantine::{Abort, Phase, TimelineEvent};
use crate::api::units::{ClockName, Mode};
use crate::inventory::{HostView, mark};

/// Decides the next state of an incident.
#[must_use]
pub fn decide(incident: &Incident<'_>, status: &HostQuarantineStatus, seen: &Observation<'_>, memory: &Memory, now: Timestamp) -> Next {
    let next = Next { status: status.clone(), actions: Vec::new(), pace: Pace::Idle, memory: memory.clone() };
    let mut draft = Draft { incident, seen, now, next };
    draft.next.status.observed_generation = incident.generation;
    for entry in incident.alert_moments {
        moment(&mut draft.next.status, entry.event, entry.time.0, entry.clock);
    }
    publish_all(&mut draft.next.status, now);
    draft.leave_out_absence();
    if let Some(deleted) = incident.deleted {
        draft.delete(deleted);
    } else if is_true(&status.conditions, Kind::Released) {
        draft.next.pace = Pace::Never;
    } else {
        draft.note_deleted_runs();
        draft.take_over_alerts();
        draft.take_note_of_retry();
        draft.go_on();
    }
    draft.keep_time();
    draft.next
}

/// The status that is being made.
pub(super) struct Draft<'a> {
    pub(super) incident: &'a Incident<'a>,
    pub(super) seen: &'a Observation<'a>,
    pub(super) now: Timestamp,
    pub(super) next: Next,
}

impl<'a> Draft<'a> {
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

    pub(super) fn service(&self) -> ServiceSight<'_> {
        match self.seen.view {
            None => ServiceSight::Unseen,
            Some(view) => match view.service() {
                Some(service) => ServiceSight::One(service, view.begun_at),
                None => ServiceSight::NotOne(view.services.len()),
            },
        }
    }

    /// The latest list of the host's servers, if it was begun after the cordon was verified.
    pub(super) fn list(&self) -> Option<&'a HostView> {
        let verified = self.moment_of(TimelineEvent::CordonVerified)?;
        self.seen.view.filter(|view| self.seen.lists_servers && view.begun_at >= verified)
    }

    /// Whether a person has stopped the drain for the moment.
    pub(super) fn is_held(&self) -> bool {
        self.incident.spec.suspend || self.incident.spec.abort != Abort::None
    }

    fn go_on(&mut self) {
        if release_takes_effect(self.incident.spec, &self.next.status) {
            self.release();
            return;
        }
        if self.incident.spec.release.requested {
            let message = "release was asked for and waits until the host is Empty; to give it back with what is on it, set release.force";
            self.set(Kind::Released, State::False, "NotEmpty", message);
        }
        if self.accept() {
            self.work();
        }
        // What was found empty in this look is given back in the next.
        if release_takes_effect(self.incident.spec, &self.next.status) && self.next.pace != Pace::Soon {
            self.next.pace = Pace::Now;
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
            Ok(()) if self.judge_trigger() => {
                let message =
                    "every gate let it through, but the alert behind it is older than any policy acts on: nothing starts without a new decision or an approval";
                self.set(Kind::Accepted, State::True, TRIGGER_TOO_OLD, message);
                true
            }
            Ok(()) => {
                self.set(Kind::Accepted, State::True, "GatesPassed", "every gate let it through");
                true
            }
        }
    }

    /// Whether an earlier refusal is not asked again: it was final, or its time is over. A retry begins that time anew.
    fn stays_refused(&mut self, refused: &Condition) -> bool {
        let begun = self.next.status.retry.as_ref().map_or(self.incident.created, |retry| retry.since.0.max(self.incident.created));
        let asked_until = later(begun, self.incident.spec.deadline.get());
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
            let current = if matches!(current, Phase::Empty | Phase::Observed | Phase::Cordoned) { Phase::Pending } else { current };
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
        let untouched = self.moment_of(TimelineEvent::CordonRequested).is_none();
        if self.incident.spec.mode == Mode::Observe {
            self.observe();
        } else if untouched && self.is_held() {
            self.phase(Phase::Suspended, "Suspended", "spec.suspend or spec.abort holds it; nothing was begun, and the host is as it was");
        } else if untouched && self.trigger_is_too_old() && mark::Mark::on(&service).is_none() && !self.is_approved_meanwhile() {
            self.wait_untouched();
        } else if self.cordon(&service) {
            self.drain();
        }
    }

    /// The trigger is too old and the host is in service: the plan is shown, and nothing is written before somebody approves it.
    fn wait_untouched(&mut self) {
        let Some(view) = self.seen.view else { return };
        match self.plan_and_approve() {
            None => {
                self.phase(Phase::Planning, "Planning", "making the plan");
                self.next.pace = Pace::Soon;
            }
            Some(true) => self.next.pace = Pace::Now,
            Some(false) => {
                let tally = self.tally(view, false, false);
                self.make_runs(&tally);
                self.next.status.progress = Some(tally.progress);
                self.await_approval();
            }
        }
    }

    fn is_approved_meanwhile(&self) -> bool {
        let wanted = &self.incident.spec.approval.plan;
        !wanted.is_empty() && (self.is_approved_plan(wanted) || self.next.status.plan.as_ref().is_some_and(|plan| plan.digest == *wanted))
    }

    /// Mode Observe: say what would happen.
    fn observe(&mut self) {
        let Some(view) = self.seen.view else { return };
        if self.plan_and_approve().is_none() {
            self.phase(Phase::Planning, "Planning", "making the plan");
            self.next.pace = Pace::Soon;
            return;
        }
        let tally = self.tally(view, false, true);
        let message = format!("{} servers would be moved and {} would stay; nothing is written to the cloud", tally.new_runs.len(), tally.residents.len());
        self.next.status.progress = Some(tally.progress);
        self.report_residents(tally.residents);
        self.phase(Phase::Observed, "Observed", &message);
    }
}
