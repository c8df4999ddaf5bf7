//! Suricata's `eve.json`: one JSON object a line, of which only those with a top-level `"event_type":"alert"` are alerts.
//!
//! Reading costs little because most lines are no alerts: a byte search finds the key `"event_type"`, and where each occurrence is followed at once by another
//! type's value the line is done. Quotes inside JSON strings are always escaped, so traffic cannot forge the key; anything else the search cannot decide
//! (blanks after the colon, as other tools write them, no such key at all) is parsed, so the search never decides wrongly, it only saves work.
//!
//! **Dirty bytes.** A byte order mark, `@cee: ` before the object, a carriage return and NULs around it are skipped. Bytes that are not UTF-8 and raw control bytes inside
//! strings, which JSON forbids, are replaced and the line is read again, so that a hostile header never hides an alert. A field of less importance that has an odd
//! type is taken as absent; without a signature number there is no alert.
//!
//! **Inline mode.** For a dropped packet Suricata writes two lines, one `alert` (action `blocked`) and one `drop`. The second is another event type and so is ignored:
//! the packet counts once, and the alert shows that it was dropped.
//!
//! **Flow.** [`Flow::Established`] needs both that Suricata recognised an application protocol on TCP (`app_proto`, other than `failed`) and that it saw packets from the
//! server (`flow.pkts_toclient`). The first needs data that its stream engine accepted, hence a finished handshake, which a forger who cannot see the
//! server's replies cannot finish; the second alone would be satisfied by the server's answers to a forged SYN, and the first alone by a sensor that was told to pick up
//! streams in their middle. An answered UDP or ICMP packet shows neither.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use memchr::memmem::{self, Finder};
use serde::Deserialize;

use super::json::{self, Lenient};
use super::{Found, Rejection, Verdict, stamp, text};
use crate::alert::event::{Action, AlertEvent, Icmp, Peer};
use crate::api::units::{Flow, Severity};

const KEY: &[u8] = b"\"event_type\"";
const STATISTICS: &[u8] = b"\"event_type\":\"stats\"";
/// Within so many bytes Suricata itself writes a record's type.
const HEAD_BYTES: usize = 128;
const PREFIX: &[u8] = b"@cee:";
/// Bounds of what is taken from a rule's metadata.
const MAX_TAGS: usize = 16;
/// Metadata about the rule's own life, and the rating, which is used elsewhere.
const NO_TAGS: [&str; 4] = ["created_at", "updated_at", "signature_severity", "confidence"];

const REJECT: Verdict = Verdict::Reject(Rejection::Unreadable);

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(KEY));

/// Judges one line, given without its newline.
#[must_use]
pub(super) fn parse(line: &[u8]) -> Verdict {
    let whole = line.len();
    let line = trim(line);
    if line.is_empty() || is_other_event(line) {
        return Verdict::Ignore;
    }
    // The parser below would also take a list of the fields' values.
    if !line.starts_with(b"{") {
        return REJECT;
    }
    match serde_json::from_slice::<Record<'_>>(line) {
        Ok(record) => record.judge(whole),
        Err(error) if error.is_data() && std::str::from_utf8(line).is_ok() => REJECT,
        Err(_) => parse_repaired(line, whole),
    }
}

/// Reads a line once more with its forbidden bytes replaced.
fn parse_repaired(line: &[u8], whole: usize) -> Verdict {
    let Some(repaired) = json::repair(line) else { return REJECT };
    serde_json::from_slice::<Record<'_>>(&repaired).map_or(REJECT, |record| record.judge(whole))
}

/// Whether a line is a record of statistics as Suricata itself writes it: without blanks, the type among its first fields.
pub(super) fn is_statistics(line: &[u8]) -> bool {
    memmem::find(line.get(..HEAD_BYTES).unwrap_or(line), STATISTICS).is_some()
}

fn trim(line: &[u8]) -> &[u8] {
    let rest = text::trim(line);
    rest.strip_prefix(PREFIX).map_or(rest, text::trim_blanks)
}

/// Whether the line is surely a whole object of another type. Every other line has to be parsed.
fn is_other_event(line: &[u8]) -> bool {
    if !(line.starts_with(b"{") && line.ends_with(b"}")) {
        return false;
    }
    let mut found = false;
    for at in FINDER.find_iter(line) {
        let value = line.get(at + KEY.len()..).unwrap_or_default();
        let Some(word) = value.strip_prefix(b":\"").and_then(plain_word) else { return false };
        if word == b"alert" {
            return false;
        }
        found = true;
    }
    found
}

/// The text before the closing quote, if it needs no unescaping.
fn plain_word(text: &[u8]) -> Option<&[u8]> {
    let word = text.split(|byte| *byte == b'"').next()?;
    word.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').then_some(word)
}

/// The fields that matter of one line. Texts are borrowed where they hold no escapes.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, default)]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    timestamp: Lenient<Cow<'a, str>>,
    #[serde(default)]
    flow_id: Lenient<u64>,
    #[serde(borrow, default)]
    in_iface: Lenient<Cow<'a, str>>,
    #[serde(default)]
    vlan: Lenient<Vec<u16>>,
    #[serde(borrow, default)]
    src_ip: Lenient<Cow<'a, str>>,
    #[serde(default)]
    src_port: Lenient<u16>,
    #[serde(borrow, default)]
    dest_ip: Lenient<Cow<'a, str>>,
    #[serde(default)]
    dest_port: Lenient<u16>,
    #[serde(borrow, default)]
    proto: Lenient<Cow<'a, str>>,
    #[serde(default)]
    icmp_type: Lenient<u8>,
    #[serde(default)]
    icmp_code: Lenient<u8>,
    #[serde(borrow, default)]
    community_id: Lenient<Cow<'a, str>>,
    #[serde(borrow, default)]
    app_proto: Lenient<Cow<'a, str>>,
    #[serde(borrow, default)]
    direction: Lenient<Cow<'a, str>>,
    #[serde(default)]
    flow: Lenient<FlowCounters>,
    #[serde(borrow, default)]
    alert: Option<Alert<'a>>,
}

#[derive(Deserialize)]
struct Alert<'a> {
    #[serde(borrow, default)]
    action: Lenient<Cow<'a, str>>,
    #[serde(default)]
    gid: Option<i64>,
    signature_id: i64,
    #[serde(default)]
    rev: Lenient<i64>,
    #[serde(borrow, default)]
    signature: Lenient<Cow<'a, str>>,
    #[serde(borrow, default)]
    category: Lenient<Cow<'a, str>>,
    #[serde(default)]
    severity: Lenient<i64>,
    #[serde(borrow, default)]
    metadata: Lenient<Metadata<'a>>,
}

/// What a rule says about itself: lists of texts by key.
type Metadata<'a> = BTreeMap<Cow<'a, str>, Lenient<Vec<Cow<'a, str>>>>;

#[derive(Deserialize)]
struct FlowCounters {
    pkts_toserver: Option<u64>,
    pkts_toclient: Option<u64>,
}

impl Record<'_> {
    /// The verdict on a line of so many bytes.
    fn judge(self, end: usize) -> Verdict {
        if self.event_type.as_deref() != Some("alert") {
            return Verdict::Ignore;
        }
        Verdict::of(self.into_event().map(|event| Found { event, end }).into_iter().collect())
    }

    fn into_event(self) -> Option<AlertEvent> {
        let alert = self.alert?;
        let proto = self.proto.get().map(protocol_name);
        let flow = judge_flow(proto.as_deref(), self.app_proto.get().as_deref(), self.flow.get().as_ref());
        let severity_native = alert.severity.get();
        let metadata = alert.metadata.get().unwrap_or_default();
        let rated = metadata.get("signature_severity").and_then(rule_severity);
        Some(AlertEvent {
            gid: alert.gid.unwrap_or(1),
            sid: alert.signature_id,
            rev: alert.rev.get(),
            message: alert.signature.get().unwrap_or_default().into_owned(),
            classification: alert.category.get().as_deref().and_then(text::class),
            severity_native,
            severity: rated.unwrap_or_else(|| text::priority_severity(severity_native)),
            action: alert.action.get().and_then(|word| action(&word)),
            proto,
            source: peer(self.src_ip, self.src_port),
            destination: peer(self.dest_ip, self.dest_port),
            icmp: self.icmp_type.get().map(|kind| Icmp { kind, code: self.icmp_code.get() }),
            on_reply: self.direction.get().as_deref() == Some("to_client"),
            flow,
            time: self.timestamp.get().and_then(|text| stamp::with_zone(&text)),
            flow_id: self.flow_id.get(),
            community_id: self.community_id.get().map(Cow::into_owned),
            interface: self.in_iface.get().map(Cow::into_owned),
            vlan: self.vlan.get().unwrap_or_default(),
            tags: tags(&metadata),
            ..AlertEvent::of("suricata")
        })
    }
}

fn peer(ip: Lenient<Cow<'_, str>>, port: Lenient<u16>) -> Option<Peer> {
    let ip = ip.get()?.parse::<IpAddr>().ok()?;
    Some(Peer { ip, port: port.get() })
}

fn protocol_name(name: Cow<'_, str>) -> String {
    match name.as_ref() {
        "IPv6-ICMP" => "ICMPv6".to_owned(),
        _ => name.into_owned(),
    }
}

fn action(word: &str) -> Option<Action> {
    match word {
        "allowed" => Some(Action::Allow),
        "blocked" => Some(Action::Drop),
        _ => None,
    }
}

/// See the module's text on flow.
fn judge_flow(proto: Option<&str>, app_proto: Option<&str>, counters: Option<&FlowCounters>) -> Flow {
    let Some((to_server, to_client)) = counters.and_then(|counters| counters.pkts_toserver.zip(counters.pkts_toclient)) else { return Flow::Unknown };
    if to_server == 0 || to_client == 0 {
        return Flow::OneWay;
    }
    let recognised = app_proto.is_some_and(|name| !matches!(name, "" | "failed" | "unknown"));
    if proto == Some("TCP") && recognised { Flow::Established } else { Flow::Unknown }
}

/// The rule author's own rating, in the words of the Emerging Threats rule sets. It wins over the priority, which is only that of the rule's class.
fn rule_severity(ratings: &Lenient<Vec<Cow<'_, str>>>) -> Option<Severity> {
    match ratings.as_ref()?.first()?.to_ascii_lowercase().as_str() {
        "critical" => Some(Severity::Critical),
        "major" | "high" => Some(Severity::High),
        "minor" | "medium" => Some(Severity::Medium),
        "low" => Some(Severity::Low),
        "informational" | "info" | "audit" => Some(Severity::Info),
        _ => None,
    }
}

/// The rule's metadata as words for policies: MITRE's ids and the rule set's own tags as they are (`T1190`), all else as `key:value`.
fn tags(metadata: &Metadata<'_>) -> Vec<String> {
    let told = metadata.iter().filter(|(key, _)| !NO_TAGS.contains(&key.as_ref()));
    let pairs = told.flat_map(|(key, values)| values.as_ref().into_iter().flatten().map(move |value| (key, value)));
    let words = pairs.map(|(key, value)| {
        let is_word = key == "tag" || (key.starts_with("mitre_") && key.ends_with("_id"));
        if is_word { value.clone().into_owned() } else { format!("{key}:{value}") }
    });
    words.take(MAX_TAGS).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn alert(line: &str) -> AlertEvent {
        match parse(line.as_bytes()) {
            Verdict::Alerts(mut found) => found.remove(0).event,
            other => panic!("{other:?} for {line}"),
        }
    }

    /// A line with `extra` top-level fields and `alert` fields.
    fn line(extra: &str, alert: &str) -> String {
        format!(r#"{{"timestamp":"2026-11-22T11:10:07.246230+0000","event_type":"alert"{extra},"alert":{{"gid":1,"signature_id":7{alert}}}}}"#)
    }

    fn flow_of(extra: &str) -> Flow {
        alert(&line(extra, "")).flow
    }

    #[test]
    fn established_needs_tcp_a_recognised_protocol_and_packets_both_ways() {
        let both = r#","flow":{"pkts_toserver":3,"pkts_toclient":2}"#;
        assert_eq!(flow_of(&format!(r#","proto":"TCP","app_proto":"http"{both}"#)), Flow::Established);
        assert_eq!(flow_of(&format!(r#","proto":"TCP","app_proto":"failed"{both}"#)), Flow::Unknown);
        assert_eq!(flow_of(&format!(r#","proto":"TCP"{both}"#)), Flow::Unknown);
        assert_eq!(flow_of(&format!(r#","proto":"UDP","app_proto":"dns"{both}"#)), Flow::Unknown);
        assert_eq!(flow_of(r#","proto":"TCP","app_proto":"http","flow":{"pkts_toserver":3,"pkts_toclient":0}"#), Flow::OneWay);
        assert_eq!(flow_of(r#","proto":"TCP","app_proto":"http""#), Flow::Unknown);
    }

    #[test]
    fn the_far_end_of_a_reply_is_its_destination() {
        let ends = r#","src_ip":"10.0.0.5","dest_ip":"203.0.113.9""#;
        let subject = |extra: &str| alert(&line(extra, "")).subject().unwrap().to_string();
        assert_eq!(subject(&format!(r#"{ends},"direction":"to_client""#)), "203.0.113.9");
        assert_eq!(subject(&format!(r#"{ends},"direction":"to_server""#)), "10.0.0.5");
        assert_eq!(subject(ends), "10.0.0.5");
    }

    #[test]
    fn the_rules_own_rating_wins_over_its_priority() {
        let severity = |fields: &str| alert(&line("", fields)).severity;
        assert_eq!(severity(r#","severity":3,"metadata":{"signature_severity":["Critical"]}"#), Severity::Critical);
        assert_eq!(severity(r#","severity":1,"metadata":{"signature_severity":["Informational"]}"#), Severity::Info);
        assert_eq!(severity(r#","severity":1,"metadata":{"attack_target":["Server"]}"#), Severity::High);
        assert_eq!(severity(r#","severity":9"#), Severity::Info);
        assert_eq!(severity(""), Severity::Unknown);
    }

    #[test]
    fn the_rules_metadata_are_tags() {
        let metadata = r#","metadata":{"attack_target":["Server","Client"],"created_at":["2019_01_01"],"mitre_technique_id":["T1190"],"mtd_action":["drain"],"odd":7,"tag":["Exploit"]}"#;
        assert_eq!(alert(&line("", metadata)).tags, ["attack_target:Server", "attack_target:Client", "T1190", "mtd_action:drain", "Exploit"]);
        assert_eq!(alert(&line("", "")).tags, Vec::<String>::new());
    }

    #[test]
    fn the_alert_and_the_drop_of_one_packet_are_one_and_it_says_dropped() {
        assert_eq!(alert(&line("", r#","action":"blocked""#)).action, Some(Action::Drop));
        let drop = br#"{"timestamp":"2026-11-22T11:10:07.246230+0000","event_type":"drop","alert":{"action":"blocked","gid":1,"signature_id":7}}"#;
        assert_eq!(parse(drop), Verdict::Ignore);
    }

    #[test]
    fn an_impossible_stamp_is_absent_and_the_alert_stays() {
        for stamp in ["1900-01-00T00:00:14.199185+0000", "2026-11-22T11:10:07.274540AUS Eastern Daylight Time", "1970-01-01T00:00:00.000000+0000", ""] {
            let line = format!(r#"{{"timestamp":"{stamp}","event_type":"alert","alert":{{"gid":1,"signature_id":7}}}}"#);
            assert_eq!(alert(&line).time, None, "{stamp}");
        }
        assert_eq!(alert(r#"{"event_type":"alert","alert":{"gid":1,"signature_id":7}}"#).time, None);
    }

    #[test]
    fn dirty_bytes_around_and_inside_the_object_keep_the_alert() {
        let clean = line("", r#","signature":"x y""#);
        for prefix in ["\u{feff}", "@cee: ", "\u{feff}@cee: ", "\0\0\0", " "] {
            assert_eq!(alert(&format!("{prefix}{clean}\r\0")).message, "x y", "{prefix:?}");
        }
        for (raw, message) in [(&b"x\xffy"[..], "x\u{fffd}y"), (b"x\x01y", "x\u{1}y"), (b"x\ty", "x\ty"), (b"x\0y", "x\0y")] {
            let mut bytes = line("", r#","signature":""#).into_bytes();
            bytes.truncate(bytes.len() - 2);
            bytes.extend_from_slice(raw);
            bytes.extend_from_slice(b"\"}}");
            match parse(&bytes) {
                Verdict::Alerts(found) => assert_eq!(found[0].event.message, message),
                other => panic!("{other:?} for {raw:?}"),
            }
        }
    }

    #[test]
    fn fields_of_an_odd_type_are_absent() {
        let odd = alert(&line(
            r#","src_ip":7,"dest_ip":"nowhere","src_port":70000,"flow":[],"vlan":"x","proto":null"#,
            r#","rev":"new","metadata":[1],"severity":"high""#,
        ));
        assert_eq!((odd.source, odd.destination, odd.rev, odd.severity, odd.flow), (None, None, None, Severity::Unknown, Flow::Unknown));
    }

    #[test]
    fn what_is_no_object_or_names_no_rule_is_rejected() {
        for bad in [
            "[]",
            "7",
            "{",
            "{}}",
            r#"{"event_type":"alert"}"#,
            r#"{"event_type":"alert","alert":{}}"#,
            r#"{"event_type":"alert","event_type":"flow","alert":{"signature_id":1}}"#,
        ] {
            assert_eq!(parse(bad.as_bytes()), REJECT, "{bad}");
        }
    }

    #[test]
    fn a_type_inside_another_object_decides_nothing() {
        assert_eq!(parse(br#"{"event_type":"http","http":{"event_type":"alert"}}"#), Verdict::Ignore);
        assert_eq!(alert(r#"{"x":{"event_type":"flow"},"event_type":"alert","alert":{"signature_id":7}}"#).sid, 7);
        assert_eq!(parse(br#"{"message":"no type at all"}"#), Verdict::Ignore);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_damage_to_a_real_line_panics(at in 0usize..400, byte in any::<u8>(), cut in 0usize..400) {
            let mut bytes = line(r#","src_ip":"10.0.0.5","proto":"TCP","flow":{"pkts_toclient":1}"#, r#","signature":"a \"b\" \\ c","severity":1"#).into_bytes();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut.max(1));
            let _ = parse(&bytes);
        }

        #[test]
        fn the_search_never_decides_otherwise_than_the_parser(key in "(event_type|x)", gap in "( |)", kind in "(alert|flow|al\\\\u0065rt)", tail in "(,\"y\":\\{\"event_type\":\"(alert|flow)\"\\}|)") {
            let text = format!(r#"{{"{key}":{gap}"{kind}"{tail},"alert":{{"signature_id":1}}}}"#);
            let typed = serde_json::from_str::<Record<'_>>(&text).map_or(REJECT, |record| record.judge(text.len()));
            prop_assert_eq!(parse(text.as_bytes()), typed);
        }
    }
}
