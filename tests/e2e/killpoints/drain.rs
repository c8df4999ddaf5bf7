//! A whole quarantine, from the cordon to the release, with a kill at each write. Which writes these are is not written down: a drain that is not disturbed shows them.
//!
//! Each kill is in a drain of its own, on a host of its own, while those before it recover.

use serde_json::json;
use sidestep::api::quarantine::Phase;
use sidestep::api::run::Outcome;
use sidestep::api::{HostQuarantine, OpenStackCloud};
use sidestep::simulator::VmState;

use super::super::support::world::{CLOUD, LIMIT, World, until};
use super::scene::{Kills, Scene, Write, killed, world, worth_a_kill, writes_about};
use super::{SIDES, assert_covered};

/// Hosts that are drained, more than there are points.
const HOSTS: usize = 60;
/// What stands on each host where moves are aborted: one is copied and one is queued behind it.
const TWO: [VmState; 2] = [VmState::Active, VmState::Active];

/// A drain and a release that nobody disturbs, and the writes that each takes.
async fn undisturbed(world: &mut World, servers: &[VmState]) -> (Scene, Vec<Write>, Vec<Write>) {
    world.start_operator(&["--log-filter", "sidestep=debug"]);
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "True").await;
    let scene = Scene::set(world, 0, servers).await;
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
    println!("writes of a drain: {drain:?}\nwrites of a release: {release:?}");
    (scene, drain, release)
}

/// Every server left by one record for each attempt that Nova received, and stands on one host, which is not the source.
async fn verdict(world: &World, scene: &Scene, servers: &[VmState]) {
    let simulator = world.simulator();
    let requests = simulator.writes();
    for (server, state) in scene.servers.iter().zip(servers) {
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
        let confirmations = if *state == VmState::Shutoff { 1..=2 } else { 0..=0 };
        assert!(confirmations.contains(&(asked - rows.len())), "{asked} requests about {server} in {}, records {rows:?}", scene.quarantine);
    }
}

/// Kills operators in drains of hosts with these servers, each at another point, and lets all of them end.
async fn kill_drains(world: &mut World, servers: &[VmState], writes: &[Write], kills: &mut Kills) -> Vec<Scene> {
    let mut scenes = Vec::new();
    for write in writes {
        for side in SIDES {
            let scene = Scene::set(world, scenes.len() + 1, servers).await;
            let point = scene.point(side, write);
            world.start_operator(&["--crash-at", &point]);
            scene.begin(world).await;
            if killed(world, &point, async |world| scene.is_in(world, Phase::Empty).await).await {
                kills.note(side, &write.0);
            }
            scenes.push(scene);
        }
    }
    world.start_operator(&[]);
    for scene in &scenes {
        scene.ends_in(world, Phase::Empty).await;
        verdict(world, scene, servers).await;
    }
    world.kill_operator();
    println!("{} drains, killed at {} kinds of points", scenes.len(), kills.0.len());
    scenes
}

/// The same with the releases of hosts that were drained.
async fn kill_releases(world: &mut World, scenes: &[Scene], writes: &[Write], kills: &mut Kills) {
    let mut waiting = scenes.iter();
    for write in writes {
        for side in SIDES {
            let scene = waiting.next().unwrap();
            let point = scene.point(side, write);
            world.start_operator(&["--crash-at", &point]);
            world.release(&scene.quarantine).await;
            if killed(world, &point, async |world| scene.is_in(world, Phase::Released).await).await {
                kills.note(side, &write.0);
            }
        }
    }
    world.start_operator(&[]);
    for scene in scenes {
        world.release(&scene.quarantine).await;
    }
    for scene in scenes {
        world.wait_for_phase(&scene.quarantine, Phase::Released).await;
        assert!(world.simulator().service(&scene.host).0, "{} is out of service", scene.host);
    }
}

/// Takes more than a minute, as the next one does: that long an attempt must be without a trace.
#[tokio::test]
async fn kill_9_before_and_after_every_write_of_a_drain_and_a_release_loses_nothing_and_asks_for_nothing_twice() {
    let servers = [VmState::Active];
    let mut world = world(HOSTS, json!({})).await;
    let (_, drain, release) = undisturbed(&mut world, &servers).await;
    let mut kills = Kills::default();
    let scenes = kill_drains(&mut world, &servers, &drain, &mut kills).await;
    kill_releases(&mut world, &scenes, &release, &mut kills).await;
    kills.assert_all(&[drain, release].concat());
    assert_covered("drain", &kills.0);
}

#[tokio::test]
async fn kill_9_before_and_after_every_write_of_a_cold_move_loses_nothing_and_asks_for_nothing_twice() {
    let servers = [VmState::Shutoff];
    let mut world = world(HOSTS, json!({})).await;
    let (_, drain, _) = undisturbed(&mut world, &servers).await;
    // What the cordon takes is the other drain's.
    let moves: Vec<Write> = drain.into_iter().filter(|(word, ..)| word.contains("migrat") || word == "confirm-resize").collect();
    let mut kills = Kills::default();
    kill_drains(&mut world, &servers, &moves, &mut kills).await;
    kills.assert_all(&moves);
    assert_covered("cold drain", &kills.0);
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
    let mut world = world(8, json!({})).await;
    let mut scenes = Vec::new();
    let mut kills = Kills::default();
    for side in SIDES {
        for (word, about) in [("patch-migrationruns/status", 0), ("patch-migrationruns/status", 1), ("abort-migration", 0), ("abort-migration", 1)] {
            world.start_operator(&[]);
            let scene = Scene::set(&world, scenes.len(), &TWO).await;
            begin_and_hold(&world, &scene).await;
            world.kill_operator();
            let point = format!("{side}-{word}@{}", scene.servers[about]);
            world.start_operator(&["--crash-at", &point]);
            abort(&world, &scene).await;
            assert!(killed(&mut world, &point, async |_| false).await);
            kills.note(side, word);
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
    assert_covered("abort", &kills.0);
}
