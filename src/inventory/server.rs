//! Servers: the rows of `GET /servers/detail`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
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
#[serde(from = "Row")]
pub struct Server {
    /// Its UUID.
    pub id: ServerId,
    /// Its display name, chosen by its owner: untrusted text.
    pub name: String,
    /// Nova's status.
    pub status: ServerStatus,
    /// What Nova does with it at the moment (`migrating`); absent when nothing.
    #[serde(rename = "OS-EXT-STS:task_state")]
    pub task_state: Option<String>,
    /// Nova's `vm_state` (`active`, `paused`, `stopped`, …).
    #[serde(rename = "OS-EXT-STS:vm_state")]
    pub vm_state: String,
    /// What the hypervisor last said: 1 running, 3 paused, 4 shut down, 0 nothing known.
    #[serde(rename = "OS-EXT-STS:power_state")]
    pub power_state: i64,
    /// The host that Nova believes it is on. Absent before it was scheduled.
    #[serde(rename = "OS-EXT-SRV-ATTR:host")]
    pub host: Option<HostName>,
    /// Locked by its owner or an administrator.
    pub locked: bool,
    /// What it takes on a host.
    pub flavor: Flavor,
    /// The availability zone that its owner bound it to: Nova moves it to no other. Absent where it is bound to none, and before microversion 2.96.
    #[serde(rename = "pinned_availability_zone")]
    pub pinned_zone: Option<String>,
}

/// What a server takes on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flavor {
    /// Memory in MiB.
    pub ram: u64,
    /// Virtual CPUs that share the host's; none where each has a CPU of its own (`PCPU`, which Nova's scheduler judges).
    pub vcpus: u64,
    /// Disk in GiB: root, ephemeral and swap. A root disk that is a volume takes nothing of the host.
    pub disk: u64,
}

/// A server as Nova writes it; the flavor is embedded since microversion 2.47.
#[derive(Deserialize)]
struct Row {
    id: ServerId,
    #[serde(default)]
    name: String,
    status: ServerStatus,
    #[serde(rename = "OS-EXT-STS:task_state", default)]
    task_state: Option<String>,
    #[serde(rename = "OS-EXT-STS:vm_state", default)]
    vm_state: String,
    #[serde(rename = "OS-EXT-STS:power_state", default)]
    power_state: i64,
    #[serde(rename = "OS-EXT-SRV-ATTR:host", default)]
    host: Option<HostName>,
    #[serde(default)]
    locked: bool,
    #[serde(default)]
    flavor: FlavorRow,
    #[serde(rename = "pinned_availability_zone", default)]
    pinned_zone: Option<String>,
    /// An object, or an empty text where the server boots from a volume.
    #[serde(default)]
    image: Option<Value>,
}

#[derive(Default, Deserialize)]
struct FlavorRow {
    #[serde(default)]
    ram: u64,
    #[serde(default)]
    vcpus: u64,
    #[serde(default)]
    disk: u64,
    #[serde(default)]
    ephemeral: u64,
    /// MiB; an empty text for none in some versions.
    #[serde(default)]
    swap: Option<Value>,
    /// Absent where the credential may not see them.
    #[serde(default)]
    extra_specs: Option<BTreeMap<String, Value>>,
}

impl FlavorRow {
    fn extra(&self, key: &str) -> Option<&str> {
        self.extra_specs.as_ref()?.get(key)?.as_str()
    }

    /// What Placement is asked for: the flavor's own figure, unless it overrides it.
    fn amount(&self, class: &str, own: u64) -> u64 {
        self.extra(&format!("resources:{class}")).and_then(|figure| figure.parse().ok()).unwrap_or(own)
    }

    fn shared_cpus(&self) -> u64 {
        let own = self.extra("hw:cpu_policy").is_some_and(|policy| matches!(policy, "dedicated" | "mixed")) || self.extra("resources:PCPU").is_some();
        self.amount("VCPU", if own { 0 } else { self.vcpus })
    }
}

impl From<Row> for Server {
    fn from(row: Row) -> Self {
        let Row { id, name, status, task_state, vm_state, power_state, host, locked, flavor, pinned_zone, image } = row;
        let from_volume = image.as_ref().and_then(Value::as_str) == Some("");
        let root = if from_volume { 0 } else { flavor.disk };
        let swap = flavor.swap.as_ref().and_then(Value::as_u64).unwrap_or_default().div_ceil(1024);
        let disk = root.saturating_add(flavor.ephemeral).saturating_add(swap);
        let flavor = Flavor { ram: flavor.ram, vcpus: flavor.shared_cpus(), disk: flavor.amount("DISK_GB", disk) };
        Self { id, name, status, task_state, vm_state, power_state, host, locked, flavor, pinned_zone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(image: &str, flavor: &str) -> u64 {
        let row = format!(r#"{{"id": "d9e4c311-8982-4a28-b0a9-ba16ac3ecf49", "status": "ACTIVE", "image": {image}, "flavor": {flavor}}}"#);
        serde_json::from_str::<Server>(&row).unwrap().flavor.disk
    }

    #[test]
    fn a_flavor_takes_what_it_asks_placement_for() {
        let flavor = |extra: &str| {
            let flavor = format!(r#"{{"ram": 2048, "vcpus": 4, "disk": 20, "extra_specs": {extra}}}"#);
            let row = format!(r#"{{"id": "d9e4c311-8982-4a28-b0a9-ba16ac3ecf49", "status": "ACTIVE", "image": {{"id": "i"}}, "flavor": {flavor}}}"#);
            let Flavor { ram, vcpus, disk } = serde_json::from_str::<Server>(&row).unwrap().flavor;
            (ram, vcpus, disk)
        };
        assert_eq!(flavor("null"), (2048, 4, 20));
        assert_eq!(flavor(r#"{"hw:cpu_policy": "shared"}"#), (2048, 4, 20));
        for pinned in [r#"{"hw:cpu_policy": "dedicated"}"#, r#"{"hw:cpu_policy": "mixed"}"#, r#"{"resources:PCPU": "4"}"#] {
            assert_eq!(flavor(pinned), (2048, 0, 20), "{pinned}");
        }
        assert_eq!(flavor(r#"{"resources:VCPU": "0", "resources:DISK_GB": "7"}"#), (2048, 0, 7));
    }

    #[test]
    fn a_root_disk_on_a_volume_takes_nothing_of_the_host() {
        assert_eq!(disk(r#"{"id": "i"}"#, r#"{"disk": 20, "ephemeral": 5, "swap": 1500}"#), 27);
        assert_eq!(disk(r#""""#, r#"{"disk": 20, "ephemeral": 5, "swap": ""}"#), 5);
        assert_eq!(disk("null", r#"{"disk": 20}"#), 20);
    }
}
