//! Situations about Kubernetes itself.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::Phase;
use sidestep::api::{HostAlert, HostQuarantine, MigrationRun, OpenStackCloud};
use sidestep::simulator::{Settings, VmState};

use crate::support::cloud::{Cloud, Simulated, active, server};
use crate::support::control_plane::{ControlPlane, NAMESPACE, SENTINELS, chart, helm, repository};
use crate::support::process::{Finished, finish};
use crate::support::world::{CLOUD, POLICY, Setup, World, condition_of, decision_of};

/// Takes a field out of a served kind, as an older release of the kinds would lack it.
fn take_field(plane: &ControlPlane, kind: &str, properties: &str, field: &str) {
    let name = format!("{kind}.sidestep.dev");
    let text = plane.kubectl().run(&["get", "customresourcedefinition", &name, "-o", "json"]).ok();
    let mut definition: Value = serde_json::from_str(&text).unwrap();
    let pointer = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{properties}");
    let properties = definition.pointer_mut(&pointer).and_then(Value::as_object_mut).unwrap();
    assert!(properties.remove(field).is_some(), "{kind} has no {pointer}/{field}");
    plane.kubectl().run_with(&["replace", "-f", "-"], &definition.to_string()).ok();
}

#[tokio::test]
async fn new_operator_old_crd() {
    let settings = Settings { servers: vec![active("web-1", "cmp-1")], speed: 20.0, ..Settings::default() };
    let mut world = World::bare(Cloud::Simulator(Simulated::start(settings).await)).await;
    take_field(&world.plane, "openstackclouds", "spec/properties", "hosts");
    take_field(&world.plane, "hostquarantines", "status/properties", "residentCount");
    world.create_secret(CLOUD, &world.cloud.clouds_yaml()).await;
    world.create_cloud(CLOUD, json!({})).await;
    world.create_policy(POLICY, json!({})).await;
    world.start_operator(&[]);
    world.start_sentinel("cmp-1");
    // At start it compares, and names what is missing.
    let outdated = world.wait_for_condition::<OpenStackCloud>(CLOUD, "CRDOutdated", "True").await;
    for field in ["OpenStackCloud.spec.hosts", "HostQuarantine.status.residentCount"] {
        assert!(outdated.message.contains(field), "{outdated:?}");
    }
    let ready = world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "False").await;
    assert_eq!(ready.reason, "CRDOutdated", "{ready:?}");
    // Decisions are recorded only.
    world.wait_for_log("sentinel-cmp-1", "reading begins").await;
    world.alert("cmp-1");
    let recorded = |alert: &HostAlert| decision_of(alert) == Some(Decision::Recorded);
    let alert = world.wait_for::<HostAlert>("cmp-1-00", "is Recorded", recorded).await;
    assert!(alert.status.unwrap().message.unwrap().contains("residentCount"));
    assert_eq!(world.all::<HostQuarantine>().await, []);
    // Nor does a move by hand begin.
    let server = world.simulator().servers_on("cmp-1")[0];
    world.create::<MigrationRun>("by-hand", json!({"cloud": CLOUD, "server": server, "sourceHost": "cmp-1"})).await;
    let held = |run: &MigrationRun| condition_of(run, "Reconciling").is_some_and(|condition| condition.reason == "CRDOutdated");
    world.wait_for::<MigrationRun>("by-hand", "waits for the kinds", held).await;
    assert_eq!(world.simulator().moves_asked(0), Ok(()));
    world.delete::<MigrationRun>("by-hand").await;
    // Until the kinds fit.
    world.plane.apply_kinds();
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "CRDOutdated", "False").await;
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "True").await;
    world.wait_for_quarantine_of("cmp-1", "made by the alert", |quarantine| quarantine.spec.trigger.is_some()).await;
}

/// The operator's program, as the hook of the chart runs it, with the hook's own account.
fn uninstall(world: &World) -> Finished {
    let hook = chart(NAMESPACE, &["--show-only", "templates/uninstall-hook.yaml"]).ok();
    let (account, job) = hook.split_once("apiVersion: batch/v1").unwrap();
    assert!(job.contains("args: [uninstall, --namespace, sidestep-system]"), "{job}");
    world.plane.kubectl().apply(account, &[]).ok();
    let kubeconfig = world.plane.kubectl_as("sidestep-uninstall", None).kubeconfig;
    let answer = finish(Command::new(env!("CARGO_BIN_EXE_sidestep-operator")).args(["uninstall", "--namespace", NAMESPACE, "--kubeconfig"]).arg(kubeconfig));
    world.plane.kubectl().run_with(&["delete", "-f", "-"], account).ok();
    answer
}

fn helm_ok(world: &World, arguments: &[&str]) {
    finish(helm().args(arguments).arg("--kubeconfig").arg(world.plane.kubectl().kubeconfig)).ok();
}

#[tokio::test]
async fn uninstall_and_install_again() {
    let mut setup = Setup::simulated(vec![active("web-1", "cmp-1"), active("web-2", "cmp-2")]).await.without_sentinels();
    setup.spec = json!({"budget": {"hostsOutOfService": 2, "percentOutOfService": 100}});
    let mut world = World::start(setup).await;
    let charts = [("sidestep-crds", "charts/sidestep-crds"), ("sidestep", "charts/sidestep")];
    for (release, folder) in charts {
        helm_ok(&world, &["install", release, &repository(folder).to_string_lossy(), "--namespace", NAMESPACE, "--take-ownership"]);
    }
    // A compromised host that is empty, and a move that is under way.
    world.quarantine_by_hand("emptied", "cmp-1", "Enforce").await;
    world.wait_for_phase("emptied", Phase::Empty).await;
    world.simulator().knobs("host-cmp-2", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("moving", "cmp-2", "Enforce").await;
    world.until("the move is under way", async || world.simulator().has_row("running")).await;
    let under_way = |run: &MigrationRun| run.status.as_ref().is_some_and(|status| status.attempts.len() == 1);
    world.until("its attempt is written", async || if world.runs_of("moving").await.iter().all(under_way) { Ok(()) } else { Err(String::new()) }).await;

    world.kill_operator();
    let said = uninstall(&world).ok();
    for part in ["cmp-1 of OpenStackCloud lab (HostQuarantine emptied)", "cmp-2 of OpenStackCloud lab (HostQuarantine moving)", "These moves go on in Nova"] {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
    assert_eq!(world.plane.kubectl().run(&["get", "lease", "sidestep-operator", "--namespace", NAMESPACE, "--ignore-not-found"]).ok(), "");
    // Nothing keeps anything from being deleted, and what is under way says that nobody follows it.
    for quarantine in world.all::<HostQuarantine>().await {
        assert_eq!(quarantine.metadata.finalizers, None, "{quarantine:?}");
    }
    for run in world.all::<MigrationRun>().await {
        assert_eq!(run.metadata.finalizers, None, "{run:?}");
    }
    let moving = condition_of(&world.get::<HostQuarantine>("moving").await, "Stalled").unwrap();
    assert_eq!((moving.status.as_str(), moving.reason.as_str()), ("True", "Uninstalled"), "{moving:?}");
    for (release, _) in charts.iter().rev() {
        helm_ok(&world, &["uninstall", release, "--namespace", NAMESPACE, "--no-hooks"]);
    }
    let kubectl = world.plane.kubectl();
    // No kubelet ends the pods that earlier stories' tokens are bound to.
    kubectl.run(&["delete", "pods", "--all", "--namespace", SENTINELS, "--force", "--grace-period=0"]).ok();
    world.plane.forget_credentials();
    kubectl.run(&["wait", "--for=delete", &format!("namespace/{SENTINELS}"), "--timeout=60s"]).ok();
    assert!(kubectl.run(&["get", "serviceaccount", "sidestep-operator", "--namespace", NAMESPACE]).refused().contains("not found"));

    // The kinds and their objects are there, and the hosts are as they were.
    assert_eq!(world.all::<HostQuarantine>().await.len(), 2);
    assert_eq!(world.simulator().disabled_hosts(), ["cmp-1", "cmp-2"]);

    // Installed again, it goes on where it was: the move is found and not asked for twice.
    world.plane.apply_kinds();
    world.plane.apply_chart();
    world.plane.wait_for_policies();
    world.start_operator(&[]);
    world.wait_for_condition::<HostQuarantine>("moving", "Stalled", "False").await;
    world.simulator().knobs("host-cmp-2", None);
    world.wait_for_phase("moving", Phase::Empty).await;
    world.simulator().moves_asked(2).unwrap();
    // What is deleted then ends as it should: the cordon stays, and an Event names the host.
    world.delete::<HostQuarantine>("moving").await;
    world.wait_until_gone::<HostQuarantine>("moving").await;
    assert!(world.wait_for_event("moving", "CordonKept").await.contains("cmp-2"));
    assert_eq!(world.simulator().disabled_hosts(), ["cmp-1", "cmp-2"]);
}

#[tokio::test]
async fn uninstall_and_install_again_by_hand() {
    let mut world = World::start(Setup::simulated(vec![active("web-1", "cmp-1")]).await.without_sentinels()).await;
    world.quarantine_by_hand("emptied", "cmp-1", "Enforce").await;
    world.wait_for_phase("emptied", Phase::Empty).await;
    // The operator went first, and the object hangs.
    world.kill_operator();
    world.delete::<HostQuarantine>("emptied").await;
    assert!(world.get::<HostQuarantine>("emptied").await.metadata.finalizers.is_some());
    let writes = world.simulator().service_writes().len();
    // The way out, word for word as the chart prints it.
    let notes = std::fs::read_to_string(repository("charts/sidestep/templates/NOTES.txt")).unwrap();
    let begin = notes.find("  for object in").unwrap();
    let script = notes.get(begin..notes.find("  done\n").unwrap() + "  done\n".len()).unwrap();
    let mut shell = Command::new("bash");
    shell.args(["-euc", &format!("kubectl() {{ {}; }}\n{script}", world.plane.kubectl().words())]);
    finish(&mut shell).ok();
    world.wait_until_gone::<HostQuarantine>("emptied").await;
    assert_eq!(world.simulator().service_writes().len(), writes);
    assert_eq!(world.simulator().disabled_hosts(), ["cmp-1"]);
}

#[tokio::test]
async fn a_narrower_schema_locks_stored_objects() {
    let world = World::start(Setup::simulated(vec![active("web-1", "cmp-1")]).await.without_sentinels()).await;
    let kubectl = world.plane.kubectl();
    // An earlier release would have allowed more residents and a longer reason.
    let name = "hostquarantines.sidestep.dev";
    let text = kubectl.run(&["get", "customresourcedefinition", name, "-o", "json"]).ok();
    let mut definition: Value = serde_json::from_str(&text).unwrap();
    let properties = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties").unwrap();
    properties["spec"]["properties"]["reason"]["maxLength"] = 1024.into();
    properties["status"]["properties"]["residents"]["maxItems"] = 64.into();
    kubectl.run_with(&["replace", "-f", "-"], &definition.to_string()).ok();
    let reason = "x".repeat(300);
    let made = || {
        let object = json!({"apiVersion": "sidestep.dev/v1alpha1", "kind": "HostQuarantine", "metadata": {"name": "stored"}, "spec": {"cloud": CLOUD, "host": "cmp-1", "scope": "Maintenance", "reason": reason}});
        kubectl.run_with(&["create", "--validate=strict", "-f", "-"], &object.to_string()).status.success()
    };
    assert!((0..100).any(|_| made()), "the wider definition is not served");
    world.wait_for_phase("stored", Phase::Observed).await;
    let residents: Vec<Value> = (0..40).map(|number| json!({"server": format!("00000000-0000-4000-8000-{number:012}"), "reason": "StateNotMovable"})).collect();
    let status = json!({"status": {"residents": residents, "residentCount": 40}}).to_string();
    kubectl.run(&["patch", "hq/stored", "--subresource=status", "--type=merge", "-p", &status]).ok();
    world.plane.apply_kinds();
    // The operator's status is written, and deletion ends.
    world.change::<HostQuarantine>("stored", json!({"mode": "Enforce"})).await;
    world.wait_for_phase("stored", Phase::Empty).await;
    world.delete::<HostQuarantine>("stored").await;
    world.wait_until_gone::<HostQuarantine>("stored").await;
}

/// Every write of the operator's account to an object of Sidestep's, by the API server's audit log.
fn writes_of_the_operator(world: &World) -> Vec<String> {
    let log = fs::read_to_string(world.plane.audit_log()).unwrap();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let reads = ["get", "list", "watch"];
    let written = events.filter(|event| {
        event["user"]["username"].as_str().is_some_and(|user| user.ends_with(":sidestep-operator")) && !reads.iter().any(|verb| event["verb"] == *verb)
    });
    written.map(|event| format!("{} {} {}", event["verb"], event["objectRef"]["resource"], event["objectRef"]["name"])).collect()
}

/// So many looks are five minutes at the 30 s that `inventory.idleInterval` has by default: an object at rest is looked at once in that interval, and here once a second. What else goes by time, the
/// Leases above all, goes on by seconds anyway.
const FIVE_MINUTES: usize = 10;

/// At most one write in five minutes is allowed. There is none in ten.
#[tokio::test]
async fn writes_although_nothing_changes() {
    let servers = vec![server("a", "cmp-1", VmState::Suspended), server("b", "cmp-1", VmState::Suspended), active("c", "cmp-1")];
    let mut setup = Setup::simulated(servers).await.without_sentinels();
    setup.spec = json!({"inventory": {"idleInterval": "1s", "activeInterval": "200ms", "staleAfter": "30s"}});
    let world = World::start(setup).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let blocked = world.wait_for_phase("hunch", Phase::Blocked).await;
    assert_eq!(blocked.status.as_ref().unwrap().residents.len(), 2);
    let looks = || world.simulator().requests().iter().filter(|request| request.method == "GET" && request.path.contains("/os-services")).count();
    let settle = looks() + 3;
    world.until("what the last move changed was looked at", async || if looks() > settle { Ok(()) } else { Err(looks().to_string()) }).await;
    let rest = async || (world.get::<HostQuarantine>("hunch").await.status, world.get::<OpenStackCloud>(CLOUD).await.status, writes_of_the_operator(&world));
    let reconciles = async |kind: &str| world.operator().figure(&format!(r#"sidestep_reconciles_total{{kind="{kind}""#)).await.unwrap();
    let (before, reconciled, looked) = (rest().await, reconciles("HostQuarantine").await, looks());
    assert!(before.2.iter().any(|write| write.contains("hostquarantines")), "the audit log does not show the writes of the drain: {:?}", before.2);
    let later = looked + 2 * FIVE_MINUTES;
    world.until("the cloud was looked at for ten minutes' worth", async || if looks() > later { Ok(()) } else { Err(looks().to_string()) }).await;
    // Not one more write to any object, and no transition time has moved.
    assert_eq!(rest().await, before);
    // Nothing but a look makes it look at the quarantine: with a write of its own that wakes it there would be more.
    let (woken, seen) = (reconciles("HostQuarantine").await - reconciled, looks() - looked);
    let most = u32::try_from(seen + 1).unwrap();
    assert!(woken <= f64::from(most), "{woken} reconciles in {seen} looks");
}
