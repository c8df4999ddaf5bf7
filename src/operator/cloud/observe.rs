//! What can be seen of a cloud: its Secret, the connection, the view that the poller keeps.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use sha2::{Digest as _, Sha256};

use super::budget::BudgetView;
use crate::alert::decision::{CloudFacts, locate};
use crate::api::OpenStackCloud;
use crate::api::condition::RUNS_ON_SUSPECT;
use crate::kubernetes::guard;
use crate::openstack::{self, Cloud, FaultKind, Freshness, Inventory, Oversight, clouds_yaml};
use crate::operator::context::{Context, LiveCloud, Unusable};
use crate::operator::crash::Side;
use crate::operator::failure::chain;
use crate::operator::reports::Fleet;
use crate::telemetry::health::Part;
use crate::telemetry::metrics::Value;

/// How long a configuration error is left alone when nothing changes; a change of the object or of the Secret is seen at once.
const CONFIGURATION_PAUSE: Duration = Duration::from_secs(60);
/// The pause after a connection that failed for another reason.
const CONNECTION_PAUSE: Duration = Duration::from_secs(5);

/// How long a poller may take from one look to the next before it counts as stuck: the longest interval, and a cloud that answers nothing in time.
const LONGEST_LOOK: Duration = Duration::from_secs(900);

/// Why a cloud cannot be used.
pub(super) struct Problem {
    pub(super) unusable: Unusable,
    /// Nothing will change by itself: a person must correct something.
    pub(super) needs_a_person: bool,
    /// Keystone said no to the credential, or the credential cannot be read.
    pub(super) about_credential: bool,
}

/// What was seen.
pub(super) struct Seen {
    pub(super) live: Option<Arc<LiveCloud>>,
    pub(super) problem: Option<Problem>,
    pub(super) fresh: bool,
    /// A host at work that could not be looked at for too long, and why.
    pub(super) unseen: Option<String>,
    /// What the budget is judged by. Absent while the cloud was never looked at.
    pub(super) budget: Option<BudgetView>,
    /// The cloud's sentinels; nothing before they were first judged.
    pub(super) fleet: Option<Fleet>,
}

impl Seen {
    /// What readiness says of the cloud. That a cloud cannot be used makes the operator no less ready: it works for all others, and a person reads the reason in the object.
    pub(super) fn as_part(&self) -> Part {
        match &self.problem {
            None if self.fresh => Part::Ready("looked at".to_owned()),
            None => Part::Waits("the first look at it".to_owned()),
            Some(Problem { unusable, .. }) => Part::Ready(format!("cannot be used ({}): {}", unusable.reason, unusable.message)),
        }
    }

    /// When to look again; a tick of the poller comes earlier.
    pub(super) fn next_look(&self) -> Action {
        match &self.problem {
            None => Action::requeue(CONFIGURATION_PAUSE),
            Some(problem) if problem.needs_a_person => Action::requeue(CONFIGURATION_PAUSE),
            Some(_) => Action::requeue(CONNECTION_PAUSE),
        }
    }
}

pub(super) async fn observe(context: &Arc<Context>, cloud: &OpenStackCloud) -> Seen {
    let name = cloud.name_any();
    let fleet = context.hearing.fleet(&name);
    let connected = connection(context, cloud).await;
    match connected {
        Err(problem) => {
            context.set_cloud(&name, Err(problem.unusable.clone()));
            Seen { live: None, problem: Some(problem), fresh: false, unseen: None, budget: None, fleet }
        }
        Ok(live) => {
            let fresh = live.inventory.freshness(context.clock.now()) == Freshness::Fresh;
            let problem = runs_on_suspect(context, &name, &live).or_else(|| problem_of(&live, fresh));
            let unseen = live.inventory.unseen_host(context.clock.now()).map(|(host, error)| format!("every look at host {host} fails: {}", error.fault));
            let budget = live.inventory.services().map(|_| BudgetView::of(context, &name, cloud.spec.budget));
            Seen { live: Some(live), problem, fresh, unseen, budget, fleet }
        }
    }
}

/// The node that this operator runs on is a host of the cloud: whoever is root there may hold the cloud's credential, so nothing that this operator asks for is done in its name.
pub(super) fn runs_on_suspect(context: &Context, cloud: &str, live: &LiveCloud) -> Option<Problem> {
    let node = context.node.as_deref()?;
    let (spec, services) = (context.cloud_spec(cloud)?, live.inventory.services()?);
    let place = locate(node, &[CloudFacts { name: cloud, mapping: &spec.hosts, services: Some(&services.services) }]).ok()?;
    let message = format!(
        "this operator runs on node {node}, which is host {} of the cloud: it only records until it runs elsewhere. Keep it away from the nodes with a sentinel",
        place.host
    );
    Some(Problem { unusable: Unusable { reason: RUNS_ON_SUSPECT.into(), message }, needs_a_person: true, about_credential: false })
}

/// What stands against using a connected cloud.
pub(super) fn problem_of(live: &LiveCloud, fresh: bool) -> Option<Problem> {
    if !live.sees_all_projects {
        let message = format!(
            "the credential of user {} sees only the servers of its own project, so a host could look empty that is not: give it the admin role",
            live.cloud.identity().user
        );
        return Some(Problem { unusable: Unusable { reason: "NotAllProjects".into(), message }, needs_a_person: true, about_credential: false });
    }
    let fault = live.inventory.last_error()?.fault;
    let unauthorized = fault.kind() == FaultKind::Unauthorized;
    // One failed look is no outage while there is a view that is young enough to decide on.
    if fresh && !unauthorized {
        return None;
    }
    let reason = if unauthorized { "AuthenticationFailed" } else { fault.category() };
    let said = fault.message().map(|text| format!(": {text}")).unwrap_or_default();
    let remedy = if unauthorized { "; put a valid credential into the Secret" } else { "; it is asked again" };
    let message = format!("the last look at the cloud failed ({}){said}{remedy}", fault.category());
    Some(Problem { unusable: Unusable { reason: reason.to_owned(), message }, needs_a_person: unauthorized, about_credential: unauthorized })
}

/// The connection that goes with the object and its Secret as they are now: the one that is there, or a new one.
async fn connection(context: &Arc<Context>, cloud: &OpenStackCloud) -> Result<Arc<LiveCloud>, Problem> {
    let name = cloud.name_any();
    let (document, ca) = secret(context, cloud)?;
    let fingerprint = fingerprint(cloud, &document, ca.as_deref());
    if let Ok(live) = context.cloud(&name)
        && live.fingerprint == fingerprint
        && live.sees_all_projects
    {
        return Ok(live);
    }
    let live = Arc::new(connect(context, cloud, &document, ca.as_deref(), fingerprint).await?);
    context.set_cloud(&name, Ok(Arc::clone(&live)));
    Ok(live)
}

fn configuration(reason: &str, message: String) -> Problem {
    Problem { unusable: Unusable { reason: reason.to_owned(), message }, needs_a_person: true, about_credential: true }
}

/// The clouds.yaml and the CA certificate of the Secret.
fn secret(context: &Context, cloud: &OpenStackCloud) -> Result<(Vec<u8>, Option<Vec<u8>>), Problem> {
    let reference = &cloud.spec.credentials.secret_ref;
    let secret = context.stores.secrets.find(|secret| secret.metadata.name.as_deref() == Some(reference.name.as_str()));
    let Some(secret) = secret else {
        let message = format!(
            "there is no Secret {} in the operator's namespace: create it with a key {}, or correct credentials.secretRef.name",
            reference.name, reference.key
        );
        return Err(configuration("SecretNotFound", message));
    };
    let data = secret.data.clone().unwrap_or_default();
    let Some(document) = data.get(&reference.key) else {
        let keys: Vec<&str> = data.keys().map(String::as_str).collect();
        let message =
            format!("Secret {} has no key {} (it has: {}): add it, or correct credentials.secretRef.key", reference.name, reference.key, keys.join(", "));
        return Err(configuration("SecretKeyMissing", message));
    };
    Ok((document.0.clone(), data.get("cacert").map(|pem| pem.0.clone())))
}

fn fingerprint(cloud: &OpenStackCloud, document: &[u8], ca: Option<&[u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let inventory = format!("{:?}", cloud.spec.inventory);
    for part in [document, ca.unwrap_or_default(), cloud.spec.credentials.cloud.as_bytes(), inventory.as_bytes()] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

async fn connect(context: &Arc<Context>, cloud: &OpenStackCloud, document: &[u8], ca: Option<&[u8]>, fingerprint: [u8; 32]) -> Result<LiveCloud, Problem> {
    let entry = &cloud.spec.credentials.cloud;
    let config = clouds_yaml::parse(document, entry, ca).map_err(|error| configuration(error.category(), chain(&error)))?;
    for notice in &config.notices {
        tracing::warn!(cloud = cloud.name_any(), notice, "Something in clouds.yaml is not honoured.");
    }
    let connected = Cloud::connect_under(&config, context.clock.clone(), oversight(context)).await.map_err(|error| {
        let transient = matches!(error, openstack::ConnectError::Call { .. });
        Problem { unusable: Unusable { reason: error.category().to_owned(), message: chain(&error) }, needs_a_person: !transient, about_credential: !transient }
    })?;
    let sees_all_projects = connected.sees_all_projects().await.map_err(|fault| Problem {
        unusable: Unusable { reason: fault.category().to_owned(), message: chain(&fault) },
        needs_a_person: false,
        about_credential: false,
    })?;
    let settings = &cloud.spec.inventory;
    let settings = openstack::Settings {
        idle_interval: settings.idle_interval.get(),
        active_interval: settings.active_interval.get(),
        stale_after: settings.stale_after.get(),
        ..openstack::Settings::default()
    };
    let (inventory, poller) = Inventory::start(connected.clone(), settings, context.clock.clone());
    let identity = connected.identity();
    tracing::info!(cloud = cloud.name_any(), user = identity.user, region = identity.region, "Connected to the cloud.");
    let poller = context.tasks.spawn(poll(Arc::clone(context), cloud.name_any(), inventory.clone(), poller)).abort_handle();
    Ok(LiveCloud { cloud: connected, inventory, fingerprint, sees_all_projects, notices: config.notices, poller })
}

/// Writes to the cloud go out only while the Lease has time left; every exchange is counted.
fn oversight(context: &Context) -> Oversight {
    let (metrics, before, after) = (context.metrics.clone(), context.crash.clone(), context.crash.clone());
    Oversight::new(
        context.leadership.window.clone(),
        move |write| before.here(Side::Before, &write.name, &write.path),
        move |exchange| {
            let status = exchange.status.map_or_else(Value::from, |status| Value::from(status.to_string()));
            metrics.openstack_requests.one([exchange.service.into(), exchange.method.to_string().into(), status]);
            metrics.openstack_seconds.observe(exchange.took.as_secs_f64());
            if let Some(write) = exchange.write {
                after.here(Side::After, &write.name, &write.path);
            }
        },
    )
}

/// Polls, and wakes the controllers after each look.
async fn poll(context: Arc<Context>, name: String, inventory: Inventory, poller: openstack::Poller) {
    let mut changed = inventory.changed();
    let pulse = context.health.pulse(format!("the poller of cloud {name}"), LONGEST_LOOK);
    let forward = async {
        let mut aggregates = inventory.aggregates();
        while changed.changed().await.is_ok() {
            pulse.beat();
            context.wake_cloud(&name);
            let seen = inventory.aggregates();
            if seen.as_ref().zip(aggregates.as_ref()).is_some_and(|(seen, before)| !seen.same_as(before)) {
                context.wake_recorded(&name);
            }
            aggregates = seen;
        }
    };
    tokio::select! {
        never = poller.run() => match never {},
        () = forward => {}
    }
}

/// The reference that wakes the reconcile of a cloud when its Secret changes.
pub(in super::super) fn clouds_of_secret(context: &Context, secret: &str) -> Vec<ObjectRef<DeserializeGuard<OpenStackCloud>>> {
    let clouds = guard::all(&context.stores.clouds);
    clouds.iter().filter(|cloud| cloud.spec.credentials.secret_ref.name == secret).map(|cloud| ObjectRef::new(&cloud.name_any())).collect()
}
