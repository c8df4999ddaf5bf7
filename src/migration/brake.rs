//! The brake: when moves of different servers fail alike before anything was copied, something that Nova depends on is down, and asking again at once only uses up what each server has.
//!
//! It closes the way after three servers in a row have failed alike; then one probe a minute goes out, by whichever server is next, until a copy begins.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::condition::shorten;
use crate::inventory::ServerId;

/// So many different servers in a row that fail alike.
const SERVERS: usize = 3;
/// The time between two probes.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);
/// How long Nova is left alone after too many requests where it does not say for how long.
const UNSAID_PAUSE: Duration = Duration::from_secs(10);
/// The shortest and the longest time that it is left alone, whatever it says.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Why nothing may start at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// In a word.
    pub reason: &'static str,
    /// When the next request may go out.
    pub until: Timestamp,
    /// A sentence with the common error.
    pub message: String,
}

/// The brake of one cloud. What it knows is lost with the process, and learnt again from three more failures.
#[derive(Clone, Debug, Default)]
pub struct Brake {
    /// The latest failures since the last copy began, each server once, oldest first.
    failures: VecDeque<Failure>,
    open: Option<Open>,
    /// Nova wants to be left alone for a while.
    pause: Option<Held>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    server: ServerId,
    /// What it has in common with others like it.
    kind: String,
}

#[derive(Clone, Debug)]
struct Open {
    words: String,
    next_probe: Timestamp,
}

impl Brake {
    /// A move failed before anything was copied, with these words of Nova's. `destination` is left out of the comparison.
    pub fn failed(&mut self, server: ServerId, destination: Option<&str>, words: &str, now: Timestamp) {
        let Some(kind) = kind(words, destination) else { return };
        self.failures.retain(|failure| failure.server != server);
        self.failures.push_back(Failure { server, kind: kind.clone() });
        while self.failures.len() > SERVERS {
            self.failures.pop_front();
        }
        let alike = self.failures.len() == SERVERS && self.failures.iter().all(|failure| failure.kind == kind);
        if alike && self.open.is_none() {
            self.open = Some(Open { words: shorten(words.to_owned(), 300), next_probe: later(now) });
        }
    }

    /// A copy has begun: whatever was down is there again.
    pub fn copied(&mut self) {
        self.failures.clear();
        self.open = None;
    }

    /// Whether it holds: what fails now uses up no attempt.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Nova says that too much was asked of it at once: nothing starts for as long as it wants, five minutes at most, and ten seconds where it does not say. Words are Nova's own.
    pub fn too_many_requests(&mut self, wanted: Option<Duration>, words: &str, now: Timestamp) {
        let pause = wanted.unwrap_or(UNSAID_PAUSE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        let message = format!("Nova was asked too much at once, and is left alone for {} s: {}", pause.as_secs(), shorten(words.to_owned(), 300));
        self.pause = Some(Held { reason: "TooManyRequests", until: after(now, pause), message });
    }

    /// Whether a move may start now, or when the next request may go out.
    pub fn may_start(&self, now: Timestamp) -> Result<(), Held> {
        if let Some(held) = self.pause.as_ref().filter(|held| now < held.until && held.until <= after(now, LONGEST_PAUSE)) {
            return Err(held.clone());
        }
        match &self.open {
            Some(open) if now < open.next_probe => {
                let message = format!(
                    "moves of {SERVERS} servers in a row failed alike before anything was copied, so something that Nova depends on may be down; one probe a minute goes out, and no attempt is used up. Nova says: {}",
                    open.words
                );
                Err(Held { reason: "DependencyDown", until: open.next_probe, message })
            }
            _ => Ok(()),
        }
    }

    /// A move starts, if it may: while the brake holds it is the probe of this minute, and nobody else's.
    pub fn start(&mut self, now: Timestamp) -> Result<(), Held> {
        self.may_start(now)?;
        if let Some(open) = &mut self.open {
            open.next_probe = later(now);
        }
        Ok(())
    }
}

fn later(now: Timestamp) -> Timestamp {
    after(now, PROBE_INTERVAL)
}

fn after(now: Timestamp, pause: Duration) -> Timestamp {
    now.checked_add(pause).unwrap_or(Timestamp::MAX)
}

/// What failures alike have in common: the words without what names this server, this host, this request. Nothing where there are no words, and for the scheduler's verdict on one host, which is no failure of anything.
fn kind(words: &str, destination: Option<&str>) -> Option<String> {
    if words.trim().is_empty() || words.contains("No valid host") {
        return None;
    }
    let same = |word: &&str| !word.chars().any(|c| c.is_ascii_digit()) && destination.is_none_or(|host| !word.contains(host));
    Some(words.split_whitespace().filter(same).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const DOWN: &str = "Connection to neutron failed: timed out";

    fn server(n: u128) -> ServerId {
        ServerId(Uuid::from_u128(n))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn failing(servers: &[u128]) -> Brake {
        let mut brake = Brake::default();
        for n in servers {
            brake.failed(server(*n), Some("h2"), DOWN, at(0));
        }
        brake
    }

    #[test]
    fn like_failures_of_three_different_servers_in_a_row_hold_everything_but_one_probe_a_minute() {
        let mut brake = failing(&[1, 2]);
        assert!(!brake.is_open());
        brake.failed(server(3), Some("h3"), DOWN, at(10));
        let held = brake.may_start(at(11)).unwrap_err();
        assert_eq!(held.until, at(70));
        assert!(held.message.contains(DOWN), "{held:?}");
        assert!(brake.may_start(at(70)).is_ok());
        assert!(brake.start(at(70)).is_ok() && brake.start(at(70)).is_err(), "one of two that ask at once is the probe");
        assert!(brake.may_start(at(71)).is_err() && brake.may_start(at(130)).is_ok());
    }

    #[test]
    fn one_server_that_fails_for_ever_holds_nobody_up() {
        assert!(!failing(&[1, 1, 1, 1, 2, 1]).is_open());
    }

    #[test]
    fn failures_that_differ_have_no_common_cause() {
        let mut brake = failing(&[1, 2]);
        brake.failed(server(3), None, "Unacceptable CPU info", at(0));
        assert!(!brake.is_open());
        brake.failed(server(4), None, "", at(0));
        assert!(!brake.is_open());
    }

    #[test]
    fn names_and_numbers_make_no_difference() {
        let mut brake = Brake::default();
        for n in 1..=3 {
            brake.failed(
                server(n),
                Some("alpha"),
                &format!("Migration pre-check error: instance {} cannot bind port 9696 on alpha", Uuid::from_u128(n)),
                at(0),
            );
        }
        assert!(brake.is_open());
    }

    #[test]
    fn the_schedulers_verdict_is_no_dependency_that_is_down() {
        let mut brake = Brake::default();
        for n in 1..=5 {
            brake.failed(server(n), None, "No valid host was found. There are not enough hosts available.", at(0));
        }
        assert!(!brake.is_open());
    }

    #[test]
    fn nova_is_left_alone_for_as_long_as_it_wants_within_bounds() {
        let until = |wanted: Option<u64>| {
            let mut brake = Brake::default();
            brake.too_many_requests(wanted.map(Duration::from_secs), "slow down", at(100));
            brake.copied();
            let held = brake.may_start(at(100)).unwrap_err();
            assert!(brake.may_start(held.until).is_ok() && !brake.is_open() && held.message.contains("slow down"));
            held.until
        };
        assert_eq!([until(Some(30)), until(None), until(Some(0)), until(Some(86_400))], [at(130), at(110), at(101), at(400)]);
    }

    #[test]
    fn a_copy_that_begins_lets_all_go_and_begins_the_count_anew() {
        let mut brake = failing(&[1, 2, 3]);
        brake.copied();
        assert!(brake.may_start(at(1)).is_ok() && !brake.is_open());
        brake.failed(server(4), None, DOWN, at(2));
        assert!(!brake.is_open());
    }
}
