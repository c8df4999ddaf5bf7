//! QuarantinePolicy: which alerts lead to a quarantine, under which evidence, and how many within which time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Mode, Period, Severity};

/// Which alerts lead to a quarantine. No policy means: record only.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sidestep.dev",
    version = "v1alpha1",
    kind = "QuarantinePolicy",
    plural = "quarantinepolicies",
    shortname = "qpol",
    category = "sidestep",
    status = "QuarantinePolicyStatus",
    derive = "PartialEq",
    doc = "Which alerts lead to a quarantine, under which evidence. No policy means: alerts are recorded and nothing else happens.",
    printcolumn(name = "Cloud", type_ = "string", json_path = ".spec.cloud"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "Flow", type_ = "string", json_path = ".spec.evidence.flow"),
    printcolumn(name = "Count", type_ = "integer", json_path = ".spec.threshold.count"),
    printcolumn(name = "Window", type_ = "string", json_path = ".spec.threshold.window"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.evidence.flow != 'Any' || self.threshold.count >= 2").message("evidence.flow Any needs threshold.count 2 or more: a single packet can be forged")
)]
pub struct QuarantinePolicySpec {
    /// The OpenStackCloud whose hosts this policy is about.
    #[schemars(length(min = 1, max = 253))]
    pub cloud: String,
    /// Of several policies whose evidence and threshold hold, the highest priority decides; ties go by name.
    #[serde(default = "hundred")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub priority: i32,
    /// Observe (the default): create nothing, write what would have been done into the alert's status. It never keeps another policy from deciding. Enforce: quarantine the host.
    #[serde(default)]
    pub mode: Mode,
    /// Which alerts this policy is about. Every part that is given must hold. Decoder and stream events of a sensor never match: anybody can provoke them with one packet.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// What an alert must show to count.
    #[serde(default)]
    pub evidence: Evidence,
    /// How many within which time.
    #[serde(default)]
    pub threshold: Threshold,
}

fn hundred() -> i32 {
    100
}

/// Which alerts a policy is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Sensors, e.g. `suricata`. Empty: all.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 32)))]
    pub engines: Vec<String>,
    /// Rules: `suricata:1:2024897` (engine, gid, sid), or a range of sids `suricata:1:2024000-2024999`. Empty: all.
    #[serde(default)]
    #[schemars(length(max = 256), inner(length(min = 1, max = 64), pattern(r"^[a-z0-9]+:[0-9]+:[0-9]+(-[0-9]+)?$")))]
    pub rules: Vec<String>,
    /// The least severity. An alert of Unknown severity never satisfies it.
    #[serde(default = "high")]
    pub min_severity: MinSeverity,
}

impl Default for Match {
    fn default() -> Self {
        Self { engines: Vec::new(), rules: Vec::new(), min_severity: high() }
    }
}

fn high() -> MinSeverity {
    MinSeverity::High
}

/// The severities that a policy may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MinSeverity {
    /// Info and above.
    Info,
    /// Low and above.
    Low,
    /// Medium and above.
    Medium,
    /// High and above.
    High,
    /// Critical only.
    Critical,
}

impl From<MinSeverity> for Severity {
    fn from(least: MinSeverity) -> Self {
        match least {
            MinSeverity::Info => Self::Info,
            MinSeverity::Low => Self::Low,
            MinSeverity::Medium => Self::Medium,
            MinSeverity::High => Self::High,
            MinSeverity::Critical => Self::Critical,
        }
    }
}

/// What an alert must show to count.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.maxAge) <= duration('10m') && duration(self.maxAge) >= duration('1s')").message("maxAge must be between 1s and 10m")
)]
pub struct Evidence {
    /// Established: only TCP whose application protocol the sensor recognised, so that a handshake was seen. Any: everything, and then `threshold.count` must be 2 or more. A sensor that
    /// cannot show a handshake reports Unknown, which does not satisfy Established.
    #[serde(default = "established")]
    pub flow: FlowEvidence,
    /// An alert older than this never triggers; at most 10m.
    #[serde(default = "ten_minutes")]
    pub max_age: Period,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { flow: established(), max_age: ten_minutes() }
    }
}

/// Which traffic counts as evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FlowEvidence {
    /// Only established flows.
    Established,
    /// Any traffic.
    Any,
}

fn established() -> FlowEvidence {
    FlowEvidence::Established
}
fn ten_minutes() -> Period {
    Period::from_secs(600)
}

/// How many alerts of one series (one host, rule and far end) within which time.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.window) <= duration('60s') && duration(self.window) >= duration('1s')").message("window must be between 1s and 60s")
)]
pub struct Threshold {
    /// So many alerts.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: u32,
    /// Within this time before the last of them; at most 60s.
    #[serde(default = "one_minute")]
    pub window: Period,
}

impl Default for Threshold {
    fn default() -> Self {
        Self { count: three(), window: one_minute() }
    }
}

fn three() -> u32 {
    3
}
fn one_minute() -> Period {
    Period::from_secs(60)
}

/// Whether the policy is in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuarantinePolicyStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready (False with reason CloudNotFound while no such OpenStackCloud exists), Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
