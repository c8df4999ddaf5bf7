//! How moves end, other than well: aborted, suspended, given up in favour of others, held by a dependency that is down.

use serde_json::json;
use sidestep::api::MigrationRun;
use sidestep::api::run::{Outcome, RunPhase};
use sidestep::simulator::VmState;

use super::{aborts, many, move_by_hand, phase_of, story, wait_for_run, world_with};
use crate::support::cloud::server;
use crate::support::world::{World, condition_of};

async fn held(number: usize) -> World {
    let world = world_with(many(number), json!({})).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world
}

#[tokio::test]
async fn a_running_move_is_aborted_for_good() {
    let world = held(1).await;
    let server = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "stop", server, json!({})).await;
    wait_for_run(&world, "stop", RunPhase::Running).await;
    world.change::<MigrationRun>("stop", json!({"abort": true})).await;
    let run = wait_for_run(&world, "stop", RunPhase::Aborted).await;
    assert_eq!(story(&run)[0].0, Some(Outcome::Aborted));
    assert_eq!((aborts(world.simulator()), world.simulator().host_of(server).as_deref()), (1, Some("cmp-1")));
    assert_eq!(world.simulator().moves_asked(1), Ok(()));
}

#[tokio::test]
async fn an_abort_that_leaves_the_server_in_error_says_which_command_repairs_it() {
    let world = held(1).await;
    world.simulator().set(json!({"after_rollback": "error"})).await;
    let server = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "stop", server, json!({})).await;
    wait_for_run(&world, "stop", RunPhase::Running).await;
    world.change::<MigrationRun>("stop", json!({"abort": true})).await;
    let run = wait_for_run(&world, "stop", RunPhase::Failed).await;
    let verdict = condition_of(&run, "Succeeded").unwrap();
    assert!(verdict.reason == "ErrorAfterAbort" && verdict.message.contains(&format!("openstack server set --state active {server}")), "{verdict:?}");
}

#[tokio::test]
async fn a_queued_move_is_aborted_without_a_trace_on_the_server() {
    let world = held(2).await;
    for (name, server) in ["first", "second"].into_iter().zip(world.simulator().servers_on("cmp-1")) {
        move_by_hand(&world, name, server, json!({})).await;
    }
    world.until("one is queued", async || world.simulator().rows_in("queued", 1)).await;
    let queued = world.simulator().cloud(|cloud| cloud.migrations().find(|row| row.status == Some("queued")).unwrap().server);
    let runs = world.all::<MigrationRun>().await;
    let name = runs.iter().find(|run| run.spec.server == queued.to_string()).unwrap().metadata.name.clone().unwrap();
    world.change::<MigrationRun>(&name, json!({"abort": true})).await;
    let run = wait_for_run(&world, &name, RunPhase::Aborted).await;
    assert_eq!(story(&run)[0].0, Some(Outcome::Aborted));
    assert_eq!(world.simulator().cloud(|cloud| cloud.server(queued).unwrap().status()), "ACTIVE");
    world.simulator().knobs("host-cmp-1", None);
    world.until("the other one has left", async || if world.simulator().servers_on("cmp-1") == [queued] { Ok(()) } else { Err("not yet".to_owned()) }).await;
}

#[tokio::test]
async fn undo_suspend_withdraws_what_is_queued_and_lets_what_runs_go_on() {
    let world = held(2).await;
    for (name, server) in ["first", "second"].into_iter().zip(world.simulator().servers_on("cmp-1")) {
        move_by_hand(&world, name, server, json!({})).await;
    }
    world
        .until("one copies and one is queued", async || {
            world.simulator().rows_in("running", 1)?;
            world.simulator().rows_in("queued", 1)
        })
        .await;
    for name in ["first", "second"] {
        world.change::<MigrationRun>(name, json!({"suspend": true})).await;
    }
    world.until("the queued one is taken back", async || world.simulator().rows_in("cancelled", 1)).await;
    assert_eq!((aborts(world.simulator()), world.simulator().rows_in("running", 1)), (1, Ok(())));
    world.simulator().knobs("host-cmp-1", None);
    world.until("the other one has left", async || world.simulator().rows_in("completed", 1)).await;
    let left = world.simulator().servers_on("cmp-1");
    assert_eq!(left.len(), 1);
    for name in ["first", "second"] {
        world.change::<MigrationRun>(name, json!({"suspend": false})).await;
    }
    for name in ["first", "second"] {
        wait_for_run(&world, name, RunPhase::Succeeded).await;
    }
}

#[tokio::test]
async fn a_server_that_is_shut_off_moves_cold_and_is_confirmed() {
    let world = world_with(vec![server("off", "cmp-1", VmState::Shutoff)], json!({})).await;
    let off = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "cold", off, json!({"destination": {"host": "cmp-3"}})).await;
    let run = wait_for_run(&world, "cold", RunPhase::Succeeded).await;
    assert_eq!(story(&run), [(Some(Outcome::Completed), Some("cmp-3".to_owned()))]);
    assert_eq!(world.simulator().cloud(|cloud| cloud.server(off).unwrap().status()), "SHUTOFF");
    assert_eq!(world.simulator().migrations_of(off)[0].status, Some("confirmed"));
    // The request for the move, and one confirmation.
    assert_eq!(world.simulator().moves_asked(2), Ok(()));
}

#[tokio::test]
async fn one_guest_that_never_converges_among_20_stays_alone() {
    // The quarter of the drain's deadline is what a copy may take while others wait.
    let world = world_with(many(20), json!({})).await;
    let stubborn = world.simulator().servers_on("cmp-1")[0];
    world.simulator().knobs(&stubborn.to_string(), Some(r#"{"hold": true}"#));
    world
        .create::<sidestep::api::HostQuarantine>(
            "hunch",
            json!({"cloud": "lab", "host": "cmp-1", "mode": "Enforce", "scope": "HostThreatened", "deadline": "40s"}),
        )
        .await;
    world
        .until("only one is left", async || {
            let left = world.simulator().servers_on("cmp-1");
            if left == [stubborn] { Ok(()) } else { Err(format!("{} are left", left.len())) }
        })
        .await;
    let run = world
        .wait_for_run_of("hunch", stubborn, "was aborted in favour of the others", |run| {
            story(run).first().is_some_and(|step| step.0 == Some(Outcome::TimedOut))
        })
        .await;
    assert!(aborts(world.simulator()) >= 1, "{run:?}");
    world
        .until("the others have left at their first try", async || {
            let others = world.runs_of("hunch").await.into_iter().filter(|run| run.spec.server != stubborn.to_string());
            let tries = others.map(|run| (phase_of(&run), story(&run).len())).collect::<Vec<_>>();
            if tries == vec![(Some(RunPhase::Succeeded), 1); 19] { Ok(()) } else { Err(format!("{tries:?}")) }
        })
        .await;
    let resident = |quarantine: &sidestep::api::HostQuarantine| {
        quarantine.status.as_ref().is_some_and(|status| status.residents.iter().any(|resident| resident.server == stubborn.to_string()))
    };
    world.wait_for("hunch", "names it as a resident", resident).await;
}
