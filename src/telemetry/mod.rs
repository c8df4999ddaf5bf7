//! What the programs say about themselves.

pub mod log;
