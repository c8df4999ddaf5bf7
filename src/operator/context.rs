//! What the controllers share: the stores of all kinds, the clouds that are connected, the slots for moves, and the wake-ups between controllers.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, ResourceExt as _};
use tokio::sync::mpsc::UnboundedSender;

use super::alerts::Alarms;
use super::crash::Crash;
use super::feeds::Readiness;
use super::identity::Grounds;
use super::leader::{self, Leadership};
use super::places::Members;
use super::reports::Hearing;
use super::rests::Rests;
use super::runs::slots::Slots;
use super::runs::{Brakes, OwnNodes, is_dormant};
use crate::api::condition::{Kind, is_true};
use crate::api::{HostAlert, HostQuarantine, HostReport, MigrationRun, OpenStackCloud, OpenStackCloudSpec, QuarantinePolicy};
use crate::clock::Clock;
use crate::gate::{Acceptance, Claim};
use crate::inventory::HostName;
use crate::kubernetes::event::Events;
use crate::kubernetes::guard;
use crate::openstack::{Cloud, Fault, FaultKind, Inventory};
use crate::quarantine::Memory;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::OperatorMetrics;

/// The stores: what the API server holds, as the watches last showed it.
#[derive(Clone, Debug)]
pub(super) struct Stores {
    pub(super) clouds: Store<DeserializeGuard<OpenStackCloud>>,
    pub(super) policies: Store<DeserializeGuard<QuarantinePolicy>>,
    pub(super) reports: Store<DeserializeGuard<HostReport>>,
    pub(super) alerts: Store<DeserializeGuard<HostAlert>>,
    pub(super) quarantines: Store<DeserializeGuard<HostQuarantine>>,
    pub(super) runs: Store<DeserializeGuard<MigrationRun>>,
    pub(super) secrets: Store<Secret>,
}

/// Wake-ups: names of objects to look at, sent by whoever saw something that concerns them.
#[derive(Clone, Debug)]
pub(super) struct Wakes {
    pub(super) clouds: UnboundedSender<ObjectRef<DeserializeGuard<OpenStackCloud>>>,
    pub(super) policies: UnboundedSender<ObjectRef<DeserializeGuard<QuarantinePolicy>>>,
    pub(super) reports: UnboundedSender<ObjectRef<DeserializeGuard<HostReport>>>,
    pub(super) alerts: UnboundedSender<ObjectRef<DeserializeGuard<HostAlert>>>,
    pub(super) quarantines: UnboundedSender<ObjectRef<DeserializeGuard<HostQuarantine>>>,
    pub(super) runs: UnboundedSender<ObjectRef<DeserializeGuard<MigrationRun>>>,
}

/// A cloud that is connected and polled.
#[derive(Debug)]
pub(super) struct LiveCloud {
    pub(super) cloud: Cloud,
    pub(super) inventory: Inventory,
    /// What it was connected with; other settings or another credential make a new connection.
    pub(super) fingerprint: [u8; 32],
    /// Whether the credential was shown to see all projects.
    pub(super) sees_all_projects: bool,
    /// What stands in clouds.yaml and is not honoured, a sentence each.
    pub(super) notices: Vec<String>,
    /// Ends the poller when the last user lets go.
    pub(super) poller: tokio::task::AbortHandle,
}

impl Drop for LiveCloud {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

/// Why a cloud cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) reason: String,
    pub(super) message: String,
}

/// How long a failed reconcile of an object is not warned about again.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

/// What a [`Context`] is made from.
pub(super) struct Base {
    /// Its writes go out only while this operator leads.
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) metrics: OperatorMetrics,
    pub(super) health: Health,
    pub(super) leadership: Leadership,
    pub(super) node: Option<String>,
    pub(super) crash: Crash,
}

/// Shared by all controllers.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) events: Events,
    pub(super) stores: Stores,
    readiness: Readiness,
    pub(super) wakes: Wakes,
    pub(super) slots: Slots,
    /// What is heard of the sentinels.
    pub(super) hearing: Hearing,
    pub(super) crash: Crash,
    pub(super) alarms: Alarms,
    pub(super) metrics: OperatorMetrics,
    pub(super) health: Health,
    pub(super) leadership: Leadership,
    /// The Kubernetes node that this operator runs on, if it was told.
    pub(super) node: Option<String>,
    /// Spawned pollers; each ends with its cloud.
    pub(super) tasks: tokio_util::task::TaskTracker,
    clouds: Mutex<HashMap<String, Result<Arc<LiveCloud>, Unusable>>>,
    memories: Mutex<HashMap<String, Memory>>,
    /// Quarantines for which nothing is due.
    pub(super) rests: Rests,
    /// By alert: the series and seq of events that joined a quarantine and must not be decided on again.
    joined: Mutex<HashMap<String, (String, i64)>>,
    /// By kind and name: when a failed reconcile was last warned about (monotonic).
    warnings: Mutex<HashMap<String, Duration>>,
    /// By name of a run, or UID of a quarantine: when its status was last written (monotonic).
    writes: Mutex<HashMap<String, Duration>>,
    /// By cloud: whose turn it is to be accepted.
    acceptances: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// UIDs of quarantines whose acceptance was written; the watch may not show it yet.
    accepted: Mutex<HashSet<String>>,
    /// Quarantines that were made and that the watch has not shown yet.
    made: Mutex<HashMap<String, Claim>>,
    /// The admission policies and the kinds, as last compared.
    grounds: Mutex<Grounds>,
    /// By cloud: what holds moves back while something that Nova depends on seems to be down.
    pub(super) brakes: Brakes,
    /// The servers that are nodes of the cluster that Sidestep runs in.
    pub(super) own_nodes: OwnNodes,
    /// Where members of server groups are.
    pub(super) members: Members,
}

impl Context {
    pub(super) fn new(base: Base, stores: Stores, readiness: Readiness, wakes: Wakes) -> Self {
        let Base { client, clock, metrics, health, leadership, node, crash } = base;
        Self {
            events: Events::new(client.clone(), None),
            alarms: Alarms::since(clock.now()),
            client,
            clock,
            stores,
            readiness,
            wakes,
            slots: Slots::default(),
            hearing: Hearing::default(),
            crash,
            metrics,
            health,
            leadership,
            node,
            tasks: tokio_util::task::TaskTracker::new(),
            clouds: Mutex::default(),
            memories: Mutex::default(),
            rests: Rests::default(),
            warnings: Mutex::default(),
            joined: Mutex::default(),
            acceptances: Mutex::default(),
            accepted: Mutex::default(),
            writes: Mutex::default(),
            made: Mutex::default(),
            grounds: Mutex::default(),
            brakes: Brakes::default(),
            own_nodes: OwnNodes::default(),
            members: Members::default(),
        }
    }

    /// Waits until every watch has shown what is there.
    pub(super) async fn watches_ready(&self) {
        self.readiness.wait().await;
    }

    /// Whether this operator acts: it leads, every watch has shown what is there, and no cloud is another operator's.
    pub(super) fn may_act(&self) -> bool {
        self.leadership.leads() && leader::all_ours(self)
    }

    /// The admission policies and the kinds, as last compared.
    pub(super) fn grounds(&self) -> Grounds {
        lock(&self.grounds).clone()
    }

    /// Remembers a comparison; a new result wakes all that depends on it.
    pub(super) fn set_grounds(&self, grounds: &Grounds) {
        if mem::replace(&mut *lock(&self.grounds), grounds.clone()) == *grounds {
            return;
        }
        grounds.log();
        self.wake_clouds();
        for alert in guard::select(&self.stores.alerts, |alert| Some(alert.name_any())) {
            let _ = self.wakes.alerts.send(ObjectRef::new(&alert));
        }
        for quarantine in guard::select(&self.stores.quarantines, |quarantine| Some(quarantine.name_any())) {
            self.wake_from_rest(&quarantine);
            let _ = self.wakes.quarantines.send(ObjectRef::new(&quarantine));
        }
    }

    /// The cloud of this name, or why it cannot be used.
    pub(super) fn cloud(&self, name: &str) -> Result<Arc<LiveCloud>, Unusable> {
        let known = lock(&self.clouds).get(name).cloned();
        known.unwrap_or_else(|| Err(self.unknown_cloud(name)))
    }

    fn unknown_cloud(&self, name: &str) -> Unusable {
        if self.cloud_spec(name).is_some() {
            return Unusable { reason: "Connecting".into(), message: format!("OpenStackCloud {name} is being connected") };
        }
        let mut names: Vec<String> = guard::select(&self.stores.clouds, |cloud| Some(cloud.name_any()));
        names.sort();
        let there = if names.is_empty() { "there is none".to_owned() } else { format!("there are: {}", names.join(", ")) };
        Unusable { reason: "CloudNotFound".into(), message: format!("there is no OpenStackCloud {name}; {there}. Create it, or correct spec.cloud") }
    }

    pub(super) fn set_cloud(&self, name: &str, state: Result<Arc<LiveCloud>, Unusable>) {
        lock(&self.clouds).insert(name.to_owned(), state);
    }

    pub(super) fn forget_cloud(&self, name: &str) {
        lock(&self.clouds).remove(name);
    }

    /// The spec of the OpenStackCloud of this name.
    pub(super) fn cloud_spec(&self, name: &str) -> Option<OpenStackCloudSpec> {
        guard::read(&self.stores.clouds, name, |cloud| cloud.spec.clone())
    }

    /// The memory of a quarantine.
    pub(super) fn memory(&self, uid: &str) -> Memory {
        lock(&self.memories).get(uid).cloned().unwrap_or_default()
    }

    pub(super) fn remember(&self, uid: &str, memory: Memory) {
        lock(&self.memories).insert(uid.to_owned(), memory);
    }

    pub(super) fn forget(&self, uid: &str) {
        lock(&self.memories).remove(uid);
        self.rests.forget(uid);
        lock(&self.writes).remove(uid);
    }

    /// Forgets that nothing was due for the quarantine of this name: something it depends on has changed.
    pub(super) fn wake_from_rest(&self, quarantine: &str) {
        if let Some(uid) = guard::read(&self.stores.quarantines, quarantine, |quarantine| quarantine.metadata.uid.clone()).flatten() {
            self.rests.wake(&uid);
        }
    }

    /// Whether a failed reconcile of this object is worth a warning: not when there was one within [`WARNING_PAUSE`].
    pub(super) fn may_warn(&self, kind: &str, name: &str) -> bool {
        let now = self.clock.monotonic();
        let mut warnings = lock(&self.warnings);
        warnings.retain(|_, at| now.saturating_sub(*at) < WARNING_PAUSE);
        let key = format!("{kind} {name}");
        let first = !warnings.contains_key(&key);
        if first {
            warnings.insert(key, now);
        }
        first
    }

    /// Whether what can wait may be written again: the last write to the status of this run (by name) or quarantine (by UID) is so old.
    pub(super) fn progress_due(&self, key: &str, interval: Duration) -> bool {
        let now = self.clock.monotonic();
        lock(&self.writes).get(key).is_none_or(|last| now.saturating_sub(*last) >= interval)
    }

    pub(super) fn progress_written(&self, key: &str) {
        lock(&self.writes).insert(key.to_owned(), self.clock.monotonic());
    }

    /// All quarantines as the gates see them, with those that were just made.
    pub(super) fn claims(&self) -> Vec<Claim> {
        let mut claims: Vec<Claim> = guard::select(&self.stores.quarantines, Claim::of);
        let mut made = lock(&self.made);
        made.retain(|uid, _| !claims.iter().any(|claim| &claim.uid == uid));
        claims.extend(made.values().cloned());
        let mut accepted = lock(&self.accepted);
        accepted.retain(|uid| claims.iter().any(|claim| &claim.uid == uid));
        for claim in claims.iter_mut().filter(|claim| claim.acceptance == Acceptance::Pending && accepted.contains(&claim.uid)) {
            claim.acceptance = Acceptance::Accepted;
        }
        claims
    }

    /// Remembers that the events of an alert up to this seq have joined a quarantine. The status is not written for each of them, and when that quarantine is deleted they must not make
    /// another.
    pub(super) fn joined(&self, alert: &HostAlert) {
        lock(&self.joined).insert(alert.name_any(), (alert.spec.series.clone(), alert.spec.seq));
    }

    /// Whether exactly these events have joined a quarantine already.
    pub(super) fn has_joined(&self, alert: &HostAlert) -> bool {
        lock(&self.joined).get(&alert.name_any()).is_some_and(|(series, seq)| *series == alert.spec.series && *seq == alert.spec.seq)
    }

    /// Counts a quarantine as accepted, until the watch shows it.
    pub(super) fn just_accepted(&self, uid: &str) {
        lock(&self.accepted).insert(uid.to_owned());
    }

    /// Counts a quarantine that was just made, until the watch shows it.
    pub(super) fn just_made(&self, quarantine: &HostQuarantine) {
        if let Some(claim) = Claim::of(quarantine) {
            lock(&self.made).insert(claim.uid.clone(), claim);
        }
    }

    pub(super) fn quarantine(&self, name: &str) -> Option<HostQuarantine> {
        let store = &self.stores.quarantines;
        store.get(&ObjectRef::new(name)).and_then(|object| guard::valid(&object).cloned())
    }

    /// The runs of the quarantine with this UID.
    pub(super) fn runs_of(&self, quarantine_uid: &str) -> Vec<MigrationRun> {
        guard::select(&self.stores.runs, |run| (owner_uid(run) == Some(quarantine_uid)).then(|| run.clone()))
    }

    /// The names of the runs of the quarantine with this UID.
    pub(super) fn names_of_runs(&self, quarantine_uid: &str) -> Vec<String> {
        guard::select(&self.stores.runs, |run| (owner_uid(run) == Some(quarantine_uid)).then(|| run.name_any()))
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>,
    {
        Api::all(self.client.clone())
    }

    /// When the latest complete list of each connected cloud's compute services was begun.
    pub(super) fn looked_at(&self) -> Vec<(String, Timestamp)> {
        let clouds = lock(&self.clouds);
        let live = clouds.iter().filter_map(|(name, state)| Some((name, state.as_ref().ok()?)));
        live.filter_map(|(name, live)| Some((name.clone(), live.inventory.services()?.begun_at))).collect()
    }
}

impl Context {
    /// Lets the poller leave a host alone when no run and no quarantine is at work on it, or look seldom where runs wait for something else to change. `except` is the object that has just come to
    /// rest, which the stores may not show yet.
    pub(super) fn unwatch_if_idle(&self, live: &LiveCloud, cloud: &str, host: &HostName, except: &str) {
        let other = |name: Option<&String>| name.is_none_or(|name| name != except);
        let open_run = |run: &MigrationRun| run.spec.cloud == cloud && run.spec.source_host == host.0 && other(run.metadata.name.as_ref()) && !is_finished(run);
        let at_work_run = |run: &MigrationRun| open_run(run) && !is_dormant(run, self.quarantine(&run.spec.quarantine).as_ref());
        let at_work = |quarantine: &HostQuarantine| {
            let conditions = quarantine.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            quarantine.spec.cloud == cloud
                && quarantine.spec.host == host.0
                && other(quarantine.metadata.name.as_ref())
                && is_true(conditions, Kind::Reconciling)
        };
        if guard::any(&self.stores.quarantines, at_work) || guard::any(&self.stores.runs, at_work_run) {
            return;
        }
        if guard::any(&self.stores.runs, open_run) {
            live.inventory.calm_host(host);
        } else {
            live.inventory.unwatch_host(host);
        }
    }

    /// Remembers whether Nova refused a write to a host's service for a reason that will not pass by itself. Any other failure is one of the reconcile, which is repeated.
    pub(super) fn note_refusal(&self, uid: &str, action: &'static str, written: Result<(), Fault>) -> Result<(), Fault> {
        let done = written.is_ok();
        let (refused, failed) = match written {
            Ok(()) => (None, Ok(())),
            Err(fault) if matches!(fault.kind(), FaultKind::Forbidden | FaultKind::BadRequest | FaultKind::NotFound | FaultKind::Conflict) => {
                tracing::warn!(error = %fault, "Nova refuses to change the host's compute service.");
                let words = fault.message().map_or_else(|| fault.category().to_owned(), ToOwned::to_owned);
                (Some(words), Ok(()))
            }
            Err(fault) => (self.memory(uid).refused, Err(fault)),
        };
        let outcome = if done {
            "done"
        } else if failed.is_ok() {
            "refused"
        } else {
            "failed"
        };
        self.metrics.cordons.one([action, outcome]);
        let mut memory = self.memory(uid);
        memory.refused = refused;
        self.remember(uid, memory);
        failed
    }

    /// Held while a quarantine of this cloud asks its gates and writes what they said, so that no two ask at the same moment.
    pub(super) async fn acceptance(&self, cloud: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = Arc::clone(lock(&self.acceptances).entry(cloud.to_owned()).or_default());
        turn.lock_owned().await
    }
}

/// Whether a run has ended.
pub(super) fn is_finished(run: &MigrationRun) -> bool {
    run.status.as_ref().is_some_and(crate::migration::is_finished)
}

/// The UID of the quarantine that owns a run.
pub(super) fn owner_uid(run: &MigrationRun) -> Option<&str> {
    run.metadata.owner_references.iter().flatten().find(|owner| owner.kind == "HostQuarantine").map(|owner| owner.uid.as_str())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
