//! The status that goes with each phase: conditions by the truth table, timeline, progress.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::api::HostQuarantineStatus;
use crate::api::condition::{Conditions, Kind, State, find};
use crate::api::quarantine::{Phase, TimelineEntry, TimelineEvent};
use crate::api::units::ClockName;

/// Sets a condition and leaves the others.
pub(super) fn set(status: &mut HostQuarantineStatus, now: Timestamp, kind: Kind, state: State, reason: &str, message: &str) {
    let mut conditions = Conditions::of(&status.conditions, status.observed_generation, now);
    conditions.set(kind, state, reason, message);
    status.conditions = conditions.finish();
}

/// Publishes every condition that the object does not have yet, so that all are there from the first reconcile.
pub(super) fn publish_all(status: &mut HostQuarantineStatus, now: Timestamp) {
    let first = [
        (Kind::Accepted, State::Unknown, "NotAsked"),
        (Kind::Cordoned, State::False, "NotRequested"),
        (Kind::Contested, State::False, "NotContested"),
        (Kind::PlanReady, State::False, "NotStarted"),
        (Kind::Approved, State::Unknown, "NotAsked"),
        (Kind::Drained, State::False, "NotStarted"),
        (Kind::Blocked, State::False, "NotBlocked"),
        (Kind::AlertWhileHeld, State::False, "NotHeld"),
        (Kind::GuestLocationDisputed, State::False, "NotDisputed"),
        (Kind::Released, State::False, "NotRequested"),
    ];
    for (kind, state, reason) in first {
        if find(&status.conditions, kind).is_none() {
            set(status, now, kind, state, reason, "");
        }
    }
}

/// Sets the phase and the three conditions that tools read, by the truth table: under way (Reconciling), as it should be (Ready), or in need of a person (Stalled).
pub(super) fn phase(status: &mut HostQuarantineStatus, now: Timestamp, phase: Phase, reason: &str, message: &str) {
    status.phase = Some(phase);
    let (ready, reconciling, stalled) = match phase {
        Phase::Pending | Phase::Cordoning | Phase::Planning | Phase::Draining | Phase::Releasing | Phase::AwaitingApproval | Phase::Suspended => {
            (false, true, false)
        }
        Phase::Observed | Phase::Cordoned | Phase::Empty | Phase::Released => (true, false, false),
        Phase::Blocked | Phase::Refused => (false, false, true),
    };
    let mut conditions = Conditions::of(&status.conditions, status.observed_generation, now);
    conditions.set(Kind::Ready, ready.into(), reason, message);
    conditions.set(Kind::Reconciling, reconciling.into(), if reconciling { reason } else { "NotReconciling" }, if reconciling { message } else { "" });
    conditions.set(Kind::Stalled, stalled.into(), if stalled { reason } else { "NotStalled" }, if stalled { message } else { "" });
    status.conditions = conditions.finish();
}

/// A moment for the timeline, as the operator passes those of the alert in.
#[must_use]
pub fn entry(event: TimelineEvent, time: Timestamp, clock: ClockName) -> TimelineEntry {
    TimelineEntry { event, time: MicroTime(time), clock }
}

/// Adds a moment to the timeline; the first of its kind stays.
pub(super) fn moment(status: &mut HostQuarantineStatus, event: TimelineEvent, time: Timestamp, clock: ClockName) {
    if moment_of(status, event).is_none() {
        status.timeline.push(entry(event, time, clock));
    }
}

/// When something happened, if it has.
pub(super) fn moment_of(status: &HostQuarantineStatus, event: TimelineEvent) -> Option<Timestamp> {
    status.timeline.iter().find(|entry| entry.event == event).map(|entry| entry.time.0)
}
