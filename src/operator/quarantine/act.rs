//! Carries out what was decided: the finalizer, Nova's service, the runs, and how often to look.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::ResourceExt as _;
use kube::api::PostParams;
use kube::core::object::HasSpec as _;
use kube::runtime::controller::Action;

use super::observe::{Seen, is_released};
use crate::api::run::Destination;
use crate::api::{FINALIZER, HostQuarantine, MigrationRun, MigrationRunSpec};
use crate::gate;
use crate::inventory::{HostName, ServiceId};
use crate::kubernetes::event::Tone;
use crate::kubernetes::status::FIELD_MANAGER;
use crate::kubernetes::{answer, finalizer};
use crate::migration::open_attempt;
use crate::openstack::{CloudControl, Fault};
use crate::operator::context::Context;
use crate::operator::failure::Failure;
use crate::operator::rests::Rest;
use crate::quarantine::{Action as Todo, NewRun, Pace, RETRY, Write, run_name};

/// How many runs are made side by side.
const RUNS_AT_ONCE: usize = 8;
/// When a cloud that could not be asked is asked again.
const SOON: Duration = Duration::from_secs(3);

/// Puts the finalizer on an object that may write to the cloud, before it does.
pub(super) async fn hold(context: &Context, quarantine: HostQuarantine) -> Result<HostQuarantine, Failure> {
    let needed = quarantine.spec.mode.writes() && quarantine.metadata.deletion_timestamp.is_none() && !is_released(&quarantine);
    if !needed || quarantine.finalizers().iter().any(|name| name == FINALIZER) {
        return Ok(quarantine);
    }
    let mut finalizers = quarantine.finalizers().to_vec();
    finalizers.push(FINALIZER.to_owned());
    set_finalizers(context, &quarantine, &finalizers).await
}

async fn set_finalizers(context: &Context, quarantine: &HostQuarantine, finalizers: &[String]) -> Result<HostQuarantine, Failure> {
    let failed = Failure::kubernetes(format!("change the finalizers of HostQuarantine {}", quarantine.name_any()));
    finalizer::set(&context.api(), quarantine, finalizers).await.map_err(failed)
}

/// Carries out the actions in their order.
pub(super) async fn act(context: &Context, quarantine: &HostQuarantine, seen: &Seen, actions: &[Todo]) -> Result<(), Failure> {
    for action in actions {
        match action {
            Todo::WriteService(service, write) => {
                let live = seen.live.as_ref();
                // Observe has no permit, and so no client that could write.
                let permit = gate::permit_writes(quarantine.spec.mode.writes());
                if let (Some(live), Some(permit)) = (live, permit) {
                    let control = CloudControl::new(live.cloud.clone(), permit);
                    let written = write_service(quarantine, &control, service, write).await;
                    live.inventory.refresh_now();
                    let action = if matches!(write, Write::Disable(_)) { "disable" } else { "enable" };
                    context.note_refusal(&seen.uid, action, written)?;
                }
            }
            Todo::MakeRuns(runs) => make_runs(context, quarantine, runs).await?,
            Todo::RemoveFinalizer => let_go(context, quarantine).await?,
        }
    }
    Ok(())
}

async fn write_service(quarantine: &HostQuarantine, control: &CloudControl, service: &ServiceId, write: &Write) -> Result<(), Fault> {
    let host = &quarantine.spec.host;
    match write {
        Write::Disable(reason) => {
            control.disable_service(service, reason.as_deref()).await?;
            tracing::info!(quarantine = quarantine.name_any(), host, reason, "Disabled the host's compute service.");
        }
        Write::Enable => {
            control.enable_service(service).await?;
            tracing::info!(quarantine = quarantine.name_any(), host, "Enabled the host's compute service.");
        }
    }
    Ok(())
}

async fn make_runs(context: &Context, quarantine: &HostQuarantine, runs: &[NewRun]) -> Result<(), Failure> {
    let made = stream::iter(runs.to_vec()).map(|run| make_run(context, quarantine, run)).buffer_unordered(RUNS_AT_ONCE);
    made.try_collect::<Vec<()>>().await.map(|_| ())
}

/// Makes one run. One of this name is this incident's own: the name has the quarantine's UID in it.
async fn make_run(context: &Context, quarantine: &HostQuarantine, new: NewRun) -> Result<(), Failure> {
    let uid = quarantine.uid().unwrap_or_default();
    let name = run_name(new.server, &uid, new.ordinal);
    let spec = MigrationRunSpec {
        cloud: quarantine.spec.cloud.clone(),
        server: new.server.to_string(),
        source_host: quarantine.spec.host.clone(),
        quarantine: quarantine.name_any(),
        plan: new.plan,
        order: new.order,
        destination: Destination { host: new.destination.map(|host| host.0).unwrap_or_default() },
        method: quarantine.spec.migration.method,
        completion_timeout: quarantine.spec.migration.completion_timeout,
        max_attempts: quarantine.spec.migration.max_attempts,
        deadline: quarantine.spec.deadline,
        ..MigrationRunSpec::default()
    };
    let mut run = MigrationRun::new(&name, spec);
    run.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    run.metadata.annotations = new.retry.map(|retry| BTreeMap::from([(RETRY.to_owned(), retry.to_string())]));
    run.metadata.owner_references = kube::Resource::controller_owner_ref(quarantine, &()).map(|owner| vec![owner]);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match answer(context.api::<MigrationRun>().create(&params, &run)).await {
        Ok(made) => {
            tracing::debug!(run = name, server = made.spec().server, "Made a run.");
            Ok(())
        }
        Err(kube::Error::Api(refusal)) if refusal.reason == "AlreadyExists" => Ok(()),
        Err(error) => Err(Failure::kubernetes(format!("make MigrationRun {name}"))(error)),
    }
}

/// Lets the object go, and says what it leaves behind.
async fn let_go(context: &Context, quarantine: &HostQuarantine) -> Result<(), Failure> {
    let written = quarantine.status.as_ref().is_some_and(|status| status.host.is_some());
    if written && !is_released(quarantine) {
        let host = &quarantine.spec.host;
        let open = context.runs_of(&quarantine.uid().unwrap_or_default()).iter().filter(|run| has_open_attempt(run)).count();
        let unfollowed =
            if open > 0 { format!(" {open} moves under way are not waited for any longer: see openstack server migration list.") } else { String::new() };
        let note = format!(
            "host {host} stays out of service as it is: deleting is not releasing.{unfollowed} To give it back: openstack compute service set --enable {host} nova-compute"
        );
        context.events.publish(quarantine, Tone::Warning, "Delete", "CordonKept", &note).await;
        tracing::warn!(quarantine = quarantine.name_any(), host, "A quarantine was deleted; its host stays out of service.");
    }
    let finalizers: Vec<String> = quarantine.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
    if finalizers.len() != quarantine.finalizers().len() {
        set_finalizers(context, quarantine, &finalizers).await?;
    }
    context.forget(&quarantine.uid().unwrap_or_default());
    Ok(())
}

fn has_open_attempt(run: &MigrationRun) -> bool {
    run.status.as_ref().is_some_and(|status| open_attempt(status).is_some())
}

/// When to decide again, and whether the poller keeps an eye on the host meanwhile.
pub(super) fn pace(context: &Context, quarantine: &HostQuarantine, seen: &Seen, pace: Pace) -> Action {
    let host = HostName(quarantine.spec.host.clone());
    match (&seen.live, pace) {
        (Some(live), Pace::Active) => live.inventory.watch_host(&host),
        (Some(live), Pace::Idle | Pace::Never) => context.unwatch_if_idle(live, &quarantine.spec.cloud, &host, &quarantine.name_any()),
        _ => {}
    }
    match pace {
        // The poller wakes us after each look; this is the net under it.
        Pace::Active => Action::requeue(seen.idle),
        Pace::Soon => Action::requeue(SOON),
        Pace::Now => Action::requeue(Duration::ZERO),
        Pace::Idle => {
            rest(context, quarantine, seen, Rest::For(seen.idle));
            Action::requeue(seen.idle)
        }
        Pace::Never => {
            rest(context, quarantine, seen, Rest::UntilItChanges);
            Action::await_change()
        }
    }
}

fn rest(context: &Context, quarantine: &HostQuarantine, seen: &Seen, rest: Rest) {
    let version = quarantine.metadata.resource_version.clone().unwrap_or_default();
    context.rests.begin(&seen.uid, version, rest, seen.wakes, context.clock.monotonic());
}
