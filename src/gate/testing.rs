//! Values that the tests of the gates share.

use jiff::Timestamp;

use super::{Acceptance, Claim};
use crate::api::units::Mode;
use crate::inventory::{ComputeService, HostName, ServiceId, ServiceState, ServiceStatus};

/// Enabled services with ids `service-0`, `service-1`, ….
pub(super) fn services(hosts: &[&str]) -> Vec<ComputeService> {
    hosts
        .iter()
        .enumerate()
        .map(|(index, host)| ComputeService {
            id: ServiceId(format!("service-{index}")),
            host: HostName::from(*host),
            status: ServiceStatus::Enabled,
            state: ServiceState::Up,
            disabled_reason: None,
            forced_down: false,
        })
        .collect()
}

/// A claim of a policy in mode Enforce that was not accepted yet; its UID is its name.
pub(super) fn claim(name: &str, host: &str) -> Claim {
    Claim {
        name: name.to_owned(),
        uid: name.to_owned(),
        created: Timestamp::UNIX_EPOCH,
        cloud: "production".to_owned(),
        host: HostName::from(host),
        mode: Mode::Enforce,
        by_person: false,
        acceptance: Acceptance::Pending,
        released_at: None,
        deleting: false,
    }
}
