//! One host's quarantine from every side: modes, approval, scopes, suspend, abort, release, retry, deletion. The names begin with the words of what is promised.

use serde_json::json;
use sidestep::api::quarantine::{Phase, ResidentReason, TimelineEvent};
use sidestep::api::run::RunPhase;
use sidestep::api::{HostQuarantine, MigrationRun};
use sidestep::simulator::{ServerSettings, VmState};
use uuid::Uuid;

use super::support::cloud::{active, four_servers, server};
use super::support::world::{Setup, World, condition_of, moment_of};

async fn world(servers: Vec<ServerSettings>) -> World {
    World::start(Setup::simulated(servers).await.without_sentinels()).await
}

fn plan_of(quarantine: &HostQuarantine) -> String {
    quarantine.status.as_ref().and_then(|status| status.plan.as_ref()).map(|plan| plan.digest.clone()).unwrap_or_default()
}

async fn approve(world: &World, name: &str) -> String {
    let plan = plan_of(&world.get::<HostQuarantine>(name).await);
    world.change::<HostQuarantine>(name, json!({"approval": {"plan": plan, "approvedBy": world.user()}})).await;
    plan
}

fn phase_of_run(run: &MigrationRun) -> Option<RunPhase> {
    run.status.as_ref().and_then(|status| status.phase)
}

fn none_left(world: &World) -> Result<(), String> {
    let left = world.simulator().servers_on("cmp-1");
    if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
}

// ---- Modes and approval ----

#[tokio::test]
async fn approval_cordons_at_once_and_nothing_moves_before_a_person_has_named_the_plan() {
    let world = world(four_servers()).await;
    world.quarantine_by_hand("careful", "cmp-1", "Approve").await;
    let waiting = world.wait_for_phase("careful", Phase::AwaitingApproval).await;
    assert!(!world.simulator().service("cmp-1").0, "out of service at once");
    let plan = waiting.status.as_ref().unwrap().plan.clone().unwrap();
    assert_eq!((plan.digest.len(), plan.servers, plan.hosts), (64, 4, vec!["cmp-2".to_owned(), "cmp-3".to_owned()]));
    let approved = condition_of(&waiting, "Approved").unwrap();
    assert!(approved.status == "False" && approved.message.contains(&plan.digest), "{approved:?}");
    let runs = world.until("the plan's runs are there", async || {
        let runs = world.runs_of("careful").await;
        if runs.len() == 4 { Ok(runs) } else { Err(format!("{} runs", runs.len())) }
    });
    assert!(runs.await.iter().all(|run| run.spec.plan == plan.digest), "the plan's content is kept");
    // Another plan's name lets nothing start.
    world.change::<HostQuarantine>("careful", json!({"approval": {"plan": "f".repeat(64), "approvedBy": world.user()}})).await;
    let changed = |quarantine: &HostQuarantine| condition_of(quarantine, "Approved").is_some_and(|approved| approved.reason == "PlanChanged");
    world.wait_for("careful", "says that the plan is another one", changed).await;
    assert_eq!(world.simulator().moves_asked(0), Ok(()));

    approve(&world, "careful").await;
    let empty = world.wait_for_phase("careful", Phase::Empty).await;
    assert!(moment_of(&empty, TimelineEvent::Approved) < moment_of(&empty, TimelineEvent::FirstMigrationRequested));
    world.wait_for_event("careful", "Approved").await;
}

#[tokio::test]
async fn approval_of_less_is_enough_and_of_more_is_needed() {
    let world = world(vec![active("a", "cmp-1"), active("b", "cmp-1")]).await;
    let first = world.simulator().servers_on("cmp-1");
    world.quarantine_by_hand("careful", "cmp-1", "Approve").await;
    world.wait_for_phase("careful", Phase::AwaitingApproval).await;
    // One goes by itself: less than the plan.
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    approve(&world, "careful").await;
    world.until("a move is asked for", async || world.simulator().has_row("running")).await;
    world.simulator().cloud(|cloud| cloud.delete_server(first[1])).unwrap();
    // Another one comes: more than the plan.
    let late = world.simulator().boot("late", "cmp-1", VmState::Active);
    world.simulator().knobs("host-cmp-1", None);
    let waiting = world.wait_for_phase("careful", Phase::AwaitingApproval).await;
    let residents: Vec<_> = waiting.status.as_ref().unwrap().residents.iter().map(|resident| (resident.server.clone(), resident.reason)).collect();
    assert_eq!(residents, [(late.to_string(), ResidentReason::ArrivedAfterApproval)]);
    assert_eq!(world.simulator().servers_on("cmp-1"), [late]);
    approve(&world, "careful").await;
    world.wait_for_phase("careful", Phase::Empty).await;
}

#[tokio::test]
async fn an_unknown_scope_without_a_pool_cordons_and_waits() {
    let world = world(four_servers()).await;
    world.quarantine("hunch", "cmp-1", json!({"scope": "Unknown"})).await;
    let waiting = world.wait_for_phase("hunch", Phase::AwaitingApproval).await;
    assert_eq!(condition_of(&waiting, "Ready").unwrap().reason, "NoPool");
    assert!(!world.simulator().service("cmp-1").0);
    approve(&world, "hunch").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
}

// ---- Scope raised ----

#[tokio::test]
async fn scope_raised_mid_drain_lets_running_copies_finish_and_asks_for_approval() {
    let world = world(four_servers()).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("a copy runs", async || world.simulator().has_row("running")).await;
    let before = plan_of(&world.get::<HostQuarantine>("hunch").await);
    world.change::<HostQuarantine>("hunch", json!({"scope": "Unknown"})).await;
    let raised = |quarantine: &HostQuarantine| condition_of(quarantine, "Approved").is_some_and(|approved| approved.status == "False");
    let quarantine = world.wait_for("hunch", "needs approval", raised).await;
    assert_ne!(plan_of(&quarantine), before);
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_phase("hunch", Phase::AwaitingApproval).await;
    let left = world.simulator().servers_on("cmp-1").len();
    assert!(left == 3 || left == 2, "{left}: what ran has left, what had not begun has not");
    approve(&world, "hunch").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
}

// ---- Undo ----

#[tokio::test]
async fn undo_of_a_false_positive_in_mid_drain_asks_for_nothing_more_and_enables_the_host() {
    let world = world(four_servers()).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    world.change::<HostQuarantine>("hunch", json!({"suspend": true})).await;
    let suspended = world.wait_for_phase("hunch", Phase::Suspended).await;
    assert_eq!(condition_of(&suspended, "Reconciling").unwrap().status, "True");
    let release = json!({"requested": true, "force": true, "verdict": "FalsePositive", "approvedBy": world.user(), "remediation": "a scanner of our own"});
    world.change::<HostQuarantine>("hunch", json!({"release": release})).await;
    let released = world.wait_for_phase("hunch", Phase::Released).await;
    assert!(condition_of(&released, "Released").unwrap().message.contains("FalsePositive"));
    assert_eq!(world.simulator().service("cmp-1"), (true, None));
    world.simulator().knobs("host-cmp-1", None);
    world
        .until("every run has ended", async || {
            let phases: Vec<_> = world.runs_of("hunch").await.iter().map(phase_of_run).collect();
            let ended = |phase: &Option<RunPhase>| matches!(phase, Some(RunPhase::Succeeded | RunPhase::Superseded | RunPhase::Failed));
            if phases.iter().all(ended) { Ok(()) } else { Err(format!("{phases:?}")) }
        })
        .await;
    assert_eq!(world.simulator().moves_asked(2), Ok(()));
}

#[tokio::test]
async fn suspend_holds_the_drain_and_lets_it_go_on() {
    let world = world(four_servers()).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("a copy runs", async || world.simulator().has_row("running")).await;
    world.change::<HostQuarantine>("hunch", json!({"suspend": true})).await;
    world.wait_for_phase("hunch", Phase::Suspended).await;
    world.simulator().knobs("host-cmp-1", None);
    world.until("the copy has ended", async || world.simulator().has_row("completed")).await;
    let asked = world.simulator().writes().len();
    assert!(!world.simulator().service("cmp-1").0, "the cordon stays");
    let suspended = world.get::<HostQuarantine>("hunch").await;
    assert!(suspended.status.unwrap().deadline.unwrap().running_since.is_none(), "the deadline stands still");
    world.change::<HostQuarantine>("hunch", json!({"suspend": false})).await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    assert!(world.simulator().writes().len() > asked);
}

#[tokio::test]
async fn release_waits_until_the_host_is_empty_unless_it_is_forced() {
    let world = world(vec![active("a", "cmp-1"), server("rescued", "cmp-1", VmState::Rescued)]).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Blocked).await;
    world.release("hunch").await;
    let waits = |quarantine: &HostQuarantine| condition_of(quarantine, "Released").is_some_and(|released| released.reason == "NotEmpty");
    world.wait_for("hunch", "waits with its release", waits).await;
    assert!(!world.simulator().service("cmp-1").0);
    world.release_by_force("hunch").await;
    world.wait_for_phase("hunch", Phase::Released).await;
    assert_eq!(world.simulator().service("cmp-1"), (true, None));
}

// ---- Active ----

#[tokio::test]
async fn active_is_one_per_host_and_a_released_one_is_final() {
    let world = world(vec![]).await;
    world.quarantine_by_hand("shown", "cmp-1", "Observe").await;
    world.wait_for_phase("shown", Phase::Observed).await;
    world.quarantine_by_hand("first", "cmp-1", "Approve").await;
    world.wait_for_phase("first", Phase::Empty).await;
    world.quarantine_by_hand("second", "cmp-1", "Enforce").await;
    world.wait_for_phase("second", Phase::Refused).await;
    world.release("first").await;
    world.wait_for_phase("first", Phase::Released).await;
    // Final is final, for both: a new object is needed.
    world.change::<HostQuarantine>("first", json!({"retryToken": "again"})).await;
    world.change::<HostQuarantine>("second", json!({"retryToken": "again"})).await;
    world.quarantine_by_hand("third", "cmp-1", "Enforce").await;
    world.wait_for_phase("third", Phase::Empty).await;
    let phases = [world.get::<HostQuarantine>("first").await, world.get::<HostQuarantine>("second").await].map(|quarantine| quarantine.status.unwrap().phase);
    assert_eq!(phases, [Some(Phase::Released), Some(Phase::Refused)]);
}

// ---- Actions ----

#[tokio::test]
async fn action_cordon_leaves_the_servers_and_can_become_a_drain() {
    let world = world(four_servers()).await;
    world.quarantine("hunch", "cmp-1", json!({"action": "Cordon"})).await;
    let cordoned = world.wait_for_phase("hunch", Phase::Cordoned).await;
    assert_eq!(condition_of(&cordoned, "Ready").unwrap().status, "True");
    assert!(!world.simulator().service("cmp-1").0);
    assert_eq!(world.simulator().servers_on("cmp-1").len(), 4);
    world.change::<HostQuarantine>("hunch", json!({"action": "Drain"})).await;
    world.wait_for_phase("hunch", Phase::Empty).await;
}

// ---- Retry ----

#[tokio::test]
async fn a_retry_token_begins_anew_for_what_a_person_had_deleted() {
    let world = world(vec![active("a", "cmp-1"), active("b", "cmp-1"), active("c", "cmp-1")]).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    let waits = |run: &MigrationRun| run.status.as_ref().is_none_or(|status| status.attempts.is_empty());
    let deleted = world.until("a run waits", async || world.runs_of("hunch").await.into_iter().find(waits).ok_or_else(|| "none".to_owned())).await;
    world.delete::<MigrationRun>(deleted.metadata.name.as_ref().unwrap()).await;
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_phase("hunch", Phase::Blocked).await;
    let server: Uuid = deleted.spec.server.parse().unwrap();
    assert_eq!(world.simulator().servers_on("cmp-1"), [server]);
    world.change::<HostQuarantine>("hunch", json!({"retryToken": "again"})).await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    none_left(&world).unwrap();
}

// ---- Deleting ----

#[tokio::test]
async fn deleting_gives_a_maintained_host_back_where_its_maker_said_so() {
    let world = world(vec![active("a", "cmp-1")]).await;
    world.quarantine("firmware", "cmp-1", json!({"scope": "Maintenance", "deletionPolicy": "Release"})).await;
    world.wait_for_phase("firmware", Phase::Empty).await;
    world.delete::<HostQuarantine>("firmware").await;
    world.wait_until_gone::<HostQuarantine>("firmware").await;
    assert_eq!(world.simulator().service("cmp-1"), (true, None));
}
