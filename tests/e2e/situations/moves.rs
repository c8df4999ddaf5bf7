//! Moves and how they end.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;
use sidestep::api::quarantine::{Phase, ResidentReason};
use sidestep::api::run::{MigrationRunStatus, Outcome, RunPhase};
use sidestep::api::{HostQuarantine, MigrationRun};
use sidestep::simulator::{GroupPolicy, GroupSettings, ServerSettings, Settings};
use uuid::Uuid;

use crate::moves::{many, phase_of, story, world_with};
use crate::support::cloud::{Cloud, Simulated, active};
use crate::support::world::{LIMIT, Setup, World, condition_of, until};

/// The residents of a quarantine, by server.
fn residents(quarantine: &HostQuarantine) -> BTreeMap<String, ResidentReason> {
    let status = quarantine.status.clone().unwrap_or_default();
    status.residents.into_iter().map(|resident| (resident.server, resident.reason)).collect()
}

fn phase(quarantine: &HostQuarantine) -> Option<Phase> {
    quarantine.status.as_ref().and_then(|status| status.phase)
}

/// Takes more than 60 s: that long a record that has just been written may be ahead of the list that it is compared with.
#[tokio::test]
async fn completed_but_the_server_still_has_the_old_host() {
    let world = world_with(many(3), json!({})).await;
    let behind = world.simulator().servers_on("cmp-1")[0];
    world.simulator().knobs(&behind.to_string(), Some(r#"{"fail": "record_behind"}"#));
    world.create::<HostQuarantine>("hunch", json!({"cloud": "lab", "host": "cmp-1", "mode": "Enforce", "scope": "HostThreatened", "deadline": "20s"})).await;
    let expected = BTreeMap::from([(behind.to_string(), ResidentReason::RecordBehindGuest)]);
    let blocked = until("the server is the only resident, for its record", LIMIT * 3, async || {
        let quarantine = world.get::<HostQuarantine>("hunch").await;
        let phase = quarantine.status.as_ref().and_then(|status| status.phase);
        if phase == Some(Phase::Blocked) && residents(&quarantine) == expected {
            Ok(quarantine)
        } else {
            Err(format!("{phase:?} {:?}", residents(&quarantine)))
        }
    })
    .await;
    let progress = blocked.status.as_ref().unwrap().progress.unwrap();
    assert_eq!((progress.migrated, progress.remaining), (2, 1));
    let run = world.wait_for_run_of("hunch", behind, "has failed", |run| phase_of(run) == Some(RunPhase::Failed)).await;
    assert!(condition_of(&run, "Succeeded").unwrap().message.contains("never start it here"), "{run:?}");
    // One request for each, and no reset of anybody's state.
    assert_eq!(world.simulator().moves_asked(3), Ok(()));
}

/// Takes more than a minute: so far apart are the probes.
#[tokio::test]
async fn a_dependency_is_down_for_minutes_and_every_servers_attempts_are_used_up() {
    let world = world_with(many(20), json!({})).await;
    world.simulator().knobs("default", Some(r#"{"fail": "network", "reason": "Connection to the network service failed"}"#));
    world.create::<HostQuarantine>("hunch", json!({"cloud": "lab", "host": "cmp-1", "mode": "Enforce", "scope": "HostThreatened"})).await;
    let held = |run: &MigrationRun| condition_of(run, "Succeeded").is_some_and(|condition| condition.reason == "DependencyDown");
    let run = world
        .until("a run says what is down and when the next probe goes out", async || {
            let runs = world.runs_of("hunch").await;
            runs.iter().find(|run| held(run)).cloned().ok_or(format!("{:?}", runs.iter().map(story).collect::<Vec<_>>()))
        })
        .await;
    assert!(run.status.as_ref().unwrap().next_attempt.is_some());
    assert!(condition_of(&run, "Succeeded").unwrap().message.contains("Connection to the network service failed"));
    let asked = || world.simulator().cloud(|cloud| cloud.migrations().count());
    world
        .until("what was under way when starts paused has ended", async || {
            let open = world
                .runs_of("hunch")
                .await
                .iter()
                .filter(|run| run.status.as_ref().is_some_and(|status| status.attempts.iter().any(|attempt| attempt.ended_at.is_none())))
                .count();
            if open == 0 { Ok(()) } else { Err(format!("{open} attempts are open")) }
        })
        .await;
    let before = asked();
    assert!(before <= 12, "{before} requests before starts paused");
    // One probe goes out while it is down.
    until("one probe has gone out", LIMIT * 2, async || if asked() > before { Ok(()) } else { Err(asked().to_string()) }).await;
    assert!(asked() <= before + 1, "{} requests", asked());
    world.simulator().knobs("default", None);
    until("all 20 have left", LIMIT * 4, async || {
        let left = world.simulator().servers_on("cmp-1").len();
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    })
    .await;
    for run in world.runs_of("hunch").await {
        let run = world.wait_for(run.metadata.name.as_deref().unwrap(), "has succeeded", |run| phase_of(run) == Some(RunPhase::Succeeded)).await;
        let used = run
            .status
            .unwrap_or_else(MigrationRunStatus::default)
            .attempts
            .iter()
            .filter(|attempt| attempt.outcome.is_some_and(Outcome::uses_up_an_attempt))
            .count();
        assert_eq!(used, 1);
    }
}

#[tokio::test]
async fn hard_anti_affinity_leaves_no_destination() {
    let member = |name: &str, host: &str| ServerSettings { group: Some("quorum".into()), ..active(name, host) };
    let mut servers = many(4);
    servers.extend([member("m1", "cmp-1"), member("m2", "cmp-2"), member("m3", "cmp-3")]);
    let settings = Settings {
        server_groups: [("quorum".to_owned(), GroupSettings { policy: GroupPolicy::AntiAffinity })].into(),
        servers,
        speed: 20.0,
        ..Settings::default()
    };
    let world = World::start(Setup::on(Cloud::Simulator(Simulated::start(settings).await)).without_sentinels()).await;
    let bound = world.simulator().cloud(|cloud| cloud.servers().find(|server| server.name == "m1").unwrap().id);
    world.create::<HostQuarantine>("hunch", json!({"cloud": "lab", "host": "cmp-1", "mode": "Enforce", "scope": "HostThreatened"})).await;
    let blocked = world.wait_for_phase("hunch", Phase::Blocked).await;
    assert_eq!(residents(&blocked), BTreeMap::from([(bound.to_string(), ResidentReason::NoDestination)]));
    assert!(blocked.status.as_ref().unwrap().residents[0].message.contains("quorum"), "{blocked:?}");
    assert_eq!(world.simulator().servers_on("cmp-1"), [bound]);
    assert_eq!(world.simulator().moves_asked(4), Ok(()), "the four others, and no blind request for the member");
}

#[tokio::test]
async fn deleting_one_run_of_a_drain() {
    let world = world_with(many(10), json!({})).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.create::<HostQuarantine>("hunch", json!({"cloud": "lab", "host": "cmp-1", "mode": "Enforce", "scope": "HostThreatened"})).await;
    let pick = async |phase: RunPhase| {
        let runs = world.runs_of("hunch").await;
        runs.iter().find(|run| phase_of(run) == Some(phase)).cloned().ok_or(format!("{:?}", runs.iter().map(phase_of).collect::<Vec<_>>()))
    };
    let running = world.until("one runs", async || pick(RunPhase::Running).await).await;
    let planned = world.until("one is planned", async || pick(RunPhase::Planned).await).await;
    let (running_server, planned_server): (Uuid, Uuid) = (running.spec.server.parse().unwrap(), planned.spec.server.parse().unwrap());
    world.delete::<MigrationRun>(running.metadata.name.as_deref().unwrap()).await;
    world.delete::<MigrationRun>(planned.metadata.name.as_deref().unwrap()).await;
    world.wait_until_gone::<MigrationRun>(planned.metadata.name.as_deref().unwrap()).await;
    world.simulator().knobs("host-cmp-1", None);
    let expected = BTreeMap::from([(planned_server.to_string(), ResidentReason::RunDeleted)]);
    let is_over = |quarantine: &HostQuarantine| phase(quarantine) == Some(Phase::Blocked) && residents(quarantine) == expected;
    let blocked = world.wait_for("hunch", "is blocked by the deleted run alone", is_over).await;
    let message = &blocked.status.as_ref().unwrap().residents[0].message;
    assert!(message.contains("suspend") && message.contains("abort"), "{message}");
    assert_ne!(world.simulator().host_of(running_server).as_deref(), Some("cmp-1"), "followed to its end");
    assert_eq!(world.simulator().servers_on("cmp-1"), [planned_server]);
    assert_eq!(world.simulator().moves_asked(9), Ok(()));
}

#[tokio::test]
async fn the_operators_own_kubernetes_runs_on_the_drained_host() {
    let world = world_with(many(6), json!({"concurrency": {"perSource": 3, "perDestination": 3, "total": 10}})).await;
    world.simulator().set(json!({"max_concurrent_live_migrations": 3})).await;
    let own: Vec<Uuid> = world.simulator().servers_on("cmp-1")[..2].to_vec();
    let nodes = Api::<Node>::all(world.client.clone());
    for (n, server) in own.iter().enumerate() {
        let name = format!("own-node-{n}");
        drop(nodes.delete(&name, &DeleteParams::default()).await);
        let node: Node = serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"providerID": format!("openstack:///{server}")}})).unwrap();
        nodes.create(&PostParams::default(), &node).await.unwrap();
    }
    world.create::<HostQuarantine>("hunch", json!({"cloud": "lab", "host": "cmp-1", "mode": "Enforce", "scope": "HostThreatened"})).await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    for n in 0..own.len() {
        nodes.delete(&format!("own-node-{n}"), &DeleteParams::default()).await.unwrap();
    }
    let runs = world.runs_of("hunch").await;
    let span = |run: &MigrationRun| {
        let attempt = run.status.as_ref().unwrap().attempts.last().unwrap().clone();
        (attempt.intent_at.0, attempt.ended_at.unwrap().0)
    };
    let (mut last, others): (Vec<_>, Vec<_>) =
        runs.iter().map(|run| (own.iter().any(|server| run.spec.server == server.to_string()), span(run))).partition(|(own, _)| *own);
    last.sort_by_key(|(_, span)| span.0);
    assert_eq!((last.len(), others.len()), (2, 4));
    assert!(others.iter().all(|(_, other)| other.1 <= last[0].1.0), "they move last: {runs:?}");
    assert!(last[0].1.1 <= last[1].1.0, "one at a time");
}
