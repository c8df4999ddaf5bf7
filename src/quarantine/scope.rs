//! What is suspected, and what follows from it: who must agree, where servers may go, and what a dispute about the host means.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::decide::Draft;
use super::facts::Joined;
use super::{NO_POOL, TRIGGER_TOO_OLD, later};
use crate::api::condition::{Kind, State, find, is_true};
use crate::api::quarantine::TimelineEvent;
use crate::api::units::{Mode, PoolUse, ResponseAction, Scope};
use crate::api::{HostQuarantineSpec, HostQuarantineStatus};
use std::time::Duration;

/// The longest that a policy can call an alert young (`evidence.maxAge`): an older trigger starts nothing.
const TRIGGER_MAX_AGE: Duration = Duration::from_secs(600);

/// The reason of a True AlertWhileHeld while `spec.suspend` is set.
const SUSPENDED: &str = "Suspended";

/// What is suspected now: what the spec says, raised by what later alerts said, and never less than before.
#[must_use]
pub fn effective_scope(spec: &HostQuarantineSpec, status: &HostQuarantineStatus, joined: &Joined) -> Scope {
    [status.effective_scope, joined.scope].into_iter().flatten().fold(spec.scope, Scope::max)
}

/// What the quarantine pool is for servers from this host.
#[must_use]
pub fn pool_use(scope: Scope, wanted: PoolUse, has_pool: bool) -> PoolUse {
    match scope {
        Scope::HostCompromised => PoolUse::Only,
        Scope::Unknown if has_pool => PoolUse::Only,
        Scope::Maintenance | Scope::HostThreatened | Scope::Unknown => wanted,
    }
}

/// Whether a dispute about the host's service stops the drain: only where nothing is suspected. Otherwise whoever is on the host could stop it.
pub(super) fn contest_stops(spec: &HostQuarantineSpec, status: &HostQuarantineStatus) -> bool {
    status.effective_scope.unwrap_or(spec.scope) == Scope::Maintenance && is_true(&status.conditions, Kind::Contested)
}

impl Draft<'_> {
    /// What is suspected now.
    pub(super) fn scope(&self) -> Scope {
        self.next.status.effective_scope.unwrap_or(self.incident.spec.scope)
    }

    /// Whether the object was made by a person.
    fn by_person(&self) -> bool {
        self.incident.spec.trigger.is_none()
    }

    /// Takes over what later alerts ask for. A stricter scope makes an earlier approval void.
    pub(super) fn take_over_alerts(&mut self) {
        let (spec, joined) = (self.incident.spec, &self.seen.joined);
        let scope = effective_scope(spec, &self.next.status, joined);
        if self.next.status.effective_scope.replace(scope).is_some_and(|before| before < scope) {
            self.next.status.approved = None;
        }
        let was_suspended = find(&self.next.status.conditions, Kind::AlertWhileHeld).is_some_and(|held| held.reason == SUSPENDED);
        if was_suspended && !spec.suspend {
            self.next.status.resumed = Some(MicroTime(self.now));
        }
        let action = self.next.status.effective_action.unwrap_or(spec.action).max(spec.action);
        let raised = self.is_asked_to_drain() && !self.by_person() && self.seen.gates.is_ok() && !spec.suspend;
        self.next.status.effective_action = Some(if raised { ResponseAction::Drain } else { action });
        let held = spec.suspend || self.by_person() || self.is_unapproved();
        if joined.scope.is_some() && held && spec.mode.writes() {
            let why = if spec.suspend {
                (SUSPENDED, "this object is suspended")
            } else if self.is_unapproved() {
                ("AwaitingApproval", "this object waits for approval")
            } else {
                ("MadeByPerson", "a person made this object")
            };
            let message = format!("alerts on this host have joined; since {}, they change the scope at most (now {})", why.1, scope.as_str());
            self.set(Kind::AlertWhileHeld, State::True, why.0, &message);
        } else {
            self.set(Kind::AlertWhileHeld, State::False, "NotHeld", "");
        }
    }

    /// Whether a later decision asks for a drain. One that joined while the object was suspended changed the scope and nothing else, also afterwards.
    pub(super) fn is_asked_to_drain(&self) -> bool {
        let resumed = self.next.status.resumed.as_ref().map(|at| at.0);
        self.seen.joined.drain.is_some_and(|asked| resumed.is_none_or(|resumed| asked > resumed))
    }

    fn is_unapproved(&self) -> bool {
        find(&self.next.status.conditions, Kind::Approved).is_some_and(|approved| approved.status == State::False.as_str() && approved.reason != "NotAsked")
    }

    /// Why a person must approve the plan, if one must: one word and a sentence.
    pub(super) fn needs_approval(&self) -> Option<(&'static str, &'static str)> {
        let spec = self.incident.spec;
        if self.trigger_is_too_old() {
            return Some((TRIGGER_TOO_OLD, "the alert behind this object is too old to act on without a new decision"));
        }
        if spec.mode == Mode::Approve {
            return Some(("ApprovalRequired", "spec.mode is Approve"));
        }
        match self.scope() {
            Scope::HostCompromised if !spec.allow_unapproved => Some(("HostCompromised", "the hypervisor is believed lost, and allowUnapproved is not set")),
            Scope::Unknown if !self.seen.has_pool => {
                Some((NO_POOL, "it is unknown what was attacked, and the cloud has no quarantine pool; approving lets servers go to ordinary hosts"))
            }
            _ => None,
        }
    }

    /// Whether the object was let through although its trigger is older than any policy's maxAge, as when a backup was restored, and no newer alert has joined.
    pub(super) fn trigger_is_too_old(&self) -> bool {
        let accepted = find(&self.next.status.conditions, Kind::Accepted);
        accepted.is_some_and(|accepted| accepted.status == State::True.as_str() && accepted.reason == TRIGGER_TOO_OLD) && !self.seen.joined.is_new
    }

    /// Whether the trigger is too old at this moment. Not where a gate refused the object when the trigger was young: the gates are asked again for `deadline`, and a restored object has no such memory.
    pub(super) fn judge_trigger(&self) -> bool {
        let decided = self.incident.alert_moments.iter().find(|entry| entry.event == TimelineEvent::Decided).map(|entry| entry.time.0);
        let is_old = |moment: Timestamp| decided.is_none_or(|decided| later(decided, TRIGGER_MAX_AGE) < moment);
        let refused = find(&self.next.status.conditions, Kind::Accepted).filter(|accepted| accepted.status == State::False.as_str());
        let was_tried_in_time = refused.is_some_and(|refused| !is_old(refused.last_transition_time.0))
            && later(self.incident.created, self.incident.spec.deadline.get()) >= self.now;
        !self.by_person() && !self.seen.joined.is_new && is_old(self.now) && !was_tried_in_time
    }
}
