//! A whole installation for one story: a control plane, a cloud, the operator and one sentinel per host as real processes with their own accounts' tokens, and a policy that acts on the first alert.
//!
//! Every wait is for a condition and says, when it was in vain, for what and what was there instead.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{File, create_dir_all};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::coordination::v1 as coordination;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::ClusterResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::{Phase, TimelineEvent};
use sidestep::api::{HostAlert, HostQuarantine, HostReport, MigrationRun, OpenStackCloud, QuarantinePolicy};
use sidestep::clock::Clock;
use sidestep::simulator::{ServerSettings, Settings};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::alert_line::AlertLine;
use super::cloud::{Cloud, Simulated};
use super::control_plane::{Lease, NAMESPACE, SENTINELS};
use super::nova::Nova;
use super::process::Program;

/// The name of the story's OpenStackCloud, and of its Secret.
pub(crate) const CLOUD: &str = "lab";
/// The name of the story's policy.
pub(crate) const POLICY: &str = "first-alert";
/// What every wait is given. Nothing takes as long on an idle machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What waiting for hundreds of moves is given.
pub(crate) const PATIENCE: Duration = Duration::from_secs(900);

/// What a story begins with.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The cloud.
    pub(crate) cloud: Cloud,
    /// Laid over the spec of the OpenStackCloud.
    pub(crate) spec: Value,
    /// Laid over the spec of the policy.
    pub(crate) policy: Value,
    /// Further arguments of the operator's `run`.
    pub(crate) operator: Vec<&'static str>,
    /// The nodes that a sentinel runs on.
    pub(crate) sentinels: Vec<String>,
    /// Further arguments of each sentinel's `run`.
    pub(crate) sentinel: Vec<&'static str>,
}

impl Setup {
    /// A sentinel on every host of the cloud, a policy in mode Enforce.
    pub(crate) fn on(cloud: Cloud) -> Self {
        let sentinels = cloud.hosts();
        Self { cloud, spec: json!({}), policy: json!({}), operator: Vec::new(), sentinels, sentinel: Vec::new() }
    }

    /// On the simulator, with these servers, 20 times as fast as a real Nova.
    pub(crate) async fn simulated(servers: Vec<ServerSettings>) -> Self {
        Self::on(Cloud::Simulator(Simulated::start(Settings { servers, speed: 20.0, ..Settings::default() }).await))
    }

    /// Only a sentinel on this node.
    pub(crate) fn sentinel_on(mut self, node: &str) -> Self {
        self.sentinels = vec![node.to_owned()];
        self
    }

    /// No sentinel: the story makes its quarantines by hand.
    pub(crate) fn without_sentinels(mut self) -> Self {
        self.sentinels.clear();
        self
    }
}

/// The installation.
pub(crate) struct World {
    // In this order they end: first the programs, then what they talk to.
    operator: Option<Program>,
    sentinels: BTreeMap<String, Program>,
    sentinel_arguments: Vec<&'static str>,
    pub(crate) cloud: Cloud,
    pub(crate) client: Client,
    folder: TempDir,
    pub(crate) plane: Lease,
}

impl World {
    /// On the simulator, with these servers and a sentinel on every host.
    pub(crate) async fn on_simulator(servers: Vec<ServerSettings>) -> Self {
        Self::start(Setup::simulated(servers).await).await
    }

    /// Sets everything up and returns when the cloud is Ready and the sentinels read.
    pub(crate) async fn start(setup: Setup) -> Self {
        let mut world = Self::bare(setup.cloud).await;
        world.create_secret(CLOUD, &world.cloud.clouds_yaml()).await;
        world.create_cloud(CLOUD, setup.spec).await;
        world.create_policy(POLICY, setup.policy).await;
        world.sentinel_arguments = setup.sentinel;
        world.start_operator(&setup.operator);
        for node in &setup.sentinels {
            world.start_sentinel(node);
        }
        world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "True").await;
        for node in &setup.sentinels {
            world.wait_for_log(&format!("sentinel-{node}"), "reading begins").await;
        }
        world
    }

    /// A control plane with the kinds and accounts and nothing else in it, and a cloud.
    pub(crate) async fn bare(cloud: Cloud) -> Self {
        let plane = Lease::take().await;
        let client = plane.kubectl().client().await;
        let world =
            Self { operator: None, sentinels: BTreeMap::new(), sentinel_arguments: Vec::new(), cloud, client, folder: tempfile::tempdir().unwrap(), plane };
        world.clean().await;
        world
    }

    /// Removes what the story before has left.
    async fn clean(&self) {
        self.clean_kind::<HostReport>().await;
        self.clean_kind::<HostAlert>().await;
        self.clean_kind::<HostQuarantine>().await;
        self.clean_kind::<MigrationRun>().await;
        self.clean_kind::<QuarantinePolicy>().await;
        self.clean_kind::<OpenStackCloud>().await;
        let (delete, all) = (DeleteParams::default(), ListParams::default());
        Api::<Secret>::namespaced(self.client.clone(), NAMESPACE).delete_collection(&delete, &all).await.unwrap();
        Api::<Event>::namespaced(self.client.clone(), "default").delete_collection(&delete, &all).await.unwrap();
        // An operator that was killed has not given it back.
        Api::<coordination::Lease>::namespaced(self.client.clone(), NAMESPACE).delete_collection(&delete, &all).await.unwrap();
        Api::<coordination::Lease>::namespaced(self.client.clone(), SENTINELS).delete_collection(&delete, &all).await.unwrap();
    }

    async fn clean_kind<K: Kind>(&self) {
        // Without their contents, which a story may have broken.
        let api = self.dynamic::<K>();
        let all = async || api.list_metadata(&ListParams::default()).await.unwrap().items;
        api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
        for object in all().await {
            let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            // Gone meanwhile, where it had no finalizer.
            drop(api.patch(&object.name_any(), &PatchParams::default(), &patch).await);
        }
        self.until(&format!("no {} is left", K::kind(&())), async || empty(&all().await)).await;
    }

    // ---- objects ----

    /// The objects of a kind.
    pub(crate) fn api<K: Kind>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// The same as the API server holds them, whether or not they can be read.
    pub(crate) fn dynamic<K: Kind>(&self) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &ApiResource::erase::<K>(&()))
    }

    /// All objects of a kind.
    pub(crate) async fn all<K: Kind>(&self) -> Vec<K> {
        self.api().list(&ListParams::default()).await.unwrap().items
    }

    /// One object that exists.
    pub(crate) async fn get<K: Kind>(&self, name: &str) -> K {
        self.api().get(name).await.unwrap()
    }

    /// Makes an object.
    pub(crate) async fn create<K: Kind>(&self, name: &str, spec: Value) -> K {
        let object = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec});
        self.api().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    /// Changes the spec of an object.
    pub(crate) async fn change<K: Kind>(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.api::<K>().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// Asks for the end of an object, as `kubectl delete --wait=false` does.
    pub(crate) async fn delete<K: Kind>(&self, name: &str) {
        self.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Makes or replaces a Secret with a clouds.yaml.
    pub(crate) async fn create_secret(&self, name: &str, clouds_yaml: &str) {
        self.create_secret_with(name, "clouds.yaml", clouds_yaml).await;
    }

    /// Makes or replaces a Secret with one key.
    pub(crate) async fn create_secret_with(&self, name: &str, key: &str, value: &str) {
        self.create_secret_of(name, &[(key, value)]).await;
    }

    /// Makes or replaces a Secret with these keys and no others.
    pub(crate) async fn create_secret_of(&self, name: &str, keys: &[(&str, &str)]) {
        // Not stringData, of which the API server forgets who wrote what.
        let data: BTreeMap<&str, ByteString> = keys.iter().map(|(key, value)| (*key, ByteString(value.as_bytes().to_vec()))).collect();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data});
        let secrets = Api::<Secret>::namespaced(self.client.clone(), NAMESPACE);
        secrets.patch(name, &PatchParams::apply("story").force(), &Patch::Apply(secret)).await.unwrap();
    }

    /// Makes an OpenStackCloud that is looked at often and whose few hosts may all be out of service as far as shares go, with `spec` laid over it.
    pub(crate) async fn create_cloud(&self, name: &str, spec: Value) {
        let mut whole = json!({
            "credentials": {"secretRef": {"name": name}, "cloud": self.cloud.entry()},
            "inventory": {"idleInterval": "2s", "activeInterval": "200ms", "staleAfter": "30s"},
            "budget": {"percentOutOfService": 100, "alertingSharePercent": 100},
        });
        lay_over(&mut whole, spec);
        self.create::<OpenStackCloud>(name, whole).await;
    }

    /// Makes a policy that acts on each first alert of priority 1 on an established connection, as often as it comes, with `spec` laid over it.
    pub(crate) async fn create_policy(&self, name: &str, spec: Value) {
        let mut whole = json!({
            "cloud": CLOUD, "mode": "Enforce", "match": {"minSeverity": "High"}, "evidence": {"flow": "Established"}, "threshold": {"count": 1},
            "response": {"scope": "HostThreatened"}, "cooldown": {"perHost": "0s", "perRule": "0s"}, "limits": {"maxConcurrentQuarantines": 100, "maxQuarantinesPerHour": 100},
        });
        lay_over(&mut whole, spec);
        self.create::<QuarantinePolicy>(name, whole).await;
    }

    /// Makes a quarantine as a person does.
    pub(crate) async fn quarantine_by_hand(&self, name: &str, host: &str, mode: &str) -> HostQuarantine {
        self.quarantine(name, host, json!({"mode": mode})).await
    }

    /// Makes a quarantine of a host that is under attack as a person does, in force, with `spec` laid over it.
    pub(crate) async fn quarantine(&self, name: &str, host: &str, spec: Value) -> HostQuarantine {
        let mut whole = json!({"cloud": CLOUD, "host": host, "mode": "Enforce", "scope": "HostThreatened", "reason": "seen by the on-call"});
        lay_over(&mut whole, spec);
        self.create(name, whole).await
    }

    /// The name by which the API server knows whoever writes the objects of a story.
    pub(crate) fn user(&self) -> String {
        self.plane.kubectl().run(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).ok()
    }

    /// Asks for release, which is carried out when the host is empty.
    pub(crate) async fn release(&self, name: &str) {
        self.change::<HostQuarantine>(name, json!({"release": {"requested": true, "approvedBy": self.user()}})).await;
    }

    /// Asks for release whatever is left on the host.
    pub(crate) async fn release_by_force(&self, name: &str) {
        self.change::<HostQuarantine>(name, json!({"release": {"requested": true, "force": true, "approvedBy": self.user()}})).await;
    }

    /// The runs of a quarantine.
    pub(crate) async fn runs_of(&self, quarantine: &str) -> Vec<MigrationRun> {
        let mut runs = self.all::<MigrationRun>().await;
        runs.retain(|run| run.spec.quarantine == quarantine);
        runs
    }

    /// All Events about objects of this name, as `REASON: NOTE`.
    pub(crate) async fn events_about(&self, name: &str) -> Vec<String> {
        let events = Api::<Event>::namespaced(self.client.clone(), "default").list(&ListParams::default()).await.unwrap();
        let about = |event: &Event| event.regarding.as_ref().is_some_and(|regarding| regarding.name.as_deref() == Some(name));
        events.items.iter().filter(|event| about(event)).map(|event| format!("{}: {}", text(&event.reason), text(&event.note))).collect()
    }

    // ---- waiting ----

    /// Asks until the answer is `Ok`; an `Err` says what was there instead.
    pub(crate) async fn until<T>(&self, what: &str, ask: impl AsyncFnMut() -> Result<T, String>) -> T {
        until(what, LIMIT, ask).await
    }

    /// The same for what takes minutes.
    pub(crate) async fn until_patiently<T>(&self, what: &str, ask: impl AsyncFnMut() -> Result<T, String>) -> T {
        until(what, PATIENCE, ask).await
    }

    /// Waits until an object satisfies `test`.
    pub(crate) async fn wait_for<K: Kind>(&self, name: &str, what: &str, test: impl Fn(&K) -> bool) -> K {
        let api = self.api::<K>();
        let what = format!("{} {name} {what}", K::kind(&()));
        self.until(&what, async || {
            let object = api.get_opt(name).await.map_err(|error| error.to_string())?.ok_or("there is none of this name")?;
            if test(&object) { Ok(object) } else { Err(yaml(&object)) }
        })
        .await
    }

    /// Waits until a condition of an object has this status.
    pub(crate) async fn wait_for_condition<K: Kind>(&self, name: &str, condition: &str, status: &str) -> Condition {
        let what = format!("has condition {condition} {status}");
        let holds = |object: &K| condition_of(object, condition).is_some_and(|condition| condition.status == status);
        condition_of(&self.wait_for(name, &what, holds).await, condition).unwrap()
    }

    /// Waits until a quarantine is in this phase.
    pub(crate) async fn wait_for_phase(&self, name: &str, phase: Phase) -> HostQuarantine {
        self.wait_for(name, &format!("is {}", phase.as_str()), |quarantine: &HostQuarantine| phase_of(quarantine) == Some(phase)).await
    }

    /// Waits until a quarantine of many servers is in this phase.
    pub(crate) async fn wait_patiently_for(&self, name: &str, phase: Phase) {
        let api = self.api::<HostQuarantine>();
        let reached = async || {
            let quarantine = api.get(name).await.map_err(|error| error.to_string())?;
            if phase_of(&quarantine) == Some(phase) { Ok(()) } else { Err(yaml(&quarantine)) }
        };
        self.until_patiently(&format!("{name} is {}", phase.as_str()), reached).await;
    }

    /// Waits until there is a quarantine of a host that satisfies `test`.
    pub(crate) async fn wait_for_quarantine_of(&self, host: &str, what: &str, test: impl Fn(&HostQuarantine) -> bool) -> HostQuarantine {
        self.until(&format!("there is a HostQuarantine of {host} {what}"), async || {
            let all = self.all::<HostQuarantine>().await;
            let text = yaml(&all);
            all.into_iter().find(|quarantine| quarantine.spec.host == host && test(quarantine)).ok_or(text)
        })
        .await
    }

    /// Waits until the quarantine of a host is in this phase.
    pub(crate) async fn wait_for_phase_of(&self, host: &str, phase: Phase) -> HostQuarantine {
        self.wait_for_quarantine_of(host, &format!("that is {}", phase.as_str()), |quarantine| phase_of(quarantine) == Some(phase)).await
    }

    /// Waits until an object is gone.
    pub(crate) async fn wait_until_gone<K: Kind>(&self, name: &str) {
        let api = self.api::<K>();
        self.until(&format!("{} {name} is gone", K::kind(&())), async || api.get_opt(name).await.unwrap().map_or(Ok(()), |object| Err(yaml(&object)))).await;
    }

    /// Waits until there is an Event with this reason about an object of this name.
    pub(crate) async fn wait_for_event(&self, name: &str, reason: &str) -> String {
        self.until(&format!("there is an Event {reason} about {name}"), async || {
            let events = self.events_about(name).await;
            events.iter().find(|event| event.starts_with(reason)).cloned().ok_or(events.join("\n"))
        })
        .await
    }

    /// Waits until the only run of a server in a quarantine satisfies `test`.
    pub(crate) async fn wait_for_run_of(&self, quarantine: &str, server: Uuid, what: &str, test: impl Fn(&MigrationRun) -> bool) -> MigrationRun {
        self.until(&format!("the run of server {server} {what}"), async || {
            let mut runs = self.runs_of(quarantine).await;
            runs.retain(|run| run.spec.server == server.to_string());
            match runs.as_slice() {
                [run] if test(run) => Ok(run.clone()),
                _ => Err(yaml(&runs)),
            }
        })
        .await
    }

    /// Waits until Sidestep has seen that so many hosts are out of service.
    pub(crate) async fn wait_for_hosts_disabled(&self, count: u32) {
        let seen = |cloud: &OpenStackCloud| cloud.status.as_ref().and_then(|status| status.hosts).is_some_and(|hosts| hosts.disabled == count);
        self.wait_for(CLOUD, &format!("shows {count} disabled hosts"), seen).await;
    }

    /// Waits until a program has printed this. `program` is `operator` or `sentinel-NODE`.
    pub(crate) async fn wait_for_log(&self, program: &str, part: &str) -> String {
        self.until(&format!("{program} has printed {part:?}"), async || {
            let printed = self.printed(program);
            let line = printed.lines().find(|line| line.contains(part)).map(str::to_owned);
            line.ok_or_else(|| printed.lines().rev().take(5).collect::<Vec<_>>().join("\n"))
        })
        .await
    }

    // ---- the programs ----

    /// All that a program has printed, in all its lives.
    pub(crate) fn printed(&self, program: &str) -> String {
        let program = program.strip_prefix("sentinel-").map_or(self.operator.as_ref(), |node| self.sentinels.get(node));
        program.unwrap().printed()
    }

    /// The resident memory of the operator and of each sentinel, KiB.
    pub(crate) fn resident_kib(&self) -> (u64, Vec<u64>) {
        (self.operator.as_ref().unwrap().resident_kib(), self.sentinels.values().map(Program::resident_kib).collect())
    }

    /// Starts the operator with further arguments.
    pub(crate) fn start_operator(&mut self, arguments: &[&str]) {
        // Under the same name after a restart, as a container in its pod, so that it need not wait until its own Lease is over.
        self.operator = Some(self.another_operator("operator", arguments));
    }

    /// Starts one more operator, which the story holds and names. It logs into the same folder.
    pub(crate) fn another_operator(&self, name: &str, arguments: &[&str]) -> Program {
        self.operator_of(name, NAMESPACE, &self.plane.credential("sidestep-operator", None), arguments)
    }

    /// Starts an operator of another namespace with somebody else's credential.
    pub(crate) fn operator_of(&self, name: &str, namespace: &str, credential: &Path, arguments: &[&str]) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidestep-operator"));
        command.args(["run", "--namespace", namespace, "--identity", name, "--admin-address", "127.0.0.1:0", "--kubeconfig"]);
        command.arg(credential).args(arguments);
        Program::start(&mut command, &self.folder.path().join(format!("{name}.log")))
    }

    /// The operator.
    pub(crate) fn operator(&self) -> &Program {
        self.operator.as_ref().unwrap()
    }

    /// Ends the operator as `kill -9` does.
    pub(crate) fn kill_operator(&mut self) {
        self.operator.as_mut().unwrap().kill();
    }

    /// Whether the operator has ended by itself.
    pub(crate) fn operator_has_ended(&mut self) -> bool {
        self.operator.as_mut().unwrap().ended().is_some()
    }

    /// Waits until the operator has ended by itself.
    pub(crate) async fn wait_for_end_of_operator(&mut self) {
        let operator = self.operator.as_mut().unwrap();
        until("the operator has ended", LIMIT, async || operator.ended().map(|_| ()).ok_or_else(|| "it runs".to_owned())).await;
    }

    /// Starts the sentinel of a node; it goes on from its checkpoint where it has one.
    pub(crate) fn start_sentinel(&mut self, node: &str) {
        let eve = format!("suricata_eve:{}", self.eve(node).display());
        self.start_sentinel_with(node, &[eve]);
    }

    /// The same with these alert files, as `--source` names them.
    pub(crate) fn start_sentinel_with(&mut self, node: &str, sources: &[String]) {
        let state = self.state(node);
        create_dir_all(&state).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sidestep-sentinel"));
        command.args(["run", "--node", node, "--state-dir"]).arg(state);
        command.args(sources.iter().flat_map(|source| ["--source", source.as_str()]));
        command
            .arg("--kubeconfig")
            .arg(self.plane.credential("sidestep-sentinel", Some(node)))
            .args(["--admin-address", "127.0.0.1:0"])
            .args(&self.sentinel_arguments);
        self.sentinels.insert(node.to_owned(), Program::start(&mut command, &self.folder.path().join(format!("sentinel-{node}.log"))));
    }

    /// Where the sentinel of a node keeps its position.
    pub(crate) fn state(&self, node: &str) -> PathBuf {
        self.folder.path().join(format!("state-{node}"))
    }

    /// Sends a signal, such as `TERM`, to a sentinel.
    pub(crate) fn signal_sentinel(&self, node: &str, signal: &str) {
        self.sentinels[node].signal(signal);
    }

    /// Ends a sentinel as `kill -9` does.
    pub(crate) fn kill_sentinel(&mut self, node: &str) {
        self.sentinels.get_mut(node).unwrap().kill();
    }

    // ---- alerts ----

    /// The file that Suricata on this node would write.
    pub(crate) fn eve(&self, node: &str) -> PathBuf {
        self.folder.path().join(format!("eve-{node}.json"))
    }

    /// Appends an alert of priority 1 on an established connection, stamped now.
    pub(crate) fn alert(&self, node: &str) {
        self.append(node, &AlertLine::at(Clock::system().now()).text());
    }

    /// Appends text to the node's eve.json.
    pub(crate) fn append(&self, node: &str, text: &str) {
        File::options().create(true).append(true).open(self.eve(node)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    // ---- the cloud ----

    /// The real Nova, of a story that runs on it.
    pub(crate) fn nova(&self) -> &Nova {
        match &self.cloud {
            Cloud::Nova(nova) => nova,
            Cloud::Simulator(_) => panic!("this story runs on the simulator"),
        }
    }

    /// The simulator, of a story that runs on it.
    pub(crate) fn simulator(&self) -> &Simulated {
        match &self.cloud {
            Cloud::Simulator(simulated) => simulated,
            Cloud::Nova(_) => panic!("this story runs on a real Nova"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if thread::panicking() {
            let kinds = "openstackclouds.sidestep.dev,quarantinepolicies.sidestep.dev,hostreports.sidestep.dev,hostalerts.sidestep.dev,hostquarantines.sidestep.dev,migrationruns.sidestep.dev";
            let kubectl = self.plane.kubectl();
            let (table, whole) = (kubectl.run(&["get", kinds, "-o", "wide"]), kubectl.run(&["get", "hostquarantines.sidestep.dev", "-o", "yaml"]));
            eprintln!("---- objects\n{table}\n{whole}\n---- cloud\n{}", self.cloud.describe());
        }
    }
}

/// One of Sidestep's kinds.
pub(crate) trait Kind: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned + Serialize {}
impl<K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug + DeserializeOwned + Serialize> Kind for K {}

/// Asks until the answer is `Ok`, and fails after `limit` with the last `Err`.
pub(crate) async fn until<T>(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut last = String::from("no answer");
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(instead) => last = instead,
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    match timeout(limit, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("waited in vain until {what}, for {limit:?}; instead there was:\n{last}"),
    }
}

/// The phase of a quarantine.
pub(crate) fn phase_of(quarantine: &HostQuarantine) -> Option<Phase> {
    quarantine.status.as_ref().and_then(|status| status.phase)
}

/// The decision on an alert.
pub(crate) fn decision_of(alert: &HostAlert) -> Option<Decision> {
    alert.status.as_ref().and_then(|status| status.decision)
}

/// When a step of a quarantine was.
pub(crate) fn moment_of(quarantine: &HostQuarantine, event: TimelineEvent) -> Option<Timestamp> {
    let timeline = quarantine.status.as_ref().map(|status| status.timeline.as_slice()).unwrap_or_default();
    timeline.iter().find(|entry| entry.event == event).map(|entry| entry.time.0)
}

/// Milliseconds between two steps of a quarantine.
pub(crate) fn millis_between(quarantine: &HostQuarantine, from: TimelineEvent, to: TimelineEvent) -> i128 {
    moment_of(quarantine, to).unwrap().duration_since(moment_of(quarantine, from).unwrap()).as_millis()
}

/// A condition in an object's status.
pub(crate) fn condition_of<K: Serialize>(object: &K, kind: &str) -> Option<Condition> {
    let object = serde_json::to_value(object).unwrap();
    let conditions: Vec<Condition> = serde_json::from_value(object["status"]["conditions"].clone()).ok()?;
    conditions.into_iter().find(|condition| condition.type_ == kind)
}

fn empty<K>(objects: &[K]) -> Result<(), String> {
    if objects.is_empty() { Ok(()) } else { Err(format!("{} are there", objects.len())) }
}

fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("-")
}

fn yaml<T: Serialize>(value: &T) -> String {
    serde_saphyr::to_string(value).unwrap()
}

/// Lays `over` over `value`: objects key by key, everything else as a whole.
fn lay_over(value: &mut Value, over: Value) {
    match (value, over) {
        (Value::Object(value), Value::Object(over)) => over.into_iter().for_each(|(key, part)| lay_over(value.entry(key).or_insert(Value::Null), part)),
        (value, over) => *value = over,
    }
}
