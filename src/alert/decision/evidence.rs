//! Whether what an alert shows is enough for a policy that is about it: its age, its flow, and how many events the policy's group has within the window.
//!
//! # Age
//!
//! The event happened at `lastSeen` on the node's clock; the API server stored the sentinel's write at a time of its own; the operator looks now. [`age`] adds the two distances and never lets one of
//! them be negative, so that a node whose clock is ahead gains no more freshness than its write has, and so that a restart of the operator changes nothing: no part depends on when this process saw
//! the object. A node whose clock is behind looks older than it is, by as much.
//!
//! # Groups
//!
//! By default a policy counts one series: one rule set off by one far end on one host. With another `groupBy`, or with `flow: Any`, which counts several series of the same rule and far end together, the
//! events of all alerts of the group are laid on one line of time by their ages; the window ends at the youngest of them, and the alert that is judged must itself have an event in it.
//!
//! # Events before a release
//!
//! A host that was given back starts anew. `recent` is counted in whole seconds before `lastSeen`; a second that the release falls into does not count, except for the last event
//! itself, whose moment is known exactly.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::matching::{Labels, matches};
use crate::api::alert::SELF_ENGINE;
use crate::api::policy::{DistinctField, FlowEvidence, GroupField, Threshold};
use crate::api::units::Flow;
use crate::api::{HostAlertSpec, QuarantinePolicySpec};

/// The API server's stamp is cut to whole seconds, so an honest `lastSeen` may lie up to a second after it.
const STAMP_RESOLUTION: SignedDuration = SignedDuration::from_secs(1);

/// How long ago the last event of a series happened; never negative. `written` is the API server's time of the sentinel's last write; where it is unknown, the node's clock is all there is.
#[must_use]
pub fn age(last_seen: Timestamp, written: Option<Timestamp>, now: Timestamp) -> SignedDuration {
    let age = match written {
        None => now.duration_since(last_seen),
        Some(written) => {
            let before_write = written.duration_since(last_seen).max(-STAMP_RESOLUTION);
            let since_write = now.duration_since(written).max(SignedDuration::ZERO);
            before_write.saturating_add(since_write)
        }
    };
    age.max(SignedDuration::ZERO)
}

/// One series, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// What its sentinel says.
    pub alert: &'a HostAlertSpec,
    /// How long ago its last event happened ([`age`]).
    pub age: SignedDuration,
    /// How long ago its host was last given back, if it was.
    pub released_ago: Option<SignedDuration>,
    /// The labels of its host.
    pub labels: &'a Labels,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    /// Events within the window and since the host's latest release.
    pub(super) events: i64,
    /// Different values of the field that the policy counts those of.
    pub(super) distinct: Option<u32>,
}

/// How an alert stands with a policy that is about it. In the order of how little is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Evidence and threshold hold.
    Holds(Seen),
    /// Fewer events, or fewer different ones, than the threshold.
    TooFew(Seen),
    /// The flow is no evidence.
    WrongFlow,
    /// The last event is older than maxAge.
    TooOld,
}

/// Judges an alert by a policy that is about it. `peers` are the other series of the cloud; none are needed where [`counts_one_series`] says so.
pub(super) fn standing<'a>(policy: &QuarantinePolicySpec, own: Series<'a>, peers: &[Series<'a>]) -> Standing {
    if !is_young(own.age, policy.evidence.max_age.get()) {
        return Standing::TooOld;
    }
    // A sensor's silence is not traffic and is not repeated. One from before the host was given back does not count.
    if own.alert.engine == SELF_ENGINE {
        let is_over = own.released_ago.is_some_and(|released| released <= own.age);
        return if is_over { Standing::TooFew(Seen::default()) } else { Standing::Holds(Seen { events: 1, distinct: None }) };
    }
    if !flow_holds(policy, own.alert) {
        return Standing::WrongFlow;
    }
    let members: Vec<Series<'a>> = if counts_one_series(policy) {
        vec![own]
    } else {
        let others = peers.iter().filter(|peer| is_member(policy, own.alert, peer));
        std::iter::once(&own).chain(others).copied().collect()
    };
    let (seen, own_in_window) = count(&policy.threshold, own, &members);
    let enough = seen.events >= i64::from(policy.threshold.count) && policy.threshold.distinct.is_none_or(|distinct| seen.distinct >= Some(distinct.min));
    if enough && own_in_window { Standing::Holds(seen) } else { Standing::TooFew(seen) }
}

/// Whether a policy counts the events of the alert's own series alone.
#[must_use]
pub fn counts_one_series(policy: &QuarantinePolicySpec) -> bool {
    let all = [GroupField::Host, GroupField::Rule, GroupField::Subject];
    let by_all = all.iter().all(|field| policy.threshold.group_by.contains(field));
    by_all && policy.threshold.distinct.is_none() && policy.evidence.flow == FlowEvidence::Established
}

/// Whether an age satisfies a maxAge.
pub(super) fn is_young(age: SignedDuration, max_age: Duration) -> bool {
    age.unsigned_abs() <= max_age
}

fn flow_holds(policy: &QuarantinePolicySpec, alert: &HostAlertSpec) -> bool {
    match policy.evidence.flow {
        FlowEvidence::Any => true,
        FlowEvidence::Established => alert.flow == Flow::Established,
    }
}

/// Whether another series belongs to the group of the alert and counts as evidence itself.
fn is_member(policy: &QuarantinePolicySpec, own: &HostAlertSpec, peer: &Series<'_>) -> bool {
    let alert = peer.alert;
    same_group(&policy.threshold, own, alert)
        && flow_holds(policy, alert)
        && is_young(peer.age, policy.evidence.max_age.get())
        && matches(&policy.matches, alert, peer.labels)
}

/// Whether two alerts have the same of all that a threshold groups by.
#[must_use]
pub fn same_group(threshold: &Threshold, own: &HostAlertSpec, other: &HostAlertSpec) -> bool {
    threshold.group_by.iter().all(|field| match field {
        GroupField::Host => own.node == other.node,
        GroupField::Rule => own.engine == other.engine && own.rule_id == other.rule_id,
        GroupField::Subject => own.subject == other.subject,
    })
}

/// Counts the group, and says whether the alert itself has an event in the window.
fn count(threshold: &Threshold, own: Series<'_>, members: &[Series<'_>]) -> (Seen, bool) {
    let youngest = members.iter().map(|member| member.age).min().unwrap_or_default();
    let (mut sum, mut values, mut unnamed, mut own_in_window) = (0_i64, BTreeSet::new(), 0_i64, false);
    for member in members {
        let behind = member.age.saturating_sub(youngest);
        let horizon = member.released_ago.map(|ago| ago.saturating_sub(member.age));
        let events = events(member.alert, threshold.window.get(), behind, horizon);
        sum = sum.saturating_add(events);
        own_in_window |= events > 0 && std::ptr::eq(member.alert, own.alert);
        if events > 0
            && let Some(distinct) = threshold.distinct
        {
            match value(distinct.field, member.alert) {
                Some(value) => drop(values.insert(value)),
                // They may be the same as those of other series: the largest estimate counts, and not their sum.
                None => unnamed = unnamed.max(member.alert.distinct_subjects.unwrap_or(0)),
            }
        }
    }
    let named = i64::try_from(values.len()).unwrap_or(i64::MAX);
    let distinct = threshold.distinct.map(|_| u32::try_from(named.max(unnamed)).unwrap_or(u32::MAX));
    (Seen { events: sum, distinct }, own_in_window)
}

/// What is counted by its different values; nothing where a series does not name it.
fn value(field: DistinctField, alert: &HostAlertSpec) -> Option<(&str, &str)> {
    match field {
        DistinctField::Rule => Some((alert.engine.as_str(), alert.rule_id.as_str())),
        DistinctField::Subject => Some(("", alert.subject.as_str())).filter(|_| alert.subject != "-"),
        DistinctField::Node => Some(("", alert.node.as_str())),
    }
}

/// Events less than `window` before the youngest of the group, `behind` which the alert's own last one lies. `horizon` is how long before that one the host was given back; what lies before that does not
/// count.
fn events(alert: &HostAlertSpec, window: Duration, behind: SignedDuration, horizon: Option<SignedDuration>) -> i64 {
    let behind = behind.unsigned_abs();
    let in_window = alert.recent.iter().filter(|second| Duration::from_secs(second.seconds_ago.into()).saturating_add(behind) < window);
    in_window
        .map(|second| {
            let oldest = SignedDuration::from_secs(i64::from(second.seconds_ago) + 1);
            match horizon {
                Some(horizon) if oldest <= horizon => second.count,
                Some(horizon) if second.seconds_ago == 0 && horizon > SignedDuration::ZERO => second.count.min(1),
                Some(_) => 0,
                None => second.count,
            }
        })
        .fold(0, i64::saturating_add)
}
