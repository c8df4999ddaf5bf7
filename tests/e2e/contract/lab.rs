//! The clouds that the contract is tried on, and what a behaviour needs besides the client: servers that are there, and a way to steer their migrations.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use sidestep::clock::Clock;
use sidestep::gate::permit_writes;
use sidestep::inventory::{HostName, NovaMigration, Server, ServerId};
use sidestep::openstack::{Cloud, CloudControl, MigrationFilter, PostOutcome, clouds_yaml};
use sidestep::simulator::{Knobs, ServerSettings, Settings, Simulator, VmState};

use super::raw::{Answered, Raw};
use crate::support::nova::{self, Nova};

/// How long a condition may take on a busy machine before the test gives up.
const PATIENCE: Duration = Duration::from_secs(90);
const GLANCE: Duration = Duration::from_millis(100);
/// The simulator's time runs faster than the real one's.
const SPEED: f64 = 8.0;

/// The name of the server group that grouped servers are in.
const GROUP: &str = "apart";

/// A cloud with the hosts `cmp-1`, `cmp-2` and `cmp-3`, of which each copies one server at a time. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lab {
    pub(super) cloud: Cloud,
    pub(super) control: CloudControl,
    pub(super) raw: Raw,
    backend: Backend,
}

/// What does to the cloud what its client cannot.
#[derive(Clone)]
enum Backend {
    Simulator(Arc<Simulator>),
    Nova(Arc<Nova>),
}

/// Whose migrations are steered.
#[derive(Clone, Copy)]
pub(super) enum Whose {
    Everybodys,
    Servers(ServerId),
}

/// How a server is at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Initial {
    Active,
    Paused,
    Stopped,
    Suspended,
    Rescued,
    InError,
    /// Active and locked.
    Locked,
    /// Not through with its boot, and does not get any further.
    Building,
    /// Active, and a member of a server group with anti-affinity.
    Grouped,
}

/// A migration that was asked for.
pub(super) struct Posted {
    pub(super) server: ServerId,
    pub(super) request_id: String,
    /// The highest id of the server's rows before.
    pub(super) highest_before: u64,
}

pub(super) fn host(number: usize) -> HostName {
    HostName(format!("cmp-{number}"))
}

impl Lab {
    /// A simulator of its own.
    pub(super) async fn simulated() -> Self {
        let simulator = Simulator::start(Settings { speed: SPEED, ..Settings::default() }).await.unwrap();
        let text = simulator.clouds_yaml();
        Self::connect(text.as_bytes(), "simulator", Backend::Simulator(Arc::new(simulator))).await
    }

    /// The real one.
    pub(crate) async fn real(nova: Nova) -> Self {
        let text = nova.clouds_yaml();
        Self::connect(text.as_bytes(), nova::ENTRY, Backend::Nova(Arc::new(nova))).await
    }

    async fn connect(clouds: &[u8], name: &str, backend: Backend) -> Self {
        let config = clouds_yaml::parse(clouds, name, None).unwrap();
        let cloud = Cloud::connect(&config, Clock::system()).await.unwrap();
        let control = CloudControl::new(cloud.clone(), permit_writes(true).unwrap());
        Self { cloud, control, raw: Raw::log_in(clouds, name).await, backend }
    }

    /// The simulator behind it.
    pub(super) fn simulator(&self) -> &Simulator {
        match &self.backend {
            Backend::Simulator(simulator) => simulator,
            Backend::Nova(_) => panic!("this cloud is no simulator"),
        }
    }

    /// Servers on a host, there and idle when this returns.
    pub(super) async fn boot(&self, host: &HostName, initial: Initial, count: usize) -> Vec<ServerId> {
        match &self.backend {
            Backend::Simulator(simulator) => {
                let state = match initial {
                    Initial::Active | Initial::Locked | Initial::Grouped => VmState::Active,
                    Initial::Paused => VmState::Paused,
                    Initial::Stopped => VmState::Shutoff,
                    Initial::Suspended => VmState::Suspended,
                    Initial::Rescued => VmState::Rescued,
                    Initial::InError => VmState::Error,
                    Initial::Building => VmState::Building,
                };
                let group = (initial == Initial::Grouped).then(|| GROUP.to_owned());
                if group.is_some() {
                    self.admin("settings", &json!({"server_groups": {GROUP: {"policy": "anti-affinity"}}})).await;
                }
                let wanted = ServerSettings { host: host.0.clone(), state, locked: initial == Initial::Locked, group, ..ServerSettings::default() };
                (0..count).map(|_| ServerId(simulator.cloud(|cloud| cloud.boot(&wanted)).unwrap())).collect()
            }
            Backend::Nova(nova) => {
                let more: &[&str] = match initial {
                    Initial::Active => &[],
                    Initial::Locked => &["--locked"],
                    Initial::Grouped => &["--group", GROUP],
                    Initial::Paused => &["--state", "paused"],
                    Initial::Stopped => &["--state", "shutoff"],
                    Initial::Suspended => &["--state", "suspended"],
                    Initial::Rescued => &["--state", "rescue"],
                    Initial::InError => &["--state", "error"],
                    Initial::Building => {
                        nova.steer(&format!("host-{host}"), &json!({"hold_spawn": true}));
                        &["--state", "build"]
                    }
                };
                nova.boot_as(host.as_str(), "tiny", count, more).await
            }
        }
    }

    /// Changes settings of the simulator.
    async fn admin(&self, path: &str, body: &Value) {
        let url = self.simulator().url().join(&format!("admin/{path}")).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        http.put(url).json(body).send().await.unwrap().error_for_status().unwrap();
    }

    /// Makes an aggregate.
    pub(super) async fn aggregate(&self, name: &str, hosts: &[HostName]) {
        let hosts: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
        match &self.backend {
            Backend::Simulator(_) => self.admin("settings", &json!({"aggregates": {name: {"hosts": hosts}}})).await,
            Backend::Nova(nova) => nova.aggregate(name, &hosts).await,
        }
    }

    /// Links in lists begin with the address of a proxy that does not exist. The real Nova is always so here.
    pub(super) async fn links_lead_elsewhere(&self) {
        if let Backend::Simulator(_) = &self.backend {
            self.admin("settings", &json!({"link_prefix": "https://proxy.invalid:1/compute"})).await;
        }
    }

    /// Deletes servers for good.
    pub(super) async fn delete(&self, servers: &[ServerId]) {
        match &self.backend {
            Backend::Simulator(simulator) => servers.iter().for_each(|server| simulator.cloud(|cloud| cloud.delete_server(server.0)).unwrap()),
            Backend::Nova(nova) => nova.delete(servers).await,
        }
    }

    /// Lets a server's owner delete it: it can be restored for a while.
    pub(super) async fn soft_delete(&self, server: ServerId) {
        if let Backend::Simulator(_) = &self.backend {
            self.admin("settings", &json!({"soft_delete": true})).await;
        }
        let answered = self.raw.nova(Method::DELETE, &format!("/servers/{server}"), None).await;
        assert_eq!(answered.status, 204, "{answered:?}");
    }

    /// Kills nova-compute of a host, or starts it.
    pub(super) fn set_compute(&self, host: &HostName, up: bool) {
        match &self.backend {
            Backend::Simulator(simulator) => simulator.cloud(|cloud| cloud.set_host_up(host.as_str(), up)).unwrap(),
            Backend::Nova(nova) => nova.svc(if up { "start" } else { "kill" }, &format!("compute-{host}")),
        }
    }

    /// Ends nova-compute of a host and starts it again.
    pub(super) async fn restart(&self, host: &HostName) {
        match &self.backend {
            Backend::Simulator(simulator) => simulator.cloud(|cloud| cloud.restart_host(host.as_str())).unwrap(),
            Backend::Nova(nova) => {
                nova.svc("kill", &format!("compute-{host}"));
                nova.svc("start", &format!("compute-{host}"));
            }
        }
    }

    /// Sends an action of a server.
    pub(super) async fn act(&self, server: ServerId, action: Value) -> Answered {
        self.raw.nova(Method::POST, &format!("/servers/{server}/action"), Some(action)).await
    }

    /// Sends an action that moves a server, which Nova must accept.
    pub(super) async fn moved_by(&self, server: ServerId, action: Value) -> Posted {
        let highest_before = self.rows(server).await.iter().map(|row| row.id).max().unwrap_or_default();
        let answered = self.act(server, action).await;
        assert_eq!((answered.status, &answered.body), (202, &Value::Null), "{answered:?}");
        Posted { server, request_id: answered.request_id, highest_before }
    }

    /// The server, as soon as it is as wanted.
    pub(super) async fn server_when(&self, server: ServerId, what: &str, wanted: impl Fn(&Server) -> bool) -> Server {
        eventually(&format!("server {server} to be {what}"), async || {
            let server = self.server(server).await;
            if wanted(&server) { Ok(server) } else { Err(format!("{server:?}")) }
        })
        .await
    }

    /// Takes a host out of service.
    pub(super) async fn disable(&self, host: &HostName) {
        let services = self.cloud.services().await.unwrap();
        let service = services.iter().find(|service| service.host == *host).unwrap();
        self.control.disable_service(&service.id, Some("out of service")).await.unwrap();
    }

    /// The reason of a failure, where Nova says it.
    pub(super) async fn reason(&self, posted: &Posted) -> String {
        self.cloud.instance_action(posted.server, &posted.request_id).await.unwrap().expect("an action").failure()
    }

    pub(super) async fn boot_one(&self, host: &HostName, initial: Initial) -> ServerId {
        self.boot(host, initial, 1).await[0]
    }

    /// Steers migrations from now on, also those that run; the words are those of the real Nova's driver (`servers/nova/README.md`).
    pub(super) async fn steer(&self, whose: Whose, knobs: Value) {
        match &self.backend {
            Backend::Simulator(simulator) => {
                let knobs: Knobs = serde_json::from_value(knobs).unwrap();
                simulator.cloud(|cloud| cloud.set_knobs(&whose.name(), Some(knobs)));
            }
            Backend::Nova(nova) => nova.steer(&whose.name(), &knobs),
        }
    }

    /// Lets them go on as usual.
    pub(super) async fn let_go(&self, whose: Whose) {
        self.steer(whose, serde_json::json!({})).await;
    }

    /// Three enabled hosts without servers.
    pub(super) async fn reset(&self) {
        match &self.backend {
            Backend::Simulator(_) => {}
            Backend::Nova(nova) => nova.reset().await,
        }
    }

    /// Asks for a live migration, which Nova must accept.
    pub(super) async fn migrate(&self, server: ServerId) -> Posted {
        let highest_before = self.rows(server).await.iter().map(|row| row.id).max().unwrap_or_default();
        match self.control.live_migrate(server, None).await {
            PostOutcome::Accepted { request_id } => Posted { server, request_id: request_id.expect("a request id"), highest_before },
            other => panic!("the live migration of {server} was not accepted: {other:?}"),
        }
    }

    /// The server's migration rows, newest first.
    pub(super) async fn rows(&self, server: ServerId) -> Vec<NovaMigration> {
        self.cloud.migrations(&MigrationFilter { server: Some(server), ..MigrationFilter::default() }).await.unwrap()
    }

    pub(super) async fn server(&self, server: ServerId) -> Server {
        self.cloud.server(server).await.unwrap().expect("the server exists")
    }

    /// The row of a migration, as soon as it is there and as wanted.
    pub(super) async fn row_when(&self, posted: &Posted, what: &str, wanted: impl Fn(&NovaMigration) -> bool) -> NovaMigration {
        eventually(&format!("the row of {} to be {what}", posted.server), async || {
            let rows = self.rows(posted.server).await;
            let row = rows.into_iter().find(|row| row.id > posted.highest_before);
            row.ok_or_else(|| "no row".to_owned()).and_then(|row| if wanted(&row) { Ok(row) } else { Err(format!("{row:?}")) })
        })
        .await
    }

    /// The final row of a migration and its server when nothing is being done with it any more: Nova writes the two one after the other, in no promised order.
    pub(super) async fn settled(&self, posted: &Posted) -> (NovaMigration, Server) {
        let row = self.row_when(posted, "final", |row| row.status.is_final()).await;
        let server = eventually(&format!("server {} to have no task", posted.server), async || {
            let server = self.server(posted.server).await;
            if server.task_state.is_none() { Ok(server) } else { Err(format!("{server:?}")) }
        })
        .await;
        (row, server)
    }
}

impl Whose {
    fn name(self) -> String {
        match self {
            Self::Everybodys => "default".to_owned(),
            Self::Servers(server) => server.to_string(),
        }
    }
}

/// Looks again and again until it finds what it waits for; says what it saw last when it gives up.
pub(super) async fn eventually<T, F: Future<Output = Result<T, String>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let mut glances = tokio::time::interval(GLANCE);
    let mut seen = String::new();
    let waited = tokio::time::timeout(PATIENCE, async {
        loop {
            glances.tick().await;
            match look().await {
                Ok(found) => return found,
                Err(other) => seen = other,
            }
        }
    });
    match waited.await {
        Ok(found) => found,
        Err(_) => panic!("waited {PATIENCE:?} for {what}; last seen: {seen}"),
    }
}
