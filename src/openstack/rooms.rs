//! Rooms: what is free on each host, by Placement, and what a plan must know beside that: aggregates and server groups.
//!
//! One call shows the free room of all hosts, `GET /allocation_candidates` for the least amount of memory there is: its summaries have capacity (with allocation ratios, without what is reserved), use and traits of every
//! host that has any memory left. A host that has none is missing there: it is full, and its traits are not known.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use uuid::Uuid;

use super::cloud::{Cloud, Page};
use super::error::Fault;
use super::placement::{Hypervisor, WITHOUT_UPTIME};
use crate::inventory::{HostName, ServerGroup};
use crate::plan::{Resources, Room};

/// What changes rarely: which resource provider is which host, the hosts' aggregates, the server groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    providers: BTreeMap<Uuid, HostName>,
    /// The names of the aggregates that each host is in.
    pub(super) aggregates: BTreeMap<HostName, BTreeSet<String>>,
    /// Server groups whose policy binds, with two members or more.
    pub groups: Vec<ServerGroup>,
}

#[derive(Deserialize)]
struct Aggregate {
    name: String,
    #[serde(default)]
    hosts: Vec<HostName>,
}

#[derive(Deserialize)]
struct Candidates {
    provider_summaries: BTreeMap<Uuid, Summary>,
}

#[derive(Deserialize)]
struct Summary {
    resources: BTreeMap<String, Amount>,
    #[serde(default)]
    traits: BTreeSet<String>,
}

#[derive(Clone, Copy, Deserialize)]
struct Amount {
    capacity: u64,
    used: u64,
}

/// Groups are counted by an offset and have no links: a page that is not full is the last.
const GROUPS_AT_ONCE: usize = 500;
/// More pages than this are no list of groups.
const MAX_GROUP_PAGES: usize = 200;

impl Cloud {
    /// The hypervisors, aggregates and binding server groups of the cloud.
    pub async fn topology(&self) -> Result<Topology, Fault> {
        let nova = self.nova().speaking("compute", WITHOUT_UPTIME);
        let hypervisors = self.list::<Hypervisor>(&nova, "list the hypervisors", &["os-hypervisors", "detail"], &[], "hypervisors");
        let (hypervisors, aggregates, groups) = futures::try_join!(hypervisors, self.aggregates(), self.server_groups())?;
        let mut by_host: BTreeMap<HostName, BTreeSet<String>> = BTreeMap::new();
        for aggregate in aggregates {
            for host in aggregate.hosts {
                by_host.entry(host).or_default().insert(aggregate.name.clone());
            }
        }
        let providers = hypervisors.into_iter().map(|hypervisor| (hypervisor.id, hypervisor.service.host)).collect();
        Ok(Topology { providers, aggregates: by_host, groups })
    }

    async fn aggregates(&self) -> Result<Vec<Aggregate>, Fault> {
        // This list has no pages.
        let operation = "list the host aggregates";
        let answer = self.get(self.nova(), operation, &["os-aggregates"], &[]).await?;
        Ok(Page::read(operation, &answer, "aggregates")?.rows)
    }

    async fn server_groups(&self) -> Result<Vec<ServerGroup>, Fault> {
        let operation = "list the server groups";
        let (mut groups, mut offset) = (Vec::new(), 0_usize);
        let most = self.page_size().map_or(GROUPS_AT_ONCE, |rows| usize::try_from(rows.get()).unwrap_or(GROUPS_AT_ONCE).min(GROUPS_AT_ONCE));
        for _ in 0..MAX_GROUP_PAGES {
            let (limit, start) = (most.to_string(), offset.to_string());
            let query = [("all_projects", "1"), ("limit", &*limit), ("offset", &*start)];
            let answer = self.get(self.nova(), operation, &["os-server-groups"], &query).await?;
            let rows = Page::<ServerGroup>::read(operation, &answer, "server_groups")?.rows;
            let count = rows.len();
            groups.extend(rows.into_iter().filter(|group| group.binds() && group.members.len() > 1));
            // Nova's own max_limit may be lower than what was asked for; then only an empty page is the last.
            if count == 0 {
                return Ok(groups);
            }
            offset += count;
        }
        Err(Fault::foreign(operation, format!("more than {MAX_GROUP_PAGES} pages")))
    }

    /// What is free on each host, nothing on those that Placement does not show. A provider that the topology does not know is left out.
    pub async fn rooms(&self, topology: &Topology) -> Result<Vec<Room>, Fault> {
        let operation = "ask Placement which hosts have room";
        let answer = self.get(self.placement(), operation, &["allocation_candidates"], &[("resources", "MEMORY_MB:1")]).await?;
        let candidates: Candidates = answer.parse()?;
        let mut shown = candidates.provider_summaries;
        let rooms = topology.providers.iter().map(|(provider, host)| {
            let aggregates = topology.aggregates.get(host).cloned().unwrap_or_default();
            match shown.remove(provider) {
                Some(summary) => room(host.clone(), summary, aggregates),
                None => Room { host: host.clone(), free: Resources::default(), traits: BTreeSet::new(), aggregates },
            }
        });
        Ok(rooms.collect())
    }
}

fn room(host: HostName, summary: Summary, aggregates: BTreeSet<String>) -> Room {
    // A class that the host itself does not have (disk that is shared, CPUs that are pinned) is no limit of the host's: Nova's scheduler judges it.
    let free = |class: &str| summary.resources.get(class).map_or(u64::MAX, |amount| amount.capacity.saturating_sub(amount.used));
    let free = Resources { vcpus: free("VCPU"), memory_mb: free("MEMORY_MB"), disk_gb: free("DISK_GB") };
    Room { host, free, traits: summary.traits, aggregates }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{Canned, Reply, usual};
    use super::*;
    use crate::inventory::{GroupRules, ServerId};

    const PROVIDER: &str = "d9e4c311-8982-4a28-b0a9-ba16ac3ecf49";
    const FULL: &str = "d9e4c311-8982-4a28-b0a9-ba16ac3ecf51";
    const STRANGER: &str = "d9e4c311-8982-4a28-b0a9-ba16ac3ecf50";

    async fn cloud() -> (Canned, Cloud) {
        let canned = Canned::start(|asked, before| match asked.path.rsplit('/').next().unwrap_or_default() {
            "detail" => Reply::ok(json!({"hypervisors": [{"id": PROVIDER, "service": {"host": "h1"}}, {"id": FULL, "service": {"host": "h2"}}]})),
            "os-aggregates" => Reply::ok(json!({"aggregates": [{"name": "ssd", "hosts": ["h1", "h2"]}, {"name": "empty", "hosts": []}]})),
            "os-server-groups" if before > 0 => Reply::ok(json!({"server_groups": []})),
            "os-server-groups" => Reply::ok(json!({"server_groups": [
                {"id": "g1", "name": "web", "policy": "anti-affinity", "rules": {"max_server_per_host": 2}, "members": [PROVIDER, STRANGER]},
                {"id": "g2", "name": "soft", "policy": "soft-anti-affinity", "rules": {}, "members": [PROVIDER, STRANGER]},
                {"id": "g3", "name": "alone", "policy": "affinity", "rules": {}, "members": [PROVIDER]},
            ]})),
            "allocation_candidates" => Reply::ok(json!({"allocation_requests": [], "provider_summaries": {
                PROVIDER: {"resources": {"VCPU": {"capacity": 16, "used": 20}, "MEMORY_MB": {"capacity": 4096, "used": 1024}}, "traits": ["CUSTOM_A"]},
                STRANGER: {"resources": {}, "traits": []},
            }})),
            _ => usual(),
        })
        .await;
        let cloud = canned.cloud().await;
        (canned, cloud)
    }

    #[tokio::test]
    async fn free_room_traits_and_aggregates_of_each_known_host_are_read_by_one_call() {
        let (canned, cloud) = cloud().await;
        let topology = cloud.topology().await.unwrap();
        let rooms = cloud.rooms(&topology).await.unwrap();
        let free = Resources { vcpus: 0, memory_mb: 3072, disk_gb: u64::MAX };
        let aggregates: BTreeSet<String> = ["ssd".to_owned()].into();
        let some = Room { host: "h1".into(), free, traits: ["CUSTOM_A".to_owned()].into(), aggregates: aggregates.clone() };
        let full = Room { host: "h2".into(), free: Resources::default(), traits: BTreeSet::new(), aggregates };
        assert_eq!(rooms, [some, full], "a host that Placement does not show has no memory left");
        assert_eq!(
            canned.lines().iter().filter(|line| line.contains("/placement/")).collect::<Vec<_>>(),
            ["GET /placement/allocation_candidates?resources=MEMORY_MB%3A1"]
        );
    }

    #[tokio::test]
    async fn only_groups_that_bind_somebody_are_kept() {
        let (_canned, cloud) = cloud().await;
        let groups = cloud.topology().await.unwrap().groups;
        let members = [PROVIDER, STRANGER].map(|id| ServerId(id.parse().unwrap())).to_vec();
        let rules = GroupRules { max_server_per_host: Some(2) };
        assert_eq!(groups, [ServerGroup { id: "g1".into(), name: "web".into(), policy: "anti-affinity".into(), members, rules }]);
    }
}
