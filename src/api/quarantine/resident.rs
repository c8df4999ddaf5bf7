//! What is still on a quarantined host, and why.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a server, or an allocation, is still on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ResidentReason {
    /// Its state is one that Sidestep does not move (shut off, suspended, in rescue, …).
    StateNotMovable,
    /// It is locked, and `migration.lockedServers` is Report.
    Locked,
    /// It is in ERROR, and not by an attempt of Sidestep's.
    ServerInError,
    /// An attempt of Sidestep left it in ERROR; it is not tried again.
    ErrorAfterAttempt,
    /// Sidestep's abort left it in ERROR; it is not tried again.
    ErrorAfterAbort,
    /// A person aborted its move.
    Aborted,
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
    /// Nova fails before it copies anything, for several servers alike: something that it depends on is down. One of them is tried every minute.
    DependencyDown,
    /// The host's nova-compute is down, and Nova cannot migrate from it.
    SourceDown,
    /// No host may take it, or none that may has room.
    NoDestination,
    /// Only the quarantine pool may take it, and the pool is full.
    PoolFull,
    /// It came to the host after the plan was approved.
    ArrivedAfterApproval,
    /// A resize or cold migration waits for its owner to confirm or revert it; disk and allocation lie on this host.
    PendingResize,
    /// Its owner deleted it, and it can still be restored: Nova keeps it on this host until the reclaim interval has passed.
    SoftDeleted,
    /// Placement holds an allocation on this host for something that is no server listed here.
    AllocationLeft,
}

impl ResidentReason {
    /// The reason of this word, of those for which a run waits and goes on by itself.
    #[must_use]
    pub fn of_wait(word: &str) -> Option<Self> {
        [Self::DependencyDown, Self::SourceDown].into_iter().find(|reason| reason.as_str() == word)
    }

    /// The word in status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StateNotMovable => "StateNotMovable",
            Self::Locked => "Locked",
            Self::ServerInError => "ServerInError",
            Self::ErrorAfterAttempt => "ErrorAfterAttempt",
            Self::ErrorAfterAbort => "ErrorAfterAbort",
            Self::Aborted => "Aborted",
            Self::AttemptsExhausted => "AttemptsExhausted",
            Self::MoveDeadlineExceeded => "MoveDeadlineExceeded",
            Self::DrainDeadlineExceeded => "DrainDeadlineExceeded",
            Self::KeepsReturning => "KeepsReturning",
            Self::RecordBehindGuest => "RecordBehindGuest",
            Self::RunDeleted => "RunDeleted",
            Self::Busy => "Busy",
            Self::DependencyDown => "DependencyDown",
            Self::SourceDown => "SourceDown",
            Self::NoDestination => "NoDestination",
            Self::PoolFull => "PoolFull",
            Self::ArrivedAfterApproval => "ArrivedAfterApproval",
            Self::PendingResize => "PendingResize",
            Self::SoftDeleted => "SoftDeleted",
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
    /// When it is tried again at the latest. Absent where nothing is tried before its state, or `spec.retryToken`, changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<MicroTime>,
}
