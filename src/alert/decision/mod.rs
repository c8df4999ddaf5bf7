//! The decision on an alert: which policies it falls under, whether their evidence is enough, and what follows.
//!
//! ```text
//! HostAlert ── locate ──> one cloud and host              else Unmapped
//!           ── judge ───> policies that match             else NoPolicy
//!                         and do not suppress             else Suppressed
//!                         evidence and threshold          else Stale, BelowThreshold
//!                         of one that acts                else Recorded
//!                         sentinels are tied to nodes     else IdentityUnenforced
//!                         no active quarantine            else AlreadyQuarantined
//!                         no host of the pool             else Recorded
//!                         view fresh                      else Stale
//!                         no cooldown                     else Cooldown
//!                         limits, share and budget left   else OverBudget
//!                         Quarantined, with the HostQuarantine to make
//! ```
//!
//! Of the policies that act and whose evidence and threshold hold, the one with the highest priority decides, ties by name. Policies in mode Observe make nothing and keep no other from deciding; what each
//! would have done stands in `observed`.
//!
//! How it is used: [`locate`] first, since the other facts are about the host; then [`needs_decision`]; then [`judge`] with what the gates said about that host; [`Judgement::status`] makes the
//! status, and [`same_judgement`] tells whether it must be written at all.

mod evidence;
mod explain;
mod matching;
mod name;
mod outcome;
mod place;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

pub use evidence::{Series, age, counts_one_series, same_group};
pub use matching::{Labels, matches};
pub use outcome::{Act, Active, Gates};
pub use place::{CloudFacts, Place, Unmapped, belongs_nowhere, locate};

use crate::api::alert::{Decision, ObservedDecision};
use crate::api::condition::shorten;
use crate::api::policy::Suppression;
use crate::api::quarantine::Trigger;
use crate::api::units::{Mode, ResponseAction, Scope};
use crate::api::{HostAlertSpec, HostAlertStatus, HostQuarantineSpec, QuarantinePolicySpec};
use evidence::{Seen, Standing, is_young, standing};
use explain::MOMENTARY;
use outcome::{Outcome, outcome};

/// At most so many policies in mode Observe stand in a status.
const OBSERVED_MAX: usize = 4;
/// The longest sentence in a status, in characters.
const MESSAGE_MAX_CHARS: usize = 1024;
/// The longest reason of a HostQuarantine, in characters.
const REASON_MAX_CHARS: usize = 256;
/// The largest `evidence.maxAge` that a policy can have. It stands in where no policy says how long an alert is worth another look.
const LONGEST_MAX_AGE: Duration = Duration::from_secs(600);
/// A QuarantinePolicy.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its generation.
    pub generation: i64,
    /// What it says.
    pub spec: &'a QuarantinePolicySpec,
}

/// What a HostAlert is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The HostAlert's name.
    pub alert_name: &'a str,
    /// What its sentinel says.
    pub alert: &'a HostAlertSpec,
    /// The API server's time of the sentinel's last write (`managedFields`), where it is known.
    pub written: Option<Timestamp>,
    /// Now, on the operator's clock.
    pub now: Timestamp,
    /// Where the node belongs, as [`locate`] found it.
    pub place: &'a Result<Place, Unmapped>,
    /// All policies, of any cloud, in any order.
    pub policies: &'a [Policy<'a>],
    /// The labels of the host.
    pub labels: &'a Labels,
    /// The other series of the cloud. Needed only where a policy does not count one series alone ([`counts_one_series`]).
    pub peers: &'a [Series<'a>],
    /// The active HostQuarantine of the host.
    pub active: Option<Active<'a>>,
    /// When the host was last given back, on the operator's clock.
    pub released_at: Option<Timestamp>,
    /// What policies did lately, on any host of the cloud.
    pub acts: &'a [Act],
    /// What the gates say about this host.
    pub gates: Gates<'a>,
}

impl<'a> Case<'a> {
    fn own(&self) -> Series<'a> {
        Series {
            alert: self.alert,
            age: age(self.alert.last_seen.0, self.written, self.now),
            released_ago: self.released_at.map(|released| self.now.duration_since(released)),
            labels: self.labels,
        }
    }
}

/// A HostQuarantine to make.
#[derive(Clone, Debug, PartialEq)]
pub struct NewQuarantine {
    /// Its name: the same for the same events, so that one that exists already is this decision's own.
    pub name: String,
    /// What it says.
    pub spec: HostQuarantineSpec,
}

/// Which policies' evidence and threshold held for an alert, whatever was decided then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// None.
    #[default]
    Not,
    /// Only ones in mode Observe.
    ByObserving,
    /// One that acts.
    ByActing,
}

impl Held {
    /// What an earlier decision says about it.
    #[must_use]
    pub fn by_decision(decision: Decision) -> Self {
        match decision {
            Decision::NoPolicy | Decision::BelowThreshold | Decision::Suppressed | Decision::Stale | Decision::Unmapped => Self::Not,
            Decision::Recorded => Self::ByObserving,
            Decision::IdentityUnenforced
            | Decision::Cooldown
            | Decision::OverBudget
            | Decision::AlreadyQuarantined
            | Decision::Cordoned
            | Decision::Quarantined => Self::ByActing,
        }
    }
}

/// A decision and everything that a status, an Event or a log line says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The decision.
    pub decision: Decision,
    /// The cloud, where the node belongs to one.
    pub cloud: Option<String>,
    /// The host, where the node belongs to one.
    pub host: Option<String>,
    /// The policy that decided, or came closest.
    pub policy: Option<String>,
    /// The HostQuarantine that is to be made, or that the alert joins.
    pub quarantine: Option<String>,
    /// The UID of the HostQuarantine that the alert joins.
    pub quarantine_uid: Option<String>,
    /// What the policy suspects, and how far it goes, where the decision is to do something.
    pub response: Option<(Scope, ResponseAction)>,
    /// Why, in a sentence with the figures.
    pub message: String,
    /// What policies in mode Observe would have done; highest priority first.
    pub observed: Vec<ObservedDecision>,
    /// The HostQuarantine to make, when the decision is Quarantined and it does not exist yet.
    pub create: Option<NewQuarantine>,
    /// Which policies' evidence and threshold hold.
    pub held: Held,
    /// When the passing of time alone can change the decision.
    pub again_at: Option<Timestamp>,
}

/// Decides on a HostAlert.
#[must_use]
pub fn judge(case: &Case<'_>) -> Judgement {
    let place = match case.place {
        Ok(place) => place,
        Err(Unmapped(why)) => return judgement(None, Decision::Unmapped, None, sentence(why)),
    };
    let (candidates, suppressing) = candidates(case, place);
    let acting = candidates.iter().find(|candidate| candidate.acts());
    let mut judgement = match (acting, suppressing.first()) {
        (Some(candidate), _) => act(case, place, candidate),
        (None, Some((policy, entry))) if candidates.is_empty() => {
            let message = explain::suppressed(case, *policy, entry);
            Judgement { again_at: Some(entry.until.0), ..judgement(Some(place), Decision::Suppressed, Some(policy.name), message) }
        }
        (None, _) => no_act(case, place, &candidates),
    };
    judgement.observed = observed(case, place, &candidates);
    judgement.held = held(&candidates);
    judgement.message = sentence(&judgement.message);
    judgement
}

/// Text for a status: on one line whatever a sentinel wrote, and within the bound.
fn sentence(text: &str) -> String {
    shorten(one_line(text), MESSAGE_MAX_CHARS)
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A policy that is about the alert, and how the alert stands with it.
struct Candidate<'a> {
    policy: Policy<'a>,
    standing: Standing,
}

impl Candidate<'_> {
    fn holds(&self) -> bool {
        matches!(self.standing, Standing::Holds(_))
    }
    fn seen(&self) -> Seen {
        match self.standing {
            Standing::Holds(seen) | Standing::TooFew(seen) => seen,
            Standing::WrongFlow | Standing::TooOld => Seen::default(),
        }
    }
    fn observes(&self) -> bool {
        self.policy.spec.mode == Mode::Observe
    }
    fn acts(&self) -> bool {
        self.holds() && !self.observes()
    }
}

/// A policy that leaves the alert alone, and the entry that says so.
type Suppressing<'a> = (Policy<'a>, &'a Suppression);

/// The policies of the cloud that are about the alert, and those that would be, did they not leave its rule alone; highest priority first, ties by name.
fn candidates<'a>(case: &Case<'a>, place: &Place) -> (Vec<Candidate<'a>>, Vec<Suppressing<'a>>) {
    let (mut candidates, mut suppressing) = (Vec::new(), Vec::new());
    let mut about: Vec<Policy<'a>> =
        case.policies.iter().filter(|policy| policy.spec.cloud == place.cloud && matches(&policy.spec.matches, case.alert, case.labels)).copied().collect();
    about.sort_by_key(|policy| (Reverse(policy.spec.priority), policy.name));
    for policy in about {
        match matching::suppression(policy.spec, case.alert, case.now) {
            Some(entry) => suppressing.push((policy, entry)),
            None => candidates.push(Candidate { policy, standing: standing(policy.spec, case.own(), case.peers) }),
        }
    }
    (candidates, suppressing)
}

fn judgement(place: Option<&Place>, decision: Decision, policy: Option<&str>, message: String) -> Judgement {
    Judgement {
        decision,
        cloud: place.map(|place| place.cloud.clone()),
        host: place.map(|place| place.host.to_string()),
        policy: policy.map(str::to_owned),
        quarantine: None,
        quarantine_uid: None,
        response: None,
        message,
        observed: Vec::new(),
        create: None,
        held: Held::Not,
        again_at: None,
    }
}

fn held(candidates: &[Candidate<'_>]) -> Held {
    let holding = candidates.iter().filter(|candidate| candidate.holds());
    holding.map(|candidate| if candidate.observes() { Held::ByObserving } else { Held::ByActing }).max().unwrap_or_default()
}

fn name_of(case: &Case<'_>, place: &Place) -> String {
    name::quarantine_name(place, case.alert_name, &case.alert.series, case.alert.seq)
}

/// The judgement where a policy that acts holds.
fn act(case: &Case<'_>, place: &Place, candidate: &Candidate<'_>) -> Judgement {
    let policy = candidate.policy;
    let Outcome { decision, why, again_at } = outcome(case, place, policy);
    let quarantine = match decision {
        Decision::AlreadyQuarantined => case.active.map(|active| active.name.to_owned()),
        Decision::Quarantined | Decision::Cordoned => Some(name_of(case, place)),
        _ => None,
    };
    let quarantine_uid = case.active.filter(|_| decision == Decision::AlreadyQuarantined).map(|active| active.uid.to_owned());
    let response = decision.is_final().then_some((policy.spec.response.scope, policy.spec.response.action));
    let message = explain::acted(case, place, candidate, decision, why.as_deref());
    let create = quarantine
        .clone()
        .filter(|_| matches!(decision, Decision::Quarantined | Decision::Cordoned) && case.active.is_none())
        .map(|name| NewQuarantine { name, spec: new_spec(case, place, policy, decision == Decision::Cordoned) });
    Judgement { quarantine, quarantine_uid, response, create, again_at, ..judgement(Some(place), decision, Some(policy.name), message) }
}

fn new_spec(case: &Case<'_>, place: &Place, policy: Policy<'_>, over_budget: bool) -> HostQuarantineSpec {
    let from = if case.alert.subject == "-" { String::new() } else { format!(" from {}", case.alert.subject) };
    let reason = one_line(&format!("{} {}{from}", case.alert.engine, case.alert.rule_id));
    let response = &policy.spec.response;
    HostQuarantineSpec {
        trigger: Some(Trigger {
            policy: policy.name.to_owned(),
            policy_generation: policy.generation,
            alerts: vec![case.alert_name.to_owned()],
            rules: vec![matching::full_rule(case.alert)],
            over_budget,
        }),
        reason: shorten(reason, REASON_MAX_CHARS),
        mode: policy.spec.mode,
        scope: response.scope,
        action: if over_budget { ResponseAction::Cordon } else { response.action },
        migration: response.template.migration.clone(),
        destinations: response.template.destinations.clone(),
        ..HostQuarantineSpec::of(place.cloud.clone(), place.host.to_string())
    }
}

/// The judgement where no policy that acts holds.
fn no_act(case: &Case<'_>, place: &Place, candidates: &[Candidate<'_>]) -> Judgement {
    if let Some(recording) = candidates.iter().find(|candidate| candidate.holds()) {
        let would = outcome(case, place, recording.policy);
        let message = explain::recorded(case, recording, would.decision);
        return Judgement { again_at: would.again_at, ..judgement(Some(place), Decision::Recorded, Some(recording.policy.name), message) };
    }
    let closest = candidates.iter().min_by_key(|candidate| (missing(candidate), candidate.observes()));
    match closest {
        None => judgement(Some(place), Decision::NoPolicy, None, explain::no_policy(case, place)),
        Some(candidate) => judgement(Some(place), below(candidate.standing), Some(candidate.policy.name), explain::shortfall(case, candidate)),
    }
}

/// How far an alert is from satisfying a policy: what kind of thing is missing, then how many events.
fn missing(candidate: &Candidate<'_>) -> (u8, i64) {
    match candidate.standing {
        Standing::Holds(_) => (0, 0),
        Standing::TooFew(seen) => (1, i64::from(candidate.policy.spec.threshold.count).saturating_sub(seen.events)),
        Standing::WrongFlow => (2, 0),
        Standing::TooOld => (3, 0),
    }
}

fn below(standing: Standing) -> Decision {
    match standing {
        Standing::TooOld => Decision::Stale,
        Standing::Holds(_) | Standing::TooFew(_) | Standing::WrongFlow => Decision::BelowThreshold,
    }
}

/// What the policies in mode Observe would have done.
fn observed(case: &Case<'_>, place: &Place, candidates: &[Candidate<'_>]) -> Vec<ObservedDecision> {
    let observing = candidates.iter().filter(|candidate| candidate.observes()).take(OBSERVED_MAX);
    observing
        .map(|candidate| ObservedDecision {
            policy: candidate.policy.name.to_owned(),
            decision: if candidate.holds() { outcome(case, place, candidate.policy).decision } else { below(candidate.standing) },
        })
        .collect()
}

/// Whether a HostAlert is to be judged (again): it was never judged; or its events are others than those that were; or the earlier decision is not final and the series is
/// young enough for some policy that is about it (for any policy that could be made, where none is).
#[must_use]
pub fn needs_decision(
    alert: &HostAlertSpec,
    labels: &Labels,
    status: Option<&HostAlertStatus>,
    policies: &[Policy<'_>],
    written: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let Some((status, decision)) = status.and_then(|status| Some((status, status.decision?))) else { return true };
    if status.observed_series.as_deref() != Some(alert.series.as_str()) || status.observed_seq != Some(alert.seq) {
        return true;
    }
    if decision.is_final() {
        return false;
    }
    let longest = policies.iter().filter(|policy| matches(&policy.spec.matches, alert, labels)).map(|policy| policy.spec.evidence.max_age.get()).max();
    is_young(age(alert.last_seen.0, written, now), longest.unwrap_or(LONGEST_MAX_AGE))
}

/// Whether a status says already what a judgement says about this series, apart from figures that change with every event (`observedSeq`, `lastReceived`, and what follows "At seq" in the
/// message). Then it is not written: under a storm of alerts the status would otherwise cost as many writes as the alerts.
#[must_use]
pub fn same_judgement(status: Option<&HostAlertStatus>, judgement: &Judgement, alert: &HostAlertSpec) -> bool {
    let Some(status) = status else { return false };
    let Judgement { decision, cloud, host, policy, quarantine, quarantine_uid, response, message, observed, create: _, held: _, again_at: _ } = judgement;
    status.observed_series.as_deref() == Some(alert.series.as_str())
        && status.decision == Some(*decision)
        && status.cloud == *cloud
        && status.host == *host
        && status.policy == *policy
        && status.quarantine == *quarantine
        && status.quarantine_uid == *quarantine_uid
        && status.scope == response.map(|(scope, _)| scope)
        && status.action == response.map(|(_, action)| action)
        && status.message.as_deref().map(lasting) == Some(lasting(message))
        && status.observed == *observed
}

fn lasting(message: &str) -> &str {
    message.split_once(MOMENTARY).map_or(message, |(before, _)| before)
}

impl Judgement {
    /// The status that says this. `received` is when the operator saw the events that it is about, on its own clock; when it first saw the series is kept from the earlier status.
    #[must_use]
    pub fn status(&self, alert: &HostAlertSpec, earlier: Option<&HostAlertStatus>, received: Timestamp) -> HostAlertStatus {
        HostAlertStatus {
            cloud: self.cloud.clone(),
            host: self.host.clone(),
            observed_series: Some(alert.series.clone()),
            observed_seq: Some(alert.seq),
            first_received: self.begun(alert, earlier, received).or(Some(MicroTime(received))),
            last_received: Some(MicroTime(received)),
            decision: Some(self.decision),
            policy: self.policy.clone(),
            quarantine: self.quarantine.clone(),
            quarantine_uid: self.quarantine_uid.clone(),
            scope: self.response.map(|(scope, _)| scope),
            action: self.response.map(|(_, action)| action),
            message: Some(self.message.clone()),
            observed: self.observed.clone(),
        }
    }

    /// When the operator first saw what this judgement is about, where an earlier status says it: not another series, not what an earlier quarantine was about, and not what was too little and too long ago
    /// to count.
    fn begun(&self, alert: &HostAlertSpec, earlier: Option<&HostAlertStatus>, received: Timestamp) -> Option<MicroTime> {
        let status = earlier.filter(|status| status.observed_series.as_deref() == Some(alert.series.as_str()))?;
        let same_incident = status.quarantine.is_none() || status.quarantine == self.quarantine;
        let counted = status.decision.is_some_and(|decision| Held::by_decision(decision) != Held::Not);
        let first = status.first_received.clone()?;
        (same_incident && (counted || is_young(received.duration_since(first.0), LONGEST_MAX_AGE))).then_some(first)
    }
}
