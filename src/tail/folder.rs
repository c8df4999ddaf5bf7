//! Finding files again that were renamed or copied: the followed file's neighbours whose names begin with its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::OpenFile;
use super::position::Position;

/// A moment in seconds and nanoseconds, as file systems keep it.
pub(super) type Moment = (i64, i64);

/// All regular files beside `path` whose names begin with its name, itself left out. An unreadable one is left out too.
fn siblings(path: &Path) -> io::Result<Vec<OpenFile>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?.file_name();
        if entry != name && entry.as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
            let neighbour: PathBuf = folder.join(entry);
            found.extend(OpenFile::open(&neighbour, 0).ok().flatten());
        }
    }
    Ok(found)
}

/// The neighbour that holds `position`, the very inode before a copy.
pub(super) fn holder_of(path: &Path, position: &Position) -> io::Result<Option<OpenFile>> {
    let mut copy = None;
    for file in siblings(path)? {
        if file.holds(position)? {
            if file.has_inode_of(position) {
                return Ok(Some(file));
            }
            copy = Some(file);
        }
    }
    Ok(copy)
}

/// Neighbours that were written to at `moment` or later, oldest first, leaving out what `skip` knows and what has no name of a plain log (compressed ones).
pub(super) fn written_after(path: &Path, moment: Moment, skip: impl Fn(&OpenFile) -> bool) -> io::Result<Vec<OpenFile>> {
    let mut later = Vec::new();
    for file in siblings(path)? {
        let modified = file.modified()?;
        if modified >= moment && !skip(&file) && !file.is_compressed()? {
            later.push((modified, file));
        }
    }
    later.sort_by_key(|(modified, _)| *modified);
    Ok(later.into_iter().map(|(_, file)| file).collect())
}
