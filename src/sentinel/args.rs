//! The arguments of `sidestep-sentinel`; the only place that reads its environment.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::alert::parse::Format;
use crate::telemetry::log;

/// Follows a sensor's alert file on a compute host and reports what it says to Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "sidestep-sentinel", version, about, max_term_width = 110)]
pub(super) struct Arguments {
    /// How log lines on standard error look.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(super) log_format: log::Format,

    /// Which log lines are written: a level, or a list such as sidestep=debug,warn.
    #[arg(long, global = true, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub(super) log_filter: String,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read a file of alerts once and print one JSON object per record.
    Parse(ParseCommand),
}

#[derive(Debug, Args)]
pub(super) struct ParseCommand {
    /// The file's format: suricata_eve.
    #[arg(long)]
    pub(super) format: Format,

    /// The file; - is standard input.
    pub(super) file: PathBuf,
}
