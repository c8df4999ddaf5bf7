//! What a HostAlert says about its events so far, and how one more event changes it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use sha2::{Digest, Sha256};

use crate::alert::event::{AlertEvent, Peer};
use crate::api::alert::{Endpoint, HostAlertSpec, RecentCount};
use crate::api::units::Flow;

const DESTINATIONS: usize = 4;
const RECENT_SECONDS: i64 = 60;
/// An event that was this old when it was read is counted, but not in `recent`: it is no part of what happens now.
const TOO_OLD_FOR_RECENT: Duration = Duration::from_secs(600);
const MAX_MESSAGE_CHARS: usize = 256;
const MAX_CLASSIFICATION_CHARS: usize = 128;
const MAX_PROTO_CHARS: usize = 32;
const MAX_TAGS: usize = 16;
const MAX_TAG_CHARS: usize = 64;

/// What stands in the place of one engine, rule or far end where there are several.
const SEVERAL: &str = "-";

/// When and how a record was read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The wall clock at the reading.
    pub at: Timestamp,
    /// Whether the reader was at the end of the file, so that the record has only just been written. Else it is of a backlog.
    pub live: bool,
}

impl Reading {
    /// When the event took place: a live one now, whatever the sensor's clock says; one of a backlog when its stamp says, but not after it was read.
    fn date(self, stamp: Option<Timestamp>) -> Timestamp {
        match stamp {
            Some(stamp) if !self.live => stamp.min(self.at),
            _ => self.at,
        }
    }
}

/// What a series is about, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The rule; `-` where a slot holds several.
    pub(super) rule_id: Option<String>,
    /// The far end; `-` when there is none or there are several.
    pub(super) subject: String,
    /// The flow of all its events.
    pub(super) flow: Flow,
    /// Whether the slot holds several far ends.
    pub(super) is_overflow: bool,
}

impl Told {
    /// A series of its own.
    pub(super) fn alone(event: &AlertEvent) -> Self {
        let subject = event.subject().map_or_else(|| SEVERAL.to_owned(), |ip| ip.to_string());
        Self { rule_id: Some(event.rule_id()), subject, flow: event.flow, is_overflow: false }
    }

    /// The overflow of the event's rule.
    pub(super) fn of_rule(event: &AlertEvent) -> Self {
        let flow = if event.flow == Flow::Established { Flow::Established } else { Flow::Unknown };
        Self { rule_id: Some(event.rule_id()), subject: SEVERAL.to_owned(), flow, is_overflow: true }
    }

    /// Everything else, of every engine: one series for ever. Its flow is told apart from its name, by [`next`].
    pub(super) fn rest() -> Self {
        Self { rule_id: None, subject: SEVERAL.to_owned(), flow: Flow::Unknown, is_overflow: true }
    }

    fn rule_word(&self) -> &str {
        self.rule_id.as_deref().unwrap_or(SEVERAL)
    }

    /// 16 hex digits of engine, rule, subject and flow.
    pub(super) fn series(&self, engine: &str) -> String {
        let mut hash = Sha256::new();
        let engine = if self.rule_id.is_some() { engine } else { SEVERAL };
        for part in [engine, self.rule_word(), &self.subject, flow_word(self.flow)] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn flow_word(flow: Flow) -> &'static str {
    match flow {
        Flow::Established => "Established",
        Flow::OneWay => "OneWay",
        Flow::Unknown => "Unknown",
    }
}

/// The first event of a series.
pub(super) fn first(node: &str, told: &Told, event: &AlertEvent, seq: i64, reading: Reading) -> HostAlertSpec {
    let date = MicroTime(reading.date(event.time));
    let mut spec = HostAlertSpec {
        node: node.to_owned(),
        series: told.series(event.engine),
        seq,
        engine: event.engine.to_owned(),
        rule_id: told.rule_word().to_owned(),
        gid: None,
        sid: None,
        rev: None,
        message: String::new(),
        classification: None,
        severity: event.severity,
        severity_native: None,
        tags: Vec::new(),
        action: None,
        proto: None,
        source: None,
        destinations: Vec::new(),
        more_destinations: false,
        subject: told.subject.clone(),
        distinct_subjects: None,
        flow: if told.rule_id.is_none() { weakest(event.flow, Flow::Established) } else { told.flow },
        first_seen: date.clone(),
        last_seen: date,
        sensor_time: None,
        read_at: None,
        count: 1,
        recent: Vec::new(),
    };
    describe(&mut spec, told, event, reading);
    count_recent(&mut spec, event, reading);
    spec
}

/// One more event of the same series.
pub(super) fn next(spec: &mut HostAlertSpec, told: &Told, event: &AlertEvent, reading: Reading) {
    spec.seq += 1;
    spec.count += 1;
    let date = reading.date(event.time);
    // Records of a backlog are not quite in the order of their stamps; the clock itself may have been set back between two live ones.
    let last = if reading.live { date } else { date.max(spec.last_seen.0) };
    shift_recent(spec, last);
    spec.last_seen = MicroTime(last);
    if told.rule_id.is_none() {
        spec.flow = weakest(event.flow, spec.flow);
        if spec.engine != event.engine {
            SEVERAL.clone_into(&mut spec.engine);
        }
    }
    describe(spec, told, event, reading);
    count_recent(spec, event, reading);
}

/// Established only if all are.
fn weakest(one: Flow, other: Flow) -> Flow {
    if one == Flow::Established && other == Flow::Established { Flow::Established } else { Flow::Unknown }
}

/// What is told of the last event.
fn describe(spec: &mut HostAlertSpec, told: &Told, event: &AlertEvent, reading: Reading) {
    if told.rule_id.is_some() {
        spec.gid = Some(event.gid);
        spec.sid = Some(event.sid);
        spec.rev = event.rev;
        spec.message = printable(&event.message, MAX_MESSAGE_CHARS);
        spec.classification = event.classification.as_deref().map(|text| printable(text, MAX_CLASSIFICATION_CHARS));
        let tags = event.tags.iter().map(|tag| printable(tag, MAX_TAG_CHARS)).filter(|tag| !tag.is_empty());
        spec.tags = tags.take(MAX_TAGS).collect();
    } else {
        spec.message = "Alerts of more rules than there are slots for".to_owned();
    }
    spec.severity = if told.is_overflow { spec.severity.max(event.severity) } else { event.severity };
    spec.severity_native = event.severity_native;
    spec.action = event.action.map(|action| action.as_str().to_owned());
    spec.proto = event.proto.as_deref().map(|text| printable(text, MAX_PROTO_CHARS));
    spec.source = event.source.map(endpoint);
    spec.sensor_time = event.time.map(MicroTime);
    spec.read_at = (reading.at != spec.last_seen.0).then_some(MicroTime(reading.at));
    if let Some(destination) = event.destination.map(endpoint) {
        spec.destinations.retain(|known| known.ip != destination.ip);
        spec.destinations.push(destination);
        let surplus = spec.destinations.len().saturating_sub(DESTINATIONS);
        spec.destinations.drain(..surplus);
        spec.more_destinations |= surplus > 0;
    }
}

fn endpoint(peer: Peer) -> Endpoint {
    Endpoint { ip: peer.ip.to_string(), port: peer.port }
}

/// Moves the counts to another `lastSeen`. When the clock was set back, what was later counts as just now.
fn shift_recent(spec: &mut HostAlertSpec, last: Timestamp) {
    let shift = last.as_second() - spec.last_seen.0.as_second();
    let old = std::mem::take(&mut spec.recent);
    for RecentCount { seconds_ago, count } in old {
        add_recent(spec, i64::from(seconds_ago) + shift, count);
    }
}

fn count_recent(spec: &mut HostAlertSpec, event: &AlertEvent, reading: Reading) {
    let date = reading.date(event.time);
    let age_when_read = reading.at.as_second() - date.as_second();
    if age_when_read <= TOO_OLD_FOR_RECENT.as_secs().cast_signed() {
        add_recent(spec, spec.last_seen.0.as_second() - date.as_second(), 1);
    }
}

fn add_recent(spec: &mut HostAlertSpec, seconds_ago: i64, count: i64) {
    let seconds_ago = seconds_ago.max(0);
    if seconds_ago >= RECENT_SECONDS {
        return;
    }
    let Ok(seconds_ago) = u32::try_from(seconds_ago) else { return };
    match spec.recent.binary_search_by_key(&seconds_ago, |bucket| bucket.seconds_ago) {
        Ok(at) => spec.recent.iter_mut().skip(at).take(1).for_each(|bucket| bucket.count += count),
        Err(at) => spec.recent.insert(at, RecentCount { seconds_ago, count }),
    }
}

/// Untrusted text for people: control characters and what turns text around are escaped, the length is bounded.
fn printable(text: &str, max_chars: usize) -> String {
    let mut shown = String::new();
    let mut left = max_chars;
    for character in text.chars() {
        let hidden = character.is_control() || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        let piece: String = if hidden { character.escape_unicode().collect() } else { character.into() };
        let Some(rest) = left.checked_sub(piece.chars().count()) else { break };
        left = rest;
        shown.push_str(&piece);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::parse::stamp::Stamps;
    use crate::alert::parse::{Format, Verdict};

    fn event(stamp: &str) -> AlertEvent {
        let line = format!(
            r#"{{"timestamp":"{stamp}","event_type":"alert","src_ip":"203.0.113.7","dest_ip":"10.0.0.1","alert":{{"gid":1,"signature_id":7,"severity":1}}}}"#
        );
        match Format::SuricataEve.parse(line.as_bytes(), &Stamps::utc(Timestamp::UNIX_EPOCH)) {
            Verdict::Alerts(mut found) => found.remove(0).event,
            other => panic!("{other:?}"),
        }
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn counts(spec: &HostAlertSpec) -> Vec<(u32, i64)> {
        spec.recent.iter().map(|bucket| (bucket.seconds_ago, bucket.count)).collect()
    }

    fn started(event: &AlertEvent, reading: Reading) -> (Told, HostAlertSpec) {
        let told = Told::alone(event);
        let spec = first("n1", &told, event, 1, reading);
        (told, spec)
    }

    #[test]
    fn a_live_event_is_dated_by_the_reading_whatever_the_sensor_says() {
        let now = at("2026-11-22T12:00:00Z");
        for stamp in ["2026-11-22T11:00:00+0000", "2026-11-22T13:00:00+0000", "1900-01-00T00:00:14.199185+0000"] {
            let (_, spec) = started(&event(stamp), Reading { at: now, live: true });
            assert_eq!((spec.last_seen.0, counts(&spec)), (now, vec![(0, 1)]), "{stamp}");
        }
    }

    #[test]
    fn a_backlog_event_is_dated_by_the_sensor_but_never_after_the_reading() {
        let now = at("2026-11-22T12:00:00Z");
        let date = |stamp: &str| started(&event(stamp), Reading { at: now, live: false }).1.last_seen.0;
        assert_eq!(date("2026-11-22T11:59:30+0000"), at("2026-11-22T11:59:30Z"));
        assert_eq!(date("2026-11-22T13:00:00+0000"), now);
        assert_eq!(date("nonsense"), now);
    }

    #[test]
    fn when_a_backlog_event_was_read_is_told_and_of_a_live_one_it_is_known() {
        let reading = |live| Reading { at: at("2026-11-22T12:00:00Z"), live };
        let (told, mut spec) = started(&event("2026-11-22T11:59:30+0000"), reading(false));
        assert_eq!(spec.read_at, Some(MicroTime(at("2026-11-22T12:00:00Z"))));
        next(&mut spec, &told, &event("2026-11-22T11:59:30+0000"), reading(true));
        assert_eq!(spec.read_at, None);
    }

    #[test]
    fn an_event_older_than_ten_minutes_when_read_is_counted_but_not_recent() {
        let backlog = Reading { at: at("2026-11-22T12:00:00Z"), live: false };
        let (told, mut spec) = started(&event("2026-11-22T11:49:00+0000"), backlog);
        next(&mut spec, &told, &event("2026-11-22T11:49:01+0000"), backlog);
        assert_eq!((spec.count, counts(&spec)), (2, Vec::new()));
        next(&mut spec, &told, &event("2026-11-22T11:59:59+0000"), backlog);
        assert_eq!((spec.count, counts(&spec)), (3, vec![(0, 1)]));
    }

    #[test]
    fn recent_counts_move_into_the_past_and_leave_after_a_minute() {
        let live = |time: &str| Reading { at: at(time), live: true };
        let (told, mut spec) = started(&event(""), live("2026-11-22T12:00:00.9Z"));
        next(&mut spec, &told, &event(""), live("2026-11-22T12:00:01.1Z"));
        assert_eq!(counts(&spec), [(0, 1), (1, 1)]);
        next(&mut spec, &told, &event(""), live("2026-11-22T12:00:59.9Z"));
        assert_eq!(counts(&spec), [(0, 1), (58, 1), (59, 1)]);
        next(&mut spec, &told, &event(""), live("2026-11-22T12:01:00Z"));
        assert_eq!(counts(&spec), [(0, 1), (1, 1), (59, 1)]);
        assert_eq!(spec.count, 4);
    }

    #[test]
    fn a_clock_that_is_set_back_loses_no_recent_event() {
        let live = |time: &str| Reading { at: at(time), live: true };
        let (told, mut spec) = started(&event(""), live("2026-11-22T12:00:00Z"));
        next(&mut spec, &told, &event(""), live("2026-11-22T11:00:00Z"));
        assert_eq!((spec.last_seen.0, counts(&spec)), (at("2026-11-22T11:00:00Z"), vec![(0, 2)]));
    }

    #[test]
    fn the_four_latest_destinations_are_kept_and_it_is_said_that_there_were_more() {
        let reading = Reading { at: at("2026-11-22T12:00:00Z"), live: true };
        let mut event = event("");
        let (told, mut spec) = started(&event, reading);
        let mut send = |spec: &mut HostAlertSpec, last: u8, port: u16| {
            event.destination = Some(Peer { ip: format!("10.0.0.{last}").parse().unwrap(), port: Some(port) });
            next(spec, &told, &event, reading);
        };
        for (last, port) in [(2, 80), (3, 80), (4, 80), (2, 443)] {
            send(&mut spec, last, port);
        }
        assert!(!spec.more_destinations, "four addresses, one of them with two ports");
        send(&mut spec, 5, 80);
        assert!(spec.more_destinations);
        let ends: Vec<(&str, Option<u16>)> = spec.destinations.iter().map(|end| (end.ip.as_str(), end.port)).collect();
        assert_eq!(ends, [("10.0.0.3", Some(80)), ("10.0.0.4", Some(80)), ("10.0.0.2", Some(443)), ("10.0.0.5", Some(80))]);
    }

    #[test]
    fn everything_else_is_established_only_while_all_of_it_is() {
        let reading = Reading { at: at("2026-11-22T12:00:00Z"), live: true };
        let mut event = event("");
        event.flow = Flow::Established;
        let told = Told::rest();
        let mut spec = first("n1", &told, &event, 1, reading);
        next(&mut spec, &told, &event, reading);
        assert_eq!((spec.flow, spec.engine.as_str()), (Flow::Established, "suricata"));
        event.flow = Flow::OneWay;
        next(&mut spec, &told, &event, reading);
        event.flow = Flow::Established;
        event.engine = "snort";
        next(&mut spec, &told, &event, reading);
        assert_eq!((spec.flow, spec.engine.as_str(), spec.count), (Flow::Unknown, "-", 4));
        assert_eq!(told.series("suricata"), told.series("snort"));
    }

    #[test]
    fn tags_are_escaped_and_bounded() {
        let mut event = event("");
        event.tags = (0..40).map(|number| format!("tag-{number}\u{1b}")).chain([String::new()]).collect();
        let (_, spec) = started(&event, Reading { at: at("2026-11-22T12:00:00Z"), live: true });
        assert_eq!((spec.tags.len(), spec.tags[0].as_str()), (16, "tag-0\\u{1b}"));
    }

    #[test]
    fn texts_are_escaped_and_bounded() {
        assert_eq!(printable("a\u{1b}[31m\u{202e}b", 256), "a\\u{1b}[31m\\u{202e}b");
        assert_eq!(printable(&"ü".repeat(300), 256).chars().count(), 256);
        assert_eq!(printable("abc\u{1b}", 4), "abc");
    }

    #[test]
    fn series_differ_by_rule_subject_and_flow() {
        let one = event("");
        let mut other = one.clone();
        other.sid = 8;
        let mut reply = one.clone();
        reply.on_reply = true;
        let mut established = one.clone();
        established.flow = Flow::Established;
        let series = [&one, &other, &reply, &established].map(|event| Told::alone(event).series("suricata"));
        assert!(series.iter().all(|name| name.len() == 16));
        let distinct: std::collections::BTreeSet<_> = series.iter().collect();
        assert_eq!(distinct.len(), 4);
    }
}
