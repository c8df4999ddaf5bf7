//! The plan of a drain: which server goes to which host, in which order, and which servers have nowhere to go. Pure: values in, values out.
//!
//! ```text
//!  rooms (Placement) ─┐
//!  barred hosts ──────┤
//!  rules, pool ───────┼──▶ spread ──▶ moves: server, destination, order
//!  what is under way ─┤               unplaced: server, reason, sentence
//!  passengers ────────┘               allowed: every host that the rules let in
//! ```
//!
//! Nova's scheduler does not see moves that are still queued: asked for many at once it sends them all to one host. So a destination is chosen here, and what is on its way to a host counts as if it were
//! there. Nova's scheduler stays the referee: it may refuse the named host, and then another is chosen.
//!
//! Invariants, each with a test:
//! - Every passenger is either moved or unplaced, and once.
//! - No host is given more than it has free, and none that is barred, excluded, the source itself, or on the wrong side of the pool.
//! - A passenger is unplaced only if no allowed host has room for it.
//! - The same request gives the same plan; another seed changes only which of equally free hosts is taken.

mod digest;
mod host;
mod request;
mod spread;

pub use digest::{Subject, digest};
pub use request::{Bar, Group, GroupPolicy, Move, NoPlace, Passenger, Plan, Pool, PoolRule, Request, Resources, Room, Rules, Unplaced};
pub use spread::spread;

#[cfg(test)]
mod tests;
