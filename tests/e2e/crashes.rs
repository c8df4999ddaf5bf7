//! The operator ends at the worst moments, the cloud loses and breaks what it can: one record per attempt, no server lost, and the drain ends.

use serde_json::json;
use sidestep::api::alert::Decision;
use sidestep::api::condition::Kind;
use sidestep::api::quarantine::{Phase, ResidentReason};
use sidestep::api::run::{Outcome, RunPhase};
use sidestep::api::{HostAlert, HostQuarantine, MigrationRun, OpenStackCloud};
use sidestep::clock::Clock;
use sidestep::simulator::VmState;
use uuid::Uuid;

use super::support::cloud::{active, four_servers};
use super::support::world::{LIMIT, Setup, World, condition_of, decision_of, until};

/// The outcomes of the attempts of a server's only run.
async fn outcomes(world: &World, quarantine: &str, server: Uuid) -> Vec<Option<Outcome>> {
    let run = world.wait_for_run_of(quarantine, server, "exists", |_| true).await;
    run.status.unwrap().attempts.iter().map(|attempt| attempt.outcome).collect()
}

/// After a drain without a failed attempt: everything has left by exactly one request and one record.
async fn each_server_left_by_one_request(world: &World, quarantine: &str, servers: &[Uuid]) {
    for server in servers {
        assert_ne!(world.simulator().host_of(*server).unwrap(), "cmp-1");
        let rows: Vec<_> = world.simulator().migrations_of(*server).iter().map(|row| row.status).collect();
        assert_eq!(rows, [Some("completed")], "records of {server}");
        assert_eq!(outcomes(world, quarantine, *server).await, [Some(Outcome::Completed)]);
    }
    assert_eq!(world.simulator().moves_asked(servers.len()), Ok(()));
}

async fn without_sentinels() -> (World, Vec<Uuid>) {
    let world = World::start(Setup::simulated(four_servers()).await.without_sentinels()).await;
    let servers = world.simulator().servers_on("cmp-1");
    (world, servers)
}

/// Takes more than 75 s: that long an attempt must be without a trace, and so long is the pause before the second.
#[tokio::test]
async fn what_left_no_trace_is_asked_for_again() {
    let mut setup = Setup::simulated(vec![active("a", "cmp-1")]).await.without_sentinels();
    setup.operator = vec!["--crash-at", "before-live-migrate"];
    let mut world = World::start(setup).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_end_of_operator().await;
    assert_eq!(world.simulator().moves_asked(0), Ok(()), "it ended between intent and request");
    // Another one's request is answered by 503: whether it was carried out, nobody knows.
    world.simulator().fault(r#"{"method": "POST", "path": "/action", "answer": "503"}"#);
    world.simulator().boot("b", "cmp-1", VmState::Active);
    world.start_operator(&[]);
    let empty = until("the host is empty", LIMIT * 3, async || {
        let quarantine = world.get::<HostQuarantine>("hunch").await;
        if quarantine.status.as_ref().and_then(|status| status.phase) == Some(Phase::Empty) { Ok(quarantine) } else { Err(format!("{quarantine:?}")) }
    });
    assert_eq!(empty.await.status.unwrap().progress.unwrap().migrated, 2);
    let mut attempts = Vec::new();
    for server in world.simulator().cloud(|cloud| cloud.servers().map(|server| server.id).collect::<Vec<_>>()) {
        assert_eq!(world.simulator().migrations_of(server).len(), 1);
        attempts.push(outcomes(&world, "hunch", server).await);
    }
    let twice = vec![Some(Outcome::NotReceived), Some(Outcome::Completed)];
    assert_eq!(attempts, [twice.clone(), twice]);
}

#[tokio::test]
async fn a_crash_after_the_request_and_before_its_answer_is_stored_asks_for_nothing_twice() {
    // One server: another's intent that was just written would have to wait a minute, as the story of requests without a trace shows.
    let mut setup = Setup::simulated(vec![active("a", "cmp-1")]).await.without_sentinels();
    setup.operator = vec!["--crash-at", "after-live-migrate"];
    let mut world = World::start(setup).await;
    let servers = world.simulator().servers_on("cmp-1");
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_end_of_operator().await;
    world.start_operator(&[]);
    world.wait_for_phase("hunch", Phase::Empty).await;
    each_server_left_by_one_request(&world, "hunch", &servers).await;
}

#[tokio::test]
async fn a_kill_in_mid_copy_asks_for_nothing_twice() {
    let (mut world, servers) = without_sentinels().await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    // As many as the limits allow: a third intent, which the kill could leave without its request, is not written before one of them has ended.
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    world.until("Nova copies", async || world.simulator().has_row("running")).await;
    world.kill_operator();
    world.start_operator(&[]);
    world.wait_for_log("operator", "Every watch has shown what is there").await;
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_phase("hunch", Phase::Empty).await;
    each_server_left_by_one_request(&world, "hunch", &servers).await;
}

#[tokio::test]
async fn moves_that_end_while_the_operator_is_away_are_found_done() {
    let (mut world, servers) = without_sentinels().await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    world.kill_operator();
    world.simulator().knobs("host-cmp-1", None);
    world.until("both have ended", async || world.simulator().rows_in("completed", 2)).await;
    world.start_operator(&[]);
    world.wait_for_phase("hunch", Phase::Empty).await;
    each_server_left_by_one_request(&world, "hunch", &servers).await;
}

#[tokio::test]
async fn a_kill_between_acceptance_and_cordon_is_made_up_for() {
    let (mut world, servers) = without_sentinels().await;
    world.simulator().fault(r#"{"method": "PUT", "path": "/os-services/", "answer": "503", "seconds": 600}"#);
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_condition::<HostQuarantine>("hunch", "Accepted", "True").await;
    world.until("the cordon was refused", async || if world.simulator().writes().is_empty() { Err("not asked for".to_owned()) } else { Ok(()) }).await;
    world.kill_operator();
    world.simulator().clear_faults();
    assert!(world.simulator().service("cmp-1").0);
    world.start_operator(&[]);
    world.wait_for_phase("hunch", Phase::Empty).await;
    each_server_left_by_one_request(&world, "hunch", &servers).await;
}

#[tokio::test]
async fn a_lost_answer_and_a_late_record_are_no_failure() {
    let (world, servers) = without_sentinels().await;
    world.simulator().fault(r#"{"method": "PUT", "path": "/os-services/", "answer": "lose_reply"}"#);
    world.simulator().fault(r#"{"method": "POST", "path": "/action", "answer": "lose_reply"}"#);
    world.simulator().knobs(&servers[0].to_string(), Some(r#"{"row_ms": 10000}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    each_server_left_by_one_request(&world, "hunch", &servers).await;
}

#[tokio::test]
async fn a_refused_request_is_tried_again_after_a_pause_and_does_not_delay_the_others() {
    let (world, servers) = without_sentinels().await;
    let refused = servers[0];
    world.simulator().fault(&format!(r#"{{"method": "POST", "path": "{refused}/action", "answer": "409"}}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    assert_eq!(outcomes(&world, "hunch", refused).await, [Some(Outcome::Refused), Some(Outcome::Completed)]);
    let number = |server: &Uuid| world.simulator().migrations_of(*server)[0].id;
    assert!(servers[1..].iter().all(|other| number(other) < number(&refused)));
}

/// Takes more than 60 s: that long a record that has just been written may be ahead of the list that it is compared with.
#[tokio::test]
async fn a_record_that_says_completed_is_not_believed_while_the_server_stands_on_the_source() {
    let (world, servers) = without_sentinels().await;
    let behind = servers[0];
    world.simulator().knobs(&behind.to_string(), Some(r#"{"fail": "stay_on_source"}"#));
    // The bound of one move, too.
    world.create::<HostQuarantine>("hunch", json!({"cloud": "lab", "host": "cmp-1", "mode": "Enforce", "scope": "HostThreatened", "deadline": "8s"})).await;
    let expected = [(behind.to_string(), ResidentReason::RecordBehindGuest)];
    until("the server is a resident for its record", LIMIT * 2, async || {
        let status = world.get::<HostQuarantine>("hunch").await.status.unwrap_or_default();
        let residents: Vec<_> = status.residents.iter().map(|resident| (resident.server.clone(), resident.reason)).collect();
        if residents == expected { Ok(()) } else { Err(format!("{:?} {residents:?}", status.phase)) }
    })
    .await;
    let run = world.wait_for_run_of("hunch", behind, "exists", |_| true).await;
    assert_eq!(run.status.as_ref().unwrap().phase, Some(RunPhase::Failed));
    let verdict = condition_of(&run, Kind::Succeeded.as_str()).unwrap();
    assert!(verdict.status == "False" && verdict.message.contains("never start it here"), "{verdict:?}");
    assert_eq!(world.simulator().migrations_of(behind).len(), 1);
}

#[tokio::test]
async fn an_attempt_that_fails_is_tried_again() {
    let (world, servers) = without_sentinels().await;
    world.simulator().knobs(&servers[0].to_string(), Some(r#"{"fail": "during", "times": 1}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    assert_eq!(outcomes(&world, "hunch", servers[0]).await, [Some(Outcome::Failed), Some(Outcome::Completed)]);
    assert_eq!(world.simulator().migrations_of(servers[0]).len(), 2);
}

#[tokio::test]
async fn capacity_a_server_that_no_host_can_take_is_a_resident_before_anything_is_asked() {
    let (world, servers) = without_sentinels().await;
    for other in ["cmp-2", "cmp-3"] {
        world.simulator().disable(other, "disk swap").await;
    }
    world.wait_for_hosts_disabled(2).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let status = world.wait_for_phase("hunch", Phase::Blocked).await.status.unwrap();
    assert_eq!(status.residents.len(), servers.len());
    assert!(status.residents.iter().all(|resident| resident.reason == ResidentReason::NoDestination), "{:?}", status.residents);
    assert_eq!(world.simulator().moves_asked(0), Ok(()));
    world.simulator().enable("cmp-2").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
}

#[tokio::test]
async fn a_server_that_an_attempt_leaves_in_error_is_a_resident_with_the_command_that_repairs_it() {
    let (world, servers) = without_sentinels().await;
    world.simulator().set(json!({"after_rollback": "error"})).await;
    world.simulator().knobs(&servers[0].to_string(), Some(r#"{"fail": "during"}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let status = world.wait_for_phase("hunch", Phase::Blocked).await.status.unwrap();
    let [resident] = status.residents.as_slice() else { panic!("{:?}", status.residents) };
    assert_eq!((resident.server.clone(), resident.reason), (servers[0].to_string(), ResidentReason::ErrorAfterAttempt));
    assert!(resident.message.contains(&format!("openstack server set --state active {}", servers[0])), "{}", resident.message);
    assert_eq!(world.simulator().migrations_of(servers[0]).len(), 1);
    // Repaired, it is tried again.
    world.simulator().knobs(&servers[0].to_string(), None);
    world.simulator().cloud(|cloud| cloud.set_state(servers[0], VmState::Active)).unwrap();
    world.wait_for_phase("hunch", Phase::Empty).await;
}

#[tokio::test]
async fn while_the_source_does_not_report_nothing_is_asked_for() {
    let (world, servers) = without_sentinels().await;
    world.simulator().cloud(|cloud| cloud.set_host_up("cmp-1", false)).unwrap();
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let waits = |run: &MigrationRun| condition_of(run, "Succeeded").is_some_and(|condition| condition.message.contains("SourceDown"));
    world.wait_for_run_of("hunch", servers[0], "waits for the source", waits).await;
    assert_eq!(world.simulator().moves_asked(0), Ok(()));
    world.simulator().cloud(|cloud| cloud.set_host_up("cmp-1", true)).unwrap();
    world.wait_for_phase("hunch", Phase::Empty).await;
    each_server_left_by_one_request(&world, "hunch", &servers).await;
}

#[tokio::test]
async fn a_cloud_that_is_away_for_60_s_in_mid_drain_uses_up_no_attempt() {
    let (world, servers) = without_sentinels().await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("Nova copies", async || world.simulator().has_row("running")).await;
    world.simulator().fault(r#"{"answer": "reset", "seconds": 60}"#);
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_log("operator", "The compute services of the cloud cannot be listed").await;
    let again = "The compute services of the cloud can be listed again";
    world.until_patiently("it can be asked again", async || if world.printed("operator").contains(again) { Ok(()) } else { Err("not yet".into()) }).await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    each_server_left_by_one_request(&world, "hunch", &servers).await;
}

#[tokio::test]
async fn a_cloud_that_is_away_until_its_view_is_stale_is_not_ready_and_nothing_is_decided_on_it() {
    let world = World::start(Setup {
        spec: json!({"inventory": {"idleInterval": "1s", "staleAfter": "2s"}}),
        ..Setup::simulated(four_servers()).await.sentinel_on("cmp-1")
    })
    .await;
    world.simulator().fault(r#"{"answer": "503", "seconds": 600}"#);
    let ready = world.wait_for_condition::<OpenStackCloud>("lab", "Ready", "False").await;
    assert!(ready.reason == "ServerError" && ready.message.contains("it is asked again"), "{ready:?}");
    world.alert("cmp-1");
    let stale = |alert: &HostAlert| decision_of(alert) == Some(Decision::Stale);
    world.wait_for("cmp-1-00", "is Stale", stale).await;
    world.simulator().clear_faults();
    // While the alert is young it is decided on anew.
    world.wait_for_phase_of("cmp-1", Phase::Empty).await;
    world.wait_for_condition::<OpenStackCloud>("lab", "Ready", "True").await;
}

#[tokio::test]
async fn an_api_server_that_is_away_for_20_s_in_mid_drain_uses_up_no_attempt() {
    let (world, servers) = without_sentinels().await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    let clock = Clock::system();
    let began = clock.now();
    world.plane.svc("kill", "kube-apiserver");
    world.simulator().knobs("host-cmp-1", None);
    world.until("both have ended", async || world.simulator().rows_in("completed", 2)).await;
    let away = || clock.now().duration_since(began).as_secs();
    world.until("the API server was away for 20 s", async || if away() >= 20 { Ok(()) } else { Err(format!("{} s", away())) }).await;
    assert_eq!(world.simulator().moves_asked(2), Ok(()), "without a written intent nothing is asked");
    world.plane.svc("start", "kube-apiserver");
    world.wait_for_phase("hunch", Phase::Empty).await;
    each_server_left_by_one_request(&world, "hunch", &servers).await;
}
