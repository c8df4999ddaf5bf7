//! Server groups: which hosts the rule of a server's group leaves to it. Nova goes by where it believes the other members to be at that moment.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::describe::{GroupPolicy, VmState};
use super::model::Server;
use super::state::Cloud;

impl Cloud {
    /// The members of a group that are not deleted, oldest first.
    pub(crate) fn members(&self, group: &str) -> Vec<&Server> {
        let mut members: Vec<&Server> = self.servers.values().filter(|server| server.group.as_deref() == Some(group)).collect();
        members.sort_by_key(|server| server.number);
        members
    }
}

/// Whether a host may have this server, by the rule of its group.
pub(super) fn allowed_hosts(cloud: &Cloud, server: Uuid) -> impl Fn(&str) -> bool {
    let group = cloud.server(server).and_then(|server| server.group.as_deref());
    let policy = group.and_then(|group| cloud.settings.server_groups.get(group)).map(|group| group.policy);
    let others = group.map(|group| cloud.members(group)).unwrap_or_default();
    let others = others.into_iter().filter(|other| other.id != server && other.state != VmState::SoftDeleted);
    let taken: BTreeSet<String> = others.map(|other| other.host.clone()).collect();
    move |host| match policy {
        Some(GroupPolicy::AntiAffinity) => !taken.contains(host),
        Some(GroupPolicy::Affinity) => taken.is_empty() || taken.contains(host),
        Some(GroupPolicy::SoftAffinity | GroupPolicy::SoftAntiAffinity) | None => true,
    }
}
