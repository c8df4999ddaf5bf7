//! Says when it is worth looking at a file again: when the kernel reports a change in its folder, and every second in any case.
//!
//! The second makes up for everything that the kernel does not report: a folder that does not exist yet or was replaced, a full event queue, network and overlay file systems.

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
#[error("The kernel gives no notice of file changes, so the alert file is looked at once a second; raise fs.inotify.max_user_instances")]
pub struct NoNotice {
    source: io::Error,
}

/// Wakes whoever follows a path.
pub struct Wake {
    folder: PathBuf,
    name: OsString,
    notice: Option<EventStream<Vec<u8>>>,
    safety: Interval,
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wake").field("folder", &self.folder).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Wake {
    /// Watches the folder of `path`. Without the kernel's help it still wakes every second, and the error says why. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(path: &Path) -> (Self, Option<NoNotice>) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let mut safety = interval(SAFETY_INTERVAL);
        safety.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (notice, error) = match Inotify::init().and_then(|inotify| inotify.into_event_stream(vec![0; EVENT_BUFFER_BYTES])) {
            Ok(notice) => (Some(notice), None),
            Err(source) => (None, Some(NoNotice { source })),
        };
        let wake = Self { folder, name: path.file_name().unwrap_or_default().to_owned(), notice, safety };
        wake.watch();
        (wake, error)
    }

    /// Watches the folder that has the name now. Watching it twice changes nothing, so this also mends a watch on a folder that was replaced.
    fn watch(&self) {
        if let Some(notice) = &self.notice {
            let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::MOVED_FROM | WatchMask::DELETE;
            // A folder that is not there yet is tried again at the next tick.
            drop(notice.watches().add(&self.folder, mask));
        }
    }

    /// Returns when the file may have changed, at the latest after a second. Dropping the future loses nothing.
    pub async fn changed(&mut self) {
        loop {
            let Some(notice) = self.notice.as_mut() else {
                self.safety.tick().await;
                return;
            };
            let mut concerned = tokio::select! {
                event = notice.next() => concerns(&self.name, event),
                _ = self.safety.tick() => {
                    self.watch();
                    return;
                }
            };
            // One look at the file serves all events that are there already.
            for _ in 0..DRAINED_EVENTS {
                let Some(event) = notice.next().now_or_never() else { break };
                concerned |= concerns(&self.name, event);
            }
            if concerned {
                return;
            }
        }
    }
}

/// Whether an event is about a file whose name begins with `name`: a rotated file is written to under its new name. An event about the folder, or that events were lost, concerns everybody.
fn concerns(name: &OsString, event: Option<io::Result<EventOwned>>) -> bool {
    match event {
        Some(Ok(event)) => event.name.is_none_or(|changed| changed.as_encoded_bytes().starts_with(name.as_encoded_bytes())),
        Some(Err(_)) | None => true,
    }
}
