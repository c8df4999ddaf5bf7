//! `sidestep-sentinel parse`: shows what the parser makes of a file, one JSON object per record on standard output.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::args::ParseCommand;
use crate::alert::event::AlertEvent;
use crate::alert::parse::stamp::Stamps;
use crate::alert::parse::{Format, Rejection, Verdict};
use crate::api::units::{Flow, Severity};
use crate::clock::Clock;
use crate::tail::lines::{Line, Lines, Shape};

/// Why the command ended early.
#[derive(Debug, Error)]
pub(super) enum ParseError {
    #[error("Cannot open {}; check the path and who may read it", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("Cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("Cannot write to standard output")]
    Write { source: io::Error },
}

pub(super) fn run(command: &ParseCommand) -> Result<(), ParseError> {
    let stdout = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    let stamps = Stamps { zone: command.timezone.clone(), now: command.now.unwrap_or_else(|| Clock::system().now()) };
    let reading = Reading { format: command.format, stamps, path: &command.file };
    let outcome = if command.file == Path::new("-") {
        print_records(&reading, &mut io::stdin().lock(), stdout)
    } else {
        let mut file = File::open(&command.file).map_err(|source| ParseError::Open { path: command.file.clone(), source })?;
        print_records(&reading, &mut file, stdout)
    };
    match outcome {
        // The reader, e.g. `head`, has seen enough.
        Err(ParseError::Write { source }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// What is read, and how.
struct Reading<'a> {
    format: Format,
    stamps: Stamps,
    path: &'a Path,
}

fn print_records(reading: &Reading<'_>, stream: &mut impl Read, mut output: impl Write) -> Result<(), ParseError> {
    let mut lines = Lines::starting_at(0, reading.format.framing());
    loop {
        while let Some(line) = lines.next_line() {
            print_record(&judge(reading, &line), &mut output)?;
        }
        let read = lines.fill(stream).map_err(|source| ParseError::Read { path: reading.path.to_owned(), source })?;
        if read == 0 {
            break;
        }
    }
    while let Some(line) = lines.finish() {
        let record = judge(reading, &line);
        let is_partial = line.shape != Shape::Whole;
        print_record(&if is_partial { Printed { verdict: "partial", alerts: Vec::new(), ..record } } else { record }, &mut output)?;
    }
    output.flush().map_err(|source| ParseError::Write { source })
}

fn print_record(record: &Printed, output: &mut impl Write) -> Result<(), ParseError> {
    let written = serde_json::to_writer(&mut *output, record).map_err(io::Error::from);
    written.and_then(|()| output.write_all(b"\n")).map_err(|source| ParseError::Write { source })
}

fn judge(reading: &Reading<'_>, line: &Line<'_>) -> Printed {
    let verdict = match line.shape {
        Shape::TooLong => Verdict::Reject(Rejection::Unreadable),
        Shape::Whole | Shape::Cut => reading.format.parse(line.bytes, &reading.stamps),
    };
    let (verdict, alerts) = match verdict {
        Verdict::Alerts(found) => ("alert", found.into_iter().map(|found| PrintedAlert::from(found.event)).collect()),
        Verdict::Ignore => ("ignore", Vec::new()),
        Verdict::Reject(_) => ("reject", Vec::new()),
    };
    Printed { offset: line.offset, length: line.length, verdict, alerts }
}

/// One record as it is printed.
#[derive(Serialize)]
struct Printed {
    offset: u64,
    length: u64,
    verdict: &'static str,
    alerts: Vec<PrintedAlert>,
}

/// An alert as it is printed: what every alert can have stands there always, `null` when absent, the rest only where the record has it.
#[derive(Serialize)]
struct PrintedAlert {
    engine: &'static str,
    gid: i64,
    sid: i64,
    rev: Option<i64>,
    rule_id: String,
    message: Option<String>,
    classification: Option<String>,
    severity_native: Option<i64>,
    severity: &'static str,
    proto: Option<String>,
    src_ip: Option<String>,
    src_port: Option<u16>,
    dst_ip: Option<String>,
    dst_port: Option<u16>,
    #[serde(serialize_with = "microseconds")]
    time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icmp_code: Option<u8>,
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    community_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vlan: Vec<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    subject: Option<String>,
    flow: &'static str,
}

fn microseconds<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| format!("{time:.6}")).serialize(serializer)
}

impl From<AlertEvent> for PrintedAlert {
    fn from(event: AlertEvent) -> Self {
        let (rule_id, subject) = (event.rule_id(), event.subject().map(|ip| ip.to_string()));
        let AlertEvent { engine, gid, sid, rev, message, classification, severity_native, severity, action, proto, .. } = event;
        let AlertEvent { source, destination, icmp, flow, time, flow_id, community_id, interface, vlan, tags, .. } = event;
        Self {
            engine,
            gid,
            sid,
            rev,
            rule_id,
            message: (!message.is_empty()).then_some(message),
            classification,
            severity_native,
            severity: severity_word(severity),
            proto,
            src_ip: source.map(|peer| peer.ip.to_string()),
            src_port: source.and_then(|peer| peer.port),
            dst_ip: destination.map(|peer| peer.ip.to_string()),
            dst_port: destination.and_then(|peer| peer.port),
            time,
            icmp_type: icmp.map(|icmp| icmp.kind),
            icmp_code: icmp.and_then(|icmp| icmp.code),
            action: action.map(|action| action.as_str()),
            flow_id,
            community_id,
            in_iface: interface,
            vlan,
            tags,
            subject,
            flow: flow_word(flow),
        }
    }
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Unknown => "unknown",
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

fn flow_word(flow: Flow) -> &'static str {
    match flow {
        Flow::Established => "established",
        Flow::OneWay => "one-way",
        Flow::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jiff::tz::TimeZone;
    use serde_json::Value;

    use super::*;

    fn printed(format: Format, bytes: &[u8]) -> Vec<Value> {
        let mut output = Vec::new();
        // The samples' stamps are in UTC, and of the year before this time.
        let stamps = Stamps::utc("2026-11-22T12:00:00Z".parse().unwrap());
        print_records(&Reading { format, stamps, path: Path::new("test") }, &mut &bytes[..], &mut output).unwrap();
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Fails, naming the record, unless every field that is expected is there with that value; an expected `null` may also be missing.
    fn assert_record(name: &str, expected: &Value, printed: &Value) {
        for field in ["offset", "length", "verdict"] {
            assert_eq!(printed[field], expected[field], "{field} of {name} at {}", expected["offset"]);
        }
        let alerts: Vec<&Value> = [&expected["expect"], &expected["expect_also"]].into_iter().filter(|alert| alert.is_object()).collect();
        assert_eq!(printed["alerts"].as_array().unwrap().len(), alerts.len(), "alerts of {name} at {}", expected["offset"]);
        for (index, alert) in alerts.into_iter().enumerate() {
            for (field, value) in alert.as_object().unwrap() {
                assert_eq!(&printed["alerts"][index][field], value, "{field} of {name} at {}", expected["offset"]);
            }
        }
    }

    fn assert_sample(format: Format, name: &str, expectations: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alerts");
        let records = printed(format, &fs::read(folder.join(name)).unwrap());
        let expected = fs::read_to_string(folder.join(expectations)).unwrap();
        let expected: Vec<Value> = expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for (expected, record) in expected.iter().zip(&records) {
            assert_record(name, expected, record);
        }
        assert_eq!(records.len(), expected.len(), "records of {name} as {format}");
    }

    #[test]
    fn every_sample_is_read_as_expected() {
        for (format, names) in [
            (Format::SuricataEve, &["suricata.eve.json", "suricata-hard.eve.json"][..]),
            (Format::SuricataFast, &["suricata.fast.log", "suricata-hard.fast.log"]),
            (Format::Snort3Fast, &["snort3.alert_fast.txt", "snort3-hard.alert_fast.txt"]),
            (Format::Snort3Json, &["snort3.alert_json.txt", "snort3-hard.alert_json.txt", "snort3-limit-1.alert_json.txt", "snort3-limit-2.alert_json.txt"]),
        ] {
            for name in names {
                assert_sample(format, name, &format!("{name}.expected.jsonl"));
            }
        }
    }

    #[test]
    fn noise_is_rejected_in_every_format() {
        for format in Format::ALL {
            assert_sample(format, "garbage.eve.json", "garbage.eve.json.expected.jsonl");
        }
    }

    #[test]
    fn no_sample_damaged_anywhere_ends_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alerts");
        for entry in fs::read_dir(folder).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            // Cut in the middle, and with every 97th byte replaced by one that means something to a parser.
            let damaged = |byte: u8| bytes.iter().enumerate().map(|(at, old)| if at % 97 == 0 { byte } else { *old }).collect::<Vec<u8>>();
            for bytes in [bytes[..bytes.len() / 2].to_vec(), damaged(b'"'), damaged(0), damaged(b'\\'), damaged(0xff), damaged(b'\n')] {
                for format in Format::ALL {
                    let records = printed(format, &bytes);
                    let told: u64 = records.iter().map(|record| record["length"].as_u64().unwrap()).sum();
                    assert!(told <= bytes.len() as u64);
                }
            }
        }
    }

    #[test]
    fn an_unknown_format_is_refused_with_the_list_of_formats() {
        let error = "snort9".parse::<Format>().unwrap_err().to_string();
        assert!(error.contains("snort9") && error.contains("suricata_eve"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let command = ParseCommand { format: Format::SuricataEve, now: None, timezone: TimeZone::UTC, file: "/nonexistent/eve.json".into() };
        let error = run(&command).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/eve.json"), "{error}");
    }
}
