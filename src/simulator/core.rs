//! The whole simulator behind the socket: the cloud, the tokens, the faults of the transport and the list of what was asked.

use http::{Method, StatusCode};
use jiff::Timestamp;

use super::access::AccessLog;
use super::faults::HttpFaults;
use super::keystone::{self, Tokens};
use super::state::Cloud;
use super::wire::{Ask, Reply};
use super::{admin, nova, placement};

/// Everything that a request may touch.
#[derive(Debug)]
pub(crate) struct Core {
    /// The wall clock at the last request or tick.
    pub(crate) now: Timestamp,
    pub(crate) cloud: Cloud,
    pub(crate) tokens: Tokens,
    pub(crate) faults: HttpFaults,
    pub(crate) log: AccessLog,
}

impl Core {
    /// Lets the cloud come to `now`.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.cloud.advance(self.now);
    }

    /// Carries a request out.
    pub(crate) fn answer(&mut self, ask: &Ask) -> Reply {
        match ask.path.split('/').nth(1) {
            Some("identity") => keystone::answer(self, ask),
            Some("compute") => nova::answer(self, ask),
            Some("placement") => placement::answer(self, ask),
            Some("admin") => admin::answer(self, ask),
            _ if ask.method == Method::GET && ask.path == "/" => Reply { body: INDEX.into(), ..Reply::empty(StatusCode::OK) }.with("x-simulator", "sidestep"),
            _ => Reply::html(StatusCode::NOT_FOUND),
        }
    }
}

const INDEX: &str = r#"{"identity": "/identity/v3", "compute": "/compute/v2.1", "placement": "/placement", "admin": "/admin/requests"}"#;
