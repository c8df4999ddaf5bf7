//! OpenStackCloud: one Nova region that Sidestep may act on.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
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
    printcolumn(name = "Silent", type_ = "integer", json_path = ".status.hosts.silent", priority = 1),
    printcolumn(name = "Microversion", type_ = "string", json_path = ".status.microversion", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct OpenStackCloudSpec {
    /// Where the credential is kept.
    pub credentials: Credentials,
    /// Compute hosts about which something must be said: the Kubernetes node that runs on them, where its name is another than Nova's host, and labels that policies select hosts by. Every node that is
    /// not named here belongs to the host of exactly the same name.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub hosts: Vec<HostMapping>,
    /// How many live migrations Sidestep keeps under way.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// How many hosts may be out of service at once, so that no alarm, false or forged, empties the cloud.
    #[serde(default)]
    pub budget: Budget,
    /// Where servers may be moved to.
    #[serde(default)]
    pub destinations: DestinationRules,
    /// How often Nova is asked, and when an answer is too old to decide on.
    #[serde(default)]
    pub inventory: InventorySettings,
    /// How long objects are kept that nothing depends on any more.
    #[serde(default)]
    pub retention: Retention,
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

/// What is said about one compute host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostMapping {
    /// Nova's name of the host (`OS-EXT-SRV-ATTR:host`).
    #[schemars(length(min = 1, max = 255))]
    pub host: String,
    /// The name of the Kubernetes node that runs on it, as its sentinel gives it. Absent: the host's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub node: Option<String>,
    /// Labels for `match.hostSelector` of policies. They stand here, and not on the Node, so that nobody who may change Nodes can change which hosts a policy is about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), inner(length(max = 63)))]
    pub labels: BTreeMap<String, String>,
}

impl HostMapping {
    /// The node that belongs to the host.
    #[must_use]
    pub fn node(&self) -> &str {
        self.node.as_deref().unwrap_or(&self.host)
    }
}

/// Limits on live migrations under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Concurrency {
    /// Per source host. Set it to Nova's `max_concurrent_live_migrations`, which its API does not show. As many requests again wait queued in Nova, so that none of its slots idles.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub per_source: u32,
    /// Per destination host, with those that are queued in Nova.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 100))]
    pub per_destination: u32,
    /// In the whole cloud, with those that are queued in Nova. The queue of one source leaves room for what Nova would work on at once at another.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000))]
    pub total: u32,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { per_source: one(), per_destination: two(), total: ten() }
    }
}

/// Where servers may be moved to. A HostQuarantine can narrow it further.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DestinationRules {
    /// Names of Nova host aggregates: a destination is in one of them. Empty: any host.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    pub aggregates: Vec<String>,
    /// Traits that a destination has in Placement, all of them.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 255)))]
    pub required_traits: Vec<String>,
    /// Hosts that are no destination.
    #[serde(default)]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 255)))]
    pub exclude: Vec<String>,
    /// The name of the Nova host aggregate for servers from suspect hosts; empty where there is none. Its hosts are no ordinary destination, what is on them moves to one another only, and no policy drains them.
    #[serde(default)]
    #[schemars(length(max = 255))]
    pub pool: String,
}

/// The safety budget. What Nova shows and what accepted HostQuarantines hold is counted as one set of hosts, so that deleting an object refills nothing; the host that is asked for never counts, so that it
/// cannot stand in its own way. Percentages are of all compute hosts, rounded down, and at least one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// How many hosts policies may have out of service at once: those whose disabled reason in Nova carries Sidestep's mark, and those that were accepted and are not disabled yet. 0 lets no
    /// policy take a host out of service. An operator's own maintenance is not counted here; a host that a person quarantines by hand is counted and not held back.
    #[serde(default = "one")]
    #[schemars(range(max = 1000))]
    pub hosts_out_of_service: u32,
    /// What share of the hosts may be out of service at once, by whomever: all that are disabled or down count. This is the only limit that holds for HostQuarantines that people make, too. A cloud of few
    /// hosts, one of them under maintenance, needs a larger share: 20 % of 3 hosts is one host.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 100))]
    pub percent_out_of_service: u32,
    /// How many hosts policies with `onLimit: Cordon` may take out of service within any hour when there is no other room. They do not count in `hostsOutOfService`, and do in `percentOutOfService`. Their times stand in
    /// `status.budget.cordons`.
    #[serde(default = "four")]
    #[schemars(range(max = 1000))]
    pub cordons_per_hour: u32,
    /// When more than this share of the hosts was alerted within 10 minutes, by policies that act, nothing more is done on the word of alerts: a person must look. Either many hosts were attacked, or somebody
    /// forges alerts to have the cloud emptied.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 100))]
    pub alerting_share_percent: u32,
}

impl Budget {
    /// So many of `hosts` hosts are `percent` per cent of them: rounded down, and at least one.
    #[must_use]
    pub fn share(hosts: usize, percent: u32) -> usize {
        let percent = usize::try_from(percent).unwrap_or(usize::MAX);
        (hosts.saturating_mul(percent) / 100).max(1)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { hosts_out_of_service: one(), percent_out_of_service: twenty(), cordons_per_hour: four(), alerting_share_percent: twenty() }
    }
}

/// How long objects are kept that nothing depends on any more. HostQuarantines are the record of what happened, and are never removed.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.alerts) >= duration('1h')").message("retention.alerts must be 1h or more: an alert counts for 30 minutes"),
    validation = Rule::new("duration(self.runs) >= duration('1h')").message("retention.runs must be 1h or more")
)]
pub struct Retention {
    /// HostAlerts, from the last event on. One that joined a HostQuarantine stays until that one is released or gone.
    #[serde(default = "one_day")]
    pub alerts: Period,
    /// MigrationRuns, from their end on, and not before their HostQuarantine is released.
    #[serde(default = "a_month")]
    pub runs: Period,
}

impl Default for Retention {
    fn default() -> Self {
        Self { alerts: one_day(), runs: a_month() }
    }
}

fn one_day() -> Period {
    Period::from_secs(24 * 3600)
}
fn a_month() -> Period {
    Period::from_secs(720 * 3600)
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
fn four() -> u32 {
    4
}
fn two() -> u32 {
    2
}
fn ten() -> u32 {
    10
}
fn twenty() -> u32 {
    20
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
    /// How many servers of all projects there are, as counted every 10 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<u32>,
    /// How much of the safety budget is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetUse>,
    /// What was done to hosts lately, kept for a day after it ended: so that cooldowns, limits per hour and releases hold when the HostQuarantine is deleted or the operator starts again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub incidents: Vec<Incident>,
    /// When the cloud was last looked at; renewed every 5 minutes, and with each other change of this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// Ready, CredentialsValid, SeesAllProjects, InventoryFresh, BudgetAvailable, IdentityEnforced, CRDOutdated, SentinelsUnreachable, Reconciling, Stalled.
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

/// How much of the safety budget is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BudgetUse {
    /// Hosts that are out of service by Sidestep, or about to be: what `hostsOutOfService` counts.
    pub out_of_service: u32,
    /// When hosts were taken out of service over the limit, within the last hour: what `cordonsPerHour` counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub cordons: Vec<MicroTime>,
}

/// What was done to a host: one HostQuarantine, whether or not it still exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// The HostQuarantine's UID.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub quarantine: String,
    /// The host.
    #[schemars(length(max = 255))]
    pub host: String,
    /// The policy that made it. Absent when a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub policy: Option<String>,
    /// The rules that it was made for, with their engines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 192)))]
    pub rules: Vec<String>,
    /// When it was decided on.
    pub decided_at: MicroTime,
    /// It was a cordon over the limit (`onLimit: Cordon`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_budget: bool,
    /// When the host was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<MicroTime>,
    /// A person found that there was nothing: its rules do not count on the host for 24 h from the release.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub false_positive: bool,
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
    /// Silent: nothing is heard of the sentinel, or a sensor is dead (condition SensorSilent of the HostReport). It does not count in `budget.alertingSharePercent`.
    #[serde(default)]
    pub silent: u32,
}
