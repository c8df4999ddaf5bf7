//! The status that is being made, and how its conditions are set.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{Next, Run, Step};
use crate::api::condition::{Conditions, Kind, State, shorten};
use crate::api::run::{CopyProgress, FailureReason, MigrationRunStatus, Outcome, RunPhase};
use crate::inventory::{MigrationProgress, Server};
use crate::migration::{SUPERSEDED, open_attempt};

/// What is said from the intent until Nova begins: one sentence, so that it is written once.
pub(super) const NOT_BEGUN: &str = "asked for; Nova has not begun with it";

/// The status that is being made.
pub(super) struct Draft<'a> {
    pub(super) run: &'a Run,
    pub(super) now: Timestamp,
    pub(super) status: MigrationRunStatus,
    pub(super) step: Step,
    pub(super) wake: Option<Duration>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(run: &'a Run, status: &MigrationRunStatus, now: Timestamp) -> Self {
        let mut status = status.clone();
        status.observed_generation = run.generation;
        status.server_short = run.server.to_string().chars().take(8).collect();
        status.next_attempt = None;
        Self { run, now, status, step: Step::Wait, wake: None }
    }

    pub(super) fn finish(self) -> Next {
        Next { status: self.status, step: self.step, wake: self.wake }
    }

    /// Whether the open attempt has used up its deadline. Time in Nova's queue does not count: it begins when the operator first saw the row past it.
    pub(super) fn overdue(&self) -> bool {
        let began = open_attempt(&self.status).map(|attempt| attempt.copying_at.as_ref().or(attempt.started_at.as_ref()).unwrap_or(&attempt.intent_at).0);
        began.is_some_and(|began| later(began, self.run.deadline) < self.now)
    }

    pub(super) fn end_attempt(&mut self, outcome: Outcome, message: Option<String>) {
        let now = micro(self.now);
        if let Some(attempt) = self.status.attempts.last_mut() {
            attempt.ended_at = Some(now);
            attempt.outcome = Some(outcome);
            attempt.message = message.map(|text| shorten(text, 512));
        }
    }

    pub(super) fn phase(&mut self, phase: RunPhase, message: &str) {
        self.waits(phase, phase.as_str(), message);
    }

    /// The same with a reason of its own.
    pub(super) fn waits(&mut self, phase: RunPhase, reason: &str, message: &str) {
        self.status.phase = Some(phase);
        self.conditions(State::Unknown, reason, message, true, None);
    }

    pub(super) fn superseded(&mut self, why: &str) {
        self.conclude(RunPhase::Superseded, State::False, SUPERSEDED, why, None);
    }

    pub(super) fn failed(&mut self, reason: FailureReason, message: &str) {
        self.conclude(RunPhase::Failed, State::False, reason.as_str(), message, Some(reason.as_str()));
    }

    pub(super) fn conclude(&mut self, phase: RunPhase, succeeded: State, reason: &str, message: &str, stalled: Option<&str>) {
        self.status.progress = None;
        self.status.phase = Some(phase);
        self.conditions(succeeded, reason, message, false, stalled);
        self.wake = None;
    }

    pub(super) fn conditions(&mut self, succeeded: State, reason: &str, message: &str, reconciling: bool, stalled: Option<&str>) {
        let mut conditions = Conditions::of(&self.status.conditions, self.run.generation, self.now);
        conditions.set(Kind::Succeeded, succeeded, reason, message);
        conditions.set(Kind::Reconciling, reconciling.into(), reason, if reconciling { message } else { "" });
        conditions.set(Kind::Stalled, stalled.is_some().into(), stalled.unwrap_or("NotStalled"), if stalled.is_some() { message } else { "" });
        self.status.conditions = conditions.finish();
    }

    /// Looks again at this moment at the latest.
    pub(super) fn wake_at(&mut self, due: Timestamp) {
        self.wake = Some(until(self.now, due));
    }
}

pub(super) fn copy_progress(sample: &MigrationProgress) -> Option<CopyProgress> {
    let total = sample.memory_total.filter(|bytes| *bytes > 0)?;
    let remaining = sample.memory_remaining;
    let percent = remaining.map(|left| 100 - left.min(total).saturating_mul(100).div_ceil(total));
    Some(CopyProgress {
        percent: percent.and_then(|share| u32::try_from(share).ok()),
        memory_total_bytes: i64::try_from(total).ok(),
        memory_remaining_bytes: remaining.and_then(|bytes| i64::try_from(bytes).ok()),
    })
}

pub(super) fn host_of(server: &Server) -> String {
    server.host.as_ref().map_or_else(|| "no host".to_owned(), |host| host.0.clone())
}

pub(super) fn micro(time: Timestamp) -> MicroTime {
    MicroTime(time)
}

pub(super) fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

pub(super) fn until(now: Timestamp, due: Timestamp) -> Duration {
    Duration::try_from(due.duration_since(now)).unwrap_or(Duration::ZERO)
}
