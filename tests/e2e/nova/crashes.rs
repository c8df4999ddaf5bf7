//! The operator is killed where it hurts most. Nothing is asked for twice, and every drain ends.

use serde_json::json;
use sidestep::api::quarantine::Phase;
use sidestep::api::run::Outcome;

use super::super::support::nova::Nova;
use super::super::support::world::World;
use super::{copies, each_left_by_one_attempt, ends, outcomes, phase, quarantine, row_words, run_when, runs_elsewhere, setup};

/// Two drains, so that the minute in which the first one waits for a trace of its lost request is the second one's.
#[tokio::test]
async fn an_operator_that_is_killed_anywhere_asks_once_per_attempt_and_its_drains_end() {
    let nova = Nova::take().await;
    let lost = nova.boot("cmp-1", "tiny", "active", 1).await[0];
    let followed = nova.boot("cmp-2", "tiny", "active", 1).await[0];
    let mut setup = setup(nova).without_sentinels();
    setup.operator = vec!["--crash-at", "before-live-migrate"];
    let mut world = World::start(setup).await;

    // After the intent, before the request.
    quarantine(&world, "first", "cmp-1", json!({})).await;
    world.wait_for_end_of_operator().await;
    let run = run_when(&world, lost, "stands", |_| true).await;
    assert_eq!(outcomes(&run), [None]);
    assert!(world.nova().rows(lost).await.is_empty());

    // After the request, before its answer is stored.
    world.nova().steer(&followed.to_string(), &json!({"hold": true}));
    world.start_operator(&["--crash-at", "after-live-migrate"]);
    quarantine(&world, "second", "cmp-2", json!({})).await;
    world.wait_for_end_of_operator().await;
    let run = run_when(&world, followed, "stands", |_| true).await;
    assert_eq!((outcomes(&run), &run.status.unwrap().attempts[0].request_id), (vec![None], &None));
    copies(&world, followed).await;

    // Its record is adopted, and in the midst of the copy the operator is killed again.
    world.start_operator(&[]);
    let row = world.nova().rows(followed).await[0].id;
    let run = run_when(&world, followed, "is followed", |run| phase(run, "Running")).await;
    assert_eq!(run.status.unwrap().attempts[0].migration_id, i64::try_from(row).ok());
    world.kill_operator();
    world.start_operator(&[]);
    world.wait_for_log("operator", "The operator starts.").await;
    world.nova().steer(&followed.to_string(), &json!({}));

    ends(&world, "second", Phase::Empty).await;
    each_left_by_one_attempt(&world, "cmp-2", &[followed], "running").await;

    // The request that never went out: given up after a minute, and asked for again once.
    ends(&world, "first", Phase::Empty).await;
    let run = run_when(&world, lost, "has ended", |run| phase(run, "Succeeded")).await;
    assert_eq!(outcomes(&run), [Some(Outcome::NotReceived), Some(Outcome::Completed)]);
    assert_eq!(row_words(&world, lost).await, ["completed"]);
    runs_elsewhere(&world, "cmp-1", lost, "running");
}
