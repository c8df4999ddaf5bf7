//! One open file: its identity, the records read from it, and whether its content is still the one that was read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::folder::Moment;
use super::lines::Lines;
use super::position::{HEAD_BYTES, Position};
use crate::alert::parse::Framing;

/// What reading on found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// So many bytes more.
    Bytes(usize),
    /// The end as it is at present.
    End,
    /// The content was replaced: the file was cut, and perhaps has grown again since.
    Replaced,
}

#[derive(Debug)]
pub(super) struct OpenFile {
    file: File,
    device: u64,
    inode: u64,
    /// The file's beginning, as far as it was written when we last looked, at most [`HEAD_BYTES`].
    head: Vec<u8>,
    /// Where reading began.
    start: u64,
    framing: Framing,
    pub(super) lines: Lines,
}

impl OpenFile {
    /// Opens a regular file for reading from its beginning. Anything else is refused before it is opened: opening a pipe would wait for its writer.
    pub(super) fn open(path: &Path, framing: Framing) -> io::Result<Self> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        Self::new(File::open(path)?, framing)
    }

    fn new(file: File, framing: Framing) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let mut open = Self { device: metadata.dev(), inode: metadata.ino(), head: Vec::new(), start: 0, lines: Lines::starting_at(0, framing), framing, file };
        open.learn_head()?;
        Ok(open)
    }

    /// The same file from its beginning.
    pub(super) fn reopened(&self) -> io::Result<Self> {
        Self::new(self.file.try_clone()?, self.framing)
    }

    pub(super) fn is(&self, metadata: &std::fs::Metadata) -> bool {
        self.inode == metadata.ino() && self.device == metadata.dev()
    }

    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The last change of its content.
    pub(super) fn modified(&self) -> io::Result<Moment> {
        let metadata = self.file.metadata()?;
        Ok(Moment { seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() })
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn position(&self, offset: u64) -> Position {
        Position::new(self.inode, &self.head, offset)
    }

    /// Whether the position lies in this file, judged by as much of its beginning as there is.
    pub(super) fn holds(&self, position: &Position) -> io::Result<bool> {
        Ok(position.is_in(self.inode, &self.beginning()?) && self.size()? >= position.offset)
    }

    /// Whether the position lies in this file's content, however long it is now.
    pub(super) fn matches(&self, position: &Position) -> io::Result<bool> {
        Ok(position.is_in(self.inode, &self.beginning()?))
    }

    /// Whether it is an archive that a log rotation compressed (gzip, bzip2, xz, zstd).
    pub(super) fn is_compressed(&self) -> io::Result<bool> {
        let beginning = self.beginning()?;
        Ok([&b"\x1f\x8b"[..], b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"].iter().any(|magic| beginning.starts_with(magic)))
    }

    pub(super) fn has_inode_of(&self, position: &Position) -> bool {
        position.has_inode(self.inode)
    }

    /// Reads on. What it read of a content that turns out to be replaced is dropped; the part of a record that was there before stays in `lines`.
    pub(super) fn fill(&mut self) -> io::Result<Filled> {
        let offset = self.lines.read_offset();
        if self.is_replaced(offset)? {
            return Ok(Filled::Replaced);
        }
        let read = self.lines.fill(&mut At { file: &self.file, offset })?;
        if read == 0 {
            return Ok(Filled::End);
        }
        if self.is_replaced(offset)? {
            self.lines.unread(read);
            return Ok(Filled::Replaced);
        }
        self.learn_head()?;
        Ok(Filled::Bytes(read))
    }

    fn is_replaced(&self, offset: u64) -> io::Result<bool> {
        if self.size()? < offset {
            return Ok(true);
        }
        let mut now = [0; HEAD_BYTES];
        let read = read_fully(&self.file, now.get_mut(..self.head.len()).unwrap_or_default())?;
        Ok(now.get(..read) != Some(&self.head))
    }

    fn learn_head(&mut self) -> io::Result<()> {
        if self.head.len() < HEAD_BYTES {
            let beginning = self.beginning()?;
            if beginning.starts_with(&self.head) {
                self.head = beginning;
            }
        }
        Ok(())
    }

    fn beginning(&self) -> io::Result<Vec<u8>> {
        let mut head = vec![0; HEAD_BYTES];
        let read = read_fully(&self.file, &mut head)?;
        head.truncate(read);
        Ok(head)
    }

    /// The offset behind the last newline: where to begin when what is there already is not wanted. Looks back at most `window` bytes.
    pub(super) fn last_record_end(&self, window: u64) -> io::Result<u64> {
        let size = self.size()?;
        let from = size.saturating_sub(window);
        let mut bytes = Vec::new();
        At { file: &self.file, offset: from }.take(size - from).read_to_end(&mut bytes)?;
        Ok(memchr::memrchr(b'\n', &bytes).map_or(if from == 0 { 0 } else { size }, |at| from + at as u64 + 1))
    }

    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.start = offset;
        self.lines = Lines::starting_at(offset, self.framing);
        self.learn_head()
    }
}

fn read_fully(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// A file as a stream from an offset.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
