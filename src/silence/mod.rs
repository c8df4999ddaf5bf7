//! Silence as a signal: whether a sensor lives, whether a sentinel is heard, and when silence means something.
//!
//! ```text
//!  on each host                                    in the operator
//!
//!  Evidence ── sensor::judge ──> Healthy           Leases ── Heartbeats ──> how long unheard, by the operator's own clock
//!  (file, writer, statistics)    Degraded                        │
//!                                Dead     ── HostReport ──┐      │
//!                                Unknown                  ▼      ▼
//!                                                        fleet::assess ──> Heard, Silent, or one of too many at once
//! ```
//!
//! A module of layer 1 beside [`alert`](crate::alert), not in it: both programs decide by it, and no alert, policy or cloud is involved. The sentinel takes [`sensor`] alone; what follows from a
//! silence is an ordinary HostAlert, decided on as any other.
//!
//! [`signal`] is the HostAlert that a silence makes, [`abandoned`] says which nodes are gone for good.
//!
//! Nothing here reads a clock, a file or a Lease: all of it comes in as arguments, times as durations on a clock that never jumps.

pub mod abandoned;
pub mod fleet;
pub mod heartbeat;
pub mod sensor;
pub mod signal;

use std::time::Duration;

/// How often a sentinel renews its Lease.
pub const RENEWAL: Duration = Duration::from_secs(10);
/// A Lease that has not changed for this long, by the operator's own clock, is a silent sentinel.
pub const SILENT_AFTER: Duration = Duration::from_secs(40);
