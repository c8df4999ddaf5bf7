//! Which hosts are alerted: where evidence and threshold of a policy held a short while ago.
//!
//! Kept in memory, because it is asked with every decision and before every move; each judgement brings it up to date. It is begun from the alerts' status, so that a restart of the operator forgets nothing.
//! Two questions are answered from it, with different times:
//!
//! | question | counts | for |
//! | --- | --- | --- |
//! | is the host a destination? ([`alerted_hosts`]) | any policy, one in mode Observe too; and the host of an address that attacks over established connections | 30 min |
//! | do too many hosts alert at once? ([`alerting_hosts`]) | policies that act | 10 min |
//!
//! What happened before the host was last given back counts for neither, and nor does what happens on a host of the quarantine pool: servers from suspect hosts are there, and what they do must not close
//! the pool to the next ones, nor the gate to all alerts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::stale::StaleAtStart;
use crate::alert::decision::{Held, Judgement, Place, age};
use crate::api::HostAlert;
use crate::api::alert::Decision;
use crate::api::alert::SELF_ENGINE;
use crate::api::units::Flow;
use crate::inventory::HostName;
use crate::kubernetes::guard;
use crate::operator::cloud::Past;
use crate::operator::context::Context;

/// How long a host stays alerted: no destination for servers that leave another.
const ALERTED_FOR: SignedDuration = SignedDuration::from_mins(30);
/// How long a host counts in the share of hosts that alert at once.
const ALERTING_FOR: SignedDuration = SignedDuration::from_mins(10);

/// When policies' evidence and threshold last held, and of which hosts was said that their alerts were too old when this process began.
#[derive(Debug)]
pub(in super::super) struct Alarms {
    known: Mutex<Option<Known>>,
    pub(super) stale: StaleAtStart,
}

#[derive(Debug, Default)]
struct Known {
    hosts: BTreeMap<Place, Times>,
    /// By cloud: addresses that attacked over established connections.
    attackers: HashMap<String, BTreeMap<IpAddr, Timestamp>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    by_any: Option<Timestamp>,
    by_acting: Option<Timestamp>,
}

impl Alarms {
    /// As this process begins.
    pub(in super::super) fn since(began: Timestamp) -> Self {
        Self { known: Mutex::default(), stale: StaleAtStart::since(began) }
    }

    /// Notes a judgement on an alert.
    pub(super) fn note(&self, context: &Context, alert: &HostAlert, judgement: &Judgement, now: Timestamp) {
        let (Some(cloud), Some(host), true) = (&judgement.cloud, &judgement.host, judgement.held != Held::Not) else { return };
        let place = Place { cloud: cloud.clone(), host: HostName(host.clone()) };
        self.with(context, |known| known.note(place, alert, judgement.held, happened(alert, now)));
    }

    fn with<T>(&self, context: &Context, act: impl FnOnce(&mut Known) -> T) -> T {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        act(known.get_or_insert_with(|| Known::from_status(context)))
    }
}

impl Known {
    /// What the alerts' status says of the time before this process began.
    fn from_status(context: &Context) -> Self {
        let (mut known, now) = (Self::default(), context.clock.now());
        guard::select(&context.stores.alerts, |alert| {
            let status = alert.status.as_ref()?;
            let held = status.decision.map_or(Held::Not, Held::by_decision);
            let place = Place { cloud: status.cloud.clone()?, host: HostName(status.host.clone()?) };
            (held != Held::Not).then(|| known.note(place, alert, held, happened(alert, now)))
        });
        known
    }

    fn note(&mut self, place: Place, alert: &HostAlert, held: Held, at: Timestamp) {
        if alert.spec.flow == Flow::Established
            && let Ok(address) = alert.spec.subject.parse::<IpAddr>()
        {
            let attackers = self.attackers.entry(place.cloud.clone()).or_default();
            attackers.retain(|_, seen| at.duration_since(*seen) < ALERTED_FOR);
            later(attackers.entry(address.to_canonical()).or_insert(at), at);
        }
        let times = self.hosts.entry(place).or_default();
        later(times.by_any.get_or_insert(at), at);
        // A host that is silent is no destination, and no sign of an attack on many at once.
        if held == Held::ByActing && alert.spec.engine != SELF_ENGINE {
            later(times.by_acting.get_or_insert(at), at);
        }
    }
}

fn later(kept: &mut Timestamp, at: Timestamp) {
    *kept = (*kept).max(at);
}

/// When the last event of an alert happened, as the API server's clock and ours have it.
fn happened(alert: &HostAlert, now: Timestamp) -> Timestamp {
    now.saturating_sub(age(alert.spec.last_seen.0, super::observe::written(alert), now)).unwrap_or(now)
}

/// The hosts of a cloud that are no destinations, because they were attacked, or attack, within 30 minutes.
pub(in super::super) fn alerted_hosts(context: &Context, cloud: &str, now: Timestamp) -> BTreeSet<HostName> {
    let recent = |at: Timestamp| now.duration_since(at) < ALERTED_FOR;
    let past = Past::of(context, cloud, &context.claims());
    let mut hosts = context.alarms.with(context, |known| since_release(known, &past, cloud, |times| times.by_any.filter(|at| recent(*at))));
    hosts.extend(attacking_hosts(context, cloud, now));
    outside_pool(context, cloud, hosts)
}

/// The hosts of a cloud on which a policy that acts held within 10 minutes: what the ceiling on their share counts.
pub(in super::super) fn alerting_hosts(context: &Context, cloud: &str, past: &Past, now: Timestamp) -> BTreeSet<HostName> {
    let recent = |at: &Timestamp| now.duration_since(*at) < ALERTING_FOR;
    let hosts = context.alarms.with(context, |known| since_release(known, past, cloud, |times| times.by_acting.filter(recent)));
    outside_pool(context, cloud, hosts)
}

fn outside_pool(context: &Context, cloud: &str, mut hosts: BTreeSet<HostName>) -> BTreeSet<HostName> {
    if !hosts.is_empty() {
        let pool = context.pool(cloud);
        hosts.retain(|host| !pool.holds(host));
    }
    hosts
}

fn since_release(known: &Known, past: &Past, cloud: &str, time: impl Fn(&Times) -> Option<Timestamp>) -> BTreeSet<HostName> {
    let hosts = known.hosts.iter().filter(|(place, _)| place.cloud == cloud).filter_map(|(place, times)| Some((&place.host, time(times)?)));
    hosts.filter(|(host, at)| past.latest_release(host).is_none_or(|released| *at > released)).map(|(host, _)| host.clone()).collect()
}

/// The hosts whose own address, or a server's on them, attacked another host of the cloud over established connections within 30 minutes, where Nova knows the address.
fn attacking_hosts(context: &Context, cloud: &str, now: Timestamp) -> BTreeSet<HostName> {
    let attackers: Vec<IpAddr> = context.alarms.with(context, |known| {
        let recent = known.attackers.get(cloud).into_iter().flatten().filter(|(_, at)| now.duration_since(**at) < ALERTED_FOR);
        recent.map(|(address, _)| *address).collect()
    });
    let Ok(live) = context.cloud(cloud) else { return BTreeSet::new() };
    if attackers.is_empty() {
        return BTreeSet::new();
    }
    live.inventory.want_addresses();
    let Some(addresses) = live.inventory.addresses() else { return BTreeSet::new() };
    attackers.iter().flat_map(|address| addresses.hosts_of(address)).cloned().collect()
}

/// The attacking hosts that wait for a place in the budget. They go before the hosts that they attack: servers must not be moved into an attacker's arms.
pub(in super::super) fn waiting_attackers(context: &Context, cloud: &str, now: Timestamp) -> BTreeSet<HostName> {
    let mut attacking = attacking_hosts(context, cloud, now);
    if attacking.is_empty() {
        return attacking;
    }
    let waiting: BTreeSet<String> = guard::select(&context.stores.alerts, |alert| {
        let status = alert.status.as_ref().filter(|status| status.decision == Some(Decision::OverBudget) && status.cloud.as_deref() == Some(cloud))?;
        let young = now.duration_since(happened(alert, now)) < ALERTING_FOR;
        status.host.clone().filter(|_| young)
    })
    .into_iter()
    .collect();
    attacking.retain(|host| waiting.contains(&host.0));
    attacking
}
