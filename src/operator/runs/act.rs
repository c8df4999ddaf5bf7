//! The request to Nova, and the end of a run's life.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::observe::{Seen, owner};
use super::report;
use crate::api::condition::{Kind, is_true, shorten};
use crate::api::run::{MigrationRunStatus, Outcome};
use crate::api::units::Mode;
use crate::api::{FINALIZER, MigrationRun};
use crate::gate;
use crate::kubernetes::{finalizer, status};
use crate::migration::open_attempt;
use crate::openstack::{CloudControl, Fault, FaultKind, PostOutcome};
use crate::operator::cloud;
use crate::operator::context::Context;
use crate::operator::crash::Point;
use crate::operator::failure::{Failure, chain};
use crate::quarantine::{Permission, permission};

/// When to look after a request.
const SOON: Duration = Duration::from_secs(1);

/// Writes the intent, then asks Nova, then writes the answer. Nothing is sent when the intent could not be written on the object as it was read.
pub(super) async fn ask(context: &Context, run: &MigrationRun, seen: &Seen, intent: &MigrationRunStatus) -> Result<Action, Failure> {
    let name = run.name_any();
    let mode = seen.quarantine.as_ref().map_or(Mode::Observe, |quarantine| quarantine.spec.mode);
    let Some(permit) = gate::permit_writes(mode == Mode::Enforce) else { return Ok(Action::requeue(SOON)) };
    let control = CloudControl::new(seen.live.cloud.clone(), permit);
    let written = match status::apply(&context.api(), run, intent).await {
        Ok(written) => written,
        Err(error) => {
            context.slots.give_back(&name);
            return Err(error.into());
        }
    };
    context.crash.here(Point::AfterIntent);
    let outcome = control.live_migrate(seen.run.server).await;
    context.crash.here(Point::AfterPost);
    let answered = answer(context, &name, intent.clone(), outcome);
    if open_attempt(&answered).is_none() {
        context.slots.give_back(&name);
    }
    seen.live.inventory.refresh_now();
    report::write_answer(context, &written, &answered).await?;
    Ok(Action::requeue(SOON))
}

/// The status with Nova's answer in it.
fn answer(context: &Context, run: &str, mut status: MigrationRunStatus, outcome: PostOutcome) -> MigrationRunStatus {
    let now = MicroTime(context.clock.now());
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
            if let Some(attempt) = status.attempts.last_mut() {
                attempt.ended_at = Some(now);
                attempt.outcome = Some(Outcome::Refused);
                attempt.message = Some(shorten(fault.message().map_or_else(|| fault.to_string(), ToOwned::to_owned), 512));
            }
        }
        PostOutcome::Unknown(fault) => {
            tracing::warn!(run, error = %chain(&fault), "The answer to a live migration request was lost; Nova's record will tell.");
        }
    }
    status
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

/// A run that has ended and is being deleted is let go, unless it is the record that a person deleted it in mid-drain: then it stays until the quarantine is over, so that it is not made again.
pub(super) async fn let_go(context: &Context, run: &MigrationRun) -> Result<Action, Failure> {
    context.slots.give_back(&run.name_any());
    if run.metadata.deletion_timestamp.is_none() || !run.finalizers().iter().any(|name| name == FINALIZER) {
        return Ok(Action::await_change());
    }
    let drain_goes_on = owner(context, run).is_some_and(|quarantine| !matches!(permission(&quarantine), Permission::Over(_)));
    let left = is_true(&run.status.clone().unwrap_or_default().conditions, Kind::Succeeded);
    if drain_goes_on && !left {
        return Ok(Action::requeue(Duration::from_secs(30)));
    }
    let name = run.name_any();
    let finalizers: Vec<String> = run.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
    match finalizer::set(&context.api(), run, &finalizers).await {
        Ok(_) => Ok(Action::await_change()),
        Err(kube::Error::Api(refusal)) if refusal.code == 404 => Ok(Action::await_change()),
        Err(error) => Err(Failure::kubernetes(format!("change the finalizers of MigrationRun {name}"))(error)),
    }
}
