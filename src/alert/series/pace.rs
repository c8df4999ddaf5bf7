//! How often HostAlerts are written: a series' first events at once, later ones at most once a second, and a bound for the whole node.

use std::time::Duration;

const BURST_WRITES: u32 = 8;
const BURST_LENGTH: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(1);
const NODE_WRITES_PER_SECOND: f64 = 20.0;

/// The writes of one slot's present series.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    burst: Option<(Duration, u32)>,
    last: Option<Duration>,
}

impl Pace {
    /// When the next write may go out, in monotonic time.
    #[must_use]
    pub fn next(&self, now: Duration) -> Duration {
        let in_burst = self.burst.is_none_or(|(start, writes)| writes < BURST_WRITES && now < start + BURST_LENGTH);
        match self.last {
            Some(last) if !in_burst => last + INTERVAL,
            _ => now,
        }
    }

    /// Counts a write.
    pub fn written(&mut self, now: Duration) {
        let (start, writes) = self.burst.unwrap_or((now, 0));
        self.burst = Some((start, writes + 1));
        self.last = Some(now);
    }

    /// When the last write went out.
    #[must_use]
    pub fn last(&self) -> Option<Duration> {
        self.last
    }

    /// A new series begins in the slot.
    pub fn restart(&mut self) {
        self.burst = None;
    }
}

/// The writes of the whole node: a bucket of 20 that fills at 20 a second.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodePace {
    writes: f64,
    at: Duration,
}

impl NodePace {
    pub(super) fn full() -> Self {
        Self { writes: NODE_WRITES_PER_SECOND, at: Duration::ZERO }
    }

    fn level(&self, now: Duration) -> f64 {
        let grown = now.saturating_sub(self.at).as_secs_f64() * NODE_WRITES_PER_SECOND;
        (self.writes + grown).min(NODE_WRITES_PER_SECOND)
    }

    /// When the next write may go out.
    pub(super) fn next(&self, now: Duration) -> Duration {
        let missing = (1.0 - self.level(now)).max(0.0);
        // A microsecond more, so that rounding cannot make the caller come a moment too early.
        if missing > 0.0 { now + Duration::from_secs_f64(missing / NODE_WRITES_PER_SECOND) + Duration::from_micros(1) } else { now }
    }

    pub(super) fn written(&mut self, now: Duration) {
        self.writes = (self.level(now) - 1.0).max(0.0);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_writes_within_ten_seconds_go_out_at_once_then_one_a_second() {
        let mut pace = Pace::default();
        for millis in 0..8 {
            let now = Duration::from_millis(millis);
            assert_eq!(pace.next(now), now);
            pace.written(now);
        }
        assert_eq!(pace.next(Duration::from_millis(8)), Duration::from_millis(1007));
    }

    #[test]
    fn after_ten_seconds_the_burst_is_over() {
        let mut pace = Pace::default();
        pace.written(Duration::ZERO);
        let later = Duration::from_secs(11);
        pace.written(later);
        assert_eq!(pace.next(later), later + INTERVAL);
        assert_eq!(pace.next(later + INTERVAL * 5), later + INTERVAL);
    }

    #[test]
    fn a_node_writes_twenty_at_once_and_twenty_a_second() {
        let mut pace = NodePace::full();
        let now = Duration::from_secs(100);
        for _ in 0..20 {
            assert_eq!(pace.next(now), now);
            pace.written(now);
        }
        let next = pace.next(now);
        assert!(next > now && next < now + Duration::from_millis(51), "{next:?}");
        assert_eq!(pace.next(next), next);
    }
}
