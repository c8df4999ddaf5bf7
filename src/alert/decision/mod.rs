//! The decision on an alert: which policy it falls under, whether its evidence is enough, and what follows.
//!
//! ```text
//! HostAlert ── locate ──> one cloud and host          else Unmapped
//!           ── judge ───> policies that match         else NoPolicy
//!                         evidence and threshold      else Stale, BelowThreshold
//!                         of one in mode Enforce      else Recorded
//!                         no active quarantine        else AlreadyQuarantined
//!                         view fresh, budget left     else Stale, OverBudget
//!                         Quarantined, with the HostQuarantine to make
//! ```
//!
//! Of the policies whose evidence and threshold hold, the one with the highest priority decides, ties by name. Policies in mode Observe make nothing and keep no other from deciding; what each would
//! have done stands in `observed`.
//!
//! How it is used: [`locate`] first, since the other facts are about the host; then [`needs_decision`]; then [`judge`] with what the gates said about that host; [`Judgement::status`] makes the
//! status, and [`same_judgement`] tells whether it must be written at all.

mod evidence;
mod name;
mod place;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

pub use evidence::{age, matches};
pub use place::{CloudFacts, Place, Unmapped, locate};

use crate::api::alert::{Decision, ObservedDecision};
use crate::api::condition::shorten;
use crate::api::policy::FlowEvidence;
use crate::api::quarantine::{MigrationSettings, Release, Trigger};
use crate::api::units::{Mode, Period};
use crate::api::{HostAlertSpec, HostAlertStatus, HostQuarantineSpec, QuarantinePolicySpec};
use evidence::{Standing, is_young, standing};

/// At most so many policies in mode Observe stand in a status.
const OBSERVED_MAX: usize = 4;
/// The longest sentence in a status, in characters.
const MESSAGE_MAX_CHARS: usize = 1024;
/// The longest reason of a HostQuarantine, in characters.
const REASON_MAX_CHARS: usize = 256;
/// The largest `evidence.maxAge` that a policy can have. It stands in where no policy says how long an alert is worth another look.
const LONGEST_MAX_AGE: Duration = Duration::from_secs(600);
/// What begins the part of a message that changes with every event; it is left out when judgements are compared.
const MOMENTARY: &str = " At seq ";

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
    /// The active HostQuarantine of the host.
    pub active: Option<&'a str>,
    /// When the host was last given back, on the operator's clock.
    pub released_at: Option<Timestamp>,
    /// Why the kinds that the API server serves are too old to decide with, when they are.
    pub outdated: Option<&'a str>,
    /// Why a sentinel's word cannot be trusted to be about its own node, when it cannot.
    pub unenforced: Option<&'a str>,
    /// Why the view of the cloud is too old to decide on, when it is: the freshness gate's sentence.
    pub stale_view: Option<&'a str>,
    /// Why the budget lets no further host be taken out of service, when it does not: the budget gate's sentence.
    pub over_budget: Option<&'a str>,
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
            Decision::NoPolicy | Decision::BelowThreshold | Decision::Stale | Decision::Unmapped => Self::Not,
            Decision::Recorded => Self::ByObserving,
            Decision::OverBudget | Decision::IdentityUnenforced | Decision::AlreadyQuarantined | Decision::Quarantined => Self::ByActing,
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
    /// Why, in a sentence with the figures.
    pub message: String,
    /// What policies in mode Observe would have done; highest priority first.
    pub observed: Vec<ObservedDecision>,
    /// The HostQuarantine to make, when the decision is Quarantined and it does not exist yet.
    pub create: Option<NewQuarantine>,
    /// Which policies' evidence and threshold hold.
    pub held: Held,
}

/// Decides on a HostAlert.
#[must_use]
pub fn judge(case: &Case<'_>) -> Judgement {
    match case.place {
        Err(Unmapped(why)) => Judgement {
            decision: Decision::Unmapped,
            cloud: None,
            host: None,
            policy: None,
            quarantine: None,
            message: sentence(why),
            observed: Vec::new(),
            create: None,
            held: Held::Not,
        },
        Ok(place) => {
            let candidates = candidates(case, place);
            let acting = candidates.iter().find(|candidate| candidate.acts());
            let mut judgement = match acting {
                Some(candidate) => act(case, place, candidate),
                None => explain(case, place, &candidates),
            };
            judgement.observed = observed(case, place, &candidates);
            judgement.held = held(&candidates);
            judgement.message = sentence(&judgement.message);
            judgement
        }
    }
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
    fn seen(&self) -> i64 {
        match self.standing {
            Standing::Holds(seen) | Standing::TooFew(seen) => seen,
            Standing::WrongFlow | Standing::TooOld => 0,
        }
    }
    fn observes(&self) -> bool {
        self.policy.spec.mode == Mode::Observe
    }
    fn acts(&self) -> bool {
        self.holds() && !self.observes()
    }
}

/// The policies of the cloud that are about the alert; highest priority first, ties by name.
fn candidates<'a>(case: &Case<'a>, place: &Place) -> Vec<Candidate<'a>> {
    let age = case_age(case);
    let released_ago = case.released_at.map(|released| case.now.duration_since(released));
    let mut all: Vec<Candidate<'a>> = case
        .policies
        .iter()
        .filter(|policy| policy.spec.cloud == place.cloud && matches(&policy.spec.matches, case.alert))
        .map(|policy| Candidate { policy: *policy, standing: standing(policy.spec, case.alert, age, released_ago) })
        .collect();
    all.sort_by_key(|candidate| (Reverse(candidate.policy.spec.priority), candidate.policy.name));
    all
}

fn case_age(case: &Case<'_>) -> SignedDuration {
    age(case.alert.last_seen.0, case.written, case.now)
}

fn name_of(case: &Case<'_>, place: &Place) -> String {
    name::quarantine_name(place, case.alert_name, &case.alert.series, case.alert.seq)
}

/// What a policy whose evidence and threshold hold comes to on this host, were it in mode Enforce.
fn outcome(case: &Case<'_>, place: &Place) -> Decision {
    match case.active {
        // made by this very decision, whose record was lost on the way
        Some(active) if active == name_of(case, place) => Decision::Quarantined,
        _ if case.outdated.is_some() => Decision::Recorded,
        _ if case.unenforced.is_some() => Decision::IdentityUnenforced,
        Some(_) => Decision::AlreadyQuarantined,
        None if case.stale_view.is_some() => Decision::Stale,
        None if case.over_budget.is_some() => Decision::OverBudget,
        None => Decision::Quarantined,
    }
}

fn judgement(place: &Place, decision: Decision, policy: Option<&str>, message: String) -> Judgement {
    Judgement {
        decision,
        cloud: Some(place.cloud.clone()),
        host: Some(place.host.to_string()),
        policy: policy.map(str::to_owned),
        quarantine: None,
        message,
        observed: Vec::new(),
        create: None,
        held: Held::Not,
    }
}

fn held(candidates: &[Candidate<'_>]) -> Held {
    let holding = candidates.iter().filter(|candidate| candidate.holds());
    holding.map(|candidate| if candidate.observes() { Held::ByObserving } else { Held::ByActing }).max().unwrap_or_default()
}

/// The judgement where a policy in mode Enforce holds.
fn act(case: &Case<'_>, place: &Place, candidate: &Candidate<'_>) -> Judgement {
    let policy = candidate.policy;
    let decision = outcome(case, place);
    let holds = sufficiency(case, candidate);
    let (message, quarantine) = match (decision, case.active) {
        (Decision::AlreadyQuarantined, Some(active)) => {
            (format!("{holds}; the alert joins HostQuarantine {active}, which is active on host {}.", place.host), Some(active.to_owned()))
        }
        (Decision::Quarantined, _) => (format!("{holds}; host {} is taken out of service.", place.host), Some(name_of(case, place))),
        _ => (format!("{holds}. {}", case.outdated.or(case.unenforced).or(case.stale_view).or(case.over_budget).unwrap_or_default()), None),
    };
    let message = format!("{message}{MOMENTARY}{} there were {}.", case.alert.seq, candidate.seen());
    let create = quarantine
        .clone()
        .filter(|_| decision == Decision::Quarantined && case.active.is_none())
        .map(|name| NewQuarantine { name, spec: new_spec(case, place, policy) });
    Judgement { quarantine, create, ..judgement(place, decision, Some(policy.name), message) }
}

/// That a policy is satisfied. Without the number of events beyond the threshold: the sentence must stay true while more arrive.
fn sufficiency(case: &Case<'_>, candidate: &Candidate<'_>) -> String {
    let threshold = &candidate.policy.spec.threshold;
    format!(
        "{} from {} satisfies QuarantinePolicy {} (severity {:?}, flow {:?}, {} or more within {:?})",
        rule_of(case.alert),
        case.alert.subject,
        candidate.policy.name,
        case.alert.severity,
        case.alert.flow,
        threshold.count,
        threshold.window
    )
}

fn rule_of(alert: &HostAlertSpec) -> String {
    format!("{} {}", alert.engine, alert.rule_id)
}

fn new_spec(case: &Case<'_>, place: &Place, policy: Policy<'_>) -> HostQuarantineSpec {
    let from = if case.alert.subject == "-" { String::new() } else { format!(" from {}", case.alert.subject) };
    let reason = one_line(&format!("{}{from}", rule_of(case.alert)));
    HostQuarantineSpec {
        cloud: place.cloud.clone(),
        host: place.host.to_string(),
        trigger: Some(Trigger { policy: policy.name.to_owned(), policy_generation: policy.generation, alerts: vec![case.alert_name.to_owned()] }),
        reason: shorten(reason, REASON_MAX_CHARS),
        mode: Mode::Enforce,
        deadline: Period::from_secs(1800),
        migration: MigrationSettings::default(),
        release: Release::default(),
    }
}

/// The judgement where no policy in mode Enforce holds.
fn explain(case: &Case<'_>, place: &Place, candidates: &[Candidate<'_>]) -> Judgement {
    if let Some(recording) = candidates.iter().find(|candidate| candidate.holds()) {
        let would = outcome(case, place).as_str();
        let message = format!("{}; it is in mode Observe, so nothing was done (in mode Enforce: {would}).", sufficiency(case, recording));
        return judgement(place, Decision::Recorded, Some(recording.policy.name), message);
    }
    let closest = candidates.iter().min_by_key(|candidate| (missing(candidate), candidate.observes()));
    match closest {
        None => judgement(place, Decision::NoPolicy, None, no_policy(case, place)),
        Some(candidate) => judgement(place, below(candidate.standing), Some(candidate.policy.name), shortfall(case, candidate)),
    }
}

/// How far an alert is from satisfying a policy: what kind of thing is missing, then how many events.
fn missing(candidate: &Candidate<'_>) -> (u8, i64) {
    match candidate.standing {
        Standing::Holds(_) => (0, 0),
        Standing::TooFew(seen) => (1, i64::from(candidate.policy.spec.threshold.count).saturating_sub(seen)),
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

fn no_policy(case: &Case<'_>, place: &Place) -> String {
    let policies: Vec<&str> = case.policies.iter().filter(|policy| policy.spec.cloud == place.cloud).map(|policy| policy.name).collect();
    if policies.is_empty() {
        return format!("No QuarantinePolicy is about OpenStackCloud {}; alerts are recorded only.", place.cloud);
    }
    format!(
        "None of the QuarantinePolicies of OpenStackCloud {} ({}) is about {} with severity {:?}: see spec.match of each. Alerts of Unknown severity and events of the sensor's own decoder never match.",
        place.cloud,
        policies.join(", "),
        rule_of(case.alert),
        case.alert.severity
    )
}

/// What is missing for a policy, and what to change. The figures of the moment come last, after [`MOMENTARY`].
fn shortfall(case: &Case<'_>, candidate: &Candidate<'_>) -> String {
    let policy = candidate.policy.name;
    let spec = candidate.policy.spec;
    let seq = case.alert.seq;
    match candidate.standing {
        Standing::TooOld => format!(
            "QuarantinePolicy {policy} acts on alerts no older than {:?} (spec.evidence.maxAge). If this one is not from a backlog, compare the node's clock with the API server's.{MOMENTARY}{seq} the last event was of {:.0}.",
            spec.evidence.max_age, case.alert.last_seen.0
        ),
        Standing::WrongFlow => format!(
            "QuarantinePolicy {policy} needs flow {:?} (spec.evidence.flow) and the sensor could show flow {:?} only, which can be forged.",
            FlowEvidence::Established,
            case.alert.flow
        ),
        Standing::Holds(_) | Standing::TooFew(_) => {
            let since = case.released_at.map(|released| format!(" since the host was given back at {released:.0}")).unwrap_or_default();
            let threshold = &spec.threshold;
            format!(
                "QuarantinePolicy {policy} needs {} alerts within {:?}{since} (spec.threshold).{MOMENTARY}{seq} there were {}.",
                threshold.count,
                threshold.window,
                candidate.seen()
            )
        }
    }
}

/// What the policies in mode Observe would have done.
fn observed(case: &Case<'_>, place: &Place, candidates: &[Candidate<'_>]) -> Vec<ObservedDecision> {
    let observing = candidates.iter().filter(|candidate| candidate.observes()).take(OBSERVED_MAX);
    observing
        .map(|candidate| ObservedDecision {
            policy: candidate.policy.name.to_owned(),
            decision: if candidate.holds() { outcome(case, place) } else { below(candidate.standing) },
        })
        .collect()
}

/// Whether a HostAlert is to be judged (again): it was never judged; or its events are others than those that were; or the earlier decision is not final and the series is
/// young enough for some policy that is about it (for any policy that could be made, where none is).
#[must_use]
pub fn needs_decision(alert: &HostAlertSpec, status: Option<&HostAlertStatus>, policies: &[Policy<'_>], written: Option<Timestamp>, now: Timestamp) -> bool {
    let Some((status, decision)) = status.and_then(|status| Some((status, status.decision?))) else { return true };
    if status.observed_series.as_deref() != Some(alert.series.as_str()) || status.observed_seq != Some(alert.seq) {
        return true;
    }
    if decision.is_final() {
        return false;
    }
    let longest = policies.iter().filter(|policy| matches(&policy.spec.matches, alert)).map(|policy| policy.spec.evidence.max_age.get()).max();
    is_young(age(alert.last_seen.0, written, now), longest.unwrap_or(LONGEST_MAX_AGE))
}

/// Whether a status says already what a judgement says about this series, apart from figures that change with every event (`observedSeq`, `lastReceived`, and what follows "At seq" in the
/// message). Then it is not written: under a storm of alerts the status would otherwise cost as many writes as the alerts.
#[must_use]
pub fn same_judgement(status: Option<&HostAlertStatus>, judgement: &Judgement, alert: &HostAlertSpec) -> bool {
    let Some(status) = status else { return false };
    let Judgement { decision, cloud, host, policy, quarantine, message, observed, create: _, held: _ } = judgement;
    status.observed_series.as_deref() == Some(alert.series.as_str())
        && status.decision == Some(*decision)
        && status.cloud == *cloud
        && status.host == *host
        && status.policy == *policy
        && status.quarantine == *quarantine
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
        let same_series = earlier.filter(|status| status.observed_series.as_deref() == Some(alert.series.as_str()));
        HostAlertStatus {
            cloud: self.cloud.clone(),
            host: self.host.clone(),
            observed_series: Some(alert.series.clone()),
            observed_seq: Some(alert.seq),
            first_received: same_series.and_then(|status| status.first_received.clone()).or(Some(MicroTime(received))),
            last_received: Some(MicroTime(received)),
            decision: Some(self.decision),
            policy: self.policy.clone(),
            quarantine: self.quarantine.clone(),
            message: Some(self.message.clone()),
            observed: self.observed.clone(),
        }
    }
}
