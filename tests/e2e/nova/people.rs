//! What people do to hosts in the midst of a drain.

use serde_json::json;
use sidestep::api::HostQuarantine;
use sidestep::api::quarantine::Phase;
use sidestep::inventory::mark::Mark;
use sidestep::inventory::{HostName, NovaMigration, ServerId};

use super::super::support::nova::Nova;
use super::super::support::world::World;
use super::{copies_one_of, ends, quarantine, runs_elsewhere, setup};

const SOURCE: &str = "cmp-1";

async fn rows(world: &World, servers: &[ServerId]) -> Vec<NovaMigration> {
    let mut rows = Vec::new();
    for server in servers {
        rows.extend(world.nova().rows(*server).await);
    }
    rows
}

/// A destination goes out of service, and the suspect host comes back into service: the first gets no further server, the second is drained all the same and is not empty before it is
/// out of service again.
#[tokio::test]
async fn the_host_is_enabled_again_in_the_middle_of_the_drain_and_a_destination_is_disabled() {
    let nova = Nova::take().await;
    let servers = nova.boot(SOURCE, "tiny", "active", 5).await;
    nova.steer("default", &json!({"hold": true}));
    let world = World::start(setup(nova).without_sentinels()).await;
    quarantine(&world, "drain", SOURCE, json!({})).await;
    copies_one_of(&world, &servers).await;

    world.nova().disable("cmp-2", "its fans are loud").await;
    world.nova().enable(SOURCE).await;
    world.wait_for_condition::<HostQuarantine>("drain", "Contested", "True").await;
    let before = rows(&world, &servers).await.iter().map(|row| row.id).max().unwrap();
    world.nova().steer("default", &json!({}));

    let empty = ends(&world, "drain", Phase::Empty).await;
    let mark = Mark::on(&world.nova().service(SOURCE).await).expect("the host is out of service by Sidestep again");
    assert_eq!(Some(mark.uid), empty.metadata.uid);
    for server in &servers {
        runs_elsewhere(&world, SOURCE, *server, "running");
    }
    let later: Vec<NovaMigration> = rows(&world, &servers).await.into_iter().filter(|row| row.id > before).collect();
    assert!(!later.is_empty(), "every move was asked for before");
    assert!(later.iter().all(|row| row.dest_compute == Some(HostName::from("cmp-3"))), "{later:?}");
}
