//! What the sentinel knows of itself at one moment, as plain values: for the HostReport and for metrics.
//!
//! The task that follows the files publishes one about once a second, through a channel that keeps only the latest ([`tokio::sync::watch`]); whoever tells others about the
//! sentinel reads it there and never waits for it.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The sources, in the order of the arguments.
    pub sources: Vec<SourceSnapshot>,
    /// What became of what was reported.
    pub reports: ReportCounters,
    /// When the position was saved last, by the node's clock.
    pub saved_at: Option<Timestamp>,
    /// Whether the position cannot be saved at present, so that lines are read again after a restart.
    pub saving_fails: bool,
}

/// One alert file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSnapshot {
    /// Its name among this sentinel's sources.
    pub name: String,
    /// The sensor's kind, e.g. `suricata`.
    pub engine: &'static str,
    /// The format, e.g. `suricata_eve`.
    pub format: &'static str,
    /// The followed path.
    pub path: PathBuf,
    /// How far the present file was read, in bytes.
    pub offset: u64,
    /// The size of the file that has the path, in bytes; absent while there is none that can be read.
    pub size: Option<u64>,
    /// When the last alert was read, by the node's clock; absent before the first since the start.
    pub last_event: Option<Timestamp>,
    /// Records that were given up since the start: unreadable or too long.
    pub lost: u64,
    /// Whether something is wrong, so that alerts are missing or may be: it cannot be read, it is mounted by itself, it holds a container's log, the position cannot be saved.
    pub is_degraded: bool,
    /// What is wrong with it and what to do about it, or else what is worth knowing.
    pub message: Option<String>,
    /// How far the node's clock was ahead of the sensor's stamp at the last line that was read as it was written. Negative: the stamp was ahead.
    pub skew: Option<SignedDuration>,
    /// Records since the start.
    pub counters: SourceCounters,
    /// Signs of life of the sensor in what was read.
    pub signs: Signs,
}

/// When a sensor last showed in its file that it lives. Times are monotonic; only lines that were read as they were written count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// When the end of the file was last seen: what came until then was read.
    pub end_seen: Option<Duration>,
    /// The last record of any kind.
    pub record: Option<Duration>,
    /// The last statistics.
    pub statistics: Option<Duration>,
    /// The time between the last two statistics.
    pub statistics_interval: Option<Duration>,
}

impl Signs {
    pub(super) fn note_record(&mut self, is_statistics: bool, now: Duration) {
        self.record = Some(now);
        if is_statistics {
            self.statistics_interval = self.statistics.map(|last| now.saturating_sub(last)).or(self.statistics_interval);
            self.statistics = Some(now);
        }
    }
}

/// What was read of one file since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounters {
    /// Records of any kind.
    pub records: u64,
    /// Alerts that were counted.
    pub alerts: u64,
    /// Alerts that the objects held already, from before a restart.
    pub recognised: u64,
    /// Records that could not be read, too long ones included.
    pub rejected: u64,
    /// NUL bytes between records, skipped.
    pub nul_bytes: u64,
}

/// Writes of HostAlerts since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportCounters {
    /// Accepted by the API server.
    pub accepted: u64,
    /// Refused for good and given up (422).
    pub refused: u64,
    /// Tried again: no answer, or one that may change.
    pub failed: u64,
}
