//! What whoever owns a cloud's client lets it do, and is told of: when writes may go out, and each exchange.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::error::Fault;
use crate::clock::Window;

/// How long before the window shuts the last write must have had its answer.
pub(super) const MARGIN: Duration = Duration::from_secs(1);

/// One request and what came of it.
#[derive(Debug)]
pub struct Exchange<'a> {
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
        Self::new(Window::always(), |_| {})
    }
}

impl Oversight {
    /// Writes to Nova go out only while the window is open, and each has its answer, or none, before it shuts.
    pub fn new(window: Window, told: impl Fn(&Exchange<'_>) + Send + Sync + 'static) -> Self {
        Self { window, told: Arc::new(told) }
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    pub(super) fn tell(&self, service: &'static str, method: &Method, answer: Result<u16, &Fault>, took: Duration) {
        let status = answer.or_else(|fault| fault.status().ok_or_else(|| fault.category()));
        (self.told)(&Exchange { service, method, status, took });
    }
}
