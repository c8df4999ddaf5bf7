//! From an alert line to the cordon and to the first live migration.

use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};
use sidestep::clock::Clock;
use sidestep::simulator::{Request, Settings, VmState};

use super::super::support::alert_line::AlertLine;
use super::super::support::cloud::{Cloud, Simulated, server};
use super::super::support::world::{Setup, World};
use super::{memory, mib, millis, percentile, row};

const HOSTS: usize = 50;
const SERVERS_PER_HOST: usize = 4;
/// Hosts that nobody attacks, so that servers have somewhere to go to the end.
const SPARE_HOSTS: usize = 5;

#[tokio::test]
#[ignore = "a benchmark: make bench"]
async fn from_an_alert_to_the_cordon_and_to_the_first_move() {
    let hosts: Vec<String> = (1..=HOSTS + SPARE_HOSTS).map(|number| format!("host-{number:02}")).collect();
    let servers = hosts.iter().take(HOSTS).flat_map(|host| (0..SERVERS_PER_HOST).map(move |number| server(&format!("{host}-{number}"), host, VmState::Active)));
    let settings = Settings { hosts: hosts.clone(), servers: servers.collect(), speed: 20.0, ..Settings::default() };
    let mut setup = Setup::on(Cloud::Simulator(Simulated::start(settings).await));
    setup.sentinels = hosts[..HOSTS].to_vec();
    // One alert is enough, and every host may go.
    setup.spec = json!({
        "budget": {"hostsOutOfService": HOSTS, "percentOutOfService": 100, "cordonsPerHour": HOSTS, "alertingSharePercent": 100},
        "concurrency": {"total": 1000},
        "inventory": {"idleInterval": "30s", "activeInterval": "1s", "staleAfter": "90s"},
    });
    setup.policy = json!({"limits": {"maxConcurrentQuarantines": HOSTS, "maxQuarantinesPerHour": HOSTS}});
    let world = World::start(setup).await;

    let mut cordons = Vec::new();
    let mut posts = Vec::new();
    for host in &hosts[..HOSTS] {
        let line = AlertLine::at(Clock::system().now()).text();
        let written = Clock::system().now();
        world.append(host, &line);
        let (cordon, post, server) = requests_of(&world, host, written).await;
        durable_writes_are_there(&world, host, &server, written, post).await;
        cordons.push(since(written, cordon));
        posts.push(since(written, post));
    }
    assert_eq!(world.simulator().disabled_hosts().len(), HOSTS);
    let what = format!("over {HOSTS} alerts on {HOSTS} hosts of {SERVERS_PER_HOST} servers");
    millis(&format!("alert written -> cordon request, p50 {what}"), percentile(&cordons, 0.5), 50.0);
    millis("alert written -> cordon request, p99", percentile(&cordons, 0.99), 250.0);
    millis("alert written -> first live-migration POST, p50", percentile(&posts, 0.5), 120.0);
    millis("alert written -> first live-migration POST, p99", percentile(&posts, 0.99), 500.0);
    let (operator, sentinels) = world.resident_kib();
    let largest = sentinels.into_iter().max().unwrap_or(0);
    memory(&format!("RSS of the largest of {HOSTS} sentinels after an alert"), largest, 16);
    row(&format!("RSS of the operator after {HOSTS} drains"), format!("{:.1} MiB", mib(operator)), "", None);
}

/// When the simulator received the request to disable the host, and the first for a move off it, and of which server that was.
async fn requests_of(world: &World, host: &str, written: Timestamp) -> (Timestamp, Timestamp, String) {
    let simulator = world.simulator();
    let service = simulator.cloud(|cloud| cloud.host(host).map(|host| host.service_id)).unwrap().to_string();
    let here: Vec<String> = simulator.servers_on(host).iter().map(ToString::to_string).collect();
    let asked = async || {
        // Some servers have come from hosts that were attacked before.
        let writes: Vec<Request> = simulator.writes().into_iter().filter(|request| request.at >= written).collect();
        let cordon = writes.iter().find(|request| request.method == "PUT" && request.path.contains(&service));
        let post = writes.iter().filter(|request| request.method == "POST");
        let post = post.filter_map(|request| Some((request.at, here.iter().find(|server| request.path.contains(*server))?))).next();
        cordon.zip(post).map(|(cordon, (post, server))| (cordon.at, post, server.clone())).ok_or_else(|| format!("{} writes", writes.len()))
    };
    world.until(&format!("{host} is disabled and a move off it asked for"), asked).await
}

/// The API server's own record shows what had to be durable before the first move: the alert, the quarantine and its status, the run of that server, and its intent.
async fn durable_writes_are_there(world: &World, host: &str, server: &str, written: Timestamp, post: Timestamp) {
    let recorded = async || {
        let log = fs::read_to_string(world.plane.audit_log()).unwrap();
        let entries: Vec<Value> = log.lines().rev().take(2_000).filter_map(|line| serde_json::from_str(line).ok()).collect();
        let done = |entry: &&Value, verb: &str, resource: &str, subresource: Option<&str>| {
            let whose = if resource == "migrationruns" { server } else { host };
            let object = &entry["objectRef"];
            // The record is made after the answer, and the next request may go out between the two.
            let at: Option<Timestamp> = entry["requestReceivedTimestamp"].as_str().and_then(|at| at.parse().ok());
            let accepted = entry["responseStatus"]["code"].as_u64().is_some_and(|code| (200..300).contains(&code));
            entry["verb"] == verb
                && accepted
                && object["name"].as_str().is_some_and(|name| name.starts_with(whose))
                && object["resource"] == resource
                && object["subresource"].as_str() == subresource
                && at.is_some_and(|at| at >= written && at <= post)
        };
        let count = |verb, resource, subresource| entries.iter().filter(|entry| done(entry, verb, resource, subresource)).count();
        let found = [
            count("patch", "hostalerts", None),
            count("create", "hostquarantines", None),
            count("patch", "hostquarantines", Some("status")),
            count("create", "migrationruns", None),
            count("patch", "migrationruns", Some("status")),
        ];
        if found.iter().all(|count| *count > 0) { Ok(()) } else { Err(format!("{found:?}")) }
    };
    world.until(&format!("the audit log shows the writes for {host}"), recorded).await;
}

fn since(begin: Timestamp, end: Timestamp) -> f64 {
    end.duration_since(begin).as_secs_f64() * 1000.0
}
