//! Migrations that fail in Nova, once or always.

use serde_json::json;
use sidestep::api::quarantine::{Phase, ResidentReason};
use sidestep::api::run::Outcome;

use super::super::support::nova::Nova;
use super::super::support::world::World;
use super::{each_left_by_one_attempt, ends, outcomes, phase, quarantine, row_words, run_when, runs_elsewhere, setup};

const SOURCE: &str = "cmp-1";

#[tokio::test]
async fn a_failed_move_is_tried_again_and_one_that_nova_always_refuses_is_a_resident() {
    let nova = Nova::take().await;
    let servers = nova.boot(SOURCE, "tiny", "active", 4).await;
    let [unprepared, broken, refused, well] = servers.as_slice() else { panic!("not four servers: {servers:?}") };
    nova.steer(&unprepared.to_string(), &json!({"fail": "pre", "times": 1}));
    nova.steer(&broken.to_string(), &json!({"fail": "during", "times": 1}));
    nova.steer(&refused.to_string(), &json!({"fail": "check_destination"}));
    let world = World::start(setup(nova).without_sentinels()).await;
    quarantine(&world, "drain", SOURCE, json!({"migration": {"maxAttempts": 2}})).await;
    let blocked = ends(&world, "drain", Phase::Blocked).await;

    each_left_by_one_attempt(&world, SOURCE, &[*well], "running").await;
    for server in [unprepared, broken] {
        let run = run_when(&world, *server, "has ended", |run| phase(run, "Succeeded")).await;
        let outcomes = outcomes(&run);
        let [Some(first), Some(Outcome::Completed)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        // The row of a failed preparation says error first, and failed when Nova has undone it; nothing was copied then, so another host is asked without using an attempt up.
        let before_copying = server == unprepared && matches!(first, Outcome::Error | Outcome::DestinationRefused);
        assert!(*first == Outcome::Failed || before_copying, "{outcomes:?}");
        assert_eq!(row_words(&world, *server).await, ["failed", "completed"]);
        runs_elsewhere(&world, SOURCE, *server, "running");
    }

    let run = run_when(&world, *refused, "has ended", |run| phase(run, "Failed")).await;
    // Other hosts are asked first, which uses no attempt up; then the attempts are.
    let outcomes = outcomes(&run);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Some(Outcome::Error | Outcome::DestinationRefused))), "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Some(Outcome::Error)).count(), 2, "{outcomes:?}");
    assert_eq!(row_words(&world, *refused).await, vec!["error"; outcomes.len()]);
    assert_eq!(world.nova().guests()[refused], [(SOURCE.to_owned(), "running".to_owned())]);
    let residents = blocked.status.unwrap().residents;
    let [resident] = residents.as_slice() else { panic!("not one resident: {residents:?}") };
    assert_eq!((&resident.server, resident.reason), (&refused.to_string(), ResidentReason::AttemptsExhausted));
    let attempts = run.status.unwrap().attempts;
    let request = attempts.last().unwrap().request_id.as_deref().unwrap();
    let words = world.nova().client().await.instance_action(*refused, request).await.unwrap().unwrap().failure();
    assert!(!words.is_empty() && resident.message.contains(&words), "{} does not say {words:?}", resident.message);
}
