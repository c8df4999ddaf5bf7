//! Alerts as values: from a sensor's bytes to an event, from events to series, from a series to the decision on what it means.
//!
//! Nothing here reads a file, a clock or the network: bytes, events and the time come in as arguments.

pub mod decision;
pub mod event;
pub mod parse;
pub mod series;
