//! One incident: the states and transitions of a HostQuarantine, as a pure function of its spec, its status and what was seen.
//!
//! ```text
//!            gates say no            service disabled,      servers listed,
//!  Refused ◀──────────── Pending     by us, seen so         plan made
//!                           │ accepted     │                    │
//!                           ▼              ▼                    ▼     a person must agree
//!                       Cordoning ───▶ Planning ──┬─────────▶ AwaitingApproval
//!                           │                     │                 │ approved
//!        mode Observe       │ release takes       ▼                 ▼
//!  Observed                 │ effect           Cordoned          Draining ◀──────▶ Blocked   residents only
//!                           ▼                  (action Cordon)    │   ▲               │
//!                       Releasing                                 │   └─ Suspended    │      spec.suspend, spec.abort
//!                           ▼                                     ▼                   │
//!                       Released                                Empty ◀───────────────┘      two lists found nothing
//! ```
//!
//! Invariants, each with a test:
//! - The gates are asked once, at acceptance; a later refusal stops nothing.
//! - What stood in Nova before is written to status before the first write to Nova, and is taken from Sidestep's own mark where an earlier object left one.
//! - Work is derived from the latest list, never from a remembered one: late arrivals get a run too, unless a plan was approved without them.
//! - What is suspected only gets worse; a stricter scope makes an approval void and replaces what has not begun.
//! - Empty takes two lists, a tick apart, both begun after the cordon was verified, with the service row seen disabled (by this object, or by a person since), no move or build heading to the host, and nothing behind the list: no
//!   allocation, no soft-deleted server, no resize that waits. It is verified again at the idle interval, and ends when it stops being true.
//! - Release enables only a host that Sidestep disabled; deleting enables one only where nothing was ever suspected and its owner said so.
//! - A person who disables the host with a reason of their own contests nothing: it is out of service. That reason is never written over, and release leaves it.
//! - A host that somebody else enabled again is never called Empty. Where something is suspected nobody on the host can stop the drain in that way.

mod approval;
mod conclude;
mod cordon;
mod deadline;
mod decide;
mod deleted;
mod drain;
mod exposure;
mod facts;
mod permission;
mod release;
mod report;
mod scope;
mod tally;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;

pub use cordon::Write;
pub use decide::decide;
pub use deleted::{DELETED_RUNS_KEPT, remembered, remembers_deletion};
pub use drain::{RETRY, RunFacts, RunState, Wait, run_name};
pub use facts::{Action, CloudSight, Incident, Joined, Memory, NewRun, Next, Observation, Pace, PlanSight, Refusal, ServiceSight};
pub use permission::{Permission, approved_hosts, permission, permission_for, releases, withdrawal};
pub use report::entry;
pub use scope::{effective_scope, pool_use};
pub use tally::{passengers, strays};

/// How many runs one server may have in one incident before it is left where it is: it keeps returning. A retry begins anew.
pub const RUNS_PER_SERVER: u32 = 3;

/// The most residents that status lists; `residentCount` has the whole number.
pub const RESIDENTS_SHOWN: usize = 32;

/// The reason of condition Drained once the drain's deadline has passed.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";

/// The reason of condition Approved where nobody need agree.
pub const NOT_REQUIRED: &str = "NotRequired";

/// The reason where the scope lets servers go to the quarantine pool only, and the cloud has none.
pub const NO_POOL: &str = "NoPool";

/// The reason of a True Accepted whose trigger is older than any policy acts on.
pub const TRIGGER_TOO_OLD: &str = "TriggerTooOld";

/// `time` moved on by `by`.
fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}
