//! The sentences of a decision: what held, what was missing, and what a person would change.
//!
//! A sentence must stay true while more events of the same kind arrive, so that it is written once; figures of the moment come last, after [`MOMENTARY`], and are left out when judgements are compared.

use super::evidence::{Standing, counts_one_series};
use super::matching::full_rule;
use super::{Candidate, Case, Place, Policy};
use crate::api::alert::Decision;
use crate::api::policy::{FlowEvidence, Response, Suppression};

/// What begins the part of a message that changes with every event.
pub(super) const MOMENTARY: &str = " At seq ";

/// Where a policy that acts holds.
pub(super) fn acted(case: &Case<'_>, place: &Place, candidate: &Candidate<'_>, decision: Decision, why: Option<&str>) -> String {
    let (holds, host) = (sufficiency(case, candidate), &place.host);
    let message = match (decision, case.active, why) {
        (Decision::Cordoned, _, why) => format!("{holds}; host {host} is taken out of service and not drained (spec.onLimit). {}", why.unwrap_or_default()),
        (_, _, Some(why)) => format!("{holds}. {why}"),
        (Decision::AlreadyQuarantined, Some(active), None) => {
            let Response { scope, action, .. } = &candidate.policy.spec.response;
            format!(
                "{holds}; the alert joins HostQuarantine {}, which is active on host {host}, with scope {} and action {action:?}.",
                active.name,
                scope.as_str()
            )
        }
        _ => format!("{holds}; host {host} is taken out of service."),
    };
    format!("{message}{}", figures(case, candidate))
}

/// Where only policies in mode Observe hold.
pub(super) fn recorded(case: &Case<'_>, candidate: &Candidate<'_>, would: Decision) -> String {
    format!("{}; it is in mode Observe, so nothing was done (in mode Enforce: {}).", sufficiency(case, candidate), would.as_str())
}

/// Where every policy leaves the rule alone.
pub(super) fn suppressed(case: &Case<'_>, policy: Policy<'_>, entry: &Suppression) -> String {
    format!("QuarantinePolicy {} leaves rule {} alone until {:.0} (spec.suppress): {}", policy.name, full_rule(case.alert), entry.until.0, entry.reason)
}

/// That a policy is satisfied. Without the number of events beyond the threshold.
fn sufficiency(case: &Case<'_>, candidate: &Candidate<'_>) -> String {
    format!(
        "{} from {} satisfies QuarantinePolicy {} (severity {:?}, flow {:?}, {})",
        rule_of(case),
        case.alert.subject,
        candidate.policy.name,
        case.alert.severity,
        case.alert.flow,
        needed(candidate, "or more ")
    )
}

/// What the threshold asks for: `3 or more within 60s`.
fn needed(candidate: &Candidate<'_>, or_more: &str) -> String {
    let threshold = &candidate.policy.spec.threshold;
    let mut text = format!("{} {or_more}within {:?}", threshold.count, threshold.window);
    if !counts_one_series(candidate.policy.spec) {
        let fields: Vec<String> = threshold.group_by.iter().map(|field| format!("{field:?}")).collect();
        text.push_str(&format!(" of the same {}", fields.join(", ")));
    }
    if let Some(distinct) = threshold.distinct {
        text.push_str(&format!(", with {} different {:?}s", distinct.min, distinct.field));
    }
    text
}

fn figures(case: &Case<'_>, candidate: &Candidate<'_>) -> String {
    let seen = candidate.seen();
    let different = seen.distinct.map(|different| format!(", {different} different")).unwrap_or_default();
    format!("{MOMENTARY}{} there were {}{different}.", case.alert.seq, seen.events)
}

fn rule_of(case: &Case<'_>) -> String {
    format!("{} {}", case.alert.engine, case.alert.rule_id)
}

/// Where no policy is about the alert.
pub(super) fn no_policy(case: &Case<'_>, place: &Place) -> String {
    let policies: Vec<&str> = case.policies.iter().filter(|policy| policy.spec.cloud == place.cloud).map(|policy| policy.name).collect();
    if policies.is_empty() {
        return format!("No QuarantinePolicy is about OpenStackCloud {}; alerts are recorded only.", place.cloud);
    }
    format!(
        "None of the QuarantinePolicies of OpenStackCloud {} ({}) is about {} with severity {:?}: see spec.match of each. Alerts of Unknown severity and events of the sensor's own decoder never match.",
        place.cloud,
        policies.join(", "),
        rule_of(case),
        case.alert.severity
    )
}

/// What is missing for a policy, and what to change.
pub(super) fn shortfall(case: &Case<'_>, candidate: &Candidate<'_>) -> String {
    let policy = candidate.policy.name;
    let spec = candidate.policy.spec;
    match candidate.standing {
        Standing::TooOld => format!(
            "QuarantinePolicy {policy} acts on alerts no older than {:?} (spec.evidence.maxAge). If this one is not from a backlog, compare the node's clock with the API server's.{MOMENTARY}{} the last event was of {:.0}.",
            spec.evidence.max_age, case.alert.seq, case.alert.last_seen.0
        ),
        Standing::WrongFlow => format!(
            "QuarantinePolicy {policy} needs flow {:?} (spec.evidence.flow) and the sensor could show flow {:?} only, which can be forged.",
            FlowEvidence::Established,
            case.alert.flow
        ),
        Standing::Holds(_) | Standing::TooFew(_) => {
            let since = case.released_at.map(|released| format!(" since the host was given back at {released:.0}")).unwrap_or_default();
            format!("QuarantinePolicy {policy} needs {}{since} (spec.threshold).{}", needed(candidate, "alerts "), figures(case, candidate))
        }
    }
}
