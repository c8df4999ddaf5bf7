//! Talking to the Kubernetes API server: the client and when it may write, status writes, finalizers, Events, and reading objects that may not parse.

pub mod client;
pub mod event;
pub mod finalizer;
pub mod guard;
pub mod lease;
pub mod status;
pub mod writes;

use std::time::Duration;

/// The longest that an answer of the API server is waited for. A server that vanished without closing its connections would otherwise hold up whatever waits for the write.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer to one request, or an error when there is none within [`ANSWER_TIMEOUT`]. The request may have been carried out all the same.
///
/// # Errors
///
/// The request's own, or that there was no answer in time.
pub async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(ANSWER_TIMEOUT, request).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()).into())),
    }
}
