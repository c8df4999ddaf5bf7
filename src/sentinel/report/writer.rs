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
        self.judge(now)
    }

    /// Looks for whoever was last seen to have it open, now that its path leads nowhere. `now` is monotonic.
    pub(super) fn look_for_the_last(&mut self, now: Duration) -> Writer {
        if let Some(found) = self.found.take_if(|found| !found.still_holds(found.file)) {
            tracing::debug!(process = found.process, "Who had the alert file open has gone");
            self.gone_since = Some(now);
        }
        match (&self.found, self.gone_since) {
            (Some(found), _) => Writer::Process(found.process),
            (None, Some(since)) => Writer::Gone(now.saturating_sub(since)),
            (None, None) => Writer::Hidden,
        }
    }

    fn judge(&mut self, now: Duration) -> Writer {
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
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    const APPENDING: &str = "0102001";
    const READING: &str = "0100000";

    /// A folder that reads like `/proc`, and an alert file. A real child process would hold, for a moment, what other tests have open.
    struct Host {
        folder: TempDir,
        eve: PathBuf,
    }

    impl Host {
        /// As a process of the host sees it, or of a pod.
        fn seen_from(namespace: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let eve = folder.path().join("eve.json");
            fs::write(&eve, "").unwrap();
            let host = Self { eve, folder };
            fs::create_dir_all(host.proc().join("self/ns")).unwrap();
            symlink(namespace, host.proc().join("self/ns/pid")).unwrap();
            fs::create_dir_all(host.proc().join("1/fd")).unwrap();
            host
        }

        fn pod() -> Self {
            Self::seen_from("pid:[4026532299]")
        }

        fn proc(&self) -> PathBuf {
            self.folder.path().join("proc")
        }

        /// A process that has the alert file open.
        fn start(&self, process: u32, flags: &str) {
            let folder = self.proc().join(process.to_string());
            fs::create_dir_all(folder.join("fd")).unwrap();
            fs::create_dir_all(folder.join("fdinfo")).unwrap();
            fs::write(folder.join("fdinfo/7"), format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t27\n")).unwrap();
            // The file itself, as the kernel's links do, under whatever name.
            fs::hard_link(&self.eve, folder.join("fd/7")).unwrap();
        }

        fn end(&self, process: u32) {
            fs::remove_dir_all(self.proc().join(process.to_string())).unwrap();
        }

        fn writers(&self) -> Writers {
            Writers { proc: self.proc(), ..Writers::new() }
        }

        fn look(&self, writers: &mut Writers, second: u64) -> Writer {
            writers.look(&fs::metadata(&self.eve).unwrap(), Duration::from_secs(second))
        }
    }

    fn gone(seconds: u64) -> Writer {
        Writer::Gone(Duration::from_secs(seconds))
    }

    #[test]
    fn the_process_that_writes_is_found_and_its_end_is_seen() {
        let (host, sensor, restarted) = (Host::pod(), 17, 99);
        let mut writers = host.writers();
        host.start(sensor, APPENDING);
        assert_eq!(host.look(&mut writers, 0), Writer::Process(sensor));
        host.end(sensor);
        assert_eq!(host.look(&mut writers, 2), gone(0));
        assert_eq!(host.look(&mut writers, 62), gone(60));
        host.start(restarted, APPENDING);
        assert_eq!(host.look(&mut writers, 80), Writer::Process(restarted));
    }

    #[test]
    fn a_process_that_only_reads_is_no_writer() {
        let host = Host::pod();
        host.start(17, READING);
        assert_eq!(host.look(&mut host.writers(), 0), Writer::Hidden);
    }

    #[test]
    fn a_writer_that_was_not_told_yet_to_reopen_a_renamed_file_is_still_the_writer() {
        let host = Host::pod();
        let mut writers = host.writers();
        host.start(17, APPENDING);
        host.look(&mut writers, 0);
        fs::rename(&host.eve, host.eve.with_extension("json.1")).unwrap();
        fs::write(&host.eve, "").unwrap();
        assert_eq!(host.look(&mut writers, 2), Writer::Process(17));
    }

    #[test]
    fn the_writer_of_a_file_that_was_renamed_and_not_made_anew_is_still_seen_and_so_is_its_end() {
        let host = Host::pod();
        let mut writers = host.writers();
        assert_eq!(writers.look_for_the_last(Duration::ZERO), Writer::Hidden);
        host.start(17, APPENDING);
        host.look(&mut writers, 0);
        fs::remove_file(&host.eve).unwrap();
        assert_eq!(writers.look_for_the_last(Duration::from_secs(900)), Writer::Process(17));
        host.end(17);
        assert_eq!(writers.look_for_the_last(Duration::from_secs(902)), gone(0));
        assert_eq!(writers.look_for_the_last(Duration::from_secs(1022)), gone(120));
    }

    #[test]
    fn that_nobody_is_found_proves_something_only_where_everybody_is_seen() {
        let pod = Host::pod();
        assert_eq!(pod.look(&mut pod.writers(), 0), Writer::Hidden);
        let host = Host::seen_from(FIRST_NAMESPACE);
        assert_eq!(host.look(&mut host.writers(), 0), gone(0));
        // A process whose files may not be looked at: here, what should be a folder is none.
        fs::create_dir_all(host.proc().join("5")).unwrap();
        fs::write(host.proc().join("5/fd"), "").unwrap();
        assert_eq!(host.look(&mut host.writers(), 0), Writer::Hidden);
    }
}
