//! Sentinels and sensors that fall silent: what the operator hears, what it makes of it, and what it keeps quiet about.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use serde_json::json;
use sidestep::api::alert::Decision;
use sidestep::api::report::SensorHealth;
use sidestep::api::units::Severity;
use sidestep::api::{HostAlert, HostReport, OpenStackCloud};
use sidestep::clock::Clock;

use super::support::control_plane::SENTINELS;
use super::support::world::{CLOUD, Setup, World, condition_of, decision_of};

/// Sentinels that renew every second, and an operator that takes them for silent after 8 s.
async fn listening() -> Setup {
    let mut setup = Setup::simulated(Vec::new()).await;
    setup.operator = vec!["--silent-after", "8s"];
    setup.sentinel = vec!["--heartbeat-interval", "1s"];
    setup.policy = json!({"match": {"engines": ["sidestep"]}});
    setup
}

/// The same with sentinels that take a sensor for dead after 2 s.
async fn impatient() -> Setup {
    let mut setup = listening().await;
    setup.sentinel.extend(["--sensor-patience", "2s"]);
    setup
}

async fn wait_for_silence(world: &World, node: &str, status: &str) -> HostReport {
    let is = |report: &HostReport| condition_of(report, "SensorSilent").is_some_and(|silent| silent.status == status);
    world.wait_for(node, &format!("has SensorSilent {status}"), is).await
}

async fn wait_for_silent_hosts(world: &World, count: u32) {
    let counts = |cloud: &OpenStackCloud| cloud.status.as_ref().and_then(|status| status.hosts).is_some_and(|hosts| hosts.silent == count);
    world.wait_for(CLOUD, &format!("counts {count} silent hosts"), counts).await;
}

async fn wait_for_health(world: &World, node: &str, health: SensorHealth) -> HostReport {
    let is = |report: &HostReport| report.spec.sensors.first().is_some_and(|sensor| sensor.health == health);
    world.wait_for(node, &format!("has a sensor that is {}", health.as_str()), is).await
}

/// A sensor that is quiet: a process that has the alert file open for writing, and writes nothing. It ends with the test.
struct QuietSensor(Child);

impl QuietSensor {
    fn on(world: &World, node: &str) -> Self {
        let file = File::options().create(true).append(true).open(world.eve(node)).unwrap();
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(file).spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for QuietSensor {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn a_sentinel_that_is_killed_is_an_alert_that_policies_can_name() {
    let mut world = World::start(listening().await).await;
    let report = wait_for_silence(&world, "cmp-1", "False").await;
    assert_eq!(report.status.as_ref().map(|status| (status.cloud.as_deref(), status.host.as_deref())), Some((Some(CLOUD), Some("cmp-1"))));
    world.kill_sentinel("cmp-1");
    let report = wait_for_silence(&world, "cmp-1", "True").await;
    assert_eq!(condition_of(&report, "SensorSilent").unwrap().reason, "SentinelSilent");
    wait_for_silent_hosts(&world, 1).await;
    let decided = |alert: &HostAlert| decision_of(alert).is_some();
    let alert = world.wait_for("cmp-1-silent", "is decided on", decided).await.spec;
    assert_eq!((alert.engine.as_str(), alert.rule_id.as_str(), alert.severity, alert.count), ("sidestep", "SensorSilent", Severity::High, 1));
    world.wait_for_event("cmp-1", "SentinelSilent").await;

    // A restart of the operator makes no second alert of the same silence.
    world.kill_operator();
    world.start_operator(&["--silent-after", "8s"]);
    world.start_sentinel("cmp-1");
    wait_for_silence(&world, "cmp-1", "False").await;
    wait_for_silent_hosts(&world, 0).await;
    assert_eq!(world.get::<HostAlert>("cmp-1-silent").await.spec.count, 1);
    // The next one counts on.
    world.kill_sentinel("cmp-1");
    world.wait_for("cmp-1-silent", "counts 2", |alert: &HostAlert| alert.spec.count == 2).await;
}

#[tokio::test]
async fn a_policy_about_every_engine_is_not_about_silence() {
    let mut setup = listening().await.sentinel_on("cmp-1");
    setup.policy = json!({});
    let mut world = World::start(setup).await;
    wait_for_silence(&world, "cmp-1", "False").await;
    world.kill_sentinel("cmp-1");
    let decided = |alert: &HostAlert| decision_of(alert).is_some();
    let alert = world.wait_for("cmp-1-silent", "is decided on", decided).await;
    assert_eq!(decision_of(&alert), Some(Decision::NoPolicy), "{:?}", alert.status);
}

#[tokio::test]
async fn a_sentinel_that_ends_as_it_is_asked_to_is_silent_all_the_same() {
    let world = World::start(listening().await.sentinel_on("cmp-1")).await;
    wait_for_silence(&world, "cmp-1", "False").await;
    world.signal_sentinel("cmp-1", "TERM");
    world.wait_for_log("sentinel-cmp-1", "Stopped").await;
    assert!(Api::<Lease>::namespaced(world.client.clone(), SENTINELS).get_opt("cmp-1").await.unwrap().is_some(), "it gives nothing back");
    wait_for_silence(&world, "cmp-1", "True").await;
}

#[tokio::test]
async fn the_sensor_is_dead_the_sentinel_is_not() {
    let world = World::start(impatient().await).await;
    let (mut killed, _quiet) = (QuietSensor::on(&world, "cmp-1"), QuietSensor::on(&world, "cmp-2"));
    let _third = QuietSensor::on(&world, "cmp-3");
    for node in ["cmp-1", "cmp-2", "cmp-3"] {
        wait_for_health(&world, node, SensorHealth::Healthy).await;
        wait_for_silence(&world, node, "False").await;
    }
    // (a) The process of the sensor is killed.
    killed.kill();
    let report = wait_for_health(&world, "cmp-1", SensorHealth::Dead).await;
    assert!(report.spec.sensors[0].message.contains("no process has the alert file open"), "{:?}", report.spec.sensors);
    let report = wait_for_silence(&world, "cmp-1", "True").await;
    let silent = condition_of(&report, "SensorSilent").unwrap();
    assert_eq!(silent.reason, "SensorDead");
    assert!(silent.message.contains("no process has the alert file open"), "{}", silent.message);
    world.wait_for("cmp-1-silent", "is decided on", |alert: &HostAlert| decision_of(alert).is_some()).await;
    // (c) Quiet, living sensors are not reported dead.
    for node in ["cmp-2", "cmp-3"] {
        wait_for_health(&world, node, SensorHealth::Healthy).await;
        wait_for_silence(&world, node, "False").await;
    }
    let _restarted = QuietSensor::on(&world, "cmp-1");
    wait_for_health(&world, "cmp-1", SensorHealth::Healthy).await;
    wait_for_silence(&world, "cmp-1", "False").await;
}

#[tokio::test]
async fn an_alert_file_of_0_bytes_for_a_day_is_a_dead_sensor() {
    let world = World::start(impatient().await.sentinel_on("cmp-1")).await;
    // (b)
    let file = File::create(world.eve("cmp-1")).unwrap();
    file.set_modified(Clock::system().now().checked_sub(SignedDuration::from_hours(24)).unwrap().into()).unwrap();
    drop(file);
    // Where the sentinel sees every process of the host, it also knows that none has the file open.
    let message = wait_for_health(&world, "cmp-1", SensorHealth::Dead).await.spec.sensors[0].message.clone();
    assert!(message.contains("empty for a day") || message.contains("no process has the alert file open"), "{message}");
    let silent = wait_for_silence(&world, "cmp-1", "True").await;
    assert_eq!(condition_of(&silent, "SensorSilent").unwrap().reason, "SensorDead");
    world.wait_for("cmp-1-silent", "exists", |alert: &HostAlert| alert.spec.engine == "sidestep").await;
}

#[tokio::test]
async fn an_api_server_that_is_away_makes_nobody_silent() {
    let mut world = World::start(listening().await).await;
    let nodes = ["cmp-1", "cmp-2", "cmp-3"];
    for node in nodes {
        wait_for_silence(&world, node, "False").await;
    }
    world.plane.svc("kill", "kube-apiserver");
    world.wait_for_log("operator", "Leases cannot be read").await;
    let (clock, since) = (Clock::system(), Clock::system().monotonic());
    world
        .until("more time has passed than makes a sentinel silent", async || {
            let passed = clock.monotonic().saturating_sub(since);
            if passed > Duration::from_secs(10) { Ok(()) } else { Err(format!("{passed:?}")) }
        })
        .await;
    world.plane.svc("start", "kube-apiserver");
    world.wait_for_log("operator", "Leases can be read again").await;
    // As a second silence would be seen: one of them falls silent now, and it alone.
    world.kill_sentinel("cmp-3");
    wait_for_silence(&world, "cmp-3", "True").await;
    for node in ["cmp-1", "cmp-2"] {
        wait_for_silence(&world, node, "False").await;
        let events = world.events_about(node).await;
        assert!(events.is_empty(), "{events:#?}");
    }
    let events = world.events_about(CLOUD).await;
    assert!(!events.iter().any(|event| event.starts_with("Sentinels")), "{events:#?}");
    let alerts = world.all::<HostAlert>().await;
    assert_eq!(alerts.iter().map(|alert| alert.spec.node.as_str()).collect::<Vec<_>>(), ["cmp-3"]);
}

#[tokio::test]
async fn what_is_left_of_a_node_that_is_gone_for_good_is_deleted() {
    let mut setup = listening().await;
    setup.operator = vec!["--silent-after", "4s", "--forget-after", "8s"];
    setup.sentinels = vec!["cmp-1".to_owned(), "removed".to_owned()];
    let mut world = World::start(setup).await;
    world.alert("removed");
    world.wait_for("removed-00", "is decided on", |alert: &HostAlert| decision_of(alert) == Some(Decision::Unmapped)).await;
    let mapped = condition_of(&world.wait_for("removed", "is judged", |report: &HostReport| condition_of(report, "Mapped").is_some()).await, "Mapped").unwrap();
    assert_eq!((mapped.status.as_str(), mapped.reason.as_str()), ("False", "Unmapped"));
    world.kill_sentinel("cmp-1");
    world.kill_sentinel("removed");
    world.wait_until_gone::<HostReport>("removed").await;
    world.wait_until_gone::<HostAlert>("removed-00").await;
    let leases = Api::<Lease>::namespaced(world.client.clone(), SENTINELS);
    world.until("its Lease is gone", async || leases.get_opt("removed").await.unwrap().map_or(Ok(()), |lease| Err(format!("{lease:?}")))).await;
    // A host that Nova still has is silent, not gone.
    assert!(world.api::<HostReport>().get_opt("cmp-1").await.unwrap().is_some());
}

#[tokio::test]
async fn a_report_tells_the_boot_and_the_clock_of_its_node() {
    let world = World::start(listening().await.sentinel_on("cmp-1")).await;
    let report = world.wait_for("cmp-1", "has a measured clock", |report: &HostReport| report.spec.clock.is_some()).await.spec;
    assert_eq!((report.node.as_str(), report.version.as_str()), ("cmp-1", env!("CARGO_PKG_VERSION")));
    assert_eq!(report.boot_id, std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|id| id.trim().to_owned()));
    // The same machine, so the truth is known.
    let clock = report.clock.unwrap();
    assert!(clock.offset_millis.abs() <= clock.bound_millis, "{clock:?}");
    let sensor = &report.sensors[0];
    assert_eq!((sensor.engine.as_str(), sensor.path.as_str()), ("suricata", world.eve("cmp-1").to_str().unwrap()));
}
