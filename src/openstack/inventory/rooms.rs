//! What is free on each host, kept up to date beside the ticks, so that Placement never holds one up: as often as the ticks come, and at once when a host begins to be watched.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::cloud::Cloud;
use super::super::rooms::Topology;
use super::{Inventory, PollError};
use crate::clock::Clock;
use crate::inventory::{HostName, ServerGroup};
use crate::plan::Room;

/// How old the list of hypervisors, aggregates and server groups may be.
const TOPOLOGY_INTERVAL: Duration = Duration::from_secs(60);
/// Placement is not asked more often than this.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// What was free on each host, as one look showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rooms {
    /// When the look was begun.
    pub begun_at: Timestamp,
    /// The hosts, full ones too.
    pub rooms: Vec<Room>,
    /// The server groups that bind their members.
    pub groups: Arc<Vec<ServerGroup>>,
}

/// Which host is in which aggregates, as one look showed it. Unlike [`Rooms`] it has every host of an aggregate, whether or not there is room on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregates {
    begun_at: Timestamp,
    hosts: BTreeMap<HostName, BTreeSet<String>>,
}

impl Aggregates {
    /// The hosts of the aggregate of this name; none where there is none of this name.
    #[must_use]
    pub fn hosts_of(&self, aggregate: &str) -> BTreeSet<HostName> {
        let members = self.hosts.iter().filter(|(_, names)| names.contains(aggregate));
        members.map(|(host, _)| host.clone()).collect()
    }

    /// Whether another look showed the same.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.hosts == other.hosts
    }

    /// Whether the look is too old to decide on, where a view of the cloud is after `stale_after`: it is made more rarely than those, by [`TOPOLOGY_INTERVAL`].
    #[must_use]
    pub fn is_older_than(&self, stale_after: Duration, now: Timestamp) -> bool {
        now.duration_since(self.begun_at).unsigned_abs() > stale_after.saturating_add(TOPOLOGY_INTERVAL)
    }
}

/// Reads for ever.
pub(super) async fn keep_reading(cloud: &Cloud, inventory: &Inventory, clock: &Clock) -> Infallible {
    let mut topology: Option<(Duration, Topology)> = None;
    loop {
        read(cloud, inventory, clock, &mut topology).await;
        let settings = &inventory.0.settings;
        let pause = if inventory.with(|state| state.is_active()) { settings.active_interval.max(SHORTEST_INTERVAL) } else { settings.idle_interval };
        // One that was asked for meanwhile is not lost: its permit is still there.
        let _ = tokio::time::timeout(pause, inventory.0.rooms_wanted.notified()).await;
    }
}

/// One look.
pub(super) async fn read(cloud: &Cloud, inventory: &Inventory, clock: &Clock, known: &mut Option<(Duration, Topology)>) {
    let begun_at = clock.now();
    let now = clock.monotonic();
    let result = async {
        if known.as_ref().is_none_or(|(at, _)| now.saturating_sub(*at) >= TOPOLOGY_INTERVAL) {
            let topology = cloud.topology().await?;
            keep_aggregates(inventory, Aggregates { begun_at, hosts: topology.aggregates.clone() });
            *known = Some((now, topology));
        }
        match known {
            Some((_, topology)) => cloud.rooms(topology).await.map(|rooms| Rooms { begun_at, rooms, groups: Arc::new(topology.groups.clone()) }),
            None => Ok(Rooms { begun_at, rooms: Vec::new(), groups: Arc::default() }),
        }
    };
    let (kept, error) = match result.await {
        Ok(rooms) => (Some(Arc::new(rooms)), None),
        Err(fault) => (None, Some(PollError { at: clock.now(), fault })),
    };
    let was_known = inventory.with(|state| {
        let was_known = state.rooms.is_some() && state.rooms_error.is_none();
        if let (Some(error), true) = (&error, was_known || state.rooms_error.is_none()) {
            tracing::warn!(cloud = cloud.name(), reason = error.fault.category(), error = %error.fault, "The room on the hosts cannot be read; no move begins without it.");
        }
        state.rooms = kept.or(state.rooms.take());
        state.rooms_error = error;
        was_known
    });
    if !was_known && inventory.rooms().is_some() {
        // Whoever waits for it looks again.
        inventory.0.ticks.send_modify(|ticks| *ticks += 1);
    }
}

/// Keeps what a look showed; where it shows something else than before, whoever depends on it looks again.
fn keep_aggregates(inventory: &Inventory, seen: Aggregates) {
    let changed = inventory.with(|state| {
        let before = state.aggregates.replace(Arc::new(seen));
        before.zip(state.aggregates.as_ref()).is_none_or(|(before, now)| !before.same_as(now))
    });
    if changed {
        inventory.0.ticks.send_modify(|ticks| *ticks += 1);
    }
}
