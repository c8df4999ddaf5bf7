//! Snort 3's `alert_json.txt`: one JSON object for each alert, with the fields that its configuration names.
//!
//! ```text
//! { "timestamp" : "11/22-11:13:20.228879", "proto" : "TCP", "src_ap" : "203.0.113.122:50262", "dst_ap" : "10.0.0.5:80", "rule" : "1:40000:0", "action" : "allow" }
//! ```
//!
//! The rule stands in `rule`, or in `gid`, `sid` and `rev`; addresses in `src_ap` and `dst_ap`, or in `src_addr` and `src_port` and so on; a field without a value is
//! left out, as are the message, the class and the priority unless they are configured. `seconds` is the time in UTC; else the stamp has neither zone nor, without -y, year.
//!
//! **The message is not escaped.** A quote, a backslash or a control byte in it makes invalid JSON, and a message such as `a", "sid" : "7` makes valid JSON with a second `sid`. So an object
//! that is invalid or names a field twice is read once more: the message then ends at the first quote behind which the rest is a valid object whose fields
//! are all new. A newline in the message makes one record of two lines; see [`goes_on`].
//!
//! The format shows nothing about the flow. `dir` says which way the packet went.

use std::borrow::Cow;

use serde::Deserialize;

use super::json::{self, Lenient};
use super::stamp::{self, Shape, Stamps, Written};
use super::text::{self, Rule};
use super::{Found, Rejection, Verdict, snort3_action};
use crate::alert::event::{AlertEvent, Icmp, Peer};

const MESSAGE: &str = "\"msg\" : \"";
const NEXT_FIELD: &str = "\", \"";
const LAST_FIELD: &str = "\" }";
/// How many ends of a message are tried, and in how long a record.
const ENDS: usize = 32;
const LONGEST_REPAIR: usize = 64 << 10;

/// Judges one record, given without its last newline.
#[must_use]
pub(super) fn parse(record: &[u8], stamps: &Stamps) -> Verdict {
    let text = text::trim(record);
    if text.is_empty() {
        return Verdict::Ignore;
    }
    // The parser would also take a list of the fields' values.
    if !text.starts_with(b"{") {
        return Verdict::Reject(Rejection::Unreadable);
    }
    let event = read(text).and_then(|fields| fields.into_event(stamps));
    Verdict::of(event.map(|event| Found { event, end: record.len() }).into_iter().collect())
}

/// Whether a record begins with `line`.
pub(super) fn begins(line: &[u8]) -> bool {
    text::trim(line).starts_with(b"{ \"")
}

/// Whether `record` has begun and has no end: its message holds a newline, and the rest is the next line.
pub(super) fn goes_on(record: &[u8]) -> bool {
    let text = text::trim(record);
    begins(text) && !text.ends_with(b"}")
}

fn read(text: &[u8]) -> Option<Fields<'_>> {
    if let Ok(fields) = serde_json::from_slice::<Fields<'_>>(text) {
        return Some(fields);
    }
    if let Some(fields) = json::repair(text).and_then(|repaired| owned(&repaired)) {
        return Some(fields);
    }
    with_raw_message(text)
}

fn owned(text: &[u8]) -> Option<Fields<'static>> {
    serde_json::from_slice::<Fields<'_>>(text).ok().map(Fields::into_owned)
}

/// Reads a record whose message is no valid JSON, or pretends to be more fields.
fn with_raw_message(record: &[u8]) -> Option<Fields<'static>> {
    if record.len() > LONGEST_REPAIR {
        return None;
    }
    let text = String::from_utf8_lossy(record);
    let (before, after) = text.split_once(MESSAGE)?;
    let ends = after.match_indices('"').map(|(at, _)| at).filter(|at| after.get(*at..).is_some_and(|rest| rest.starts_with(NEXT_FIELD) || rest == LAST_FIELD));
    ends.take(ENDS).find_map(|end| {
        let (message, rest) = after.split_at_checked(end)?;
        owned(format!("{before}{MESSAGE}{}{rest}", json::escaped(message)).as_bytes())
    })
}

/// The fields that matter. One that stands there twice is an error.
#[derive(Deserialize)]
struct Fields<'a> {
    seconds: Option<i64>,
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    proto: Option<Cow<'a, str>>,
    #[serde(borrow)]
    src_ap: Option<Cow<'a, str>>,
    #[serde(borrow)]
    dst_ap: Option<Cow<'a, str>>,
    #[serde(borrow)]
    src_addr: Option<Cow<'a, str>>,
    src_port: Option<u16>,
    #[serde(borrow)]
    dst_addr: Option<Cow<'a, str>>,
    dst_port: Option<u16>,
    #[serde(borrow)]
    rule: Option<Cow<'a, str>>,
    gid: Option<i64>,
    sid: Option<i64>,
    rev: Option<i64>,
    #[serde(borrow)]
    msg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    class: Option<Cow<'a, str>>,
    priority: Option<i64>,
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    dir: Option<Cow<'a, str>>,
    #[serde(borrow)]
    iface: Option<Cow<'a, str>>,
    #[serde(default)]
    vlan: Lenient<u16>,
    #[serde(default)]
    icmp_type: Lenient<u8>,
    #[serde(default)]
    icmp_code: Lenient<u8>,
}

/// Which end of the traffic.
#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

impl Fields<'_> {
    /// The same without the record's bytes.
    fn into_owned(self) -> Fields<'static> {
        let own = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Fields {
            seconds: self.seconds,
            timestamp: own(self.timestamp),
            proto: own(self.proto),
            src_ap: own(self.src_ap),
            dst_ap: own(self.dst_ap),
            src_addr: own(self.src_addr),
            src_port: self.src_port,
            dst_addr: own(self.dst_addr),
            dst_port: self.dst_port,
            rule: own(self.rule),
            gid: self.gid,
            sid: self.sid,
            rev: self.rev,
            msg: own(self.msg),
            class: own(self.class),
            priority: self.priority,
            action: own(self.action),
            dir: own(self.dir),
            iface: own(self.iface),
            vlan: self.vlan,
            icmp_type: self.icmp_type,
            icmp_code: self.icmp_code,
        }
    }

    fn into_event(self, stamps: &Stamps) -> Option<AlertEvent> {
        let named = self.rule.as_deref().and_then(|rule| Rule::read(rule.as_bytes()));
        let time = self.time(stamps);
        let (source, destination) = (self.end(Side::Source), self.end(Side::Destination));
        let icmp_code = self.icmp_code.get();
        Some(AlertEvent {
            gid: self.gid.or(named.map(|rule| rule.gid)).unwrap_or(1),
            sid: self.sid.or(named.map(|rule| rule.sid))?,
            rev: self.rev.or(named.map(|rule| rule.rev)),
            message: self.msg.unwrap_or_default().into_owned(),
            classification: self.class.as_deref().and_then(text::class),
            severity_native: self.priority,
            severity: text::priority_severity(self.priority),
            action: self.action.as_deref().and_then(snort3_action),
            proto: self.proto.map(Cow::into_owned),
            source,
            destination,
            icmp: self.icmp_type.get().map(|kind| Icmp { kind, code: icmp_code }),
            on_reply: self.dir.as_deref() == Some("S2C"),
            time,
            interface: self.iface.map(Cow::into_owned),
            vlan: self.vlan.get().filter(|tag| *tag != 0).into_iter().collect(),
            ..AlertEvent::of("snort")
        })
    }

    fn time(&self, stamps: &Stamps) -> Option<jiff::Timestamp> {
        let written = self.timestamp.as_deref().and_then(|text| Written::read(text.as_bytes(), Shape::MonthDay)).map(|(written, _)| written);
        match self.seconds {
            Some(second) => stamp::unix(second, written.and_then(Written::microseconds).unwrap_or(0)),
            None => written.and_then(|written| written.resolve(stamps)),
        }
    }

    fn end(&self, side: Side) -> Option<Peer> {
        let (addr, port, pair) = match side {
            Side::Source => (&self.src_addr, self.src_port, &self.src_ap),
            Side::Destination => (&self.dst_addr, self.dst_port, &self.dst_ap),
        };
        let proto = self.proto.as_deref().unwrap_or_default();
        if let Some(ip) = addr.as_deref().and_then(|text| text::address(text.as_bytes())) {
            return Some(Peer { ip, port });
        }
        // Without ports the number is 0; without addresses only `:0` is there.
        let (ip, port) = text::address_and_number(pair.as_deref()?.as_bytes())?;
        Some(text::peer(ip, port, proto))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alert::event::Action;

    fn stamps() -> Stamps {
        Stamps::utc("2026-11-22T12:00:00Z".parse().unwrap())
    }

    /// A record with this message, written as Snort does: not escaped.
    fn record(message: &str) -> String {
        format!(
            r#"{{ "seconds" : 1795351165, "timestamp" : "11/22-12:39:25.030143", "gid" : 1, "sid" : 42, "rev" : 2, "msg" : "{message}", "class" : "none", "priority" : 1, "proto" : "TCP", "src_addr" : "203.0.113.7", "src_port" : 60993, "dst_addr" : "10.0.0.5", "dst_port" : 80, "action" : "allow" }}"#
        )
    }

    #[track_caller]
    fn alert(record: &str) -> AlertEvent {
        match parse(record.as_bytes(), &stamps()) {
            Verdict::Alerts(mut found) => found.remove(0).event,
            other => panic!("{other:?} for {record}"),
        }
    }

    #[test]
    fn a_message_may_hold_anything_and_forges_no_field() {
        for message in [
            "plain",
            "a \"b\" c\\d",
            "ends with \\",
            "a\tb\r\u{7}",
            "two\nlines",
            "x\", \"action\" : \"block\", \"sid\" : \"7",
            "x\", \"sid\" : 7, \"src_addr\" : \"198.51.100.1",
            "\"",
            "",
        ] {
            let event = alert(&record(message));
            assert_eq!((event.message.as_str(), event.sid, event.action, event.severity_native), (message, 42, Some(Action::Allow), Some(1)));
            assert_eq!(event.source.map(|end| end.ip.to_string()).as_deref(), Some("203.0.113.7"));
        }
        let last = r#"{ "rule" : "1:7:2", "msg" : "a "b"" }"#;
        assert_eq!(alert(last).message, "a \"b\"");
    }

    #[test]
    fn the_default_fields_name_rule_and_ends_in_one_word_each() {
        let event = alert(
            r#"{ "timestamp" : "11/22-10:42:07.000100", "proto" : "UDP", "dir" : "S2C", "src_ap" : "203.0.113.81:1234", "dst_ap" : "2001:db8::5:53", "rule" : "1:254:16", "action" : "would_block" }"#,
        );
        assert_eq!((event.gid, event.sid, event.rev, event.action), (1, 254, Some(16), Some(Action::WouldDrop)));
        assert_eq!(event.destination.map(|end| (end.ip.to_string(), end.port)), Some(("2001:db8::5".to_owned(), Some(53))));
        assert_eq!(event.time.map(|time| time.to_string()).as_deref(), Some("2026-11-22T10:42:07.0001Z"));
        assert!(event.on_reply);
        let event = alert(r#"{ "proto" : "eth", "src_ap" : ":0", "dst_ap" : ":0", "rule" : "116:425:1" }"#);
        assert_eq!((event.source, event.destination), (None, None));
        let event = alert(r#"{ "proto" : "ICMP", "src_ap" : "10.0.0.1:0", "rule" : "1:1:1" }"#);
        assert_eq!(event.source.and_then(|end| end.port), None);
    }

    #[test]
    fn seconds_are_the_time_and_the_stamp_has_the_microseconds() {
        let kolkata = Stamps { zone: jiff::tz::TimeZone::get("Asia/Kolkata").unwrap(), ..stamps() };
        for stamp in ["11/22-18:09:25.030143", "26/11/22-18:09:25.030143"] {
            let text = format!(r#"{{ "seconds" : 1795351165, "timestamp" : "{stamp}", "rule" : "1:1:1" }}"#);
            assert_eq!(alert(&text).time.map(|time| time.to_string()).as_deref(), Some("2026-11-22T12:39:25.030143Z"));
            let text = format!(r#"{{ "timestamp" : "{stamp}", "rule" : "1:1:1" }}"#);
            let Verdict::Alerts(found) = parse(text.as_bytes(), &kolkata) else { panic!() };
            assert_eq!(found[0].event.time.map(|time| time.to_string()).as_deref(), Some("2026-11-22T12:39:25.030143Z"));
        }
    }

    #[test]
    fn only_a_record_without_end_goes_on_in_the_next_line() {
        assert!(goes_on(br#"{ "rule" : "1:1:1", "msg" : "two"#));
        assert!(!goes_on(br#"{ "rule" : "1:1:1" }"#));
        assert!(!goes_on(b"R2hvYQ=="));
        assert!(begins(br#"{ "seconds" : 1"#) && !begins(br#"lines", "class" : "none" }"#));
    }

    #[test]
    fn what_is_no_object_or_names_no_rule_is_rejected() {
        for bad in ["[]", "7", "{ \"timestamp\" : \"11/22-10:42:07.000103\", \"pro", "{ }", r#"{ "rule" : "1:2" }"#] {
            assert_eq!(parse(bad.as_bytes(), &stamps()), Verdict::Reject(Rejection::Unreadable), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (parse(&bytes, &stamps()), goes_on(&bytes), begins(&bytes));
        }

        #[test]
        fn no_damage_to_a_record_panics(at in 0usize..300, byte in any::<u8>(), cut in 0usize..400) {
            let mut bytes = record("a \"b\", \"c\" : \"d").into_bytes();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut);
            let _ = parse(&bytes, &stamps());
        }

        #[test]
        fn any_message_is_read_as_it_was_written(message in "[a-z\"\\\\,: {}]{0,20}") {
            // A message that itself looks like a new field cannot be told from one.
            prop_assume!(!message.contains("\", \"") && !message.ends_with('"'));
            let event = alert(&record(&message));
            prop_assert_eq!(event.sid, 42);
            // What happens to be valid JSON is read as such.
            prop_assume!(!message.contains('\\'));
            prop_assert_eq!(event.message, message);
        }
    }
}
