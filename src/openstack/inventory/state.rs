//! What the poller has learnt. Plain data behind one lock that is held for memory accesses only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::nova::NewestRows;
use super::{Addresses, Aggregates, PollError, Progress, Rooms, Services};
use crate::inventory::{HostName, HostView, RowStatus, ServerId};

/// Nova's counters are samples themselves: reading them more often shows nothing new.
const COUNTER_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) services: Option<Arc<Services>>,
    pub(super) services_error: Option<PollError>,
    pub(super) addresses: Option<Arc<Addresses>>,
    pub(super) aggregates: Option<Arc<Aggregates>>,
    pub(super) rooms: Option<Arc<Rooms>>,
    pub(super) rooms_error: Option<PollError>,
    hosts: BTreeMap<HostName, Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    /// Looked at once an idle interval.
    is_calm: bool,
    /// When the last look was begun (monotonic).
    asked_at: Option<Duration>,
    view: Option<Arc<HostView>>,
    error: Option<PollError>,
    /// When the looks that failed began to, if the last one did.
    failing_since: Option<Timestamp>,
    rows: NewestRows,
    counters: BTreeMap<(ServerId, u64), Counter>,
}

impl Watched {
    /// A view of the other kind is not kept: the next look is due at once. One that was seldom renewed must not be acted on, and one that came of every tick lacks what lies behind the list.
    fn turn(&mut self, is_calm: bool) {
        (self.is_calm, self.asked_at, self.view) = (is_calm, None, None);
    }
}

#[derive(Debug)]
struct Counter {
    /// On the monotonic clock; also set when the read failed or showed nothing.
    asked_at: Duration,
    progress: Option<Progress>,
}

impl State {
    /// Whether the host was not watched before, or calmly.
    pub(super) fn watch(&mut self, host: &HostName) -> bool {
        match self.hosts.get_mut(host) {
            None => drop(self.hosts.insert(host.clone(), Watched::default())),
            Some(watched) if watched.is_calm => watched.turn(false),
            Some(_) => return false,
        }
        true
    }

    /// Whether the host was not watched before.
    pub(super) fn watch_calmly(&mut self, host: &HostName) -> bool {
        let is_new = !self.hosts.contains_key(host);
        if is_new {
            self.hosts.insert(host.clone(), Watched { is_calm: true, ..Watched::default() });
        }
        is_new
    }

    pub(super) fn calm(&mut self, host: &HostName) {
        if let Some(watched) = self.hosts.get_mut(host).filter(|watched| !watched.is_calm) {
            watched.turn(true);
        }
    }

    pub(super) fn unwatch(&mut self, host: &HostName) {
        self.hosts.remove(host);
    }

    /// The hosts whose look is due, each with the rows known of it and whether it is watched calmly.
    pub(super) fn due(&mut self, now: Duration, idle_interval: Duration) -> Vec<(HostName, NewestRows, bool)> {
        let is_due = |watched: &Watched| !watched.is_calm || watched.asked_at.is_none_or(|at| now.saturating_sub(at) >= idle_interval);
        let due = self.hosts.iter_mut().filter(|(_, watched)| is_due(watched));
        due.map(|(host, watched)| {
            watched.asked_at = Some(now);
            (host.clone(), watched.rows.clone(), watched.is_calm)
        })
        .collect()
    }

    /// Whether a host is watched otherwise than calmly.
    pub(super) fn is_active(&self) -> bool {
        self.hosts.values().any(|watched| !watched.is_calm)
    }

    pub(super) fn view(&self, host: &HostName) -> Option<Arc<HostView>> {
        self.hosts.get(host)?.view.clone()
    }

    pub(super) fn host_error(&self, host: &HostName) -> Option<PollError> {
        self.hosts.get(host)?.error.clone()
    }

    pub(super) fn progress(&self, server: ServerId, migration: u64) -> Option<Progress> {
        self.hosts.values().find_map(|watched| watched.counters.get(&(server, migration))?.progress)
    }

    /// Keeps a look at a host, unless the host was unwatched meanwhile.
    pub(super) fn keep(&mut self, view: HostView, rows: NewestRows) {
        if let Some(watched) = self.hosts.get_mut(&view.host) {
            watched.view = Some(Arc::new(view));
            watched.rows = rows;
            watched.error = None;
            watched.failing_since = None;
        }
    }

    pub(super) fn keep_error(&mut self, host: &HostName, error: PollError) {
        if let Some(watched) = self.hosts.get_mut(host) {
            watched.failing_since.get_or_insert(error.at);
            watched.error = Some(error);
        }
    }

    /// The watched host that could not be looked at for the longest time, when that is longer than `patience`.
    pub(super) fn unseen(&self, now: Timestamp, patience: SignedDuration) -> Option<(HostName, PollError)> {
        let unseen = self.hosts.iter().filter_map(|(host, watched)| Some((watched.failing_since?, host, watched.error.as_ref()?)));
        let (since, host, error) = unseen.min_by_key(|(since, host, _)| (*since, *host))?;
        (now.duration_since(since) > patience).then(|| (host.clone(), error.clone()))
    }

    /// The running migrations whose counters are due, those that waited longest first, at most so many.
    pub(super) fn counters_due(&self, now: Duration, most: usize) -> Vec<(HostName, ServerId, u64)> {
        let mut due: Vec<(Option<Duration>, HostName, ServerId, u64)> = Vec::new();
        for (host, watched) in &self.hosts {
            let rows = watched.view.iter().flat_map(|view| &view.migrations);
            for row in rows.filter(|row| row.status == RowStatus::Running && row.source_compute.as_ref() == Some(host)) {
                let asked_at = watched.counters.get(&(row.server, row.id)).map(|counter| counter.asked_at);
                if asked_at.is_none_or(|asked_at| now.saturating_sub(asked_at) >= COUNTER_INTERVAL) {
                    due.push((asked_at, host.clone(), row.server, row.id));
                }
            }
        }
        due.sort();
        due.into_iter().take(most).map(|(_, host, server, migration)| (host, server, migration)).collect()
    }

    /// Keeps what a read of counters showed; one that showed nothing leaves the earlier figures.
    pub(super) fn keep_counters(&mut self, host: &HostName, key: (ServerId, u64), asked_at: Duration, progress: Option<Progress>) {
        if let Some(watched) = self.hosts.get_mut(host) {
            let counter = watched.counters.entry(key).or_insert(Counter { asked_at, progress: None });
            counter.asked_at = asked_at;
            counter.progress = progress.or(counter.progress);
        }
    }
}
