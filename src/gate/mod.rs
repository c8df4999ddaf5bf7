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
//! | [`grounds`] | sentinels are tied to their nodes (for what came of an alert), and the kinds are not older than the operator | closed |
//! | [`outside_pool`] | the host is none of the quarantine pool's (for what came of an alert) | closed |
//! | [`alerting_share`] | few enough hosts alert at once: `budget.alertingSharePercent` (for what came of an alert) | closed |
//! | [`budget_for_decision`], [`budget_for_acceptance`], [`cordon_for_decision`] | few enough other hosts are out of service, by number and by share | closed |
//! | [`permit_writes`] | the mode is Approve or Enforce | closed |
//!
//! [`WritePermit`] is the proof, as a type, that the mode gate was passed: the writing client of the cloud takes one, and nothing outside this module can make one.

mod active;
mod budget;
mod claim;
mod fresh;
mod grounds;
mod host;
mod mode;
mod pool;
#[cfg(test)]
mod testing;
mod verdict;

use std::time::Duration;

use jiff::Timestamp;

pub use active::only_active;
pub use budget::{
    BudgetFacts, alerting_share, budget_for_acceptance, budget_for_decision, budget_for_next, cordon_for_decision, cordons_within_an_hour, most_out_of_service,
    out_of_service,
};
pub use claim::{Acceptance, Claim, DECIDED, active_on};
pub use fresh::fresh;
pub use grounds::grounds;
pub use host::host_exists;
pub use mode::{WritePermit, permit_writes};
pub use pool::{POOL_HOST, Pool, outside_pool};
pub use verdict::Verdict;

use crate::api::units::Mode;

/// What the gates of one acceptance are judged by.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The HostQuarantine that wants to be accepted.
    pub applicant: &'a Claim,
    /// The budget of the applicant's cloud, its services, all HostQuarantines (the applicant may be among them), and the time.
    pub budget: BudgetFacts<'a>,
    /// When the reading of the services was begun. `None` when the cloud was never read.
    pub begun_at: Option<Timestamp>,
    /// The cloud's `spec.inventory.staleAfter`.
    pub stale_after: Duration,
}

/// Asks the gates for the acceptance of a HostQuarantine and returns the first refusal.
///
/// Freshness comes first, because the others read the view: that a host does not exist must not be said on an old one. An object in mode Observe takes nothing out of service, so only the
/// gates about the view and the host are asked for it.
pub fn ask_all(facts: &Facts<'_>) -> Verdict {
    let (applicant, budget) = (facts.applicant, &facts.budget);
    let seen =
        fresh(&applicant.cloud, facts.begun_at, facts.stale_after, budget.now).and_then(|| host_exists(&applicant.cloud, &applicant.host, budget.services));
    if applicant.mode == Mode::Observe {
        return seen;
    }
    let of_an_alert = || {
        if applicant.by_person {
            return Verdict::Pass;
        }
        outside_pool(&applicant.cloud, budget.pool, &applicant.host).and_then(|| alerting_share(budget))
    };
    seen.and_then(|| only_active(applicant, budget.claims)).and_then(of_an_alert).and_then(|| budget_for_acceptance(budget, applicant))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::testing::{Scene, claim, services};
    use super::*;
    use crate::api::condition::ANOTHER_ACTIVE;
    use crate::inventory::HostName;

    /// Everything wrong at once; each step puts one thing right, and the next gate speaks.
    #[test]
    fn the_first_refusal_is_returned_and_nothing_passes_until_all_do() {
        let other = Claim { acceptance: Acceptance::Accepted, ..claim("other", "cmp-1") };
        let elsewhere = Claim { acceptance: Acceptance::Accepted, ..claim("elsewhere", "cmp-2") };
        let mine = Claim { created: Timestamp::from_second(5).unwrap(), ..claim("mine", "cmp-1") };
        let mut scene = Scene { services: services(&["cmp-2"]), claims: vec![other, elsewhere.clone()], ..Scene::of(0) };
        scene.alerting = ["cmp-1", "cmp-2"].map(HostName::from).into();
        scene.now = Timestamp::from_second(100).unwrap();
        let ask = |scene: &Scene, begun_at| {
            let facts = Facts { applicant: &mine, budget: scene.facts(), begun_at, stale_after: Duration::from_secs(90) };
            match ask_all(&facts) {
                Verdict::Pass => "passes",
                Verdict::Refuse { reason, .. } => reason,
            }
        };
        let mut reasons = vec![ask(&scene, None)];
        let begun_at = Timestamp::from_second(60).ok();
        reasons.push(ask(&scene, begun_at));
        scene.services = services(&["cmp-1", "cmp-2"]);
        reasons.push(ask(&scene, begun_at));
        scene.claims = vec![elsewhere];
        scene.pool = Pool { aggregate: "suspects".into(), hosts: Some(BTreeSet::from(["cmp-1".into()])) };
        reasons.push(ask(&scene, begun_at));
        scene.pool.hosts = Some(BTreeSet::new());
        reasons.push(ask(&scene, begun_at));
        scene.alerting = BTreeSet::new();
        reasons.push(ask(&scene, begun_at));
        scene.claims.clear();
        reasons.push(ask(&scene, begun_at));
        assert_eq!(reasons, ["InventoryStale", "HostNotFound", ANOTHER_ACTIVE, POOL_HOST, "TooManyAlerting", "OverBudget", "passes"]);
    }

    #[test]
    fn what_a_person_makes_does_not_depend_on_the_word_of_alerts() {
        let mine = Claim { by_person: true, ..claim("mine", "cmp-1") };
        let mut scene = Scene::of(3);
        scene.alerting = ["cmp-1", "cmp-2", "cmp-3"].map(HostName::from).into();
        scene.pool = Pool { aggregate: "suspects".into(), hosts: Some(BTreeSet::from(["cmp-1".into()])) };
        let facts = Facts { applicant: &mine, budget: scene.facts(), begun_at: Some(scene.now), stale_after: Duration::from_secs(90) };
        assert_eq!(ask_all(&facts), Verdict::Pass);
    }

    #[test]
    fn mode_observe_is_held_back_only_where_there_is_nothing_to_show() {
        let watching = Claim { mode: Mode::Observe, ..claim("watching", "cmp-1") };
        let mut scene = Scene { claims: vec![Claim { acceptance: Acceptance::Accepted, ..claim("other", "cmp-1") }], ..Scene::of(1) };
        scene.budget.hosts_out_of_service = 0;
        let ask = |scene: &Scene| {
            let facts = Facts { applicant: &watching, budget: scene.facts(), begun_at: Some(scene.now), stale_after: Duration::from_secs(90) };
            ask_all(&facts)
        };
        assert_eq!(ask(&scene), Verdict::Pass);
        scene.services.clear();
        assert!(matches!(ask(&scene), Verdict::Refuse { reason: "HostNotFound", .. }));
    }
}
