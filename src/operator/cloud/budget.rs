//! What the budget of a cloud is judged by, from memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::past::Past;
use crate::api::cloud::Budget;
use crate::gate::{BudgetFacts, Claim, Pool};
use crate::inventory::HostName;
use crate::openstack::Services;
use crate::operator::alerts;
use crate::operator::context::Context;

/// The facts of one cloud at one moment.
pub(in super::super) struct BudgetView {
    cloud: String,
    budget: Budget,
    services: Option<Arc<Services>>,
    /// All HostQuarantines of all clouds.
    pub(in super::super) claims: Vec<Claim>,
    /// What was done lately.
    pub(in super::super) past: Past,
    cordons: BTreeMap<String, Timestamp>,
    alerting: BTreeSet<HostName>,
    ahead: BTreeSet<HostName>,
    pool: Pool,
    now: Timestamp,
}

impl BudgetView {
    /// Reads everything that the gates of a cloud need.
    pub(in super::super) fn of(context: &Context, cloud: &str, budget: Budget) -> Self {
        let (now, claims) = (context.clock.now(), context.claims());
        let past = Past::of(context, cloud, &claims);
        Self {
            cloud: cloud.to_owned(),
            budget,
            services: context.cloud(cloud).ok().and_then(|live| live.inventory.services()),
            cordons: past.cordons(),
            alerting: alerts::alerting_hosts(context, cloud, &past, now),
            ahead: alerts::waiting_attackers(context, cloud, now),
            pool: context.pool(cloud),
            claims,
            past,
            now,
        }
    }

    /// As the gates take them.
    pub(in super::super) fn facts(&self) -> BudgetFacts<'_> {
        BudgetFacts {
            cloud: &self.cloud,
            budget: &self.budget,
            services: self.services.as_ref().map(|services| services.services.as_slice()).unwrap_or_default(),
            claims: &self.claims,
            cordons: &self.cordons,
            alerting: &self.alerting,
            ahead: &self.ahead,
            pool: &self.pool,
            now: self.now,
        }
    }

    /// When the reading of the services was begun.
    pub(in super::super) fn begun_at(&self) -> Option<Timestamp> {
        self.services.as_ref().map(|services| services.begun_at)
    }
}
