//! What a decision on an alert is taken on.

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::alert::decision::{Case, CloudFacts, Place, Policy, Unmapped, locate};
use crate::api::{HostAlert, QuarantinePolicy};
use crate::gate::{self, BudgetFacts, Claim};
use crate::kubernetes::guard;
use crate::operator::context::Context;

/// The facts behind one decision.
pub(super) struct Facts {
    name: String,
    place: Result<Place, Unmapped>,
    policies: Vec<QuarantinePolicy>,
    active: Option<String>,
    released_at: Option<Timestamp>,
    outdated: Option<String>,
    unenforced: Option<String>,
    stale_view: Option<String>,
    over_budget: Option<String>,
    /// The API server's time of the sentinel's last write.
    pub(super) written: Option<Timestamp>,
}

impl Facts {
    /// The policies as the decision takes them.
    pub(super) fn policies(&self) -> Vec<Policy<'_>> {
        self.policies
            .iter()
            .map(|policy| Policy {
                name: policy.metadata.name.as_deref().unwrap_or_default(),
                generation: policy.metadata.generation.unwrap_or(0),
                spec: &policy.spec,
            })
            .collect()
    }

    /// The case to judge.
    pub(super) fn case<'a>(&'a self, alert: &'a HostAlert, policies: &'a [Policy<'a>], now: Timestamp) -> Case<'a> {
        Case {
            alert_name: &self.name,
            alert: &alert.spec,
            written: self.written,
            now,
            place: &self.place,
            policies,
            active: self.active.as_deref(),
            released_at: self.released_at,
            outdated: self.outdated.as_deref(),
            unenforced: self.unenforced.as_deref(),
            stale_view: self.stale_view.as_deref(),
            over_budget: self.over_budget.as_deref(),
        }
    }
}

/// Reads everything that a decision on this alert needs, from memory.
pub(super) fn observe(context: &Context, alert: &HostAlert) -> Facts {
    let place = place(context, &alert.spec.node);
    let claims = context.claims();
    let grounds = context.grounds();
    let mut facts = Facts {
        name: alert.name_any(),
        policies: guard::all(&context.stores.policies),
        active: None,
        released_at: None,
        outdated: grounds.outdated(),
        unenforced: grounds.unenforced(),
        stale_view: None,
        over_budget: None,
        written: written(alert),
        place,
    };
    if let Ok(place) = &facts.place {
        facts.active = gate::active_on(&claims, &place.cloud, &place.host).map(|claim| claim.name.clone());
        facts.released_at = gate::latest_release(&claims, &place.cloud, &place.host);
        (facts.stale_view, facts.over_budget) = gates(context, place, &claims);
    }
    facts
}

fn place(context: &Context, node: &str) -> Result<Place, Unmapped> {
    let clouds = guard::all(&context.stores.clouds);
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

/// The sentences of the gates that are shut: the view is too old, the budget is used up.
fn gates(context: &Context, place: &Place, claims: &[Claim]) -> (Option<String>, Option<String>) {
    let Some(spec) = context.cloud_spec(&place.cloud) else { return (None, None) };
    let services = context.cloud(&place.cloud).ok().and_then(|live| live.inventory.services());
    let begun_at = services.as_ref().map(|services| services.begun_at);
    let fresh = gate::fresh(&place.cloud, begun_at, spec.inventory.stale_after.get(), context.clock.now());
    let rows = services.as_ref().map(|services| services.services.as_slice()).unwrap_or_default();
    let budget = BudgetFacts { cloud: &place.cloud, limit: spec.budget.hosts_out_of_service, services: rows, claims };
    let left = gate::budget_for_decision(&budget, &place.host);
    (fresh.refusal().map(ToOwned::to_owned), left.refusal().map(ToOwned::to_owned))
}

/// The API server's own time of the last write to the spec, in whole seconds.
pub(super) fn written(alert: &HostAlert) -> Option<Timestamp> {
    let entries = alert.metadata.managed_fields.iter().flatten();
    entries.filter(|entry| entry.subresource.is_none()).filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
}
