//! Keystone: a token, renewed before it ends, and the catalog of the services' addresses.
//!
//! ```text
//!   connect ── POST /auth/tokens ──> token + catalog ──> region, endpoints
//!   a call ── token still good ──> used
//!          ── nearly over ───────> a new one first; if Keystone is away, the old one as long as it lasts
//!          ── 401 ───────────────> one new token, the same call once more
//! ```

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::Url;

use super::catalog::Catalog;
use super::clouds_yaml::{ApplicationCredential, CloudConfig, Credentials, Domain, Principal};
use super::error::{Fault, FaultKind};
use super::request::{Http, Request, Retries, join, secret_header};
use crate::clock::Clock;

/// A token that is this near to its end is replaced, so that it does not end during a call.
const RENEW_BEFORE: Duration = Duration::from_secs(120);
/// How long a token that is nearly over is used on when Keystone does not answer, before it is asked again.
const KEYSTONE_AWAY: Duration = Duration::from_secs(10);

/// Proof of who Sidestep is.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// The value of `X-Auth-Token`; hidden in debug output.
    pub(super) header: HeaderValue,
    serial: u64,
}

/// The current token of one cloud.
#[derive(Debug)]
pub(super) struct Session {
    auth_url: Url,
    credentials: Credentials,
    clock: Clock,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    token: Token,
    renew_at: Duration,
    ends_at: Duration,
}

/// What Keystone says besides the token.
#[derive(Debug, Deserialize)]
pub(super) struct Grant {
    pub(super) user: Named,
    pub(super) project: Named,
    pub(super) catalog: Catalog,
    expires_at: Timestamp,
    issued_at: Timestamp,
}

/// A thing with a name.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

impl Session {
    pub(super) fn new(config: &CloudConfig, clock: Clock) -> Self {
        Self { auth_url: config.auth_url.clone(), credentials: config.credentials.clone(), clock, held: Mutex::new(None) }
    }

    /// Authenticates anew and keeps the token.
    pub(super) async fn login(&self, http: &Http) -> Result<Grant, Fault> {
        let mut held = self.held.lock().await;
        self.authenticate(http, &mut held).await
    }

    /// A token that is good for a while.
    pub(super) async fn token(&self, http: &Http) -> Result<Token, Fault> {
        // One caller renews, the others wait for its result here.
        let mut held = self.held.lock().await;
        let now = self.clock.monotonic();
        if let Some(current) = held.as_mut().filter(|current| now < current.ends_at) {
            if now < current.renew_at {
                return Ok(current.token.clone());
            }
            current.renew_at = now + KEYSTONE_AWAY;
            let old = current.token.clone();
            return match self.authenticate(http, &mut held).await {
                Err(fault) if fault.kind() == FaultKind::Unauthorized => Err(fault),
                Err(_) => Ok(old),
                Ok(_) => newest(&held, &self.auth_url),
            };
        }
        self.authenticate(http, &mut held).await?;
        newest(&held, &self.auth_url)
    }

    /// A token other than `refused`, which a service did not accept.
    pub(super) async fn after_refusal(&self, http: &Http, refused: &Token) -> Result<Token, Fault> {
        let mut held = self.held.lock().await;
        if held.as_ref().is_none_or(|current| current.token.serial == refused.serial) {
            self.authenticate(http, &mut held).await?;
        }
        newest(&held, &self.auth_url)
    }

    async fn authenticate(&self, http: &Http, held: &mut Option<Held>) -> Result<Grant, Fault> {
        let operation = format!("get a token from Keystone at {}", self.auth_url);
        let body = json!({"auth": auth_body(&self.credentials)});
        let mut retries = Retries::default();
        let answer = loop {
            let url = join(&self.auth_url, &["auth", "tokens"], &[]);
            match http.exchange(Request { operation: &operation, method: Method::POST, url, headers: HeaderMap::new(), body: Some(&body) }).await {
                Err(fault) if retries.again(&fault).await => {}
                other => break other?,
            }
        };
        #[derive(Deserialize)]
        struct Body {
            token: Grant,
        }
        let grant = answer.parse::<Body>()?.token;
        let header = answer.headers.get("x-subject-token").and_then(|value| value.to_str().ok()).and_then(secret_header);
        let header = header.ok_or_else(|| Fault::foreign(&*operation, "no X-Subject-Token in the answer"))?;
        let life = lifetime(&grant).ok_or_else(|| Fault::foreign(&*operation, "the token ends before it begins"))?;
        let now = self.clock.monotonic();
        let serial = held.as_ref().map_or(0, |held| held.token.serial) + 1;
        // A token of a few minutes is renewed at three quarters of its life.
        let renew_after = life.saturating_sub(RENEW_BEFORE).max(life * 3 / 4).min(life.saturating_sub(Duration::from_secs(1)));
        *held = Some(Held { token: Token { header, serial }, renew_at: now + renew_after, ends_at: now + life });
        Ok(grant)
    }
}

fn newest(held: &Option<Held>, auth_url: &Url) -> Result<Token, Fault> {
    held.as_ref().map(|held| held.token.clone()).ok_or_else(|| Fault::foreign(format!("get a token from Keystone at {auth_url}"), "no token"))
}

/// Both stamps are Keystone's, so that a difference between its clock and ours does not matter.
fn lifetime(grant: &Grant) -> Option<Duration> {
    Duration::try_from(grant.expires_at.duration_since(grant.issued_at)).ok().filter(|life| !life.is_zero())
}

fn auth_body(credentials: &Credentials) -> Value {
    match credentials {
        Credentials::Password { user, password, project } => {
            let mut user = principal(user);
            insert(&mut user, "password", json!(password.expose_secret()));
            json!({
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": principal(project)},
            })
        }
        Credentials::ApplicationCredential { credential, secret } => {
            let mut credential = match credential {
                ApplicationCredential::Id(id) => json!({"id": id}),
                ApplicationCredential::Named { name, user } => json!({"name": name, "user": principal(user)}),
            };
            insert(&mut credential, "secret", json!(secret.expose_secret()));
            json!({"identity": {"methods": ["application_credential"], "application_credential": credential}})
        }
    }
}

fn insert(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(map) = object {
        map.insert(key.to_owned(), value);
    }
}

fn principal(principal: &Principal) -> Value {
    match principal {
        Principal::Id(id) => json!({"id": id}),
        Principal::Named { name, domain: Domain::Id(id) } => json!({"name": name, "domain": {"id": id}}),
        Principal::Named { name, domain: Domain::Name(domain) } => json!({"name": name, "domain": {"name": domain}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_scoped_to_its_project() {
        let body = auth_body(&Credentials::Password {
            user: Principal::Named { name: "u".into(), domain: Domain::Name("Default".into()) },
            password: "p".into(),
            project: Principal::Id("42".into()),
        });
        assert_eq!(
            body,
            json!({
                "identity": {"methods": ["password"], "password": {"user": {"name": "u", "domain": {"name": "Default"}, "password": "p"}}},
                "scope": {"project": {"id": "42"}},
            })
        );
    }

    #[test]
    fn an_application_credential_is_never_scoped() {
        let body = auth_body(&Credentials::ApplicationCredential { credential: ApplicationCredential::Id("abc".into()), secret: "s".into() });
        assert_eq!(body, json!({"identity": {"methods": ["application_credential"], "application_credential": {"id": "abc", "secret": "s"}}}));
    }
}
