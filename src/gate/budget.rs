//! The budget gates, all fail-closed: no alarm, false or forged, empties the cloud.
//!
//! | limit | counts | holds for |
//! | --- | --- | --- |
//! | `hostsOutOfService` | hosts with Sidestep's mark in Nova, and hosts that objects hold; not the cordons over the limit | objects of policies |
//! | `percentOutOfService` | all hosts that are disabled or down, and hosts that objects hold | every object |
//! | `cordonsPerHour` | cordons over the limit (`onLimit: Cordon`) within the last hour | those cordons |
//! | `alertingSharePercent` | hosts on which policies that act held within 10 minutes | objects of policies |
//!
//! What Nova shows and what objects hold is a union by host. So deleting an object refills nothing (the mark stays), two decisions at once cannot both take the last place (the first one's object counts before
//! Nova shows anything), and a host that stopped its own service shields nobody but itself, and that not either: the host that is asked for never counts.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Claim, Pool, Verdict};
use crate::api::cloud::Budget;
use crate::inventory::mark::Mark;
use crate::inventory::{ComputeService, HostName, ServiceState, ServiceStatus};

/// So many hosts are named in a refusal.
const NAMED: usize = 5;
/// The time that `cordonsPerHour` is about.
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// What the budget of one cloud is judged by.
#[derive(Clone, Copy, Debug)]
pub struct BudgetFacts<'a> {
    /// The OpenStackCloud.
    pub cloud: &'a str,
    /// Its `spec.budget`.
    pub budget: &'a Budget,
    /// Nova's compute services.
    pub services: &'a [ComputeService],
    /// The HostQuarantines of all clouds.
    pub claims: &'a [Claim],
    /// Cordons over the limit of the last hour at least, by the UID of their object, whether or not that still exists.
    pub cordons: &'a BTreeMap<String, Timestamp>,
    /// Hosts on which policies that act held a short while ago.
    pub alerting: &'a BTreeSet<HostName>,
    /// Hosts that wait for a place and go before others, because they attack one of the cloud's own.
    pub ahead: &'a BTreeSet<HostName>,
    /// The quarantine pool. What happens on its hosts is in none of the sets above.
    pub pool: &'a Pool,
    /// Now, on the operator's clock.
    pub now: Timestamp,
}

/// Asked by a policy's decision, before it makes an object: everything that holds a host counts.
pub fn budget_for_decision(facts: &BudgetFacts<'_>, target: &HostName) -> Verdict {
    let waiting = facts.ahead.iter().filter(|_| !facts.ahead.contains(target));
    let by_policies = out_of_service(facts).into_iter().chain(waiting).collect();
    number(facts, Some(target), by_policies).and_then(|| percent(facts, Some(target), out_of_all(facts)))
}

/// Whether one more host may be taken out of service, whichever it is.
pub fn budget_for_next(facts: &BudgetFacts<'_>) -> Verdict {
    number(facts, None, out_of_service(facts)).and_then(|| percent(facts, None, out_of_all(facts)))
}

/// Asked by a policy's decision to cordon where there is no other room.
pub fn cordon_for_decision(facts: &BudgetFacts<'_>, target: &HostName) -> Verdict {
    cordons(facts, None).and_then(|| percent(facts, Some(target), out_of_all(facts)))
}

/// Asked at acceptance. Objects count that were accepted or that go before this one, so that two which wait for the last place do not refuse each other. An object that a person made is held to the
/// percentage alone.
pub fn budget_for_acceptance(facts: &BudgetFacts<'_>, applicant: &Claim) -> Verdict {
    let ahead: Vec<&Claim> = held(facts).filter(|claim| claim.uid != applicant.uid && claim.goes_before(applicant)).collect();
    let target = &applicant.host;
    let own = || {
        if applicant.by_person {
            Verdict::Pass
        } else if applicant.over_budget {
            cordons(facts, Some(&applicant.uid))
        } else {
            number(facts, Some(target), marked(facts).chain(ahead.iter().filter(|claim| !claim.over_budget).map(|claim| &claim.host)).collect())
        }
    };
    own().and_then(|| percent(facts, Some(target), unavailable(facts).chain(ahead.iter().map(|claim| &claim.host)).collect()))
}

/// Whether few enough hosts alert at once.
pub fn alerting_share(facts: &BudgetFacts<'_>) -> Verdict {
    let (hosts, percent) = (hosts(facts), facts.budget.alerting_share_percent);
    let most = Budget::share(hosts, percent);
    if facts.alerting.len() <= most {
        return Verdict::Pass;
    }
    Verdict::Refuse {
        reason: "TooManyAlerting",
        message: format!(
            "{} of {hosts} hosts of OpenStackCloud {} were alerted within 10 minutes, more than {most} (spec.budget.alertingSharePercent is {percent}): nothing is done on the word of alerts. Look whether they are true; quarantine hosts by hand meanwhile.",
            name_some(&facts.alerting.iter().collect()),
            facts.cloud
        ),
    }
}

/// The hosts of this cloud that are out of service by Sidestep, or about to be; without the cordons over the limit.
#[must_use]
pub fn out_of_service<'a>(facts: &BudgetFacts<'a>) -> BTreeSet<&'a HostName> {
    marked(facts).chain(held(facts).filter(|claim| !claim.over_budget).map(|claim| &claim.host)).collect()
}

/// The limit that holds for [`out_of_service`]: the smaller one of the number and the percentage.
#[must_use]
pub fn most_out_of_service(facts: &BudgetFacts<'_>) -> usize {
    let number = usize::try_from(facts.budget.hosts_out_of_service).unwrap_or(usize::MAX);
    number.min(Budget::share(hosts(facts), facts.budget.percent_out_of_service))
}

/// How many cordons over the limit were made within the last hour.
#[must_use]
pub fn cordons_within_an_hour(facts: &BudgetFacts<'_>) -> usize {
    recent_cordons(facts).count()
}

/// The hosts that are out of service by whomever, or about to be.
fn out_of_all<'a>(facts: &BudgetFacts<'a>) -> BTreeSet<&'a HostName> {
    unavailable(facts).chain(held(facts).map(|claim| &claim.host)).collect()
}

fn hosts(facts: &BudgetFacts<'_>) -> usize {
    facts.services.iter().map(|service| &service.host).collect::<BTreeSet<_>>().len()
}

fn marked<'a>(facts: &BudgetFacts<'a>) -> impl Iterator<Item = &'a HostName> + use<'a> {
    let cordons = facts.cordons;
    let counts = move |service: &&ComputeService| Mark::on(service).is_some_and(|mark| !cordons.contains_key(&mark.uid));
    facts.services.iter().filter(counts).map(|service| &service.host)
}

fn unavailable<'a>(facts: &BudgetFacts<'a>) -> impl Iterator<Item = &'a HostName> + use<'a> {
    let counts = |service: &&ComputeService| service.status == ServiceStatus::Disabled || service.state == ServiceState::Down || service.forced_down;
    facts.services.iter().filter(counts).map(|service| &service.host)
}

fn held<'a>(facts: &BudgetFacts<'a>) -> impl Iterator<Item = &'a Claim> + use<'a> {
    let cloud = facts.cloud;
    facts.claims.iter().filter(move |claim| claim.cloud == cloud && claim.holds_host())
}

fn number(facts: &BudgetFacts<'_>, target: Option<&HostName>, mut hosts: BTreeSet<&HostName>) -> Verdict {
    hosts.retain(|host| Some(*host) != target);
    let (cloud, limit) = (facts.cloud, facts.budget.hosts_out_of_service);
    let (subject, by_hand) = (subject(target), by_hand(target));
    let message = if limit == 0 {
        format!("OpenStackCloud {cloud} lets no policy take a host out of service (spec.budget.hostsOutOfService is 0); raise it, or quarantine {by_hand}.")
    } else if hosts.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
        return Verdict::Pass;
    } else {
        format!(
            "{subject} would be out of service beside {}, and OpenStackCloud {cloud} allows {limit} at once (spec.budget.hostsOutOfService); release a host, raise the budget, or quarantine {by_hand}.",
            name_some(&hosts)
        )
    };
    Verdict::Refuse { reason: "OverBudget", message }
}

fn percent(facts: &BudgetFacts<'_>, target: Option<&HostName>, mut out: BTreeSet<&HostName>) -> Verdict {
    out.retain(|host| Some(*host) != target);
    let (all, percent) = (hosts(facts), facts.budget.percent_out_of_service);
    let most = Budget::share(all, percent);
    if out.len() < most {
        return Verdict::Pass;
    }
    let message = format!(
        "{} would be out of service beside {} of {all} hosts that are disabled or down, and OpenStackCloud {} allows {most} in all (spec.budget.percentOutOfService is {percent}); bring a host back, or raise the share.",
        subject(target),
        name_some(&out),
        facts.cloud
    );
    Verdict::Refuse { reason: "OverBudget", message }
}

fn recent_cordons<'a>(facts: &BudgetFacts<'a>) -> impl Iterator<Item = (&'a String, Timestamp)> + use<'a> {
    let now = facts.now;
    facts.cordons.iter().map(|(uid, at)| (uid, *at)).filter(move |(_, at)| now.duration_since(*at) < HOUR)
}

/// Whether one more cordon over the limit may be made, beside that of the object with this UID.
fn cordons(facts: &BudgetFacts<'_>, own: Option<&str>) -> Verdict {
    let others: Vec<Timestamp> = recent_cordons(facts).filter(|(uid, _)| Some(uid.as_str()) != own).map(|(_, at)| at).collect();
    let limit = facts.budget.cordons_per_hour;
    if others.len() < usize::try_from(limit).unwrap_or(usize::MAX) {
        return Verdict::Pass;
    }
    let message = format!(
        "{} hosts were taken out of service over the limit within the last hour, and OpenStackCloud {} allows {limit} (spec.budget.cordonsPerHour).",
        others.len(),
        facts.cloud
    );
    Verdict::Refuse { reason: "OverBudget", message }
}

fn subject(target: Option<&HostName>) -> String {
    target.map_or_else(|| "One more host".to_owned(), |host| format!("Host {host}"))
}

fn by_hand(target: Option<&HostName>) -> String {
    target.map_or_else(|| "a host by hand".to_owned(), |host| format!("host {host} by hand"))
}

/// The count and the first few names.
fn name_some(hosts: &BTreeSet<&HostName>) -> String {
    let names: Vec<&str> = hosts.iter().take(NAMED).map(|host| host.as_str()).collect();
    let more = if hosts.len() > NAMED { ", …" } else { "" };
    format!("{} ({}{more})", hosts.len(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{Scene, claim, names};
    use super::super::{Acceptance, Facts, active_on, ask_all};
    use super::*;
    use crate::api::units::Mode;

    /// Room for everything, so that each test closes one limit.
    fn roomy(hosts: usize) -> Scene {
        let budget = Budget { hosts_out_of_service: 1000, percent_out_of_service: 100, cordons_per_hour: 1000, alerting_share_percent: 100 };
        Scene { budget, ..Scene::of(hosts) }
    }

    fn mark(service: &mut ComputeService, uid: &str) {
        service.status = ServiceStatus::Disabled;
        service.disabled_reason = Some(Mark { uid: uid.to_owned(), disabled_before: false, reason: String::new(), earlier: None }.text());
    }

    fn accepted(name: &str, host: &str) -> Claim {
        Claim { acceptance: Acceptance::Accepted, ..claim(name, host) }
    }

    fn late(name: &str, host: &HostName) -> Claim {
        Claim { created: Timestamp::from_second(9).unwrap(), ..claim(name, host.as_str()) }
    }

    fn passes(verdict: &Verdict) -> bool {
        *verdict == Verdict::Pass
    }

    fn last(hosts: usize) -> HostName {
        HostName(format!("cmp-{hosts}"))
    }

    #[test]
    fn budget_hosts_out_of_service() {
        // (hosts, limit, out of service by Sidestep, may one more go)
        let rows = [
            (2, 0, 0, false),
            (2, 1, 0, true),
            (2, 1, 1, false),
            (3, 0, 0, false),
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
            let (mut scene, target) = (roomy(hosts), last(hosts));
            scene.budget.hosts_out_of_service = limit;
            let mut unseen = scene.clone();
            scene.services.iter_mut().take(out).for_each(|service| mark(service, "u"));
            let verdict = budget_for_decision(&scene.facts(), &target);
            assert_eq!(passes(&verdict), expected, "{hosts} hosts, limit {limit}, {out} out: {verdict:?}");
            assert_eq!(passes(&budget_for_acceptance(&scene.facts(), &late("a", &target))), expected, "at acceptance: {hosts} hosts, limit {limit}, {out} out");
            unseen.claims = names(out).iter().map(|host| accepted(host, host)).collect();
            let verdict = budget_for_decision(&unseen.facts(), &target);
            assert_eq!(passes(&verdict), expected, "not shown by Nova: {hosts} hosts, limit {limit}, {out} out");
        }
    }

    #[test]
    fn budget_percent_out_of_service() {
        // (hosts, percent, disabled or down by whomever, may one more go)
        let rows = [
            (2, 20, 0, true),
            (2, 20, 1, false),
            (2, 50, 1, false),
            (2, 100, 1, true),
            (3, 20, 0, true),
            (3, 20, 1, false),
            (3, 66, 1, false),
            (3, 67, 1, true),
            (4, 20, 1, false),
            (4, 50, 1, true),
            (4, 50, 2, false),
            (10, 20, 1, true),
            (10, 20, 2, false),
            (10, 29, 2, false),
            (10, 30, 2, true),
            (200, 20, 39, true),
            (200, 20, 40, false),
            (200, 1, 1, true),
            (200, 1, 2, false),
        ];
        for (hosts, percent, out, expected) in rows {
            let (mut scene, target) = (roomy(hosts), last(hosts));
            scene.budget.percent_out_of_service = percent;
            for (number, service) in scene.services.iter_mut().take(out).enumerate() {
                match number % 3 {
                    0 => service.status = ServiceStatus::Disabled,
                    1 => service.state = ServiceState::Down,
                    _ => service.forced_down = true,
                }
            }
            let what = format!("{hosts} hosts, {percent} %, {out} out");
            assert_eq!(passes(&budget_for_decision(&scene.facts(), &target)), expected, "{what}");
            assert_eq!(passes(&cordon_for_decision(&scene.facts(), &target)), expected, "a cordon over the limit: {what}");
            assert_eq!(passes(&budget_for_acceptance(&scene.facts(), &late("a", &target))), expected, "at acceptance: {what}");
            let by_person = Claim { by_person: true, ..late("a", &target) };
            assert_eq!(passes(&budget_for_acceptance(&scene.facts(), &by_person)), expected, "made by a person: {what}");
        }
    }

    #[test]
    fn budget_cordons_per_hour() {
        // (hosts, limit, cordons within the hour, may one more be made)
        let rows = [
            (2, 0, 0, false),
            (2, 1, 0, true),
            (3, 1, 1, false),
            (3, 2, 1, true),
            (4, 4, 3, true),
            (4, 4, 4, false),
            (10, 4, 4, false),
            (10, 5, 4, true),
            (200, 4, 3, true),
            (200, 4, 4, false),
            (200, 50, 49, true),
        ];
        for (hosts, limit, made, expected) in rows {
            let (mut scene, target) = (roomy(hosts), last(hosts));
            scene.budget.cordons_per_hour = limit;
            let minute = |number: i64| scene.now - SignedDuration::from_mins(number);
            let recent = (0..made).map(|number| (format!("u{number}"), minute(number % 60)));
            let old = (0..9).map(|number| (format!("old{number}"), minute(60 + number)));
            let cordons = recent.chain(old).collect();
            scene.cordons = cordons;
            let verdict = cordon_for_decision(&scene.facts(), &target);
            assert_eq!(passes(&verdict), expected, "{hosts} hosts, limit {limit}, {made} made: {verdict:?}");
            let own = Claim { over_budget: true, ..late("own", &target) };
            scene.cordons.insert("own".into(), scene.now);
            assert_eq!(passes(&budget_for_acceptance(&scene.facts(), &own)), expected, "at acceptance, its own time is there already");
        }
    }

    #[test]
    fn budget_alerting_share() {
        // (hosts, percent, hosts that alert, is anything done)
        let rows = [
            (2, 20, 1, true),
            (2, 20, 2, false),
            (3, 20, 1, true),
            (3, 20, 2, false),
            (3, 67, 2, true),
            (4, 20, 2, false),
            (4, 50, 2, true),
            (4, 50, 3, false),
            (10, 20, 2, true),
            (10, 20, 3, false),
            (200, 20, 40, true),
            (200, 20, 41, false),
            (200, 100, 200, true),
        ];
        for (hosts, percent, alerting, expected) in rows {
            let mut scene = roomy(hosts);
            scene.budget.alerting_share_percent = percent;
            scene.alerting = names(alerting).into_iter().map(HostName).collect();
            let verdict = alerting_share(&scene.facts());
            assert_eq!(passes(&verdict), expected, "{hosts} hosts, {percent} %, {alerting} alert: {verdict:?}");
        }
    }

    #[test]
    fn budget_what_nova_shows_and_what_objects_hold_is_a_union_by_host() {
        let mut scene = roomy(4);
        mark(&mut scene.services[0], "one");
        scene.claims = vec![accepted("one", "cmp-1"), accepted("two", "cmp-2")];
        let hosts: Vec<&str> = out_of_service(&scene.facts()).into_iter().map(HostName::as_str).collect();
        assert_eq!(hosts, ["cmp-1", "cmp-2"]);
    }

    #[test]
    fn budget_maintenance_and_hosts_that_are_down_count_in_the_percentage_alone() {
        let mut scene = roomy(3);
        scene.budget.hosts_out_of_service = 1;
        scene.services[0].status = ServiceStatus::Disabled;
        scene.services[0].disabled_reason = Some("new disks".into());
        scene.services[1].state = ServiceState::Down;
        assert!(out_of_service(&scene.facts()).is_empty());
        assert_eq!(budget_for_decision(&scene.facts(), &"cmp-3".into()), Verdict::Pass);
        scene.budget.percent_out_of_service = 67;
        assert!(budget_for_decision(&scene.facts(), &"cmp-3".into()).refusal().is_some());
    }

    #[test]
    fn budget_the_target_never_counts_against_itself_and_a_deleted_object_refills_nothing() {
        let mut scene = Scene::of(3);
        mark(&mut scene.services[0], "deleted");
        assert!(budget_for_decision(&scene.facts(), &"cmp-2".into()).refusal().is_some());
        assert_eq!(budget_for_decision(&scene.facts(), &"cmp-1".into()), Verdict::Pass);
    }

    #[test]
    fn budget_a_host_that_stopped_its_own_service_does_not_shield_itself() {
        let mut scene = Scene::of(3);
        scene.services[0].state = ServiceState::Down;
        assert_eq!(budget_for_decision(&scene.facts(), &"cmp-1".into()), Verdict::Pass);
    }

    #[test]
    fn budget_a_cordon_over_the_limit_takes_no_place_from_others() {
        let mut scene = roomy(10);
        scene.budget.hosts_out_of_service = 1;
        mark(&mut scene.services[0], "cordon");
        assert!(budget_for_decision(&scene.facts(), &"cmp-2".into()).refusal().is_some(), "as long as nothing says that it is one");
        scene.cordons = BTreeMap::from([("cordon".to_owned(), scene.now)]);
        assert_eq!(budget_for_decision(&scene.facts(), &"cmp-2".into()), Verdict::Pass);
        scene.claims = vec![Claim { over_budget: true, ..accepted("another", "cmp-3") }];
        assert_eq!(budget_for_decision(&scene.facts(), &"cmp-2".into()), Verdict::Pass);
        scene.budget.percent_out_of_service = 20;
        assert!(budget_for_decision(&scene.facts(), &"cmp-2".into()).refusal().is_some(), "both count in the percentage");
    }

    #[test]
    fn the_last_place_is_kept_for_a_host_that_attacks_one_of_our_own() {
        let mut scene = Scene::of(10);
        scene.ahead = BTreeSet::from([HostName::from("cmp-1")]);
        assert!(budget_for_decision(&scene.facts(), &"cmp-2".into()).refusal().is_some());
        assert_eq!(budget_for_decision(&scene.facts(), &"cmp-1".into()), Verdict::Pass);
        scene.budget.hosts_out_of_service = 2;
        assert_eq!(budget_for_decision(&scene.facts(), &"cmp-2".into()), Verdict::Pass, "there is room for both");
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
            let scene = Scene { claims: vec![other], ..Scene::of(3) };
            assert_eq!(budget_for_decision(&scene.facts(), &"cmp-2".into()).refusal().is_some(), counts, "{what}");
        }
    }

    #[test]
    fn budget_a_person_is_held_to_the_percentage_alone() {
        let mut scene = Scene { claims: vec![accepted("other", "cmp-1")], ..Scene::of(10) };
        scene.budget.hosts_out_of_service = 0;
        let mine = claim("mine", "cmp-2");
        assert!(budget_for_acceptance(&scene.facts(), &mine).refusal().is_some());
        assert_eq!(budget_for_acceptance(&scene.facts(), &Claim { by_person: true, ..mine }), Verdict::Pass);
    }

    #[test]
    fn budget_of_two_that_wait_for_the_last_place_one_gets_it() {
        let scene = Scene { claims: vec![claim("a", "cmp-1"), claim("b", "cmp-2")], ..Scene::of(3) };
        assert_eq!(budget_for_acceptance(&scene.facts(), &scene.claims[0]), Verdict::Pass);
        assert!(budget_for_acceptance(&scene.facts(), &scene.claims[1]).refusal().is_some());
    }

    #[test]
    fn a_refusal_names_the_hosts_the_limit_and_the_remedy() {
        let mut scene = roomy(9);
        scene.budget.hosts_out_of_service = 2;
        scene.services.iter_mut().take(7).for_each(|service| mark(service, "u"));
        let verdict = budget_for_decision(&scene.facts(), &"cmp-9".into());
        assert_eq!(
            verdict.refusal().unwrap(),
            "Host cmp-9 would be out of service beside 7 (cmp-1, cmp-2, cmp-3, cmp-4, cmp-5, …), and OpenStackCloud production allows 2 at once \
             (spec.budget.hostsOutOfService); release a host, raise the budget, or quarantine host cmp-9 by hand."
        );
        scene.budget = Budget { hosts_out_of_service: 1000, percent_out_of_service: 30, ..scene.budget };
        let verdict = budget_for_decision(&scene.facts(), &"cmp-9".into());
        assert!(verdict.refusal().unwrap().contains("beside 7 (cmp-1, cmp-2, cmp-3, cmp-4, cmp-5, …) of 9 hosts that are disabled or down"));
        assert!(verdict.refusal().unwrap().contains("allows 2 in all (spec.budget.percentOutOfService is 30)"));
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
        scene: Scene,
        made: i64,
    }

    impl World {
        fn make(&mut self, host: &HostName, by_person: bool) {
            self.made += 1;
            let name = format!("q{}", self.made);
            // two objects share a second, so that ties by UID are met
            let created = Timestamp::from_second(self.made / 2).unwrap();
            self.scene.claims.push(Claim { created, by_person, ..claim(&name, host.as_str()) });
        }

        fn take(&mut self, step: &Step) {
            let host = |pick: usize| self.scene.services[pick % self.scene.services.len()].host.clone();
            match *step {
                Step::Alert(pick) => {
                    let host = host(pick);
                    let decided = budget_for_decision(&self.scene.facts(), &host);
                    if active_on(&self.scene.claims, "production", &host).is_none() && decided == Verdict::Pass {
                        self.make(&host, false);
                    }
                }
                Step::PersonMakes(pick) => {
                    let host = host(pick);
                    self.make(&host, true);
                }
                Step::GatesAreAsked(pick) => self.accept(pick),
                Step::NovaShowsIt(pick) => {
                    let Some(claim) = self.scene.claims.get(pick).filter(|claim| claim.acceptance == Acceptance::Accepted && claim.released_at.is_none())
                    else {
                        return;
                    };
                    let service = self.scene.services.iter_mut().find(|service| service.host == claim.host).unwrap();
                    mark(service, &claim.uid);
                }
                Step::Release(pick) => {
                    let Some(claim) = self.scene.claims.get_mut(pick).filter(|claim| claim.acceptance == Acceptance::Accepted) else { return };
                    claim.released_at = Some(Timestamp::UNIX_EPOCH);
                    let host = claim.host.clone();
                    self.enable(&host);
                }
                Step::Delete(pick) if pick < self.scene.claims.len() => {
                    self.scene.claims.remove(pick);
                }
                Step::Delete(_) => {}
                Step::SomebodyEnables(pick) => {
                    let host = host(pick);
                    self.enable(&host);
                }
            }
        }

        fn accept(&mut self, pick: usize) {
            let Some(applicant) = self.scene.claims.get(pick).filter(|claim| claim.acceptance == Acceptance::Pending) else { return };
            let budget = self.scene.facts();
            let facts = Facts { applicant, budget, begun_at: Some(budget.now), stale_after: std::time::Duration::from_secs(90) };
            let acceptance = if ask_all(&facts) == Verdict::Pass { Acceptance::Accepted } else { Acceptance::Refused };
            self.scene.claims[pick].acceptance = acceptance;
        }

        fn enable(&mut self, host: &HostName) {
            let service = self.scene.services.iter_mut().find(|service| service.host == *host).unwrap();
            service.status = ServiceStatus::Enabled;
            service.disabled_reason = None;
        }

        /// Hosts that are out of service in truth: marked in Nova, or accepted, so that a request may be on the way.
        fn out(&self) -> BTreeSet<&HostName> {
            let accepted = self.scene.claims.iter().filter(|claim| claim.acceptance == Acceptance::Accepted && claim.released_at.is_none());
            let shown = self.scene.services.iter().filter(|service| service.status == ServiceStatus::Disabled);
            accepted.map(|claim| &claim.host).chain(shown.map(|service| &service.host)).collect()
        }
    }

    fn world(hosts: usize, limit: u32) -> World {
        let mut scene = roomy(hosts);
        scene.budget.hosts_out_of_service = limit;
        World { scene, made: 0 }
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
                let by_person = |world: &World| matches!(step, Step::GatesAreAsked(pick) if world.scene.claims.get(*pick).is_some_and(|claim| claim.by_person));
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
                let accepted: Vec<&HostName> = world.scene.claims.iter().filter(|claim| claim.acceptance == Acceptance::Accepted && claim.released_at.is_none()).map(|claim| &claim.host).collect();
                let distinct: BTreeSet<&HostName> = accepted.iter().copied().collect();
                prop_assert_eq!(accepted.len(), distinct.len(), "after {:?}", step);
            }
        }
    }
}
