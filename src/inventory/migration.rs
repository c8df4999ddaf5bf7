//! Migrations: the rows of `GET /os-migrations`, the counters of `GET /servers/{id}/migrations/{mid}`, and the reasons of `GET /servers/{id}/os-instance-actions/{request}`.
//!
//! Facts about Nova that shape these types:
//! - the POST of a live migration answers 202 without an id; the row appears 0.05 s to some seconds later, so that the newest row may still be the previous migration's;
//! - `/servers/{id}/migrations` lists only queued, preparing, running and post-migrating ones: the end is read from `/os-migrations`, which has no byte counters;
//! - `dest_compute` is null until the scheduler has answered.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::{HostName, ServerId};

/// The `status` of a migration row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum RowStatus {
    /// Accepted; the scheduler and the checks have not answered yet.
    Accepted,
    /// Waits for a slot of the source (`max_concurrent_live_migrations`).
    Queued,
    /// The destination is being prepared.
    Preparing,
    /// Copying, also `running (post-copy)`.
    Running,
    /// Ended well (live migration).
    Completed,
    /// The hypervisor gave up and rolled back.
    Failed,
    /// Refused by a check or the scheduler, or an exception.
    Error,
    /// Aborted.
    Cancelled,
    /// Any other word (`finished`, `confirmed`, `reverted`, `done`, …).
    Other(String),
}

impl From<String> for RowStatus {
    fn from(word: String) -> Self {
        match word.as_str() {
            "accepted" => Self::Accepted,
            "queued" => Self::Queued,
            "preparing" => Self::Preparing,
            "running" | "running (post-copy)" | "post-migrating" => Self::Running,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "error" => Self::Error,
            "cancelled" => Self::Cancelled,
            _ => Self::Other(word),
        }
    }
}

impl From<RowStatus> for String {
    fn from(status: RowStatus) -> Self {
        status.as_str().to_owned()
    }
}

impl RowStatus {
    /// Nova's word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Accepted => "accepted",
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
            Self::Other(word) => word,
        }
    }

    /// Whether Nova is at work on it, of any kind of migration. Not one that waits for its owner (`finished`), nor one that has ended.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        match self {
            Self::Accepted | Self::Queued | Self::Preparing | Self::Running => true,
            Self::Other(word) => matches!(word.as_str(), "pre-migrating" | "migrating" | "confirming" | "reverting"),
            Self::Completed | Self::Failed | Self::Error | Self::Cancelled => false,
        }
    }

    /// Whether it has brought its server to its destination.
    #[must_use]
    pub fn has_arrived(&self) -> bool {
        match self {
            Self::Completed => true,
            Self::Other(word) => matches!(word.as_str(), "finished" | "confirming" | "confirmed" | "done"),
            _ => false,
        }
    }

    /// Whether this live migration has ended. The word may still change once: when a preparation fails, Nova 34 writes `error`, undoes it, and then writes `failed`.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Error | Self::Cancelled)
    }
}

/// One row of `/os-migrations` (microversion 2.59 and later).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NovaMigration {
    /// The integer id: rises with time within a cell, names the migration in `/servers/{id}/migrations/{id}`.
    pub id: u64,
    /// The UUID; while the migration runs it is the Placement consumer that holds the source.
    pub uuid: Uuid,
    /// The server.
    #[serde(rename = "instance_uuid")]
    pub server: ServerId,
    /// Where it stands.
    pub status: RowStatus,
    /// `live-migration`, `migration`, `resize` or `evacuation`.
    #[serde(default)]
    pub migration_type: String,
    /// From where.
    #[serde(default)]
    pub source_compute: Option<HostName>,
    /// To where; absent until the scheduler has answered.
    #[serde(default)]
    pub dest_compute: Option<HostName>,
    /// When Nova made the row, in whole seconds.
    #[serde(deserialize_with = "nova_time")]
    pub created_at: Timestamp,
    /// When Nova last changed it, in whole seconds; absent when never.
    #[serde(default, deserialize_with = "optional_nova_time")]
    pub updated_at: Option<Timestamp>,
}

/// The byte counters of a running migration: samples that nova-compute saves every 5 s (libvirt driver), absent until the first, and 0 in the first seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationProgress {
    /// Memory to copy, bytes.
    #[serde(rename = "memory_total_bytes", default)]
    pub memory_total: Option<u64>,
    /// Memory copied, bytes; may exceed the total (several rounds).
    #[serde(rename = "memory_processed_bytes", default)]
    pub memory_processed: Option<u64>,
    /// Memory left, bytes; goes up and down.
    #[serde(rename = "memory_remaining_bytes", default)]
    pub memory_remaining: Option<u64>,
    /// Disk to copy, bytes.
    #[serde(rename = "disk_total_bytes", default)]
    pub disk_total: Option<u64>,
    /// Disk copied, bytes.
    #[serde(rename = "disk_processed_bytes", default)]
    pub disk_processed: Option<u64>,
}

/// One action of a server, found by the request id of the POST: the only place where Nova says why a migration failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceAction {
    /// `live-migration`, …
    pub action: String,
    /// The `x-openstack-request-id` of the POST. Absent where Nova has none, such as for what it did by itself.
    #[serde(default)]
    pub request_id: Option<String>,
    /// When Nova began it, by Nova's clock, in whole seconds.
    #[serde(default, deserialize_with = "optional_nova_time")]
    pub start_time: Option<Timestamp>,
    /// `Error` when it failed.
    #[serde(default)]
    pub message: Option<String>,
    /// Its steps, newest first.
    #[serde(default)]
    pub events: Vec<ActionEvent>,
}

/// One step of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionEvent {
    /// Its name, e.g. `conductor_live_migrate_instance`.
    pub event: String,
    /// `Success`, `Error`, or absent while it goes on.
    #[serde(default)]
    pub result: Option<String>,
    /// The reason in words (microversion 2.84 and later).
    #[serde(default)]
    pub details: Option<String>,
}

impl InstanceAction {
    /// Nova's own words for the failure: the details of the failed steps, without repeating one. Empty when Nova gave none.
    #[must_use]
    pub fn failure(&self) -> String {
        let mut reasons: Vec<&str> = Vec::new();
        for event in self.events.iter().filter(|event| event.result.as_deref() == Some("Error")) {
            if let Some(details) = event.details.as_deref()
                && !reasons.contains(&details)
            {
                reasons.push(details);
            }
        }
        reasons.join("; ")
    }
}

/// Nova's stamps: `2026-11-22T11:48:16.000000` in UTC without a zone in most answers, with `Z` in some.
fn nova_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_nova_time(&text).map_err(serde::de::Error::custom)
}

fn optional_nova_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| parse_nova_time(&text).map_err(serde::de::Error::custom)).transpose()
}

fn parse_nova_time(text: &str) -> Result<Timestamp, jiff::Error> {
    text.parse::<Timestamp>().or_else(|_| text.parse::<jiff::civil::DateTime>()?.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_as_nova_writes_it_is_read() {
        let row: NovaMigration = serde_json::from_str(
            r#"{"id": 1, "uuid": "2726ec38-5f14-4388-b7ee-cb47505f3b3c", "source_compute": "cmp-1", "dest_compute": null, "dest_host": null,
                "instance_uuid": "d9e4c311-8982-4a28-b0a9-ba16ac3ecf49", "status": "running (post-copy)", "migration_type": "live-migration",
                "created_at": "2026-11-22T11:48:16.000000", "updated_at": null}"#,
        )
        .unwrap();
        assert_eq!(row.status, RowStatus::Running);
        assert_eq!(row.created_at.to_string(), "2026-11-22T11:48:16Z");
        assert_eq!(row.dest_compute, None);
        assert_eq!(row.updated_at, None);
    }

    #[test]
    fn the_failure_names_each_reason_once() {
        let event = |details: &str, result: &str| ActionEvent { event: "e".into(), result: Some(result.into()), details: Some(details.into()) };
        let action = InstanceAction {
            action: "live-migration".into(),
            request_id: Some("req-1".into()),
            start_time: None,
            message: Some("Error".into()),
            events: vec![event("no valid host", "Error"), event("no valid host", "Error"), event("fine", "Success")],
        };
        assert_eq!(action.failure(), "no valid host");
    }
}
