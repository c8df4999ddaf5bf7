//! Situations that people met with neighbouring software, as far as a real Nova can be made to show them. Each bears its title; on the simulator they stand in `situations`.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use sidestep::api::quarantine::{Phase, ResidentReason};
use sidestep::api::run::RunPhase;
use sidestep::api::{HostQuarantine, MigrationRun};
use sidestep::inventory::{ServerId, ServiceStatus};

use super::super::support::nova::Nova;
use super::super::support::world::{World, condition_of, until};
use super::{PATIENCE, copies_one_of, each_left_by_one_attempt, ends, quarantine, row_words, run_when, runs_elsewhere, setup};

const SOURCE: &str = "cmp-1";

/// Does to a server what its owner or an administrator does.
async fn act(nova: &Nova, server: ServerId, action: Value) {
    let answered = nova.raw().await.nova(Method::POST, &format!("/servers/{server}/action"), Some(action)).await;
    assert_eq!(answered.status, 202, "{answered:?}");
}

async fn until_it_is(nova: &Nova, server: ServerId, wanted: &str) {
    let client = nova.client().await;
    until(&format!("{server} is {wanted}"), PATIENCE, async || match client.server(server).await.map_err(|fault| fault.to_string())? {
        Some(server) if server.status.as_str() == wanted && server.task_state.is_none() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

fn residents(quarantine: &HostQuarantine) -> BTreeMap<String, ResidentReason> {
    quarantine.status.iter().flat_map(|status| &status.residents).map(|resident| (resident.server.clone(), resident.reason)).collect()
}

#[tokio::test]
async fn a_server_that_was_in_error_long_before() {
    let nova = Nova::take().await;
    let broken = nova.boot(SOURCE, "tiny", "error", 1).await[0];
    let well = nova.boot(SOURCE, "tiny", "active", 2).await;
    let world = World::start(setup(nova).without_sentinels()).await;
    quarantine(&world, "drain", SOURCE, json!({})).await;
    let blocked = ends(&world, "drain", Phase::Blocked).await;
    assert_eq!(residents(&blocked), BTreeMap::from([(broken.to_string(), ResidentReason::ServerInError)]));
    each_left_by_one_attempt(&world, SOURCE, &well, "running").await;
    assert_eq!(row_words(&world, broken).await, Vec::<String>::new());
    until_it_is(world.nova(), broken, "ERROR").await;
    // Somebody repairs it: its state has changed.
    act(world.nova(), broken, json!({"os-resetState": {"state": "active"}})).await;
    ends(&world, "drain", Phase::Empty).await;
    runs_elsewhere(&world, SOURCE, broken, "running");
}

#[tokio::test]
async fn somebody_elses_resize_waits_for_confirmation() {
    let nova = Nova::take().await;
    let [reverted, confirmed] = nova.boot(SOURCE, "tiny", "shutoff", 2).await[..] else { panic!("not two servers") };
    for server in [reverted, confirmed] {
        act(&nova, server, json!({"migrate": {"host": "cmp-2"}})).await;
        until_it_is(&nova, server, "VERIFY_RESIZE").await;
    }
    let world = World::start(setup(nova).without_sentinels()).await;
    quarantine(&world, "drain", SOURCE, json!({})).await;
    let blocked = ends(&world, "drain", Phase::Blocked).await;
    assert_eq!(residents(&blocked), [reverted, confirmed].map(|server| (server.to_string(), ResidentReason::PendingResize)).into());
    // One owner confirms; the other reverts, and the server is on the host again: a late arrival.
    let answered = world.nova().raw().await.nova(Method::POST, &format!("/servers/{confirmed}/action"), Some(json!({"confirmResize": null}))).await;
    assert_eq!(answered.status, 204, "{answered:?}");
    act(world.nova(), reverted, json!({"revertResize": null})).await;
    run_when(&world, reverted, "exists", |_| true).await;
    ends(&world, "drain", Phase::Empty).await;
    assert_eq!(row_words(&world, confirmed).await, ["confirmed"]);
    let words = row_words(&world, reverted).await;
    assert_eq!(words, ["reverted", "confirmed"], "its own move is confirmed, and nobody else's was");
}

#[tokio::test]
async fn soft_deleted_servers_are_invisible_and_still_there() {
    let nova = Nova::take().await;
    let deleted = nova.boot(SOURCE, "tiny", "active", 1).await[0];
    let answered = nova.raw().await.nova(Method::DELETE, &format!("/servers/{deleted}"), None).await;
    assert_eq!(answered.status, 204, "{answered:?}");
    until_it_is(&nova, deleted, "SOFT_DELETED").await;
    let world = World::start(setup(nova).without_sentinels()).await;
    quarantine(&world, "drain", SOURCE, json!({})).await;
    let blocked = ends(&world, "drain", Phase::Blocked).await;
    assert_eq!(residents(&blocked), BTreeMap::from([(deleted.to_string(), ResidentReason::SoftDeleted)]));
    // The owner restores it: a late arrival.
    act(world.nova(), deleted, json!({"restore": null})).await;
    ends(&world, "drain", Phase::Empty).await;
    runs_elsewhere(&world, SOURCE, deleted, "running");
}

#[tokio::test]
async fn hard_anti_affinity_leaves_no_destination() {
    let nova = Nova::take().await;
    let mut members = Vec::new();
    for host in [SOURCE, "cmp-2", "cmp-3"] {
        members.extend(nova.boot_as(host, "tiny", 1, &["--group", "quorum"]).await);
    }
    let free = nova.boot(SOURCE, "tiny", "active", 2).await;
    let world = World::start(setup(nova).without_sentinels()).await;
    quarantine(&world, "drain", SOURCE, json!({})).await;
    let blocked = ends(&world, "drain", Phase::Blocked).await;
    assert_eq!(residents(&blocked), BTreeMap::from([(members[0].to_string(), ResidentReason::NoDestination)]));
    let message = &blocked.status.as_ref().unwrap().residents[0].message;
    assert!(message.contains("quorum"), "{message}");
    each_left_by_one_attempt(&world, SOURCE, &free, "running").await;
    assert_eq!(row_words(&world, members[0]).await, Vec::<String>::new(), "no blind request");
}

#[tokio::test]
async fn the_text_of_the_disabled_reason() {
    let nova = Nova::take().await;
    // Disabled without a reason, then quarantined with a long one.
    let service = nova.service(SOURCE).await.id;
    let answered = nova.raw().await.nova(Method::PUT, &format!("/os-services/{service}"), Some(json!({"status": "disabled"}))).await;
    assert_eq!(answered.status, 200, "{answered:?}");
    let world = World::start(setup(nova).without_sentinels()).await;
    let reason = format!("Verdächtig\nauf {SOURCE}: {}", "ü".repeat(300));
    quarantine(&world, "long", SOURCE, json!({"reason": reason})).await;
    let empty = ends(&world, "long", Phase::Empty).await;
    let text = world.nova().service(SOURCE).await.disabled_reason.unwrap();
    assert!(text.starts_with(&format!("sidestep/{} before=disabled: Verdächtig auf {SOURCE}", empty.metadata.uid.unwrap())), "{text}");
    assert_eq!((text.chars().count(), empty.spec.reason), (255, reason));
    world.release("long").await;
    ends(&world, "long", Phase::Released).await;
    let service = world.nova().service(SOURCE).await;
    assert_eq!((service.status, service.disabled_reason.unwrap_or_default()), (ServiceStatus::Disabled, String::new()), "as before");
}

#[tokio::test]
async fn the_service_row_is_deleted_and_comes_back() {
    let nova = Nova::take().await;
    let world = World::start(setup(nova).without_sentinels()).await;
    quarantine(&world, "drain", SOURCE, json!({})).await;
    let empty = ends(&world, "drain", Phase::Empty).await;
    let before = empty.status.unwrap().host.unwrap().service_id;
    world.nova().svc("kill", &format!("compute-{SOURCE}"));
    let answered = world.nova().raw().await.nova(Method::DELETE, &format!("/os-services/{before}"), None).await;
    assert_eq!(answered.status, 204, "{answered:?}");
    world.nova().svc("start", &format!("compute-{SOURCE}"));
    let replaced = |quarantine: &HostQuarantine| condition_of(quarantine, "Cordoned").is_some_and(|condition| condition.reason == "ServiceReplaced");
    let quarantine = world.wait_for("drain", "has a replaced service", replaced).await;
    assert_eq!(condition_of(&quarantine, "Ready").unwrap().status, "False");
    assert_ne!(quarantine.status.unwrap().phase, Some(Phase::Empty), "never a green Empty on an enabled host");
    assert_ne!(world.nova().service(SOURCE).await.id.to_string(), before);
    let late = world.nova().boot(SOURCE, "tiny", "active", 2).await;
    each_left_by_one_attempt(&world, SOURCE, &late, "running").await;
}

#[tokio::test]
async fn deleting_one_run_of_a_drain() {
    let nova = Nova::take().await;
    let servers = nova.boot(SOURCE, "tiny", "active", 5).await;
    nova.steer("default", &json!({"hold": true}));
    let world = World::start(setup(nova).without_sentinels()).await;
    quarantine(&world, "drain", SOURCE, json!({})).await;
    copies_one_of(&world, &servers).await;
    let pick = async |phase: RunPhase| {
        let runs = world.runs_of("drain").await;
        let run = runs.into_iter().find(|run| run.status.as_ref().and_then(|status| status.phase) == Some(phase));
        run.ok_or(format!("no run is {}", phase.as_str()))
    };
    let running = world.until("one runs", async || pick(RunPhase::Running).await).await;
    let planned = world.until("one is planned", async || pick(RunPhase::Planned).await).await;
    for run in [&running, &planned] {
        world.delete::<MigrationRun>(run.metadata.name.as_deref().unwrap()).await;
    }
    world.nova().steer("default", &json!({}));
    let blocked = ends(&world, "drain", Phase::Blocked).await;
    assert_eq!(residents(&blocked), BTreeMap::from([(planned.spec.server.clone(), ResidentReason::RunDeleted)]));
    let stays = ServerId(planned.spec.server.parse().unwrap());
    assert_eq!(row_words(&world, stays).await, Vec::<String>::new());
    for server in servers.into_iter().filter(|server| *server != stays) {
        assert_eq!(row_words(&world, server).await, ["completed"]);
        runs_elsewhere(&world, SOURCE, server, "running");
    }
}
