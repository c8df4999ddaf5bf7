//! What happened to a quarantined host: the record that people and programs read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resident::Resident;
use crate::api::units::{Bound, ClockName, ResponseAction, Scope};

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
    /// The plan is shown, and a person must approve it.
    AwaitingApproval,
    /// Held by `spec.suspend` or `spec.abort`.
    Suspended,
    /// Mode Observe: what would be done is shown.
    Observed,
    /// Action Cordon: the host is out of service, and its servers stay.
    Cordoned,
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
            Self::AwaitingApproval => "AwaitingApproval",
            Self::Suspended => "Suspended",
            Self::Observed => "Observed",
            Self::Cordoned => "Cordoned",
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
    /// What is suspected: `spec.scope`, raised by later alerts on the host, never lowered. It decides where servers may go and whether a person must agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_scope: Option<Scope>,
    /// How far the response goes: `spec.action`, or Drain where a later decision of a policy asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_action: Option<ResponseAction>,
    /// The host's service in Nova: as it was before Sidestep wrote to it, and as it was last seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostBefore>,
    /// What would move, and where to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanSummary>,
    /// What a person has approved. Absent until somebody has; gone when a stricter scope needs a new approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Approved>,
    /// How much of `spec.deadline` is used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Deadline>,
    /// The last retry that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// The runs that a person deleted before their server had left: it is left alone until `spec.retryToken` changes. The latest of each server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub deleted_runs: Vec<DeletedRun>,
    /// When the object was last let go after `spec.suspend`, where alerts had joined it meanwhile: of those the scope counts, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<MicroTime>,
    /// The dispute about the host's service. Absent while nobody has contested it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contest: Option<Contest>,
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
    /// Accepted, Cordoned, Contested, PlanReady, Approved, Drained, Blocked, AlertWhileHeld, GuestLocationDisputed, Released, Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The host's service row: before Sidestep's first write, which is what release restores, and as it was last seen.
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
    /// Whether nova-compute reports, as it was last seen: `up` or `down`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub state: Option<String>,
    /// Whether the host is in service, as it was last seen: `enabled` or `disabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub status: Option<String>,
}

/// The plan of the drain. Its moves are the MigrationRuns whose `spec.plan` is its digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanSummary {
    /// The plan's name: SHA-256 over cloud, host, effective scope, the rules of the method, the servers and the hosts that they may go to, 64 hex digits. This is what `spec.approval.plan` names.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// The effective scope that it was made for.
    pub scope: Scope,
    /// How many servers it moves.
    pub servers: u32,
    /// The hosts that they may go to, whether each has room or not; the first 1,024.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 255)))]
    pub hosts: Vec<String>,
    /// How destinations are chosen: `Spread`, most free first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 32))]
    pub strategy: String,
    /// What decides between equally free hosts; the same seed and cloud give the same plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
}

/// What a person has approved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approved {
    /// The digests of the plans, latest last; the servers of these plans may move.
    #[serde(default)]
    #[schemars(length(max = 16), inner(length(max = 64)))]
    pub plans: Vec<String>,
    /// The hosts that they may go to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(max = 255)))]
    pub hosts: Vec<String>,
}

/// The time in which moves were permitted. Written when that begins or ends, not while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deadline {
    /// Used up before `runningSince`, milliseconds.
    pub used_millis: i64,
    /// Since when moves are permitted without a break. Absent while they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_since: Option<MicroTime>,
}

/// A retry that was asked for by `spec.retryToken`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// The token.
    #[schemars(length(max = 64))]
    pub token: String,
    /// When it was seen; what was tried before counts no more.
    pub since: MicroTime,
}

/// A MigrationRun that a person deleted before its server had left. It stands here before the object goes, so that it is not made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedRun {
    /// The server's UUID.
    #[schemars(length(max = 36))]
    pub server: String,
    /// Which of the server's runs in this incident it was: 1 for the first.
    #[schemars(range(min = 1))]
    pub ordinal: u32,
    /// The digest of the plan that it belonged to; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub plan: String,
    /// When it was made; the API server's clock.
    pub created: Time,
    /// The retry that it was made after: `status.retry.since` of then. Absent where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<MicroTime>,
}

/// A dispute about the host's service: somebody else changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Contest {
    /// Since when the host is not out of service by this object, or when it was last disabled again. Absent while it is as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,
    /// How often Sidestep has disabled it again. Never begins anew, so that two parties do not fight for ever.
    pub disabled_again: u32,
}

/// How far the drain is, in servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Servers that were seen on the host since the drain began.
    pub total: u32,
    /// On the host, their move not asked for yet; 0 once the host was given back.
    pub waiting: u32,
    /// Asked for and not ended; 0 once the host was given back, when the copies that still run are followed by their own MigrationRuns.
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
    /// From the first request to disable the host until it was found empty, by the operator's clock, seconds. Absent until it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i64>,
    /// Bytes that left the host, memory and disk together, of the moves for which Nova gave a figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferred_bytes: Option<i64>,
    /// On which side of the true value `transferredBytes` lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transferred_bytes_bound: Option<Bound>,
    /// How long servers were on the suspect host. Absent with scope Maintenance, where nothing is suspected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
}

/// Server-seconds on the suspect host, from the first alert (when the operator received it; by hand, from the making of this object) until each server had left it, by the operator's lists. Written when the number of servers
/// changes: the exposure now is `serverSeconds` + `servers` x (now - `since`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// The sum up to `since`; the whole, once no server counts any more.
    pub server_seconds: i64,
    /// What the sum has beyond whole server-seconds, so that nothing is lost where many servers leave one after the other. Server-microseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 999_999))]
    pub remainder_micros: i64,
    /// How many servers still count.
    pub servers: u32,
    /// Since when so many count. Absent once none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The steps of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TimelineEvent {
    /// The stamp that the sensor wrote into the alert.
    AlertWritten,
    /// The sentinel read the line of the last event that was decided on.
    AlertRead,
    /// The operator received the first event of the series that was decided on; what belongs to an earlier quarantine of the host does not count.
    AlertReceived,
    /// The policy decided.
    Decided,
    /// The request to disable the service went out.
    CordonRequested,
    /// A read showed the service disabled.
    CordonVerified,
    /// Somebody else changed the service for the first time.
    Contested,
    /// The servers were listed and the plan was made.
    Planned,
    /// A person's approval of the plan was seen.
    Approved,
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
