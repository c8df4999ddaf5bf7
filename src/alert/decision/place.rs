//! From a node's name to its one cloud and host.
//!
//! A sentinel names only its node. The answer must be one host of one cloud: a guess would take the wrong machine out of service.

use std::collections::BTreeSet;

use crate::api::cloud::HostMapping;
use crate::inventory::{ComputeService, HostName};

/// What one OpenStackCloud says about nodes and hosts.
#[derive(Clone, Copy, Debug)]
pub struct CloudFacts<'a> {
    /// The OpenStackCloud's name.
    pub name: &'a str,
    /// Its `spec.hosts`.
    pub mapping: &'a [HostMapping],
    /// Nova's compute services as last read, however old. `None` when the cloud was never read.
    pub services: Option<&'a [ComputeService]>,
}

impl CloudFacts<'_> {
    /// Whether Nova may know the host: a cloud that was never read cannot be said not to.
    fn may_know(&self, host: &str) -> bool {
        self.services.is_none_or(|services| services.iter().any(|service| service.host.as_str() == host))
    }

    /// Whether Nova has a host of the node's own name that `spec.hosts` gives to no other node.
    fn has_namesake(&self, node: &str) -> bool {
        let known = self.services.is_some_and(|services| services.iter().any(|service| service.host.as_str() == node));
        known && !self.mapping.iter().any(|entry| entry.host == node && entry.node() != node)
    }
}

/// Where a node belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The OpenStackCloud.
    pub cloud: String,
    /// Nova's name of the host.
    pub host: HostName,
}

/// Why a node belongs nowhere: a sentence that names the node, the candidates and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmapped(pub String);

/// Finds the one host that a node belongs to: what `spec.hosts` of any cloud says about the node; else the host of exactly the node's name, unless `spec.hosts` gives that host to another node. A name alone decides only when every cloud has been read: another one may have a host of the same name.
///
/// # Errors
///
/// When there is no such host, or more than one.
pub fn locate(node: &str, clouds: &[CloudFacts<'_>]) -> Result<Place, Unmapped> {
    let explicit: BTreeSet<Place> =
        clouds.iter().flat_map(|cloud| cloud.mapping.iter().filter(|entry| entry.node() == node).map(|entry| place(cloud, &entry.host))).collect();
    let is_explicit = !explicit.is_empty();
    let candidates =
        if explicit.is_empty() { clouds.iter().filter(|cloud| cloud.has_namesake(node)).map(|cloud| place(cloud, node)).collect() } else { explicit };
    let mut candidates: Vec<Place> = candidates.into_iter().collect();
    match candidates.pop() {
        None => Err(Unmapped(nowhere(node, clouds))),
        Some(_) if !candidates.is_empty() => Err(Unmapped(several(node, clouds))),
        Some(only) if !is_explicit && clouds.iter().any(|cloud| cloud.name != only.cloud && cloud.services.is_none()) => {
            Err(Unmapped(unread_rival(node, &only, clouds)))
        }
        Some(only) => {
            let known = clouds.iter().filter(|cloud| cloud.name == only.cloud).all(|cloud| cloud.may_know(only.host.as_str()));
            if known { Ok(only) } else { Err(Unmapped(unknown_host(node, &only))) }
        }
    }
}

/// Whether a node surely belongs to no host: every cloud was read, none has a host of its name, and no `spec.hosts` speaks of it. Without any cloud nobody can say.
#[must_use]
pub fn belongs_nowhere(node: &str, clouds: &[CloudFacts<'_>]) -> bool {
    let knows = |cloud: &CloudFacts<'_>| cloud.may_know(node) || cloud.mapping.iter().any(|entry| entry.node() == node);
    !clouds.is_empty() && !clouds.iter().any(knows)
}

fn place(cloud: &CloudFacts<'_>, host: &str) -> Place {
    Place { cloud: cloud.name.to_owned(), host: HostName::from(host) }
}

fn nowhere(node: &str, clouds: &[CloudFacts<'_>]) -> String {
    if clouds.is_empty() {
        return format!("Node {node} belongs to no host: there is no OpenStackCloud; create one.");
    }
    let taken = clouds.iter().find_map(|cloud| cloud.mapping.iter().find(|entry| entry.host == node && entry.node() != node).map(|entry| (cloud.name, entry)));
    if let Some((cloud, entry)) = taken {
        return format!(
            "Node {node} belongs to no host: spec.hosts of OpenStackCloud {cloud} gives the host of that name to node {}; add an entry for node {node}, or correct that one.",
            entry.node()
        );
    }
    let names = |unread: bool| clouds.iter().filter(|cloud| cloud.services.is_none() == unread).map(|cloud| cloud.name).collect::<Vec<_>>().join(", ");
    let (read, unread) = (names(false), names(true));
    match (read.is_empty(), unread.is_empty()) {
        (false, true) => {
            format!(
                "Node {node} belongs to no host: no OpenStackCloud has a host of exactly this name (looked in {read}); add an entry for node {node} to spec.hosts of its cloud."
            )
        }
        (true, _) => format!("Node {node} belongs to no host yet: OpenStackCloud {unread} has not been read; look at its condition Ready."),
        (false, false) => format!(
            "Node {node} belongs to no host: there is none of exactly this name in {read}, and {unread} has not been read (look at its condition Ready); or add an entry for node {node} to spec.hosts of its cloud."
        ),
    }
}

fn unread_rival(node: &str, place: &Place, clouds: &[CloudFacts<'_>]) -> String {
    let unread: Vec<&str> = clouds.iter().filter(|cloud| cloud.services.is_none()).map(|cloud| cloud.name).collect();
    format!(
        "Node {node} may be host {} of OpenStackCloud {}, but {} has not been read and may have a host of the same name: look at its condition Ready, or say in spec.hosts which node the host belongs to.",
        place.host,
        place.cloud,
        unread.join(", ")
    )
}

fn several(node: &str, clouds: &[CloudFacts<'_>]) -> String {
    let explicit: BTreeSet<String> = clouds
        .iter()
        .flat_map(|cloud| {
            cloud.mapping.iter().filter(|entry| entry.node() == node).map(|entry| format!("host {} of OpenStackCloud {}", entry.host, cloud.name))
        })
        .collect();
    if explicit.is_empty() {
        let clouds: Vec<&str> = clouds.iter().filter(|cloud| cloud.has_namesake(node)).map(|cloud| cloud.name).collect();
        format!(
            "Node {node} belongs to no single host: OpenStackClouds {} each have a host {node}; say in spec.hosts of one of them which node its host belongs to.",
            clouds.join(" and ")
        )
    } else {
        let places: Vec<String> = explicit.into_iter().collect();
        format!("Node {node} belongs to no single host: spec.hosts gives it to {}; leave one entry.", places.join(" and to "))
    }
}

fn unknown_host(node: &str, place: &Place) -> String {
    format!(
        "Node {node} belongs to no host: spec.hosts of OpenStackCloud {} gives it to host {}, and Nova has no compute service on a host of exactly this name; correct the entry (names: openstack compute service list).",
        place.cloud, place.host
    )
}
