//! The watches: one per kind, shared by all controllers, and the knowledge that each has shown what is there.
//!
//! One watch feeds the store of its kind and every controller that is triggered by it. So a controller never sees an object that the store does not have yet, and what one
//! object of a kind was decided on includes every older one.
//!
//! Readiness is counted here, at the end of each first list. kube's own `Store::wait_until_ready` wakes only the last of several waiters (its `DelayedInit` is a oneshot), and its controllers
//! wait there too.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, Lookup, ReflectHandle, Store};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::telemetry::health::{Health, Part};

/// Events that a slow controller may be behind before the watch waits for it.
const BUFFER: usize = 1024;
/// The longest pause before a broken watch is begun again. After an outage of the API server alerts and drains wait for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How many watches have not shown yet what is there.
#[derive(Clone, Debug)]
pub(super) struct Readiness {
    left: Arc<watch::Sender<usize>>,
    health: Health,
}

impl Readiness {
    /// So many watches are waited for.
    pub(super) fn of(watches: usize, health: Health) -> Self {
        Self { left: Arc::new(watch::Sender::new(watches)), health }
    }

    /// What `/readyz` says of a watch.
    pub(super) fn says(&self, kind: &str, part: Part) {
        self.health.set(format!("watch {kind}"), part);
    }

    /// One more watch has shown what is there.
    pub(super) fn one_more(&self, kind: &str) {
        self.left.send_modify(|left| *left = left.saturating_sub(1));
        let left = *self.left.borrow();
        tracing::debug!(kind, left, "A watch has shown what is there.");
        if left == 0 {
            tracing::info!("Every watch has shown what is there.");
        }
    }

    /// Waits until every watch has shown what is there: before that an empty store proves nothing.
    pub(super) async fn wait(&self) {
        // The sender lives in self.
        let _ = self.left.subscribe().wait_for(|left| *left == 0).await;
    }
}

/// The watch of one kind.
pub(super) struct Feed<K: Lookup + Clone + 'static>
where
    K::DynamicType: Eq + Hash + Clone,
{
    api: Api<K>,
    writer: Writer<K>,
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    pub(super) fn new(api: Api<K>) -> Self {
        let (_, writer) = reflector::store_shared(BUFFER);
        Self { api, writer }
    }

    /// What the API server holds, as the watch last showed it.
    pub(super) fn store(&self) -> Store<K> {
        self.writer.as_reader()
    }

    /// A stream of the objects that were made or changed.
    pub(super) fn changes(&self) -> impl Stream<Item = Arc<K>> + Send + use<K> {
        let handle: Option<ReflectHandle<K>> = self.writer.subscribe();
        futures::stream::iter(handle).flatten()
    }

    /// Runs the watch. `gone` is told of each object that was deleted.
    pub(super) async fn run(self, readiness: Readiness, gone: impl Fn(&K) + Send) {
        let kind = <K as Resource>::kind(&()).into_owned();
        let events = watcher(self.api, watcher::Config::default()).backoff(Pauses::default()).reflect_shared(self.writer);
        let mut events = std::pin::pin!(events);
        let (mut first, mut broken) = (true, true);
        readiness.says(&kind, Part::Waits("the first list".to_owned()));
        while let Some(event) = events.next().await {
            let shown = matches!(event, Ok(watcher::Event::InitDone | watcher::Event::Apply(_) | watcher::Event::Delete(_)));
            if shown && std::mem::take(&mut broken) {
                readiness.says(&kind, Part::Ready("watched".to_owned()));
            }
            match event {
                Ok(watcher::Event::InitDone) if first => {
                    first = false;
                    readiness.one_more(&kind);
                }
                Ok(watcher::Event::Delete(object)) => gone(&object),
                Ok(_) => {}
                Err(error) => {
                    broken = true;
                    readiness.says(&kind, Part::Waits(format!("a new watch, as the last one broke: {error}")));
                    tracing::warn!(kind, %error, "A watch of the API server broke and is begun again.");
                }
            }
        }
    }
}

/// The pauses before a broken watch is begun again: kube's own, which double, up to [`LONGEST_PAUSE`].
#[derive(Default)]
pub(super) struct Pauses(DefaultBackoff);

impl Iterator for Pauses {
    type Item = Duration;
    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(LONGEST_PAUSE))
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_begun_again_for_ever_and_after_seconds_at_most() {
        let pauses: Vec<Duration> = Pauses::default().take(50).collect();
        assert_eq!(pauses.len(), 50);
        assert!(pauses.iter().all(|pause| *pause > Duration::ZERO && *pause <= LONGEST_PAUSE), "{pauses:?}");
    }
}
