//! Who has the alert file open for writing, as far as `/proc` shows.
//!
//! A process is recognised by the file itself, its device and inode, never by a path, which is another one in another mount namespace. Who was found is looked at directly from then on, and
//! counts as the writer also while it holds the file under its earlier inode: a sensor writes into a renamed file until it is told to reopen.
//!
//! That nobody is found proves something only when somebody was found before, or when every process of the host could be looked at: in the host's own process namespace, with no process hidden.
//! In a pod without `hostPID` the sensor is out of sight, and nothing is said.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use crate::silence::sensor::Writer;

/// The link to the process namespace of a kernel's first processes has this fixed number (PROC_PID_INIT_INO).
const FIRST_NAMESPACE: &str = "pid:[4026531836]";
/// The time between two looks at all processes, while nobody is found. There may be thousands.
const SEARCH_INTERVAL: Duration = Duration::from_secs(15);
/// The lowest two bits of a file's flags say how it was opened: 0 is for reading only.
const ACCESS_MODE: u32 = 0b11;

/// Remembers who writes one file.
#[derive(Debug)]
pub(super) struct Writers {
    proc: PathBuf,
    found: Option<Found>,
    gone_since: Option<Duration>,
    sees_all: bool,
    next_search: Duration,
}

#[derive(Debug)]
struct Found {
    process: u32,
    descriptor: PathBuf,
    file: FileId,
}

/// Which file it is, under whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Writers {
    pub(super) fn new() -> Self {
        Self { proc: PathBuf::from("/proc"), found: None, gone_since: None, sees_all: false, next_search: Duration::ZERO }
    }

    /// Looks for whoever has the file open. `now` is monotonic.
    pub(super) fn look(&mut self, file: &Metadata, now: Duration) -> Writer {
        let wanted = FileId::of(file);
        if let Some(found) = &self.found {
            if found.still_holds(wanted) {
                return Writer::Process(found.process);
            }
            self.found = None;
            self.gone_since = Some(now);
            self.next_search = now;
        }
        if now >= self.next_search {
            self.next_search = now + SEARCH_INTERVAL;
            let search = search(&self.proc, wanted);
            self.sees_all = search.sees_all;
            self.found = search.found;
        }
        match &self.found {
            Some(found) => {
                self.gone_since = None;
                Writer::Process(found.process)
            }
            None if self.sees_all || self.gone_since.is_some() => Writer::Gone(now.saturating_sub(*self.gone_since.get_or_insert(now))),
            None => Writer::Hidden,
        }
    }
}

impl Found {
    fn still_holds(&self, wanted: FileId) -> bool {
        fs::metadata(&self.descriptor).is_ok_and(|metadata| [wanted, self.file].contains(&FileId::of(&metadata)))
    }
}

struct Search {
    found: Option<Found>,
    /// Whether no process of the host was out of sight.
    sees_all: bool,
}

/// Looks at every process, until one is found. One that ends meanwhile, or that may not be looked at, is passed over.
fn search(proc: &Path, wanted: FileId) -> Search {
    let mut sees_all = fs::read_link(proc.join("self/ns/pid")).is_ok_and(|link| link.as_os_str() == FIRST_NAMESPACE) && proc.join("1").exists();
    for process in processes(proc) {
        match descriptor_of(proc, process, wanted) {
            Ok(Some(descriptor)) => return Search { found: Some(Found { process, descriptor, file: wanted }), sees_all },
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => sees_all = false,
        }
    }
    Search { found: None, sees_all }
}

fn processes(proc: &Path) -> impl Iterator<Item = u32> {
    let own = process::id();
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(move |process| *process != own)
}

/// The descriptor by which a process has the file open for writing.
fn descriptor_of(proc: &Path, process: u32, wanted: FileId) -> io::Result<Option<PathBuf>> {
    let folder = proc.join(process.to_string());
    for entry in fs::read_dir(folder.join("fd"))? {
        let entry = entry?;
        let is_wanted = fs::metadata(entry.path()).is_ok_and(|metadata| FileId::of(&metadata) == wanted);
        if is_wanted && is_for_writing(&folder.join("fdinfo").join(entry.file_name())) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

fn is_for_writing(info: &Path) -> bool {
    let Ok(text) = fs::read_to_string(info) else { return false };
    let flags = text.lines().find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| flags & ACCESS_MODE != 0)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process that holds what it is given as its standard output, and writes nothing.
    struct Holder(Child);

    impl Holder {
        fn of(file: File) -> Self {
            Self(Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(file).spawn().unwrap())
        }

        fn end(mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    impl Drop for Holder {
        fn drop(&mut self) {
            drop(self.0.kill());
            drop(self.0.wait());
        }
    }

    fn appending(path: &Path) -> File {
        File::options().create(true).append(true).open(path).unwrap()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_process_that_writes_is_found_and_its_end_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        let sensor = Holder::of(appending(&path));
        let (mut writers, file) = (Writers::new(), fs::metadata(&path).unwrap());
        assert_eq!(writers.look(&file, at(0)), Writer::Process(sensor.0.id()));
        sensor.end();
        assert_eq!(writers.look(&file, at(2)), Writer::Gone(at(0)));
        assert_eq!(writers.look(&file, at(62)), Writer::Gone(at(60)));
        let restarted = Holder::of(appending(&path));
        assert_eq!(writers.look(&file, at(80)), Writer::Process(restarted.0.id()));
    }

    #[test]
    fn a_process_that_only_reads_is_no_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        drop(appending(&path));
        let _reader = Holder::of(File::open(&path).unwrap());
        let seen = Writers::new().look(&fs::metadata(&path).unwrap(), at(0));
        assert!(matches!(seen, Writer::Hidden | Writer::Gone(_)), "{seen:?}");
    }

    #[test]
    fn a_writer_that_was_not_told_yet_to_reopen_a_renamed_file_is_still_the_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        let sensor = Holder::of(appending(&path));
        let mut writers = Writers::new();
        writers.look(&fs::metadata(&path).unwrap(), at(0));
        fs::rename(&path, folder.path().join("eve.json.1")).unwrap();
        drop(appending(&path));
        assert_eq!(writers.look(&fs::metadata(&path).unwrap(), at(2)), Writer::Process(sensor.0.id()));
    }

    #[test]
    fn who_sees_nobody_and_not_everybody_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        drop(appending(&path));
        let mut writers = Writers { proc: folder.path().join("no-proc"), ..Writers::new() };
        assert_eq!(writers.look(&fs::metadata(&path).unwrap(), at(0)), Writer::Hidden);
    }
}
