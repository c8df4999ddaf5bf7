//! From events to series: at most 64 on a node, whatever arrives, each counted exactly.
//!
//! A series is one rule, one far end and one kind of flow; it lives in a *slot*, and each slot is one HostAlert.
//!
//! | slots | hold |
//! | --- | --- |
//! | 00 to 2f | one series each |
//! | 30 to 3e | overflow: all far ends of one rule that found no slot, established flows apart from others |
//! | 3f | everything else |
//!
//! Overflow has no far end, only an estimate of how many there were. Where a node has several sources (alert files), each has its own share of the slots, every second or third of each kind;
//! `3f` is everybody's.
//!
//! A new series takes a free slot; or the slot of the series that has been silent longest, if for [`SILENCE`]; or, among slots of lower rank, that of
//! the lowest. Rank is severity, then whether the flow is established: so a flood of forged packets cannot keep the alert out that they are to hide.
//!
//! **Who holds which slot is decided by the records of its source alone**: by their order and by the stamps in them, never by the clock or by what was delivered. So the same bytes read
//! again, after a crash, lead to the same slots; `sentinel::alerts` builds its proof of exact counts on that. Where delivery matters (a slot
//! must not change hands, or its `seq` run ahead too far, before its events were told) the event is not taken, [`Outcome::Held`], and the caller offers it again after the
//! delivery.

mod distinct;
mod pace;
mod record;
mod slots;

pub use distinct::Distinct;
pub use pace::Pace;
pub use record::{Reading, Told};
pub use slots::{Outcome, SLOTS, SavedSlot, Slots, Write};

use std::time::Duration;

/// A series that has been silent for this long, by the sensor's stamps, may lose its slot.
pub const SILENCE: Duration = Duration::from_secs(600);
