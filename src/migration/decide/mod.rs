//! The next state of a run: from its status, what Nova shows, and what the quarantine and the limits allow.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{Absence, DEADLINE_EXCEEDED, LEFT_SOURCE, SUPERSEDED, ServerSight, UNRESOLVED_AFTER, find_row, open_attempt, pause_before, record};
use crate::api::condition::{Conditions, Kind, State, find, shorten};
use crate::api::run::{Attempt, CopyProgress, FailureReason, MigrationRunStatus, Outcome, RunPhase};
use crate::inventory::{HostName, MigrationProgress, NovaMigration, RowStatus, Server, ServerId, ServerStatus};

/// What does not change about a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The server.
    pub server: ServerId,
    /// The host that it leaves.
    pub source: HostName,
    /// How often it is tried.
    pub max_attempts: u32,
    /// The longest that one attempt may take once Nova has begun with it.
    pub deadline: Duration,
    /// The generation of the spec.
    pub generation: Option<i64>,
}

/// What the quarantine says about its runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// New requests may go out.
    Permits,
    /// Not now; the sentence says why.
    Holds(String),
    /// Never again; the sentence says why. What runs is followed to its end.
    Over(String),
}

/// What was seen for one decision.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Where Nova shows the server.
    pub server: ServerSight,
    /// Whether a list of the source, begun after the attempt was written, contains the server. Absent when there is no such list yet.
    pub listed_on_source: Option<bool>,
    /// The server's migration records, newest first or in any order.
    pub rows: Vec<NovaMigration>,
    /// The latest sample of the byte counters of the attempt's record.
    pub progress: Option<MigrationProgress>,
    /// Nova's own words for the failure of the attempt. Empty when Nova gave none, absent when nobody asked.
    pub failure: Option<String>,
    /// Two reads without a trace of the attempt.
    pub absence: Option<Absence>,
    /// What the quarantine says.
    pub standing: Standing,
}

/// What to do beside writing the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// The status holds a new attempt: write it with the object's resourceVersion as precondition, then ask Nova.
    Ask,
}

/// The result of a decision.
#[derive(Clone, Debug)]
pub struct Next {
    /// The status to write, if it differs.
    pub status: MigrationRunStatus,
    /// What to do.
    pub step: Step,
    /// When to look again at the latest, when nothing else happens.
    pub wake: Option<Duration>,
}

/// Whether the run has ended.
#[must_use]
pub fn is_finished(status: &MigrationRunStatus) -> bool {
    find(&status.conditions, Kind::Succeeded).is_some_and(|condition| condition.status != State::Unknown.as_str())
}

/// Decides the next state of a run.
#[must_use]
pub fn decide(run: &Run, status: &MigrationRunStatus, seen: &Observation, now: Timestamp) -> Next {
    if is_finished(status) {
        return Next { status: status.clone(), step: Step::Wait, wake: None };
    }
    let mut draft = Draft { run, now, status: status.clone(), step: Step::Wait, wake: None };
    draft.status.observed_generation = run.generation;
    if open_attempt(status).is_some() {
        draft.follow(seen);
    } else {
        draft.consider(seen);
    }
    Next { status: draft.status, step: draft.step, wake: draft.wake }
}

/// The status that is being made.
struct Draft<'a> {
    run: &'a Run,
    now: Timestamp,
    status: MigrationRunStatus,
    step: Step,
    wake: Option<Duration>,
}

impl Draft<'_> {
    /// An attempt is open: find Nova's record of it and see how far it is.
    fn follow(&mut self, seen: &Observation) {
        let Some(attempt) = open_attempt(&self.status).cloned() else { return };
        if seen.server == ServerSight::Gone {
            self.end_attempt(Outcome::Gone, None);
            self.superseded("the server was deleted");
            return;
        }
        let row = find_row(&attempt, self.run.server, &self.run.source, &seen.rows);
        match row {
            Some(row) => self.follow_row(row, seen),
            None => self.follow_without_row(&attempt, seen),
        }
        let waits_in_queue = row.is_some_and(|row| row.status == RowStatus::Queued);
        if open_attempt(&self.status).is_some() && !waits_in_queue && self.overdue() {
            self.report_overdue();
        }
    }

    /// Whatever the attempt waits for, it has had its time: it is followed on, and a person is told.
    fn report_overdue(&mut self) {
        let message = format!("the attempt takes longer than the deadline of {:?}; it is followed to its end and not asked for again", self.run.deadline);
        self.conditions(State::Unknown, DEADLINE_EXCEEDED, &message, false, Some(DEADLINE_EXCEEDED));
        self.wake = None;
    }

    fn follow_without_row(&mut self, attempt: &Attempt, seen: &Observation) {
        let unresolved_at = later(attempt.intent_at.0, UNRESOLVED_AFTER);
        let no_trace = seen.absence.is_some_and(|absence| absence.first_begun_at >= unresolved_at);
        if !no_trace {
            self.phase(RunPhase::Queued, "asked Nova; its migration record has not appeared yet");
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
                self.end_attempt(Outcome::NotReceived, Some(message));
                self.after_failure(server);
            }
            ServerSight::OnSource(_) | ServerSight::Gone => {
                self.phase(RunPhase::Queued, "Nova works on the server; its migration record has not appeared yet");
                self.wake = Some(Duration::from_secs(1));
            }
        }
    }

    fn follow_row(&mut self, row: &NovaMigration, seen: &Observation) {
        let now = micro(self.now);
        let waits_in_nova = matches!(row.status, RowStatus::Accepted | RowStatus::Queued);
        if let Some(attempt) = self.status.attempts.last_mut() {
            attempt.migration_id = i64::try_from(row.id).ok();
            attempt.migration_uuid = Some(row.uuid.to_string());
            attempt.destination = row.dest_compute.as_ref().map(|host| host.0.clone()).or(attempt.destination.take());
            if !waits_in_nova && !row.status.is_final() && attempt.copying_at.is_none() {
                attempt.copying_at = Some(now);
            }
        }
        // Counters are kept also when they arrive with the end of the move.
        if let Some(sample) = &seen.progress {
            self.status.measured = record::with_sample(self.status.measured.take(), sample);
        }
        match &row.status {
            RowStatus::Completed => self.completed(row, seen),
            RowStatus::Error | RowStatus::Failed | RowStatus::Cancelled => self.unsuccessful(&row.status, seen),
            RowStatus::Accepted | RowStatus::Queued => self.phase(RunPhase::Queued, "Nova has accepted the request and has not begun with it"),
            RowStatus::Preparing | RowStatus::Running | RowStatus::Other(_) => self.running(row, seen),
        }
    }

    /// The record says completed: one of three witnesses.
    fn completed(&mut self, row: &NovaMigration, seen: &Observation) {
        // The row and the list are read side by side, so one look can show a move that has just ended half way.
        let settled = row.updated_at.is_none_or(|ended| later(ended, UNRESOLVED_AFTER) < self.now);
        match &seen.server {
            ServerSight::Elsewhere(server) if seen.listed_on_source == Some(false) => {
                let host = host_of(server);
                self.end_attempt(Outcome::Completed, None);
                if let Some(attempt) = self.status.attempts.last() {
                    self.status.measured = Some(record::sealed(self.status.measured.take(), attempt, self.now));
                }
                self.status.destination_host = Some(host.clone());
                self.status.progress = None;
                self.finish(RunPhase::Succeeded, State::True, LEFT_SOURCE, &format!("the server is on {host}"), None);
            }
            ServerSight::OnSource(server) if settled && self.overdue() => {
                let message = format!(
                    "Nova's migration record says completed, but Nova shows the server on {} (task state {}). The guest may run on the destination: never start it here. Find out where it runs, then correct Nova's \
                     database record; no API call repairs this.",
                    self.run.source,
                    server.task_state.as_deref().unwrap_or("none")
                );
                self.end_attempt(Outcome::RecordBehindGuest, Some(message.clone()));
                self.failed(FailureReason::RecordBehindGuest, &message);
            }
            ServerSight::OnSource(_) | ServerSight::Elsewhere(_) | ServerSight::Gone => {
                self.phase(RunPhase::Running, "Nova's record says completed; waiting until the server's host and the source's list agree");
            }
        }
    }

    /// The record ended without success: wait until Nova has let go of the server, then judge the server.
    fn unsuccessful(&mut self, row: &RowStatus, seen: &Observation) {
        let outcome = match row {
            RowStatus::Failed => Outcome::Failed,
            RowStatus::Cancelled => Outcome::Cancelled,
            _ => Outcome::Error,
        };
        let words = seen.failure.as_deref().filter(|words| !words.is_empty());
        let message = words.map_or_else(|| format!("Nova's migration record says {} and gives no reason", row.as_str()), ToOwned::to_owned);
        match &seen.server {
            ServerSight::OnSource(server) if server.task_state.is_none() => {
                self.end_attempt(outcome, Some(message));
                self.after_failure(server);
            }
            ServerSight::Elsewhere(server) if server.task_state.is_none() => {
                let text = format!("the move failed ({message}), and Nova shows the server on {} with status {}", host_of(server), server.status.as_str());
                self.end_attempt(outcome, Some(message));
                self.failed(FailureReason::LeftInError, &text);
            }
            _ => self.phase(RunPhase::Running, "Nova's record has ended; waiting until Nova lets go of the server"),
        }
    }

    fn running(&mut self, row: &NovaMigration, seen: &Observation) {
        if let Some(sample) = &seen.progress {
            self.status.progress = copy_progress(sample).or(self.status.progress.take());
        }
        if self.overdue() {
            let message = format!("the attempt takes longer than the deadline of {:?}; it is followed to its end and not asked for again", self.run.deadline);
            self.status.phase = Some(RunPhase::Running);
            self.conditions(State::Unknown, DEADLINE_EXCEEDED, &message, false, Some(DEADLINE_EXCEEDED));
            return;
        }
        let destination = row.dest_compute.as_ref().map_or("its destination", HostName::as_str);
        self.phase(RunPhase::Running, &format!("moving to {destination}"));
    }

    /// No attempt is open: may the next one go out?
    fn consider(&mut self, seen: &Observation) {
        let server = match &seen.server {
            ServerSight::Gone => return self.superseded("the server was deleted"),
            ServerSight::Elsewhere(server) => {
                let host = host_of(server);
                return self.superseded(&format!("the server is on {host}, and not by an attempt of this run"));
            }
            ServerSight::OnSource(server) => server,
        };
        if server.status == ServerStatus::Error && server.task_state.is_none() && !self.status.attempts.is_empty() {
            // Nova can call a server ERROR a moment after its record has ended.
            return self.after_failure(server);
        }
        match &seen.standing {
            Standing::Over(why) => return self.superseded(why),
            Standing::Holds(why) => return self.hold(why),
            Standing::Permits => {}
        }
        if !is_movable(server) {
            let task = server.task_state.as_deref().unwrap_or("none");
            return self.hold(&format!(
                "the server's status is {} (task state {task}): only ACTIVE and PAUSED servers without a task are moved",
                server.status.as_str()
            ));
        }
        let number = u32::try_from(self.status.attempts.len()).unwrap_or(u32::MAX).saturating_add(1);
        if number > self.run.max_attempts {
            return self.after_failure(server);
        }
        if let Some(ended) = self.status.attempts.last().and_then(|attempt| attempt.ended_at.as_ref()) {
            let due = later(ended.0, pause_before(number));
            if due > self.now {
                self.phase(RunPhase::Waiting, &format!("attempt {number} begins after a pause"));
                self.wake = Some(until(self.now, due));
                return;
            }
        }
        self.ask(number, seen);
    }

    fn ask(&mut self, number: u32, seen: &Observation) {
        let highest = seen.rows.iter().filter(|row| row.server == self.run.server).filter_map(|row| i64::try_from(row.id).ok()).max();
        self.status.attempts.push(Attempt {
            number,
            intent_at: micro(self.now),
            highest_migration_id_before: highest,
            request_id: None,
            migration_id: None,
            migration_uuid: None,
            destination: None,
            started_at: None,
            copying_at: None,
            ended_at: None,
            outcome: None,
            message: None,
        });
        self.phase(RunPhase::Queued, "asking Nova");
        self.step = Step::Ask;
    }

    /// After an attempt without success: try again, or give up.
    fn after_failure(&mut self, server: &Server) {
        self.status.progress = None;
        self.status.measured = record::discarded();
        let last = self.status.attempts.last().and_then(|attempt| attempt.message.clone()).unwrap_or_default();
        let made = u32::try_from(self.status.attempts.len()).unwrap_or(u32::MAX);
        if server.status == ServerStatus::Error {
            let message = format!(
                "the attempt left the server in ERROR ({last}). Its guest may run on, untouched. When you have seen that it runs on {}: openstack server set --state active {}",
                self.run.source, self.run.server
            );
            self.failed(FailureReason::ErrorAfterAttempt, &message);
        } else if made >= self.run.max_attempts {
            self.failed(FailureReason::AttemptsExhausted, &format!("{made} attempts; the last: {last}"));
        } else {
            self.phase(RunPhase::Waiting, &format!("attempt {made} ended: {last}"));
            self.wake = Some(pause_before(made.saturating_add(1)));
        }
    }

    fn hold(&mut self, why: &str) {
        let phase = if self.status.attempts.is_empty() { RunPhase::Planned } else { RunPhase::Waiting };
        self.phase(phase, why);
    }

    /// Whether the open attempt has used up its deadline. Time in Nova's queue does not count: it begins when the operator first saw the row past it.
    fn overdue(&self) -> bool {
        let began = open_attempt(&self.status).map(|attempt| attempt.copying_at.as_ref().or(attempt.started_at.as_ref()).unwrap_or(&attempt.intent_at).0);
        began.is_some_and(|began| later(began, self.run.deadline) < self.now)
    }

    fn end_attempt(&mut self, outcome: Outcome, message: Option<String>) {
        let now = micro(self.now);
        if let Some(attempt) = self.status.attempts.last_mut() {
            attempt.ended_at = Some(now);
            attempt.outcome = Some(outcome);
            attempt.message = message.map(|text| shorten(text, 512));
        }
    }

    fn phase(&mut self, phase: RunPhase, message: &str) {
        self.status.phase = Some(phase);
        self.conditions(State::Unknown, phase.as_str(), message, true, None);
    }

    fn superseded(&mut self, why: &str) {
        self.status.progress = None;
        self.finish(RunPhase::Superseded, State::False, SUPERSEDED, why, None);
    }

    fn failed(&mut self, reason: FailureReason, message: &str) {
        self.status.progress = None;
        self.finish(RunPhase::Failed, State::False, reason.as_str(), message, Some(reason.as_str()));
    }

    fn finish(&mut self, phase: RunPhase, succeeded: State, reason: &str, message: &str, stalled: Option<&str>) {
        self.status.phase = Some(phase);
        self.conditions(succeeded, reason, message, false, stalled);
        self.wake = None;
    }

    fn conditions(&mut self, succeeded: State, reason: &str, message: &str, reconciling: bool, stalled: Option<&str>) {
        let mut conditions = Conditions::of(&self.status.conditions, self.run.generation, self.now);
        conditions.set(Kind::Succeeded, succeeded, reason, message);
        conditions.set(Kind::Reconciling, reconciling.into(), reason, if reconciling { message } else { "" });
        conditions.set(Kind::Stalled, stalled.is_some().into(), stalled.unwrap_or("NotStalled"), if stalled.is_some() { message } else { "" });
        self.status.conditions = conditions.finish();
    }
}

/// Whether Sidestep moves a server in this state: ACTIVE and PAUSED ones that Nova is not working on.
#[must_use]
pub fn is_movable(server: &Server) -> bool {
    matches!(server.status, ServerStatus::Active | ServerStatus::Paused) && server.task_state.is_none()
}

fn copy_progress(sample: &MigrationProgress) -> Option<CopyProgress> {
    let total = sample.memory_total.filter(|bytes| *bytes > 0)?;
    let remaining = sample.memory_remaining;
    let percent = remaining.map(|left| 100 - left.min(total).saturating_mul(100).div_ceil(total));
    Some(CopyProgress {
        percent: percent.and_then(|share| u32::try_from(share).ok()),
        memory_total_bytes: i64::try_from(total).ok(),
        memory_remaining_bytes: remaining.and_then(|bytes| i64::try_from(bytes).ok()),
    })
}

fn host_of(server: &Server) -> String {
    server.host.as_ref().map_or_else(|| "no host".to_owned(), |host| host.0.clone())
}

fn micro(time: Timestamp) -> MicroTime {
    MicroTime(time)
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn until(now: Timestamp, due: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
