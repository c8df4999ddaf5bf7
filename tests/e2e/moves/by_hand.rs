//! Runs that a person made: one server, no quarantine.

use serde_json::json;
use sidestep::api::MigrationRun;
use sidestep::api::quarantine::Phase;
use sidestep::api::run::RunPhase;

use super::{many, move_by_hand, wait_for_run, wanted, world_with};
use crate::support::world::condition_of;

#[tokio::test]
async fn a_run_by_hand_moves_its_server_alone_to_where_it_says() {
    let world = world_with(many(2), json!({})).await;
    let server = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "one", server, json!({"destination": {"host": "cmp-3"}})).await;
    let run = wait_for_run(&world, "one", RunPhase::Succeeded).await;
    assert_eq!(run.status.as_ref().unwrap().server_short, server.to_string()[..8]);
    assert_eq!(wanted(world.simulator()), [Some("cmp-3".to_owned())]);
    assert_eq!(world.simulator().servers_on("cmp-1").len(), 1);
    assert!(world.simulator().service("cmp-1").0, "the host is not cordoned");
    world.delete::<MigrationRun>("one").await;
    world.wait_until_gone::<MigrationRun>("one").await;
}

#[tokio::test]
async fn a_run_to_a_quarantined_host_is_refused() {
    let world = world_with(many(1), json!({})).await;
    world.quarantine_by_hand("other", "cmp-2", "Enforce").await;
    world.wait_for_phase("other", Phase::Empty).await;
    let server = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "wrong", server, json!({"destination": {"host": "cmp-2"}})).await;
    let run = wait_for_run(&world, "wrong", RunPhase::Refused).await;
    let verdict = condition_of(&run, "Succeeded").unwrap();
    assert!(verdict.reason == "DestinationQuarantined" && verdict.message.contains("cmp-2"), "{verdict:?}");
    assert_eq!(condition_of(&run, "Stalled").unwrap().status, "True");
    assert_eq!(world.simulator().moves_asked(0), Ok(()));
}

#[tokio::test]
async fn a_run_from_a_host_that_nova_does_not_know_is_refused_and_goes_when_it_is_deleted() {
    let world = world_with(many(1), json!({})).await;
    let server = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "typo", server, json!({"sourceHost": "cmp-l"})).await;
    let run = wait_for_run(&world, "typo", RunPhase::Refused).await;
    let verdict = condition_of(&run, "Succeeded").unwrap();
    assert!(verdict.reason == "HostNotFound" && verdict.message.contains("cmp-l"), "{verdict:?}");
    world.delete::<MigrationRun>("typo").await;
    world.wait_until_gone::<MigrationRun>("typo").await;
    assert_eq!(world.simulator().moves_asked(0), Ok(()));
}

#[tokio::test]
async fn a_run_in_a_cloud_that_is_not_there_says_so_at_once() {
    let world = world_with(many(1), json!({})).await;
    let server = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "typo", server, json!({"cloud": "nowhere"})).await;
    let says = |run: &MigrationRun| condition_of(run, "Succeeded").is_some_and(|verdict| verdict.reason == "CloudNotFound");
    let run = world.wait_for("typo", "names the cloud that is missing", says).await;
    assert!(condition_of(&run, "Succeeded").unwrap().message.contains("there is no OpenStackCloud nowhere"));
}

#[tokio::test]
async fn two_runs_never_have_the_same_server() {
    let world = world_with(many(1), json!({})).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    let server = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "first", server, json!({})).await;
    wait_for_run(&world, "first", RunPhase::Running).await;
    move_by_hand(&world, "second", server, json!({})).await;
    let refused = wait_for_run(&world, "second", RunPhase::Refused).await;
    assert_eq!(condition_of(&refused, "Succeeded").unwrap().reason, "AnotherRun");
    world.simulator().knobs("host-cmp-1", None);
    wait_for_run(&world, "first", RunPhase::Succeeded).await;
    assert_eq!(world.simulator().moves_asked(1), Ok(()));
}

#[tokio::test]
async fn a_later_drain_takes_over_what_a_run_by_hand_has_begun() {
    let world = world_with(many(2), json!({})).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    let server = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "mine", server, json!({})).await;
    wait_for_run(&world, "mine", RunPhase::Running).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Draining).await;
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_phase("hunch", Phase::Empty).await;
    wait_for_run(&world, "mine", RunPhase::Succeeded).await;
    assert_eq!(world.simulator().moves_asked(2), Ok(()), "one request for each server");
}

#[tokio::test]
async fn deleting_a_run_by_hand_that_runs_follows_it_to_its_end() {
    let world = world_with(many(1), json!({})).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    let server = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "gone", server, json!({})).await;
    wait_for_run(&world, "gone", RunPhase::Running).await;
    world.delete::<MigrationRun>("gone").await;
    world.simulator().knobs("host-cmp-1", None);
    world.wait_until_gone::<MigrationRun>("gone").await;
    assert_ne!(world.simulator().host_of(server).as_deref(), Some("cmp-1"));
    assert_eq!(super::aborts(world.simulator()), 0);
}
