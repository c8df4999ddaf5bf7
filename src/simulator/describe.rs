//! What a cloud consists of when it begins, as a description or a request of `/admin` says it: hosts, servers, groups of servers, aggregates of hosts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A server to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Its id; absent: the next one.
    pub id: Option<Uuid>,
    /// Its name.
    pub name: String,
    /// Its host, one of [`super::Settings::hosts`].
    pub host: String,
    /// Its state at the beginning.
    pub state: VmState,
    /// Its memory, MiB.
    #[serde(alias = "ram")]
    pub ram_mb: u64,
    /// Its virtual CPUs.
    pub vcpus: u64,
    /// Its disk, GiB.
    pub disk_gb: u64,
    /// The project that owns it: `admin` or `demo`.
    pub project: String,
    /// Locked by its owner.
    pub locked: bool,
    /// Its disk is a volume, so its image is empty.
    pub volume: bool,
    /// The server group that it is a member of, by name; it must exist.
    pub group: Option<String>,
    /// Its addresses on the network `lab`.
    pub addresses: Vec<String>,
    /// With state `VERIFY_RESIZE`: the host that somebody's resize took it from, which waits for a confirmation.
    pub resized_from: Option<String>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            id: None,
            name: "server".into(),
            host: String::new(),
            state: VmState::Active,
            ram_mb: 512,
            vcpus: 1,
            disk_gb: 1,
            project: "demo".into(),
            locked: false,
            volume: false,
            group: None,
            addresses: Vec::new(),
            resized_from: None,
        }
    }
}

/// In what one host differs from the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostSettings {
    /// Memory, MiB, instead of [`super::Settings::host_memory_mb`].
    pub memory_mb: Option<u64>,
    /// Virtual CPUs, instead of [`super::Settings::host_vcpus`].
    pub vcpus: Option<u64>,
    /// Disk, GiB, instead of [`super::Settings::host_disk_gb`].
    pub disk_gb: Option<u64>,
    /// Further traits of its resource provider, such as `CUSTOM_TRUSTED`.
    pub traits: Vec<String>,
}

/// A group of servers with a rule about their hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSettings {
    /// Its rule.
    pub policy: GroupPolicy,
}

/// Which hosts the members of a server group may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupPolicy {
    /// All on one host, or a move is refused.
    Affinity,
    /// Each on a host of its own, or a move is refused.
    AntiAffinity,
    /// Wished, never enforced.
    SoftAffinity,
    /// Wished, never enforced.
    SoftAntiAffinity,
}

/// An aggregate of hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AggregateSettings {
    /// Its members.
    pub hosts: Vec<String>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// The availability zone that it makes.
    pub availability_zone: Option<String>,
}

/// What a server is when nothing is being done with it, by the word that the API shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VmState {
    /// Running.
    #[default]
    #[serde(rename = "ACTIVE")]
    Active,
    /// Paused in memory.
    #[serde(rename = "PAUSED")]
    Paused,
    /// Powered off.
    #[serde(rename = "SHUTOFF")]
    Shutoff,
    /// Saved to disk.
    #[serde(rename = "SUSPENDED")]
    Suspended,
    /// Runs from a rescue image.
    #[serde(rename = "RESCUE")]
    Rescued,
    /// Being made.
    #[serde(rename = "BUILD")]
    Building,
    /// Resized or cold-migrated, waiting for its owner to confirm or revert.
    #[serde(rename = "VERIFY_RESIZE")]
    Resized,
    /// Shelved, its disk still on its host.
    #[serde(rename = "SHELVED")]
    Shelved,
    /// Deleted, and to be reclaimed later.
    #[serde(rename = "SOFT_DELETED")]
    SoftDeleted,
    /// In error.
    #[serde(rename = "ERROR")]
    Error,
}

impl VmState {
    /// The word of `OS-EXT-STS:vm_state`.
    #[must_use]
    pub fn vm_state(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Shutoff => "stopped",
            Self::Suspended => "suspended",
            Self::Rescued => "rescued",
            Self::Building => "building",
            Self::Resized => "resized",
            Self::Shelved => "shelved",
            Self::SoftDeleted => "soft-delete",
            Self::Error => "error",
        }
    }

    /// The word of `status` when no task is under way.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Paused => "PAUSED",
            Self::Shutoff => "SHUTOFF",
            Self::Suspended => "SUSPENDED",
            Self::Rescued => "RESCUE",
            Self::Building => "BUILD",
            Self::Resized => "VERIFY_RESIZE",
            Self::Shelved => "SHELVED",
            Self::SoftDeleted => "SOFT_DELETED",
            Self::Error => "ERROR",
        }
    }

    /// The number of `OS-EXT-STS:power_state` of a guest in this state.
    #[must_use]
    pub fn power_state(self) -> u8 {
        match self {
            Self::Building => 0,
            Self::Active | Self::Rescued | Self::Resized | Self::Error => 1,
            Self::Paused => 3,
            Self::Shutoff | Self::Suspended | Self::Shelved | Self::SoftDeleted => 4,
        }
    }
}
