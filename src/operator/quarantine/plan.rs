//! The plan of a drain as it would be made now, and what later alerts on the host ask for: both are values for the decision.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt as _;
use uuid::Uuid;

use crate::api::HostQuarantine;
use crate::api::alert::Decision;
use crate::api::quarantine::ResidentReason;
use crate::api::units::{ResponseAction, Scope};
use crate::inventory::{HostView, Server, ServerId};
use crate::kubernetes::guard;
use crate::operator::context::{Context, LiveCloud};
use crate::operator::places;
use crate::plan::{NoPlace, Subject, digest, spread};
use crate::quarantine::{Joined, PlanSight, RunFacts, effective_scope, passengers};

/// What later alerts on the host ask for: those that were decided to join this object, each with what the policy that decided asked for.
pub(super) fn joined(context: &Context, quarantine: &HostQuarantine) -> Joined {
    let name = quarantine.name_any();
    let created = quarantine.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
    let mut joined = Joined::default();
    for alert in guard::all(&context.stores.alerts) {
        let Some(status) = alert.status.filter(|status| status.quarantine.as_ref() == Some(&name)) else { continue };
        if status.decision != Some(Decision::AlreadyQuarantined) {
            continue;
        }
        joined.scope = joined.scope.max(status.scope);
        joined.drain |= status.action == Some(ResponseAction::Drain);
        joined.is_new |= status.last_received.is_some_and(|received| received.0 > created);
    }
    joined
}

/// The plan as it would be made now; nothing while it is not known what the other hosts have room for.
pub(super) async fn sight(
    context: &Context,
    live: &LiveCloud,
    quarantine: &HostQuarantine,
    view: &HostView,
    runs: &[RunFacts],
    joined: &Joined,
) -> Option<PlanSight> {
    let spec = &quarantine.spec;
    let status = quarantine.status.clone().unwrap_or_default();
    let scope = effective_scope(spec, &status, joined);
    let servers = passengers(spec, &status, view, runs);
    let servers: Vec<Server> = view.servers.iter().filter(|server| servers.contains(&server.id)).cloned().collect();
    let bounds = places::bounds_of(context, quarantine, scope);
    let mut request = context.plan_request(&spec.cloud, &view.host, bounds.rules, bounds.pool, seed(quarantine))?;
    request.passengers = match context.passengers(live, &view.host, &servers).await {
        Ok(passengers) => passengers,
        Err(fault) => {
            tracing::warn!(quarantine = quarantine.name_any(), error = %fault, "The members of a server group cannot be looked up; planning again.");
            return None;
        }
    };
    let nodes = context.own_nodes().await;
    for passenger in &mut request.passengers {
        passenger.is_last = nodes.contains(&passenger.server);
    }
    let plan = spread(&request);
    let mut sight = PlanSight { hosts: plan.allowed, seed: i64::try_from(plan.seed).ok(), ..PlanSight::default() };
    sight.moves.extend(plan.moves.into_iter().map(|step| (step.server, (Some(step.destination), step.order))));
    let reason = |reason| match reason {
        NoPlace::NoDestination => ResidentReason::NoDestination,
        NoPlace::PoolFull => ResidentReason::PoolFull,
    };
    sight.unplaced.extend(plan.unplaced.into_iter().map(|left| (left.server, (reason(left.reason), left.message))));
    sight.digest = name_of(quarantine, scope, &sight);
    Some(sight)
}

/// Decides between equally free hosts: a part of the object's UID, so that the plan can be made again.
fn seed(quarantine: &HostQuarantine) -> u64 {
    let uid = quarantine.uid().and_then(|uid| uid.parse::<Uuid>().ok()).unwrap_or_default();
    // It stands in status as a signed number.
    uid.as_u64_pair().1 >> 1
}

/// The digest of a plan.
fn name_of(quarantine: &HostQuarantine, scope: Scope, sight: &PlanSight) -> String {
    let spec = &quarantine.spec;
    let method = BTreeMap::from([
        ("lockedServers".to_owned(), format!("{:?}", spec.migration.locked_servers)),
        ("maxAttempts".to_owned(), spec.migration.max_attempts.to_string()),
        ("method".to_owned(), format!("{:?}", spec.migration.method)),
        ("stoppedServers".to_owned(), format!("{:?}", spec.migration.stopped_servers)),
    ]);
    let servers: Vec<ServerId> = sight.moves.keys().copied().collect();
    digest(&Subject { cloud: &spec.cloud, host: &spec.host, scope: scope.as_str(), method: &method, servers: &servers, allowed: &sight.hosts })
}
