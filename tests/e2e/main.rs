//! The end-to-end tests: one binary, one module per story.

#![cfg(test)]

mod bench;
mod budget;
mod contract;
mod crashes;
mod ctl;
mod demo;
mod drain;
mod gates;
mod heartbeat;
mod identity;
mod killpoints;
mod kinds;
mod leadership;
mod mistakes;
mod moves;
mod nova;
mod observe;
mod patience;
mod policy;
mod quarantine;
mod sentinels;
mod situations;
mod support;
