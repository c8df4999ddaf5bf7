//! Start and stop of the operator: the watches, the controllers, and their end.

use std::sync::Arc;

use anyhow::Context as _;
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{Controller, WatchStreamExt as _, controller, watcher};
use kube::{Api, Client, ResourceExt as _};
use rustls::crypto::aws_lc_rs;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::args::RunArguments;
use super::context::{Context, Stores, Wakes};
use super::crash::Crash;
use super::failure::Failure;
use super::{alerts, cloud, policies, quarantine, runs};
use crate::api::{HostAlert, HostQuarantine, MigrationRun, OpenStackCloud, QuarantinePolicy};
use crate::clock::Clock;
use crate::kubernetes::client;
use crate::kubernetes::event::Events;

type Guarded<K> = DeserializeGuard<K>;

/// Runs until SIGTERM or SIGINT.
pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    aws_lc_rs::default_provider().install_default().map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(operate(arguments))
}

async fn operate(arguments: &RunArguments) -> anyhow::Result<()> {
    let client = client::connect(arguments.kubeconfig.as_deref()).await?;
    let version = client.apiserver_version().await.context("cannot reach the API server: is its address right, and does it run?")?;
    tracing::info!(kubernetes = version.git_version, namespace = arguments.namespace, version = env!("CARGO_PKG_VERSION"), "The operator starts.");
    let stop = CancellationToken::new();
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(stop_on_signal(stop.clone()));
    serve(client, arguments, &stop).await;
    tracing::info!("The operator has ended; moves under way in Nova go on and are followed after the next start.");
    Ok(())
}

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

/// Runs the controllers until the token is cancelled.
async fn serve(client: Client, arguments: &RunArguments, stop: &CancellationToken) {
    let clouds = Controller::new(Api::<Guarded<OpenStackCloud>>::all(client.clone()), watcher::Config::default());
    let policies = Controller::new(Api::<Guarded<QuarantinePolicy>>::all(client.clone()), watcher::Config::default());
    let alerts = Controller::new(Api::<Guarded<HostAlert>>::all(client.clone()), watcher::Config::default());
    let quarantines = Controller::new(Api::<Guarded<HostQuarantine>>::all(client.clone()), watcher::Config::default());
    let runs = Controller::new(Api::<Guarded<MigrationRun>>::all(client.clone()), watcher::Config::default());
    let (secrets, secrets_writer) = reflector::store::<Secret>();
    let stores =
        Stores { clouds: clouds.store(), policies: policies.store(), alerts: alerts.store(), quarantines: quarantines.store(), runs: runs.store(), secrets };
    let (wakes, woken) = wakes();
    let events = Events::new(client.clone(), None);
    let context = Arc::new(Context::new(client.clone(), Clock::system(), events, stores, wakes, Crash::at(arguments.crash_at)));
    let secrets_api: Api<Secret> = Api::namespaced(client.clone(), &arguments.namespace);
    let secrets = watch_secrets(secrets_api, secrets_writer, Arc::clone(&context));
    let controllers = async {
        tokio::join!(
            drive(clouds.reconcile_on(woken.clouds), cloud::reconcile, &context, stop),
            drive(watching_clouds(policies, &client), policies::reconcile, &context, stop),
            drive(alert_triggers(alerts, &client).reconcile_on(woken.alerts), alerts::reconcile, &context, stop),
            drive(quarantine_triggers(quarantines, &context, &client).reconcile_on(woken.quarantines), quarantine::reconcile, &context, stop),
            drive(run_triggers(runs, &context, &client).reconcile_on(woken.runs), runs::reconcile, &context, stop),
        )
    };
    tokio::select! {
        _ = controllers => {}
        () = secrets => {}
    }
    context.tasks.close();
}

/// The receiving ends of the wake-ups.
struct Woken {
    clouds: Receiver<OpenStackCloud>,
    alerts: Receiver<HostAlert>,
    quarantines: Receiver<HostQuarantine>,
    runs: Receiver<MigrationRun>,
}

type Receiver<K> = futures::stream::BoxStream<'static, ObjectRef<Guarded<K>>>;

fn wakes() -> (Wakes, Woken) {
    let (clouds, clouds_woken) = mpsc::unbounded_channel();
    let (alerts, alerts_woken) = mpsc::unbounded_channel();
    let (quarantines, quarantines_woken) = mpsc::unbounded_channel();
    let (runs, runs_woken) = mpsc::unbounded_channel();
    let woken = Woken { clouds: stream(clouds_woken), alerts: stream(alerts_woken), quarantines: stream(quarantines_woken), runs: stream(runs_woken) };
    (Wakes { clouds, alerts, quarantines, runs }, woken)
}

fn stream<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> futures::stream::BoxStream<'static, T> {
    futures::stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) }).boxed()
}

/// Runs one controller until the token is cancelled; what is being reconciled then is finished.
async fn drive<K, R, F>(controller: Controller<Guarded<K>>, reconcile: R, context: &Arc<Context>, stop: &CancellationToken)
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
    R: Fn(Arc<Guarded<K>>, Arc<Context>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<controller::Action, Failure>> + Send + 'static,
{
    let stop = stop.clone();
    let results = controller.graceful_shutdown_on(async move { stop.cancelled().await }).run(reconcile, retry::<K>, Arc::clone(context));
    log_watch_errors(results).await;
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn retry<K: kube::Resource<DynamicType = ()>>(object: Arc<Guarded<K>>, failure: &Failure, _: Arc<Context>) -> controller::Action {
    let name = kube::Resource::meta(&*object).name.clone().unwrap_or_default();
    let kind = K::kind(&());
    failure.retry(&kind, &name)
}

/// Failures of a reconcile are logged where they are retried; what is left are watches that broke, which are begun again by themselves.
async fn log_watch_errors<K, E, S>(results: S)
where
    S: Stream<Item = Result<(ObjectRef<K>, controller::Action), controller::Error<E, watcher::Error>>>,
    K: reflector::Lookup,
    E: std::error::Error + 'static,
{
    let mut results = std::pin::pin!(results);
    while let Some(result) = results.next().await {
        if let Err(controller::Error::QueueError(error)) = result {
            tracing::warn!(%error, "A watch of the API server broke and is begun again.");
        }
    }
}

fn watching_clouds<K>(controller: Controller<Guarded<K>>, client: &Client) -> Controller<Guarded<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let store = controller.store();
    let api = Api::<Guarded<OpenStackCloud>>::all(client.clone());
    controller.watches(api, watcher::Config::default(), move |_| names(&store))
}

/// References to every object of a store.
fn names<K>(store: &reflector::Store<Guarded<K>>) -> Vec<ObjectRef<Guarded<K>>>
where
    K: kube::Resource<DynamicType = ()> + Clone + 'static,
{
    store.state().iter().filter_map(|object| kube::Resource::meta(&**object).name.clone()).map(|name| ObjectRef::new(&name)).collect()
}

/// Alerts are looked at again when a policy, a cloud or a quarantine changes. One at a time: see `alerts`.
fn alert_triggers(controller: Controller<Guarded<HostAlert>>, client: &Client) -> Controller<Guarded<HostAlert>> {
    let (by_policy, by_quarantine) = (controller.store(), controller.store());
    let config = controller::Config::default().concurrency(1);
    watching_clouds(controller, client)
        .with_config(config)
        .watches(Api::<Guarded<QuarantinePolicy>>::all(client.clone()), watcher::Config::default(), move |_| names(&by_policy))
        .watches(Api::<Guarded<HostQuarantine>>::all(client.clone()), watcher::Config::default(), move |_| names(&by_quarantine))
}

/// A quarantine is looked at again when one of its runs changes.
fn quarantine_triggers(controller: Controller<Guarded<HostQuarantine>>, context: &Arc<Context>, client: &Client) -> Controller<Guarded<HostQuarantine>> {
    let context = Arc::clone(context);
    controller.watches(Api::<Guarded<MigrationRun>>::all(client.clone()), watcher::Config::default(), move |run| {
        run.0.ok().map(|run| {
            context.wake_from_rest(&run.spec.quarantine);
            ObjectRef::new(&run.spec.quarantine)
        })
    })
}

/// Runs are looked at again when their quarantine changes.
fn run_triggers(controller: Controller<Guarded<MigrationRun>>, context: &Arc<Context>, client: &Client) -> Controller<Guarded<MigrationRun>> {
    let context = Arc::clone(context);
    controller.watches(Api::<Guarded<HostQuarantine>>::all(client.clone()), watcher::Config::default(), move |quarantine| {
        let uid = kube::Resource::meta(&quarantine).uid.clone().unwrap_or_default();
        context.runs_of(&uid).iter().map(|run| ObjectRef::new(&run.name_any())).collect::<Vec<_>>()
    })
}

/// Keeps the Secrets of the operator's namespace, and wakes a cloud whose Secret has changed.
async fn watch_secrets(api: Api<Secret>, writer: reflector::store::Writer<Secret>, context: Arc<Context>) {
    let changes = watcher(api, watcher::Config::default()).default_backoff().reflect(writer).touched_objects();
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.next().await {
        match change {
            Ok(secret) => {
                for cloud in cloud::clouds_of_secret(&context, &secret.name_any()) {
                    let _ = context.wakes.clouds.send(cloud);
                }
            }
            Err(error) => tracing::warn!(%error, "The watch of Secrets broke and is begun again."),
        }
    }
}
