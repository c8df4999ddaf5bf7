//! Finding files again that were renamed or copied: the followed file's neighbours whose names begin with its own.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::OpenFile;
use super::position::Position;
use crate::alert::parse::Framing;

/// A moment as file systems keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
}

impl Moment {
    pub(super) const MIN: Self = Self { seconds: i64::MIN, nanoseconds: 0 };
}

/// A neighbour of the followed file.
struct Sibling {
    file: OpenFile,
    /// The number at the end of its name: rotations count upwards from the newest.
    number: u64,
}

/// All regular files beside `path` whose names begin with its name, itself left out. An unreadable one is left out too.
fn siblings(path: &Path, framing: Framing) -> io::Result<Vec<Sibling>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?.file_name();
        if entry != name && entry.as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
            let neighbour: PathBuf = folder.join(entry);
            let number = neighbour.extension().and_then(|number| number.to_str()?.parse().ok()).unwrap_or(0);
            found.extend(OpenFile::open(&neighbour, framing).ok().map(|file| Sibling { file, number }));
        }
    }
    Ok(found)
}

/// The neighbour that holds `position`, the very inode before a copy.
pub(super) fn holder_of(path: &Path, framing: Framing, position: &Position) -> io::Result<Option<OpenFile>> {
    let mut copy = None;
    for Sibling { file, .. } in siblings(path, framing)? {
        if file.holds(position)? {
            if file.has_inode_of(position) {
                return Ok(Some(file));
            }
            copy = Some(file);
        }
    }
    Ok(copy)
}

/// Neighbours that were written to at `moment` or later, oldest first, leaving out empty and compressed ones and what `skip` knows.
pub(super) fn written_after(path: &Path, framing: Framing, moment: Moment, skip: impl Fn(&OpenFile) -> bool) -> io::Result<Vec<OpenFile>> {
    let mut later = Vec::new();
    for Sibling { file, number } in siblings(path, framing)? {
        let modified = file.modified()?;
        if modified >= moment && file.size()? > 0 && !skip(&file) && !file.is_compressed()? {
            later.push(((modified, Reverse(number)), file));
        }
    }
    // The clock of a file system may stand still through two rotations.
    later.sort_by_key(|(age, _)| *age);
    Ok(later.into_iter().map(|(_, file)| file).collect())
}
