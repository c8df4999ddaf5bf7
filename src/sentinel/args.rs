//! The arguments of `sidestep-sentinel`; the only place that reads its environment.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};

use crate::alert::parse::Format;
use crate::telemetry::admin::AdminArguments;
use crate::telemetry::log::LogArguments;

/// Follows a sensor's alert file on a compute host and reports what it says to Kubernetes.
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
    /// Follow Suricata's eve.json and report each series of alerts as a HostAlert, until SIGTERM.
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

    /// Suricata's eve.json. It need not exist yet, and it may be rotated in any way.
    #[arg(long, value_name = "FILE")]
    pub(super) eve: PathBuf,

    /// The folder that the reading position is kept in; each sentinel needs its own.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/sidestep-sentinel")]
    pub(super) state_dir: PathBuf,

    /// How to reach the API server; without it, by the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ParseCommand {
    /// The file's format: suricata_eve.
    #[arg(long)]
    pub(super) format: Format,

    /// The file; - is standard input.
    pub(super) file: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_flags_of_the_log_and_of_the_commands_do_not_collide() {
        Arguments::command().debug_assert();
        for line in [
            "sidestep-sentinel --log-format json parse --format suricata_eve -",
            "sidestep-sentinel parse --format suricata_eve --log-filter debug -",
            "sidestep-sentinel run --node n --eve f",
        ] {
            Arguments::try_parse_from(line.split(' ')).unwrap();
        }
    }
}
