//! HostQuarantine: the desired state of one suspect host, and what happened to it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Bound, ClockName, Mode, Period};

/// Takes one Nova host out of service and moves every server off it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sidestep.dev",
    version = "v1alpha1",
    kind = "HostQuarantine",
    plural = "hostquarantines",
    shortname = "hq",
    category = "sidestep",
    status = "HostQuarantineStatus",
    derive = "PartialEq",
    doc = "Takes one Nova compute host out of service and live-migrates every server off it. Made by a policy's decision, or by hand. Deleting it does not put the host back into service: release does.",
    selectable = ".spec.cloud",
    selectable = ".spec.host",
    printcolumn(name = "Cloud", type_ = "string", json_path = ".spec.cloud", priority = 1),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Servers", type_ = "integer", json_path = ".status.progress.total"),
    printcolumn(name = "Migrated", type_ = "integer", json_path = ".status.progress.migrated"),
    printcolumn(name = "Remaining", type_ = "integer", json_path = ".status.progress.remaining"),
    printcolumn(name = "Residents", type_ = "integer", json_path = ".status.residentCount"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.cloud == oldSelf.cloud").message("cloud is immutable: make a new HostQuarantine"),
    validation = Rule::new("self.host == oldSelf.host").message("host is immutable: make a new HostQuarantine"),
    validation = Rule::new("oldSelf.mode == 'Observe' || self.mode != 'Observe'").message("mode cannot go back to Observe: what was done stays done; release the host instead"),
    validation = Rule::new("has(self.trigger) == has(oldSelf.trigger) && (!has(self.trigger) || self.trigger == oldSelf.trigger)").message("trigger is immutable")
)]
pub struct HostQuarantineSpec {
    /// The OpenStackCloud.
    #[schemars(length(min = 1, max = 253))]
    pub cloud: String,
    /// Nova's name of the host, exactly (`OS-EXT-SRV-ATTR:host`).
    #[schemars(length(min = 1, max = 255))]
    pub host: String,
    /// The decision that made this object. Absent when a person made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// Why, for people; it also goes into Nova's disabled reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub reason: String,
    /// Observe (the default): show what would move and write nothing to the cloud. Enforce: disable the host and drain it. Observe can become Enforce, never the other way.
    #[serde(default)]
    pub mode: Mode,
    /// After this time from the verified cordon no new move starts; what is left is reported. Time in which the cloud cannot be reached or refuses the credential does not count.
    #[serde(default = "half_an_hour")]
    pub deadline: Period,
    /// How each server is moved.
    #[serde(default)]
    pub migration: MigrationSettings,
    /// Gives the host back.
    #[serde(default)]
    pub release: Release,
}

fn half_an_hour() -> Period {
    Period::from_secs(1800)
}

/// Which decision made the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// The QuarantinePolicy that decided.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// Its generation at that time.
    pub policy_generation: i64,
    /// The HostAlerts that it decided on.
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub alerts: Vec<String>,
    /// The rules of those alerts, with their engines, such as `suricata:1:2024897`: what a cooldown, and a verdict FalsePositive, are about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 192)))]
    pub rules: Vec<String>,
    /// A cordon over the budget, by a policy with `onLimit: Cordon`: it counts in `budget.cordonsPerHour` of the cloud instead of `hostsOutOfService`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_budget: bool,
}

/// How each server is moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationSettings {
    /// How often one server is tried before it is reported as a resident. The second try waits 15 s, every later one 60 s.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: u32,
}

impl Default for MigrationSettings {
    fn default() -> Self {
        Self { max_attempts: three() }
    }
}

fn three() -> u32 {
    3
}

/// Gives the host back: running copies end, nothing new starts, and a host that Sidestep disabled is enabled again. Nothing moves back.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!oldSelf.requested || self.requested").message("release cannot be taken back: make a new HostQuarantine")
)]
pub struct Release {
    /// Set to true to give the host back. One-way.
    #[serde(default)]
    pub requested: bool,
}

/// A summary for people; no program reads it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not decided yet: the cloud is not ready, or the gates were not asked.
    Pending,
    /// The host is being disabled.
    Cordoning,
    /// Its servers are being listed.
    Planning,
    /// Servers are leaving.
    Draining,
    /// Mode Observe: what would be done is shown.
    Observed,
    /// Nothing is left on the host.
    Empty,
    /// Something is left that will not move by itself.
    Blocked,
    /// A gate said no.
    Refused,
    /// The host is being given back.
    Releasing,
    /// The host was given back.
    Released,
}

impl Phase {
    /// The word in status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Cordoning => "Cordoning",
            Self::Planning => "Planning",
            Self::Draining => "Draining",
            Self::Observed => "Observed",
            Self::Empty => "Empty",
            Self::Blocked => "Blocked",
            Self::Refused => "Refused",
            Self::Releasing => "Releasing",
            Self::Released => "Released",
        }
    }
}

/// What happened to the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostQuarantineStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// A summary of the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The host's service in Nova as it was before Sidestep wrote to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostBefore>,
    /// How far the drain is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// What was measured. Absent until something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<DrainMeasured>,
    /// What happened when, and by whose clock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub timeline: Vec<TimelineEntry>,
    /// What is still on the host and will not move by itself, with the reason; the first 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub residents: Vec<Resident>,
    /// How many residents there are in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_count: Option<u32>,
    /// Accepted, Cordoned, Contested, Drained, Blocked, Released, Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The host's service row before Sidestep's first write; what release restores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostBefore {
    /// The UUID of the service row in Nova.
    #[serde(rename = "serviceID")]
    #[schemars(length(max = 64))]
    pub service_id: String,
    /// Whether the host was out of service already, by somebody else.
    pub disabled_before: bool,
    /// The disabled reason that stood there. Absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub disabled_reason_before: Option<String>,
}

/// How far the drain is, in servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Servers that were seen on the host since the drain began.
    pub total: u32,
    /// On the host, their move not asked for yet.
    pub waiting: u32,
    /// Asked for and not ended.
    pub running: u32,
    /// Left the host, shown by three witnesses.
    pub migrated: u32,
    /// Given up after all attempts.
    pub failed: u32,
    /// Still on the host by the last list.
    pub remaining: u32,
    /// Share of `total` that is not on the host any more, 0 to 100.
    pub percent: u32,
}

/// Figures of the whole drain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainMeasured {
    /// From the first request to disable the host until it was found empty, by the operator's clock. Absent until it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_millis: Option<i64>,
    /// Bytes that left the host, memory and disk together, of the moves for which Nova gave a figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferred_bytes: Option<i64>,
    /// On which side of the true value `transferredBytes` lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferred_bytes_bound: Option<Bound>,
}

/// The steps of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TimelineEvent {
    /// The stamp that the sensor wrote into the alert.
    AlertWritten,
    /// The sentinel read the line.
    AlertRead,
    /// The operator received the HostAlert.
    AlertReceived,
    /// The policy decided.
    Decided,
    /// The request to disable the service went out.
    CordonRequested,
    /// A read showed the service disabled.
    CordonVerified,
    /// The servers were listed and their moves made.
    Planned,
    /// The first live migration was asked for.
    FirstMigrationRequested,
    /// Nothing was left on the host.
    Empty,
    /// The host was given back.
    Released,
}

/// One step and its moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// Which step.
    pub event: TimelineEvent,
    /// When, to the microsecond.
    pub time: MicroTime,
    /// By whose clock. Moments of different clocks are not to be subtracted without knowing their offset.
    pub clock: ClockName,
}

/// Why a server, or an allocation, is still on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ResidentReason {
    /// Its state is one that Sidestep does not move (shut off, suspended, in rescue, …).
    StateNotMovable,
    /// It is in ERROR, and not by an attempt of Sidestep's.
    ServerInError,
    /// An attempt of Sidestep left it in ERROR; it is not tried again.
    ErrorAfterAttempt,
    /// All attempts were used up.
    AttemptsExhausted,
    /// The move did not end within its deadline; it is followed and not asked for again.
    MoveDeadlineExceeded,
    /// The drain's deadline passed before it was tried.
    DrainDeadlineExceeded,
    /// It has had three runs off this host and is here again.
    KeepsReturning,
    /// Nova's record says that the move completed, and Nova still shows the server on this host.
    RecordBehindGuest,
    /// A person deleted its MigrationRun; what a person deletes stays deleted.
    RunDeleted,
    /// Nova is busy with it, or had not begun with its move, when the drain's deadline passed.
    Busy,
    /// Placement holds an allocation on this host for something that is no server listed here.
    AllocationLeft,
}

impl ResidentReason {
    /// The word in status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StateNotMovable => "StateNotMovable",
            Self::ServerInError => "ServerInError",
            Self::ErrorAfterAttempt => "ErrorAfterAttempt",
            Self::AttemptsExhausted => "AttemptsExhausted",
            Self::MoveDeadlineExceeded => "MoveDeadlineExceeded",
            Self::DrainDeadlineExceeded => "DrainDeadlineExceeded",
            Self::KeepsReturning => "KeepsReturning",
            Self::RecordBehindGuest => "RecordBehindGuest",
            Self::RunDeleted => "RunDeleted",
            Self::Busy => "Busy",
            Self::AllocationLeft => "AllocationLeft",
        }
    }
}

/// Something that is still on the host and will not move by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resident {
    /// The server's UUID, or the consumer's for an allocation.
    #[schemars(length(max = 36))]
    pub server: String,
    /// The server's name, where it is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 255))]
    pub name: String,
    /// Why it stays.
    pub reason: ResidentReason,
    /// The same in a sentence, with Nova's own words where Nova gave any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub message: String,
}
