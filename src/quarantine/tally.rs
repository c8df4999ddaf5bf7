//! One look at the host, counted: what moves, what must be asked for, what stays.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use uuid::Uuid;

use super::drain::{LATE, Need, Rules, RunFacts, RunState, SOFT_DELETED, is_to_be_moved, need, resident};
use crate::api::quarantine::{LockedServers, Progress, Resident, ResidentReason, StoppedServers};
use crate::api::{HostQuarantineSpec, HostQuarantineStatus};
use crate::inventory::{HostView, NovaMigration, RowStatus, ServerId};

/// Nova's word for the record of a resize or cold migration that waits to be confirmed or reverted.
const FINISHED: &str = "finished";

/// How many servers of open rows are asked about in one look.
const STRAYS_ASKED: usize = 16;

/// What the latest list says about every server.
pub(super) struct Tally {
    /// For status.
    pub(super) progress: Progress,
    /// Runs that must be made: the server, and which of its runs it is.
    pub(super) new_runs: Vec<(ServerId, u32)>,
    /// What will not move by itself.
    pub(super) residents: Vec<Resident>,
    /// What waits for something that a person should know of.
    pub(super) held: Vec<Resident>,
    /// Servers that will leave or arrive by themselves, and runs whose end is not seen yet.
    pub(super) in_motion: usize,
    /// Moves that head to the host, each in words.
    pub(super) arriving: Vec<String>,
    /// Consumers of the host in Placement that nothing explains.
    pub(super) leftover: Vec<Uuid>,
}

/// The servers that a plan is made for, sorted: those that would be moved, and for which nothing is under way.
#[must_use]
pub fn passengers(spec: &HostQuarantineSpec, status: &HostQuarantineStatus, view: &HostView, runs: &[RunFacts]) -> Vec<ServerId> {
    let rules = Rules {
        closed: false,
        retried: status.retry.as_ref().map(|retry| retry.since.0),
        moves_locked: spec.migration.locked_servers == LockedServers::Migrate,
        moves_stopped: spec.migration.stopped_servers == StoppedServers::ColdMigrate,
        plans: plans(status),
        sight: None,
        late: &|_| false,
    };
    let mut servers: Vec<ServerId> = view.servers.iter().filter(|server| is_to_be_moved(server, runs, view.begun_at, &rules)).map(|server| server.id).collect();
    servers.sort_unstable();
    servers
}

/// The digests of the plans that count: the present one and those that were approved.
pub(super) fn plans(status: &HostQuarantineStatus) -> Vec<&str> {
    let present = status.plan.iter().map(|plan| plan.digest.as_str());
    present.chain(status.approved.iter().flat_map(|approved| approved.plans.iter().map(String::as_str))).collect()
}

impl Tally {
    pub(super) fn of(view: &HostView, runs: &[RunFacts], rules: &Rules<'_>) -> Self {
        let mut tally = Self {
            progress: Progress::default(),
            new_runs: Vec::new(),
            residents: Vec::new(),
            held: Vec::new(),
            in_motion: 0,
            arriving: Vec::new(),
            leftover: Vec::new(),
        };
        for server in &view.servers {
            match need(server, runs, view.begun_at, rules) {
                Need::Run(ordinal) => {
                    tally.new_runs.push((server.id, ordinal));
                    tally.progress.waiting += 1;
                }
                Need::LateRun(ordinal) => {
                    tally.new_runs.push((server.id, ordinal));
                    tally.residents.push(resident(server, ResidentReason::ArrivedAfterApproval, LATE));
                }
                Need::Waiting => tally.progress.waiting += 1,
                Need::Held(wait) => {
                    tally.progress.waiting += 1;
                    let next_attempt = wait.until.map(MicroTime);
                    tally.held.push(Resident { next_attempt, ..resident(server, wait.reason, &wait.message) });
                }
                Need::Running => tally.progress.running += 1,
                Need::Resident(reason, message) => tally.residents.push(resident(server, reason, &message)),
            }
        }
        let listed = |id: ServerId| view.server(id).is_some();
        // An overdue run, or one that has not begun when the deadline passed, is followed and waited for no longer.
        let waited_for = |run: &&RunFacts| match run.state {
            RunState::Open => true,
            RunState::Pending | RunState::Queued => !rules.closed,
            _ => false,
        };
        let unseen_end = runs.iter().filter(|run| !listed(run.server)).filter(waited_for).count();
        tally.arriving = view.migrations.iter().filter(|row| view.is_goal_of(row) && view.is_alive(row)).map(in_words).collect();
        tally.count(view, runs, unseen_end);
        let arriving = if rules.closed { 0 } else { tally.arriving.len() };
        tally.in_motion = count(&[tally.progress.waiting, tally.progress.running]) + arriving;
        tally.look_behind(view, runs);
        tally
    }

    fn count(&mut self, view: &HostView, runs: &[RunFacts], unseen_end: usize) {
        let mut servers: Vec<ServerId> = view.servers.iter().map(|server| server.id).chain(runs.iter().map(|run| run.server)).collect();
        servers.sort_unstable();
        servers.dedup();
        let progress = &mut self.progress;
        progress.running += to_u32(unseen_end);
        progress.total = to_u32(servers.len());
        progress.remaining = to_u32(view.servers.len());
        progress.migrated = to_u32(servers.iter().filter(|id| has_left(**id, runs) && view.server(**id).is_none()).count());
        progress.failed = to_u32(servers.iter().filter(|id| has_failed(**id, runs)).count());
        let away = progress.total.saturating_sub(progress.remaining);
        progress.percent = away.saturating_mul(100).checked_div(progress.total).unwrap_or(100);
    }

    /// What the list of servers does not show and lies on the host all the same; known once Placement was asked.
    fn look_behind(&mut self, view: &HostView, runs: &[RunFacts]) {
        let Some(consumers) = view.consumers.as_deref() else { return };
        for server in view.soft_deleted.iter().filter(|server| view.server(server.id).is_none()) {
            self.residents.push(resident(server, ResidentReason::SoftDeleted, SOFT_DELETED));
        }
        // Without an allocation the record is an old one that nobody closed.
        let pending = |row: &&NovaMigration| is_finished(row) && row.source_compute.as_ref() == Some(&view.host) && consumers.contains(&row.uuid);
        let ours = |row: &NovaMigration| runs.iter().any(|run| run.rows.iter().any(|id| u64::try_from(*id) == Ok(row.id)));
        for row in view.migrations.iter().filter(pending).filter(|row| !ours(row)) {
            self.residents.push(pending_resize(row));
        }
        let explained = |consumer: &Uuid| {
            let row = view.migrations.iter().any(|row| row.uuid == *consumer && (view.is_alive(row) || is_finished(row)));
            let server = ServerId(*consumer);
            let arrives = view.migrations.iter().any(|row| row.server == server && view.is_goal_of(row) && view.is_alive(row));
            row || arrives || view.server(server).is_some() || view.soft_deleted.iter().any(|deleted| deleted.id == server)
        };
        self.leftover = consumers.iter().filter(|consumer| !explained(consumer)).copied().collect();
    }
}

fn pending_resize(row: &NovaMigration) -> Resident {
    let to = row.dest_compute.as_ref().map_or("another host", |host| host.as_str());
    let message = format!(
        "it was resized or cold-migrated to {to}, and its owner has not confirmed or reverted that: its disk and an allocation (migration {}) are still here. Sidestep confirms only moves that it started: openstack server resize confirm {}",
        row.uuid, row.server
    );
    Resident { server: row.server.to_string(), name: String::new(), reason: ResidentReason::PendingResize, message, next_attempt: None }
}

/// A move that heads to the host, as a person finds it again.
fn in_words(row: &NovaMigration) -> String {
    let from = row.source_compute.as_ref().map_or("another host", |host| host.as_str());
    format!("migration {} of server {} from {from} ({} since {})", row.id, row.server, row.status.as_str(), row.created_at)
}

/// The servers that must be asked about before open rows count: those of rows that head to the host, and of rows that still hold something of it, which no list of it shows.
#[must_use]
pub fn strays(view: &HostView) -> Vec<ServerId> {
    let holds = |row: &NovaMigration| view.consumers.iter().flatten().any(|consumer| *consumer == row.uuid);
    let open = view.migrations.iter().filter(|row| row.status.is_under_way() && view.server(row.server).is_none());
    let mut strays: Vec<ServerId> = open.filter(|row| view.is_goal_of(row) || holds(row)).map(|row| row.server).collect();
    strays.sort_unstable();
    strays.dedup();
    strays.truncate(STRAYS_ASKED);
    strays
}

fn is_finished(row: &NovaMigration) -> bool {
    matches!(&row.status, RowStatus::Other(word) if word == FINISHED)
}

fn has_left(server: ServerId, runs: &[RunFacts]) -> bool {
    runs.iter().any(|run| run.server == server && matches!(run.state, RunState::Succeeded(_)))
}

/// Whether the server's latest run was given up.
fn has_failed(server: ServerId, runs: &[RunFacts]) -> bool {
    let latest = runs.iter().filter(|run| run.server == server).max_by_key(|run| run.ordinal);
    latest.is_some_and(|run| matches!(run.state, RunState::Failed(..)))
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn count(parts: &[u32]) -> usize {
    parts.iter().map(|part| usize::try_from(*part).unwrap_or(usize::MAX)).sum()
}
