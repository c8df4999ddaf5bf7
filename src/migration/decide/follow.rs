//! An attempt is open: find Nova's record of it, see how far it is, and end it where that is wished.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};

use super::draft::{Draft, NOT_BEGUN, copy_progress, host_of, later, micro, until};
use super::{Observation, Step, Wish};
use crate::api::condition::State;
use crate::api::run::{AbortReason, Attempt, FailureReason, MoveKind, Outcome, RunPhase};
use crate::inventory::{HostName, NovaMigration, RowStatus, Server, ServerStatus};
use crate::migration::{DEADLINE_EXCEEDED, ServerSight, UNRESOLVED_AFTER, find_row, has_free_probes, open_attempt, record};

/// When an abort or a confirmation that has shown no effect is asked for again; each further pause is twice as long. Nova refuses both where they have nothing to do, so that asking twice does no harm.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How often they are asked for: for well over an hour. What Nova took it does as soon as it can, and what it lost so often it loses again.
const MOST_END_REQUESTS: u32 = 10;

impl Draft<'_> {
    pub(super) fn follow(&mut self, seen: &Observation) {
        let Some(attempt) = open_attempt(&self.status).cloned() else { return };
        if seen.server == ServerSight::Gone {
            self.end_attempt(Outcome::Gone, None);
            self.superseded("the server was deleted");
            return;
        }
        let earlier = self.status.conditions.clone();
        let row = find_row(&attempt, self.run.server, &self.run.source, &seen.rows);
        match row {
            Some(row) => self.follow_row(row, seen),
            None => self.follow_without_row(&attempt, seen),
        }
        let waits_in_queue = row.is_some_and(|row| row.status == RowStatus::Queued);
        if open_attempt(&self.status).is_some() && !waits_in_queue && self.overdue() {
            self.report_overdue(earlier);
        }
    }

    /// Whatever the attempt waits for, it has had its time: it is followed on, and a person is told, which replaces what this decision has said about the wait.
    fn report_overdue(&mut self, earlier: Vec<Condition>) {
        self.status.conditions = earlier;
        let asked = match open_attempt(&self.status) {
            Some(Attempt { abort_at: Some(_), .. }) => ", though Nova was asked to abort it",
            Some(Attempt { confirm_at: Some(_), .. }) => ", though Nova was asked to confirm it (openstack server resize confirm)",
            _ => "",
        };
        let message = format!("the attempt takes longer than the deadline of {:?}{asked}; it is followed to its end and not begun again", self.run.deadline);
        self.conditions(State::Unknown, DEADLINE_EXCEEDED, &message, false, Some(DEADLINE_EXCEEDED));
        self.wake = None;
    }

    fn follow_without_row(&mut self, attempt: &Attempt, seen: &Observation) {
        let unresolved_at = later(attempt.intent_at.0, UNRESOLVED_AFTER);
        let no_trace = seen.absence.is_some_and(|absence| absence.first_begun_at >= unresolved_at);
        if !no_trace {
            self.phase(RunPhase::Queued, NOT_BEGUN);
            self.wake = Some(until(self.now, unresolved_at).max(Duration::from_secs(1)));
            return;
        }
        let message = "60 s after the request Nova showed neither record nor action nor task for it".to_owned();
        match &seen.server {
            ServerSight::Elsewhere(server) => {
                let host = host_of(server);
                self.end_attempt(Outcome::NotReceived, Some(message));
                self.superseded(&format!("the server is on {host} and Nova has no record of Sidestep's request: somebody else moved it"));
            }
            ServerSight::OnSource(server) if server.task_state.is_none() => {
                let outcome = if seen.braked && has_free_probes(&self.status) { Outcome::DependencyDown } else { Outcome::NotReceived };
                self.end_attempt(outcome, Some(message));
                self.after_failure(server);
            }
            ServerSight::OnSource(_) | ServerSight::Gone => {
                self.phase(RunPhase::Queued, "Nova works on the server; its migration record has not appeared yet");
                self.wake = Some(Duration::from_secs(1));
            }
        }
    }

    fn follow_row(&mut self, row: &NovaMigration, seen: &Observation) {
        self.adopt(row);
        // Counters are kept also when they arrive with the end of the move.
        if let Some(sample) = &seen.progress {
            self.status.measured = record::with_sample(self.status.measured.take(), sample);
        }
        let other = match &row.status {
            RowStatus::Other(word) => word.as_str(),
            _ => "",
        };
        match (&row.status, other) {
            (RowStatus::Completed, _) | (_, "confirmed") => self.completed(row, seen),
            (RowStatus::Error | RowStatus::Failed | RowStatus::Cancelled, _) | (_, "reverted") => self.unsuccessful(row, seen),
            (RowStatus::Accepted | RowStatus::Queued, _) => self.queued(row, seen),
            (_, "finished" | "confirming") if !self.is_live() => self.finished(row, seen),
            _ => self.running(row, seen),
        }
    }

    fn adopt(&mut self, row: &NovaMigration) {
        let now = micro(self.now);
        let waits_in_nova = matches!(row.status, RowStatus::Accepted | RowStatus::Queued);
        if let Some(attempt) = self.status.attempts.last_mut() {
            attempt.migration_id = i64::try_from(row.id).ok();
            attempt.migration_uuid = Some(row.uuid.to_string());
            attempt.destination = row.dest_compute.as_ref().map(|host| host.0.clone()).or(attempt.destination.take());
            self.status.destination_host.clone_from(&attempt.destination);
            if !waits_in_nova && !row.status.is_final() && attempt.copying_at.is_none() {
                attempt.copying_at = Some(now);
            }
        }
    }

    fn queued(&mut self, row: &NovaMigration, seen: &Observation) {
        let reason = match (seen.aborted || seen.wish == Wish::AbortAll, seen.wish, &seen.unfit) {
            (true, ..) => Some((AbortReason::Requested, "a person aborted it".to_owned())),
            (_, Wish::WithdrawQueued, _) => Some((AbortReason::Withdrawn, "it is held back".to_owned())),
            (_, _, Some(why)) => Some((AbortReason::Withdrawn, why.clone())),
            _ => None,
        };
        match reason {
            // Nova refuses the abort of a row that is `accepted`; a moment later it is something else. A cold migration has no queue that it could be taken from.
            Some((reason, why)) if row.status == RowStatus::Queued && self.is_live() => self.abort(row, reason, &why),
            _ => self.phase(RunPhase::Queued, NOT_BEGUN),
        }
    }

    fn is_live(&self) -> bool {
        open_attempt(&self.status).is_some_and(|attempt| attempt.kind == MoveKind::Live)
    }

    /// Asks for the end of this attempt, unless that was done a moment ago.
    fn abort(&mut self, row: &NovaMigration, reason: AbortReason, why: &str) {
        let now = micro(self.now);
        let Some(attempt) = self.status.attempts.last_mut() else { return };
        if attempt.abort_reason != Some(reason) {
            // What was asked for a lesser reason is asked for at once.
            (attempt.abort_at, attempt.end_requests) = (None, 0);
        }
        if end_is_due(attempt, attempt.abort_at.as_ref(), self.now)
            && let Ok(id) = i64::try_from(row.id)
        {
            attempt.abort_at = Some(now);
            attempt.abort_reason = Some(reason);
            attempt.end_requests += 1;
            self.step = Step::Abort(id);
        }
        let phase = if row.status == RowStatus::Queued { RunPhase::Queued } else { RunPhase::Running };
        self.waits(phase, "Aborting", &format!("Nova was asked to abort the migration: {why}"));
        self.wake = Some(Duration::from_secs(1));
    }

    /// A cold migration has reached its destination and waits for its confirmation.
    fn finished(&mut self, row: &NovaMigration, seen: &Observation) {
        let arrived = |server: &Server| {
            server.host.is_some() && server.host == row.dest_compute && server.task_state.is_none() && server.status.as_str() == "VERIFY_RESIZE"
        };
        match &seen.server {
            ServerSight::Elsewhere(server) if arrived(server) => {
                let now = micro(self.now);
                if let Some(attempt) = self.status.attempts.last_mut()
                    && end_is_due(attempt, attempt.confirm_at.as_ref(), self.now)
                {
                    attempt.confirm_at = Some(now);
                    attempt.end_requests += 1;
                    self.step = Step::Confirm;
                }
                self.phase(RunPhase::Running, &format!("seen on {}; confirming the cold migration", host_of(server)));
            }
            _ => self.moving(row),
        }
    }

    /// The record says completed (cold: confirmed): one of three witnesses.
    fn completed(&mut self, row: &NovaMigration, seen: &Observation) {
        // The row and the list are read side by side, so one look can show a move that has just ended half way.
        let settled = row.updated_at.is_none_or(|ended| later(ended, UNRESOLVED_AFTER) < self.now);
        match &seen.server {
            ServerSight::Elsewhere(server) if seen.listed_on_source == Some(false) => self.succeeded(&host_of(server)),
            ServerSight::OnSource(server) if server.task_state.is_none() && self.was_brought_back(row, seen) => {
                let to = row.dest_compute.as_ref().map_or("another host", HostName::as_str);
                self.overtaken(&format!("the server left for {to}, and was brought back since"));
            }
            ServerSight::OnSource(server) if settled && self.overdue() => {
                let message = format!(
                    "Nova's migration record says {}, but Nova shows the server on {} (task state {}). The guest may run on the destination: never start it here. Find out where it runs, then correct Nova's \
                     database record; no API call repairs this.",
                    row.status.as_str(),
                    self.run.source,
                    server.task_state.as_deref().unwrap_or("none")
                );
                self.end_attempt(Outcome::RecordBehindGuest, Some(message.clone()));
                self.failed(FailureReason::RecordBehindGuest, &message);
            }
            _ if settled => self.phase(RunPhase::Running, "Nova's record says completed; waiting until the server's host and the source's list agree"),
            ServerSight::OnSource(_) | ServerSight::Elsewhere(_) | ServerSight::Gone => self.moving(row),
        }
    }

    /// It is on its way, or was a moment ago: one sentence, so that it is written once.
    pub(super) fn moving(&mut self, row: &NovaMigration) {
        let destination = row.dest_compute.as_ref().map_or("its destination", HostName::as_str);
        self.phase(RunPhase::Running, &format!("moving to {destination}"));
    }

    fn succeeded(&mut self, host: &str) {
        self.end_attempt(Outcome::Completed, None);
        if let Some(attempt) = self.status.attempts.last() {
            self.status.measured = Some(record::sealed(self.status.measured.take(), attempt, self.now));
        }
        self.status.destination_host = Some(host.to_owned());
        self.conclude(RunPhase::Succeeded, State::True, crate::migration::LEFT_SOURCE, &format!("the server is on {host}"), None);
    }

    fn running(&mut self, row: &NovaMigration, seen: &Observation) {
        if let Some(sample) = &seen.progress {
            self.status.progress = copy_progress(sample).or(self.status.progress.take());
        }
        if let Some(host) = taken_by_others(row, seen) {
            return self.overtaken(&format!("the server is on {host}, and not by this run's attempt: somebody else moved or evacuated it"));
        }
        if self.is_live() {
            if seen.aborted || seen.wish == Wish::AbortAll {
                return self.abort(row, AbortReason::Requested, "a person aborted it");
            }
            let asked_already = open_attempt(&self.status).is_some_and(|attempt| attempt.abort_at.is_some());
            // One that has left is not copied any more, whatever its record says for another moment.
            let on_source = matches!(seen.server, ServerSight::OnSource(_));
            if on_source && (seen.others_wait || asked_already) && self.copies_too_long() {
                let why = format!("it has not ended within its completionTimeout of {:?}, and other servers wait", self.run.completion_timeout);
                return self.abort(row, AbortReason::CompletionTimeout, &why);
            }
        }
        self.moving(row);
    }

    /// The attempt has come to nothing by somebody else's doing.
    pub(super) fn overtaken(&mut self, why: &str) {
        self.end_attempt(Outcome::Overtaken, None);
        self.status.measured = record::discarded();
        self.superseded(why);
    }

    /// Whether a newer record of the server leads back to the source.
    fn was_brought_back(&self, row: &NovaMigration, seen: &Observation) -> bool {
        newer(row, seen).any(|other| other.dest_compute.as_ref() == Some(&self.run.source) && other.status.has_arrived())
    }

    fn copies_too_long(&self) -> bool {
        let began = open_attempt(&self.status).and_then(|attempt| attempt.copying_at.as_ref());
        began.is_some_and(|began| later(began.0, self.run.completion_timeout) < self.now)
    }
}

/// Whether the end of the attempt may be asked for, `last` being when that was done last.
fn end_is_due(attempt: &Attempt, last: Option<&MicroTime>, now: Timestamp) -> bool {
    let doubled = attempt.end_requests.saturating_sub(1).min(MOST_END_REQUESTS);
    let pause = ASK_AGAIN.saturating_mul(2_u32.pow(doubled));
    attempt.end_requests < MOST_END_REQUESTS && last.is_none_or(|time| later(time.0, pause) <= now)
}

/// Records of the same server that were made after this one.
fn newer<'a>(row: &NovaMigration, seen: &'a Observation) -> impl Iterator<Item = &'a NovaMigration> {
    let (server, id) = (row.server, row.id);
    seen.rows.iter().filter(move |other| other.server == server && other.id > id)
}

/// Where the server is, if it rests on a host to which this record has not led: another one than its destination, or one to which a newer record has led it.
pub(super) fn taken_by_others(row: &NovaMigration, seen: &Observation) -> Option<String> {
    let ServerSight::Elsewhere(server) = &seen.server else { return None };
    let rests = server.task_state.is_none() && server.status != ServerStatus::Migrating;
    let strange = row.dest_compute.is_some() && server.host.is_some() && server.host != row.dest_compute;
    let led_by_another = newer(row, seen).any(|other| other.dest_compute == server.host);
    (rests && (strange || led_by_another)).then(|| host_of(server))
}
