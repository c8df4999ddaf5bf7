//! What an incident says about its runs: whether requests may go out, and what is called back. Read by the runs' controller from the object as it stands, so that it holds after a restart too.

use super::DEADLINE_EXCEEDED;
use super::report::moment_of;
use super::scope::contest_stops;
use crate::api::condition::{Kind, State, find, is_true};
use crate::api::quarantine::{Abort, TimelineEvent};
use crate::api::units::ResponseAction;
use crate::api::{HostQuarantine, HostQuarantineSpec, HostQuarantineStatus};

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

/// What this object says about its runs, whatever plan they belong to.
#[must_use]
pub fn permission(quarantine: &HostQuarantine) -> Permission {
    let (name, spec) = (quarantine.metadata.name.as_deref().unwrap_or_default(), &quarantine.spec);
    let default = HostQuarantineStatus::default();
    let status = quarantine.status.as_ref().unwrap_or(&default);
    if quarantine.metadata.deletion_timestamp.is_some() {
        return Permission::Over(format!("HostQuarantine {name} is being deleted"));
    }
    if release_takes_effect(spec, status) {
        return Permission::Over(format!("HostQuarantine {name} was released"));
    }
    match hold(name, spec, status) {
        Some(why) => Permission::Holds(why),
        None => Permission::Permits,
    }
}

/// What this object says about a run that belongs to the plan with this digest (empty for none) and has nothing under way.
#[must_use]
pub fn permission_for(quarantine: &HostQuarantine, plan: &str) -> Permission {
    match permission(quarantine) {
        Permission::Over(why) => Permission::Over(why),
        _ if !is_current(quarantine, plan) => Permission::Over("the drain was planned again since this run was made".to_owned()),
        Permission::Permits if !is_approved(quarantine, plan) => {
            Permission::Holds("its server is not among those of an approved plan; set allowLateArrivals, or approve the present plan".to_owned())
        }
        other => other,
    }
}

/// What is to be called back from Nova of a run that belongs to the plan with this digest. A running copy is called back only where a person said so.
#[must_use]
pub fn withdrawal(quarantine: &HostQuarantine, plan: &str) -> Abort {
    let (spec, default) = (&quarantine.spec, HostQuarantineStatus::default());
    let status = quarantine.status.as_ref().unwrap_or(&default);
    if quarantine.metadata.deletion_timestamp.is_some() {
        return Abort::None;
    }
    if spec.abort != Abort::None {
        return spec.abort;
    }
    let unapproved = find(&status.conditions, Kind::Approved).is_some_and(|approved| approved.status == State::False.as_str());
    let stops = spec.suspend || release_takes_effect(spec, status) || contest_stops(spec, status) || unapproved;
    if stops || !is_current(quarantine, plan) { Abort::Queued } else { Abort::None }
}

/// The hosts that servers may go to by the approval, where the drain needs one. Absent where it needs none: then the rules alone decide.
#[must_use]
pub fn approved_hosts(quarantine: &HostQuarantine) -> Option<&[String]> {
    let status = quarantine.status.as_ref()?;
    let needed = find(&status.conditions, Kind::Approved).is_some_and(|approved| approved.reason != super::NOT_REQUIRED);
    needed.then(|| status.approved.as_ref().map(|approved| approved.hosts.as_slice()).unwrap_or_default())
}

/// Whether this object gives its host back now.
#[must_use]
pub fn releases(quarantine: &HostQuarantine) -> bool {
    release_takes_effect(&quarantine.spec, &quarantine.status.clone().unwrap_or_default())
}

/// Whether release is carried out now: it was asked for, and the host is empty, or nothing was written to it, or somebody wants it in spite of what is left.
pub(super) fn release_takes_effect(spec: &HostQuarantineSpec, status: &HostQuarantineStatus) -> bool {
    let nothing_to_wait_for = status.host.is_none() || is_true(&status.conditions, Kind::Drained) || is_true(&status.conditions, Kind::Released);
    spec.release.requested && (spec.release.force || nothing_to_wait_for)
}

/// Why nothing may start at the moment.
fn hold(name: &str, spec: &HostQuarantineSpec, status: &HostQuarantineStatus) -> Option<String> {
    if !spec.mode.writes() || !is_true(&status.conditions, Kind::Accepted) {
        return Some(format!("HostQuarantine {name} is not in force"));
    }
    if spec.suspend {
        return Some(format!("HostQuarantine {name} is suspended (spec.suspend)"));
    }
    if spec.abort != Abort::None {
        return Some(format!("HostQuarantine {name} is aborted (spec.abort)"));
    }
    if status.effective_action == Some(ResponseAction::Cordon) {
        return Some(format!("HostQuarantine {name} takes its host out of service and moves nothing (spec.action)"));
    }
    if moment_of(status, TimelineEvent::CordonVerified).is_none() {
        return Some(format!("the cordon of host {} is not verified yet", spec.host));
    }
    if contest_stops(spec, status) {
        return Some(format!("somebody else put host {} back into service, and HostQuarantine {name} is maintenance only", spec.host));
    }
    if find(&status.conditions, Kind::Approved).is_some_and(|approved| approved.status == State::False.as_str()) {
        return Some(format!("HostQuarantine {name} waits for the approval of its plan (spec.approval)"));
    }
    let closed = find(&status.conditions, Kind::Drained).is_some_and(|drained| drained.reason == DEADLINE_EXCEEDED);
    closed.then(|| format!("the deadline of HostQuarantine {name} has passed"))
}

/// Whether a run's plan is one of those that count: the present one, or an approved one. Without a plan in status, or in the run, nothing is known against it.
fn is_current(quarantine: &HostQuarantine, plan: &str) -> bool {
    let Some(status) = quarantine.status.as_ref() else { return true };
    let Some(present) = status.plan.as_ref() else { return true };
    plan.is_empty() || present.digest == plan || status.approved.as_ref().is_some_and(|approved| approved.plans.iter().any(|one| one == plan))
}

/// Whether a run's server is in an approved plan, where approval is needed.
fn is_approved(quarantine: &HostQuarantine, plan: &str) -> bool {
    let Some(status) = quarantine.status.as_ref() else { return true };
    let approved = find(&status.conditions, Kind::Approved);
    if approved.is_none_or(|approved| approved.reason == super::NOT_REQUIRED) {
        return true;
    }
    quarantine.spec.allow_late_arrivals || status.approved.as_ref().is_some_and(|approved| approved.plans.iter().any(|one| one == plan))
}
