//! The plan of a drain as it would be made now, and what later alerts on the host ask for: both are values for the decision.

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use uuid::Uuid;

use crate::api::alert::Decision;
use crate::api::quarantine::ResidentReason;
use crate::api::units::{ResponseAction, Scope};
use crate::api::{HostAlertStatus, HostQuarantine};
use crate::inventory::{HostView, Server, ServerId};
use crate::kubernetes::guard;
use crate::operator::context::{Context, LiveCloud};
use crate::operator::places;
use crate::plan::{NoPlace, Subject, digest, spread};
use crate::quarantine::{Joined, PlanSight, RunFacts, effective_scope, passengers, run_name};

/// What later alerts on the host ask for: those that were decided to join this very object, each with what the policy that decided asked for.
pub(super) fn joined(context: &Context, quarantine: &HostQuarantine) -> Joined {
    let joined = guard::select(&context.stores.alerts, |alert| joins(quarantine, alert.status.as_ref()?));
    joined.into_iter().fold(Joined::default(), |all, one| Joined {
        scope: all.scope.max(one.scope),
        drain: all.drain.max(one.drain),
        is_new: all.is_new || one.is_new,
    })
}

/// What an alert that joined this object asks for. Another object of the same name, of yesterday or of another host, is another incident.
fn joins(quarantine: &HostQuarantine, alert: &HostAlertStatus) -> Option<Joined> {
    let uid = quarantine.metadata.uid.as_ref()?;
    if alert.quarantine_uid.as_ref() != Some(uid) || alert.decision != Some(Decision::AlreadyQuarantined) {
        return None;
    }
    let received = alert.last_received.as_ref().map(|time| time.0);
    let created = quarantine.metadata.creation_timestamp.as_ref().map(|time| time.0);
    Some(Joined {
        scope: alert.scope,
        drain: received.filter(|_| alert.action == Some(ResponseAction::Drain)),
        is_new: received.zip(created).is_some_and(|(received, created)| received > created),
    })
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
    // A server whose move was asked for a moment ago may still be planned: the watch does not show its attempt yet.
    let uid = quarantine.uid().unwrap_or_default();
    let placed = runs.iter().filter(|run| servers.iter().any(|server| server.id == run.server));
    let placed_anew = placed.map(|run| run_name(run.server, &uid, run.ordinal)).collect();
    let mut request = context.plan_request(&spec.cloud, &view.host, bounds.rules, bounds.pool, seed(quarantine), &placed_anew)?;
    request.passengers = context.passengers(live, &view.host, &servers).await;
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alert_joins_the_object_that_it_joined_and_no_other_of_its_name() {
        let object = |uid: &str| {
            let mut object = HostQuarantine::new("maint", serde_json::from_value(json!({"cloud": "c", "host": "h"})).unwrap());
            object.metadata.uid = Some(uid.to_owned());
            object
        };
        let alert = json!({"decision": "AlreadyQuarantined", "quarantine": "maint", "quarantineUID": "u-1", "scope": "Unknown", "action": "Drain", "lastReceived": "2026-11-25T10:00:00.000001Z"});
        let alert: HostAlertStatus = serde_json::from_value(alert).unwrap();
        let joined = joins(&object("u-1"), &alert).unwrap();
        assert_eq!((joined.scope, joined.drain), (Some(Scope::Unknown), Some("2026-11-25T10:00:00.000001Z".parse().unwrap())));
        assert_eq!(joins(&object("u-2"), &alert), None);
        let triggered = HostAlertStatus { decision: Some(Decision::Quarantined), ..alert };
        assert_eq!(joins(&object("u-1"), &triggered), None);
    }
}
