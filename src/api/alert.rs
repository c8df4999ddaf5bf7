//! HostAlert: one series of alerts on one host, as its sentinel counts them, and the decision that the operator took.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Flow, ResponseAction, Scope, Severity};

/// The engine of the alerts that the operator itself raises.
pub const SELF_ENGINE: &str = "sidestep";
/// The rule of the alert that a host has fallen silent; its engine is [`SELF_ENGINE`].
pub const SILENCE_RULE: &str = "SensorSilent";

/// One alert series on one host. The name is the node's with a slot `00` to `3f`, so that a node can fill 64 objects and no more.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sidestep.dev",
    version = "v1alpha1",
    kind = "HostAlert",
    plural = "hostalerts",
    shortname = "halert",
    category = "sidestep",
    status = "HostAlertStatus",
    derive = "PartialEq",
    doc = "One series of alerts on one host (one rule, one far end), written by the host's sentinel, and the operator's decision on it.",
    selectable = ".spec.node",
    selectable = ".status.cloud",
    selectable = ".status.host",
    selectable = ".status.quarantine",
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Rule", type_ = "string", json_path = ".spec.ruleID"),
    printcolumn(name = "Severity", type_ = "string", json_path = ".spec.severity"),
    printcolumn(name = "Flow", type_ = "string", json_path = ".spec.flow"),
    printcolumn(name = "Subject", type_ = "string", json_path = ".spec.subject"),
    printcolumn(name = "Count", type_ = "integer", json_path = ".spec.count"),
    printcolumn(name = "Last", type_ = "date", json_path = ".spec.lastSeen"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".status.decision"),
    printcolumn(name = "Quarantine", type_ = "string", json_path = ".status.quarantine", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".spec.message", priority = 1),
    printcolumn(name = "Why", type_ = "string", json_path = ".status.message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.node == oldSelf.node").message("node is immutable: a sentinel speaks about its own node only"),
    validation = Rule::new("self.seq >= oldSelf.seq && self.seq - oldSelf.seq <= 1000000").message("seq never falls and rises by at most 1000000 a write"),
    validation = Rule::new("self.series != oldSelf.series || self.count >= oldSelf.count").message("count never falls within a series")
)]
pub struct HostAlertSpec {
    /// The Kubernetes node that the sentinel runs on. The operator maps it to one cloud and host.
    #[schemars(length(min = 1, max = 253))]
    pub node: String,
    /// Which series: 16 hex digits made from engine, rule, subject and flow.
    #[schemars(length(min = 1, max = 64))]
    pub series: String,
    /// Rises with every event of this slot; never falls.
    #[schemars(range(min = 0))]
    pub seq: i64,
    /// The sensor's kind: `suricata` or `snort`; `-` in slot `3f` once it holds alerts of several; `sidestep` where the operator itself says that the host has fallen silent (rule `SensorSilent`).
    #[schemars(length(min = 1, max = 32))]
    pub engine: String,
    /// The rule as the sensor names it, e.g. `1:2024897`.
    #[serde(rename = "ruleID")]
    #[schemars(length(min = 1, max = 128))]
    pub rule_id: String,
    /// The rule's generator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<i64>,
    /// The rule's signature number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<i64>,
    /// The rule's revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<i64>,
    /// The rule's text. It comes from the sensor: untrusted, control characters are escaped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub message: String,
    /// The rule's class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub classification: Option<String>,
    /// Severity on the scale of all engines.
    pub severity: Severity,
    /// Severity as the sensor writes it (Suricata's priority: 1 is the worst).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity_native: Option<i64>,
    /// Words that the rule's author gave it: MITRE's ids and the rule set's own tags as they are, all other metadata of a Suricata rule as `key:value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub tags: Vec<String>,
    /// What the sensor did with the packet: `allow`, `drop` or `would_drop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub action: Option<String>,
    /// The protocol of the last event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub proto: Option<String>,
    /// Where the last event's packet came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Endpoint>,
    /// Where the series' packets went: at most the 4 latest addresses, each with its latest port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub destinations: Vec<Endpoint>,
    /// Whether the series had more addresses than `destinations` holds. Such a series matches no `destinationCIDRs`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more_destinations: bool,
    /// The far end: the source, or the destination where the sensor says that the rule fired on the reply; `-` when there is none or the series holds several.
    #[schemars(length(min = 1, max = 64))]
    pub subject: String,
    /// About how many far ends there were, where the slot holds several (`30` to `3f`): an estimate, to within about 10 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub distinct_subjects: Option<i64>,
    /// What the sensor could show about the traffic. It is part of the series; where the slot holds everything else (`3f`) it is `Established` while all its events were.
    pub flow: Flow,
    /// The first event of this series.
    pub first_seen: MicroTime,
    /// The last event. Lines read as they were written are dated by the sentinel's reading, lines of a backlog by the sensor's stamp.
    pub last_seen: MicroTime,
    /// The stamp that the sensor wrote into the last event. Absent when it is impossible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor_time: Option<MicroTime>,
    /// When the sentinel read the last event, where `lastSeen` does not say so: one of a backlog, dated by the sensor's stamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<MicroTime>,
    /// All events of this series so far.
    #[schemars(range(min = 1))]
    pub count: i64,
    /// How many events lay how long before `lastSeen`, for the last 60 s; events that were already older than 10 min when they were read are in `count` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 60))]
    pub recent: Vec<RecentCount>,
}

/// An address and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// IPv4 or IPv6 address in canonical form.
    #[schemars(length(min = 2, max = 45))]
    pub ip: String,
    /// The port, where the protocol has ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub port: Option<u16>,
}

/// So many events in one second before `lastSeen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecentCount {
    /// Whole seconds before `lastSeen`, 0 to 59.
    #[schemars(range(min = 0, max = 59))]
    pub seconds_ago: u32,
    /// Events in that second.
    #[schemars(range(min = 1))]
    pub count: i64,
}

/// The operator's decision on a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Decision {
    /// No policy is about this alert.
    NoPolicy,
    /// A policy is, but its evidence or threshold does not hold.
    BelowThreshold,
    /// Every policy that is about this alert leaves its rule alone for a while (`spec.suppress`).
    Suppressed,
    /// The policy that would act did so on this host a short while ago (`spec.cooldown`), or a person found the rule to be a false positive there.
    Cooldown,
    /// Too many hosts are out of service or alert at once already, or the policy has done as much as its limits allow.
    OverBudget,
    /// The event is older than the policy's maxAge, or the operator's own view of the cloud is too old to decide on.
    Stale,
    /// The node belongs to no host of any cloud, or to more than one.
    Unmapped,
    /// A policy would have acted, but nothing ties sentinels to their nodes, so that the alert may be forged.
    IdentityUnenforced,
    /// Only policies in mode Observe would have acted; or one that acts may only record here, for the reason in the message.
    Recorded,
    /// The host has an active quarantine already; the alert joins it.
    AlreadyQuarantined,
    /// There was no room for a drain: the host was taken out of service, and its servers stay (`onLimit: Cordon`).
    Cordoned,
    /// A HostQuarantine was made.
    Quarantined,
}

impl Decision {
    /// The word in status, Event and log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoPolicy => "NoPolicy",
            Self::BelowThreshold => "BelowThreshold",
            Self::Suppressed => "Suppressed",
            Self::Cooldown => "Cooldown",
            Self::OverBudget => "OverBudget",
            Self::Stale => "Stale",
            Self::Unmapped => "Unmapped",
            Self::IdentityUnenforced => "IdentityUnenforced",
            Self::Recorded => "Recorded",
            Self::AlreadyQuarantined => "AlreadyQuarantined",
            Self::Cordoned => "Cordoned",
            Self::Quarantined => "Quarantined",
        }
    }

    /// Whether nothing can change this decision for the same events. Every other one is taken again when a policy, a budget, a mapping or a quarantine changes.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::AlreadyQuarantined | Self::Cordoned | Self::Quarantined)
    }
}

/// The operator's judgement. Written only when it changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostAlertStatus {
    /// The OpenStackCloud that the node belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub cloud: Option<String>,
    /// Nova's name of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub host: Option<String>,
    /// The series that the decision is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub observed_series: Option<String>,
    /// The seq that the decision is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_seq: Option<i64>,
    /// When the operator first saw this series, on its own clock. It begins anew after a quarantine of the host, and where no policy's evidence and threshold held before and the series is older than 10 min:
    /// earlier events are no part of the next incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_received: Option<MicroTime>,
    /// When the operator saw the events that the decision is about, on its own clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_received: Option<MicroTime>,
    /// The decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The policy that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub policy: Option<String>,
    /// The HostQuarantine that was made or joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub quarantine: Option<String>,
    /// The UID of the HostQuarantine that was joined: another one of its name is another incident.
    #[serde(rename = "quarantineUID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub quarantine_uid: Option<String>,
    /// What the policy that decided suspects (`response.scope`). An alert that joins a HostQuarantine raises its effective scope to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// How far the policy that decided goes (`response.action`). An alert that joins a HostQuarantine of action Cordon with Drain makes it a drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ResponseAction>,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// What policies in mode Observe would have done; at most 4.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub observed: Vec<ObservedDecision>,
}

/// What a policy in mode Observe would have done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObservedDecision {
    /// The policy.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// Its decision.
    pub decision: Decision,
}
