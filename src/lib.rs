//! Sidestep: takes an attacked OpenStack compute host out of service and live-migrates its servers away.

// layer 0: the contract
pub mod api;
pub mod inventory;
// layer 1: decisions
pub mod alert;
pub mod gate;
pub mod migration;
pub mod quarantine;
// layer 2: one outside thing each
pub mod clock;
pub mod kubernetes;
pub mod openstack;
pub mod tail;
pub mod telemetry;
// layer 3: programs
pub mod operator;
pub mod sentinel;
pub mod simulator;
