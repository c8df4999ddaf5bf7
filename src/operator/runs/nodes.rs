//! The servers that are nodes of the cluster that Sidestep itself runs in, by the nodes' `spec.providerID`: they move last, one at a time, and never cold.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use uuid::Uuid;

use crate::api::condition::{Kind, find, is_true};
use crate::api::{HostQuarantine, HostQuarantineStatus, MigrationRun};
use crate::inventory::{HostView, Server, ServerId};
use crate::migration::{Standing, open_attempt};
use crate::operator::context::{Context, is_finished};
use crate::operator::failure::chain;
use crate::plan::NoPlace;

/// How old the list of nodes may be. It is read only while there are moves.
const INTERVAL: Duration = Duration::from_secs(30);

/// The nodes as last listed, and when (monotonic).
#[derive(Debug, Default)]
pub(in super::super) struct OwnNodes(Mutex<Known>);

#[derive(Clone, Debug, Default)]
struct Known {
    servers: Arc<BTreeSet<ServerId>>,
    asked_at: Option<Duration>,
}

impl Context {
    /// The servers that are nodes of our own cluster. Where the nodes cannot be listed, those that were known before.
    pub(in super::super) async fn own_nodes(&self) -> Arc<BTreeSet<ServerId>> {
        let now = self.clock.monotonic();
        let known = {
            let mut known = self.own_nodes.0.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = known.asked_at.is_some_and(|at| now.saturating_sub(at) < INTERVAL);
            // Whoever comes meanwhile takes what is known.
            if !fresh && known.asked_at.is_some() {
                known.asked_at = Some(now);
            }
            (fresh, Arc::clone(&known.servers))
        };
        if known.0 {
            return known.1;
        }
        let listed = Api::<Node>::all(self.client.clone()).list(&ListParams::default()).await;
        let mut state = self.own_nodes.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked_at = Some(now);
        match listed {
            Ok(nodes) => state.servers = Arc::new(nodes.items.iter().filter_map(server_of).collect()),
            Err(error) => {
                if self.may_warn("Node", "all") {
                    tracing::warn!(error = %chain(&error), "The nodes of this cluster cannot be listed; which servers they are is not known anew.");
                }
            }
        }
        Arc::clone(&state.servers)
    }
}

/// `openstack:///UUID`, or with a region between the slashes.
fn server_of(node: &Node) -> Option<ServerId> {
    let id = node.spec.as_ref()?.provider_id.as_deref()?.strip_prefix("openstack://")?;
    id.rsplit('/').next()?.parse::<Uuid>().ok().map(ServerId)
}

/// What holds for a run of such a server: after all others of its host, and one in all clouds at a time. `view` is of its source.
pub(super) fn standing(context: &Context, run: &MigrationRun, view: &HostView, quarantine: Option<&HostQuarantine>, nodes: &BTreeSet<ServerId>) -> Standing {
    let is_node = |run: &MigrationRun| run.spec.server.parse().is_ok_and(|server| nodes.contains(&ServerId(server)));
    if !is_node(run) {
        return Standing::Permits;
    }
    let runs = context.stores.runs.state();
    let others = || runs.iter().filter_map(|object| object.0.as_ref().ok()).filter(|other| other.uid() != run.uid() && !is_finished(other));
    let same_source = |other: &&MigrationRun| other.spec.cloud == run.spec.cloud && other.spec.source_host == run.spec.source_host;
    // Runs are made side by side, so those of the others may not be there yet.
    let has_run =
        |server: &Server| runs.iter().filter_map(|object| object.0.as_ref().ok()).filter(same_source).any(|other| other.spec.server == server.id.to_string());
    let awaits_run = |server: &&Server| !nodes.contains(&server.id) && !has_run(server);
    if others().filter(same_source).any(|other| !is_node(other) && !is_stuck(other)) || without_residents(view, quarantine).any(|server| awaits_run(&server)) {
        return Standing::holds("the server is a node of the cluster that Sidestep runs in: it moves after all others of its host");
    }
    let under_way = |other: &MigrationRun| is_node(other) && other.status.as_ref().is_some_and(|status| open_attempt(status).is_some());
    // Of those that wait the first by name goes, so that two never begin in the same moment.
    let before = |other: &MigrationRun| is_node(other) && !is_stuck(other) && other.name_any() < run.name_any();
    if others().any(|other| under_way(other) || (same_source(&other) && before(other))) {
        return Standing::holds("the server is a node of the cluster that Sidestep runs in: such servers move one at a time");
    }
    Standing::Permits
}

/// The servers on the host that a run is made for sooner or later: all but the residents. None where a person made the run, or where not every resident is named.
fn without_residents<'a>(view: &'a HostView, quarantine: Option<&'a HostQuarantine>) -> impl Iterator<Item = &'a Server> {
    let status = quarantine.and_then(|quarantine| quarantine.status.as_ref());
    let all_named = status.filter(|status| usize::try_from(status.resident_count.unwrap_or(0)).is_ok_and(|count| count <= status.residents.len()));
    let is_resident = |server: &Server, status: &HostQuarantineStatus| status.residents.iter().any(|resident| resident.server == server.id.to_string());
    all_named.into_iter().flat_map(move |status| view.servers.iter().filter(move |server| !is_resident(server, status)))
}

/// Whether a run goes on only when something changes: nobody waits for it.
pub(super) fn is_stuck(run: &MigrationRun) -> bool {
    let conditions = run.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let reason = find(conditions, Kind::Succeeded).map(|condition| condition.reason.as_str()).unwrap_or_default();
    is_true(conditions, Kind::Stalled) || [NoPlace::NoDestination.as_str(), NoPlace::PoolFull.as_str()].contains(&reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_of_a_node_is_the_end_of_its_provider_id() {
        let server = |id: &str| server_of(&serde_json::from_value(serde_json::json!({"metadata": {"name": "n"}, "spec": {"providerID": id}})).unwrap());
        let uuid = "6f1c9f0e-2d3b-4c59-9a77-0b8f5e2d4a61";
        let expected = Some(ServerId(uuid.parse().unwrap()));
        assert_eq!(server(&format!("openstack:///{uuid}")), expected);
        assert_eq!(server(&format!("openstack://RegionOne/{uuid}")), expected);
        for other in ["", "kind://docker/kind/node", "aws:///eu/i-1", "openstack:///no-uuid"] {
            assert_eq!(server(other), None, "{other}");
        }
    }
}
