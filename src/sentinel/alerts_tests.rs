//! Exact counts, shown by a shadow model: alert files, an API server that keeps the rules of the kind, and a sentinel that dies anywhere.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use tempfile::TempDir;

use super::alerts::{Alerts, Delivery, KnownSlot, Positions};
use super::source::{Source, SourceSettings, State};
use crate::alert::parse::Format;
use crate::alert::series::SavedSlot;
use crate::api::alert::HostAlertSpec;
use crate::clock::Clock;
use crate::tail::checkpoint::{CheckpointError, StateFolder};

/// The objects, and what was wrong with what was written.
#[derive(Default)]
struct Server {
    objects: BTreeMap<usize, (HostAlertSpec, Positions)>,
    refused: Vec<String>,
}

impl Server {
    fn take(&mut self, delivery: &Delivery) {
        let (slot, spec) = (delivery.write.slot, delivery.write.spec.clone());
        if let Some((old, _)) = self.objects.get(&slot) {
            let rise = spec.seq - old.seq;
            if !(0..=1_000_000).contains(&rise) || (spec.series == old.series && spec.count < old.count) {
                self.refused.push(format!("slot {slot}: seq {} to {}, count {} to {}", old.seq, spec.seq, old.count, spec.count));
            }
        }
        // Where a slot changes hands, every event since the last write must be of the new series.
        let before = self.objects.get(&slot).map_or((0, true), |(old, _)| (old.seq, old.series != spec.series));
        if before.1 && spec.seq - before.0 != spec.count {
            self.refused.push(format!("slot {slot}: {} events of {} were never told", spec.seq - before.0 - spec.count, before.0));
        }
        self.objects.insert(slot, (spec, delivery.read_up_to.clone()));
    }

    fn known(&self) -> Vec<KnownSlot> {
        self.objects.iter().map(|(slot, (spec, read_up_to))| KnownSlot { slot: *slot, spec: spec.clone(), read_up_to: read_up_to.clone() }).collect()
    }
}

struct World {
    folder: TempDir,
    clock: Clock,
    server: Server,
    alive: Option<(Alerts, StateFolder)>,
    /// Alerts written, per series' rule and source.
    written: BTreeMap<(i64, u32), i64>,
    lines: i64,
    rotations: usize,
    /// How many files there are.
    files: usize,
}

/// Opens the state folder. A program that another test of this process is just starting holds a copy of the lock of the one before, until it has become that program.
fn open_when_free(folder: &Path) -> StateFolder {
    for _ in 0..1_000_000 {
        match StateFolder::open(folder) {
            Err(CheckpointError::InUse { .. }) => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
    panic!("{} is in use for ever", folder.display());
}

impl World {
    /// One file.
    fn new() -> Self {
        Self::with_files(1)
    }

    fn with_files(files: usize) -> Self {
        let clock = Clock::manual(Timestamp::from_second(1_800_000_000).unwrap());
        let mut world =
            Self { folder: TempDir::new().unwrap(), clock, server: Server::default(), alive: None, written: BTreeMap::new(), lines: 0, rotations: 0, files };
        (0..files).for_each(|file| fs::write(world.path(file), "").unwrap());
        world.start();
        world.save(true);
        world
    }

    fn path(&self, file: usize) -> PathBuf {
        self.folder.path().join(["eve.json", "fast.log"][file])
    }

    fn start(&mut self) {
        let state = open_when_free(&self.folder.path().join("state"));
        let checkpoint = state.load().unwrap();
        let formats = [Format::SuricataEve, Format::SuricataFast].into_iter().take(self.files);
        let sources = formats.enumerate().map(|(file, format)| {
            let settings = SourceSettings { name: format.as_str().to_owned(), format, path: self.path(file), zone: TimeZone::UTC };
            Source::new(file, settings, checkpoint.as_ref(), &self.clock).0
        });
        self.alive = Some((Alerts::new("n1", sources.collect(), checkpoint, self.server.known()), state));
    }

    fn crash(&mut self) {
        self.alive = None;
        self.start();
    }

    /// Writes an alert to the first file.
    fn write(&mut self, sid: i64, source: u32, priority: i64) {
        self.write_to(0, sid, source, priority, "\n");
    }

    /// Writes an alert. Stamps are a minute apart, so that series fall silent and lose their slots.
    fn write_to(&mut self, file: usize, sid: i64, source: u32, priority: i64, end: &str) {
        let stamp = Timestamp::from_second(1_700_000_000 + 60 * self.lines).unwrap();
        let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + source);
        let line = if file == 0 {
            format!(r#"{{"timestamp":"{stamp}","event_type":"alert","src_ip":"{ip}","alert":{{"gid":1,"signature_id":{sid},"severity":{priority}}}}}"#)
        } else {
            let stamp = stamp.strftime("%m/%d/%Y-%H:%M:%S%.6f");
            format!("{stamp}  [**] [1:{sid}:1] m [**] [Classification: c] [Priority: {priority}] {{UDP}} {ip}:53 -> 10.9.9.9:53")
        };
        let mut file = OpenOptions::new().create(true).append(true).open(self.path(file)).unwrap();
        file.write_all(format!("{line}{end}").as_bytes()).unwrap();
        self.lines += 1;
        self.stamp(&file);
        *self.written.entry((sid, source)).or_default() += 1;
    }

    #[expect(clippy::disallowed_types, reason = "the standard library sets a file's time by this type")]
    fn stamp(&self, file: &fs::File) {
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + self.lines.unsigned_abs())).unwrap();
    }

    fn rotate(&mut self, file: usize) {
        if fs::metadata(self.path(file)).is_ok_and(|metadata| metadata.len() > 0) {
            self.rotations += 1;
            let archive = format!("{}.{}", self.path(file).display(), 1000 - self.rotations);
            fs::rename(self.path(file), archive).unwrap();
        }
    }

    fn read(&mut self) -> State {
        self.alive.as_mut().unwrap().0.read(&self.clock, |_, read| assert!(read.is_ok(), "{read:?}"))
    }

    /// Sends one HostAlert, if one is due. The answer may be lost.
    fn deliver(&mut self, answered: bool) -> bool {
        let now = self.clock.monotonic();
        let (alerts, _) = self.alive.as_mut().unwrap();
        let Some(delivery) = alerts.due(now) else { return false };
        alerts.sent(&delivery, now);
        self.server.take(&delivery);
        if answered {
            alerts.settled(delivery.write.slot, delivery.write.spec.seq);
        }
        true
    }

    /// Saves the checkpoint if one is due. The disk may be full.
    fn save(&mut self, written: bool) {
        let (alerts, state) = self.alive.as_mut().unwrap();
        if let Some(checkpoint) = alerts.checkpoint(&self.clock)
            && written
        {
            state.save(&checkpoint).unwrap();
            alerts.saved(checkpoint);
        }
    }

    /// Until everything is read and told.
    fn finish(&mut self) {
        loop {
            let state = self.read();
            self.clock.advance(Duration::from_secs(2));
            let delivered = self.deliver(true);
            if state == State::Idle && !delivered {
                return;
            }
        }
    }
}

/// How many alerts of this rule and source all objects together hold. Exact while each has a slot of its own.
fn told(server: &Server, sid: i64, source: u32) -> i64 {
    let subject = std::net::Ipv4Addr::from_bits(0x0a00_0000 + source).to_string();
    let of_series = server.objects.values().filter(|(spec, _)| spec.sid == Some(sid) && spec.subject == subject);
    of_series.map(|(spec, _)| spec.count).sum()
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        file: usize,
        sid: i64,
        source: u32,
        priority: i64,
    },
    /// Two alerts in one line.
    WriteTwo {
        sids: (i64, i64),
        source: u32,
    },
    Read,
    Deliver {
        answered: bool,
    },
    Save {
        written: bool,
    },
    Rotate {
        file: usize,
    },
    Crash,
    Wait(u16),
}

fn step(sources: u32, files: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..files, 1i64..4, 0..sources, 1i64..4).prop_map(|(file, sid, source, priority)| Step::Write { file, sid, source, priority }),
        1 => ((1i64..4, 1i64..4), 0..sources).prop_map(|(sids, source)| Step::WriteTwo { sids, source }),
        4 => Just(Step::Read),
        4 => any::<bool>().prop_map(|answered| Step::Deliver { answered }),
        2 => any::<bool>().prop_map(|written| Step::Save { written }),
        1 => (0..files).prop_map(|file| Step::Rotate { file }),
        2 => Just(Step::Crash),
        1 => (0u16..3000).prop_map(Step::Wait),
    ]
}

fn carry_out(world: &mut World, step: &Step) {
    match step {
        Step::Write { file, sid, source, priority } => world.write_to(*file, *sid, *source, *priority, "\n"),
        Step::WriteTwo { sids, source } if world.files > 1 => {
            world.write_to(1, sids.0, *source, 1, "");
            world.write_to(1, sids.1, *source, 3, "\n");
        }
        Step::WriteTwo { .. } => {}
        Step::Read => drop(world.read()),
        Step::Deliver { answered } => drop(world.deliver(*answered)),
        Step::Save { written } => world.save(*written),
        Step::Rotate { file } => world.rotate(*file),
        Step::Crash => world.crash(),
        Step::Wait(millis) => world.clock.advance(Duration::from_millis(u64::from(*millis))),
    }
}

/// All alerts that a node's slots ever held, by `seq`: it rises by one for each and never falls.
fn events_of_all_slots(server: &Server) -> i64 {
    server.objects.values().map(|(spec, _)| spec.seq).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_at_any_step_neither_loses_nor_repeats_an_alert(steps in proptest::collection::vec(step(4, 1), 1..80)) {
        let mut world = World::new();
        for step in &steps {
            carry_out(&mut world, step);
        }
        world.finish();
        prop_assert_eq!(&world.server.refused, &Vec::<String>::new());
        for ((sid, source), count) in &world.written {
            prop_assert_eq!(told(&world.server, *sid, *source), *count, "rule {} from {}", sid, source);
        }
    }

    #[test]
    fn two_files_that_are_read_side_by_side_are_counted_as_exactly(steps in proptest::collection::vec(step(4, 2), 1..80)) {
        let mut world = World::with_files(2);
        for step in &steps {
            carry_out(&mut world, step);
        }
        world.finish();
        prop_assert_eq!(&world.server.refused, &Vec::<String>::new());
        for ((sid, source), count) in &world.written {
            prop_assert_eq!(told(&world.server, *sid, *source), *count, "rule {} from {}", sid, source);
        }
    }

    #[test]
    fn two_files_whose_slots_change_hands_lose_nothing_either(steps in proptest::collection::vec(step(200, 2), 100..250)) {
        let mut world = World::with_files(2);
        for step in &steps {
            carry_out(&mut world, step);
        }
        world.finish();
        prop_assert_eq!(&world.server.refused, &Vec::<String>::new());
        prop_assert_eq!(events_of_all_slots(&world.server), world.lines);
    }

    #[test]
    fn slots_that_change_hands_lose_nothing_either(steps in proptest::collection::vec(step(200, 1), 100..250)) {
        let mut world = World::new();
        for step in &steps {
            carry_out(&mut world, step);
        }
        world.finish();
        prop_assert_eq!(&world.server.refused, &Vec::<String>::new());
        prop_assert_eq!(events_of_all_slots(&world.server), world.lines);
    }
}

#[test]
fn a_kill_between_accepting_and_checkpoint_counts_nothing_twice() {
    let mut world = World::new();
    for _ in 0..3 {
        world.write(1, 1, 1);
        world.read();
        world.deliver(true);
    }
    world.crash();
    world.read();
    assert!(!world.deliver(true), "all three were told before");
    world.write(1, 1, 1);
    world.finish();
    assert_eq!(told(&world.server, 1, 1), 4);
}

#[test]
fn a_file_that_cannot_be_read_holds_up_no_other_and_is_read_as_soon_as_it_can_be() {
    let mut world = World::with_files(2);
    // A folder in its place cannot be read as a file, by root either.
    world.alive = None;
    fs::remove_file(world.path(1)).unwrap();
    fs::create_dir(world.path(1)).unwrap();
    world.start();
    world.write(1, 1, 1);
    let mut failures = 0;
    let read = |world: &mut World, failures: &mut usize| world.alive.as_mut().unwrap().0.read(&world.clock, |_, read| *failures += usize::from(read.is_err()));
    assert_eq!(read(&mut world, &mut failures), State::Idle);
    assert!(world.deliver(true));
    assert_eq!((told(&world.server, 1, 1), failures), (1, 1));
    fs::remove_dir(world.path(1)).unwrap();
    world.write_to(1, 1, 2, 1, "\n");
    world.finish();
    assert_eq!((told(&world.server, 1, 1), told(&world.server, 1, 2)), (1, 1));
}

#[test]
fn without_a_checkpoint_the_objects_are_continued() {
    let mut world = World::new();
    world.write(1, 1, 1);
    world.finish();
    world.alive = None;
    fs::remove_dir_all(world.folder.path().join("state")).unwrap();
    world.start();
    world.write(1, 1, 1);
    world.finish();
    assert_eq!(world.server.objects.len(), 1);
    let (spec, _) = &world.server.objects[&0];
    assert_eq!((spec.seq, spec.count), (2, 2));
}

#[test]
fn an_object_that_somebody_deleted_is_made_again_with_its_count() {
    let mut world = World::new();
    world.write(1, 1, 1);
    world.finish();
    world.clock.advance(Duration::from_secs(5));
    world.save(true);
    world.write(1, 1, 1);
    world.finish();
    world.server.objects.clear();
    world.crash();
    world.finish();
    assert_eq!(told(&world.server, 1, 1), 2);
}

#[test]
fn the_checkpoint_never_runs_ahead_of_the_api_server() {
    let mut world = World::new();
    world.write(1, 1, 1);
    world.read();
    world.clock.advance(Duration::from_secs(5));
    world.save(true);
    let saved = |world: &World| -> Vec<SavedSlot> { world.alive.as_ref().unwrap().1.load().unwrap().unwrap().slots };
    assert_eq!(saved(&world).len(), 0, "nothing was accepted yet");
    world.deliver(true);
    world.save(true);
    assert_eq!(saved(&world).len(), 1);
}

#[test]
fn a_refused_object_holds_nothing_up() {
    let mut world = World::new();
    world.write(1, 1, 1);
    world.write(2, 1, 1);
    world.read();
    let now = world.clock.monotonic();
    let (alerts, _) = world.alive.as_mut().unwrap();
    let refused = alerts.due(now).unwrap();
    alerts.settled(refused.write.slot, refused.write.spec.seq);
    assert_ne!(alerts.due(now).unwrap().write.slot, refused.write.slot);
}
