//! Listening: looks at the sentinels' Leases, judges each cloud's sentinels together, and wakes whatever is to be said otherwise than it stands.
//!
//! The Leases are listed anew every few seconds instead of watched. Each answered list shows that the operator could have seen a renewal, which the silence of a watch does not: a broken
//! connection is silent too. A list of 200 Leases is a tenth of a megabyte.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::runtime::reflector::ObjectRef;
use tokio::time::{sleep, timeout};

use super::report::{SENSOR_DEAD, SENTINEL_SILENT};
use super::{forget, observe, report};
use crate::api::condition::{Kind, State, find, is_true};
use crate::api::report::SensorHealth;
use crate::api::{HostReport, OpenStackCloud};
use crate::kubernetes::guard;
use crate::operator::context::Context;
use crate::operator::place::Map;
use crate::silence::fleet::{Assessment, Cause, Sentinel, Standing, assess};
use crate::silence::heartbeat::Heartbeats;
use crate::silence::{RENEWAL, SILENT_AFTER};

/// So many looks in the time after which a sentinel is silent.
const LOOKS: u32 = 8;
/// A look that comes so many intervals late begins the watch anew.
const LATE_LOOKS: u32 = 3;

/// How the operator listens.
#[derive(Clone, Debug)]
pub(in super::super) struct Settings {
    /// The namespace of the Leases.
    pub(in super::super) namespace: String,
    /// A Lease that was not renewed for this long is a silent sentinel.
    pub(in super::super) silent_after: Duration,
    /// What is left of a node that belongs nowhere is deleted after this.
    pub(in super::super) forget_after: Duration,
}

/// What was heard, shared with those who tell it.
#[derive(Debug)]
pub(in super::super) struct Hearing(Mutex<Heard>);

#[derive(Debug)]
struct Heard {
    silent_after: Duration,
    heartbeats: Heartbeats,
    /// By cloud; what belongs to none is under the empty name.
    fleets: BTreeMap<String, Assessment>,
}

/// The sentinels of one cloud.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Fleet {
    pub(in super::super) total: usize,
    /// The nodes that are silent, in the order of their names.
    pub(in super::super) silent: Vec<String>,
    /// Whether too many fell silent at once.
    pub(in super::super) many: bool,
}

impl Default for Hearing {
    fn default() -> Self {
        Self(Mutex::new(Heard { silent_after: SILENT_AFTER, heartbeats: Heartbeats::default(), fleets: BTreeMap::new() }))
    }
}

impl Hearing {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a node's silence, if it is silent, means.
    pub(super) fn standing(&self, node: &str) -> Standing {
        self.lock().fleets.values().find_map(|fleet| fleet.standings.get(node).copied()).unwrap_or(Standing::Pending)
    }

    pub(super) fn silent_after(&self) -> Duration {
        self.lock().silent_after
    }

    /// The sentinels of a cloud; nothing before they were first judged.
    pub(in super::super) fn fleet(&self, cloud: &str) -> Option<Fleet> {
        let heard = self.lock();
        let assessment = heard.fleets.get(cloud)?;
        let silent = assessment.silent().into_iter().map(str::to_owned).collect();
        Some(Fleet { total: assessment.standings.len(), silent, many: assessment.many })
    }
}

/// Listens for as long as the operator runs.
pub(in super::super) async fn listen(context: &Context, settings: &Settings) -> Infallible {
    let interval = settings.silent_after / LOOKS;
    context.hearing.lock().silent_after = settings.silent_after;
    let mut failing = false;
    context.watches_ready().await;
    loop {
        match look(context, settings, interval).await {
            Ok(()) if std::mem::take(&mut failing) => {
                tracing::info!("The sentinels' Leases can be read again; silence is judged once a full interval was watched.");
            }
            Ok(()) => {}
            Err(error) => {
                context.hearing.lock().heartbeats.missed();
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(namespace = settings.namespace, error, "The sentinels' Leases cannot be read; nobody is judged silent meanwhile.");
                }
            }
        }
        sleep(interval).await;
    }
}

async fn look(context: &Context, settings: &Settings, interval: Duration) -> Result<(), String> {
    let api = Api::<Lease>::namespaced(context.client.clone(), &settings.namespace);
    // An answer that comes later than the next look is due tells of a time that is past.
    let patience = interval.max(Duration::from_secs(1));
    let answer = timeout(patience, api.list(&ListParams::default())).await;
    let leases = answer.map_err(|_| format!("no answer within {patience:?}"))?.map_err(|error| error.to_string())?.items;
    let map = Map::read(context);
    let changed = context.hearing.lock().hear(context, &map, &leases, interval);
    // One who follows listens, so as to be warm, and changes nothing.
    if !context.may_act() {
        return Ok(());
    }
    wake(context, &map, &changed);
    let after = SignedDuration::try_from(settings.forget_after).unwrap_or(SignedDuration::MAX);
    forget::forget(context, &map, &leases, &settings.namespace, after).await;
    Ok(())
}

impl Heard {
    /// Takes a list of the Leases; names the clouds whose sentinels stand otherwise than before.
    fn hear(&mut self, context: &Context, map: &Map, leases: &[Lease], interval: Duration) -> BTreeSet<String> {
        let now = context.clock.monotonic();
        let longest_pause = (interval * LATE_LOOKS).max(RENEWAL.min(self.silent_after));
        self.heartbeats.saw(now, longest_pause, leases.iter().map(|lease| (lease.name_any(), state(lease))));
        let reports = guard::all(&context.stores.reports);
        let names: BTreeSet<String> = reports.iter().map(ResourceExt::name_any).chain(leases.iter().map(ResourceExt::name_any)).collect();
        self.heartbeats.retain(|node| names.contains(node));
        let mut clouds: BTreeMap<String, BTreeMap<String, Sentinel>> =
            guard::select(&context.stores.clouds, |cloud| cloud.metadata.name.clone()).into_iter().map(|name| (name, BTreeMap::new())).collect();
        for report in &reports {
            let cloud = map.locate(&report.spec.node).ok().map(|place| place.cloud).or_else(|| report.status.as_ref()?.cloud.clone()).unwrap_or_default();
            let sentinel = self.sentinel(report, context.clock.now(), now);
            clouds.entry(cloud).or_default().insert(report.name_any(), sentinel);
        }
        let mut fleets = BTreeMap::new();
        for (cloud, sentinels) in &clouds {
            let were_many = self.fleets.get(cloud).map_or_else(|| said_many(context, cloud), |fleet| fleet.many);
            let assessment = assess(sentinels, were_many, self.silent_after);
            for node in &assessment.begin_anew {
                self.heartbeats.begin_anew(node, now);
            }
            fleets.insert(cloud.clone(), assessment);
        }
        let before = std::mem::replace(&mut self.fleets, fleets);
        let is_changed = |(cloud, fleet): &(&String, &Assessment)| before.get(*cloud) != Some(*fleet);
        self.fleets.iter().filter(is_changed).map(|(cloud, _)| cloud.clone()).collect()
    }

    fn sentinel(&mut self, report: &HostReport, now: Timestamp, monotonic: Duration) -> Sentinel {
        let node = report.name_any();
        let is_dead = report.spec.sensors.iter().any(|sensor| sensor.health == SensorHealth::Dead);
        Sentinel {
            unheard: self.heartbeats.unheard(&node, monotonic),
            was_heard: self.heartbeats.was_heard(&node),
            dead: self.heartbeats.dead(&node, is_dead, monotonic),
            judged: judged(report, now),
        }
    }
}

/// Whatever changes with each renewal, and with nothing else.
fn state(lease: &Lease) -> String {
    lease.metadata.resource_version.clone().unwrap_or_default()
}

/// What the report's status says of an earlier judgement.
fn judged(report: &HostReport, now: Timestamp) -> Option<(Cause, Duration)> {
    let silent = find(&report.status.as_ref()?.conditions, Kind::SensorSilent).filter(|silent| silent.status == State::True.as_str())?;
    let cause = match silent.reason.as_str() {
        SENTINEL_SILENT => Cause::SentinelSilent,
        SENSOR_DEAD => Cause::SensorDead,
        _ => return None,
    };
    Some((cause, now.duration_since(silent.last_transition_time.0).try_into().unwrap_or(Duration::ZERO)))
}

/// Whether the cloud's status says, from before a restart, that too many were silent at once.
fn said_many(context: &Context, cloud: &str) -> bool {
    let said = |cloud: &OpenStackCloud| cloud.status.as_ref().is_some_and(|status| is_true(&status.conditions, Kind::SentinelsUnreachable));
    guard::read(&context.stores.clouds, cloud, said).unwrap_or(false)
}

/// Wakes the reports whose status would be another one, and the clouds whose sentinels stand otherwise.
fn wake(context: &Context, map: &Map, clouds: &BTreeSet<String>) {
    let now = context.clock.now();
    for report in guard::all(&context.stores.reports) {
        let next = report::status(&report, &observe::observe(context, map, &report), now);
        if report.status.as_ref() != Some(&next) {
            // A receiver is gone only when the operator ends.
            let _ = context.wakes.reports.send(ObjectRef::new(&report.name_any()));
        }
    }
    for cloud in clouds.iter().filter(|cloud| !cloud.is_empty()) {
        let _ = context.wakes.clouds.send(ObjectRef::new(cloud));
    }
}
