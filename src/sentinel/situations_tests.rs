//! What has happened to others who follow alert files, and what the sentinel does about it; each test bears the title of its situation.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::alerts::{Alerts, KnownSlot, Positions};
use super::snapshot::SourceSnapshot;
use super::source::{Source, SourceSettings, State};
use crate::alert::parse::Format;
use crate::api::alert::HostAlertSpec;
use crate::clock::Clock;
use crate::tail::checkpoint::StateFolder;

/// A file, a sentinel that follows it, and the objects that it has written.
struct Stage {
    folder: TempDir,
    clock: Clock,
    format: Format,
    state: StateFolder,
    alerts: Option<Alerts>,
    objects: BTreeMap<usize, (HostAlertSpec, Positions)>,
}

impl Stage {
    fn following(format: Format) -> Self {
        let folder = TempDir::new().unwrap();
        let state = StateFolder::open(&folder.path().join("state")).unwrap();
        let clock = Clock::manual("2026-11-22T12:00:00Z".parse().unwrap());
        let mut stage = Self { folder, clock, format, state, alerts: None, objects: BTreeMap::new() };
        stage.start();
        stage.read();
        stage
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("alerts")
    }

    /// Begins, or begins again after a kill.
    fn start(&mut self) {
        self.alerts = None;
        let checkpoint = self.state.load().unwrap();
        let settings = SourceSettings { name: "one".to_owned(), format: self.format, path: self.path(), zone: TimeZone::UTC };
        let (source, _) = Source::new(0, settings, checkpoint.as_ref(), &self.clock);
        let known = self.objects.iter().map(|(slot, (spec, read_up_to))| KnownSlot { slot: *slot, spec: spec.clone(), read_up_to: read_up_to.clone() });
        self.alerts = Some(Alerts::new("n1", vec![source], checkpoint, known.collect()));
    }

    fn alerts(&mut self) -> &mut Alerts {
        self.alerts.as_mut().unwrap()
    }

    /// Appends, with a moment between two writes.
    fn append(&mut self, bytes: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path()).unwrap();
        file.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads to the end and writes all that is to be told.
    fn read(&mut self) {
        loop {
            let clock = self.clock.clone();
            let state = self.alerts().read(&clock, |source, read| source.note(read, clock.monotonic()));
            while let Some(delivery) = self.alerts().untold() {
                self.objects.insert(delivery.write.slot, (delivery.write.spec.clone(), delivery.read_up_to.clone()));
                self.alerts().settled(delivery.write.slot, delivery.write.spec.seq);
            }
            if state == State::Idle {
                return;
            }
        }
    }

    /// Saves the position as the sentinel does every second; false when it cannot be saved.
    fn save(&mut self) -> bool {
        self.clock.advance(Duration::from_secs(1));
        let clock = self.clock.clone();
        let Some(checkpoint) = self.alerts().checkpoint(&clock) else { return true };
        let is_saved = self.state.save(&checkpoint).is_ok();
        if is_saved {
            self.alerts().saved(checkpoint);
        }
        is_saved
    }

    fn known(&mut self) -> SourceSnapshot {
        self.alerts().snapshots(None).remove(0)
    }

    fn specs(&self) -> Vec<&HostAlertSpec> {
        self.objects.values().map(|(spec, _)| spec).collect()
    }

    fn count(&self) -> i64 {
        self.objects.values().map(|(spec, _)| spec.count).sum()
    }
}

fn eve(stamp: &str, extra: &str) -> String {
    format!(r#"{{"timestamp":"{stamp}","event_type":"alert"{extra},"alert":{{"gid":1,"signature_id":7,"severity":1}}}}"#) + "\n"
}

fn at_noon() -> String {
    eve("2026-11-22T12:00:00.000000+0000", r#","src_ip":"203.0.113.7""#)
}

/// A line unlike all others, as a sensor's are.
fn numbered(number: u32) -> String {
    eve(&format!("2026-11-22T12:00:00.00000{number}+0000"), r#","src_ip":"203.0.113.7""#)
}

#[test]
fn nul_bytes() {
    let mut stage = Stage::following(Format::SuricataEve);
    // A hole that a writer with an old offset leaves, then a line.
    let hole = 500 << 20;
    let file = File::create(stage.path()).unwrap();
    file.write_all_at(at_noon().as_bytes(), hole).unwrap();
    stage.read();
    // A whole line, NULs, a line directly behind them, more lines.
    let more = [at_noon().into_bytes(), vec![0; 4096], at_noon().into_bytes(), at_noon().into_bytes()].concat();
    stage.append(more);
    stage.read();
    let known = stage.known();
    assert_eq!((stage.count(), known.lost, known.is_degraded, known.counters.nul_bytes), (4, 0, false, hole + 4096));
    assert!(known.message.unwrap().contains("NUL bytes were skipped"));
}

#[test]
fn the_file_itself_is_mounted() {
    let mut stage = Stage::following(Format::SuricataEve);
    stage.alerts().sources_mut().iter_mut().for_each(|source| source.note_mount(true));
    let known = stage.known();
    assert!(known.is_degraded && known.message.unwrap().contains("mount its folder"));
    stage.alerts().sources_mut().iter_mut().for_each(|source| source.note_mount(false));
    assert!(!stage.known().is_degraded);
}

#[test]
fn no_space_for_the_checkpoint() {
    for is_killed in [false, true] {
        let mut stage = Stage::following(Format::SuricataEve);
        stage.append(numbered(0));
        stage.read();
        assert!(stage.save());
        // Nothing can be written over a folder, as on a full disk.
        let in_the_way = stage.folder.path().join("state/checkpoint.json.new");
        fs::create_dir(&in_the_way).unwrap();
        for number in 1..4 {
            fs::rename(stage.path(), stage.folder.path().join("alerts.1")).unwrap();
            stage.append(numbered(number));
            stage.read();
            assert!(!stage.save());
        }
        assert_eq!(stage.count(), 4, "alerts flow all the time");
        let held = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        let held: Vec<PathBuf> = held.filter(|file| file.starts_with(stage.folder.path()) && file.to_string_lossy().ends_with("(deleted)")).collect();
        assert_eq!(held, Vec::<PathBuf>::new(), "a file that was deleted is let go after its end");
        if is_killed {
            stage.start();
            stage.read();
            assert_eq!(stage.count(), 4, "lines that are read again are not counted again");
        }
        fs::remove_dir(in_the_way).unwrap();
        stage.append(numbered(4));
        stage.read();
        assert!(stage.save() && stage.state.load().unwrap().is_some(), "saved as soon as it can be");
        stage.start();
        stage.read();
        assert_eq!(stage.count(), 5);
    }
}

#[test]
fn container_log_lines() {
    let mut stage = Stage::following(Format::SuricataEve);
    stage.append(format!("2026-11-22T11:10:07.246230000Z stdout F {}", at_noon()));
    stage.read();
    let known = stage.known();
    assert!(known.is_degraded && known.lost == 1 && known.message.unwrap().contains("let the sensor write to a file of its own"));
}

#[test]
fn impossible_or_wrong_times() {
    let mut stage = Stage::following(Format::SuricataEve);
    let now = stage.clock.now();
    for stamp in ["1900-01-00T00:00:14.199185+0000", "2026-11-22T12:00:00.274540AUS Eastern Daylight Time"] {
        stage.append(eve(stamp, ""));
    }
    stage.append("{\"event_type\":\"alert\",\"alert\":{\"signature_id\":7}}\n");
    stage.read();
    let of_all = |stage: &Stage| stage.specs().into_iter().map(|spec| (spec.last_seen.0, spec.sensor_time.as_ref().map(|time| time.0))).collect::<Vec<_>>();
    assert_eq!((stage.count(), stage.known().skew), (3, None));
    assert!(of_all(&stage).iter().all(|(last, sensor)| *last == now && sensor.is_none()));
    for (stamp, skew) in
        [("2026-11-22T11:00:00.000000+0000", SignedDuration::from_hours(1)), ("2026-11-22T13:00:00.000000+0000", SignedDuration::from_hours(-1))]
    {
        stage.append(eve(stamp, r#","src_ip":"203.0.113.7""#));
        stage.read();
        let (last, sensor): (Timestamp, Option<Timestamp>) = of_all(&stage).pop().unwrap();
        assert_eq!((last, sensor, stage.known().skew), (now, Some(stamp.parse().unwrap()), Some(skew)), "a line that was just written is of now");
    }
}

#[test]
fn inline_mode_two_lines_and_it_was_blocked() {
    let mut stage = Stage::following(Format::SuricataEve);
    for kind in ["alert", "drop"] {
        stage.append(format!(
            "{{\"timestamp\":\"2026-11-22T12:00:00.000000+0000\",\"flow_id\":9,\"event_type\":\"{kind}\",\"alert\":{{\"action\":\"blocked\",\"gid\":1,\"signature_id\":7}}}}\n"
        ));
    }
    stage.read();
    assert_eq!(stage.specs().iter().map(|spec| (spec.count, spec.action.as_deref())).collect::<Vec<_>>(), [(1, Some("drop"))]);
}

#[test]
fn the_source_is_our_own_server() {
    let mut stage = Stage::following(Format::SuricataEve);
    let ends = |source: &str, destination: &str, direction: &str| {
        let direction = if direction.is_empty() { String::new() } else { format!(",\"direction\":\"{direction}\"") };
        eve("2026-11-22T12:00:00.000000+0000", &format!(",\"src_ip\":\"{source}\",\"dest_ip\":\"{destination}\"{direction}"))
    };
    let victim = "10.0.0.5";
    for attacker in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        stage.append(ends(victim, attacker, "to_client"));
    }
    stage.append(ends("203.0.113.1", victim, "to_server"));
    stage.append(ends("203.0.113.9", victim, ""));
    stage.read();
    let told: Vec<(&str, i64)> = stage.specs().into_iter().map(|spec| (spec.subject.as_str(), spec.count)).collect();
    assert_eq!(told, [("203.0.113.1", 2), ("203.0.113.2", 1), ("203.0.113.3", 1), ("203.0.113.9", 1)]);
}
