//! The slots for moves: how many are under way at once, per source host, per destination and in the whole cloud; whose turn it is; and what is on its way to a host.
//!
//! For each move that Nova may work on at a source, one more request waits queued in Nova, so that no slot idles between two moves, also when all of them end together. These requests ahead
//! count in the limits per destination and in total like all others, and none is made while another source has a slot in Nova that idles for want of the total.
//! A slot is taken before the intent is written and given back when the attempt has ended. Attempts that stand open in the API server count also when this process did not take a slot for them (after a restart, or a change of the leader); these are looked
//! for twice a second at most, so that a thousand runs that wait cost a thousand look-ups and not a million.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::api::MigrationRun;
use crate::api::cloud::Concurrency;
use crate::inventory::HostName;
use crate::migration::open_attempt;
use crate::plan::Resources;

/// How often the API server's open attempts are compared with the slots given out.
const COMPARE_INTERVAL: Duration = Duration::from_millis(500);

/// The slots that are taken, and who waits for one.
#[derive(Debug, Default)]
pub(in super::super) struct Slots(Mutex<State>);

/// Where a move goes from and to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Place {
    pub(in super::super) cloud: String,
    pub(in super::super) source: String,
    /// Absent while Nova's scheduler has not chosen.
    pub(in super::super) destination: Option<HostName>,
    /// What it takes there.
    pub(in super::super) resources: Resources,
    /// Nova has begun with it.
    pub(in super::super) begun: bool,
    /// Since when a view of Nova shows the destination in the record: from then on Placement counts it there.
    pub(in super::super) claimed_at: Option<Timestamp>,
}

/// A run's place in the queue of its source: those that have tried less come first, then the plan's order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    tries: usize,
    order: u32,
    name: String,
}

type Source = (String, String);

/// The runs that wait at a source.
#[derive(Debug, Default)]
struct Queue {
    turns: BTreeSet<Turn>,
    /// What Nova may work on at this source, as it was when a run asked last.
    per_source: usize,
}

#[derive(Debug, Default)]
struct State {
    taken: HashMap<String, Taken>,
    at_source: HashMap<Source, usize>,
    at_destination: HashMap<(String, HostName), usize>,
    in_cloud: HashMap<String, usize>,
    waiting: HashMap<Source, Queue>,
    turns: HashMap<String, (Source, Turn)>,
    /// Moves that have ended, until Placement was asked after their end.
    ended: Vec<(String, HostName, Resources, Timestamp)>,
    /// On the monotonic clock.
    compared_at: Option<Duration>,
}

#[derive(Debug)]
struct Taken {
    place: Place,
    /// Found open in the API server, and not taken by this process.
    found: bool,
}

impl Slots {
    /// Compares with the open attempts in the API server, unless that was done a moment ago. `now` is monotonic.
    pub(in super::super) fn compare(&self, now: Duration, open: impl FnOnce() -> Vec<(String, Place)>) {
        let mut state = self.state();
        if state.compared_at.is_some_and(|at| now.saturating_sub(at) < COMPARE_INTERVAL) {
            return;
        }
        state.compared_at = Some(now);
        let open: HashMap<String, Place> = open().into_iter().collect();
        let gone: Vec<String> = state.taken.iter().filter(|(name, taken)| taken.found && !open.contains_key(*name)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            state.remove(&name);
        }
        for (name, place) in open {
            if !state.taken.contains_key(&name) {
                state.insert(name, Taken { place, found: true });
            }
        }
    }

    /// Puts the run into the queue of its source, and says whether it is its turn: more slots are free than runs stand before it.
    pub(in super::super) fn is_turn_of(&self, name: &str, run: &MigrationRun, limits: Concurrency) -> bool {
        let mut state = self.state();
        let source = (run.spec.cloud.clone(), run.spec.source_host.clone());
        let tries = run.status.as_ref().map_or(0, |status| status.attempts.len());
        let turn = Turn { tries, order: run.spec.order, name: name.to_owned() };
        state.leave(name);
        let queue = state.waiting.entry(source.clone()).or_default();
        queue.turns.insert(turn.clone());
        queue.per_source = size(limits.per_source);
        state.turns.insert(name.to_owned(), (source.clone(), turn.clone()));
        state.has_room(&source, limits) && state.next_at(&source, 0).any(|other| *other == turn)
    }

    /// Takes the run out of the queue: it does not wait for a slot.
    pub(in super::super) fn leave(&self, name: &str) {
        self.state().leave(name);
    }

    /// The destinations that have as many moves on their way as the limit allows.
    pub(in super::super) fn full_destinations(&self, cloud: &str, limits: Concurrency) -> Vec<HostName> {
        let most = size(limits.per_destination);
        self.state().at_destination.iter().filter(|((of, _), number)| of == cloud && **number >= most).map(|((_, host), _)| host.clone()).collect()
    }

    /// Takes a slot, unless the limits forbid it, or the run has one already: then the watch does not show yet what came of that, and whoever asks again sees an old object.
    pub(in super::super) fn take(&self, name: &str, place: Place, limits: Concurrency) -> bool {
        let mut state = self.state();
        let source = (place.cloud.clone(), place.source.clone());
        let at_source = state.at(&source);
        let at_destination =
            place.destination.as_ref().and_then(|host| state.at_destination.get(&(place.cloud.clone(), host.clone()))).copied().unwrap_or_default();
        if state.taken.contains_key(name)
            || at_source >= most_at_source(size(limits.per_source))
            || at_destination >= size(limits.per_destination)
            || !state.has_room(&source, limits)
        {
            return false;
        }
        state.leave(name);
        state.insert(name.to_owned(), Taken { place, found: false });
        true
    }

    /// Notes what is known now of an attempt that is open, whoever has taken its slot.
    pub(in super::super) fn hold(&self, name: &str, place: Place) {
        let mut state = self.state();
        state.leave(name);
        let found = state.taken.get(name).is_none_or(|taken| taken.found);
        let earlier = state.taken.get(name).map(|taken| (taken.place.claimed_at, taken.place.resources)).unwrap_or_default();
        let resources = if place.resources == Resources::default() { earlier.1 } else { place.resources };
        let place = Place { claimed_at: earlier.0.or(place.claimed_at), resources, ..place };
        if state.taken.get(name).is_none_or(|taken| taken.place != place) {
            state.insert(name.to_owned(), Taken { place, found });
        }
    }

    /// Gives the slot back, and names the runs whose turn it may be now.
    pub(in super::super) fn give_back(&self, name: &str, now: Timestamp) -> Vec<String> {
        let mut state = self.state();
        let Some(taken) = state.remove(name) else { return Vec::new() };
        let Place { cloud, source, destination, resources, .. } = taken.place;
        if let Some(host) = destination {
            state.ended.push((cloud.clone(), host, resources, now));
        }
        let own = (cloud.clone(), source);
        let sources = state.waiting.keys().filter(|of| of.0 == cloud);
        sources
            .flat_map(|of| if *of == own { state.next_at(of, 2).take(usize::MAX) } else { state.next_at(of, 1).take(1) })
            .map(|turn| turn.name.clone())
            .collect()
    }

    /// Whether this process has taken a slot for the run and not given it back.
    pub(in super::super) fn holds(&self, name: &str) -> bool {
        self.state().taken.get(name).is_some_and(|taken| !taken.found)
    }

    /// What is on its way to a host and not in what Placement said at `since`, without the moves of some runs.
    pub(in super::super) fn en_route(&self, cloud: &str, since: Timestamp, but: &BTreeSet<String>) -> Vec<(HostName, Resources)> {
        let mut state = self.state();
        state.ended.retain(|(of, _, _, at)| of != cloud || *at >= since);
        let ended = state.ended.iter().filter(|(of, ..)| of == cloud).map(|(_, host, resources, _)| (host.clone(), *resources));
        let under_way = state.taken.iter().filter(|(name, _)| !but.contains(*name)).map(|(_, taken)| &taken.place);
        let under_way = under_way.filter(|place| place.cloud == cloud && place.claimed_at.is_none_or(|at| at >= since));
        under_way.filter_map(|place| Some((place.destination.clone()?, place.resources))).chain(ended).collect()
    }

    /// Whether other runs wait at this source: for a slot, or queued in Nova.
    pub(in super::super) fn others_wait(&self, name: &str, cloud: &str, source: &str) -> bool {
        let state = self.state();
        let waiting = state.waiting.get(&(cloud.to_owned(), source.to_owned())).is_some_and(|queue| queue.turns.iter().any(|turn| turn.name != name));
        let queued =
            || state.taken.iter().any(|(other, taken)| other != name && taken.place.cloud == cloud && taken.place.source == source && !taken.place.begun);
        waiting || queued()
    }

    /// Whether a look at the cloud concerns this run at once: its attempt is open, or it is among the next at its source.
    pub(in super::super) fn is_near(&self, name: &str) -> bool {
        let state = self.state();
        let next = || state.turns.get(name).is_some_and(|(source, _)| state.next_at(source, 2).any(|turn| turn.name == name));
        state.taken.contains_key(name) || next()
    }

    /// Whether the run stands in the queue of its source.
    pub(in super::super) fn waits(&self, name: &str) -> bool {
        self.state().turns.contains_key(name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The moves under way at a source, with those that are queued in Nova.
    fn at(&self, source: &Source) -> usize {
        self.at_source.get(source).copied().unwrap_or_default()
    }

    /// The runs that are next at a source: as many as slots are free there, or more if `least` is more.
    fn next_at(&self, source: &Source, least: usize) -> impl Iterator<Item = &Turn> {
        let queue = self.waiting.get(source);
        let free = queue.map_or(0, |queue| most_at_source(queue.per_source).saturating_sub(self.at(source)));
        queue.into_iter().flat_map(|queue| &queue.turns).take(free.max(least))
    }

    /// Whether the total allows one more at this source. A request that only waits in Nova leaves room for those of other sources that Nova would work on at once.
    fn has_room(&self, source: &Source, limits: Concurrency) -> bool {
        let per_source = size(limits.per_source);
        let others = || self.waiting.iter().filter(|(of, _)| of.0 == source.0 && *of != source);
        let kept =
            if self.at(source) < per_source { 0 } else { others().map(|(of, queue)| queue.turns.len().min(per_source.saturating_sub(self.at(of)))).sum() };
        self.in_cloud.get(&source.0).copied().unwrap_or_default().saturating_add(kept) < size(limits.total)
    }

    fn insert(&mut self, name: String, taken: Taken) {
        self.remove(&name);
        let place = &taken.place;
        *self.at_source.entry((place.cloud.clone(), place.source.clone())).or_default() += 1;
        *self.in_cloud.entry(place.cloud.clone()).or_default() += 1;
        if let Some(host) = &place.destination {
            *self.at_destination.entry((place.cloud.clone(), host.clone())).or_default() += 1;
        }
        self.taken.insert(name, taken);
    }

    fn remove(&mut self, name: &str) -> Option<Taken> {
        let taken = self.taken.remove(name)?;
        let place = &taken.place;
        one_less(&mut self.at_source, &(place.cloud.clone(), place.source.clone()));
        one_less(&mut self.in_cloud, &place.cloud);
        if let Some(host) = &place.destination {
            one_less(&mut self.at_destination, &(place.cloud.clone(), host.clone()));
        }
        Some(taken)
    }

    fn leave(&mut self, name: &str) {
        if let Some((source, turn)) = self.turns.remove(name)
            && let Some(queue) = self.waiting.get_mut(&source)
        {
            queue.turns.remove(&turn);
            if queue.turns.is_empty() {
                self.waiting.remove(&source);
            }
        }
    }
}

fn one_less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// What Nova may work on, and as much again that waits in its queue.
fn most_at_source(per_source: usize) -> usize {
    per_source.saturating_mul(2)
}

fn size(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// The place of a run's open attempt, as far as its status tells.
pub(in super::super) fn place_of(run: &MigrationRun) -> Option<Place> {
    let attempt = run.status.as_ref().and_then(open_attempt)?;
    Some(Place {
        cloud: run.spec.cloud.clone(),
        source: run.spec.source_host.clone(),
        destination: attempt.destination.clone().map(HostName),
        resources: Resources::default(),
        begun: attempt.copying_at.is_some(),
        claimed_at: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MigrationRunSpec;

    fn run(name: &str, source: &str, order: u32) -> MigrationRun {
        let spec = MigrationRunSpec { cloud: "c".into(), source_host: source.into(), order, ..MigrationRunSpec::default() };
        MigrationRun::new(name, spec)
    }

    fn place(source: &str, destination: &str) -> Place {
        let resources = Resources { memory_mb: 512, ..Resources::default() };
        Place { cloud: "c".into(), source: source.into(), destination: Some(destination.into()), resources, ..Place::default() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const LIMITS: Concurrency = Concurrency { per_source: 1, per_destination: 2, total: 3 };

    #[test]
    fn one_more_than_nova_works_on_is_asked_for_per_source() {
        let slots = Slots::default();
        let take = |name: &str, source: &str, to: &str| slots.take(name, place(source, to), LIMITS);
        assert!(take("a", "h1", "d1") && take("b", "h1", "d2") && !take("c", "h1", "d3"));
        slots.give_back("a", at(0));
        assert!(take("c", "h1", "d3"));
    }

    #[test]
    fn as_many_wait_in_novas_queue_as_it_works_on() {
        let slots = Slots::default();
        let limits = Concurrency { per_source: 5, per_destination: 99, total: 99 };
        let number = (0..20).filter(|number| slots.take(&number.to_string(), place("h1", "d"), limits)).count();
        assert_eq!(number, 10);
    }

    #[test]
    fn all_that_end_together_are_followed_by_as_many() {
        let slots = Slots::default();
        let limits = Concurrency { per_source: 3, per_destination: 99, total: 99 };
        let names = |from: u32, to: u32| (from..to).map(|number| format!("{number:02}")).collect::<Vec<_>>();
        for name in names(0, 6) {
            assert!(slots.take(&name, place("h1", "d"), limits));
        }
        for (order, name) in (0..).zip(names(6, 20)) {
            assert!(!slots.is_turn_of(&name, &run(&name, "h1", order), limits));
        }
        let woken: BTreeSet<String> = names(0, 3).iter().flat_map(|name| slots.give_back(name, at(0))).collect();
        assert_eq!(woken.into_iter().collect::<Vec<_>>(), names(6, 9));
        assert!(slots.is_near("08") && !slots.is_near("09"));
    }

    #[test]
    fn a_request_that_only_waits_in_nova_keeps_nobody_from_a_slot_that_idles() {
        let slots = Slots::default();
        let limits = Concurrency { per_source: 2, per_destination: 99, total: 4 };
        for name in ["a", "b", "c", "d"] {
            assert!(slots.take(name, place("h1", "d"), limits), "nobody else wants the total");
        }
        assert!(!slots.is_turn_of("x", &run("x", "h2", 1), limits), "and now it is used up");
        assert_eq!(slots.give_back("a", at(0)), ["x"]);
        slots.give_back("b", at(0));
        assert!(slots.is_turn_of("e", &run("e", "h1", 1), limits), "h1 has two under way, and two are free, of which h2 wants one");
        assert!(slots.take("e", place("h1", "d"), limits) && !slots.take("f", place("h1", "d"), limits), "the last is kept for h2");
        assert!(slots.take("x", place("h2", "d"), limits));
    }

    #[test]
    fn a_destination_gets_so_many_at_once_from_all_sources() {
        let slots = Slots::default();
        let take = |name: &str, source: &str| slots.take(name, place(source, "d"), LIMITS);
        assert!(take("a", "h1") && take("b", "h2") && !take("c", "h3"));
        assert_eq!(slots.full_destinations("c", LIMITS), ["d".into()]);
        assert_eq!(slots.full_destinations("other", LIMITS), []);
        assert!(slots.take("c", place("h3", "e"), LIMITS), "another destination has room");
    }

    #[test]
    fn the_total_holds_over_all_sources() {
        let slots = Slots::default();
        let take = |name: &str, source: &str| slots.take(name, place(source, name), LIMITS);
        assert!(take("a", "h1") && take("b", "h2") && take("c", "h3") && !take("d", "h4"));
        assert!(!slots.is_turn_of("e", &run("e", "h5", 1), LIMITS));
    }

    #[test]
    fn attempts_of_an_earlier_process_count_until_they_end() {
        let slots = Slots::default();
        let open = || vec![("x".to_owned(), place("h1", "d1")), ("y".to_owned(), place("h1", "d2"))];
        slots.compare(Duration::ZERO, open);
        assert!(!slots.take("a", place("h1", "d3"), LIMITS));
        slots.compare(Duration::from_millis(499), Vec::new);
        assert!(!slots.take("a", place("h1", "d3"), LIMITS), "compared a moment ago");
        slots.compare(Duration::from_millis(500), Vec::new);
        assert!(slots.take("a", place("h1", "d3"), LIMITS));
        slots.compare(Duration::from_secs(2), Vec::new);
        assert!(
            slots.take("b", place("h1", "d3"), LIMITS) && !slots.take("c", place("h1", "d4"), LIMITS),
            "its own stay, though the watch does not show them yet"
        );
    }

    #[test]
    fn the_turns_follow_the_plan_and_those_that_have_tried_come_later() {
        let slots = Slots::default();
        let limits = Concurrency { per_source: 1, per_destination: 9, total: 9 };
        let ask = |name: &str, order| slots.is_turn_of(name, &run(name, "h1", order), limits);
        assert!(ask("c", 3) && ask("a", 1), "two slots are free");
        assert!(ask("b", 2) && !ask("c", 3), "and now two are before it");
        let mut tried = run("a", "h1", 1);
        tried.status = serde_json::from_value(serde_json::json!({"attempts": [{"number": 1, "intentAt": "2026-11-22T12:00:00.000000Z"}]})).unwrap();
        assert!(!slots.is_turn_of("a", &tried, limits) && ask("c", 3));
        slots.leave("b");
        assert!(slots.is_turn_of("a", &tried, limits));
        assert!(slots.is_near("c") && !slots.is_near("b"));
    }

    #[test]
    fn who_gives_back_names_who_is_next() {
        let slots = Slots::default();
        slots.take("a", place("h1", "d1"), LIMITS);
        for (name, order) in [("d", 4), ("b", 2), ("c", 3)] {
            slots.is_turn_of(name, &run(name, "h1", order), LIMITS);
        }
        assert_eq!(slots.give_back("a", at(0)), ["b", "c"]);
        assert_eq!(slots.give_back("a", at(0)), Vec::<String>::new(), "twice is the same as once");
    }

    #[test]
    fn a_run_that_has_a_slot_gets_no_second_one_and_loses_none_by_asking() {
        let slots = Slots::default();
        assert!(slots.take("a", place("h1", "d1"), LIMITS) && slots.holds("a"));
        assert!(!slots.take("a", place("h1", "d2"), LIMITS) && slots.holds("a"));
        slots.compare(Duration::ZERO, || vec![("x".to_owned(), place("h2", "d1"))]);
        assert!(!slots.holds("x"), "an attempt of an earlier process");
        slots.give_back("a", at(0));
        assert!(!slots.holds("a"));
    }

    #[test]
    fn what_placement_has_not_counted_yet_is_on_its_way() {
        let none = BTreeSet::new();
        let slots = Slots::default();
        slots.take("a", place("h1", "d1"), LIMITS);
        assert_eq!(slots.en_route("c", at(50), &none).len(), 1);
        assert_eq!(slots.en_route("c", at(50), &BTreeSet::from(["a".to_owned()])), [], "whoever places that run's server anew");
        slots.hold("a", Place { claimed_at: Some(at(60)), ..place("h1", "d1") });
        assert_eq!((slots.en_route("c", at(60), &none).len(), slots.en_route("c", at(61), &none).len()), (1, 0));
        slots.hold("a", place("h1", "d1"));
        assert_eq!(slots.en_route("c", at(61), &none).len(), 0, "what was seen once stays seen");
        slots.give_back("a", at(70));
        assert_eq!((slots.en_route("c", at(70), &none).len(), slots.en_route("c", at(71), &none).len()), (1, 0));
    }

    #[test]
    fn others_wait_when_they_are_in_the_queue_or_nova_has_not_begun_with_them() {
        let slots = Slots::default();
        slots.take("a", Place { begun: true, ..place("h1", "d1") }, LIMITS);
        assert!(!slots.others_wait("a", "c", "h1"));
        slots.take("b", place("h1", "d2"), LIMITS);
        assert!(slots.others_wait("a", "c", "h1") && !slots.others_wait("b", "c", "h1") && !slots.others_wait("a", "c", "h2"));
        slots.hold("b", Place { begun: true, ..place("h1", "d2") });
        assert!(!slots.others_wait("a", "c", "h1"));
        slots.is_turn_of("c", &run("c", "h1", 1), LIMITS);
        assert!(slots.others_wait("a", "c", "h1"));
    }
}
