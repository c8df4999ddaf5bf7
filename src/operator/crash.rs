//! Points at which a test can make the operator end as `kill -9` does: before and after each write to Nova and to Kubernetes, the Lease included.
//!
//! They stand in the clients, where every write passes, and are named after what goes out: a write that somebody adds has its points by itself. A point is written
//! `before-WRITE[@ABOUT][#N]` or `after-WRITE[@ABOUT][#N]`: WRITE is Nova's (`live-migrate`, `disable-service`, see [`crate::openstack::NovaWrite`]) or VERB-RESOURCE (`patch-migrationruns/status`); ABOUT
//! is a part of the path or of the object's name; N counts from 1. `after` is when the answer is there and nothing was done with it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use crate::clock::Window;
use crate::kubernetes::writes::{Oversight, Write};

/// Before a write goes out, or when its answer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Nothing was sent.
    Before,
    /// It was answered, and nothing was done with the answer.
    After,
}

/// Where the operator is made to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Point {
    side: Side,
    write: String,
    about: String,
    nth: u32,
}

impl FromStr for Point {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text}: write before-WRITE or after-WRITE, with @PART-OF-THE-NAME and #COUNT where wanted");
        let (rest, nth) = match text.rsplit_once('#') {
            Some((rest, count)) => (rest, count.parse().map_err(|_| wrong())?),
            None => (text, 1),
        };
        let (rest, about) = rest.split_once('@').unwrap_or((rest, ""));
        let (side, write) = rest.split_once('-').ok_or_else(wrong)?;
        let side = match side {
            "before" => Side::Before,
            "after" => Side::After,
            _ => return Err(wrong()),
        };
        Ok(Self { side, write: write.to_owned(), about: about.to_owned(), nth })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.side == Side::Before { "before" } else { "after" };
        write!(f, "{side}-{}@{}#{}", self.write, self.about, self.nth)
    }
}

/// Which point, if any, was asked for, and how often it was passed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Crash(Option<Arc<(Point, AtomicU32)>>);

impl Crash {
    /// Ends the process at this point, or never.
    #[must_use]
    pub(super) fn at(point: Option<Point>) -> Self {
        Self(point.map(|point| Arc::new((point, AtomicU32::new(0)))))
    }

    /// Called at each write, on each side of it.
    pub(super) fn here(&self, side: Side, write: &str, about: &str) {
        if side == Side::Before {
            tracing::debug!(write, about, "A write goes out.");
        }
        if self.is_reached(side, write, about) {
            tracing::error!(write, about, ?side, "Ending here, as --crash-at asked.");
            // It fails only for a process that is not there.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }

    fn is_reached(&self, side: Side, write: &str, about: &str) -> bool {
        let Some((point, passed)) = self.0.as_deref() else { return false };
        let fits = point.side == side && point.write == write && about.contains(&point.about);
        fits && passed.fetch_add(1, Ordering::Relaxed) + 1 == point.nth
    }
}

/// What stands around a client of Kubernetes: its writes go out only while the window is open, each passes its two points, and `told` hears of each.
pub(super) fn oversight(window: Window, crash: &Crash, told: impl Fn(&Write<'_>) + Send + Sync + 'static) -> Oversight {
    let (before, after) = (crash.clone(), crash.clone());
    let word = |write: &Write<'_>| format!("{}-{}", write.verb, write.resource);
    Oversight::new(
        window,
        move |write| before.here(Side::Before, &word(write), write.name),
        move |write| {
            told(write);
            after.here(Side::After, &word(write), write.name);
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash(text: &str) -> Crash {
        Crash::at(Some(text.parse().unwrap()))
    }

    #[test]
    fn a_point_is_the_nth_write_of_a_kind_about_something() {
        let crash = crash("after-patch-migrationruns/status@abc#2");
        assert!(!crash.is_reached(Side::After, "patch-migrationruns/status", "abc-1"));
        assert!(!crash.is_reached(Side::Before, "patch-migrationruns/status", "abc-1"));
        assert!(!crash.is_reached(Side::After, "patch-migrationruns/status", "other"));
        assert!(!crash.is_reached(Side::After, "patch-migrationruns", "abc-1"));
        assert!(crash.is_reached(Side::After, "patch-migrationruns/status", "abc-1"));
        assert!(!crash.is_reached(Side::After, "patch-migrationruns/status", "abc-1"), "once");
    }

    #[test]
    fn without_more_it_is_the_first_write_about_anything() {
        let point: Point = "before-live-migrate".parse().unwrap();
        assert_eq!(point.to_string(), "before-live-migrate@#1");
        assert!(Crash::at(Some(point)).is_reached(Side::Before, "live-migrate", "/servers/x/action"));
        assert!(!Crash::default().is_reached(Side::Before, "live-migrate", ""));
    }

    #[test]
    fn what_is_no_point_is_refused_with_the_form() {
        for text in ["live-migrate", "amid-live-migrate", "before-x#many", "before"] {
            assert!(text.parse::<Point>().unwrap_err().contains("before-WRITE"), "{text}");
        }
    }
}
