//! The arguments of `sidestep-simulator`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// A simulated OpenStack cloud (Keystone, Nova, Placement) to try Sidestep on: hosts, servers, and live migrations that take their time, queue and fail as real ones do.
#[derive(Clone, Debug, Parser)]
#[command(name = "sidestep-simulator", version, after_help = AFTER)]
pub struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,

    /// Number of compute hosts, named compute-1, compute-2, ...
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub hosts: u16,

    /// Number of servers of 512 MiB on each host at the start
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub servers_per_host: u16,

    /// A description of the cloud in YAML or JSON; hosts and servers in it replace --hosts and --servers-per-host
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// How many times faster than a real cloud everything goes
    #[arg(long, value_name = "FACTOR")]
    pub speed: Option<f64>,

    /// Append every request to this file, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,

    /// Write a clouds.yaml for the administrator of this cloud, readable by its owner only
    #[arg(long, value_name = "FILE")]
    pub write_clouds_yaml: Option<PathBuf>,
}

const AFTER: &str = "\
When it is ready it prints one line: its URL. Keystone is at URL/identity/v3, Nova at URL/compute/v2.1, Placement at URL/placement; what a test does to the cloud behind
everybody's back (faults, servers that appear, what was asked) is at URL/admin. User and project are `admin`, the password is `lab` unless --state says otherwise.
Ctrl-C or SIGTERM ends it. RUST_LOG sets what it logs to standard error, for example RUST_LOG=sidestep=debug.

Examples:
  sidestep-simulator --hosts 5 --servers-per-host 10 --speed 4 --write-clouds-yaml /tmp/clouds.yaml
  sidestep-simulator --state cloud.yaml --access-log requests.jsonl

A description for --state, where everything may be left out:
  hosts: [compute-1, compute-2, compute-3]
  server_groups: {web: {policy: anti-affinity}}
  aggregates: {pool: {hosts: [compute-3]}}
  servers:
    - {name: web, host: compute-1, ram_mb: 2048, group: web}
    - {name: batch, host: compute-1, state: PAUSED, locked: true}
    - {name: resized, host: compute-2, state: VERIFY_RESIZE, resized_from: compute-1}
  max_concurrent_live_migrations: 2
  after_rollback: error        # as Nova 33 and 34 with libvirt leave an aborted copy
  timing: {checks_ms: 500}";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_description_in_the_help_can_be_used() {
        let (_, description) = AFTER.split_once("left out:\n").unwrap();
        let settings: crate::simulator::Settings = serde_saphyr::from_str(description).unwrap();
        settings.check().unwrap();
        assert_eq!(settings.servers.len(), 3);
    }

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["sidestep-simulator"]).unwrap();
        assert_eq!((args.hosts, args.servers_per_host), (3, 4));
    }
}
