//! A request and its answer as values, so that everything behind the socket can be called without one.

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// The path, percent-decoded in no way: nothing that is asked for has a name that needs it.
    pub(crate) path: String,
    /// The query's pairs in their order, decoded.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    /// The header's text, when it is there once and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The first value of a query parameter.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The path's parts after its first.
    pub(crate) fn rest(&self) -> Vec<&str> {
        self.path.split('/').filter(|part| !part.is_empty()).skip(1).collect()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// Where the caller reached this simulator: what links begin with.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.header("host").unwrap_or("localhost"))
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// JSON.
    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self { status, headers: vec![("content-type", "application/json".into())], body: body.to_string() }
    }

    /// Nothing but the status; OpenStack says `application/json` even then.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: vec![("content-type", "application/json".into())], body: String::new() }
    }

    /// What a proxy in front of a dead service says.
    pub(crate) fn html(status: StatusCode) -> Self {
        let body = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1>The service is not available.</body></html>\n");
        Self { status, headers: vec![("content-type", "text/html".into())], body }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}
