//! One alert file: what is read of it, and what is known of it. Its records go to the slots that all sources share.

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::snapshot::{Signs, SourceCounters, SourceSnapshot};
use crate::alert::event::AlertEvent;
use crate::alert::parse::stamp::Stamps;
use crate::alert::parse::{Format, Rejection, Verdict};
use crate::alert::series::{Outcome, Reading, SLOTS, Slots};
use crate::clock::Clock;
use crate::tail::checkpoint::{Checkpoint, SavedSource};
use crate::tail::lines::Shape;
use crate::tail::{Origin, Position, Progress, Record, Start, TailError, Tailer, Turn};

const MOUNTED: &str = "The alert file itself is mounted, so what is written after a rotation would go unseen: mount its folder";
const CONTAINER_LOG: &str =
    "The alert file holds a container's log, with the runtime's own words around each record: let the sensor write to a file of its own, and follow that";

/// Lines about what was skipped are this far apart, however much it is.
const TELLING_INTERVAL: Duration = Duration::from_secs(10);

/// A place in reading order: which file of the tailer's life, and the offset in it.
type Place = (u64, u64);

/// What a person says of an alert file.
#[derive(Clone, Debug)]
pub(super) struct SourceSettings {
    /// Unique among the sources of a sentinel.
    pub(super) name: String,
    pub(super) format: Format,
    pub(super) path: PathBuf,
    /// The zone of stamps that name none.
    pub(super) zone: TimeZone,
}

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// At the end of the file.
    Idle,
    /// An event waits until a slot was delivered.
    Blocked,
    /// There may be more to read.
    More,
}

/// One alert file.
#[derive(Debug)]
pub(super) struct Source {
    settings: SourceSettings,
    /// Absent until the file or its folder could be read for the first time.
    tailer: Option<Tailer>,
    /// Where reading begins, until it has begun.
    checkpoint: Option<Checkpoint>,
    /// The positions that the slots' objects name, until reading has begun.
    known: Vec<Option<Position>>,
    /// Whether reading began, or begins, at or before what the objects have; else it began behind all of it.
    reads_again: bool,
    intake: Intake,
    trouble: Trouble,
}

/// Everything that records change.
#[derive(Debug)]
struct Intake {
    /// Its number among the sources, which is its share of the slots.
    number: usize,
    format: Format,
    stamps: Stamps,
    /// The place up to which each slot's object has its events already, while records are read again.
    included: Vec<Option<Place>>,
    /// The place behind the last alert or other record that was taken.
    taken: Place,
    held: Vec<Held>,
    counters: SourceCounters,
    last_event: Option<Timestamp>,
    skew: Option<SignedDuration>,
    signs: Signs,
    /// Whether the last record was a line of a container's log.
    is_container_log: bool,
}

/// An event that could not be taken yet, and those behind it in the same record.
#[derive(Debug)]
struct Held {
    event: AlertEvent,
    place: Place,
    reading: Reading,
}

/// What is wrong at present, and what was logged of it.
#[derive(Debug, Default)]
struct Trouble {
    /// Why the file cannot be read.
    reading: Option<String>,
    /// The file itself is mounted.
    is_mounted: bool,
    told_rejected: u64,
    told_nuls: u64,
    /// When the next line about what was skipped may be logged.
    next_telling: Duration,
}

impl Source {
    /// Follows the file on from the checkpoint. A file that cannot be read yet is tried again at each reading; then the start is `None` and the error says why.
    pub(super) fn new(number: usize, settings: SourceSettings, checkpoint: Option<&Checkpoint>, clock: &Clock) -> (Self, Result<Start, TailError>) {
        let intake = Intake {
            number,
            format: settings.format,
            stamps: Stamps { zone: settings.zone.clone(), now: clock.now() },
            included: vec![None; SLOTS],
            taken: (0, 0),
            held: Vec::new(),
            counters: SourceCounters::default(),
            last_event: None,
            skew: None,
            signs: Signs::default(),
            is_container_log: false,
        };
        let mut source =
            Self { settings, tailer: None, checkpoint: checkpoint.cloned(), known: vec![None; SLOTS], reads_again: false, intake, trouble: Trouble::default() };
        let start = source.begin(clock);
        (source, start)
    }

    fn begin(&mut self, clock: &Clock) -> Result<Start, TailError> {
        let SourceSettings { name, format, path, .. } = &self.settings;
        let origin = self.checkpoint.as_ref().map_or(Origin::End, |checkpoint| checkpoint.origin(name, path));
        self.reads_again = !matches!(origin, Origin::End);
        let (tailer, start) = Tailer::start(path, format.framing(), origin, clock.monotonic())?;
        self.tailer = Some(tailer);
        self.checkpoint = None;
        self.recognise();
        Ok(start)
    }

    /// Finds the places up to which the objects have their events.
    fn recognise(&mut self) {
        if let Some(tailer) = self.tailer.as_ref().filter(|_| self.reads_again) {
            let places = std::mem::take(&mut self.known).into_iter().map(|position| tailer.place_of(&position?));
            self.intake.included = places.collect();
        }
    }

    /// The objects' positions in this file, by slot, as soon as they are known.
    pub(super) fn include(&mut self, known: Vec<Option<Position>>) {
        self.known = known;
        self.recognise();
    }

    /// Reads what is there, up to a bound.
    pub(super) fn read(&mut self, slots: &mut Slots, clock: &Clock) -> Result<State, TailError> {
        if self.tailer.is_none() {
            self.begin(clock)?;
        }
        let Some(tailer) = self.tailer.as_mut() else { return Ok(State::Idle) };
        let intake = &mut self.intake;
        if intake.take_held(slots) == Turn::Stop {
            return Ok(State::Blocked);
        }
        let (at, now) = (clock.now(), clock.monotonic());
        intake.stamps.now = at;
        let progress = tailer.poll(now, |record| intake.take(slots, &record, at, now));
        self.end_replay();
        match progress? {
            _ if !self.intake.held.is_empty() => Ok(State::Blocked),
            Progress::More => Ok(State::More),
            Progress::Idle => {
                self.intake.signs.end_seen = Some(now);
                Ok(State::Idle)
            }
        }
    }

    /// Once the furthest position of any object was passed, records are new again.
    fn end_replay(&mut self) {
        if let (Some(furthest), Some(tailer)) = (self.intake.included.iter().flatten().max(), &self.tailer)
            && tailer.passed() >= *furthest
        {
            self.intake.included.fill(None);
        }
    }

    /// Whether records are read again that the objects may have.
    pub(super) fn is_replaying(&self) -> bool {
        self.intake.included.iter().any(Option::is_some)
    }

    /// How far it was read.
    pub(super) fn position(&self) -> Option<Position> {
        self.tailer.as_ref()?.position(self.intake.taken)
    }

    /// What the checkpoint keeps of it; nothing while reading has not begun for the first time, or what it kept before.
    pub(super) fn saved(&self) -> Option<SavedSource> {
        let SourceSettings { name, path, .. } = &self.settings;
        match &self.checkpoint {
            Some(checkpoint) => checkpoint.sources.iter().find(|source| source.name == *name && source.path == *path).cloned(),
            None => self.tailer.as_ref().map(|_| SavedSource { name: name.clone(), path: path.clone(), position: self.position() }),
        }
    }

    pub(super) fn settings(&self) -> &SourceSettings {
        &self.settings
    }

    pub(super) fn counters(&self) -> SourceCounters {
        self.intake.counters
    }

    pub(super) fn skipped_nuls(&self) -> u64 {
        self.tailer.as_ref().map_or(0, Tailer::skipped_nuls)
    }

    /// Keeps and logs what came of a reading; a lasting trouble is logged once, and what is skipped at most every few seconds.
    pub(super) fn note(&mut self, read: Result<State, TailError>, now: Duration) {
        let name = &self.settings.name;
        match read {
            Ok(_) if self.trouble.reading.take().is_some() => tracing::info!(source = name, "The alert file can be read again"),
            Ok(_) => {}
            Err(error) => {
                let text = format!("{:#}", anyhow::Error::from(error));
                if self.trouble.reading.is_none() {
                    tracing::warn!(source = name, "{text}; it is tried again every second");
                }
                self.trouble.reading = Some(text);
            }
        }
        if now >= self.trouble.next_telling {
            self.tell_skipped(now);
        }
    }

    fn tell_skipped(&mut self, now: Duration) {
        let name = &self.settings.name;
        let (rejected, nuls) = (self.intake.counters.rejected, self.skipped_nuls());
        if (rejected, nuls) != (self.trouble.told_rejected, self.trouble.told_nuls) {
            self.trouble.next_telling = now + TELLING_INTERVAL;
        }
        if rejected > self.trouble.told_rejected {
            let records = rejected - self.trouble.told_rejected;
            if self.intake.is_container_log {
                tracing::warn!(source = name, records, records_total = rejected, "{CONTAINER_LOG}");
            } else {
                tracing::warn!(source = name, records, records_total = rejected, "Records that are none of the format {} were skipped", self.settings.format);
            }
            self.trouble.told_rejected = rejected;
        }
        if nuls > self.trouble.told_nuls {
            tracing::info!(
                source = self.settings.name,
                bytes = nuls - self.trouble.told_nuls,
                "NUL bytes were skipped, which a truncation or a power loss left"
            );
            self.trouble.told_nuls = nuls;
        }
    }

    /// Keeps and logs whether the file itself is mounted.
    pub(super) fn note_mount(&mut self, is_mounted: bool) {
        if is_mounted && !self.trouble.is_mounted {
            tracing::warn!(source = self.settings.name, path = %self.settings.path.display(), "{MOUNTED}");
        }
        self.trouble.is_mounted = is_mounted;
    }

    /// What is known of the file. `more` is what is wrong with all sources.
    pub(super) fn snapshot(&self, more: Option<&str>) -> SourceSnapshot {
        let SourceSettings { name, format, path, .. } = &self.settings;
        let Intake { counters, last_event, skew, signs, is_container_log, .. } = &self.intake;
        let wrong = [self.trouble.reading.as_deref(), self.trouble.is_mounted.then_some(MOUNTED), is_container_log.then_some(CONTAINER_LOG), more];
        let wrong: Vec<&str> = wrong.into_iter().flatten().collect();
        let nuls = self.skipped_nuls();
        let note = (nuls > 0).then(|| format!("{nuls} NUL bytes were skipped, which a truncation or a power loss left; no record is lost by that"));
        let is_degraded = !wrong.is_empty();
        SourceSnapshot {
            name: name.clone(),
            engine: format.engine(),
            format: format.as_str(),
            path: path.clone(),
            offset: self.tailer.as_ref().map_or(0, |tailer| tailer.passed().1),
            size: self.tailer.as_ref().and_then(Tailer::size),
            last_event: *last_event,
            lost: counters.rejected,
            is_degraded,
            message: if is_degraded { Some(wrong.join("; ")) } else { note },
            skew: *skew,
            counters: SourceCounters { nul_bytes: nuls, ..*counters },
            signs: *signs,
        }
    }
}

impl Intake {
    fn take(&mut self, slots: &mut Slots, record: &Record<'_>, at: Timestamp, now: Duration) -> Turn {
        self.counters.records += 1;
        let verdict = match record.shape {
            Shape::TooLong => Verdict::Reject(Rejection::Unreadable),
            Shape::Whole | Shape::Cut => self.format.parse(record.bytes, &self.stamps),
        };
        if record.live {
            self.signs.note_record(verdict == Verdict::Ignore && self.format.is_statistics(record.bytes), now);
        }
        self.is_container_log = verdict == Verdict::Reject(Rejection::ContainerLog);
        match verdict {
            Verdict::Alerts(found) => {
                self.last_event = Some(at);
                let reading = Reading { at, live: record.live };
                let (ordinal, end) = record.place;
                let start = end - record.length;
                let last = found.len().saturating_sub(1);
                // The first in front of the others: they are taken from the end.
                self.held = found
                    .into_iter()
                    .enumerate()
                    .rev()
                    .map(|(index, found)| {
                        // The last ends where the record does, newline included.
                        let end = if index == last { end } else { start + found.end as u64 };
                        Held { event: found.event, place: (ordinal, end), reading }
                    })
                    .collect();
                return self.take_held(slots);
            }
            Verdict::Reject(_) => self.counters.rejected += 1,
            Verdict::Ignore => {}
        }
        self.taken = record.place;
        Turn::More
    }

    fn take_held(&mut self, slots: &mut Slots) -> Turn {
        while let Some(held) = self.held.pop() {
            let Held { event, place, reading } = &held;
            let included = &self.included;
            let is_included = |slot: usize| included.get(slot).copied().flatten().is_some_and(|up_to| *place <= up_to);
            match slots.apply(self.number, event, *reading, is_included) {
                Outcome::Counted(_) => self.counters.alerts += 1,
                Outcome::Recognised(_) => self.counters.recognised += 1,
                Outcome::Held(_) => {
                    self.held.push(held);
                    return Turn::Stop;
                }
            }
            if reading.live {
                self.skew = event.time.map(|stamp| reading.at.duration_since(stamp));
            }
            self.taken = *place;
        }
        Turn::More
    }
}
