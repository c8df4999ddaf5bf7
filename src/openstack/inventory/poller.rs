//! The poller of one cloud: ticks, and what is asked in each.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;

use super::super::cloud::Cloud;
use super::super::error::Fault;
use super::super::nova::NewestRows;
use super::{Inventory, PollError, Progress, Services, addresses, rooms};
use crate::clock::Clock;
use crate::inventory::{ComputeService, HostName, HostView, Server};

/// How many hosts are looked at side by side, so that Nova is not asked everything in one instant.
const HOSTS_AT_ONCE: usize = 4;

/// Reads the cloud for an [`Inventory`].
#[derive(Debug)]
pub struct Poller {
    cloud: Cloud,
    inventory: Inventory,
    clock: Clock,
}

/// What one tick asked of one host.
struct Look {
    host: HostName,
    result: Result<Found, Fault>,
}

struct Found {
    servers: Vec<Server>,
    rows: NewestRows,
    /// Who holds something in Placement, and which deleted servers can be restored.
    behind: Option<(Vec<uuid::Uuid>, Vec<Server>)>,
}

impl Poller {
    pub(super) fn new(cloud: Cloud, inventory: Inventory, clock: Clock) -> Self {
        Self { cloud, inventory, clock }
    }

    /// Polls for ever. Whoever awaits this may drop it at any moment: nothing is left half done.
    pub async fn run(self) -> Infallible {
        let addresses = addresses::keep_reading(&self.cloud, &self.inventory, &self.clock);
        let rooms = rooms::keep_reading(&self.cloud, &self.inventory, &self.clock);
        let (_, _, never) = futures::join!(addresses, rooms, self.ticks());
        never
    }

    async fn ticks(&self) -> Infallible {
        loop {
            self.tick().await;
            let interval = self.interval();
            // A refresh asked for during the tick is not lost: its permit is still there.
            let _ = tokio::time::timeout(interval, self.inventory.0.wake.notified()).await;
        }
    }

    fn interval(&self) -> Duration {
        let settings = &self.inventory.0.settings;
        if self.inventory.with(|state| state.is_active()) { settings.active_interval } else { settings.idle_interval }
    }

    pub(super) async fn tick(&self) {
        let begun_at = self.clock.now();
        let due = self.inventory.with(|state| state.due(self.clock.monotonic(), self.inventory.0.settings.idle_interval));
        let looks = stream::iter(due).map(|(host, rows, calm)| self.look(host, rows, calm)).buffer_unordered(HOSTS_AT_ONCE).collect::<Vec<_>>();
        let (services, looks) = futures::join!(self.cloud.services(), looks);
        self.keep(begun_at, services, looks);
        self.inventory.0.ticks.send_modify(|ticks| *ticks += 1);
        self.read_counters().await;
    }

    /// One look at a host. What lies behind the list is asked for where the list is empty, and at a host that is looked at seldom.
    async fn look(&self, host: HostName, mut rows: NewestRows, calm: bool) -> Look {
        let found = async {
            let (servers, ()) = futures::try_join!(self.cloud.servers_on(&host), rows.refresh(&self.cloud, &host))?;
            let behind = if servers.is_empty() || calm { Some(self.cloud.behind_the_list(&host).await?) } else { None };
            Ok(Found { servers, rows, behind })
        };
        let result = found.await;
        Look { host, result }
    }

    fn keep(&self, begun_at: Timestamp, services: Result<Vec<ComputeService>, Fault>, looks: Vec<Look>) {
        let ended_at = self.clock.now();
        let services = services.map(|services| Arc::new(Services { begun_at, services }));
        self.inventory.with(|state| {
            for Look { host, result } in looks {
                // Without the services of the same tick there is no view: it would say that the host does not exist.
                match (result, &services) {
                    (Ok(Found { servers, rows, behind }), Ok(services)) => {
                        let (consumers, soft_deleted) = behind.map(|(consumers, soft_deleted)| (Some(consumers), soft_deleted)).unwrap_or_default();
                        let own = services.services.iter().filter(|service| service.host == host).cloned().collect();
                        let migrations = rows.to_vec();
                        let view = HostView { host, begun_at, ended_at, services: own, servers, migrations, consumers, soft_deleted, asked: BTreeMap::new() };
                        state.keep(view, rows);
                    }
                    (Err(fault), _) => state.keep_error(&host, PollError { at: ended_at, fault }),
                    (Ok(_), Err(fault)) => state.keep_error(&host, PollError { at: ended_at, fault: fault.clone() }),
                }
            }
            let was_failing = state.services_error.is_some();
            match services {
                Ok(services) => {
                    state.services = Some(services);
                    state.services_error = None;
                    if was_failing {
                        tracing::info!(cloud = self.cloud.name(), "The compute services of the cloud can be listed again.");
                    }
                }
                Err(fault) => {
                    // Said once, not at every tick of an outage.
                    if !was_failing {
                        tracing::warn!(cloud = self.cloud.name(), reason = fault.category(), error = %fault, "The compute services of the cloud cannot be listed.");
                    }
                    state.services_error = Some(PollError { at: ended_at, fault });
                }
            }
        });
    }

    async fn read_counters(&self) {
        let now = self.clock.monotonic();
        let due = self.inventory.with(|state| state.counters_due(now, self.inventory.0.settings.counters_per_tick));
        for (host, server, migration) in due {
            let read_at = self.clock.now();
            // A counter that cannot be read is no reason to stop anything: it is asked again when it is due.
            let counters = self.cloud.server_migration(server, migration).await.ok().flatten();
            let progress = counters.map(|counters| Progress { counters, read_at });
            self.inventory.with(|state| state.keep_counters(&host, (server, migration), now, progress));
        }
    }
}
