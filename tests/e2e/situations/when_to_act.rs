//! Situations about when to act.

use sidestep::api::alert::Decision;
use sidestep::api::{HostAlert, HostQuarantine, HostReport, OpenStackCloud};
use sidestep::simulator::Settings;

use crate::support::cloud::{Cloud, Simulated};
use crate::support::heartbeats::Heartbeats;
use crate::support::world::{CLOUD, Setup, World, condition_of, decision_of};

/// Nodes of the situation; as many may fall silent at once as is written there: two.
const NODES: usize = 20;

fn nodes() -> Vec<String> {
    (1..=NODES).map(|number| format!("h{number}")).collect()
}

fn is_silent(report: &HostReport) -> Option<String> {
    condition_of(report, "SensorSilent").map(|silent| silent.status)
}

async fn silence_alerts(world: &World) -> Vec<String> {
    let alerts = world.all::<HostAlert>().await.into_iter().filter(|alert| alert.spec.engine == "sidestep");
    alerts.map(|alert| alert.metadata.name.unwrap_or_default()).collect()
}

async fn wait_until_heard(world: &World, but: &[&str]) {
    world
        .until("every sentinel is heard", async || {
            let reports = world.all::<HostReport>().await;
            let unheard = reports.iter().filter(|report| !but.contains(&report.spec.node.as_str()) && is_silent(report).as_deref() != Some("False"));
            let unheard: Vec<String> = unheard.map(|report| report.spec.node.clone()).collect();
            if unheard.is_empty() && reports.len() == NODES { Ok(()) } else { Err(format!("{} reports; not heard: {unheard:?}", reports.len())) }
        })
        .await;
}

#[tokio::test]
async fn all_sensors_fall_silent_at_once() {
    let cloud = Simulated::start(Settings { hosts: nodes(), speed: 20.0, ..Settings::default() }).await;
    let mut setup = Setup::on(Cloud::Simulator(cloud)).sentinel_on("h7");
    setup.operator = vec!["--silent-after", "8s"];
    // Its own heartbeat goes where nobody listens: the story renews the Lease for it, and withholds it with the others.
    setup.sentinel = vec!["--lease-namespace", "default"];
    let world = World::start(setup).await;
    let beats = Heartbeats::start(&world.client, &nodes(), &["h7"]).await;
    wait_until_heard(&world, &[]).await;

    beats.withhold(&nodes());
    world.alert("h7");
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "SentinelsUnreachable", "True").await;
    // The real alert is decided as usual: silence does not count in the share of hosts that alert.
    let decided = |alert: &HostAlert| decision_of(alert).is_some_and(|decision| decision != Decision::NoPolicy);
    let alert = world.wait_for("h7-00", "is decided on", decided).await;
    assert!(matches!(decision_of(&alert), Some(Decision::Quarantined)), "{:?}", alert.status);
    world.wait_for_quarantine_of("h7", "exists", |_: &HostQuarantine| true).await;
    let all_silent = |cloud: &OpenStackCloud| cloud.status.as_ref().and_then(|status| status.hosts).is_some_and(|hosts| hosts.silent == 20);
    world.wait_for(CLOUD, "counts 20 silent hosts", all_silent).await;

    // They return one by one. While more are away than may fall silent at once, nobody is judged.
    for node in nodes().iter().take(NODES - 2) {
        beats.restore(node);
        world.wait_for(node, "is heard", |report: &HostReport| is_silent(report).as_deref() == Some("False")).await;
        assert_eq!(silence_alerts(&world).await, Vec::<String>::new());
    }
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "SentinelsUnreachable", "False").await;
    let events = world.events_about(CLOUD).await;
    assert_eq!(events.iter().filter(|event| event.starts_with("SentinelsUnreachable")).count(), 1, "{events:#?}");
    let none = world.events_about("h1").await;
    assert!(none.is_empty(), "{none:#?}");

    // Who does not return with the others is silent after one more interval.
    let alert = world.wait_for("h20-silent", "says so", |alert: &HostAlert| alert.spec.node == "h20").await.spec;
    assert_eq!((alert.engine.as_str(), alert.rule_id.as_str(), alert.count), ("sidestep", "SensorSilent", 1));
    world.wait_for("h19-silent", "says so", |_: &HostAlert| true).await;
    wait_until_heard(&world, &["h19", "h20"]).await;
    assert_eq!(silence_alerts(&world).await.len(), 2);
}
