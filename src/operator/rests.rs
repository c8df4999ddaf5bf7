//! For which quarantines nothing is due, so that neither our own writes nor the looks of a poller have them looked at again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For how long nothing is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// So long, unless something changes that the object depends on.
    For(Duration),
    /// Until the object itself changes, whatever else does: it was given back, or refused for good.
    UntilItChanges,
}

/// By UID: what rests, and how often each object was woken.
#[derive(Debug, Default)]
pub(super) struct Rests(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The resourceVersion that rests, and until when (monotonic); absent where it rests until it changes.
    rests: HashMap<String, (String, Option<Duration>)>,
    wakes: HashMap<String, u64>,
}

impl Rests {
    /// Notes that nothing is due for an object in this version. Not for a while when it was woken since its look began (`wakes`): then something may be due.
    pub(super) fn begin(&self, uid: &str, resource_version: String, rest: Rest, wakes: u64, now: Duration) {
        let mut known = self.lock();
        let until = match rest {
            Rest::For(_) if known.wakes.get(uid).copied().unwrap_or_default() != wakes => return,
            Rest::For(pause) => Some(now.saturating_add(pause)),
            Rest::UntilItChanges => None,
        };
        known.rests.insert(uid.to_owned(), (resource_version, until));
    }

    /// What is left of the rest of the object in this version; absent when something is due, or when the version is another one.
    pub(super) fn left(&self, uid: &str, resource_version: &str, now: Duration) -> Option<Rest> {
        let known = self.lock();
        let (_, until) = known.rests.get(uid).filter(|(version, _)| version == resource_version)?;
        match until {
            None => Some(Rest::UntilItChanges),
            Some(until) => until.checked_sub(now).filter(|left| !left.is_zero()).map(Rest::For),
        }
    }

    /// Something that the object depends on has changed.
    pub(super) fn wake(&self, uid: &str) {
        let mut known = self.lock();
        if known.rests.get(uid).is_some_and(|(_, until)| until.is_some()) {
            known.rests.remove(uid);
        }
        *known.wakes.entry(uid.to_owned()).or_default() += 1;
    }

    /// How often the object was woken.
    pub(super) fn wakes(&self, uid: &str) -> u64 {
        self.lock().wakes.get(uid).copied().unwrap_or_default()
    }

    pub(super) fn forget(&self, uid: &str) {
        let mut known = self.lock();
        known.rests.remove(uid);
        known.wakes.remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(30);

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn an_object_rests_until_its_time_has_come_or_it_changes_or_is_woken() {
        let rests = Rests::default();
        rests.begin("u", "7".into(), Rest::For(PAUSE), 0, at(0));
        assert_eq!(rests.left("u", "7", at(10)), Some(Rest::For(at(20))));
        assert_eq!((rests.left("u", "8", at(10)), rests.left("u", "7", at(30))), (None, None));
        rests.wake("u");
        assert_eq!(rests.left("u", "7", at(10)), None);
        rests.begin("u", "7".into(), Rest::For(PAUSE), 0, at(10));
        assert_eq!(rests.left("u", "7", at(11)), None, "woken since its look began");
        rests.begin("u", "7".into(), Rest::For(PAUSE), rests.wakes("u"), at(10));
        assert_eq!(rests.left("u", "7", at(11)), Some(Rest::For(at(29))));
    }

    #[test]
    fn what_has_ended_is_woken_by_nothing_but_its_own_change() {
        let rests = Rests::default();
        rests.wake("u");
        rests.begin("u", "7".into(), Rest::UntilItChanges, 0, at(0));
        rests.wake("u");
        assert_eq!(rests.left("u", "7", at(1_000_000)), Some(Rest::UntilItChanges));
        assert_eq!(rests.left("u", "8", at(0)), None);
        rests.forget("u");
        assert_eq!(rests.left("u", "7", at(0)), None);
    }
}
