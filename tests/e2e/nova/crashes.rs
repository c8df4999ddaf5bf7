//! The operator is killed where it hurts most, and once in each state. Nothing is asked for twice, and every drain ends.

use serde_json::json;
use sidestep::api::quarantine::Phase;
use sidestep::api::run::Outcome;
use sidestep::api::{HostQuarantine, MigrationRun};
use sidestep::inventory::{RowStatus, ServerId, ServiceStatus};

use super::super::support::nova::Nova;
use super::super::support::world::{CLOUD, World, until};
use super::{PATIENCE, copies, each_left_by_one_attempt, ends, outcomes, phase, quarantine, row_words, run_when, runs_elsewhere, setup};

/// Two drains, so that the minute in which the first one waits for a trace of its lost request is the second one's.
#[tokio::test]
async fn an_operator_that_is_killed_anywhere_asks_once_per_attempt_and_its_drains_end() {
    let nova = Nova::take().await;
    let lost = nova.boot("cmp-1", "tiny", "active", 1).await[0];
    let followed = nova.boot("cmp-2", "tiny", "active", 1).await[0];
    let off = nova.boot("cmp-1", "tiny", "shutoff", 1).await[0];
    let mut setup = setup(nova).without_sentinels();
    setup.operator = vec!["--crash-at", "before-cold-migrate"];
    // A lost request keeps its place on its way to the destination until it is given up.
    setup.spec["concurrency"] = json!({"perDestination": 4});
    let mut world = World::start(setup).await;

    // After the intent, before the request: of a server that is shut off, whose move a person wants, and then of one that runs, of the whole host.
    world.create::<MigrationRun>("wanted", json!({"cloud": CLOUD, "server": off, "sourceHost": "cmp-1"})).await;
    world.wait_for_end_of_operator().await;
    world.start_operator(&["--crash-at", "before-live-migrate"]);
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

    // The requests that never went out: given up after a minute, and asked for again once.
    ends(&world, "first", Phase::Empty).await;
    for (server, word, state) in [(lost, "completed", "running"), (off, "confirmed", "shutdown")] {
        let run = run_when(&world, server, "has ended", |run| phase(run, "Succeeded")).await;
        assert_eq!(outcomes(&run), [Some(Outcome::NotReceived), Some(Outcome::Completed)]);
        assert_eq!(row_words(&world, server).await, [word]);
        runs_elsewhere(&world, "cmp-1", server, state);
    }
}

/// Starts an operator that ends at this point, and waits until it has.
async fn killed_at(world: &mut World, point: &str) {
    world.start_operator(&["--crash-at", point]);
    world.wait_for_end_of_operator().await;
}

/// One server is copied and one is queued behind it.
async fn one_copied_and_one_queued(world: &World, servers: &[ServerId]) {
    until("Nova copies one and has queued one", PATIENCE, async || {
        let mut statuses = Vec::new();
        for server in servers {
            statuses.extend(world.nova().rows(*server).await.into_iter().map(|row| row.status));
        }
        let held = statuses.len() == 2 && statuses.contains(&RowStatus::Running) && statuses.contains(&RowStatus::Queued);
        if held { Ok(()) } else { Err(format!("{statuses:?}")) }
    })
    .await;
}

/// A quarantine from the first PUT to the last one: pending, cordoning, planning, a move that waits, one that is copied, a host that is given back.
async fn cordon_live_move_and_release(world: &mut World, server: ServerId) {
    world.nova().steer(&server.to_string(), &json!({"hold": true}));
    world.kill_operator();
    quarantine(world, "live", "cmp-1", json!({})).await;
    killed_at(world, "before-disable-service").await;
    assert_eq!(world.nova().service("cmp-1").await.status, ServiceStatus::Enabled);
    killed_at(world, "after-disable-service").await;
    assert_eq!(world.nova().service("cmp-1").await.status, ServiceStatus::Disabled);
    killed_at(world, "before-create-migrationruns").await;
    killed_at(world, &format!("before-patch-migrationruns/status@{server}")).await;
    assert!(world.nova().rows(server).await.is_empty());
    killed_at(world, "after-live-migrate").await;
    copies(world, server).await;
    killed_at(world, &format!("after-patch-migrationruns/status@{server}")).await;
    world.nova().steer(&server.to_string(), &json!({}));
    world.start_operator(&[]);
    ends(world, "live", Phase::Empty).await;
    each_left_by_one_attempt(world, "cmp-1", &[server], "running").await;

    world.kill_operator();
    world.release_by_force("live").await;
    killed_at(world, "before-enable-service").await;
    assert_eq!(world.nova().service("cmp-1").await.status, ServiceStatus::Disabled);
    killed_at(world, "after-enable-service").await;
    world.start_operator(&[]);
    ends(world, "live", Phase::Released).await;
    let service = world.nova().service("cmp-1").await;
    assert_eq!((service.status, service.disabled_reason), (ServiceStatus::Enabled, None));
}

/// A server that is shut off: asked for, and waiting for its confirmation.
async fn cold_move(world: &mut World, server: ServerId) {
    world.kill_operator();
    quarantine(world, "cold", "cmp-2", json!({})).await;
    for point in ["after-cold-migrate", "before-confirm-resize", "after-confirm-resize"] {
        killed_at(world, point).await;
    }
    world.start_operator(&[]);
    ends(world, "cold", Phase::Empty).await;
    let run = run_when(world, server, "has ended", |run| phase(run, "Succeeded")).await;
    assert_eq!((outcomes(&run), row_words(world, server).await), (vec![Some(Outcome::Completed)], vec!["confirmed".to_owned()]));
    runs_elsewhere(world, "cmp-2", server, "shutdown");
}

/// A move that is copied and one that is queued, both aborted.
async fn aborts(world: &mut World, servers: &[ServerId]) {
    for server in servers {
        world.nova().steer(&server.to_string(), &json!({"hold": true}));
    }
    quarantine(world, "aborted", "cmp-1", json!({})).await;
    one_copied_and_one_queued(world, servers).await;
    world.kill_operator();
    world.change::<HostQuarantine>("aborted", json!({"abort": "All"})).await;
    killed_at(world, "before-abort-migration").await;
    killed_at(world, "after-abort-migration").await;
    world.start_operator(&[]);
    for server in servers {
        let run = run_when(world, *server, "has no attempt under way", |run| {
            run.status.as_ref().is_some_and(|status| status.attempts.len() == 1 && status.attempts[0].ended_at.is_some())
        })
        .await;
        assert_eq!(row_words(world, *server).await, ["cancelled"], "{:?}", outcomes(&run));
        assert_eq!(world.nova().guests()[server], [("cmp-1".to_owned(), "running".to_owned())]);
    }
}

#[tokio::test]
async fn an_operator_that_is_killed_once_in_each_state_loses_no_server_and_asks_for_nothing_twice() {
    let nova = Nova::take().await;
    let (live, off) = tokio::join!(nova.boot("cmp-1", "tiny", "active", 1), nova.boot("cmp-2", "tiny", "shutoff", 1));
    let mut world = World::start(setup(nova).without_sentinels()).await;
    cordon_live_move_and_release(&mut world, live[0]).await;
    cold_move(&mut world, off[0]).await;
    let held = world.nova().boot("cmp-1", "tiny", "active", 2).await;
    aborts(&mut world, &held).await;
}
