//! What the operator writes beside decisions and drains: its Lease, its name and findings in the status of clouds, policies and reports, Events, alerts of silence, runs by hand, and the removal of
//! what is old. It is killed before and after each; the next operator makes up for it.
//!
//! Who is killed before a write has left it undone, so that the next operator, who is killed after it, comes to the same.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use sidestep::api::quarantine::Phase;
use sidestep::api::run::RunPhase;
use sidestep::api::{HostAlert, HostQuarantine, HostReport, MigrationRun, OpenStackCloud, QuarantinePolicy};
use sidestep::clock::Clock;
use sidestep::simulator::VmState;

use super::super::support::control_plane::{NAMESPACE, SENTINELS};
use super::super::support::world::{CLOUD, Kind, LIMIT, POLICY, World, condition_of, phase_of, until};
use super::scene::{Kills, Scene, killed, world};
use super::{SIDES, assert_covered};

/// Kills one operator before a write and the next one after it.
async fn kill_both(world: &mut World, kills: &mut Kills, word: &str, about: &str, arguments: &[&str]) {
    for side in SIDES {
        let point = format!("{side}-{word}@{about}");
        world.start_operator(&[&["--crash-at", &point], arguments].concat());
        assert!(killed(world, &point, async |_| false).await);
        kills.note(side, word);
    }
}

fn leases(world: &World, namespace: &str) -> Api<Lease> {
    Api::namespaced(world.client.clone(), namespace)
}

/// The Lease, whose holder's name every cloud's status bears; and what an operator says of clouds and policies.
async fn standing(world: &mut World, kills: &mut Kills) {
    for word in ["create-leases", "update-leases", "patch-openstackclouds/status"] {
        kill_both(world, kills, word, "", &[]).await;
    }
    // The first was its name; this is what it found.
    kill_both(world, kills, "patch-openstackclouds/status", CLOUD, &[]).await;
    world.create_policy(POLICY, json!({"mode": "Observe"})).await;
    kill_both(world, kills, "patch-quarantinepolicies/status", POLICY, &[]).await;
}

/// Events: one of their own for each kill, since who is killed between a status and its Event does not repeat that.
async fn events(world: &mut World, kills: &mut Kills) {
    for (side, number) in SIDES.into_iter().zip(2..) {
        let point = format!("{side}-create-events");
        world.start_operator(&["--crash-at", &point]);
        world.quarantine_by_hand(&format!("look-{side}"), "src-0", "Observe").await;
        assert!(killed(world, &point, async |_| false).await);
        kills.note(side, "create-events");
        // The same Event about the same object is one that is counted on.
        let point = format!("{side}-patch-events");
        let scene = Scene::set(world, number, &[VmState::Suspended]).await;
        scene.begin(world).await;
        world.start_operator(&["--crash-at", &point]);
        let mut suspended = false;
        let mut dead = false;
        until("the operator has ended at an Event that it had written before", LIMIT, async || {
            dead = world.operator_has_ended();
            let quarantine = world.get::<HostQuarantine>(&scene.quarantine).await;
            if dead {
                return Ok(());
            }
            if phase_of(&quarantine) == Some(if suspended { Phase::Suspended } else { Phase::Blocked }) {
                suspended = !suspended;
                world.change::<HostQuarantine>(&scene.quarantine, json!({"suspend": suspended})).await;
            }
            Err(format!("{:?}", phase_of(&quarantine)))
        })
        .await;
        kills.note(side, "patch-events");
    }
}

/// What is said of a host that is silent.
async fn silence(world: &mut World, kills: &mut Kills) {
    let report = |node: &str| json!({"node": node, "version": "0"});
    world.create::<HostReport>("spare-2", report("spare-2")).await;
    heartbeat(world, "spare-2").await;
    let arguments = ["--silent-after", "2s"];
    kill_both(world, kills, "patch-hostreports/status", "spare-2", &arguments).await;
    kill_both(world, kills, "patch-hostalerts", "spare-2-silent", &arguments).await;
}

async fn heartbeat(world: &World, node: &str) {
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": node}, "spec": {"holderIdentity": node}});
    leases(world, SENTINELS).patch(node, &PatchParams::apply("story").force(), &Patch::Apply(lease)).await.unwrap();
}

/// A run that a person made; its server moves by one request.
async fn by_hand(world: &mut World, kills: &mut Kills) {
    let server = world.simulator().boot("one", "spare-0", VmState::Active);
    let spec = json!({"cloud": CLOUD, "server": server, "sourceHost": "spare-0", "destination": {"host": "spare-2"}});
    world.create::<MigrationRun>("by-hand", spec).await;
    kill_both(world, kills, "patch-migrationruns", "by-hand", &[]).await;
}

/// What is old: a run and an alert of a cloud that keeps them for an hour, and all of a node that is in no cloud.
async fn oblivion(world: &mut World, kills: &mut Kills) {
    let (old, node) = ("2026-01-01T00:00:00Z", "ghost");
    let spec = json!({"cloud": CLOUD, "server": "00000000-0000-4000-8000-000000000001", "sourceHost": "spare-1"});
    world.create::<MigrationRun>("old", spec).await;
    let succeeded = json!({"type": "Succeeded", "status": "True", "reason": "Moved", "message": "", "lastTransitionTime": old});
    status::<MigrationRun>(world, "old", json!({"phase": "Succeeded", "conditions": [succeeded]})).await;
    kill_both(world, kills, "delete-migrationruns", "old", &[]).await;

    for name in ["src-1-00", "ghost-00"] {
        let now = Clock::system().now().to_string();
        let spec = json!({"node": name.trim_end_matches("-00"), "series": "s", "seq": 1, "engine": "suricata", "ruleID": "1:1", "severity": "Low", "subject": "-", "flow": "Unknown",
            "firstSeen": now, "lastSeen": now, "count": 1});
        world.create::<HostAlert>(name, spec).await;
    }
    // As if its sentinel had written it long ago.
    let written = json!([
        {"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "sidestep-sentinel"},
        {"op": "replace", "path": "/metadata/managedFields/0/time", "value": old},
    ]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(written).unwrap());
    world.dynamic::<HostAlert>().patch("src-1-00", &PatchParams::default(), &patch).await.unwrap();
    status::<HostAlert>(world, "src-1-00", json!({"cloud": CLOUD, "host": "src-1", "decision": "NoPolicy"})).await;
    kill_both(world, kills, "delete-hostalerts", "src-1-00", &[]).await;

    world.create::<HostReport>(node, json!({"node": node, "version": "0"})).await;
    heartbeat(world, node).await;
    let arguments = ["--silent-after", "2s", "--forget-after", "1s"];
    for (word, name) in [("delete-hostalerts", "ghost-00"), ("delete-hostreports", node), ("delete-leases", node)] {
        kill_both(world, kills, word, name, &arguments).await;
    }
}

async fn status<K: Kind>(world: &World, name: &str, status: Value) {
    world.api::<K>().patch_status(name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await.unwrap();
}

#[tokio::test]
async fn kill_9_before_and_after_every_write_beside_a_drain_leaves_nothing_undone() {
    let mut world = world(4, json!({"retention": {"alerts": "1h", "runs": "1h"}})).await;
    leases(&world, NAMESPACE).delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await.unwrap();
    let mut kills = Kills::default();
    standing(&mut world, &mut kills).await;
    events(&mut world, &mut kills).await;
    by_hand(&mut world, &mut kills).await;
    silence(&mut world, &mut kills).await;
    oblivion(&mut world, &mut kills).await;

    world.start_operator(&["--silent-after", "2s"]);
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "True").await;
    let uid = leases(&world, NAMESPACE).get("sidestep-operator").await.unwrap().metadata.uid;
    let ours = world.get::<OpenStackCloud>(CLOUD).await.status.unwrap().operator.unwrap();
    assert_eq!(Some(ours.lease_uid), uid);
    world.wait_for_condition::<QuarantinePolicy>(POLICY, "Ready", "True").await;
    for side in SIDES {
        world.wait_for_phase(&format!("look-{side}"), Phase::Observed).await;
    }
    let moved = |run: &MigrationRun| run.status.as_ref().is_some_and(|status| status.phase == Some(RunPhase::Succeeded));
    let run = world.wait_for::<MigrationRun>("by-hand", "has moved its server", moved).await;
    assert!(run.metadata.finalizers.is_some_and(|finalizers| finalizers.len() == 1));
    assert_eq!(world.simulator().moves_asked(1), Ok(()));
    let silent = condition_of(&world.get::<HostReport>("spare-2").await, "SensorSilent").unwrap();
    assert_eq!(silent.status, "True", "{silent:?}");
    assert_eq!(world.get::<HostAlert>("spare-2-silent").await.spec.count, 1, "one silence is one alert");
    for (name, exists) in [("src-1-00", false), ("ghost-00", false), ("spare-2-silent", true)] {
        assert_eq!(world.api::<HostAlert>().get_opt(name).await.unwrap().is_some(), exists, "{name}");
    }
    assert!(world.api::<HostReport>().get_opt("ghost").await.unwrap().is_none());
    assert!(world.api::<MigrationRun>().get_opt("old").await.unwrap().is_none());
    assert!(leases(&world, SENTINELS).get_opt("ghost").await.unwrap().is_none());
    println!("killed at {} points", kills.0.len());
    assert_covered("upkeep", &kills.0);
}
