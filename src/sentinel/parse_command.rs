//! `sidestep-sentinel parse`: shows what the parser makes of a file, one JSON object per record on standard output.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::args::ParseCommand;
use crate::alert::event::AlertEvent;
use crate::alert::parse::{Format, Verdict};
use crate::api::units::{Flow, Severity};
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
    let outcome = if command.file == Path::new("-") {
        print_records(command.format, &mut io::stdin().lock(), &command.file, stdout)
    } else {
        let mut file = File::open(&command.file).map_err(|source| ParseError::Open { path: command.file.clone(), source })?;
        print_records(command.format, &mut file, &command.file, stdout)
    };
    match outcome {
        // The reader, e.g. `head`, has seen enough.
        Err(ParseError::Write { source }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn print_records(format: Format, stream: &mut impl Read, path: &Path, mut output: impl Write) -> Result<(), ParseError> {
    let mut lines = Lines::starting_at(0);
    loop {
        while let Some(line) = lines.next_line() {
            print_record(&judge(format, &line), &mut output)?;
        }
        let read = lines.fill(stream).map_err(|source| ParseError::Read { path: path.to_owned(), source })?;
        if read == 0 {
            break;
        }
    }
    if let Some(line) = lines.finish() {
        print_record(&Printed { verdict: "partial", alerts: Vec::new(), ..judge(format, &line) }, &mut output)?;
    }
    output.flush().map_err(|source| ParseError::Write { source })
}

fn print_record(record: &Printed, output: &mut impl Write) -> Result<(), ParseError> {
    let written = serde_json::to_writer(&mut *output, record).map_err(io::Error::from);
    written.and_then(|()| output.write_all(b"\n")).map_err(|source| ParseError::Write { source })
}

fn judge(format: Format, line: &Line<'_>) -> Printed {
    let verdict = match line.shape {
        Shape::TooLong => Verdict::Reject,
        Shape::Whole | Shape::Cut => format.parse(line.bytes),
    };
    let (verdict, alerts) = match verdict {
        Verdict::Alert(alert) => ("alert", vec![PrintedAlert::from(*alert)]),
        Verdict::Ignore => ("ignore", Vec::new()),
        Verdict::Reject => ("reject", Vec::new()),
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
    message: String,
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
        let AlertEvent { source, destination, icmp, flow, time, flow_id, community_id, interface, vlan, .. } = event;
        Self {
            engine,
            gid,
            sid,
            rev,
            rule_id,
            message,
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

    use serde_json::Value;

    use super::*;

    fn printed(bytes: &[u8]) -> Vec<Value> {
        let mut output = Vec::new();
        print_records(Format::SuricataEve, &mut &bytes[..], Path::new("test"), &mut output).unwrap();
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Fails, naming the record, unless every field that is expected is there with that value; an expected `null` may also be missing.
    fn assert_record(name: &str, expected: &Value, printed: &Value) {
        for field in ["offset", "length", "verdict"] {
            assert_eq!(printed[field], expected[field], "{field} of {name} at {}", expected["offset"]);
        }
        let Some(fields) = expected["expect"].as_object() else {
            assert_eq!(printed["alerts"], Value::Array(Vec::new()), "{name} at {}", expected["offset"]);
            return;
        };
        for (field, value) in fields {
            assert_eq!(&printed["alerts"][0][field], value, "{field} of {name} at {}", expected["offset"]);
        }
    }

    #[test]
    fn every_sample_is_read_as_expected() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alerts");
        for name in ["suricata", "suricata-hard", "garbage"] {
            let records = printed(&fs::read(folder.join(format!("{name}.eve.json"))).unwrap());
            let expected: Vec<Value> =
                fs::read_to_string(folder.join(format!("{name}.expected.jsonl"))).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(records.len(), expected.len(), "records of {name}");
            for (expected, record) in expected.iter().zip(&records) {
                assert_record(name, expected, record);
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
        let command = ParseCommand { format: Format::SuricataEve, file: "/nonexistent/eve.json".into() };
        let error = run(&command).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/eve.json"), "{error}");
    }
}
