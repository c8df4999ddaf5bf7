//! From an alert line to an empty host and back: the main job, on the simulator.

use sidestep::api::alert::Decision;
use sidestep::api::quarantine::{Phase, ResidentReason, TimelineEvent};
use sidestep::api::run::RunPhase;
use sidestep::api::units::{Bound, ClockName, Witness};
use sidestep::api::{HostAlert, HostQuarantine, MigrationRun};
use sidestep::simulator::VmState;

use super::support::cloud::{active, four_servers, server};
use super::support::world::{World, millis_between, moment_of};

const STEPS: [(TimelineEvent, ClockName); 9] = [
    (TimelineEvent::AlertWritten, ClockName::Node),
    (TimelineEvent::AlertRead, ClockName::Node),
    (TimelineEvent::AlertReceived, ClockName::Operator),
    (TimelineEvent::Decided, ClockName::Operator),
    (TimelineEvent::CordonRequested, ClockName::Operator),
    (TimelineEvent::CordonVerified, ClockName::Operator),
    (TimelineEvent::Planned, ClockName::Operator),
    (TimelineEvent::FirstMigrationRequested, ClockName::Operator),
    (TimelineEvent::Empty, ClockName::Operator),
];

#[tokio::test]
async fn one_alert_line_empties_the_host_and_release_gives_it_back() {
    let world = World::on_simulator(four_servers()).await;
    // One is slow enough that Sidestep sees a sample of Nova's counters: it asks for them every 5 s.
    let slow = world.simulator().servers_on("cmp-1")[0];
    world.simulator().knobs(&slow.to_string(), Some(r#"{"bandwidth": 4, "dirty_rate": 0}"#));
    world.alert("cmp-1");
    let quarantine = world.wait_for_phase_of("cmp-1", Phase::Empty).await;
    let name = quarantine.metadata.name.clone().unwrap();

    assert!(world.simulator().servers_on("cmp-1").is_empty());
    assert_eq!(world.simulator().cloud(|cloud| cloud.servers().count()), 4);
    let (enabled, reason) = world.simulator().service("cmp-1");
    assert!(!enabled && reason.unwrap().starts_with(&format!("sidestep/{} before=enabled: suricata 1:9000001", quarantine.metadata.uid.as_ref().unwrap())));
    let alert = world.get::<HostAlert>("cmp-1-00").await;
    assert_eq!(alert.status.unwrap().decision, Some(Decision::Quarantined));

    timeline_is_whole(&quarantine);
    let runs = world.runs_of(&name).await;
    assert_eq!(runs.len(), 4);
    runs.iter().for_each(figures_have_their_witness_and_bound);
    let measured = quarantine.status.unwrap().measured.unwrap();
    assert!(measured.duration_seconds.unwrap() > 0 && measured.transferred_bytes.unwrap() > 0);

    people_see_it(&world, &name).await;
    world.release(&name).await;
    let released = world.wait_for_phase(&name, Phase::Released).await;
    assert!(moment_of(&released, TimelineEvent::Released).is_some());
    assert_eq!(world.simulator().service("cmp-1"), (true, None));
    assert!(world.simulator().servers_on("cmp-1").is_empty(), "nothing moves back");
}

fn timeline_is_whole(quarantine: &HostQuarantine) {
    let timeline = &quarantine.status.as_ref().unwrap().timeline;
    let steps: Vec<_> = timeline.iter().map(|entry| (entry.event, entry.clock)).collect();
    assert_eq!(steps, STEPS);
    // One machine, one clock: here even moments of different clocks are in order.
    assert!(timeline.is_sorted_by_key(|entry| entry.time.0), "{timeline:?}");
    let since = |event| millis_between(quarantine, TimelineEvent::AlertWritten, event);
    let [cordon, post, empty] = [TimelineEvent::CordonRequested, TimelineEvent::FirstMigrationRequested, TimelineEvent::Empty].map(since);
    eprintln!("alert written -> cordon requested {cordon} ms, -> first migration requested {post} ms, -> empty {empty} ms");
}

fn figures_have_their_witness_and_bound(run: &MigrationRun) {
    let status = run.status.as_ref().unwrap();
    assert_eq!((status.phase, status.attempts.len()), (Some(RunPhase::Succeeded), 1));
    let measured = status.measured.as_ref().unwrap();
    // What falls between two looks is absent, and never 0.
    let memory = measured.transferred_bytes.map(|bytes| bytes.memory.unwrap());
    assert!(measured.duration_millis.unwrap() >= measured.queued_millis.unwrap_or_default() && memory != Some(0), "{measured:?}");
    let figures = [
        ("durationMillis", true, Bound::AtMost),
        ("queuedMillis", measured.queued_millis.is_some(), Bound::AtMost),
        ("transferredBytes", memory.is_some(), Bound::AtLeast),
    ];
    for (figure, is_there, bound) in figures {
        let expected = is_there.then_some((&Witness::Nova, &bound));
        assert_eq!(measured.witnesses.get(figure).zip(measured.bounds.get(figure)), expected, "{figure}");
    }
    // Nobody measured it.
    let text = serde_json::to_string(status).unwrap();
    assert!(!text.contains("owntime") && !text.contains("\"disk\""), "{text}");
}

async fn people_see_it(world: &World, quarantine: &str) {
    let kubectl = world.plane.kubectl();
    let row = kubectl.run(&["get", "hq", quarantine, "--no-headers"]).ok();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[1..6], ["cmp-1", "Empty", "Empty", "4", "0"], "{row}");
    let table = kubectl.run(&["get", "mrun", "--no-headers"]).ok();
    assert_eq!(table.lines().filter(|row| row.contains("Succeeded")).count(), 4, "{table}");
    world.wait_for_event("cmp-1-00", "Quarantined").await;
    for phase in ["Cordoning", "Draining", "Empty"] {
        world.wait_for_event(quarantine, phase).await;
    }
}

#[tokio::test]
async fn a_server_in_rescue_blocks_the_drain_until_it_is_gone() {
    let world = World::on_simulator(vec![active("a", "cmp-1"), server("off", "cmp-1", VmState::Rescued)]).await;
    world.alert("cmp-1");
    let blocked = world.wait_for_phase_of("cmp-1", Phase::Blocked).await;
    let name = blocked.metadata.name.clone().unwrap();
    let residents = &blocked.status.as_ref().unwrap().residents;
    assert_eq!(residents.len(), 1);
    assert_eq!((residents[0].name.as_str(), residents[0].reason), ("off", ResidentReason::StateNotMovable));
    assert!(residents[0].message.contains("RESCUE"), "{residents:?}");
    let off = residents[0].server.parse().unwrap();
    assert_eq!(world.simulator().servers_on("cmp-1"), [off]);

    world.simulator().cloud(|cloud| cloud.delete_server(off)).unwrap();
    let empty = world.wait_for_phase(&name, Phase::Empty).await;
    assert!(empty.status.unwrap().residents.is_empty());
}

#[tokio::test]
async fn a_server_that_arrives_late_moves_too() {
    let world = World::on_simulator(vec![active("a", "cmp-1")]).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.alert("cmp-1");
    let quarantine = world.wait_for_phase_of("cmp-1", Phase::Draining).await;
    let name = quarantine.metadata.name.unwrap();
    let during = world.simulator().boot("during", "cmp-1", VmState::Active);
    world.wait_for_run_of(&name, during, "exists", |_| true).await;
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_phase(&name, Phase::Empty).await;
    assert_ne!(world.simulator().host_of(during).unwrap(), "cmp-1");

    let after = world.simulator().boot("after", "cmp-1", VmState::Active);
    world.wait_for_run_of(&name, after, "has succeeded", |run| run_phase(run) == Some(RunPhase::Succeeded)).await;
    let empty = world.wait_for_phase(&name, Phase::Empty).await;
    assert_eq!(empty.status.unwrap().progress.unwrap().migrated, 3);
    assert!(world.simulator().servers_on("cmp-1").is_empty());
}

#[tokio::test]
async fn undo_release_in_mid_drain_starts_nothing_new() {
    let world = World::on_simulator(four_servers()).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.alert("cmp-1");
    let name = world.wait_for_phase_of("cmp-1", Phase::Draining).await.metadata.name.unwrap();
    // One that copies and one that waits in Nova's queue, by the limit for a source.
    world.until("two moves are asked for", async || world.simulator().moves_asked(2)).await;
    world.release_by_force(&name).await;
    world.wait_for_phase(&name, Phase::Released).await;
    assert_eq!(world.simulator().service("cmp-1"), (true, None));
    world.simulator().knobs("host-cmp-1", None);
    let ended = world.until("every run has ended", async || all_ended(world.runs_of(&name).await)).await;

    let count = |phase| ended.iter().filter(|run| run_phase(run) == Some(phase)).count();
    // The one that copied goes on; the one that was queued is taken back.
    assert_eq!((count(RunPhase::Succeeded), count(RunPhase::Superseded)), (1, 3));
    assert_eq!(world.simulator().moves_asked(2), Ok(()));
    assert_eq!(world.simulator().servers_on("cmp-1").len(), 3);
}

fn run_phase(run: &MigrationRun) -> Option<RunPhase> {
    run.status.as_ref().and_then(|status| status.phase)
}

fn all_ended(runs: Vec<MigrationRun>) -> Result<Vec<MigrationRun>, String> {
    let ended = |run: &MigrationRun| matches!(run_phase(run), Some(RunPhase::Succeeded | RunPhase::Superseded | RunPhase::Failed));
    if !runs.is_empty() && runs.iter().all(ended) { Ok(runs) } else { Err(format!("{:?}", runs.iter().map(run_phase).collect::<Vec<_>>())) }
}

#[tokio::test]
async fn deleting_keeps_the_cordon_and_a_later_release_restores_what_was_there_first() {
    let world = World::on_simulator(four_servers()).await;
    world.alert("cmp-1");
    let first = world.wait_for_phase_of("cmp-1", Phase::Empty).await.metadata.name.unwrap();
    world.delete::<HostQuarantine>(&first).await;
    world.wait_until_gone::<HostQuarantine>(&first).await;
    let (enabled, reason) = world.simulator().service("cmp-1");
    assert!(!enabled && reason.unwrap().starts_with("sidestep/"));
    world.wait_for_event(&first, "CordonKept").await;

    let second = world.quarantine_by_hand("second", "cmp-1", "Enforce").await;
    let empty = world.wait_for_phase("second", Phase::Empty).await;
    assert!(!empty.status.unwrap().host.unwrap().disabled_before, "the mark of the first says that the host was enabled");
    assert!(world.simulator().service("cmp-1").1.unwrap().contains(&second.metadata.uid.unwrap()));
    world.release("second").await;
    world.wait_for_phase("second", Phase::Released).await;
    assert_eq!(world.simulator().service("cmp-1"), (true, None));
}

#[tokio::test]
async fn a_host_that_was_in_maintenance_before_stays_so_after_release_with_its_reason() {
    let world = World::on_simulator(four_servers()).await;
    world.simulator().disable("cmp-1", "disk swap").await;
    world.wait_for_hosts_disabled(1).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let empty = world.wait_for_phase("hunch", Phase::Empty).await;
    let before = empty.status.unwrap().host.unwrap();
    assert_eq!((before.disabled_before, before.disabled_reason_before.as_deref()), (true, Some("disk swap")));
    world.release("hunch").await;
    world.wait_for_phase("hunch", Phase::Released).await;
    assert_eq!(world.simulator().service("cmp-1"), (false, Some("disk swap".to_owned())));
}
