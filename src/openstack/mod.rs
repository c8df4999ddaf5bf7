//! OpenStack as a client sees it: Keystone, Nova and Placement over HTTP.
//!
//! ```text
//!   clouds.yaml ──parse──> CloudConfig ──connect──> Cloud (reads) ──+ gate::WritePermit──> CloudControl (writes)
//!                                                     │
//!                                                 Inventory: one poller per cloud, what lies on the watched hosts
//! ```
//!
//! - [`Cloud`] cannot write: a write in mode Observe does not compile. [`CloudControl`] has the writes, and nothing else has any.
//! - A failed or foreign answer is a failed call ([`Fault`]), never an empty list.
//! - A request that must not be repeated answers with one of three values ([`PostOutcome`]).
//! - A write goes out only while the window of [`Oversight`] is open, and ends before it shuts.
//! - Of a next-page link only the marker is taken; the token goes to the addresses of the catalog and nowhere else.
//!
//! No decisions here: what an answer means for a drain is decided in `quarantine` and `migration`.

mod catalog;
mod cloud;
pub mod clouds_yaml;
mod error;
mod inventory;
mod microversion;
mod nova;
mod oversight;
mod placement;
mod request;
mod rooms;
mod session;

pub use cloud::{Cloud, Identity};
pub use clouds_yaml::{CloudConfig, CloudsYamlError};
pub use error::{ConnectError, Fault, FaultKind, PostOutcome};
pub use inventory::{Addresses, Aggregates, Freshness, Inventory, PollError, Poller, Progress, Rooms, Services, Settings};
pub use microversion::Microversion;
pub use nova::{CloudControl, MigrationFilter};
pub use oversight::{Exchange, NovaWrite, Oversight};
pub use rooms::Topology;

#[cfg(test)]
mod testing;
