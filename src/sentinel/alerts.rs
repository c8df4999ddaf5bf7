//! From the alert file to what is to be written: tail, parse, count, deliver, then checkpoint. No client and no waiting here: `run` does both.
//!
//! **Why `count` is exact, whenever the process dies.** Three facts:
//!
//! 1. Every write says, besides the slot's absolute `seq` and `count`, *up to which position of the file* it has counted: annotation [`READ_UP_TO`]. Both are taken at the same
//!    moment, between two records, so the object of a slot holds exactly the slot's events up to that position.
//! 2. The checkpoint's position is moved only when every slot's events before it were accepted. So nothing before it is missing from the objects, and a restart reads
//!    on from there.
//! 3. Which event goes to which slot depends on the records alone (see `alert::series`). So the records that are read again go where they went, and an event is in
//!    its slot's object exactly if its position is not behind the one that the object names. Those are recognised and skipped; all others are counted on top of what the object says.
//!
//! It does not matter whether an answer was lost, a write was repeated, or the checkpoint could not be saved for an hour. A position in a file that is gone is behind everything
//! that can still be read. An object that somebody deleted is made again from the checkpoint, which holds the slot as of its own position.
//! Until the records up to the furthest position were read again no new checkpoint is written, because the slots are ahead of the records until then.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::snapshot::{SourceCounters, SourceSnapshot};
use crate::alert::event::AlertEvent;
use crate::alert::parse::{Format, Verdict};
use crate::alert::series::{Outcome, Reading, SLOTS, Slots, Write};
use crate::api::alert::HostAlertSpec;
use crate::clock::Clock;
use crate::tail::checkpoint::Checkpoint;
use crate::tail::lines::Shape;
use crate::tail::{Position, Progress, Record, TailError, Tailer, Turn};

/// Annotation of a HostAlert: the position in the alert file up to which its slot's events are counted.
pub(super) const READ_UP_TO: &str = "sidestep.dev/read-up-to";
/// The checkpoint is written at most this often.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// A slot as the API server knows it.
#[derive(Clone, Debug)]
pub(super) struct KnownSlot {
    pub(super) slot: usize,
    pub(super) spec: HostAlertSpec,
    /// From its annotation; `None` when it has none that can be read.
    pub(super) read_up_to: Option<Position>,
}

/// One HostAlert to write, with its annotation.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) write: Write,
    pub(super) read_up_to: Option<Position>,
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There may be more to read.
    More,
    /// At the end of the file.
    Idle,
    /// An event waits until a slot was delivered.
    Blocked,
}

/// The sentinel's alerts, one file's.
#[derive(Debug)]
pub(super) struct Alerts {
    tailer: Tailer,
    intake: Intake,
    /// A checkpoint that waits for deliveries.
    snapshot: Option<Snapshot>,
    saved: Option<Position>,
    next_save: Duration,
}

/// Everything that records change.
#[derive(Debug)]
struct Intake {
    format: Format,
    slots: Slots,
    /// The place in reading order up to which each slot's object has its events already, while records are read again.
    included: Vec<Option<(u64, u64)>>,
    /// The place behind the last record that was taken.
    taken: (u64, u64),
    held: Option<Held>,
    counters: SourceCounters,
    /// When the last alert was read.
    last_event: Option<Timestamp>,
    skew: Option<SignedDuration>,
}

/// An event that could not be taken yet.
#[derive(Debug)]
struct Held {
    event: Box<AlertEvent>,
    place: (u64, u64),
    reading: Reading,
}

#[derive(Debug)]
struct Snapshot {
    checkpoint: Checkpoint,
    /// Slots that must be delivered first, and up to which `seq`.
    waits: Vec<(usize, i64)>,
}

impl Alerts {
    /// Goes on from the checkpoint and from what the API server knows.
    pub(super) fn new(node: &str, format: Format, tailer: Tailer, checkpoint: Option<Checkpoint>, known: Vec<KnownSlot>) -> Self {
        let mut included = vec![None; SLOTS];
        // Without a checkpoint reading starts behind everything that was counted.
        if checkpoint.is_some() {
            for KnownSlot { slot, read_up_to, .. } in &known {
                if let Some(place) = included.get_mut(*slot) {
                    *place = read_up_to.as_ref().and_then(|position| tailer.place_of(position));
                }
            }
        }
        let known = known.into_iter().map(|known| (known.slot, known.spec)).collect();
        let slots = Slots::restore(node, checkpoint.map(|checkpoint| checkpoint.slots), known);
        let intake = Intake { format, slots, included, taken: (0, 0), held: None, counters: SourceCounters::default(), last_event: None, skew: None };
        Self { tailer, intake, snapshot: None, saved: None, next_save: Duration::ZERO }
    }

    /// Reads what is there, up to a bound.
    pub(super) fn read(&mut self, clock: &Clock) -> Result<State, TailError> {
        if let Some(held) = self.intake.held.take()
            && self.intake.count(held) == Turn::Stop
        {
            return Ok(State::Blocked);
        }
        let at = clock.now();
        let Self { tailer, intake, .. } = self;
        let progress = tailer.poll(clock.monotonic(), |record| intake.take(&record, at));
        self.end_replay();
        match progress? {
            _ if self.intake.held.is_some() => Ok(State::Blocked),
            Progress::More => Ok(State::More),
            Progress::Idle => Ok(State::Idle),
        }
    }

    /// Once the furthest position of any object was passed, records are new again.
    fn end_replay(&mut self) {
        if let Some(furthest) = self.intake.included.iter().flatten().max()
            && self.tailer.passed() >= *furthest
        {
            self.intake.included.fill(None);
            self.intake.slots.settle();
        }
    }

    fn is_replaying(&self) -> bool {
        self.intake.included.iter().any(Option::is_some)
    }

    fn position(&self) -> Option<Position> {
        self.tailer.position(self.intake.taken)
    }

    fn with_position(&self, write: Write) -> Delivery {
        Delivery { write, read_up_to: self.position() }
    }

    /// The next HostAlert to write now.
    pub(super) fn due(&self, now: Duration) -> Option<Delivery> {
        self.intake.slots.due(now).map(|write| self.with_position(write))
    }

    /// The next HostAlert to write before the program ends.
    pub(super) fn untold(&self) -> Option<Delivery> {
        self.intake.slots.untold().map(|write| self.with_position(write))
    }

    /// When a HostAlert may be written next.
    pub(super) fn next_due(&self, now: Duration) -> Option<Duration> {
        self.intake.slots.next_due(now)
    }

    /// A write goes out.
    pub(super) fn sent(&mut self, delivery: &Delivery, now: Duration) {
        self.intake.slots.sent(delivery.write.slot, now);
    }

    /// Whether nothing of the write's series was told before.
    pub(super) fn is_new(&self, write: &Write) -> bool {
        !self.intake.slots.is_delivered(write.slot, write.spec.seq - write.spec.count + 1)
    }

    /// A write was accepted, or refused for good.
    pub(super) fn settled(&mut self, slot: usize, seq: i64) {
        self.intake.slots.settled(slot, seq);
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
        let ready = self.snapshot.take_if(|snapshot| snapshot.waits.iter().all(|(slot, seq)| self.intake.slots.is_delivered(*slot, *seq)))?;
        self.next_save = clock.monotonic() + CHECKPOINT_INTERVAL;
        Some(ready.checkpoint)
    }

    fn take_snapshot(&self, now: Timestamp) -> Option<Snapshot> {
        let position = self.position().filter(|position| self.saved.as_ref() != Some(position))?;
        let slots = &self.intake.slots;
        Some(Snapshot { checkpoint: Checkpoint::new(now, position, slots.save()), waits: slots.undelivered() })
    }

    /// The checkpoint is on the disk.
    pub(super) fn saved(&mut self, checkpoint: Checkpoint) {
        self.saved = Some(checkpoint.position);
    }

    /// When the next checkpoint may be saved.
    pub(super) fn next_save(&self) -> Duration {
        self.next_save
    }

    /// Whether records were taken that no checkpoint covers.
    pub(super) fn has_unsaved(&self) -> bool {
        self.snapshot.is_some() || self.position() != self.saved
    }

    pub(super) fn counters(&self) -> SourceCounters {
        self.intake.counters
    }

    /// What is known of the file. `trouble` says why it cannot be read at present.
    pub(super) fn snapshot(&self, trouble: Option<&str>) -> SourceSnapshot {
        let Intake { format, counters, last_event, skew, .. } = &self.intake;
        SourceSnapshot {
            name: format.as_str().to_owned(),
            engine: format.engine(),
            format: format.as_str(),
            path: self.tailer.path().to_owned(),
            offset: self.tailer.passed().1,
            size: self.tailer.size(),
            last_event: *last_event,
            lost: counters.rejected,
            message: trouble.map(str::to_owned),
            skew: *skew,
            counters: *counters,
        }
    }
}

impl Intake {
    fn take(&mut self, record: &Record<'_>, at: Timestamp) -> Turn {
        self.counters.records += 1;
        let verdict = match record.shape {
            Shape::TooLong => Verdict::Reject,
            Shape::Whole | Shape::Cut => self.format.parse(record.bytes),
        };
        match verdict {
            Verdict::Alert(event) => {
                self.last_event = Some(at);
                if record.live {
                    self.skew = event.time.map(|stamp| at.duration_since(stamp));
                }
                return self.count(Held { event, place: record.place, reading: Reading { at, live: record.live } });
            }
            Verdict::Reject => self.counters.rejected += 1,
            Verdict::Ignore => {}
        }
        self.taken = record.place;
        Turn::More
    }

    fn count(&mut self, held: Held) -> Turn {
        let included = &self.included;
        let is_included = |slot: usize| included.get(slot).copied().flatten().is_some_and(|place| held.place <= place);
        match self.slots.apply(&held.event, held.reading, is_included) {
            Outcome::Counted(_) => self.counters.alerts += 1,
            Outcome::Recognised(_) => self.counters.recognised += 1,
            Outcome::Held(_) => {
                self.held = Some(held);
                return Turn::Stop;
            }
        }
        self.taken = held.place;
        Turn::More
    }
}
