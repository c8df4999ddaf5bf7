//! From an alert line to an empty host and back: the main job.

use sidestep::api::alert::Decision;
use sidestep::api::quarantine::Phase;
use sidestep::api::{HostAlert, HostQuarantine};
use sidestep::simulator::VmState;

use super::support::cloud::server;
use super::support::world::World;

#[tokio::test]
async fn one_alert_line_empties_the_host_and_release_gives_it_back() {
    let active = |name| server(name, "cmp-1", VmState::Active);
    let world = World::on_simulator(vec![active("a"), active("b"), active("c"), server("d", "cmp-1", VmState::Paused)]).await;
    world.alert("cmp-1");
    let quarantine = world.wait_for_phase_of("cmp-1", Phase::Empty).await;
    let name = quarantine.metadata.name.unwrap();
    assert!(world.simulator().servers_on("cmp-1").is_empty());
    let alert = world.get::<HostAlert>("cmp-1-00").await;
    assert_eq!(alert.status.unwrap().decision, Some(Decision::Quarantined));
    world.release(&name).await;
    world.wait_for_phase(&name, Phase::Released).await;
    assert!(world.simulator().service("cmp-1").0);
    let _: HostQuarantine = world.get(&name).await;
}
