//! Placement: who holds an allocation on a host. A host is empty when nobody does, not only when its server list is: while a server migrates, the source is held by the migration's UUID.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::cloud::Cloud;
use super::error::{Fault, FaultKind};
use super::microversion::Microversion;
use crate::inventory::HostName;

/// From 2.88 on the detailed list of hypervisors asks every nova-compute for its uptime, which hangs on a host that is down.
pub(super) const WITHOUT_UPTIME: Microversion = Microversion::new(2, 84);

#[derive(Deserialize)]
pub(super) struct Hypervisor {
    /// Also the UUID of its resource provider.
    pub(super) id: Uuid,
    pub(super) service: ServiceOfHypervisor,
}

#[derive(Deserialize)]
pub(super) struct ServiceOfHypervisor {
    pub(super) host: HostName,
}

#[derive(Deserialize)]
struct Allocations {
    allocations: BTreeMap<Uuid, IgnoredAny>,
}

impl Cloud {
    /// The consumers that hold something on a host, sorted: servers and migrations by their UUID.
    ///
    /// The resource provider is found through Nova's hypervisor of that service host: its name in Placement is the hypervisor's, which may differ from the host's. It is looked for each time: a
    /// nova-compute that registered anew has another provider, and the old one, empty, may still be there.
    pub async fn allocations(&self, host: &HostName) -> Result<Vec<Uuid>, Fault> {
        let providers = self.find_providers(host).await?;
        self.consumers_of(host, &providers).await
    }

    async fn consumers_of(&self, host: &HostName, providers: &[Uuid]) -> Result<Vec<Uuid>, Fault> {
        let mut consumers = Vec::new();
        for provider in providers {
            let operation = format!("list the allocations on host {host} (resource provider {provider})");
            let path = ["resource_providers", &provider.to_string(), "allocations"];
            let answer = self.get(self.placement(), &operation, &path, &[]).await?;
            consumers.extend(answer.parse::<Allocations>()?.allocations.into_keys());
        }
        consumers.sort_unstable();
        consumers.dedup();
        Ok(consumers)
    }

    async fn find_providers(&self, host: &HostName) -> Result<Vec<Uuid>, Fault> {
        let operation = format!("find the hypervisor of host {host}");
        let nova = self.nova().speaking("compute", WITHOUT_UPTIME);
        let hypervisors: Vec<Hypervisor> = self.list(&nova, &operation, &["os-hypervisors", "detail"], &[], "hypervisors").await?;
        let providers: Vec<Uuid> = hypervisors.into_iter().filter(|hypervisor| hypervisor.service.host == *host).map(|hypervisor| hypervisor.id).collect();
        // A host without a hypervisor would look empty: that is no answer.
        if providers.is_empty() {
            Err(Fault::of(operation, FaultKind::NotFound).message("Nova lists no hypervisor of that host").build())
        } else {
            Ok(providers)
        }
    }
}
