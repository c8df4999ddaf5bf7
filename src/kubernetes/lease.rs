//! A Lease (coordination.k8s.io) that one of several programs holds at a time: who holds it may write.
//!
//! ```text
//!            free, given back, or not renewed for its duration         renewed every 2 s
//!   follows ───────────────────────────────────────────────▶ holds ──────────┐
//!      ▲                                                       │  ▲──────────┘
//!      │            somebody else holds it, or it is gone      │  no answer: the window shuts by itself; nobody took it meanwhile: goes on
//!      └───────────────────────────────────────────────────────┘
//! ```
//!
//! - The holder may write as long as its [`Window`] is open: `duration` from *before* the request that renewed the Lease. Others wait for `duration` from *after* they saw the last renewal, each by
//!   its own clock: the stamps in the Lease are never compared with anything.
//! - Each write names the resourceVersion that it is based on. So a holder that was stopped, or could not reach the API server, and then renews with success knows that nobody
//!   held the Lease in between.
//! - What remains: a request that left this machine before the window shut may be carried out after it. An attempt is written before it is asked for, and whoever takes over looks for its record, so
//!   that does no harm.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;

use super::answer;
use crate::clock::{Clock, Moment, Window};

/// How long a Lease is held after its last renewal, how often it is renewed, and how often others look.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long it is held.
    pub duration: Duration,
    /// How often the holder renews it.
    pub renew: Duration,
    /// How often others look, and how soon what failed is tried again.
    pub look: Duration,
    /// How long an answer is waited for.
    pub answer: Duration,
}

impl Default for Terms {
    /// A holder that was killed is replaced within 16 s.
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), renew: Duration::from_secs(2), look: Duration::from_millis(500), answer: Duration::from_secs(4) }
    }
}

/// Somebody who wants to hold a Lease, or holds it.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    terms: Terms,
    clock: Clock,
    window: Window,
    seen: Option<Sighting>,
    left: Option<Timestamp>,
}

/// The Lease as somebody else left it, and since when it has stood so.
#[derive(Clone, Debug, PartialEq)]
struct Sighting {
    version: Option<String>,
    since: Moment,
}

/// Whether a Lease can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// It can: nobody holds it, or it is ours.
    Free,
    /// This one holds it.
    Held(String),
}

/// What became of a renewal.
enum Renewal {
    Done(Box<Lease>),
    /// Nobody knows; to be tried again.
    Failed,
    Lost(String),
}

impl Candidate {
    /// For the Lease `name`, in the name of `identity`, which is this process alone. The window opens with the Lease and shuts with it.
    #[must_use]
    pub fn new(api: Api<Lease>, name: &str, identity: &str, terms: Terms, clock: Clock, window: Window) -> Self {
        Self { api, name: name.to_owned(), identity: identity.to_owned(), terms, clock, window, seen: None, left: None }
    }

    /// Waits until the Lease is held, and returns it. `follows` is told of each holder seen meanwhile.
    pub async fn acquire(&mut self, mut follows: impl FnMut(&str)) -> Lease {
        let mut failing = false;
        loop {
            match self.try_to_acquire(&mut follows).await {
                Ok(Some(lease)) => return lease,
                Ok(None) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(lease = self.name, %error, "The Lease cannot be read or written; it is tried again.");
                    }
                }
            }
            tokio::time::sleep(self.terms.look).await;
        }
    }

    /// When whoever held the Lease before last renewed it or gave it back, by their clock; nothing where nobody had, and before it is held.
    #[must_use]
    pub fn left(&self) -> Option<Timestamp> {
        self.left
    }

    async fn try_to_acquire(&mut self, follows: &mut impl FnMut(&str)) -> kube::Result<Option<Lease>> {
        let found = self.ask(self.api.get_opt(&self.name)).await?;
        let begun = self.clock.moment();
        let params = PostParams::default();
        let left = found.as_ref().and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref()).map(|time| time.0);
        let written = match found {
            None => self.ask(self.api.create(&params, &self.held(Lease::default()))).await,
            Some(lease) => match self.judge(&lease, begun) {
                Verdict::Held(by) => {
                    follows(&by);
                    return Ok(None);
                }
                Verdict::Free => self.ask(self.api.replace(&self.name, &params, &self.held(lease))).await,
            },
        };
        match written {
            Ok(lease) => {
                self.seen = None;
                self.left = left;
                self.window.open(begun, self.terms.duration);
                Ok(Some(lease))
            }
            // Somebody was faster.
            Err(kube::Error::Api(refusal)) if refusal.code == 409 => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn judge(&mut self, lease: &Lease, now: Moment) -> Verdict {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if holder.is_empty() || holder == self.identity {
            return Verdict::Free;
        }
        let version = lease.metadata.resource_version.clone();
        let since = match &self.seen {
            Some(seen) if seen.version == version => seen.since,
            _ => {
                self.seen = Some(Sighting { version, since: now });
                now
            }
        };
        let length = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(self.terms.duration, Duration::from_secs);
        if now.since(since) >= length { Verdict::Free } else { Verdict::Held(holder) }
    }

    /// The Lease as this candidate holds it.
    fn held(&self, mut lease: Lease) -> Lease {
        let now = MicroTime(self.clock.now());
        let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
        if spec.holder_identity.as_deref() != Some(self.identity.as_str()) {
            let created = lease.metadata.resource_version.is_none();
            spec.lease_transitions = Some(if created { 0 } else { spec.lease_transitions.unwrap_or_default().saturating_add(1) });
            spec.acquire_time = Some(now.clone());
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = i32::try_from(self.terms.duration.as_secs()).ok();
        spec.renew_time = Some(now);
        lease.metadata = ObjectMeta { name: Some(self.name.clone()), managed_fields: None, ..lease.metadata };
        lease
    }

    /// Renews the Lease until somebody else holds it or it is gone, and says which. The window is shut then. `round` is called each time.
    ///
    /// `lease` is the Lease as it stands, for [`Candidate::give_back`].
    pub async fn keep(&self, lease: &mut Lease, mut round: impl FnMut()) -> String {
        let mut failing = false;
        loop {
            round();
            tokio::time::sleep(if failing { self.terms.look } else { self.terms.renew }).await;
            let begun = self.clock.moment();
            match self.renew(lease).await {
                Renewal::Done(renewed) => {
                    self.window.open(begun, self.terms.duration);
                    *lease = *renewed;
                    if std::mem::take(&mut failing) {
                        tracing::info!(lease = self.name, "The Lease is renewed again; nobody else has held it meanwhile.");
                    }
                }
                Renewal::Failed => failing = true,
                Renewal::Lost(why) => {
                    self.window.close();
                    return why;
                }
            }
        }
    }

    async fn renew(&self, lease: &Lease) -> Renewal {
        match self.ask(self.api.replace(&self.name, &PostParams::default(), &self.held(lease.clone()))).await {
            Ok(renewed) => Renewal::Done(Box::new(renewed)),
            Err(kube::Error::Api(refusal)) if refusal.code == 404 => Renewal::Lost("the Lease was deleted".to_owned()),
            Err(kube::Error::Api(refusal)) if refusal.code == 409 => self.who_changed(lease).await,
            Err(error) => {
                tracing::warn!(lease = self.name, %error, left_ms = self.window.left().as_millis(), "The Lease could not be renewed; nothing is written when its time is over.");
                Renewal::Failed
            }
        }
    }

    /// After a conflict: a renewal of ours whose answer was lost, or somebody else.
    async fn who_changed(&self, held: &Lease) -> Renewal {
        match self.ask(self.api.get_opt(&self.name)).await {
            Ok(Some(lease)) => {
                let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
                if holder == self.identity && lease.metadata.uid == held.metadata.uid {
                    return Renewal::Done(Box::new(lease));
                }
                Renewal::Lost(if holder.is_empty() { "somebody took the Lease away".to_owned() } else { format!("{holder} holds the Lease") })
            }
            Ok(None) => Renewal::Lost("the Lease was deleted".to_owned()),
            Err(_) => Renewal::Failed,
        }
    }

    /// Gives the Lease back, so that the next one need not wait. Where that fails it ends by itself.
    pub async fn give_back(&self, mut lease: Lease) {
        self.window.close();
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(self.clock.now()));
        }
        lease.metadata.managed_fields = None;
        match self.ask(self.api.replace(&self.name, &PostParams::default(), &lease)).await {
            Ok(_) => tracing::info!(lease = self.name, "The Lease is given back."),
            Err(error) => tracing::warn!(lease = self.name, %error, "The Lease could not be given back; others wait until its time is over."),
        }
    }

    async fn ask<T>(&self, request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        let in_time = tokio::time::timeout(self.terms.answer, answer(request)).await;
        in_time.unwrap_or_else(|_| Err(kube::Error::Service(format!("no answer within {} s", self.terms.answer.as_secs()).into())))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tower::{BoxError, service_fn};

    use super::*;

    fn candidate(clock: &Clock) -> Candidate {
        let unused = service_fn(|_: http::Request<kube::client::Body>| async { Err::<http::Response<kube::client::Body>, BoxError>("no server".into()) });
        let api = Api::namespaced(kube::Client::new(unused, "n"), "n");
        Candidate::new(api, "operator", "me", Terms::default(), clock.clone(), Window::shut(clock.clone()))
    }

    fn lease(holder: &str, version: &str) -> Lease {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "operator", "resourceVersion": version, "uid": "u"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 4, "renewTime": "2020-01-01T00:00:00.000000Z"},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_lease_of_another_is_free_when_it_was_seen_unchanged_for_its_duration_whatever_its_stamps_say() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let mut me = candidate(&clock);
        let held = Verdict::Held("other".into());
        assert_eq!(me.judge(&lease("other", "1"), clock.moment()), held, "six years after its stamp, and just seen");
        clock.advance(Duration::from_secs(14));
        assert_eq!(me.judge(&lease("other", "2"), clock.moment()), held, "renewed");
        clock.advance(Duration::from_secs(14));
        assert_eq!(me.judge(&lease("other", "2"), clock.moment()), held);
        clock.advance(Duration::from_secs(1));
        assert_eq!(me.judge(&lease("other", "2"), clock.moment()), Verdict::Free);
    }

    #[tokio::test]
    async fn one_that_was_given_back_or_is_ours_is_free_at_once() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let mut me = candidate(&clock);
        assert_eq!(me.judge(&lease("", "1"), clock.moment()), Verdict::Free);
        assert_eq!(me.judge(&lease("me", "1"), clock.moment()), Verdict::Free);
    }

    #[tokio::test]
    async fn a_change_of_hands_is_counted_and_a_renewal_is_not() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let me = candidate(&clock);
        let taken = me.held(lease("other", "7")).spec.unwrap();
        assert_eq!((taken.holder_identity.as_deref(), taken.lease_transitions), (Some("me"), Some(5)));
        let renewed = me.held(lease("me", "7"));
        assert_eq!(renewed.spec.unwrap().lease_transitions, Some(4));
        assert_eq!(renewed.metadata.resource_version.as_deref(), Some("7"), "what it is based on goes with it");
        assert_eq!(me.held(Lease::default()).spec.unwrap().lease_transitions, Some(0));
    }

    #[tokio::test]
    async fn without_an_answer_the_window_is_not_moved_on() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let me = candidate(&clock);
        me.window.open(clock.moment(), Duration::from_secs(15));
        clock.advance(Duration::from_secs(10));
        assert!(matches!(me.renew(&lease("me", "1")).await, Renewal::Failed));
        assert_eq!(me.window.left(), Duration::from_secs(5));
    }
}
