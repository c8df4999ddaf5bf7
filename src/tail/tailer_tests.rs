//! What happens to log files, and that each record comes once: single stories, then a shadow model.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::lines::Shape;
use super::{Origin, Position, Progress, Start, Tailer, Turn};
use crate::alert::parse::Framing;
use crate::clock::Clock;

/// A folder with a log file, its writer, and whoever follows it.
struct Stage {
    folder: TempDir,
    clock: Clock,
    writer: Option<File>,
    tailer: Option<Tailer>,
    start: Option<Start>,
    taken: (u64, u64),
    /// Where a restart goes on.
    checkpoint: Option<Position>,
    /// There was no file then.
    was_absent: bool,
    /// How much had been written when the tailer looked last.
    looked: u64,
    records: Vec<String>,
    rotations: usize,
    writes: u64,
}

impl Stage {
    fn new() -> Self {
        let clock = Clock::manual(Timestamp::from_second(1_800_000_000).unwrap());
        Self {
            folder: TempDir::new().unwrap(),
            clock,
            writer: None,
            tailer: None,
            start: None,
            taken: (0, 0),
            checkpoint: None,
            was_absent: false,
            looked: 0,
            records: Vec::new(),
            rotations: 0,
            writes: 0,
        }
    }

    /// A stage whose tailer waits for the file.
    fn following() -> Self {
        let mut stage = Self::new();
        stage.restart();
        assert_eq!(stage.start, Some(Start::Awaiting));
        stage
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("eve.json")
    }

    /// The archive made by the rotation so many rotations ago, 1 being the last.
    fn archive(&self, ago: usize) -> PathBuf {
        self.folder.path().join(format!("eve.json.{ago}"))
    }

    /// Opens the file for appending, as the sensor does when it starts and when it is told to reopen.
    fn reopen(&mut self) {
        let is_new = !self.path().exists();
        let writer = OpenOptions::new().create(true).append(true).open(self.path()).unwrap();
        if is_new {
            self.stamp(&writer);
        }
        self.writer = Some(writer);
    }

    fn write(&mut self, text: &str) {
        if self.writer.is_none() {
            self.reopen();
        }
        let mut writer = self.writer.as_ref().unwrap().try_clone().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        self.stamp(&writer);
    }

    /// Dates a file's content a second after the one before: file systems keep time too coarsely to tell quick writes apart.
    #[expect(clippy::disallowed_types, reason = "the standard library sets a file's time by this type")]
    fn stamp(&mut self, file: &File) {
        self.writes += 1;
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + self.writes)).unwrap();
    }

    /// Renames the file and its archives; the writer keeps its file.
    fn rename(&mut self) {
        for ago in (1..=self.rotations).rev() {
            fs::rename(self.archive(ago), self.archive(ago + 1)).unwrap();
        }
        fs::rename(self.path(), self.archive(1)).unwrap();
        self.rotations += 1;
    }

    fn copytruncate(&mut self) {
        for ago in (1..=self.rotations).rev() {
            fs::rename(self.archive(ago), self.archive(ago + 1)).unwrap();
        }
        fs::copy(self.path(), self.archive(1)).unwrap();
        self.stamp(&File::options().write(true).open(self.archive(1)).unwrap());
        self.rotations += 1;
        OpenOptions::new().write(true).open(self.path()).unwrap().set_len(0).unwrap();
    }

    /// Reads to the end of everything.
    fn poll(&mut self) {
        while self.poll_records(usize::MAX) == Progress::More {}
    }

    /// Reads at most so many records.
    fn poll_records(&mut self, limit: usize) -> Progress {
        self.looked = self.writes;
        let Self { tailer, records, taken, .. } = self;
        let mut left = limit;
        let progress = tailer.as_mut().unwrap().poll(self.clock.monotonic(), |record| {
            let text = String::from_utf8_lossy(record.bytes);
            records.push(if record.shape == Shape::Whole { text.into_owned() } else { format!("{:?} {text}", record.shape) });
            *taken = record.place;
            left -= 1;
            if left == 0 { Turn::Stop } else { Turn::More }
        });
        progress.unwrap()
    }

    /// Stops and starts the tailer; it goes on from where it was.
    fn restart(&mut self) {
        if let Some(tailer) = self.tailer.take() {
            self.checkpoint = tailer.position(self.taken);
            self.was_absent = self.checkpoint.is_none();
        }
        let moment = |writes: u64| Timestamp::from_second(1_800_000_000 + i64::try_from(writes).unwrap()).unwrap();
        let from = match &self.checkpoint {
            Some(position) => Origin::Position(position, moment(self.writes)),
            None if self.was_absent => Origin::Absent(moment(self.looked)),
            None => Origin::End,
        };
        let (tailer, start) = Tailer::start(&self.path(), Framing::LINES, from, self.clock.monotonic()).unwrap();
        self.looked = self.writes;
        self.taken = (0, 0);
        self.tailer = Some(tailer);
        self.start = Some(start);
    }

    /// Whether the tailer has an open file of which it knows nothing.
    fn has_read_nothing(&self) -> bool {
        let position = self.tailer.as_ref().and_then(|tailer| tailer.position(self.taken));
        position.is_some_and(|position| position.to_string().contains("-0-"))
    }

    #[track_caller]
    fn assert_records(&mut self, expected: &[&str]) {
        self.poll();
        assert_eq!(self.records, expected);
    }
}

/// A line that is long enough to tell files apart by their beginning.
fn line(name: &str) -> String {
    format!("{name} {}", "x".repeat(200))
}

#[test]
fn old_content_is_left_alone_at_the_first_start() {
    let mut stage = Stage::new();
    stage.write("old\nhal");
    stage.restart();
    assert_eq!(stage.start, Some(Start::AtEnd { offset: 4 }));
    stage.write("f\nnew\n");
    stage.assert_records(&["half", "new"]);
}

#[test]
fn a_file_and_a_folder_that_appear_later_are_read_from_their_beginning() {
    let mut stage = Stage::new();
    let path = stage.folder.path().join("not/yet/eve.json");
    let (mut tailer, start) = Tailer::start(&path, Framing::LINES, Origin::End, Duration::ZERO).unwrap();
    assert_eq!(start, Start::Awaiting);
    assert_eq!(tailer.poll(Duration::ZERO, |_| Turn::More).unwrap(), Progress::Idle);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "one\n").unwrap();
    tailer
        .poll(Duration::ZERO, |record| {
            stage.records.push(String::from_utf8_lossy(record.bytes).into_owned());
            Turn::More
        })
        .unwrap();
    assert_eq!(stage.records, ["one"]);
}

#[test]
fn a_file_that_appears_while_nobody_follows_is_read_from_its_beginning() {
    let mut stage = Stage::following();
    stage.poll();
    stage.write("one\n");
    stage.rename();
    stage.reopen();
    stage.write("two\n");
    stage.restart();
    assert_eq!(stage.start, Some(Start::Appeared { files: 2 }));
    stage.assert_records(&["one", "two"]);
}

#[test]
fn skipped_nuls_are_counted_through_files() {
    let mut stage = Stage::following();
    stage.write("one\0\0\ntwo\n");
    stage.poll();
    stage.rename();
    stage.reopen();
    stage.write("\0three\n");
    stage.assert_records(&["Cut one", "", "two", "three"]);
    assert_eq!(stage.tailer.as_ref().unwrap().skipped_nuls(), 3);
}

#[test]
fn half_a_line_waits_for_the_rest_also_through_a_restart() {
    let mut stage = Stage::following();
    stage.write("one\ntw");
    stage.assert_records(&["one"]);
    stage.restart();
    stage.assert_records(&["one"]);
    stage.write("o\n");
    stage.assert_records(&["one", "two"]);
}

#[test]
fn a_renamed_file_is_followed_until_the_new_one_has_content() {
    let mut stage = Stage::following();
    stage.write("one\n");
    stage.poll();
    stage.rename();
    stage.write("two\n");
    stage.assert_records(&["one", "two"]);
    File::create(stage.path()).unwrap();
    stage.write("three\n");
    stage.assert_records(&["one", "two", "three"]);
    stage.write("four\n");
    stage.reopen();
    stage.write("five\n");
    stage.assert_records(&["one", "two", "three", "four", "five"]);
}

#[test]
fn several_renames_between_two_looks_lose_nothing() {
    let mut stage = Stage::following();
    stage.write("one\n");
    stage.poll();
    for name in ["two", "three", "four"] {
        stage.write(&format!("last of its file, before {name}\n"));
        stage.rename();
        stage.reopen();
        stage.write(&format!("{name}\n"));
    }
    stage.assert_records(&["one", "last of its file, before two", "two", "last of its file, before three", "three", "last of its file, before four", "four"]);
}

#[test]
fn a_rename_while_nobody_follows_is_found_again() {
    let mut stage = Stage::following();
    stage.write("one\n");
    stage.poll();
    stage.write("two\n");
    stage.rename();
    stage.reopen();
    stage.write("three\n");
    stage.rename();
    stage.reopen();
    stage.write("four\n");
    stage.restart();
    assert_eq!(stage.start, Some(Start::Resumed { offset: 4, files: 3 }));
    stage.assert_records(&["one", "two", "three", "four"]);
}

#[test]
fn a_renamed_file_without_successor_is_still_followed_after_a_restart() {
    let mut stage = Stage::following();
    stage.write("one\n");
    stage.poll();
    stage.rename();
    stage.restart();
    stage.write("two\n");
    stage.assert_records(&["one", "two"]);
    stage.reopen();
    stage.write("three\n");
    stage.assert_records(&["one", "two", "three"]);
}

#[test]
fn a_cut_file_is_read_from_its_beginning() {
    let mut stage = Stage::following();
    stage.write(&(line("one") + "\n"));
    stage.poll();
    stage.copytruncate();
    stage.poll();
    stage.write("two\n");
    stage.assert_records(&[&line("one"), "two"]);
}

#[test]
fn a_cut_file_that_grew_past_the_old_place_is_recognised() {
    let mut stage = Stage::following();
    let names = ["one", "two", "three", "four"].map(line);
    let [one, two, three, four] = names.each_ref().map(String::as_str);
    stage.write(&format!("{one}\n"));
    stage.poll();
    stage.copytruncate();
    stage.write(&format!("{two}\n{three}\n"));
    stage.assert_records(&[one, two, three]);
    stage.copytruncate();
    stage.write(&format!("{four}\n{four}\n{four}\n"));
    stage.restart();
    stage.assert_records(&[one, two, three, four, four, four]);
}

#[test]
fn what_was_cut_before_it_was_read_is_read_from_the_copy() {
    for restarted in [false, true] {
        let mut stage = Stage::following();
        stage.write(&(line("one") + "\nbegin"));
        stage.poll();
        stage.write("ning\nunread\n");
        stage.copytruncate();
        stage.write("new\n");
        if restarted {
            stage.restart();
        }
        stage.assert_records(&[&line("one"), "beginning", "unread", "new"]);
    }
}

#[test]
fn a_writer_with_an_old_offset_leaves_a_hole_that_is_skipped() {
    let mut stage = Stage::following();
    stage.write("one\ntwo\n");
    stage.poll();
    let writer = OpenOptions::new().write(true).open(stage.path()).unwrap();
    writer.set_len(0).unwrap();
    writer.write_all_at(b"three\n", 8).unwrap();
    stage.assert_records(&["one", "two", "three"]);
}

#[test]
fn an_unlinked_file_is_read_on_while_its_writer_lives() {
    let mut stage = Stage::following();
    stage.write("one\n");
    stage.poll();
    fs::remove_file(stage.path()).unwrap();
    stage.write("two\n");
    stage.assert_records(&["one", "two"]);
    stage.reopen();
    stage.write("three\n");
    stage.assert_records(&["one", "two", "three"]);
}

#[test]
fn a_file_that_is_gone_is_said_to_be_lost() {
    let mut stage = Stage::following();
    stage.write("one\n");
    stage.poll();
    fs::remove_file(stage.path()).unwrap();
    stage.reopen();
    stage.write("two\n");
    stage.restart();
    assert_eq!(stage.start, Some(Start::Lost { files: 1 }));
    stage.assert_records(&["one", "two"]);
}

#[test]
fn a_rest_without_newline_is_told_when_the_file_is_finished() {
    let mut stage = Stage::following();
    stage.write("one\nrest");
    stage.poll();
    stage.rename();
    stage.reopen();
    stage.write("two\n");
    stage.assert_records(&["one", "Cut rest", "two"]);
}

#[test]
fn what_is_no_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let error = Tailer::start(folder.path(), Framing::LINES, Origin::End, Duration::ZERO).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("no regular file"), "{source}");
}

#[test]
fn compressed_archives_are_not_read() {
    let mut stage = Stage::following();
    stage.write("one\n");
    stage.poll();
    stage.rename();
    fs::write(stage.archive(7), b"\x1f\x8b\x08 not text\n").unwrap();
    stage.reopen();
    stage.write("two\n");
    stage.assert_records(&["one", "two"]);
}

#[test]
fn records_are_live_only_when_the_end_was_seen_just_before() {
    let mut stage = Stage::following();
    stage.poll();
    let is_live = |stage: &mut Stage, after: u64| {
        stage.write("line\n");
        stage.clock.advance(Duration::from_secs(after));
        let mut live = None;
        stage
            .tailer
            .as_mut()
            .unwrap()
            .poll(stage.clock.monotonic(), |record| {
                live = Some(record.live);
                Turn::More
            })
            .unwrap();
        live
    };
    assert_eq!(is_live(&mut stage, 1), Some(true));
    assert_eq!(is_live(&mut stage, 60), Some(false));
    assert_eq!(is_live(&mut stage, 1), Some(true));
    stage.restart();
    assert_eq!(is_live(&mut stage, 1), Some(false), "the end was not seen since the restart");
}

/// What may happen between two looks.
#[derive(Clone, Debug)]
enum Step {
    Write(u8),
    WritePart,
    Poll,
    PollSome(u8),
    Rename { create: bool },
    Reopen,
    Copytruncate,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..5).prop_map(Step::Write),
        1 => Just(Step::WritePart),
        3 => Just(Step::Poll),
        2 => (1u8..4).prop_map(Step::PollSome),
        1 => any::<bool>().prop_map(|create| Step::Rename { create }),
        2 => Just(Step::Reopen),
        1 => Just(Step::Copytruncate),
        2 => Just(Step::Restart),
    ]
}

/// The shadow: every record that was written, in order.
#[derive(Default)]
struct Shadow {
    written: Vec<String>,
    part: Option<String>,
}

impl Shadow {
    fn write(&mut self, stage: &mut Stage) {
        let name = line(&format!("record {}", self.written.len()));
        let rest = match self.part.take() {
            Some(part) => name[part.len()..].to_owned(),
            None => name.clone(),
        };
        stage.write(&(rest + "\n"));
        self.written.push(name);
    }

    fn write_part(&mut self, stage: &mut Stage) {
        if self.part.is_none() {
            let name = line(&format!("record {}", self.written.len()));
            let part = name[..name.len() / 2].to_owned();
            stage.write(&part);
            self.part = Some(part);
        }
    }
}

fn carry_out(stage: &mut Stage, shadow: &mut Shadow, step: &Step) {
    let there = stage.path().exists();
    match step {
        Step::Write(count) => (0..*count).for_each(|_| shadow.write(stage)),
        Step::WritePart => shadow.write_part(stage),
        Step::Poll => stage.poll(),
        Step::PollSome(count) => drop(stage.poll_records(usize::from(*count))),
        // Rotations leave empty files alone, and those that the writer has not moved to yet.
        Step::Rename { create } if there && writer_is_at_path(stage) && stage.writer.as_ref().unwrap().metadata().unwrap().len() > 0 => {
            stage.rename();
            if *create {
                let new = File::create(stage.path()).unwrap();
                stage.stamp(&new);
            }
        }
        // A sensor finishes the record that it is writing before it reopens.
        Step::Reopen => {
            if shadow.part.is_some() {
                shadow.write(stage);
            }
            stage.reopen();
        }
        // A record of which the copy has the first and the cut file the second part is lost to everybody. Nothing tells an empty file from one that was written and cut
        // before anything of it was read.
        Step::Copytruncate if there && shadow.part.is_none() && writer_is_at_path(stage) => {
            if stage.has_read_nothing() {
                stage.poll();
            }
            stage.copytruncate();
        }
        Step::Restart => stage.restart(),
        Step::Rename { .. } | Step::Copytruncate => {}
    }
}

fn writer_is_at_path(stage: &Stage) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |metadata: std::io::Result<fs::Metadata>| metadata.map(|metadata| metadata.ino()).ok();
    stage.writer.as_ref().is_some_and(|writer| inode(writer.metadata()) == inode(fs::metadata(stage.path())))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn every_record_comes_once_and_in_order(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut stage, mut shadow) = (Stage::following(), Shadow::default());
        for step in &steps {
            carry_out(&mut stage, &mut shadow, step);
        }
        if shadow.part.is_some() {
            shadow.write(&mut stage);
        }
        stage.poll();
        let mut seen = BTreeMap::new();
        for record in &stage.records {
            *seen.entry(record.clone()).or_insert(0) += 1;
        }
        prop_assert_eq!(&stage.records, &shadow.written, "{:?} in {:?}", seen, stage.folder.path());
    }
}
