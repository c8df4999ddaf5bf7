//! Alerts that are too old to act on when the operator begins: written while nobody decided, or from a backlog. One Event per host, however many series.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// The hosts that were told of since this process began.
#[derive(Debug)]
pub(super) struct StaleAtStart {
    began: Timestamp,
    told: Mutex<BTreeSet<String>>,
}

/// What is to be said about a stale series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// The same as of every other decision: it came while the operator ran.
    AsUsual,
    /// That there are stale series on its host.
    OfTheHost,
    /// Nothing: its host was told of.
    Nothing,
}

impl StaleAtStart {
    /// From this moment on.
    pub(super) fn since(began: Timestamp) -> Self {
        Self { began, told: Mutex::default() }
    }

    /// What is to be said of a stale series on this node that was last written at that time.
    pub(super) fn telling(&self, node: &str, written: Option<Timestamp>) -> Telling {
        if written.is_none_or(|written| written >= self.began) {
            return Telling::AsUsual;
        }
        let first = self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned());
        if first { Telling::OfTheHost } else { Telling::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_before_the_start_is_told_once_per_host() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let stale = StaleAtStart::since(at(100));
        assert_eq!(stale.telling("a", Some(at(50))), Telling::OfTheHost);
        assert_eq!(stale.telling("a", Some(at(60))), Telling::Nothing);
        assert_eq!(stale.telling("b", Some(at(60))), Telling::OfTheHost);
        assert_eq!(stale.telling("a", Some(at(100))), Telling::AsUsual);
        assert_eq!(stale.telling("a", None), Telling::AsUsual);
    }
}
