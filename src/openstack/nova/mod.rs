//! Nova: what Sidestep reads ([`Cloud`]) and the three things that it writes ([`CloudControl`]).

mod control;
mod read;

pub use control::CloudControl;
pub use read::MigrationFilter;
pub(super) use read::NewestRows;

#[cfg(test)]
mod tests;
