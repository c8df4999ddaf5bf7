//! What the operator and a sentinel need of memory with a large cloud, and how often Nova is asked then.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sidestep::api::{HostAlert, MigrationRun};
use sidestep::clock::Clock;
use sidestep::simulator::{Request, ServerSettings, Settings, VmState};

use super::super::support::alert_line::AlertLine;
use super::super::support::cloud::{Cloud, Simulated, server};
use super::super::support::world::{Setup, World};
use super::{memory, mib, row};

const HOSTS: usize = 200;
const SERVERS_PER_HOST: usize = 50;
/// Hosts that are drained at the same time: 1,000 servers.
const DRAINED: usize = 20;
/// Lines of as many rules as there are, so that a sentinel has all its slots in use.
const ALERTS: u32 = 20_000;
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
    fill_the_slots(&world, &hosts[0]).await;
    for host in &hosts[..DRAINED] {
        world.quarantine_by_hand(host, host, "Enforce").await;
    }
    let runs = DRAINED * SERVERS_PER_HOST;
    let asked = async || {
        let rows = world.simulator().cloud(|cloud| cloud.migrations().count());
        if rows >= runs { Ok(()) } else { Err(format!("{rows} records in Nova")) }
    };
    world.until_patiently("all moves are asked for", asked).await;
    let seen = watch(&world).await;
    let under_way = |run: &MigrationRun| run.status.as_ref().is_some_and(|status| status.attempts.iter().any(|attempt| attempt.ended_at.is_none()));
    let open = world.all::<MigrationRun>().await.iter().filter(|run| under_way(run)).count();
    assert_eq!(open, runs, "all are under way for as long as it is looked");
    let what = format!("RSS of the operator, {HOSTS} hosts, {} servers, {runs} runs under way (idle {:.1} MiB)", HOSTS * SERVERS_PER_HOST, mib(idle));
    memory(&what, seen.operator_kib, 48);
    memory(&format!("RSS of a sentinel that has read {ALERTS} alerts of as many rules"), seen.sentinel_kib, 16);
    let what = format!("list calls of Nova per look at a source, while {SERVERS_PER_HOST} servers of it are under way");
    row(&what, format!("{:.2}", seen.lists_per_look), "2", Some(seen.lists_per_look <= 2.0));
    row("calls of Nova and Placement per second for each drained host meanwhile, all in", format!("{:.2}", seen.calls), "", None);
}

/// Has a sentinel read a storm of alerts of too many rules for its slots.
async fn fill_the_slots(world: &World, host: &str) {
    let line = AlertLine { priority: 3, ..AlertLine::at(Clock::system().now()) };
    let storm: String = (0..ALERTS).map(|number| AlertLine { sid: 9_000_001 + number, ..line.clone() }.text()).collect();
    world.append(host, &storm);
    let counted = async || {
        let alerts = world.all::<HostAlert>().await;
        let sum: i64 = alerts.iter().map(|alert| alert.spec.count).sum();
        if sum >= i64::from(ALERTS) { Ok(()) } else { Err(format!("{} HostAlerts count {sum} alerts", alerts.len())) }
    };
    world.until_patiently("each alert is counted", counted).await;
}

/// What was seen while all runs were under way.
struct Seen {
    /// The most there was.
    operator_kib: u64,
    sentinel_kib: u64,
    /// Lists of servers and of migrations, over looks at that host: each has one list of its servers, in pages.
    lists_per_look: f64,
    calls: f64,
}

async fn watch(world: &World) -> Seen {
    let begin: Timestamp = Clock::system().now();
    let (mut operator_kib, mut sentinel_kib) = (0, 0);
    let looked = async || {
        let (operator, sentinels) = world.resident_kib();
        operator_kib = operator_kib.max(operator);
        sentinel_kib = sentinel_kib.max(sentinels.into_iter().max().unwrap());
        let past = Clock::system().now().duration_since(begin);
        if past >= LOOK { Ok(()) } else { Err(format!("{past:?}")) }
    };
    world.until("the figures were read for long enough", looked).await;
    let seconds = Clock::system().now().duration_since(begin).as_secs_f64();
    let requests: Vec<Request> = world.simulator().requests().into_iter().filter(|request| request.at >= begin).collect();
    let of = |part: &str| requests.iter().filter(|request| request.method == "GET" && request.path.contains(part)).count();
    let (servers, migrations) = (of("/servers/detail?"), of("/os-migrations?"));
    assert!(servers > DRAINED, "each source was looked at: {servers} lists of servers");
    let number = |count: usize| f64::from(u32::try_from(count).unwrap());
    let calls = number(requests.len()) / seconds / number(DRAINED);
    Seen { operator_kib, sentinel_kib, lists_per_look: number(servers + migrations) / number(servers), calls }
}
