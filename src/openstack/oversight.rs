//! What whoever owns a cloud's client lets it do, and is told of: when writes may go out, each write before it does, and each exchange.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::error::Fault;
use crate::clock::Window;

/// How long before the window shuts the last write must have had its answer.
pub(super) const MARGIN: Duration = Duration::from_secs(1);

/// A write, in one word and with its path, which holds the id of what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NovaWrite {
    /// `disable-service`, `live-migrate` and so on; the method and path of a write that has no word.
    pub name: String,
    /// The path of the request.
    pub path: String,
}

impl NovaWrite {
    /// From the request itself, so that no caller can forget to name what it does.
    pub(super) fn of(method: &Method, path: &str, body: Option<&Value>) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let name = match (method.as_str(), parts.as_slice()) {
            ("PUT", [.., "os-services", _]) => match body.and_then(|body| body.get("status")).and_then(Value::as_str) {
                Some("disabled") => "disable-service".to_owned(),
                Some("enabled") => "enable-service".to_owned(),
                _ => "change-service".to_owned(),
            },
            ("POST", [.., "action"]) => action(body),
            ("DELETE", [.., "servers", _, "migrations", _]) => "abort-migration".to_owned(),
            _ => format!("{method} {path}"),
        };
        Self { name, path: path.to_owned() }
    }
}

/// The word for an action on a server: its key in the body says what it is.
fn action(body: Option<&Value>) -> String {
    let key = body.and_then(Value::as_object).and_then(|body| body.keys().next()).map_or("action", String::as_str);
    match key {
        "os-migrateLive" => "live-migrate",
        "migrate" => "cold-migrate",
        "confirmResize" => "confirm-resize",
        "os-resetState" => "reset-state",
        other => other,
    }
    .to_owned()
}

/// One request and what came of it.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// What it wrote, if it was a write.
    pub write: Option<&'a NovaWrite>,
    /// `Keystone`, `Nova` or `Placement`.
    pub service: &'static str,
    /// The method.
    pub method: &'a Method,
    /// The HTTP status of the answer, or one word for what went wrong where there was none.
    pub status: Result<u16, &'static str>,
    /// How long it took.
    pub took: Duration,
}

/// When writes may go out, and who is told of each exchange. Cheap to clone.
#[derive(Clone)]
pub struct Oversight {
    window: Window,
    about_to: Arc<dyn Fn(&NovaWrite) + Send + Sync>,
    told: Arc<dyn Fn(&Exchange<'_>) + Send + Sync>,
}

impl fmt::Debug for Oversight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oversight").field("window", &self.window).finish_non_exhaustive()
    }
}

impl Default for Oversight {
    /// Writes may always go out, and nobody is told.
    fn default() -> Self {
        Self::new(Window::always(), |_| {}, |_| {})
    }
}

impl Oversight {
    /// Writes to Nova go out only while the window is open, and each has its answer, or none, before it shuts. `about_to` is called before each write, `told` after each exchange and before
    /// anything is done with its answer.
    pub fn new(window: Window, about_to: impl Fn(&NovaWrite) + Send + Sync + 'static, told: impl Fn(&Exchange<'_>) + Send + Sync + 'static) -> Self {
        Self { window, about_to: Arc::new(about_to), told: Arc::new(told) }
    }

    pub(super) fn about_to(&self, write: &NovaWrite) {
        (self.about_to)(write);
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    pub(super) fn tell(&self, service: &'static str, method: &Method, write: Option<&NovaWrite>, answer: Result<u16, &Fault>, took: Duration) {
        let status = answer.or_else(|fault| fault.status().ok_or_else(|| fault.category()));
        (self.told)(&Exchange { write, service, method, status, took });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_write_has_a_word_from_what_goes_out() {
        for (method, path, body, name) in [
            (Method::PUT, "/v2.1/os-services/a", Some(json!({"status": "disabled", "disabled_reason": "x"})), "disable-service"),
            (Method::PUT, "/v2.1/os-services/a", Some(json!({"status": "enabled"})), "enable-service"),
            (Method::POST, "/v2.1/servers/a/action", Some(json!({"os-migrateLive": {}})), "live-migrate"),
            (Method::POST, "/v2.1/servers/a/action", Some(json!({"migrate": null})), "cold-migrate"),
            (Method::POST, "/v2.1/servers/a/action", Some(json!({"confirmResize": null})), "confirm-resize"),
            (Method::POST, "/v2.1/servers/a/migrations/1/action", Some(json!({"force_complete": null})), "force_complete"),
            (Method::DELETE, "/v2.1/servers/a/migrations/7", None, "abort-migration"),
            (Method::DELETE, "/v2.1/servers/a", None, "DELETE /v2.1/servers/a"),
        ] {
            assert_eq!(NovaWrite::of(&method, path, body.as_ref()).name, name);
        }
    }
}
