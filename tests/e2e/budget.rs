//! No alarm, false or forged, takes more hosts out of service than the budget says.

use serde_json::json;
use sidestep::api::HostAlert;
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::Phase;
use sidestep::simulator::Settings;

use super::support::cloud::{Cloud, Simulated, active};
use super::support::world::{Setup, World, decision_of};

#[tokio::test]
async fn alerts_on_all_hosts_take_one_out_of_service_and_the_next_when_it_is_given_back() {
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
