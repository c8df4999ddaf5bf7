//! The arguments of `sidestep-sentinel`; the only place that reads its environment.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;
use thiserror::Error;

use super::source::SourceSettings;
use crate::alert::parse::{Format, UnknownFormat};
use crate::api::units::Period;
use crate::telemetry::admin::AdminArguments;
use crate::telemetry::log::LogArguments;

/// Slots are shared among the sources, so there is a bound.
const MAX_SOURCES: usize = 8;
/// The zone of the host itself.
const SYSTEM: &str = "system";

/// Follows the alert files of a compute host's sensors and reports what they say to Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "sidestep-sentinel", version, max_term_width = 110)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) log: LogArguments,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Follow alert files and report each series of alerts as a HostAlert, until SIGTERM.
    Run(RunCommand),
    /// Read a file of alerts once and print one JSON object per record.
    Parse(ParseCommand),
}

#[derive(Debug, Args)]
pub(super) struct RunCommand {
    #[command(flatten)]
    pub(super) admin: AdminArguments,

    /// The name of the Kubernetes node that this host is.
    #[arg(long, env = "NODE_NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(super) node: String,

    /// An alert file. It need not exist yet, and it may be rotated in any way. FORMAT is one of suricata_eve, suricata_fast, snort3_fast, snort3_json. ZONE is the zone of stamps that
    /// name none, e.g. Asia/Kolkata or +05:30 (else that of --timezone). NAME (else the format) names the source in reports. May be given several times.
    #[arg(long = "source", value_name = "FORMAT:FILE[,timezone=ZONE][,name=NAME]", required_unless_present = "eve")]
    source: Vec<SourceArgument>,

    /// The same as --source suricata_eve:FILE.
    #[arg(long, value_name = "FILE")]
    eve: Option<PathBuf>,

    /// The zone of stamps that name none, e.g. Asia/Kolkata or +05:30; system is the host's own.
    #[arg(long, value_name = "ZONE", default_value = SYSTEM, value_parser = zone)]
    timezone: TimeZone,

    /// The folder that the reading position is kept in; each sentinel needs its own.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/sidestep-sentinel")]
    pub(super) state_dir: PathBuf,

    /// The namespace of the Lease by which the operator hears from this sentinel: the sentinels' own.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "sidestep-system-sentinels", value_parser = NonEmptyStringValueParser::new())]
    pub(super) lease_namespace: String,

    /// How often that Lease is renewed. The operator takes a sentinel for silent after 40 s unless it is told otherwise, so leave room for three more.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub(super) heartbeat_interval: Period,

    /// What a restart of a sensor may take before it is reported as dead.
    #[arg(long, value_name = "DURATION", default_value = "2m")]
    pub(super) sensor_patience: Period,

    /// How to reach the API server; without it, by the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
}

impl RunCommand {
    /// The alert files to follow, with different names.
    ///
    /// # Errors
    /// When two have the same name, or there are too many.
    pub(super) fn sources(&self) -> Result<Vec<SourceSettings>, SourcesError> {
        let eve = self.eve.clone().map(|path| SourceArgument { format: Format::SuricataEve, path, zone: None, name: None });
        let mut sources: Vec<SourceSettings> = Vec::new();
        for SourceArgument { format, path, zone, name } in eve.into_iter().chain(self.source.iter().cloned()) {
            let name = name.unwrap_or_else(|| format.as_str().to_owned());
            if sources.iter().any(|source| source.name == name) {
                return Err(SourcesError::SameName { name });
            }
            sources.push(SourceSettings { name, format, path, zone: zone.unwrap_or_else(|| self.timezone.clone()) });
        }
        if sources.len() > MAX_SOURCES { Err(SourcesError::TooMany { count: sources.len() }) } else { Ok(sources) }
    }
}

/// Why the sources cannot be followed together.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum SourcesError {
    #[error("Two sources have the name {name:?}; give one another with --source FORMAT:FILE,name=NAME")]
    SameName { name: String },
    #[error("There are {count} sources; one sentinel follows at most {MAX_SOURCES}, because they share its slots")]
    TooMany { count: usize },
}

#[derive(Debug, Args)]
pub(super) struct ParseCommand {
    /// The file's format: suricata_eve, suricata_fast, snort3_fast or snort3_json.
    #[arg(long)]
    pub(super) format: Format,

    /// The time to choose the year by, of stamps that name none, e.g. 2026-11-22T12:00:00Z; without it, the time at which the command runs.
    #[arg(long, value_name = "TIME")]
    pub(super) now: Option<Timestamp>,

    /// The zone of stamps that name none, e.g. Asia/Kolkata or +05:30; system is the host's own.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub(super) timezone: TimeZone,

    /// The file; - is standard input.
    pub(super) file: PathBuf,
}

/// One `--source`.
#[derive(Clone, Debug, PartialEq)]
struct SourceArgument {
    format: Format,
    path: PathBuf,
    zone: Option<TimeZone>,
    name: Option<String>,
}

/// Why a `--source` cannot be read.
#[derive(Debug, Error)]
enum SourceArgumentError {
    #[error("{text:?} names no format and file; it reads FORMAT:FILE, e.g. suricata_eve:/var/log/suricata/eve.json")]
    Shape { text: String },
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    #[error(transparent)]
    Zone(#[from] UnknownZone),
    #[error("The name {name:?} of a source must have 1 to 63 letters, digits, - and _")]
    Name { name: String },
}

impl FromStr for SourceArgument {
    type Err = SourceArgumentError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = || SourceArgumentError::Shape { text: text.to_owned() };
        let (format, mut rest) = text.split_once(':').ok_or_else(shape)?;
        let mut argument = Self { format: format.parse()?, path: PathBuf::new(), zone: None, name: None };
        // Read from the end, so that a path may hold commas.
        while let Some((before, option)) = rest.rsplit_once(',') {
            match option.split_once('=') {
                Some(("timezone", value)) => argument.zone = Some(zone(value)?),
                Some(("name", value)) => argument.name = Some(source_name(value)?),
                _ => break,
            }
            rest = before;
        }
        argument.path = rest.into();
        if rest.is_empty() { Err(shape()) } else { Ok(argument) }
    }
}

fn source_name(name: &str) -> Result<String, SourceArgumentError> {
    let is_plain = (1..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_plain { Ok(name.to_owned()) } else { Err(SourceArgumentError::Name { name: name.to_owned() }) }
}

/// A zone that nobody knows.
#[derive(Debug, Error)]
#[error("The time zone {name:?} cannot be used; give a name such as Asia/Kolkata, an offset such as +05:30, or {SYSTEM}")]
struct UnknownZone {
    name: String,
    source: jiff::Error,
}

fn zone(name: &str) -> Result<TimeZone, UnknownZone> {
    // A container need not know its host's zone: that is no reason not to start, and formats whose stamps name their zone do not mind.
    if name == SYSTEM {
        return Ok(TimeZone::system());
    }
    DateTimeParser::new().parse_time_zone(name).map_err(|source| UnknownZone { name: name.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn sources(line: &str) -> Result<Vec<SourceSettings>, SourcesError> {
        let arguments = Arguments::try_parse_from(format!("sidestep-sentinel run --node n {line}").split(' ')).unwrap();
        match arguments.command {
            Command::Run(command) => command.sources(),
            Command::Parse(_) => panic!(),
        }
    }

    #[test]
    fn the_flags_of_the_log_and_of_the_commands_do_not_collide() {
        Arguments::command().debug_assert();
        for line in [
            "sidestep-sentinel --log-format json parse --format suricata_eve -",
            "sidestep-sentinel parse --format suricata_eve --log-filter debug -",
            "sidestep-sentinel parse --format snort3_fast --now 2026-11-22T12:00:00Z --timezone +05:30 -",
            "sidestep-sentinel run --node n --eve f",
        ] {
            Arguments::try_parse_from(line.split(' ')).unwrap();
        }
    }

    #[test]
    fn a_source_has_a_format_a_file_and_perhaps_a_zone_and_a_name() {
        let all =
            sources("--eve a/eve.json --source snort3_fast:/b,c/alert_fast.txt,name=ids-2,timezone=Asia/Kolkata --source suricata_fast:d:e --timezone UTC")
                .unwrap();
        let told: Vec<(&str, &str)> = all.iter().map(|source| (source.name.as_str(), source.path.to_str().unwrap())).collect();
        assert_eq!(told, [("suricata_eve", "a/eve.json"), ("ids-2", "/b,c/alert_fast.txt"), ("suricata_fast", "d:e")]);
        assert_eq!(all.iter().map(|source| source.zone.iana_name().unwrap()).collect::<Vec<_>>(), ["UTC", "Asia/Kolkata", "UTC"]);
    }

    #[test]
    fn a_host_whose_zone_is_not_known_is_no_reason_not_to_start() {
        assert!(zone(SYSTEM).is_ok());
        assert!(zone("+05:30").is_ok() && zone("nowhere").is_err());
    }

    #[test]
    fn sources_have_different_names_and_are_not_too_many() {
        assert_eq!(sources("--eve a --source suricata_eve:b").unwrap_err(), SourcesError::SameName { name: "suricata_eve".to_owned() });
        let many: Vec<String> = (0..9).map(|number| format!("--source suricata_eve:f,name=s{number}")).collect();
        assert_eq!(sources(&many.join(" ")).unwrap_err(), SourcesError::TooMany { count: 9 });
    }

    #[test]
    fn what_is_wrong_with_a_source_is_named() {
        for (text, part) in [
            ("/var/log/eve.json", "FORMAT:FILE"),
            ("suricata_eve:", "FORMAT:FILE"),
            ("snort9:/x", "suricata_fast"),
            ("snort3_fast:/x,timezone=Mars/Olympus", "Mars/Olympus"),
            ("snort3_fast:/x,name=a b", "a b"),
        ] {
            let error = text.parse::<SourceArgument>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(Arguments::try_parse_from("sidestep-sentinel run --node n".split(' ')).is_err(), "no source at all");
    }
}
