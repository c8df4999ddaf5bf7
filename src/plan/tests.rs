//! Examples and laws of plans.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::inventory::{HostName, ServerId};

fn server(number: u128) -> ServerId {
    ServerId(Uuid::from_u128(number))
}

fn resources(vcpus: u64, memory_mb: u64) -> Resources {
    Resources { vcpus, memory_mb, disk_gb: 0 }
}

fn room(host: &str, memory_mb: u64) -> Room {
    Room { host: host.into(), free: resources(64, memory_mb), traits: BTreeSet::new(), aggregates: BTreeSet::new() }
}

fn passenger(number: u128, memory_mb: u64) -> Passenger {
    Passenger::new(server(number), resources(1, memory_mb))
}

fn request(passengers: Vec<Passenger>, rooms: Vec<Room>) -> Request {
    Request {
        source: "h1".into(),
        passengers,
        rooms,
        zones: BTreeMap::new(),
        barred: BTreeMap::new(),
        rules: Vec::new(),
        pool: Pool { aggregate: String::new(), rule: PoolRule::Ignore },
        en_route: Vec::new(),
        seed: 7,
    }
}

fn pool(rule: PoolRule) -> Pool {
    Pool { aggregate: "suspects".into(), rule }
}

fn in_aggregate(mut room: Room, aggregate: &str) -> Room {
    room.aggregates.insert(aggregate.to_owned());
    room
}

fn destinations(plan: &Plan) -> BTreeMap<ServerId, &str> {
    plan.moves.iter().map(|step| (step.server, step.destination.as_str())).collect()
}

fn count(plan: &Plan, host: &str) -> usize {
    plan.moves.iter().filter(|step| step.destination.as_str() == host).count()
}

#[test]
fn servers_are_spread_over_equal_hosts() {
    let plan = spread(&request((1..=10).map(|n| passenger(n, 512)).collect(), vec![room("h2", 8192), room("h3", 8192)]));
    assert_eq!((count(&plan, "h2"), count(&plan, "h3")), (5, 5));
}

#[test]
fn the_host_with_most_free_is_taken_first() {
    let plan = spread(&request(vec![passenger(1, 512)], vec![room("h2", 4096), room("h3", 8192)]));
    assert_eq!(destinations(&plan)[&server(1)], "h3");
}

#[test]
fn what_is_on_its_way_counts_as_there() {
    let mut request = request(vec![passenger(1, 512)], vec![room("h2", 4096), room("h3", 8192)]);
    request.en_route = vec![("h3".into(), resources(1, 3000)), ("h3".into(), resources(1, 3000))];
    assert_eq!(destinations(&spread(&request))[&server(1)], "h2");
}

#[test]
fn large_servers_get_their_place_first_and_small_ones_leave_first() {
    let plan = spread(&request(vec![passenger(1, 512), passenger(2, 4096)], vec![room("h2", 4096), room("h3", 1024)]));
    assert_eq!(destinations(&plan), BTreeMap::from([(server(1), "h3"), (server(2), "h2")]));
    assert_eq!(plan.moves.iter().map(|step| (step.order, step.server)).collect::<Vec<_>>(), [(1, server(1)), (2, server(2))]);
}

#[test]
fn nodes_of_our_own_cluster_move_last() {
    let mut own = passenger(1, 256);
    own.is_last = true;
    let plan = spread(&request(vec![own, passenger(2, 4096)], vec![room("h2", 8192)]));
    assert_eq!(plan.moves.iter().map(|step| step.server).collect::<Vec<_>>(), [server(2), server(1)]);
}

#[test]
fn barred_and_excluded_hosts_and_the_source_take_nothing_and_are_counted() {
    let mut request = request(vec![passenger(1, 512)], vec![room("h1", 99_999), room("h2", 8192), room("h3", 8192), room("h4", 100)]);
    request.barred = BTreeMap::from([("h2".into(), Bar::Quarantined)]);
    request.rules = vec![Rules { exclude: vec!["h3".into()], ..Rules::default() }];
    let plan = spread(&request);
    assert_eq!(plan.moves, []);
    assert_eq!(plan.allowed, ["h4".into()]);
    assert_eq!(plan.unplaced[0].reason, NoPlace::NoDestination);
    assert_eq!(plan.unplaced[0].message, "no host can take it; of 3 other hosts: 1 quarantined, 1 excluded, 1 full for its 512 MiB, 1 vCPUs and 0 GiB");
}

#[test]
fn every_set_of_rules_must_hold() {
    let mut with_trait = in_aggregate(room("h2", 8192), "ssd");
    with_trait.traits.insert("CUSTOM_TRUSTED".into());
    let mut request = request(vec![passenger(1, 512)], vec![with_trait, in_aggregate(room("h3", 9999), "ssd"), room("h4", 9999)]);
    let aggregates = Rules { aggregates: vec!["ssd".into(), "hdd".into()], ..Rules::default() };
    request.rules = vec![aggregates, Rules { required_traits: vec!["CUSTOM_TRUSTED".into()], ..Rules::default() }];
    assert_eq!(spread(&request).allowed, ["h2".into()]);
}

#[test]
fn pool_hosts_are_no_ordinary_destination() {
    let mut request = request(vec![passenger(1, 512)], vec![in_aggregate(room("h2", 9999), "suspects"), room("h3", 1024)]);
    request.pool = pool(PoolRule::Ignore);
    assert_eq!(destinations(&spread(&request))[&server(1)], "h3");
}

#[test]
fn a_preferred_pool_is_filled_first_and_the_rest_goes_elsewhere() {
    let mut request = request(vec![passenger(1, 512), passenger(2, 512)], vec![in_aggregate(room("h2", 600), "suspects"), room("h3", 9999)]);
    request.pool = pool(PoolRule::Prefer);
    let plan = spread(&request);
    assert_eq!((count(&plan, "h2"), count(&plan, "h3")), (1, 1));
}

#[test]
fn a_full_pool_that_is_the_only_place_leaves_the_rest() {
    let mut request = request(vec![passenger(1, 512), passenger(2, 512)], vec![in_aggregate(room("h2", 600), "suspects"), room("h3", 9999)]);
    request.pool = pool(PoolRule::Only);
    let plan = spread(&request);
    assert_eq!((count(&plan, "h2"), count(&plan, "h3"), plan.unplaced[0].reason), (1, 0, NoPlace::PoolFull));
    assert!(plan.unplaced[0].message.starts_with("the quarantine pool has no room for it; of 2 other hosts: 1 outside the pool, 1 full"), "{plan:?}");
}

#[test]
fn without_a_pool_nothing_may_go_anywhere_where_only_the_pool_may_take_it() {
    let mut request = request(vec![passenger(1, 512)], vec![room("h3", 9999)]);
    request.pool = Pool { aggregate: String::new(), rule: PoolRule::Only };
    let plan = spread(&request);
    assert_eq!((plan.allowed, plan.unplaced[0].reason), (vec![], NoPlace::NoDestination));
}

#[test]
fn what_is_on_a_pool_host_moves_to_pool_hosts_only() {
    let rooms = vec![in_aggregate(room("h1", 0), "suspects"), in_aggregate(room("h2", 1024), "suspects"), room("h3", 9999)];
    let mut request = request(vec![passenger(1, 512)], rooms);
    request.pool = pool(PoolRule::Ignore);
    assert_eq!(destinations(&spread(&request))[&server(1)], "h2");
}

fn group(policy: GroupPolicy, members: &[(&str, u32)], on_source: u32) -> Option<Group> {
    let members = members.iter().map(|(host, number)| (HostName::from(*host), *number)).collect();
    Some(Group { id: "g".into(), name: "web".into(), policy, members, on_source })
}

#[test]
fn a_hard_anti_affinity_with_a_member_on_every_host_leaves_no_destination_and_is_named() {
    let mut member = passenger(1, 512);
    member.group = group(GroupPolicy::Apart(1), &[("h2", 1), ("h3", 1)], 1);
    let plan = spread(&request(vec![member, passenger(2, 512)], vec![room("h2", 8192), room("h3", 8192)]));
    assert_eq!(plan.moves.len(), 1);
    assert_eq!(plan.unplaced[0].server, server(1));
    assert!(plan.unplaced[0].message.contains("2 closed by its server group web (anti-affinity: a member is there)"), "{plan:?}");
}

#[test]
fn members_that_must_be_apart_do_not_meet_at_the_destination() {
    let members = (1..=3).map(|n| Passenger { group: group(GroupPolicy::Apart(1), &[], 3), ..passenger(n, 512) }).collect();
    let plan = spread(&request(members, vec![room("h2", 8192), room("h3", 8192)]));
    assert_eq!((count(&plan, "h2"), count(&plan, "h3"), plan.unplaced.len()), (1, 1, 1));
}

#[test]
fn members_that_must_be_together_cannot_leave_one_by_one() {
    let pair = (1..=2).map(|n| Passenger { group: group(GroupPolicy::Together, &[], 2), ..passenger(n, 512) }).collect();
    assert_eq!(spread(&request(pair, vec![room("h2", 8192)])).unplaced.len(), 2);
    let alone = Passenger { group: group(GroupPolicy::Together, &[], 1), ..passenger(1, 512) };
    assert_eq!(spread(&request(vec![alone], vec![room("h2", 8192)])).moves.len(), 1);
}

#[test]
fn a_host_that_refused_a_server_is_not_asked_for_it_again() {
    let mut refused = passenger(1, 512);
    refused.refused_by.insert("h3".into());
    assert_eq!(destinations(&spread(&request(vec![refused], vec![room("h2", 1024), room("h3", 8192)])))[&server(1)], "h2");
}

#[test]
fn a_server_that_is_bound_to_an_availability_zone_goes_to_no_other() {
    let bound = |n| Passenger { zone: Some("west".into()), ..passenger(n, 512) };
    let rooms = vec![room("h2", 8192), room("h3", 1024), room("h4", 512)];
    let zones = [("h2", "east"), ("h3", "west")].map(|(host, zone)| (host.into(), zone.to_owned()));
    let request = Request { zones: zones.into(), ..request(vec![bound(1), bound(2), bound(3), bound(4), passenger(5, 512)], rooms) };
    let plan = spread(&request);
    assert_eq!((count(&plan, "h2"), count(&plan, "h3"), count(&plan, "h4")), (1, 2, 1), "h4's zone is not known");
    let [left] = &plan.unplaced[..] else { panic!("{:?}", plan.unplaced) };
    assert!(left.message.contains("1 outside availability zone west, to which it is bound"), "{}", left.message);
}

#[test]
fn ties_are_drawn_by_the_seed() {
    let rooms: Vec<Room> = (2..10).map(|n| room(&format!("h{n}"), 8192)).collect();
    let chosen = |seed| {
        let request = Request { seed, ..request(vec![passenger(1, 512)], rooms.clone()) };
        spread(&request).moves[0].destination.clone()
    };
    let all: BTreeSet<HostName> = (0..100).map(chosen).collect();
    assert_eq!(all.len(), 8, "{all:?}");
}

#[test]
fn approval_the_digest_names_sets_and_not_their_order() {
    let method = BTreeMap::from([("maxAttempts".to_owned(), "3".to_owned())]);
    let (forth, back) = ([server(1), server(2)], [server(2), server(1), server(2)]);
    let (hosts, swapped) = (["h2".into(), "h3".into()], ["h3".into(), "h2".into()]);
    let subject = Subject { cloud: "c", host: "h1", scope: "Unknown", method: &method, servers: &forth, allowed: &hosts };
    let name = digest(&subject);
    assert_eq!(name.len(), 64);
    assert_eq!(digest(&Subject { servers: &back, allowed: &swapped, ..subject }), name);
    let none = BTreeMap::new();
    let others = [
        Subject { cloud: "d", ..subject },
        Subject { host: "h2", ..subject },
        Subject { scope: "HostCompromised", ..subject },
        Subject { method: &none, ..subject },
        Subject { servers: &forth[..1], ..subject },
        Subject { allowed: &hosts[..1], ..subject },
        Subject { cloud: "ch1", host: "", ..subject },
    ];
    let names: BTreeSet<String> = others.iter().map(digest).chain([name]).collect();
    assert_eq!(names.len(), others.len() + 1);
}

fn any_request() -> impl Strategy<Value = Request> {
    let passengers = prop::collection::vec((1_u64..5, prop::sample::select(vec![256_u64, 512, 1024, 4096]), any::<bool>(), 0_u8..4), 0..25);
    let rooms = prop::collection::vec((0_u64..20, 0_u64..9000, any::<bool>(), 0_u8..8), 1..9);
    let rule = prop::sample::select(vec![PoolRule::Ignore, PoolRule::Prefer, PoolRule::Only]);
    (passengers, rooms, rule, any::<u64>(), prop::collection::vec((1_u8..9, 0_u64..2000), 0..6)).prop_map(|(passengers, rooms, rule, seed, en_route)| {
        let passengers = (1..).zip(passengers).map(|(n, (vcpus, memory, is_last, refused))| {
            let mut one = Passenger { is_last, ..Passenger::new(server(n), resources(vcpus, memory)) };
            if refused == 1 {
                one.refused_by.insert("h2".into());
            }
            if refused == 2 {
                one.group = group(GroupPolicy::Apart(1), &[("h3", 1)], 1);
            }
            one
        });
        let mut barred = BTreeMap::new();
        let rooms: Vec<Room> = (1..)
            .zip(rooms)
            .map(|(n, (vcpus, memory, pool, bar))| {
                let mut one = room(&format!("h{n}"), memory);
                one.free.vcpus = vcpus;
                if bar == 0 {
                    barred.insert(one.host.clone(), Bar::Down);
                }
                if pool { in_aggregate(one, "suspects") } else { one }
            })
            .collect();
        let en_route = en_route.into_iter().map(|(host, memory)| (HostName(format!("h{host}")), resources(1, memory))).collect();
        Request { barred, pool: Pool { aggregate: "suspects".into(), rule }, en_route, seed, ..request(passengers.collect(), rooms) }
    })
}

/// What is left on each host when the plan is carried out.
fn left(request: &Request, plan: &Plan) -> BTreeMap<HostName, Resources> {
    let mut left: BTreeMap<HostName, Resources> = request.rooms.iter().map(|room| (room.host.clone(), room.free)).collect();
    for (host, taken) in &request.en_route {
        if let Some(free) = left.get_mut(host) {
            *free = free.less(taken);
        }
    }
    for step in &plan.moves {
        let needs = request.passengers.iter().find(|passenger| passenger.server == step.server).unwrap().resources;
        let free = left.get_mut(&step.destination).unwrap();
        assert!(needs.fits(free), "{step:?} does not fit into {free:?}");
        *free = free.less(&needs);
    }
    left
}

proptest! {
    #[test]
    fn every_passenger_is_moved_or_left_and_once(request in any_request()) {
        let plan = spread(&request);
        let mut seen: Vec<ServerId> = plan.moves.iter().map(|step| step.server).chain(plan.unplaced.iter().map(|left| left.server)).collect();
        seen.sort_unstable();
        let mut all: Vec<ServerId> = request.passengers.iter().map(|passenger| passenger.server).collect();
        all.sort_unstable();
        prop_assert_eq!(seen, all);
        prop_assert_eq!(plan.moves.iter().map(|step| step.order).collect::<Vec<_>>(), (1..).take(plan.moves.len()).collect::<Vec<u32>>());
        prop_assert_eq!(spread(&request), plan);
    }

    #[test]
    fn no_host_gets_more_than_it_has_or_what_it_must_not_take(request in any_request()) {
        let plan = spread(&request);
        left(&request, &plan);
        for step in &plan.moves {
            let passenger = request.passengers.iter().find(|passenger| passenger.server == step.server).unwrap();
            prop_assert!(step.destination != request.source && plan.allowed.contains(&step.destination));
            prop_assert!(!request.barred.contains_key(&step.destination) && !passenger.refused_by.contains(&step.destination));
            prop_assert!(passenger.group.is_none() || step.destination.as_str() != "h3");
        }
    }

    #[test]
    fn a_passenger_is_left_only_if_no_allowed_host_has_room_for_it(request in any_request()) {
        let plan = spread(&request);
        let left = left(&request, &plan);
        for stays in &plan.unplaced {
            let passenger = request.passengers.iter().find(|passenger| passenger.server == stays.server).unwrap();
            let room = plan.allowed.iter().find(|host| passenger.group.is_none() && !passenger.refused_by.contains(host) && passenger.resources.fits(&left[host]));
            prop_assert_eq!(room, None, "{:?}", stays);
        }
    }
}
