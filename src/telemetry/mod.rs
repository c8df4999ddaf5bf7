//! What the programs say about themselves: the log, whether they are alive and ready, and figures.

pub mod admin;
pub mod health;
pub mod log;
pub mod metrics;
