//! What the operator stands on: the admission policies that tie sentinels to their nodes and keep people's acts to people, and the kinds as the API server serves them.
//!
//! Both are compared with what this program was built with, at start and at each change. While a policy is missing or differs, an alert may be forged by any host, so decisions are recorded only
//! (IdentityUnenforced). While a kind lacks a field that this program knows, the API server would drop it in silence, so decisions are recorded only as well (CRDOutdated). Neither stops what was
//! accepted before.

mod demand;
mod report;
mod schema;
mod watch;

use crate::api::condition::shorten;

pub(super) use demand::REVISION;
pub(super) use report::{conditions, tell};
pub(super) use watch::follow;

/// At most so many differences are named.
const NAMED_MAX: usize = 8;
/// The longest sentence, characters.
const SENTENCE_MAX_CHARS: usize = 700;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Grounds {
    identity: Finding,
    kinds: Finding,
}

/// One comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing was read yet.
    #[default]
    NotRead,
    /// All as it should be.
    Fits,
    /// What is missing or differs.
    Lacks(Vec<String>),
}

impl Finding {
    fn of(lacks: Vec<String>) -> Self {
        if lacks.is_empty() { Self::Fits } else { Self::Lacks(lacks) }
    }
}

impl Grounds {
    /// Why sentinels' words cannot be trusted to be about their own nodes, if so.
    pub(super) fn unenforced(&self) -> Option<String> {
        match &self.identity {
            Finding::Fits => None,
            Finding::NotRead => Some("the admission policies that tie sentinels to their nodes were not read yet".to_owned()),
            Finding::Lacks(lacks) => Some(format!(
                "sentinels are not tied to their nodes, so any of them may forge alerts of others: {}. Install the chart of this version ({}) again",
                list(lacks),
                env!("CARGO_PKG_VERSION")
            )),
        }
    }

    /// Why the kinds that the API server serves are too old for this program, if so.
    pub(super) fn outdated(&self) -> Option<String> {
        match &self.kinds {
            Finding::Fits => None,
            Finding::NotRead => Some("the kinds that the API server serves were not read yet".to_owned()),
            Finding::Lacks(lacks) => Some(format!(
                "the API server drops these fields, which this version writes or reads, in silence: {}. Upgrade the chart sidestep-crds to this version ({})",
                list(lacks),
                env!("CARGO_PKG_VERSION")
            )),
        }
    }

    /// Whether both comparisons were made.
    fn is_known(&self) -> bool {
        self.identity != Finding::NotRead && self.kinds != Finding::NotRead
    }

    /// Says in the log what is wrong, or that nothing is.
    pub(super) fn log(&self) {
        if !self.is_known() {
            return;
        }
        if let Some(why) = self.unenforced() {
            tracing::error!(why, "Sentinels are not tied to their nodes; alerts are recorded only.");
        }
        if let Some(why) = self.outdated() {
            tracing::error!(why, "The kinds are older than this program; alerts are recorded only.");
        }
        if self.unenforced().is_none() && self.outdated().is_none() {
            tracing::info!("The admission policies and the kinds are those of this version.");
        }
    }
}

fn list(lacks: &[String]) -> String {
    let named = lacks.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
    let more = lacks.len().saturating_sub(NAMED_MAX);
    let text = if more == 0 { named } else { format!("{named}; and {more} more") };
    shorten(text, SENTENCE_MAX_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_trusted_before_it_was_read() {
        let grounds = Grounds::default();
        assert!(grounds.unenforced().is_some() && grounds.outdated().is_some() && !grounds.is_known());
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let lacks: Vec<String> = (0..20).map(|number| format!("Kind.spec.field{number}")).collect();
        let grounds = Grounds { identity: Finding::Fits, kinds: Finding::of(lacks) };
        let sentence = grounds.outdated().unwrap();
        assert!(sentence.contains("Kind.spec.field0; ") && sentence.contains("and 12 more") && sentence.contains("sidestep-crds"), "{sentence}");
        assert_eq!(grounds.unenforced(), None);
    }
}
