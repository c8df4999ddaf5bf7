//! The move of one server: states and transitions, as a pure function of what stands in the run's status and what Nova shows.
//!
//! ```text
//!            intent written         row appears          row says preparing, running
//!  Planned ───────────────▶ Queued ─────────────▶ Queued ───────────────▶ Running
//!     ▲  ▲                    │                      │ withdrawn            │ aborted
//!     │  └── Waiting ◀────────┴── refused, error, failed, cancelled ◀───────┤   (attempts left, server well)
//!     │                                                                     │
//!  Superseded ◀── gone, elsewhere, quarantine over                          ├──▶ Succeeded   three witnesses
//!  Refused    ◀── made by hand, and it must not begin                       ├──▶ Aborted     a person ended it
//!                                                                           └──▶ Failed      no attempts left, ERROR, record behind guest
//! ```
//!
//! A server that is shut off moves cold: Nova's record then goes to `finished`, Sidestep confirms it once the server was seen on its destination, and `confirmed` is the end.
//!
//! Invariants, each with a test:
//! - An attempt stands in status, with the highest migration id that Nova showed for the server, before its request goes out; it is never asked for twice. After a restart or a lost
//!   answer Nova's later record for that server and source is adopted.
//! - An attempt is given up as not received only after [`UNRESOLVED_AFTER`] and two reads, both begun after that, that show neither row nor action nor task.
//! - Success takes three witnesses: the row says completed (cold: confirmed), the server's host is another one, and a list of the source begun after the attempt was written does not contain it.
//! - The deadline of a move never counts the time in which Nova says `queued`.
//! - A server that an attempt left in ERROR is not tried again.
//! - A destination that refuses before anything was copied uses up no attempt, [`MOST_REFUSALS`] times at most; nor does anything while the [`Brake`] holds, [`MOST_PROBES`] times at most.
//! - Only a record of this attempt's own is confirmed or aborted.

mod attempt;
mod brake;
mod decide;
pub mod record;

pub use crate::api::run::SUPERSEDED;
pub use attempt::{Absence, ServerSight, find_row, has_free_probes, open_attempt, refusals, used_up};
pub use brake::{Brake, Held};
pub use decide::{Choice, Next, Observation, Run, Standing, Step, Wish, decide, is_due, is_finished, kind_of_move, unseen};

use std::time::Duration;

/// How long an attempt may stay without a trace in Nova before it counts as not received. A request that was accepted shows within seconds even on a loaded cloud.
pub const UNRESOLVED_AFTER: Duration = Duration::from_secs(60);
/// How many destinations may refuse a server before anything was copied without using up an attempt. The last of these requests names no host.
pub const MOST_REFUSALS: usize = 5;
/// How many requests of one server may fail while the brake holds without using up an attempt: so a server that fails for a reason of its own comes to its end, with Nova's words.
pub const MOST_PROBES: usize = 5;
/// The rate at which memory is copied before this drain has shown one, bytes a second.
pub const ASSUMED_RATE: u64 = 100 * 1024 * 1024;

/// The pause before attempt `number` (2 for the second).
#[must_use]
pub fn pause_before(number: u32) -> Duration {
    match number {
        0 | 1 => Duration::ZERO,
        2 => Duration::from_secs(15),
        _ => Duration::from_secs(60),
    }
}

/// How long a copy may take before it is aborted in favour of servers that wait: 60 s and four times what the memory needs at `rate` (bytes a second), at most a quarter of the drain's deadline.
#[must_use]
pub fn completion_timeout(memory_mib: u64, rate: Option<u64>, drain_deadline: Duration) -> Duration {
    let rate = rate.filter(|rate| *rate > 0).unwrap_or(ASSUMED_RATE);
    let millis = u128::from(memory_mib) * 1024 * 1024 * 4 * 1000 / u128::from(rate);
    let copy = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
    Duration::from_secs(60).saturating_add(copy).min(drain_deadline / 4)
}

/// The reason of a True Succeeded condition.
pub const LEFT_SOURCE: &str = "LeftSource";
/// The reason of a True Stalled condition of a run whose attempt is followed beyond its deadline.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_may_take_four_times_what_its_memory_needs() {
        let half_an_hour = Duration::from_secs(1800);
        assert_eq!(completion_timeout(4000, None, half_an_hour), Duration::from_secs(60 + 160));
        assert_eq!(completion_timeout(4000, Some(400 * 1024 * 1024), half_an_hour), Duration::from_secs(60 + 40));
        assert_eq!(completion_timeout(4000, Some(0), half_an_hour), Duration::from_secs(60 + 160));
        assert_eq!(completion_timeout(1_000_000, None, half_an_hour), Duration::from_secs(450), "a quarter of the drain's deadline");
        assert_eq!(completion_timeout(u64::MAX, Some(1), half_an_hour), Duration::from_secs(450));
    }
}
