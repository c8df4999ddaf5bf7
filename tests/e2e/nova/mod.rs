//! What only real servers can show: a real Nova, a real API server and a real Suricata. All tests of this module share one Nova, one after the other.

mod crashes;
mod drain;
mod failures;
mod outages;
mod people;
mod situations;

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use sidestep::api::condition::{Kind, find};
use sidestep::api::quarantine::{Phase, TimelineEvent};
use sidestep::api::run::Outcome;
use sidestep::api::{HostQuarantine, MigrationRun};
use sidestep::inventory::{RowStatus, ServerId, ServiceStatus};

use super::contract::{self, Lab};
use super::support::cloud::Cloud;
use super::support::nova::Nova;
use super::support::world::{CLOUD, Setup, World, phase_of, until};

/// How long a drain may take on a busy machine, pauses between attempts included.
const PATIENCE: Duration = Duration::from_secs(420);

#[tokio::test]
async fn the_contract_holds_on_a_real_nova() {
    let failed = contract::all_on(Lab::real(Nova::take().await).await).await;
    assert_eq!(failed, Vec::<&str>::new(), "each panic above says what was seen");
}

/// An installation on a Nova without servers, looked at as often as by default.
fn setup(nova: Nova) -> Setup {
    let mut setup = Setup::on(Cloud::Nova(nova));
    setup.spec = json!({"inventory": {"activeInterval": "1s", "idleInterval": "5s"}, "budget": {"hostsOutOfService": 3, "percentOutOfService": 100, "alertingSharePercent": 100}});
    setup
}

/// Waits until the quarantine is in this phase, as long as a real drain takes.
async fn ends(world: &World, quarantine: &str, phase: Phase) -> HostQuarantine {
    let what = format!("HostQuarantine {quarantine} is {}", phase.as_str());
    until(&what, PATIENCE, async || {
        let object = world.api::<HostQuarantine>().get(quarantine).await.map_err(|error| error.to_string())?;
        if phase_of(&object) == Some(phase) { Ok(object) } else { Err(format!("{:?}", object.status)) }
    })
    .await
}

/// The run of a server, as soon as it satisfies `test`.
async fn run_when(world: &World, server: ServerId, what: &str, test: impl Fn(&MigrationRun) -> bool) -> MigrationRun {
    until(&format!("the run of {server} {what}"), PATIENCE, async || {
        let runs = world.api::<MigrationRun>().list(&kube::api::ListParams::default()).await.map_err(|error| error.to_string())?;
        let run = runs.items.into_iter().find(|run| run.spec.server == server.to_string()).ok_or("there is none")?;
        if test(&run) { Ok(run) } else { Err(format!("{:?}", run.status)) }
    })
    .await
}

/// The outcomes of a run's attempts, in their order.
fn outcomes(run: &MigrationRun) -> Vec<Option<Outcome>> {
    run.status.iter().flat_map(|status| &status.attempts).map(|attempt| attempt.outcome).collect()
}

/// Each of these servers left `source` by one attempt, of which Nova has one row, and runs on exactly one other host, in this state.
async fn each_left_by_one_attempt(world: &World, source: &str, servers: &[ServerId], state: &str) {
    for server in servers {
        let run = run_when(world, *server, "has ended", |run| phase(run, "Succeeded")).await;
        assert_eq!(outcomes(&run), [Some(Outcome::Completed)], "{server}");
        assert_eq!(row_words(world, *server).await, ["completed"], "{server}");
        runs_elsewhere(world, source, *server, state);
    }
}

/// The hypervisors run the server on exactly one host, which is not `source`, in this state.
fn runs_elsewhere(world: &World, source: &str, server: ServerId, state: &str) {
    let guests = world.nova().guests();
    let places = guests.get(&server).map(Vec::as_slice).unwrap_or_default();
    let [(host, guest_state)] = places else { panic!("{server} runs on {places:?}") };
    assert_ne!(host, source, "{server}");
    assert_eq!(guest_state, state, "{server}");
}

/// The statuses of a server's migration rows in Nova, oldest first.
async fn row_words(world: &World, server: ServerId) -> Vec<String> {
    world.nova().rows(server).await.iter().map(|row| row.status.as_str().to_owned()).collect()
}

/// Waits until Nova copies the server.
async fn copies(world: &World, server: ServerId) {
    until(&format!("Nova copies {server}"), PATIENCE, async || {
        let rows = world.nova().rows(server).await;
        if rows.iter().any(|row| row.status == RowStatus::Running) { Ok(()) } else { Err(format!("{rows:?}")) }
    })
    .await;
}

/// Waits until Nova copies one of the servers.
async fn copies_one_of(world: &World, servers: &[ServerId]) {
    let copied = servers.iter().map(|server| Box::pin(copies(world, *server)));
    futures::future::select_all(copied).await;
}

fn phase(run: &MigrationRun, phase: &str) -> bool {
    run.status.as_ref().and_then(|status| status.phase).is_some_and(|at| at.as_str() == phase)
}

/// Makes a quarantine as a person does, in force.
async fn quarantine(world: &World, name: &str, host: &str, over: Value) {
    let mut spec = json!({"cloud": CLOUD, "host": host, "mode": "Enforce", "scope": "HostThreatened", "reason": "seen by the on-call"});
    spec.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    world.create::<HostQuarantine>(name, spec).await;
}

/// Gives the host back; then Nova shows it enabled and without a reason.
async fn release(world: &World, name: &str, host: &str) -> HostQuarantine {
    world.release_by_force(name).await;
    let released = ends(world, name, Phase::Released).await;
    let service = world.nova().service(host).await;
    assert_eq!((service.status, service.disabled_reason), (ServiceStatus::Enabled, None));
    released
}

/// Prints the figures of a story, for whoever asks with `--nocapture`: each step of the timeline in milliseconds after the first one.
fn figures(story: &str, world: &World, quarantine: &HostQuarantine) {
    let moments = moments(quarantine);
    let first = moments.iter().map(|(_, micros)| *micros).min().unwrap_or_default();
    let steps: Vec<String> = moments.iter().map(|(event, micros)| format!("{event:?} {}", (micros - first) / 1000)).collect();
    let (operator, sentinels) = world.resident_kib();
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    println!("{story}: {} (ms); resident KiB: operator {operator}, sentinels {sentinels:?}; load {}", steps.join(", "), load.trim());
}

/// The timeline in the order of its moments, in microseconds since 1970.
fn moments(quarantine: &HostQuarantine) -> Vec<(TimelineEvent, i64)> {
    let timeline = quarantine.status.iter().flat_map(|status| &status.timeline);
    timeline.map(|entry| (entry.event, entry.time.0.as_microsecond())).collect()
}

/// The message of a condition.
fn message(quarantine: &HostQuarantine, kind: Kind) -> String {
    let conditions = quarantine.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    find(conditions, kind).map(|condition| condition.message.clone()).unwrap_or_default()
}
