//! One request and its answer: the only path by which bytes leave for OpenStack or come from it.
//!
//! Every request has a timeout, no redirect is followed and no proxy of the environment is used (a token goes to the address that the catalog names and nowhere else), and an answer
//! may be at most 64 MiB long. Whether a request may be sent again is the caller's matter; [`Retries`] says when.

use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::clouds_yaml::{CloudConfig, Trust};
use super::error::{ConnectError, Fault, FaultKind};
use super::oversight::{MARGIN, NovaWrite, Oversight};
use crate::clock::Clock;

/// The service that gives tokens: asking it changes nothing in the cloud.
pub(super) const KEYSTONE: &str = "Keystone";
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_ID_HEADERS: [&str; 2] = ["x-openstack-request-id", "x-compute-request-id"];

/// What is sent.
pub(super) struct Request<'a> {
    /// `Keystone`, `Nova` or `Placement`.
    pub(super) service: &'static str,
    /// What it is for, as it follows "cannot".
    pub(super) operation: &'a str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<&'a Value>,
}

/// The HTTP clients of one cloud.
#[derive(Debug)]
pub(super) struct Http {
    pooled: Client,
    /// For what must not be sent twice: a connection of its own each time. A pooled one may have been closed by the other side meanwhile, and then nobody could tell
    /// whether the request arrived.
    fresh: Client,
    oversight: Oversight,
    clock: Clock,
}

impl Http {
    pub(super) async fn new(config: &CloudConfig, clock: Clock, oversight: Oversight) -> Result<Self, ConnectError> {
        let certificates = match &config.trust {
            Trust::System | Trust::Anything => None,
            Trust::Pem(pem) => Some(certificates(&config.name, pem)?),
            Trust::File(path) => Some(certificates(&config.name, &read_bundle(path).await?)?),
        };
        let build = |idle_connections: usize| {
            let mut builder = Client::builder()
                .user_agent(concat!("sidestep/", env!("CARGO_PKG_VERSION")))
                .no_proxy()
                .redirect(Policy::none())
                .connect_timeout(CONNECT_TIMEOUT.min(config.request_timeout))
                .timeout(config.request_timeout)
                .pool_max_idle_per_host(idle_connections);
            if let Some(certificates) = &certificates {
                builder = builder.tls_certs_only(certificates.iter().cloned());
            }
            if config.trust == Trust::Anything {
                builder = builder.tls_danger_accept_invalid_certs(true);
            }
            builder.build().map_err(|source| ConnectError::Tls { cloud: config.name.clone(), source })
        };
        Ok(Self { pooled: build(8)?, fresh: build(0)?, oversight, clock })
    }

    /// Sends it once, and checks the status. A write goes out only while the window is open, and is given up before it shuts.
    pub(super) async fn exchange(&self, request: Request<'_>) -> Result<Answer, Fault> {
        let (service, method, operation) = (request.service, request.method.clone(), request.operation);
        let is_write = method != Method::GET && service != KEYSTONE;
        let write = is_write.then(|| NovaWrite::of(&method, request.url.path(), request.body));
        let begun = self.clock.monotonic();
        let answer = match &write {
            None => self.send(request).await,
            Some(write) => self.write(operation, write, self.send(request)).await,
        };
        let took = self.clock.monotonic().saturating_sub(begun);
        self.oversight.tell(service, &method, write.as_ref(), answer.as_ref().map(|answer| answer.status.as_u16()), took);
        answer
    }

    async fn write(&self, operation: &str, write: &NovaWrite, send: impl Future<Output = Result<Answer, Fault>>) -> Result<Answer, Fault> {
        let window = self.oversight.window();
        if window.left() <= MARGIN {
            return Err(Fault::of(operation, FaultKind::NotAllowed).build());
        }
        self.oversight.about_to(write);
        window.within(MARGIN, send).await.unwrap_or_else(|_| Err(Fault::of(operation, FaultKind::Timeout).build()))
    }

    async fn send(&self, request: Request<'_>) -> Result<Answer, Fault> {
        let Request { service: _, operation, method, url, headers, body } = request;
        let client = if method == Method::POST { &self.fresh } else { &self.pooled };
        let mut outgoing = client.request(method, url).headers(headers).header(header::ACCEPT, "application/json");
        if let Some(body) = body {
            outgoing = outgoing.json(body);
        }
        let mut response = outgoing.send().await.map_err(|error| Fault::transport(operation, error))?;
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| Fault::transport(operation, error))? {
            if bytes.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(Fault::foreign(operation, format!("the answer is longer than {MAX_BODY_BYTES} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Answer { operation: operation.to_owned(), status, headers, body: bytes }.checked()
    }
}

async fn read_bundle(path: &Path) -> Result<Vec<u8>, ConnectError> {
    tokio::fs::read(path).await.map_err(|source| ConnectError::CaCertNotFound { path: path.to_owned(), source })
}

fn certificates(cloud: &str, pem: &[u8]) -> Result<Vec<Certificate>, ConnectError> {
    match Certificate::from_pem_bundle(pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ConnectError::CaCertInvalid { cloud: cloud.to_owned() }),
    }
}

/// An answer with a status of 2xx.
#[derive(Debug)]
pub(super) struct Answer {
    operation: String,
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// The service's id of this request.
    pub(super) fn request_id(&self) -> Option<String> {
        // An id is about 40 characters; anything much longer is not one.
        REQUEST_ID_HEADERS.iter().find_map(|name| self.header(name).filter(|id| id.len() <= 255))
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }

    /// The body as JSON of this shape; anything else is not the service's answer.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Fault::of(&*self.operation, FaultKind::Foreign)
                .status(self.status.as_u16())
                .message(format!("not the JSON that was expected: {error}"))
                .request_id(self.request_id())
                .build()
        })
    }

    fn checked(self) -> Result<Self, Fault> {
        if self.status.is_success() {
            return Ok(self);
        }
        let message = service_message(&self.body);
        let kind = match self.status.as_u16() {
            401 => FaultKind::Unauthorized,
            403 => FaultKind::Forbidden,
            // Something in between answers 404 too when it does not know the path: that does not mean that a server is gone.
            404 if message.is_none() => FaultKind::Foreign,
            404 => FaultKind::NotFound,
            409 => FaultKind::Conflict,
            413 | 429 => FaultKind::OverLimit,
            400..=499 => FaultKind::BadRequest,
            500..=599 => FaultKind::Server,
            _ => FaultKind::Foreign,
        };
        let message = message.or_else(|| self.status.is_redirection().then(|| "it redirects to another address, which is not followed".to_owned()));
        Err(Fault::of(&*self.operation, kind)
            .status(self.status.as_u16())
            .message(message.unwrap_or_default())
            .request_id(self.request_id())
            .retry_after(self.header("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs))
            .build())
    }
}

/// The service's words in an error body. Nova puts them under a key that varies (`badRequest`, `conflictingRequest`, `itemNotFound`, `forbidden`, `error`, …), Placement into a list.
fn service_message(body: &[u8]) -> Option<String> {
    let Ok(Value::Object(top)) = serde_json::from_slice(body) else { return None };
    top.values().find_map(|value| match value {
        Value::Object(inner) => inner.get("message")?.as_str().map(str::to_owned),
        Value::Array(errors) => errors.first()?.get("detail")?.as_str().map(str::to_owned),
        _ => None,
    })
}

/// Joins an address of the catalog, the parts of a path and a query, each encoded.
pub(super) fn join(base: &Url, segments: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// A header value that does not show in debug output.
pub(super) fn secret_header(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The header of a microversion.
pub(super) fn version_header() -> HeaderName {
    HeaderName::from_static("openstack-api-version")
}

/// When a request that may be sent again is sent again: at most three more times, 0.1, 0.3 and 0.9 s apart with jitter, or when the service says. Only failures that may pass by themselves:
/// a lost connection, 5xx, too many requests. A timeout is not repeated, because it has used up the caller's patience already.
#[derive(Debug, Default)]
pub(super) struct Retries {
    done: u32,
}

impl Retries {
    const MOST: u32 = 3;
    const FIRST: Duration = Duration::from_millis(100);
    /// Whoever asks for a longer wait than this is asked again at the caller's own pace.
    const LONGEST: Duration = Duration::from_secs(10);

    /// Waits and says true, or says at once that it is to be given up.
    pub(super) async fn again(&mut self, fault: &Fault) -> bool {
        let Some(wait) = self.next_wait(fault, Uuid::new_v4().as_u128()) else { return false };
        tokio::time::sleep(wait).await;
        true
    }

    fn next_wait(&mut self, fault: &Fault, random: u128) -> Option<Duration> {
        if !fault.is_passing() || self.done >= Self::MOST {
            return None;
        }
        let wait = Self::FIRST * 3_u32.pow(self.done);
        self.done += 1;
        // Between half and the whole, so that many callers do not come back in one instant.
        let share = u32::try_from(random % 512).unwrap_or_default() + 512;
        let wait = wait * share / 1024;
        let wait = fault.retry_after().map_or(wait, |asked| asked.max(wait));
        (wait <= Self::LONGEST).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_under_any_key() {
        for body in [
            r#"{"conflictingRequest": {"code": 409, "message": "no"}}"#,
            r#"{"error": {"code": 401, "title": "Unauthorized", "message": "no"}}"#,
            r#"{"errors": [{"status": 404, "title": "Not Found", "detail": "no"}]}"#,
        ] {
            assert_eq!(service_message(body.as_bytes()).as_deref(), Some("no"), "{body}");
        }
        assert_eq!(service_message(b"<html>404</html>"), None);
        assert_eq!(service_message(b"{\"a\": 1}"), None);
    }

    #[test]
    fn parts_of_a_path_cannot_leave_it() {
        let base = Url::parse("https://nova.example/compute/v2.1/").unwrap();
        assert_eq!(join(&base, &["servers", "a/../b?x"], &[("host", "a&b")]).as_str(), "https://nova.example/compute/v2.1/servers/a%2F..%2Fb%3Fx?host=a%26b");
    }

    #[test]
    fn waits_grow_with_jitter_and_end() {
        let fault = Fault::of("x", FaultKind::Server).status(503).build();
        let mut retries = Retries::default();
        let waits: Vec<_> = std::iter::from_fn(|| retries.next_wait(&fault, 0)).collect();
        assert_eq!(waits, [50, 150, 450].map(Duration::from_millis));
    }

    #[test]
    fn a_wait_that_the_service_asks_for_is_kept_or_left_to_the_caller() {
        let fault = |seconds| Fault::of("x", FaultKind::OverLimit).status(429).retry_after(Some(Duration::from_secs(seconds))).build();
        assert_eq!(Retries::default().next_wait(&fault(3), 0), Some(Duration::from_secs(3)));
        assert_eq!(Retries::default().next_wait(&fault(60), 0), None);
    }

    #[test]
    fn what_will_not_pass_is_not_repeated() {
        for kind in [FaultKind::Conflict, FaultKind::Timeout, FaultKind::Foreign, FaultKind::Unauthorized] {
            assert_eq!(Retries::default().next_wait(&Fault::of("x", kind).build(), 0), None);
        }
    }
}
