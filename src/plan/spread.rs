//! Spread: each server goes to the host that has most free, so that no destination is filled while another stands empty.
//!
//! Places are given to the largest first, because they have the fewest hosts to choose from; the moves begin with the smallest, so that most servers have left early.

use std::cmp::Reverse;

use super::host::{Host, Objection, Sorted, sort};
use super::request::{Group, GroupPolicy, Move, NoPlace, Passenger, Plan, Request, Unplaced};
use crate::inventory::{HostName, ServerId};

/// Plans the moves of a drain. Linear in passengers times hosts.
#[must_use]
pub fn spread(request: &Request) -> Plan {
    let mut hosts = sort(request);
    let mut allowed: Vec<HostName> = hosts.allowed.iter().map(|host| host.name.clone()).collect();
    allowed.sort_unstable();
    allowed.dedup();
    let mut by_size: Vec<&Passenger> = request.passengers.iter().collect();
    by_size.sort_by_key(|passenger| (Reverse(size(passenger)), passenger.server));
    by_size.dedup_by_key(|passenger| passenger.server);
    let mut placed: Vec<(&Passenger, HostName)> = Vec::new();
    let mut unplaced = Vec::new();
    for passenger in by_size {
        match choose(&hosts, passenger, request.seed) {
            Some(index) => {
                if let Some(host) = hosts.allowed.get_mut(index) {
                    host.free = host.free.less(&passenger.resources);
                    if let Some(group) = &passenger.group {
                        *host.members.entry(&group.id).or_default() += 1;
                    }
                    placed.push((passenger, host.name.clone()));
                }
            }
            None => unplaced.push(explain(&hosts, passenger)),
        }
    }
    placed.sort_by_key(|(passenger, _)| (passenger.is_last, size(passenger), passenger.server));
    let moves = (1..).zip(placed).map(|(order, (passenger, destination))| Move { server: passenger.server, destination, order }).collect();
    unplaced.sort_by_key(|left| left.server);
    Plan { moves, unplaced, allowed, seed: request.seed }
}

fn size(passenger: &Passenger) -> (u64, u64, u64) {
    (passenger.resources.memory_mb, passenger.resources.vcpus, passenger.resources.disk_gb)
}

/// The host with most free memory, then most free CPUs, that may take the passenger; pool hosts before others, where there are any.
fn choose(hosts: &Sorted<'_>, passenger: &Passenger, seed: u64) -> Option<usize> {
    let candidates = hosts.allowed.iter().enumerate().filter(|(_, host)| takes(host, passenger) && passenger.resources.fits(&host.free));
    candidates.max_by_key(|(_, host)| (host.in_pool, host.free.memory_mb, host.free.vcpus, lot(seed, passenger.server, host.name))).map(|(index, _)| index)
}

/// Whether the passenger may be on that host, room apart.
fn takes(host: &Host<'_>, passenger: &Passenger) -> bool {
    !passenger.refused_by.contains(host.name) && zone_lets(passenger, host) && passenger.group.as_ref().is_none_or(|group| group_lets(group, host))
}

/// Whether the host is in the zone that the passenger is bound to, as far as that is known.
fn zone_lets(passenger: &Passenger, host: &Host<'_>) -> bool {
    passenger.zone.as_deref().is_none_or(|bound| host.zone.is_none_or(|zone| zone == bound))
}

fn group_lets(group: &Group, host: &Host<'_>) -> bool {
    let there = group.members.get(host.name).copied().unwrap_or_default();
    let planned = host.members.get(group.id.as_str()).copied().unwrap_or_default();
    match group.policy {
        GroupPolicy::Apart(most) => there.saturating_add(planned) < most,
        // Nova demands a host that has all the others; while one more is on the source there is none.
        GroupPolicy::Together => group.on_source <= 1 && (group.members.is_empty() || there > 0),
    }
}

/// Decides between equally free hosts: a number that depends on the seed, the server and the host alone (FNV-1a, then a mix of its bits).
fn lot(seed: u64, server: ServerId, host: &HostName) -> u64 {
    let bytes = seed.to_be_bytes().into_iter().chain(server.0.into_bytes()).chain(host.as_str().bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}

/// Why a passenger has nowhere to go, with the hosts counted.
fn explain(hosts: &Sorted<'_>, passenger: &Passenger) -> Unplaced {
    let count = |objection: Objection| hosts.kept_out.iter().filter(|other| **other == objection).count();
    let mut kinds: Vec<Objection> = hosts.kept_out.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let mut parts: Vec<String> = kinds.into_iter().map(|kind| format!("{} {}", count(kind), kind.as_str())).collect();
    let total = hosts.allowed.len() + hosts.kept_out.len();
    let (refused, willing): (Vec<_>, Vec<_>) = hosts.allowed.iter().partition(|host| passenger.refused_by.contains(host.name));
    let (willing, far): (Vec<_>, Vec<_>) = willing.into_iter().partition(|host| zone_lets(passenger, host));
    let (open, bound): (Vec<_>, Vec<_>) = willing.into_iter().partition(|host| passenger.group.as_ref().is_none_or(|group| group_lets(group, host)));
    let resources = &passenger.resources;
    let needs = format!("full for its {} MiB, {} vCPUs and {} GiB", resources.memory_mb, resources.vcpus, resources.disk_gb);
    let outside = format!("outside availability zone {}, to which it is bound", passenger.zone.as_deref().map(plain).unwrap_or_default());
    let refused_words = "refused by Nova before".to_owned();
    let left = [(open.len(), needs), (refused.len(), refused_words), (far.len(), outside), (bound.len(), group_words(passenger.group.as_ref()))];
    parts.extend(left.into_iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")));
    let listed = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    let full_pool = hosts.only_pool && !hosts.allowed.is_empty() && open.len() == hosts.allowed.len();
    let (reason, what) =
        if full_pool { (NoPlace::PoolFull, "the quarantine pool has no room for it") } else { (NoPlace::NoDestination, "no host can take it") };
    Unplaced { server: passenger.server, reason, message: format!("{what}; of {total} other hosts{listed}") }
}

/// A name that somebody chose, on one line and not too long.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(64).collect()
}

fn group_words(group: Option<&Group>) -> String {
    let Some(group) = group else { return String::new() };
    let name = plain(&group.name);
    match group.policy {
        GroupPolicy::Apart(_) => format!("closed by its server group {name} (anti-affinity: a member is there)"),
        GroupPolicy::Together => format!("closed by its server group {name} (affinity: its members must stay on one host)"),
    }
}
