//! No attempt is open: may the next one go out?

use std::time::Duration;

use jiff::Timestamp;

use super::draft::{Draft, NOT_BEGUN, host_of, later, micro};
use super::{Choice, Observation, Run, Standing, Step, kind_of_move};
use crate::api::condition::{State, shorten};
use crate::api::run::{ATTEMPTS_KEPT, Attempt, MigrationRunStatus, MoveKind, Outcome, RunPhase};
use crate::inventory::{Server, ServerStatus};
use crate::migration::{ServerSight, pause_before, used_up};

/// How long after an abort the server is looked at before the run ends: Nova 33 and 34 call it ERROR up to 2 s after their record has ended.
const SETTLING: Duration = Duration::from_secs(4);
/// The pause after a request that used up no attempt, so that other servers have their turn.
const TURN: Duration = Duration::from_secs(2);

/// Whether a request may go out by what the run itself is and has done: the server can be moved, an attempt is left, and no pause is running.
#[must_use]
pub fn is_due(run: &Run, status: &MigrationRunStatus, server: &Server, now: Timestamp) -> bool {
    let kind = kind_of_move(server).filter(|kind| *kind == MoveKind::Live || !run.is_own_node);
    let waited = Draft::new(run, status, now).next_try().is_none_or(|due| due <= now);
    kind.is_some() && waited && used_up(status) < run.max_attempts
}

impl Draft<'_> {
    pub(super) fn consider(&mut self, seen: &Observation) {
        let server = match &seen.server {
            ServerSight::Gone => return self.superseded("the server was deleted"),
            ServerSight::Elsewhere(server) => {
                let host = host_of(server);
                return self.superseded(&format!("the server is on {host}, and not by an attempt of this run"));
            }
            ServerSight::OnSource(server) if server.status.as_str() == "SOFT_DELETED" => {
                return self.superseded("the server was deleted and can still be restored (SOFT_DELETED): such a server is not moved");
            }
            ServerSight::OnSource(server) => server,
        };
        if server.status == ServerStatus::Error && server.task_state.is_none() && !self.status.attempts.is_empty() {
            // Nova can call a server ERROR a moment after its record has ended.
            return self.after_failure(server);
        }
        if seen.aborted {
            return self.settle_or_abort();
        }
        match &seen.standing {
            Standing::Over(why) => return self.superseded(why),
            Standing::Refuses(reason, why) if self.status.attempts.is_empty() => {
                return self.conclude(RunPhase::Refused, State::False, reason, why, Some(reason));
            }
            Standing::Refuses(_, why) => return self.hold(None, why, None),
            Standing::Holds { reason, message, until } => return self.hold(*reason, message, *until),
            Standing::Permits => {}
        }
        let Some(kind) = self.movable(server) else { return };
        let number = used_up(&self.status).saturating_add(1);
        if number > self.run.max_attempts {
            return self.after_failure(server);
        }
        if let Some(due) = self.next_try().filter(|due| *due > self.now) {
            self.status.next_attempt = Some(micro(due));
            self.phase(RunPhase::Waiting, &format!("attempt {number} begins after a pause"));
            return self.wake_at(due);
        }
        self.ask(number, kind, server, seen);
    }

    /// Its host cannot be looked at, and nothing was asked for yet.
    pub(super) fn unseen(&mut self, standing: &Standing) {
        match standing {
            Standing::Refuses(reason, why) => self.conclude(RunPhase::Refused, State::False, reason, why, Some(reason)),
            Standing::Holds { reason, message, until } => self.hold(*reason, message, *until),
            Standing::Permits | Standing::Over(_) => {}
        }
    }

    /// A person has ended the run: it is over once Nova had the time to call the server ERROR.
    pub(super) fn settle_or_abort(&mut self) {
        let ended = self.status.attempts.last().and_then(|attempt| attempt.ended_at.as_ref()).map(|time| later(time.0, SETTLING));
        match ended.filter(|settled| *settled > self.now) {
            Some(settled) => {
                self.phase(RunPhase::Running, "aborted; waiting a moment to see whether Nova calls the server ERROR");
                self.wake_at(settled);
            }
            None => self.aborted(),
        }
    }

    /// How the server can be moved; says why not where it cannot.
    fn movable(&mut self, server: &Server) -> Option<MoveKind> {
        let kind = kind_of_move(server);
        if kind == Some(MoveKind::Cold) && self.run.is_own_node {
            self.hold(None, "the server is a node of the cluster that Sidestep runs in and is shut off: it is not migrated cold", None);
            return None;
        }
        if kind.is_none() {
            let task = server.task_state.as_deref().unwrap_or("none");
            let message = format!(
                "the server's status is {} (task state {task}): only ACTIVE, PAUSED and SHUTOFF servers without a task are moved",
                server.status.as_str()
            );
            self.hold(None, &message, None);
        }
        kind
    }

    /// When the next request may go out, after the last one.
    pub(super) fn next_try(&self) -> Option<Timestamp> {
        let last = self.status.attempts.last()?;
        let pause = if last.outcome.is_none_or(Outcome::uses_up_an_attempt) { pause_before(used_up(&self.status).saturating_add(1)) } else { TURN };
        Some(later(last.ended_at.as_ref()?.0, pause))
    }

    fn ask(&mut self, number: u32, kind: MoveKind, server: &Server, seen: &Observation) {
        let highest = seen.rows.iter().filter(|row| row.server == self.run.server).filter_map(|row| i64::try_from(row.id).ok()).max();
        let destination = match &seen.choice {
            Choice::Host(host) => Some(host.0.clone()),
            Choice::Scheduler => None,
        };
        self.forget_old();
        self.status.destination_host.clone_from(&destination);
        self.status.attempts.push(Attempt {
            number,
            kind,
            server_status: Some(shorten(server.status.as_str().to_owned(), 64)),
            intent_at: micro(self.now),
            highest_migration_id_before: highest,
            request_id: None,
            migration_id: None,
            migration_uuid: None,
            destination,
            started_at: None,
            copying_at: None,
            abort_at: None,
            abort_reason: None,
            confirm_at: None,
            end_requests: 0,
            ended_at: None,
            outcome: None,
            message: None,
        });
        self.phase(RunPhase::Queued, NOT_BEGUN);
        self.step = Step::Ask;
    }

    /// Makes room for one more attempt: the oldest that was withdrawn goes, then the oldest that met a dependency that was down; those that count, and refusals, stay.
    fn forget_old(&mut self) {
        let oldest = |attempts: &[Attempt], outcome| attempts.iter().position(|attempt| attempt.outcome == Some(outcome));
        while self.status.attempts.len() >= ATTEMPTS_KEPT
            && let Some(oldest) = oldest(&self.status.attempts, Outcome::Withdrawn).or_else(|| oldest(&self.status.attempts, Outcome::DependencyDown))
        {
            self.status.attempts.remove(oldest);
        }
    }

    fn hold(&mut self, reason: Option<&str>, why: &str, until: Option<Timestamp>) {
        let phase = if self.status.attempts.is_empty() { RunPhase::Planned } else { RunPhase::Waiting };
        self.waits(phase, reason.unwrap_or(phase.as_str()), why);
        if let Some(due) = until {
            self.status.next_attempt = Some(micro(due));
            self.wake_at(due);
        }
    }
}
