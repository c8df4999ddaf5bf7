//! The end-to-end tests: one binary, one module per story.

#![cfg(test)]

mod contract;
mod drain;
mod kinds;
mod nova;
mod support;
