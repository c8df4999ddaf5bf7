//! From the bytes of one record to a verdict. One file per engine's format; each is a pure function of bytes that never panics, whatever it is given.
//!
//! | format | what tells records apart | zone and year of stamps | what it shows about the flow |
//! | --- | --- | --- | --- |
//! | `suricata_eve` | lines | in the stamp | Established, OneWay or Unknown |
//! | `suricata_fast` | lines; several records in one after a cut | the source's zone | Unknown |
//! | `snort3_fast` | lines; one record in several when its message holds newlines | the source's zone, the newest year that fits | Unknown |
//! | `snort3_json` | the same | `seconds` is UTC, else the same | Unknown |

mod json;
mod snort3_fast;
mod snort3_json;
pub mod stamp;
mod suricata_eve;
mod suricata_fast;
mod text;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::event::{Action, AlertEvent};
use stamp::Stamps;

/// How Docker's own log lines begin.
const DOCKER_LOG: &[u8] = b"{\"log\":\"";

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It raises these alerts, at least one.
    Alerts(Vec<Found>),
    /// It is well-formed and no alert.
    Ignore,
    /// It cannot be read: no alert, count a parse error, go on with the next record.
    Reject(Rejection),
}

impl Verdict {
    /// What was found in a record that should hold an alert.
    fn of(found: Vec<Found>) -> Self {
        if found.is_empty() { Self::Reject(Rejection::Unreadable) } else { Self::Alerts(found) }
    }
}

/// One alert of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The alert.
    pub event: AlertEvent,
    /// Where its bytes end in the record; the next alert of the same record begins there.
    pub end: usize,
}

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It is no record of the format, or cut, or longer than any.
    Unreadable,
    /// It is a line of a container's log: the record with the runtime's own words around it.
    ContainerLog,
}

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Suricata's `eve.json`: one JSON object a line.
    SuricataEve,
    /// Suricata's `fast.log`: one line of text an alert.
    SuricataFast,
    /// Snort 3's `alert_fast.txt`: one line of text an alert.
    Snort3Fast,
    /// Snort 3's `alert_json.txt`: one JSON object an alert.
    Snort3Json,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::SuricataEve, Self::SuricataFast, Self::Snort3Fast, Self::Snort3Json];

    /// The name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SuricataEve => "suricata_eve",
            Self::SuricataFast => "suricata_fast",
            Self::Snort3Fast => "snort3_fast",
            Self::Snort3Json => "snort3_json",
        }
    }

    /// The engine whose sensors write it.
    #[must_use]
    pub fn engine(self) -> &'static str {
        match self {
            Self::SuricataEve | Self::SuricataFast => "suricata",
            Self::Snort3Fast | Self::Snort3Json => "snort",
        }
    }

    /// Whether a record is one of the sensor's statistics, which come at fixed intervals as long as it lives. Only Suricata's `eve.json` has them.
    #[must_use]
    pub fn is_statistics(self, record: &[u8]) -> bool {
        self == Self::SuricataEve && suricata_eve::is_statistics(record)
    }

    /// Whether its stamps name their zone, so that none need be known.
    #[must_use]
    pub fn stamps_name_their_zone(self) -> bool {
        match self {
            Self::SuricataEve => true,
            Self::SuricataFast | Self::Snort3Fast | Self::Snort3Json => false,
        }
    }

    /// Judges one record, given without its newline. `stamps` says what the record's stamp leaves open.
    #[must_use]
    pub fn parse(self, record: &[u8], stamps: &Stamps) -> Verdict {
        let verdict = match self {
            Self::SuricataEve => suricata_eve::parse(record),
            Self::SuricataFast => suricata_fast::parse(record, stamps),
            Self::Snort3Fast => snort3_fast::parse(record, stamps),
            Self::Snort3Json => snort3_json::parse(record, stamps),
        };
        match verdict {
            Verdict::Reject(_) if is_container_log(record) => Verdict::Reject(Rejection::ContainerLog),
            // It is an object, only none of a sensor.
            Verdict::Ignore if record.starts_with(DOCKER_LOG) => Verdict::Reject(Rejection::ContainerLog),
            other => other,
        }
    }

    /// What tells its records apart, beside newlines.
    #[must_use]
    pub fn framing(self) -> Framing {
        match self {
            Self::SuricataEve | Self::SuricataFast => Framing::LINES,
            Self::Snort3Fast => Framing { goes_on: snort3_fast::goes_on, begins: snort3_fast::begins },
            Self::Snort3Json => Framing { goes_on: snort3_json::goes_on, begins: snort3_json::begins },
        }
    }
}

/// How records that hold newlines are told apart. A record that goes on takes the next line in, unless a record begins there.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// Whether a record, so far, has begun and lacks its end.
    pub goes_on: fn(&[u8]) -> bool,
    /// Whether a record begins with this line.
    pub begins: fn(&[u8]) -> bool,
}

impl Framing {
    /// Each line is a record.
    pub const LINES: Self = Self { goes_on: |_| false, begins: |_| true };
}

/// Whether a line is one that a container runtime wrote: `TIME stdout F RECORD`, or `{"log":"RECORD\n","stream":"stdout","time":"…"}`.
fn is_container_log(line: &[u8]) -> bool {
    let mut words = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, part) = (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let by_runtime = time.contains(&b'T') && matches!(stream, b"stdout" | b"stderr") && matches!(part, b"F" | b"P");
    by_runtime || line.starts_with(DOCKER_LOG)
}

/// What Snort 3 did, in its words: `cant_…` says that it could not drop what it would have dropped.
fn snort3_action(word: &str) -> Option<Action> {
    match word {
        "allow" | "alert" | "pass" | "log" | "trust" | "retry" | "hold" | "rewrite" => Some(Action::Allow),
        "drop" | "block" | "reset" | "force_drop" | "force_block" | "force_reset" => Some(Action::Drop),
        _ if word.starts_with("would_") || word.starts_with("cant_") => Some(Action::WouldDrop),
        _ => None,
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A format's name that nobody knows.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("The format {name:?} is unknown; the formats are: {}", Format::ALL.map(Format::as_str).join(", "))]
pub struct UnknownFormat {
    /// What was given.
    pub name: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or_else(|| UnknownFormat { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_log_lines_are_told_from_other_unreadable_ones() {
        let stamps = Stamps::utc("2026-11-22T12:00:00Z".parse().unwrap());
        let inside = [
            r#"2026-11-22T11:10:07.246230000Z stdout F {"event_type":"alert","alert":{"signature_id":7}}"#,
            r#"2026-11-22T11:10:07.246230000Z stderr P 11/22/2026-10:21:43.000001  [**] [1:7:1] x"#,
            r#"{"log":"{\"event_type\":\"alert\",\"alert\":{\"signature_id\":7}}\n","stream":"stdout","time":"2026-11-22T11:10:07.2Z"}"#,
        ];
        for format in Format::ALL {
            for line in inside {
                assert_eq!(format.parse(line.as_bytes(), &stamps), Verdict::Reject(Rejection::ContainerLog), "{format}: {line}");
            }
            assert_eq!(format.parse(b"anything else", &stamps), Verdict::Reject(Rejection::Unreadable), "{format}");
            assert_eq!(format.as_str().parse(), Ok(format));
        }
    }

    #[test]
    fn what_snort_did_is_one_of_three_things() {
        for (word, action) in [
            ("allow", Some(Action::Allow)),
            ("reset", Some(Action::Drop)),
            ("cant_drop", Some(Action::WouldDrop)),
            ("would_block", Some(Action::WouldDrop)),
            ("?", None),
        ] {
            assert_eq!(snort3_action(word), action, "{word}");
        }
    }
}
