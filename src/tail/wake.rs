//! Says when it is worth looking at the files again: when the kernel reports a change in one of their folders, and every second in any case.
//!
//! The second makes up for everything that the kernel does not report: a folder that does not exist yet or was replaced, a full event queue, network and overlay file systems.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use inotify::{EventOwned, EventStream, Inotify, WatchMask};
use thiserror::Error;
use tokio::time::{Interval, MissedTickBehavior, interval};

const SAFETY_INTERVAL: Duration = Duration::from_secs(1);
const EVENT_BUFFER_BYTES: usize = 16 << 10;
const DRAINED_EVENTS: usize = 4096;

/// Why changes are only seen once a second.
#[derive(Debug, Error)]
#[error("The kernel gives no notice of file changes, so the alert files are looked at once a second; raise fs.inotify.max_user_instances")]
pub struct NoNotice {
    source: io::Error,
}

/// Wakes whoever follows these paths.
pub struct Wake {
    folders: BTreeSet<PathBuf>,
    names: Vec<OsString>,
    notice: Option<EventStream<Vec<u8>>>,
    safety: Interval,
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wake").field("folders", &self.folders).field("names", &self.names).finish_non_exhaustive()
    }
}

impl Wake {
    /// Watches the folders of `paths`. Without the kernel's help it still wakes every second, and the error says why. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a Path>) -> (Self, Option<NoNotice>) {
        let (mut folders, mut names) = (BTreeSet::new(), Vec::new());
        for path in paths {
            folders.insert(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned());
            names.push(path.file_name().unwrap_or_default().to_owned());
        }
        let mut safety = interval(SAFETY_INTERVAL);
        safety.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (notice, error) = match Inotify::init().and_then(|inotify| inotify.into_event_stream(vec![0; EVENT_BUFFER_BYTES])) {
            Ok(notice) => (Some(notice), None),
            Err(source) => (None, Some(NoNotice { source })),
        };
        let wake = Self { folders, names, notice, safety };
        wake.watch();
        (wake, error)
    }

    /// Watches the folders that have the names now. Watching one twice changes nothing, so this also mends a watch on a folder that was replaced.
    fn watch(&self) {
        if let Some(notice) = &self.notice {
            let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM | WatchMask::DELETE;
            for folder in &self.folders {
                // A folder that is not there yet is tried again at the next tick.
                drop(notice.watches().add(folder, mask));
            }
        }
    }

    /// Returns when a file may have changed, at the latest after a second. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        loop {
            let Some(notice) = self.notice.as_mut() else {
                self.safety.tick().await;
                return;
            };
            let mut concerned = tokio::select! {
                event = notice.next() => concerns(&self.names, event),
                _ = self.safety.tick() => {
                    self.watch();
                    return;
                }
            };
            // One look at the file serves all events that are there already.
            for _ in 0..DRAINED_EVENTS {
                let Some(event) = notice.next().now_or_never() else { break };
                concerned |= concerns(&self.names, event);
            }
            if concerned {
                return;
            }
        }
    }
}

/// Whether an event is about a file whose name begins with one of `names`: a rotated file is written to under its new name. An event about the folder, or that events were lost, concerns everybody.
fn concerns(names: &[OsString], event: Option<io::Result<EventOwned>>) -> bool {
    match event {
        Some(Ok(event)) => event.name.is_none_or(|changed| names.iter().any(|name| changed.as_encoded_bytes().starts_with(name.as_encoded_bytes()))),
        Some(Err(_)) | None => true,
    }
}
