//! Hosts: the rows of `GET /os-services?binary=nova-compute`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a Nova compute service host, compared exactly as Nova does (case counts).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(pub String);

impl HostName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for HostName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The UUID of a service row. It changes when the row was deleted and the service registered again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceId(pub String);

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the scheduler may place servers on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceStatus {
    /// In service.
    Enabled,
    /// Out of service: no new servers; it still sends, and answers.
    Disabled,
}

/// Whether nova-compute reports (or is forced down).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// Its heartbeat is fresh.
    Up,
    /// No heartbeat for `service_down_time`, or forced down.
    Down,
}

/// One nova-compute service (microversion 2.53 and later: the id is a UUID).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComputeService {
    /// The row's UUID, needed for `PUT /os-services/{id}`.
    pub id: ServiceId,
    /// The host.
    pub host: HostName,
    /// In or out of service.
    pub status: ServiceStatus,
    /// Up or down.
    pub state: ServiceState,
    /// Why it is disabled; Nova keeps at most 255 characters. Absent when null.
    #[serde(default)]
    pub disabled_reason: Option<String>,
    /// Forced down by an administrator. Old rows do not have it.
    #[serde(default)]
    pub forced_down: bool,
    /// The availability zone that the host is in.
    #[serde(default)]
    pub zone: Option<String>,
}
