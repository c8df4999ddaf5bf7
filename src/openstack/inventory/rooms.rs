//! What is free on each host, kept up to date beside the ticks, so that Placement never holds one up: as often as the ticks come, and at once when a host begins to be watched.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::cloud::Cloud;
use super::super::rooms::Topology;
use super::{Inventory, PollError};
use crate::clock::Clock;
use crate::inventory::ServerGroup;
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
    /// The hosts that have any room.
    pub rooms: Vec<Room>,
    /// The server groups that bind their members.
    pub groups: Arc<Vec<ServerGroup>>,
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

async fn read(cloud: &Cloud, inventory: &Inventory, clock: &Clock, known: &mut Option<(Duration, Topology)>) {
    let begun_at = clock.now();
    let now = clock.monotonic();
    let result = async {
        if known.as_ref().is_none_or(|(at, _)| now.saturating_sub(*at) >= TOPOLOGY_INTERVAL) {
            *known = Some((now, cloud.topology().await?));
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
