//! Situations about what stood there before a drain, and about objects that come back or are judged by other tools.

use std::fs;

use kube::ResourceExt as _;
use mlua::serde::SerializeOptions;
use mlua::{Lua, LuaSerdeExt as _, Table};
use serde_json::{Value, json};
use sidestep::api::quarantine::{Phase, ResidentReason};
use sidestep::api::run::RunPhase;
use sidestep::api::{HostQuarantine, MigrationRun, OpenStackCloud};
use sidestep::simulator::{ServerSettings, VmState};

use crate::support::cloud::{active, server};
use crate::support::control_plane::repository;
use crate::support::world::{CLOUD, Setup, World, condition_of};

async fn world(servers: Vec<ServerSettings>) -> World {
    World::start(Setup::simulated(servers).await.without_sentinels()).await
}

#[tokio::test]
async fn a_server_that_was_in_error_long_before() {
    let world = world(vec![server("broken", "cmp-1", VmState::Error), active("b", "cmp-1"), active("c", "cmp-1")]).await;
    let broken = world.simulator().cloud(|cloud| cloud.servers().find(|server| server.name == "broken").map(|server| server.id)).unwrap();
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let status = world.wait_for_phase("hunch", Phase::Blocked).await.status.unwrap();
    let residents: Vec<_> = status.residents.iter().map(|resident| (resident.server.clone(), resident.reason)).collect();
    assert_eq!(residents, [(broken.to_string(), ResidentReason::ServerInError)]);
    assert!(status.residents[0].message.contains("before the drain"), "{}", status.residents[0].message);
    assert_eq!(world.simulator().servers_on("cmp-1"), [broken]);
    let run = world.runs_of("hunch").await.into_iter().find(|run| run.spec.server == broken.to_string());
    assert!(run.is_none(), "{run:?}");
    assert!(world.simulator().writes().iter().all(|write| !write.path.contains(&broken.to_string())), "nothing is asked of it");
    // Somebody repairs it: its state has changed.
    world.simulator().cloud(|cloud| cloud.set_state(broken, VmState::Active)).unwrap();
    world.wait_for_phase("hunch", Phase::Empty).await;
}

/// The object as a backup holds it: with its spec and annotations, without status and identity. An owner that does not exist any more would have it collected.
fn restored(object: &impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    let fields = value.as_object_mut().unwrap();
    fields.remove("status");
    let metadata = fields["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "finalizers", "ownerReferences"] {
        metadata.remove(field);
    }
    value
}

#[tokio::test]
async fn objects_restored_without_status() {
    let mut world = World::start(Setup::simulated(vec![active("a", "cmp-1"), active("b", "cmp-1")]).await.sentinel_on("cmp-1")).await;
    world.alert("cmp-1");
    let first = world.wait_for_phase_of("cmp-1", Phase::Empty).await;
    let name = first.name_any();
    let runs = world.runs_of(&name).await;
    // The backup: the quarantine was decided on long ago.
    let mut quarantine = restored(&first);
    quarantine["metadata"]["annotations"]["sidestep.dev/decided"] = "2026-01-02T03:04:05.000000Z".into();
    let runs: Vec<Value> = runs.iter().map(restored).collect();
    world.kill_sentinel("cmp-1");
    world.delete::<HostQuarantine>(&name).await;
    world.wait_until_gone::<HostQuarantine>(&name).await;
    world.until("the runs are gone", async || if world.all::<MigrationRun>().await.is_empty() { Ok(()) } else { Err("some are there".to_owned()) }).await;
    world.delete::<sidestep::api::HostAlert>("cmp-1-00").await;
    let late = world.simulator().boot("legitimate", "cmp-1", VmState::Active);
    let asked = world.simulator().writes().iter().filter(|write| write.method == "POST").count();
    for object in runs.iter().chain([&quarantine]) {
        world.plane.kubectl().apply(&object.to_string(), &["--server-side"]).ok();
    }
    let waiting = world.wait_for_phase(&name, Phase::AwaitingApproval).await;
    assert_eq!(condition_of(&waiting, "Accepted").unwrap().reason, "TriggerTooOld");
    assert!(!waiting.status.unwrap().host.unwrap().disabled_before, "the mark in Nova's reason is recognised");
    for run in &runs {
        let name = run["metadata"]["name"].as_str().unwrap();
        world.wait_for::<MigrationRun>(name, "is Superseded", |run| run.status.as_ref().and_then(|status| status.phase) == Some(RunPhase::Superseded)).await;
    }
    assert_eq!(world.simulator().servers_on("cmp-1"), [late]);
    assert_eq!(world.simulator().writes().iter().filter(|write| write.method == "POST").count(), asked, "nothing was started");
    world.release_by_force(&name).await;
    world.wait_for_phase(&name, Phase::Released).await;
    assert_eq!(world.simulator().service("cmp-1"), (true, None));
}

/// The health that Argo CD computes of an object with the check that is shipped for it.
fn argo_health(object: &impl serde::Serialize) -> String {
    let map: Value = serde_saphyr::from_str(&fs::read_to_string(repository("config/argocd/argocd-cm.yaml")).unwrap()).unwrap();
    let checks: Value = serde_saphyr::from_str(map["data"]["resource.customizations"].as_str().unwrap()).unwrap();
    let script = checks["sidestep.dev/*"]["health.lua"].as_str().unwrap();
    let lua = Lua::new();
    let options = SerializeOptions::new().serialize_none_to_null(false).serialize_unit_to_null(false);
    let object = lua.to_value_with(&serde_json::to_value(object).unwrap(), options).unwrap();
    lua.globals().set("obj", object).unwrap();
    let health: Table = lua.load(script).eval().unwrap();
    health.get("status").unwrap()
}

#[tokio::test]
async fn what_gitops_tools_make_of_the_conditions() {
    let world = world(vec![active("a", "cmp-1"), server("rescued", "cmp-1", VmState::Rescued)]).await;
    // As Git would hold it.
    let manifest = fs::read_to_string(repository("config/samples/hostquarantine-maintenance.yaml")).unwrap();
    let manifest = manifest.replace("cloud: production", &format!("cloud: {CLOUD}")).replace("host: compute-20", "host: cmp-1");
    world.plane.kubectl().apply(&manifest, &["--server-side"]).ok();
    let name = "compute-20-firmware";
    let kstatus = |quarantine: &HostQuarantine| ["Ready", "Reconciling", "Stalled"].map(|kind| condition_of(quarantine, kind).unwrap().status);
    let is_current = |quarantine: &HostQuarantine| {
        let observed = quarantine.status.as_ref().and_then(|status| status.observed_generation);
        observed.is_some() && observed == quarantine.metadata.generation
    };
    // Waiting for a person is no failure: it is under way, and not stalled.
    let waiting = world.wait_for_phase(name, Phase::AwaitingApproval).await;
    assert!(is_current(&waiting));
    assert_eq!(kstatus(&waiting), ["False", "True", "False"]);
    assert_eq!(argo_health(&waiting), "Suspended");
    let mut edited = waiting.clone();
    edited.metadata.generation = edited.metadata.generation.map(|generation| generation + 1);
    assert_eq!(argo_health(&edited), "Progressing", "a status of before the last change says nothing");
    let ready = world.wait_for(CLOUD, "is ready", |cloud: &OpenStackCloud| condition_of(cloud, "Ready").is_some_and(|ready| ready.status == "True")).await;
    assert_eq!(argo_health(&ready), "Healthy");
    // Blocked does show as failed.
    let plan = waiting.status.unwrap().plan.unwrap().digest;
    world.change::<HostQuarantine>(name, json!({"approval": {"plan": plan, "approvedBy": world.user()}})).await;
    let blocked = world.wait_for_phase(name, Phase::Blocked).await;
    assert!(is_current(&blocked));
    assert_eq!(kstatus(&blocked), ["False", "False", "True"]);
    assert_eq!(argo_health(&blocked), "Degraded");
    // So does Refused.
    world.quarantine_by_hand("second", "cmp-1", "Approve").await;
    let refused = world.wait_for_phase("second", Phase::Refused).await;
    assert_eq!(kstatus(&refused), ["False", "False", "True"]);
    assert_eq!(argo_health(&refused), "Degraded");
    // What Git holds can be applied again without taking back what people said.
    world.plane.kubectl().apply(&manifest, &["--server-side"]).ok();
    assert_eq!(world.get::<HostQuarantine>(name).await.spec.approval.plan, plan);
}
