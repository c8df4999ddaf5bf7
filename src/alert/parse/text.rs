//! Pieces that the line formats share: `[gid:sid:rev]`, priorities, classes, addresses with their ports.

use std::net::IpAddr;

use crate::alert::event::Peer;
use crate::api::units::Severity;

/// A record without what surrounds it: a byte order mark, blanks, a carriage return, NULs.
pub(super) fn trim(mut record: &[u8]) -> &[u8] {
    record = trim_blanks(record);
    trim_blanks(record.strip_prefix(b"\xef\xbb\xbf").unwrap_or(record))
}

/// The text without blanks and NULs around it.
pub(super) fn trim_blanks(mut text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    while let Some((_, rest)) = text.split_first().filter(|(first, _)| is_blank(first)) {
        text = rest;
    }
    while let Some((_, rest)) = text.split_last().filter(|(last, _)| is_blank(last)) {
        text = rest;
    }
    text
}

/// Bytes of traffic or of a rule as text; what is not UTF-8 is replaced.
pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What stands before the first `mark` and what stands behind it.
pub(super) fn split_once<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    memchr::memmem::find(text, mark).and_then(|at| halves(text, at, mark))
}

/// What stands before the last `mark` and what stands behind it.
pub(super) fn split_last<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    memchr::memmem::rfind(text, mark).and_then(|at| halves(text, at, mark))
}

fn halves<'a>(text: &'a [u8], at: usize, mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    Some((text.get(..at)?, text.get(at + mark.len()..)?))
}

/// A rule's number: generator, signature, revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) gid: i64,
    pub(super) sid: i64,
    pub(super) rev: i64,
}

impl Rule {
    /// Reads `1:2024897:3`.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut numbers = text.split(|byte| *byte == b':').map(|digits| number::<u32>(digits).map(i64::from));
        let (gid, sid, rev) = (numbers.next()??, numbers.next()??, numbers.next()??);
        numbers.next().is_none().then_some(Self { gid, sid, rev })
    }

    /// Reads `[1:2024897:3]` from the beginning of `text`, and gives what follows it.
    pub(super) fn in_brackets(text: &[u8]) -> Option<(Self, &[u8])> {
        let (inside, rest) = split_once(text.strip_prefix(b"[")?, b"]")?;
        Some((Self::read(inside)?, rest))
    }
}

/// A number in plain digits.
pub(super) fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

/// Reads `[NAME: VALUE]` from the beginning of `text`, and gives what follows it.
pub(super) fn named<'a>(text: &'a [u8], name: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let inside = text.strip_prefix(b"[")?.strip_prefix(name)?.strip_prefix(b": ")?;
    split_once(inside, b"]")
}

/// The priority of Suricata and Snort: 1 is the worst; rule sets use 4 and more for information; 0 is none at all.
pub(super) fn priority_severity(priority: Option<i64>) -> Severity {
    match priority {
        Some(1) => Severity::High,
        Some(2) => Severity::Medium,
        Some(3) => Severity::Low,
        Some(4..) => Severity::Info,
        _ => Severity::Unknown,
    }
}

/// A class as text; sensors write `(null)`, `none` or nothing where a rule has none.
pub(super) fn class(text: &str) -> Option<String> {
    (!matches!(text, "" | "(null)" | "none")).then(|| text.to_owned())
}

/// Whether a protocol's addresses have ports.
pub(super) fn has_ports(proto: &str) -> bool {
    ["TCP", "UDP", "SCTP", "DCCP", "UDPLite"].iter().any(|name| proto.eq_ignore_ascii_case(name))
}

/// Reads `ADDRESS:NUMBER`. IPv6 stands without brackets, so the number is what follows the last colon.
pub(super) fn address_and_number(text: &[u8]) -> Option<(IpAddr, u16)> {
    let (ip, last) = split_last(text, b":")?;
    Some((address(ip)?, number(last)?))
}

/// Reads an address in any of its forms.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An end of the traffic of a protocol that has ports, or has none.
pub(super) fn peer(ip: IpAddr, port: u16, proto: &str) -> Peer {
    Peer { ip, port: has_ports(proto).then_some(port) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rules_number_has_three_parts_of_32_bits() {
        assert_eq!(Rule::read(b"4000000000:4294967294:65535"), Some(Rule { gid: 4_000_000_000, sid: 4_294_967_294, rev: 65_535 }));
        for text in ["", "1:2", "1:2:3:4", "1:-2:3", "1:+2:3", "1:2:4294967296", "a:b:c"] {
            assert_eq!(Rule::read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_number_behind_an_address_follows_its_last_colon() {
        let read = |text: &str| address_and_number(text.as_bytes()).map(|(ip, number)| (ip.to_string(), number));
        assert_eq!(read("10.0.0.5:80"), Some(("10.0.0.5".to_owned(), 80)));
        assert_eq!(read("fe80:0000:0000:0000:249b:b9ff:fe65:9026:133"), Some(("fe80::249b:b9ff:fe65:9026".to_owned(), 133)));
        assert_eq!(read("2001:db8::1:5353"), Some(("2001:db8::1".to_owned(), 5353)));
        for text in ["1.2.3.4:70000", "1.2.3.4:", "1.2.3.4", ":0", "1.2.3.4:-1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
