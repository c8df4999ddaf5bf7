//! The sentinel as a real process: nothing that was read is lost and nothing is counted twice.

use std::fs;
use std::io::Write as _;

use jiff::SignedDuration;
use sidestep::api::alert::Decision;
use sidestep::api::units::{Flow, Severity};
use sidestep::api::{HostAlert, HostQuarantine};
use sidestep::clock::Clock;

use super::support::alert_line::AlertLine;
use super::support::world::{Setup, World};

/// One sentinel, and no quarantine: the policy wants more alerts than come.
async fn watching() -> World {
    let mut setup = Setup::simulated(Vec::new()).await.sentinel_on("cmp-1");
    setup.policy = serde_json::json!({"threshold": {"count": 1000}});
    World::start(setup).await
}

async fn wait_for_count(world: &World, count: i64) -> HostAlert {
    world.wait_for("cmp-1-00", &format!("counts {count}"), |alert: &HostAlert| alert.spec.count == count).await
}

#[tokio::test]
async fn a_kill_between_reading_and_acceptance_loses_nothing_and_counts_nothing_twice() {
    let mut world = watching().await;
    world.alert("cmp-1");
    world.alert("cmp-1");
    wait_for_count(&world, 2).await;
    world.plane.svc("kill", "kube-apiserver");
    world.alert("cmp-1");
    world.wait_for_log("sentinel-cmp-1", "the alert file keeps what is not told yet").await;
    world.kill_sentinel("cmp-1");
    world.alert("cmp-1");
    world.start_sentinel("cmp-1");
    world.plane.svc("start", "kube-apiserver");
    wait_for_count(&world, 4).await;
    // What follows is counted behind it, so that nothing comes twice after all.
    world.alert("cmp-1");
    wait_for_count(&world, 5).await;
    // And once more with everything accepted.
    world.kill_sentinel("cmp-1");
    world.alert("cmp-1");
    world.start_sentinel("cmp-1");
    wait_for_count(&world, 6).await;
}

#[tokio::test]
async fn a_file_that_is_renamed_and_made_anew_is_read_to_its_end_and_from_its_beginning() {
    let world = watching().await;
    assert!(!world.eve("cmp-1").exists(), "it waits for a file that is not there yet");
    world.alert("cmp-1");
    let alert = wait_for_count(&world, 1).await.spec;
    assert_eq!((alert.severity, alert.flow, alert.subject.as_str(), alert.rule_id.as_str()), (Severity::High, Flow::Established, "192.0.2.66", "1:9000001"));
    let old = world.eve("cmp-1").with_extension("json.1");
    fs::rename(world.eve("cmp-1"), &old).unwrap();
    // Suricata writes on into the renamed file until it is told to reopen.
    let late = AlertLine::at(Clock::system().now()).text();
    fs::OpenOptions::new().append(true).open(&old).unwrap().write_all(late.as_bytes()).unwrap();
    wait_for_count(&world, 2).await;
    world.alert("cmp-1");
    wait_for_count(&world, 3).await;
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_told_and_the_next_one_is_read() {
    let world = watching().await;
    world.append("cmp-1", "{\"timestamp\": broken\n\u{0}\u{1}\n");
    world.alert("cmp-1");
    wait_for_count(&world, 1).await;
    let line = world.wait_for_log("sentinel-cmp-1", "were skipped").await;
    assert!(line.contains("no readable JSON object") && line.contains("records=2"), "{line}");
}

#[tokio::test]
async fn each_attacker_is_a_series_of_its_own_and_a_weak_alert_triggers_nothing() {
    let world = World::start(Setup::simulated(Vec::new()).await.sentinel_on("cmp-1")).await;
    let weak = AlertLine { priority: 3, source: "192.0.2.1", ..AlertLine::at(Clock::system().now()) };
    world.append("cmp-1", &weak.text());
    let decided = |alert: &HostAlert| alert.status.as_ref().is_some_and(|status| status.decision.is_some());
    let alert = world.wait_for("cmp-1-00", "is decided on", decided).await;
    assert_eq!(alert.status.unwrap().decision, Some(Decision::NoPolicy));
    world.alert("cmp-1");
    let alert = world.wait_for("cmp-1-01", "is decided on", decided).await;
    assert_eq!((alert.spec.subject.as_str(), alert.status.unwrap().decision), ("192.0.2.66", Some(Decision::Quarantined)));
    let third = AlertLine { source: "192.0.2.77", ..AlertLine::at(Clock::system().now()) };
    world.append("cmp-1", &third.text());
    let alert = world.wait_for("cmp-1-02", "is decided on", decided).await;
    assert_eq!(alert.status.unwrap().decision, Some(Decision::AlreadyQuarantined));
}

#[tokio::test]
async fn a_backlog_that_is_older_than_the_policy_allows_triggers_nothing() {
    let mut world = World::start(Setup::simulated(Vec::new()).await.sentinel_on("cmp-1")).await;
    world.append("cmp-1", &AlertLine { priority: 3, source: "192.0.2.1", ..AlertLine::at(Clock::system().now()) }.text());
    wait_for_count(&world, 1).await;
    let checkpoint = world.state("cmp-1").join("checkpoint.json");
    world.until("the position is saved", async || checkpoint.exists().then_some(()).ok_or_else(|| "no checkpoint".to_owned())).await;
    world.kill_sentinel("cmp-1");
    let old = Clock::system().now().checked_sub(SignedDuration::from_mins(20)).unwrap();
    world.append("cmp-1", &AlertLine::at(old).text());
    world.start_sentinel("cmp-1");
    let decided = |alert: &HostAlert| alert.status.as_ref().is_some_and(|status| status.decision.is_some());
    let status = world.wait_for("cmp-1-01", "is decided on", decided).await.status.unwrap();
    assert_eq!(status.decision, Some(Decision::Stale), "{:?}", status.message);
    assert!(world.all::<HostQuarantine>().await.is_empty());
}
