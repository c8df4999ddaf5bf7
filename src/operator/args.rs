//! The arguments of `sidestep-operator`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};

use crate::api::units::Period;
use crate::telemetry::admin::AdminArguments;
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
    Run(Box<RunArguments>),
    /// Let go of everything before Sidestep is removed: stop the operators, remove finalizers, and name the hosts that stay out of service. No cloud is touched.
    Uninstall(UninstallArguments),
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
    #[command(flatten)]
    pub(super) admin: AdminArguments,
    /// The namespace whose Secrets hold the clouds' credentials, and where the Lease is: the operator's own.
    #[arg(long, env = "POD_NAMESPACE")]
    pub(super) namespace: String,
    /// A kubeconfig file. Without it the service account of the pod is used; KUBECONFIG is never read.
    #[arg(long)]
    pub(super) kubeconfig: Option<PathBuf>,
    /// The name of this process among operators, in the Lease that one of them holds. After a restart under the same name the Lease is its own still, so never give it to two at a time. Without it
    /// a name of the host's and of chance.
    #[arg(long, env = "POD_NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(super) identity: Option<String>,
    /// The Kubernetes node that this operator runs on: should it be a host of a cloud, nothing is done in that cloud.
    #[arg(long, env = "NODE_NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(super) node: Option<String>,
    /// The namespace of the Leases by which the sentinels are heard. Without it the operator's own with -sentinels behind it, as the chart makes it.
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub(super) lease_namespace: Option<String>,
    /// A sentinel whose Lease was not renewed for this long is silent. It renews every 10 s unless told otherwise.
    #[arg(long, value_name = "DURATION", default_value = "40s")]
    pub(super) silent_after: Period,
    /// What is left of a node that belongs to no host of any cloud is deleted when its Lease was not renewed for this long.
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub(super) forget_after: Period,
    /// End at once, as a crash would, at this point. For tests of recovery.
    #[arg(long, hide = true)]
    pub(super) crash_at: Option<super::crash::Point>,
    /// Demand the admission policies under the names of this revision, as a later version would. For tests of upgrades.
    #[arg(long, hide = true, default_value = super::identity::REVISION)]
    pub(super) admission_revision: String,
}

/// The arguments of `uninstall`.
#[derive(Args, Debug)]
pub(super) struct UninstallArguments {
    /// The operator's namespace.
    #[arg(long, env = "POD_NAMESPACE")]
    pub(super) namespace: String,
    /// A kubeconfig file. Without it the service account of the pod is used; KUBECONFIG is never read.
    #[arg(long)]
    pub(super) kubeconfig: Option<PathBuf>,
    /// End at once, as a crash would, at this point. For tests of recovery.
    #[arg(long, hide = true)]
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
