//! The heartbeat: a Lease named after the node, renewed every 10 s whatever else the sentinel does or waits for. The answers also tell how far the node's clock is off.
//!
//! The operator takes a Lease that has not changed for 40 s, by its own clock, for a silent sentinel. It never reads the times in it: they are for people.
//!
//! **A sentinel that is asked to end does not give its Lease back.** It just renews it no more. A restart takes less than 40 s and is not noticed; a sentinel that ends for longer leaves its host
//! unwatched, however politely it went, and an attacker can ask it to end like anybody else. So there is no way to leave that the operator does not see. A node that is to be without its sentinel for
//! a while is silent for that while; a node that is gone for good, and that no cloud has a host for, is forgotten after a day.

mod offset;

use std::convert::Infallible;
use std::time::Duration;

use http::header::DATE;
use http::{HeaderMap, Response};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::client::Body;
use kube::core::{Request, Status};
use kube::{Client, Resource};
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::deliver::{Answer, FIELD_MANAGER};
use crate::api::report::ClockReport;
use crate::clock::Clock;
use offset::{Exchange, Offset};

/// The longest that an answer is waited for: less than what separates two renewals, so that the next one is not late.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// After a renewal that failed.
const RETRY: Duration = Duration::from_secs(2);

/// Why the Lease was not renewed.
#[derive(Debug, Error)]
enum RenewError {
    #[error(
        "The sentinel of node {node} may not write Lease {node} in namespace {namespace} (403); it needs create and patch on leases.coordination.k8s.io there"
    )]
    Forbidden { node: String, namespace: String, source: Answer },
    #[error("There is no namespace {namespace} for the Leases (404); it comes with the chart, or name another with --lease-namespace")]
    NoNamespace { namespace: String, source: Answer },
    #[error("The API server did not take Lease {node}")]
    Away { node: String, source: Answer },
    #[error("The API server gave no answer within {} s when asked to take Lease {node}", ANSWER_TIMEOUT.as_secs())]
    NoAnswer { node: String },
}

/// Renews one Lease for as long as the process lives.
pub(super) struct Heartbeat<'a> {
    pub(super) client: Client,
    pub(super) clock: &'a Clock,
    pub(super) node: &'a str,
    /// The sentinels' namespace.
    pub(super) namespace: &'a str,
    /// The time between two renewals, on average.
    pub(super) interval: Duration,
    /// Where the measured clock is published.
    pub(super) measured: watch::Sender<Option<ClockReport>>,
}

impl Heartbeat<'_> {
    pub(super) async fn run(self) -> Infallible {
        let started = self.clock.now();
        let (mut offset, mut failing) = (Offset::default(), false);
        for beat in 0_u64.. {
            let outcome = self.renew(started, &mut offset).await;
            let pause = match outcome {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("The Lease is renewed again");
                    }
                    pause_after(beat, self.interval)
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(
                            "{:#}; it is tried again every {} s, and the operator takes this sentinel for silent meanwhile",
                            anyhow::Error::from(error),
                            RETRY.as_secs()
                        );
                    }
                    RETRY.min(self.interval)
                }
            };
            sleep(pause).await;
        }
        std::future::pending().await
    }

    async fn renew(&self, started: Timestamp, offset: &mut Offset) -> Result<(), RenewError> {
        let sent = self.clock.now();
        let answer = timeout(ANSWER_TIMEOUT, self.write(started, sent)).await.map_err(|_| RenewError::NoAnswer { node: self.node.to_owned() })?;
        let dated = answer.map_err(|source| self.judge(source))?;
        let received = self.clock.now();
        if let Some(dated) = dated {
            offset.note(Exchange { sent, received, dated }, self.clock.monotonic());
            self.measured.send_replace(offset.report());
        }
        Ok(())
    }

    /// Writes the Lease; gives the date of the answer, where it has one.
    async fn write(&self, started: Timestamp, now: Timestamp) -> Result<Option<Timestamp>, Answer> {
        let object = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.node},
            "spec": {
                "holderIdentity": self.node,
                "leaseDurationSeconds": self.interval.as_secs().saturating_mul(4).max(1),
                "acquireTime": micros(started),
                "renewTime": micros(now),
            },
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let request = Request::new(Lease::url_path(&(), Some(self.namespace))).patch(self.node, &params, &Patch::Apply(object));
        let request = request.map_err(|error| Answer::Failure(kube::Error::BuildRequest(error)))?;
        let response = self.client.send(request.map(Body::from)).await.map_err(Answer::from)?;
        if response.status().is_success() { Ok(date(response.headers())) } else { Err(refusal(response).await) }
    }

    fn judge(&self, source: Answer) -> RenewError {
        let (node, namespace) = (self.node.to_owned(), self.namespace.to_owned());
        match source.code() {
            403 => RenewError::Forbidden { node, namespace, source },
            404 => RenewError::NoNamespace { namespace, source },
            _ => RenewError::Away { node, source },
        }
    }
}

/// In the form of a MicroTime.
fn micros(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// The API server's words when it refuses.
async fn refusal(response: Response<Body>) -> Answer {
    let code = response.status().as_u16();
    let body = response.into_body().collect_bytes().await.unwrap_or_default();
    match serde_json::from_slice::<Status>(&body) {
        Ok(status) => Answer::Status { code, reason: status.reason, message: status.message },
        Err(_) => Answer::Status { code, reason: String::new(), message: "no words".to_owned() },
    }
}

/// When the server says that it answered, in whole seconds.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// The pause after this beat: the interval on average, and less than a second more or less.
///
/// A server dates its answers in whole seconds. Were they always asked for at the same part of a second they would all tell the same; so the part moves on, in steps of the golden ratio, which
/// fills the second most evenly.
fn pause_after(beat: u64, interval: Duration) -> Duration {
    let span = interval.min(Duration::from_secs(1));
    let phase = |beat: u64| span.mul_f64(f64::from(u32::try_from(beat.wrapping_mul(618_034) % 1_000_000).unwrap_or(0)) / 1e6);
    (interval + phase(beat.wrapping_add(1))).saturating_sub(phase(beat))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read_and_anything_else_is_absent() {
        let mut headers = HeaderMap::new();
        assert_eq!(date(&headers), None);
        headers.insert(DATE, "Wed, 25 Nov 2026 17:16:54 GMT".parse().unwrap());
        assert_eq!(date(&headers).unwrap().to_string(), "2026-11-25T17:16:54Z");
        headers.insert(DATE, "soon".parse().unwrap());
        assert_eq!(date(&headers), None);
    }

    #[test]
    fn beats_come_at_the_interval_on_average_and_never_a_second_late() {
        let interval = Duration::from_secs(10);
        let pauses: Vec<Duration> = (0..1000).map(|beat| pause_after(beat, interval)).collect();
        assert!(pauses.iter().all(|pause| pause.abs_diff(interval) < Duration::from_secs(1)), "{pauses:?}");
        assert!(pauses.iter().sum::<Duration>().abs_diff(interval * 1000) < Duration::from_secs(1));
        assert!(pauses.windows(2).any(|two| two[0] != two[1]), "each is dated at another part of the second");
    }
}
