//! What follows from an attempt that ended without success.

use super::Observation;
use super::draft::{Draft, host_of};
use super::follow::taken_by_others;
use crate::api::condition::State;
use crate::api::run::{ABORTED, AbortReason, FailureReason, Outcome, RunPhase};
use crate::inventory::{NovaMigration, RowStatus, Server, ServerStatus};
use crate::migration::{MOST_REFUSALS, ServerSight, has_free_probes, pause_before, record, refusals, used_up};

impl Draft<'_> {
    /// The record ended without success: wait until Nova has let go of the server, then judge the server.
    pub(super) fn unsuccessful(&mut self, record: &NovaMigration, seen: &Observation) {
        let row = &record.status;
        let words = seen.failure.as_deref().filter(|words| !words.is_empty());
        let message = words.map_or_else(
            || format!("Nova's migration record says {} and gives no reason; the log of nova-compute on the source may have it", row.as_str()),
            ToOwned::to_owned,
        );
        match &seen.server {
            ServerSight::OnSource(server) if server.task_state.is_none() => {
                let outcome = self.outcome(row, server, seen);
                self.end_attempt(outcome, Some(message));
                if seen.aborted && server.status != ServerStatus::Error { self.settle_or_abort() } else { self.after_failure(server) }
            }
            ServerSight::Elsewhere(server) if server.task_state.is_none() => {
                if let Some(host) = taken_by_others(record, seen) {
                    return self.overtaken(&format!(
                        "the server is on {host}, and not by this run's attempt, which failed ({message}): somebody else moved or evacuated it"
                    ));
                }
                let text = format!("the move failed ({message}), and Nova shows the server on {} with status {}", host_of(server), server.status.as_str());
                self.end_attempt(plain(row), Some(message));
                self.failed(FailureReason::LeftInError, &text);
            }
            // Nova has not let go of the server yet.
            _ => self.moving(record),
        }
    }

    /// How the attempt ended: by whose wish, or whether before anything was copied.
    fn outcome(&self, row: &RowStatus, server: &Server, seen: &Observation) -> Outcome {
        let Some(attempt) = self.status.attempts.last() else { return plain(row) };
        match attempt.abort_reason {
            Some(AbortReason::Requested) => return Outcome::Aborted,
            Some(AbortReason::Withdrawn) => return Outcome::Withdrawn,
            Some(AbortReason::CompletionTimeout) => return Outcome::TimedOut,
            None => {}
        }
        let before_copy = *row == RowStatus::Error && attempt.copying_at.is_none() && server.status != ServerStatus::Error;
        match before_copy {
            true if seen.braked && has_free_probes(&self.status) => Outcome::DependencyDown,
            true if self.run.may_choose && refusals(&self.status) < MOST_REFUSALS => Outcome::DestinationRefused,
            _ => plain(row),
        }
    }

    /// After an attempt without success: try again, or give up.
    pub(super) fn after_failure(&mut self, server: &Server) {
        self.status.progress = None;
        self.status.destination_host = None;
        self.status.measured = record::discarded();
        let last = self.status.attempts.last().cloned();
        let words = last.as_ref().and_then(|attempt| attempt.message.clone()).unwrap_or_default();
        let outcome = last.and_then(|attempt| attempt.outcome);
        let made = used_up(&self.status);
        if server.status == ServerStatus::Error {
            let by_abort = matches!(outcome, Some(Outcome::Aborted | Outcome::TimedOut | Outcome::Withdrawn));
            let (reason, what) = if by_abort { (FailureReason::ErrorAfterAbort, "the abort") } else { (FailureReason::ErrorAfterAttempt, "the attempt") };
            let message = format!(
                "{what} left the server in ERROR ({words}). Its guest may run on, untouched. When you have seen that it runs on {}: openstack server set --state active {}",
                self.run.source, self.run.server
            );
            self.failed(reason, &message);
        } else if made >= self.run.max_attempts {
            self.failed(FailureReason::AttemptsExhausted, &format!("{made} attempts; the last: {words}"));
        } else {
            let what = outcome.map_or("without an outcome", Outcome::as_str);
            self.phase(RunPhase::Waiting, &format!("the last request ended ({what}): {words}"));
            self.wake = Some(pause_before(made.saturating_add(1)));
        }
    }

    /// A person has ended the run, and nothing of it is under way.
    pub(super) fn aborted(&mut self) {
        self.conclude(RunPhase::Aborted, State::False, ABORTED, &format!("aborted by a person; the server is on {}", self.run.source), None);
    }
}

/// The outcome that the record's word stands for.
fn plain(row: &RowStatus) -> Outcome {
    match row {
        RowStatus::Failed => Outcome::Failed,
        RowStatus::Cancelled => Outcome::Cancelled,
        _ => Outcome::Error,
    }
}
