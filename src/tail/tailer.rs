//! The tailer: which file is read next, and when one is finished.
//!
//! ```text
//!            rename: a newer file has the name, and has content
//!   current ───────────────────────────────────────────────────► the next in line (rotated files between the two, oldest first, then the new one)
//!      │     read to its end once more, then let go
//!      │
//!      └── cut, or replaced content (copytruncate) ─► the rest of what was cut, if a copy beside it holds it ─► the same file from 0
//! ```
//!
//! An empty new file does not end the old one: a writer goes on in the renamed file until it is told to reopen, and some create the new file only when they have something to
//! write. Once the new file has content the writer has moved, and a last read of the old one sees all of it.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use super::file::{Filled, OpenFile};
use super::folder::{self, Moment};
use super::lines::{Line, Shape};
use super::position::Position;
use crate::alert::parse::Framing;

/// Bytes that one poll reads at most, so that the caller gets its turn.
const POLL_BYTES: usize = 1 << 20;
/// Records that follow an end of the file seen this recently have only just been written.
const LIVE: Duration = Duration::from_secs(5);
/// How far back the start of the last record is looked for.
const LAST_RECORD_WINDOW: u64 = 1 << 20;
/// How many finished files are remembered.
const FINISHED: usize = 64;

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Which file of this tailer's life it is in, and the offset behind it: in the order of reading.
    pub place: (u64, u64),
    /// All its bytes in the file, newline included.
    pub length: u64,
    /// Its bytes without the newline; empty if it was too long.
    pub bytes: &'a [u8],
    /// How it ended.
    pub shape: Shape,
    /// Whether the tailer was at the end of the file when it was written.
    pub live: bool,
}

/// Whether the caller wants more records now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The next one.
    More,
    /// Enough; this one was taken.
    Stop,
}

/// Where a poll left off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// At the end of everything.
    Idle,
    /// There may be more; poll again.
    More,
}

/// How following began; each is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// There is no such file yet; it will be read from its beginning.
    Awaiting,
    /// Nothing is known of an earlier time: what is in the file already is left alone.
    AtEnd {
        /// Where reading begins.
        offset: u64,
    },
    /// There was no file when the checkpoint was saved: what has been written since is read, so many files.
    Appeared {
        /// Files to read.
        files: usize,
    },
    /// On from the checkpoint, through so many files.
    Resumed {
        /// Where reading begins in the first.
        offset: u64,
        /// Files to read.
        files: usize,
    },
    /// The file that the checkpoint names is gone: reading begins with the files that were written to since, so many.
    Lost {
        /// Files to read.
        files: usize,
    },
}

/// Where following begins.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// At the end of the file: nothing was followed before.
    End,
    /// At the beginning of what was written since, because there was no file then.
    Absent(Timestamp),
    /// On from a position that was saved then.
    Position(&'a Position, Timestamp),
}

/// Why the file cannot be read at the moment.
#[derive(Debug, Error)]
pub enum TailError {
    /// The operating system says so.
    #[error("Cannot read the alert file {}", path.display())]
    Read {
        /// The followed path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Follows one path.
#[derive(Debug)]
pub struct Tailer {
    path: PathBuf,
    framing: Framing,
    current: Option<OpenFile>,
    /// Files to read after the current one.
    queue: VecDeque<OpenFile>,
    /// The number of the current file among all that were read.
    ordinal: u64,
    finished: VecDeque<Position>,
    /// When the end of everything was seen last, in monotonic time.
    end_seen: Option<Duration>,
    /// NULs skipped in files that are finished.
    skipped_nuls: u64,
}

impl Tailer {
    /// Begins to follow `path`.
    ///
    /// # Errors
    /// When the file or its folder cannot be read.
    pub fn start(path: &Path, framing: Framing, from: Origin<'_>, now: Duration) -> Result<(Self, Start), TailError> {
        let mut tailer = Self {
            path: path.to_owned(),
            framing,
            current: None,
            queue: VecDeque::new(),
            ordinal: 0,
            finished: VecDeque::new(),
            end_seen: None,
            skipped_nuls: 0,
        };
        let start = match from {
            Origin::Position(position, saved_at) => tailer.resume(position, saved_at),
            Origin::Absent(saved_at) => tailer.look_for_what_appeared(saved_at),
            Origin::End => tailer.start_at_end(now),
        };
        let start = start.map_err(|source| tailer.error(source))?;
        Ok((tailer, start))
    }

    fn error(&self, source: io::Error) -> TailError {
        TailError::Read { path: self.path.clone(), source }
    }

    fn start_at_end(&mut self, now: Duration) -> io::Result<Start> {
        self.end_seen = Some(now);
        let Some(mut file) = self.open_if_there()? else {
            self.remember_archives()?;
            return Ok(Start::Awaiting);
        };
        let offset = file.last_record_end(LAST_RECORD_WINDOW)?;
        file.seek(offset)?;
        self.current = Some(file);
        Ok(Start::AtEnd { offset })
    }

    fn look_for_what_appeared(&mut self, saved_at: Timestamp) -> io::Result<Start> {
        self.queue_since(moment(saved_at), None)?;
        let files = self.queue.len();
        self.current = self.queue.pop_front();
        if files == 0 {
            self.remember_archives()?;
            return Ok(Start::Awaiting);
        }
        Ok(Start::Appeared { files })
    }

    fn resume(&mut self, position: &Position, saved_at: Timestamp) -> io::Result<Start> {
        let mut followed = self.open_if_there()?;
        let in_followed = followed.as_ref().map(|file| file.holds(position)).transpose()?.unwrap_or(false);
        let same_inode = followed.as_ref().is_some_and(|file| file.has_inode_of(position));
        let holder = if in_followed && same_inode { None } else { folder::holder_of(&self.path, self.framing, position).or_else(nothing_without_folder)? };
        // The very inode under another name comes first: two files may begin alike.
        if in_followed && holder.as_ref().is_none_or(|file| !file.has_inode_of(position)) {
            if let Some(file) = followed.as_mut() {
                file.seek(position.offset)?;
            }
            self.current = followed;
            return Ok(Start::Resumed { offset: position.offset, files: 1 });
        }
        let since = match &holder {
            Some(file) => file.modified()?,
            None => moment(saved_at),
        };
        let found = holder.is_some();
        if let Some(mut file) = holder {
            file.seek(position.offset)?;
            self.queue.push_back(file);
        }
        self.queue_since(since, Some(position))?;
        let files = self.queue.len();
        self.current = self.queue.pop_front();
        if files == 0 {
            self.remember_archives()?;
        }
        Ok(if found { Start::Resumed { offset: position.offset, files } } else { Start::Lost { files } })
    }

    /// Where reading stands: nothing before this position in reading order is needed again, given the place behind the last record that was taken.
    #[must_use]
    pub fn position(&self, taken: (u64, u64)) -> Option<Position> {
        let current = self.current.as_ref()?;
        let offset = if taken.0 == self.ordinal { taken.1.max(current.start()) } else { current.start() };
        Some(current.position(offset))
    }

    /// The place, in reading order, of a position that an earlier process wrote; `None` when no file that is to be read holds it, so that all records come after it.
    #[must_use]
    pub fn place_of(&self, position: &Position) -> Option<(u64, u64)> {
        let holds = |file: &OpenFile| file.holds(position).unwrap_or(false);
        let numbered = || (self.ordinal..).zip(self.current.iter().chain(&self.queue));
        // The very inode before a copy, and before a file that only begins alike.
        let very = numbered().find(|(_, file)| file.has_inode_of(position) && holds(file));
        very.or_else(|| numbered().find(|(_, file)| holds(file))).map(|(ordinal, _)| (ordinal, position.offset))
    }

    /// Where the tailer is: no record at or before this place will come any more.
    #[must_use]
    pub fn passed(&self) -> (u64, u64) {
        (self.ordinal, self.current.as_ref().map_or(0, |file| file.lines.offset()))
    }

    /// The size of the file that has the path now, in bytes; `None` when there is none.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        fs::metadata(&self.path).ok().map(|metadata| metadata.len())
    }

    /// How many NUL bytes were skipped so far: a hole that a writer left, or blocks that a power loss left unwritten.
    #[must_use]
    pub fn skipped_nuls(&self) -> u64 {
        self.skipped_nuls + self.current.as_ref().map_or(0, |file| file.lines.skipped_nuls())
    }

    /// Reads on and hands each record to `each`, until it says stop, the end is reached, or much has been read. `now` is monotonic time.
    ///
    /// # Errors
    /// When the file cannot be read; a later poll tries again and loses nothing.
    pub fn poll(&mut self, now: Duration, mut each: impl FnMut(Record<'_>) -> Turn) -> Result<Progress, TailError> {
        self.step(now, &mut each).map_err(|source| self.error(source))
    }

    fn step(&mut self, now: Duration, each: &mut dyn FnMut(Record<'_>) -> Turn) -> io::Result<Progress> {
        let live = self.end_seen.is_some_and(|seen| now.saturating_sub(seen) <= LIVE);
        let mut left = POLL_BYTES;
        loop {
            let ordinal = self.ordinal;
            let Some(current) = self.current.as_mut() else {
                if !self.open_first()? {
                    self.end_seen = Some(now);
                    return Ok(Progress::Idle);
                }
                continue;
            };
            while let Some(line) = current.lines.next_line() {
                if each(record(ordinal, &line, live)) == Turn::Stop {
                    return Ok(Progress::More);
                }
            }
            if left == 0 {
                return Ok(Progress::More);
            }
            match current.fill()? {
                Filled::Bytes(read) => left = left.saturating_sub(read),
                Filled::Replaced => {
                    if self.leave_replaced(live, each)? == Turn::Stop {
                        return Ok(Progress::More);
                    }
                }
                // The queue was empty when this end was seen: so the old file is read once more after the new one was seen to have content.
                Filled::End if self.queue.is_empty() => {
                    if !self.look_for_newer()? {
                        self.end_seen = Some(now);
                        return Ok(Progress::Idle);
                    }
                }
                Filled::End => {
                    if self.tell_rest(live, each) == Turn::Stop {
                        return Ok(Progress::More);
                    }
                    self.finish_current();
                }
            }
        }
    }

    /// While there is no file: opens the first one that has appeared, which may have been renamed since. False when there is none.
    fn open_first(&mut self) -> io::Result<bool> {
        self.queue_since(Moment::MIN, None)?;
        self.current = match self.queue.pop_front() {
            Some(first) => Some(first),
            None => self.open_if_there()?,
        };
        Ok(self.current.is_some())
    }

    /// What lies beside the followed file before it exists is none of ours.
    fn remember_archives(&mut self) -> io::Result<()> {
        let archives = folder::written_after(&self.path, self.framing, Moment::MIN, |_| false).or_else(nothing_without_folder)?;
        self.finished.extend(archives.iter().map(|file| file.position(0)));
        Ok(())
    }

    /// Whether there are newer files with content, now that the current one has lost the name; then they are in the queue.
    fn look_for_newer(&mut self) -> io::Result<bool> {
        let Some(current) = &self.current else { return Ok(false) };
        match fs::metadata(&self.path) {
            Ok(metadata) if current.is(&metadata) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let (since, position) = (current.modified()?, current.position(current.lines.read_offset()));
        self.queue_since(since, Some(&position))?;
        Ok(!self.queue.is_empty())
    }

    /// Queues the neighbours written since, and the followed file if its writer has moved to it.
    fn queue_since(&mut self, since: Moment, read: Option<&Position>) -> io::Result<()> {
        let finished = &self.finished;
        let is_read = |file: &OpenFile| finished.iter().chain(read).any(|position| file.matches(position).unwrap_or(false));
        let between = folder::written_after(&self.path, self.framing, since, is_read).or_else(nothing_without_folder)?;
        self.queue.extend(between);
        let followed = self.open_if_there()?;
        if let Some(file) = followed
            && file.size()? > 0
        {
            self.queue.push_back(file);
        }
        Ok(())
    }

    /// Tells what waits in the current file for a newline or for the rest of its record, which will not come any more.
    fn tell_rest(&mut self, live: bool, each: &mut dyn FnMut(Record<'_>) -> Turn) -> Turn {
        let Some(current) = self.current.as_mut() else { return Turn::More };
        while let Some(line) = current.lines.finish() {
            if each(record(self.ordinal, &line, live)) == Turn::Stop {
                return Turn::Stop;
            }
        }
        Turn::More
    }

    /// The current file has come to its end for good.
    fn finish_current(&mut self) {
        let Some(old) = self.current.take() else { return };
        self.skipped_nuls += old.lines.skipped_nuls();
        self.remember(old.position(old.lines.offset()));
        self.current = self.queue.pop_front();
        self.ordinal += 1;
    }

    /// The current file's content was cut or replaced. What was not read of it may be in the copy that the rotation made.
    fn leave_replaced(&mut self, live: bool, each: &mut dyn FnMut(Record<'_>) -> Turn) -> io::Result<Turn> {
        let Some(current) = &self.current else { return Ok(Turn::More) };
        let position = current.position(current.lines.offset());
        let copy = folder::holder_of(&self.path, self.framing, &position).or_else(nothing_without_folder)?.filter(|copy| !copy.has_inode_of(&position));
        let Some(mut copy) = copy else {
            let again = current.reopened()?;
            let turn = self.tell_rest(live, each);
            if turn == Turn::More {
                self.queue.push_front(again);
                self.finish_current();
            }
            return Ok(turn);
        };
        copy.seek(position.offset)?;
        // It may have been cut more than once.
        self.queue_since(copy.modified()?, Some(&position))?;
        if let Some(cut) = self.current.replace(copy) {
            self.skipped_nuls += cut.lines.skipped_nuls();
        }
        self.ordinal += 1;
        Ok(Turn::More)
    }

    /// The file that has the path now.
    fn open_if_there(&self) -> io::Result<Option<OpenFile>> {
        match OpenFile::open(&self.path, self.framing) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn remember(&mut self, position: Position) {
        if self.finished.len() == FINISHED {
            self.finished.pop_front();
        }
        self.finished.push_back(position);
    }
}

fn moment(time: Timestamp) -> Moment {
    Moment { seconds: time.as_second(), nanoseconds: i64::from(time.subsec_nanosecond()) }
}

fn record<'a>(ordinal: u64, line: &Line<'a>, live: bool) -> Record<'a> {
    Record { place: (ordinal, line.end()), length: line.length, bytes: line.bytes, shape: line.shape, live }
}

/// A folder that does not exist holds no file.
fn nothing_without_folder<T: Default>(error: io::Error) -> io::Result<T> {
    if error.kind() == io::ErrorKind::NotFound { Ok(T::default()) } else { Err(error) }
}
