//! Mode Observe: the same decision, and not one write to Nova.

use serde_json::json;
use sidestep::api::HostAlert;
use sidestep::api::HostQuarantine;
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::{Phase, ResidentReason};
use sidestep::simulator::VmState;

use super::support::cloud::{active, server};
use super::support::world::{POLICY, Setup, World};

#[tokio::test]
async fn observing_decides_the_same_and_writes_nothing_to_nova() {
    let mut setup = Setup::simulated(vec![active("a", "cmp-1"), active("b", "cmp-1"), server("off", "cmp-1", VmState::Rescued)]).await.sentinel_on("cmp-1");
    setup.policy = json!({"mode": "Observe"});
    let world = World::start(setup).await;
    world.alert("cmp-1");
    let decided = |alert: &HostAlert| alert.status.as_ref().is_some_and(|status| status.decision.is_some());
    let status = world.wait_for("cmp-1-00", "is decided on", decided).await.status.unwrap();
    assert_eq!(status.decision, Some(Decision::Recorded));
    let observed: Vec<_> = status.observed.iter().map(|observed| (observed.policy.as_str(), observed.decision)).collect();
    assert_eq!(observed, [(POLICY, Decision::Quarantined)]);
    assert!(world.all::<HostQuarantine>().await.is_empty(), "a policy that observes makes nothing");

    world.quarantine_by_hand("hunch", "cmp-1", "Observe").await;
    let shown = world.wait_for_phase("hunch", Phase::Observed).await.status.unwrap();
    assert_eq!(
        shown.residents.iter().map(|resident| (resident.name.as_str(), resident.reason)).collect::<Vec<_>>(),
        [("off", ResidentReason::StateNotMovable)]
    );
    assert_eq!(shown.progress.unwrap().total, 3);
    let ready = world.wait_for_condition::<HostQuarantine>("hunch", "Ready", "True").await;
    assert!(ready.message.contains("2 servers would be moved and 1 would stay"), "{}", ready.message);
    assert_eq!(world.runs_of("hunch").await.len(), 0);
    assert_eq!(world.simulator().writes(), []);

    // The same object may act later; then all is done that was shown.
    world.change::<HostQuarantine>("hunch", json!({"mode": "Enforce"})).await;
    world.wait_for_phase("hunch", Phase::Blocked).await;
    assert_eq!(world.simulator().servers_on("cmp-1").len(), 1);
}
