//! Situations about the host's service row and what lies on the host.

use serde_json::json;
use sidestep::api::HostQuarantine;
use sidestep::api::quarantine::{Phase, ResidentReason, TimelineEvent};
use sidestep::simulator::{ServerSettings, Settings, VmState};

use crate::support::cloud::{Cloud, Simulated, active, four_servers, server};
use crate::support::world::{Setup, World, condition_of, moment_of};

async fn world(servers: Vec<ServerSettings>) -> World {
    World::start(Setup::simulated(servers).await.without_sentinels()).await
}

fn residents(quarantine: &HostQuarantine) -> Vec<(String, ResidentReason)> {
    quarantine.status.iter().flat_map(|status| &status.residents).map(|resident| (resident.server.clone(), resident.reason)).collect()
}

async fn until_all_have_left(world: &World) {
    let left = async || {
        let servers = world.simulator().servers_on("cmp-1");
        if servers.is_empty() { Ok(()) } else { Err(format!("{servers:?}")) }
    };
    world.until("all have left", left).await;
}

/// A server that somebody's resize took from cmp-1 to cmp-2, where it waits for a confirmation.
fn resized() -> ServerSettings {
    ServerSettings { resized_from: Some("cmp-1".into()), ..server("resized", "cmp-2", VmState::Resized) }
}

#[tokio::test]
async fn somebody_elses_resize_waits_for_confirmation() {
    let world = world(vec![resized()]).await;
    let id = world.simulator().servers_on("cmp-2")[0];
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let blocked = world.wait_for_phase("hunch", Phase::Blocked).await;
    assert_eq!(residents(&blocked), [(id.to_string(), ResidentReason::PendingResize)]);
    // The tenant reverts: the server is on the host again, a late arrival.
    world.simulator().cloud(|cloud| cloud.revert_resize(id, "req-revert")).unwrap();
    world.wait_for_run_of("hunch", id, "exists", |_| true).await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    assert_ne!(world.simulator().host_of(id).unwrap(), "cmp-1");
}

#[tokio::test]
async fn somebody_elses_resize_that_is_confirmed_leaves_the_host_empty() {
    let world = world(vec![resized()]).await;
    let id = world.simulator().servers_on("cmp-2")[0];
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Blocked).await;
    world.simulator().cloud(|cloud| cloud.confirm_resize(id, "req-confirm")).unwrap();
    world.wait_for_phase("hunch", Phase::Empty).await;
    assert_eq!(world.simulator().moves_asked(0), Ok(()), "nothing is confirmed for others");
}

#[tokio::test]
async fn soft_deleted_servers_are_invisible_and_still_there() {
    let settings = Settings { servers: vec![active("deleted", "cmp-1")], speed: 20.0, soft_delete: true, ..Settings::default() };
    let setup = Setup::on(Cloud::Simulator(Simulated::start(settings).await)).without_sentinels();
    let world = World::start(setup).await;
    let id = world.simulator().servers_on("cmp-1")[0];
    world.simulator().cloud(|cloud| cloud.delete(id)).unwrap();
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let blocked = world.wait_for_phase("hunch", Phase::Blocked).await;
    assert_eq!(residents(&blocked), [(id.to_string(), ResidentReason::SoftDeleted)]);
    assert_eq!(blocked.status.as_ref().unwrap().residents[0].name, "deleted");
    // The tenant restores it: a late arrival.
    world.simulator().cloud(|cloud| cloud.set_state(id, VmState::Active)).unwrap();
    world.wait_for_phase("hunch", Phase::Empty).await;
    assert_ne!(world.simulator().host_of(id).unwrap(), "cmp-1");
}

#[tokio::test]
async fn the_text_of_the_disabled_reason() {
    let world = world(vec![]).await;
    // A long text with a line break and umlauts, on a host that was disabled without a reason.
    let reason = format!("Verdächtig\nauf cmp-1: {}", "ü".repeat(300));
    world.simulator().disable("cmp-1", "").await;
    world.wait_for_hosts_disabled(1).await;
    let made = world.quarantine("long", "cmp-1", json!({"reason": reason})).await;
    let empty = world.wait_for_phase("long", Phase::Empty).await;
    let text = world.simulator().service("cmp-1").1.unwrap();
    assert!(text.starts_with(&format!("sidestep/{} before=disabled: Verdächtig auf cmp-1", made.metadata.uid.unwrap())), "{text}");
    assert_eq!(text.chars().count(), 255);
    assert_eq!(empty.spec.reason, reason, "the whole text is in the object");
    let before = empty.status.unwrap().host.unwrap();
    assert_eq!((before.disabled_before, before.disabled_reason_before), (true, None));
    world.release("long").await;
    world.wait_for_phase("long", Phase::Released).await;
    let (enabled, reason) = world.simulator().service("cmp-1");
    assert!(!enabled && reason.is_none_or(|reason| reason.is_empty()), "disabled as before, without a reason");
}

#[tokio::test]
async fn nova_had_disabled_the_host_by_itself() {
    let world = world(four_servers()).await;
    world.simulator().cloud(|cloud| cloud.set_hypervisor("cmp-1", false)).unwrap();
    world.wait_for_hosts_disabled(1).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let draining = world.wait_for_phase("hunch", Phase::Draining).await;
    let before = draining.status.unwrap().host.unwrap();
    assert!(before.disabled_reason_before.unwrap().starts_with("AUTO: "));
    // The hypervisor is back in mid-drain: nova-compute finds another reason than its own and leaves the host out of service.
    world.simulator().cloud(|cloud| cloud.set_hypervisor("cmp-1", true)).unwrap();
    let (enabled, reason) = world.simulator().service("cmp-1");
    assert!(!enabled && reason.unwrap().starts_with("sidestep/"));
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_phase("hunch", Phase::Empty).await;
    world.release("hunch").await;
    world.wait_for_phase("hunch", Phase::Released).await;
    assert_eq!(world.simulator().service("cmp-1"), (true, None), "nobody would lift that reason any more");
}

#[tokio::test]
async fn the_host_is_enabled_again_in_the_middle_of_the_drain() {
    let world = world(four_servers()).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    world.simulator().enable("cmp-1").await;
    let cordoned = |quarantine: &HostQuarantine| condition_of(quarantine, "Cordoned").is_some_and(|condition| condition.reason == "Contested");
    let contested = world.wait_for("hunch", "is Contested", cordoned).await;
    assert!(moment_of(&contested, TimelineEvent::Contested).is_some());
    world.wait_for_event("hunch", "Contested").await;
    // A suspect host cannot stop its own drain, and is never called empty while it is in service.
    world.simulator().knobs("host-cmp-1", None);
    until_all_have_left(&world).await;
    let blocked = world.wait_for_phase("hunch", Phase::Blocked).await;
    assert_eq!(condition_of(&blocked, "Ready").unwrap().reason, "Contested");
}

#[tokio::test]
async fn the_host_is_enabled_again_in_the_middle_of_maintenance() {
    let world = world(four_servers()).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine("firmware", "cmp-1", json!({"scope": "Maintenance"})).await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    world.simulator().enable("cmp-1").await;
    let blocked = world.wait_for_phase("firmware", Phase::Blocked).await;
    assert_eq!(condition_of(&blocked, "Stalled").unwrap().reason, "Contested");
    world.simulator().knobs("host-cmp-1", None);
    world.until("what ran has ended", async || world.simulator().has_row("completed")).await;
    assert_eq!(world.simulator().moves_asked(2), Ok(()), "nothing new starts");
    assert_eq!(world.simulator().service("cmp-1"), (true, None), "maintenance does not fight");
}

#[tokio::test]
async fn the_service_row_is_deleted_and_comes_back() {
    let world = world(vec![active("a", "cmp-1")]).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let empty = world.wait_for_phase("hunch", Phase::Empty).await;
    let before = empty.status.unwrap().host.unwrap().service_id;
    world.simulator().cloud(|cloud| cloud.delete_service("cmp-1").and_then(|()| cloud.restart_host("cmp-1"))).unwrap();
    let late = [world.simulator().boot("late-1", "cmp-1", VmState::Active), world.simulator().boot("late-2", "cmp-1", VmState::Active)];
    let replaced = |quarantine: &HostQuarantine| condition_of(quarantine, "Cordoned").is_some_and(|condition| condition.reason == "ServiceReplaced");
    let quarantine = world.wait_for("hunch", "has a replaced service", replaced).await;
    assert_eq!(condition_of(&quarantine, "Ready").unwrap().status, "False");
    assert_ne!(quarantine.status.as_ref().unwrap().phase, Some(Phase::Empty), "never a green Empty on an enabled host");
    assert_eq!(quarantine.status.unwrap().host.unwrap().service_id, before);
    world.wait_for_event("hunch", "Contested").await;
    for server in late {
        world.wait_for_run_of("hunch", server, "exists", |_| true).await;
    }
    until_all_have_left(&world).await;
}
