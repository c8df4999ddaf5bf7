//! A HostQuarantine as the gates see it: a claim to a host.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;

use crate::api::HostQuarantine;
use crate::api::condition::{self, Kind, OBSERVING, State};
use crate::api::quarantine::{ReleaseVerdict, TimelineEvent};
use crate::api::units::{Mode, ResponseAction};
use crate::inventory::HostName;

/// Whether the gates were asked, and what they said. Condition `Accepted` of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Not asked yet.
    Pending,
    /// They let it through.
    Accepted,
    /// One said no.
    Refused,
}

/// The annotation in which the operator writes when it decided to make the object.
pub const DECIDED: &str = "sidestep.dev/decided";

/// One HostQuarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The object's name.
    pub name: String,
    /// The object's UID.
    pub uid: String,
    /// When the API server created it; whole seconds.
    pub created: Timestamp,
    /// The OpenStackCloud.
    pub cloud: String,
    /// The host.
    pub host: HostName,
    /// Its mode.
    pub mode: Mode,
    /// A person made it: it has no trigger.
    pub by_person: bool,
    /// The policy that made it.
    pub policy: Option<String>,
    /// The rules that it was made for, with their engines.
    pub rules: Vec<String>,
    /// When it was decided on, or created where that is not known.
    pub decided_at: Timestamp,
    /// It takes the host out of service and drains nothing, so far.
    pub only_cordons: bool,
    /// A cordon over the limit (`onLimit: Cordon`).
    pub over_budget: bool,
    /// Nothing is under way any more: Empty, Cordoned and no more asked for, Blocked, Refused or Released.
    pub settled: bool,
    /// What the gates said.
    pub acceptance: Acceptance,
    /// When the host was given back, on the operator's clock.
    pub released_at: Option<Timestamp>,
    /// The verdict of the release: there was nothing.
    pub false_positive: bool,
    /// It is being deleted.
    pub deleting: bool,
}

impl Claim {
    /// The claim of an object that the API server has stored; `None` for one without UID or creation time, which only an object that was never stored can be.
    #[must_use]
    pub fn of(object: &HostQuarantine) -> Option<Self> {
        let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let acceptance = condition::find(conditions, Kind::Accepted).map_or(Acceptance::Pending, acceptance);
        let created = object.metadata.creation_timestamp.as_ref()?.0;
        let trigger = object.spec.trigger.as_ref();
        Some(Self {
            name: object.metadata.name.clone()?,
            uid: object.metadata.uid.clone()?,
            created,
            cloud: object.spec.cloud.clone(),
            host: HostName(object.spec.host.clone()),
            mode: object.spec.mode,
            by_person: trigger.is_none(),
            policy: trigger.map(|trigger| trigger.policy.clone()),
            rules: trigger.map(|trigger| trigger.rules.clone()).unwrap_or_default(),
            decided_at: object.annotations().get(DECIDED).and_then(|time| time.parse().ok()).unwrap_or(created),
            only_cordons: effective_action(object) == ResponseAction::Cordon,
            over_budget: trigger.is_some_and(|trigger| trigger.over_budget),
            settled: condition::is_true(conditions, Kind::Ready) || condition::is_true(conditions, Kind::Stalled),
            acceptance,
            released_at: released_at(object),
            false_positive: object.spec.release.verdict == ReleaseVerdict::FalsePositive,
            deleting: object.metadata.deletion_timestamp.is_some(),
        })
    }

    /// Active: mode Approve or Enforce, not refused, not released, not being deleted. Alerts on its host join it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.mode.writes() && self.acceptance != Acceptance::Refused && self.released_at.is_none() && !self.deleting
    }

    /// Whether its host is, or is about to be, out of service because of it. An accepted one counts also while it is being deleted: its request may be on the way to Nova.
    #[must_use]
    pub fn holds_host(&self) -> bool {
        self.is_active() || (self.mode.writes() && self.acceptance == Acceptance::Accepted && self.released_at.is_none())
    }

    /// Whether this claim goes before another one that was not accepted yet: accepted ones first, then the older, then the smaller UID.
    #[must_use]
    pub fn goes_before(&self, other: &Self) -> bool {
        self.acceptance == Acceptance::Accepted || (self.created, &self.uid) < (other.created, &other.uid)
    }
}

/// What is asked for, as later alerts may have raised it.
fn effective_action(object: &HostQuarantine) -> ResponseAction {
    object.status.as_ref().and_then(|status| status.effective_action).unwrap_or(object.spec.action).max(object.spec.action)
}

/// What was let through in mode Observe has no acceptance: most gates were not asked.
fn acceptance(accepted: &Condition) -> Acceptance {
    match accepted.status.as_str() {
        word if word == State::True.as_str() && accepted.reason != OBSERVING => Acceptance::Accepted,
        word if word == State::False.as_str() => Acceptance::Refused,
        _ => Acceptance::Pending,
    }
}

/// The moment in the timeline, to the microsecond; where it is missing, the condition's, to the second.
fn released_at(object: &HostQuarantine) -> Option<Timestamp> {
    let status = object.status.as_ref()?;
    let released = condition::find(&status.conditions, Kind::Released).filter(|released| released.status == State::True.as_str())?;
    let exact = status.timeline.iter().rev().find(|entry| entry.event == TimelineEvent::Released);
    Some(exact.map_or(released.last_transition_time.0, |entry| entry.time.0))
}

/// The active claim to a host that alerts on it join; the accepted one, else the oldest.
#[must_use]
pub fn active_on<'a>(claims: &'a [Claim], cloud: &str, host: &HostName) -> Option<&'a Claim> {
    claims
        .iter()
        .filter(|claim| claim.is_active() && claim.cloud == cloud && claim.host == *host)
        .min_by_key(|claim| (claim.acceptance != Acceptance::Accepted, claim.created, claim.uid.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::claim;
    use super::*;

    fn object(status: &Value) -> HostQuarantine {
        serde_json::from_value(json!({
            "apiVersion": "sidestep.dev/v1alpha1",
            "kind": "HostQuarantine",
            "metadata": {"name": "q", "uid": "u", "creationTimestamp": "2026-11-25T10:00:00Z"},
            "spec": {"cloud": "production", "host": "cmp-1", "mode": "Enforce", "trigger": {"policy": "p", "policyGeneration": 1, "alerts": ["cmp-1-00"]}},
            "status": status,
        }))
        .unwrap()
    }

    fn condition_of(kind: &str, status: &str) -> Value {
        json!({"type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-11-25T11:00:00Z"})
    }

    #[test]
    fn a_new_object_is_an_active_claim_that_was_not_asked_about() {
        let claim = Claim::of(&object(&json!({}))).unwrap();
        assert_eq!((claim.acceptance, claim.by_person, claim.is_active()), (Acceptance::Pending, false, true));
    }

    #[test]
    fn acceptance_is_what_the_condition_says() {
        for (status, expected) in [("True", Acceptance::Accepted), ("False", Acceptance::Refused), ("Unknown", Acceptance::Pending)] {
            let claim = Claim::of(&object(&json!({"conditions": [condition_of("Accepted", status)]}))).unwrap();
            assert_eq!(claim.acceptance, expected);
        }
    }

    #[test]
    fn what_was_let_through_in_mode_observe_must_be_asked_again_in_mode_enforce() {
        let mut observing = condition_of("Accepted", "True");
        observing["reason"] = OBSERVING.into();
        let claim = Claim::of(&object(&json!({"conditions": [observing]}))).unwrap();
        assert_eq!(claim.acceptance, Acceptance::Pending);
    }

    #[test]
    fn an_object_without_trigger_was_made_by_a_person() {
        let mut object = object(&json!({}));
        object.spec.trigger = None;
        assert!(Claim::of(&object).unwrap().by_person);
    }

    #[test]
    fn the_release_is_dated_by_the_timeline_and_else_by_the_condition() {
        let released = |timeline: Value, status: &str| {
            Claim::of(&object(&json!({"conditions": [condition_of("Released", status)], "timeline": timeline}))).unwrap().released_at
        };
        assert_eq!(released(json!([]), "True"), Some("2026-11-25T11:00:00Z".parse().unwrap()));
        let timeline = json!([{"event": "released", "time": "2026-11-25T11:00:00.250000Z", "clock": "Operator"}]);
        assert_eq!(released(timeline.clone(), "True"), Some("2026-11-25T11:00:00.25Z".parse().unwrap()));
        assert_eq!(released(timeline, "False"), None);
    }

    #[test]
    fn active_alerts_join_the_accepted_claim_and_else_the_oldest() {
        let at = |name: &str, second| Claim { created: Timestamp::from_second(second).unwrap(), ..claim(name, "cmp-1") };
        let host = HostName::from("cmp-1");
        let name = |claims: &[Claim]| active_on(claims, "production", &host).map(|claim| claim.name.clone());
        assert_eq!(name(&[at("b", 2), at("a", 1)]).as_deref(), Some("a"));
        let accepted = Claim { acceptance: Acceptance::Accepted, ..at("b", 2) };
        assert_eq!(name(&[at("a", 1), accepted]).as_deref(), Some("b"));
        assert_eq!(name(&[Claim { deleting: true, ..at("a", 1) }]), None);
    }
}
