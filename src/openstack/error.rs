//! What can go wrong between Sidestep and OpenStack, as types.
//!
//! A [`Fault`] is one call that failed: which call, of what kind, in whose words. A [`ConnectError`] is a cloud that cannot be used at all, with the remedy. A [`PostOutcome`] is
//! the answer to a request that must not be repeated: it has three values, because "no answer" is neither success nor failure.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::clouds_yaml::Interface;
use super::microversion::Microversion;

/// How a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// 401: the credential is not accepted (any more). Nothing was done.
    Unauthorized,
    /// 403: the credential is good and may not do this.
    Forbidden,
    /// 404, said by the service itself and not by something in between.
    NotFound,
    /// 409: not in this state.
    Conflict,
    /// Any other 4xx: the request itself is wrong.
    BadRequest,
    /// 413 or 429: too many requests.
    OverLimit,
    /// 5xx.
    Server,
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// An answer that is not the service's: no JSON, a key missing, a page that repeats. It is a failed call, never an empty list.
    Foreign,
    /// The time in which this program may write was over before the request went out. Nothing was done.
    NotAllowed,
}

impl FaultKind {
    /// One word for a condition's reason, an event's reason or a metric's label.
    #[must_use]
    pub fn category(self) -> &'static str {
        match self {
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::Conflict => "Conflict",
            Self::BadRequest => "BadRequest",
            Self::OverLimit => "OverLimit",
            Self::Server => "ServerError",
            Self::Unreachable => "Unreachable",
            Self::Timeout => "Timeout",
            Self::Foreign => "ForeignAnswer",
            Self::NotAllowed => "NotLeading",
        }
    }

    fn phrase(self) -> &'static str {
        match self {
            Self::Unauthorized => "the credential was not accepted",
            Self::Forbidden => "the credential may not do this",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::BadRequest => "the request was refused",
            Self::OverLimit => "too many requests",
            Self::Server => "the service failed",
            Self::Unreachable => "the service cannot be reached",
            Self::Timeout => "no answer in time",
            Self::Foreign => "the answer is not the service's",
            Self::NotAllowed => "this program does not lead at this moment, and only the leader writes",
        }
    }
}

/// One failed call. Cheap to clone.
#[derive(Clone)]
pub struct Fault(Arc<Detail>);

struct Detail {
    operation: String,
    kind: FaultKind,
    status: Option<u16>,
    message: Option<String>,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    sent: bool,
    source: Option<reqwest::Error>,
}

impl Fault {
    /// A fault that was seen in an answer.
    pub(super) fn of(operation: impl Into<String>, kind: FaultKind) -> FaultBuilder {
        FaultBuilder(Detail { operation: operation.into(), kind, status: None, message: None, request_id: None, retry_after: None, sent: true, source: None })
    }

    /// An answer that cannot be the service's.
    pub(super) fn foreign(operation: impl Into<String>, why: impl Into<String>) -> Self {
        Self::of(operation, FaultKind::Foreign).message(why).build()
    }

    /// A call that brought no answer.
    pub(super) fn transport(operation: impl Into<String>, error: reqwest::Error) -> Self {
        let kind = if error.is_timeout() { FaultKind::Timeout } else { FaultKind::Unreachable };
        // A connection that never came about carried nothing; after that nobody can tell how far the request came.
        let sent = !(error.is_connect() || error.is_builder());
        let mut builder = Self::of(operation, kind);
        builder.0.sent = sent;
        builder.0.source = Some(error);
        builder.build()
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FaultKind {
        self.0.kind
    }

    /// The HTTP status, when there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The service's own words, at most 1,000 characters.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// The service's request id, for its logs.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// One word for a condition's reason, an event's reason or a metric's label.
    #[must_use]
    pub fn category(&self) -> &'static str {
        self.0.kind.category()
    }

    /// How long the service asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same request may succeed by itself a moment later. After a timeout it might too, but that has used up the caller's patience.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.0.kind, FaultKind::OverLimit | FaultKind::Server | FaultKind::Unreachable)
    }

    /// Whether the service surely did nothing: it refused by a status of its own, or the request never left.
    pub(super) fn nothing_was_done(&self) -> bool {
        match self.0.kind {
            // 408 comes from something in between, which may already have passed the request on.
            FaultKind::Unauthorized | FaultKind::Forbidden | FaultKind::NotFound | FaultKind::Conflict | FaultKind::BadRequest | FaultKind::OverLimit => {
                self.0.status != Some(408)
            }
            FaultKind::Unreachable | FaultKind::Timeout => !self.0.sent,
            FaultKind::NotAllowed => true,
            FaultKind::Server | FaultKind::Foreign => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Detail { operation, kind, status, message, request_id, retry_after: _, sent: _, source: _ } = &*self.0;
        write!(f, "cannot {operation}: {}", kind.phrase())?;
        if let Some(status) = status {
            write!(f, " (HTTP {status})")?;
        }
        if let Some(message) = message {
            write!(f, ": {message}")?;
        }
        if let Some(request_id) = request_id {
            write!(f, " [{request_id}]")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").field("kind", &self.0.kind).field("text", &self.to_string()).field("source", &self.0.source).finish()
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

/// Puts a [`Fault`] together.
pub(super) struct FaultBuilder(Detail);

/// More of a service's message would only fill a status.
const MAX_MESSAGE_CHARS: usize = 1_000;

impl FaultBuilder {
    pub(super) fn status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Foreign text: kept short, one line, without control characters.
    pub(super) fn message(mut self, message: impl Into<String>) -> Self {
        let clean: String = message.into().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE_CHARS).collect();
        let clean = clean.trim();
        self.0.message = (!clean.is_empty()).then(|| clean.to_owned());
        self
    }

    pub(super) fn request_id(mut self, request_id: Option<String>) -> Self {
        self.0.request_id = request_id;
        self
    }

    pub(super) fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    pub(super) fn build(self) -> Fault {
        Fault(Arc::new(self.0))
    }
}

/// What became of a request that must never be sent twice.
#[derive(Clone, Debug)]
#[must_use = "an attempt's outcome decides whether it may be asked again"]
pub enum PostOutcome {
    /// Nova took it (202). That is no promise: the end is in the migration row.
    Accepted {
        /// Nova's id of this request: the key of the instance action. Absent when something in between removed the header.
        request_id: Option<String>,
    },
    /// Nova surely did nothing: it said no, or the request never left this machine.
    Refused(Fault),
    /// It was sent and nobody knows: no answer, a server error, an answer that is not Nova's. Look for the migration row before anything else.
    Unknown(Fault),
}

/// Why a cloud cannot be used. The text says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The certificate bundle is not there.
    #[error(
        "cannot read the certificate bundle {} that `cacert` names: put the file into the pod, or the certificates themselves into the key `cacert` of the same Secret",
        .path.display()
    )]
    CaCertNotFound {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate bundle holds no certificate.
    #[error("the certificate bundle of cloud `{cloud}` holds no certificate in PEM form: put one or more `-----BEGIN CERTIFICATE-----` blocks there")]
    CaCertInvalid {
        /// The cloud.
        cloud: String,
    },
    /// The HTTP client could not be made.
    #[error("cannot set up TLS for cloud `{cloud}`")]
    Tls {
        /// The cloud.
        cloud: String,
        /// Why.
        source: reqwest::Error,
    },
    /// Keystone does not accept the credential.
    #[error("Keystone at {auth_url} does not accept the credential of cloud `{cloud}`: correct it in clouds.yaml")]
    AuthenticationFailed {
        /// The cloud.
        cloud: String,
        /// Keystone's address.
        auth_url: String,
        /// Keystone's answer.
        source: Fault,
    },
    /// Several regions and none chosen.
    #[error("cloud `{cloud}` has several regions, {}: set `region_name` in clouds.yaml to one of them", names(.regions))]
    RegionAmbiguous {
        /// The cloud.
        cloud: String,
        /// The regions, sorted.
        regions: Vec<String>,
    },
    /// The region does not exist.
    #[error("cloud `{cloud}` has no region `{region}`; it has {}: correct `region_name` in clouds.yaml", names(.regions))]
    RegionUnknown {
        /// The cloud.
        cloud: String,
        /// The region asked for.
        region: String,
        /// The regions that exist, sorted.
        regions: Vec<String>,
    },
    /// The catalog has no usable address of a service.
    #[error("the catalog of cloud `{cloud}` has no usable {} endpoint of the {service} service in region `{region}`: correct `interface` or `region_name` in clouds.yaml, or the catalog", .interface.as_str())]
    EndpointMissing {
        /// The cloud.
        cloud: String,
        /// `compute` or `placement`.
        service: &'static str,
        /// The interface asked for.
        interface: Interface,
        /// The region.
        region: String,
    },
    /// The service is too old.
    #[error("needs {service} microversion {needed} or newer; this endpoint offers up to {offered}")]
    MicroversionTooOld {
        /// `Nova` or `Placement`.
        service: &'static str,
        /// The oldest that will do.
        needed: Microversion,
        /// The newest that is offered.
        offered: Microversion,
    },
    /// Any other call failed.
    #[error("cloud `{cloud}` cannot be used at the moment")]
    Call {
        /// The cloud.
        cloud: String,
        /// The call.
        source: Fault,
    },
}

impl ConnectError {
    /// One word for a condition's reason, an event's reason or a metric's label.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::CaCertNotFound { .. } => "CACertNotFound",
            Self::CaCertInvalid { .. } => "CACertInvalid",
            Self::Tls { .. } => "TLSSetupFailed",
            Self::AuthenticationFailed { .. } => "AuthenticationFailed",
            Self::RegionAmbiguous { .. } => "RegionAmbiguous",
            Self::RegionUnknown { .. } => "RegionUnknown",
            Self::EndpointMissing { .. } => "EndpointMissing",
            Self::MicroversionTooOld { .. } => "MicroversionTooOld",
            Self::Call { source, .. } => source.category(),
        }
    }
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_on_one_line_and_short() {
        let fault = Fault::of("list the servers", FaultKind::Conflict).status(409).message(format!("a\nb\u{7}{}", "x".repeat(5_000))).build();
        assert!(fault.message().unwrap().starts_with("a b x"));
        assert_eq!(fault.message().unwrap().chars().count(), 1_000);
    }

    #[test]
    fn the_text_names_the_operation_the_reason_and_the_request() {
        let fault = Fault::of("disable service s", FaultKind::Forbidden).status(403).message("Policy").request_id(Some("req-1".into())).build();
        assert_eq!(fault.to_string(), "cannot disable service s: the credential may not do this (HTTP 403): Policy [req-1]");
    }

    #[test]
    fn only_a_status_of_its_own_proves_that_nothing_was_done() {
        let fault = |kind, status| Fault::of("x", kind).status(status).build();
        assert!(fault(FaultKind::Conflict, 409).nothing_was_done());
        assert!(fault(FaultKind::Unauthorized, 401).nothing_was_done());
        assert!(!fault(FaultKind::BadRequest, 408).nothing_was_done());
        assert!(!fault(FaultKind::Server, 503).nothing_was_done());
        assert!(!fault(FaultKind::Foreign, 200).nothing_was_done());
    }
}
