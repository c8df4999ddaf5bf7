//! Where moves go.

use serde_json::json;
use sidestep::api::HostQuarantine;
use sidestep::api::quarantine::Phase;
use sidestep::api::run::{Outcome, RunPhase};
use sidestep::simulator::{AggregateSettings, GroupPolicy, GroupSettings, HostSettings, ServerSettings, Settings};

use super::{many, move_by_hand, phase_of, story, wait_for_run, wanted, world_with};
use crate::support::cloud::{Cloud, Simulated, active};
use crate::support::world::{Setup, World, condition_of};

async fn simulated(settings: Settings) -> Setup {
    Setup::on(Cloud::Simulator(Simulated::start(Settings { speed: 20.0, ..settings }).await)).without_sentinels()
}

#[tokio::test]
async fn every_request_names_its_destination_and_all_are_used_alike() {
    let world = world_with(many(12), json!({})).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    let named = wanted(world.simulator());
    assert_eq!(named.len(), 12);
    for host in ["cmp-2", "cmp-3"] {
        let share = named.iter().filter(|name| name.as_deref() == Some(host)).count();
        assert_eq!(share, 6, "{named:?}");
    }
}

#[tokio::test]
async fn never_more_is_under_way_than_the_limits_allow() {
    let world = world_with(many(8), json!({"concurrency": {"perSource": 5, "perDestination": 1, "total": 10}})).await;
    world.simulator().set(json!({"max_concurrent_live_migrations": 5})).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    let mut both = wanted(world.simulator());
    both.sort();
    assert_eq!(both, [Some("cmp-2".to_owned()), Some("cmp-3".to_owned())]);
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_phase("hunch", Phase::Empty).await;
}

#[tokio::test]
async fn destination_full_hosts_and_hosts_that_the_cloud_excludes_get_nothing() {
    let small = HostSettings { memory_mb: Some(1024), ..HostSettings::default() };
    let settings = Settings {
        hosts: ["cmp-1", "cmp-2", "cmp-3", "cmp-4"].map(str::to_owned).to_vec(),
        host_settings: [("cmp-2".to_owned(), small)].into(),
        servers: many(6),
        ..Settings::default()
    };
    let spec = json!({"destinations": {"exclude": ["cmp-4"]}});
    let world = World::start(Setup { spec, ..simulated(settings).await }).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    let named = wanted(world.simulator());
    assert!(named.iter().all(|host| host.as_deref() == Some("cmp-3")), "most is free there until the end: {named:?}");
    assert_eq!(world.simulator().servers_on("cmp-4").len(), 0);
}

#[tokio::test]
async fn aggregates_and_traits_choose_the_destinations_and_pool_hosts_are_none() {
    let trusted = HostSettings { traits: vec!["CUSTOM_TRUSTED".into()], ..HostSettings::default() };
    let hosts: Vec<String> = (1..=5).map(|n| format!("cmp-{n}")).collect();
    let of = |hosts: &[&str]| AggregateSettings { hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), ..AggregateSettings::default() };
    let settings = Settings {
        hosts,
        host_settings: ["cmp-3", "cmp-4", "cmp-5"].map(|host| (host.to_owned(), trusted.clone())).into(),
        aggregates: [("ssd".to_owned(), of(&["cmp-2", "cmp-3", "cmp-4"])), ("suspects".to_owned(), of(&["cmp-4"]))].into(),
        servers: many(3),
        ..Settings::default()
    };
    let spec = json!({"destinations": {"aggregates": ["ssd"], "requiredTraits": ["CUSTOM_TRUSTED"], "pool": "suspects"}});
    let world = World::start(Setup { spec, ..simulated(settings).await }).await;
    let mut runs = Vec::new();
    for (n, server) in world.simulator().servers_on("cmp-1").into_iter().enumerate() {
        let name = format!("run-{n}");
        move_by_hand(&world, &name, server, json!({})).await;
        runs.push(name);
    }
    for name in runs {
        wait_for_run(&world, &name, RunPhase::Succeeded).await;
    }
    assert_eq!(wanted(world.simulator()), vec![Some("cmp-3".to_owned()); 3]);
}

#[tokio::test]
async fn a_destination_that_refuses_costs_no_attempt_and_another_is_asked() {
    let world = world_with(many(1), json!({})).await;
    let server = world.simulator().servers_on("cmp-1")[0];
    world.simulator().knobs(&server.to_string(), Some(r#"{"fail": "check_destination", "fail_host": "cmp-2", "reason": "Unacceptable CPU info"}"#));
    move_by_hand(&world, "picky", server, json!({"maxAttempts": 1})).await;
    // Which of two equally free hosts is asked first is drawn: ask until it was the one that refuses.
    let run = wait_for_run(&world, "picky", RunPhase::Succeeded).await;
    assert_eq!(run.status.as_ref().unwrap().destination_host.as_deref(), Some("cmp-3"));
    let mut steps = story(&run);
    let last = steps.pop().unwrap();
    assert_eq!(last, (Some(Outcome::Completed), Some("cmp-3".to_owned())));
    for step in steps {
        assert_eq!(step, (Some(Outcome::DestinationRefused), Some("cmp-2".to_owned())));
    }
    assert!(run.status.unwrap().attempts.iter().all(|attempt| attempt.number == 1));
}

#[tokio::test]
async fn a_server_that_every_destination_refuses_is_asked_for_once_without_a_host_and_then_given_up() {
    let world = world_with(many(1), json!({})).await;
    let server = world.simulator().servers_on("cmp-1")[0];
    world.simulator().knobs(&server.to_string(), Some(r#"{"fail": "check_source", "reason": "Unacceptable CPU info"}"#));
    move_by_hand(&world, "hopeless", server, json!({"maxAttempts": 1})).await;
    let run = wait_for_run(&world, "hopeless", RunPhase::Failed).await;
    let named = wanted(world.simulator());
    assert!(named.contains(&None), "{named:?}");
    let steps = story(&run);
    let refusals = steps.iter().filter(|(outcome, _)| *outcome == Some(Outcome::DestinationRefused)).count();
    assert!((3..=5).contains(&refusals) && steps.last().unwrap().0 == Some(Outcome::Error), "{steps:?}");
    let verdict = condition_of(&run, "Succeeded").unwrap();
    assert!(verdict.reason == "AttemptsExhausted" && verdict.message.contains("Unacceptable CPU info"), "{verdict:?}");
    assert!(world.simulator().host_of(server).as_deref() == Some("cmp-1"));
}

#[tokio::test]
async fn mid_flight_what_is_queued_to_a_host_that_is_taken_out_of_service_is_withdrawn_and_goes_elsewhere() {
    let world = world_with(many(2), json!({})).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world
        .until("one copies and one is queued", async || {
            world.simulator().rows_in("running", 1)?;
            world.simulator().rows_in("queued", 1)
        })
        .await;
    let (queued, to) = world.simulator().cloud(|cloud| {
        let row = cloud.migrations().find(|row| row.status == Some("queued")).unwrap();
        (row.server, row.destination.clone().unwrap())
    });
    world.simulator().disable(&to, "disk swap").await;
    let other = if to == "cmp-2" { "cmp-3" } else { "cmp-2" };
    let run = world.wait_for_run_of("hunch", queued, "is asked for again", |run| run.status.as_ref().is_some_and(|status| status.attempts.len() == 2)).await;
    assert_eq!(story(&run)[0], (Some(Outcome::Withdrawn), Some(to.clone())));
    assert_eq!(story(&run)[1].1.as_deref(), Some(other));
    // The copy that runs there goes on, wherever it goes.
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_phase("hunch", Phase::Empty).await;
    assert_eq!(world.simulator().host_of(queued).as_deref(), Some(other));
}

#[tokio::test]
async fn a_server_without_a_destination_says_so_before_any_request_and_goes_when_there_is_one() {
    let servers =
        vec![ServerSettings { group: Some("apart".into()), ..active("a", "cmp-1") }, ServerSettings { group: Some("apart".into()), ..active("b", "cmp-2") }];
    let settings = Settings {
        hosts: ["cmp-1", "cmp-2"].map(str::to_owned).to_vec(),
        server_groups: [("apart".to_owned(), GroupSettings { policy: GroupPolicy::AntiAffinity })].into(),
        servers,
        ..Settings::default()
    };
    let world = World::start(simulated(settings).await).await;
    let server = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "alone", server, json!({})).await;
    let waits = |run: &sidestep::api::MigrationRun| condition_of(run, "Succeeded").is_some_and(|condition| condition.reason == "NoDestination");
    let run = world.wait_for("alone", "has no destination", waits).await;
    assert!(condition_of(&run, "Succeeded").unwrap().message.contains("server group apart"), "{run:?}");
    assert_eq!(world.simulator().moves_asked(0), Ok(()));
    let neighbour = world.simulator().servers_on("cmp-2")[0];
    world.simulator().cloud(|cloud| cloud.delete_server(neighbour)).unwrap();
    wait_for_run(&world, "alone", RunPhase::Succeeded).await;
}

#[tokio::test]
async fn destination_a_quarantined_host_is_none_before_nova_shows_it_disabled() {
    let world = world_with(many(1), json!({})).await;
    // The cordon of cmp-2 is refused, so that only Sidestep knows of it.
    world.simulator().fault(r#"{"method": "PUT", "path": "/os-services/", "answer": "503", "seconds": 600}"#);
    world.quarantine_by_hand("other", "cmp-2", "Enforce").await;
    world.wait_for_condition::<HostQuarantine>("other", "Accepted", "True").await;
    let server = world.simulator().servers_on("cmp-1")[0];
    move_by_hand(&world, "away", server, json!({})).await;
    let run = wait_for_run(&world, "away", RunPhase::Succeeded).await;
    assert_eq!(phase_of(&run), Some(RunPhase::Succeeded));
    assert_eq!(wanted(world.simulator()), [Some("cmp-3".to_owned())]);
}
