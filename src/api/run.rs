//! MigrationRun: the move of one server off its host.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::units::{Bound, Period, Witness};

/// The move of one server off its host. Made by the operator for each server of a quarantined host; its name is the server's UUID and the first 8 hex digits of the quarantine's UID.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sidestep.dev",
    version = "v1alpha1",
    kind = "MigrationRun",
    plural = "migrationruns",
    shortname = "mrun",
    category = "sidestep",
    status = "MigrationRunStatus",
    derive = "PartialEq",
    doc = "The live migration of one server off a quarantined host: its attempts, its progress, and what was measured.",
    selectable = ".spec.cloud",
    selectable = ".spec.quarantine",
    selectable = ".spec.sourceHost",
    selectable = ".spec.server",
    printcolumn(name = "From", type_ = "string", json_path = ".spec.sourceHost"),
    printcolumn(name = "To", type_ = "string", json_path = ".status.destinationHost"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "%", type_ = "integer", json_path = ".status.progress.percent"),
    printcolumn(name = "Millis", type_ = "integer", json_path = ".status.measured.durationMillis"),
    printcolumn(name = "Quarantine", type_ = "string", json_path = ".spec.quarantine", priority = 1),
    printcolumn(name = "Queued-Millis", type_ = "integer", json_path = ".status.measured.queuedMillis", priority = 1),
    printcolumn(name = "Memory-Bytes", type_ = "integer", json_path = ".status.measured.transferredBytes.memory", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Succeeded")].message"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("the spec of a MigrationRun is immutable")
)]
pub struct MigrationRunSpec {
    /// The OpenStackCloud.
    #[schemars(length(min = 1, max = 253))]
    pub cloud: String,
    /// The server's UUID.
    #[schemars(length(equal = 36), pattern(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"))]
    pub server: String,
    /// The host that it leaves.
    #[schemars(length(min = 1, max = 255))]
    pub source_host: String,
    /// The HostQuarantine that it belongs to. A run without a living quarantine of this name and the owner's UID is Superseded and does nothing.
    #[schemars(length(min = 1, max = 253))]
    pub quarantine: String,
    /// How often it is tried.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// The longest that one attempt may take, not counting the time in which Nova says `queued`. Then it is followed to its end and reported, and not asked for again.
    #[serde(default = "half_an_hour")]
    pub deadline: Period,
}

fn three() -> u32 {
    3
}
fn half_an_hour() -> Period {
    Period::from_secs(1800)
}

/// A summary for people; no program reads it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunPhase {
    /// Made, nothing asked yet.
    Planned,
    /// Waits: for a slot, or before the next attempt.
    Waiting,
    /// Asked for; Nova has not begun to copy.
    Queued,
    /// Nova copies.
    Running,
    /// The server has left, by three witnesses.
    Succeeded,
    /// All attempts were used up, or an attempt ended in a way that must not be repeated.
    Failed,
    /// There is nothing to do any more: the server is gone, elsewhere, was moved by somebody else, or the quarantine ended.
    Superseded,
}

impl RunPhase {
    /// The word in status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "Planned",
            Self::Waiting => "Waiting",
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Superseded => "Superseded",
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// The server left, by three witnesses.
    Completed,
    /// Nova refused the request itself; nothing was begun.
    Refused,
    /// The request never took effect: after 60 s and two fresh reads there was no row, no action and no task.
    NotReceived,
    /// Nova's row ended in `error`: refused by a check or the scheduler, or an exception.
    Error,
    /// Nova's row ended in `failed`: the hypervisor gave up and rolled back.
    Failed,
    /// Nova's row ended in `cancelled`: somebody aborted it.
    Cancelled,
    /// The row says completed, and the server is still on the source.
    RecordBehindGuest,
    /// The server was deleted meanwhile.
    Gone,
}

impl Outcome {
    /// The word in status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Refused => "Refused",
            Self::NotReceived => "NotReceived",
            Self::Error => "Error",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::RecordBehindGuest => "RecordBehindGuest",
            Self::Gone => "Gone",
        }
    }
}

/// Why a run ended without success, as the reason of its Succeeded condition. The quarantine reads it back to name the resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// All attempts were used up.
    AttemptsExhausted,
    /// An attempt left the server in ERROR.
    ErrorAfterAttempt,
    /// Nova's record says completed, and Nova still shows the server on the source.
    RecordBehindGuest,
    /// Nova's record says that the move failed, and Nova shows the server elsewhere.
    LeftInError,
}

impl FailureReason {
    /// The reason of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::AttemptsExhausted, Self::ErrorAfterAttempt, Self::RecordBehindGuest, Self::LeftInError].into_iter().find(|reason| reason.as_str() == word)
    }

    /// The word in the condition.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "AttemptsExhausted",
            Self::ErrorAfterAttempt => "ErrorAfterAttempt",
            Self::RecordBehindGuest => "RecordBehindGuest",
            Self::LeftInError => "LeftInError",
        }
    }
}

/// The reason of a False Succeeded condition of a run that has nothing to do any more.
pub const SUPERSEDED: &str = "Superseded";

/// What became of the move.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationRunStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// A summary of the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<RunPhase>,
    /// Each request to Nova. An attempt is written here before its request goes out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub attempts: Vec<Attempt>,
    /// Where the server is now. Nova's scheduler chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub destination_host: Option<String>,
    /// How far the copy is, as Nova last sampled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<CopyProgress>,
    /// What was measured. Sealed when Nova's record is final. A figure that nobody measured is absent: downtime is, because Nova does not measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// Succeeded, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One request to Nova and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// 1 for the first.
    #[schemars(range(min = 1, max = 10))]
    pub number: u32,
    /// When it was written here, before the request went out; the operator's clock.
    pub intent_at: MicroTime,
    /// The highest migration id that Nova showed for this server before the request; a later row is this attempt's. Absent when there was none.
    #[serde(default, rename = "highestMigrationIDBefore", skip_serializing_if = "Option::is_none")]
    pub highest_migration_id_before: Option<i64>,
    /// Nova's id of the request. Absent when its answer was lost.
    #[serde(default, rename = "requestID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub request_id: Option<String>,
    /// The id of Nova's migration record.
    #[serde(default, rename = "migrationID", skip_serializing_if = "Option::is_none")]
    pub migration_id: Option<i64>,
    /// Its UUID.
    #[serde(default, rename = "migrationUUID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub migration_uuid: Option<String>,
    /// Where Nova's scheduler sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub destination: Option<String>,
    /// When Nova accepted the request; the operator's clock. Absent when its answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// When the operator first saw that Nova had left the queue for this attempt; the operator's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copying_at: Option<MicroTime>,
    /// When the operator saw its end; the operator's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<MicroTime>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Nova's own words for a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,
}

/// How far the copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopyProgress {
    /// Share of the memory that is copied in this pass, 0 to 100; goes back when the guest writes faster than it is copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Memory of the guest, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_total_bytes: Option<i64>,
    /// Memory left to copy, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_remaining_bytes: Option<i64>,
}

/// What was measured of the successful attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// From Nova accepting the request until the source held nothing of the server, milliseconds. Includes `queuedMillis`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_millis: Option<i64>,
    /// How long the request waited in Nova before it was worked on, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_millis: Option<i64>,
    /// Bytes that left the source for this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferred_bytes: Option<TransferredBytes>,
    /// Who saw each figure.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 8))]
    pub witnesses: BTreeMap<String, Witness>,
    /// Figures that are only a bound, and on which side of the true value they lie.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 8))]
    pub bounds: BTreeMap<String, Bound>,
}

/// Bytes of one move, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransferredBytes {
    /// Memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<i64>,
    /// Disk, where it was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<i64>,
}
