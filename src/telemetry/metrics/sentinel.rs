//! The sentinel's figures.

use super::{Catalogue, Counters, Gauges};

/// The sentinel's figures. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SentinelMetrics {
    /// Records read: by source.
    pub records: Counters<1>,
    /// Records that hold an alert: by source.
    pub alerts: Counters<1>,
    /// Records that could not be read and were given up: by source.
    pub lost: Counters<1>,
    /// Bytes that are written and not read yet: by source.
    pub unread: Gauges<1>,
    /// Writes of HostAlerts: by outcome (accepted, refused, failed).
    pub sent: Counters<1>,
    /// Whether the reading position can be saved.
    pub saving: Gauges<0>,
    /// Always 1: by version.
    pub build: Gauges<1>,
}

impl SentinelMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn new(to: &Catalogue) -> Self {
        let metrics = Self {
            records: to.counters("sidestep_sentinel_records_read", ["source"], "Records read from an alert file"),
            alerts: to.counters("sidestep_sentinel_alerts_parsed", ["source"], "Records that hold an alert"),
            lost: to.counters("sidestep_sentinel_records_lost", ["source"], "Records that could not be read and were given up"),
            unread: to.gauges("sidestep_sentinel_unread_bytes", ["source"], "Bytes that are written and not read yet"),
            sent: to.counters("sidestep_sentinel_hostalerts_sent", ["outcome"], "Writes of HostAlerts"),
            saving: to.gauges("sidestep_sentinel_position_saved", [], "1 while the reading position can be saved, else 0"),
            build: to.gauges("sidestep_sentinel_build_info", ["version"], "Always 1"),
        };
        metrics.build.set([env!("CARGO_PKG_VERSION")], 1);
        metrics
    }
}
