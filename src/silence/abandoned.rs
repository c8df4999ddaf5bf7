//! Which nodes are gone for good, so that what is left of them may be deleted.
//!
//! Two things must come together: the Lease was written for the last time a day ago or earlier, by the API server's own stamp, and the node belongs to no host of any cloud although every cloud was
//! read. A host that Nova still has is silent, not gone, however long: somebody should look.

use jiff::{SignedDuration, Timestamp};

/// Whether a node is gone for good. `last_heard` is the API server's time of the last write to its Lease, or to its report where there is no Lease; `after` is how long ago that must be;
/// `is_nowhere` says that every cloud was read and none has a host for it.
#[must_use]
pub fn is_abandoned(last_heard: Option<Timestamp>, after: SignedDuration, now: Timestamp, is_nowhere: impl FnOnce() -> bool) -> bool {
    last_heard.is_some_and(|heard| now.duration_since(heard) >= after) && is_nowhere()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_gone_when_it_is_silent_for_a_day_and_belongs_nowhere() {
        let (heard, day) = (Timestamp::UNIX_EPOCH, SignedDuration::from_hours(24));
        let now = heard.checked_add(day).unwrap();
        let before = now.checked_sub(SignedDuration::from_secs(1)).unwrap();
        assert!(is_abandoned(Some(heard), day, now, || true));
        assert!(!is_abandoned(Some(heard), day, before, || true));
        assert!(!is_abandoned(Some(heard), day, now, || false), "its host is there: it is silent, not gone");
        assert!(!is_abandoned(None, day, now, || true), "nobody knows when it was heard last");
    }
}
