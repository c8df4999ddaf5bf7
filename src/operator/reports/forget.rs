//! Deletes what is left of nodes that are gone for good: their HostReport, their HostAlerts, their Lease.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Preconditions};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::api::{HostAlert, HostReport};
use crate::kubernetes::{answer, guard};
use crate::operator::context::Context;
use crate::operator::place::Map;
use crate::silence::abandoned::is_abandoned;

/// Deletes everything of the nodes that were not heard of for `after` and belong to no host of any cloud. An object that was written since is left alone.
pub(super) async fn forget(context: &Context, map: &Map, leases: &[Lease], namespace: &str, after: SignedDuration) {
    let reports = guard::all(&context.stores.reports);
    let heard: BTreeMap<String, Option<Timestamp>> = leases.iter().map(|lease| (lease.name_any(), last_written(&lease.metadata))).collect();
    let reported = reports.iter().map(|report| (report.name_any(), last_written(&report.metadata)));
    // Where there is no Lease the report must do.
    let all: BTreeMap<String, Option<Timestamp>> = reported.chain(heard).collect();
    let now = context.clock.now();
    let gone: BTreeSet<String> =
        all.into_iter().filter(|(node, heard)| is_abandoned(*heard, after, now, || map.is_nowhere(node))).map(|(node, _)| node).collect();
    for node in &gone {
        let alerts = guard::select(&context.stores.alerts, |alert| (alert.spec.node == *node).then(|| alert.metadata.clone()));
        tracing::info!(node, alerts = alerts.len(), "A node was not heard of for long and belongs to no host of any cloud; deleting what is left of it.");
        for alert in &alerts {
            delete(&context.api::<HostAlert>(), alert).await;
        }
        for report in reports.iter().filter(|report| report.name_any() == *node) {
            delete(&context.api::<HostReport>(), &report.metadata).await;
        }
        // The Lease last: it is what says that the node is gone.
        for lease in leases.iter().filter(|lease| lease.name_any() == *node) {
            delete(&Api::<Lease>::namespaced(context.client.clone(), namespace), &lease.metadata).await;
        }
    }
}

/// Deletes an object as it was seen. What fails is tried again at the next look.
async fn delete<K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug>(api: &Api<K>, seen: &ObjectMeta) {
    let Some(name) = &seen.name else { return };
    let preconditions = Preconditions { uid: seen.uid.clone(), resource_version: seen.resource_version.clone() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match answer(api.delete(name, &params)).await {
        Err(error) if !matches!(&error, kube::Error::Api(refusal) if refusal.code == 404 || refusal.code == 409) => {
            tracing::warn!(kind = %K::kind(&()), name, %error, "An object of a node that is gone could not be deleted; it is tried again.");
        }
        _ => {}
    }
}

/// The API server's own time of the last write that was no status.
fn last_written(metadata: &ObjectMeta) -> Option<Timestamp> {
    let entries = metadata.managed_fields.iter().flatten().filter(|entry| entry.subresource.is_none());
    entries.filter_map(|entry| entry.time.as_ref()).chain(&metadata.creation_timestamp).map(|time| time.0).max()
}
