//! One look at an alert file from outside: what a sensor leaves for everybody to see. Each may block for as long as the file system does, so it is taken on a thread of its own.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;
use std::time::Duration;

use super::writer::Writers;
use crate::clock::Clock;
use crate::silence::sensor::{self, Writer};

/// What one look has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) file: sensor::File,
    pub(super) writer: Writer,
    pub(super) size: Option<u64>,
}

/// What is remembered of one file between looks.
#[derive(Debug)]
pub(super) struct Looker {
    absent_since: Option<Duration>,
    /// Whether there ever was a file.
    was_there: bool,
    writers: Writers,
}

impl Looker {
    pub(super) fn new() -> Self {
        Self { absent_since: None, was_there: false, writers: Writers::new() }
    }

    pub(super) fn look(&mut self, path: &Path, clock: &Clock) -> Sight {
        let now = clock.monotonic();
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.was_there => {
                return Sight { file: sensor::File::Away, writer: self.writers.look_for_the_last(now), size: None };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let since = *self.absent_since.get_or_insert(now);
                return Sight { file: sensor::File::Absent(now.saturating_sub(since)), writer: Writer::Hidden, size: None };
            }
            Err(error) => return Sight { file: sensor::File::Unreadable(error.to_string()), writer: Writer::Hidden, size: None },
        };
        (self.absent_since, self.was_there) = (None, true);
        Sight { file: content(path, &metadata, clock), writer: self.writers.look(&metadata, now), size: Some(metadata.len()) }
    }
}

fn content(path: &Path, metadata: &Metadata, clock: &Clock) -> sensor::File {
    // Opening a pipe would wait for its writer.
    let opened = if metadata.is_file() { File::open(path).map(drop) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")) };
    match opened {
        Err(error) => sensor::File::Unreadable(error.to_string()),
        Ok(()) if metadata.len() == 0 => sensor::File::Empty(age(metadata, clock)),
        Ok(()) => sensor::File::Filled,
    }
}

/// How long ago the file was last changed, by the node's clock; 0 where its stamp lies ahead.
fn age(metadata: &Metadata, clock: &Clock) -> Duration {
    use std::os::unix::fs::MetadataExt as _;
    let seconds = clock.now().as_second().saturating_sub(metadata.mtime());
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_absent_since_it_was_first_missed() {
        let (folder, clock, mut looker) = (tempfile::tempdir().unwrap(), Clock::manual(Timestamp::UNIX_EPOCH), Looker::new());
        let path = folder.path().join("eve.json");
        assert_eq!(looker.look(&path, &clock).file, sensor::File::Absent(Duration::ZERO));
        clock.advance(Duration::from_secs(90));
        assert_eq!(looker.look(&path, &clock).file, sensor::File::Absent(Duration::from_secs(90)));
        fs::write(&path, "{}\n").unwrap();
        let sight = looker.look(&path, &clock);
        assert_eq!((sight.file, sight.size), (sensor::File::Filled, Some(3)));
        fs::remove_file(&path).unwrap();
        clock.advance(Duration::from_secs(900));
        assert_eq!(looker.look(&path, &clock).file, sensor::File::Away, "rotated, whatever time it takes until the next is made");
    }

    #[test]
    fn an_empty_file_is_as_old_as_its_last_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        fs::write(&path, "").unwrap();
        let clock = Clock::manual(Clock::system().now());
        clock.advance(Duration::from_secs(86_500));
        let sensor::File::Empty(age) = Looker::new().look(&path, &clock).file else { panic!("it is empty") };
        assert!(age >= Duration::from_secs(86_400), "{age:?}");
    }

    #[test]
    fn what_is_no_file_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let sight = Looker::new().look(folder.path(), &Clock::system());
        assert_eq!(sight.file, sensor::File::Unreadable("it is no regular file".to_owned()));
    }
}
