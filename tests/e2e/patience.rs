//! What people and broken objects do to a drain, and what the operator does when there is nothing to do.

use std::fs;

use jiff::SignedDuration;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sidestep::api::quarantine::{Phase, ResidentReason};
use sidestep::api::{HostQuarantine, MigrationRun, OpenStackCloud};
use sidestep::simulator::{Settings, Timing, VmState};

use super::support::cloud::{Cloud, Simulated, active, four_servers, server};
use super::support::world::{Setup, World, condition_of};

#[tokio::test]
async fn a_run_that_a_person_deletes_is_not_made_again_and_the_others_go_on() {
    let world = World::start(Setup::simulated(four_servers()).await.without_sentinels()).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    let waits = |run: &MigrationRun| run.status.as_ref().is_none_or(|status| status.attempts.is_empty());
    let deleted = world.until("a run waits", async || world.runs_of("hunch").await.into_iter().find(waits).ok_or_else(|| "none".to_owned())).await;
    world.delete::<MigrationRun>(deleted.metadata.name.as_ref().unwrap()).await;
    world.wait_until_gone::<MigrationRun>(deleted.metadata.name.as_ref().unwrap()).await;
    world.simulator().knobs("host-cmp-1", None);
    let status = world.wait_for_phase("hunch", Phase::Blocked).await.status.unwrap();
    let residents: Vec<_> = status.residents.iter().map(|resident| (resident.server.clone(), resident.reason)).collect();
    assert_eq!(residents, [(deleted.spec.server, ResidentReason::RunDeleted)]);
    assert_eq!((status.progress.unwrap().migrated, world.simulator().servers_on("cmp-1").len()), (3, 1));
    assert_eq!(world.simulator().moves_asked(3), Ok(()));
}

#[tokio::test]
async fn deleting_in_mid_drain_starts_nothing_new_and_follows_what_runs() {
    let world = World::start(Setup::simulated(four_servers()).await.without_sentinels()).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    world.delete::<HostQuarantine>("hunch").await;
    let deleting = |quarantine: &HostQuarantine| condition_of(quarantine, "Ready").is_some_and(|ready| ready.reason == "Deleting");
    let message = condition_of(&world.wait_for("hunch", "is being deleted", deleting).await, "Ready").unwrap().message;
    assert!(message.contains("2 moves are followed to their end"), "{message}");
    world.simulator().knobs("host-cmp-1", None);
    world.wait_until_gone::<HostQuarantine>("hunch").await;
    assert_eq!(world.simulator().rows_in("completed", 2), Ok(()));
    assert_eq!((world.simulator().moves_asked(2), world.simulator().servers_on("cmp-1").len()), (Ok(()), 2));
    assert!(!world.simulator().service("cmp-1").0, "the cordon stays");
    // Its runs go with it.
    let none = async || if world.all::<MigrationRun>().await.is_empty() { Ok(()) } else { Err("some are left".to_owned()) };
    world.until("no run is left", none).await;
}

#[tokio::test]
async fn a_cold_move_that_outlives_its_quarantine_is_confirmed_all_the_same() {
    let timing = Timing { cold_move_ms: 20_000, ..Timing::default() };
    let settings = Settings { servers: vec![server("off", "cmp-1", VmState::Shutoff)], timing, ..Settings::default() };
    let world = World::start(Setup::on(Cloud::Simulator(Simulated::start(settings).await)).without_sentinels()).await;
    let off = world.simulator().servers_on("cmp-1")[0];
    world.quarantine("hunch", "cmp-1", json!({"deadline": "2s"})).await;
    world.until("the move is asked for", async || world.simulator().rows_in("migrating", 1)).await;
    world.delete::<HostQuarantine>("hunch").await;
    world.wait_until_gone::<HostQuarantine>("hunch").await;
    assert_eq!(world.simulator().rows_in("migrating", 1), Ok(()), "the move goes on");
    let none = async || if world.all::<MigrationRun>().await.is_empty() { Ok(()) } else { Err("some are left".to_owned()) };
    world.until("no run is left", none).await;
    assert_eq!(world.simulator().migrations_of(off)[0].status, Some("confirmed"));
}

#[tokio::test]
async fn a_host_that_somebody_else_enables_is_contested_and_never_called_empty() {
    let world = World::start(Setup::simulated(four_servers()).await.without_sentinels()).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    world.simulator().enable("cmp-1").await;
    let contested = world.wait_for_condition::<HostQuarantine>("hunch", "Contested", "True").await;
    assert!(contested.message.contains("cmp-1") && contested.message.contains("release this object"), "{}", contested.message);
    world.wait_for_phase("hunch", Phase::Blocked).await;
    world.wait_for_event("hunch", "Contested").await;
    world.release_by_force("hunch").await;
    world.wait_for_phase("hunch", Phase::Released).await;
    assert_eq!(world.simulator().service("cmp-1"), (true, None));
}

#[tokio::test]
async fn a_host_is_given_back_by_force_also_while_nova_does_not_list_its_servers() {
    let world = World::start(Setup::simulated(four_servers()).await.without_sentinels()).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    world.simulator().fault(r#"{"method": "GET", "path": "/servers/detail", "answer": "500", "seconds": 3600}"#);
    world
        .wait_for("hunch", "is not seen any more", |quarantine: &HostQuarantine| {
            condition_of(quarantine, "Ready").is_some_and(|ready| ready.message.contains("the last look at the host failed"))
        })
        .await;
    world.release_by_force("hunch").await;
    world.wait_for_phase("hunch", Phase::Released).await;
    assert_eq!(world.simulator().service("cmp-1"), (true, None));
}

#[tokio::test]
async fn who_disables_the_host_with_a_reason_of_their_own_keeps_it_disabled_after_the_release() {
    let world = World::start(Setup::simulated(four_servers()).await.without_sentinels()).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine("firmware", "cmp-1", json!({"scope": "Maintenance"})).await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    world.simulator().disable("cmp-1", "bad RAM").await;
    let by_others = |quarantine: &HostQuarantine| condition_of(quarantine, "Cordoned").is_some_and(|cordoned| cordoned.reason == "DisabledByOthers");
    let draining = world.wait_for("firmware", "is disabled by others", by_others).await;
    assert_eq!(condition_of(&draining, "Contested").unwrap().status, "False");
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_phase("firmware", Phase::Empty).await;
    world.release("firmware").await;
    world.wait_for_phase("firmware", Phase::Released).await;
    assert_eq!(world.simulator().service("cmp-1"), (false, Some("bad RAM".to_owned())));
}

#[tokio::test]
async fn objects_that_cannot_be_read_stop_nothing_else() {
    let setup = Setup::simulated(four_servers()).await.without_sentinels();
    let mut world = World::bare(setup.cloud).await;
    world.create_secret("lab", &world.cloud.clouds_yaml()).await;
    world.create_cloud("lab", json!({})).await;
    world.create_cloud("broken", json!({})).await;
    world.quarantine_by_hand("broken", "cmp-2", "Enforce").await;
    // The schema knows no 32 bits.
    let huge = 1_u64 << 40;
    let status = |status: Value| Patch::Merge(json!({"status": status}));
    let params = PatchParams::default();
    let raw = world.dynamic::<HostQuarantine>();
    raw.patch_status("broken", &params, &status(json!({"residentCount": huge}))).await.unwrap();
    let hosts = json!({"total": huge, "enabled": 0, "disabled": 0, "down": 0, "quarantined": 0});
    world.dynamic::<OpenStackCloud>().patch_status("broken", &params, &status(json!({"hosts": hosts}))).await.unwrap();
    world.start_operator(&[]);
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    for kind in ["HostQuarantine", "OpenStackCloud"] {
        let line = world.wait_for_log("operator", &format!("does not parse and is left out; correct or delete it. kind={kind}")).await;
        assert!(line.contains("name=\"broken\""), "{line}");
    }
    assert!(world.simulator().service("cmp-2").0);
}

#[tokio::test]
async fn while_nothing_changes_nothing_is_written() {
    let setup = Setup::simulated(vec![active("a", "cmp-1"), server("off", "cmp-1", VmState::Rescued)]).await.without_sentinels();
    let world = World::start(Setup { spec: json!({"inventory": {"idleInterval": "1s"}}), ..setup }).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.quarantine_by_hand("shown", "cmp-2", "Observe").await;
    world.wait_for_phase("hunch", Phase::Blocked).await;
    world.wait_for_phase("shown", Phase::Observed).await;
    // What the last change still had to say is said after three more looks.
    wait_for_looks(&world, SignedDuration::from_secs(3)).await;
    let before = operator_writes(&world);
    assert!(!before.is_empty(), "the log has what was written until now");
    wait_for_looks(&world, SignedDuration::from_secs(31)).await;
    let after = operator_writes(&world);
    assert_eq!(after[before.len()..], [] as [String; 0]);
}

/// Waits until the operator has gone on looking at the cloud for so long.
async fn wait_for_looks(world: &World, how_long: SignedDuration) {
    let last = || world.simulator().requests().iter().rfind(|request| request.path.contains("/os-services")).map(|request| request.at);
    let from = last().unwrap();
    let looked = async || last().map(|at| at.duration_since(from)).filter(|looked| *looked >= how_long).ok_or_else(|| format!("{:?}", last()));
    world.until(&format!("the cloud was looked at for {how_long:?}"), looked).await;
}

/// What the operator wrote, as the API server recorded it.
fn operator_writes(world: &World) -> Vec<String> {
    let log = fs::read_to_string(world.plane.audit_log()).unwrap();
    // The last line may not be whole yet.
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let writes = entries.filter(|entry| {
        let by_operator = entry["user"]["username"].as_str().is_some_and(|name| name.ends_with(":sidestep-operator"));
        by_operator && !matches!(entry["verb"].as_str(), Some("get" | "list" | "watch"))
    });
    writes.map(|entry| format!("{} {} {}", entry["requestReceivedTimestamp"], entry["verb"], entry["requestURI"])).collect()
}
