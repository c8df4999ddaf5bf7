//! Sentinels that a test plays itself: a HostReport and a Lease for each node, renewed until the test withholds the renewals.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use sidestep::api::HostReport;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::control_plane::SENTINELS;

/// The time between two renewals.
const INTERVAL: Duration = Duration::from_secs(1);

/// Ends with the test.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    withheld: Arc<Mutex<BTreeSet<String>>>,
    _tasks: JoinSet<()>,
}

impl Heartbeats {
    /// Begins to renew the Lease of each node, and writes a HostReport for those that have no sentinel of their own.
    pub(crate) async fn start(client: &Client, nodes: &[String], own: &[&str]) -> Self {
        let reports = Api::<HostReport>::all(client.clone());
        let params = PatchParams::apply("story").force();
        for node in nodes.iter().filter(|node| !own.contains(&node.as_str())) {
            let report =
                json!({"apiVersion": "sidestep.dev/v1alpha1", "kind": "HostReport", "metadata": {"name": node}, "spec": {"node": node, "version": "0"}});
            reports.patch(node, &params, &Patch::Apply(report)).await.unwrap();
        }
        let withheld: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let mut tasks = JoinSet::new();
        for node in nodes {
            tasks.spawn(renew(client.clone(), node.clone(), Arc::clone(&withheld)));
        }
        Self { withheld, _tasks: tasks }
    }

    /// Withholds the renewals of these nodes.
    pub(crate) fn withhold(&self, nodes: &[String]) {
        self.withheld.lock().unwrap().extend(nodes.iter().cloned());
    }

    /// Lets a node be heard again.
    pub(crate) fn restore(&self, node: &str) {
        self.withheld.lock().unwrap().remove(node);
    }
}

async fn renew(client: Client, node: String, withheld: Arc<Mutex<BTreeSet<String>>>) {
    let leases = Api::<Lease>::namespaced(client, SENTINELS);
    for beat in 1.. {
        let is_withheld = withheld.lock().unwrap().contains(&node);
        if !is_withheld {
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": node}, "spec": {"holderIdentity": format!("{node} {beat}")}});
            // What fails is as good as withheld.
            drop(leases.patch(&node, &PatchParams::apply("story").force(), &Patch::Apply(lease)).await);
        }
        sleep(INTERVAL).await;
    }
}
