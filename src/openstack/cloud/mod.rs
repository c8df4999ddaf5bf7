//! A cloud that is connected: the addresses of its services, what they speak, and the calls that all reads and writes are made of.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use url::Url;

use super::catalog::nova_base;
use super::clouds_yaml::CloudConfig;
use super::error::{ConnectError, Fault, FaultKind, PostOutcome};
use super::microversion::{self, Microversion, Range};
use super::oversight::Oversight;
use super::request::{Answer, Http, Request, Retries, join, version_header};
use super::session::{Session, Token};
use crate::clock::Clock;

/// One OpenStack region, reading only. Cheap to clone; all clones share the token and the connections.
///
/// It has no way to write:
///
/// ```compile_fail,E0599
/// async fn observe(cloud: sidestep::openstack::Cloud, server: sidestep::inventory::ServerId) {
///     cloud.live_migrate(server).await;
/// }
/// ```
///
/// and the type that writes cannot be had without a permit of the mode gate:
///
/// ```compile_fail,E0308
/// fn observe(cloud: sidestep::openstack::Cloud) -> sidestep::openstack::CloudControl {
///     sidestep::openstack::CloudControl::new(cloud, None)
/// }
/// ```
///
/// ```
/// fn enforce(cloud: sidestep::openstack::Cloud) -> Option<sidestep::openstack::CloudControl> {
///     sidestep::gate::permit_writes(true).map(|permit| sidestep::openstack::CloudControl::new(cloud, permit))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Cloud {
    inner: Arc<Inner>,
    page_size: Option<NonZeroU32>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    http: Http,
    session: Session,
    clock: Clock,
    nova: Service,
    placement: Service,
    microversion: Microversion,
    identity: Identity,
}

/// Who the credential is, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub user: String,
    /// The project's name.
    pub project: String,
    /// The region.
    pub region: String,
}

/// One service: where it is, and the microversion header of its requests.
#[derive(Clone, Debug)]
pub(super) struct Service {
    name: &'static str,
    base: Url,
    version: HeaderValue,
}

/// A list of this many pages is no list of hosts' servers: something answers the same page for ever.
const MAX_PAGES: usize = 1_000;

impl Cloud {
    /// Logs in, chooses the region and the microversions, and checks that all of it can be used.
    pub async fn connect(config: &CloudConfig, clock: Clock) -> Result<Self, ConnectError> {
        Self::connect_under(config, clock, Oversight::default()).await
    }

    /// The same for somebody who does not let it write at all times.
    pub async fn connect_under(config: &CloudConfig, clock: Clock, oversight: Oversight) -> Result<Self, ConnectError> {
        let cloud = config.name.as_str();
        let http = Http::new(config, clock.clone(), oversight).await?;
        let session = Session::new(config, clock.clone());
        let grant = session.login(&http).await.map_err(|source| login_failed(config, source))?;
        let region = grant.catalog.region(cloud, config.region.as_deref())?;
        let endpoint = |service| grant.catalog.endpoint(cloud, service, config.interface, &region);
        let (nova, placement) = (nova_base(&endpoint("compute")?), endpoint("placement")?);
        let token = session.token(&http).await.map_err(|source| login_failed(config, source))?;
        let negotiate = async |name, base: &Url, range| choose_version(&http, &token, cloud, name, base, range).await;
        let microversion = negotiate("Nova", &nova, microversion::NOVA).await?;
        let placement_version = negotiate("Placement", &placement, microversion::PLACEMENT).await?;
        let inner = Inner {
            name: config.name.clone(),
            nova: Service { name: "Nova", base: nova, version: version_value("compute", microversion) },
            placement: Service { name: "Placement", base: placement, version: version_value("placement", placement_version) },
            identity: Identity { user: grant.user.name, project: grant.project.name, region },
            http,
            session,
            clock,
            microversion,
        };
        Ok(Self { inner: Arc::new(inner), page_size: None })
    }

    /// The name of its entry in clouds.yaml.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Who the credential is, and where.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// The microversion that is spoken to Nova.
    #[must_use]
    pub fn microversion(&self) -> Microversion {
        self.inner.microversion
    }

    /// The same cloud, asked for lists in pages of at most this many rows. Without it Nova's own `max_limit` holds (1,000 unless configured).
    #[must_use]
    pub fn with_page_size(mut self, rows: NonZeroU32) -> Self {
        self.page_size = Some(rows);
        self
    }

    pub(super) fn page_size(&self) -> Option<NonZeroU32> {
        self.page_size
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    pub(super) fn nova(&self) -> &Service {
        &self.inner.nova
    }

    pub(super) fn placement(&self) -> &Service {
        &self.inner.placement
    }

    /// A read: repeated when that may help.
    pub(super) async fn get(&self, service: &Service, operation: &str, path: &[&str], query: &[(&str, &str)]) -> Result<Answer, Fault> {
        self.repeatable(service, operation, &Method::GET, &join(&service.base, path, query), None).await
    }

    /// A write that may be repeated, because twice is the same as once.
    pub(super) async fn put(&self, service: &Service, operation: &str, path: &[&str], body: &Value) -> Result<Answer, Fault> {
        self.repeatable(service, operation, &Method::PUT, &join(&service.base, path, &[]), Some(body)).await
    }

    /// A write that must reach the service at most once. Only a 401, which proves that nothing was done, is followed by the same request with a new token.
    pub(super) async fn post_once(&self, service: &Service, operation: &str, path: &[&str], body: &Value) -> PostOutcome {
        self.write_once(service, operation, &Method::POST, path, Some(body)).await
    }

    /// The same for a DELETE.
    pub(super) async fn delete_once(&self, service: &Service, operation: &str, path: &[&str]) -> PostOutcome {
        self.write_once(service, operation, &Method::DELETE, path, None).await
    }

    async fn write_once(&self, service: &Service, operation: &str, method: &Method, path: &[&str], body: Option<&Value>) -> PostOutcome {
        let Inner { http, session, .. } = &*self.inner;
        let url = join(&service.base, path, &[]);
        let send = async |token: &Token| http.exchange(service.request(token, operation, method, &url, body)).await;
        let token = match session.token(http).await {
            Ok(token) => token,
            Err(fault) => return PostOutcome::Refused(fault),
        };
        let answer = match send(&token).await {
            Err(fault) if fault.kind() == FaultKind::Unauthorized => match session.after_refusal(http, &token).await {
                Ok(token) => send(&token).await,
                Err(fault) => return PostOutcome::Refused(fault),
            },
            other => other,
        };
        match answer {
            // 202 for what begins something, 204 for a confirmation.
            Ok(answer) if matches!(answer.status.as_u16(), 202 | 204) => PostOutcome::Accepted { request_id: answer.request_id() },
            Ok(answer) => {
                PostOutcome::Unknown(Fault::foreign(operation, format!("HTTP {} where 202 or 204 are the only answers of Nova", answer.status.as_u16())))
            }
            Err(fault) if fault.nothing_was_done() => PostOutcome::Refused(fault),
            Err(fault) => PostOutcome::Unknown(fault),
        }
    }

    async fn repeatable(&self, service: &Service, operation: &str, method: &Method, url: &Url, body: Option<&Value>) -> Result<Answer, Fault> {
        let mut retries = Retries::default();
        loop {
            match self.authorised(service, operation, method, url, body).await {
                Err(fault) if retries.again(&fault).await => {}
                other => return other,
            }
        }
    }

    async fn authorised(&self, service: &Service, operation: &str, method: &Method, url: &Url, body: Option<&Value>) -> Result<Answer, Fault> {
        let Inner { http, session, .. } = &*self.inner;
        let token = session.token(http).await?;
        match http.exchange(service.request(&token, operation, method, url, body)).await {
            Err(fault) if fault.kind() == FaultKind::Unauthorized => {
                let token = session.after_refusal(http, &token).await?;
                http.exchange(service.request(&token, operation, method, url, body)).await
            }
            other => other,
        }
    }

    /// All rows of a list. One page that fails makes the whole list fail.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        service: &Service,
        operation: &str,
        path: &[&str],
        query: &[(&str, &str)],
        key: &'static str,
    ) -> Result<Vec<T>, Fault> {
        let limit = self.page_size.map(|rows| rows.to_string());
        let mut rows = Vec::new();
        let mut markers: HashSet<String> = HashSet::new();
        let mut marker: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut query = query.to_vec();
            query.extend(limit.as_deref().map(|limit| ("limit", limit)));
            query.extend(marker.as_deref().map(|marker| ("marker", marker)));
            let page = self.get(service, operation, path, &query).await?;
            let page = Page::read(operation, &page, key)?;
            rows.extend(page.rows);
            match page.next {
                None => return Ok(rows),
                Some(next) if !markers.insert(next.clone()) => return Err(Fault::foreign(operation, format!("page after {next} was given twice"))),
                Some(next) => marker = Some(next),
            }
        }
        Err(Fault::foreign(operation, format!("more than {MAX_PAGES} pages")))
    }
}

impl Service {
    /// The same service, spoken to in another microversion.
    pub(super) fn speaking(&self, kind: &str, version: Microversion) -> Self {
        Self { name: self.name, base: self.base.clone(), version: version_value(kind, version) }
    }

    fn request<'a>(&self, token: &Token, operation: &'a str, method: &Method, url: &Url, body: Option<&'a Value>) -> Request<'a> {
        let mut headers = token_header(token);
        headers.insert(version_header(), self.version.clone());
        Request { service: self.name, operation, method: method.clone(), url: url.clone(), headers, body }
    }
}

/// One page of a list: `{"KEY": [..], "KEY_links": [{"rel": "next", "href": ".."}]}`.
pub(super) struct Page<T> {
    pub(super) rows: Vec<T>,
    pub(super) next: Option<String>,
}

impl<T: DeserializeOwned> Page<T> {
    pub(super) fn read(operation: &str, answer: &Answer, key: &str) -> Result<Self, Fault> {
        let mut body: Map<String, Value> = answer.parse()?;
        let rows = body.remove(key).ok_or_else(|| Fault::foreign(operation, format!("no `{key}` in the answer")))?;
        let rows = Vec::deserialize(rows).map_err(|error| Fault::foreign(operation, format!("`{key}` is not what was expected: {error}")))?;
        let next = match body.remove(&format!("{key}_links")) {
            None => None,
            Some(links) => next_marker(operation, &links)?,
        };
        Ok(Self { rows, next })
    }
}

/// Only the marker of the link counts: behind a proxy the rest may name another scheme, host or port, where a token must not go.
fn next_marker(operation: &str, links: &Value) -> Result<Option<String>, Fault> {
    let next = links.as_array().into_iter().flatten().find(|link| link.get("rel").and_then(Value::as_str) == Some("next"));
    let Some(next) = next else { return Ok(None) };
    let query = next.get("href").and_then(Value::as_str).and_then(|href| href.split_once('?')).map(|(_, query)| query.as_bytes()).unwrap_or_default();
    let marker = url::form_urlencoded::parse(query).find(|(name, _)| name == "marker").map(|(_, value)| value.into_owned());
    marker.map(Some).ok_or_else(|| Fault::foreign(operation, "the link to the next page has no marker"))
}

fn login_failed(config: &CloudConfig, source: Fault) -> ConnectError {
    let cloud = config.name.clone();
    match source.kind() {
        FaultKind::Unauthorized => ConnectError::AuthenticationFailed { cloud, auth_url: config.auth_url.to_string(), source },
        _ => ConnectError::Call { cloud, source },
    }
}

async fn choose_version(http: &Http, token: &Token, cloud: &str, name: &'static str, base: &Url, range: Range) -> Result<Microversion, ConnectError> {
    let operation = format!("ask {name} at {base} which microversions it offers");
    let mut retries = Retries::default();
    let answer = loop {
        let url = join(base, &[""], &[]);
        let request = Request { service: name, operation: &operation, method: Method::GET, url, headers: token_header(token), body: None };
        match http.exchange(request).await {
            Err(fault) if retries.again(&fault).await => {}
            other => break other,
        }
    };
    let document = answer.and_then(|answer| answer.parse::<Value>());
    let call_failed = |source| ConnectError::Call { cloud: cloud.to_owned(), source };
    let offered = microversion::offered(&document.map_err(call_failed)?).ok_or_else(|| call_failed(Fault::foreign(&*operation, "no version in the answer")))?;
    range.choose(offered).ok_or(ConnectError::MicroversionTooOld { service: name, needed: range.oldest, offered })
}

fn token_header(token: &Token) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("x-auth-token"), token.header.clone())])
}

fn version_value(service: &str, version: Microversion) -> HeaderValue {
    // Letters, a blank, digits and a dot: always a valid value.
    HeaderValue::from_str(&format!("{service} {version}")).unwrap_or_else(|_| HeaderValue::from_static("compute latest"))
}

#[cfg(test)]
mod tests;
