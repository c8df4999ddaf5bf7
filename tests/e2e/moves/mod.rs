//! Moves: where each goes, how it ends, what people can do to it, and what is measured of it. On the simulator.

mod by_hand;
mod destinations;
mod endings;
mod figures;

use serde_json::{Value, json};
use sidestep::api::MigrationRun;
use sidestep::api::run::{Outcome, RunPhase};
use sidestep::simulator::ServerSettings;
use uuid::Uuid;

use super::support::cloud::{Simulated, active};
use super::support::world::{CLOUD, Setup, World};

/// So many running servers on cmp-1.
pub(crate) fn many(number: usize) -> Vec<ServerSettings> {
    (0..number).map(|n| active(&format!("vm-{n}"), "cmp-1")).collect()
}

/// A world without sentinels, with these servers, and with `spec` laid over the cloud's.
pub(crate) async fn world_with(servers: Vec<ServerSettings>, spec: Value) -> World {
    World::start(Setup { spec, ..Setup::simulated(servers).await.without_sentinels() }).await
}

/// Makes a run as a person does.
pub(crate) async fn move_by_hand(world: &World, name: &str, server: Uuid, over: Value) -> MigrationRun {
    let mut spec = json!({"cloud": CLOUD, "server": server, "sourceHost": "cmp-1"});
    for (key, value) in over.as_object().unwrap() {
        spec[key] = value.clone();
    }
    world.create(name, spec).await
}

/// Waits until a run is in this phase.
pub(crate) async fn wait_for_run(world: &World, name: &str, phase: RunPhase) -> MigrationRun {
    world.wait_for(name, &format!("is {}", phase.as_str()), |run: &MigrationRun| phase_of(run) == Some(phase)).await
}

/// The phase of a run.
pub(crate) fn phase_of(run: &MigrationRun) -> Option<RunPhase> {
    run.status.as_ref().and_then(|status| status.phase)
}

/// How the attempts of a run ended, with where they went.
pub(crate) fn story(run: &MigrationRun) -> Vec<(Option<Outcome>, Option<String>)> {
    run.status.iter().flat_map(|status| &status.attempts).map(|attempt| (attempt.outcome, attempt.destination.clone())).collect()
}

/// The hosts that Nova was asked to move servers to, in the order of the requests; none where its scheduler was to choose.
pub(crate) fn wanted(simulated: &Simulated) -> Vec<Option<String>> {
    simulated.cloud(|cloud| {
        let mut rows: Vec<_> = cloud.migrations().map(|row| (row.id, row.wanted.clone())).collect();
        rows.sort();
        rows.into_iter().map(|(_, wanted)| wanted).collect()
    })
}

/// The requests that asked for the end of a migration.
pub(crate) fn aborts(simulated: &Simulated) -> usize {
    simulated.writes().iter().filter(|request| request.method == "DELETE" && request.path.contains("/migrations/")).count()
}
