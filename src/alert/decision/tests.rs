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
    active: Option<String>,
    released_at: Option<Timestamp>,
    outdated: Option<&'static str>,
    unenforced: Option<&'static str>,
    stale_view: Option<&'static str>,
    over_budget: Option<&'static str>,
}

impl Scene {
    fn new(alert: HostAlertSpec, policies: Vec<(&'static str, QuarantinePolicySpec)>) -> Self {
        Self {
            alert,
            place: Ok(Place { cloud: "production".into(), host: HostName::from("cmp-1") }),
            policies,
            written: Some(at(-0.5)),
            now: at(0.1),
            active: None,
            released_at: None,
            outdated: None,
            unenforced: None,
            stale_view: None,
            over_budget: None,
        }
    }

    fn policies(&self) -> Vec<Policy<'_>> {
        self.policies.iter().map(|(name, spec)| Policy { name, generation: 4, spec }).collect()
    }

    fn judge(&self) -> Judgement {
        judge(&Case {
            alert_name: "node-1-00",
            alert: &self.alert,
            written: self.written,
            now: self.now,
            place: &self.place,
            policies: &self.policies(),
            active: self.active.as_deref(),
            released_at: self.released_at,
            outdated: self.outdated,
            unenforced: self.unenforced,
            stale_view: self.stale_view,
            over_budget: self.over_budget,
        })
    }

    fn decision(&self) -> Decision {
        self.judge().decision
    }

    fn needs_decision(&self, status: Option<&HostAlertStatus>) -> bool {
        needs_decision(&self.alert, status, &self.policies(), self.written, self.now)
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
        "trigger": {"policy": "lab", "policyGeneration": 4, "alerts": ["node-1-00"]},
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

#[test]
fn what_a_policy_is_about() {
    let rows = [
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
        ("another generator than rules have", json!({"gid": 116}), json!({}), false),
        ("no rule that can be read", json!({"ruleID": "x", "gid": null, "sid": null}), json!({}), false),
    ];
    for (what, alert_changes, match_changes, expected) in rows {
        let matching: Match = serde_json::from_value(match_changes.clone()).unwrap();
        assert_eq!(matches(&matching, &alert(alert_changes.clone())), expected, "{what}");
        let decision = scene(alert_changes, json!({"match": match_changes})).decision();
        assert_eq!(decision, if expected { Decision::Quarantined } else { Decision::NoPolicy }, "{what}");
    }
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
    scene.over_budget = Some("No more hosts.");
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
    (scene.active, scene.over_budget, scene.stale_view) = (Some("maintenance".into()), Some("No more hosts."), Some("Too old."));
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
    scene.over_budget = Some("No more hosts.");
    let budget = scene.judge();
    assert_eq!((budget.decision, budget.policy.as_deref(), budget.create.as_ref()), (Decision::OverBudget, Some("lab"), None));
    assert_says(&budget, &["No more hosts."]);
    scene.stale_view = Some("Too old.");
    let view = scene.judge();
    assert_eq!((view.decision, view.create.as_ref()), (Decision::Stale, None));
    assert_says(&view, &["Too old."]);
}

#[test]
fn without_enforced_identity_or_with_outdated_kinds_it_is_recorded_and_joins_nothing() {
    let mut scene = scene(json!({}), json!({}));
    for active in [None, Some("maintenance".to_owned())] {
        (scene.active, scene.outdated, scene.unenforced) = (active, None, Some("No policy ties sentinels."));
        let forged = scene.judge();
        assert_eq!((forged.decision, forged.quarantine.as_ref(), forged.create.as_ref()), (Decision::IdentityUnenforced, None, None));
        assert_says(&forged, &["No policy ties sentinels."]);
        scene.outdated = Some("A field is missing.");
        let outdated = scene.judge();
        assert_eq!((outdated.decision, outdated.quarantine.as_ref(), outdated.create.as_ref()), (Decision::Recorded, None, None));
        assert_says(&outdated, &["A field is missing."]);
    }
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
    }
}

/// (cloud, spec.hosts as (host, node), hosts that Nova knows)
type Cloud<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a [&'a str]>);

fn located(clouds: &[Cloud<'_>]) -> Result<Place, Unmapped> {
    let mappings: Vec<Vec<HostMapping>> =
        clouds.iter().map(|(_, mapping, _)| mapping.iter().map(|(host, node)| HostMapping { host: (*host).into(), node: (*node).into() }).collect()).collect();
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
    scene.over_budget = Some("No more hosts.");
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
    for decision in [Decision::NoPolicy, Decision::BelowThreshold, Decision::OverBudget, Decision::Stale, Decision::Unmapped, Decision::Recorded] {
        assert!(again(decision), "{decision:?}");
    }
    for decision in [Decision::AlreadyQuarantined, Decision::Quarantined] {
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
