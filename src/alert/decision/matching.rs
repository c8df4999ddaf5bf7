//! Whether a policy is about an alert: `spec.match`, and the rules that it leaves alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use crate::alert::event::is_sensor_internal;
use crate::api::alert::SELF_ENGINE;
use crate::api::policy::{HostRequirement, HostSelector, Match, SelectorOperator, Suppression};
use crate::api::units::Severity;
use crate::api::{HostAlertSpec, QuarantinePolicySpec};

/// The engines whose rules have numbers, and events of their own that are about no attack.
const NUMBERED: [&str; 2] = ["suricata", "snort"];

/// The engine of a slot in which events of several engines were counted: which of them were about an attack cannot be told any more.
const SEVERAL_ENGINES: &str = "-";

/// The labels of a host.
pub type Labels = BTreeMap<String, String>;

/// Whether a policy is about this alert on a host with these labels. Every part of `match` must hold; an alert of Unknown severity, and an event of the sensor's decoder, never matches.
#[must_use]
pub fn matches(matching: &Match, alert: &HostAlertSpec, labels: &Labels) -> bool {
    let named = matching.engines.contains(&alert.engine) || matching.rules.iter().any(|rule| rule_holds(rule, alert));
    let by_engine = matching.engines.is_empty() || matching.engines.contains(&alert.engine);
    let by_rule = matching.rules.is_empty() || matching.rules.iter().any(|rule| rule_holds(rule, alert));
    is_about_an_attack(alert)
        && (named || alert.engine != SELF_ENGINE)
        && by_engine
        && by_rule
        && by_class(&matching.classifications, alert)
        && alert.severity >= Severity::from(matching.min_severity)
        && (matching.actions.is_empty() || matching.actions.iter().any(|action| alert.action.as_deref() == Some(action.as_str())))
        && (matching.tags.is_empty() || matching.tags.iter().any(|tag| alert.tags.contains(tag)))
        && by_source(&matching.source_cidrs, alert)
        && by_destinations(&matching.destination_cidrs, alert)
        && selects(&matching.host_selector, labels)
}

/// The entry of `suppress` that leaves this alert alone now.
pub(super) fn suppression<'a>(policy: &'a QuarantinePolicySpec, alert: &HostAlertSpec, now: Timestamp) -> Option<&'a Suppression> {
    let holds = |entry: &&Suppression| now < entry.until.0 && entry.rules.iter().any(|rule| rule_holds(rule, alert));
    policy.suppress.iter().filter(holds).max_by_key(|entry| entry.until.0)
}

/// The rule with its engine, as policies name it.
pub(super) fn full_rule(alert: &HostAlertSpec) -> String {
    format!("{}:{}", alert.engine, alert.rule_id)
}

/// Not what a sensor reports about its own decoder, and not something without a number where rules have one.
fn is_about_an_attack(alert: &HostAlertSpec) -> bool {
    match signature(alert) {
        Some((gid, sid)) => !is_sensor_internal(gid, sid),
        None => alert.engine != SEVERAL_ENGINES && !NUMBERED.contains(&alert.engine.as_str()),
    }
}

/// Generator and signature: as given, else from the rule's name `gid:sid`.
fn signature(alert: &HostAlertSpec) -> Option<(i64, i64)> {
    if let (Some(gid), Some(sid)) = (alert.gid, alert.sid) {
        return Some((gid, sid));
    }
    let (gid, sid) = alert.rule_id.split_once(':')?;
    Some((gid.parse().ok()?, sid.parse().ok()?))
}

/// Whether `engine:gid:sid`, `engine:gid:from-to` (both ends included) or `engine:NAME` with `*` in it names the alert's rule. Text of another form names none.
fn rule_holds(rule: &str, alert: &HostAlertSpec) -> bool {
    let Some((engine, name)) = rule.split_once(':') else { return false };
    engine == alert.engine && (numbers_hold(name, alert).unwrap_or(false) || glob_holds(name, &alert.rule_id))
}

fn numbers_hold(name: &str, alert: &HostAlertSpec) -> Option<bool> {
    let (gid, sid) = signature(alert)?;
    let (rule_gid, sids) = name.split_once(':')?;
    let (from, to) = sids.split_once('-').unwrap_or((sids, sids));
    let (rule_gid, from, to): (i64, i64, i64) = (rule_gid.parse().ok()?, from.parse().ok()?, to.parse().ok()?);
    Some(rule_gid == gid && (from..=to).contains(&sid))
}

/// Whether a text is what a pattern says, in which `*` stands for any text.
fn glob_holds(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

fn by_class(classes: &[String], alert: &HostAlertSpec) -> bool {
    classes.is_empty() || alert.classification.as_ref().is_some_and(|class| classes.iter().any(|wanted| wanted.to_lowercase() == class.to_lowercase()))
}

fn by_source(ranges: &[String], alert: &HostAlertSpec) -> bool {
    ranges.is_empty() || alert.source.as_ref().is_some_and(|source| lies_in(ranges, &source.ip))
}

fn by_destinations(ranges: &[String], alert: &HostAlertSpec) -> bool {
    let all = &alert.destinations;
    let complete = !all.is_empty() && !alert.more_destinations;
    ranges.is_empty() || (complete && all.iter().all(|destination| lies_in(ranges, &destination.ip)))
}

fn lies_in(ranges: &[String], address: &str) -> bool {
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let address = address.to_canonical();
    ranges.iter().filter_map(|range| range.parse::<IpNet>().ok()).any(|range| range.contains(&address))
}

/// Whether a selector holds for a host with these labels.
fn selects(selector: &HostSelector, labels: &Labels) -> bool {
    let equal = selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    equal && selector.match_expressions.iter().all(|requirement| requirement_holds(requirement, labels.get(&requirement.key)))
}

fn requirement_holds(requirement: &HostRequirement, value: Option<&String>) -> bool {
    let listed = value.is_some_and(|value| requirement.values.contains(value));
    match requirement.operator {
        SelectorOperator::In => listed,
        SelectorOperator::NotIn => !listed,
        SelectorOperator::Exists => value.is_some(),
        SelectorOperator::DoesNotExist => value.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let rows = [
            ("Detect *", "Detect outbound", true),
            ("Detect *", "Detect ", true),
            ("Detect *", "Undetected Detect", false),
            ("*", "", true),
            ("*shell*", "a web shell here", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("**", "x", true),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(glob_holds(pattern, text), expected, "{pattern} {text}");
        }
    }
}
