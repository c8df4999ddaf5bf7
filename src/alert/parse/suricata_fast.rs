//! Suricata's `fast.log`: one line of text for each alert.
//!
//! ```text
//! 11/22/2026-10:21:43.000001  [Drop] [**] [1:2024897:3] MESSAGE [**] [Classification: CLASS] [Priority: 1] {TCP} 203.0.113.9:4711 -> 10.0.0.5:80
//! ```
//!
//! The stamp has no zone. The message may hold anything but a newline, also what looks like the rest of a line: so the rest is what follows the *last*
//! ` [**] [Classification: `. A packet without IP has ` [**] [Raw pkt: …]` in the place of addresses. IPv6 stands without brackets. Where a protocol has no ports, the
//! numbers behind the addresses are ICMP's type and code, or 0.
//!
//! **Several alerts in one line.** Suricata cuts a record at [`CUT_BYTES`] with its newline, so that the next one follows on the same line; after a full disk any record may be
//! cut anywhere. So a line is searched for further beginnings of records. A record that is exactly that long and followed by another is an alert whose end is
//! missing: what can be read of it is told. Any other that is cut is given up, and those behind it are told.
//!
//! The format shows nothing about the flow.

use super::stamp::{Shape, Stamps, Written};
use super::text::{self, Rule};
use super::{Found, Verdict};
use crate::alert::event::{Action, AlertEvent, Icmp, Peer};
use crate::api::units::Flow;

/// Suricata's buffer for a record holds so many bytes, newline included.
const CUT_BYTES: usize = 2047;
const CLASSIFICATION: &[u8] = b" [**] [Classification: ";
const PRIORITY: &[u8] = b"] [Priority: ";

/// Judges one line, given without its newline.
#[must_use]
pub(super) fn parse(line: &[u8], stamps: &Stamps) -> Verdict {
    let record = text::trim(line);
    if record.is_empty() {
        return Verdict::Ignore;
    }
    let mut found = Vec::new();
    let mut rest = record;
    while let Some(head) = Head::read(rest) {
        let next = next_head(head.body);
        let (body, behind) = head.body.split_at(next.unwrap_or(head.body.len()));
        let is_cut_by_sensor = next.is_some() && rest.len() - behind.len() == CUT_BYTES;
        let tail = Tail::read(body).or_else(|| is_cut_by_sensor.then(|| Tail::of_cut(body)));
        if let Some(tail) = tail {
            // The last one ends where the line does.
            let end = if next.is_some() { end_in(line, behind) } else { line.len() };
            found.push(Found { event: event(&head, tail, stamps), end });
        }
        rest = behind;
    }
    Verdict::of(found)
}

/// How many bytes of `line` lie before `behind`, a part of it.
fn end_in(line: &[u8], behind: &[u8]) -> usize {
    (behind.as_ptr() as usize).saturating_sub(line.as_ptr() as usize).min(line.len())
}

/// What a record begins with.
struct Head<'a> {
    stamp: Written,
    action: Option<Action>,
    rule: Rule,
    body: &'a [u8],
}

impl<'a> Head<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let (stamp, rest) = Written::read(text, Shape::MonthDayYear)?;
        let rest = rest.strip_prefix(b"  ")?;
        let (action, rest) = read_action(rest);
        let (rule, body) = Rule::in_brackets(rest.strip_prefix(b"[**] ")?)?;
        Some(Self { stamp, action, rule, body: body.strip_prefix(b" ").unwrap_or(body) })
    }
}

fn read_action(text: &[u8]) -> (Option<Action>, &[u8]) {
    let words: [(&[u8], Action); 2] = [(b"[Drop] ", Action::Drop), (b"[wDrop] ", Action::WouldDrop)];
    words.into_iter().find_map(|(word, action)| Some((Some(action), text.strip_prefix(word)?))).unwrap_or((None, text))
}

/// Where the next record begins inside a line. Each begins with a stamp, so only what follows a `/` two bytes on can be one.
fn next_head(body: &[u8]) -> Option<usize> {
    let slashes = memchr::memchr_iter(b'/', body).filter_map(|slash| slash.checked_sub(2));
    slashes.into_iter().find(|start| body.get(*start..).is_some_and(|text| Head::read(text).is_some()))
}

/// What follows a record's beginning.
#[derive(Default)]
struct Tail<'a> {
    message: &'a [u8],
    class: Option<&'a [u8]>,
    priority: Option<i64>,
    proto: Option<String>,
    source: Option<End>,
    destination: Option<End>,
}

/// An address and the number behind it.
type End = (std::net::IpAddr, u16);

impl<'a> Tail<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let (message, rest) = text::split_last(body, CLASSIFICATION)?;
        let (class, rest) = text::split_once(rest, PRIORITY)?;
        let (priority, rest) = text::split_once(rest, b"]")?;
        let tail = Self { message, class: Some(class), priority: Some(text::number(priority)?), ..Self::default() };
        if rest.starts_with(b" [**] [Raw pkt:") {
            return Some(tail);
        }
        let (proto, ends) = text::split_once(rest.strip_prefix(b" {")?, b"} ")?;
        let ends = text::split_once(ends, b" [pcap file packet: ").map_or(ends, |(ends, _)| ends);
        let (source, destination) = text::split_once(ends, b" -> ")?;
        let end = |text: &[u8]| text::address_and_number(text::trim_blanks(text));
        Some(Self { proto: Some(protocol_name(proto)), source: Some(end(source)?), destination: Some(end(destination)?), ..tail })
    }

    /// As much as the sensor wrote before it cut the record. The number at the cut may be short of digits, so the destination is left out.
    fn of_cut(body: &'a [u8]) -> Self {
        let Some((message, rest)) = text::split_last(body, CLASSIFICATION) else { return Self { message: body, ..Self::default() } };
        let tail = Self { message, ..Self::default() };
        let Some((class, rest)) = text::split_once(rest, PRIORITY) else { return tail };
        let Some((priority, rest)) = text::split_once(rest, b"]") else { return Self { class: Some(class), ..tail } };
        let tail = Self { class: Some(class), priority: text::number(priority), ..tail };
        let Some((proto, ends)) = rest.strip_prefix(b" {").and_then(|rest| text::split_once(rest, b"} ")) else { return tail };
        let source = text::split_once(ends, b" -> ").and_then(|(source, _)| text::address_and_number(source));
        Self { proto: Some(protocol_name(proto)), source, ..tail }
    }
}

fn protocol_name(name: &[u8]) -> String {
    if name == b"IPv6-ICMP" { "ICMPv6".to_owned() } else { text::lossy(name) }
}

fn event(head: &Head<'_>, tail: Tail<'_>, stamps: &Stamps) -> AlertEvent {
    let Tail { message, class, priority, proto, source, destination } = tail;
    let is_icmp = proto.as_deref().is_some_and(|name| name.eq_ignore_ascii_case("ICMP") || name == "ICMPv6");
    let icmp =
        source.zip(destination).filter(|_| is_icmp).and_then(|((_, kind), (_, code))| Some(Icmp { kind: kind.try_into().ok()?, code: code.try_into().ok() }));
    let peer = |end: Option<End>| -> Option<Peer> { end.map(|(ip, number)| text::peer(ip, number, proto.as_deref().unwrap_or_default())) };
    AlertEvent {
        gid: head.rule.gid,
        sid: head.rule.sid,
        rev: Some(head.rule.rev),
        message: text::lossy(message),
        classification: class.and_then(|class| text::class(&text::lossy(class))),
        severity_native: priority,
        severity: text::priority_severity(priority),
        action: head.action,
        source: peer(source),
        destination: peer(destination),
        icmp,
        flow: Flow::Unknown,
        time: head.stamp.resolve(stamps),
        proto,
        ..AlertEvent::of("suricata")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: &str = "11/22/2026-10:21:43.000001";
    const TAIL: &str = "[**] [Classification: Misc activity] [Priority: 3] {UDP} 203.0.113.9:53 -> 10.0.0.5:4447";

    fn stamps() -> Stamps {
        Stamps::utc("2026-11-22T12:00:00Z".parse().unwrap())
    }

    fn alerts(line: &str) -> Vec<AlertEvent> {
        match parse(line.as_bytes(), &stamps()) {
            Verdict::Alerts(found) => {
                assert_eq!(found.last().map(|last| last.end), Some(line.len()));
                found.into_iter().map(|found| found.event).collect()
            }
            _ => Vec::new(),
        }
    }

    #[track_caller]
    fn alert(line: &str) -> AlertEvent {
        let mut alerts = alerts(line);
        assert_eq!(alerts.len(), 1, "{line}");
        alerts.remove(0)
    }

    #[test]
    fn a_message_that_looks_like_the_rest_of_a_line_is_a_message() {
        let forged = "x [**] [Classification: y] [Priority: 1] {TCP} 1.2.3.4:1 -> 5.6.7.8:9";
        let event = alert(&format!("{TIME}  [**] [1:7:1] {forged} {TAIL}"));
        assert_eq!((event.message.as_str(), event.severity_native, event.proto.as_deref()), (forged, Some(3), Some("UDP")));
    }

    #[test]
    fn what_an_inline_sensor_did_stands_before_the_rule() {
        for (word, action) in [("", None), ("[Drop] ", Some(Action::Drop)), ("[wDrop] ", Some(Action::WouldDrop))] {
            assert_eq!(alert(&format!("{TIME}  {word}[**] [1:7:1] x {TAIL}")).action, action);
        }
    }

    #[test]
    fn a_packet_without_ip_has_no_addresses() {
        let event = alert(&format!("{TIME}  [**] [1:7:1] x [**] [Classification: (null)] [Priority: 3] [**] [Raw pkt: FF 02 ] [pcap file packet: 77]"));
        assert_eq!((event.proto, event.source, event.classification), (None, None, None));
    }

    #[test]
    fn a_record_that_the_sensor_cut_with_its_newline_and_the_one_behind_it_are_both_told() {
        let head = format!("{TIME}  [**] [1:7:1] ");
        let whole = format!("{head}{} {TAIL}", "m".repeat(2100));
        let cut = &whole[..CUT_BYTES];
        let both = alerts(&format!("{cut}{TIME}  [**] [1:8:1] next {TAIL}"));
        assert_eq!(both.iter().map(|event| (event.sid, event.severity_native)).collect::<Vec<_>>(), [(7, None), (8, Some(3))]);
        // Cut inside the last number, which then may be short of digits.
        let filler = "m".repeat(CUT_BYTES + 2 - head.len() - TAIL.len() - 1);
        let whole = format!("{head}{filler} {TAIL}");
        let both = alerts(&format!("{}{TIME}  [**] [1:8:1] next {TAIL}", &whole[..CUT_BYTES]));
        assert_eq!(both[0].source.map(|end| end.ip.to_string()).as_deref(), Some("203.0.113.9"));
        assert_eq!(both.iter().map(|event| (event.sid, event.severity_native)).collect::<Vec<_>>(), [(7, Some(3)), (8, Some(3))]);
    }

    #[test]
    fn the_end_of_each_alert_in_a_line_is_where_the_next_begins() {
        let one = format!("{TIME}  [**] [1:7:1] x {TAIL}");
        let Verdict::Alerts(found) = parse(format!("{one}{one}\r").as_bytes(), &stamps()) else { panic!() };
        assert_eq!(found.iter().map(|found| found.end).collect::<Vec<_>>(), [one.len(), 2 * one.len() + 1]);
    }

    #[test]
    fn a_record_that_a_full_disk_cut_is_given_up_and_the_one_behind_it_told() {
        let event = alert(&format!("{TIME}  [**] [1:12:1] cut by a full dis{TIME}  [**] [1:8:1] next {TAIL}"));
        assert_eq!(event.sid, 8);
    }

    #[test]
    fn what_is_no_whole_record_is_rejected() {
        for tail in [
            "cut by a full dis",
            "x [**] [Classification: y] [Priority: 1] {TCP} 1.2.3.4:70000 -> 5.6.7.8:2",
            "x [**] [Classification: y] [Priority: 1] {TCP} 1.2.3.4:1 -> 5.6",
        ] {
            assert_eq!(parse(format!("{TIME}  [**] [1:12:1] {tail}").as_bytes(), &stamps()), Verdict::Reject(super::super::Rejection::Unreadable), "{tail}");
        }
        assert_eq!(parse(b"\r", &stamps()), Verdict::Ignore);
    }

    #[test]
    fn an_impossible_stamp_is_absent_and_the_alert_stays() {
        for time in ["01/00/1900-00:00:14.199185", "13/45/2026-99:00:00.000000"] {
            assert_eq!(alert(&format!("{time}  [**] [1:7:1] x {TAIL}")).time, None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, &stamps());
        }

        #[test]
        fn no_damage_to_a_line_panics(at in 0usize..300, byte in any::<u8>(), cut in 0usize..400) {
            let one = format!("{TIME}  [**] [1:7:1] x {TAIL}");
            let mut bytes = format!("{one}{one}").into_bytes();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut);
            let _ = parse(&bytes, &stamps());
        }
    }
}
