//! From the bytes of one record to a verdict. One file per engine's format; each is a pure function of bytes that never panics, whatever it is given.

pub mod suricata_eve;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::event::AlertEvent;

/// What a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It raises this alert.
    Alert(Box<AlertEvent>),
    /// It is well-formed and no alert.
    Ignore,
    /// It cannot be read: no alert, count a parse error, go on with the next record.
    Reject,
}

/// A format that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Suricata's `eve.json`: one JSON object a line.
    SuricataEve,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 1] = [Self::SuricataEve];

    /// The name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SuricataEve => "suricata_eve",
        }
    }

    /// The engine whose sensors write it.
    #[must_use]
    pub fn engine(self) -> &'static str {
        match self {
            Self::SuricataEve => "suricata",
        }
    }

    /// Judges one record, given without its newline.
    #[must_use]
    pub fn parse(self, record: &[u8]) -> Verdict {
        match self {
            Self::SuricataEve => suricata_eve::parse(record),
        }
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
