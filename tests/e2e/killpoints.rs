//! The operator is killed with SIGKILL before and after each write, to Nova and to Kubernetes, that a whole quarantine takes. Which writes these are is not written down: a drain that is not
//! disturbed shows them. Nothing is asked for twice, no server is lost, and every drain ends.
//!
//! Each kill is in a drain of its own, on a host of its own, while those before it recover.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sidestep::api::quarantine::Phase;
use sidestep::api::run::Outcome;
use sidestep::api::{HostQuarantine, OpenStackCloud};
use sidestep::simulator::{Settings, VmState};
use uuid::Uuid;

use super::support::cloud::{Cloud, Simulated};

use super::support::world::{CLOUD, LIMIT, World, phase_of, until};

/// What stands on each host: one is moved cold, and confirmed.
const SERVERS: [VmState; 3] = [VmState::Active, VmState::Paused, VmState::Shutoff];
/// What stands on each host where moves are aborted: one is copied and one is queued behind it.
const TWO: [VmState; 2] = [VmState::Active, VmState::Active];
/// Hosts that servers go to.
const SPARES: usize = 4;
/// Hosts that are drained, more than there are points.
const HOSTS: usize = 90;

/// What a write is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// It makes an object, whose name is not in the path.
    New,
    Quarantine,
    Service,
    Server(usize),
}

/// One write of a quarantine: the word for it, what it is about, and the how-manieth of its kind about it.
type Write = (String, About, usize);

/// A host with its servers, and the quarantine of it.
#[derive(Debug)]
struct Scene {
    host: String,
    quarantine: String,
    service: String,
    servers: Vec<Uuid>,
}

impl Scene {
    /// Puts a host into service and its servers on it.
    async fn set(world: &World, number: usize, servers: &[VmState]) -> Self {
        let host = format!("src-{number}");
        let simulator = world.simulator();
        simulator.enable(&host).await;
        let boot = |(index, state): (usize, &VmState)| simulator.boot(&format!("{host}-{index}"), &host, *state);
        let servers = servers.iter().enumerate().map(boot).collect();
        let service = simulator.cloud(|cloud| cloud.host(&host).map(|host| host.service_id.to_string())).unwrap();
        Self { quarantine: format!("hq-{number}-x"), host, service, servers }
    }

    /// A part of the name or path of what a write is about.
    fn part(&self, about: About) -> String {
        match about {
            About::New => String::new(),
            About::Quarantine => self.quarantine.clone(),
            About::Service => self.service.clone(),
            About::Server(index) => self.servers[index].to_string(),
        }
    }

    fn about(&self, text: &str) -> Option<About> {
        let abouts = [About::Quarantine, About::Service].into_iter().chain((0..self.servers.len()).map(About::Server));
        if text.is_empty() { Some(About::New) } else { abouts.into_iter().find(|about| text.contains(&self.part(*about))) }
    }

    async fn begin(&self, world: &World) {
        let spec = json!({"cloud": CLOUD, "host": self.host, "mode": "Enforce", "scope": "Maintenance", "reason": "x", "deadline": "10m"});
        world.create::<HostQuarantine>(&self.quarantine, spec).await;
    }

    async fn is_in(&self, world: &World, phase: Phase) -> bool {
        phase_of(&world.get::<HostQuarantine>(&self.quarantine).await) == Some(phase)
    }
}

/// The writes that an operator at debug level has printed from a line on, about a scene; Events and the cloud's own status apart.
fn writes_about(scene: &Scene, printed: &str, from: usize) -> Vec<Write> {
    let mut counts = BTreeMap::new();
    let mut writes = Vec::new();
    for line in printed.lines().skip(from).filter(|line| line.contains("A write goes out.")) {
        let field = |name: &str| line.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let (word, about) = (field("write"), scene.about(field("about")));
        let Some(about) = about.filter(|_| !word.ends_with("-events")) else { continue };
        let count = counts.entry((word.to_owned(), about)).or_insert(0);
        *count += 1;
        writes.push((word.to_owned(), about, *count));
    }
    writes
}

/// The writes that are worth a kill: all up to the last one to Nova and what is written of its answer; of those after that, which only say how it went on, the last about each thing.
fn worth_a_kill(writes: &[Write]) -> Vec<Write> {
    let last_to_nova = writes.iter().rposition(|(word, ..)| NOVA.iter().any(|(_, nova, _)| nova == word)).unwrap();
    let is_last = |index: usize| !writes[index + 1..].iter().any(|(word, about, _)| (word, about) == (&writes[index].0, &writes[index].1));
    writes.iter().enumerate().filter(|(index, _)| *index <= last_to_nova + 1 || is_last(*index)).map(|(_, write)| write.clone()).collect()
}

/// An installation with many hosts, all but the spare ones out of service, and no operator.
async fn world() -> World {
    let hosts = (0..HOSTS).map(|number| format!("src-{number}")).chain((0..SPARES).map(|number| format!("spare-{number}"))).collect();
    let simulator = Simulated::start(Settings { hosts, speed: 50.0, ..Settings::default() }).await;
    for number in 0..HOSTS {
        simulator.disable(&format!("src-{number}"), "not yet").await;
    }
    let all = HOSTS + SPARES;
    let world = World::bare(Cloud::Simulator(simulator)).await;
    world.create_secret(CLOUD, &world.cloud.clouds_yaml()).await;
    let spec =
        json!({"budget": {"hostsOutOfService": all, "percentOutOfService": 100}, "concurrency": {"total": all}, "inventory": {"activeInterval": "500ms"}});
    world.create_cloud(CLOUD, spec).await;
    world
}

/// A drain and a release that nobody disturbs, and the writes that each takes.
async fn undisturbed(world: &mut World) -> (Scene, Vec<Write>, Vec<Write>) {
    world.start_operator(&["--log-filter", "sidestep=debug"]);
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "True").await;
    let scene = Scene::set(world, 0, &SERVERS).await;
    scene.begin(world).await;
    world.wait_for_phase(&scene.quarantine, Phase::Empty).await;
    let before = world.printed("operator").lines().count();
    let drain = worth_a_kill(&writes_about(&scene, &world.printed("operator"), 0));
    world.release(&scene.quarantine).await;
    world.wait_for_phase(&scene.quarantine, Phase::Released).await;
    let release = writes_about(&scene, &world.printed("operator"), before);
    world.kill_operator();
    // No destination for what follows.
    world.simulator().disable(&scene.host, "done").await;
    (scene, drain, release)
}

/// Waits until the operator has killed itself, or the quarantine is in this phase without that; says which.
async fn killed(world: &mut World, scene: &Scene, phase: Phase) -> bool {
    let what = format!("the operator has ended, or {} is {}", scene.quarantine, phase.as_str());
    let mut ended = false;
    until(&what, LIMIT * 4, async || {
        ended = world.operator_has_ended();
        if ended || scene.is_in(world, phase).await { Ok(()) } else { Err(format!("{:?}", phase_of(&world.get::<HostQuarantine>(&scene.quarantine).await))) }
    })
    .await;
    if !ended {
        world.kill_operator();
    }
    ended
}

/// Every server left by one record for each attempt that Nova received, and stands on one host, which is not the source.
async fn verdict(world: &World, scene: &Scene) {
    let simulator = world.simulator();
    let requests = simulator.writes();
    for (server, state) in scene.servers.iter().zip(SERVERS) {
        let host = simulator.host_of(*server).unwrap();
        assert_ne!(host, scene.host, "{server} has not left");
        let runs: Vec<_> = world.runs_of(&scene.quarantine).await.into_iter().filter(|run| run.spec.server == server.to_string()).collect();
        let [run] = runs.as_slice() else { panic!("{} runs of {server}", runs.len()) };
        let attempts = run.status.clone().unwrap_or_default().attempts;
        let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome).collect();
        let received = attempts.iter().filter(|attempt| attempt.migration_id.is_some()).count();
        let rows: Vec<_> = simulator.migrations_of(*server).iter().map(|row| row.status).collect();
        assert_eq!(rows.len(), received, "rows {rows:?} of attempts {outcomes:?} of {server} in {}", scene.quarantine);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Some(Outcome::Completed)).count(), 1, "{outcomes:?} of {server}");
        let asked = requests.iter().filter(|request| request.method == "POST" && request.path.contains(&server.to_string())).count();
        // A confirmation may be asked for twice: Nova refuses the second.
        let confirmations = if state == VmState::Shutoff { 1..=2 } else { 0..=0 };
        assert!(confirmations.contains(&(asked - rows.len())), "{asked} requests about {server} in {}, records {rows:?}", scene.quarantine);
    }
}

/// Takes some minutes: an attempt that left no trace is given up after one.
#[tokio::test]
async fn kill_9_before_and_after_every_write_of_a_drain_and_a_release_loses_nothing_and_asks_for_nothing_twice() {
    let mut world = world().await;
    let (first, drain, release) = undisturbed(&mut world).await;
    println!("writes of a drain: {drain:?}\nwrites of a release: {release:?}");
    let sides = ["before", "after"];
    let mut scenes = vec![first];
    let mut reached = BTreeSet::new();
    for (word, about, nth) in &drain {
        for side in sides {
            let scene = Scene::set(&world, scenes.len(), &SERVERS).await;
            let point = format!("{side}-{word}@{}#{nth}", scene.part(*about));
            world.start_operator(&["--crash-at", &point]);
            scene.begin(&world).await;
            if killed(&mut world, &scene, Phase::Empty).await {
                reached.insert(format!("{side}-{word}"));
            } else {
                println!("not reached: {point}");
            }
            scenes.push(scene);
        }
    }
    // All of them end, under an operator that is left alone.
    world.start_operator(&[]);
    for scene in scenes.iter().skip(1) {
        let what = format!("{} is Empty", scene.quarantine);
        until(&what, LIMIT * 4, async || if scene.is_in(&world, Phase::Empty).await { Ok(()) } else { Err(world.cloud.describe()) }).await;
    }
    for scene in &scenes {
        verdict(&world, scene).await;
    }
    println!("{} drains, killed at {} kinds of points", scenes.len() - 1, reached.len());
    world.kill_operator();
    let mut waiting = scenes.iter().skip(1);
    for (word, about, nth) in &release {
        for side in sides {
            let scene = waiting.next().unwrap();
            let point = format!("{side}-{word}@{}#{nth}", scene.part(*about));
            world.start_operator(&["--crash-at", &point]);
            world.release(&scene.quarantine).await;
            if killed(&mut world, scene, Phase::Released).await {
                reached.insert(format!("{side}-{word}"));
            }
        }
    }
    world.start_operator(&[]);
    for scene in scenes.iter().skip(1) {
        world.release(&scene.quarantine).await;
    }
    for scene in scenes.iter().skip(1) {
        world.wait_for_phase(&scene.quarantine, Phase::Released).await;
        assert!(world.simulator().service(&scene.host).0, "{} is out of service", scene.host);
    }
    let all: BTreeSet<String> = drain.iter().chain(&release).flat_map(|(word, ..)| sides.map(|side| format!("{side}-{word}"))).collect();
    assert_eq!(reached, all);
    for word in NOVA.iter().filter(|(.., story)| *story == "drain").map(|(_, word, _)| word) {
        assert!(all.contains(&format!("before-{word}")), "no drain here takes {word}");
    }
}

/// Begins a drain whose two moves do not end: one is copied, one is queued in Nova.
async fn begin_and_hold(world: &World, scene: &Scene) {
    world.simulator().knobs(&format!("host-{}", scene.host), Some(r#"{"hold": true}"#));
    scene.begin(world).await;
    let statuses = || {
        let mut statuses: Vec<_> = scene.servers.iter().flat_map(|server| world.simulator().migrations_of(*server)).map(|row| row.status).collect();
        statuses.sort();
        statuses
    };
    let held = [Some("queued"), Some("running")];
    until("one move is queued and one runs", LIMIT * 4, async || if statuses() == held { Ok(()) } else { Err(format!("{:?}", statuses())) }).await;
}

async fn abort(world: &World, scene: &Scene) {
    world.change::<HostQuarantine>(&scene.quarantine, json!({"abort": "All"})).await;
}

/// Each server has one record, which was cancelled, and stands where it stood; no run has an attempt under way.
async fn aborted(world: &World, scene: &Scene) -> Result<(), String> {
    for server in &scene.servers {
        let rows: Vec<_> = world.simulator().migrations_of(*server).iter().map(|row| row.status).collect();
        let host = world.simulator().host_of(*server).unwrap();
        let runs = world.runs_of(&scene.quarantine).await;
        let run = runs.iter().find(|run| run.spec.server == server.to_string()).ok_or("no run")?;
        let attempts = run.status.clone().unwrap_or_default().attempts;
        let over = attempts.len() == 1 && attempts.iter().all(|attempt| attempt.ended_at.is_some());
        if rows != [Some("cancelled")] || host != scene.host || !over {
            return Err(format!("{server} on {host}: {rows:?} {attempts:?}"));
        }
    }
    Ok(())
}

#[tokio::test]
async fn kill_9_before_and_after_every_abort_loses_no_server_and_leaves_none_under_way() {
    let mut world = world().await;
    let mut scenes = Vec::new();
    let mut reached = BTreeSet::new();
    for side in ["before", "after"] {
        for (word, about) in [("patch-migrationruns/status", 0), ("patch-migrationruns/status", 1), ("abort-migration", 0), ("abort-migration", 1)] {
            world.start_operator(&[]);
            let scene = Scene::set(&world, scenes.len(), &TWO).await;
            begin_and_hold(&world, &scene).await;
            world.kill_operator();
            let point = format!("{side}-{word}@{}", scene.servers[about]);
            world.start_operator(&["--crash-at", &point]);
            abort(&world, &scene).await;
            until("the operator has ended", LIMIT * 4, async || if world.operator_has_ended() { Ok(()) } else { Err(point.clone()) }).await;
            reached.insert(format!("{side}-{word}"));
            scenes.push(scene);
        }
    }
    world.start_operator(&[]);
    for scene in &scenes {
        until(&format!("all moves of {} are aborted", scene.quarantine), LIMIT * 4, async || aborted(&world, scene).await).await;
        for server in &scene.servers {
            let path = format!("/servers/{server}/migrations/");
            let asked = world.simulator().writes().iter().filter(|write| write.method == "DELETE" && write.path.contains(&path)).count();
            assert!((1..=2).contains(&asked), "{asked} requests to abort the move of {server}");
        }
    }
    for (_, word, _) in NOVA.iter().filter(|(.., story)| *story == "abort") {
        assert!(reached.contains(&format!("before-{word}")) && reached.contains(&format!("after-{word}")), "{word}");
    }
}

/// Every method of the client that writes to Nova, the word for what it sends, and the story above that is killed there.
const NOVA: [(&str, &str, &str); 6] = [
    ("disable_service", "disable-service", "drain"),
    ("enable_service", "enable-service", "drain"),
    ("live_migrate", "live-migrate", "drain"),
    ("cold_migrate", "cold-migrate", "drain"),
    ("confirm_resize", "confirm-resize", "drain"),
    ("abort_migration", "abort-migration", "abort"),
];

#[test]
fn every_method_that_writes_to_nova_has_a_story_that_is_killed_before_and_after_it() {
    let source = include_str!("../../src/openstack/nova/control.rs");
    let methods: BTreeSet<&str> = source.lines().filter_map(|line| line.trim().strip_prefix("pub async fn ")?.split('(').next()).collect();
    let known: BTreeSet<&str> = NOVA.iter().map(|(method, ..)| *method).collect();
    assert_eq!(methods, known, "give a new method a line in NOVA, and a story whose drain takes it");
}
