//! Mistakes of people: each a sentence in the status and in the log that names the input and the remedy.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams};
use serde_json::json;
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::Phase;
use sidestep::api::{HostAlert, HostQuarantine, OpenStackCloud, QuarantinePolicy};
use sidestep::simulator::VmState;

use super::support::cloud::{active, server};
use super::support::control_plane::NAMESPACE;
use super::support::world::{CLOUD, Setup, World, condition_of};

/// Waits until the cloud is not usable for this reason, and that status and log have all these words.
async fn cloud_says(world: &World, name: &str, reason: &str, words: &[&str]) {
    let has_reason = |cloud: &OpenStackCloud| condition_of(cloud, "Ready").is_some_and(|ready| ready.status == "False" && ready.reason == reason);
    let cloud = world.wait_for(name, &format!("is not Ready for {reason}"), has_reason).await;
    let message = condition_of(&cloud, "Ready").unwrap().message;
    assert_eq!(condition_of(&cloud, "Stalled").unwrap().status, "True");
    let logged = world.wait_for_log("operator", reason).await;
    for word in words {
        assert!(message.contains(word), "{reason} says {message:?} and not {word:?}");
        assert!(logged.contains(word), "{reason} logs {logged:?} and not {word:?}");
    }
    world.wait_for_event(name, reason).await;
}

#[tokio::test]
async fn credentials_a_wrong_secret_is_named_and_works_when_it_is_corrected() {
    let mut world = World::bare(Setup::simulated(vec![active("a", "cmp-1")]).await.cloud).await;
    let good = world.cloud.clouds_yaml();
    world.create_cloud(CLOUD, json!({})).await;
    world.start_operator(&[]);
    cloud_says(&world, CLOUD, "SecretNotFound", &["no Secret lab", "create it", "clouds.yaml"]).await;

    let secrets = Api::<Secret>::namespaced(world.client.clone(), NAMESPACE);
    world.create_secret_with(CLOUD, "cloud.yaml", &good).await;
    cloud_says(&world, CLOUD, "SecretKeyMissing", &["no key clouds.yaml", "it has: cloud.yaml", "credentials.secretRef.key"]).await;
    secrets.delete(CLOUD, &DeleteParams::default()).await.unwrap();

    world.create_secret(CLOUD, &good.replace("RegionOne", "RegionTwo")).await;
    cloud_says(&world, CLOUD, "RegionUnknown", &["no region `RegionTwo`", "it has `RegionOne`", "region_name"]).await;
    world.create_secret(CLOUD, &good.replace("\"simulator\"", "\"other\"")).await;
    cloud_says(&world, CLOUD, "CloudUnknown", &["no cloud `simulator`", "it has `other`", "credentials.cloud"]).await;
    world.create_secret(CLOUD, &good.replace("password: \"lab\"", "password: \"secret-typo\"")).await;
    cloud_says(&world, CLOUD, "AuthenticationFailed", &["does not accept the credential", "cloud `simulator`", "correct it in clouds.yaml"]).await;
    assert!(!world.printed("operator").contains("secret-typo"), "the password stands in the log");
    world
        .create_secret(
            CLOUD,
            &good
                .replace("username: admin", "username: demo")
                .replace("project_name: \"admin\"", "project_name: \"demo\"")
                .replace("project_name: admin", "project_name: demo"),
        )
        .await;
    cloud_says(&world, CLOUD, "NotAllProjects", &["user demo", "admin role"]).await;

    world.create_secret(CLOUD, &good).await;
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "True").await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
}

#[tokio::test]
async fn a_password_that_is_changed_in_the_midst_is_told_and_the_new_one_works() {
    let world = World::start(Setup::simulated(vec![active("a", "cmp-1")]).await.without_sentinels()).await;
    world.simulator().set(json!({"password": "changed"})).await;
    world.simulator().revoke_tokens();
    cloud_says(&world, CLOUD, "AuthenticationFailed", &["put a valid credential into the Secret"]).await;
    world.create_secret(CLOUD, &world.cloud.clouds_yaml()).await;
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "True").await;
}

#[tokio::test]
async fn host_exists_once_or_it_and_a_cloud_that_does_not_are_named() {
    let world = World::start(Setup::simulated(Vec::new()).await.without_sentinels()).await;
    world.quarantine_by_hand("typo", "cmp-7", "Enforce").await;
    world.wait_for_phase("typo", Phase::Refused).await;
    let ready = world.wait_for_condition::<HostQuarantine>("typo", "Ready", "False").await;
    assert_eq!(ready.reason, "HostNotFound");
    assert!(ready.message.contains("cmp-7 (similar: cmp-1") && ready.message.contains("make a new HostQuarantine"), "{}", ready.message);
    let logged = world.wait_for_log("operator", "HostNotFound").await;
    assert!(logged.contains("cmp-7"), "{logged}");
    world.wait_for_event("typo", "HostNotFound").await;

    world.create_policy("stray", json!({"cloud": "nowhere"})).await;
    let ready = world.wait_for_condition::<QuarantinePolicy>("stray", "Ready", "False").await;
    assert!(ready.reason == "CloudNotFound" && ready.message.contains("no OpenStackCloud nowhere: create it, or correct spec.cloud"), "{ready:?}");
    world.wait_for_log("operator", "A policy is about a cloud that does not exist").await;

    world.create::<HostQuarantine>("lost", json!({"cloud": "nowhere", "host": "cmp-1", "mode": "Enforce"})).await;
    let ready = world.wait_for_condition::<HostQuarantine>("lost", "Ready", "False").await;
    assert!(ready.reason == "CloudNotFound" && ready.message.contains("there are: lab"), "{ready:?}");
    assert_eq!(world.simulator().writes(), []);
}

#[tokio::test]
async fn active_a_second_quarantine_of_the_same_host_is_refused() {
    let world = World::start(Setup::simulated(vec![server("off", "cmp-1", VmState::Rescued)]).await.without_sentinels()).await;
    world.quarantine_by_hand("first", "cmp-1", "Enforce").await;
    world.wait_for_phase("first", Phase::Blocked).await;
    world.quarantine_by_hand("second", "cmp-1", "Enforce").await;
    world.wait_for_phase("second", Phase::Refused).await;
    let ready = world.wait_for_condition::<HostQuarantine>("second", "Ready", "False").await;
    assert!(ready.reason == "AnotherActive" && ready.message.contains("first"), "{ready:?}");
    world.wait_for_event("second", "AnotherActive").await;
    assert_eq!(world.simulator().service_writes().len(), 1);
}

#[tokio::test]
async fn a_node_that_is_a_host_of_two_clouds_is_drained_in_neither() {
    let world = World::start(Setup::simulated(vec![active("a", "cmp-1")]).await.sentinel_on("cmp-1")).await;
    world.create_secret("twin", &world.cloud.clouds_yaml()).await;
    world.create_cloud("twin", json!({})).await;
    world.wait_for_condition::<OpenStackCloud>("twin", "Ready", "True").await;
    world.alert("cmp-1");
    let unmapped = |alert: &HostAlert| alert.status.as_ref().and_then(|status| status.decision) == Some(Decision::Unmapped);
    let status = world.wait_for("cmp-1-00", "is Unmapped", unmapped).await.status.unwrap();
    let logged = world.wait_for_log("operator", "Unmapped").await;
    for word in ["cmp-1", "lab", "twin", "spec.hosts"] {
        assert!(status.message.as_ref().unwrap().contains(word) && logged.contains(word), "{word} is missing in {:?}, {logged}", status.message);
    }
    assert_eq!(world.simulator().writes(), []);

    // Corrected, the alert is decided on again while it is young.
    world.change::<OpenStackCloud>("twin", json!({"hosts": [{"host": "cmp-1", "node": "another"}]})).await;
    world.wait_for_phase_of("cmp-1", Phase::Empty).await;
}
