//! The pool gate, fail-closed: no policy takes a host of the quarantine pool out of service.
//!
//! Servers from suspect hosts are put there, so that alerts are to be expected, and a pool that alerts can empty is none.

use std::collections::BTreeSet;

use super::Verdict;
use crate::inventory::HostName;

/// The reason of a refusal because the host is one of the pool's.
pub const POOL_HOST: &str = "PoolHost";

/// The quarantine pool of a cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// The aggregate's name (`spec.destinations.pool`); empty where the cloud has no pool.
    pub aggregate: String,
    /// Its hosts, those without any room among them. `None` while Nova's aggregates were not read, or not for too long.
    pub hosts: Option<BTreeSet<HostName>>,
}

impl Pool {
    /// Whether a host is known to be one of the pool's.
    #[must_use]
    pub fn holds(&self, host: &HostName) -> bool {
        !self.aggregate.is_empty() && self.hosts.as_ref().is_some_and(|hosts| hosts.contains(host))
    }
}

/// Passes when the host is surely no host of the pool.
pub fn outside_pool(cloud: &str, pool: &Pool, host: &HostName) -> Verdict {
    let aggregate = &pool.aggregate;
    if aggregate.is_empty() {
        return Verdict::Pass;
    }
    if pool.hosts.is_none() {
        let message = format!(
            "Which hosts of OpenStackCloud {cloud} are in aggregate {aggregate}, the quarantine pool (spec.destinations.pool), is not known at the moment, and no policy takes one of those out of service; Nova's aggregates are asked for again."
        );
        return Verdict::Refuse { reason: "InventoryStale", message };
    }
    if !pool.holds(host) {
        return Verdict::Pass;
    }
    Verdict::Refuse {
        reason: POOL_HOST,
        message: format!(
            "{POOL_HOST}: host {host} is in aggregate {aggregate}, the quarantine pool of OpenStackCloud {cloud} (spec.destinations.pool), where servers from suspect hosts are and alerts are to be expected; no policy takes it out of service. Look at the alert, and quarantine host {host} by hand if need be."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(pool: &Pool, host: &str) -> Option<&'static str> {
        match outside_pool("production", pool, &host.into()) {
            Verdict::Pass => None,
            Verdict::Refuse { reason, .. } => Some(reason),
        }
    }

    #[test]
    fn a_host_of_the_pool_is_refused_by_its_name_and_any_other_passes() {
        let pool = Pool { aggregate: "suspects".into(), hosts: Some(BTreeSet::from(["cmp-9".into()])) };
        assert_eq!((reason(&pool, "cmp-9"), reason(&pool, "cmp-1")), (Some("PoolHost"), None));
        let verdict = outside_pool("production", &pool, &"cmp-9".into());
        let message = verdict.refusal().unwrap();
        assert!(["PoolHost", "cmp-9", "suspects", "production", "by hand"].iter().all(|part| message.contains(part)), "{message}");
    }

    #[test]
    fn while_the_hosts_of_the_pool_are_not_known_no_host_passes_and_without_a_pool_every_host_does() {
        let unknown = Pool { aggregate: "suspects".into(), hosts: None };
        assert_eq!(reason(&unknown, "cmp-1"), Some("InventoryStale"));
        assert_eq!(reason(&Pool::default(), "cmp-1"), None);
        assert!(!unknown.holds(&"cmp-1".into()));
    }
}
