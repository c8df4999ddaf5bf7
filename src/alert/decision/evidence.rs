//! Whether a policy is about an alert, and whether what the alert shows is enough for it.
//!
//! # Age
//!
//! The event happened at `lastSeen` on the node's clock; the API server stored the sentinel's write at a time of its own; the operator looks now. [`age`] adds the two distances and never lets one of
//! them be negative, so that a node whose clock is ahead gains no more freshness than its write has, and so that a restart of the operator changes nothing: no part depends on when this process saw
//! the object. A node whose clock is behind looks older than it is, by as much.
//!
//! # Events before a release
//!
//! A host that was given back starts anew. `recent` is counted in whole seconds before `lastSeen`; a second that the release falls into does not count, except for the last event
//! itself, whose moment is known exactly.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::alert::event::is_sensor_internal;
use crate::api::policy::{FlowEvidence, Match};
use crate::api::units::{Flow, Severity};
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

/// Whether a policy is about this alert. Every part of `match` must hold; an alert of Unknown severity, and an event of the sensor's decoder, never matches.
#[must_use]
pub fn matches(matching: &Match, alert: &HostAlertSpec) -> bool {
    let Some((gid, sid)) = signature(alert) else { return false };
    let by_engine = matching.engines.is_empty() || matching.engines.contains(&alert.engine);
    let by_rule = matching.rules.is_empty() || matching.rules.iter().any(|rule| rule_holds(rule, &alert.engine, gid, sid));
    let by_severity = alert.severity >= Severity::from(matching.min_severity);
    !is_sensor_internal(gid, sid) && by_engine && by_rule && by_severity
}

/// Generator and signature: as given, else from the rule's name `gid:sid`.
fn signature(alert: &HostAlertSpec) -> Option<(i64, i64)> {
    if let (Some(gid), Some(sid)) = (alert.gid, alert.sid) {
        return Some((gid, sid));
    }
    let (gid, sid) = alert.rule_id.split_once(':')?;
    Some((gid.parse().ok()?, sid.parse().ok()?))
}

/// Whether `engine:gid:sid` or `engine:gid:from-to` (both ends included) names this signature. Text of another form names none.
fn rule_holds(rule: &str, engine: &str, gid: i64, sid: i64) -> bool {
    let parts: Vec<&str> = rule.split(':').collect();
    let &[rule_engine, rule_gid, sids] = parts.as_slice() else { return false };
    let (from, to) = sids.split_once('-').unwrap_or((sids, sids));
    let (Ok(rule_gid), Ok(from), Ok(to)) = (rule_gid.parse::<i64>(), from.parse::<i64>(), to.parse::<i64>()) else { return false };
    rule_engine == engine && rule_gid == gid && (from..=to).contains(&sid)
}

/// How an alert stands with a policy that is about it. In the order of how little is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Evidence and threshold hold; so many events were seen.
    Holds(i64),
    /// Fewer events than the threshold, within its window and since the host's latest release.
    TooFew(i64),
    /// The flow is no evidence.
    WrongFlow,
    /// The last event is older than maxAge.
    TooOld,
}

/// Judges an alert by a policy that is about it. `released_ago` is how long ago the host was last given back.
pub(super) fn standing(policy: &QuarantinePolicySpec, alert: &HostAlertSpec, age: SignedDuration, released_ago: Option<SignedDuration>) -> Standing {
    if !is_young(age, policy.evidence.max_age.get()) {
        return Standing::TooOld;
    }
    let flow_holds = match policy.evidence.flow {
        FlowEvidence::Any => true,
        FlowEvidence::Established => alert.flow == Flow::Established,
    };
    if !flow_holds {
        return Standing::WrongFlow;
    }
    let seen = events(alert, policy.threshold.window.get(), released_ago.map(|ago| ago.saturating_sub(age)));
    if seen >= i64::from(policy.threshold.count) { Standing::Holds(seen) } else { Standing::TooFew(seen) }
}

/// Whether an age satisfies a maxAge.
pub(super) fn is_young(age: SignedDuration, max_age: Duration) -> bool {
    age.unsigned_abs() <= max_age
}

/// Events less than `window` before `lastSeen`. `horizon` is how long before `lastSeen` the host was given back; what lies before that does not count.
fn events(alert: &HostAlertSpec, window: Duration, horizon: Option<SignedDuration>) -> i64 {
    let in_window = alert.recent.iter().filter(|second| Duration::from_secs(second.seconds_ago.into()) < window);
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
