//! The move of one server: states and transitions, as a pure function of what stands in the run's status and what Nova shows.
//!
//! ```text
//!            intent written         row appears          row says preparing, running
//!  Planned ───────────────▶ Queued ─────────────▶ Queued ───────────────▶ Running
//!     ▲  ▲                    │                      │                      │
//!     │  └── Waiting ◀────────┴── refused, error, failed, cancelled ◀───────┤   (attempts left, server well)
//!     │                                                                     │
//!  Superseded ◀── gone, elsewhere, quarantine over                          ├──▶ Succeeded   three witnesses
//!                                                                           └──▶ Failed      no attempts left, ERROR, record behind guest
//! ```
//!
//! Invariants, each with a test:
//! - An attempt stands in status, with the highest migration id that Nova showed for the server, before its request goes out; it is never asked for twice. After a restart or a lost
//!   answer Nova's later record for that server and source is adopted.
//! - An attempt is given up as not received only after [`UNRESOLVED_AFTER`] and two reads, both begun after that, that show neither row nor action nor task.
//! - Success takes three witnesses: the row says completed, the server's host is another one, and a list of the source begun after the attempt was written does not contain it.
//! - The deadline of a move never counts the time in which Nova says `queued`.
//! - A server that an attempt left in ERROR is not tried again.

mod attempt;
mod decide;
pub mod record;

pub use crate::api::run::SUPERSEDED;
pub use attempt::{Absence, ServerSight, find_row, open_attempt};
pub use decide::{Next, Observation, Run, Standing, Step, decide, is_finished, is_movable};

use std::time::Duration;

/// How long an attempt may stay without a trace in Nova before it counts as not received. A request that was accepted shows within seconds even on a loaded cloud.
pub const UNRESOLVED_AFTER: Duration = Duration::from_secs(60);

/// The pause before attempt `number` (2 for the second).
#[must_use]
pub fn pause_before(number: u32) -> Duration {
    match number {
        0 | 1 => Duration::ZERO,
        2 => Duration::from_secs(15),
        _ => Duration::from_secs(60),
    }
}

/// The reason of a True Succeeded condition.
pub const LEFT_SOURCE: &str = "LeftSource";
/// The reason of a True Stalled condition of a run whose attempt is followed beyond its deadline.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
