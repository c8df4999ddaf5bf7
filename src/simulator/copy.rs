//! The copy of a guest's memory in rounds, as QEMU's pre-copy does it: numbers in, numbers out.
//!
//! ```text
//! round 1: all of the memory; each next round: what was written meanwhile (never more than all);
//! when the rest can be sent within the longest pause, the guest is paused, the rest is sent, and the guest runs on the destination
//! ```
//!
//! The rates may change at any time (other copies start or end, a knob is turned): the caller settles the copy up to that moment first.

/// A MiB.
pub(crate) const MIB: f64 = 1_048_576.0;

/// Bytes of a guest's other memory blocks (video, firmware), as QEMU counted them for guests of every size.
pub(crate) const OTHER_BLOCKS: f64 = 794_624.0;

/// What the copy is allowed, in bytes and seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Bytes per second that reach the destination.
    pub(crate) send: f64,
    /// Bytes per second that the guest writes.
    pub(crate) dirty: f64,
    /// Longest pause, seconds.
    pub(crate) max_downtime: f64,
    /// Never lets it converge.
    pub(crate) hold: bool,
}

/// A copy under way.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    total: f64,
    left_in_round: f64,
    seconds_in_round: f64,
    processed: f64,
    last_round: bool,
}

/// What the end of a round led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoundEnd {
    /// Another round.
    Again,
    /// The guest is paused; the last round has begun.
    Pausing,
    /// The guest runs on the destination.
    Switched,
}

impl Copy {
    /// A copy of `memory_mb` of which nothing has been sent.
    pub(crate) fn new(memory_mb: f64) -> Self {
        let total = memory_mb.max(1.0) * MIB + OTHER_BLOCKS;
        Self { total, left_in_round: total, seconds_in_round: 0.0, processed: 0.0, last_round: false }
    }

    /// Lets `seconds` pass at `send` bytes per second.
    pub(crate) fn settle(&mut self, seconds: f64, send: f64) {
        let sent = (seconds * send).min(self.left_in_round);
        self.left_in_round -= sent;
        self.processed += sent;
        self.seconds_in_round += seconds;
        // Times are whole nanoseconds: the part of a byte that rounding leaves is not another event.
        if self.left_in_round < 1.0 {
            self.left_in_round = 0.0;
        }
    }

    /// Seconds until the round ends; `None` when nothing is sent. At least a millisecond, so that time always moves.
    pub(crate) fn seconds_to_round_end(&self, send: f64) -> Option<f64> {
        if self.left_in_round <= 0.0 {
            return Some((MIN_ROUND - self.seconds_in_round).max(0.0));
        }
        (send > 0.0).then(|| self.left_in_round / send)
    }

    /// Seconds until `share` of the memory has been sent; `None` when it never will at this rate.
    pub(crate) fn seconds_to_share(&self, share: f64, send: f64) -> Option<f64> {
        let missing = share * self.total - self.processed;
        if missing <= 0.0 {
            return Some(0.0);
        }
        (send > 0.0).then(|| missing / send)
    }

    /// Whether `share` of the memory has been sent (within what rounding of times leaves).
    pub(crate) fn has_sent(&self, share: f64) -> bool {
        self.processed + 1.0 >= share * self.total
    }

    /// Whether the current round is through.
    pub(crate) fn round_is_over(&self) -> bool {
        self.left_in_round <= 0.0 && self.seconds_in_round >= MIN_ROUND
    }

    /// Begins what follows a round that is through.
    pub(crate) fn end_round(&mut self, rates: Rates) -> RoundEnd {
        if self.last_round {
            return RoundEnd::Switched;
        }
        let written = if rates.hold { self.total } else { (rates.dirty * self.seconds_in_round).min(self.total) };
        self.left_in_round = written;
        self.seconds_in_round = 0.0;
        if rates.hold || written > rates.send * rates.max_downtime {
            return RoundEnd::Again;
        }
        self.last_round = true;
        RoundEnd::Pausing
    }

    /// The counters as the API shows them: total, processed, remaining, in bytes.
    pub(crate) fn counters(&self) -> (u64, u64, u64) {
        (bytes(self.total), bytes(self.processed), bytes(self.left_in_round))
    }
}

/// A round takes at least this long, seconds.
const MIN_ROUND: f64 = 0.001;

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes, never negative, far below 2^53")]
fn bytes(number: f64) -> u64 {
    number.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: Rates = Rates { send: 100.0 * MIB, dirty: 10.0 * MIB, max_downtime: 0.3, hold: false };

    fn run(copy: &mut Copy, rates: Rates, limit: usize) -> Option<f64> {
        let mut elapsed = 0.0;
        for _ in 0..limit {
            let seconds = copy.seconds_to_round_end(rates.send)?.max(MIN_ROUND);
            copy.settle(seconds, rates.send);
            elapsed += seconds;
            if copy.end_round(rates) == RoundEnd::Switched {
                return Some(elapsed);
            }
        }
        None
    }

    #[test]
    fn an_idle_guest_is_sent_once() {
        let mut copy = Copy::new(1000.0);
        let seconds = run(&mut copy, Rates { dirty: 0.0, ..RATES }, 10).unwrap();
        assert!((10.0..10.1).contains(&seconds), "{seconds}");
        assert_eq!(copy.counters().0, copy.counters().1);
    }

    #[test]
    fn a_writing_guest_is_sent_in_shrinking_rounds_and_more_than_once() {
        let mut copy = Copy::new(1000.0);
        let seconds = run(&mut copy, RATES, 10).unwrap();
        assert!((11.0..11.2).contains(&seconds), "10 s, then a tenth, then a tenth of that: {seconds}");
        assert!(copy.counters().1 > copy.counters().0);
    }

    #[test]
    fn a_guest_that_writes_faster_than_it_is_sent_never_arrives_and_neither_does_a_held_one() {
        assert_eq!(run(&mut Copy::new(100.0), Rates { dirty: 200.0 * MIB, ..RATES }, 1000), None);
        assert_eq!(run(&mut Copy::new(100.0), Rates { hold: true, ..RATES }, 1000), None);
    }

    #[test]
    fn the_total_is_the_flavor_s_memory_and_the_other_blocks() {
        assert_eq!(Copy::new(1536.0).counters().0, 1_611_407_360);
    }

    #[test]
    fn a_stalled_copy_has_no_end() {
        assert_eq!(Copy::new(1.0).seconds_to_round_end(0.0), None);
    }
}
