//! Which of several operators acts: the one that holds the Lease, once the status of every OpenStackCloud names that Lease.
//!
//! ```text
//!   follows ── holds the Lease ──▶ claims ── every cloud's status.operator names it ──▶ leads
//!      ▲                             ▲ │                                                 │
//!      │                             │ └── one names another Lease that exists: waits ◀──┤
//!      └───────── somebody else holds the Lease, or it is gone: begins anew ─────────────┘
//! ```
//!
//! One who follows is warm: its watches run and it looks at the clouds, but it reconciles nothing. Writes are held back below all of that too: the client of Kubernetes and those of the clouds
//! send none unless the Lease has time left ([`crate::clock::Window`]).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use crate::api::OpenStackCloud;
use crate::api::cloud::OperatorRef;
use crate::clock::Window;
use crate::kubernetes::lease::{Candidate, Terms};
use crate::kubernetes::status::FIELD_MANAGER;
use crate::kubernetes::{answer, guard};
use crate::telemetry::health::Part;
use crate::telemetry::metrics::Value;

/// The name of the Lease in the operator's own namespace.
pub(super) const LEASE: &str = "sidestep-operator";
/// How often it is looked whether every cloud is ours while one is not, and while all are.
const CLAIM_AGAIN: Duration = Duration::from_millis(200);
const CLAIMS_HOLD: Duration = Duration::from_secs(2);
/// The longest round of the loop that renews the Lease: two answers and a pause.
const ROUND: Duration = Duration::from_secs(60);

/// How this operator stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing {
    /// Another one holds the Lease, or nobody yet.
    Follows,
    /// It holds the Lease; not every cloud is its own.
    Claims(OperatorRef),
    /// It acts.
    Leads(OperatorRef),
}

/// How this operator stands, for all who ask. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Leadership {
    /// Open as long as this operator may write.
    pub(super) window: Window,
    standing: Arc<watch::Sender<Standing>>,
    /// From when until when nobody acted, before this operator first did.
    absence: Arc<OnceLock<(Timestamp, Timestamp)>>,
}

impl Leadership {
    /// Of one that follows; `window` opens with the Lease.
    pub(super) fn new(window: Window) -> Self {
        Self { window, standing: Arc::new(watch::Sender::new(Standing::Follows)), absence: Arc::default() }
    }

    /// Whether it acts.
    pub(super) fn leads(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Leads(_))
    }

    /// From when until when nobody acted, before this operator first did; nothing where none did before.
    pub(super) fn absence(&self) -> Option<(Timestamp, Timestamp)> {
        self.absence.get().copied()
    }

    /// What it writes into each cloud's status once it holds the Lease.
    pub(super) fn mark(&self) -> Option<OperatorRef> {
        match &*self.standing.borrow() {
            Standing::Follows => None,
            Standing::Claims(mark) | Standing::Leads(mark) => Some(mark.clone()),
        }
    }

    /// Waits until it acts.
    pub(super) async fn wait(&self) {
        // The sender lives in self.
        let _ = self.standing.subscribe().wait_for(|standing| matches!(standing, Standing::Leads(_))).await;
    }

    fn set(&self, standing: Standing) {
        self.standing.send_if_modified(|current| {
            let differs = *current != standing;
            *current = standing;
            differs
        });
    }
}

/// Who stands for election, and with which client.
pub(super) struct Election<'a> {
    /// A client that may write at any time: the Lease is what says when the others may.
    pub(super) client: Client,
    pub(super) namespace: &'a str,
    pub(super) identity: &'a str,
}

/// Follows, claims and leads until the Lease is lost, and says why; or, when `done`, gives the Lease back and says nothing.
pub(super) async fn run(election: &Election<'_>, context: &Arc<Context>, done: &CancellationToken) -> Option<String> {
    let api = Api::namespaced(election.client.clone(), election.namespace);
    let window = context.leadership.window.clone();
    let mut candidate = Candidate::new(api, LEASE, election.identity, Terms::default(), context.clock.clone(), window);
    let pulse = context.health.pulse("the loop that takes and renews the Lease", ROUND);
    let mut lease = tokio::select! {
        lease = candidate.acquire(|holder| {
            pulse.beat();
            follows(context, holder);
        }) => lease,
        () = done.cancelled() => return None,
    };
    let (mark, left) = (mark_of(&lease, election.namespace), candidate.left());
    tracing::info!(lease = LEASE, namespace = election.namespace, identity = election.identity, "This operator holds the Lease.");
    context.leadership.set(Standing::Claims(mark.clone()));
    let lost = tokio::select! {
        why = candidate.keep(&mut lease, || pulse.beat()) => Some(why),
        never = claim(election, context, &mark, left) => match never {},
        () = done.cancelled() => None,
    };
    context.metrics.leader.set::<Value>([], 0);
    context.leadership.set(Standing::Follows);
    if lost.is_none() {
        candidate.give_back(lease).await;
    }
    lost
}

fn follows(context: &Context, holder: &str) {
    context.health.set("leader", Part::Ready(format!("follows; {holder} holds the Lease {LEASE}")));
}

fn mark_of(lease: &Lease, namespace: &str) -> OperatorRef {
    OperatorRef {
        lease_namespace: namespace.to_owned(),
        lease_uid: lease.metadata.uid.clone().unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Keeps every cloud's status naming this Lease. Leads while all do. `left` is when another one, or this one in an earlier life, was last there.
async fn claim(election: &Election<'_>, context: &Arc<Context>, mark: &OperatorRef, left: Option<Timestamp>) -> std::convert::Infallible {
    context.watches_ready().await;
    let (mut before, mut led) = (String::new(), false);
    loop {
        let obstacles = obstacles(election, context, mark).await;
        let leads = obstacles.is_empty();
        context.metrics.leader.set::<Value>([], i64::from(leads));
        if let Some(left) = left.filter(|_| leads) {
            // The first time counts.
            let _ = context.leadership.absence.set((left, context.clock.now()));
        }
        context.leadership.set(if leads { Standing::Leads(mark.clone()) } else { Standing::Claims(mark.clone()) });
        if leads && !led {
            context.wake_clouds();
        }
        led = leads;
        let part = if leads { Part::Ready("leads".to_owned()) } else { Part::Waits(obstacles.join("; ")) };
        context.health.set("leader", part);
        let now = if leads { "This operator leads.".to_owned() } else { obstacles.join("; ") };
        if now != before {
            tracing::info!("{now}");
            before = now;
        }
        tokio::time::sleep(if leads { CLAIMS_HOLD } else { CLAIM_AGAIN }).await;
    }
}

/// Claims what can be claimed, and says what stands against leading: nothing where every cloud names this Lease already.
async fn obstacles(election: &Election<'_>, context: &Arc<Context>, mark: &OperatorRef) -> Vec<String> {
    let mut obstacles = Vec::new();
    for cloud in guard::all(&context.stores.clouds).iter().filter(|cloud| !is_ours(cloud, mark)) {
        let name = cloud.name_any();
        let other = cloud.status.as_ref().and_then(|status| status.operator.as_ref()).filter(|other| other.lease_uid != mark.lease_uid);
        match other {
            Some(other) if exists(election, other).await => obstacles.push(format!(
                "OpenStackCloud {name} is served by the operator with the Lease {}/{LEASE}; remove that operator and its Lease, or this one",
                other.lease_namespace
            )),
            _ => {
                obstacles.push(format!("OpenStackCloud {name} is being claimed"));
                if let Err(error) = write(context, cloud, mark).await {
                    tracing::debug!(cloud = name, %error, "A cloud could not be claimed yet.");
                }
            }
        }
    }
    obstacles
}

/// Whether the cloud's status names this Lease; one that is being deleted needs nobody's name.
fn is_ours(cloud: &OpenStackCloud, mark: &OperatorRef) -> bool {
    cloud.metadata.deletion_timestamp.is_some() || cloud.status.as_ref().and_then(|status| status.operator.as_ref()) == Some(mark)
}

/// Whether every cloud's status names the Lease that this operator holds, as far as the watches show.
pub(super) fn all_ours(context: &Context) -> bool {
    let Some(mark) = context.leadership.mark() else { return false };
    context.stores.clouds.state().iter().all(|cloud| cloud.0.as_ref().map_or(true, |cloud| is_ours(cloud, &mark)))
}

/// Whether the Lease that a cloud's status names is still there; when in doubt it is. In our own namespace only one of the name can be, and that is ours.
async fn exists(election: &Election<'_>, other: &OperatorRef) -> bool {
    if other.lease_namespace == election.namespace {
        return false;
    }
    let api: Api<Lease> = Api::namespaced(election.client.clone(), &other.lease_namespace);
    match answer(api.get_opt(LEASE)).await {
        Ok(lease) => lease.and_then(|lease| lease.metadata.uid).as_deref() == Some(other.lease_uid.as_str()),
        Err(_) => true,
    }
}

/// Names this Lease in the cloud's status as it was read; nothing else in it changes.
async fn write(context: &Context, cloud: &OpenStackCloud, mark: &OperatorRef) -> kube::Result<OpenStackCloud> {
    let patch = json!({"metadata": {"resourceVersion": cloud.metadata.resource_version}, "status": {"operator": mark}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    answer(context.api::<OpenStackCloud>().patch_status(&cloud.name_any(), &params, &Patch::Merge(&patch))).await
}
