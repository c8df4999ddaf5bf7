//! No alarm, false or forged, takes more hosts out of service than the budget says.

use serde_json::json;
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::Phase;
use sidestep::api::{HostAlert, HostQuarantine, OpenStackCloud};
use sidestep::simulator::Settings;

use super::policy::forged;
use super::support::cloud::{Cloud, Simulated, active};
use super::support::world::{CLOUD, Setup, World, condition_of, decision_of};

#[tokio::test]
async fn budget_alerts_on_all_hosts_take_one_out_of_service_and_the_next_when_it_is_given_back() {
    // The fourth is not attacked: an alerted host takes no servers.
    let hosts = ["cmp-1", "cmp-2", "cmp-3", "cmp-4"].map(str::to_owned).to_vec();
    let attacked = &hosts[..3];
    let servers = attacked.iter().map(|host| active(host, host)).collect();
    let settings = Settings { hosts: hosts.clone(), servers, speed: 20.0, ..Settings::default() };
    let mut setup = Setup::on(Cloud::Simulator(Simulated::start(settings).await));
    // That all hosts alert at once is a gate of its own.
    setup.spec = json!({"budget": {"alertingSharePercent": 100}});
    let world = World::start(setup).await;
    for host in attacked {
        world.alert(host);
    }
    let over = |alerts: &[HostAlert], decision| alerts.iter().filter(|alert| decision_of(alert) == Some(decision)).count();
    let settled = world
        .until("one host is quarantined and two are over the budget", async || {
            let alerts = world.all::<HostAlert>().await;
            let counts = (over(&alerts, Decision::Quarantined), over(&alerts, Decision::OverBudget));
            if counts == (1, 2) { Ok(alerts) } else { Err(format!("{counts:?}")) }
        })
        .await;
    let first = settled.iter().find(|alert| decision_of(alert) == Some(Decision::Quarantined)).unwrap().status.clone().unwrap();
    let refused = settled.iter().find(|alert| decision_of(alert) == Some(Decision::OverBudget)).unwrap();
    let why = refused.status.clone().unwrap().message.unwrap();
    assert!(why.contains("hostsOutOfService"), "{why}");
    let name = first.quarantine.unwrap();
    world.wait_for_phase(&name, Phase::Empty).await;
    assert_eq!(world.simulator().disabled_hosts(), [first.host.clone().unwrap()]);

    world.release(&name).await;
    world.wait_for_phase(&name, Phase::Released).await;
    let second = world
        .until("a second host is quarantined", async || {
            let alerts = world.all::<HostAlert>().await;
            let other = alerts.iter().find(|alert| alert.status.as_ref().is_some_and(|status| status.quarantine.as_ref().is_some_and(|other| *other != name)));
            other.and_then(|alert| alert.status.clone()).ok_or_else(|| format!("{:?}", alerts.iter().map(decision_of).collect::<Vec<_>>()))
        })
        .await;
    world.wait_for_phase(&second.quarantine.unwrap(), Phase::Empty).await;
    assert_eq!(world.simulator().disabled_hosts(), [second.host.unwrap()]);
    // In the order of the requests: the first is enabled again before the second is disabled, and the third is never touched.
    let services = world.simulator().service_writes();
    let [disabled, enabled, next] = services.as_slice() else { panic!("{services:?}") };
    assert!(disabled == enabled && enabled != next, "{services:?}");
}

/// How many services were ever written to, and what is out of service at the end, when every host of a cloud of so many alerts.
async fn flood(hosts: usize, budget: u32) -> (usize, Vec<String>) {
    let names: Vec<String> = (1..=hosts).map(|number| format!("cmp-{number}")).collect();
    let settings = Settings { servers: names.iter().map(|host| active(host, host)).collect(), hosts: names.clone(), speed: 20.0, ..Settings::default() };
    let mut setup = Setup::on(Cloud::Simulator(Simulated::start(settings).await)).without_sentinels();
    // Nothing but the cloud's own budget holds the policy back, whose limits are wide.
    setup.spec = json!({"budget": {"hostsOutOfService": budget, "percentOutOfService": 20, "alertingSharePercent": 20}});
    let world = World::start(setup).await;
    // Each by two rules, where that does not take minutes.
    for slot in 0..if hosts > 10 { 1 } else { 2 } {
        for host in &names {
            world.create::<HostAlert>(&format!("{host}-{slot:02x}"), forged(host, slot)).await;
        }
    }
    let decided = world
        .until_patiently("every alert is decided on", async || {
            let alerts = world.all::<HostAlert>().await;
            let open = alerts.iter().filter(|alert| decision_of(alert).is_none()).count();
            if open == 0 { Ok(alerts) } else { Err(format!("{open} are not")) }
        })
        .await;
    assert!(decided.iter().any(|alert| decision_of(alert) == Some(Decision::OverBudget)));
    let says = |cloud: &OpenStackCloud| {
        let shut = condition_of(cloud, "BudgetAvailable").filter(|condition| condition.reason == "TooManyAlerting");
        shut.is_some_and(|shut| {
            shut.message.starts_with(&format!("{hosts} (cmp-1, ")) && shut.message.contains(&format!(" of {hosts} hosts of OpenStackCloud"))
        })
    };
    world.wait_for(CLOUD, "says that too many hosts alert", says).await;
    world.wait_for_event(CLOUD, "TooManyAlerting").await;
    // What was begun before the ceiling closed comes to rest; then the writes tell of every host that was ever touched.
    for quarantine in world.all::<HostQuarantine>().await {
        world
            .wait_for::<HostQuarantine>(quarantine.metadata.name.as_deref().unwrap(), "has come to rest", |object| {
                object.status.as_ref().is_some_and(|status| matches!(status.phase, Some(Phase::Empty | Phase::Blocked | Phase::Refused)))
            })
            .await;
    }
    let mut touched = world.simulator().service_writes();
    touched.sort();
    touched.dedup();
    (touched.len(), world.simulator().disabled_hosts())
}

/// The budget is the smaller one of the number and of a fifth of the hosts, and one host at least.
async fn assert_no_more_than(most: usize, hosts: usize, budget: u32) {
    let (touched, disabled) = flood(hosts, budget).await;
    assert!(touched <= most && disabled.len() <= most, "{touched} services were written to; out of service: {disabled:?}");
}

#[tokio::test]
async fn alerting_share_a_flood_of_forged_alerts_from_all_of_2_hosts_disables_1_at_most() {
    assert_no_more_than(1, 2, 2).await;
}

#[tokio::test]
async fn alerting_share_a_flood_of_forged_alerts_from_all_of_3_hosts_disables_1_at_most() {
    assert_no_more_than(1, 3, 2).await;
}

#[tokio::test]
async fn alerting_share_a_flood_of_forged_alerts_from_all_of_4_hosts_disables_1_at_most() {
    assert_no_more_than(1, 4, 2).await;
}

#[tokio::test]
async fn alerting_share_a_flood_of_forged_alerts_from_all_of_10_hosts_disables_2_at_most() {
    assert_no_more_than(2, 10, 2).await;
}

#[tokio::test]
async fn alerting_share_a_flood_of_forged_alerts_from_all_of_200_hosts_disables_2_at_most() {
    assert_no_more_than(2, 200, 2).await;
}

#[tokio::test]
async fn budget_is_refilled_by_no_deletion_and_no_restart_and_holds_people_to_the_percentage_alone() {
    let hosts: Vec<String> = (1..=4).map(|number| format!("cmp-{number}")).collect();
    let settings = Settings { servers: vec![active("b", "cmp-2")], hosts, speed: 20.0, ..Settings::default() };
    let mut setup = Setup::on(Cloud::Simulator(Simulated::start(settings).await)).without_sentinels();
    setup.spec = json!({"budget": {"hostsOutOfService": 1, "cordonsPerHour": 1}});
    setup.policy = json!({"onLimit": "Cordon"});
    let mut world = World::start(setup).await;
    let alert = async |world: &World, host: &str, decision: Decision| {
        let name = format!("{host}-00");
        world.create::<HostAlert>(&name, forged(host, 0)).await;
        let decided = world.wait_for(&name, &format!("is {}", decision.as_str()), |alert: &HostAlert| decision_of(alert) == Some(decision)).await;
        decided.status.unwrap()
    };
    // The host of a deleted object carries the mark, and counts.
    let first = alert(&world, "cmp-1", Decision::Quarantined).await.quarantine.unwrap();
    world.wait_for_phase(&first, Phase::Empty).await;
    world.delete::<HostQuarantine>(&first).await;
    world.wait_until_gone::<HostQuarantine>(&first).await;
    let second = alert(&world, "cmp-2", Decision::Cordoned).await;
    assert!(second.message.as_ref().unwrap().contains("hostsOutOfService"), "{second:?}");
    let second = second.quarantine.unwrap();
    world.wait_for_phase(&second, Phase::Cordoned).await;
    // The time of a cordon stands in the cloud's status, whatever becomes of its object and of the operator.
    let cordons = |cloud: &OpenStackCloud| cloud.status.as_ref().and_then(|status| status.budget.clone()).is_some_and(|used| used.cordons.len() == 1);
    world.wait_for(CLOUD, "remembers one cordon", cordons).await;
    world.delete::<HostQuarantine>(&second).await;
    world.wait_until_gone::<HostQuarantine>(&second).await;
    world.kill_operator();
    world.start_operator(&[]);
    let third = alert(&world, "cmp-3", Decision::OverBudget).await.message.unwrap();
    assert!(third.contains("hostsOutOfService") && third.contains("cordonsPerHour"), "{third}");
    assert_eq!(world.simulator().disabled_hosts(), ["cmp-1", "cmp-2"]);

    // Objects that people make are held to the percentage alone: half of four hosts are out already.
    world.change::<OpenStackCloud>(CLOUD, json!({"budget": {"percentOutOfService": 50}})).await;
    world.quarantine_by_hand("hunch", "cmp-4", "Enforce").await;
    let refused = world.wait_for_phase("hunch", Phase::Refused).await;
    let accepted = condition_of(&refused, "Accepted").unwrap();
    assert!(accepted.reason == "OverBudget" && accepted.message.contains("percentOutOfService is 50"), "{accepted:?}");
    world.wait_for_event("hunch", "OverBudget").await;
    world.change::<OpenStackCloud>(CLOUD, json!({"budget": {"percentOutOfService": 75}})).await;
    world.wait_for_phase("hunch", Phase::Empty).await;
}
