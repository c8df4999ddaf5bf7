//! On the real Nova: a drain beside asking for all its moves at once.

use std::collections::BTreeMap;

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::json;
use sidestep::api::quarantine::Phase;
use sidestep::clock::Clock;
use sidestep::gate::permit_writes;
use sidestep::inventory::{NovaMigration, RowStatus, ServerId};
use sidestep::openstack::{CloudControl, MigrationFilter, PostOutcome};

use super::super::support::cloud::Cloud;
use super::super::support::nova::Nova;
use super::super::support::world::{PATIENCE, Setup, World, until};
use super::row;

const SERVERS: usize = 50;
const SOURCE: &str = "cmp-1";

#[tokio::test]
#[ignore = "a benchmark: make bench"]
async fn a_drain_beside_asking_for_everything_at_once() {
    let nova = Nova::take().await;
    let baseline = all_at_once(&nova).await;
    nova.reset().await;
    let servers = nova.boot(SOURCE, "tiny", "active", SERVERS).await;
    let mut setup = Setup::on(Cloud::Nova(nova)).without_sentinels();
    setup.spec = json!({"concurrency": {"perSource": 1, "perDestination": 2, "total": 10}, "inventory": {"idleInterval": "30s", "activeInterval": "1s", "staleAfter": "90s"}});
    let world = World::start(setup).await;
    let began = Clock::system().now();
    world.quarantine_by_hand("bench", SOURCE, "Enforce").await;
    world.wait_patiently_for("bench", Phase::Empty).await;
    let (ended, spread) = left(world.nova(), &servers).await;
    let took = seconds(began, ended);
    let ratio = took / baseline;
    let what = format!("real Nova: drain of {SERVERS} servers of 512 MB, {took:.1} s beside {baseline:.1} s when all are asked for at once");
    row(&what, format!("{ratio:.3} x"), "<= 1.05 x", Some(ratio <= 1.05));
    let most = spread.values().copied().max().unwrap_or(0);
    let shares: Vec<String> = spread.iter().map(|(host, count)| format!("{host} {count}")).collect();
    row("real Nova: where they went", shares.join(", "), "both destinations within 60:40", Some(spread.len() == 2 && most * 10 <= SERVERS * 6));
}

/// Asks for all moves side by side and returns the seconds until the last has left.
async fn all_at_once(nova: &Nova) -> f64 {
    let servers = nova.boot(SOURCE, "tiny", "active", SERVERS).await;
    let control = CloudControl::new(nova.client().await, permit_writes(true).unwrap());
    control.disable_service(&nova.service(SOURCE).await.id, Some("benchmark")).await.unwrap();
    let began = Clock::system().now();
    for outcome in join_all(servers.iter().map(|server| control.live_migrate(*server, None))).await {
        assert!(matches!(outcome, PostOutcome::Accepted { .. }), "{outcome:?}");
    }
    let (ended, spread) = left(nova, &servers).await;
    println!("all at once: they went to {spread:?}");
    seconds(began, ended)
}

/// Waits until all have left; says when the last had, by Nova's clock, and how many went where.
async fn left(nova: &Nova, servers: &[ServerId]) -> (Timestamp, BTreeMap<String, usize>) {
    let cloud = nova.client().await;
    let gone = async || {
        let rows = cloud
            .migrations(&MigrationFilter { source_compute: Some(SOURCE.into()), ..MigrationFilter::default() })
            .await
            .map_err(|error| error.to_string())?;
        let done: Vec<NovaMigration> = rows.into_iter().filter(|row| servers.contains(&row.server) && row.status == RowStatus::Completed).collect();
        if done.len() == servers.len() { Ok(done) } else { Err(format!("{} of {} have left", done.len(), servers.len())) }
    };
    let done = until("all servers have left", PATIENCE, gone).await;
    let mut spread = BTreeMap::new();
    for row in &done {
        *spread.entry(row.dest_compute.as_ref().unwrap().to_string()).or_default() += 1;
    }
    (done.iter().filter_map(|row| row.updated_at).max().unwrap(), spread)
}

fn seconds(begin: Timestamp, end: Timestamp) -> f64 {
    end.duration_since(begin).as_secs_f64()
}
