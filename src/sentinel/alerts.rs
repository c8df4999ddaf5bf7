//! From the alert files to what is to be written: tail, parse, count, deliver, then checkpoint. No client and no waiting here: `run` does both.
//!
//! **Why `count` is exact, whenever the process dies.** Three facts:
//!
//! 1. Every write says, besides the slot's absolute `seq` and `count`, *up to which position of each file* it has counted: annotation [`READ_UP_TO`]. All are taken at the same
//!    moment, between two alerts, so the object of a slot holds exactly the slot's events up to those positions.
//! 2. The checkpoint's positions are moved only when every slot's events before them were accepted. So nothing before them is missing from the objects, and a restart reads
//!    on from there.
//! 3. Which event goes to which slot depends on the records of its own file alone (see `alert::series`), however the reading of several files interleaves. So the records that are read again go where they went, and an event is in
//!    its slot's object exactly if its position is not behind the one that the object names. Those are recognised and skipped; all others are counted on top of what the object says.
//!
//! It does not matter whether an answer was lost, a write was repeated, or the checkpoint could not be saved for an hour. A position in a file that is gone is behind everything
//! that can still be read. An object that somebody deleted is made again from the checkpoint, which holds the slot as of its own position.
//! Until the records up to the furthest positions were read again no new checkpoint is written, because the slots are ahead of the records until then.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::snapshot::{SourceCounters, SourceSnapshot};
use super::source::{Source, State};
use crate::alert::series::{SLOTS, Slots, Write};
use crate::api::alert::HostAlertSpec;
use crate::clock::Clock;
use crate::tail::checkpoint::{Checkpoint, SavedSource};
use crate::tail::{Position, TailError};

/// Annotation of a HostAlert: the positions in the alert files up to which its slot's events are counted, as `NAME=POSITION`, with blanks between.
pub(super) const READ_UP_TO: &str = "sidestep.dev/read-up-to";
/// The checkpoint is written at most this often.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Positions in the alert files, by the sources' names.
pub(super) type Positions = BTreeMap<String, Position>;

/// A slot as the API server knows it.
#[derive(Clone, Debug)]
pub(super) struct KnownSlot {
    pub(super) slot: usize,
    pub(super) spec: HostAlertSpec,
    /// From its annotation, as far as it can be read.
    pub(super) read_up_to: Positions,
}

/// One HostAlert to write, with its annotation.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) write: Write,
    pub(super) read_up_to: Positions,
}

/// Writes positions as the annotation's text.
pub(super) fn positions_to_text(positions: &Positions) -> String {
    let words: Vec<String> = positions.iter().map(|(name, position)| format!("{name}={position}")).collect();
    words.join(" ")
}

/// Reads the annotation's text; what cannot be read is left out.
pub(super) fn positions_from_text(text: &str) -> Positions {
    let words = text.split(' ').filter_map(|word| word.split_once('='));
    words.filter_map(|(name, position)| Some((name.to_owned(), position.parse().ok()?))).collect()
}

/// The sentinel's alerts, all files'.
#[derive(Debug)]
pub(super) struct Alerts {
    sources: Vec<Source>,
    slots: Slots,
    /// A checkpoint that waits for deliveries.
    snapshot: Option<Snapshot>,
    saved: Option<Vec<SavedSource>>,
    next_save: Duration,
}

/// A checkpoint and what has to be delivered before it holds: slots and their `seq`.
#[derive(Debug)]
struct Snapshot {
    checkpoint: Checkpoint,
    waits: Vec<(usize, i64)>,
}

impl Alerts {
    /// Goes on from the checkpoint, from which the sources have begun already, and from what the API server knows.
    pub(super) fn new(node: &str, mut sources: Vec<Source>, checkpoint: Option<Checkpoint>, known: Vec<KnownSlot>) -> Self {
        for source in &mut sources {
            let mut positions = vec![None; SLOTS];
            for KnownSlot { slot, read_up_to, .. } in &known {
                if let Some(place) = positions.get_mut(*slot) {
                    *place = read_up_to.get(&source.settings().name).cloned();
                }
            }
            source.include(positions);
        }
        let known = known.into_iter().map(|known| (known.slot, known.spec)).collect();
        let slots = Slots::restore(node, sources.len(), checkpoint.map(|checkpoint| checkpoint.slots), known);
        Self { sources, slots, snapshot: None, saved: None, next_save: Duration::ZERO }
    }

    /// Reads what is there, up to a bound for each file, so that none keeps the others waiting. A file that cannot be read is given to `failed` and counts as read.
    pub(super) fn read(&mut self, clock: &Clock, mut outcome: impl FnMut(&mut Source, Result<State, TailError>)) -> State {
        let was_replaying = self.is_replaying();
        let mut state = State::Idle;
        for source in &mut self.sources {
            let read = source.read(&mut self.slots, clock);
            state = state.max(read.as_ref().map_or(State::Idle, |state| *state));
            outcome(source, read);
        }
        if was_replaying && !self.is_replaying() {
            self.slots.settle();
        }
        state
    }

    fn is_replaying(&self) -> bool {
        self.sources.iter().any(Source::is_replaying)
    }

    fn positions(&self) -> Positions {
        self.sources.iter().filter_map(|source| Some((source.settings().name.clone(), source.position()?))).collect()
    }

    fn with_positions(&self, write: Write) -> Delivery {
        Delivery { write, read_up_to: self.positions() }
    }

    /// The next HostAlert to write now.
    pub(super) fn due(&self, now: Duration) -> Option<Delivery> {
        self.slots.due(now).map(|write| self.with_positions(write))
    }

    /// The next HostAlert to write before the program ends.
    pub(super) fn untold(&self) -> Option<Delivery> {
        self.slots.untold().map(|write| self.with_positions(write))
    }

    /// When a HostAlert may be written next.
    pub(super) fn next_due(&self, now: Duration) -> Option<Duration> {
        self.slots.next_due(now)
    }

    /// A write goes out.
    pub(super) fn sent(&mut self, delivery: &Delivery, now: Duration) {
        self.slots.sent(delivery.write.slot, now);
    }

    /// Whether nothing of the write's series was told before.
    pub(super) fn is_new(&self, write: &Write) -> bool {
        !self.slots.is_delivered(write.slot, write.spec.seq - write.spec.count + 1)
    }

    /// A write was accepted, or refused for good.
    pub(super) fn settled(&mut self, slot: usize, seq: i64) {
        self.slots.settled(slot, seq);
    }

    /// The checkpoint to save now, if one is due and everything before it was delivered.
    pub(super) fn checkpoint(&mut self, clock: &Clock) -> Option<Checkpoint> {
        if clock.monotonic() < self.next_save {
            return None;
        }
        self.last_checkpoint(clock)
    }

    /// The same, however recent the one before.
    pub(super) fn last_checkpoint(&mut self, clock: &Clock) -> Option<Checkpoint> {
        if self.snapshot.is_none() && !self.is_replaying() {
            self.snapshot = self.take_snapshot(clock.now());
        }
        let ready = self.snapshot.take_if(|snapshot| snapshot.waits.iter().all(|(slot, seq)| self.slots.is_delivered(*slot, *seq)))?;
        self.next_save = clock.monotonic() + CHECKPOINT_INTERVAL;
        Some(ready.checkpoint)
    }

    fn take_snapshot(&self, now: Timestamp) -> Option<Snapshot> {
        let sources = self.places();
        if self.saved.as_ref() == Some(&sources) {
            return None;
        }
        Some(Snapshot { checkpoint: Checkpoint::new(now, sources, self.slots.save()), waits: self.slots.undelivered() })
    }

    /// How far each file was read, as the checkpoint keeps it.
    fn places(&self) -> Vec<SavedSource> {
        self.sources.iter().filter_map(Source::saved).collect()
    }

    /// The checkpoint is on the disk.
    pub(super) fn saved(&mut self, checkpoint: Checkpoint) {
        self.saved = Some(checkpoint.sources);
    }

    /// When the next checkpoint may be saved.
    pub(super) fn next_save(&self) -> Duration {
        self.next_save
    }

    /// Whether records were taken that no checkpoint covers.
    pub(super) fn has_unsaved(&self) -> bool {
        self.snapshot.is_some() || self.saved.as_ref() != Some(&self.places())
    }

    /// All files' counters together.
    pub(super) fn counters(&self) -> SourceCounters {
        self.sources.iter().map(Source::counters).fold(SourceCounters::default(), |all, one| SourceCounters {
            records: all.records + one.records,
            alerts: all.alerts + one.alerts,
            recognised: all.recognised + one.recognised,
            rejected: all.rejected + one.rejected,
            nul_bytes: all.nul_bytes + one.nul_bytes,
        })
    }

    /// What is known of each file. `more` is what is wrong with all of them.
    pub(super) fn snapshots(&self, more: Option<&str>) -> Vec<SourceSnapshot> {
        self.sources.iter().map(|source| source.snapshot(more)).collect()
    }

    pub(super) fn sources_mut(&mut self) -> &mut [Source] {
        &mut self.sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_positions_of_as_many_sources_as_there_may_be_pass_the_admission_policy() {
        let policy = include_str!("../../charts/sidestep/admission/r1/sentinels.yaml");
        let limit = policy.split_once("size(variables.annotations[key]) <= ").unwrap().1.split_once(' ').unwrap().0.parse::<usize>().unwrap();
        let longest: Position = format!("{}-4096-{:016x}:{}", u64::MAX, u64::MAX, u64::MAX).parse().unwrap();
        let positions: Positions = (0..8).map(|number| (format!("{}{number}", "n".repeat(62)), longest.clone())).collect();
        assert!(positions_to_text(&positions).len() <= limit);
    }

    #[test]
    fn positions_survive_as_text_and_what_is_no_position_is_left_out() {
        let positions: Positions =
            [("one", "7-4-0102030405060708:4"), ("two", "8-0-0102030405060708:0")].map(|(name, text)| (name.to_owned(), text.parse().unwrap())).into();
        assert_eq!(positions_from_text(&positions_to_text(&positions)), positions);
        assert_eq!(positions_from_text("7-4-0102030405060708:4 x=y one=7-4-01:4").len(), 1);
        assert_eq!(positions_from_text(""), Positions::new());
    }
}
