//! Gates: what must hold before Sidestep acts. Pure: facts in, verdict out.
//!
//! A gate refuses new work and never blocks release or the end of what runs. [`WritePermit`] is the proof, as a type, that the mode gate was passed: the writing client of the
//! cloud takes one, and nothing outside this module can make one.

mod mode;

pub use mode::{WritePermit, permit_writes};
