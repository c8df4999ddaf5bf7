//! Values that the tests of the gates share.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Acceptance, BudgetFacts, Claim, Pool};
use crate::api::cloud::Budget;
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
            zone: None,
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
        policy: Some("lab".to_owned()),
        rules: Vec::new(),
        decided_at: Timestamp::UNIX_EPOCH,
        only_cordons: false,
        over_budget: false,
        settled: false,
        acceptance: Acceptance::Pending,
        released_at: None,
        false_positive: false,
        deleting: false,
    }
}

/// What the budget gates are asked about; tests change one field and ask.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) budget: Budget,
    pub(super) services: Vec<ComputeService>,
    pub(super) claims: Vec<Claim>,
    pub(super) cordons: BTreeMap<String, Timestamp>,
    pub(super) alerting: BTreeSet<HostName>,
    pub(super) ahead: BTreeSet<HostName>,
    pub(super) pool: Pool,
    pub(super) now: Timestamp,
}

impl Scene {
    /// So many hosts in service, `cmp-1`, `cmp-2`, …, and the default budget.
    pub(super) fn of(hosts: usize) -> Self {
        Self {
            budget: Budget::default(),
            services: services(&names(hosts).iter().map(String::as_str).collect::<Vec<_>>()),
            claims: Vec::new(),
            cordons: BTreeMap::new(),
            alerting: BTreeSet::new(),
            ahead: BTreeSet::new(),
            pool: Pool::default(),
            now: Timestamp::from_second(1_000_000).unwrap(),
        }
    }

    pub(super) fn facts(&self) -> BudgetFacts<'_> {
        BudgetFacts {
            cloud: "production",
            budget: &self.budget,
            services: &self.services,
            claims: &self.claims,
            cordons: &self.cordons,
            alerting: &self.alerting,
            ahead: &self.ahead,
            pool: &self.pool,
            now: self.now,
        }
    }
}

/// `cmp-1` to `cmp-N`.
pub(super) fn names(hosts: usize) -> Vec<String> {
    (1..=hosts).map(|number| format!("cmp-{number}")).collect()
}
