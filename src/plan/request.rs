//! What a plan is made from, and what it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::{Flavor, HostName, ServerId};

/// An amount of the three resources that Nova keeps in Placement for every server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Virtual CPUs (`VCPU`; a host's figure includes its allocation ratio).
    pub vcpus: u64,
    /// Memory, MiB (`MEMORY_MB`).
    pub memory_mb: u64,
    /// Disk, GiB (`DISK_GB`).
    pub disk_gb: u64,
}

impl Resources {
    /// Whether this much fits into that much.
    #[must_use]
    pub fn fits(&self, free: &Self) -> bool {
        self.vcpus <= free.vcpus && self.memory_mb <= free.memory_mb && self.disk_gb <= free.disk_gb
    }

    /// What is left of this when `taken` is taken from it; never less than nothing.
    #[must_use]
    pub fn less(&self, taken: &Self) -> Self {
        Self {
            vcpus: self.vcpus.saturating_sub(taken.vcpus),
            memory_mb: self.memory_mb.saturating_sub(taken.memory_mb),
            disk_gb: self.disk_gb.saturating_sub(taken.disk_gb),
        }
    }
}

impl From<Flavor> for Resources {
    fn from(flavor: Flavor) -> Self {
        Self { vcpus: flavor.vcpus, memory_mb: flavor.ram, disk_gb: flavor.disk }
    }
}

/// A server that should leave the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passenger {
    /// The server.
    pub server: ServerId,
    /// What it takes on a host.
    pub resources: Resources,
    /// Whether it moves after all others: a node of the cluster that Sidestep itself runs in.
    pub is_last: bool,
    /// Its server group, where that binds it.
    pub group: Option<Group>,
    /// Hosts that have refused it.
    pub refused_by: BTreeSet<HostName>,
    /// The availability zone that it is bound to, where it is bound to one.
    pub zone: Option<String>,
}

impl Passenger {
    /// A passenger without a group, to which no host has said no.
    #[must_use]
    pub fn new(server: ServerId, resources: Resources) -> Self {
        Self { server, resources, is_last: false, group: None, refused_by: BTreeSet::new(), zone: None }
    }
}

/// A server group whose policy Nova enforces. Soft policies bind nobody and need none of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The group's UUID.
    pub id: String,
    /// Its name, chosen by its owner: untrusted text.
    pub name: String,
    /// What it demands.
    pub policy: GroupPolicy,
    /// How many members each host has that are not leaving the source; the source is not among them.
    pub members: BTreeMap<HostName, u32>,
    /// How many members are on the source, the passenger among them.
    pub on_source: u32,
}

/// What a server group demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupPolicy {
    /// At most so many members on one host (1 unless the group's rule `max_server_per_host` says more).
    Apart(u32),
    /// All members on one host. Nova moves one member at a time, so that as long as another stays behind none can leave.
    Together,
}

/// A host that could take servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The host.
    pub host: HostName,
    /// What Placement says is free.
    pub free: Resources,
    /// Its traits in Placement.
    pub traits: BTreeSet<String>,
    /// The names of the aggregates that it is in.
    pub aggregates: BTreeSet<String>,
}

/// Why a host is no destination at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bar {
    /// Its nova-compute does not report, or is forced down.
    Down,
    /// Somebody took it out of service.
    Disabled,
    /// A quarantine is at work on it.
    Quarantined,
    /// It is under attack itself, or is the address of an attacker.
    Alerted,
    /// The cloud's or the quarantine's `destinations.exclude` names it.
    Excluded,
}

impl Bar {
    /// The word in a sentence such as `3 are down`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Disabled => "out of service",
            Self::Quarantined => "quarantined",
            Self::Alerted => "alerted",
            Self::Excluded => "excluded",
        }
    }
}

/// What a destination must be. Several of these hold together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// It is in one of these aggregates; any host where this is empty.
    pub aggregates: Vec<String>,
    /// It has all these traits.
    pub required_traits: Vec<String>,
    /// It is none of these hosts.
    pub exclude: Vec<String>,
}

/// The aggregate for servers from suspect hosts, and how much it counts. Its hosts are no ordinary destination, and what is on one of them moves to others of them only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The aggregate's name; empty where the cloud has none.
    pub aggregate: String,
    /// How much it counts.
    pub rule: PoolRule,
}

/// How much the pool counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolRule {
    /// Ordinary hosts only.
    Ignore,
    /// The pool first; ordinary hosts for what does not fit there.
    Prefer,
    /// The pool and nothing else.
    Only,
}

/// All that a plan depends on.
#[derive(Clone, Debug)]
pub struct Request {
    /// The host that is left.
    pub source: HostName,
    /// Who leaves it.
    pub passengers: Vec<Passenger>,
    /// The hosts of the cloud, full ones too. One that is missing here takes nothing; the source is among them, so that its aggregates are known.
    pub rooms: Vec<Room>,
    /// The availability zones of the hosts, as far as they are known.
    pub zones: BTreeMap<HostName, String>,
    /// Hosts that are no destination at the moment, and why.
    pub barred: BTreeMap<HostName, Bar>,
    /// What a destination must be: the cloud's rules, the quarantine's.
    pub rules: Vec<Rules>,
    /// The pool.
    pub pool: Pool,
    /// What is on its way to a host and not in `rooms` yet.
    pub en_route: Vec<(HostName, Resources)>,
    /// Decides between equally free hosts.
    pub seed: u64,
}

/// One move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The server.
    pub server: ServerId,
    /// Where it goes.
    pub destination: HostName,
    /// Its place, from 1 on.
    pub order: u32,
}

/// Why a server has nowhere to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// No host may take it, or none has room.
    NoDestination,
    /// Only the pool may take it, and it is full.
    PoolFull,
}

impl NoPlace {
    /// The word in status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoDestination => "NoDestination",
            Self::PoolFull => "PoolFull",
        }
    }
}

/// A server that has nowhere to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplaced {
    /// The server.
    pub server: ServerId,
    /// Why, in a word.
    pub reason: NoPlace,
    /// Why, in a sentence that counts the hosts.
    pub message: String,
}

/// The plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The moves, in their order.
    pub moves: Vec<Move>,
    /// Who stays.
    pub unplaced: Vec<Unplaced>,
    /// Every host that may take a server of this drain, whether it has room or not; sorted.
    pub allowed: Vec<HostName>,
    /// The seed that it was made with.
    pub seed: u64,
}
