//! A place in a file that can be found again after a restart, when the file may have another name or have been copied.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// How many bytes of a file's beginning tell it from others.
pub(super) const HEAD_BYTES: usize = 1024;
/// A beginning that is at least this long is taken for proof of the same content also in another inode. A record begins with its stamp, in microseconds.
const TELLING_HEAD_BYTES: usize = 64;

/// The end of a record in a file: the file's inode, its beginning as far as it was written, the offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Position {
    inode: u64,
    head_bytes: usize,
    head: String,
    /// Bytes before it in the file.
    pub offset: u64,
}

impl Position {
    /// The place `offset` in a file with this inode and beginning.
    pub(super) fn new(inode: u64, head: &[u8], offset: u64) -> Self {
        Self { inode, head_bytes: head.len(), head: digest(head), offset }
    }

    /// Whether it lies in a file with this inode and beginning.
    pub(super) fn is_in(&self, inode: u64, head: &[u8]) -> bool {
        let same_head = head.get(..self.head_bytes).is_some_and(|head| digest(head) == self.head);
        same_head && (self.inode == inode || self.head_bytes >= TELLING_HEAD_BYTES)
    }

    /// Whether the inode is the one that it was taken from.
    pub(super) fn has_inode(&self, inode: u64) -> bool {
        self.inode == inode
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}:{}", self.inode, self.head_bytes, self.head, self.offset)
    }
}

/// A text that is no position.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no position in a file; it reads INODE-BYTES-HASH:OFFSET")]
pub struct NoPosition {
    text: String,
}

impl FromStr for Position {
    type Err = NoPosition;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| NoPosition { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Position> {
    let (file, offset) = text.split_once(':')?;
    let mut parts = file.splitn(3, '-');
    let (inode, head_bytes, head) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Position { inode: inode.parse().ok()?, head_bytes: head_bytes.parse().ok()?, head: head.to_owned(), offset: offset.parse().ok()? })
}

impl From<Position> for String {
    fn from(position: Position) -> Self {
        position.to_string()
    }
}

impl TryFrom<String> for Position {
    type Error = NoPosition;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_as_text() {
        let position = Position::new(7, b"begi", 4);
        assert_eq!(position.to_string().parse(), Ok(position));
        assert!("7-x:4".parse::<Position>().is_err());
    }

    #[test]
    fn a_file_that_grew_is_the_same_one() {
        let position = Position::new(7, b"one\n", 4);
        assert!(position.is_in(7, b"one\ntwo\n"));
        assert!(!position.is_in(7, b"two\none\n"));
        assert!(!position.is_in(7, b""));
    }

    #[test]
    fn a_copy_is_recognised_only_by_a_telling_beginning() {
        assert!(!Position::new(7, b"one\n", 4).is_in(8, b"one\n"));
        let long = [b'x'; 200];
        assert!(Position::new(7, &long, 200).is_in(8, &long));
    }
}
