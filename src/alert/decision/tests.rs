//! The decisions, as tables: one alert, varied in one thing at a time.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::api::cloud::HostMapping;
use crate::api::policy::Match;
use crate::inventory::{ComputeService, HostName, ServiceId, ServiceState, ServiceStatus};

/// When the alert's last event happened.
const LAST_SEEN: &str = "2026-11-25T12:00:00.500000Z";

fn at(seconds_after_last: f64) -> Timestamp {
    LAST_SEEN.parse::<Timestamp>().unwrap() + SignedDuration::from_secs_f64(seconds_after_last)
}

/// Three events within the last 20 s of an established flow, severity High.
fn alert(changes: Value) -> HostAlertSpec {
    let mut spec = json!({
        "node": "node-1", "series": "0011223344556677", "seq": 12, "engine": "suricata", "ruleID": "1:2024897", "gid": 1, "sid": 2_024_897,
        "severity": "High", "subject": "10.0.4.7", "flow": "Established", "firstSeen": "2026-11-25T11:59:00.000000Z", "lastSeen": LAST_SEEN, "count": 12,
        "recent": [{"secondsAgo": 0, "count": 1}, {"secondsAgo": 7, "count": 1}, {"secondsAgo": 19, "count": 1}],
    });
    merge(&mut spec, changes);
    serde_json::from_value(spec).unwrap()
}

/// A policy in mode Enforce with all defaults: severity High, flow Established, maxAge 10m, 3 within 60s.
fn policy(changes: Value) -> QuarantinePolicySpec {
    let mut spec = json!({"cloud": "production", "mode": "Enforce"});
    merge(&mut spec, changes);
    serde_json::from_value(spec).unwrap()
}

fn merge(into: &mut Value, changes: Value) {
    let Value::Object(changes) = changes else { return };
    for (key, value) in changes {
        into[key] = value;
    }
}

/// Everything that a case borrows; tests change one field and ask.
struct Scene {
    alert: HostAlertSpec,
    place: Result<Place, Unmapped>,
    policies: Vec<(&'static str, QuarantinePolicySpec)>,
    written: Option<Timestamp>,
    now: Timestamp,
    labels: Labels,
    /// Other series, and how long ago their hosts were given back.
    peers: Vec<(HostAlertSpec, Option<f64>)>,
    active: Option<String>,
    only_cordons: bool,
    released_at: Option<Timestamp>,
    acts: Vec<Act>,
    gates: Gates<'static>,
}

impl Scene {
    fn new(alert: HostAlertSpec, policies: Vec<(&'static str, QuarantinePolicySpec)>) -> Self {
        Self {
            alert,
            place: Ok(Place { cloud: "production".into(), host: HostName::from("cmp-1") }),
            policies,
            written: Some(at(-0.5)),
            now: at(0.1),
            labels: Labels::new(),
            peers: Vec::new(),
            active: None,
            only_cordons: false,
            released_at: None,
            acts: Vec::new(),
            gates: Gates::default(),
        }
    }

    fn policies(&self) -> Vec<Policy<'_>> {
        self.policies.iter().map(|(name, spec)| Policy { name, generation: 4, spec }).collect()
    }

    fn judge(&self) -> Judgement {
        let series = |(alert, released): &'_ (HostAlertSpec, Option<f64>)| {
            (age(alert.last_seen.0, Some(alert.last_seen.0), self.now), released.map(SignedDuration::from_secs_f64))
        };
        let times: Vec<_> = self.peers.iter().map(series).collect();
        let peers: Vec<Series<'_>> =
            self.peers.iter().zip(times).map(|((alert, _), (age, released_ago))| Series { alert, age, released_ago, labels: &self.labels }).collect();
        judge(&Case {
            alert_name: "node-1-00",
            alert: &self.alert,
            written: self.written,
            now: self.now,
            place: &self.place,
            policies: &self.policies(),
            labels: &self.labels,
            peers: &peers,
            active: self.active.as_deref().map(|name| Active { name, uid: "u-1", only_cordons: self.only_cordons }),
            released_at: self.released_at,
            acts: &self.acts,
            gates: self.gates,
        })
    }

    fn decision(&self) -> Decision {
        self.judge().decision
    }

    fn needs_decision(&self, status: Option<&HostAlertStatus>) -> bool {
        needs_decision(&self.alert, &self.labels, status, &self.policies(), self.written, self.now)
    }
}

fn scene(alert_changes: Value, policy_changes: Value) -> Scene {
    Scene::new(alert(alert_changes), vec![("lab", policy(policy_changes))])
}

#[track_caller]
fn assert_says(judgement: &Judgement, parts: &[&str]) {
    for part in parts {
        assert!(judgement.message.contains(part), "{part:?} is not in: {}", judgement.message);
    }
}

// --- one policy ---

#[test]
fn an_alert_that_satisfies_an_enforcing_policy_makes_a_quarantine() {
    let judgement = scene(json!({}), json!({})).judge();
    let new = judgement.create.as_ref().unwrap();
    assert_eq!(judgement.decision, Decision::Quarantined);
    assert_eq!((judgement.cloud.as_deref(), judgement.host.as_deref(), judgement.policy.as_deref()), (Some("production"), Some("cmp-1"), Some("lab")));
    assert_eq!(judgement.quarantine.as_ref(), Some(&new.name));
    assert!(new.name.starts_with("cmp-1-"));
    let minimal = json!({
        "cloud": "production", "host": "cmp-1", "mode": "Enforce", "reason": "suricata 1:2024897 from 10.0.4.7",
        "trigger": {"policy": "lab", "policyGeneration": 4, "alerts": ["node-1-00"], "rules": ["suricata:1:2024897"]},
    });
    assert_eq!(new.spec, serde_json::from_value::<HostQuarantineSpec>(minimal).unwrap(), "everything else has the value that the API server would fill in");
    assert_says(&judgement, &["suricata 1:2024897", "10.0.4.7", "QuarantinePolicy lab", "3 or more within 60s", "At seq 12 there were 3."]);
}

#[test]
fn a_series_of_several_far_ends_names_none_in_the_reason() {
    let judgement = scene(json!({"subject": "-"}), json!({})).judge();
    assert_eq!(judgement.create.unwrap().spec.reason, "suricata 1:2024897");
}

#[test]
fn what_a_sentinel_wrote_cannot_break_a_line_or_a_bound() {
    let judgement = scene(json!({"subject": format!("a\nb{}", "ä".repeat(400))}), json!({})).judge();
    let reason = judgement.create.as_ref().unwrap().spec.reason.clone();
    assert!(!judgement.message.contains('\n') && !reason.contains('\n'));
    assert!(reason.chars().count() <= 256 && judgement.message.chars().count() <= 1024);
}

/// What it is called, what is changed of the alert, what `match` says, and whether the policy is about the alert.
type Row = (&'static str, Value, Value, bool);

#[track_caller]
fn assert_matches(rows: impl IntoIterator<Item = Row>) {
    for (what, alert_changes, match_changes, expected) in rows {
        let matching: Match = serde_json::from_value(match_changes.clone()).unwrap();
        assert_eq!(matches(&matching, &alert(alert_changes.clone()), &Labels::new()), expected, "{what}");
        let decision = scene(alert_changes, json!({"match": match_changes})).decision();
        assert_eq!(decision, if expected { Decision::Quarantined } else { Decision::NoPolicy }, "{what}");
    }
}

#[test]
fn a_policy_is_about_engines_rules_and_severities() {
    assert_matches([
        ("defaults", json!({}), json!({}), true),
        ("its engine", json!({}), json!({"engines": ["falco", "suricata"]}), true),
        ("another engine", json!({}), json!({"engines": ["falco"]}), false),
        ("its rule", json!({}), json!({"rules": ["suricata:1:2024897"]}), true),
        ("its rule, by name alone", json!({"gid": null, "sid": null}), json!({"rules": ["suricata:1:2024897"]}), true),
        ("one of several rules", json!({}), json!({"rules": ["suricata:1:1", "suricata:1:2024897"]}), true),
        ("another rule", json!({}), json!({"rules": ["suricata:1:2024898"]}), false),
        ("another generator", json!({}), json!({"rules": ["suricata:2:2024897"]}), false),
        ("another engine's rule", json!({}), json!({"rules": ["snort:1:2024897"]}), false),
        ("the first of a range", json!({}), json!({"rules": ["suricata:1:2024897-2024999"]}), true),
        ("the last of a range", json!({}), json!({"rules": ["suricata:1:2024000-2024897"]}), true),
        ("just outside a range", json!({}), json!({"rules": ["suricata:1:2024000-2024896"]}), false),
        ("a range that ends before it begins", json!({}), json!({"rules": ["suricata:1:2024999-2024000"]}), false),
        ("a number too large to be one", json!({}), json!({"rules": ["suricata:1:99999999999999999999"]}), false),
        ("engine holds, rule does not", json!({}), json!({"engines": ["suricata"], "rules": ["suricata:1:1"]}), false),
        ("severity as asked", json!({"severity": "Medium"}), json!({"minSeverity": "Medium"}), true),
        ("severity above", json!({"severity": "Critical"}), json!({"minSeverity": "High"}), true),
        ("severity below", json!({"severity": "Medium"}), json!({"minSeverity": "High"}), false),
        ("severity unknown", json!({"severity": "Unknown"}), json!({"minSeverity": "Info"}), false),
        ("decoder event", json!({"sid": 2_200_000}), json!({}), false),
        ("stream event", json!({"sid": 2_210_045}), json!({"rules": ["suricata:1:2210045"]}), false),
        ("the last of the sensor's own events", json!({"sid": 2_299_999}), json!({}), false),
        ("the next after them", json!({"sid": 2_300_000}), json!({}), true),
    ]);
}

#[test]
fn a_policy_is_about_classes_actions_addresses_and_hosts() {
    assert_matches([
        ("its class, in another case", json!({"classification": "Web Application Attack"}), json!({"classifications": ["web application attack"]}), true),
        ("another class", json!({"classification": "Web Application Attack"}), json!({"classifications": ["Trojan"]}), false),
        ("no class", json!({}), json!({"classifications": ["Trojan"]}), false),
        ("its action", json!({"action": "drop"}), json!({"actions": ["allow", "drop"]}), true),
        ("another action", json!({"action": "would_drop"}), json!({"actions": ["drop"]}), false),
        ("no action", json!({}), json!({"actions": ["allow"]}), false),
        ("a tag", json!({"tags": ["T1190", "x"]}), json!({"tags": ["T1190"]}), true),
        ("another tag", json!({"tags": ["T1190"]}), json!({"tags": ["T1059"]}), false),
        ("no tag", json!({}), json!({"tags": ["T1190"]}), false),
        ("a source in range", json!({"source": {"ip": "10.0.4.7"}}), json!({"sourceCIDRs": ["192.168.0.0/16", "10.0.0.0/8"]}), true),
        ("a source out of range", json!({"source": {"ip": "11.0.4.7"}}), json!({"sourceCIDRs": ["10.0.0.0/8"]}), false),
        ("an IPv4 source written as IPv6", json!({"source": {"ip": "::ffff:10.0.4.7"}}), json!({"sourceCIDRs": ["10.0.0.0/8"]}), true),
        ("no source", json!({}), json!({"sourceCIDRs": ["0.0.0.0/0"]}), false),
        ("destinations in range", json!({"destinations": [{"ip": "10.0.2.1"}, {"ip": "10.0.2.2"}]}), json!({"destinationCIDRs": ["10.0.2.0/24"]}), true),
        (
            "one destination out of range",
            json!({"destinations": [{"ip": "10.0.2.1"}, {"ip": "10.0.3.2"}]}),
            json!({"destinationCIDRs": ["10.0.2.0/24"]}),
            false,
        ),
        (
            "more destinations than are listed",
            json!({"moreDestinations": true, "destinations": [{"ip": "10.0.2.1"}, {"ip": "10.0.2.2"}, {"ip": "10.0.2.3"}, {"ip": "10.0.2.4"}]}),
            json!({"destinationCIDRs": ["10.0.2.0/24"]}),
            false,
        ),
        ("no destination", json!({}), json!({"destinationCIDRs": ["0.0.0.0/0"]}), false),
        ("a host without labels", json!({}), json!({"hostSelector": {"matchLabels": {"tier": "front"}}}), false),
        (
            "a host without labels, where a label must not be there",
            json!({}),
            json!({"hostSelector": {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}}),
            true,
        ),
    ]);
}

#[test]
fn a_policy_is_about_rules_with_names_and_never_about_a_sensor_itself() {
    assert_matches([
        ("a rule with a name", json!({"engine": "falco", "ruleID": "Detect outbound", "gid": null, "sid": null}), json!({"rules": ["falco:Detect *"]}), true),
        ("another name", json!({"engine": "falco", "ruleID": "Detect outbound", "gid": null, "sid": null}), json!({"rules": ["falco:Write *"]}), false),
        ("silence, to a policy for everything", json!({"engine": "sidestep", "ruleID": "SensorSilent", "gid": null, "sid": null}), json!({}), false),
        (
            "silence, to a policy that names it",
            json!({"engine": "sidestep", "ruleID": "SensorSilent", "gid": null, "sid": null}),
            json!({"engines": ["sidestep"]}),
            true,
        ),
        (
            "silence, to a policy that names its rule",
            json!({"engine": "sidestep", "ruleID": "SensorSilent", "gid": null, "sid": null}),
            json!({"rules": ["sidestep:SensorSilent"]}),
            true,
        ),
        ("another generator than rules have", json!({"gid": 116}), json!({}), false),
        ("what is left over of several engines", json!({"engine": "-", "ruleID": "-", "gid": null, "sid": null}), json!({}), false),
        ("no rule that can be read", json!({"ruleID": "x", "gid": null, "sid": null}), json!({}), false),
    ]);
}

#[test]
fn no_policy_says_which_were_looked_at() {
    let none = Scene::new(alert(json!({})), vec![("other", policy(json!({"cloud": "staging"})))]).judge();
    assert_eq!((none.decision, none.policy.as_deref()), (Decision::NoPolicy, None));
    assert_says(&none, &["No QuarantinePolicy is about OpenStackCloud production"]);
    let other = scene(json!({"severity": "Low"}), json!({})).judge();
    assert_says(&other, &["(lab)", "suricata 1:2024897", "severity Low"]);
}

#[test]
fn evidence_and_threshold() {
    let rows = [
        ("three of three", json!({}), json!({}), Decision::Quarantined),
        ("one-way traffic", json!({"flow": "OneWay"}), json!({}), Decision::BelowThreshold),
        ("unknown traffic", json!({"flow": "Unknown"}), json!({}), Decision::BelowThreshold),
        ("unknown traffic where any will do", json!({"flow": "Unknown"}), json!({"evidence": {"flow": "Any"}}), Decision::Quarantined),
        ("one short", json!({}), json!({"threshold": {"count": 4}}), Decision::BelowThreshold),
        ("two within 8 s", json!({}), json!({"threshold": {"count": 2, "window": "8s"}}), Decision::Quarantined),
        ("two within 7 s", json!({}), json!({"threshold": {"count": 2, "window": "7s"}}), Decision::BelowThreshold),
        ("one within 1 s", json!({}), json!({"threshold": {"count": 1, "window": "1s"}}), Decision::Quarantined),
        ("many, long ago", json!({"recent": []}), json!({"threshold": {"count": 1}}), Decision::BelowThreshold),
        ("many in one second", json!({"recent": [{"secondsAgo": 0, "count": 3}]}), json!({}), Decision::Quarantined),
    ];
    for (what, alert_changes, policy_changes, expected) in rows {
        assert_eq!(scene(alert_changes, policy_changes).decision(), expected, "{what}");
    }
}

#[test]
fn what_was_missing_is_said_with_its_figure_and_its_field() {
    let few = scene(json!({}), json!({"threshold": {"count": 4}})).judge();
    assert_eq!(few.policy.as_deref(), Some("lab"));
    assert_says(&few, &["QuarantinePolicy lab needs 4 alerts within 60s", "spec.threshold", "At seq 12 there were 3."]);
    let flow = scene(json!({"flow": "OneWay"}), json!({})).judge();
    assert_says(&flow, &["needs flow Established", "flow OneWay", "spec.evidence.flow"]);
}

// --- age ---

#[test]
fn an_alert_older_than_max_age_is_stale() {
    let mut scene = scene(json!({}), json!({"evidence": {"maxAge": "1m"}}));
    scene.now = at(60.0);
    assert_eq!(scene.decision(), Decision::Quarantined);
    scene.now = at(60.1);
    let judgement = scene.judge();
    assert_eq!((judgement.decision, judgement.policy.as_deref()), (Decision::Stale, Some("lab")));
    assert_says(&judgement, &["no older than 60s", "spec.evidence.maxAge", "At seq 12 the last event was of 2026-11-25T12:00:0"]);
}

#[test]
fn a_line_from_a_backlog_is_stale_although_it_was_just_delivered() {
    let mut scene = scene(json!({}), json!({}));
    (scene.written, scene.now) = (Some(at(3600.0)), at(3600.1));
    assert_eq!(scene.decision(), Decision::Stale);
}

#[test]
fn age_is_the_delay_before_the_write_and_the_time_since() {
    let secs = SignedDuration::from_secs;
    let last = Timestamp::from_second(1_000_000).unwrap();
    let rows = [
        ("honest clocks", 0, Some(2), 5, 5),
        ("written at once, looked at later", 0, Some(0), 300, 300),
        ("from a backlog", 0, Some(900), 901, 901),
        ("no stamp of the API server: the node's clock", 0, None, 5, 5),
        ("no stamp, the node's clock is ahead", 0, None, -5, 0),
        ("the node is an hour ahead: its write counts, but for the second that the stamp is cut by", 3600, Some(0), 100, 99),
        ("the node is an hour ahead, just written", 3600, Some(0), 0, 0),
        ("the node is an hour behind", -3600, Some(0), 10, 3610),
        ("the operator is an hour behind the API server", 0, Some(2), -3600, 2),
        ("the stamp is cut to the second before the event", 0, Some(-1), 0, 0),
    ];
    for (what, last_off, written_off, now_off, expected) in rows {
        let found = age(last + secs(last_off), written_off.map(|off| last + secs(off)), last + secs(now_off));
        assert_eq!(found, secs(expected), "{what}");
    }
}

#[test]
fn a_node_whose_clock_is_ahead_does_not_stay_fresh_for_longer() {
    let mut scene = scene(json!({}), json!({}));
    // the event is dated an hour after the API server stored it
    scene.written = Some(at(-3600.0));
    scene.now = at(-3600.0 + 590.0);
    assert_eq!(scene.decision(), Decision::Quarantined);
    scene.now = at(-3600.0 + 620.0);
    assert_eq!(scene.decision(), Decision::Stale);
}

#[test]
fn times_at_the_ends_of_the_calendar_do_not_panic() {
    for last in [Timestamp::MIN, Timestamp::MAX] {
        for written in [None, Some(Timestamp::MIN), Some(Timestamp::MAX)] {
            for asked in [Timestamp::MIN, Timestamp::MAX] {
                assert!(age(last, written, asked) >= SignedDuration::ZERO);
            }
        }
    }
}

// --- several policies ---

fn several(policies: Vec<(&'static str, Value)>) -> Judgement {
    Scene::new(alert(json!({})), policies.into_iter().map(|(name, changes)| (name, policy(changes))).collect()).judge()
}

fn observed_as(judgement: &Judgement) -> Vec<(&str, Decision)> {
    judgement.observed.iter().map(|observed| (observed.policy.as_str(), observed.decision)).collect()
}

#[test]
fn the_highest_priority_that_holds_decides_and_ties_go_by_name() {
    let rows = [
        (vec![("a", json!({"priority": 1})), ("b", json!({"priority": 2}))], "b"),
        (vec![("b", json!({})), ("a", json!({}))], "a"),
        (vec![("a", json!({})), ("b", json!({}))], "a"),
        (vec![("a", json!({"priority": 1})), ("b", json!({"priority": 2, "threshold": {"count": 50}}))], "a"),
        (vec![("a", json!({"priority": 1})), ("b", json!({"priority": 2, "cloud": "staging"}))], "a"),
    ];
    for (policies, expected) in rows {
        let judgement = several(policies.clone());
        assert_eq!((judgement.decision, judgement.policy.as_deref()), (Decision::Quarantined, Some(expected)), "{policies:?}");
        assert_eq!(judgement.create.unwrap().spec.trigger.unwrap().policy, expected);
    }
}

#[test]
fn an_observing_policy_never_shadows_a_lower_one() {
    let judgement = several(vec![("watch", json!({"priority": 900, "mode": "Observe"})), ("act", json!({"priority": 1}))]);
    assert_eq!((judgement.decision, judgement.policy.as_deref()), (Decision::Quarantined, Some("act")));
    assert_eq!(observed_as(&judgement), [("watch", Decision::Quarantined)]);
}

#[test]
fn only_observing_policies_record_and_create_nothing() {
    let judgement = several(vec![("watch", json!({"mode": "Observe"})), ("act", json!({"threshold": {"count": 50}}))]);
    assert_eq!((judgement.decision, judgement.policy.as_deref()), (Decision::Recorded, Some("watch")));
    assert_eq!((judgement.create.as_ref(), judgement.quarantine.as_ref()), (None, None));
    assert_says(&judgement, &["mode Observe", "in mode Enforce: Quarantined"]);
}

#[test]
fn what_observing_policies_would_have_done_is_listed_by_priority_and_at_most_four() {
    let watch = |priority: i32, count: i32| json!({"mode": "Observe", "priority": priority, "threshold": {"count": count}});
    let young = json!({"mode": "Observe", "priority": 4, "evidence": {"maxAge": "1s"}});
    let policies = vec![("one", watch(1, 3)), ("two", watch(2, 3)), ("three", watch(3, 9)), ("four", young), ("five", watch(5, 3))];
    let mut scene = Scene::new(alert(json!({})), policies.into_iter().map(|(name, changes)| (name, policy(changes))).collect());
    scene.now = at(30.0);
    let judgement = scene.judge();
    let expected = [("five", Decision::Quarantined), ("four", Decision::Stale), ("three", Decision::BelowThreshold), ("two", Decision::Quarantined)];
    assert_eq!(observed_as(&judgement), expected);
    assert_eq!(judgement.policy.as_deref(), Some("five"));
}

#[test]
fn observing_policies_are_subject_to_the_same_gates() {
    let mut scene = scene(json!({}), json!({"mode": "Observe"}));
    scene.gates.over_budget = Some("No more hosts.");
    let judgement = scene.judge();
    assert_eq!((judgement.decision, observed_as(&judgement)), (Decision::Recorded, vec![("lab", Decision::OverBudget)]));
}

#[test]
fn the_policy_that_was_closest_explains() {
    let rows = [
        ("fewest events missing", vec![("a", json!({"threshold": {"count": 50}})), ("b", json!({"threshold": {"count": 4}}))], "b"),
        ("events missing rather than age", vec![("a", json!({"evidence": {"maxAge": "1s"}})), ("b", json!({"threshold": {"count": 4}}))], "b"),
        ("acting rather than observing", vec![("a", json!({"mode": "Observe", "threshold": {"count": 4}})), ("b", json!({"threshold": {"count": 4}}))], "b"),
        ("priority, else", vec![("a", json!({"threshold": {"count": 4}})), ("b", json!({"priority": 900, "threshold": {"count": 4}}))], "b"),
    ];
    for (what, policies, expected) in rows {
        let mut scene = Scene::new(alert(json!({})), policies.into_iter().map(|(name, changes)| (name, policy(changes))).collect());
        scene.now = at(30.0);
        let judgement = scene.judge();
        assert_eq!((judgement.decision, judgement.policy.as_deref()), (Decision::BelowThreshold, Some(expected)), "{what}");
    }
}

// --- gates ---

#[test]
fn an_active_quarantine_is_joined_whatever_the_budget_and_the_view() {
    let mut scene = scene(json!({}), json!({}));
    (scene.active, scene.gates.over_budget, scene.gates.stale_view) = (Some("maintenance".into()), Some("No more hosts."), Some("Too old."));
    let judgement = scene.judge();
    assert_eq!((judgement.decision, judgement.quarantine.as_deref()), (Decision::AlreadyQuarantined, Some("maintenance")));
    assert_eq!(judgement.create, None);
    assert_says(&judgement, &["HostQuarantine maintenance", "host cmp-1"]);
}

#[test]
fn an_alert_that_is_below_the_threshold_joins_nothing() {
    let mut scene = scene(json!({"severity": "Low"}), json!({}));
    scene.active = Some("maintenance".into());
    assert_eq!((scene.decision(), scene.judge().quarantine), (Decision::NoPolicy, None));
}

#[test]
fn a_quarantine_that_this_very_decision_made_is_not_one_that_it_joins() {
    let mut scene = scene(json!({}), json!({}));
    let first = scene.judge();
    scene.active.clone_from(&first.quarantine);
    let again = scene.judge();
    assert_eq!(again, Judgement { create: None, ..first });
}

#[test]
fn closed_gates_are_quoted_and_make_nothing() {
    let mut scene = scene(json!({}), json!({}));
    scene.gates.over_budget = Some("No more hosts.");
    let budget = scene.judge();
    assert_eq!((budget.decision, budget.policy.as_deref(), budget.create.as_ref()), (Decision::OverBudget, Some("lab"), None));
    assert_says(&budget, &["No more hosts."]);
    scene.gates.stale_view = Some("Too old.");
    let view = scene.judge();
    assert_eq!((view.decision, view.create.as_ref()), (Decision::Stale, None));
    assert_says(&view, &["Too old."]);
}

#[test]
fn without_enforced_identity_or_with_outdated_kinds_it_is_recorded_and_joins_nothing() {
    let mut scene = scene(json!({}), json!({}));
    for active in [None, Some("maintenance".to_owned())] {
        scene.active = active;
        scene.gates = Gates { unenforced: Some("No policy ties sentinels."), ..Gates::default() };
        let forged = scene.judge();
        assert_eq!((forged.decision, forged.quarantine.as_ref(), forged.create.as_ref()), (Decision::IdentityUnenforced, None, None));
        assert_says(&forged, &["No policy ties sentinels."]);
        scene.gates.only_records = Some("A field is missing.");
        let outdated = scene.judge();
        assert_eq!((outdated.decision, outdated.quarantine.as_ref(), outdated.create.as_ref()), (Decision::Recorded, None, None));
        assert_says(&outdated, &["A field is missing."]);
    }
}

#[test]
fn a_host_of_the_pool_is_recorded_and_what_a_person_began_there_is_joined() {
    let mut scene = scene(json!({}), json!({"onLimit": "Cordon"}));
    scene.gates = Gates { pool_host: Some("PoolHost: it is in aggregate suspects."), stale_view: Some("old"), ..Gates::default() };
    let alone = scene.judge();
    assert_eq!((alone.decision, alone.quarantine.as_ref(), alone.create.as_ref()), (Decision::Recorded, None, None));
    assert_says(&alone, &["satisfies QuarantinePolicy lab", "PoolHost: it is in aggregate suspects."]);
    scene.active = Some("by-hand".to_owned());
    assert_eq!(scene.decision(), Decision::AlreadyQuarantined);
    // Taken out of service before it came to the pool: it is not drained now.
    scene.only_cordons = true;
    assert_eq!(scene.decision(), Decision::Recorded);
}

// --- release ---

#[test]
fn only_events_after_the_latest_release_count() {
    // the release, in seconds before the last event; the events lie 0, 7 to 8 and 19 to 20 s before it
    for (before_last, expected) in [(-1.0, 0), (0.0, 0), (0.1, 1), (7.5, 1), (8.0, 2), (19.9, 2), (20.0, 3), (5000.0, 3)] {
        let mut scene = scene(json!({}), json!({"threshold": {"count": 9}}));
        (scene.released_at, scene.now) = (Some(at(-before_last)), at(30.0));
        assert_says(&scene.judge(), &[&format!("there were {expected}."), "since the host was given back at 2026-11-25T1"]);
    }
}

#[test]
fn the_events_that_led_to_a_quarantine_do_not_lead_to_the_next() {
    let mut scene = scene(json!({}), json!({}));
    (scene.released_at, scene.now) = (Some(at(10.0)), at(11.0));
    assert_eq!(scene.decision(), Decision::BelowThreshold);
    scene.alert = alert(
        json!({"seq": 15, "lastSeen": "2026-11-25T12:00:20.000000Z", "recent": [{"secondsAgo": 0, "count": 1}, {"secondsAgo": 1, "count": 2}, {"secondsAgo": 19, "count": 1}]}),
    );
    (scene.written, scene.now) = (Some(at(19.5)), at(20.0));
    assert_eq!(scene.decision(), Decision::Quarantined);
}

// --- where a node belongs ---

fn service(host: &str) -> ComputeService {
    ComputeService {
        id: ServiceId(host.into()),
        host: HostName::from(host),
        status: ServiceStatus::Enabled,
        state: ServiceState::Up,
        disabled_reason: None,
        forced_down: false,
        zone: None,
    }
}

/// (cloud, spec.hosts as (host, node), hosts that Nova knows)
type Cloud<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a [&'a str]>);

fn located(clouds: &[Cloud<'_>]) -> Result<Place, Unmapped> {
    let mappings: Vec<Vec<HostMapping>> = clouds
        .iter()
        .map(|(_, mapping, _)| {
            mapping.iter().map(|(host, node)| HostMapping { host: (*host).into(), node: Some((*node).into()), labels: Labels::new() }).collect()
        })
        .collect();
    let services: Vec<Option<Vec<ComputeService>>> =
        clouds.iter().map(|(_, _, hosts)| hosts.map(|hosts| hosts.iter().map(|host| service(host)).collect())).collect();
    let facts: Vec<CloudFacts<'_>> = clouds
        .iter()
        .zip(mappings.iter().zip(&services))
        .map(|((name, ..), (mapping, services))| CloudFacts { name, mapping, services: services.as_deref() })
        .collect();
    locate("node-1", &facts)
}

#[test]
fn a_node_belongs_to_one_host() {
    let rows: [(&str, &[Cloud<'_>], (&str, &str)); 6] = [
        ("equal names", &[("a", &[], Some(&["node-1", "node-2"]))], ("a", "node-1")),
        ("spec.hosts", &[("a", &[("cmp-1", "node-1")], Some(&["cmp-1"]))], ("a", "cmp-1")),
        ("spec.hosts goes before equal names", &[("a", &[("cmp-1", "node-1")], Some(&["cmp-1", "node-1"]))], ("a", "cmp-1")),
        (
            "spec.hosts of one cloud goes before equal names in another",
            &[("a", &[("cmp-1", "node-1")], Some(&["cmp-1"])), ("b", &[], Some(&["node-1"]))],
            ("a", "cmp-1"),
        ),
        ("spec.hosts of a cloud that was not read yet", &[("a", &[("cmp-1", "node-1")], None)], ("a", "cmp-1")),
        ("the same entry twice", &[("a", &[("cmp-1", "node-1"), ("cmp-1", "node-1")], Some(&["cmp-1"]))], ("a", "cmp-1")),
    ];
    for (what, clouds, (cloud, host)) in rows {
        assert_eq!(located(clouds), Ok(Place { cloud: cloud.into(), host: HostName::from(host) }), "{what}");
    }
}

#[test]
fn a_node_that_belongs_to_none_or_to_several_is_named_with_the_candidates_and_the_remedy() {
    let rows: [(&str, &[Cloud<'_>], &[&str]); 10] = [
        (
            "in one cloud, while another was not read",
            &[("a", &[], Some(&["node-1"])), ("b", &[], None)],
            &["b has not been read and may have a host of the same name", "spec.hosts"],
        ),
        ("no cloud", &[], &["no OpenStackCloud"]),
        ("no such host", &[("a", &[], Some(&["node-2"]))], &["exactly this name (looked in a)", "spec.hosts"]),
        ("case counts", &[("a", &[], Some(&["Node-1"]))], &["exactly this name"]),
        ("no cloud was read", &[("a", &[], None)], &["OpenStackCloud a has not been read"]),
        ("one cloud was not read", &[("a", &[], Some(&[])), ("b", &[], None)], &["b has not been read"]),
        ("in two clouds", &[("a", &[], Some(&["node-1"])), ("b", &[], Some(&["node-1"]))], &["OpenStackClouds a and b", "spec.hosts"]),
        (
            "given to two hosts",
            &[("a", &[("x", "node-1"), ("y", "node-1")], Some(&["x", "y"]))],
            &["host x of OpenStackCloud a and to host y of OpenStackCloud a", "leave one entry"],
        ),
        ("its host is given to another node", &[("a", &[("node-1", "node-9")], Some(&["node-1"]))], &["of that name to node node-9"]),
        ("given to a host that Nova does not have", &[("a", &[("cmp-1", "node-1")], Some(&["cmp-2"]))], &["host cmp-1", "correct the entry"]),
    ];
    for (what, clouds, parts) in rows {
        let mut scene = scene(json!({}), json!({}));
        scene.place = located(clouds);
        let judgement = scene.judge();
        assert_eq!((judgement.decision, judgement.cloud.as_deref(), judgement.create.as_ref()), (Decision::Unmapped, None, None), "{what}");
        assert_says(&judgement, &["Node node-1"]);
        assert_says(&judgement, parts);
    }
}

// --- when to decide again, when to write ---

fn status(scene: &Scene) -> HostAlertStatus {
    scene.judge().status(&scene.alert, None, scene.now)
}

#[test]
fn an_alert_is_judged_when_it_is_new_and_when_its_events_are() {
    let base = scene(json!({}), json!({}));
    let final_status = status(&base);
    assert!(base.needs_decision(None));
    assert!(base.needs_decision(Some(&HostAlertStatus::default())));
    assert!(!base.needs_decision(Some(&final_status)), "Quarantined is final for these events");
    for (what, changes) in [("seq", json!({"seq": 13})), ("series", json!({"series": "8899"}))] {
        assert!(scene(changes, json!({})).needs_decision(Some(&final_status)), "{what}");
    }
}

#[test]
fn a_decision_that_is_not_final_is_taken_again_while_the_alert_is_young() {
    let mut scene = scene(json!({}), json!({"evidence": {"maxAge": "1m"}}));
    scene.gates.over_budget = Some("No more hosts.");
    let over_budget = status(&scene);
    assert!(scene.needs_decision(Some(&over_budget)));
    scene.now = at(59.0);
    assert!(scene.needs_decision(Some(&over_budget)));
    scene.now = at(61.0);
    assert!(!scene.needs_decision(Some(&over_budget)));
    scene.policies.push(("patient", policy(json!({"evidence": {"maxAge": "10m"}}))));
    assert!(scene.needs_decision(Some(&over_budget)), "another policy still takes it");
    scene.policies.clear();
    assert!(scene.needs_decision(Some(&over_budget)), "the policies are gone, and the decision with them");
    scene.now = at(601.0);
    assert!(!scene.needs_decision(Some(&over_budget)));
}

#[test]
fn every_decision_but_the_final_ones_is_taken_again() {
    let scene = scene(json!({}), json!({}));
    let again = |decision| scene.needs_decision(Some(&HostAlertStatus { decision: Some(decision), ..status(&scene) }));
    for decision in [
        Decision::NoPolicy,
        Decision::BelowThreshold,
        Decision::Suppressed,
        Decision::Cooldown,
        Decision::OverBudget,
        Decision::Stale,
        Decision::Unmapped,
        Decision::IdentityUnenforced,
        Decision::Recorded,
    ] {
        assert!(again(decision), "{decision:?}");
    }
    for decision in [Decision::AlreadyQuarantined, Decision::Cordoned, Decision::Quarantined] {
        assert!(!again(decision), "{decision:?}");
    }
}

#[test]
fn more_events_of_the_same_kind_cost_no_write() {
    let before = scene(json!({}), json!({"threshold": {"count": 99}}));
    let written = status(&before);
    let after = scene(json!({"seq": 13, "count": 13, "recent": [{"secondsAgo": 0, "count": 40}]}), json!({"threshold": {"count": 99}}));
    assert!(same_judgement(Some(&written), &after.judge(), &after.alert));
    assert_ne!(written.message, Some(after.judge().message), "though the figures differ");
}

#[test]
fn a_change_of_judgement_is_written() {
    let base = scene(json!({}), json!({"threshold": {"count": 99}}));
    let written = status(&base);
    let judgement = base.judge();
    assert!(!same_judgement(None, &judgement, &base.alert));
    let name = || Some("other".to_owned());
    let changed = [
        Judgement { decision: Decision::NoPolicy, ..judgement.clone() },
        Judgement { cloud: name(), ..judgement.clone() },
        Judgement { host: name(), ..judgement.clone() },
        Judgement { policy: name(), ..judgement.clone() },
        Judgement { quarantine: name(), ..judgement.clone() },
        Judgement { response: Some((Scope::HostCompromised, ResponseAction::Drain)), ..judgement.clone() },
        Judgement { message: "Another reason.".into(), ..judgement.clone() },
        Judgement { observed: vec![ObservedDecision { policy: "p".into(), decision: Decision::Stale }], ..judgement.clone() },
    ];
    for other in changed {
        assert!(!same_judgement(Some(&written), &other, &base.alert), "{other:?}");
    }
    assert!(!same_judgement(Some(&written), &judgement, &alert(json!({"series": "8899"}))), "a slot that was given to another series");
    let stricter = scene(json!({}), json!({"threshold": {"count": 100}}));
    assert!(!same_judgement(Some(&written), &stricter.judge(), &stricter.alert), "the policy asks for more now");
}

#[test]
fn a_status_keeps_when_the_series_was_first_received() {
    let base = scene(json!({}), json!({}));
    let first = status(&base);
    let second = base.judge().status(&base.alert, Some(&first), at(9.0));
    assert_eq!((second.first_received.clone().unwrap().0, second.last_received.unwrap().0), (at(0.1), at(9.0)));
    let reused = alert(json!({"series": "8899"}));
    let third = base.judge().status(&reused, Some(&first), at(9.0));
    assert_eq!(third.first_received.unwrap().0, at(9.0));
    assert_eq!((first.observed_series.as_deref(), first.observed_seq), (Some("0011223344556677"), Some(12)));
}

#[test]
fn what_an_earlier_quarantine_was_about_and_what_was_too_little_long_ago_is_no_part_of_the_next() {
    let base = scene(json!({}), json!({}));
    let first = status(&base);
    let received = |earlier: &HostAlertStatus, second| base.judge().status(&base.alert, Some(earlier), at(second)).first_received.unwrap().0;
    let joined = HostAlertStatus { quarantine: Some("earlier".into()), ..first.clone() };
    assert_eq!(received(&joined, 9.0), at(9.0));
    let below = HostAlertStatus { decision: Some(Decision::BelowThreshold), quarantine: None, ..first.clone() };
    assert_eq!((received(&below, 600.0), received(&below, 700.0)), (at(0.1), at(700.0)));
    let held_back = HostAlertStatus { decision: Some(Decision::OverBudget), ..below };
    assert_eq!(received(&held_back, 700.0), at(0.1));
}

// --- hosts by their labels ---

#[test]
fn hosts_are_selected_by_their_labels() {
    let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
    let rows = [
        (json!({}), true),
        (json!({"matchLabels": {"tier": "front"}}), true),
        (json!({"matchLabels": {"tier": "back"}}), false),
        (json!({"matchLabels": {"tier": "front", "row": "7"}}), false),
        (expression("tier", "In", &["back", "front"]), true),
        (expression("tier", "In", &["back"]), false),
        (expression("row", "In", &["7"]), false),
        (expression("tier", "NotIn", &["back"]), true),
        (expression("tier", "NotIn", &["front"]), false),
        (expression("row", "NotIn", &["7"]), true),
        (expression("tier", "Exists", &[]), true),
        (expression("row", "Exists", &[]), false),
        (expression("row", "DoesNotExist", &[]), true),
        (expression("tier", "DoesNotExist", &[]), false),
    ];
    for (selector, expected) in rows {
        let mut scene = scene(json!({}), json!({"match": {"hostSelector": selector}}));
        scene.labels = Labels::from([("tier".to_owned(), "front".to_owned())]);
        assert_eq!(scene.decision() == Decision::Quarantined, expected, "{selector}");
    }
}

// --- groups ---

/// Another series: what is changed, and when its last event was, in seconds after that of the alert that is judged.
fn peer(changes: Value, after: f64) -> (HostAlertSpec, Option<f64>) {
    let mut whole = json!({"recent": [{"secondsAgo": 0, "count": 1}]});
    merge(&mut whole, changes);
    let mut spec = alert(whole);
    spec.last_seen = MicroTime(at(after));
    (spec, None)
}

fn grouped(threshold: &Value, peers: Vec<(HostAlertSpec, Option<f64>)>) -> Scene {
    let one = json!({"recent": [{"secondsAgo": 0, "count": 1}]});
    let mut scene = scene(one, json!({"threshold": threshold}));
    scene.now = at(30.0);
    scene.peers = peers;
    scene
}

#[test]
fn what_is_counted_together() {
    let two = |group: &[&str]| json!({"count": 2, "groupBy": group});
    let rows = [
        ("one series by default", json!({"count": 2}), json!({"ruleID": "1:7"}), -5.0, false),
        ("another rule on the host", two(&["Host"]), json!({"ruleID": "1:7", "sid": 7}), -5.0, true),
        ("another host", two(&["Host"]), json!({"node": "node-2"}), -5.0, false),
        ("the same far end on another host", two(&["Subject"]), json!({"node": "node-2"}), -5.0, true),
        ("another far end", two(&["Subject"]), json!({"node": "node-2", "subject": "10.0.4.8"}), -5.0, false),
        ("the same rule on another host", two(&["Rule"]), json!({"node": "node-2", "subject": "10.0.4.8"}), -5.0, true),
        ("another rule by the same far end", two(&["Host", "Subject"]), json!({"ruleID": "1:7", "sid": 7}), -5.0, true),
        ("before the window", two(&["Host"]), json!({"ruleID": "1:7", "sid": 7}), -60.0, false),
        ("at the edge of the window", two(&["Host"]), json!({"ruleID": "1:7", "sid": 7}), -59.9, true),
        ("later than the alert itself", two(&["Host"]), json!({"ruleID": "1:7", "sid": 7}), 20.0, true),
        ("not what the policy is about", two(&["Host"]), json!({"ruleID": "1:7", "sid": 7, "severity": "Low"}), -5.0, false),
        ("no evidence", two(&["Host"]), json!({"ruleID": "1:7", "sid": 7, "flow": "OneWay"}), -5.0, false),
    ];
    for (what, threshold, changes, after, expected) in rows {
        let scene = grouped(&threshold, vec![peer(changes, after)]);
        assert_eq!(scene.decision() == Decision::Quarantined, expected, "{what}: {}", scene.judge().message);
    }
}

#[test]
fn an_alert_whose_own_events_are_too_old_is_not_carried_by_others() {
    let mut scene = grouped(&json!({"count": 1, "groupBy": ["Host"]}), vec![peer(json!({"ruleID": "1:7", "sid": 7}), 61.0)]);
    scene.now = at(62.0);
    assert_eq!(scene.decision(), Decision::BelowThreshold);
}

#[test]
fn events_of_others_before_the_release_of_their_host_do_not_count() {
    let mut scene = grouped(&json!({"count": 2, "groupBy": ["Subject"]}), vec![peer(json!({"node": "node-2"}), -5.0)]);
    assert_eq!(scene.decision(), Decision::Quarantined);
    scene.peers[0].1 = Some(10.0);
    assert_eq!(scene.decision(), Decision::BelowThreshold);
}

#[test]
fn with_flow_any_several_series_of_one_rule_and_far_end_are_one_group() {
    let one = json!({"recent": [{"secondsAgo": 0, "count": 1}]});
    let mut scene = scene(one, json!({"evidence": {"flow": "Any"}, "threshold": {"count": 2}}));
    assert_eq!(scene.decision(), Decision::BelowThreshold);
    scene.peers = vec![peer(json!({"flow": "OneWay"}), -5.0)];
    assert_eq!(scene.decision(), Decision::Quarantined);
}

#[test]
fn different_values_are_counted() {
    let three_rules = json!({"count": 1, "groupBy": ["Host"], "distinct": {"field": "Rule", "min": 3}});
    let rule = |sid: i64| peer(json!({"ruleID": format!("1:{sid}"), "sid": sid}), -5.0);
    let rows = [
        ("one rule, many events", three_rules.clone(), vec![peer(json!({"subject": "x"}), -1.0), peer(json!({"subject": "y"}), -2.0)], false),
        ("two rules", three_rules.clone(), vec![rule(7)], false),
        ("three rules", three_rules.clone(), vec![rule(7), rule(8)], true),
        ("three rules, one long ago", three_rules, vec![rule(7), peer(json!({"ruleID": "1:8", "sid": 8}), -70.0)], false),
        (
            "a far end on three nodes",
            json!({"count": 1, "groupBy": ["Subject"], "distinct": {"field": "Node", "min": 3}}),
            vec![peer(json!({"node": "node-2"}), -5.0), peer(json!({"node": "node-3"}), -6.0)],
            true,
        ),
        (
            "several far ends without names, by the estimate",
            json!({"count": 1, "groupBy": ["Host"], "distinct": {"field": "Subject", "min": 3}}),
            vec![peer(json!({"subject": "-", "distinctSubjects": 7}), -6.0)],
            true,
        ),
        (
            "two far ends, and several without a name or an estimate",
            json!({"count": 1, "groupBy": ["Host"], "distinct": {"field": "Subject", "min": 3}}),
            vec![peer(json!({"subject": "x"}), -5.0), peer(json!({"subject": "-"}), -6.0)],
            false,
        ),
    ];
    for (what, threshold, peers, expected) in rows {
        let scene = grouped(&threshold, peers);
        assert_eq!(scene.decision() == Decision::Quarantined, expected, "{what}: {}", scene.judge().message);
    }
}

#[test]
fn a_group_and_its_figures_are_named() {
    let scene = grouped(
        &json!({"count": 9, "groupBy": ["Host", "Subject"], "distinct": {"field": "Rule", "min": 3}}),
        vec![peer(json!({"ruleID": "1:7", "sid": 7}), -5.0)],
    );
    assert_says(&scene.judge(), &["9 alerts within 60s of the same Host, Subject, with 3 different Rules", "there were 2, 2 different."]);
}

// --- a silent sensor ---

#[test]
fn flow_and_count_do_not_apply_to_a_silent_sensor() {
    let silent = json!({"engine": "sidestep", "ruleID": "SensorSilent", "gid": null, "sid": null, "flow": "Unknown", "subject": "-", "recent": []});
    assert_eq!(scene(silent, json!({"match": {"engines": ["sidestep"]}})).decision(), Decision::Quarantined);
}

#[test]
fn a_silence_from_before_a_release_does_not_count_again() {
    let silent = json!({"engine": "sidestep", "ruleID": "SensorSilent", "gid": null, "sid": null, "flow": "Unknown", "subject": "-", "recent": []});
    let mut scene = scene(silent, json!({"match": {"engines": ["sidestep"]}}));
    (scene.released_at, scene.now) = (Some(at(10.0)), at(11.0));
    assert_eq!(scene.decision(), Decision::BelowThreshold);
}

// --- rules that are left alone ---

fn suppressing(until: f64) -> Value {
    json!([{"rules": ["suricata:1:2024000-2024999"], "until": at(until).to_string(), "reason": "scanner of the audit"}])
}

#[test]
fn a_suppressed_rule_is_left_alone_until_the_time_that_is_given() {
    let scene_at = |now: f64| {
        let mut scene = scene(json!({}), json!({"suppress": suppressing(100.0)}));
        scene.now = at(now);
        scene.judge()
    };
    let suppressed = scene_at(99.0);
    assert_eq!((suppressed.decision, suppressed.policy.as_deref(), suppressed.again_at), (Decision::Suppressed, Some("lab"), Some(at(100.0))));
    assert_says(&suppressed, &["QuarantinePolicy lab leaves rule suricata:1:2024897 alone", "scanner of the audit"]);
    assert_eq!((suppressed.held, scene_at(100.0).decision), (Held::Not, Decision::Quarantined));
}

#[test]
fn a_policy_that_suppresses_is_no_candidate_and_keeps_no_other_from_deciding() {
    let rows = [
        ("another acts", vec![("a", json!({"priority": 900, "suppress": suppressing(99.0)})), ("b", json!({}))], Decision::Quarantined),
        ("another falls short", vec![("a", json!({"suppress": suppressing(99.0)})), ("b", json!({"threshold": {"count": 9}}))], Decision::BelowThreshold),
        ("another rule", vec![("a", json!({"suppress": [{"rules": ["suricata:1:5"], "until": at(99.0).to_string(), "reason": "r"}]}))], Decision::Quarantined),
    ];
    for (what, policies, expected) in rows {
        assert_eq!(several(policies).decision, expected, "{what}");
    }
}

// --- cooldowns ---

/// What the policy of the scene did to the host of the scene, so many seconds before the alert.
fn act_before(seconds: f64) -> Act {
    Act {
        quarantine: "cmp-1-00000000".into(),
        host: HostName::from("cmp-1"),
        policy: "lab".into(),
        rules: vec!["suricata:1:2024897".into()],
        at: at(-seconds),
        released: None,
        under_way: false,
    }
}

fn after(act: Act, cooldown: &Value) -> Judgement {
    let mut scene = scene(json!({}), json!({"cooldown": cooldown, "limits": {"maxQuarantinesPerHour": 9}}));
    (scene.acts, scene.now) = (vec![act], at(0.0));
    scene.judge()
}

#[test]
fn a_policy_leaves_a_host_alone_for_a_while_after_it_acted() {
    let long = || json!({"perHost": "30m", "perRule": "10m"});
    let rule_only = || json!({"perHost": "0s", "perRule": "10m"});
    let other_rule = |seconds| Act { rules: vec!["suricata:1:5".into()], ..act_before(seconds) };
    let rows = [
        ("within perHost", act_before(1799.0), long(), Decision::Cooldown),
        ("after perHost", act_before(1800.0), long(), Decision::Quarantined),
        ("another rule within perHost", other_rule(1799.0), long(), Decision::Cooldown),
        ("within perRule", act_before(599.0), rule_only(), Decision::Cooldown),
        ("after perRule", act_before(600.0), rule_only(), Decision::Quarantined),
        ("another rule within perRule", other_rule(1.0), rule_only(), Decision::Quarantined),
        ("another policy's", Act { policy: "other".into(), ..act_before(1.0) }, long(), Decision::Quarantined),
        ("another host's", Act { host: HostName::from("cmp-2"), ..act_before(1.0) }, long(), Decision::Quarantined),
    ];
    for (what, act, cooldown, expected) in rows {
        assert_eq!(after(act, &cooldown).decision, expected, "{what}");
    }
    let judgement = after(act_before(300.0), &long());
    assert_eq!((judgement.again_at, judgement.held), (Some(at(1500.0)), Held::ByActing));
    assert_says(&judgement, &["HostQuarantine cmp-1-00000000", "spec.cooldown.perHost", "leaves it alone until 2026-11-25T12:25:0"]);
}

#[test]
fn a_cooldown_ends_at_a_release_with_verdict_remediated() {
    let released = Act { released: Some((at(-100.0), false)), ..act_before(300.0) };
    assert_eq!(after(released, &json!({})).decision, Decision::Quarantined);
}

#[test]
fn the_rules_of_a_false_positive_do_not_count_on_its_host_for_a_day() {
    let released = |ago: f64| Act { released: Some((at(-ago), true)), ..act_before(90_000.0) };
    let day = 24.0 * 3600.0;
    let rows = [
        ("within the day", released(day - 1.0), Decision::Cooldown),
        ("a day later", released(day), Decision::Quarantined),
        ("another policy's", Act { policy: "other".into(), ..released(5.0) }, Decision::Cooldown),
        ("another rule", Act { rules: vec!["suricata:1:5".into()], ..released(5.0) }, Decision::Quarantined),
        ("another host", Act { host: HostName::from("cmp-2"), ..released(5.0) }, Decision::Quarantined),
    ];
    for (what, act, expected) in rows {
        assert_eq!(after(act, &json!({})).decision, expected, "{what}");
    }
    assert_says(&after(released(5.0), &json!({})), &["released as a false positive", "rule suricata:1:2024897 does not count on host cmp-1"]);
}

// --- limits of a policy ---

#[test]
fn a_policy_has_so_many_quarantines_under_way_and_no_more() {
    let under_way = |host: &str| Act { host: HostName::from(host), under_way: true, quarantine: host.into(), ..act_before(300.0) };
    let decide = |acts: Vec<Act>, limit: u32| {
        let mut scene = scene(json!({}), json!({"limits": {"maxConcurrentQuarantines": limit, "maxQuarantinesPerHour": 9}}));
        scene.acts = acts;
        scene.judge()
    };
    let full = decide(vec![under_way("cmp-2")], 1);
    assert_eq!((full.decision, full.create.as_ref()), (Decision::OverBudget, None));
    assert_says(&full, &["1 HostQuarantines under way (cmp-2)", "spec.limits.maxConcurrentQuarantines is 1"]);
    assert_eq!(decide(vec![under_way("cmp-2")], 2).decision, Decision::Quarantined);
    assert_eq!(decide(vec![Act { policy: "other".into(), ..under_way("cmp-2") }], 1).decision, Decision::Quarantined);
    assert_eq!(decide(vec![Act { under_way: false, ..under_way("cmp-2") }], 1).decision, Decision::Quarantined);
}

#[test]
fn a_policy_makes_so_many_quarantines_an_hour_and_no_more() {
    let made = |seconds: f64| Act { host: HostName::from("cmp-2"), ..act_before(seconds) };
    let decide = |acts: Vec<Act>| {
        let mut scene = scene(json!({}), json!({"limits": {"maxQuarantinesPerHour": 2}}));
        (scene.acts, scene.now) = (acts, at(0.0));
        scene.judge()
    };
    let full = decide(vec![made(10.0), made(3599.0), made(3600.0)]);
    assert_eq!((full.decision, full.again_at), (Decision::OverBudget, Some(at(1.0))));
    assert_says(&full, &["2 HostQuarantines within the last hour", "spec.limits.maxQuarantinesPerHour is 2"]);
    assert_eq!(decide(vec![made(10.0), made(3600.0)]).decision, Decision::Quarantined);
}

// --- the order of the gates ---

/// Everything that can stand against it does; each step takes the first away, and the next one speaks.
#[test]
fn the_gates_speak_in_a_fixed_order() {
    let mut scene = scene(json!({}), json!({}));
    scene.gates = Gates {
        unenforced: Some("identity"),
        only_records: Some("only records"),
        pool_host: Some("pool host"),
        stale_view: Some("stale view"),
        over_share: Some("share"),
        over_budget: Some("budget"),
        no_cordon: None,
    };
    scene.acts = vec![act_before(5.0)];
    scene.active = Some("other".into());
    let mut seen = Vec::new();
    let mut look = |scene: &Scene| seen.push(scene.decision());
    look(&scene);
    scene.gates.only_records = None;
    look(&scene);
    scene.gates.unenforced = None;
    look(&scene);
    scene.active = None;
    look(&scene);
    assert_says(&scene.judge(), &["pool host"]);
    scene.gates.pool_host = None;
    look(&scene);
    scene.gates.stale_view = None;
    look(&scene);
    scene.acts = vec![Act { host: HostName::from("cmp-2"), under_way: true, ..act_before(5.0) }];
    look(&scene);
    assert_says(&scene.judge(), &["share"]);
    scene.gates.over_share = None;
    look(&scene);
    assert_says(&scene.judge(), &["maxConcurrentQuarantines"]);
    scene.acts.clear();
    look(&scene);
    assert_says(&scene.judge(), &["budget"]);
    scene.gates.over_budget = None;
    look(&scene);
    let over = Decision::OverBudget;
    assert_eq!(
        seen,
        [
            Decision::Recorded,
            Decision::IdentityUnenforced,
            Decision::AlreadyQuarantined,
            Decision::Recorded,
            Decision::Stale,
            Decision::Cooldown,
            over,
            over,
            over,
            Decision::Quarantined
        ]
    );
}

// --- the response ---

#[test]
fn a_quarantine_says_what_its_policy_says() {
    let response =
        json!({"scope": "HostThreatened", "action": "Cordon", "template": {"migration": {"maxAttempts": 2}, "destinations": {"exclude": ["cmp-9"]}}});
    let judgement = scene(json!({}), json!({"mode": "Approve", "response": response})).judge();
    let spec = judgement.create.unwrap().spec;
    assert_eq!((spec.mode, spec.scope, spec.action), (Mode::Approve, Scope::HostThreatened, ResponseAction::Cordon));
    assert_eq!((spec.migration.max_attempts, spec.destinations.exclude.as_slice()), (2, &["cmp-9".to_owned()][..]));
    assert_eq!(judgement.response, Some((Scope::HostThreatened, ResponseAction::Cordon)));
}

#[test]
fn an_alert_that_joins_says_what_its_policy_suspects() {
    let mut scene = scene(json!({}), json!({"response": {"scope": "HostCompromised"}}));
    scene.active = Some("maintenance".into());
    let judgement = scene.judge();
    let status = judgement.status(&scene.alert, None, scene.now);
    assert_eq!((status.decision, status.scope, status.action), (Some(Decision::AlreadyQuarantined), Some(Scope::HostCompromised), Some(ResponseAction::Drain)));
    assert_says(&judgement, &["with scope HostCompromised and action Drain"]);
}

#[test]
fn what_only_takes_a_host_out_of_service_is_no_shield() {
    let decide = |action: &str, gates: Gates<'static>, acts: Vec<Act>| {
        let mut scene = scene(json!({}), json!({"response": {"action": action}}));
        (scene.active, scene.only_cordons, scene.gates, scene.acts) = (Some("cordon".into()), true, gates, acts);
        scene.judge()
    };
    let open = Gates::default();
    assert_eq!(decide("Drain", open, vec![act_before(5.0)]).decision, Decision::AlreadyQuarantined, "whatever the cooldown of the cordon");
    assert_eq!(decide("Cordon", Gates { over_budget: Some("budget"), ..open }, Vec::new()).decision, Decision::AlreadyQuarantined);
    let shut = decide("Drain", Gates { over_budget: Some("budget"), ..open }, Vec::new());
    assert_eq!((shut.decision, shut.quarantine.as_ref()), (Decision::OverBudget, None));
    assert_says(&shut, &["stays out of service by HostQuarantine cordon", "budget"]);
}

#[test]
fn on_limit_cordon_takes_the_host_out_of_service_within_its_own_budget() {
    let decide = |on_limit: &str, gates: Gates<'static>| {
        let mut scene = scene(json!({}), json!({"onLimit": on_limit}));
        scene.gates = gates;
        scene.judge()
    };
    let over = Gates { over_budget: Some("No more hosts."), ..Gates::default() };
    assert_eq!(decide("Record", over).decision, Decision::OverBudget);
    let cordoned = decide("Cordon", over);
    assert_eq!(cordoned.decision, Decision::Cordoned);
    assert_says(&cordoned, &["taken out of service and not drained (spec.onLimit)", "No more hosts."]);
    let spec = cordoned.create.unwrap().spec;
    assert_eq!((spec.action, spec.trigger.unwrap().over_budget, cordoned.quarantine.is_some()), (ResponseAction::Cordon, true, true));
    let none_left = decide("Cordon", Gates { no_cordon: Some("No more cordons."), ..over });
    assert_eq!((none_left.decision, none_left.create.as_ref()), (Decision::OverBudget, None));
    assert_says(&none_left, &["No more hosts.", "No more cordons."]);
    let many_alert = decide("Cordon", Gates { over_share: Some("Too many."), ..over });
    assert_eq!(many_alert.decision, Decision::OverBudget, "a person must look");
}
