//! Whether a sensor lives, judged by what a sentinel sees of it from outside.
//!
//! A quiet sensor is not a dead one: that no alerts come says nothing. What says something, in this order:
//!
//! | seen | health |
//! | --- | --- |
//! | the file cannot be read | Degraded |
//! | something that the sentinel itself knows to be amiss | Degraded |
//! | there never was a file, for longer than `patience` | Dead |
//! | statistics keep coming (Suricata writes them into `eve.json`, every 8 s unless told otherwise) | Healthy |
//! | statistics came, and have stopped, while other records still come | Degraded |
//! | statistics came, and have stopped, and nothing else comes | Dead |
//! | whoever had the file open for writing has gone, for longer than `patience`, and nothing came since | Dead |
//! | the file has been empty for a day, without a writer that shows itself | Dead |
//! | ... with a writer, but nothing was ever read from it | Degraded |
//! | a process has the file open for writing | Healthy |
//! | a record came within the last 10 min | Healthy |
//! | none of these | Unknown |
//!
//! A file that was there and is not any more was rotated: Suricata and Snort make the next one with their next alert, which may be days away (measured with Suricata 7, rename and SIGHUP).
//! Its writer is whoever still holds it under its other name.
//!
//! `patience` is what a restart of the sensor may take: Suricata with a large rule set needs a minute before it opens its file.

use std::time::Duration;

use crate::api::report::SensorHealth;

/// What a restart of a sensor may take before it counts as dead, unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// A file that is empty for this long is one that nobody writes.
const EMPTY_FOR_TOO_LONG: Duration = Duration::from_secs(86_400);
/// A record that came this recently shows that the sensor lives.
const RECENT: Duration = Duration::from_secs(600);
/// Statistics have stopped when so many of their intervals have passed, and `patience` as well.
const MISSED_STATISTICS: u32 = 3;

/// What a sentinel sees of one sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence<'a> {
    /// The alert file.
    pub file: File,
    /// Who has it open for writing.
    pub writer: Writer,
    /// How long ago the last record of any kind was read, where the sentinel has read one as it was written.
    pub last_record: Option<Duration>,
    /// The sensor's statistics, where any were read.
    pub statistics: Option<Statistics>,
    /// What the sentinel itself knows to be amiss, with the remedy.
    pub trouble: Option<&'a str>,
}

/// The alert file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum File {
    /// There is none, for so long, and there was none before.
    Absent(Duration),
    /// There was one, and it is gone or has another name.
    Away,
    /// It is there and cannot be read: the operating system's words.
    Unreadable(String),
    /// It holds something.
    Filled,
    /// It holds nothing, and was last changed so long ago.
    Empty(Duration),
}

/// Who has the file open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A process of this id.
    Process(u32),
    /// Nobody, for so long: who had it is gone, or every process of the host can be seen and none has it.
    Gone(Duration),
    /// The sentinel cannot see.
    Hidden,
}

/// A sensor's statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// How long ago the last ones were read.
    pub last: Duration,
    /// The time between the last two, where there were two.
    pub interval: Option<Duration>,
}

/// A sensor's health, and what that rests on. The sentence names no figure that changes by itself, so that it is the same as long as nothing happens.
#[must_use]
pub fn judge(evidence: &Evidence<'_>, patience: Duration) -> (SensorHealth, String) {
    let wrote_within = |limit: Duration| evidence.last_record.is_some_and(|ago| ago < limit);
    if let File::Unreadable(why) = &evidence.file {
        return (SensorHealth::Degraded, format!("the alert file cannot be read ({why}): let the sentinel's user or one of its groups read it"));
    }
    if let Some(trouble) = evidence.trouble {
        return (SensorHealth::Degraded, trouble.to_owned());
    }
    if let File::Absent(absent) = evidence.file {
        return missing(absent, patience);
    }
    if let Some(statistics) = evidence.statistics {
        return by_statistics(statistics, wrote_within(patience), patience);
    }
    match (evidence.writer, &evidence.file) {
        (Writer::Gone(gone), _) if gone >= patience && !wrote_within(patience) => {
            (SensorHealth::Dead, "no process has the alert file open for writing any more: start the sensor".to_owned())
        }
        (Writer::Process(_), File::Empty(age)) if *age >= EMPTY_FOR_TOO_LONG && evidence.last_record.is_none() => (
            SensorHealth::Degraded,
            "a process has the alert file open, and has written nothing into it for a day: provoke an alert to see whether the sensor sees traffic".to_owned(),
        ),
        (Writer::Process(_), File::Away) => (
            SensorHealth::Healthy,
            "the alert file was renamed or removed, and a process still holds it open; sensors make the next file with their next alert".to_owned(),
        ),
        (Writer::Process(_), _) => (SensorHealth::Healthy, "a process has the alert file open for writing".to_owned()),
        (_, File::Empty(age)) if *age >= EMPTY_FOR_TOO_LONG => {
            (SensorHealth::Dead, "the alert file has been empty for a day: look whether the sensor runs and sees traffic".to_owned())
        }
        _ if wrote_within(RECENT) => (SensorHealth::Healthy, "it keeps writing".to_owned()),
        (_, File::Away) => (
            SensorHealth::Unknown,
            "the alert file was renamed or removed, and nothing tells whether the sensor runs: sensors make the next file with their next alert".to_owned(),
        ),
        _ => (
            SensorHealth::Unknown,
            "it is quiet, and nothing tells whether it runs: it writes no statistics, and the sentinel sees no process that has the file open".to_owned(),
        ),
    }
}

fn missing(absent: Duration, patience: Duration) -> (SensorHealth, String) {
    if absent < patience {
        (SensorHealth::Unknown, "there is no alert file yet".to_owned())
    } else {
        (SensorHealth::Dead, "there is no alert file: start the sensor, or correct the path that the sentinel is given".to_owned())
    }
}

fn by_statistics(statistics: Statistics, writes: bool, patience: Duration) -> (SensorHealth, String) {
    let due = statistics.interval.map_or(Duration::ZERO, |interval| interval.saturating_mul(MISSED_STATISTICS));
    if statistics.last < due.max(patience) {
        (SensorHealth::Healthy, "its statistics keep coming".to_owned())
    } else if writes {
        (SensorHealth::Degraded, "its statistics have stopped while other records still come: if they were turned off, restart the sentinel".to_owned())
    } else {
        (SensorHealth::Dead, "its statistics have stopped: its process is gone or hangs, or it cannot write".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(86_400);
    const MOMENT: Duration = Duration::from_secs(1);

    /// A quiet sensor of which the sentinel sees nothing but its file.
    fn quiet() -> Evidence<'static> {
        Evidence { file: File::Filled, writer: Writer::Hidden, last_record: None, statistics: None, trouble: None }
    }

    #[track_caller]
    fn assert_health(evidence: &Evidence<'_>, health: SensorHealth, part: &str) {
        let (seen, message) = judge(evidence, PATIENCE);
        assert_eq!(seen, health, "{evidence:?}: {message}");
        assert!(message.contains(part), "{message}");
    }

    fn statistics(last: Duration, interval: Option<Duration>) -> Option<Statistics> {
        Some(Statistics { last, interval })
    }

    // Situation 31: the sensor is dead, the sentinel is not.

    #[test]
    fn a_sensor_whose_process_is_killed_is_dead_after_the_time_of_a_restart() {
        let gone = |since| Evidence { writer: Writer::Gone(since), last_record: Some(since), ..quiet() };
        assert_health(&gone(PATIENCE), SensorHealth::Dead, "no process has the alert file open");
        assert_health(&gone(PATIENCE - MOMENT), SensorHealth::Healthy, "keeps writing");
    }

    #[test]
    fn an_alert_file_of_0_bytes_for_a_day_is_a_dead_sensor() {
        assert_health(&Evidence { file: File::Empty(DAY), ..quiet() }, SensorHealth::Dead, "empty for a day");
        assert_health(&Evidence { file: File::Empty(DAY - MOMENT), ..quiet() }, SensorHealth::Unknown, "nothing tells");
    }

    #[test]
    fn a_quiet_living_sensor_is_not_reported_dead() {
        let writer = Writer::Process(17);
        assert_health(&Evidence { writer, ..quiet() }, SensorHealth::Healthy, "open for writing");
        assert_health(&Evidence { writer, last_record: Some(DAY), ..quiet() }, SensorHealth::Healthy, "open for writing");
        let rotated = Evidence { writer, file: File::Empty(DAY), last_record: Some(DAY), ..quiet() };
        assert_health(&rotated, SensorHealth::Healthy, "open for writing");
        assert_health(&Evidence { statistics: statistics(MOMENT, None), ..quiet() }, SensorHealth::Healthy, "statistics keep coming");
    }

    #[test]
    fn where_nothing_can_tell_the_health_is_unknown_and_says_so() {
        assert_health(&quiet(), SensorHealth::Unknown, "nothing tells whether it runs");
        assert_health(&Evidence { last_record: Some(HOUR), ..quiet() }, SensorHealth::Unknown, "nothing tells whether it runs");
    }

    // The rest of the table.

    #[test]
    fn a_missing_file_is_waited_for_and_then_a_dead_sensor() {
        assert_health(&Evidence { file: File::Absent(PATIENCE - MOMENT), ..quiet() }, SensorHealth::Unknown, "no alert file yet");
        assert_health(&Evidence { file: File::Absent(PATIENCE), ..quiet() }, SensorHealth::Dead, "no alert file");
    }

    #[test]
    fn a_file_that_was_renamed_and_not_made_anew_is_no_dead_sensor() {
        let away = |writer, last_record| Evidence { file: File::Away, writer, last_record, ..quiet() };
        assert_health(&away(Writer::Process(17), Some(DAY)), SensorHealth::Healthy, "still holds it open");
        assert_health(&away(Writer::Hidden, Some(HOUR)), SensorHealth::Unknown, "with their next alert");
        assert_health(&away(Writer::Gone(PATIENCE), Some(HOUR)), SensorHealth::Dead, "no process has the alert file open");
        let talks = Evidence { statistics: statistics(MOMENT, None), ..away(Writer::Hidden, Some(MOMENT)) };
        assert_health(&talks, SensorHealth::Healthy, "statistics keep coming");
    }

    #[test]
    fn what_keeps_alerts_from_being_read_is_told_with_its_remedy() {
        let unreadable = Evidence { file: File::Unreadable("Permission denied".into()), statistics: statistics(MOMENT, None), ..quiet() };
        assert_health(&unreadable, SensorHealth::Degraded, "Permission denied");
        let mounted = Evidence { trouble: Some("the file itself is mounted: mount the folder"), last_record: Some(MOMENT), ..quiet() };
        assert_health(&mounted, SensorHealth::Degraded, "mount the folder");
    }

    #[test]
    fn statistics_that_stop_are_a_dead_sensor_also_when_its_process_hangs() {
        let stopped = |last, interval| Evidence { statistics: statistics(last, interval), writer: Writer::Process(17), last_record: Some(last), ..quiet() };
        assert_health(&stopped(PATIENCE, Some(MOMENT)), SensorHealth::Dead, "statistics have stopped");
        assert_health(&stopped(PATIENCE - MOMENT, Some(MOMENT)), SensorHealth::Healthy, "keep coming");
        assert_health(&stopped(HOUR, Some(HOUR)), SensorHealth::Healthy, "keep coming");
        assert_health(&stopped(3 * HOUR, Some(HOUR)), SensorHealth::Dead, "statistics have stopped");
    }

    #[test]
    fn a_sensor_whose_statistics_were_turned_off_still_writes() {
        let turned_off = Evidence { statistics: statistics(HOUR, Some(MOMENT)), last_record: Some(MOMENT), ..quiet() };
        assert_health(&turned_off, SensorHealth::Degraded, "other records still come");
    }

    #[test]
    fn a_writer_that_opens_the_file_for_each_record_is_not_gone() {
        assert_health(&Evidence { writer: Writer::Gone(HOUR), last_record: Some(MOMENT), ..quiet() }, SensorHealth::Healthy, "keeps writing");
    }

    #[test]
    fn an_empty_file_with_a_writer_that_never_wrote_is_worth_a_look() {
        let evidence = Evidence { file: File::Empty(DAY), writer: Writer::Process(17), ..quiet() };
        assert_health(&evidence, SensorHealth::Degraded, "provoke an alert");
    }
}
