//! How long nothing was heard of each sentinel, by the operator's own clock.
//!
//! The operator looks at the Leases every few seconds and notes when it first saw each in its present state. What a Lease itself says about time is never read: the node's clock may be wrong, or
//! in an attacker's hand.
//!
//! Time counts only while the operator watches. A look that was not answered, or that came late because the operator or its machine stood still, begins the watch anew: a Lease that could not be
//! renewed, because the API server was away for everybody, is then no silence, and nobody is judged before one full interval was watched.

use std::collections::BTreeMap;
use std::time::Duration;

/// What was seen of the Leases. Times are monotonic.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats {
    /// Since when every look was answered, and in time.
    watched_since: Option<Duration>,
    last_look: Duration,
    seen: BTreeMap<String, Seen>,
    /// Since when each sentinel says that a sensor is dead.
    dead: BTreeMap<String, Duration>,
}

#[derive(Clone, Debug)]
struct Seen {
    state: String,
    changed: Duration,
    /// From when silence counts, where that is later than the change.
    counted_from: Duration,
}

impl Heartbeats {
    /// The Leases as they are: a node's name and whatever changes with each renewal. A look that comes more than `longest_pause` after the one before begins the watch anew.
    pub fn saw(&mut self, now: Duration, longest_pause: Duration, leases: impl IntoIterator<Item = (String, String)>) {
        if now.saturating_sub(self.last_look) > longest_pause {
            self.watched_since = None;
        }
        self.last_look = now;
        self.watched_since.get_or_insert(now);
        for (node, state) in leases {
            match self.seen.get_mut(&node) {
                Some(seen) if seen.state == state => {}
                _ => {
                    self.seen.insert(node, Seen { state, changed: now, counted_from: now });
                }
            }
        }
    }

    /// A look was not answered.
    pub fn missed(&mut self) {
        self.watched_since = None;
    }

    /// Forgets the nodes that are not worth remembering.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.seen.retain(|node, _| keep(node));
        self.dead.retain(|node, _| keep(node));
    }

    /// Notes whether a sentinel says that a sensor is dead, and tells for how long it has been saying so.
    pub fn dead(&mut self, node: &str, is_dead: bool, now: Duration) -> Option<Duration> {
        if !is_dead {
            self.dead.remove(node);
            return None;
        }
        let since = *self.dead.entry(node.to_owned()).or_insert(now);
        Some(now.saturating_sub(since))
    }

    /// Lets the silence of a node count from now on only.
    pub fn begin_anew(&mut self, node: &str, now: Duration) {
        let seen = self.seen.entry(node.to_owned()).or_insert(Seen { state: String::new(), changed: now, counted_from: now });
        seen.counted_from = now;
        self.dead.remove(node);
    }

    /// How long nothing was heard of this node while the operator watched; nothing when it does not watch at the moment. A node without a Lease was not heard since the watch began.
    #[must_use]
    pub fn unheard(&self, node: &str, now: Duration) -> Option<Duration> {
        let watched = self.watched_since?;
        let counted = self.seen.get(node).map_or(watched, |seen| seen.counted_from.max(watched));
        Some(now.saturating_sub(counted))
    }

    /// Whether a renewal of this node was seen since the watch began.
    #[must_use]
    pub fn was_heard(&self, node: &str) -> bool {
        self.watched_since.zip(self.seen.get(node)).is_some_and(|(watched, seen)| seen.changed > watched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(15);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Looks every 5 s from `from` to `to`; the node renews as often as `renewed` says.
    fn watch(heartbeats: &mut Heartbeats, from: u64, to: u64, renewed: impl Fn(u64) -> u64) {
        for second in (from..=to).step_by(5) {
            heartbeats.saw(at(second), PAUSE, [("n1".to_owned(), renewed(second).to_string())]);
        }
    }

    #[test]
    fn a_lease_that_does_not_change_is_unheard_for_as_long_as_it_was_watched() {
        let mut heartbeats = Heartbeats::default();
        assert_eq!(heartbeats.unheard("n1", at(0)), None, "nothing was watched yet");
        watch(&mut heartbeats, 100, 140, |_| 1);
        assert_eq!(heartbeats.unheard("n1", at(140)), Some(at(40)));
        assert!(!heartbeats.was_heard("n1"), "it may have been dead for long before the watch began");
        watch(&mut heartbeats, 145, 145, |_| 2);
        assert_eq!(heartbeats.unheard("n1", at(145)), Some(at(0)));
        assert!(heartbeats.was_heard("n1"));
    }

    #[test]
    fn a_node_without_a_lease_is_unheard_since_the_watch_began() {
        let mut heartbeats = Heartbeats::default();
        watch(&mut heartbeats, 100, 130, |_| 1);
        assert_eq!(heartbeats.unheard("n2", at(130)), Some(at(30)));
    }

    #[test]
    fn a_lease_that_is_deleted_is_not_heard_by_that() {
        let mut heartbeats = Heartbeats::default();
        watch(&mut heartbeats, 100, 110, |_| 1);
        heartbeats.saw(at(115), PAUSE, []);
        assert_eq!(heartbeats.unheard("n1", at(115)), Some(at(15)));
    }

    #[test]
    fn a_look_that_is_not_answered_begins_the_watch_anew() {
        let mut heartbeats = Heartbeats::default();
        watch(&mut heartbeats, 100, 135, |_| 1);
        heartbeats.missed();
        assert_eq!(heartbeats.unheard("n1", at(140)), None);
        watch(&mut heartbeats, 225, 260, |_| 1);
        assert_eq!(heartbeats.unheard("n1", at(260)), Some(at(35)), "the 90 s without an API server do not count");
    }

    #[test]
    fn an_operator_that_stood_still_begins_the_watch_anew() {
        let mut heartbeats = Heartbeats::default();
        watch(&mut heartbeats, 100, 105, |_| 1);
        watch(&mut heartbeats, 705, 710, |_| 1);
        assert_eq!(heartbeats.unheard("n1", at(710)), Some(at(5)));
    }

    #[test]
    fn a_silence_can_be_made_to_count_from_later_on() {
        let mut heartbeats = Heartbeats::default();
        watch(&mut heartbeats, 100, 200, |_| 1);
        heartbeats.begin_anew("n1", at(200));
        heartbeats.begin_anew("n2", at(200));
        watch(&mut heartbeats, 205, 210, |_| 1);
        assert_eq!((heartbeats.unheard("n1", at(210)), heartbeats.unheard("n2", at(210))), (Some(at(10)), Some(at(10))));
    }

    #[test]
    fn a_sensor_is_dead_since_its_sentinel_first_said_so() {
        let mut heartbeats = Heartbeats::default();
        assert_eq!(heartbeats.dead("n1", true, at(100)), Some(at(0)));
        assert_eq!(heartbeats.dead("n1", true, at(107)), Some(at(7)));
        assert_eq!(heartbeats.dead("n1", false, at(108)), None);
        assert_eq!(heartbeats.dead("n1", true, at(109)), Some(at(0)));
    }

    #[test]
    fn what_is_not_worth_remembering_is_forgotten() {
        let mut heartbeats = Heartbeats::default();
        watch(&mut heartbeats, 100, 200, |_| 1);
        heartbeats.retain(|node| node != "n1");
        assert!(heartbeats.seen.is_empty());
    }
}
