//! `sidestepctl`, as a person runs it: what it tells of a drain, and how it ends.

use std::process::Command;

use sidestep::api::HostQuarantine;
use sidestep::api::quarantine::Phase;
use sidestep::simulator::VmState;
use tokio::task::{JoinHandle, spawn_blocking};

use super::support::cloud::{active, four_servers, server};
use super::support::process::{Finished, finish};
use super::support::world::{Setup, World};

/// Runs `sidestepctl` with a kubeconfig of the world's administrator, in a thread of its own.
fn ctl(world: &World, arguments: &[&str]) -> JoinHandle<Finished> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidestepctl"));
    command.arg("--kubeconfig").arg(world.plane.kubectl().kubeconfig).args(arguments);
    spawn_blocking(move || finish(&mut command))
}

#[tokio::test]
async fn watch_tells_a_drain_in_plain_lines_and_ends_when_the_host_is_empty() {
    let world = World::on_simulator(four_servers()).await;
    let watching = ctl(&world, &["watch", "--timeout", "2m"]);
    world.alert("cmp-1");
    let told = watching.await.unwrap().ok();
    let lines = ["cmp-1: the policy decided at", "cmp-1: Nova was asked to disable the host", "cmp-1: Empty.", "stays out of service until it is released"];
    for line in lines {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }
    assert_eq!(told.matches(" moved to cmp-").count(), 4, "{told}");
    assert!(!told.contains('\u{1b}'), "a file gets no control characters: {told:?}");
    // What it tells a person to type works.
    let name = world.all::<HostQuarantine>().await[0].metadata.name.clone().unwrap();
    let command = told.lines().find_map(|line| line.split_once("whoami): kubectl ")).unwrap().1.replace("YOUR-USER", "admin");
    let arguments: Vec<String> = command.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect();
    world.plane.kubectl().run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    world.wait_for_phase(&name, Phase::Released).await;
}

#[tokio::test]
async fn watch_says_by_its_exit_status_that_a_person_is_needed_or_that_the_time_is_over() {
    let servers = vec![active("a", "cmp-1"), server("broken", "cmp-1", VmState::Error)];
    let world = World::start(Setup::simulated(servers).await.without_sentinels()).await;
    let waited = ctl(&world, &["watch", "by-hand", "--timeout", "1s"]).await.unwrap();
    assert_eq!(waited.status.code(), Some(4), "{waited}");
    assert!(waited.stdout.contains("There is no HostQuarantine by-hand; waiting for it."), "{waited}");

    world.quarantine_by_hand("by-hand", "cmp-1", "Enforce").await;
    let blocked = ctl(&world, &["watch", "by-hand", "--timeout", "2m"]).await.unwrap();
    assert_eq!(blocked.status.code(), Some(3), "{blocked}");
    assert!(blocked.stdout.contains("(broken): ServerInError"), "{blocked}");
}

#[tokio::test]
async fn a_wrong_cluster_is_named_at_once_with_the_remedy() {
    let missing = finish(Command::new(env!("CARGO_BIN_EXE_sidestepctl")).args(["watch", "--kubeconfig", "/nowhere/config"])).refused();
    assert!(missing.contains("/nowhere/config") && missing.contains("--kubeconfig"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    // Nothing listens on port 9 of this machine.
    let text = "{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: 'http://127.0.0.1:9'}}], users: [], contexts: [{name: c, context: {cluster: c, user: ''}}], current-context: c}";
    std::fs::write(&path, text).unwrap();
    let silent = finish(Command::new(env!("CARGO_BIN_EXE_sidestepctl")).arg("watch").arg("--kubeconfig").arg(&path)).refused();
    assert!(silent.contains("is this the right cluster"), "{silent}");
    let context = finish(Command::new(env!("CARGO_BIN_EXE_sidestepctl")).args(["watch", "--context", "other", "--kubeconfig"]).arg(&path)).refused();
    assert!(context.contains("context other"), "{context}");
}
