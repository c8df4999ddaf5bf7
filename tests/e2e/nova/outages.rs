//! Nova's API or the API server is away for a while in the midst of a drain.

use std::time::Duration;

use serde_json::json;
use sidestep::api::quarantine::Phase;
use tokio::time::sleep;

use super::super::support::nova::Nova;
use super::super::support::world::World;
use super::{copies, each_left_by_one_attempt, ends, quarantine, setup};
use sidestep::inventory::ServerId;

/// How long it is away.
const OUTAGE: Duration = Duration::from_secs(20);
const SOURCE: &str = "cmp-1";

/// A drain of three servers that copies the first one for as long as it is held.
async fn held_drain() -> (World, Vec<ServerId>) {
    let nova = Nova::take().await;
    let servers = nova.boot(SOURCE, "tiny", "active", 3).await;
    nova.steer("default", &json!({"hold": true}));
    let world = World::start(setup(nova).without_sentinels()).await;
    quarantine(&world, "drain", SOURCE, json!({})).await;
    let mut copied = servers.iter().map(|server| Box::pin(copies(&world, *server))).collect::<Vec<_>>();
    futures::future::select_all(copied.drain(..)).await;
    drop(copied);
    (world, servers)
}

#[tokio::test]
async fn a_drain_outlives_an_outage_of_novas_api() {
    let (world, servers) = held_drain().await;
    world.nova().svc("kill", "nova-api");
    sleep(OUTAGE).await;
    world.nova().steer("default", &json!({}));
    world.nova().svc("start", "nova-api");
    ends(&world, "drain", Phase::Empty).await;
    each_left_by_one_attempt(&world, SOURCE, &servers, "running").await;
}

#[tokio::test]
async fn a_drain_outlives_an_outage_of_the_api_server() {
    let (world, servers) = held_drain().await;
    world.plane.svc("kill", "kube-apiserver");
    // What Nova has been asked for goes on and ends while nobody can write it down.
    world.nova().steer("default", &json!({}));
    sleep(OUTAGE).await;
    world.plane.svc("start", "kube-apiserver");
    ends(&world, "drain", Phase::Empty).await;
    each_left_by_one_attempt(&world, SOURCE, &servers, "running").await;
}
