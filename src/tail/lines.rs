//! Cutting a stream of bytes into records, in bounded memory.
//!
//! A record ends at a newline. It also ends at a NUL: a hole that a writer with an old offset leaves after a truncation, and blocks that a power loss left unwritten, read
//! as NULs, and what follows them is a record of its own. Runs of NULs between records are skipped without being kept, however long. A record longer than
//! [`MAX_RECORD_BYTES`] is given up, told once, and reading goes on behind its newline.
//!
//! Records of some formats may hold newlines (see [`Framing`]): a line that begins a record and lacks its end waits for the next one, up to [`MAX_LINES`] in all, and takes it in unless
//! a record begins there. At the end of a file, what waits is told as it is.

use std::io::{self, Read};

use crate::alert::parse::Framing;

/// The longest record that is handed out. The longest that Suricata was seen to write is 26 KB.
pub const MAX_RECORD_BYTES: usize = 1 << 20;
/// The most lines that one record may have.
const MAX_LINES: usize = 16;
const CHUNK_BYTES: usize = 256 << 10;
const NULS: [u8; 4096] = [0; 4096];

/// One record of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Where its first byte lies in the stream.
    pub offset: u64,
    /// All its bytes, newline included.
    pub length: u64,
    /// Its bytes without the newline; empty for [`Shape::TooLong`].
    pub bytes: &'a [u8],
    /// How it ended.
    pub shape: Shape,
}

impl Line<'_> {
    /// The offset behind it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// How a record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// With a newline.
    Whole,
    /// Without one: the stream ended there, or NULs follow.
    Cut,
    /// It is longer than [`MAX_RECORD_BYTES`]; its bytes are gone.
    TooLong,
}

/// Reads a stream and cuts it. Holds at most one record and one chunk.
#[derive(Debug)]
pub struct Lines {
    /// Bytes read and not handed out are `buffer[start..]`.
    buffer: Vec<u8>,
    start: usize,
    /// `buffer[start..scanned]` holds no end of a record.
    scanned: usize,
    /// The stream's offset of `buffer[start]`.
    offset: u64,
    /// Bytes of a too long record that were dropped already.
    dropped: u64,
    /// NULs skipped so far, in bytes.
    skipped_nuls: u64,
    framing: Framing,
    /// The record so far ends here, before a newline, if the next line does not belong to it.
    open: Option<usize>,
    /// Lines of the record so far.
    lines: usize,
}

impl Lines {
    /// Starts at `offset` of the stream, which must be the start of a record.
    #[must_use]
    pub fn starting_at(offset: u64, framing: Framing) -> Self {
        Self { buffer: Vec::new(), start: 0, scanned: 0, offset, dropped: 0, skipped_nuls: 0, framing, open: None, lines: 0 }
    }

    /// The start of the first record that was not handed out.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The offset behind the last byte read: where [`Self::fill`] expects the stream to stand.
    #[must_use]
    pub fn read_offset(&self) -> u64 {
        self.offset + self.dropped + self.pending().len() as u64
    }

    /// How many NUL bytes were skipped so far.
    #[must_use]
    pub fn skipped_nuls(&self) -> u64 {
        self.skipped_nuls
    }

    /// Whether a part of a record waits for its end.
    #[must_use]
    pub fn has_partial(&self) -> bool {
        self.dropped > 0 || !self.pending().is_empty()
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads on; 0 means that the stream has no more at present.
    ///
    /// # Errors
    /// What the stream says.
    pub fn fill(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.open = self.open.map(|end| end - self.start);
        self.start = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + CHUNK_BYTES, 0);
        let read = stream.read(self.buffer.get_mut(kept..).unwrap_or_default());
        self.buffer.truncate(kept + read.as_ref().map_or(0, |read| *read));
        read
    }

    /// Takes back the last `bytes` bytes that were read, before any record was handed out since.
    pub(super) fn unread(&mut self, bytes: usize) {
        self.buffer.truncate(self.buffer.len().saturating_sub(bytes).max(self.start));
        self.scanned = self.scanned.min(self.buffer.len());
        if self.open.is_some_and(|end| end >= self.buffer.len()) {
            self.open = None;
            self.lines = 0;
            self.scanned = self.start;
        }
    }

    /// The next record that is complete; `None` until more is read.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        if self.dropped == 0 {
            self.skip_nuls();
        }
        loop {
            let unscanned = self.buffer.get(self.scanned..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'\n', 0, unscanned) else {
                self.scanned = self.buffer.len();
                self.drop_too_long();
                return None;
            };
            let end = self.scanned + found;
            let newline = usize::from(self.buffer.get(end) == Some(&b'\n'));
            if let Some(before) = self.open {
                let next = self.buffer.get(before + 1..end).unwrap_or_default();
                if (next.is_empty() && newline == 0) || (self.framing.begins)(next) {
                    return Some(self.hand_out(before, 1));
                }
            }
            if newline == 0 || self.dropped > 0 || !self.goes_on(end) {
                return Some(self.hand_out(end, newline));
            }
            self.open = Some(end);
            self.lines += 1;
            self.scanned = end + 1;
        }
    }

    /// Whether the record that would end here may take in the next line.
    fn goes_on(&self, end: usize) -> bool {
        let record = self.buffer.get(self.start..end).unwrap_or_default();
        self.lines + 1 < MAX_LINES && record.len() <= MAX_RECORD_BYTES && (self.framing.goes_on)(record)
    }

    /// What is left, when the stream has ended for good: to be asked until there is no more.
    pub fn finish(&mut self) -> Option<Line<'_>> {
        if !self.has_partial() {
            return None;
        }
        match self.open {
            Some(end) => Some(self.hand_out(end, 1)),
            None => Some(self.hand_out(self.buffer.len(), 0)),
        }
    }

    /// Hands out `buffer[start..end]`, followed by so many bytes of newline.
    fn hand_out(&mut self, end: usize, newline: usize) -> Line<'_> {
        let (offset, start) = (self.offset, self.start);
        let length = self.dropped + (end + newline - start) as u64;
        let too_long = self.dropped > 0 || end - start > MAX_RECORD_BYTES;
        self.offset += length;
        self.dropped = 0;
        self.open = None;
        self.lines = 0;
        self.start = end + newline;
        self.scanned = self.start;
        let bytes = if too_long { &[][..] } else { self.buffer.get(start..end).unwrap_or_default() };
        let shape = match (too_long, newline) {
            (true, _) => Shape::TooLong,
            (false, 0) => Shape::Cut,
            (false, _) => Shape::Whole,
        };
        Line { offset, length, bytes, shape }
    }

    fn skip_nuls(&mut self) {
        let pending = self.pending();
        // Whole blocks first: a hole is long, and comparing blocks is fast.
        let blocks = pending.chunks(NULS.len()).take_while(|block| Some(*block) == NULS.get(..block.len())).map(<[u8]>::len).sum();
        let nuls: usize = blocks + pending.iter().skip(blocks).take_while(|byte| **byte == 0).count();
        if nuls > 0 {
            self.start += nuls;
            self.scanned = self.scanned.max(self.start);
            self.offset += nuls as u64;
            self.skipped_nuls += nuls as u64;
        }
    }

    /// Forgets the bytes of a record that has grown too long, and remembers how many they were.
    fn drop_too_long(&mut self) {
        if self.dropped > 0 || self.pending().len() > MAX_RECORD_BYTES {
            self.dropped += self.pending().len() as u64;
            self.buffer = Vec::new();
            self.open = None;
            self.lines = 0;
            self.start = 0;
            self.scanned = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every record of `bytes`, read in pieces of `piece` bytes, as (offset, length, shape, text).
    fn cut(bytes: &[u8], piece: usize) -> Vec<(u64, u64, Shape, Vec<u8>)> {
        cut_as(Framing::LINES, bytes, piece)
    }

    /// The same in a format whose records may hold newlines.
    fn cut_as(framing: Framing, bytes: &[u8], piece: usize) -> Vec<(u64, u64, Shape, Vec<u8>)> {
        let mut lines = Lines::starting_at(0, framing);
        let mut records = Vec::new();
        for mut part in bytes.chunks(piece.max(1)) {
            while lines.fill(&mut part).unwrap() > 0 {}
            while let Some(line) = lines.next_line() {
                records.push((line.offset, line.length, line.shape, line.bytes.to_vec()));
            }
        }
        assert_eq!(lines.read_offset(), bytes.len() as u64);
        while let Some(line) = lines.finish() {
            records.push((line.offset, line.length, line.shape, line.bytes.to_vec()));
        }
        records
    }

    fn record(offset: u64, length: u64, shape: Shape, text: &[u8]) -> (u64, u64, Shape, Vec<u8>) {
        (offset, length, shape, text.to_vec())
    }

    #[test]
    fn a_part_of_a_line_waits_for_its_newline() {
        let mut lines = Lines::starting_at(10, Framing::LINES);
        lines.fill(&mut &b"ab"[..]).unwrap();
        assert_eq!(lines.next_line(), None);
        assert_eq!((lines.offset(), lines.read_offset()), (10, 12));
        lines.fill(&mut &b"c\n"[..]).unwrap();
        assert_eq!(lines.next_line().map(|line| (line.offset, line.end(), line.bytes)), Some((10, 14, &b"abc"[..])));
    }

    #[test]
    fn nuls_end_a_record_and_are_skipped() {
        assert_eq!(
            cut(b"a\n\0\0\0b\nc\0\0d\n", 3),
            [record(0, 2, Shape::Whole, b"a"), record(5, 2, Shape::Whole, b"b"), record(7, 1, Shape::Cut, b"c"), record(10, 2, Shape::Whole, b"d"),]
        );
    }

    #[test]
    fn a_record_over_the_limit_is_told_once_and_the_next_one_read() {
        let mut bytes = vec![b'x'; 2 * MAX_RECORD_BYTES];
        bytes.extend_from_slice(b"\nnext\n");
        let long = 2 * MAX_RECORD_BYTES as u64 + 1;
        for piece in [1000, CHUNK_BYTES, 3 * MAX_RECORD_BYTES] {
            assert_eq!(cut(&bytes, piece), [record(0, long, Shape::TooLong, b""), record(long, 5, Shape::Whole, b"next")]);
        }
    }

    /// Records begin with `<` and end with `>`.
    const ANGLES: Framing = Framing { goes_on: |record| record.starts_with(b"<") && !record.ends_with(b">"), begins: |line| line.starts_with(b"<") };

    #[test]
    fn a_record_that_lacks_its_end_takes_in_the_next_lines() {
        for piece in 1..9 {
            assert_eq!(
                cut_as(ANGLES, b"<a>\n<b\nc\n>\nx\n", piece),
                [record(0, 4, Shape::Whole, b"<a>"), record(4, 7, Shape::Whole, b"<b\nc\n>"), record(11, 2, Shape::Whole, b"x")]
            );
        }
    }

    #[test]
    fn a_record_that_was_cut_does_not_swallow_the_next_one() {
        for piece in 1..9 {
            assert_eq!(
                cut_as(ANGLES, b"<cut\n<a>\n<cut\0<b>\n", piece),
                [
                    record(0, 5, Shape::Whole, b"<cut"),
                    record(5, 4, Shape::Whole, b"<a>"),
                    record(9, 4, Shape::Cut, b"<cut"),
                    record(14, 4, Shape::Whole, b"<b>")
                ]
            );
        }
    }

    #[test]
    fn what_waits_for_its_end_is_told_when_the_file_ends_and_is_bounded() {
        assert_eq!(cut_as(ANGLES, b"<cut\nrest", 3), [record(0, 5, Shape::Whole, b"<cut"), record(5, 4, Shape::Cut, b"rest")]);
        let endless = [&b"<cut\n"[..], &b"x\n".repeat(MAX_LINES)].concat();
        let records = cut_as(ANGLES, &endless, 1000);
        assert_eq!(records[0].1, 5 + 2 * (MAX_LINES as u64 - 1));
        assert_eq!(records.len(), 2);
    }

    #[test]
    fn a_hole_of_nuls_takes_no_memory() {
        let mut lines = Lines::starting_at(0, Framing::LINES);
        let mut hole = io::repeat(0).take(64 << 20);
        while lines.fill(&mut hole).unwrap() > 0 {
            assert_eq!(lines.next_line(), None);
        }
        assert!(lines.buffer.capacity() <= 2 * CHUNK_BYTES);
        assert_eq!(lines.skipped_nuls(), 64 << 20);
    }

    proptest! {
        #[test]
        fn the_size_of_the_pieces_changes_nothing(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(0), Just(b'a'), any::<u8>()], 0..60), piece in 1usize..9) {
            prop_assert_eq!(cut(&bytes, piece), cut(&bytes, 100));
        }

        #[test]
        fn nor_do_they_where_records_hold_newlines(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(0), Just(b'<'), Just(b'>'), Just(b'a')], 0..60), piece in 1usize..9) {
            prop_assert_eq!(cut_as(ANGLES, &bytes, piece), cut_as(ANGLES, &bytes, 100));
        }
    }
}
