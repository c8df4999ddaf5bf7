//! Runs that a person deleted: they are noted in the incident's status before the objects go, so that no look at the host makes them again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

use super::decide::Draft;
use super::drain::{RunFacts, RunState};
use crate::api::quarantine::DeletedRun;
use crate::api::{HostQuarantine, HostQuarantineStatus, MigrationRun};
use crate::inventory::ServerId;

/// The most deleted runs that status lists. One more is not noted, and its object stays.
pub const DELETED_RUNS_KEPT: usize = 256;

impl Draft<'_> {
    /// Notes the runs of this incident that a person has deleted; of each server the latest.
    pub(super) fn note_deleted_runs(&mut self) {
        let known = &mut self.next.status.deleted_runs;
        for run in self.seen.runs.iter().filter(|run| run.state == RunState::Deleted && run.ordinal > 0) {
            let note = DeletedRun {
                server: run.server.to_string(),
                ordinal: run.ordinal,
                plan: run.plan.clone(),
                created: Time(run.created),
                retry: run.retry.map(MicroTime),
            };
            let full = known.len() >= DELETED_RUNS_KEPT;
            match known.iter_mut().find(|earlier| earlier.server == note.server) {
                Some(earlier) if earlier.ordinal < note.ordinal => *earlier = note,
                Some(_) => {}
                None if full => {}
                None => known.push(note),
            }
        }
    }
}

/// Whether the incident remembers that this run was deleted: its object may go.
#[must_use]
pub fn remembers_deletion(quarantine: &HostQuarantine, run: &MigrationRun) -> bool {
    let uid = quarantine.metadata.uid.as_deref().unwrap_or_default();
    let Some((status, run)) = quarantine.status.as_ref().zip(RunFacts::of(run, uid)) else { return false };
    status.deleted_runs.iter().any(|note| note.server == run.server.to_string() && note.ordinal >= run.ordinal)
}

/// The deleted runs that are remembered and have no object any more, as the incident sees runs. `present` are those that have one.
#[must_use]
pub fn remembered(status: &HostQuarantineStatus, present: &[RunFacts]) -> Vec<RunFacts> {
    let gone = |server: ServerId, ordinal: u32| !present.iter().any(|run| run.server == server && run.ordinal == ordinal);
    let notes = status.deleted_runs.iter().filter_map(|note| Some((ServerId(note.server.parse().ok()?), note)));
    notes.filter(|(server, note)| gone(*server, note.ordinal)).map(|(server, note)| facts(server, note)).collect()
}

fn facts(server: ServerId, note: &DeletedRun) -> RunFacts {
    RunFacts {
        server,
        ordinal: note.ordinal,
        state: RunState::Deleted,
        transferred_bytes: None,
        first_intent: None,
        plan: note.plan.clone(),
        created: note.created.0,
        retry: note.retry.as_ref().map(|retry| retry.0),
        rows: Vec::new(),
        tried_as: None,
        wait: None,
    }
}
