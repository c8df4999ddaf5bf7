//! MigrationRun: the move of one server off its host.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::units::{Bound, Period, Witness, optional_period};

/// The move of one server off its host. Made by the operator for each server of a quarantined host; its name is then the server's UUID and the first 8 hex digits of the quarantine's UID. Made by a person
/// it moves that one server, with no quarantine.
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
    doc = "The move of one server off its host: its attempts, its progress, and what was measured. The operator makes one for each server of a quarantined host; one made by hand moves that server alone.",
    selectable = ".spec.cloud",
    selectable = ".spec.quarantine",
    selectable = ".spec.sourceHost",
    selectable = ".spec.server",
    selectable = ".status.phase",
    printcolumn(name = "Server", type_ = "string", json_path = ".status.serverShort"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.sourceHost"),
    printcolumn(name = "To", type_ = "string", json_path = ".status.destinationHost"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "%", type_ = "integer", json_path = ".status.progress.percent"),
    printcolumn(name = "Down-Ms", type_ = "integer", json_path = ".status.measured.downtimeMillis"),
    printcolumn(name = "Secs", type_ = "integer", json_path = ".status.measured.durationSeconds"),
    printcolumn(name = "Quarantine", type_ = "string", json_path = ".spec.quarantine", priority = 1),
    printcolumn(name = "Attempts", type_ = "string", json_path = ".status.attempts[*].outcome", priority = 1),
    printcolumn(name = "Duration-Millis", type_ = "integer", json_path = ".status.measured.durationMillis", priority = 1),
    printcolumn(name = "Queued-Millis", type_ = "integer", json_path = ".status.measured.queuedMillis", priority = 1),
    printcolumn(name = "Memory-Bytes", type_ = "integer", json_path = ".status.measured.transferredBytes.memory", priority = 1),
    printcolumn(name = "Witness", type_ = "string", json_path = ".status.measured.witnesses.durationMillis", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Succeeded")].message"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.cloud == oldSelf.cloud").message("cloud is immutable: make a new MigrationRun"),
    validation = Rule::new("self.server == oldSelf.server").message("server is immutable: make a new MigrationRun"),
    validation = Rule::new("self.sourceHost == oldSelf.sourceHost").message("sourceHost is immutable: make a new MigrationRun"),
    validation = Rule::new("self.quarantine == oldSelf.quarantine").message("quarantine is immutable: make a new MigrationRun"),
    validation = Rule::new("!oldSelf.abort || self.abort").message("abort cannot be taken back: make a new MigrationRun"),
    validation = Rule::new("self.destination.host != self.sourceHost").message("destination.host must be another host than sourceHost")
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
    /// The HostQuarantine that it belongs to; empty when a person made the run. A run that names one and is not owned by it (name and UID) is Superseded and does nothing.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub quarantine: String,
    /// Its place in the plan: of the runs that leave the same host and may start, the one with the lowest number starts first.
    #[serde(default)]
    #[schemars(range(max = 1_000_000))]
    pub order: u32,
    /// Where it goes.
    #[serde(default)]
    pub destination: Destination,
    /// How it moves while it runs.
    #[serde(default)]
    pub method: Method,
    /// The digest of the plan that it belongs to; empty when there is none.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub plan: String,
    /// Starts nothing new and withdraws what Nova still shows as queued; a copy that runs goes on.
    #[serde(default)]
    pub suspend: bool,
    /// Ends the move for good: what is queued is withdrawn, a copy that runs is aborted. On Nova 33 and 34 an aborted copy leaves the server in ERROR on the source although its guest runs on, until an
    /// administrator resets its state. One-way.
    #[serde(default)]
    pub abort: bool,
    /// How often it is tried. Attempt 2 waits 15 s, later ones 60 s. A destination that Nova refuses before it copied anything uses up none.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// How long one copy may take before it is aborted in favour of servers that wait for it. Empty: 60 s and four times what the server's memory needs at the rate that this drain has seen (100 MiB/s before
    /// it has seen any), at most a quarter of the drain's deadline.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_period::deserialize")]
    #[schemars(schema_with = "optional_period::schema")]
    pub completion_timeout: Option<Period>,
    /// The longest that one attempt may take, not counting the time in which Nova says `queued`. Then it is followed to its end and reported, and not asked for again.
    #[serde(default = "half_an_hour")]
    pub deadline: Period,
}

/// How a server that runs is moved. One that is shut off is migrated cold, whatever stands here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Method {
    /// Sidestep decides: it asks Nova for a live migration, whose copy begins as pre-copy.
    #[default]
    Auto,
    /// An ordinary live migration, and nothing is done to make one end that does not converge but what Nova does by its own configuration.
    PreCopy,
}

/// Where a server goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// Nova's name of the host. The plan writes it; when that host cannot take the server any more, another is chosen. Empty: chosen when the move begins, the host with most free memory that the rules of the
    /// OpenStackCloud and of the quarantine allow.
    #[serde(default)]
    #[schemars(length(max = 255))]
    pub host: String,
}

impl Default for MigrationRunSpec {
    /// Nothing named; the values that the schema gives to what is left out.
    fn default() -> Self {
        Self {
            cloud: String::new(),
            server: String::new(),
            source_host: String::new(),
            quarantine: String::new(),
            order: 0,
            destination: Destination::default(),
            method: Method::default(),
            plan: String::new(),
            suspend: false,
            abort: false,
            max_attempts: three(),
            completion_timeout: None,
            deadline: half_an_hour(),
        }
    }
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
    /// A person aborted it, and the server is still on the source.
    Aborted,
    /// There is nothing to do any more: the server is gone, elsewhere, was moved by somebody else, or the quarantine ended.
    Superseded,
    /// Made by hand, and it must not be begun: its destination is quarantined or alerted, or another unfinished run has the server.
    Refused,
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
            Self::Aborted => "Aborted",
            Self::Superseded => "Superseded",
            Self::Refused => "Refused",
        }
    }
}

/// How a server is moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MoveKind {
    /// While it runs, or is paused.
    #[default]
    Live,
    /// Shut off; confirmed by Sidestep once it was seen on its destination.
    Cold,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// The server left, by three witnesses.
    Completed,
    /// Nova refused the request itself; nothing was begun.
    Refused,
    /// A check or the scheduler refused the destination before anything was copied. Another one is asked, and no attempt is used up.
    DestinationRefused,
    /// Nova failed before anything was copied, as it did for other servers: something that it depends on is down. No attempt is used up, five times at most for one server.
    DependencyDown,
    /// Sidestep took it back while Nova still had it queued. No attempt is used up.
    Withdrawn,
    /// The request never took effect: after 60 s and two fresh reads there was no row, no action and no task.
    NotReceived,
    /// Nova's row ended in `error`: refused by a check or the scheduler, or an exception.
    Error,
    /// Nova's row ended in `failed`: the hypervisor gave up and rolled back.
    Failed,
    /// Nova's row ended in `cancelled`: somebody else aborted it.
    Cancelled,
    /// A person aborted it through Sidestep.
    Aborted,
    /// Sidestep aborted it: it had not ended after its completionTimeout, and other servers waited.
    TimedOut,
    /// The row says completed, and the server is still on the source.
    RecordBehindGuest,
    /// The server was deleted meanwhile.
    Gone,
    /// Somebody else moved or evacuated the server meanwhile: its record says nothing about where it is now.
    Overtaken,
}

impl Outcome {
    /// The word in status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Refused => "Refused",
            Self::DestinationRefused => "DestinationRefused",
            Self::DependencyDown => "DependencyDown",
            Self::Withdrawn => "Withdrawn",
            Self::NotReceived => "NotReceived",
            Self::Error => "Error",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Aborted => "Aborted",
            Self::TimedOut => "TimedOut",
            Self::RecordBehindGuest => "RecordBehindGuest",
            Self::Gone => "Gone",
            Self::Overtaken => "Overtaken",
        }
    }

    /// Whether an attempt that ended so counts as one of `maxAttempts`.
    #[must_use]
    pub fn uses_up_an_attempt(self) -> bool {
        !matches!(self, Self::DestinationRefused | Self::DependencyDown | Self::Withdrawn)
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
    /// Sidestep's abort left the server in ERROR.
    ErrorAfterAbort,
}

impl FailureReason {
    /// The reason of this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::AttemptsExhausted, Self::ErrorAfterAttempt, Self::RecordBehindGuest, Self::LeftInError, Self::ErrorAfterAbort]
            .into_iter()
            .find(|reason| reason.as_str() == word)
    }

    /// The word in the condition.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "AttemptsExhausted",
            Self::ErrorAfterAttempt => "ErrorAfterAttempt",
            Self::RecordBehindGuest => "RecordBehindGuest",
            Self::LeftInError => "LeftInError",
            Self::ErrorAfterAbort => "ErrorAfterAbort",
        }
    }
}

/// The reason of a False Succeeded condition of a run that has nothing to do any more.
pub const SUPERSEDED: &str = "Superseded";
/// The reason of a False Succeeded condition of a run that a person aborted.
pub const ABORTED: &str = "Aborted";
/// The most requests that one run makes: ten attempts, five refused destinations, and some that were withdrawn or met a dependency that was down. Older ones that used up no attempt are forgotten first.
pub const ATTEMPTS_KEPT: usize = 20;

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
    /// The first 8 digits of the server's UUID, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 8))]
    pub server_short: String,
    /// Each request to Nova. An attempt is written here before its request goes out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub attempts: Vec<Attempt>,
    /// Where the server goes, and once it has left, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub destination_host: Option<String>,
    /// No request goes out before this moment: the pause before the next attempt, or the next probe while something that Nova depends on seems to be down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<MicroTime>,
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
    /// 1 for the first. One that used up no attempt (see `outcome`) and the next have the same number.
    #[schemars(range(min = 1, max = 10))]
    pub number: u32,
    /// How the server is moved.
    #[serde(default)]
    pub kind: MoveKind,
    /// Nova's status of the server then. Where it is another one later, a server whose attempts were used up is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub server_status: Option<String>,
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
    /// The host that Nova was asked to move it to; where none was named, the one that Nova's scheduler chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub destination: Option<String>,
    /// When Nova accepted the request; the operator's clock. Absent when its answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// When the operator first saw that Nova had left the queue for this attempt; the operator's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copying_at: Option<MicroTime>,
    /// When its end was asked for: an abort or a withdrawal stands here before it goes out; the operator's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_at: Option<MicroTime>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_reason: Option<AbortReason>,
    /// When a cold migration was confirmed: it stands here before the request goes out; the operator's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_at: Option<MicroTime>,
    /// How often its end was asked for, by an abort or a confirmation. Each pause is twice as long as the one before, and there are at most ten.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    #[schemars(range(max = 10))]
    pub end_requests: u32,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_none_yet(number: &u32) -> bool {
    *number == 0
}

/// Why Sidestep asked for the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AbortReason {
    /// A person asked for it, by `spec.abort` or the quarantine's.
    Requested,
    /// It was still queued when it was suspended, its destination became unfit, or its quarantine ended.
    Withdrawn,
    /// Its completionTimeout passed, and other servers waited.
    CompletionTimeout,
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
    /// The same in whole seconds, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,
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
