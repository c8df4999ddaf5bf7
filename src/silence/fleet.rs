//! When silence means something: one sentinel that falls silent is a signal, many at once are a fault of the network between them and the API server, or of an upgrade.
//!
//! ```text
//!              unheard for 40 s, or a sensor is dead
//!    Heard ─────────────────────────────────────────► Silent          the rest of the cloud is well
//!      ▲  ▲                                             │
//!      │  └──────────── heard again ────────────────────┘
//!      │                                              OneOfMany       more than max(1, 10 %) at once
//!      └─────────────── heard again ────────────────────┘
//! ```
//!
//! *At once*: when the first of them has been silent for 40 s, the others of a common cause have missed two renewals already. They count, and so does whoever was judged silent within the last 40 s.
//! While many are silent nobody new is judged; when so many have come back that the rest would have been no storm, that rest gets one more full interval before it is judged.
//! Who was judged silent stays so until heard, also when the operator is restarted.

use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of one sentinel. Times are how long ago, on the operator's monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentinel {
    /// How long nothing was heard of it; nothing while the operator does not watch.
    pub unheard: Option<Duration>,
    /// Whether a renewal was seen since the watch began.
    pub was_heard: bool,
    /// How long it has been saying that a sensor is dead; nothing when it says no such thing.
    pub dead: Option<Duration>,
    /// What its status says: that it was judged silent, why, and how long ago.
    pub judged: Option<(Cause, Duration)>,
}

/// Why a host is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing is heard of the sentinel.
    SentinelSilent,
    /// The sentinel says that a sensor is dead.
    SensorDead,
}

/// What a sentinel's silence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody can say yet: what was said before stays.
    Pending,
    /// It is heard, and none of its sensors is dead.
    Heard,
    /// It is silent, and so are few others.
    Silent(Cause),
    /// It is silent, and so are too many others.
    OneOfMany(Cause),
}

/// The sentinels of one cloud, judged together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assessment {
    /// By node.
    pub standings: BTreeMap<String, Standing>,
    /// Whether too many fell silent at once, and have not come back.
    pub many: bool,
    /// The nodes whose silence counts from now on only, because many have just come back.
    pub begin_anew: Vec<String>,
}

impl Assessment {
    /// The nodes that are silent, for whatever reason, in the order of their names.
    #[must_use]
    pub fn silent(&self) -> Vec<&str> {
        let silent = self.standings.iter().filter(|(_, standing)| matches!(standing, Standing::Silent(_) | Standing::OneOfMany(_)));
        silent.map(|(node, _)| node.as_str()).collect()
    }
}

/// So many may fall silent at once and each of them still means something: one, or a tenth of all.
#[must_use]
pub fn limit(sentinels: usize) -> usize {
    (sentinels / 10).max(1)
}

/// Judges the sentinels of one cloud. `were_many` is whether too many were silent at the judgement before; a Lease that was not renewed for `silent_after` is a silent sentinel.
#[must_use]
pub fn assess(sentinels: &BTreeMap<String, Sentinel>, were_many: bool, silent_after: Duration) -> Assessment {
    let limits = Limits { silent_after };
    let most = limit(sentinels.len());
    let falling = sentinels.values().filter(|sentinel| limits.is_falling(sentinel)).count();
    let just_judged = sentinels.values().filter(|sentinel| sentinel.judged.is_some_and(|(_, ago)| ago < silent_after)).count();
    let is_new = sentinels.values().any(|sentinel| sentinel.judged.is_none() && limits.cause(sentinel).is_some());
    let absent: Vec<&String> = sentinels.iter().filter(|(_, sentinel)| limits.is_absent(sentinel)).map(|(node, _)| node).collect();
    let many = if were_many { absent.len() > most } else { is_new && falling + just_judged > most };
    let begin_anew: Vec<String> = if were_many && !many { absent.into_iter().cloned().collect() } else { Vec::new() };
    let standing = |(node, sentinel): (&String, &Sentinel)| {
        let standing = if begin_anew.contains(node) { Standing::Pending } else { limits.standing(sentinel, many) };
        (node.clone(), standing)
    };
    Assessment { standings: sentinels.iter().map(standing).collect(), many, begin_anew }
}

struct Limits {
    silent_after: Duration,
}

impl Limits {
    /// How long a dead sensor waits for its judgement, so that others which die of the same cause are seen first.
    fn settling(&self) -> Duration {
        self.silent_after / 4
    }

    /// Whether it was not judged yet and has not been seen to be well: while many are silent, and at a time when the operator itself sees nothing, that alone shows who has come back.
    fn is_absent(&self, sentinel: &Sentinel) -> bool {
        let is_well = sentinel.was_heard && sentinel.dead.is_none() && sentinel.unheard.is_some_and(|unheard| unheard < self.silent_after / 2);
        sentinel.judged.is_none() && !is_well
    }

    /// Whether it has missed two renewals, or has a dead sensor, and was not judged yet.
    fn is_falling(&self, sentinel: &Sentinel) -> bool {
        let misses = sentinel.unheard.is_some_and(|unheard| unheard >= self.silent_after / 2);
        sentinel.judged.is_none() && (misses || sentinel.dead.is_some())
    }

    /// Why it is silent, taken by itself.
    fn cause(&self, sentinel: &Sentinel) -> Option<Cause> {
        let unheard = sentinel.unheard.is_some_and(|unheard| unheard >= self.silent_after);
        let judged = sentinel.judged.map(|(cause, _)| cause);
        let still_unheard = judged == Some(Cause::SentinelSilent) && !sentinel.was_heard;
        let dead = sentinel.dead.is_some_and(|dead| judged.is_some() || dead >= self.settling());
        if unheard || still_unheard { Some(Cause::SentinelSilent) } else { dead.then_some(Cause::SensorDead) }
    }

    fn standing(&self, sentinel: &Sentinel, many: bool) -> Standing {
        match self.cause(sentinel) {
            Some(cause) if many && sentinel.judged.is_none() => Standing::OneOfMany(cause),
            Some(cause) => Standing::Silent(cause),
            None if sentinel.was_heard && sentinel.unheard.is_some() && sentinel.dead.is_none() => Standing::Heard,
            None => Standing::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::silence::SILENT_AFTER;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Heard this long ago.
    fn heard(ago: u64) -> Sentinel {
        Sentinel { unheard: Some(seconds(ago)), was_heard: true, ..Sentinel::default() }
    }

    fn judged(cause: Cause, ago: u64) -> Sentinel {
        Sentinel { judged: Some((cause, seconds(ago))), unheard: Some(seconds(ago + 40)), ..Sentinel::default() }
    }

    fn dead(since: u64) -> Sentinel {
        Sentinel { dead: Some(seconds(since)), ..heard(1) }
    }

    /// A cloud of `total` sentinels, of which these are not well.
    fn cloud(total: usize, unwell: &[Sentinel]) -> BTreeMap<String, Sentinel> {
        let all = unwell.iter().cloned().chain(std::iter::repeat(heard(3))).take(total);
        all.enumerate().map(|(number, sentinel)| (format!("n{number:03}"), sentinel)).collect()
    }

    fn judge(total: usize, unwell: &[Sentinel], were_many: bool) -> Assessment {
        assess(&cloud(total, unwell), were_many, SILENT_AFTER)
    }

    fn first(assessment: &Assessment) -> Standing {
        assessment.standings["n000"]
    }

    const SILENT: Standing = Standing::Silent(Cause::SentinelSilent);
    const ONE_OF_MANY: Standing = Standing::OneOfMany(Cause::SentinelSilent);

    #[test]
    fn a_sentinel_is_silent_after_40_s_and_not_before() {
        assert_eq!(first(&judge(3, &[heard(39)], false)), Standing::Heard);
        let assessment = judge(3, &[heard(40)], false);
        assert_eq!((first(&assessment), assessment.many, assessment.silent()), (SILENT, false, vec!["n000"]));
    }

    #[test]
    fn nobody_is_judged_before_the_operator_has_watched_one_full_interval() {
        let after_a_start = Sentinel { unheard: Some(seconds(39)), ..Sentinel::default() };
        assert_eq!(first(&judge(3, &[after_a_start], false)), Standing::Pending);
        assert_eq!(first(&judge(3, &[Sentinel::default()], false)), Standing::Pending, "the API server is away");
    }

    #[test]
    fn who_never_was_heard_is_silent_once_the_interval_was_watched() {
        let never = Sentinel { unheard: Some(seconds(40)), ..Sentinel::default() };
        assert_eq!(first(&judge(3, &[never], false)), SILENT);
    }

    #[test]
    fn more_than_a_tenth_or_more_than_one_at_once_is_one_fault_and_no_signal() {
        for (total, at_once, many) in
            [(1, 1, false), (2, 2, true), (3, 2, true), (10, 2, true), (20, 2, false), (20, 3, true), (200, 20, false), (200, 21, true)]
        {
            let assessment = judge(total, &vec![heard(41); at_once], false);
            assert_eq!(assessment.many, many, "{at_once} of {total}");
            assert_eq!(first(&assessment), if many { ONE_OF_MANY } else { SILENT }, "{at_once} of {total}");
            assert_eq!(assessment.silent().len(), at_once);
        }
    }

    #[test]
    fn the_first_of_many_is_not_judged_before_the_others_have_reached_40_s() {
        let assessment = judge(20, &[heard(40), heard(31), heard(33), heard(35)], false);
        assert_eq!((first(&assessment), assessment.many), (ONE_OF_MANY, true));
        assert_eq!(assessment.standings["n001"], Standing::Heard);
    }

    #[test]
    fn the_last_of_many_counts_with_those_that_were_judged_just_before() {
        let assessment = judge(3, &[judged(Cause::SentinelSilent, 30), heard(40)], false);
        assert!(assessment.many);
        assert_eq!((first(&assessment), assessment.standings["n001"]), (SILENT, ONE_OF_MANY));
        let later = judge(3, &[judged(Cause::SentinelSilent, 300), heard(40)], false);
        assert_eq!((later.many, later.standings["n001"]), (false, SILENT));
    }

    #[test]
    fn while_many_are_silent_nobody_new_is_judged() {
        assert_eq!(first(&judge(20, &vec![heard(300); 5], true)), ONE_OF_MANY);
    }

    #[test]
    fn those_who_do_not_come_back_with_the_others_get_one_more_interval() {
        let assessment = judge(20, &[heard(90), heard(91)], true);
        assert_eq!((assessment.many, first(&assessment)), (false, Standing::Pending));
        assert_eq!(assessment.begin_anew, ["n000", "n001"]);
        assert_eq!(first(&judge(20, &[heard(40), heard(40)], false)), SILENT);
    }

    #[test]
    fn many_are_not_taken_for_well_while_the_operator_itself_sees_nothing() {
        let unwatched: Vec<Sentinel> = vec![Sentinel { unheard: None, was_heard: false, ..Sentinel::default() }; 3];
        let assessment = judge(3, &unwatched, true);
        assert_eq!((assessment.many, first(&assessment), assessment.begin_anew.len()), (true, Standing::Pending, 0));
    }

    #[test]
    fn who_was_judged_silent_stays_so_until_heard_also_over_a_restart() {
        let restarted = Sentinel { unheard: Some(seconds(5)), was_heard: false, ..judged(Cause::SentinelSilent, 3000) };
        assert_eq!(first(&judge(3, std::slice::from_ref(&restarted), false)), SILENT);
        let unwatched = Sentinel { unheard: None, ..restarted.clone() };
        assert_eq!(first(&judge(3, &[unwatched], false)), SILENT);
        assert_eq!(first(&judge(3, &[Sentinel { was_heard: true, ..restarted }], false)), Standing::Heard);
    }

    #[test]
    fn a_dead_sensor_is_judged_a_little_later_so_that_others_of_the_same_cause_are_seen() {
        assert_eq!(first(&judge(3, &[dead(9)], false)), Standing::Pending);
        assert_eq!(first(&judge(3, &[dead(10)], false)), Standing::Silent(Cause::SensorDead));
        let upgrade = judge(3, &[dead(10), dead(2), dead(1)], false);
        assert_eq!((first(&upgrade), upgrade.many), (Standing::OneOfMany(Cause::SensorDead), true));
    }

    #[test]
    fn a_sensor_that_lives_again_is_heard() {
        let mended = Sentinel { judged: Some((Cause::SensorDead, seconds(100))), ..heard(2) };
        assert_eq!(first(&judge(3, &[mended], false)), Standing::Heard);
        let restarted = Sentinel { judged: Some((Cause::SensorDead, seconds(100))), ..dead(0) };
        assert_eq!(first(&judge(3, &[restarted], false)), Standing::Silent(Cause::SensorDead));
    }
}
