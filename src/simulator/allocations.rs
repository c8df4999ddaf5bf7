//! What Placement has given away: who holds what on which host, and how much of each host is taken.
//!
//! During a migration its UUID holds the source, and the server's the destination once there is one; a cold one keeps the source until it is confirmed. Soft-deleted servers hold what they held.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::model::{Migration, Size};
use super::state::Cloud;

impl Cloud {
    /// Who holds what on a host.
    #[must_use]
    pub fn allocations(&self, host: &str) -> Vec<(Uuid, Size)> {
        let moving = self.moving();
        let staying = self.servers_on(host).filter(|server| !moving.contains_key(&server.id)).map(|server| (server.id, server.size));
        let mut allocations: Vec<(Uuid, Size)> = staying.collect();
        for (server, migration) in moving {
            if migration.source == host {
                allocations.push((migration.uuid, migration.size));
            }
            if migration.destination.as_deref() == Some(host) {
                allocations.push((server, migration.size));
            }
        }
        allocations.sort_by_key(|(consumer, _)| *consumer);
        allocations
    }

    /// How much of each host is taken; a host of which nothing is taken is not there.
    pub(crate) fn usage(&self) -> BTreeMap<&str, Size> {
        let mut usage: BTreeMap<&str, Size> = self.residents.iter().map(|(host, there)| (host.as_str(), there.size)).collect();
        for (server, migration) in self.moving() {
            if let Some(there) = self.server(server).and_then(|server| usage.get_mut(server.host.as_str())) {
                there.remove(migration.size);
            }
            for host in [Some(&migration.source), migration.destination.as_ref()].into_iter().flatten() {
                usage.entry(host).or_default().add(migration.size);
            }
        }
        usage
    }

    /// The servers that are held by a migration, with it.
    fn moving(&self) -> BTreeMap<Uuid, &Migration> {
        let holding = self.open().filter(|one| one.holds_source() && self.servers.contains_key(&one.server));
        // Of two, the earlier one: the later one holds only when it is over.
        holding.fold(BTreeMap::new(), |mut moving, one| {
            moving.entry(one.server).or_insert(one);
            moving
        })
    }
}
