//! How far the node's clock is ahead of the API server's, as an interval that surely holds the true value.
//!
//! An answer is dated by the server between the moment when it was asked and the moment when the answer was there, both on the node's clock, and the date is cut to a whole second. So one exchange
//! bounds the offset within a second and the time of the exchange. What several exchanges have in common is narrower: each was cut at another part of its second. An earlier interval is
//! widened by what the two clocks may have drifted apart since; when nothing is in common a clock was set, and only the newest exchange counts.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::report::ClockReport;

/// What two clocks may drift apart, parts in a million: twice what an ordinary crystal does.
const DRIFT_PPM: i128 = 200;
/// The server cuts what is less than this from its date.
const RESOLUTION_MICROS: i128 = 1_000_000;

/// One request and its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// When it was asked, on the node's clock.
    pub(super) sent: Timestamp,
    /// When the answer was there, on the node's clock.
    pub(super) received: Timestamp,
    /// The answer's date, on the server's clock, in whole seconds.
    pub(super) dated: Timestamp,
}

/// What is known of the offset.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offset(Option<Known>);

#[derive(Clone, Copy, Debug)]
struct Known {
    /// The least and the greatest that it may be, microseconds.
    low: i128,
    high: i128,
    /// When it was measured, monotonic.
    at: Duration,
}

impl Offset {
    /// Takes one more exchange. `now` is monotonic.
    pub(super) fn note(&mut self, exchange: Exchange, now: Duration) {
        let micros = |time: Timestamp| i128::from(time.as_microsecond());
        let dated = micros(exchange.dated);
        let (low, high) = (micros(exchange.sent) - dated - RESOLUTION_MICROS, micros(exchange.received) - dated);
        // The node's clock was set while the answer was on its way.
        if low > high {
            return;
        }
        let common = self.0.and_then(|known| known.drifted(now).common(low, high));
        let (low, high) = common.unwrap_or((low, high));
        self.0 = Some(Known { low, high, at: now });
    }

    /// As it stands in a report; absent before the first exchange.
    pub(super) fn report(&self) -> Option<ClockReport> {
        let Known { low, high, .. } = self.0?;
        let offset_millis = i64::try_from((low + high).div_euclid(2_000)).ok()?;
        // The bound holds for the rounded offset too.
        let bound_millis = i64::try_from((high - low).div_euclid(2_000) + 2).ok()?;
        Some(ClockReport { offset_millis, bound_millis })
    }
}

impl Known {
    fn drifted(self, now: Duration) -> Self {
        let elapsed = i128::try_from(now.saturating_sub(self.at).as_micros()).unwrap_or(i128::MAX / DRIFT_PPM);
        let drift = elapsed * DRIFT_PPM / 1_000_000;
        Self { low: self.low - drift, high: self.high + drift, at: now }
    }

    fn common(self, low: i128, high: i128) -> Option<(i128, i128)> {
        let (low, high) = (self.low.max(low), self.high.min(high));
        (low <= high).then_some((low, high))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEN_SECONDS: u64 = 10_000_000;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_microsecond(1_800_000_000_000_000 + micros).unwrap()
    }

    /// An exchange that begins at this server time, takes so long, is dated after a part of it, with the node's clock ahead by so much. Microseconds.
    fn exchange(server: i64, took: i64, dated_after: i64, ahead: i64) -> Exchange {
        let dated = Timestamp::from_second(at(server + dated_after).as_second()).unwrap();
        Exchange { sent: at(server + ahead), received: at(server + took + ahead), dated }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_is_said_before_anything_was_measured() {
        assert_eq!(Offset::default().report(), None);
    }

    #[test]
    fn one_exchange_bounds_the_offset_within_a_second() {
        let mut offset = Offset::default();
        offset.note(exchange(400_000, 10_000, 5_000, 3_600_000_000), seconds(1));
        let report = offset.report().unwrap();
        assert!((report.offset_millis - 3_600_000).abs() <= report.bound_millis, "{report:?}");
        assert!((500..=510).contains(&report.bound_millis), "{report:?}");
    }

    #[test]
    fn many_exchanges_at_other_parts_of_the_second_tell_more() {
        let mut offset = Offset::default();
        for beat in 0..60_u64 {
            let begun = beat * TEN_SECONDS + beat * 618_034 % 1_000_000;
            offset.note(exchange(begun as i64, 4_000, 2_000, -25_000), Duration::from_micros(begun));
        }
        let report = offset.report().unwrap();
        assert!((report.offset_millis + 25).abs() <= report.bound_millis, "{report:?}");
        assert!(report.bound_millis < 100, "{report:?}");
    }

    #[test]
    fn a_clock_that_is_set_is_measured_anew() {
        let mut offset = Offset::default();
        offset.note(exchange(0, 1_000, 500, 0), seconds(0));
        offset.note(exchange(TEN_SECONDS as i64, 1_000, 500, 7_200_000_000), seconds(10));
        let report = offset.report().unwrap();
        assert!((report.offset_millis - 7_200_000).abs() <= report.bound_millis, "{report:?}");
    }

    #[test]
    fn an_answer_during_which_the_clock_was_set_back_tells_nothing() {
        let mut offset = Offset::default();
        offset.note(Exchange { sent: at(0), received: at(-5_000_000), dated: at(0) }, seconds(0));
        assert_eq!(offset.report(), None);
    }

    proptest! {
        #[test]
        fn the_true_offset_is_always_within_the_bound(ahead in -10_000_000_i64..10_000_000, drift_ppm in -150_i64..150,
            exchanges in prop::collection::vec((0_i64..2_000_000, 0_i64..1_000_000, 0_i64..=100), 1..80)) {
            let mut offset = Offset::default();
            let mut server = 0;
            for (pause, took, percent) in exchanges {
                server += 9_000_000 + pause;
                let drifted = |time: i64| ahead + time * drift_ppm / 1_000_000;
                let Exchange { dated, .. } = exchange(server, took, took * percent / 100, 0);
                let exchange = Exchange { sent: at(server + drifted(server)), received: at(server + took + drifted(server + took)), dated };
                offset.note(exchange, Duration::from_micros((server + took) as u64));
                let report = offset.report().unwrap();
                let truth = drifted(server + took) / 1_000;
                prop_assert!((report.offset_millis - truth).abs() <= report.bound_millis, "{report:?}, truth {truth} ms");
            }
        }
    }
}
