//! What the informer asks, keeps and forgets.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::super::error::FaultKind;
use super::super::rooms::Topology;
use super::super::testing::{Canned, Reply, usual};
use super::*;

const SERVER: &str = "d9e4c311-8982-4a28-b0a9-ba16ac3ecf49";

/// What the cloud shows; a test changes it between two ticks.
#[derive(Clone, Default)]
struct World(Arc<Mutex<Shown>>);

#[derive(Default)]
struct Shown {
    servers: Vec<&'static str>,
    rows: Vec<Value>,
    members: Vec<&'static str>,
    services_fail: bool,
    servers_fail: bool,
}

impl World {
    fn set(&self, change: impl FnOnce(&mut Shown)) {
        change(&mut self.0.lock().unwrap());
    }

    async fn start(&self) -> Canned {
        let world = self.0.clone();
        Canned::start(move |asked, _| {
            let shown = world.lock().unwrap();
            let service = |host: &str| json!({"id": host, "host": host, "status": "enabled", "state": "up"});
            match asked.path.trim_start_matches("/nova/v2.1/").split('/').collect::<Vec<_>>()[..] {
                ["os-services"] if shown.services_fail => Reply::html(200),
                ["os-services"] => Reply::ok(json!({"services": [service("h1"), service("h2")]})),
                ["servers", "detail"] if shown.servers_fail => Reply::Json(403, json!({"forbidden": {"message": "Policy"}})),
                ["servers", "detail"] => Reply::ok(json!({"servers": shown.servers.iter().map(|id| server(id)).collect::<Vec<_>>()})),
                ["servers", _, "migrations", _] => Reply::ok(json!({"migration": {"memory_total_bytes": 7}})),
                ["os-migrations"] => Reply::ok(json!({"migrations": shown.rows})),
                ["os-server-groups"] => Reply::ok(json!({"server_groups": []})),
                ["os-aggregates"] => Reply::ok(json!({"aggregates": [{"name": "suspects", "hosts": shown.members}]})),
                ["os-hypervisors", "detail"] => Reply::ok(json!({"hypervisors": [{"id": SERVER, "service": {"host": "h1"}}]})),
                _ if asked.path.ends_with("/allocation_candidates") => Reply::ok(json!({"provider_summaries": {}})),
                _ if asked.path.ends_with("/allocations") => Reply::ok(json!({"allocations": {}})),
                _ => usual(),
            }
        })
        .await
    }
}

fn server(id: &str) -> Value {
    json!({"id": id, "status": "ACTIVE", "OS-EXT-SRV-ATTR:host": "h1"})
}

fn running(id: u64) -> Value {
    json!({"id": id, "uuid": uuid::Uuid::from_u128(id.into()), "instance_uuid": SERVER, "status": "running", "source_compute": "h1", "created_at": "2026-11-22T11:48:16"})
}

fn h1() -> HostName {
    HostName::from("h1")
}

struct Bench {
    world: World,
    canned: Canned,
    clock: Clock,
    inventory: Inventory,
    poller: Poller,
    cloud: Cloud,
    topology: Option<(Duration, Topology)>,
}

impl Bench {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> Self {
        let world = World::default();
        let canned = world.start().await;
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let cloud = canned.cloud_at(clock.clone()).await;
        let (inventory, poller) = Inventory::start(cloud.clone(), settings, clock.clone());
        Self { world, canned, clock, inventory, poller, cloud, topology: None }
    }

    async fn tick(&self) {
        self.clock.advance(Duration::from_secs(1));
        self.poller.tick().await;
    }

    async fn look_at_rooms(&mut self) {
        rooms::read(&self.cloud, &self.inventory, &self.clock, &mut self.topology).await;
    }

    fn asked(&self, what: &str) -> usize {
        self.canned.lines().iter().filter(|line| line.contains(what)).count()
    }
}

#[tokio::test]
async fn an_idle_tick_asks_for_the_services_alone() {
    let bench = Bench::new().await;
    bench.tick().await;
    assert_eq!(bench.canned.lines(), ["GET /nova/v2.1/os-services?binary=nova-compute"]);
    assert_eq!(bench.inventory.services().unwrap().begun_at.as_second(), 1);
    assert_eq!(bench.inventory.host(&h1()), None);
}

#[tokio::test]
async fn a_watched_host_costs_two_lists_a_tick_whatever_lies_on_it() {
    let bench = Bench::new().await;
    bench.world.set(|shown| shown.servers = vec![SERVER]);
    bench.inventory.watch_host(&h1());
    bench.inventory.watch_host(&h1());
    bench.tick().await;
    let mut lines = bench.canned.lines();
    lines.sort();
    assert_eq!(
        lines,
        [
            "GET /nova/v2.1/os-migrations?host=h1&limit=200",
            "GET /nova/v2.1/os-services?binary=nova-compute",
            "GET /nova/v2.1/servers/detail?all_tenants=1&host=h1"
        ]
    );
    let view = bench.inventory.host(&h1()).unwrap();
    assert_eq!((view.servers.len(), view.begun_at.as_second(), view.consumers.as_ref()), (1, 1, None));
    assert_eq!(view.service().unwrap().host, h1());
}

#[tokio::test]
async fn placement_is_asked_only_when_the_list_is_empty() {
    let bench = Bench::new().await;
    bench.inventory.watch_host(&h1());
    bench.tick().await;
    assert_eq!(bench.inventory.host(&h1()).unwrap().consumers, Some(Vec::new()));
}

#[tokio::test]
async fn a_failed_list_keeps_the_earlier_view_with_its_own_moment() {
    let bench = Bench::new().await;
    bench.world.set(|shown| shown.servers = vec![SERVER]);
    bench.inventory.watch_host(&h1());
    bench.tick().await;
    bench.world.set(|shown| shown.servers_fail = true);
    bench.tick().await;
    let view = bench.inventory.host(&h1()).unwrap();
    assert_eq!((view.servers.len(), view.begun_at.as_second()), (1, 1));
    assert_eq!(bench.inventory.host_error(&h1()).unwrap().fault.kind(), FaultKind::Forbidden);
    assert!(bench.inventory.last_error().is_none());
    bench.world.set(|shown| shown.servers_fail = false);
    bench.tick().await;
    assert!(bench.inventory.host_error(&h1()).is_none());
    assert_eq!(bench.inventory.host(&h1()).unwrap().begun_at.as_second(), 3);
}

#[tokio::test]
async fn without_the_services_of_the_same_tick_there_is_no_new_view() {
    let bench = Bench::new().await;
    bench.inventory.watch_host(&h1());
    bench.world.set(|shown| shown.services_fail = true);
    bench.tick().await;
    assert_eq!(bench.inventory.host(&h1()), None);
    assert_eq!(bench.inventory.last_error().unwrap().fault.kind(), FaultKind::Foreign);
    assert_eq!(bench.inventory.freshness(bench.clock.now()), Freshness::Stale { since: None });
}

#[tokio::test]
async fn a_view_goes_stale_when_it_is_not_renewed() {
    let bench = Bench::new().await;
    bench.tick().await;
    let begun_at = bench.clock.now();
    assert_eq!(bench.inventory.freshness(begun_at + SignedDuration::from_secs(90)), Freshness::Fresh);
    assert_eq!(bench.inventory.freshness(begun_at + SignedDuration::from_secs(91)), Freshness::Stale { since: Some(begun_at) });
}

#[tokio::test]
async fn counters_are_read_every_other_second_and_so_many_a_tick() {
    let bench = Bench::with(Settings { counters_per_tick: 2, ..Settings::default() }).await;
    bench.world.set(|shown| {
        shown.servers = vec![SERVER];
        shown.rows = vec![running(3), running(2), running(1)];
    });
    bench.inventory.watch_host(&h1());
    bench.tick().await;
    assert_eq!(bench.asked("/migrations/"), 2);
    bench.tick().await;
    assert_eq!((bench.asked("/migrations/"), bench.asked("/migrations/3")), (3, 1));
    bench.tick().await;
    assert_eq!((bench.asked("/migrations/"), bench.asked("/migrations/3")), (5, 1));
    let progress = bench.inventory.progress(ServerId(SERVER.parse().unwrap()), 3).unwrap();
    assert_eq!((progress.counters.memory_total, progress.read_at.as_second()), (Some(7), 2));
}

#[tokio::test]
async fn a_host_that_is_not_watched_any_more_is_forgotten() {
    let bench = Bench::new().await;
    bench.inventory.watch_host(&h1());
    bench.tick().await;
    bench.inventory.unwatch_host(&h1());
    assert_eq!(bench.inventory.host(&h1()), None);
    bench.tick().await;
    // What is there and what was soft-deleted, in the first tick alone.
    assert_eq!(bench.asked("/servers/detail"), 2);
}

#[tokio::test]
async fn a_new_host_and_a_refresh_start_a_tick_at_once() {
    let Bench { canned, inventory, poller, world: _world, clock: _clock, .. } = Bench::new().await;
    let mut ticks = inventory.changed();
    let drive = async {
        ticks.wait_for(|_| inventory.services().is_some()).await.unwrap();
        inventory.watch_host(&h1());
        ticks.wait_for(|_| inventory.host(&h1()).is_some()).await.unwrap();
        inventory.refresh_now();
        ticks.wait_for(|_| canned.lines().iter().filter(|line| line.contains("/os-services")).count() >= 3).await.unwrap();
    };
    tokio::select! {
        never = poller.run() => match never {},
        () = drive => {}
    }
}

#[tokio::test]
async fn a_host_at_which_every_look_fails_is_unseen_after_a_while_and_seen_at_the_first_that_does_not() {
    let bench = Bench::with(Settings { stale_after: Duration::from_secs(2), ..Settings::default() }).await;
    bench.inventory.watch_host(&h1());
    bench.world.set(|shown| shown.servers_fail = true);
    for _ in 0..3 {
        bench.tick().await;
        assert_eq!(bench.inventory.unseen_host(bench.clock.now()).map(|(host, _)| host), None, "two seconds are allowed");
    }
    bench.tick().await;
    let (host, error) = bench.inventory.unseen_host(bench.clock.now()).unwrap();
    assert_eq!((host, error.fault.kind()), (h1(), FaultKind::Forbidden));
    bench.world.set(|shown| shown.servers_fail = false);
    bench.tick().await;
    assert!(bench.inventory.unseen_host(bench.clock.now()).is_none());
}

#[tokio::test]
async fn every_host_of_an_aggregate_is_known_though_placement_shows_none_of_them() {
    let mut bench = Bench::new().await;
    bench.world.set(|shown| shown.members = vec!["h2", "h1"]);
    let members = |bench: &Bench| bench.inventory.aggregates().unwrap().hosts_of("suspects").iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(bench.inventory.aggregates(), None);
    bench.look_at_rooms().await;
    assert_eq!(members(&bench), ["h1", "h2"]);
    assert!(bench.inventory.aggregates().unwrap().hosts_of("another").is_empty());
    let before = bench.inventory.aggregates().unwrap();
    bench.world.set(|shown| shown.members = vec!["h2"]);
    bench.clock.advance(Duration::from_secs(59));
    bench.look_at_rooms().await;
    assert!(bench.inventory.aggregates().unwrap().same_as(&before), "they change rarely, and are not listed anew every time");
    bench.clock.advance(Duration::from_secs(1));
    bench.look_at_rooms().await;
    assert_eq!(members(&bench), ["h2"]);
    assert!(!bench.inventory.aggregates().unwrap().same_as(&before));
    let (then, stale_after) = (bench.clock.now(), Duration::from_secs(90));
    let older = |seconds| bench.inventory.aggregates().unwrap().is_older_than(stale_after, then + SignedDuration::from_secs(seconds));
    assert!(!older(150) && older(151), "a view may be 90 s old, and they are listed once a minute");
}

#[tokio::test]
async fn a_host_that_is_watched_calmly_is_looked_at_once_an_idle_interval_and_behind_its_list() {
    let bench = Bench::new().await;
    bench.world.set(|shown| shown.servers = vec![SERVER]);
    let is_active = || bench.inventory.with(|state| state.is_active());
    let lists = || bench.canned.lines().iter().filter(|line| *line == "GET /nova/v2.1/servers/detail?all_tenants=1&host=h1").count();
    bench.inventory.watch_host_calmly(&h1());
    for _ in 0..30 {
        bench.tick().await;
    }
    assert_eq!((lists(), is_active()), (1, false));
    assert_eq!(bench.inventory.host(&h1()).unwrap().consumers, Some(Vec::new()));
    bench.tick().await;
    assert_eq!(lists(), 2);
    // Whoever is to act on it takes no view that may be old.
    bench.inventory.watch_host(&h1());
    assert_eq!((bench.inventory.host(&h1()), is_active()), (None, true));
    bench.inventory.watch_host_calmly(&h1());
    bench.tick().await;
    bench.tick().await;
    assert_eq!((lists(), bench.inventory.host(&h1()).unwrap().consumers.as_ref()), (4, None), "it stays as it is");
    bench.inventory.calm_host(&h1());
    bench.tick().await;
    bench.tick().await;
    assert_eq!((lists(), is_active()), (5, false));
    assert!(bench.inventory.host(&h1()).unwrap().consumers.is_some());
}
