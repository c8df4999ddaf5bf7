//! A real Nova on loopback, which the tests of one process share, one after the other.
//!
//! `tests/e2e/servers/nova/up` starts it for the first of them. It stops when the test process ends, in whatever way.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio, id};
use std::str::FromStr;
use std::sync::OnceLock;

use serde_json::Value;
use sidestep::clock::Clock;
use sidestep::gate::permit_writes;
use sidestep::inventory::{ComputeService, NovaMigration, ServerId};
use sidestep::openstack::{Cloud, CloudControl, MigrationFilter, clouds_yaml};
use tokio::process::Command;
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::control_plane::{env_of, server_script, stop_at_our_end};
use super::process::{finish, show_end};
use crate::contract::Raw;

/// The entry of its clouds.yaml.
pub(crate) const ENTRY: &str = "e2e";

/// A Nova with the enabled hosts `cmp-1`, `cmp-2` and `cmp-3`, of which each copies one server at a time. For one test alone, until this is dropped.
#[derive(Debug)]
pub(crate) struct Nova {
    run: PathBuf,
    env: BTreeMap<String, String>,
    _turn: SemaphorePermit<'static>,
}

/// The processes, for as long as the test process lives.
struct Started {
    run: PathBuf,
    _watch: Child,
}

static TURN: Semaphore = Semaphore::const_new(1);
static STARTED: OnceLock<Started> = OnceLock::new();

fn start() -> Started {
    let run = PathBuf::from(format!("{}/nova-{}", env!("CARGO_TARGET_TMPDIR"), id()));
    // Its standard error is ours, so that whoever waits sees why.
    let status = server_script("nova/up").arg(&run).stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "Nova did not start; its own words stand above, its logs in {}", run.display());
    let _watch = stop_at_our_end("nova", &run);
    Started { run, _watch }
}

impl Nova {
    /// Waits for its turn; then there are no servers.
    pub(crate) async fn take() -> Self {
        let turn = TURN.acquire().await.unwrap();
        let run = STARTED.get_or_init(start).run.clone();
        let nova = Self { env: env_of(&run), run, _turn: turn };
        nova.reset().await;
        nova
    }

    // ---- what only its administrator does ----

    /// Makes it as it was at first: every process runs, no servers, every host enabled, nothing steered.
    pub(crate) async fn reset(&self) {
        self.cloud("reset", &[]).await;
    }

    /// Boots servers; they are there and idle when this returns. `flavor` and `state` as in `servers/nova/README.md`.
    pub(crate) async fn boot(&self, host: &str, flavor: &str, state: &str, count: usize) -> Vec<ServerId> {
        self.boot_as(host, flavor, count, &["--state", state]).await
    }

    /// The same with further options of `cloud boot`.
    pub(crate) async fn boot_as(&self, host: &str, flavor: &str, count: usize, more: &[&str]) -> Vec<ServerId> {
        let count = count.to_string();
        let printed = self.cloud("boot", &[&["--host", host, "--flavor", flavor, "--count", &count], more].concat()).await;
        printed.lines().map(|line| ServerId(line.parse().unwrap())).collect()
    }

    /// Deletes servers for good; they are gone when this returns.
    pub(crate) async fn delete(&self, servers: &[ServerId]) {
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        self.cloud("delete", &servers.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    /// Makes an aggregate of hosts.
    pub(crate) async fn aggregate(&self, name: &str, hosts: &[&str]) {
        self.cloud("aggregate", &[&[name], hosts].concat()).await;
    }

    async fn cloud(&self, verb: &str, arguments: &[&str]) -> String {
        let mut command = Command::from(server_script("nova/cloud"));
        let output = command.arg(verb).arg(&self.run).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output().await.unwrap();
        assert!(output.status.success(), "cloud {verb} {arguments:?}: {}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Takes a host out of service, as an operator of the cloud does.
    pub(crate) async fn disable(&self, host: &str, reason: &str) {
        self.control().await.disable_service(&self.service(host).await.id, Some(reason)).await.unwrap();
    }

    /// Puts a host into service, as an operator of the cloud does.
    pub(crate) async fn enable(&self, host: &str) {
        self.control().await.enable_service(&self.service(host).await.id).await.unwrap();
    }

    async fn control(&self) -> CloudControl {
        CloudControl::new(self.client().await, permit_writes(true).unwrap())
    }

    /// Steers migrations from now on, also those that run: of a server, of a source (`host-cmp-1`) or of all (`default`). The words are those of `servers/nova/README.md`.
    pub(crate) fn steer(&self, whose: &str, knobs: &Value) {
        let file = self.run.join("sim/ctl").join(format!("{whose}.json"));
        let unfinished = file.with_extension("new");
        fs::write(&unfinished, knobs.to_string()).unwrap();
        fs::rename(unfinished, file).unwrap();
    }

    /// `kill`, `stop` or `start` of one of its processes; `start` returns when it serves.
    pub(crate) fn svc(&self, verb: &str, process: &str) {
        finish(server_script("nova/svc").args([verb, process]).arg(&self.run)).ok();
    }

    // ---- what it shows ----

    /// The text of its clouds.yaml.
    pub(crate) fn clouds_yaml(&self) -> String {
        fs::read_to_string(&self.env["CLOUDS_YAML"]).unwrap()
    }

    /// Its compute hosts.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.env["HOSTS"].split(',').map(str::to_owned).collect()
    }

    /// A client of its own, of its administrator.
    pub(crate) async fn client(&self) -> Cloud {
        let config = clouds_yaml::parse(self.clouds_yaml().as_bytes(), ENTRY, None).unwrap();
        Cloud::connect(&config, Clock::system()).await.unwrap()
    }

    /// Requests as they go over the wire, of its administrator.
    pub(crate) async fn raw(&self) -> Raw {
        Raw::log_in(self.clouds_yaml().as_bytes(), ENTRY).await
    }

    /// The service of a host.
    pub(crate) async fn service(&self, host: &str) -> ComputeService {
        self.client().await.services().await.unwrap().into_iter().find(|service| service.host.as_str() == host).unwrap()
    }

    /// The migration rows of a server, oldest first.
    pub(crate) async fn rows(&self, server: ServerId) -> Vec<NovaMigration> {
        let filter = MigrationFilter { server: Some(server), ..MigrationFilter::default() };
        let mut rows = self.client().await.migrations(&filter).await.unwrap();
        rows.sort_by_key(|row| row.id);
        rows
    }

    /// Where the hypervisors run each guest, and its state there, whatever Nova believes. A guest on two hosts is there twice.
    pub(crate) fn guests(&self) -> BTreeMap<ServerId, Vec<(String, String)>> {
        let mut guests: BTreeMap<ServerId, Vec<(String, String)>> = BTreeMap::new();
        for host in self.hosts() {
            let file = fs::read_to_string(self.run.join(format!("sim/hosts/{host}.json"))).unwrap();
            let here: BTreeMap<Uuid, Value> = serde_json::from_str(&file).unwrap();
            for (server, guest) in here {
                guests.entry(ServerId(server)).or_default().push((host.clone(), guest["state"].as_str().unwrap().to_owned()));
            }
        }
        guests
    }

    /// What its API has answered so far, to all but the scripts of these tests.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let log = fs::read_to_string(&self.env["NOVA_ACCESS_LOG"]).unwrap();
        log.lines().filter(|line| !line.ends_with(" servers/nova")).map(|line| line.parse().unwrap()).collect()
    }

    /// What a failed test shows of it.
    pub(crate) fn describe(&self) -> String {
        for process in ["nova-api", "nova-conductor", "compute-cmp-1"] {
            show_end(&self.run.join(format!("log/{process}.log")));
        }
        format!("{}guests: {:?}", finish(server_script("nova/cloud").arg("show").arg(&self.run)), self.guests())
    }
}

/// A request in the access log.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The program that asked.
    pub(crate) agent: String,
}

impl FromStr for Request {
    type Err = String;
    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split(' ').collect();
        let [_time, method, path, _status, _duration, agent @ ..] = words.as_slice() else { return Err(format!("no line of an access log: {line}")) };
        Ok(Self { method: (*method).to_owned(), path: (*path).to_owned(), agent: agent.join(" ") })
    }
}
