//! QuarantinePolicy: which alerts lead to a quarantine, under which evidence, how many within which time, and how often.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::quarantine::{Destinations, MigrationSettings};
use super::units::{Mode, Period, ResponseAction, Scope, Severity};

/// Which alerts lead to a quarantine. No policy means: alerts are recorded and nothing else happens.
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
    selectable = ".spec.cloud",
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
    /// Of several policies that act and whose evidence and threshold hold, the one with the highest priority decides; of equal ones the first by name.
    #[serde(default = "hundred")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub priority: i32,
    /// Observe (the default): make nothing, and write what would have been done into the alert's `status.observed` and an Event. It never keeps another policy from deciding, whatever its priority.
    /// Approve: take the host out of service and show the plan; nothing moves before a person approves it. Enforce: take the host out of service and drain it.
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
    /// Rules that this policy leaves alone for a while, each with the reason. Other policies are not concerned.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub suppress: Vec<Suppression>,
    /// What is done about it.
    #[serde(default)]
    pub response: Response,
    /// How long this policy leaves a host alone after it acted on it, so that one lasting attack is one incident.
    #[serde(default)]
    pub cooldown: Cooldown,
    /// How much this policy may do at once and within an hour, beside the budget of the cloud. Over a limit alerts are recorded (OverBudget) and decided again when there is room.
    #[serde(default)]
    pub limits: Limits,
    /// What is done when there is no room, neither in `limits` nor in the budget of the cloud. Record (the default): nothing; the alert is decided again when there is room. Cordon: take the host out of
    /// service and leave its servers there, within `budget.cordonsPerHour` and `percentOutOfService` of the cloud. When too many hosts alert at once (`alertingSharePercent`) nothing is done in either case.
    #[serde(default)]
    pub on_limit: OnLimit,
}

fn hundred() -> i32 {
    100
}

/// Which alerts a policy is about. Every part that is given must hold; of a list, one entry.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.sourceCIDRs.all(range, isCIDR(range))").message("sourceCIDRs holds something that is no address range such as 10.0.0.0/8 or fd00::/8"),
    validation = Rule::new("self.destinationCIDRs.all(range, isCIDR(range))").message("destinationCIDRs holds something that is no address range such as 10.0.0.0/8 or fd00::/8")
)]
pub struct Match {
    /// Sensors, e.g. `suricata`. Empty: all, except `sidestep`, the operator's own alerts about silent sensors: a policy is about those only when it names them, here or in `rules`.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(min = 1, max = 32)))]
    pub engines: Vec<String>,
    /// Rules, each with its engine in front: `suricata:1:2024897` (gid and sid), a range of sids `snort:1:1000-1999`, or a rule's name `falco:Detect *`, where `*` stands for any text. Empty: all.
    #[serde(default)]
    #[schemars(length(max = 256), inner(length(min = 1, max = 128), pattern(r"^[a-z0-9]+:([0-9]+:[0-9]+(-[0-9]+)?|[^0-9].*)$")))]
    pub rules: Vec<String>,
    /// Classes of rules, as the sensor writes them, without regard to case. Empty: all, and alerts without a class too.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub classifications: Vec<String>,
    /// The least severity. An alert of Unknown severity never satisfies it.
    #[serde(default = "high")]
    pub min_severity: MinSeverity,
    /// What the sensor did with the packet. Empty: whatever it did.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub actions: Vec<SensorAction>,
    /// Words that the rule's author gave it, of which the alert must have one, e.g. `attack_target:Server` or a MITRE id. Empty: whatever tags it has.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub tags: Vec<String>,
    /// Ranges that the source of the packet must lie in, e.g. `10.0.0.0/8`. An alert without an address lies in none. Empty: anywhere.
    #[serde(default, rename = "sourceCIDRs")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 49)))]
    pub source_cidrs: Vec<String>,
    /// Ranges that every destination of the series must lie in. A series with more destinations than an alert can list (4) lies in none. Empty: anywhere.
    #[serde(default, rename = "destinationCIDRs")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 49)))]
    pub destination_cidrs: Vec<String>,
    /// Hosts, by the labels that `spec.hosts` of the OpenStackCloud gives them; a Node's own labels do not count. A host that is not listed there has none. Empty: all.
    #[serde(default)]
    pub host_selector: HostSelector,
}

impl Default for Match {
    fn default() -> Self {
        Self {
            engines: Vec::new(),
            rules: Vec::new(),
            classifications: Vec::new(),
            min_severity: high(),
            actions: Vec::new(),
            tags: Vec::new(),
            source_cidrs: Vec::new(),
            destination_cidrs: Vec::new(),
            host_selector: HostSelector::default(),
        }
    }
}

/// What a sensor did with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SensorAction {
    /// It let the packet pass.
    Allow,
    /// It dropped the packet (inline mode).
    Drop,
    /// It would have dropped the packet, were it inline.
    WouldDrop,
}

impl SensorAction {
    /// The word in an alert.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Drop => "drop",
            Self::WouldDrop => "would_drop",
        }
    }
}

/// Selects hosts by their labels, as Kubernetes selects objects: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostSelector {
    /// Labels that the host must have, with these values.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 32), inner(length(max = 63)))]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements beyond equality.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<HostRequirement>,
}

/// One requirement on a label.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.operator in ['In', 'NotIn'] ? self.values.size() > 0 : self.values.size() == 0").message("values belong to the operators In and NotIn, and to these alone")
)]
pub struct HostRequirement {
    /// The label's name.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// What is required of it.
    pub operator: SelectorOperator,
    /// The values of In and NotIn.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// What is required of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    /// It has one of the values.
    In,
    /// It has none of the values, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
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
    /// Established: only TCP whose application protocol the sensor recognised, so that a handshake was seen and the far end's address cannot be forged. Any: everything, and then
    /// `threshold.count` must be 2 or more. Sensors that cannot show a handshake (Snort, Suricata's fast.log) report Unknown, which does not satisfy Established: policies for them say Any
    /// with a count.
    #[serde(default = "established")]
    pub flow: FlowEvidence,
    /// An alert older than this never triggers, such as one from a backlog; at most 10m. A decision that can change (no room in the budget, a cooldown) is taken again for as long.
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

/// How many alerts of one kind within which time.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.window) <= duration('60s') && duration(self.window) >= duration('1s')").message("window must be between 1s and 60s"),
    validation = Rule::new("!has(self.distinct) || !(self.distinct.field in self.groupBy)").message("distinct.field is in groupBy: alerts of one group all have the same"),
    validation = Rule::new("!has(self.distinct) || self.distinct.field != 'Node' || !('Host' in self.groupBy)").message("distinct.field Node needs groupBy without Host: a host has one node")
)]
pub struct Threshold {
    /// So many alerts of the group.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: u32,
    /// Within this time before the last of them; at most 60s.
    #[serde(default = "one_minute")]
    pub window: Period,
    /// Which alerts are counted together: those that have the same of all that is named here, and that this policy is about. Host, Rule and Subject (the default) is one rule set off by one far end on
    /// one host; Host alone counts everything on a host; Subject alone follows one far end over all hosts. The decision is always about the host of the alert itself.
    #[serde(default = "one_series")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub group_by: Vec<GroupField>,
    /// Counts different values of one more field, beside the alerts: with groupBy Host, `{field: Rule, min: 3}` asks for three different rules on one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<Distinct>,
}

impl Default for Threshold {
    fn default() -> Self {
        Self { count: three(), window: one_minute(), group_by: one_series(), distinct: None }
    }
}

/// What alerts are counted together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GroupField {
    /// The host.
    Host,
    /// The rule, with its engine.
    Rule,
    /// The far end.
    Subject,
}

fn one_series() -> Vec<GroupField> {
    vec![GroupField::Host, GroupField::Rule, GroupField::Subject]
}

/// How many different values are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Distinct {
    /// Of what.
    pub field: DistinctField,
    /// So many.
    #[schemars(range(min = 2, max = 10_000))]
    pub min: u32,
}

/// What can be counted by its different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DistinctField {
    /// Rules, with their engines.
    Rule,
    /// Far ends. A series that holds several without naming them counts by its estimate of how many there were.
    Subject,
    /// Nodes.
    Node,
}

/// What is done about an alert: the HostQuarantine that is made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// What an alert of this kind lets suspect: it decides where servers may go, and whether a person must agree; see `kubectl explain hq.spec.scope`. Unknown (the default): into the quarantine pool only, and
    /// after approval where there is no pool. HostThreatened is what a policy says that wants an unattended drain to ordinary hosts: an attack without a sign of success. An alert on a host that has an
    /// active HostQuarantine raises its `status.effectiveScope` to this.
    #[serde(default)]
    pub scope: Scope,
    /// Drain (the default): take the host out of service and move its servers off it. Cordon: take it out of service only.
    #[serde(default)]
    pub action: ResponseAction,
    /// What else the HostQuarantine says.
    #[serde(default)]
    pub template: Template,
}

/// Parts of a HostQuarantine's spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// How each server is moved.
    #[serde(default)]
    pub migration: MigrationSettings,
    /// Where servers may go, beside what the OpenStackCloud says.
    #[serde(default)]
    pub destinations: Destinations,
}

/// What is done when there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnLimit {
    /// Nothing: the alert is recorded.
    #[default]
    Record,
    /// The host is taken out of service.
    Cordon,
}

/// Rules that are left alone for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suppression {
    /// Which, in the form of `match.rules`.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128), pattern(r"^[a-z0-9]+:([0-9]+:[0-9]+(-[0-9]+)?|[^0-9].*)$")))]
    pub rules: Vec<String>,
    /// Until when. Alerts that are still young enough then are decided anew.
    pub until: Time,
    /// Why, for people.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

/// How long a policy leaves a host alone. It begins with a decision Quarantined or Cordoned and is this policy's own. It ends when the host is given back with verdict Remediated, so that a second
/// attack counts. What falls into it is recorded (Cooldown), with an Event.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.perHost) <= duration('24h') && duration(self.perRule) <= duration('24h')").message("a cooldown lasts at most 24h")
)]
pub struct Cooldown {
    /// For every rule on the host; at most 24h, `0s` for none.
    #[serde(default = "half_an_hour")]
    pub per_host: Period,
    /// For the rule that triggered, on the host; at most 24h. It matters where it is longer than `perHost`.
    #[serde(default = "ten_minutes")]
    pub per_rule: Period,
}

impl Default for Cooldown {
    fn default() -> Self {
        Self { per_host: half_an_hour(), per_rule: ten_minutes() }
    }
}

fn half_an_hour() -> Period {
    Period::from_secs(1800)
}

/// How much a policy may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// So many of its HostQuarantines may be under way at once: not yet Empty, Cordoned, Blocked or Released.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent_quarantines: u32,
    /// So many may be made within any hour.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_quarantines_per_hour: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_concurrent_quarantines: one(), max_quarantines_per_hour: four() }
    }
}

fn one() -> u32 {
    1
}
fn four() -> u32 {
    4
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
