//! The budget gate, fail-closed: no alarm, false or forged, empties the cloud.
//!
//! A host counts as out of service when Nova shows it disabled with Sidestep's mark, or when an object holds it that Nova does not show yet: the union, by host. So deleting an object refills
//! nothing (the mark stays), two decisions at once cannot both take the last place (the first one's object counts before Nova shows anything), and an operator's own maintenance counts as nothing.
//! The host that is asked for never counts: it cannot stand in its own way.

use std::collections::BTreeSet;

use super::{Claim, Verdict};
use crate::inventory::mark::Mark;
use crate::inventory::{ComputeService, HostName};

/// So many hosts are named in a refusal.
const NAMED: usize = 5;

/// What the budget of one cloud is judged by.
#[derive(Clone, Copy, Debug)]
pub struct BudgetFacts<'a> {
    /// The OpenStackCloud.
    pub cloud: &'a str,
    /// Its `spec.budget.hostsOutOfService`.
    pub limit: u32,
    /// Nova's compute services.
    pub services: &'a [ComputeService],
    /// The HostQuarantines of all clouds.
    pub claims: &'a [Claim],
}

/// Asked by a policy's decision, before it makes an object: everything that holds a host counts.
pub fn budget_for_decision(facts: &BudgetFacts<'_>, target: &HostName) -> Verdict {
    judge(facts, target, out_of_service(facts))
}

/// Asked at acceptance. An object that a person made passes: it is counted, and not held back. For others, objects count that were accepted or that go before this one, so that two which wait for the
/// last place do not refuse each other.
pub fn budget_for_acceptance(facts: &BudgetFacts<'_>, applicant: &Claim) -> Verdict {
    if applicant.by_person {
        return Verdict::Pass;
    }
    let ahead = held(facts).filter(|claim| claim.uid != applicant.uid && claim.goes_before(applicant));
    let hosts = marked(facts).chain(ahead.map(|claim| &claim.host)).collect();
    judge(facts, &applicant.host, hosts)
}

/// The hosts of this cloud that are out of service by Sidestep, or about to be.
#[must_use]
pub fn out_of_service<'a>(facts: &BudgetFacts<'a>) -> BTreeSet<&'a HostName> {
    marked(facts).chain(held(facts).map(|claim| &claim.host)).collect()
}

fn marked<'a>(facts: &BudgetFacts<'a>) -> impl Iterator<Item = &'a HostName> + use<'a> {
    facts.services.iter().filter(|service| Mark::on(service).is_some()).map(|service| &service.host)
}

fn held<'a>(facts: &BudgetFacts<'a>) -> impl Iterator<Item = &'a Claim> + use<'a> {
    let cloud = facts.cloud;
    facts.claims.iter().filter(move |claim| claim.cloud == cloud && claim.holds_host())
}

fn judge(facts: &BudgetFacts<'_>, target: &HostName, mut hosts: BTreeSet<&HostName>) -> Verdict {
    hosts.remove(target);
    let limit = facts.limit;
    if u32::try_from(hosts.len()).unwrap_or(u32::MAX) < limit {
        return Verdict::Pass;
    }
    let cloud = facts.cloud;
    let message = if limit == 0 {
        format!(
            "OpenStackCloud {cloud} lets no policy take a host out of service (spec.budget.hostsOutOfService is 0); raise it, or quarantine host {target} by hand."
        )
    } else {
        format!(
            "Host {target} would be out of service beside {}, and OpenStackCloud {cloud} allows {limit} at once (spec.budget.hostsOutOfService); release a host, raise the budget, or quarantine host {target} by hand.",
            name_some(&hosts)
        )
    };
    Verdict::Refuse { reason: "OverBudget", message }
}

/// The count and the first few names.
fn name_some(hosts: &BTreeSet<&HostName>) -> String {
    let names: Vec<&str> = hosts.iter().take(NAMED).map(|host| host.as_str()).collect();
    let more = if hosts.len() > NAMED { ", …" } else { "" };
    format!("{} ({}{more})", hosts.len(), names.join(", "))
}
