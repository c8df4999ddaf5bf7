//! Where servers can go: the hosts that take none at the moment, what is free, and the choice for one move.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt as _;
use uuid::Uuid;

use super::alerts::alerted_hosts;
use super::context::{Context, LiveCloud};
use crate::api::cloud::DestinationRules;
use crate::api::run::{Attempt, MigrationRunStatus, Outcome};
use crate::api::units::{PoolUse, Scope};
use crate::api::{HostQuarantine, MigrationRun};
use crate::gate;
use crate::inventory::{ComputeService, HostName, Server, ServerGroup, ServerId, ServiceState, ServiceStatus};
use crate::migration::{Choice, MOST_REFUSALS, refusals, used_up};
use crate::plan::{self, Bar, Group, GroupPolicy, NoPlace, Passenger, Pool, PoolRule, Request, Rules};
use crate::quarantine::{approved_hosts, pool_use};

impl Context {
    /// Hosts of a cloud that are no destination at the moment, and why.
    pub(super) fn barred(&self, cloud: &str) -> BTreeMap<HostName, Bar> {
        let mut barred = BTreeMap::new();
        for host in self.cloud_spec(cloud).map(|spec| spec.destinations.exclude).unwrap_or_default() {
            barred.insert(HostName(host), Bar::Excluded);
        }
        for host in alerted_hosts(self, cloud, self.clock.now()) {
            barred.insert(host, Bar::Alerted);
        }
        let services = self.cloud(cloud).ok().and_then(|live| live.inventory.services());
        for service in services.iter().flat_map(|services| &services.services) {
            if service.status == ServiceStatus::Disabled {
                barred.insert(service.host.clone(), Bar::Disabled);
            }
            if service.state == ServiceState::Down || service.forced_down {
                barred.insert(service.host.clone(), Bar::Down);
            }
        }
        for claim in self.claims().into_iter().filter(|claim| claim.cloud == cloud && claim.holds_host()) {
            barred.insert(claim.host, Bar::Quarantined);
        }
        barred
    }

    /// The quarantine pool of a cloud.
    pub(super) fn pool(&self, cloud: &str) -> gate::Pool {
        let spec = self.cloud_spec(cloud);
        let aggregate = spec.as_ref().map(|spec| spec.destinations.pool.clone()).unwrap_or_default();
        if aggregate.is_empty() {
            return gate::Pool::default();
        }
        let stale_after = spec.map(|spec| spec.inventory.stale_after.get()).unwrap_or_default();
        let aggregates = self.cloud(cloud).ok().and_then(|live| live.inventory.aggregates());
        let young = aggregates.filter(|aggregates| !aggregates.is_older_than(stale_after, self.clock.now()));
        gate::Pool { hosts: young.map(|aggregates| aggregates.hosts_of(&aggregate)), aggregate }
    }

    /// Why a host should not get servers any more; absent while it may.
    pub(super) fn unfit(&self, cloud: &str, host: &HostName) -> Option<String> {
        let bar = self.barred(cloud).get(host).copied()?;
        Some(format!("its destination {host} is {}", bar.as_str()))
    }

    /// What a plan is made from, but for the passengers. What the runs `placed_anew` have on its way is not counted beside them. Nothing while Placement was not read, or not for so long that the view is too old.
    pub(super) fn plan_request(
        &self,
        cloud: &str,
        source: &HostName,
        rules: Vec<Rules>,
        pool: PoolRule,
        seed: u64,
        placed_anew: &BTreeSet<String>,
    ) -> Option<Request> {
        let live = self.cloud(cloud).ok()?;
        let spec = self.cloud_spec(cloud)?;
        let rooms = live.inventory.rooms()?;
        let age = self.clock.now().duration_since(rooms.begun_at);
        if age > jiff::SignedDuration::try_from(spec.inventory.stale_after.get()).unwrap_or(jiff::SignedDuration::MAX) {
            return None;
        }
        let own = Rules::from(&spec.destinations);
        Some(Request {
            source: source.clone(),
            passengers: Vec::new(),
            rooms: rooms.rooms.clone(),
            zones: zones(&live),
            barred: self.barred(cloud),
            rules: [own].into_iter().chain(rules).collect(),
            pool: Pool { aggregate: spec.destinations.pool, rule: pool },
            en_route: self.slots.en_route(cloud, rooms.begun_at, placed_anew),
            seed,
        })
    }
}

impl From<&DestinationRules> for Rules {
    fn from(rules: &DestinationRules) -> Self {
        Self { aggregates: rules.aggregates.clone(), required_traits: rules.required_traits.clone(), exclude: rules.exclude.clone() }
    }
}

/// The availability zone of each host.
fn zones(live: &LiveCloud) -> BTreeMap<HostName, String> {
    let services = live.inventory.services();
    services.iter().flat_map(|services| &services.services).filter_map(|service| Some((service.host.clone(), service.zone.clone()?))).collect()
}

/// How long the place of a member of a server group is taken as known.
const MEMBERS_KNOWN_FOR: Duration = Duration::from_secs(10);

/// Where members of server groups are, and when that was asked (monotonic).
#[derive(Debug, Default)]
pub(super) struct Members(Mutex<HashMap<(String, ServerId), Seen>>);

/// Where a server was, and when that was asked (monotonic).
type Seen = (Option<HostName>, Duration);

impl Context {
    /// The servers that should leave a host, each with the server group that binds it.
    pub(super) async fn passengers(&self, live: &LiveCloud, source: &HostName, servers: &[Server]) -> Vec<Passenger> {
        let rooms = live.inventory.rooms();
        let groups = rooms.map(|rooms| Arc::clone(&rooms.groups)).unwrap_or_default();
        let mut passengers = Vec::new();
        for server in servers {
            let mut passenger = Passenger::new(server.id, server.flavor.into());
            passenger.zone.clone_from(&server.pinned_zone);
            if let Some(group) = groups.iter().find(|group| group.members.contains(&server.id)) {
                passenger.group = Some(self.bind(live, source, group).await);
            }
            passengers.push(passenger);
        }
        passengers
    }

    async fn bind(&self, live: &LiveCloud, source: &HostName, group: &ServerGroup) -> Group {
        let (mut elsewhere, mut on_source) = (BTreeMap::<HostName, u32>::new(), 0);
        for member in &group.members {
            match self.host_of_member(live, *member).await {
                Some(host) if host == *source => on_source += 1,
                Some(host) => *elsewhere.entry(host).or_default() += 1,
                None => {}
            }
        }
        let policy = if group.policy == "affinity" { GroupPolicy::Together } else { GroupPolicy::Apart(group.rules.max_server_per_host.unwrap_or(1)) };
        Group { id: group.id.clone(), name: group.name.clone(), policy, members: elsewhere, on_source }
    }

    /// Nothing for a member without a host, and for one that cannot be asked about: it holds nobody up, since Nova's scheduler knows it and judges each destination too.
    async fn host_of_member(&self, live: &LiveCloud, member: ServerId) -> Option<HostName> {
        let key = (live.cloud.name().to_owned(), member);
        let now = self.clock.monotonic();
        let known = self.members.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((host, _)) = known.filter(|(_, at)| now.saturating_sub(*at) < MEMBERS_KNOWN_FOR) {
            return host;
        }
        let host = match live.cloud.server(member).await {
            Ok(server) => server.and_then(|server| server.host),
            Err(fault) => {
                if self.may_warn("group member", &member.to_string()) {
                    tracing::warn!(server = %member, error = %fault, "A member of a server group cannot be looked up; moves are planned without it.");
                }
                None
            }
        };
        let mut members = self.members.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|_, (_, at)| now.saturating_sub(*at) < MEMBERS_KNOWN_FOR);
        members.insert(key, (host.clone(), now));
        host
    }
}

/// The rules beside the cloud's own for where a run's server may go.
pub(super) fn bounds(context: &Context, quarantine: Option<&HostQuarantine>) -> Bounds {
    let Some(quarantine) = quarantine else { return Bounds { rules: Vec::new(), pool: PoolRule::Ignore, approved: None } };
    let scope = quarantine.status.as_ref().and_then(|status| status.effective_scope).unwrap_or(quarantine.spec.scope);
    bounds_of(context, quarantine, scope)
}

/// The rules of a quarantine for where servers may go, under this scope.
pub(super) fn bounds_of(context: &Context, quarantine: &HostQuarantine, scope: Scope) -> Bounds {
    let wanted = &quarantine.spec.destinations;
    let has_pool = context.cloud_spec(&quarantine.spec.cloud).is_some_and(|spec| !spec.destinations.pool.is_empty());
    let rules = Rules { aggregates: wanted.aggregates.clone(), required_traits: wanted.required_traits.clone(), exclude: wanted.exclude.clone() };
    let pool = match pool_use(scope, wanted.pool, has_pool) {
        PoolUse::Ignore => PoolRule::Ignore,
        PoolUse::Prefer => PoolRule::Prefer,
        PoolUse::Only => PoolRule::Only,
    };
    let approved = approved_hosts(quarantine).map(|hosts| hosts.iter().map(|host| HostName(host.clone())).collect());
    Bounds { rules: vec![rules], pool, approved }
}

/// What was found for one move.
#[derive(Debug)]
pub(super) enum Found {
    /// It may go there.
    Place(Choice),
    /// Nowhere at the moment, and why.
    Nowhere(NoPlace, String),
    /// Not known at the moment, and why.
    Unknown(String),
}

/// The rules beside the cloud's own that hold for a run.
pub(super) struct Bounds {
    pub(super) rules: Vec<Rules>,
    pub(super) pool: PoolRule,
    /// Only these hosts, where a person has approved them.
    pub(super) approved: Option<BTreeSet<HostName>>,
}

/// Chooses where the next attempt of a run goes: where the plan says, if that host can take the server; else the host with most free that can; in the end wherever Nova's scheduler sends it.
pub(super) async fn choose(context: &Context, live: &LiveCloud, run: &MigrationRun, server: &Server, bounds: Bounds) -> Found {
    let source = HostName(run.spec.source_host.clone());
    let seed = seed(run);
    let Some(mut request) = context.plan_request(&run.spec.cloud, &source, bounds.rules, bounds.pool, seed, &BTreeSet::new()) else {
        let why = live.inventory.rooms_error().map(|error| format!(": {}", error.fault)).unwrap_or_default();
        return Found::Unknown(format!("waits until Placement says which hosts have room{why}"));
    };
    request.passengers = context.passengers(live, &source, std::slice::from_ref(server)).await;
    let status = run.status.clone().unwrap_or_default();
    let (ever, lately) = (ever_refused_by(&status), refused_by(&status));
    if let Some(approved) = &bounds.approved {
        request.rooms.retain(|room| room.host == source || approved.contains(&room.host));
    }
    let services = live.inventory.services();
    let services = services.as_ref().map(|services| services.services.as_slice()).unwrap_or_default();
    let is_safe = || schedulers_choice_is_safe(&request, services, bounds.approved.as_ref());
    let wanted = Some(&run.spec.destination.host).filter(|host| !host.is_empty()).map(|host| HostName(host.clone()));
    let named_by_a_person = is_by_hand(run) && wanted.is_some();
    let scheduler_may_choose = !named_by_a_person && !ever.is_empty() && is_safe();
    if scheduler_may_choose && refusals(&status) == MOST_REFUSALS - 1 {
        return Found::Place(Choice::Scheduler);
    }
    let limits = context.cloud_spec(&run.spec.cloud).map(|spec| spec.concurrency).unwrap_or_default();
    let full = context.slots.full_destinations(&run.spec.cloud, limits);
    let mut place = |refused_by: BTreeSet<HostName>| {
        request.passengers.iter_mut().for_each(|passenger| passenger.refused_by.clone_from(&refused_by));
        place(&request, wanted.as_ref(), named_by_a_person, &full)
    };
    match place(ever.clone()) {
        Found::Nowhere(..) if scheduler_may_choose => Found::Place(Choice::Scheduler),
        // No other is left, and what a host said before an earlier attempt may be over.
        Found::Nowhere(..) if ever != lately => place(lately),
        found => found,
    }
}

fn place(request: &Request, wanted: Option<&HostName>, named_by_a_person: bool, full: &[HostName]) -> Found {
    let only = |hosts: &dyn Fn(&HostName) -> bool| {
        let rooms = request.rooms.iter().filter(|room| room.host == request.source || hosts(&room.host)).cloned().collect();
        plan::spread(&Request { rooms, ..request.clone() })
    };
    if let Some(wanted) = wanted {
        let plan = only(&|host| host == wanted);
        match plan.unplaced.into_iter().next() {
            None if full.contains(wanted) && named_by_a_person => {
                return Found::Unknown(format!("waits for a free slot: as many moves as the limits allow are on their way to {wanted}"));
            }
            None if !full.contains(wanted) => return Found::Place(Choice::Host(wanted.clone())),
            Some(unplaced) if named_by_a_person => return Found::Nowhere(unplaced.reason, format!("{wanted} cannot take it: {}", unplaced.message)),
            _ => {}
        }
    }
    let plan = only(&|host| !full.contains(host));
    if let Some(step) = plan.moves.into_iter().next() {
        return Found::Place(Choice::Host(step.destination));
    }
    let plan = plan::spread(request);
    match plan.unplaced.into_iter().next() {
        None => Found::Unknown("waits for a free slot: as many moves as the limits allow are on their way to each host that can take it".to_owned()),
        Some(unplaced) => Found::Nowhere(unplaced.reason, unplaced.message),
    }
}

/// Hosts that refused the server since its last attempt that counted.
fn refused_by(status: &MigrationRunStatus) -> BTreeSet<HostName> {
    let number = used_up(status).saturating_add(1);
    let refused = status.attempts.iter().filter(|attempt| attempt.number == number && attempt.outcome == Some(Outcome::DestinationRefused));
    refused.filter_map(|attempt| attempt.destination.clone().map(HostName)).collect()
}

/// Hosts that have ever refused the server.
fn ever_refused_by(status: &MigrationRunStatus) -> BTreeSet<HostName> {
    let no_valid_host =
        |attempt: &Attempt| attempt.outcome == Some(Outcome::Error) && attempt.message.as_ref().is_some_and(|words| words.contains("No valid host"));
    let refused = status.attempts.iter().filter(|attempt| attempt.outcome == Some(Outcome::DestinationRefused) || no_valid_host(attempt));
    refused.filter_map(|attempt| attempt.destination.clone().map(HostName)).collect()
}

/// Whether Nova's scheduler can choose no host that Sidestep would not: each host that is no destination, or was not approved where a person must approve, is out of service or down in Nova too.
fn schedulers_choice_is_safe(request: &Request, services: &[ComputeService], approved: Option<&BTreeSet<HostName>>) -> bool {
    let everybody = plan::spread(&Request { passengers: Vec::new(), ..request.clone() }).allowed;
    let has_room = |host: &HostName| request.rooms.iter().any(|room| room.host == *host);
    let takes = services.iter().filter(|service| service.status == ServiceStatus::Enabled && service.state == ServiceState::Up);
    takes.map(|service| &service.host).filter(|host| **host != request.source).all(|host| match approved {
        Some(approved) => approved.contains(host) && (everybody.contains(host) || !has_room(host)),
        None => everybody.contains(host) || !has_room(host),
    })
}

/// Whether a person made the run.
pub(super) fn is_by_hand(run: &MigrationRun) -> bool {
    run.spec.quarantine.is_empty()
}

/// The seed that decides between equally free hosts: a part of the run's UID, so that it is recorded.
fn seed(run: &MigrationRun) -> u64 {
    let uid = run.uid().and_then(|uid| uid.parse::<Uuid>().ok()).unwrap_or_default();
    uid.as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::{Resources, Room};

    fn service(host: &str, status: &str) -> ComputeService {
        serde_json::from_value(json!({"id": host, "host": host, "status": status, "state": "up"})).unwrap()
    }

    fn request(rooms: &[&str]) -> Request {
        let room = |host: &&str| Room { host: (*host).into(), free: Resources::default(), traits: BTreeSet::new(), aggregates: BTreeSet::new() };
        Request {
            source: "src".into(),
            passengers: vec![],
            rooms: rooms.iter().map(room).collect(),
            zones: BTreeMap::new(),
            barred: BTreeMap::new(),
            rules: vec![],
            pool: Pool { aggregate: String::new(), rule: PoolRule::Ignore },
            en_route: vec![],
            seed: 0,
        }
    }

    #[test]
    fn novas_scheduler_chooses_only_where_it_can_choose_nothing_that_was_not_approved() {
        let approved = Some(BTreeSet::from([HostName::from("a"), "b".into()]));
        let others = |c: &str| [service("src", "disabled"), service("a", "enabled"), service("b", "enabled"), service("c", c)];
        // The rooms are those of the approved hosts.
        assert!(!schedulers_choice_is_safe(&request(&["src", "a", "b"]), &others("enabled"), approved.as_ref()));
        assert!(schedulers_choice_is_safe(&request(&["src", "a", "b"]), &others("disabled"), approved.as_ref()));
        assert!(schedulers_choice_is_safe(&request(&["src", "a", "b", "c"]), &others("enabled"), None));
        let mut excluding = request(&["src", "a", "b", "c"]);
        excluding.barred.insert("c".into(), Bar::Excluded);
        assert!(!schedulers_choice_is_safe(&excluding, &others("enabled"), None));
    }

    #[test]
    fn a_host_that_had_no_room_for_the_server_is_remembered_across_its_attempts() {
        let status: MigrationRunStatus = serde_json::from_value(json!({"attempts": [
            {"number": 1, "intentAt": "2026-11-22T12:00:00.000000Z", "endedAt": "2026-11-22T12:00:01.000000Z", "destination": "a", "outcome": "DestinationRefused"},
            {"number": 1, "intentAt": "2026-11-22T12:00:02.000000Z", "endedAt": "2026-11-22T12:00:03.000000Z", "destination": "b", "outcome": "Error",
                "message": "No valid host was found."},
            {"number": 2, "intentAt": "2026-11-22T12:00:20.000000Z", "endedAt": "2026-11-22T12:00:21.000000Z", "destination": "c", "outcome": "Error", "message": "no"},
            {"number": 3, "intentAt": "2026-11-22T12:01:20.000000Z", "endedAt": "2026-11-22T12:01:21.000000Z", "destination": "d", "outcome": "DestinationRefused"},
        ]}))
        .unwrap();
        assert_eq!(ever_refused_by(&status), BTreeSet::from(["a".into(), "b".into(), "d".into()]));
        assert_eq!(refused_by(&status), BTreeSet::from(["d".into()]));
    }
}
