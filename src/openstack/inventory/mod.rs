//! The informer: one poller per cloud keeps what lies on the watched hosts, so that controllers read memory and nobody polls Nova per server.
//!
//! ```text
//!   Inventory (handle) ── watch_host, refresh_now ──> Poller (one future, run by its owner)
//!        ▲                                              │ every tick: os-services
//!        │ host, services, progress, freshness          │   and per watched host: servers/detail?host=, os-migrations?host=
//!        └────────────── shared state <─────────────────┘   and its Placement consumers, only when the server list is empty or the host is watched calmly
//! ```
//!
//! - A tick comes every `idle_interval`, or every `active_interval` while a host is watched, or at once after [`Inventory::refresh_now`]. A host that is watched calmly is looked at once an
//!   `idle_interval`, however often the ticks come.
//! - Every view carries the moment at which its tick was begun: a decision that needs a list begun after a verified cordon compares that.
//! - A call that fails leaves the earlier view and its older moment in place and can be read ([`Inventory::last_error`], [`Inventory::host_error`]); it never makes a list empty.
//! - What is free on each host ([`Inventory::rooms`]) is read beside the ticks, one call of Placement for all hosts.
//! - Byte counters cost one call per server: each running migration of a watched host is read at most every 2 s, and only so many a tick.

mod addresses;
mod poller;
mod rooms;
mod state;

pub use addresses::Addresses;
pub use poller::Poller;
pub use rooms::{Aggregates, Rooms};

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};

use super::cloud::Cloud;
use super::error::Fault;
use crate::clock::Clock;
use crate::inventory::{ComputeService, HostName, HostView, MigrationProgress, ServerId};
use state::State;

/// How often to look, and when a view is too old to decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Between two ticks while no host is watched.
    pub idle_interval: Duration,
    /// Between two ticks while a host is watched.
    pub active_interval: Duration,
    /// A view begun longer ago than this is stale.
    pub stale_after: Duration,
    /// How many byte counters are read a tick at most.
    pub counters_per_tick: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { idle_interval: Duration::from_secs(30), active_interval: Duration::from_secs(1), stale_after: Duration::from_secs(90), counters_per_tick: 8 }
    }
}

/// All compute services, as one list of Nova showed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// When the list was asked for.
    pub begun_at: Timestamp,
    /// The rows.
    pub services: Vec<ComputeService>,
}

/// The byte counters of one migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Nova's figures, themselves samples.
    pub counters: MigrationProgress,
    /// When they were asked for.
    pub read_at: Timestamp,
}

/// A call of the poller that failed.
#[derive(Clone, Debug)]
pub struct PollError {
    /// When it failed.
    pub at: Timestamp,
    /// Why.
    pub fault: Fault,
}

/// Whether the list of services is young enough to decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It is.
    Fresh,
    /// It is not.
    Stale {
        /// When the last good list was begun; absent when there never was one.
        since: Option<Timestamp>,
    },
}

/// The handle: cheap to clone, reads memory only.
#[derive(Clone, Debug)]
pub struct Inventory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    state: std::sync::Mutex<State>,
    wake: Notify,
    addresses_wanted: Notify,
    rooms_wanted: Notify,
    ticks: watch::Sender<u64>,
}

impl Inventory {
    /// The handle, and the poller that its owner must run. Without somebody polling [`Poller::run`] nothing is ever read; dropping that future stops the polling.
    #[must_use]
    pub fn start(cloud: Cloud, settings: Settings, clock: Clock) -> (Self, Poller) {
        let shared = Shared {
            settings,
            state: std::sync::Mutex::new(State::default()),
            wake: Notify::new(),
            addresses_wanted: Notify::new(),
            rooms_wanted: Notify::new(),
            ticks: watch::Sender::new(0),
        };
        let inventory = Self(Arc::new(shared));
        (inventory.clone(), Poller::new(cloud, inventory, clock))
    }

    /// Watches what lies on a host from now on; the first look comes at once. Watching twice is the same as once. One that was watched calmly has no view until then.
    pub fn watch_host(&self, host: &HostName) {
        if self.with(|state| state.watch(host)) {
            self.refresh_now();
            self.0.rooms_wanted.notify_one();
        }
    }

    /// Watches what lies on a host once an idle interval, with what lies behind the list; the first look comes at once. A host that is watched already stays as it is.
    pub fn watch_host_calmly(&self, host: &HostName) {
        if self.with(|state| state.watch_calmly(host)) {
            self.refresh_now();
        }
    }

    /// Watches a host calmly from now on, if it is watched at all. Its next look is one of that kind, and until then it has no view.
    pub fn calm_host(&self, host: &HostName) {
        self.with(|state| state.calm(host));
    }

    /// Watches a host no longer and forgets its view.
    pub fn unwatch_host(&self, host: &HostName) {
        self.with(|state| state.unwatch(host));
    }

    /// Starts a tick now, or right after the one that is under way, so that what it reads was begun after this call.
    pub fn refresh_now(&self) {
        self.0.wake.notify_one();
    }

    /// The last good list of all services.
    #[must_use]
    pub fn services(&self) -> Option<Arc<Services>> {
        self.with(|state| state.services.clone())
    }

    /// The last good view of a watched host. Its services, servers, migrations and consumers were all asked for in one tick.
    #[must_use]
    pub fn host(&self, host: &HostName) -> Option<Arc<HostView>> {
        self.with(|state| state.view(host))
    }

    /// Why the last look at a watched host failed; absent when it did not.
    #[must_use]
    pub fn host_error(&self, host: &HostName) -> Option<PollError> {
        self.with(|state| state.host_error(host))
    }

    /// The byte counters last read of a migration of a watched host; kept after its end until the host is unwatched.
    #[must_use]
    pub fn progress(&self, server: ServerId, migration: u64) -> Option<Progress> {
        self.with(|state| state.progress(server, migration))
    }

    /// The last good list of the addresses of servers and hosts.
    #[must_use]
    pub fn addresses(&self) -> Option<Arc<Addresses>> {
        self.with(|state| state.addresses.clone())
    }

    /// Has the addresses read anew soon, since somebody has a question about one; at most once a minute.
    pub fn want_addresses(&self) {
        self.0.addresses_wanted.notify_one();
    }

    /// Which host is in which aggregates, as last read well.
    #[must_use]
    pub fn aggregates(&self) -> Option<Arc<Aggregates>> {
        self.with(|state| state.aggregates.clone())
    }

    /// What was free on each host when it was last read well.
    #[must_use]
    pub fn rooms(&self) -> Option<Arc<Rooms>> {
        self.with(|state| state.rooms.clone())
    }

    /// Why the last look at the room on the hosts failed; absent when it did not.
    #[must_use]
    pub fn rooms_error(&self) -> Option<PollError> {
        self.with(|state| state.rooms_error.clone())
    }

    /// The number of ticks that ended, well or not. It changes after each: wait for that and read again.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.ticks.subscribe()
    }

    /// Whether the list of services is young enough to decide on.
    #[must_use]
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        let since = self.services().map(|services| services.begun_at);
        match since {
            Some(begun_at) if now.duration_since(begun_at) <= SignedDuration::try_from(self.0.settings.stale_after).unwrap_or(SignedDuration::MAX) => {
                Freshness::Fresh
            }
            _ => Freshness::Stale { since },
        }
    }

    /// A watched host at which every look has failed for longer than a view may be old, with the last failure: its servers are not known, whatever the list of services shows.
    #[must_use]
    pub fn unseen_host(&self, now: Timestamp) -> Option<(HostName, PollError)> {
        let patience = SignedDuration::try_from(self.0.settings.stale_after).unwrap_or(SignedDuration::MAX);
        self.with(|state| state.unseen(now, patience))
    }

    /// The last failure of the list of services; absent when the last one was good.
    #[must_use]
    pub fn last_error(&self) -> Option<PollError> {
        self.with(|state| state.services_error.clone())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
