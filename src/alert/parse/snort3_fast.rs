//! Snort 3's `alert_fast.txt`: one line of text for each alert.
//!
//! ```text
//! 11/22-12:28:42.775753 [would_drop] [**] [1:39190:5]  <eth0> "MESSAGE" [**] [Classification: CLASS] [Priority: 1] [AppID: X] {TCP} 203.0.113.39:50100 -> 10.0.0.5:80
//! ```
//!
//! The stamp has no zone, and no year unless Snort runs with -y (`26/11/22-`). The action stands there only when the packet was or would be dropped, the interface only where
//! that is configured, the class only when the rule has one. The message stands in quotes and is not escaped: quotes, `[**]` and all else in it are its own, so the rest is what
//! follows the *last* `" [**] [`. A newline in it makes one record of two lines; see [`goes_on`].
//!
//! Ports stand only with TCP and UDP packets that are no fragments; a packet without IP has no addresses. ICMP and ICMPv6 are told apart by the addresses alone. The
//! format shows nothing about the flow.

use std::net::IpAddr;

use super::stamp::{Shape, Stamps, Written};
use super::text::{self, Rule};
use super::{Found, Verdict, snort3_action};
use crate::alert::event::{Action, AlertEvent, Peer};

const END_OF_MESSAGE: &[u8] = b"\" [**] [";

/// Judges one record, given without its last newline.
#[must_use]
pub(super) fn parse(record: &[u8], stamps: &Stamps) -> Verdict {
    let text = text::trim(record);
    if text.is_empty() {
        return Verdict::Ignore;
    }
    let event = Head::read(text).and_then(|head| event(&head, &Tail::read(head.body)?, stamps));
    Verdict::of(event.map(|event| Found { event, end: record.len() }).into_iter().collect())
}

/// Whether a record begins with `line`.
pub(super) fn begins(line: &[u8]) -> bool {
    Written::begins(text::trim(line), Shape::MonthDay)
}

/// Whether `record` has begun and its message has no end: the rule's message holds a newline, and the rest of the record is the next line.
pub(super) fn goes_on(record: &[u8]) -> bool {
    Head::read(text::trim(record)).is_some_and(|head| memchr::memmem::find(head.body, END_OF_MESSAGE).is_none())
}

/// What a record begins with, up to the quote before the message.
struct Head<'a> {
    stamp: Written,
    action: Option<Action>,
    rule: Rule,
    interface: Option<&'a [u8]>,
    body: &'a [u8],
}

impl<'a> Head<'a> {
    fn read(text: &'a [u8]) -> Option<Self> {
        let (stamp, rest) = Written::read(text, Shape::MonthDay)?;
        let rest = rest.strip_prefix(b" ")?;
        let (word, rest) = text::split_once(rest, b"[**] ")?;
        let action = if word.is_empty() { None } else { Some(word.strip_prefix(b"[")?.strip_suffix(b"] ")?) };
        let (rule, rest) = Rule::in_brackets(rest)?;
        let (interface, body) = text::split_once(rest, b"\"")?;
        let interface = text::trim_blanks(interface);
        let interface = if interface.is_empty() { None } else { Some(interface.strip_prefix(b"<")?.strip_suffix(b">")?) };
        Some(Self { stamp, action: action.and_then(|word| snort3_action(&text::lossy(word))), rule, interface, body })
    }
}

/// The message and what follows it.
struct Tail<'a> {
    message: &'a [u8],
    class: Option<&'a [u8]>,
    priority: i64,
    proto: &'a [u8],
    source: &'a [u8],
    destination: &'a [u8],
}

impl<'a> Tail<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let (message, _) = text::split_last(body, END_OF_MESSAGE)?;
        let rest = body.get(message.len() + END_OF_MESSAGE.len() - 1..)?;
        let (class, rest) = match text::named(rest, b"Classification") {
            Some((class, rest)) => (Some(class), rest.strip_prefix(b" ")?),
            None => (None, rest),
        };
        let (priority, rest) = text::named(rest, b"Priority")?;
        let (_, rest) = text::split_once(rest, b"{")?;
        let (proto, ends) = text::split_once(rest, b"} ")?;
        let (source, destination) = text::split_once(ends, b" ->")?;
        Some(Self { message, class, priority: text::number(priority)?, proto, source: text::trim_blanks(source), destination: text::trim_blanks(destination) })
    }
}

fn event(head: &Head<'_>, tail: &Tail<'_>, stamps: &Stamps) -> Option<AlertEvent> {
    let Tail { message, class, priority, proto, source, destination } = *tail;
    let proto = text::lossy(proto);
    let (source, destination) =
        if source.is_empty() && destination.is_empty() { (None, None) } else { (Some(end(source, &proto)?), Some(end(destination, &proto)?)) };
    Some(AlertEvent {
        gid: head.rule.gid,
        sid: head.rule.sid,
        rev: Some(head.rule.rev),
        message: text::lossy(message),
        classification: class.and_then(|class| text::class(&text::lossy(class))),
        severity_native: Some(priority),
        severity: text::priority_severity(Some(priority)),
        action: head.action,
        proto: Some(proto),
        source,
        destination,
        time: head.stamp.resolve(stamps),
        interface: head.interface.map(text::lossy),
        ..AlertEvent::of("snort")
    })
}

/// An address with its port, or alone: a scan's alert names TCP and no port.
fn end(text: &[u8], proto: &str) -> Option<Peer> {
    let alone = |ip: IpAddr| Peer { ip, port: None };
    if !text::has_ports(proto) {
        return text::address(text).map(alone);
    }
    let with_port = text::address_and_number(text).map(|(ip, port)| text::peer(ip, port, proto));
    with_port.or_else(|| text::address(text).map(alone))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIME: &str = "11/22-10:33:00.123456";
    const TAIL: &str = "[**] [Classification: Misc activity] [Priority: 3] {TCP} 203.0.113.39:50100 -> 10.0.0.5:80";

    fn stamps() -> Stamps {
        Stamps::utc("2026-11-22T12:00:00Z".parse().unwrap())
    }

    #[track_caller]
    fn alert(line: &str) -> AlertEvent {
        match parse(line.as_bytes(), &stamps()) {
            Verdict::Alerts(mut found) => found.remove(0).event,
            other => panic!("{other:?} for {line}"),
        }
    }

    #[test]
    fn quotes_and_marks_in_a_message_are_its_own() {
        for message in ["a \"b\" c", "x\" [**] [Classification: y] [Priority: 1] {TCP} 1.2.3.4:5 -> 6.7.8.9:10 \"", "ends with \\", "two\nlines", "a\tb\r\u{7}"]
        {
            let event = alert(&format!("{TIME} [**] [1:7:2] \"{message}\" {TAIL}"));
            assert_eq!((event.message.as_str(), event.severity_native), (message, Some(3)));
        }
    }

    #[test]
    fn an_action_stands_there_only_when_the_packet_was_or_would_be_dropped() {
        for (word, action) in [("", None), ("[block] ", Some(Action::Drop)), ("[would_reset] ", Some(Action::WouldDrop)), ("[odd] ", None)] {
            assert_eq!(alert(&format!("{TIME} {word}[**] [1:7:2] \"m\" {TAIL}")).action, action, "{word}");
        }
    }

    #[test]
    fn optional_parts_may_be_there_or_not() {
        let event = alert(&format!(
            "{TIME} [**] [1:7:2]  <eth0:eth1> \"m\" [**] [Classification: C] [Priority: 1] [AppID: HTTP] {{UDP}} 2001:db8::7:1111 -> 2001:db8::8:53"
        ));
        assert_eq!((event.interface.as_deref(), event.classification.as_deref()), (Some("eth0:eth1"), Some("C")));
        assert_eq!(event.source.map(|end| (end.ip.to_string(), end.port)), Some(("2001:db8::7".to_owned(), Some(1111))));
        let event = alert(&format!("{TIME} [**] [116:1:1] \"m\" [**] [Priority: 0] {{eth}}  -> "));
        assert_eq!((event.source, event.classification, event.severity_native), (None, None, Some(0)));
        let event = alert(&format!("{TIME} [**] [122:1:1] \"m\" [**] [Priority: 3] {{TCP}} 203.0.113.230 -> 10.0.0.5"));
        assert_eq!(event.source.map(|end| (end.ip.to_string(), end.port)), Some(("203.0.113.230".to_owned(), None)));
        let event = alert(&format!("{TIME} [**] [1:1:1] \"m\" [**] [Priority: 3] {{ICMP}} fd5a:11:0:3::77 -> fd5a:11:0:3::10"));
        assert_eq!(event.destination.map(|end| end.ip.to_string()), Some("fd5a:11:0:3::10".to_owned()));
    }

    #[test]
    fn only_a_record_whose_message_has_no_end_goes_on_in_the_next_line() {
        assert!(goes_on(format!("{TIME} [**] [1:7:2] \"two").as_bytes()));
        assert!(!goes_on(format!("{TIME} [**] [1:7:2] \"m\" {TAIL}").as_bytes()));
        assert!(!goes_on(b"anything else"));
        assert!(begins(TIME.as_bytes()) && !begins(b"lines\" [**] [Priority: 3]"));
    }

    #[test]
    fn what_is_no_whole_record_is_rejected() {
        for line in ["x", "11/22-10:33:00.1 [**] [1:7:2] \"cut", "11/22-10:33:00.1 [**] [1:7:2] \"m\" [**] [Priority: 3] {TCP} 1.2.3.4:70000 -> 5.6.7.8:1"] {
            assert_eq!(parse(line.as_bytes(), &stamps()), Verdict::Reject(super::super::Rejection::Unreadable), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (parse(&bytes, &stamps()), goes_on(&bytes), begins(&bytes));
        }

        #[test]
        fn no_damage_to_a_line_panics(at in 0usize..200, byte in any::<u8>(), cut in 0usize..200) {
            let mut bytes = format!("{TIME} [drop] [**] [1:7:2]  <eth0> \"m\" {TAIL}").into_bytes();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut);
            let _ = (parse(&bytes, &stamps()), goes_on(&bytes));
        }
    }
}
