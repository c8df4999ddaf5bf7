//! What a gate answers.

use crate::api::condition::ANOTHER_ACTIVE;

/// The answer of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Nothing stands against it.
    Pass,
    /// No, and why.
    Refuse {
        /// One PascalCase word for the condition; stable.
        reason: &'static str,
        /// A sentence that names the input, the figure and the remedy.
        message: String,
    },
}

impl Verdict {
    /// The sentence of a refusal.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Pass => None,
            Self::Refuse { message, .. } => Some(message),
        }
    }

    /// Whether asking again can change nothing: the host is taken by another quarantine, and a new object is needed once that one is released.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refuse { reason, .. } if *reason == ANOTHER_ACTIVE)
    }

    /// This verdict, or the next one's where this one passes.
    pub fn and_then(self, next: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Pass => next(),
            refused @ Self::Refuse { .. } => refused,
        }
    }
}
