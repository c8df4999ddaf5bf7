//! The only place that reads time, so that a test can set it.
//!
//! Two kinds of time: [`Clock::now`] is the wall clock, for what is written into objects and compared with other machines' stamps;
//! [`Clock::monotonic`] never jumps, for how long something took or when something is due. The system clock is used everywhere outside tests; a test that needs
//! to decide what time it is makes a [`Clock::manual`] one and moves it. [`Clock::moment`] is for what must end in time even if the machine sleeps meanwhile; see [`Window`].

mod window;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

pub use window::{Shut, Window};

/// A source of time; cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Mutex<Manual>>),
}

#[derive(Debug)]
struct Manual {
    wall: Timestamp,
    elapsed: Duration,
}

impl Clock {
    /// The machine's own clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `wall` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(wall: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(Mutex::new(Manual { wall, elapsed: Duration::ZERO }))))
    }

    /// The wall clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is the one place")]
            Source::System => Timestamp::now(),
            Source::Manual(manual) => lock(manual).wall,
        }
    }

    /// Time since some fixed moment in this process; never goes back.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System => boot_relative(),
            Source::Manual(manual) => lock(manual).elapsed,
        }
    }

    /// Now, by both clocks that go on while the machine sleeps.
    #[must_use]
    pub fn moment(&self) -> Moment {
        let since_boot = match &self.0 {
            Source::System => since_boot(),
            Source::Manual(manual) => lock(manual).elapsed,
        };
        Moment { since_boot, wall: self.now() }
    }

    /// Moves a manual clock forward, both kinds of time. Does nothing to the system clock.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(manual) = &self.0 {
            let mut manual = lock(manual);
            manual.elapsed += by;
            manual.wall = manual.wall.checked_add(by).unwrap_or(Timestamp::MAX);
        }
    }

    /// Sets a manual clock's wall time alone, as a step of NTP does. Does nothing to the system clock.
    pub fn step_to(&self, wall: Timestamp) {
        if let Source::Manual(manual) = &self.0 {
            lock(manual).wall = wall;
        }
    }
}

/// A moment by two clocks: time since boot, sleep included, and the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    since_boot: Duration,
    wall: Timestamp,
}

impl Moment {
    /// The time since an earlier moment, by the clock that says more.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let by_wall = Duration::try_from(self.wall.duration_since(earlier.wall)).unwrap_or_default();
        self.since_boot.saturating_sub(earlier.since_boot).max(by_wall)
    }
}

fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn lock(manual: &Mutex<Manual>) -> std::sync::MutexGuard<'_, Manual> {
    manual.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[expect(clippy::disallowed_types, reason = "this is the one place")]
fn boot_relative() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_secs(3));
        assert_eq!(clock.now().as_second(), 3);
        assert_eq!(clock.monotonic(), Duration::from_secs(3));
    }

    #[test]
    fn a_step_of_the_wall_clock_leaves_monotonic_time_alone() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        clock.advance(Duration::from_secs(60));
        clock.step_to(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now().as_second(), 0);
        assert_eq!(clock.monotonic(), Duration::from_secs(60));
    }
}
