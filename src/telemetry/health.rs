//! Whether a program is alive and ready: what its loops and tasks say about themselves, and what it still waits for.
//!
//! Alive: each loop says at least every so often that it goes round ([`Pulse`]); one that stopped saying so is stuck, and only a restart helps.
//! Ready: each part says that it works, or in a sentence what it waits for ([`Part`]). A part that waits for something outside the program does not make it less alive.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// What the loops and parts of one program say. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    loops: BTreeMap<u64, Loop>,
    parts: BTreeMap<String, Part>,
}

#[derive(Debug)]
struct Loop {
    name: String,
    limit: Duration,
    beaten: Duration,
}

/// What a part of the program says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// It works; a sentence says how.
    Ready(String),
    /// It cannot work yet; a sentence says what it waits for.
    Waits(String),
}

impl Health {
    /// Of a program whose loops have not begun.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner { clock, state: Mutex::default() }))
    }

    /// A loop, or a piece of work, that begins now. It is stuck when it was not beaten for `limit`; it is over when the answer is dropped.
    #[must_use]
    pub fn pulse(&self, name: impl Into<String>, limit: Duration) -> Pulse {
        let beaten = self.0.clock.monotonic();
        let mut state = self.state();
        state.next += 1;
        let key = state.next;
        state.loops.insert(key, Loop { name: name.into(), limit, beaten });
        drop(state);
        Pulse { health: self.clone(), key }
    }

    /// One sentence for each loop that is stuck.
    #[must_use]
    pub fn stuck(&self) -> Vec<String> {
        let now = self.0.clock.monotonic();
        let state = self.state();
        let late = state.loops.values().map(|each| (each, now.saturating_sub(each.beaten))).filter(|(each, silent)| *silent > each.limit);
        late.map(|(each, silent)| format!("{} has not moved for {} s (limit {} s)", each.name, silent.as_secs(), each.limit.as_secs())).collect()
    }

    /// How many loops and pieces of work are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.state().loops.len()
    }

    /// Says how a part is.
    pub fn set(&self, name: impl Into<String>, part: Part) {
        self.state().parts.insert(name.into(), part);
    }

    /// Forgets a part that is no more.
    pub fn forget(&self, name: &str) {
        self.state().parts.remove(name);
    }

    /// Forgets every part: the program begins anew.
    pub fn forget_all(&self) {
        self.state().parts.clear();
    }

    /// All parts by name.
    #[must_use]
    pub fn parts(&self) -> BTreeMap<String, Part> {
        self.state().parts.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sign of life of one loop; over when it is dropped.
#[derive(Debug)]
pub struct Pulse {
    health: Health,
    key: u64,
}

impl Pulse {
    /// The loop goes round.
    pub fn beat(&self) {
        let now = self.health.0.clock.monotonic();
        if let Some(each) = self.health.state().loops.get_mut(&self.key) {
            each.beaten = now;
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.health.state().loops.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn health() -> (Clock, Health) {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        (clock.clone(), Health::new(clock))
    }

    #[test]
    fn a_loop_that_stops_is_named_and_one_that_ends_is_not() {
        let (clock, health) = health();
        let (stuck, beating) = (health.pulse("the poller of cloud lab", Duration::from_secs(5)), health.pulse("other", Duration::from_secs(5)));
        let ended = health.pulse("ended", Duration::from_secs(5));
        drop(ended);
        clock.advance(Duration::from_secs(6));
        beating.beat();
        assert_eq!(health.stuck(), ["the poller of cloud lab has not moved for 6 s (limit 5 s)"]);
        stuck.beat();
        assert!(health.stuck().is_empty());
        assert_eq!(health.under_way(), 2);
    }

    #[test]
    fn a_part_is_what_it_last_said() {
        let (_, health) = health();
        health.set("watches", Part::Waits("the first list".into()));
        health.set("watches", Part::Ready("all listed".into()));
        assert_eq!(health.parts()["watches"], Part::Ready("all listed".into()));
        health.forget("watches");
        assert!(health.parts().is_empty());
    }
}
