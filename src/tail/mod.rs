//! Following a file that another program writes: its records in order, each once, through everything that happens to log files.
//!
//! [`Tailer::poll`] is a step that reads what is there and returns; it never waits. [`wake`] only says when a step is worth while, so that a lost wake-up costs time, not records.

pub mod checkpoint;
mod file;
mod folder;
pub mod lines;
pub mod mount;
mod position;
mod tailer;
#[cfg(test)]
mod tailer_tests;
pub mod wake;

pub use position::Position;
pub use tailer::{Origin, Progress, Record, Start, TailError, Tailer, Turn};
