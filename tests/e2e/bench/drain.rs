//! How long a drain takes beside the migrations in it, and what each server costs in requests.

use std::collections::BTreeMap;
use std::fs;

use jiff::Timestamp;
use serde_json::Value;
use sidestep::api::quarantine::Phase;
use sidestep::simulator::{Migration, Settings, VmState};

use super::super::support::cloud::{Cloud, Simulated, server};
use super::super::support::world::{CLOUD, Setup, World};
use super::row;

const SERVERS: u32 = 50;
/// So that a move takes 2 to 3 s with all that Nova does around the copy.
const RAM_MB: u64 = 512;
const BANDWIDTH: f64 = 400.0;
const SPEED: f64 = 2.5;

#[tokio::test]
#[ignore = "a benchmark: make bench"]
async fn a_drain_beside_its_migrations() {
    for concurrency in [1, 5] {
        drain(concurrency).await;
    }
}

async fn drain(concurrency: u32) {
    let servers = (0..SERVERS).map(|number| {
        let mut server = server(&format!("s{number}"), "cmp-1", VmState::Active);
        server.ram_mb = RAM_MB;
        server
    });
    let concurrent = usize::try_from(concurrency).unwrap();
    let settings = Settings {
        servers: servers.collect(),
        bandwidth: BANDWIDTH * f64::from(concurrency),
        dirty_rate: 16.0,
        speed: SPEED,
        max_concurrent_live_migrations: concurrent,
        ..Settings::default()
    };
    let mut setup = Setup::on(Cloud::Simulator(Simulated::start(settings).await)).without_sentinels();
    setup.spec = serde_json::json!({
        "concurrency": {"perSource": concurrency, "perDestination": concurrency + 1, "total": 20},
        "inventory": {"idleInterval": "30s", "activeInterval": "1s", "staleAfter": "90s"},
    });
    let world = World::start(setup).await;
    let requests_before = world.simulator().requests().len();
    world.quarantine_by_hand("bench", "cmp-1", "Enforce").await;
    world.wait_patiently_for("bench", Phase::Empty).await;

    let rows: Vec<Migration> = world.simulator().cloud(|cloud| cloud.migrations().cloned().collect());
    assert_eq!(rows.len(), usize::try_from(SERVERS).unwrap(), "one row for each server: {}", world.cloud.describe());
    let works: Vec<(Timestamp, Timestamp)> = rows.iter().map(|row| (row.slot_at.unwrap(), row.updated_at.unwrap())).collect();
    // A record has its end a moment after the slot is free again; that moment counts as the migration's own.
    let sum: f64 = works.iter().map(|(begin, end)| end.duration_since(*begin).as_secs_f64()).sum();
    let (first, last) = (works.iter().map(|(begin, _)| *begin).min().unwrap(), works.iter().map(|(_, end)| *end).max().unwrap());
    let asked = world.simulator().writes().iter().filter(|request| request.method == "POST").map(|request| request.at).min().unwrap();
    let took = last.duration_since(asked).as_secs_f64();
    let each = sum / f64::from(SERVERS);
    assert!(
        (2.0..=3.0).contains(&each),
        "a migration is to take 2 to 3 s, and took {each:.2} s: this machine is too busy, or the simulator's pace has changed"
    );
    let themselves = sum / f64::from(concurrency);
    let ratio = took / themselves;
    let what = format!("drain of {SERVERS} servers, {concurrency} at once: {took:.1} s beside {themselves:.1} s of migrations of {each:.2} s each");
    row(&what, format!("{ratio:.3} x"), "<= 1.05 x", Some(ratio <= 1.05));
    println!("from the first slot to the last end: {:.1} s", last.duration_since(first).as_secs_f64());
    nova_calls(&world, requests_before, concurrency);
    kubernetes_writes(&world, concurrency, asked);
}

/// What Nova and Placement were asked from the creation of the quarantine to the end.
fn nova_calls(world: &World, before: usize, concurrency: u32) {
    let calls = u32::try_from(world.simulator().requests().len() - before).unwrap();
    let what = format!("calls of Nova, Placement and Keystone per moved server, all in, {concurrency} at once");
    row(&what, format!("{:.1}", f64::from(calls) / f64::from(SERVERS)), "", None);
}

/// What the operator wrote to the API server, as that recorded it, since it `asked` for the first move. No move lasts long enough for a write of its progress alone.
fn kubernetes_writes(world: &World, concurrency: u32, asked: Timestamp) {
    let log = fs::read_to_string(world.plane.audit_log()).unwrap();
    let mut by_object: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut statuses: Vec<Timestamp> = Vec::new();
    for entry in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let by_operator = entry["user"]["username"].as_str().is_some_and(|name| name.ends_with(":sidestep-operator"));
        let is_write = !matches!(entry["verb"].as_str(), Some("get" | "list" | "watch"));
        let of = |field: &str| entry["objectRef"][field].as_str().unwrap_or_default().to_owned();
        if by_operator && is_write && of("name") != CLOUD {
            *by_object.entry((of("resource"), of("name"))).or_default() += 1;
        }
        if by_operator && is_write && of("resource") == "hostquarantines" && of("name") == "bench" && of("subresource") == "status" {
            statuses.push(entry["stageTimestamp"].as_str().unwrap().parse().unwrap());
        }
    }
    let servers = world.simulator().cloud(|cloud| cloud.servers().map(|server| server.id.to_string()).collect::<Vec<_>>());
    let runs: Vec<u32> = by_object
        .iter()
        .filter(|((resource, name), _)| resource == "migrationruns" && servers.iter().any(|server| name.starts_with(server.as_str())))
        .map(|(_, count)| *count)
        .collect();
    assert_eq!(runs.len(), usize::try_from(SERVERS).unwrap());
    let most = runs.iter().copied().max().unwrap();
    let mean = f64::from(runs.iter().sum::<u32>()) / f64::from(SERVERS);
    let what = format!("Kubernetes writes per moved server to its MigrationRun, {concurrency} at once");
    row(&what, format!("{most} at most, {mean:.1} on average"), "<= 6", Some(most <= 6));
    let what = format!("writes of the status of the HostQuarantine while it drains, {concurrency} at once");
    statuses.retain(|at| *at >= asked);
    let rate = per_second(&statuses);
    row(&what, format!("{rate:.2} a second"), "<= 1 a second", Some(rate <= 1.0));
}

/// How often something happened in the ten seconds in which it happened most often.
fn per_second(times: &[Timestamp]) -> f64 {
    let within = |begin: &Timestamp| times.iter().filter(|time| (0.0..10.0).contains(&time.duration_since(*begin).as_secs_f64())).count();
    f64::from(u32::try_from(times.iter().map(within).max().unwrap()).unwrap()) / 10.0
}
