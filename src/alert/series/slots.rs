//! Which event goes to which slot, and which slots have something to tell.

use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::SILENCE;
use super::distinct::Distinct;
use super::pace::{NodePace, Pace};
use super::record::{self, Reading, Told};
use crate::alert::event::AlertEvent;
use crate::api::alert::HostAlertSpec;
use crate::api::units::{Flow, Severity};

/// Slots of a node.
pub const SLOTS: usize = 64;
const SERIES: Range<usize> = 0x00..0x30;
const BY_RULE: Range<usize> = 0x30..0x3f;
const REST: usize = 0x3f;
/// The API server refuses a write that raises `seq` by more.
const MAX_SEQ_RISE: i64 = 1_000_000;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is counted in this slot.
    Counted(usize),
    /// It was counted before a restart; the object of this slot has it already.
    Recognised(usize),
    /// It is not taken: this slot must be delivered first. Offer it again afterwards.
    Held(usize),
}

/// One HostAlert to write.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// The slot.
    pub slot: usize,
    /// What the object has to say.
    pub spec: HostAlertSpec,
}

/// A slot as the checkpoint keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedSlot {
    /// Which slot.
    pub slot: usize,
    /// The series that holds it.
    pub series: String,
    /// Severity of the series' last event.
    pub severity: Severity,
    /// Whether the series is of established flows.
    pub established: bool,
    /// The stamp of its last event.
    pub stamp: Option<Timestamp>,
    /// The number of its last event among all events of the node.
    pub touched: u64,
    /// What its object says; `seq` and `count` are in it.
    pub alert: HostAlertSpec,
    /// The far ends of an overflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subjects: Option<Distinct>,
}

/// All slots of a node.
#[derive(Debug)]
pub struct Slots {
    node: String,
    /// How many sources share the slots.
    sources: usize,
    slots: Vec<Slot>,
    /// Events so far: the order of events, which stands in for time where slots change hands.
    touched: u64,
    pace: NodePace,
}

#[derive(Debug, Default)]
struct Slot {
    /// Decided by the records alone.
    holder: Option<Holder>,
    /// What the object says or is to say. After a restart it may be ahead of `holder` until the records since the checkpoint are read again.
    alert: Option<HostAlertSpec>,
    /// The `seq` up to which the API server has accepted, or refused for good.
    accepted: i64,
    pace: Pace,
    subjects: Option<Distinct>,
    /// An event waits for this slot's delivery.
    urgent: bool,
}

#[derive(Clone, Debug)]
struct Holder {
    series: String,
    rank: (Severity, bool),
    stamp: Option<Timestamp>,
    touched: u64,
}

impl Slot {
    /// Counts the event's far end. Where the object has the event already, only the memory of it is renewed.
    fn count_subject(&mut self, event: &AlertEvent, recognised: bool) {
        let subjects = self.subjects.get_or_insert_default();
        subjects.add(event.subject());
        if let Some(alert) = self.alert.as_mut().filter(|_| !recognised) {
            // After a restart without a checkpoint, the object remembers more than the set.
            alert.distinct_subjects = alert.distinct_subjects.max(Some(subjects.estimate()));
        }
    }

    fn is_dirty(&self) -> bool {
        self.alert.as_ref().is_some_and(|alert| alert.seq > self.accepted)
    }
}

impl Slots {
    /// Empty slots of this node, shared by so many sources.
    #[must_use]
    pub fn new(node: &str, sources: usize) -> Self {
        Self { node: node.to_owned(), sources: sources.max(1), slots: (0..SLOTS).map(|_| Slot::default()).collect(), touched: 0, pace: NodePace::full() }
    }

    /// Slots as they were when `saved` was written, with what the API server has (`known`), which may be newer. With no checkpoint, the objects say who holds the slots.
    #[must_use]
    pub fn restore(node: &str, sources: usize, saved: Option<Vec<SavedSlot>>, known: Vec<(usize, HostAlertSpec)>) -> Self {
        let mut slots = Self::new(node, sources);
        let had_checkpoint = saved.is_some();
        for SavedSlot { slot: index, series, severity, established, stamp, touched, alert, subjects } in saved.unwrap_or_default() {
            slots.touched = slots.touched.max(touched);
            if let Some(slot) = slots.slots.get_mut(index) {
                slot.accepted = alert.seq;
                slot.alert = Some(alert);
                slot.subjects = subjects;
                slot.holder = Some(Holder { series, rank: (severity, established), stamp, touched });
            }
        }
        for (index, spec) in known {
            if let Some(slot) = slots.slots.get_mut(index).filter(|slot| slot.alert.as_ref().is_none_or(|alert| alert.seq <= spec.seq)) {
                slot.accepted = spec.seq;
                slot.alert = Some(spec);
            }
        }
        if !had_checkpoint {
            slots.settle();
        }
        slots
    }

    /// Lets the series of each slot's object hold the slot. Changes nothing where all records since the checkpoint were read again; where some are gone, the objects know better.
    pub fn settle(&mut self) {
        let mut stale: Vec<(&mut Slot, HostAlertSpec)> = Vec::new();
        for slot in &mut self.slots {
            if let Some(alert) = slot.alert.clone().filter(|alert| slot.holder.as_ref().is_none_or(|holder| holder.series != alert.series)) {
                stale.push((slot, alert));
            }
        }
        stale.sort_by_key(|(_, alert)| alert.last_seen.0);
        for (slot, alert) in stale {
            self.touched += 1;
            let rank = (alert.severity, alert.flow == Flow::Established);
            slot.holder = Some(Holder { series: alert.series, rank, stamp: alert.sensor_time.map(|time| time.0), touched: self.touched });
        }
    }

    /// Takes one event of a source. `included` says of a slot whether its object has this event already, from before a restart.
    pub fn apply(&mut self, source: usize, event: &AlertEvent, reading: Reading, included: impl Fn(usize) -> bool) -> Outcome {
        let (index, told) = self.place(source, event);
        let series = told.series(event.engine);
        let Some(slot) = self.slots.get_mut(index) else { return Outcome::Held(index) };
        let recognised = included(index);
        if !recognised {
            match &mut slot.alert {
                Some(alert) if alert.series == series => {
                    if alert.seq - slot.accepted >= MAX_SEQ_RISE {
                        slot.urgent = true;
                        return Outcome::Held(index);
                    }
                    record::next(alert, &told, event, reading);
                }
                Some(alert) if alert.seq > slot.accepted => {
                    slot.urgent = true;
                    return Outcome::Held(index);
                }
                other => {
                    let seq = other.as_ref().map_or(1, |alert| alert.seq + 1);
                    *other = Some(record::first(&self.node, &told, event, seq, reading));
                    slot.pace.restart();
                    slot.subjects = None;
                }
            }
        }
        if told.is_overflow {
            slot.count_subject(event, recognised);
        }
        self.touched += 1;
        slot.holder = Some(Holder { series, rank: rank(event), stamp: event.time, touched: self.touched });
        if recognised { Outcome::Recognised(index) } else { Outcome::Counted(index) }
    }

    /// The slot for an event of a source, by that source's records so far.
    fn place(&self, source: usize, event: &AlertEvent) -> (usize, Told) {
        for (range, told) in [(SERIES, Told::alone(event)), (BY_RULE, Told::of_rule(event))] {
            let share = Share { range, source: source % self.sources };
            if let Some(index) = self.held_by(&share, &told.series(event.engine)).or_else(|| self.room(&share, event)) {
                return (index, told);
            }
        }
        (REST, Told::rest())
    }

    fn holders(&self, share: &Share) -> impl Iterator<Item = (usize, Option<&Holder>)> {
        let Share { range, source } = share;
        let slots = self.slots.iter().enumerate().take(range.end).skip(range.start + source).step_by(self.sources);
        slots.map(|(index, slot)| (index, slot.holder.as_ref()))
    }

    fn held_by(&self, share: &Share, series: &str) -> Option<usize> {
        self.holders(share).find(|(_, holder)| holder.is_some_and(|holder| holder.series == series)).map(|(index, _)| index)
    }

    /// A slot that a new series may have: a free one, that of the longest silent series, or that of the lowest rank below the event's.
    fn room(&self, share: &Share, event: &AlertEvent) -> Option<usize> {
        if let Some((free, _)) = self.holders(share).find(|(_, holder)| holder.is_none()) {
            return Some(free);
        }
        let held = || self.holders(share).filter_map(|(index, holder)| Some((index, holder?)));
        let silent = held().filter(|(_, holder)| is_silent(holder.stamp, event.time)).min_by_key(|(_, holder)| holder.touched);
        let lowest = || held().filter(|(_, holder)| holder.rank < rank(event)).min_by_key(|(_, holder)| (holder.rank, holder.touched));
        silent.or_else(lowest).map(|(index, _)| index)
    }

    /// The most pressing HostAlert that may be written now.
    #[must_use]
    pub fn due(&self, now: Duration) -> Option<Write> {
        let ready = |slot: &Slot| slot.urgent || slot.pace.next(now) <= now;
        if self.pace.next(now) > now {
            return None;
        }
        self.most_pressing(ready)
    }

    /// The most pressing HostAlert with something untold, whenever it may be written: for the end of the program.
    #[must_use]
    pub fn untold(&self) -> Option<Write> {
        self.most_pressing(|_| true)
    }

    fn most_pressing(&self, ready: impl Fn(&Slot) -> bool) -> Option<Write> {
        let dirty = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_dirty() && ready(slot));
        let pressing = dirty.max_by_key(|(_, slot)| (slot.urgent, slot.alert.as_ref().map(|alert| alert.severity), std::cmp::Reverse(slot.pace.last())));
        pressing.and_then(|(index, slot)| Some(Write { slot: index, spec: slot.alert.clone()? }))
    }

    /// When the next HostAlert may be written, in monotonic time; `None` while there is nothing to tell.
    #[must_use]
    pub fn next_due(&self, now: Duration) -> Option<Duration> {
        let dirty = self.slots.iter().filter(|slot| slot.is_dirty());
        let earliest = dirty.map(|slot| if slot.urgent { now } else { slot.pace.next(now) }).min()?;
        Some(earliest.max(self.pace.next(now)))
    }

    /// A write goes out.
    pub fn sent(&mut self, slot: usize, now: Duration) {
        self.pace.written(now);
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.pace.written(now);
        }
    }

    /// The API server has accepted this slot up to `seq`, or refused it for good.
    pub fn settled(&mut self, slot: usize, seq: i64) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.accepted = slot.accepted.max(seq);
            slot.urgent = false;
        }
    }

    /// Everything that the checkpoint keeps.
    #[must_use]
    pub fn save(&self) -> Vec<SavedSlot> {
        let saved = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let (Holder { series, rank, stamp, touched }, alert) = (slot.holder.clone()?, slot.alert.clone()?);
            Some(SavedSlot { slot: index, series, severity: rank.0, established: rank.1, stamp, touched, alert, subjects: slot.subjects.clone() })
        });
        saved.collect()
    }

    /// What is not delivered yet: slots and their `seq`.
    #[must_use]
    pub fn undelivered(&self) -> Vec<(usize, i64)> {
        let dirty = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_dirty());
        dirty.filter_map(|(index, slot)| Some((index, slot.alert.as_ref()?.seq))).collect()
    }

    /// Whether this slot is delivered up to `seq`.
    #[must_use]
    pub fn is_delivered(&self, slot: usize, seq: i64) -> bool {
        self.slots.get(slot).is_none_or(|slot| slot.accepted >= seq)
    }
}

/// One source's slots of a kind.
struct Share {
    range: Range<usize>,
    source: usize,
}

fn rank(event: &AlertEvent) -> (Severity, bool) {
    (event.severity, event.flow == Flow::Established)
}

/// Whether the two stamps are far enough apart. A stamp from a wrong clock, past or future, is far from all others, so it cannot keep a slot for ever.
fn is_silent(last: Option<Timestamp>, now: Option<Timestamp>) -> bool {
    last.zip(now).is_some_and(|(last, now)| last.duration_since(now).unsigned_abs() >= SILENCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::parse::stamp::Stamps;
    use crate::alert::parse::{Format, Verdict};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// An alert of a rule from a far end, at a second of the sensor's clock.
    fn event(sid: i64, source: u32, priority: i64, second: i64) -> AlertEvent {
        let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + source);
        let line =
            format!(r#"{{"timestamp":"{}","event_type":"alert","src_ip":"{ip}","alert":{{"gid":1,"signature_id":{sid},"severity":{priority}}}}}"#, at(second));
        match Format::SuricataEve.parse(line.as_bytes(), &Stamps::utc(Timestamp::UNIX_EPOCH)) {
            Verdict::Alerts(mut found) => found.remove(0).event,
            other => panic!("{other:?}"),
        }
    }

    fn apply(slots: &mut Slots, event: &AlertEvent) -> Outcome {
        slots.apply(0, event, Reading { at: event.time.unwrap(), live: true }, |_| false)
    }

    /// Applies, and delivers whatever stands in the way.
    fn force(slots: &mut Slots, event: &AlertEvent) -> usize {
        loop {
            match apply(slots, event) {
                Outcome::Counted(index) => return index,
                Outcome::Held(index) => slots.settled(index, i64::MAX),
                Outcome::Recognised(index) => panic!("slot {index} recognised an event"),
            }
        }
    }

    fn full(priority: i64) -> Slots {
        let mut slots = Slots::new("n1", 1);
        for source in 0..48 {
            assert_eq!(apply(&mut slots, &event(1, source, priority, 0)), Outcome::Counted(source as usize));
        }
        slots
    }

    fn spec(slots: &Slots, index: usize) -> HostAlertSpec {
        slots.slots[index].alert.clone().unwrap()
    }

    #[test]
    fn a_series_keeps_its_slot_and_counts() {
        let mut slots = full(1);
        assert_eq!(apply(&mut slots, &event(1, 7, 1, 5)), Outcome::Counted(7));
        assert_eq!((spec(&slots, 7).seq, spec(&slots, 7).count), (2, 2));
    }

    #[test]
    fn without_room_a_rule_overflows_then_everything_else() {
        let mut slots = full(1);
        for rule in 0..15 {
            assert_eq!(apply(&mut slots, &event(100 + rule, 1000, 1, 1)), Outcome::Counted(0x30 + rule as usize));
        }
        assert_eq!(apply(&mut slots, &event(100, 1001, 1, 1)), Outcome::Counted(0x30));
        assert_eq!(apply(&mut slots, &event(200, 1000, 1, 1)), Outcome::Counted(0x3f));
        let (by_rule, rest) = (spec(&slots, 0x30), spec(&slots, 0x3f));
        assert_eq!((by_rule.rule_id.as_str(), by_rule.subject.as_str(), by_rule.flow, by_rule.count), ("1:100", "-", Flow::Unknown, 2));
        assert_eq!((rest.rule_id.as_str(), rest.sid, rest.flow), ("-", None, Flow::Unknown));
        assert_eq!((spec(&slots, 0).distinct_subjects, by_rule.distinct_subjects, rest.distinct_subjects), (None, Some(2), Some(1)));
    }

    #[test]
    fn the_estimate_of_far_ends_survives_a_restart_and_begins_anew_with_a_series() {
        let mut slots = full(1);
        for source in 1000..1100 {
            force(&mut slots, &event(1, source, 1, 1));
        }
        let estimate = spec(&slots, 0x30).distinct_subjects.unwrap();
        assert!((90..=110).contains(&estimate), "{estimate}");
        let mut again = Slots::restore("n1", 1, Some(slots.save()), Vec::new());
        force(&mut again, &event(1, 1000, 1, 1));
        assert_eq!(spec(&again, 0x30).distinct_subjects, Some(estimate));
        let mut from_object = Slots::restore("n1", 1, None, vec![(0x30, spec(&slots, 0x30))]);
        for source in 0..48 {
            force(&mut from_object, &event(9, source, 1, 1));
        }
        force(&mut from_object, &event(1, 2000, 1, 1));
        assert_eq!(spec(&from_object, 0x30).distinct_subjects, Some(estimate), "what the object says is not taken back");
        // 48 take the places of silent series, 14 free ones, and one that of the silent overflow.
        for rule in 200..263 {
            force(&mut again, &event(rule, 3000, 1, 700));
        }
        assert_eq!(spec(&again, 0x30).distinct_subjects, Some(1), "another rule has the slot");
    }

    #[test]
    fn several_sources_have_slots_of_their_own_and_share_the_last() {
        let mut slots = Slots::new("n1", 2);
        let apply = |slots: &mut Slots, source: usize, event: &AlertEvent| slots.apply(source, event, Reading { at: at(0), live: true }, |_| false);
        for source in 0..24 {
            let event = event(1, source, 1, 0);
            assert_eq!(apply(&mut slots, 0, &event), Outcome::Counted(2 * source as usize));
            assert_eq!(apply(&mut slots, 1, &event), Outcome::Counted(2 * source as usize + 1));
        }
        for rule in 0..8 {
            assert_eq!(apply(&mut slots, 0, &event(100 + rule, 1000, 1, 0)), Outcome::Counted(0x30 + 2 * rule as usize));
        }
        for rule in 0..7 {
            assert_eq!(apply(&mut slots, 1, &event(100 + rule, 1000, 1, 0)), Outcome::Counted(0x31 + 2 * rule as usize));
        }
        for source in [0, 1] {
            assert_eq!(apply(&mut slots, source, &event(200, 1000, 1, 0)), Outcome::Counted(0x3f));
        }
        assert_eq!(spec(&slots, 0x3f).count, 2);
    }

    #[test]
    fn the_longest_silent_series_loses_its_slot() {
        let mut slots = full(1);
        force(&mut slots, &event(1, 0, 1, 100));
        assert_eq!(force(&mut slots, &event(1, 500, 1, 599)), 0x30);
        assert_eq!(force(&mut slots, &event(1, 500, 1, 600)), 1);
        assert_eq!((spec(&slots, 1).seq, spec(&slots, 1).count), (2, 1));
    }

    #[test]
    fn a_higher_severity_or_an_established_flow_takes_the_lowest_slot() {
        let mut slots = full(2);
        force(&mut slots, &event(1, 0, 2, 1));
        assert_eq!(force(&mut slots, &event(2, 900, 1, 2)), 1);
        let mut established = event(1, 901, 2, 3);
        established.flow = Flow::Established;
        assert_eq!(force(&mut slots, &established), 2);
        assert_eq!(force(&mut slots, &event(3, 902, 3, 4)), 0x30);
    }

    #[test]
    fn a_slot_changes_hands_only_after_its_events_were_told() {
        let mut slots = full(2);
        let high = event(2, 900, 1, 1);
        assert_eq!(apply(&mut slots, &high), Outcome::Held(0));
        assert_eq!(slots.due(Duration::ZERO).map(|write| write.slot), Some(0));
        slots.settled(0, 1);
        assert_eq!(apply(&mut slots, &high), Outcome::Counted(0));
    }

    #[test]
    fn seq_never_runs_a_million_ahead_of_what_was_accepted() {
        let mut slots = Slots::new("n1", 1);
        let event = event(1, 1, 1, 0);
        assert_eq!(apply(&mut slots, &event), Outcome::Counted(0));
        // As after so many more events.
        slots.slots[0].alert.as_mut().unwrap().seq = MAX_SEQ_RISE - 1;
        assert_eq!(apply(&mut slots, &event), Outcome::Counted(0));
        assert_eq!(apply(&mut slots, &event), Outcome::Held(0));
        slots.settled(0, MAX_SEQ_RISE);
        assert_eq!(apply(&mut slots, &event), Outcome::Counted(0));
    }

    #[test]
    fn a_stamp_of_a_wrong_clock_holds_no_slot_for_ever() {
        let mut slots = full(1);
        force(&mut slots, &event(1, 3, 1, 1_000_000));
        assert_eq!(force(&mut slots, &event(1, 500, 1, 5)), 3);
    }

    #[test]
    fn the_worst_is_written_first_and_none_before_its_time() {
        let mut slots = Slots::new("n1", 1);
        force(&mut slots, &event(1, 1, 3, 0));
        force(&mut slots, &event(1, 2, 1, 0));
        let now = Duration::from_secs(5);
        assert_eq!(slots.due(now).map(|write| write.slot), Some(1));
        slots.sent(1, now);
        slots.settled(1, 1);
        assert_eq!(slots.due(now).map(|write| write.slot), Some(0));
        slots.sent(0, now);
        slots.settled(0, 1);
        assert_eq!((slots.due(now), slots.next_due(now)), (None, None));
    }

    #[test]
    fn the_same_records_make_the_same_slots_after_a_restart() {
        let mut slots = full(2);
        force(&mut slots, &event(1, 5, 2, 30));
        let saved = slots.save();
        let after: Vec<AlertEvent> = (0..40).map(|number| event(number % 7, 600 + number as u32 % 5, 1 + number % 3, 30 + 20 * number)).collect();
        let mut again = Slots::restore("n1", 1, Some(saved), Vec::new());
        for event in &after {
            assert_eq!(force(&mut slots, event), force(&mut again, event));
        }
    }

    #[test]
    fn without_a_checkpoint_the_objects_say_who_holds_the_slots() {
        let mut slots = Slots::new("n1", 1);
        force(&mut slots, &event(1, 1, 1, 0));
        let object = spec(&slots, 0);
        let mut again = Slots::restore("n1", 1, None, vec![(5, object)]);
        assert_eq!(apply(&mut again, &event(1, 1, 1, 9)), Outcome::Counted(5));
        assert_eq!((spec(&again, 5).seq, spec(&again, 5).count), (2, 2));
    }
}
