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
    keeps_managed_fields: bool,
}

impl<K> Feed<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// A watch whose objects are kept without `managedFields`: who wrote what takes several times the memory of an object itself.
    pub(super) fn new(api: Api<K>) -> Self {
        let (_, writer) = reflector::store_shared(BUFFER);
        Self { api, writer, keeps_managed_fields: false }
    }

    /// A watch whose objects are kept with `managedFields`: where the time of a writer's last write is asked for.
    pub(super) fn with_managed_fields(api: Api<K>) -> Self {
        Self { keeps_managed_fields: true, ..Self::new(api) }
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
        let keeps = self.keeps_managed_fields;
        let slim = move |object: &mut K| {
            if !keeps {
                object.meta_mut().managed_fields = None;
            }
        };
        let events = watcher(self.api, watcher::Config::default()).backoff(Pauses::default()).modify(slim).reflect_shared(self.writer);
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
    use std::sync::Mutex;

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use kube::core::DeserializeGuard;
    use serde_json::{Value, json};
    use tower::{BoxError, service_fn};

    use super::*;
    use crate::api::HostAlert;
    use crate::clock::Clock;

    /// An API server that gives these answers, one after the other, and then none.
    fn server(answers: Vec<Value>) -> Client {
        let answers = Mutex::new(answers.into_iter());
        let service = service_fn(move |_: Request<Body>| {
            let answer = answers.lock().unwrap().next();
            async move {
                match answer {
                    Some(answer) => Ok::<_, BoxError>(Response::new(Body::from((answer.to_string() + "\n").into_bytes()))),
                    None => std::future::pending().await,
                }
            }
        });
        Client::new(service, "default")
    }

    fn alert(name: &str) -> Value {
        let spec = json!({
            "node": "n", "series": "s", "seq": 1, "engine": "suricata", "ruleID": "1:1", "severity": "High", "subject": "-", "flow": "Established",
            "firstSeen": "2026-11-25T10:00:00.000001Z", "lastSeen": "2026-11-25T10:00:00.000001Z", "count": 1
        });
        json!({"apiVersion": "sidestep.dev/v1alpha1", "kind": "HostAlert", "metadata": {"name": name, "resourceVersion": "5", "uid": name}, "spec": spec})
    }

    fn list(names: &[&str]) -> Value {
        let items: Vec<Value> = names.iter().map(|name| alert(name)).collect();
        json!({"apiVersion": "sidestep.dev/v1alpha1", "kind": "HostAlertList", "metadata": {"resourceVersion": "4"}, "items": items})
    }

    fn error(code: u16, reason: &str) -> Value {
        let message = "storage is (re)initializing";
        json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code}})
    }

    fn added(name: &str) -> Value {
        json!({"type": "ADDED", "object": alert(name)})
    }

    /// Follows these answers until three objects were shown.
    async fn three_are_shown(answers: Vec<Value>) {
        three_are_shown_by(Feed::new(Api::all(server(answers)))).await;
    }

    /// Runs a watch until three objects were shown.
    async fn three_are_shown_by(feed: Feed<DeserializeGuard<HostAlert>>) {
        let (store, health) = (feed.store(), Health::new(Clock::system()));
        let readiness = Readiness::of(1, health.clone());
        let shown = async {
            readiness.wait().await;
            while store.len() < 3 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = feed.run(readiness.clone(), |_| {}) => panic!("the watch ended"),
            answer = tokio::time::timeout(Duration::from_secs(60), shown) => answer.expect("the third object"),
        }
        assert_eq!(health.parts()["watch HostAlert"], Part::Ready("watched".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_begins_with_an_error_object_is_begun_again_and_nothing_is_lost() {
        three_are_shown(vec![list(&["a"]), error(429, "TooManyRequests"), added("b"), added("c")]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_began_too_far_back_lists_anew() {
        three_are_shown(vec![list(&["a"]), error(410, "Expired"), list(&["a", "b"]), added("c")]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_wrote_what_is_kept_only_where_it_is_asked_for() {
        let mut answer = list(&["a", "b", "c"]);
        for item in answer["items"].as_array_mut().unwrap() {
            item["metadata"]["managedFields"] = json!([{"manager": "m", "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}]);
        }
        for (keeps, make) in [(false, Feed::new as fn(_) -> _), (true, Feed::with_managed_fields)] {
            let feed: Feed<DeserializeGuard<HostAlert>> = make(Api::all(server(vec![answer.clone()])));
            let store = feed.store();
            three_are_shown_by(feed).await;
            assert!(store.state().iter().all(|object| object.meta().managed_fields.is_some() == keeps));
        }
    }

    #[test]
    fn a_watch_is_begun_again_for_ever_and_after_seconds_at_most() {
        let pauses: Vec<Duration> = Pauses::default().take(50).collect();
        assert_eq!(pauses.len(), 50);
        assert!(pauses.iter().all(|pause| *pause > Duration::ZERO && *pause <= LONGEST_PAUSE), "{pauses:?}");
    }
}
