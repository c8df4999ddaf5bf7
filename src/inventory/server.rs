//! Servers: the rows of `GET /servers/detail`.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::HostName;

/// The UUID of a server (Nova instance).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerId(pub Uuid);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Nova's `status` of a server, as far as a decision needs it; every other word is kept as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ServerStatus {
    /// Running.
    Active,
    /// Paused in memory; live-migrates and stays paused.
    Paused,
    /// A migration is under way.
    Migrating,
    /// Powered off.
    Shutoff,
    /// In error.
    Error,
    /// Any other word of Nova (`SUSPENDED`, `RESCUE`, `VERIFY_RESIZE`, `BUILD`, …).
    Other(String),
}

impl From<String> for ServerStatus {
    fn from(word: String) -> Self {
        match word.as_str() {
            "ACTIVE" => Self::Active,
            "PAUSED" => Self::Paused,
            "MIGRATING" => Self::Migrating,
            "SHUTOFF" => Self::Shutoff,
            "ERROR" => Self::Error,
            _ => Self::Other(word),
        }
    }
}

impl From<ServerStatus> for String {
    fn from(status: ServerStatus) -> Self {
        status.as_str().to_owned()
    }
}

impl ServerStatus {
    /// Nova's word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Active => "ACTIVE",
            Self::Paused => "PAUSED",
            Self::Migrating => "MIGRATING",
            Self::Shutoff => "SHUTOFF",
            Self::Error => "ERROR",
            Self::Other(word) => word,
        }
    }
}

/// One server of any project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its UUID.
    pub id: ServerId,
    /// Its display name, chosen by its owner: untrusted text.
    #[serde(default)]
    pub name: String,
    /// Nova's status.
    pub status: ServerStatus,
    /// What Nova does with it at the moment (`migrating`); absent when nothing.
    #[serde(rename = "OS-EXT-STS:task_state", default)]
    pub task_state: Option<String>,
    /// Nova's `vm_state` (`active`, `paused`, `stopped`, …).
    #[serde(rename = "OS-EXT-STS:vm_state", default)]
    pub vm_state: String,
    /// What the hypervisor last said: 1 running, 3 paused, 4 shut down, 0 nothing known.
    #[serde(rename = "OS-EXT-STS:power_state", default)]
    pub power_state: i64,
    /// The host that Nova believes it is on. Absent before it was scheduled.
    #[serde(rename = "OS-EXT-SRV-ATTR:host", default)]
    pub host: Option<HostName>,
    /// Locked by its owner or an administrator.
    #[serde(default)]
    pub locked: bool,
    /// Its flavor, embedded since microversion 2.47.
    #[serde(default)]
    pub flavor: Flavor,
}

/// The size of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flavor {
    /// Memory in MiB.
    #[serde(default)]
    pub ram: u64,
    /// Virtual CPUs.
    #[serde(default)]
    pub vcpus: u64,
    /// Root disk in GiB.
    #[serde(default)]
    pub disk: u64,
}
