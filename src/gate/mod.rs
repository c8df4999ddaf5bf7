//! Gates: what must hold before Sidestep acts. Pure: facts in, verdict out.
//!
//! A gate refuses new work and never blocks release or the end of what runs. All of them are asked once, when a HostQuarantine is accepted ([`ask_all`]); a decision on an alert asks the ones that
//! it depends on beforehand, so that no object is made that would be refused.
//!
//! | gate | passes when | when in doubt |
//! | --- | --- | --- |
//! | [`fresh`] | the view of the cloud is younger than `inventory.staleAfter` | closed |
//! | [`host_exists`] | Nova has exactly one compute service on the host | closed |
//! | [`only_active`] | no other active quarantine goes before this one on the host | closed |
//! | [`budget_for_decision`], [`budget_for_acceptance`] | fewer other hosts than `budget.hostsOutOfService` are out of service | closed |
//! | [`grounds`] | sentinels are tied to their nodes (for what came of an alert), and the kinds are not older than the operator | closed |
//! | [`permit_writes`] | the mode is Enforce | closed |
//!
//! [`WritePermit`] is the proof, as a type, that the mode gate was passed: the writing client of the cloud takes one, and nothing outside this module can make one.

mod active;
mod budget;
mod claim;
mod fresh;
mod grounds;
mod host;
mod mode;
#[cfg(test)]
mod testing;
mod verdict;

use std::time::Duration;

use jiff::Timestamp;

pub use active::only_active;
pub use budget::{BudgetFacts, budget_for_acceptance, budget_for_decision, out_of_service};
pub use claim::{Acceptance, Claim, active_on, latest_release};
pub use fresh::fresh;
pub use grounds::grounds;
pub use host::host_exists;
pub use mode::{WritePermit, permit_writes};
pub use verdict::Verdict;

use crate::api::units::Mode;
use crate::inventory::ComputeService;

/// What the gates of one acceptance are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The HostQuarantine that wants to be accepted.
    pub applicant: &'a Claim,
    /// All HostQuarantines; the applicant may be among them.
    pub claims: &'a [Claim],
    /// Nova's compute services in the applicant's cloud, as last read.
    pub services: &'a [ComputeService],
    /// When that reading was begun. `None` when the cloud was never read.
    pub begun_at: Option<Timestamp>,
    /// The cloud's `spec.inventory.staleAfter`.
    pub stale_after: Duration,
    /// The cloud's `spec.budget.hostsOutOfService`.
    pub budget: u32,
    /// Now, on the operator's clock.
    pub now: Timestamp,
}

/// Asks the gates for the acceptance of a HostQuarantine and returns the first refusal.
///
/// Freshness comes first, because the others read the view: that a host does not exist must not be said on an old one. An object in mode Observe takes nothing out of service, so only the
/// gates about the view and the host are asked for it.
pub fn ask_all(facts: &Facts<'_>) -> Verdict {
    let applicant = facts.applicant;
    let seen =
        fresh(&applicant.cloud, facts.begun_at, facts.stale_after, facts.now).and_then(|| host_exists(&applicant.cloud, &applicant.host, facts.services));
    if applicant.mode == Mode::Observe {
        return seen;
    }
    let budget = BudgetFacts { cloud: &applicant.cloud, limit: facts.budget, services: facts.services, claims: facts.claims };
    seen.and_then(|| only_active(applicant, facts.claims)).and_then(|| budget_for_acceptance(&budget, applicant))
}

#[cfg(test)]
mod tests {
    use super::testing::{claim, services};
    use super::*;
    use crate::api::condition::ANOTHER_ACTIVE;

    /// Everything wrong at once; each closure puts one thing right, and the next gate speaks.
    #[test]
    fn the_first_refusal_is_returned_and_nothing_passes_until_all_do() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let other = Claim { acceptance: Acceptance::Accepted, ..claim("other", "cmp-1") };
        let elsewhere = Claim { acceptance: Acceptance::Accepted, ..claim("elsewhere", "cmp-2") };
        let mine = Claim { created: at(5), ..claim("mine", "cmp-1") };
        let (no_hosts, hosts) = (services(&["cmp-2"]), services(&["cmp-1", "cmp-2"]));
        let (both, one, none) = ([other, elsewhere.clone()], [elsewhere], []);
        let worst =
            Facts { applicant: &mine, claims: &both, services: &no_hosts, begun_at: None, stale_after: Duration::from_secs(90), budget: 1, now: at(100) };
        let fresh = Facts { begun_at: Some(at(60)), ..worst };
        let known = Facts { services: &hosts, ..fresh };
        let alone = Facts { claims: &one, ..known };
        let within_budget = Facts { claims: &none, ..alone };
        let reasons: Vec<Option<&str>> = [worst, fresh, known, alone, within_budget]
            .iter()
            .map(|facts| match ask_all(facts) {
                Verdict::Pass => None,
                Verdict::Refuse { reason, .. } => Some(reason),
            })
            .collect();
        assert_eq!(reasons, [Some("InventoryStale"), Some("HostNotFound"), Some(ANOTHER_ACTIVE), Some("OverBudget"), None]);
    }

    #[test]
    fn mode_observe_is_held_back_only_where_there_is_nothing_to_show() {
        let watching = Claim { mode: Mode::Observe, ..claim("watching", "cmp-1") };
        let claims = [Claim { acceptance: Acceptance::Accepted, ..claim("other", "cmp-1") }];
        let services = services(&["cmp-1"]);
        let now = Timestamp::UNIX_EPOCH;
        let facts =
            Facts { applicant: &watching, claims: &claims, services: &services, begun_at: Some(now), stale_after: Duration::from_secs(90), budget: 0, now };
        assert_eq!(ask_all(&facts), Verdict::Pass);
        let unknown = Facts { services: &[], ..facts };
        assert!(matches!(ask_all(&unknown), Verdict::Refuse { reason: "HostNotFound", .. }));
    }
}
