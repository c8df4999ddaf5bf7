//! What the HostReport should say, and whether it is worth a write.
//!
//! A write is worth it when something that matters has changed: a sensor's health or what it rests on, which sensors there are, the boot, a clock beyond what was said of it. Then at most every
//! 10 s. Figures that change by themselves (how far a file was read, its size, the last alert) are brought up to date every 5 min at most.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::look::Sight;
use crate::api::HostReportSpec;
use crate::api::condition::shorten;
use crate::api::report::{ClockReport, SensorReport};
use crate::sentinel::snapshot::{Signs, SourceSnapshot};
use crate::silence::sensor::{self, Evidence, Statistics};

/// The time between two writes when something that matters changes all the time.
const URGENT: Duration = Duration::from_secs(10);
/// The time between two writes when only figures change.
const FIGURES: Duration = Duration::from_secs(300);
/// A stamp this far from the reading is worth a word; less may be the sensor's own buffering.
const SKEW_SECONDS: i64 = 5;
/// The longest message, characters.
const MESSAGE_MAX_CHARS: usize = 1024;
/// The longest path, characters.
const PATH_MAX_CHARS: usize = 4096;
/// The most sensors in a report.
const SENSORS_MAX: usize = 16;

/// What does not change while the process lives.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) node: String,
    pub(super) boot_id: Option<String>,
    pub(super) patience: Duration,
}

/// The report on these sources, each with the look that was taken at it.
pub(super) fn draft<'a>(about: &About, sources: impl IntoIterator<Item = (&'a SourceSnapshot, &'a Sight)>, clock: Option<ClockReport>) -> HostReportSpec {
    HostReportSpec {
        node: about.node.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: about.boot_id.clone(),
        sensors: sources.into_iter().take(SENSORS_MAX).map(|(source, sight)| sensor(source, sight, about.patience)).collect(),
        clock,
    }
}

fn sensor(source: &SourceSnapshot, sight: &Sight, patience: Duration) -> SensorReport {
    let Signs { end_seen, record, statistics, statistics_interval } = source.signs;
    // What was not read yet proves no silence: the clock stands still while the end of the file is not in sight.
    let ago = |then: Option<Duration>| end_seen.zip(then).map(|(end, then)| end.saturating_sub(then));
    let evidence = Evidence {
        file: sight.file.clone(),
        writer: sight.writer,
        last_record: ago(record),
        statistics: ago(statistics).map(|last| Statistics { last, interval: statistics_interval }),
        trouble: source.message.as_deref().filter(|_| source.is_degraded),
    };
    let (health, said) = sensor::judge(&evidence, patience);
    let note = source.message.clone().filter(|_| !source.is_degraded);
    let message = [Some(said), note, source.skew.and_then(skewed)].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let bytes = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    SensorReport {
        name: source.name.clone(),
        engine: source.engine.to_owned(),
        path: shorten(source.path.to_string_lossy().into_owned(), PATH_MAX_CHARS),
        offset: sight.size.map(|_| bytes(source.offset)),
        size: sight.size.map(bytes),
        last_event: source.last_event.map(MicroTime),
        lost: bytes(source.lost),
        health,
        message: shorten(message, MESSAGE_MAX_CHARS),
    }
}

/// A word on stamps that are far from the time when they were read. Cut to what does not change from line to line.
fn skewed(skew: SignedDuration) -> Option<String> {
    let (seconds, side) = (skew.as_secs().abs(), if skew.is_negative() { "ahead of" } else { "behind" });
    let amount = match seconds {
        0..SKEW_SECONDS => return None,
        SKEW_SECONDS..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    };
    Some(format!("its stamps are {amount} {side} the node's clock: compare its clock and zone"))
}

/// Whether a report is worth a write. `told` is what was written last, how long ago.
pub(super) fn is_due(told: Option<(&HostReportSpec, Duration)>, draft: &HostReportSpec) -> bool {
    match told {
        None => true,
        Some((told, ago)) => (ago >= URGENT && !is_same(told, draft)) || (ago >= FIGURES && told != draft),
    }
}

/// Whether nothing that matters differs.
fn is_same(told: &HostReportSpec, draft: &HostReportSpec) -> bool {
    let HostReportSpec { node, version, boot_id, sensors, clock } = told;
    let without_figures = |sensors: &[SensorReport]| -> Vec<SensorReport> {
        sensors.iter().map(|sensor| SensorReport { offset: None, size: None, last_event: None, lost: 0, ..sensor.clone() }).collect()
    };
    let same_clock = match (clock, draft.clock) {
        (Some(told), Some(now)) => (told.offset_millis - now.offset_millis).abs() <= told.bound_millis.saturating_add(now.bound_millis),
        (told, now) => told.is_none() && now.is_none(),
    };
    *node == draft.node && *version == draft.version && *boot_id == draft.boot_id && same_clock && without_figures(sensors) == without_figures(&draft.sensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::report::SensorHealth;
    use crate::sentinel::snapshot::SourceCounters;
    use crate::silence::sensor::{File, Writer};

    const PATIENCE: Duration = Duration::from_secs(120);

    fn about() -> About {
        About { node: "n1".into(), boot_id: None, patience: PATIENCE }
    }

    fn source(signs: Signs) -> SourceSnapshot {
        SourceSnapshot {
            name: "suricata_eve".into(),
            engine: "suricata",
            format: "suricata_eve",
            path: "/alerts/eve.json".into(),
            offset: 10,
            size: Some(10),
            last_event: None,
            lost: 0,
            is_degraded: false,
            message: None,
            skew: None,
            counters: SourceCounters::default(),
            signs,
        }
    }

    fn sight() -> Sight {
        Sight { file: File::Filled, writer: Writer::Hidden, size: Some(10) }
    }

    fn report(source: &SourceSnapshot, sight: &Sight) -> HostReportSpec {
        draft(&about(), [(source, sight)], None)
    }

    fn at(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn statistics_that_could_not_be_read_yet_have_not_stopped() {
        // The last ones were read at 100; since then the sentinel waits for the API server and has not come to the end of the file.
        let behind = source(Signs { end_seen: at(101), statistics: at(100), ..Signs::default() });
        assert_eq!(report(&behind, &sight()).sensors[0].health, SensorHealth::Healthy);
        let stopped = source(Signs { end_seen: at(300), statistics: at(100), ..Signs::default() });
        assert_eq!(report(&stopped, &sight()).sensors[0].health, SensorHealth::Dead);
    }

    #[test]
    fn figures_of_a_file_that_is_not_there_are_absent() {
        let missing = Sight { file: File::Absent(Duration::ZERO), writer: Writer::Hidden, size: None };
        let sensor = &report(&source(Signs::default()), &missing).sensors[0];
        assert_eq!((sensor.offset, sensor.size, sensor.health), (None, None, SensorHealth::Unknown));
    }

    #[test]
    fn what_the_sentinel_knows_to_be_amiss_is_the_sensors_health_and_what_is_worth_knowing_stands_beside_it() {
        let mounted = SourceSnapshot { is_degraded: true, message: Some("mount its folder".into()), ..source(Signs::default()) };
        let sensor = &report(&mounted, &sight()).sensors[0];
        assert_eq!((sensor.health, sensor.message.as_str()), (SensorHealth::Degraded, "mount its folder"));
        let noted = SourceSnapshot { message: Some("4 NUL bytes were skipped".into()), ..source(Signs::default()) };
        let sensor = &report(&noted, &sight()).sensors[0];
        assert_eq!(sensor.health, SensorHealth::Unknown);
        assert!(sensor.message.ends_with("; 4 NUL bytes were skipped"), "{}", sensor.message);
    }

    #[test]
    fn a_skew_of_the_sensors_stamps_is_told_in_words_that_stay_the_same() {
        let hour = |millis| SourceSnapshot { skew: Some(SignedDuration::from_millis(3_600_000_i64 + millis)), ..source(Signs::default()) };
        let said = |source: &SourceSnapshot| report(source, &sight()).sensors[0].message.clone();
        assert!(said(&hour(17)).contains("1 h 0 min behind the node's clock"), "{}", said(&hour(17)));
        assert_eq!(said(&hour(17)), said(&hour(903)));
        let ahead = SourceSnapshot { skew: Some(SignedDuration::from_secs(-90)), ..source(Signs::default()) };
        assert!(said(&ahead).contains("1 min ahead of"), "{}", said(&ahead));
        let close = SourceSnapshot { skew: Some(SignedDuration::from_millis(900)), ..source(Signs::default()) };
        assert!(!said(&close).contains("stamps"), "{}", said(&close));
    }

    #[test]
    fn what_matters_is_written_soon_and_figures_now_and_then() {
        let told = report(&source(Signs::default()), &sight());
        let grown = report(&SourceSnapshot { offset: 20, ..source(Signs::default()) }, &Sight { size: Some(20), ..sight() });
        let dead = report(&source(Signs::default()), &Sight { file: File::Empty(Duration::from_secs(90_000)), ..sight() });
        let due = |draft: &HostReportSpec, ago: u64| is_due(Some((&told, Duration::from_secs(ago))), draft);
        assert!(is_due(None, &told), "the first");
        assert!(!due(&told, 1_000_000), "nothing has changed");
        assert!(!due(&grown, 299) && due(&grown, 300));
        assert!(!due(&dead, 9) && due(&dead, 10));
    }

    #[test]
    fn a_clock_within_what_was_said_of_it_is_no_news() {
        let with = |clock: Option<(i64, i64)>| {
            let clock = clock.map(|(offset_millis, bound_millis)| ClockReport { offset_millis, bound_millis });
            draft(&about(), [(&source(Signs::default()), &sight())], clock)
        };
        let is_news = |told, now| is_due(Some((&with(told), URGENT)), &with(now));
        assert!(is_news(None, Some((0, 500))), "it was measured for the first time");
        assert!(!is_news(Some((0, 500)), Some((-300, 60))));
        assert!(is_news(Some((-300, 60)), Some((7_200_000, 500))), "it was set");
    }
}
