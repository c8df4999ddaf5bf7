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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::super::testing::{claim, services};
    use super::super::{Acceptance, Facts, active_on, ask_all};
    use super::*;
    use crate::api::units::Mode;
    use crate::inventory::ServiceStatus;

    fn names(hosts: usize) -> Vec<String> {
        (1..=hosts).map(|number| format!("cmp-{number}")).collect()
    }

    fn cloud_of(hosts: usize) -> Vec<ComputeService> {
        let names = names(hosts);
        services(&names.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn mark(service: &mut ComputeService, uid: &str) {
        service.status = ServiceStatus::Disabled;
        service.disabled_reason = Some(Mark { uid: uid.to_owned(), disabled_before: false, reason: String::new() }.text());
    }

    fn facts<'a>(limit: u32, services: &'a [ComputeService], claims: &'a [Claim]) -> BudgetFacts<'a> {
        BudgetFacts { cloud: "production", limit, services, claims }
    }

    fn accepted(name: &str, host: &str) -> Claim {
        Claim { acceptance: Acceptance::Accepted, ..claim(name, host) }
    }

    #[test]
    fn one_more_host_is_let_through_only_below_the_limit() {
        // (hosts, limit, out of service by Sidestep, may one more go)
        let rows = [
            (2, 0, 0, false),
            (2, 1, 0, true),
            (2, 1, 1, false),
            (3, 1, 0, true),
            (3, 1, 1, false),
            (3, 2, 1, true),
            (4, 1, 1, false),
            (4, 2, 1, true),
            (4, 2, 2, false),
            (10, 2, 1, true),
            (10, 2, 2, false),
            (10, 2, 5, false),
            (200, 1, 1, false),
            (200, 40, 39, true),
            (200, 40, 40, false),
        ];
        for (hosts, limit, out, expected) in rows {
            let mut shown = cloud_of(hosts);
            shown.iter_mut().take(out).for_each(|service| mark(service, "u"));
            let target = HostName(format!("cmp-{hosts}"));
            let verdict = budget_for_decision(&facts(limit, &shown, &[]), &target);
            assert_eq!(verdict == Verdict::Pass, expected, "{hosts} hosts, limit {limit}, {out} out: {verdict:?}");
            let applicant = Claim { created: Timestamp::from_second(9).unwrap(), ..claim("applicant", target.as_str()) };
            let accepted_now = budget_for_acceptance(&facts(limit, &shown, &[]), &applicant);
            assert_eq!(accepted_now == Verdict::Pass, expected, "at acceptance: {hosts} hosts, limit {limit}, {out} out");
            let held: Vec<Claim> = names(out).iter().map(|host| accepted(host, host)).collect();
            let unseen = budget_for_decision(&facts(limit, &cloud_of(hosts), &held), &target);
            assert_eq!(unseen == Verdict::Pass, expected, "not shown by Nova: {hosts} hosts, limit {limit}, {out} out");
        }
    }

    #[test]
    fn what_nova_shows_and_what_objects_hold_is_a_union_by_host() {
        let mut shown = cloud_of(4);
        mark(&mut shown[0], "one");
        let claims = [accepted("one", "cmp-1"), accepted("two", "cmp-2")];
        let hosts: Vec<&str> = out_of_service(&facts(9, &shown, &claims)).into_iter().map(HostName::as_str).collect();
        assert_eq!(hosts, ["cmp-1", "cmp-2"]);
    }

    #[test]
    fn maintenance_and_hosts_that_are_down_do_not_count() {
        let mut shown = cloud_of(3);
        shown[0].status = ServiceStatus::Disabled;
        shown[0].disabled_reason = Some("new disks".into());
        shown[1].state = crate::inventory::ServiceState::Down;
        assert!(out_of_service(&facts(1, &shown, &[])).is_empty());
    }

    #[test]
    fn the_target_never_counts_against_itself() {
        let mut shown = cloud_of(3);
        mark(&mut shown[0], "deleted");
        assert!(budget_for_decision(&facts(1, &shown, &[]), &"cmp-2".into()).refusal().is_some());
        assert_eq!(budget_for_decision(&facts(1, &shown, &[]), &"cmp-1".into()), Verdict::Pass);
    }

    #[test]
    fn a_claim_counts_as_long_as_its_host_may_be_out_of_service() {
        let base = accepted("other", "cmp-1");
        let rows = [
            ("accepted", base.clone(), true),
            ("not asked yet", Claim { acceptance: Acceptance::Pending, ..base.clone() }, true),
            ("accepted, being deleted", Claim { deleting: true, ..base.clone() }, true),
            ("made by a person", Claim { by_person: true, ..base.clone() }, true),
            ("refused", Claim { acceptance: Acceptance::Refused, ..base.clone() }, false),
            ("not asked yet, being deleted", Claim { acceptance: Acceptance::Pending, deleting: true, ..base.clone() }, false),
            ("released", Claim { released_at: Some(Timestamp::UNIX_EPOCH), ..base.clone() }, false),
            ("mode Observe", Claim { mode: Mode::Observe, ..base.clone() }, false),
            ("another cloud", Claim { cloud: "staging".into(), ..base }, false),
        ];
        for (what, other, counts) in rows {
            let verdict = budget_for_decision(&facts(1, &cloud_of(3), &[other]), &"cmp-2".into());
            assert_eq!(verdict.refusal().is_some(), counts, "{what}");
        }
    }

    #[test]
    fn a_person_is_not_held_back() {
        let claims = [accepted("other", "cmp-1")];
        let services = cloud_of(3);
        let mine = claim("mine", "cmp-2");
        assert!(budget_for_acceptance(&facts(1, &services, &claims), &mine).refusal().is_some());
        assert_eq!(budget_for_acceptance(&facts(1, &services, &claims), &Claim { by_person: true, ..mine }), Verdict::Pass);
    }

    #[test]
    fn of_two_that_wait_for_the_last_place_one_gets_it() {
        let claims = [claim("a", "cmp-1"), claim("b", "cmp-2")];
        let services = cloud_of(3);
        assert_eq!(budget_for_acceptance(&facts(1, &services, &claims), &claims[0]), Verdict::Pass);
        assert!(budget_for_acceptance(&facts(1, &services, &claims), &claims[1]).refusal().is_some());
    }

    #[test]
    fn a_refusal_names_the_hosts_the_limit_and_the_remedy() {
        let mut shown = cloud_of(9);
        shown.iter_mut().take(7).for_each(|service| mark(service, "u"));
        let verdict = budget_for_decision(&facts(2, &shown, &[]), &"cmp-9".into());
        assert_eq!(
            verdict.refusal().unwrap(),
            "Host cmp-9 would be out of service beside 7 (cmp-1, cmp-2, cmp-3, cmp-4, cmp-5, …), and OpenStackCloud production allows 2 at once \
             (spec.budget.hostsOutOfService); release a host, raise the budget, or quarantine host cmp-9 by hand."
        );
    }

    /// What can happen to a cloud and its objects; numbers pick a host or an object.
    #[derive(Clone, Debug)]
    enum Step {
        Alert(usize),
        PersonMakes(usize),
        GatesAreAsked(usize),
        NovaShowsIt(usize),
        Release(usize),
        Delete(usize),
        SomebodyEnables(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let pick = || 0..12_usize;
        prop_oneof![
            4 => pick().prop_map(Step::Alert),
            4 => pick().prop_map(Step::GatesAreAsked),
            3 => pick().prop_map(Step::NovaShowsIt),
            1 => pick().prop_map(Step::PersonMakes),
            1 => pick().prop_map(Step::Release),
            1 => pick().prop_map(Step::Delete),
            1 => pick().prop_map(Step::SomebodyEnables),
        ]
    }

    /// Nova and the objects. Decisions and acceptance go through the gates, everything else just happens.
    struct World {
        limit: u32,
        services: Vec<ComputeService>,
        claims: Vec<Claim>,
        made: i64,
    }

    impl World {
        fn make(&mut self, host: &HostName, by_person: bool) {
            self.made += 1;
            let name = format!("q{}", self.made);
            // two objects share a second, so that ties by UID are met
            let created = Timestamp::from_second(self.made / 2).unwrap();
            self.claims.push(Claim { created, by_person, ..claim(&name, host.as_str()) });
        }

        fn take(&mut self, step: &Step) {
            let host = |pick: usize| self.services[pick % self.services.len()].host.clone();
            match *step {
                Step::Alert(pick) => {
                    let host = host(pick);
                    let decided = budget_for_decision(&facts(self.limit, &self.services, &self.claims), &host);
                    if active_on(&self.claims, "production", &host).is_none() && decided == Verdict::Pass {
                        self.make(&host, false);
                    }
                }
                Step::PersonMakes(pick) => {
                    let host = host(pick);
                    self.make(&host, true);
                }
                Step::GatesAreAsked(pick) => self.accept(pick),
                Step::NovaShowsIt(pick) => {
                    let Some(claim) = self.claims.get(pick).filter(|claim| claim.acceptance == Acceptance::Accepted && claim.released_at.is_none()) else {
                        return;
                    };
                    let service = self.services.iter_mut().find(|service| service.host == claim.host).unwrap();
                    mark(service, &claim.uid);
                }
                Step::Release(pick) => {
                    let Some(claim) = self.claims.get_mut(pick).filter(|claim| claim.acceptance == Acceptance::Accepted) else { return };
                    claim.released_at = Some(Timestamp::UNIX_EPOCH);
                    let host = claim.host.clone();
                    self.enable(&host);
                }
                Step::Delete(pick) if pick < self.claims.len() => {
                    self.claims.remove(pick);
                }
                Step::Delete(_) => {}
                Step::SomebodyEnables(pick) => {
                    let host = host(pick);
                    self.enable(&host);
                }
            }
        }

        fn accept(&mut self, pick: usize) {
            let Some(applicant) = self.claims.get(pick).filter(|claim| claim.acceptance == Acceptance::Pending) else { return };
            let facts = Facts {
                applicant,
                claims: &self.claims,
                services: &self.services,
                begun_at: Some(Timestamp::UNIX_EPOCH),
                stale_after: std::time::Duration::from_secs(90),
                budget: self.limit,
                now: Timestamp::UNIX_EPOCH,
            };
            let acceptance = if ask_all(&facts) == Verdict::Pass { Acceptance::Accepted } else { Acceptance::Refused };
            self.claims[pick].acceptance = acceptance;
        }

        fn enable(&mut self, host: &HostName) {
            let service = self.services.iter_mut().find(|service| service.host == *host).unwrap();
            service.status = ServiceStatus::Enabled;
            service.disabled_reason = None;
        }

        /// Hosts that are out of service in truth: marked in Nova, or accepted, so that a request may be on the way.
        fn out(&self) -> BTreeSet<&HostName> {
            let accepted = self.claims.iter().filter(|claim| claim.acceptance == Acceptance::Accepted && claim.released_at.is_none());
            let shown = self.services.iter().filter(|service| service.status == ServiceStatus::Disabled);
            accepted.map(|claim| &claim.host).chain(shown.map(|service| &service.host)).collect()
        }
    }

    fn world(hosts: usize, limit: u32) -> World {
        World { limit, services: cloud_of(hosts), claims: Vec::new(), made: 0 }
    }

    proptest! {
        #[test]
        fn decisions_never_exceed_the_budget(hosts in prop::sample::select(vec![2_usize, 3, 4, 10]), limit in 0..5_u32, steps in prop::collection::vec(step(), 0..80)) {
            let mut world = world(hosts, limit);
            for step in steps.iter().filter(|step| !matches!(step, Step::PersonMakes(_))) {
                world.take(step);
                prop_assert!(world.out().len() <= limit as usize, "after {step:?}: {:?}", world.out());
            }
        }

        #[test]
        fn nothing_that_people_do_lets_a_decision_exceed_the_budget(hosts in prop::sample::select(vec![2_usize, 3, 4, 10]), limit in 0..5_u32, steps in prop::collection::vec(step(), 0..80)) {
            let mut world = world(hosts, limit);
            for step in &steps {
                let before = world.out().len();
                let by_person = |world: &World| matches!(step, Step::GatesAreAsked(pick) if world.claims.get(*pick).is_some_and(|claim| claim.by_person));
                let allowed = by_person(&world);
                world.take(step);
                let after = world.out().len();
                prop_assert!(after <= before || allowed || after <= limit as usize, "after {step:?}: {:?}", world.out());
            }
        }

        #[test]
        fn a_host_never_has_two_accepted_quarantines(hosts in prop::sample::select(vec![2_usize, 3]), limit in 0..5_u32, steps in prop::collection::vec(step(), 0..80)) {
            let mut world = world(hosts, limit);
            for step in &steps {
                world.take(step);
                let accepted: Vec<&HostName> = world.claims.iter().filter(|claim| claim.acceptance == Acceptance::Accepted && claim.released_at.is_none()).map(|claim| &claim.host).collect();
                let distinct: BTreeSet<&HostName> = accepted.iter().copied().collect();
                prop_assert_eq!(accepted.len(), distinct.len(), "after {:?}", step);
            }
        }
    }
}
