//! What the operator needs of memory with a large cloud, and how often it asks Nova then.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sidestep::api::MigrationRun;
use sidestep::clock::Clock;
use sidestep::simulator::{ServerSettings, Settings, VmState};

use super::super::support::cloud::{Cloud, Simulated, server};
use super::super::support::world::{Setup, World};
use super::row;

const HOSTS: usize = 200;
const SERVERS_PER_HOST: usize = 50;
/// Hosts that are drained at the same time: 1,000 servers.
const DRAINED: usize = 20;
/// For how long figures are read when all runs are there.
const LOOK: SignedDuration = SignedDuration::from_secs(30);

#[tokio::test]
#[ignore = "a benchmark: make bench"]
async fn memory_with_200_hosts_and_10_000_servers() {
    let hosts: Vec<String> = (1..=HOSTS).map(|number| format!("host-{number:03}")).collect();
    let servers: Vec<ServerSettings> =
        hosts.iter().flat_map(|host| (0..SERVERS_PER_HOST).map(move |number| server(&format!("{host}-{number}"), host, VmState::Active))).collect();
    // So slow that all are under way for as long as it is looked.
    let settings = Settings { hosts: hosts.clone(), servers, bandwidth: 2.0, dirty_rate: 0.0, max_concurrent_live_migrations: 100, ..Settings::default() };
    let mut setup = Setup::on(Cloud::Simulator(Simulated::start(settings).await)).sentinel_on(&hosts[0]);
    setup.spec = json!({
        "concurrency": {"perSource": 50, "perDestination": 50, "total": 1000},
        "budget": {"hostsOutOfService": HOSTS, "percentOutOfService": 100},
        "inventory": {"idleInterval": "30s", "activeInterval": "1s", "staleAfter": "90s"},
    });
    let world = World::start(setup).await;
    let idle = world.resident_kib().0;
    for host in &hosts[..DRAINED] {
        world.quarantine_by_hand(host, host, "Enforce").await;
    }
    let in_flight = async || {
        let runs = world.all::<MigrationRun>().await;
        let open = runs.iter().filter(|run| run.status.as_ref().is_some_and(|status| status.attempts.iter().any(|attempt| attempt.ended_at.is_none()))).count();
        if open >= DRAINED * SERVERS_PER_HOST { Ok(()) } else { Err(format!("{} runs, {open} of them under way", runs.len())) }
    };
    world.until_patiently("1,000 runs are under way", in_flight).await;
    let (highest, calls) = watch(&world).await;
    let mib = |kib: u64| f64::from(u32::try_from(kib).unwrap()) / 1024.0;
    let what = format!(
        "RSS of the operator, {HOSTS} hosts, {} servers, {} runs under way (idle {:.1} MiB)",
        HOSTS * SERVERS_PER_HOST,
        DRAINED * SERVERS_PER_HOST,
        mib(idle)
    );
    row(&what, format!("{:.1} MiB", mib(highest)), "< 48 MiB", Some(highest < 48 * 1024));
    row("calls of Nova per second and drained host meanwhile, tick 1 s", format!("{calls:.2}"), "2 list calls per source and tick", None);
}

/// The most memory that was seen, and Nova calls per second and drained host.
async fn watch(world: &World) -> (u64, f64) {
    let begin: Timestamp = Clock::system().now();
    let before = world.simulator().requests().last().map_or(0, |request| request.number);
    let mut highest = 0;
    let looked = async || {
        highest = highest.max(world.resident_kib().0);
        let past = Clock::system().now().duration_since(begin);
        if past >= LOOK { Ok(()) } else { Err(format!("{past:?}")) }
    };
    world.until("the figures were read for long enough", looked).await;
    let after = world.simulator().requests().last().map_or(0, |request| request.number);
    let seconds = Clock::system().now().duration_since(begin).as_secs_f64();
    (highest, f64::from(u32::try_from(after - before).unwrap()) / seconds / f64::from(u32::try_from(DRAINED).unwrap()))
}
