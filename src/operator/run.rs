//! Start and stop of the operator: the watches, the controllers, and their end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use anyhow::Context as _;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{Controller, controller};
use kube::{Api, Client, Resource as _, ResourceExt as _};
use rustls::crypto::aws_lc_rs;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::args::RunArguments;
use super::context::{Base, Context, Stores, Wakes};
use super::crash::{self, Crash};
use super::failure::Failure;
use super::feeds::{Feed, Readiness};
use super::leader::{Election, Leadership};
use super::{alerts, cloud, figures, identity, leader, policies, quarantine, reports, runs};
use crate::api::alert::Decision;
use crate::api::{HostAlert, HostQuarantine, HostReport, MigrationRun, OpenStackCloud, QuarantinePolicy};
use crate::clock::{Clock, Window};
use crate::kubernetes::client;
use crate::kubernetes::writes::Oversight;
use crate::telemetry::admin::Admin;
use crate::telemetry::health::{Health, Part, Pulse};
use crate::telemetry::metrics::{Catalogue, OperatorMetrics, Value};

type Guarded<K> = DeserializeGuard<K>;

/// Runs until SIGTERM or SIGINT.
pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    aws_lc_rs::default_provider().install_default().map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(operate(arguments))
}

async fn operate(arguments: &RunArguments) -> anyhow::Result<()> {
    let clock = Clock::system();
    let (health, catalogue) = (Health::new(clock.clone()), Catalogue::new());
    let metrics = OperatorMetrics::new(&catalogue);
    let current: Arc<Mutex<Weak<Context>>> = Arc::default();
    let asked = Arc::clone(&current);
    health.set("API server", Part::Waits("its first answer".to_owned()));
    let _admin = Admin::start(&arguments.admin, health.clone(), catalogue, move || {
        if let Some(context) = lock(&asked).upgrade() {
            figures::refresh(&context);
        }
    });
    let config = client::config(arguments.kubeconfig.as_deref()).await?;
    let crash = Crash::at(arguments.crash_at.clone());
    // The Lease is what says when the others may write.
    let free = client::under(config.clone(), &crash::oversight(Window::always(), &crash, |_| {}))?;
    let version = free.apiserver_version().await.context("cannot reach the API server: is its address right, and does it run?")?;
    health.set("API server", Part::Ready(format!("Kubernetes {}", version.git_version)));
    let identity = arguments.identity.clone().unwrap_or_else(name_of_chance);
    tracing::info!(kubernetes = version.git_version, namespace = arguments.namespace, version = env!("CARGO_PKG_VERSION"), identity, "The operator starts.");
    let stop = CancellationToken::new();
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(stop_on_signal(stop.clone()));
    tasks.spawn(beat(health.pulse("the runtime", RUNTIME_TURN)));
    let election = Election { client: free, namespace: &arguments.namespace, identity: &identity };
    let listening = reports::Settings {
        namespace: arguments.lease_namespace.clone().unwrap_or_else(|| format!("{}-sentinels", arguments.namespace)),
        silent_after: arguments.silent_after.get(),
        forget_after: arguments.forget_after.get(),
    };
    while !stop.is_cancelled() {
        let leadership = Leadership::new(Window::shut(clock.clone()));
        let oversight = oversight(leadership.window.clone(), &metrics, &crash);
        let base = Base {
            client: client::under(config.clone(), &oversight)?,
            clock: clock.clone(),
            metrics: metrics.clone(),
            health: health.clone(),
            leadership,
            node: arguments.node.clone(),
            crash: crash.clone(),
        };
        serve(base, &election, &arguments.admission_revision, &listening, &current, &stop).await;
    }
    tracing::info!("The operator has ended; moves under way in Nova go on and are followed after the next start.");
    Ok(())
}

/// Writes to Kubernetes go out only while the Lease has time left; every one is counted.
fn oversight(window: Window, metrics: &OperatorMetrics, crash: &Crash) -> Oversight {
    let counted = metrics.clone();
    crash::oversight(window, crash, move |write| {
        let status = write.status.map_or(Value::from("none"), |status| status.to_string().into());
        counted.kubernetes_writes.one([write.resource.to_owned().into(), write.verb.into(), status]);
    })
}

/// A name that no other process has.
fn name_of_chance() -> String {
    let host = rustix::system::uname();
    format!("{}-{}", host.nodename().to_string_lossy(), Uuid::new_v4().simple())
}

/// Shows that the runtime goes round.
async fn beat(pulse: Pulse) {
    loop {
        pulse.beat();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// How long the runtime may take until a task that sleeps for a second has its turn.
const RUNTIME_TURN: Duration = Duration::from_secs(30);
/// How long one look at an object may take before it counts as stuck. A cloud that answers nothing in time makes it minutes.
const LONGEST_LOOK: Duration = Duration::from_secs(900);

/// Cancels the token at the first SIGTERM or SIGINT.
async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("Signals cannot be caught; the operator ends only by SIGKILL.");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("Asked to end; finishing what is being written.");
    stop.cancel();
}

/// Runs the watches and the controllers, as one who follows and then as the leader, until the token is cancelled or another operator has the Lease.
async fn serve(base: Base, election: &Election<'_>, revision: &str, listening: &reports::Settings, current: &Mutex<Weak<Context>>, stop: &CancellationToken) {
    let feeds = Feeds::new(&base.client, election.namespace);
    let (wakes, woken) = wakes();
    let readiness = Readiness::of(WATCHES + GROUNDS, base.health.clone());
    let context = Arc::new(Context::new(base, feeds.stores(), readiness.clone(), wakes));
    *lock(current) = Arc::downgrade(&context);
    let controllers = controllers(&feeds, woken, &context, stop);
    let secrets_changed = watch_secrets(feeds.secrets.changes(), &context);
    let watches = feeds.run(&readiness, &context);
    let grounds = identity::follow(context.client.clone(), (election.namespace, revision), readiness.clone(), &context);
    let listening = reports::listen(&context, listening);
    let work = async {
        tokio::select! {
            () = controllers => {}
            () = watches => {}
            () = grounds => {}
            () = secrets_changed => {}
            never = listening => match never {},
            () = patience(stop) => tracing::warn!("What was under way did not end in time; ending all the same."),
        }
    };
    let ended = CancellationToken::new();
    let mut lead = std::pin::pin!(leader::run(election, &context, &ended));
    tokio::select! {
        why = &mut lead => {
            // What is under way is dropped where it stands: none of its writes would go out any more.
            let why = why.unwrap_or_default();
            tracing::warn!(why, "This operator does not lead any more. It writes nothing and begins anew as one that follows.");
        }
        () = work => {
            ended.cancel();
            lead.await;
        }
    }
    context.health.forget_all();
    context.tasks.close();
}

/// Ends a while after the operator was asked to end: what waits for an API server or a cloud that is away must not hold it up.
async fn patience(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_PATIENCE).await;
}

/// How long the operator waits, once asked to end, for what is being reconciled; less than the 30 s that Kubernetes gives a pod.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// One watch per kind.
struct Feeds {
    clouds: Feed<Guarded<OpenStackCloud>>,
    policies: Feed<Guarded<QuarantinePolicy>>,
    reports: Feed<Guarded<HostReport>>,
    alerts: Feed<Guarded<HostAlert>>,
    quarantines: Feed<Guarded<HostQuarantine>>,
    runs: Feed<Guarded<MigrationRun>>,
    secrets: Feed<Secret>,
}

/// Reports that are judged at the same time: after an outage all of them may be due.
const REPORTS_AT_ONCE: u16 = 8;
/// Runs that are looked at at the same time. A look that waits for Nova keeps tens of kilobytes, and a drain wakes all its runs at once; many more than moves may be under way, so that none waits
/// for another's answer.
const RUNS_AT_ONCE: u16 = 64;
/// How many watches [`Feeds`] has.
const WATCHES: usize = 7;
/// What [`identity::follow`] counts as.
const GROUNDS: usize = 1;

impl Feeds {
    fn new(client: &Client, namespace: &str) -> Self {
        Self {
            clouds: Feed::new(Api::all(client.clone())),
            policies: Feed::new(Api::all(client.clone())),
            reports: Feed::with_managed_fields(Api::all(client.clone())),
            alerts: Feed::with_managed_fields(Api::all(client.clone())),
            quarantines: Feed::new(Api::all(client.clone())),
            runs: Feed::new(Api::all(client.clone())),
            secrets: Feed::new(Api::namespaced(client.clone(), namespace)),
        }
    }

    fn stores(&self) -> Stores {
        Stores {
            clouds: self.clouds.store(),
            policies: self.policies.store(),
            reports: self.reports.store(),
            alerts: self.alerts.store(),
            quarantines: self.quarantines.store(),
            runs: self.runs.store(),
            secrets: self.secrets.store(),
        }
    }

    /// Runs the watches. What is deleted wakes whatever depended on it; the streams that trigger the controllers carry makes and changes only.
    async fn run(self, readiness: &Readiness, context: &Arc<Context>) {
        let stores = self.stores();
        let ready = || readiness.clone();
        let wake_alerts = || send_all(&context.wakes.alerts, names(&stores.alerts));
        let cloud_gone = |cloud: &Guarded<OpenStackCloud>| {
            context.forget_cloud(&cloud.name_any());
            send_all(&context.wakes.policies, names(&stores.policies));
            wake_alerts();
        };
        let secret_gone = |secret: &Secret| send_all(&context.wakes.clouds, cloud::clouds_of_secret(context, &secret.name_any()));
        tokio::join!(
            self.clouds.run(ready(), cloud_gone),
            self.policies.run(ready(), |_| wake_alerts()),
            self.reports.run(ready(), |_| {}),
            self.alerts.run(ready(), |_| {}),
            // A quarantine that is gone may leave room for another.
            self.quarantines.run(ready(), |_| wake_alerts()),
            self.runs.run(ready(), |_| {}),
            self.secrets.run(ready(), secret_gone),
        );
    }
}

fn send_all<T>(wakes: &mpsc::UnboundedSender<T>, references: Vec<T>) {
    for reference in references {
        // The receiver is gone only when the operator ends.
        let _ = wakes.send(reference);
    }
}

/// The controllers, with what triggers each beside changes of its own kind and the wake-ups.
fn controllers(feeds: &Feeds, woken: Woken, context: &Arc<Context>, stop: &CancellationToken) -> impl Future<Output = ()> + use<> {
    let clouds = controller(&feeds.clouds).reconcile_on(woken.clouds);
    let policy_store = feeds.policies.store();
    let policies = controller(&feeds.policies).watches_shared_stream(feeds.clouds.changes(), move |_| names(&policy_store)).reconcile_on(woken.policies);
    let reports = controller(&feeds.reports).with_config(controller::Config::default().concurrency(REPORTS_AT_ONCE)).reconcile_on(woken.reports);
    let alerts = alert_triggers(feeds).reconcile_on(woken.alerts);
    let quarantines = quarantine_triggers(feeds, context).reconcile_on(woken.quarantines);
    let runs = run_triggers(feeds, context).reconcile_on(woken.runs);
    let drives = (
        drive(clouds, cloud::reconcile, context, stop),
        drive(policies, policies::reconcile, context, stop),
        drive(reports, reports::reconcile, context, stop),
        drive(alerts, alerts::reconcile, context, stop),
        drive(quarantines, quarantine::reconcile, context, stop),
        drive(runs, runs::reconcile, context, stop),
    );
    async move {
        tokio::join!(drives.0, drives.1, drives.2, drives.3, drives.4, drives.5);
    }
}

fn controller<K>(feed: &Feed<Guarded<K>>) -> Controller<Guarded<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    Controller::for_shared_stream(feed.changes(), feed.store())
}

/// The receiving ends of the wake-ups.
struct Woken {
    clouds: Receiver<OpenStackCloud>,
    policies: Receiver<QuarantinePolicy>,
    reports: Receiver<HostReport>,
    alerts: Receiver<HostAlert>,
    quarantines: Receiver<HostQuarantine>,
    runs: Receiver<MigrationRun>,
}

type Receiver<K> = futures::stream::BoxStream<'static, ObjectRef<Guarded<K>>>;

fn wakes() -> (Wakes, Woken) {
    let (clouds, clouds_woken) = mpsc::unbounded_channel();
    let (policies, policies_woken) = mpsc::unbounded_channel();
    let (reports, reports_woken) = mpsc::unbounded_channel();
    let (alerts, alerts_woken) = mpsc::unbounded_channel();
    let (quarantines, quarantines_woken) = mpsc::unbounded_channel();
    let (runs, runs_woken) = mpsc::unbounded_channel();
    let woken = Woken {
        clouds: stream(clouds_woken),
        policies: stream(policies_woken),
        reports: stream(reports_woken),
        alerts: stream(alerts_woken),
        quarantines: stream(quarantines_woken),
        runs: stream(runs_woken),
    };
    (Wakes { clouds, policies, reports, alerts, quarantines, runs }, woken)
}

fn stream<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> futures::stream::BoxStream<'static, T> {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) }).boxed()
}

/// Runs one controller until the token is cancelled; what is being reconciled then is finished.
fn drive<K, R, F>(controller: Controller<Guarded<K>>, reconcile: R, context: &Arc<Context>, stop: &CancellationToken) -> impl Future<Output = ()> + use<K, R, F>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
    R: Fn(Arc<Guarded<K>>, Arc<Context>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<controller::Action, Failure>> + Send + 'static,
{
    let (stop, context, reconcile) = (stop.clone(), Arc::clone(context), Arc::new(reconcile));
    async move {
        let asked_to_end = stop.clone();
        let in_turn = move |object: Arc<Guarded<K>>, context: Arc<Context>| {
            let turn = turn::<K>(Arc::clone(&context), stop.clone());
            let name = kube::Resource::meta(&*object).name.clone().unwrap_or_default();
            let reconcile = Arc::clone(&reconcile);
            async move {
                if let Some(action) = turn.await {
                    return Ok(action);
                }
                let _at_work = context.health.pulse(format!("the look at {} {name}", K::kind(&())), LONGEST_LOOK);
                let result = reconcile(object, Arc::clone(&context)).await;
                context.metrics.reconciles.one([K::kind(&()), if result.is_ok() { "done" } else { "failed" }.into()]);
                result
            }
        };
        let results = controller.graceful_shutdown_on(async move { asked_to_end.cancelled().await }).run(in_turn, retry::<K>, context);
        // Failures of a reconcile are logged where they are retried.
        results.for_each(|_| std::future::ready(())).await;
    }
}

/// Waits until it is this operator's turn to look at objects of this kind: once it leads; at clouds it looks also while it follows. What to do instead of the look when it had to wait: the object
/// may have changed meanwhile, so it is taken from the store anew.
async fn turn<K: kube::Resource<DynamicType = ()>>(context: Arc<Context>, stop: CancellationToken) -> Option<controller::Action> {
    let ready = async {
        context.watches_ready().await;
        let looks_always = K::kind(&()) == OpenStackCloud::kind(&());
        if looks_always || context.leadership.leads() {
            return !looks_always && !context.may_act();
        }
        context.leadership.wait().await;
        true
    };
    tokio::select! {
        must_wait = ready => must_wait.then(|| controller::Action::requeue(if context.may_act() { Duration::ZERO } else { CLAIM_PAUSE })),
        () = stop.cancelled() => Some(controller::Action::await_change()),
    }
}

/// When an object is looked at again while some cloud is not claimed.
const CLAIM_PAUSE: Duration = Duration::from_millis(200);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn retry<K: kube::Resource<DynamicType = ()>>(object: Arc<Guarded<K>>, failure: &Failure, context: Arc<Context>) -> controller::Action {
    let name = kube::Resource::meta(&*object).name.clone().unwrap_or_default();
    let kind = K::kind(&());
    failure.retry(&kind, &name, !context.may_warn(&kind, &name))
}

/// References to every object of a store.
fn names<K>(store: &reflector::Store<Guarded<K>>) -> Vec<ObjectRef<Guarded<K>>>
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    store.state().iter().filter_map(|object| kube::Resource::meta(&**object).name.clone()).map(|name| ObjectRef::new(&name)).collect()
}

/// Alerts are looked at again when a policy, a cloud or a quarantine changes. One at a time: see `alerts`.
fn alert_triggers(feeds: &Feeds) -> Controller<Guarded<HostAlert>> {
    let (by_cloud, by_policy, by_quarantine) = (feeds.alerts.store(), feeds.alerts.store(), feeds.alerts.store());
    controller(&feeds.alerts)
        .with_config(controller::Config::default().concurrency(1))
        .watches_shared_stream(feeds.clouds.changes(), move |_| names(&by_cloud))
        .watches_shared_stream(feeds.policies.changes(), move |_| names(&by_policy))
        .watches_shared_stream(feeds.quarantines.changes(), move |_| names(&by_quarantine))
}

/// A quarantine is looked at again when one of its runs changes, and when an alert joins it.
fn quarantine_triggers(feeds: &Feeds, context: &Arc<Context>) -> Controller<Guarded<HostQuarantine>> {
    let (by_run, by_alert) = (Arc::clone(context), Arc::clone(context));
    let wake = |context: &Context, name: &str| {
        context.wake_from_rest(name);
        ObjectRef::new(name)
    };
    controller(&feeds.quarantines)
        .watches_shared_stream(feeds.runs.changes(), move |run: Arc<Guarded<MigrationRun>>| run.0.as_ref().ok().map(|run| wake(&by_run, &run.spec.quarantine)))
        .watches_shared_stream(feeds.alerts.changes(), move |alert: Arc<Guarded<HostAlert>>| {
            let alert = alert.0.as_ref().ok()?;
            let status = alert.status.as_ref()?;
            // An alert that only counts on is no news for the quarantine.
            let joined = status.decision == Some(Decision::AlreadyQuarantined) && status.observed_seq == Some(alert.spec.seq);
            status.quarantine.as_deref().filter(|_| joined).map(|name| wake(&by_alert, name))
        })
}

/// Runs are looked at again when their quarantine changes.
fn run_triggers(feeds: &Feeds, context: &Arc<Context>) -> Controller<Guarded<MigrationRun>> {
    let context = Arc::clone(context);
    let runs = controller(&feeds.runs).with_config(controller::Config::default().concurrency(RUNS_AT_ONCE));
    runs.watches_shared_stream(feeds.quarantines.changes(), move |quarantine: Arc<Guarded<HostQuarantine>>| {
        let uid = kube::Resource::meta(&*quarantine).uid.clone().unwrap_or_default();
        context.names_of_runs(&uid).iter().map(|run| ObjectRef::new(run)).collect::<Vec<_>>()
    })
}

/// Wakes a cloud whose Secret has changed.
fn watch_secrets(changes: impl Stream<Item = Arc<Secret>> + Send, context: &Arc<Context>) -> impl Future<Output = ()> {
    let context = Arc::clone(context);
    changes.for_each(move |secret| {
        for cloud in cloud::clouds_of_secret(&context, &secret.name_any()) {
            let _ = context.wakes.clouds.send(cloud);
        }
        std::future::ready(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_never_ends_holds_up_the_end_for_ten_seconds_only() {
        let stop = CancellationToken::new();
        let day = Duration::from_secs(86_400);
        assert!(tokio::time::timeout(day, patience(&stop)).await.is_err(), "nobody asked it to end");
        stop.cancel();
        assert!(tokio::time::timeout(STOP_PATIENCE + Duration::from_secs(1), patience(&stop)).await.is_ok());
    }
}
