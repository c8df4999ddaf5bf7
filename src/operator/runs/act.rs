//! The request to Nova, and the end of a run's life.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::observe::{Seen, owner};
use super::report;
use crate::api::condition::{Kind, is_true, shorten};
use crate::api::run::{MigrationRunStatus, MoveKind, Outcome};
use crate::api::{FINALIZER, HostQuarantine, MigrationRun};
use crate::gate;
use crate::inventory::{HostName, ServerId};
use crate::kubernetes::{finalizer, status};
use crate::migration::{Brake, has_free_probes, open_attempt};
use crate::openstack::{CloudControl, Fault, FaultKind, PostOutcome};
use crate::operator::cloud;
use crate::operator::context::Context;
use crate::operator::failure::{Failure, chain};
use crate::operator::places::is_by_hand;
use crate::quarantine::{Permission, permission, remembers_deletion};

/// When to look after a request.
const SOON: Duration = Duration::from_secs(1);

/// The writing client, where the mode permits it. A run that a person made counts as Enforce for its server.
fn control(run: &MigrationRun, seen: &Seen) -> Option<CloudControl> {
    let enforce = is_by_hand(run) || seen.quarantine.as_ref().is_some_and(|quarantine| quarantine.spec.mode.writes());
    gate::permit_writes(enforce).map(|permit| CloudControl::new(seen.live.cloud.clone(), permit))
}

/// The same for what Nova was asked already: a move is brought to its end also when its quarantine is gone, since an attempt stands in status only where there was a permit for it.
fn control_of_begun(run: &MigrationRun, seen: &Seen) -> Option<CloudControl> {
    let ownerless = seen.quarantine.is_none();
    if ownerless { gate::permit_writes(true).map(|permit| CloudControl::new(seen.live.cloud.clone(), permit)) } else { control(run, seen) }
}

/// Writes the intent, then asks Nova, then writes the answer. Nothing is sent when the intent could not be written on the object as it was read.
pub(super) async fn ask(context: &Context, run: &MigrationRun, seen: &Seen, intent: &MigrationRunStatus) -> Result<Action, Failure> {
    let name = run.name_any();
    let (Some(control), Some(attempt)) = (control(run, seen), open_attempt(intent)) else {
        context.give_back(&name);
        return Ok(Action::requeue(SOON));
    };
    let written = match status::apply(&context.api(), run, intent).await {
        Ok(written) => written,
        Err(error) => {
            context.give_back(&name);
            return Err(error.into());
        }
    };
    let destination = attempt.destination.clone().map(HostName);
    let outcome = match attempt.kind {
        MoveKind::Live => control.live_migrate(seen.run.server, destination.as_ref()).await,
        MoveKind::Cold => control.cold_migrate(seen.run.server, destination.as_ref()).await,
    };
    note_over_limit(context, run, &outcome);
    let answered = answer(context, run, intent.clone(), outcome);
    tell_brake(context, run, intent, &answered);
    if open_attempt(&answered).is_none() {
        context.give_back(&name);
    }
    seen.live.inventory.refresh_now();
    report::write_answer(context, &written, &answered).await?;
    Ok(Action::requeue(SOON))
}

/// Writes that the attempt's end is asked for, then asks Nova. What comes of it stands in Nova's record.
pub(super) async fn abort(context: &Context, run: &MigrationRun, seen: &Seen, intent: &MigrationRunStatus, migration: i64) -> Result<Action, Failure> {
    let Some(control) = control_of_begun(run, seen) else { return Ok(Action::requeue(SOON)) };
    report::write(context, run, intent).await?;
    let outcome = control.abort_migration(seen.run.server, migration).await;
    let name = run.name_any();
    match outcome {
        PostOutcome::Accepted { .. } => tracing::info!(run = name, migration, "Nova accepted the abort of a migration."),
        PostOutcome::Refused(fault) | PostOutcome::Unknown(fault) => {
            tracing::warn!(run = name, migration, error = %chain(&fault), "A migration could not be aborted; its record will tell whether it has ended.");
        }
    }
    seen.live.inventory.refresh_now();
    Ok(Action::requeue(SOON))
}

/// Writes that the cold migration is confirmed, then confirms it. What comes of it stands in Nova's record.
pub(super) async fn confirm(context: &Context, run: &MigrationRun, seen: &Seen, intent: &MigrationRunStatus) -> Result<Action, Failure> {
    let Some(control) = control_of_begun(run, seen) else { return Ok(Action::requeue(SOON)) };
    report::write(context, run, intent).await?;
    let outcome = control.confirm_resize(seen.run.server).await;
    let name = run.name_any();
    match outcome {
        PostOutcome::Accepted { .. } => tracing::info!(run = name, "Nova accepted the confirmation of a cold migration."),
        PostOutcome::Refused(fault) | PostOutcome::Unknown(fault) => {
            tracing::warn!(run = name, error = %chain(&fault), "A cold migration could not be confirmed; it is tried again while its record waits for that.");
        }
    }
    seen.live.inventory.refresh_now();
    Ok(Action::requeue(SOON))
}

/// Puts the finalizer on a run that a person made, before anything is asked for.
pub(super) async fn hold(context: &Context, run: &MigrationRun) -> Result<Action, Failure> {
    let mut finalizers = run.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    let failed = Failure::kubernetes(format!("change the finalizers of MigrationRun {}", run.name_any()));
    finalizer::set(&context.api(), run, &finalizers).await.map_err(failed)?;
    Ok(Action::requeue(SOON))
}

/// Tells the brake of the cloud how an attempt ended before anything was copied, or that a copy has begun.
pub(super) fn tell_brake(context: &Context, run: &MigrationRun, before: &MigrationRunStatus, next: &MigrationRunStatus) {
    let Some(attempt) = next.attempts.last() else { return };
    let was_copying = before.attempts.last().is_some_and(|attempt| attempt.copying_at.is_some());
    if attempt.copying_at.is_some() && !was_copying || (attempt.outcome == Some(Outcome::Completed) && attempt.copying_at.is_none()) {
        context.brake(&run.spec.cloud, Brake::copied);
        return;
    }
    let has_ended = open_attempt(before).is_some() && attempt.ended_at.is_some();
    let failed = match attempt.outcome {
        Some(Outcome::Error | Outcome::Refused | Outcome::DependencyDown | Outcome::NotReceived) => true,
        // Nova that does not even take the request has judged the host alone.
        Some(Outcome::DestinationRefused) => attempt.migration_id.is_some(),
        _ => false,
    };
    if has_ended
        && failed
        && attempt.copying_at.is_none()
        && let Ok(server) = run.spec.server.parse()
    {
        let words = attempt.message.clone().unwrap_or_default();
        context.brake(&run.spec.cloud, |brake| brake.failed(ServerId(server), attempt.destination.as_deref(), &words, context.clock.now()));
    }
}

/// Holds all requests of the cloud back where Nova said that they are too many.
fn note_over_limit(context: &Context, run: &MigrationRun, outcome: &PostOutcome) {
    if let PostOutcome::Refused(fault) = outcome
        && fault.kind() == FaultKind::OverLimit
    {
        let words = fault.message().map_or_else(|| fault.to_string(), ToOwned::to_owned);
        context.brake(&run.spec.cloud, |brake| brake.too_many_requests(fault.retry_after(), &words, context.clock.now()));
    }
}

/// The status with Nova's answer in it.
fn answer(context: &Context, object: &MigrationRun, mut status: MigrationRunStatus, outcome: PostOutcome) -> MigrationRunStatus {
    let now = MicroTime(context.clock.now());
    let run = object.name_any();
    match outcome {
        PostOutcome::Accepted { request_id } => {
            tracing::info!(run, request_id, "Nova accepted a live migration.");
            if let Some(attempt) = status.attempts.last_mut() {
                attempt.request_id = request_id;
                attempt.started_at = Some(now);
            }
        }
        PostOutcome::Refused(fault) if is_no_answer_to_the_request(&fault) => {
            tracing::warn!(run, error = %chain(&fault), "A live migration could not be asked for; Nova has not judged it, so the attempt does not count.");
            status.attempts.pop();
        }
        PostOutcome::Refused(fault) => {
            tracing::warn!(run, error = %chain(&fault), "Nova refused a live migration.");
            let braked = has_free_probes(&status) && context.brake(&object.spec.cloud, |brake| brake.is_open());
            if let Some(attempt) = status.attempts.last_mut() {
                attempt.ended_at = Some(now);
                attempt.outcome = Some(match refusal(attempt.destination.is_some(), &fault) {
                    Outcome::Refused if braked => Outcome::DependencyDown,
                    outcome => outcome,
                });
                attempt.message = Some(shorten(fault.message().map_or_else(|| fault.to_string(), ToOwned::to_owned), 512));
            }
        }
        PostOutcome::Unknown(fault) => {
            tracing::warn!(run, error = %chain(&fault), "The answer to a live migration request was lost; Nova's record will tell.");
        }
    }
    status
}

/// Nova refuses a host that it does not know, or that its scheduler will not have, by 400 and before anything else.
fn refusal(named: bool, fault: &Fault) -> Outcome {
    let about_host =
        named && fault.kind() == FaultKind::BadRequest && fault.message().is_some_and(|words| words.contains("ompute host") || words.contains("No valid host"));
    if about_host { Outcome::DestinationRefused } else { Outcome::Refused }
}

/// Whether a run that is being deleted has no quarantine any more and nothing that could be followed: no attempt is open, or the cloud cannot be asked (the quarantine's own deletion
/// has waited for it long enough).
pub(super) fn is_orphan(context: &Context, run: &MigrationRun) -> bool {
    let followed = run.status.as_ref().is_some_and(|status| open_attempt(status).is_some()) && cloud::usable(context, &run.spec.cloud).is_ok();
    run.metadata.deletion_timestamp.is_some() && owner(context, run).is_none() && !followed
}

/// Whether a refusal says nothing about the move: the request never left, the credential was not accepted, or too much was asked at once. (A fault of Keystone's comes here with its status.)
fn is_no_answer_to_the_request(fault: &Fault) -> bool {
    fault.status().is_none() || matches!(fault.kind(), FaultKind::Unauthorized | FaultKind::OverLimit | FaultKind::Server)
}

/// A run that has ended and is being deleted is let go; one whose server has not left while its drain goes on, once the quarantine remembers that it was deleted, so that it is not made again.
pub(super) async fn let_go(context: &Context, run: &MigrationRun) -> Result<Action, Failure> {
    context.give_back(&run.name_any());
    if run.metadata.deletion_timestamp.is_none() || !run.finalizers().iter().any(|name| name == FINALIZER) {
        return Ok(Action::await_change());
    }
    let left = is_true(&run.status.clone().unwrap_or_default().conditions, Kind::Succeeded);
    let awaited = |quarantine: &HostQuarantine| !matches!(permission(quarantine), Permission::Over(_)) && !remembers_deletion(quarantine, run);
    if !left && owner(context, run).is_some_and(|quarantine| awaited(&quarantine)) {
        return Ok(Action::requeue(Duration::from_secs(30)));
    }
    let name = run.name_any();
    if let Ok(live) = context.cloud(&run.spec.cloud) {
        context.unwatch_if_idle(&live, &run.spec.cloud, &HostName(run.spec.source_host.clone()), &name);
    }
    let finalizers: Vec<String> = run.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
    match finalizer::set(&context.api(), run, &finalizers).await {
        Ok(_) => Ok(Action::await_change()),
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(Action::await_change()),
        Err(error) => Err(Failure::kubernetes(format!("change the finalizers of MigrationRun {name}"))(error)),
    }
}
