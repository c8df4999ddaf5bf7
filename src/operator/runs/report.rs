//! The status of a run, with an Event and a log line at each turn.

use std::time::Duration;

use kube::ResourceExt as _;

use crate::api::MigrationRun;
use crate::api::condition::{Kind, find};
use crate::api::run::{MigrationRunStatus, RunPhase};
use crate::kubernetes::event::Tone;
use crate::kubernetes::status;
use crate::migration;
use crate::operator::context::Context;
use crate::operator::failure::Failure;

/// Progress alone is written at most so often for one run.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// What can wait is written at most so often: which record Nova has made while nothing has begun (it is found again by the intent), and a sentence that says the same in other words.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes the status where it differs. A difference in progress alone waits until the last write is [`PROGRESS_INTERVAL`] old, one in what can wait [`PATIENCE`].
pub(super) async fn write(context: &Context, run: &MigrationRun, next: &MigrationRunStatus) -> Result<(), Failure> {
    let before = run.status.clone().unwrap_or_default();
    let name = run.name_any();
    let too_early = |interval| !context.progress_due(&name, interval);
    if before == *next || (only_progress(&before, next) && too_early(PROGRESS_INTERVAL)) || (can_wait(&before, next) && too_early(PATIENCE)) {
        return Ok(());
    }
    let written = status::apply(&context.api(), run, next).await?;
    context.progress_written(&run.name_any());
    turn(context, &written, &before, next).await;
    Ok(())
}

/// Writes what came of a request. Reconciles of one run never overlap, so nobody else has written since the intent.
pub(super) async fn write_answer(context: &Context, run: &MigrationRun, next: &MigrationRunStatus) -> Result<(), Failure> {
    if run.status.as_ref() == Some(next) {
        return Ok(());
    }
    status::apply(&context.api(), run, next).await?;
    context.progress_written(&run.name_any());
    Ok(())
}

/// Whether nothing is new but the record that Nova has made for the open attempt, and words for the same reasons.
fn can_wait(before: &MigrationRunStatus, next: &MigrationRunStatus) -> bool {
    let mut without = next.clone();
    without.destination_host.clone_from(&before.destination_host);
    if let (Some(last), Some(earlier)) = (without.attempts.last_mut(), before.attempts.last()) {
        last.migration_id = earlier.migration_id;
        last.migration_uuid.clone_from(&earlier.migration_uuid);
        last.destination.clone_from(&earlier.destination);
    }
    for condition in &mut without.conditions {
        if let Some(earlier) = before.conditions.iter().find(|earlier| earlier.type_ == condition.type_) {
            condition.message.clone_from(&earlier.message);
        }
    }
    without == *before && !migration::is_finished(next)
}

fn only_progress(before: &MigrationRunStatus, next: &MigrationRunStatus) -> bool {
    let mut without = next.clone();
    without.progress = before.progress;
    without.measured.clone_from(&before.measured);
    without == *before && !migration::is_finished(next)
}

/// What people are told: how an attempt ended, and how the run did.
async fn turn(context: &Context, object: &MigrationRun, before: &MigrationRunStatus, next: &MigrationRunStatus) {
    let run = object.name_any();
    let ended = |status: &MigrationRunStatus| status.attempts.iter().filter(|attempt| attempt.ended_at.is_some()).count();
    if let Some(attempt) = next.attempts.iter().rfind(|attempt| attempt.ended_at.is_some()).filter(|_| ended(next) > ended(before)) {
        let outcome = attempt.outcome.map_or("-", |outcome| outcome.as_str());
        context.metrics.migrations.one([outcome]);
        tracing::info!(run, attempt = attempt.number, outcome, why = attempt.message, "An attempt ended.");
    }
    if before.phase == next.phase {
        return;
    }
    let message = find(&next.conditions, Kind::Succeeded).map(|condition| condition.message.clone()).unwrap_or_default();
    let reason = find(&next.conditions, Kind::Succeeded).map(|condition| condition.reason.clone()).unwrap_or_default();
    match next.phase {
        Some(RunPhase::Succeeded) => {
            let duration_ms = next.measured.as_ref().and_then(|measured| measured.duration_millis);
            count_figures(context, next);
            tracing::info!(run, destination = next.destination_host, duration_ms, "A server has left the host.");
            context.events.publish(object, Tone::Normal, "Migrate", &reason, &message).await;
        }
        Some(RunPhase::Failed) => {
            tracing::warn!(run, reason, why = message, "A server could not be moved.");
            context.metrics.given_up.one([reason.clone()]);
            context.events.publish(object, Tone::Warning, "Migrate", &reason, &message).await;
        }
        Some(RunPhase::Aborted) => {
            tracing::info!(run, why = message, "A run was aborted.");
            context.events.publish(object, Tone::Normal, "Migrate", &reason, &message).await;
        }
        Some(RunPhase::Refused) => {
            tracing::warn!(run, reason, why = message, "A run must not begin.");
            context.events.publish(object, Tone::Warning, "Migrate", &reason, &message).await;
        }
        Some(RunPhase::Superseded) => {
            tracing::info!(run, why = message, "A run has nothing to do any more.");
            context.events.publish(object, Tone::Normal, "Migrate", &reason, &message).await;
        }
        Some(phase) => tracing::debug!(run, phase = phase.as_str(), why = message, "A run has a new phase."),
        None => {}
    }
}

/// Adds what was measured of a move that succeeded to the operator's figures.
fn count_figures(context: &Context, status: &MigrationRunStatus) {
    let Some(measured) = &status.measured else { return };
    if let Some(millis) = measured.duration_millis.and_then(|millis| u64::try_from(millis).ok()) {
        context.metrics.migration_seconds.observe(Duration::from_millis(millis).as_secs_f64());
    }
    if let Some(bytes) = &measured.transferred_bytes {
        for (what, figure) in [("memory", bytes.memory), ("disk", bytes.disk)] {
            if let Some(figure) = figure.and_then(|figure| u64::try_from(figure).ok()) {
                context.metrics.migration_bytes.add([what], figure);
            }
        }
    }
}
