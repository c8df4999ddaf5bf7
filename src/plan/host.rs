//! One host while a plan is made: whether the rules let it in, and what is left of it.

use std::collections::BTreeMap;

use super::request::{Bar, Pool, PoolRule, Request, Resources, Room, Rules};
use crate::inventory::HostName;

/// Why the rules keep a host out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Objection {
    /// It is barred at the moment.
    Barred(Bar),
    /// It is in none of the wanted aggregates, or misses a trait.
    Rules,
    /// It is a pool host and ordinary hosts are wanted.
    PoolHost,
    /// It is no pool host and only those are wanted.
    NotInPool,
}

impl Objection {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Barred(bar) => bar.as_str(),
            Self::Rules => "without a wanted aggregate or trait",
            Self::PoolHost => "kept for the pool",
            Self::NotInPool => "outside the pool",
        }
    }
}

/// A host that the rules let in.
#[derive(Clone, Debug)]
pub(super) struct Host<'a> {
    pub(super) name: &'a HostName,
    pub(super) free: Resources,
    pub(super) in_pool: bool,
    /// Its availability zone, where that is known.
    pub(super) zone: Option<&'a str>,
    /// How many members of each server group this plan has put here.
    pub(super) members: BTreeMap<&'a str, u32>,
}

/// The hosts, sorted by what the rules say about them. The source is in neither list.
pub(super) struct Sorted<'a> {
    pub(super) allowed: Vec<Host<'a>>,
    pub(super) kept_out: Vec<Objection>,
    /// Whether only pool hosts may take the passengers.
    pub(super) only_pool: bool,
}

pub(super) fn sort(request: &Request) -> Sorted<'_> {
    let pool = &request.pool;
    let from_pool = request.rooms.iter().any(|room| room.host == request.source && is_in(pool, room));
    let only_pool = from_pool || pool.rule == PoolRule::Only;
    let mut sorted = Sorted { allowed: Vec::new(), kept_out: Vec::new(), only_pool };
    for room in request.rooms.iter().filter(|room| room.host != request.source) {
        match objection(request, room, only_pool) {
            Some(objection) => sorted.kept_out.push(objection),
            None => {
                let zone = request.zones.get(&room.host).map(String::as_str);
                sorted.allowed.push(Host { name: &room.host, free: room.free, in_pool: is_in(pool, room), zone, members: BTreeMap::new() });
            }
        }
    }
    let mut coming: BTreeMap<&HostName, Vec<&Resources>> = BTreeMap::new();
    for (host, resources) in &request.en_route {
        coming.entry(host).or_default().push(resources);
    }
    for host in &mut sorted.allowed {
        host.free = coming.get(host.name).into_iter().flatten().fold(host.free, |free, taken| free.less(taken));
    }
    sorted
}

fn objection(request: &Request, room: &Room, only_pool: bool) -> Option<Objection> {
    if let Some(bar) = request.barred.get(&room.host) {
        return Some(Objection::Barred(*bar));
    }
    if request.rules.iter().any(|rules| rules.exclude.contains(&room.host.0)) {
        return Some(Objection::Barred(Bar::Excluded));
    }
    match (is_in(&request.pool, room), only_pool, request.pool.rule) {
        (false, true, _) => return Some(Objection::NotInPool),
        (true, false, PoolRule::Ignore) => return Some(Objection::PoolHost),
        _ => {}
    }
    (!request.rules.iter().all(|rules| holds(rules, room))).then_some(Objection::Rules)
}

fn holds(rules: &Rules, room: &Room) -> bool {
    let wanted = rules.aggregates.is_empty() || rules.aggregates.iter().any(|name| room.aggregates.contains(name));
    wanted && rules.required_traits.iter().all(|name| room.traits.contains(name))
}

fn is_in(pool: &Pool, room: &Room) -> bool {
    !pool.aggregate.is_empty() && room.aggregates.contains(&pool.aggregate)
}
