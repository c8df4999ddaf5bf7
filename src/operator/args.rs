//! The arguments of `sidestep-operator`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::telemetry::log::LogArguments;

/// Takes attacked OpenStack compute hosts out of service and live-migrates their servers away.
#[derive(Debug, Parser)]
#[command(name = "sidestep-operator", version, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) log: LogArguments,
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Watch alerts, policies and quarantines, and act on the clouds that OpenStackCloud objects name.
    Run(RunArguments),
    /// Write the definitions of all kinds, one file per kind.
    Crds {
        /// The folder to write into.
        #[arg(long, default_value = "crds")]
        output: PathBuf,
    },
}

/// The arguments of `run`.
#[derive(Args, Debug)]
pub(super) struct RunArguments {
    /// The namespace whose Secrets hold the clouds' credentials: the operator's own.
    #[arg(long, env = "POD_NAMESPACE")]
    pub(super) namespace: String,
    /// A kubeconfig file. Without it the service account of the pod is used; KUBECONFIG is never read.
    #[arg(long)]
    pub(super) kubeconfig: Option<PathBuf>,
    /// End at once, as a crash would, at this point. For tests of recovery.
    #[arg(long, value_enum, hide = true)]
    pub(super) crash_at: Option<super::crash::Point>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_flags_of_the_log_and_of_the_commands_do_not_collide() {
        Arguments::command().debug_assert();
        for line in ["sidestep-operator run --namespace n --log-format json", "sidestep-operator crds --output crds"] {
            Arguments::try_parse_from(line.split(' ')).unwrap();
        }
    }
}
