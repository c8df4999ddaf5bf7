//! The cloud of a story: the simulator in this process, or a real Nova that a script has started.

use sidestep::simulator::{HttpFault, Migration, Request, ServerSettings, Settings, Simulator, VmState};
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

/// A server for [`Settings::servers`].
pub(crate) fn server(name: &str, host: &str, state: VmState) -> ServerSettings {
    ServerSettings { id: None, name: name.to_owned(), host: host.to_owned(), state, ram_mb: 512, vcpus: 1, project: "demo".to_owned() }
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
