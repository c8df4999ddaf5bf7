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
use super::request::{Http, KEYSTONE, Request, Retries, join, secret_header};
use crate::clock::Clock;

/// A token that is this near to its end is replaced, so that it does not end during a call.
const RENEW_BEFORE: Duration = Duration::from_secs(120);
/// How long a token that is nearly over is used on when Keystone does not answer, before it is asked again.
const KEYSTONE_AWAY: Duration = Duration::from_secs(10);

/// How long a refusal of the credential holds without asking again: some Keystones lock a user after a few wrong passwords, and a new credential comes with a new session anyway.
const REFUSAL_HOLDS: Duration = Duration::from_secs(15);

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
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// Until when, on the monotonic clock, and why the credential counts as refused.
    refused: Option<(Duration, Fault)>,
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
        Self { auth_url: config.auth_url.clone(), credentials: config.credentials.clone(), clock, state: Mutex::default() }
    }

    /// Authenticates anew and keeps the token.
    pub(super) async fn login(&self, http: &Http) -> Result<Grant, Fault> {
        let mut state = self.state.lock().await;
        self.authenticate(http, &mut state).await.map(|(_, grant)| grant)
    }

    /// A token that is good for a while.
    pub(super) async fn token(&self, http: &Http) -> Result<Token, Fault> {
        // One caller renews, the others wait for its result here.
        let mut state = self.state.lock().await;
        let now = self.clock.monotonic();
        let Some(held) = state.held.as_mut().filter(|held| now < held.ends_at) else {
            return self.authenticate(http, &mut state).await.map(|(token, _)| token);
        };
        let old = held.token.clone();
        if now < held.renew_at {
            return Ok(old);
        }
        held.renew_at = now + KEYSTONE_AWAY;
        match self.authenticate(http, &mut state).await {
            Ok((token, _)) => Ok(token),
            Err(fault) if fault.kind() == FaultKind::Unauthorized => Err(fault),
            Err(_) => Ok(old),
        }
    }

    /// A token other than `refused`, which a service did not accept.
    pub(super) async fn after_refusal(&self, http: &Http, refused: &Token) -> Result<Token, Fault> {
        let mut state = self.state.lock().await;
        match &state.held {
            Some(held) if held.token.serial != refused.serial => Ok(held.token.clone()),
            _ => self.authenticate(http, &mut state).await.map(|(token, _)| token),
        }
    }

    async fn authenticate(&self, http: &Http, state: &mut State) -> Result<(Token, Grant), Fault> {
        let now = self.clock.monotonic();
        if let Some((until, fault)) = &state.refused
            && now < *until
        {
            return Err(fault.clone());
        }
        match self.ask_keystone(http).await {
            Ok((header, grant)) => {
                let life = grant.lifetime();
                let serial = state.held.as_ref().map_or(0, |held| held.token.serial) + 1;
                let token = Token { header, serial };
                // A token of a few minutes is renewed at three quarters of its life.
                let renew_after = life.saturating_sub(RENEW_BEFORE).max(life * 3 / 4);
                state.held = Some(Held { token: token.clone(), renew_at: now + renew_after, ends_at: now + life });
                state.refused = None;
                Ok((token, grant))
            }
            Err(fault) => {
                if fault.kind() == FaultKind::Unauthorized {
                    state.refused = Some((now + REFUSAL_HOLDS, fault.clone()));
                }
                Err(fault)
            }
        }
    }

    async fn ask_keystone(&self, http: &Http) -> Result<(HeaderValue, Grant), Fault> {
        #[derive(Deserialize)]
        struct Body {
            token: Grant,
        }
        let operation = format!("get a token from Keystone at {}", self.auth_url);
        let body = json!({"auth": auth_body(&self.credentials)});
        let mut retries = Retries::default();
        let answer = loop {
            let url = join(&self.auth_url, &["auth", "tokens"], &[]);
            match http
                .exchange(Request { service: KEYSTONE, operation: &operation, method: Method::POST, url, headers: HeaderMap::new(), body: Some(&body) })
                .await
            {
                Err(fault) if retries.again(&fault).await => {}
                other => break other?,
            }
        };
        let header = answer.header("x-subject-token").as_deref().and_then(secret_header);
        let header = header.ok_or_else(|| Fault::foreign(operation, "no X-Subject-Token in the answer"))?;
        Ok((header, answer.parse::<Body>()?.token))
    }
}

impl Grant {
    /// Both stamps are Keystone's, so that a difference between its clock and ours does not matter. A token without life is asked for anew at each call.
    fn lifetime(&self) -> Duration {
        Duration::try_from(self.expires_at.duration_since(self.issued_at)).unwrap_or_default()
    }
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
