//! One incident: the states and transitions of a HostQuarantine, as a pure function of its spec, its status and what was seen.
//!
//! ```text
//!            gates say no            service disabled,      servers listed,
//!  Refused ◀──────────── Pending     by us, seen so         runs made
//!                           │ accepted     │                    │
//!                           ▼              ▼                    ▼
//!                       Cordoning ───▶ Planning ───────────▶ Draining ◀──────▶ Blocked   residents only
//!                           │                                   │                 │
//!        mode Observe       │ release.requested                 ▼                 │
//!  Observed                 ▼                                 Empty ◀─────────────┘     two lists found nothing
//!                       Releasing ───▶ Released
//! ```
//!
//! Invariants, each with a test:
//! - The gates are asked once, at acceptance; a later refusal stops nothing.
//! - What stood in Nova before is written to status before the first write to Nova, and is taken from Sidestep's own mark where an earlier object left one.
//! - Work is derived from the latest list, never from a remembered one: late arrivals get a run too.
//! - Empty takes two lists, a tick apart, both begun after the cordon was verified, with the service row seen disabled by this object, no move or build heading to the host, and no
//!   allocation left. It is verified again at the idle interval, and ends when it stops being true.
//! - Release enables only a host that Sidestep disabled; deleting never enables one.
//! - A host that somebody else enabled again is never called Empty.

mod cordon;
mod decide;
mod drain;
mod release;
mod report;
mod tally;

pub use cordon::{Contest, Write};
pub use decide::{Action, CloudSight, Incident, Memory, NewRun, Next, Observation, Pace, Permission, Refusal, ServiceSight, decide, permission};
pub use drain::{RunFacts, RunState, run_name};
pub use report::entry;

/// How many runs one server may have in one incident before it is left where it is: it keeps returning.
pub const RUNS_PER_SERVER: u32 = 3;

/// The most residents that status lists; `residentCount` has the whole number.
pub const RESIDENTS_SHOWN: usize = 32;

/// The reason of condition Drained once the drain's deadline has passed.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
