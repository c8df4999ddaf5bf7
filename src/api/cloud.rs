//! OpenStackCloud: one Nova region that Sidestep may act on.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Period;

/// One Nova region: how to log in, what may be done at once, how many hosts may be out of service.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sidestep.dev",
    version = "v1alpha1",
    kind = "OpenStackCloud",
    plural = "openstackclouds",
    shortname = "oscloud",
    category = "sidestep",
    status = "OpenStackCloudStatus",
    derive = "PartialEq",
    doc = "One Nova region: how to log in, what may be done at once, how many hosts may be out of service.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Region", type_ = "string", json_path = ".status.identity.region"),
    printcolumn(name = "Hosts", type_ = "integer", json_path = ".status.hosts.total"),
    printcolumn(name = "Disabled", type_ = "integer", json_path = ".status.hosts.disabled"),
    printcolumn(name = "Down", type_ = "integer", json_path = ".status.hosts.down"),
    printcolumn(name = "Quarantined", type_ = "integer", json_path = ".status.hosts.quarantined"),
    printcolumn(name = "Microversion", type_ = "string", json_path = ".status.microversion", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackCloudSpec {
    /// Where the credential is kept.
    pub credentials: Credentials,
    /// Compute hosts whose Kubernetes node has another name than Nova's host. Every other node belongs to the host of exactly the same name.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub hosts: Vec<HostMapping>,
    /// How many live migrations Sidestep keeps under way.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// How many hosts may be out of service at once, so that no alarm, false or forged, empties the cloud.
    #[serde(default)]
    pub budget: Budget,
    /// How often Nova is asked, and when an answer is too old to decide on.
    #[serde(default)]
    pub inventory: InventorySettings,
}

/// A key of a Secret in the operator's own namespace that holds a clouds.yaml, and the entry in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// The Secret, in the operator's own namespace and no other.
    pub secret_ref: SecretRef,
    /// The name of the entry under `clouds:` in that file.
    #[schemars(length(min = 1, max = 253))]
    pub cloud: String,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key that holds the clouds.yaml. A key `cacert` of the same Secret, where present, is the CA certificate (PEM).
    #[serde(default = "clouds_yaml_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn clouds_yaml_key() -> String {
    "clouds.yaml".to_owned()
}

/// A node whose Nova host has another name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostMapping {
    /// Nova's name of the host (`OS-EXT-SRV-ATTR:host`).
    #[schemars(length(min = 1, max = 255))]
    pub host: String,
    /// The Kubernetes node's name, as its sentinel gives it.
    #[schemars(length(min = 1, max = 253))]
    pub node: String,
}

/// Limits on live migrations under way. One more request per source waits queued in Nova, so that no slot idles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Concurrency {
    /// Per source host. Set it to Nova's `max_concurrent_live_migrations`, which its API does not show.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub per_source: u32,
    /// In the whole cloud.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000))]
    pub total: u32,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { per_source: one(), total: ten() }
    }
}

/// The safety budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// How many hosts Sidestep may have out of service at once: those whose disabled reason in Nova carries Sidestep's mark, and those that it has accepted and not disabled yet.
    /// 0 lets no policy take a host out of service. An operator's own maintenance is not counted; a host that a person quarantines by hand is counted and not held back.
    #[serde(default = "one")]
    #[schemars(range(max = 1000))]
    pub hosts_out_of_service: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { hosts_out_of_service: one() }
    }
}

/// How often Nova is asked.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.idleInterval) >= duration('1s')").message("idleInterval must be 1s or more"),
    validation = Rule::new("duration(self.activeInterval) >= duration('200ms')").message("activeInterval must be 200ms or more"),
    validation = Rule::new("duration(self.staleAfter) >= duration(self.idleInterval) + duration(self.idleInterval)").message("staleAfter must be at least twice idleInterval")
)]
pub struct InventorySettings {
    /// While nothing moves.
    #[serde(default = "idle_interval")]
    pub idle_interval: Period,
    /// For hosts that are being drained.
    #[serde(default = "active_interval")]
    pub active_interval: Period,
    /// A view older than this decides nothing; at least twice `idleInterval`.
    #[serde(default = "stale_after")]
    pub stale_after: Period,
}

impl Default for InventorySettings {
    fn default() -> Self {
        Self { idle_interval: idle_interval(), active_interval: active_interval(), stale_after: stale_after() }
    }
}

fn one() -> u32 {
    1
}
fn ten() -> u32 {
    10
}
fn idle_interval() -> Period {
    Period::from_secs(30)
}
fn active_interval() -> Period {
    Period::from_secs(1)
}
fn stale_after() -> Period {
    Period::from_secs(90)
}

/// What Sidestep found when it last looked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackCloudStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Who Sidestep is in this cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The Nova microversion in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub microversion: Option<String>,
    /// How many compute hosts there are, and in which state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<HostCounts>,
    /// Which operator acts on this cloud: one with another Lease reconciles nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorRef>,
    /// Ready, CredentialsValid, SeesAllProjects, InventoryFresh, BudgetAvailable, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The operator that acts on a cloud, by the Lease that its leader holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperatorRef {
    /// The namespace of the Lease `sidestep-operator`: the operator's own.
    #[schemars(length(max = 63))]
    pub lease_namespace: String,
    /// The UID of that Lease; one that was made anew has another.
    #[serde(rename = "leaseUID")]
    #[schemars(length(max = 36))]
    pub lease_uid: String,
    /// The version of the operator that leads.
    #[schemars(length(max = 64))]
    pub version: String,
}

/// Who Sidestep is in the cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The user's name, or its id where Keystone gives no name.
    #[schemars(length(max = 255))]
    pub user: String,
    /// The project that the token is for.
    #[schemars(length(max = 255))]
    pub project: String,
    /// The region.
    #[schemars(length(max = 255))]
    pub region: String,
}

/// Compute hosts by state; a host that is disabled and down counts in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostCounts {
    /// All nova-compute services.
    pub total: u32,
    /// In service.
    pub enabled: u32,
    /// Out of service, by whomever.
    pub disabled: u32,
    /// Not reporting, or forced down.
    pub down: u32,
    /// Out of service by Sidestep: the disabled reason carries its mark.
    pub quarantined: u32,
    /// Alerted within the last 10 minutes: evidence and threshold of a policy that acts held. This is what `budget.alertingSharePercent` counts.
    #[serde(default)]
    pub alerting: u32,
}
