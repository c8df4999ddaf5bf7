//! A window in which something may be done, which its holder moves on and which shuts by itself: the life of a Lease.
//!
//! How long it is still open is measured from *before* the request that moved it on, by two clocks, and the one that says less counts: time since boot, which goes on while the machine
//! sleeps or the process is stopped, and the wall clock, which jumps ahead when a machine was frozen from outside and time is set right afterwards. A wall clock that is set back
//! changes nothing.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use super::{Clock, Moment};

/// A window. All clones are the same one.
#[derive(Clone, Debug)]
pub struct Window(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    open: Mutex<Option<Open>>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    from: Moment,
    length: Duration,
}

/// The window shut before the work was done; how far it came is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time in which this could be done is over")]
pub struct Shut;

impl Window {
    /// One that never shuts.
    #[must_use]
    pub fn always() -> Self {
        Self(None)
    }

    /// One that is shut.
    #[must_use]
    pub fn shut(clock: Clock) -> Self {
        Self(Some(Arc::new(Inner { clock, open: Mutex::new(None) })))
    }

    /// Opens it, or keeps it open, for `length` from `from` on.
    pub fn open(&self, from: Moment, length: Duration) {
        if let Some(inner) = &self.0 {
            *inner.state() = Some(Open { from, length });
        }
    }

    /// Shuts it.
    pub fn close(&self) {
        if let Some(inner) = &self.0 {
            *inner.state() = None;
        }
    }

    /// How long it is still open: zero when it is shut, [`Duration::MAX`] when it never shuts.
    #[must_use]
    pub fn left(&self) -> Duration {
        let Some(inner) = &self.0 else { return Duration::MAX };
        let Some(Open { from, length }) = *inner.state() else { return Duration::ZERO };
        length.saturating_sub(inner.clock.moment().since(from))
    }

    /// Does something as long as the window is open, less `margin`. Nothing begins in a window that is shut, and nothing goes on in one: before each step the clocks are read, so that a process
    /// that was stopped in the middle does not go on where it was.
    ///
    /// # Errors
    ///
    /// [`Shut`] when the window shut first.
    pub async fn within<T>(&self, margin: Duration, work: impl Future<Output = T>) -> Result<T, Shut> {
        if self.0.is_none() {
            return Ok(work.await);
        }
        let left = self.left().saturating_sub(margin);
        let mut work = pin!(work);
        let guarded = std::future::poll_fn(|context| if self.left() <= margin { Poll::Ready(Err(Shut)) } else { work.as_mut().poll(context).map(Ok) });
        tokio::time::timeout(left, guarded).await.unwrap_or(Err(Shut))
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(15);
    const MARGIN: Duration = Duration::from_secs(1);

    fn window() -> (Clock, Window) {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        (clock.clone(), Window::shut(clock))
    }

    #[test]
    fn it_is_open_from_before_the_request_that_opened_it() {
        let (clock, window) = window();
        assert_eq!(window.left(), Duration::ZERO);
        let before = clock.moment();
        clock.advance(Duration::from_secs(3));
        window.open(before, LENGTH);
        assert_eq!(window.left(), Duration::from_secs(12));
        clock.advance(Duration::from_secs(20));
        assert_eq!(window.left(), Duration::ZERO);
        window.open(clock.moment(), LENGTH);
        window.close();
        assert_eq!(window.left(), Duration::ZERO);
    }

    #[test]
    fn a_wall_clock_that_jumps_ahead_shuts_it_and_one_that_is_set_back_does_not_keep_it_open() {
        let (clock, window) = window();
        window.open(clock.moment(), LENGTH);
        clock.step_to(Timestamp::from_second(60).unwrap());
        assert_eq!(window.left(), Duration::ZERO);
        clock.step_to(Timestamp::from_second(-3600).unwrap());
        clock.advance(Duration::from_secs(14));
        assert_eq!(window.left(), Duration::from_secs(1));
    }

    #[tokio::test]
    async fn nothing_begins_in_a_window_that_is_as_good_as_shut() {
        let (clock, window) = window();
        window.open(clock.moment(), LENGTH);
        assert_eq!(window.within(MARGIN, async { 1 }).await, Ok(1));
        clock.advance(Duration::from_millis(14_000));
        let mut begun = false;
        assert_eq!(window.within(MARGIN, async { begun = true }).await, Err(Shut));
        assert!(!begun);
        assert_eq!(Window::always().within(MARGIN, async { 2 }).await, Ok(2));
    }

    #[tokio::test]
    async fn what_was_stopped_in_the_middle_does_not_go_on_when_the_window_is_shut() {
        let (clock, window) = window();
        window.open(clock.moment(), LENGTH);
        let mut sent = false;
        let work = async {
            tokio::task::yield_now().await;
            // As a SIGSTOP would, between two steps.
            clock.advance(Duration::from_secs(60));
            tokio::task::yield_now().await;
            sent = true;
        };
        assert_eq!(window.within(MARGIN, work).await, Err(Shut));
        assert!(!sent);
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_longer_than_the_window_ends_with_it() {
        let (clock, window) = window();
        window.open(clock.moment(), LENGTH);
        assert_eq!(window.within(MARGIN, std::future::pending::<()>()).await, Err(Shut));
    }
}
