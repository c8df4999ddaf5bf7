//! What a decision on a run is taken on.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::api::run::Attempt;
use crate::api::{HostQuarantine, MigrationRun};
use crate::inventory::{HostName, HostView, NovaMigration, RowStatus, ServerId, ServiceState};
use crate::kubernetes::guard;
use crate::migration::{Absence, Observation, Run, ServerSight, Standing, UNRESOLVED_AFTER, find_row, open_attempt};
use crate::openstack::{Fault, MigrationFilter};
use crate::operator::cloud;
use crate::operator::context::{Context, LiveCloud, owner_uid};
use crate::quarantine::{Permission, permission};

/// The time between the two looks that find no trace of an attempt.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// What was seen for one decision.
pub(super) struct Seen {
    pub(super) run: Run,
    pub(super) observation: Observation,
    pub(super) live: Arc<LiveCloud>,
    /// The quarantine, while there is one of the run's owner.
    pub(super) quarantine: Option<HostQuarantine>,
}

/// Looks at everything that a decision on this run needs. Nothing when the cloud cannot be asked, or was not looked at since the attempt was written: then nothing is decided.
pub(super) async fn observe(context: &Context, object: &MigrationRun) -> Option<Seen> {
    let run = run_of(object)?;
    let live = cloud::usable(context, &object.spec.cloud).ok()?;
    live.inventory.watch_host(&run.source);
    let view = live.inventory.host(&run.source)?;
    if live.inventory.host_error(&run.source).is_some() {
        return None;
    }
    let quarantine = owner(context, object);
    let attempt = object.status.as_ref().and_then(open_attempt).cloned();
    if attempt.as_ref().is_some_and(|attempt| view.begun_at <= attempt.intent_at.0) {
        return None;
    }
    match look(context, &live, &view, &run, object, quarantine.as_ref(), attempt.as_ref()).await {
        Ok(observation) => Some(Seen { run, observation, live, quarantine }),
        Err(fault) => {
            tracing::warn!(run = object.name_any(), error = %fault, "A look at a server failed; looking again.");
            None
        }
    }
}

fn run_of(object: &MigrationRun) -> Option<Run> {
    Some(Run {
        server: ServerId(object.spec.server.parse().ok()?),
        source: HostName(object.spec.source_host.clone()),
        max_attempts: object.spec.max_attempts,
        deadline: object.spec.deadline.get(),
        generation: object.metadata.generation,
    })
}

/// The quarantine that the run names, if it is the one that owns it.
pub(super) fn owner(context: &Context, object: &MigrationRun) -> Option<HostQuarantine> {
    context.quarantine(&object.spec.quarantine).filter(|quarantine| quarantine.metadata.uid.as_deref() == owner_uid(object))
}

async fn look(
    context: &Context,
    live: &LiveCloud,
    view: &HostView,
    run: &Run,
    object: &MigrationRun,
    quarantine: Option<&HostQuarantine>,
    attempt: Option<&Attempt>,
) -> Result<Observation, Fault> {
    let mut standing = standing(context, live, view, object, quarantine, attempt);
    let mut rows = view.migrations.clone();
    if attempt.is_none() && standing == Standing::Permits && !take_slot(context, object) {
        standing = Standing::Holds("waits for a free slot: as many moves as the limits allow are under way".to_owned());
    }
    if attempt.is_none() && standing == Standing::Permits {
        // The intent must name the highest record there is, so the poller's selection will not do.
        rows = of_server(live, run.server).await?;
    }
    let row = attempt.and_then(|attempt| find_row(attempt, run.server, &run.source, &rows)).cloned();
    let lost_sight = attempt.is_some_and(|attempt| row.is_none() && attempt.migration_id.is_some());
    if lost_sight {
        rows = of_server(live, run.server).await?;
    }
    let absence = match attempt {
        Some(attempt) if row.is_none() && attempt.migration_id.is_none() => absence(context, live, run, attempt).await?,
        _ => None,
    };
    Ok(Observation {
        server: sight(live, view, run).await?,
        listed_on_source: Some(view.server(run.server).is_some()),
        progress: row.as_ref().and_then(|row| live.inventory.progress(run.server, row.id)).map(|progress| progress.counters),
        failure: failure(live, run, attempt, row.as_ref()).await?,
        rows,
        absence,
        standing,
    })
}

/// What the quarantine, the view and the source's own service say about a new request.
fn standing(
    context: &Context,
    live: &LiveCloud,
    view: &HostView,
    object: &MigrationRun,
    quarantine: Option<&HostQuarantine>,
    attempt: Option<&Attempt>,
) -> Standing {
    let Some(quarantine) = quarantine else {
        let message = format!("there is no HostQuarantine {} that owns this run: a run does nothing without it", object.spec.quarantine);
        return Standing::Over(message);
    };
    if object.metadata.deletion_timestamp.is_some() {
        return Standing::Over("the run was deleted; what a person deletes is not made again".to_owned());
    }
    match permission(quarantine) {
        Permission::Over(why) => return Standing::Over(why),
        Permission::Holds(why) => return Standing::Holds(why),
        Permission::Permits => {}
    }
    let fresh = live.inventory.freshness(context.clock.now()) == crate::openstack::Freshness::Fresh;
    if attempt.is_none() && !fresh {
        return Standing::Holds("the view of the cloud is too old to start anything".to_owned());
    }
    match view.service() {
        Some(service) if service.state == ServiceState::Up && !service.forced_down => Standing::Permits,
        _ => Standing::Holds("the source's nova-compute is down, and Nova cannot live-migrate from it (SourceDown)".to_owned()),
    }
}

fn take_slot(context: &Context, object: &MigrationRun) -> bool {
    let limits = context.cloud_spec(&object.spec.cloud).map(|spec| spec.concurrency).unwrap_or_default();
    context.slots.take(&object.name_any(), object, &guard::all(&context.stores.runs), limits)
}

async fn of_server(live: &LiveCloud, server: ServerId) -> Result<Vec<NovaMigration>, Fault> {
    live.cloud.migrations(&MigrationFilter { server: Some(server), ..MigrationFilter::default() }).await
}

/// Where the server is: in the list of the source, or wherever Nova says when asked about it alone.
async fn sight(live: &LiveCloud, view: &HostView, run: &Run) -> Result<ServerSight, Fault> {
    if let Some(server) = view.server(run.server) {
        return Ok(ServerSight::OnSource(server.clone()));
    }
    Ok(match live.cloud.server(run.server).await? {
        None => ServerSight::Gone,
        Some(server) if server.host.as_ref() == Some(&run.source) => ServerSight::OnSource(server),
        Some(server) => ServerSight::Elsewhere(server),
    })
}

/// Nova's own words, once the record has ended without success.
async fn failure(live: &LiveCloud, run: &Run, attempt: Option<&Attempt>, row: Option<&NovaMigration>) -> Result<Option<String>, Fault> {
    let ended = row.is_some_and(|row| matches!(row.status, RowStatus::Error | RowStatus::Failed | RowStatus::Cancelled));
    let Some(request_id) = attempt.and_then(|attempt| attempt.request_id.as_deref()).filter(|_| ended) else { return Ok(None) };
    Ok(live.cloud.instance_action(run.server, request_id).await?.map(|action| action.failure()))
}

/// Two looks, both begun after the attempt has been without a trace for a minute: no record that could be its own, and no action.
async fn absence(context: &Context, live: &LiveCloud, run: &Run, attempt: &Attempt) -> Result<Option<Absence>, Fault> {
    let first_begun_at = context.clock.now();
    if first_begun_at < after(attempt.intent_at.0, UNRESOLVED_AFTER) {
        return Ok(None);
    }
    for look in 0..2 {
        if look > 0 {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        let rows = of_server(live, run.server).await?;
        if find_row(attempt, run.server, &run.source, &rows).is_some() || has_action(live, run, attempt).await? {
            return Ok(None);
        }
    }
    Ok(Some(Absence { first_begun_at }))
}

/// Whether Nova has an action that the attempt's request may have begun: the one of its request id, or, where the answer was lost, a live migration begun since.
async fn has_action(live: &LiveCloud, run: &Run, attempt: &Attempt) -> Result<bool, Fault> {
    if let Some(request_id) = attempt.request_id.as_deref() {
        return Ok(live.cloud.instance_action(run.server, request_id).await?.is_some());
    }
    // Nova's stamps are whole seconds of its own clock.
    let since = attempt.intent_at.0.checked_sub(Duration::from_secs(2)).unwrap_or(Timestamp::MIN);
    let actions = live.cloud.instance_actions(run.server).await?;
    Ok(actions.iter().any(|action| action.action == "live-migration" && action.start_time.is_none_or(|begun| begun >= since)))
}

fn after(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}
