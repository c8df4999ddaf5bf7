//! Sidestep takes an attacked OpenStack compute host out of service and live-migrates its servers away: a moving target defense.
//!
//! ```text
//!  compute host                       Kubernetes: the only database, queue and channel               OpenStack
//!
//!  Suricata ──▶ eve.json
//!                  │ tail, alert
//!               sentinel ──────────▶ HostAlert      one series of alerts on one host
//!                                       │ alert::decision, by QuarantinePolicy
//!                                       ▼
//!                                    HostQuarantine  the incident ──── quarantine ──────────────▶ Nova: host disabled, seen so
//!                                       │ one for each server on the host
//!                                       ▼
//!                                    MigrationRun    the move of one server ── migration ───────▶ Nova: live migration
//!                                       ▲                                                             │
//!                                       └─────────── what Nova shows, measured ── openstack::inventory ┘
//! ```
//!
//! # Layers
//!
//! A module uses itself and modules of the layers before its own, never one after it, and of those beside it [`clock`] alone. `tidy.rs`, a test, reads every line and names those that break this.
//!
//! | layer | modules | what it is |
//! | --- | --- | --- |
//! | 0, the contract | [`api`], [`inventory`] | the kinds in Kubernetes, and Nova's words: plain values |
//! | 1, decisions | [`alert`], [`gate`], [`plan`], [`quarantine`], [`migration`], [`silence`] | values in, values out: no client, no clock, no file |
//! | 2, one outside thing each | [`clock`], [`openstack`], [`kubernetes`], [`tail`], [`telemetry`] | no decisions |
//! | 3, programs | [`operator`], [`sentinel`], [`ctl`], [`simulator`] | wiring, no rules |
//!
//! The sentinel, which runs on the suspect host, uses neither `openstack` nor any decision about clouds.
//!
//! # What always holds
//!
//! - Each reconcile derives its work from what is on the host then, never from a list that it remembers. A restart changes nothing: all that matters stands in the API server and in Nova.
//! - An attempt to move a server stands in its MigrationRun before Nova is asked, and Nova is asked once for it. After a crash, Nova's own record is looked for and taken over.
//! - A move has succeeded when three witnesses say so: Nova's record, the server's host, and a fresh list of the source.
//! - A host is Empty after two lists, both begun after Nova showed it disabled. Otherwise it is Blocked, with each thing that is left and the reason.
//! - Mode Observe cannot write: the client that writes is another type, and only [`gate::permit_writes`] gives what it takes to have one.
//! - Deleting a HostQuarantine is not releasing the host, and only a host that Sidestep disabled is enabled again.
//! - A failed or foreign answer is a failed call, never an empty list. A figure that nobody measured is absent, never 0.
//! - Every byte that a sensor or a cloud sends is untrusted: it may be refused, it never ends the program.
//!
//! # Where to start reading
//!
//! The life of one alert, as data: [`tail`] (bytes to records), [`alert::parse`] (records to events), [`alert::series`] (events to series), [`sentinel`] (series to HostAlerts),
//! [`alert::decision`] (HostAlerts to a decision), [`quarantine`] and [`migration`] (the two state machines, each with its picture), [`operator`] (who calls them when).
//! Then [`openstack`] for what is asked of Nova. `tests/e2e/contract` lists what is relied on, as tests that run against the [`simulator`] and a real Nova alike.
//! Why things are as they are stands in `docs/decisions`.

// layer 0: the contract
pub mod api;
pub mod inventory;
// layer 1: decisions
pub mod alert;
pub mod gate;
pub mod migration;
pub mod plan;
pub mod quarantine;
pub mod silence;
// layer 2: one outside thing each
pub mod clock;
pub mod kubernetes;
pub mod openstack;
pub mod tail;
pub mod telemetry;
// layer 3: programs
pub mod ctl;
pub mod operator;
pub mod sentinel;
pub mod simulator;

#[cfg(test)]
mod tidy;
