//! The sentinel as a real process: nothing that was read is lost and nothing is counted twice.

use std::fs;
use std::io::Write as _;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::Phase;
use sidestep::api::units::{Flow, Severity};
use sidestep::api::{HostAlert, HostQuarantine};
use sidestep::clock::Clock;

use super::support::alert_line::AlertLine;
use super::support::cloud::four_servers;
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
async fn a_file_that_is_copied_and_truncated_is_read_on_from_its_beginning() {
    let mut world = watching().await;
    world.alert("cmp-1");
    world.alert("cmp-1");
    wait_for_count(&world, 2).await;
    let copy_and_truncate = |world: &World, number: usize| {
        fs::copy(world.eve("cmp-1"), world.eve("cmp-1").with_extension(format!("json.{number}"))).unwrap();
        fs::OpenOptions::new().write(true).open(world.eve("cmp-1")).unwrap().set_len(0).unwrap();
    };
    copy_and_truncate(&world, 1);
    world.alert("cmp-1");
    wait_for_count(&world, 3).await;
    // And while nobody follows: what the copy holds was counted, all that came later was not.
    world.alert("cmp-1");
    wait_for_count(&world, 4).await;
    world.kill_sentinel("cmp-1");
    world.alert("cmp-1");
    copy_and_truncate(&world, 2);
    world.alert("cmp-1");
    world.start_sentinel("cmp-1");
    wait_for_count(&world, 6).await;
}

/// A policy for sensors that cannot show a handshake: any flow, but two alerts.
fn any_flow() -> serde_json::Value {
    serde_json::json!({"evidence": {"flow": "Any"}, "threshold": {"count": 2}})
}

#[tokio::test]
async fn two_lines_of_fast_log_empty_the_host() {
    let mut setup = Setup::simulated(four_servers()).await.without_sentinels();
    setup.policy = any_flow();
    let mut world = World::start(setup).await;
    let log = world.eve("cmp-1").with_extension("fast.log");
    world.start_sentinel_with("cmp-1", &[format!("suricata_fast:{},timezone=Asia/Kolkata", log.display())]);
    let kolkata = TimeZone::get("Asia/Kolkata").unwrap();
    world.wait_for_log("sentinel-cmp-1", "reading begins").await;
    // Both in one write, as they come when a record was cut: the second is on the line of the first.
    let line = AlertLine::at(Clock::system().now()).fast(&kolkata);
    fs::write(&log, format!("{}{line}", line.trim_end())).unwrap();
    let quarantine = world.wait_for_phase_of("cmp-1", Phase::Empty).await;
    assert!(world.simulator().servers_on("cmp-1").is_empty());
    let alert = world.get::<HostAlert>("cmp-1-00").await;
    assert_eq!((alert.spec.count, alert.spec.flow, alert.spec.subject.as_str()), (2, Flow::Unknown, "192.0.2.66"));
    assert_eq!(alert.status.unwrap().quarantine, quarantine.metadata.name);
    // The stamp had no zone; read in the source's, it is of now.
    let skew = alert.spec.sensor_time.unwrap().0.duration_since(alert.spec.last_seen.0).abs();
    assert!(skew < SignedDuration::from_mins(10), "{skew}");
}

#[tokio::test]
async fn two_alert_files_are_followed_side_by_side_and_a_restart_counts_neither_twice() {
    let mut setup = Setup::simulated(Vec::new()).await.without_sentinels();
    setup.policy = serde_json::json!({"threshold": {"count": 1000}});
    let mut world = World::start(setup).await;
    let snort = world.eve("cmp-1").with_extension("alert_fast.txt");
    let sources = [format!("suricata_eve:{}", world.eve("cmp-1").display()), format!("snort3_fast:{},timezone=UTC", snort.display())];
    let append = |text: &str| fs::OpenOptions::new().create(true).append(true).open(&snort).unwrap().write_all(text.as_bytes()).unwrap();
    let line = || {
        let stamp = Clock::system().now().strftime("%m/%d-%H:%M:%S%.6f");
        format!(
            "{stamp} [drop] [**] [1:39190:5] \"two\nlines\" [**] [Classification: Misc activity] [Priority: 1] {{TCP}} 192.0.2.66:50100 -> 198.51.100.7:80\n"
        )
    };
    let wait =
        async |world: &World, slot: &str, count: i64| world.wait_for(slot, &format!("counts {count}"), |alert: &HostAlert| alert.spec.count == count).await;
    world.start_sentinel_with("cmp-1", &sources);
    world.wait_for_log("sentinel-cmp-1", "reading begins").await;
    world.alert("cmp-1");
    append(&line());
    let eve = wait(&world, "cmp-1-00", 1).await.spec;
    let fast = wait(&world, "cmp-1-01", 1).await.spec;
    assert_eq!((eve.engine.as_str(), fast.engine.as_str(), fast.action.as_deref()), ("suricata", "snort", Some("drop")));
    assert_eq!((fast.message.as_str(), fast.rule_id.as_str()), ("two\\u{a}lines", "1:39190"));
    world.kill_sentinel("cmp-1");
    world.alert("cmp-1");
    append(&line());
    append(&line());
    world.start_sentinel_with("cmp-1", &sources);
    wait(&world, "cmp-1-00", 2).await;
    wait(&world, "cmp-1-01", 3).await;
    assert_eq!(world.all::<HostAlert>().await.len(), 2);
}

#[tokio::test]
async fn a_containers_log_is_refused_with_the_remedy() {
    let world = watching().await;
    world.append("cmp-1", "2026-11-22T11:10:07.246230000Z stdout F {\"event_type\":\"alert\",\"alert\":{\"signature_id\":7}}\n");
    let line = world.wait_for_log("sentinel-cmp-1", "a container's log").await;
    assert!(line.contains("let the sensor write to a file of its own"), "{line}");
}

#[tokio::test]
async fn a_line_that_cannot_be_read_is_told_and_the_next_one_is_read() {
    let world = watching().await;
    world.append("cmp-1", "{\"timestamp\": broken\n\u{0}\u{1}\n");
    world.alert("cmp-1");
    wait_for_count(&world, 1).await;
    let line = world.wait_for_log("sentinel-cmp-1", "were skipped").await;
    assert!(line.contains("none of the format suricata_eve") && line.contains("records=2"), "{line}");
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
