//! What the sentinel knows of itself, as metrics.

use super::snapshot::{ReportCounters, Snapshot};
use crate::telemetry::metrics::{SentinelMetrics, Value};

/// Brings the figures up to date.
pub(super) fn refresh(metrics: &SentinelMetrics, snapshot: &Snapshot) {
    for source in &snapshot.sources {
        let name = [source.name.clone()];
        metrics.records.raise_to(name.clone(), source.counters.records);
        metrics.alerts.raise_to(name.clone(), source.counters.alerts + source.counters.recognised);
        metrics.lost.raise_to(name.clone(), source.lost);
        let unread = source.size.unwrap_or_default().saturating_sub(source.offset);
        metrics.unread.set(name, i64::try_from(unread).unwrap_or(i64::MAX));
    }
    let ReportCounters { accepted, refused, failed } = snapshot.reports;
    for (outcome, count) in [("accepted", accepted), ("refused", refused), ("failed", failed)] {
        metrics.sent.raise_to([outcome], count);
    }
    metrics.saving.set::<Value>([], i64::from(!snapshot.saving_fails));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Catalogue;

    #[test]
    fn what_was_sent_and_what_was_given_up_are_told_apart() {
        let catalogue = Catalogue::new();
        let metrics = SentinelMetrics::new(&catalogue);
        let mut snapshot = Snapshot { reports: ReportCounters { accepted: 3, refused: 1, failed: 2 }, saving_fails: true, ..Snapshot::default() };
        refresh(&metrics, &snapshot);
        snapshot.reports.accepted = 5;
        refresh(&metrics, &snapshot);
        let text = catalogue.text().unwrap();
        for line in [
            r#"sidestep_sentinel_hostalerts_sent_total{outcome="accepted"} 5"#,
            r#"sidestep_sentinel_hostalerts_sent_total{outcome="refused"} 1"#,
            "sidestep_sentinel_position_saved 0",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} in\n{text}");
        }
    }
}
