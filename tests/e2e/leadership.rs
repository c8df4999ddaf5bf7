//! Several operators: one acts, and when it is gone, stopped or asked to end another goes on. One with another Lease does nothing.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;
use sidestep::api::OpenStackCloud;
use sidestep::api::quarantine::Phase;
use sidestep::clock::Clock;

use super::support::cloud::four_servers;
use super::support::process::Program;
use super::support::world::{CLOUD, LIMIT, Setup, World, condition_of, until};

/// The line of an operator's `/readyz` about its part in the election.
async fn standing(operator: &Program) -> String {
    let text = operator.admin("/readyz").await.map(|(_, text)| text).unwrap_or_default();
    text.lines().find(|line| line.contains(" leader:")).unwrap_or_default().to_owned()
}

async fn leads(operator: &Program) {
    until("the operator leads", LIMIT, async || {
        let standing = standing(operator).await;
        if standing == "ready  leader: leads" { Ok(()) } else { Err(standing) }
    })
    .await;
}

/// Ready, warm, and not the leader.
async fn follows(operator: &Program) {
    until("the operator follows and is ready", LIMIT, async || {
        let (status, text) = operator.admin("/readyz").await.ok_or("no answer")?;
        let warm =
            text.contains("leader: follows") && text.contains(&format!("ready  cloud {CLOUD}: looked at")) && text.contains("ready  watch HostAlert: watched");
        if status == 200 && warm { Ok(()) } else { Err(format!("{status}\n{text}")) }
    })
    .await;
}

/// How often an operator has written to Nova and to Kubernetes, the Lease apart.
async fn writes(operator: &Program) -> (f64, f64) {
    let mut nova = 0.0;
    for method in ["POST", "PUT", "DELETE"] {
        nova += operator.figure(&format!(r#"sidestep_openstack_requests_total{{service="Nova",method="{method}""#)).await.unwrap();
    }
    (nova, operator.figure("sidestep_kubernetes_writes_total").await.unwrap())
}

/// The same, once nothing was written during ten looks.
async fn at_rest(operator: &Program) -> (f64, f64) {
    let (mut last, mut looks) = ((-1.0, -1.0), 0);
    until("the operator writes nothing", LIMIT, async || {
        let now = writes(operator).await;
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        if looks >= 10 { Ok(now) } else { Err(format!("{now:?}")) }
    })
    .await
}

/// An operator that leads and is in the midst of a drain of cmp-1, two moves of which are under way, and one that follows.
async fn two_operators_in_mid_drain() -> (World, Program) {
    let world = World::start(Setup::simulated(four_servers()).await.without_sentinels()).await;
    let second = world.another_operator("second", &[]);
    follows(&second).await;
    assert_eq!(second.figure("sidestep_leader ").await, Some(0.0));
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    assert_eq!(writes(&second).await, (0.0, 0.0), "one who follows writes nothing");
    (world, second)
}

/// The drain ends, and each server left by one request.
async fn the_drain_ends(world: &World) {
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_phase("hunch", Phase::Empty).await;
    assert_eq!(world.simulator().moves_asked(4), Ok(()));
}

#[tokio::test]
async fn after_kill_9_another_operator_takes_over_within_20_s_and_ends_the_drain() {
    let (mut world, second) = two_operators_in_mid_drain().await;
    let clock = Clock::system();
    world.kill_operator();
    let killed = clock.monotonic();
    until("the other one leads within 20 s", Duration::from_secs(20), async || {
        let standing = standing(&second).await;
        if standing == "ready  leader: leads" { Ok(()) } else { Err(standing) }
    })
    .await;
    println!("taken over {} ms after kill -9", (clock.monotonic() - killed).as_millis());
    the_drain_ends(&world).await;
}

#[tokio::test]
async fn on_sigterm_the_lease_is_handed_over_at_once() {
    let (mut world, second) = two_operators_in_mid_drain().await;
    let clock = Clock::system();
    world.operator().signal("TERM");
    world.wait_for_log("operator", "The Lease is given back.").await;
    let given_back = clock.monotonic();
    until("the other one leads, long before the Lease would have been over", Duration::from_secs(8), async || {
        let standing = standing(&second).await;
        if standing == "ready  leader: leads" { Ok(()) } else { Err(standing) }
    })
    .await;
    println!("taken over {} ms after the Lease was given back", (clock.monotonic() - given_back).as_millis());
    world.wait_for_end_of_operator().await;
    the_drain_ends(&world).await;
}

#[tokio::test]
async fn a_leader_that_was_stopped_and_goes_on_writes_nothing_and_follows() {
    let (world, second) = two_operators_in_mid_drain().await;
    let first = world.operator();
    let before = at_rest(first).await;
    first.signal("STOP");
    leads(&second).await;
    // What the first one wanted to do next can be done from now on: it must not do it.
    world.simulator().knobs("host-cmp-1", None);
    first.signal("CONT");
    world.wait_for_log("operator", "This operator does not lead any more.").await;
    follows(first).await;
    let resumed = writes(first).await;
    assert_eq!(resumed.0, before.0, "writes to Nova");
    // One status may have been on its way when it was stopped.
    assert!(resumed.1 - before.1 <= 1.0, "{before:?} {resumed:?}");
    the_drain_ends(&world).await;
    assert_eq!(writes(first).await, resumed);
    assert_eq!(standing(&second).await, "ready  leader: leads");
}

#[tokio::test]
async fn an_api_server_that_is_away_longer_than_the_lease_leaves_one_leader_and_the_drain_ends() {
    let (world, second) = two_operators_in_mid_drain().await;
    let clock = Clock::system();
    let began = clock.monotonic();
    world.plane.svc("kill", "kube-apiserver");
    let away = || (clock.monotonic() - began).as_secs();
    world.until("it was away for 20 s", async || if away() >= 20 { Ok(()) } else { Err(format!("{} s", away())) }).await;
    assert_eq!(world.simulator().moves_asked(2), Ok(()), "without a Lease nothing is asked for");
    world.plane.svc("start", "kube-apiserver");
    the_drain_ends(&world).await;
    let figures = [world.operator().figure("sidestep_leader ").await, second.figure("sidestep_leader ").await];
    assert_eq!(figures.iter().flatten().sum::<f64>(), 1.0, "{figures:?}");
}

#[tokio::test]
async fn one_operator_an_operator_with_another_lease_reconciles_nothing_and_says_so() {
    let world = World::start(Setup::simulated(four_servers()).await.without_sentinels()).await;
    let ours = world.get::<OpenStackCloud>(CLOUD).await.status.unwrap().operator.unwrap();
    let kubeconfig = world.plane.kubectl().kubeconfig;
    let other = world.operator_of("other", "default", &kubeconfig, &[]);
    until("it says whose the cloud is", LIMIT, async || {
        let (status, text) = other.admin("/readyz").await.ok_or("no answer")?;
        let said = text.contains("OpenStackCloud lab is served by the operator with the Lease sidestep-system/sidestep-operator");
        if status == 503 && said { Ok(()) } else { Err(format!("{status}\n{text}")) }
    })
    .await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    the_drain_ends(&world).await;
    assert_eq!(writes(&other).await, (0.0, 0.0));
    assert_eq!(world.get::<OpenStackCloud>(CLOUD).await.status.unwrap().operator, Some(ours));
    // Once the other Lease is gone, the clouds are its own.
    let mut world = world;
    world.kill_operator();
    let gone = world.plane.kubectl().run(&["delete", "lease", "sidestep-operator", "--namespace", "sidestep-system"]);
    gone.ok();
    leads(&other).await;
    let now = world.get::<OpenStackCloud>(CLOUD).await.status.unwrap().operator.unwrap();
    assert_eq!(now.lease_namespace, "default");
}

#[tokio::test]
async fn one_operator_that_runs_on_a_host_of_the_cloud_only_records() {
    let world = World::start(Setup::simulated(four_servers()).await.without_sentinels()).await;
    let mut world = world;
    world.kill_operator();
    world.start_operator(&["--node", "cmp-1"]);
    // Before its first look it is not Ready either, for another reason.
    let runs_on_suspect = |cloud: &OpenStackCloud| condition_of(cloud, "Ready").is_some_and(|ready| ready.status == "False" && ready.reason == "RunsOnSuspect");
    let cloud = world.wait_for(CLOUD, "says that its operator runs on a host of it", runs_on_suspect).await;
    assert!(condition_of(&cloud, "Ready").unwrap().message.contains("node cmp-1"), "{cloud:?}");
    world.quarantine_by_hand("hunch", "cmp-2", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Pending).await;
    assert_eq!(world.simulator().moves_asked(0), Ok(()));
    assert_eq!(world.operator().figure("sidestep_cordons_total").await, Some(0.0));
    // Somewhere else it goes on.
    world.kill_operator();
    world.start_operator(&["--node", "elsewhere"]);
    world.wait_for_phase("hunch", Phase::Empty).await;
}

#[tokio::test]
async fn a_lease_that_was_deleted_is_made_anew_and_the_clouds_name_the_new_one() {
    let world = World::start(Setup::simulated(four_servers()).await.without_sentinels()).await;
    let old = world.get::<OpenStackCloud>(CLOUD).await.status.unwrap().operator.unwrap();
    world.plane.kubectl().run(&["delete", "lease", "sidestep-operator", "--namespace", "sidestep-system"]).ok();
    let named = |cloud: &OpenStackCloud| cloud.status.as_ref().and_then(|status| status.operator.clone()).is_some_and(|operator| operator != old);
    world.wait_for(CLOUD, "names the new Lease", named).await;
    leads(world.operator()).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    the_drain_ends(&world).await;
}

#[tokio::test]
async fn an_operator_that_finds_another_ones_name_in_a_cloud_while_it_leads_stops_at_once() {
    let world = World::start(Setup::simulated(four_servers()).await.without_sentinels()).await;
    // A Lease that exists, and that is not its own.
    let kubectl = world.plane.kubectl();
    kubectl.run(&["create", "namespace", "other-operator"]).ok();
    let lease = "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: sidestep-operator, namespace: other-operator}, spec: {holderIdentity: x}}";
    kubectl.apply(lease, &[]).ok();
    let uid = kubectl.run(&["get", "lease", "sidestep-operator", "--namespace", "other-operator", "-o", "jsonpath={.metadata.uid}"]).ok();
    let status = json!({"status": {"operator": {"leaseNamespace": "other-operator", "leaseUID": uid, "version": "0"}}});
    world.api::<OpenStackCloud>().patch_status(CLOUD, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    until("it waits", LIMIT, async || {
        let standing = standing(world.operator()).await;
        if standing.contains("Lease other-operator/sidestep-operator") { Ok(()) } else { Err(standing) }
    })
    .await;
    let before = writes(world.operator()).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    assert_eq!(writes(world.operator()).await.0, before.0);
    let deleted = Clock::system().now();
    kubectl.run(&["delete", "namespace", "other-operator"]).ok();
    leads(world.operator()).await;
    the_drain_ends(&world).await;
    let early: Vec<_> = world.simulator().writes().into_iter().filter(|write| write.at < deleted).collect();
    assert!(early.is_empty(), "while another one's name stood there: {early:?}");
}
