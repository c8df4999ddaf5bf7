//! What was done to the hosts of a cloud lately: the HostQuarantines that exist, and those of the last day that do not any more, which stand in the cloud's status.
//!
//! Cooldowns, limits per hour, and that events before a release never count again must outlive the object that they come from: a person may delete it, and Git may prune it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::alert::decision::Act;
use crate::api::cloud::Incident;
use crate::gate::Claim;
use crate::inventory::HostName;
use crate::kubernetes::guard;
use crate::operator::context::Context;

/// How long an incident is remembered after its decision or release: the longest cooldown.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);
/// The most incidents that status holds; the newest stay.
const INCIDENTS_MAX: usize = 256;

/// What was done lately, newest last.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Past {
    incidents: Vec<Incident>,
    /// By UID: what exists and is not settled.
    under_way: Vec<String>,
}

impl Past {
    /// What is known of a cloud: its status, brought up to date by the objects that exist.
    pub(in super::super) fn of(context: &Context, cloud: &str, claims: &[Claim]) -> Self {
        let status = guard::read(&context.stores.clouds, cloud, |cloud| cloud.status.as_ref().map(|status| status.incidents.clone()));
        Self::join(status.flatten().unwrap_or_default(), cloud, claims)
    }

    /// Earlier incidents, brought up to date by the objects of the cloud that exist.
    pub(super) fn join(earlier: Vec<Incident>, cloud: &str, claims: &[Claim]) -> Self {
        let mut incidents: BTreeMap<String, Incident> = earlier.into_iter().map(|incident| (incident.uid.clone(), incident)).collect();
        let mut under_way = Vec::new();
        for claim in claims.iter().filter(|claim| claim.cloud == cloud && claim.mode.writes()) {
            incidents.insert(claim.uid.clone(), incident(claim));
            if claim.is_active() && !claim.settled {
                under_way.push(claim.uid.clone());
            }
        }
        let mut incidents: Vec<Incident> = incidents.into_values().collect();
        incidents.sort_by(|a, b| (a.decided_at.0, &a.uid).cmp(&(b.decided_at.0, &b.uid)));
        Self { incidents, under_way }
    }

    /// What belongs into the status now.
    pub(super) fn to_remember(&self, now: Timestamp) -> Vec<Incident> {
        let recent = |at: &MicroTime| at.0.saturating_add(REMEMBERED_FOR).is_ok_and(|until| now < until);
        let kept: Vec<&Incident> =
            self.incidents.iter().filter(|incident| recent(&incident.decided_at) || incident.released_at.as_ref().is_some_and(recent)).collect();
        kept.iter().skip(kept.len().saturating_sub(INCIDENTS_MAX)).copied().cloned().collect()
    }

    /// What policies did.
    pub(in super::super) fn acts(&self) -> Vec<Act> {
        let by_policy = self.incidents.iter().filter_map(|incident| Some((incident, incident.policy.clone()?)));
        by_policy
            .map(|(incident, policy)| Act {
                quarantine: incident.quarantine.clone(),
                host: HostName(incident.host.clone()),
                policy,
                rules: incident.rules.clone(),
                at: incident.decided_at.0,
                released: incident.released_at.as_ref().map(|at| (at.0, incident.false_positive)),
                under_way: self.under_way.contains(&incident.uid),
            })
            .collect()
    }

    /// Cordons over the limit, by the UID of their object.
    pub(in super::super) fn cordons(&self) -> BTreeMap<String, Timestamp> {
        let over = self.incidents.iter().filter(|incident| incident.over_budget);
        over.map(|incident| (incident.uid.clone(), incident.decided_at.0)).collect()
    }

    /// When a host was last given back. Events from before that moment never count again.
    pub(in super::super) fn latest_release(&self, host: &HostName) -> Option<Timestamp> {
        let here = self.incidents.iter().filter(|incident| incident.host == host.0);
        here.filter_map(|incident| incident.released_at.as_ref()).map(|at| at.0).max()
    }
}

fn incident(claim: &Claim) -> Incident {
    Incident {
        uid: claim.uid.clone(),
        quarantine: claim.name.clone(),
        host: claim.host.0.clone(),
        policy: claim.policy.clone(),
        rules: claim.rules.clone(),
        decided_at: MicroTime(claim.decided_at),
        over_budget: claim.over_budget,
        released_at: claim.released_at.map(MicroTime),
        false_positive: claim.false_positive,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::HostQuarantine;

    fn claim(name: &str, changes: &Value) -> Claim {
        let mut object = json!({
            "apiVersion": "sidestep.dev/v1alpha1", "kind": "HostQuarantine",
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-11-25T10:00:00Z"},
            "spec": {"cloud": "lab", "host": "cmp-1", "mode": "Enforce", "trigger": {"policy": "p", "policyGeneration": 1, "alerts": [], "rules": ["suricata:1:5"]}},
        });
        for (key, value) in changes.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        Claim::of(&serde_json::from_value::<HostQuarantine>(object).unwrap()).unwrap()
    }

    fn released(at: &str) -> Value {
        json!({"status": {"conditions": [{"type": "Released", "status": "True", "reason": "R", "message": "", "lastTransitionTime": at}]}})
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_done_outlives_its_object() {
        let first = Past::join(Vec::new(), "lab", &[claim("q", &released("2026-11-25T11:00:00Z"))]);
        let remembered = first.to_remember(at("2026-11-25T11:00:01Z"));
        let deleted = Past::join(remembered, "lab", &[]);
        assert_eq!(deleted.acts(), first.acts());
        assert_eq!(deleted.latest_release(&"cmp-1".into()), Some(at("2026-11-25T11:00:00Z")));
        assert_eq!(deleted.latest_release(&"cmp-2".into()), None);
    }

    #[test]
    fn it_is_remembered_for_a_day_from_the_release() {
        let past = Past::join(Vec::new(), "lab", &[claim("q", &released("2026-11-25T11:00:00Z"))]);
        assert_eq!(past.to_remember(at("2026-11-26T10:59:59Z")).len(), 1);
        assert_eq!(past.to_remember(at("2026-11-26T11:00:00Z")), []);
    }

    #[test]
    fn what_is_only_watched_and_what_other_clouds_do_is_no_incident() {
        let watched = claim("q", &json!({"spec": {"cloud": "lab", "host": "cmp-1", "mode": "Observe"}}));
        let elsewhere = claim("r", &json!({"spec": {"cloud": "other", "host": "cmp-1", "mode": "Enforce"}}));
        assert_eq!(Past::join(Vec::new(), "lab", &[watched, elsewhere]).to_remember(at("2026-11-25T11:00:00Z")), []);
    }

    #[test]
    fn the_newest_are_kept() {
        let claims: Vec<Claim> = (0..300)
            .map(|number| Claim {
                decided_at: at("2026-11-25T10:00:00Z") + jiff::SignedDuration::from_secs(number),
                ..claim(&format!("q{number}"), &json!({}))
            })
            .collect();
        let kept = Past::join(Vec::new(), "lab", &claims).to_remember(at("2026-11-25T12:00:00Z"));
        assert_eq!((kept.len(), kept[0].quarantine.as_str()), (256, "q44"));
    }

    #[test]
    fn what_has_come_to_rest_is_not_under_way() {
        let under_way = |changes: &Value| Past::join(Vec::new(), "lab", &[claim("q", changes)]).acts()[0].under_way;
        let with = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-11-25T11:00:00Z"}]}});
        assert!(under_way(&json!({})));
        assert!(under_way(&with("Ready", "False")));
        assert!(!under_way(&with("Ready", "True")));
        assert!(!under_way(&with("Stalled", "True")));
        assert!(!under_way(&released("2026-11-25T11:00:00Z")));
    }
}
