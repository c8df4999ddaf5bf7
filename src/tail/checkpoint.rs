//! The checkpoint: one small file that says how far the alert file was read and what each slot held at that point.
//!
//! It is replaced as a whole (written beside itself, flushed to the disk, renamed), so a crash leaves the old or the new one. A lock on a file beside it keeps a second
//! sentinel out of the same folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::position::Position;
use super::tailer::Origin;
use crate::alert::series::SavedSlot;

const VERSION: u32 = 2;
const NAME: &str = "checkpoint.json";

/// What the file holds: everything before the sources' positions was delivered, and made the slots what they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    version: u32,
    /// When it was saved, by the node's clock.
    pub saved_at: Timestamp,
    /// How far each source was read.
    pub sources: Vec<SavedSource>,
    /// The slots at that point.
    pub slots: Vec<SavedSlot>,
}

/// How far one alert file was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedSource {
    /// The source's name.
    pub name: String,
    /// The path that it followed; with another one, nothing is known of it.
    pub path: PathBuf,
    /// Absent when there was no file.
    pub position: Option<Position>,
}

impl Checkpoint {
    /// A checkpoint of now.
    #[must_use]
    pub fn new(saved_at: Timestamp, sources: Vec<SavedSource>, slots: Vec<SavedSlot>) -> Self {
        Self { version: VERSION, saved_at, sources, slots }
    }

    /// Where following this source begins.
    #[must_use]
    pub fn origin(&self, name: &str, path: &Path) -> Origin<'_> {
        match self.sources.iter().find(|source| source.name == name && source.path == path) {
            Some(SavedSource { position: Some(position), .. }) => Origin::Position(position, self.saved_at),
            Some(SavedSource { position: None, .. }) => Origin::Absent(self.saved_at),
            None => Origin::End,
        }
    }
}

/// What goes wrong with the state folder.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The folder cannot be made or used.
    #[error("Cannot use the state folder {}; it must be a folder that the sentinel may write to (--state-dir)", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("Another sentinel uses the state folder {}; give each its own with --state-dir", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The checkpoint cannot be read.
    #[error("Cannot read the checkpoint {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The checkpoint is damaged.
    #[error("The checkpoint {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
    /// The checkpoint was written by another version.
    #[error("The checkpoint {} was written by another version (format {found}, this version knows {VERSION})", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The checkpoint cannot be written.
    #[error("Cannot save the position in {}; alerts are delivered all the same, and read again after a restart", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

/// The folder that the checkpoint lives in, locked for this process.
#[derive(Debug)]
pub struct StateFolder {
    folder: PathBuf,
    _lock: File,
}

/// The part of a checkpoint that every version can read.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl StateFolder {
    /// Makes the folder if need be and locks it.
    ///
    /// # Errors
    /// When it cannot be used, or another process uses it.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let failed = |source| CheckpointError::Folder { folder: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(CheckpointError::InUse { folder: folder.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// The saved checkpoint; `None` when there is none yet.
    ///
    /// # Errors
    /// When there is one that cannot be used.
    pub fn load(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        let path = self.path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CheckpointError::Read { path, source }),
        };
        let damaged = |source| CheckpointError::Damaged { path: path.clone(), source };
        let Versioned { version } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if version != VERSION {
            return Err(CheckpointError::OtherVersion { path, found: version });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Replaces the checkpoint.
    ///
    /// # Errors
    /// When the folder cannot be written to; the old checkpoint stays as it was.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
        self.replace(checkpoint).map_err(|source| CheckpointError::Write { path: self.path(), source })
    }

    fn replace(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let temporary = self.folder.join(format!("{NAME}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(checkpoint)?)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path())?;
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let source = |name: &str, position: Option<&str>| SavedSource {
            name: name.to_owned(),
            path: "/alerts".into(),
            position: position.map(|text| text.parse().unwrap()),
        };
        let sources = vec![source("one", Some("7-4-0102030405060708:4")), source("two", None)];
        Checkpoint::new(Timestamp::from_second(1_800_000_000).unwrap(), sources, Vec::new())
    }

    #[test]
    fn what_was_saved_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        assert_eq!(state.load().unwrap(), None);
        state.save(&checkpoint()).unwrap();
        assert_eq!(state.load().unwrap(), Some(checkpoint()));
    }

    #[test]
    fn each_source_goes_on_from_where_it_was() {
        let checkpoint = checkpoint();
        let path = Path::new("/alerts");
        assert!(matches!(checkpoint.origin("one", path), Origin::Position(position, _) if position.offset == 4));
        assert!(matches!(checkpoint.origin("two", path), Origin::Absent(_)));
        assert!(matches!(checkpoint.origin("three", path), Origin::End));
        assert!(matches!(checkpoint.origin("one", Path::new("/elsewhere")), Origin::End));
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        state.save(&checkpoint()).unwrap();
        fs::write(folder.path().join("checkpoint.json.new"), "half").unwrap();
        assert_eq!(state.load().unwrap(), Some(checkpoint()));
    }

    #[test]
    fn a_damaged_checkpoint_and_one_of_another_version_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        fs::write(folder.path().join(NAME), "{\"version\":1,").unwrap();
        assert!(matches!(state.load(), Err(CheckpointError::Damaged { .. })));
        fs::write(folder.path().join(NAME), r#"{"version":3,"anything":[]}"#).unwrap();
        assert!(matches!(state.load(), Err(CheckpointError::OtherVersion { found: 3, .. })));
    }

    #[test]
    fn a_second_sentinel_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateFolder::open(folder.path()).unwrap();
        assert!(matches!(StateFolder::open(folder.path()), Err(CheckpointError::InUse { .. })));
        drop(first);
        StateFolder::open(folder.path()).unwrap();
    }
}
