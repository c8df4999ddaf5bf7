//! What Nova and Placement say, as plain values: the vocabulary that decisions are made in.
//!
//! Layer 0, beside [`crate::api`]: `openstack` fills these values from HTTP answers, `quarantine` and `migration` decide on them, and neither needs to
//! know the other. Nothing here talks to anything. Words are Nova's own: `host` is the compute service host (`OS-EXT-SRV-ATTR:host`), `server` an instance.
//!
//! Field names follow the API; each type says which call it comes from. Unknown words of Nova (a new status) are kept as text and never lost or guessed.

mod group;
mod host;
pub mod mark;
mod migration;
mod server;

pub use group::{GroupRules, ServerGroup};
pub use host::{ComputeService, HostName, ServiceId, ServiceState, ServiceStatus};
pub use migration::{ActionEvent, InstanceAction, MigrationProgress, NovaMigration, RowStatus};
pub use server::{Flavor, Server, ServerId, ServerStatus};

use std::collections::BTreeMap;

use jiff::Timestamp;

/// What lies on one host, as one look at Nova and Placement showed it. All parts were asked for after `begun_at`, so a fact is never older than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    /// The host that was asked about.
    pub host: HostName,
    /// When the first of the calls behind this view was begun, on the operator's clock.
    pub begun_at: Timestamp,
    /// When the last answer was there.
    pub ended_at: Timestamp,
    /// The rows of `os-services` (binary nova-compute) whose host is this one: exactly one for a host that exists; none or several are errors of the input.
    pub services: Vec<ComputeService>,
    /// All servers of all projects on this host, in no particular order.
    pub servers: Vec<Server>,
    /// Migration rows that touch this host as source or destination, newest first: the newest 1,000 at least, so that an attempt is found again after a restart, and those of
    /// them that were open at an earlier look.
    pub migrations: Vec<NovaMigration>,
    /// Consumers that hold an allocation on this host's resource provider in Placement. Absent when Placement was not asked in this look.
    pub consumers: Option<Vec<uuid::Uuid>>,
    /// Servers of this host that were deleted and can still be restored, which no ordinary list shows. Empty also when Placement was not asked: both are asked together.
    pub soft_deleted: Vec<Server>,
    /// Servers that are not on this host and have an open row that touches it, each asked about alone after the rows were listed: nothing where Nova knows no such server. One that is missing
    /// here was not asked about.
    pub asked: BTreeMap<ServerId, Option<Server>>,
}

impl HostView {
    /// The host's service row when there is exactly one.
    #[must_use]
    pub fn service(&self) -> Option<&ComputeService> {
        match self.services.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// Whether Nova is at work on a row: by its own word, and, where its server was asked about, by that too. A nova-compute that died leaves rows that say `running` for ever.
    #[must_use]
    pub fn is_alive(&self, row: &NovaMigration) -> bool {
        row.status.is_under_way()
            && match self.asked.get(&row.server) {
                None => true,
                Some(None) => false,
                Some(Some(server)) => server.host.as_ref() == Some(&self.host) || server.task_state.is_some() || server.status == ServerStatus::Migrating,
            }
    }

    /// Whether a row leads to this host: to its destination, or, where it is reverted, back to its source.
    #[must_use]
    pub fn is_goal_of(&self, row: &NovaMigration) -> bool {
        let goal = if row.status.as_str() == "reverting" { &row.source_compute } else { &row.dest_compute };
        goal.as_ref() == Some(&self.host) && row.status.as_str() != "confirming"
    }

    /// The server with this id on this host.
    #[must_use]
    pub fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.iter().find(|server| server.id == id)
    }
}
