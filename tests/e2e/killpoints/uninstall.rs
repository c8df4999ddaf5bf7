//! The program that lets go of everything before Sidestep is removed, with a kill at each write that its account may make: run again, it goes on, and says the same in the end.

use std::process::Command;

use serde_json::json;
use sidestep::api::quarantine::Phase;
use sidestep::api::{HostQuarantine, MigrationRun};

use super::super::support::cloud::active;
use super::super::support::control_plane::{NAMESPACE, chart};
use super::super::support::process::{Finished, finish};
use super::super::support::world::{Setup, World, condition_of};
use super::{SIDES, granted};

/// What it writes where a host is empty and another one is being drained, in the order in which it is killed; the rest of what its role grants is about kinds of which there is nothing to let go here.
const WRITES: [&str; 8] = [
    "patch-deployments",
    "create-leases",
    "update-leases",
    "patch-hostquarantines/status",
    "patch-hostquarantines",
    "patch-migrationruns/status",
    "patch-migrationruns",
    "delete-leases",
];

/// Runs it with its own account.
fn uninstall(world: &World, more: &[&str]) -> Finished {
    let kubeconfig = world.plane.kubectl_as("sidestep-uninstall", None).kubeconfig;
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidestep-operator"));
    finish(command.args(["uninstall", "--namespace", NAMESPACE, "--kubeconfig"]).arg(kubeconfig).args(more))
}

#[tokio::test]
async fn kill_9_before_and_after_every_write_of_an_uninstallation_leaves_nothing_held() {
    let mut setup = Setup::simulated(vec![active("web-1", "cmp-1"), active("web-2", "cmp-2")]).await.without_sentinels();
    setup.spec = json!({"budget": {"hostsOutOfService": 2, "percentOutOfService": 100}});
    let mut world = World::start(setup).await;
    world.quarantine_by_hand("emptied", "cmp-1", "Enforce").await;
    world.wait_for_phase("emptied", Phase::Empty).await;
    world.simulator().knobs("host-cmp-2", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("moving", "cmp-2", "Enforce").await;
    world.until("the move is under way", async || world.simulator().has_row("running")).await;
    world.kill_operator();
    let kubectl = world.plane.kubectl();
    let hook = chart(NAMESPACE, &["--show-only", "templates/uninstall-hook.yaml"]).ok();
    let (account, _) = hook.split_once("apiVersion: batch/v1").unwrap();
    kubectl.apply(account, &[]).ok();
    kubectl.run(&["delete", "lease", "sidestep-operator", "--namespace", NAMESPACE]).ok();

    let mut killed = Vec::new();
    for word in WRITES {
        for side in SIDES {
            let point = format!("{side}-{word}");
            let answer = uninstall(&world, &["--crash-at", &point]);
            assert!(answer.status.code().is_none(), "it was not killed at {point}: {answer}");
            killed.push(word);
        }
    }
    let said = uninstall(&world, &[]).ok();
    kubectl.run_with(&["delete", "-f", "-"], account).ok();
    for part in ["cmp-1 of OpenStackCloud lab (HostQuarantine emptied)", "cmp-2 of OpenStackCloud lab (HostQuarantine moving)", "These moves go on in Nova"] {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
    for quarantine in world.all::<HostQuarantine>().await {
        assert_eq!(quarantine.metadata.finalizers, None, "{quarantine:?}");
    }
    for run in world.all::<MigrationRun>().await {
        assert_eq!(run.metadata.finalizers, None, "{run:?}");
    }
    let moving = condition_of(&world.get::<HostQuarantine>("moving").await, "Stalled").unwrap();
    assert_eq!((moving.status.as_str(), moving.reason.as_str()), ("True", "Uninstalled"), "{moving:?}");
    assert_eq!(kubectl.run(&["get", "lease", "sidestep-operator", "--namespace", NAMESPACE, "--ignore-not-found"]).ok(), "");
    assert_eq!(world.simulator().disabled_hosts(), ["cmp-1", "cmp-2"]);

    // Nothing in its role was left out but what is granted for kinds that hold nothing here.
    let others = ["openstackclouds", "quarantinepolicies", "hostalerts", "hostreports"];
    let mut rest = granted(account);
    rest.retain(|word| !WRITES.contains(&word.as_str()) && !others.iter().any(|kind| word.contains(kind)));
    assert!(rest.is_empty(), "give {rest:?} a line in WRITES");
}
