//! `make demo CLOUD=own`, the demo on a person's own cluster and cloud: it shows the plan, writes nothing to the cloud and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use sidestep::simulator::{Settings, VmState};
use tempfile::TempDir;

use super::support::cloud::{Simulated, active, server};
use super::support::control_plane::{ControlPlane, repository};
use super::support::process::{Program, finish, wait_until};
use super::support::world::{CLOUD, LIMIT, Setup, World};

/// A kubeconfig and a clouds.yaml as a person has them.
struct Person {
    folder: TempDir,
    kubeconfig: PathBuf,
}

impl Person {
    fn with(kubeconfig: &Path, clouds_yaml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("clouds.yaml"), clouds_yaml).unwrap();
        Self { folder, kubeconfig: kubeconfig.to_owned() }
    }

    /// The demo, as `make` runs it, with the programs of this build.
    fn demo(&self, context: &str, entry: &str, host: &str) -> Command {
        // Whoever runs these tests in the background has SIGINT ignored, and a shell script cannot change that.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(repository("tests/e2e/servers/demo/own"));
        command.env("SIDESTEP_BIN", Path::new(env!("CARGO_BIN_EXE_sidestep-operator")).parent().unwrap());
        command.args([context, entry, host]).arg(&self.kubeconfig).arg(self.folder.path().join("clouds.yaml"));
        command
    }
}

/// What there is of Sidestep in a cluster: kinds, namespaces, Events.
fn left_in(plane: &ControlPlane) -> String {
    let kubectl = plane.kubectl();
    let names = kubectl.run(&["get", "customresourcedefinitions,namespaces,events", "--all-namespaces", "--output", "name"]).ok();
    names.lines().filter(|name| name.contains("sidestep")).collect::<Vec<_>>().join("\n")
}

async fn two_servers() -> Simulated {
    let servers = vec![active("a", "cmp-1"), server("sleeper", "cmp-1", VmState::Suspended)];
    Simulated::start(Settings { servers, speed: 20.0, ..Settings::default() }).await
}

#[tokio::test]
async fn on_ones_own_cluster_it_shows_the_plan_and_leaves_nothing_behind() {
    let (plane, cloud) = (ControlPlane::start(), two_servers().await);
    let person = Person::with(&plane.kubectl().kubeconfig, &cloud.clouds_yaml());

    let told = finish(&mut person.demo("e2e", "simulator", "cmp-1")).ok();
    for line in ["1 server of cmp-1 would be moved", "cmp-2, cmp-3", "sleeper: its status is SUSPENDED", "Nothing was written to the cloud", "mode: Observe"] {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }
    assert_eq!(left_in(&plane), "");

    let unknown = finish(&mut person.demo("e2e", "simulator", "cmp-9"));
    assert!(unknown.stdout.contains("no compute service on host cmp-9"), "{unknown}");
    assert!(unknown.refused().contains("would refuse to do anything with cmp-9"));
    let refused = finish(&mut person.demo("e2e", "another", "cmp-1")).refused();
    assert!(refused.contains("clouds.yaml has no cloud `another`; it has `simulator`"), "{refused}");
    let refused = finish(&mut person.demo("production", "simulator", "cmp-1")).refused();
    assert!(refused.contains("the context production of") && refused.contains("these are there: e2e"), "{refused}");
    let refused = finish(&mut person.demo("", "simulator", "cmp-1")).refused();
    assert!(refused.contains("make demo CLOUD=own CONTEXT="), "{refused}");
    assert_eq!(left_in(&plane), "");

    // Kinds that are there already stay.
    plane.apply_kinds();
    let kinds = left_in(&plane);
    finish(&mut person.demo("e2e", "simulator", "cmp-1")).ok();
    assert_eq!((left_in(&plane), cloud.writes()), (kinds, Vec::new()));
}

#[tokio::test]
async fn a_demo_that_is_interrupted_leaves_nothing_behind_and_of_one_that_is_killed_the_next_removes_the_rest() {
    let (plane, cloud) = (ControlPlane::start(), two_servers().await);
    let person = Person::with(&plane.kubectl().kubeconfig, &cloud.clouds_yaml());
    let log = |name: &str| person.folder.path().join(name);

    for words in ["Making in the cluster", "Starting the operator", "What Sidestep would do"] {
        let mut demo = Program::start(&mut person.demo("e2e", "simulator", "cmp-1"), &log(words));
        wait_until(words, LIMIT, async || demo.printed().contains(words).then_some(())).await;
        demo.signal("INT");
        let ended = wait_until("the demo has ended", LIMIT, async || demo.ended()).await;
        assert_eq!((ended.code(), left_in(&plane)), (Some(130), String::new()), "after {words:?}:\n{}", demo.printed());
    }

    let mut demo = Program::start(&mut person.demo("e2e", "simulator", "cmp-1"), &log("killed"));
    wait_until("it is about the host", LIMIT, async || demo.printed().contains("What Sidestep would do").then_some(())).await;
    demo.kill();
    assert!(left_in(&plane).contains("namespace/sidestep-demo"));
    let again = finish(&mut person.demo("e2e", "simulator", "cmp-1"));
    assert!(again.stdout.contains("Removing what a demo that was killed has left"), "{again}");
    again.ok();
    assert_eq!((left_in(&plane), cloud.writes()), (String::new(), Vec::new()));
}

#[tokio::test]
async fn where_an_operator_is_at_work_it_makes_the_plan() {
    let world = World::start(Setup::simulated(vec![active("a", "cmp-1")]).await.without_sentinels()).await;
    let person = Person::with(&world.plane.kubectl().kubeconfig, &world.cloud.clouds_yaml());
    let before = left_in(&world.plane);
    let told = finish(&mut person.demo("e2e", "simulator", "cmp-1")).ok();
    assert!(told.contains("1 server of cmp-1 would be moved") && told.contains(&format!("as OpenStackCloud {CLOUD}")), "{told}");
    assert!(!told.contains("Starting the operator"), "{told}");
    assert_eq!((left_in(&world.plane), world.simulator().writes()), (before, Vec::new()));

    world.change::<sidestep::api::OpenStackCloud>(CLOUD, json!({"credentials": {"cloud": "nowhere"}})).await;
    world.wait_for_condition::<sidestep::api::OpenStackCloud>(CLOUD, "Ready", "False").await;
    let refused = finish(&mut person.demo("e2e", "nowhere", "cmp-1")).refused();
    assert!(refused.contains(&format!("OpenStackCloud {CLOUD} of this cluster is not ready")), "{refused}");
    let refused = finish(&mut person.demo("e2e", "simulator", "cmp-1")).refused();
    assert!(refused.contains(&format!("serves other clouds (OpenStackCloud {CLOUD})")), "{refused}");
}
