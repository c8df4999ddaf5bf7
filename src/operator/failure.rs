//! Why a reconcile did not finish, and when it is tried again.

use std::time::Duration;

use kube::runtime::controller::Action;

use crate::kubernetes::status::StatusError;
use crate::openstack::Fault;

/// A reconcile that did not finish.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The status could not be written.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// An object could not be made or changed.
    #[error("cannot {what}")]
    Kubernetes {
        /// What was tried.
        what: String,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// The cloud refused a write or could not be reached.
    #[error(transparent)]
    Cloud(#[from] Fault),
}

impl Failure {
    /// A write of an object that failed.
    pub(super) fn kubernetes(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Kubernetes { what, source: Box::new(source) }
    }

    /// When to try again: at once where the object only changed under our hands, after a pause otherwise. `quiet` says that the same was logged a moment ago: while the API server is away each look of
    /// a poller brings another try.
    pub(super) fn retry(&self, kind: &str, name: &str, quiet: bool) -> Action {
        if matches!(self, Self::Status(StatusError::Conflict { .. })) {
            tracing::debug!(kind, name, "The object changed while it was looked at; looking again.");
            return Action::requeue(Duration::from_millis(50));
        }
        if quiet {
            tracing::debug!(kind, name, error = %chain(self), "A reconcile did not finish again.");
        } else {
            tracing::warn!(kind, name, error = %chain(self), "A reconcile did not finish and is tried again.");
        }
        Action::requeue(Duration::from_secs(2))
    }
}

/// An error with all its sources, on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
