//! The arguments of `sidestepctl`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::api::units::Period;

/// Shows what Sidestep does. It reads and changes nothing.
#[derive(Debug, Parser)]
#[command(name = "sidestepctl", version, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) cluster: ClusterArguments,
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Which cluster is meant; the same flags as kubectl's.
#[derive(Args, Debug)]
pub(super) struct ClusterArguments {
    /// A kubeconfig file. Without it the files that KUBECONFIG names, or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The context in it. Without it the current one.
    #[arg(long, global = true)]
    pub(super) context: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show drains as they happen: a bar for each server and one for the host, or plain lines when the output is no terminal.
    #[command(
        after_help = "Exit status: 0 when every watched host is empty, cordoned, observed or given back; 3 when one is Blocked or Refused and so needs a person; \
                            4 when --timeout has passed; 130 after Ctrl-C, which stops no drain; 1 when the cluster cannot be asked."
    )]
    Watch(WatchArguments),
}

/// The arguments of `watch`.
#[derive(Args, Debug)]
pub(super) struct WatchArguments {
    /// The HostQuarantine to watch. Without it every one that is at work, and those that are made meanwhile; when there is none, the next one.
    #[arg(value_name = "HOSTQUARANTINE")]
    pub(super) name: Option<String>,
    /// Go on when every watched host has come to rest.
    #[arg(long)]
    pub(super) forever: bool,
    /// Give up after this time, such as 90s or 10m.
    #[arg(long, value_name = "TIME")]
    pub(super) timeout: Option<Period>,
    /// Plain lines also on a terminal.
    #[arg(long)]
    pub(super) plain: bool,
    /// What the terminal is: one that is `dumb` gets plain lines.
    #[arg(long, env = "TERM", hide = true, value_name = "NAME")]
    pub(super) term: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_lines_of_the_manual_are_understood() {
        Arguments::command().debug_assert();
        for line in
            ["sidestepctl watch", "sidestepctl watch compute-17-5f3a9c01 --context production", "sidestepctl --kubeconfig f watch --forever --timeout 90s"]
        {
            Arguments::try_parse_from(line.split(' ')).unwrap();
        }
    }

    #[test]
    fn a_time_without_a_unit_is_named() {
        let error = Arguments::try_parse_from(["sidestepctl", "watch", "--timeout", "90"]).unwrap_err().to_string();
        assert!(error.contains("90"), "{error}");
    }
}
