//! The HostAlert that says that a host has fallen silent: one object for each node, `NODE-silent`, whose count rises with each silence.
//!
//! It is an alert as any other, so that what follows is a policy's decision with all its gates. A policy must name the engine `sidestep`: silence is no intrusion, and a policy that is about every
//! engine's alerts of High severity is not about it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use sha2::{Digest as _, Sha256};

use crate::api::HostAlertSpec;
use crate::api::alert::{RecentCount, SELF_ENGINE, SILENCE_RULE};
use crate::api::condition::shorten;
use crate::api::units::{Flow, Severity};

/// An alert older than this triggers nothing any more, whatever the policy says, so none is made: one that was deleted meanwhile stays deleted.
const WORTH_AN_ALERT: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);
/// The longest message of a HostAlert, characters.
const MESSAGE_MAX_CHARS: usize = 256;
/// There is no far end.
const NOBODY: &str = "-";

/// The name of the HostAlert.
#[must_use]
pub fn name(node: &str) -> String {
    format!("{node}-silent")
}

/// What the HostAlert of a silence should say: a node that has been silent `since`, for the reason in `message`. Nothing when `earlier`, the object as it is, says it already, and when the silence
/// is too old to matter.
#[must_use]
pub fn alert(node: &str, since: Timestamp, message: &str, earlier: Option<&HostAlertSpec>, now: Timestamp) -> Option<HostAlertSpec> {
    let is_told = earlier.is_some_and(|earlier| earlier.last_seen.0 >= since);
    if is_told || now.duration_since(since) > WORTH_AN_ALERT {
        return None;
    }
    let (seq, count) = earlier.map_or((0, 0), |earlier| (earlier.seq, earlier.count));
    Some(HostAlertSpec {
        node: node.to_owned(),
        series: series(),
        seq: seq + 1,
        engine: SELF_ENGINE.to_owned(),
        rule_id: SILENCE_RULE.to_owned(),
        gid: None,
        sid: None,
        rev: None,
        message: shorten(message.to_owned(), MESSAGE_MAX_CHARS),
        classification: None,
        severity: Severity::High,
        severity_native: None,
        tags: Vec::new(),
        distinct_subjects: None,
        action: None,
        proto: None,
        source: None,
        destinations: Vec::new(),
        more_destinations: false,
        subject: NOBODY.to_owned(),
        flow: Flow::Unknown,
        first_seen: earlier.map_or(MicroTime(since), |earlier| earlier.first_seen.clone()),
        last_seen: MicroTime(since),
        sensor_time: None,
        read_at: None,
        count: count + 1,
        recent: vec![RecentCount { seconds_ago: 0, count: 1 }],
    })
}

/// As for any series: 16 hex digits made from engine, rule, subject and flow.
fn series() -> String {
    let mut hash = Sha256::new();
    for part in [SELF_ENGINE, SILENCE_RULE, NOBODY, "Unknown"] {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_silence_is_an_alert_of_the_operators_own_and_the_next_one_counts_on() {
        let first = alert("n1", at(0), "its Lease was not renewed", None, at(1)).unwrap();
        assert_eq!((first.engine.as_str(), first.rule_id.as_str(), first.severity, first.subject.as_str()), ("sidestep", "SensorSilent", Severity::High, "-"));
        assert_eq!((first.seq, first.count, first.first_seen.0, first.last_seen.0), (1, 1, at(0), at(0)));
        let second = alert("n1", at(500), "again", Some(&first), at(501)).unwrap();
        assert_eq!((second.seq, second.count, second.first_seen.0, second.last_seen.0), (2, 2, at(0), at(500)));
        assert_eq!(first.series, second.series);
        assert_eq!(first.series.len(), 16);
        assert_eq!(name("n1"), "n1-silent");
    }

    #[test]
    fn the_same_silence_is_told_once_also_when_the_operator_was_restarted_in_between() {
        let told = alert("n1", at(0), "its Lease was not renewed", None, at(1));
        assert_eq!(alert("n1", at(0), "its Lease was not renewed", told.as_ref(), at(2)), None);
    }

    #[test]
    fn an_old_silence_whose_alert_is_gone_makes_no_new_one() {
        assert!(alert("n1", at(0), "", None, at(600)).is_some());
        assert_eq!(alert("n1", at(0), "", None, at(601)), None);
    }
}
