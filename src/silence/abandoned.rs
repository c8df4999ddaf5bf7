//! Which nodes are gone for good, so that what is left of them may be deleted.
//!
//! Two things must come together: the Lease was written for the last time a day ago or earlier, by the API server's own stamp, and the node belongs to no host of any cloud although every cloud was
//! read. A host that Nova still has is silent, not gone, however long: somebody should look.

use std::time::Duration;

use jiff::Timestamp;

/// A Lease that was last written this long ago is one that nobody renews any more.
pub const ABANDONED_AFTER: Duration = Duration::from_secs(86_400);

/// Whether a node is gone for good. `last_heard` is the API server's time of the last write to its Lease, or to its report where there is no Lease; `is_nowhere` says that every cloud was read and
/// none has a host for it.
#[must_use]
pub fn is_abandoned(last_heard: Option<Timestamp>, is_nowhere: bool, now: Timestamp) -> bool {
    is_nowhere && last_heard.is_some_and(|heard| now.duration_since(heard) >= ABANDONED_AFTER.try_into().unwrap_or(jiff::SignedDuration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_gone_when_it_is_silent_for_a_day_and_belongs_nowhere() {
        let heard = Timestamp::from_second(1_800_000_000).unwrap();
        let day = heard.checked_add(ABANDONED_AFTER).unwrap();
        let before = Timestamp::from_second(day.as_second() - 1).unwrap();
        assert!(is_abandoned(Some(heard), true, day));
        assert!(!is_abandoned(Some(heard), true, before));
        assert!(!is_abandoned(Some(heard), false, day), "its host is there: it is silent, not gone");
        assert!(!is_abandoned(None, true, day), "nobody knows when it was heard last");
    }
}
