//! What a decision on an alert is taken on. All of it from memory, and without copying what the stores hold: it is read with every alert.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::core::DeserializeGuard;

use crate::alert::decision::{
    Act, Active, Case, CloudFacts, Gates, Labels, Place, Policy, Series, Unmapped, age, counts_one_series, locate, matches, same_group,
};
use crate::api::alert::Decision;
use crate::api::condition::RUNS_ON_SUSPECT;
use crate::api::{HostAlert, HostQuarantine, OpenStackCloud, OpenStackCloudSpec, QuarantinePolicy};
use crate::gate::{self, Acceptance, Claim};
use crate::inventory::HostName;
use crate::kubernetes::guard;
use crate::operator::cloud::{self, BudgetView};
use crate::operator::context::Context;

/// What is known of an alert before anything is asked about its host: where it belongs, and the policies.
pub(super) struct Beginning {
    place: Result<Place, Unmapped>,
    labels: Labels,
    policies: Vec<Arc<DeserializeGuard<QuarantinePolicy>>>,
    /// The API server's time of the sentinel's last write.
    pub(super) written: Option<Timestamp>,
}

impl Beginning {
    pub(super) fn of(context: &Context, alert: &HostAlert) -> Self {
        let place = place(context, &alert.spec.node);
        let labels = place.as_ref().map(|place| labels(context, place)).unwrap_or_default();
        Self { place, labels, policies: context.stores.policies.state(), written: written(alert) }
    }

    /// The policies as the decision takes them.
    pub(super) fn policies(&self) -> Vec<Policy<'_>> {
        let valid = self.policies.iter().filter_map(|policy| policy.0.as_ref().ok());
        valid
            .map(|policy| Policy {
                name: policy.metadata.name.as_deref().unwrap_or_default(),
                generation: policy.metadata.generation.unwrap_or(0),
                spec: &policy.spec,
            })
            .collect()
    }

    /// The labels of the host.
    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }
}

/// What is asked about the host.
pub(super) struct Facts {
    name: String,
    /// Name and UID of the active HostQuarantine of the host.
    active: Option<(String, String)>,
    /// The active one is a policy's and only takes the host out of service.
    only_cordons: bool,
    released_at: Option<Timestamp>,
    acts: Vec<Act>,
    peers: Vec<Peer>,
    only_records: Option<String>,
    unenforced: Option<String>,
    pool_host: Option<String>,
    stale_view: Option<String>,
    over_share: Option<String>,
    over_budget: Option<String>,
    no_cordon: Option<String>,
}

/// Another series of the cloud that is counted together with the one that is judged.
pub(super) struct Peer {
    alert: Arc<DeserializeGuard<HostAlert>>,
    age: SignedDuration,
    released_ago: Option<SignedDuration>,
    labels: Labels,
}

impl Peer {
    fn series(&self) -> Option<Series<'_>> {
        let alert = &self.alert.0.as_ref().ok()?.spec;
        Some(Series { alert, age: self.age, released_ago: self.released_ago, labels: &self.labels })
    }

    /// The alert, if it parses.
    pub(super) fn alert(&self) -> Option<&HostAlert> {
        self.alert.0.as_ref().ok()
    }
}

impl Facts {
    /// Reads everything that a decision on this alert needs.
    pub(super) fn of(context: &Context, alert: &HostAlert, beginning: &Beginning, now: Timestamp) -> Self {
        let mut facts = Self {
            name: alert.name_any(),
            active: None,
            only_cordons: false,
            released_at: None,
            acts: Vec::new(),
            peers: Vec::new(),
            only_records: None,
            unenforced: None,
            pool_host: None,
            stale_view: None,
            over_share: None,
            over_budget: None,
            no_cordon: None,
        };
        let Ok(place) = &beginning.place else { return facts };
        let Some(spec) = context.cloud_spec(&place.cloud) else { return facts };
        let view = BudgetView::of(context, &place.cloud, spec.budget);
        let active = gate::active_on(&view.claims, &place.cloud, &place.host);
        facts.only_cordons = active.is_some_and(|claim| claim.only_cordons && !claim.by_person);
        facts.active = active.map(|claim| (claim.name.clone(), claim.uid.clone()));
        facts.released_at = view.past.latest_release(&place.host);
        facts.acts = view.past.acts();
        facts.peers = peers(context, alert, beginning, place, &view, now);
        facts.ask(context, place, &spec, &view, now);
        facts
    }

    /// The sentences of the gates that are shut.
    fn ask(&mut self, context: &Context, place: &Place, spec: &OpenStackCloudSpec, view: &BudgetView, now: Timestamp) {
        let budget = view.facts();
        let words = |verdict: gate::Verdict| verdict.refusal().map(ToOwned::to_owned);
        let grounds = context.grounds();
        self.unenforced = grounds.unenforced();
        let unusable = cloud::usable(context, &place.cloud).err().filter(|unusable| unusable.reason == RUNS_ON_SUSPECT);
        self.only_records = grounds.outdated().or(unusable.map(|unusable| unusable.message));
        self.stale_view = words(gate::fresh(&place.cloud, view.begun_at(), spec.inventory.stale_after.get(), now));
        match gate::outside_pool(&place.cloud, budget.pool, &place.host) {
            gate::Verdict::Refuse { reason: gate::POOL_HOST, message } => self.pool_host = Some(message),
            // Not known: the view of the cloud is not whole.
            gate::Verdict::Refuse { message, .. } => self.stale_view = self.stale_view.take().or(Some(message)),
            gate::Verdict::Pass => {}
        }
        self.over_share = words(gate::alerting_share(&budget));
        self.over_budget = words(gate::budget_for_decision(&budget, &place.host));
        self.no_cordon = words(gate::cordon_for_decision(&budget, &place.host));
    }

    /// Whether this is the active HostQuarantine of the host; one that a decision made is known by its name alone, which no other has.
    pub(super) fn is_active(&self, name: Option<&str>, uid: Option<&str>) -> bool {
        self.active.as_ref().is_some_and(|active| name == Some(&active.0) && uid.is_none_or(|uid| uid == active.1))
    }

    /// The other series that were counted.
    pub(super) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    /// The case to judge.
    pub(super) fn case<'a>(
        &'a self,
        alert: &'a HostAlert,
        beginning: &'a Beginning,
        policies: &'a [Policy<'a>],
        peers: &'a [Series<'a>],
        now: Timestamp,
    ) -> Case<'a> {
        Case {
            alert_name: &self.name,
            alert: &alert.spec,
            written: beginning.written,
            now,
            place: &beginning.place,
            policies,
            labels: &beginning.labels,
            peers,
            active: self.active.as_ref().map(|(name, uid)| Active { name, uid, only_cordons: self.only_cordons }),
            released_at: self.released_at,
            acts: &self.acts,
            gates: Gates {
                only_records: self.only_records.as_deref(),
                unenforced: self.unenforced.as_deref(),
                pool_host: self.pool_host.as_deref(),
                stale_view: self.stale_view.as_deref(),
                over_share: self.over_share.as_deref(),
                over_budget: self.over_budget.as_deref(),
                no_cordon: self.no_cordon.as_deref(),
            },
        }
    }

    /// The other series as the decision takes them.
    pub(super) fn series(&self) -> Vec<Series<'_>> {
        self.peers.iter().filter_map(Peer::series).collect()
    }
}

fn place(context: &Context, node: &str) -> Result<Place, Unmapped> {
    let clouds = context.stores.clouds.state();
    let clouds: Vec<&OpenStackCloud> = clouds.iter().filter_map(|cloud| cloud.0.as_ref().ok()).collect();
    let services: Vec<_> = clouds.iter().map(|cloud| context.cloud(&cloud.name_any()).ok().and_then(|live| live.inventory.services())).collect();
    let facts: Vec<CloudFacts<'_>> = clouds
        .iter()
        .zip(&services)
        .map(|(cloud, services)| CloudFacts {
            name: cloud.metadata.name.as_deref().unwrap_or_default(),
            mapping: &cloud.spec.hosts,
            services: services.as_ref().map(|services| services.services.as_slice()),
        })
        .collect();
    locate(node, &facts)
}

fn labels(context: &Context, place: &Place) -> Labels {
    let of_host = |cloud: &OpenStackCloud| {
        let entry = cloud.spec.hosts.iter().find(|entry| entry.host == place.host.0);
        entry.map(|entry| entry.labels.clone())
    };
    guard::read(&context.stores.clouds, &place.cloud, of_host).flatten().unwrap_or_default()
}

/// The other series that some policy counts together with this one. None where every policy that is about the alert counts one series alone, as by default.
fn peers(context: &Context, alert: &HostAlert, beginning: &Beginning, place: &Place, view: &BudgetView, now: Timestamp) -> Vec<Peer> {
    let policies = beginning.policies();
    let about = |policy: &&Policy<'_>| policy.spec.cloud == place.cloud && matches(&policy.spec.matches, &alert.spec, &beginning.labels);
    let wide: Vec<&Policy<'_>> = policies.iter().filter(about).filter(|policy| !counts_one_series(policy.spec)).collect();
    if wide.is_empty() {
        return Vec::new();
    }
    let all = context.stores.alerts.state();
    let others = all.into_iter().filter_map(|object| {
        let other = object.0.as_ref().ok()?;
        let status = other.status.as_ref()?;
        let host = HostName(status.host.clone()?);
        let counted = other.metadata.name != alert.metadata.name
            && status.cloud.as_ref() == Some(&place.cloud)
            && wide.iter().any(|policy| same_group(&policy.spec.threshold, &alert.spec, &other.spec));
        if !counted {
            return None;
        }
        let age = age(other.spec.last_seen.0, written(other), now);
        let released_ago = view.past.latest_release(&host).map(|released| now.duration_since(released));
        let labels = labels(context, &Place { cloud: place.cloud.clone(), host });
        Some(Peer { age, released_ago, labels, alert: object })
    });
    others.collect()
}

/// The API server's own time of the last write to the spec, in whole seconds.
pub(super) fn written(alert: &HostAlert) -> Option<Timestamp> {
    let entries = alert.metadata.managed_fields.iter().flatten();
    entries.filter(|entry| entry.subresource.is_none()).filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
}

/// Whether the quarantine that the alert has joined was refused afterwards: then nothing is done about its events, and they are decided on again.
pub(super) fn has_joined_in_vain(context: &Context, alert: &HostAlert) -> bool {
    let Some(status) = alert.status.as_ref().filter(|status| status.decision == Some(Decision::AlreadyQuarantined)) else { return false };
    status.quarantine.as_deref().is_some_and(|name| guard::read(&context.stores.quarantines, name, is_refused).unwrap_or(false))
}

fn is_refused(quarantine: &HostQuarantine) -> bool {
    Claim::of(quarantine).is_some_and(|claim| claim.acceptance == Acceptance::Refused)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_a_quarantine_that_a_gate_refused_was_joined_in_vain() {
        let quarantine = |status: Value| -> HostQuarantine {
            serde_json::from_value(json!({
                "apiVersion": "sidestep.dev/v1alpha1", "kind": "HostQuarantine",
                "metadata": {"name": "q", "uid": "u", "creationTimestamp": "2026-11-25T10:00:00Z"},
                "spec": {"cloud": "c", "host": "h", "mode": "Enforce"},
                "status": status,
            }))
            .unwrap()
        };
        let accepted = |status: &str| json!({"conditions": [{"type": "Accepted", "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-11-25T10:00:01Z"}]});
        assert!(is_refused(&quarantine(accepted("False"))));
        for joined in [json!({}), accepted("Unknown"), accepted("True")] {
            assert!(!is_refused(&quarantine(joined.clone())), "{joined}");
        }
    }
}
