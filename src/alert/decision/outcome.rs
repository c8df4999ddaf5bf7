//! What a policy whose evidence and threshold hold comes to on a host: what the gates, the cooldowns and the policy's own limits say, in a fixed order.

use std::time::Duration;

use jiff::Timestamp;

use super::matching::full_rule;
use super::{Case, Place, Policy, name_of};
use crate::api::alert::Decision;
use crate::api::policy::OnLimit;
use crate::api::units::ResponseAction;
use crate::inventory::HostName;

/// How long the rules of a false positive leave their host alone, from its release.
const FALSE_POSITIVE_FOR: Duration = Duration::from_secs(24 * 3600);
/// The time that `maxQuarantinesPerHour` is about.
const HOUR: Duration = Duration::from_secs(3600);

/// What a policy did to a host: a HostQuarantine that it made, whether or not the object still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The HostQuarantine.
    pub quarantine: String,
    /// The host.
    pub host: HostName,
    /// The policy.
    pub policy: String,
    /// The rules that it was made for, with their engines.
    pub rules: Vec<String>,
    /// When it was decided.
    pub at: Timestamp,
    /// When the host was given back, and whether it was a false positive.
    pub released: Option<(Timestamp, bool)>,
    /// Whether the object exists and is not yet Empty, Cordoned, Blocked or Released.
    pub under_way: bool,
}

/// What the gates say about a host: a sentence each for those that are shut.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gates<'a> {
    /// The operator may only record: the kinds that the API server serves are older than it is, or it runs on a host of the cloud.
    pub only_records: Option<&'a str>,
    /// Nothing ties sentinels to their nodes.
    pub unenforced: Option<&'a str>,
    /// The host is one of the quarantine pool's, which no policy takes out of service.
    pub pool_host: Option<&'a str>,
    /// The view of the cloud is too old to decide on.
    pub stale_view: Option<&'a str>,
    /// Too many hosts alert at once.
    pub over_share: Option<&'a str>,
    /// The budget lets no further host be taken out of service.
    pub over_budget: Option<&'a str>,
    /// Nor one over the limit.
    pub no_cordon: Option<&'a str>,
}

/// The active HostQuarantine of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Active<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// It was made by a policy and only takes the host out of service: a decision to drain is no less than a new one, and goes through the gates.
    pub only_cordons: bool,
}

/// What follows, and why where it is less than was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) decision: Decision,
    pub(super) why: Option<String>,
    /// When the passing of time alone can change it.
    pub(super) again_at: Option<Timestamp>,
}

impl Outcome {
    fn plain(decision: Decision) -> Self {
        Self { decision, why: None, again_at: None }
    }

    fn because(decision: Decision, why: impl Into<String>) -> Self {
        Self { decision, why: Some(why.into()), again_at: None }
    }
}

/// What a policy comes to on this host, were it to act.
pub(super) fn outcome(case: &Case<'_>, place: &Place, policy: Policy<'_>) -> Outcome {
    let gates = &case.gates;
    // made by this very decision, whose record was lost on the way
    if let Some(active) = case.active.filter(|active| active.name == name_of(case, place)) {
        return Outcome::plain(if active.only_cordons && drains(policy) { Decision::Cordoned } else { Decision::Quarantined });
    }
    if let Some(why) = gates.only_records {
        return Outcome::because(Decision::Recorded, why);
    }
    if let Some(why) = gates.unenforced {
        return Outcome::because(Decision::IdentityUnenforced, why);
    }
    match case.active {
        Some(active) if active.only_cordons && drains(policy) => raise(case, active),
        Some(_) => Outcome::plain(Decision::AlreadyQuarantined),
        None => begin(case, place, policy),
    }
}

fn drains(policy: Policy<'_>) -> bool {
    policy.spec.response.action == ResponseAction::Drain
}

/// A host that only was taken out of service is to be drained: the gates are asked as for a new one. There is no cooldown in it, since nothing is done twice.
fn raise(case: &Case<'_>, active: Active<'_>) -> Outcome {
    let gates = &case.gates;
    if let Some(why) = gates.pool_host {
        return Outcome::because(Decision::Recorded, why);
    }
    if let Some(why) = gates.stale_view {
        return Outcome::because(Decision::Stale, why);
    }
    match gates.over_share.or(gates.over_budget) {
        Some(why) => Outcome::because(Decision::OverBudget, format!("It stays out of service by HostQuarantine {} and is not drained. {why}", active.name)),
        None => Outcome::plain(Decision::AlreadyQuarantined),
    }
}

/// A host without a quarantine.
fn begin(case: &Case<'_>, place: &Place, policy: Policy<'_>) -> Outcome {
    let gates = &case.gates;
    if let Some(why) = gates.pool_host {
        return Outcome::because(Decision::Recorded, why);
    }
    if let Some(why) = gates.stale_view {
        return Outcome::because(Decision::Stale, why);
    }
    if let Some(cooling) = cooldown(case, place, policy) {
        return cooling;
    }
    // The ceiling on the share closes everything: many hosts alert, and a person must look.
    if let Some(why) = gates.over_share {
        return Outcome::because(Decision::OverBudget, why);
    }
    let over = limits(case, policy).or_else(|| gates.over_budget.map(|why| Outcome::because(Decision::OverBudget, why)));
    match (over, policy.spec.on_limit) {
        (None, _) => Outcome::plain(Decision::Quarantined),
        (Some(over), OnLimit::Record) => over,
        (Some(over), OnLimit::Cordon) => match gates.no_cordon {
            None => Outcome { decision: Decision::Cordoned, again_at: None, ..over },
            Some(no) => Outcome { why: Some(format!("{} {no}", over.why.unwrap_or_default())), ..over },
        },
    }
}

/// The cooldown that ends last, where there is one.
fn cooldown(case: &Case<'_>, place: &Place, policy: Policy<'_>) -> Option<Outcome> {
    let rule = full_rule(case.alert);
    let here = case.acts.iter().filter(|act| act.host == place.host);
    let ends = here.filter_map(|act| cooldown_of(act, policy, &rule)).filter(|(until, _)| case.now < *until);
    let (until, why) = ends.max_by_key(|(until, _)| *until)?;
    Some(Outcome { decision: Decision::Cooldown, why: Some(why), again_at: Some(until) })
}

/// Until when one act of a policy keeps a policy from acting on the same host for this rule, and why.
fn cooldown_of(act: &Act, policy: Policy<'_>, rule: &str) -> Option<(Timestamp, String)> {
    let same_rule = act.rules.iter().any(|other| other == rule);
    let (name, host, made) = (policy.name, &act.host, &act.quarantine);
    let false_positive = act.released.filter(|(_, false_positive)| *false_positive && same_rule).map(|(released, _)| {
        let until = released.saturating_add(FALSE_POSITIVE_FOR).unwrap_or(Timestamp::MAX);
        (until, format!("HostQuarantine {made} was released as a false positive: rule {rule} does not count on host {host} until {until:.0}."))
    });
    let remediated = act.released.is_some_and(|(_, false_positive)| !false_positive);
    let own = (act.policy == name && !remediated).then(|| {
        let cooldown = &policy.spec.cooldown;
        let (by_host, by_rule) = (cooldown.per_host.get(), cooldown.per_rule.get());
        let (length, field) = if same_rule && by_rule > by_host { (by_rule, "perRule") } else { (by_host, "perHost") };
        let until = act.at.saturating_add(length).unwrap_or(Timestamp::MAX);
        (until, format!("It acted on host {host} at {:.0} (HostQuarantine {made}) and leaves it alone until {until:.0} (spec.cooldown.{field}).", act.at))
    });
    [false_positive, own].into_iter().flatten().max_by_key(|(until, _)| *until)
}

/// The policy's own limits.
fn limits(case: &Case<'_>, policy: Policy<'_>) -> Option<Outcome> {
    let limits = &policy.spec.limits;
    let own = || case.acts.iter().filter(|act| act.policy == policy.name);
    let under_way: Vec<&str> = own().filter(|act| act.under_way).map(|act| act.quarantine.as_str()).collect();
    if under_way.len() >= usize::try_from(limits.max_concurrent_quarantines).unwrap_or(usize::MAX) {
        let why = format!(
            "It has {} HostQuarantines under way ({}), and spec.limits.maxConcurrentQuarantines is {}.",
            under_way.len(),
            under_way.iter().take(5).copied().collect::<Vec<_>>().join(", "),
            limits.max_concurrent_quarantines
        );
        return Some(Outcome::because(Decision::OverBudget, why));
    }
    let mut within_an_hour: Vec<Timestamp> = own().map(|act| act.at).filter(|at| ends(*at) > case.now).collect();
    within_an_hour.sort_unstable();
    let most = usize::try_from(limits.max_quarantines_per_hour).unwrap_or(usize::MAX);
    // The one that must drop out of the hour before there is room again.
    let again_at = within_an_hour.len().checked_sub(most).and_then(|index| within_an_hour.get(index)).map(|at| ends(*at))?;
    let why = format!(
        "It made {} HostQuarantines within the last hour, and spec.limits.maxQuarantinesPerHour is {most}; room again at {again_at:.0}.",
        within_an_hour.len()
    );
    Some(Outcome { decision: Decision::OverBudget, why: Some(why), again_at: Some(again_at) })
}

fn ends(at: Timestamp) -> Timestamp {
    at.saturating_add(HOUR).unwrap_or(Timestamp::MAX)
}
