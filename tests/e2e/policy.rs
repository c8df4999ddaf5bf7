//! What policies do, and what keeps them from doing too much.

use jiff::Timestamp;
use serde_json::{Value, json};
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::Phase;
use sidestep::api::{HostAlert, HostQuarantine, OpenStackCloud};
use sidestep::clock::Clock;

use super::support::alert_line::AlertLine;
use super::support::cloud::active;
use super::support::world::{CLOUD, POLICY, Setup, World, decision_of};

/// What a stolen token can write: an alert of priority 1 on an established connection.
pub(crate) fn forged(node: &str, slot: usize) -> Value {
    let now: Timestamp = Clock::system().now();
    json!({
        "node": node, "series": format!("{slot:016x}"), "seq": 1, "engine": "suricata", "ruleID": format!("1:{}", 9_000_001 + slot), "gid": 1, "sid": 9_000_001 + slot,
        "severity": "High", "subject": "192.0.2.66", "flow": "Established", "firstSeen": format!("{now:.6}"), "lastSeen": format!("{now:.6}"), "count": 1,
        "recent": [{"secondsAgo": 0, "count": 1}],
    })
}

#[tokio::test]
async fn a_policy_that_observes_does_not_shadow_one_that_acts() {
    let world = World::start(Setup::simulated(vec![active("a", "cmp-1")]).await.sentinel_on("cmp-1")).await;
    world.create_policy("watcher", json!({"mode": "Observe", "priority": 900})).await;
    world.wait_for_condition::<sidestep::api::QuarantinePolicy>("watcher", "Ready", "True").await;
    world.alert("cmp-1");
    let made = world.wait_for_quarantine_of("cmp-1", "by the policy that acts", |quarantine| quarantine.spec.trigger.is_some()).await;
    assert_eq!(made.spec.trigger.unwrap().policy, POLICY);
    let decided = |alert: &HostAlert| decision_of(alert) == Some(Decision::Quarantined);
    let status = world.wait_for("cmp-1-00", "is Quarantined", decided).await.status.unwrap();
    let observed: Vec<_> = status.observed.iter().map(|observed| (observed.policy.as_str(), observed.decision)).collect();
    assert_eq!(observed, [("watcher", Decision::Quarantined)]);
    let event = world.wait_for_event("cmp-1-00", "Observed").await;
    assert!(event.contains("QuarantinePolicy watcher is in mode Observe; in mode Enforce its decision would be Quarantined"), "{event}");
}

#[tokio::test]
async fn a_cooldown_ends_at_the_release_and_outlives_a_deleted_quarantine() {
    let mut setup = Setup::simulated(vec![active("a", "cmp-1")]).await.sentinel_on("cmp-1");
    setup.policy = json!({"cooldown": {"perHost": "10m", "perRule": "10m"}});
    let world = World::start(setup).await;
    world.alert("cmp-1");
    let first = world.wait_for_quarantine_of("cmp-1", "for the first alert", |_| true).await.metadata.name.unwrap();
    world.wait_for_phase(&first, Phase::Empty).await;
    world.release(&first).await;
    world.wait_for_phase(&first, Phase::Released).await;

    world.alert("cmp-1");
    let other = |quarantine: &HostQuarantine| quarantine.metadata.name.as_deref() != Some(&first);
    let second = world.wait_for_quarantine_of("cmp-1", "for the second attack", other).await.metadata.name.unwrap();
    world.wait_for_phase(&second, Phase::Empty).await;

    // Deleting is not releasing: the cooldown goes on, though nothing but the cloud's status remembers the quarantine.
    for name in [&first, &second] {
        world.delete::<HostQuarantine>(name).await;
        world.wait_until_gone::<HostQuarantine>(name).await;
    }
    world.alert("cmp-1");
    let cooling = |alert: &HostAlert| decision_of(alert) == Some(Decision::Cooldown);
    let status = world.wait_for("cmp-1-00", "is in a cooldown", cooling).await.status.unwrap();
    let why = status.message.unwrap();
    assert!(why.contains(&format!("HostQuarantine {second}")) && why.contains("spec.cooldown.perHost"), "{why}");
    world.wait_for_event("cmp-1-00", "Cooldown").await;
    assert!(world.all::<HostQuarantine>().await.is_empty());
}

#[tokio::test]
async fn the_window_of_a_threshold_survives_an_operator_restart() {
    let mut setup = Setup::simulated(vec![active("a", "cmp-1")]).await.sentinel_on("cmp-1");
    setup.policy = json!({"threshold": {"count": 3, "window": "60s"}});
    let mut world = World::start(setup).await;
    world.alert("cmp-1");
    world.alert("cmp-1");
    let two = |alert: &HostAlert| alert.spec.count == 2 && decision_of(alert) == Some(Decision::BelowThreshold);
    world.wait_for("cmp-1-00", "has two events and is BelowThreshold", two).await;
    world.kill_operator();
    world.start_operator(&[]);
    world.alert("cmp-1");
    world.wait_for_quarantine_of("cmp-1", "after the third event", |_| true).await;
}

#[tokio::test]
async fn two_rules_of_one_attacker_are_counted_together_where_the_policy_says_so() {
    let mut setup = Setup::simulated(vec![active("a", "cmp-1")]).await.sentinel_on("cmp-1");
    setup.policy = json!({"threshold": {"count": 2, "groupBy": ["Host", "Subject"], "distinct": {"field": "Rule", "min": 2}}});
    let world = World::start(setup).await;
    let line = |sid: u32| AlertLine { sid, ..AlertLine::at(Clock::system().now()) }.text();
    world.append("cmp-1", &format!("{}{}", line(9_000_001), line(9_000_001)));
    let below = |alert: &HostAlert| alert.spec.count == 2 && decision_of(alert) == Some(Decision::BelowThreshold);
    let status = world.wait_for("cmp-1-00", "has two events of one rule and is BelowThreshold", below).await.status.unwrap();
    assert!(status.message.as_deref().unwrap().contains("with 2 different Rules"), "{status:?}");
    world.append("cmp-1", &line(9_000_002));
    world.wait_for_quarantine_of("cmp-1", "after the second rule", |_| true).await;
    // The first rule's series was below the threshold when it came, and is not forgotten.
    let joined = |alert: &HostAlert| matches!(decision_of(alert), Some(Decision::AlreadyQuarantined | Decision::Quarantined));
    world.wait_for("cmp-1-00", "has joined", joined).await;
}

#[tokio::test]
async fn fresh_view_an_alert_on_a_stale_view_waits_and_is_decided_when_the_cloud_answers_again() {
    let mut setup = Setup::simulated(vec![active("a", "cmp-1")]).await.sentinel_on("cmp-1");
    setup.spec = json!({"inventory": {"idleInterval": "1s", "activeInterval": "200ms", "staleAfter": "2s"}});
    let world = World::start(setup).await;
    world.simulator().fault(r#"{"method": "GET", "path": "os-services", "answer": "503", "seconds": 3600}"#);
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "InventoryFresh", "False").await;
    world.alert("cmp-1");
    let stale = |alert: &HostAlert| decision_of(alert) == Some(Decision::Stale);
    let status = world.wait_for("cmp-1-00", "waits for a view of the cloud", stale).await.status.unwrap();
    assert!(status.message.as_deref().unwrap().contains("staleAfter"), "{status:?}");
    assert!(world.all::<HostQuarantine>().await.is_empty());
    world.simulator().clear_faults();
    world.wait_for_quarantine_of("cmp-1", "once the cloud answers", |_| true).await;
}

#[tokio::test]
async fn undo_the_same_alert_does_not_drain_a_host_again_that_was_released_as_a_false_positive() {
    let world = World::start(Setup::simulated(vec![active("a", "cmp-1")]).await.sentinel_on("cmp-1")).await;
    world.alert("cmp-1");
    let first = world.wait_for_quarantine_of("cmp-1", "for the first alert", |_| true).await.metadata.name.unwrap();
    world.wait_for_phase(&first, Phase::Empty).await;
    world.change::<HostQuarantine>(&first, json!({"release": {"requested": true, "verdict": "FalsePositive", "approvedBy": world.user()}})).await;
    world.wait_for_phase(&first, Phase::Released).await;
    world.alert("cmp-1");
    let cooling = |alert: &HostAlert| decision_of(alert) == Some(Decision::Cooldown);
    let status = world.wait_for("cmp-1-00", "does not count", cooling).await.status.unwrap();
    assert!(status.message.as_deref().unwrap().contains("released as a false positive"), "{status:?}");
    assert_eq!(world.simulator().disabled_hosts(), Vec::<String>::new());
    // Another rule on the same host is another matter.
    world.append("cmp-1", &AlertLine { sid: 9_000_002, ..AlertLine::at(Clock::system().now()) }.text());
    let other = |quarantine: &HostQuarantine| quarantine.metadata.name.as_deref() != Some(&first);
    world.wait_for_quarantine_of("cmp-1", "for another rule", other).await;
}

#[tokio::test]
async fn over_the_budget_a_policy_may_take_a_host_out_of_service_and_drain_it_when_there_is_room() {
    let mut setup = Setup::simulated(["cmp-1", "cmp-2"].map(|host| active(host, host)).to_vec()).await;
    setup.policy = json!({"onLimit": "Cordon"});
    let world = World::start(setup).await;
    world.alert("cmp-1");
    let first = world.wait_for_quarantine_of("cmp-1", "for the first alert", |_| true).await.metadata.name.unwrap();
    world.wait_for_phase(&first, Phase::Empty).await;
    world.alert("cmp-2");
    let cordoned = world.wait_for("cmp-2-00", "is Cordoned", |alert: &HostAlert| decision_of(alert) == Some(Decision::Cordoned)).await.status.unwrap();
    let second = cordoned.quarantine.unwrap();
    world.wait_for_phase(&second, Phase::Cordoned).await;
    assert!(!world.simulator().servers_on("cmp-2").is_empty(), "its servers stay");
    let used = |cloud: &OpenStackCloud| {
        cloud.status.as_ref().and_then(|status| status.budget.as_ref()).is_some_and(|used| used.out_of_service == 1 && used.cordons.len() == 1)
    };
    world.wait_for(CLOUD, "counts the cordon apart", used).await;

    world.release(&first).await;
    world.wait_for_phase(&first, Phase::Released).await;
    world.alert("cmp-2");
    world.wait_for_phase(&second, Phase::Empty).await;
}
