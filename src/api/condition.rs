//! Conditions: the types and reasons that the kinds publish, as enums, and the one way to set them.
//!
//! A reason is stable: people and tools match on it. kstatus reads `Ready` (or `Succeeded`) with `Reconciling` and `Stalled`, which are true only when something is
//! abnormal or under way. All conditions of a kind are published on its first reconcile.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The type of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The object is what it should be.
    Ready,
    /// MigrationRun: the server has left.
    Succeeded,
    /// Work is under way; the reason says which.
    Reconciling,
    /// Nothing will happen by itself until somebody does something; the reason says what.
    Stalled,
    /// OpenStackCloud: Keystone accepts the credential.
    CredentialsValid,
    /// OpenStackCloud: the credential was shown to list the servers of all projects.
    SeesAllProjects,
    /// OpenStackCloud: the view of the cloud is younger than `inventory.staleAfter`.
    InventoryFresh,
    /// OpenStackCloud: one more host may be taken out of service.
    BudgetAvailable,
    /// OpenStackCloud: admission policies tie each sentinel to its own node.
    IdentityEnforced,
    /// OpenStackCloud: the API server serves a kind without a field that the operator knows.
    CRDOutdated,
    /// OpenStackCloud: too many of its sentinels or sensors fell silent at once to take any of them for a sign of an attack.
    SentinelsUnreachable,
    /// HostReport: the node belongs to exactly one host of one cloud.
    Mapped,
    /// HostReport: nothing is heard of the sentinel, or it says that a sensor is dead.
    SensorSilent,
    /// HostQuarantine: the gates let it through; asked once.
    Accepted,
    /// HostQuarantine: Nova's service is disabled, and a later read showed so.
    Cordoned,
    /// HostQuarantine: somebody else enabled the host again.
    Contested,
    /// HostQuarantine: it is known what would move and where to.
    PlanReady,
    /// HostQuarantine: a person has approved the plan, or none need.
    Approved,
    /// HostQuarantine: nothing is left on the host.
    Drained,
    /// HostQuarantine: something is left that will not move by itself.
    Blocked,
    /// HostQuarantine: alerts have joined it while a person holds it, so that nothing is done about them.
    AlertWhileHeld,
    /// HostQuarantine: Nova's record of where a guest runs is contradicted.
    GuestLocationDisputed,
    /// HostQuarantine: the host was given back.
    Released,
}

impl Kind {
    /// The word in `type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Succeeded => "Succeeded",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::CredentialsValid => "CredentialsValid",
            Self::SeesAllProjects => "SeesAllProjects",
            Self::InventoryFresh => "InventoryFresh",
            Self::BudgetAvailable => "BudgetAvailable",
            Self::IdentityEnforced => "IdentityEnforced",
            Self::CRDOutdated => "CRDOutdated",
            Self::SentinelsUnreachable => "SentinelsUnreachable",
            Self::Mapped => "Mapped",
            Self::SensorSilent => "SensorSilent",
            Self::Accepted => "Accepted",
            Self::Cordoned => "Cordoned",
            Self::Contested => "Contested",
            Self::PlanReady => "PlanReady",
            Self::Approved => "Approved",
            Self::Drained => "Drained",
            Self::Blocked => "Blocked",
            Self::AlertWhileHeld => "AlertWhileHeld",
            Self::GuestLocationDisputed => "GuestLocationDisputed",
            Self::Released => "Released",
        }
    }
}

/// The value of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows yet.
    Unknown,
}

impl State {
    /// The word in `status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for State {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// The conditions of one object while its next status is being made. Setting a condition keeps `lastTransitionTime` unless its status changes, so that an object on which
/// nothing happens is not written.
#[derive(Debug)]
pub struct Conditions {
    list: Vec<Condition>,
    generation: Option<i64>,
    now: Timestamp,
}

/// The reason of `Accepted` while a HostQuarantine is in mode Observe: only the gates about the host were asked. In mode Enforce it counts as not asked yet.
pub const OBSERVING: &str = "Observing";

/// The reason of a False `Accepted` that is final: another quarantine has the host, and a new object is needed once that one is released.
pub const ANOTHER_ACTIVE: &str = "AnotherActive";

/// The reason of a False `Ready` of a cloud: the operator itself runs on one of the cloud's hosts, so it only records.
pub const RUNS_ON_SUSPECT: &str = "RunsOnSuspect";

/// The longest message that is written; longer ones end in an ellipsis.
const MESSAGE_MAX_CHARS: usize = 1024;

impl Conditions {
    /// Starts from what the object has.
    #[must_use]
    pub fn of(current: &[Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self { list: current.to_vec(), generation, now }
    }

    /// Sets one condition. `reason` is one PascalCase word.
    pub fn set(&mut self, kind: Kind, state: State, reason: &str, message: impl Into<String>) -> &mut Self {
        let message = shorten(message.into(), MESSAGE_MAX_CHARS);
        let earlier = self.list.iter().find(|condition| condition.type_ == kind.as_str());
        let since = match earlier {
            Some(condition) if condition.status == state.as_str() => condition.last_transition_time.clone(),
            _ => Time(whole_seconds(self.now)),
        };
        let next = Condition {
            type_: kind.as_str().to_owned(),
            status: state.as_str().to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: self.generation,
            last_transition_time: since,
        };
        match self.list.iter_mut().find(|condition| condition.type_ == kind.as_str()) {
            Some(slot) => *slot = next,
            None => self.list.push(next),
        }
        self
    }

    /// The finished list.
    #[must_use]
    pub fn finish(self) -> Vec<Condition> {
        self.list
    }
}

/// Finds a condition.
#[must_use]
pub fn find(conditions: &[Condition], kind: Kind) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// Whether a condition is there and True.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: Kind) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == State::True.as_str())
}

/// Cuts a text to at most `max` characters, ending in an ellipsis where something was cut.
#[must_use]
pub fn shorten(text: String, max: usize) -> String {
    if text.chars().count() <= max {
        return text;
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The moment as conditions and other whole-second times hold it.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_stays_while_the_status_stays() {
        let mut first = Conditions::of(&[], Some(1), at(10));
        first.set(Kind::Ready, State::False, "Draining", "a");
        let mut second = Conditions::of(&first.finish(), Some(1), at(20));
        second.set(Kind::Ready, State::False, "Blocked", "b");
        let list = second.finish();
        assert_eq!(list[0].last_transition_time.0, at(10));
        assert_eq!(list[0].reason, "Blocked");
        let mut third = Conditions::of(&list, Some(1), at(30));
        third.set(Kind::Ready, State::True, "Empty", "");
        assert_eq!(third.finish()[0].last_transition_time.0, at(30));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shorten("äöü".into(), 3), "äöü");
        assert_eq!(shorten("äöüß".into(), 3), "äö…");
    }
}
