//! Situations about Kubernetes itself.

use serde_json::{Value, json};
use sidestep::api::alert::Decision;
use sidestep::api::{HostAlert, HostQuarantine, OpenStackCloud};
use sidestep::simulator::Settings;

use crate::support::cloud::{Cloud, Simulated, active};
use crate::support::control_plane::ControlPlane;
use crate::support::world::{CLOUD, POLICY, World, decision_of};

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
    // Until the kinds fit.
    world.plane.apply_kinds();
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "CRDOutdated", "False").await;
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "True").await;
    world.wait_for_quarantine_of("cmp-1", "made by the alert", |quarantine| quarantine.spec.trigger.is_some()).await;
}
