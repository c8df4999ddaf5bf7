//! The measured figures of a move, each with its witness and its bound.
//!
//! - `durationMillis`: from Nova accepting the request until Nova showed that the source held nothing of the server. Nova accepts somewhere between the written intent and its answer, and the
//!   end lies between two looks; so the length from the intent to the look that showed the end is an upper bound (`AtMost`).
//! - `queuedMillis`: from the same beginning until the operator first saw the row past `queued` (`AtMost`); absent when the first look found the row already ended.
//! - `transferredBytes`: Nova's counters, samples of every few seconds of which the last may be missing: `AtLeast`. Nova's zeros in the first seconds are no measurement.
//! - Downtime is absent: Nova does not measure it.

use jiff::Timestamp;

use crate::api::run::{Attempt, Measured, TransferredBytes};
use crate::api::units::{Bound, Witness};
use crate::inventory::MigrationProgress;

/// The name under which a figure's witness and bound stand.
const DURATION: &str = "durationMillis";
const QUEUED: &str = "queuedMillis";
const TRANSFERRED: &str = "transferredBytes";

/// Adds what a sample of the byte counters says; the highest sample of each counter stays.
#[must_use]
pub fn with_sample(measured: Option<Measured>, sample: &MigrationProgress) -> Option<Measured> {
    let before = measured.as_ref().and_then(|figures| figures.transferred_bytes).unwrap_or_default();
    let bytes = TransferredBytes { memory: higher(before.memory, sample.memory_processed), disk: higher(before.disk, sample.disk_processed) };
    if bytes.memory.is_none() && bytes.disk.is_none() {
        return measured;
    }
    let mut figures = measured.unwrap_or_default();
    figures.transferred_bytes = Some(bytes);
    witness(&mut figures, TRANSFERRED, Bound::AtLeast);
    Some(figures)
}

/// Seals the figures of an attempt that succeeded and whose end was seen at `ended_at`.
#[must_use]
pub fn sealed(measured: Option<Measured>, attempt: &Attempt, ended_at: Timestamp) -> Measured {
    let mut figures = measured.unwrap_or_default();
    let began = attempt.intent_at.0;
    if let Some(millis) = millis_between(began, ended_at) {
        figures.duration_millis = Some(millis);
        // Rounded up, so that an upper bound stays one.
        figures.duration_seconds = Some(millis.saturating_add(999) / 1000);
        witness(&mut figures, DURATION, Bound::AtMost);
    }
    if let Some(millis) = attempt.copying_at.as_ref().and_then(|copying| millis_between(began, copying.0)) {
        figures.queued_millis = Some(millis);
        witness(&mut figures, QUEUED, Bound::AtMost);
    }
    figures
}

/// What an attempt without success leaves: nothing, so that figures of a failed copy never stand for the move.
#[must_use]
pub fn discarded() -> Option<Measured> {
    None
}

fn witness(figures: &mut Measured, name: &str, bound: Bound) {
    figures.witnesses.insert(name.to_owned(), Witness::Nova);
    figures.bounds.insert(name.to_owned(), bound);
}

fn higher(before: Option<i64>, sample: Option<u64>) -> Option<i64> {
    let now = sample.filter(|bytes| *bytes > 0).and_then(|bytes| i64::try_from(bytes).ok());
    before.max(now)
}

fn millis_between(from: Timestamp, to: Timestamp) -> Option<i64> {
    // A clock that was stepped back makes a negative length, which is no measurement.
    i64::try_from(to.duration_since(from).as_millis()).ok().filter(|millis| *millis >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::decide::fixtures::{at, attempt, micro};

    #[test]
    fn zeros_and_missing_counters_are_no_measurement() {
        assert_eq!(with_sample(None, &MigrationProgress::default()), None);
        let zeros = MigrationProgress { memory_processed: Some(0), disk_processed: Some(0), ..MigrationProgress::default() };
        assert_eq!(with_sample(None, &zeros), None);
    }

    #[test]
    fn the_highest_sample_stays_and_is_a_lower_bound() {
        let sample = |bytes| MigrationProgress { memory_processed: Some(bytes), ..MigrationProgress::default() };
        let figures = with_sample(with_sample(None, &sample(500)), &sample(300)).unwrap();
        assert_eq!(figures.transferred_bytes.unwrap().memory, Some(500));
        assert_eq!(figures.transferred_bytes.unwrap().disk, None);
        assert_eq!(figures.bounds[TRANSFERRED], Bound::AtLeast);
    }

    #[test]
    fn the_duration_is_bounded_from_the_intent_on_and_includes_the_queue() {
        let mut done = attempt(1);
        done.intent_at = micro(10);
        done.started_at = Some(micro(11));
        done.copying_at = Some(micro(14));
        let figures = sealed(None, &done, at(20));
        assert_eq!((figures.duration_millis, figures.duration_seconds), (Some(10_000), Some(10)));
        assert_eq!(figures.queued_millis, Some(4_000));
        assert_eq!(figures.bounds[DURATION], Bound::AtMost);
        assert_eq!(figures.witnesses[QUEUED], Witness::Nova);
    }

    #[test]
    fn a_figure_that_nobody_measured_is_absent() {
        let figures = sealed(None, &attempt(1), at(20));
        assert_eq!(figures.queued_millis, None);
        assert_eq!(figures.transferred_bytes, None);
        assert!(!figures.witnesses.contains_key(QUEUED));
    }

    #[test]
    fn a_clock_that_went_back_gives_no_duration() {
        let mut done = attempt(1);
        done.intent_at = micro(30);
        assert_eq!(sealed(None, &done, at(20)).duration_millis, None);
    }
}
