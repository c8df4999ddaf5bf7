//! The cloud of a story: the simulator in this process, or a real Nova that a script has started.

use serde_json::{Value, json};
use sidestep::simulator::{HttpFault, Knobs, Migration, Request, ServerSettings, Settings, Simulator, VmState};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use super::nova::{self, Nova};

/// Where a story's servers run.
#[derive(Debug)]
pub(crate) enum Cloud {
    /// In this process, on a runtime of its own, so that it answers while a test waits for a program.
    Simulator(Simulated),
    /// The real one.
    Nova(Nova),
}

impl Cloud {
    /// The clouds.yaml of its administrator.
    pub(crate) fn clouds_yaml(&self) -> String {
        match self {
            Self::Simulator(simulated) => simulated.clouds_yaml(),
            Self::Nova(nova) => nova.clouds_yaml(),
        }
    }

    /// The entry in it.
    pub(crate) fn entry(&self) -> &'static str {
        match self {
            Self::Simulator(_) => "simulator",
            Self::Nova(_) => nova::ENTRY,
        }
    }

    /// Its compute hosts.
    pub(crate) fn hosts(&self) -> Vec<String> {
        match self {
            Self::Simulator(simulated) => simulated.cloud(|cloud| cloud.hosts().map(|host| host.name.clone()).collect()),
            Self::Nova(nova) => nova.hosts(),
        }
    }

    /// What a failed story shows of it.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Simulator(simulated) => simulated.describe(),
            Self::Nova(nova) => nova.describe(),
        }
    }
}

/// A simulator on a runtime of its own.
#[derive(Debug)]
pub(crate) struct Simulated {
    simulator: Option<Simulator>,
    runtime: Option<Runtime>,
}

impl Simulated {
    /// Starts one.
    pub(crate) async fn start(settings: Settings) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let simulator = runtime.spawn(Simulator::start(settings)).await.unwrap().unwrap();
        Self { simulator: Some(simulator), runtime: Some(runtime) }
    }

    /// Makes a server that is there at once.
    pub(crate) fn boot(&self, name: &str, host: &str, state: VmState) -> Uuid {
        self.cloud(|cloud| cloud.boot(&server(name, host, state))).unwrap()
    }

    /// Sets a fault of the transport, as a JSON object.
    pub(crate) fn fault(&self, fault: &str) {
        self.add_fault(serde_json::from_str::<HttpFault>(fault).unwrap());
    }

    /// Requests that may have changed something.
    pub(crate) fn writes(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_write).collect()
    }

    /// The migration records of a server, oldest first.
    pub(crate) fn migrations_of(&self, server: Uuid) -> Vec<Migration> {
        let mut rows: Vec<Migration> = self.cloud(|cloud| cloud.migrations().filter(|row| row.server == server).cloned().collect());
        rows.reverse();
        rows
    }

    /// Sets the knobs of `name` from a JSON object, or removes them.
    pub(crate) fn knobs(&self, name: &str, knobs: Option<&str>) {
        let knobs = knobs.map(|knobs| serde_json::from_str::<Knobs>(knobs).unwrap());
        self.cloud(|cloud| cloud.set_knobs(name, knobs));
    }

    /// Whether exactly so many live migrations were asked for.
    pub(crate) fn moves_asked(&self, count: usize) -> Result<(), String> {
        let asked: Vec<Request> = self.writes().into_iter().filter(|request| request.method == "POST" && request.path.ends_with("/action")).collect();
        if asked.len() == count { Ok(()) } else { Err(format!("{asked:?}")) }
    }

    /// Whether some migration record has this status.
    pub(crate) fn has_row(&self, status: &str) -> Result<(), String> {
        let statuses: Vec<_> = self.cloud(|cloud| cloud.migrations().map(|row| row.status).collect());
        if statuses.contains(&Some(status)) { Ok(()) } else { Err(format!("{statuses:?}")) }
    }

    /// Whether exactly so many migration records have this status.
    pub(crate) fn rows_in(&self, status: &str, count: usize) -> Result<(), String> {
        let statuses: Vec<_> = self.cloud(|cloud| cloud.migrations().map(|row| row.status).collect());
        if statuses.iter().filter(|row| **row == Some(status)).count() == count { Ok(()) } else { Err(format!("{statuses:?}")) }
    }

    /// The hosts that are out of service.
    pub(crate) fn disabled_hosts(&self) -> Vec<String> {
        self.cloud(|cloud| cloud.hosts().filter(|host| !host.enabled).map(|host| host.name.clone()).collect())
    }

    /// The service that each write to a service was about, in order.
    pub(crate) fn service_writes(&self) -> Vec<String> {
        let writes = self.writes().into_iter().filter(|request| request.method == "PUT");
        writes.filter_map(|request| request.path.split_once("/os-services/").map(|(_, id)| id.to_owned())).collect()
    }

    /// Changes settings, by name.
    pub(crate) async fn set(&self, settings: Value) {
        let put = http().put(self.url().join("admin/settings").unwrap()).json(&settings);
        put.send().await.unwrap().error_for_status().unwrap();
    }

    /// Takes a host out of service as an operator of the cloud does; without a reason where it is empty.
    pub(crate) async fn disable(&self, host: &str, reason: &str) {
        let mut change = json!({"status": "disabled"});
        if !reason.is_empty() {
            change["disabled_reason"] = reason.into();
        }
        self.change_service(host, change).await;
    }

    /// Puts a host into service as an operator of the cloud does.
    pub(crate) async fn enable(&self, host: &str) {
        self.change_service(host, json!({"status": "enabled"})).await;
    }

    async fn change_service(&self, host: &str, change: Value) {
        let client = http();
        let url = |path: &str| self.url().join(path).unwrap();
        let user = json!({"name": "admin", "password": "lab", "domain": {"name": "Default"}});
        let scope = json!({"project": {"name": "admin", "domain": {"name": "Default"}}});
        let login = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}});
        let answer = client.post(url("identity/v3/auth/tokens")).json(&login).send().await.unwrap().error_for_status().unwrap();
        let token = answer.headers()["x-subject-token"].clone();
        let id = self.cloud(|cloud| cloud.host(host).map(|host| host.service_id)).unwrap();
        let put = client.put(url(&format!("compute/v2.1/os-services/{id}"))).header("x-auth-token", token).header("openstack-api-version", "compute 2.96");
        put.json(&change).send().await.unwrap().error_for_status().unwrap();
    }

    /// The host of a server, while it exists.
    pub(crate) fn host_of(&self, server: Uuid) -> Option<String> {
        self.cloud(|cloud| cloud.server(server).map(|server| server.host.clone()))
    }

    /// The servers on a host.
    pub(crate) fn servers_on(&self, host: &str) -> Vec<Uuid> {
        self.cloud(|cloud| cloud.servers().filter(|server| server.host == host).map(|server| server.id).collect())
    }

    /// Whether a host's service is enabled, and its disabled reason.
    pub(crate) fn service(&self, host: &str) -> (bool, Option<String>) {
        self.cloud(|cloud| cloud.host(host).map(|host| (host.enabled, host.disabled_reason.clone()))).unwrap()
    }

    fn describe(&self) -> String {
        let rows = self.cloud(|cloud| {
            let hosts = cloud.hosts().map(|host| format!("host {} enabled={} up={} reason={:?}", host.name, host.enabled, host.up, host.disabled_reason));
            let servers = cloud.servers().map(|server| format!("server {} {} on {} {}", server.id, server.name, server.host, server.status()));
            let rows = cloud.migrations().map(|row| format!("row {} of {} {} -> {:?} {:?}", row.id, row.server, row.source, row.destination, row.status));
            hosts.chain(servers).chain(rows).collect::<Vec<_>>()
        });
        let writes = self.writes().into_iter().map(|write| format!("{} {} {} {} {:?}", write.at, write.method, write.path, write.status, write.fault));
        rows.into_iter().chain(writes).collect::<Vec<_>>().join("\n")
    }
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A server for [`Settings::servers`].
pub(crate) fn server(name: &str, host: &str, state: VmState) -> ServerSettings {
    ServerSettings { name: name.to_owned(), host: host.to_owned(), state, ..ServerSettings::default() }
}

/// A running server for [`Settings::servers`].
pub(crate) fn active(name: &str, host: &str) -> ServerSettings {
    server(name, host, VmState::Active)
}

/// Four servers on cmp-1, one of them paused.
pub(crate) fn four_servers() -> Vec<ServerSettings> {
    vec![active("a", "cmp-1"), active("b", "cmp-1"), active("c", "cmp-1"), server("d", "cmp-1", VmState::Paused)]
}

impl std::ops::Deref for Simulated {
    type Target = Simulator;
    fn deref(&self) -> &Simulator {
        self.simulator.as_ref().unwrap()
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        drop(self.simulator.take());
        // In the midst of a test's own runtime none can be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
