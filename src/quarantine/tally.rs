//! One look at the host, counted: what moves, what must be asked for, what stays.

use super::decide::NewRun;
use super::drain::{Need, RunFacts, RunState, need, resident};
use crate::api::quarantine::{Progress, Resident};
use crate::inventory::{HostView, NovaMigration, RowStatus, ServerId};

/// What the latest list says about every server.
pub(super) struct Tally {
    /// For status.
    pub(super) progress: Progress,
    /// Runs that must be made.
    pub(super) new_runs: Vec<NewRun>,
    /// What will not move by itself.
    pub(super) residents: Vec<Resident>,
    /// Servers that will leave or arrive by themselves, and runs whose end is not seen yet.
    pub(super) in_motion: usize,
    /// Moves that head to the host.
    pub(super) arriving: usize,
}

impl Tally {
    pub(super) fn of(view: &HostView, runs: &[RunFacts], closed: bool) -> Self {
        let mut tally = Self { progress: Progress::default(), new_runs: Vec::new(), residents: Vec::new(), in_motion: 0, arriving: 0 };
        for server in &view.servers {
            match need(server, runs, view.begun_at, closed) {
                Need::Run(ordinal) => tally.new_runs.push(NewRun { server: server.id, ordinal }),
                Need::Waiting => tally.progress.waiting += 1,
                Need::Running => tally.progress.running += 1,
                Need::Resident(reason, message) => tally.residents.push(resident(server, reason, &message)),
            }
        }
        let listed = |id: ServerId| view.servers.iter().any(|server| server.id == id);
        // An overdue run, or one that Nova has not begun with when the deadline passed, is followed and waited for no longer.
        let waited_for = |run: &&RunFacts| match run.state {
            RunState::Pending | RunState::Open => true,
            RunState::Queued => !closed,
            _ => false,
        };
        let unseen_end = runs.iter().filter(|run| !listed(run.server)).filter(waited_for).count();
        tally.arriving = view.migrations.iter().filter(|row| row.dest_compute.as_ref() == Some(&view.host) && is_under_way(row)).count();
        tally.count(view, runs, unseen_end);
        let arriving = if closed { 0 } else { tally.arriving };
        tally.in_motion = count(&[tally.progress.waiting, tally.progress.running]) + arriving;
        tally
    }

    fn count(&mut self, view: &HostView, runs: &[RunFacts], unseen_end: usize) {
        let mut servers: Vec<ServerId> = view.servers.iter().map(|server| server.id).chain(runs.iter().map(|run| run.server)).collect();
        servers.sort_unstable();
        servers.dedup();
        let progress = &mut self.progress;
        progress.waiting += to_u32(self.new_runs.len());
        progress.running += to_u32(unseen_end);
        progress.total = to_u32(servers.len());
        progress.remaining = to_u32(view.servers.len());
        progress.migrated = to_u32(servers.iter().filter(|id| has_left(**id, runs) && view.server(**id).is_none()).count());
        progress.failed = to_u32(runs.iter().filter(|run| matches!(run.state, RunState::Failed(..))).count());
        let away = progress.total.saturating_sub(progress.remaining);
        progress.percent = away.saturating_mul(100).checked_div(progress.total).unwrap_or(100);
    }
}

/// Whether a row is on its way. Rows of a cold migration that wait for their owner (`finished`) or have ended in words of their own are not.
fn is_under_way(row: &NovaMigration) -> bool {
    !row.status.is_final() && !matches!(row.status, RowStatus::Other(_))
}

fn has_left(server: ServerId, runs: &[RunFacts]) -> bool {
    runs.iter().any(|run| run.server == server && matches!(run.state, RunState::Succeeded(_)))
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn count(parts: &[u32]) -> usize {
    parts.iter().map(|part| usize::try_from(*part).unwrap_or(usize::MAX)).sum()
}
