//! A real Kubernetes control plane on loopback, with all that the charts make but the pods: kinds, service accounts, what they may do, admission policies.
//!
//! `tests/e2e/servers/kubernetes/up` starts it. It stops when its owner is dropped and also when the test process ends in
//! whatever way: a shell that waits for the end of a pipe, whose other end only this process holds, stops it then.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::process::{Finished, finish, finish_with, show_end};

/// The namespace of the operator: of the release.
pub(crate) const NAMESPACE: &str = "sidestep-system";
/// The namespace of the sentinels.
pub(crate) const SENTINELS: &str = "sidestep-system-sentinels";
/// What `helm template` is asked for where programs run as plain processes.
pub(crate) const ALL_BUT_PODS: [&str; 2] = ["--show-only", "templates/*-access.yaml"];

/// A file or folder of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A script of `tests/e2e/servers`, which starts its servers on behalf of this process.
pub(crate) fn server_script(path: &str) -> Command {
    let mut command = Command::new(repository("tests/e2e/servers").join(path));
    command.env("SIDESTEP_OWNER_PID", id().to_string());
    command
}

/// The manifests that the chart makes, with further arguments for `helm template`.
pub(crate) fn chart(namespace: &str, arguments: &[&str]) -> Finished {
    finish(server_script("helm/template").arg(namespace).args(arguments))
}

/// The manifests of the chart of the kinds.
pub(crate) fn kinds() -> Finished {
    finish(server_script("helm/template").arg("kinds"))
}

/// `helm`, without the developer's settings.
pub(crate) fn helm() -> Command {
    let program = finish(&mut server_script("helm/install")).ok();
    let mut command = Command::new(program.trim());
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("HELM_") || name == "KUBECONFIG") {
        command.env_remove(name);
    }
    command
}

/// A running control plane.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    run: PathBuf,
    env: BTreeMap<String, String>,
    watch: Child,
}

impl ControlPlane {
    /// Starts one of the caller's own, with nothing of the product in it. The first ever takes minutes, as it is built.
    pub(crate) fn start() -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        finish(&mut server_script("sweep")).ok();
        let run = PathBuf::from(format!("{}/control-plane-{}-{}", env!("CARGO_TARGET_TMPDIR"), id(), STARTED.fetch_add(1, Ordering::Relaxed)));
        // Its standard error is ours, so that whoever waits sees why.
        let status = server_script("kubernetes/up").arg(&run).stdin(Stdio::null()).status().unwrap();
        assert!(status.success(), "the control plane did not start; its own words stand above, its logs in {}", run.display());
        let watch = stop_at_our_end("kubernetes", &run);
        Self { env: env_of(&run), run, watch }
    }

    /// One for all tests that need no more than the kinds and the accounts, and do not break it.
    pub(crate) fn shared() -> Shared {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        Shared(SHARED.get_or_init(|| {
            let plane = Self::start();
            plane.install();
            plane
        }))
    }

    /// Applies both charts but the pods, and waits until all of it is in force.
    pub(crate) fn install(&self) {
        let kubectl = self.kubectl();
        self.apply_kinds();
        kubectl.run(&["create", "namespace", NAMESPACE]).ok();
        self.apply_chart();
        for (account, namespace, verb, resource) in
            [("sidestep-operator", NAMESPACE, "list", "secrets"), ("sidestep-sentinel", SENTINELS, "patch", "hostalerts.sidestep.dev")]
        {
            let subject = format!("--as=system:serviceaccount:{namespace}:{account}");
            let in_force = (0..100).any(|_| kubectl.run(&["auth", "can-i", verb, resource, "--namespace", NAMESPACE, &subject]).status.success());
            assert!(in_force, "{account} still may not {verb} {resource}");
        }
        self.wait_for_policies();
    }

    /// Applies the chart of the kinds, and waits until they are served.
    pub(crate) fn apply_kinds(&self) {
        let kinds = kinds().silent();
        self.kubectl().apply(&kinds, &["--server-side", "--force-conflicts"]).silent();
        self.kubectl().run_with(&["wait", "--for=condition=Established", "--timeout=60s", "-f", "-"], &kinds).ok();
    }

    /// Applies the chart but its pods; where it was applied before, this mends what a story broke.
    pub(crate) fn apply_chart(&self) {
        self.kubectl().apply(&chart(NAMESPACE, &ALL_BUT_PODS).ok(), &[]).silent();
    }

    /// Waits until the API server asks the admission policies: it reads them a moment after they were written.
    pub(crate) fn wait_for_policies(&self) {
        let alert = r#"{"apiVersion":"sidestep.dev/v1alpha1","kind":"HostAlert","metadata":{"name":"n-silent"},"spec":{"node":"n","series":"s","seq":1,"engine":"sidestep",
            "ruleID":"SensorSilent","severity":"High","subject":"-","flow":"Unknown","firstSeen":"2026-03-02T08:15:04Z","lastSeen":"2026-03-02T08:15:04Z","count":1}}"#;
        let ask = || self.kubectl().apply(alert, &["--server-side", "--dry-run=server"]);
        let refused = (0..200).any(|_| !ask().status.success());
        assert!(refused, "the admission policies are not in force");
        assert!(ask().stderr.contains("are the operator's"), "refused for another reason: {}", ask());
    }

    /// `kubectl` as administrator.
    pub(crate) fn kubectl(&self) -> Kubectl {
        Kubectl { program: self.env["KUBECTL"].clone().into(), kubeconfig: self.env["KUBECONFIG"].clone().into() }
    }

    /// `kill`, `stop` or `start` of `kube-apiserver`, `etcd` or `kube-controller-manager`; `start` returns when it works.
    pub(crate) fn svc(&self, verb: &str, program: &str) {
        finish(server_script("kubernetes/svc").args([verb, program]).arg(&self.run)).ok();
    }

    /// One line of JSON for each request for an object of Sidestep's, by whomever.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.env["AUDIT_LOG"].clone().into()
    }

    /// A kubeconfig of one of the chart's accounts, made once.
    pub(crate) fn credential(&self, account: &str, node: Option<&str>) -> PathBuf {
        let path = self.credential_path(account, node);
        if path.exists() { path } else { self.kubectl_as(account, node).kubeconfig }
    }

    /// Forgets all credentials of accounts: the accounts, or the pods that they are bound to, are gone.
    pub(crate) fn forget_credentials(&self) {
        for entry in fs::read_dir(&self.run).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sidestep-") && name.to_string_lossy().ends_with(".kubeconfig")) {
                fs::remove_file(path).unwrap();
            }
        }
    }

    fn credential_path(&self, account: &str, node: Option<&str>) -> PathBuf {
        self.run.join(format!("{account}-{}.kubeconfig", node.unwrap_or_default()))
    }

    /// `kubectl` with a token of one of the chart's accounts: bound to a pod on `node`, as a sentinel has it, or to nothing.
    pub(crate) fn kubectl_as(&self, account: &str, node: Option<&str>) -> Kubectl {
        let mut token = server_script("kubernetes/token");
        token.arg(&self.run).args([account, if account == "sidestep-sentinel" { SENTINELS } else { NAMESPACE }]);
        if let Some(node) = node {
            token.args(["--node", node]);
        }
        let kubeconfig = self.credential_path(account, node);
        fs::write(&kubeconfig, finish(&mut token).ok()).unwrap();
        Kubectl { program: self.env["KUBECTL"].clone().into(), kubeconfig }
    }

    fn show_logs(&self) {
        for program in ["etcd", "kube-apiserver", "kube-controller-manager"] {
            show_end(&self.run.join(format!("log/{program}.log")));
        }
    }
}

/// How to reach a server: what its `up` wrote.
pub(crate) fn env_of(run: &Path) -> BTreeMap<String, String> {
    let env = fs::read_to_string(run.join("env")).unwrap();
    env.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Starts the shell that stops the run of a server when it cannot read from us any more, and then removes its folder.
pub(crate) fn stop_at_our_end(server: &str, run: &Path) -> Child {
    Command::new("setsid")
        .args(["sh", "-c", r#"cat >/dev/null; "$1" "$2" && rm -rf "$2""#, "sh"])
        .args([&repository(&format!("tests/e2e/servers/{server}/down")), run])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show_logs();
        }
        drop(self.watch.stdin.take());
        drop(self.watch.wait());
    }
}

/// Most control planes that stories have at the same time, so that two cores can carry them.
const LEASES: usize = 2;
static LEASE_PERMITS: Semaphore = Semaphore::const_new(LEASES);
static IDLE: Mutex<Vec<ControlPlane>> = Mutex::new(Vec::new());

/// A control plane for one story alone, which may break it: its API server can be killed. A story that ends well hands it to the next one, which finds what the story left there.
#[derive(Debug)]
pub(crate) struct Lease {
    plane: Option<ControlPlane>,
    _permit: SemaphorePermit<'static>,
}

impl Lease {
    /// Waits until one is free, and starts it where there is none yet.
    pub(crate) async fn take() -> Self {
        let permit = LEASE_PERMITS.acquire().await.unwrap();
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let plane = idle.unwrap_or_else(|| {
            let plane = ControlPlane::start();
            plane.install();
            plane
        });
        Self { plane: Some(plane), _permit: permit }
    }
}

impl Deref for Lease {
    type Target = ControlPlane;
    fn deref(&self) -> &ControlPlane {
        self.plane.as_ref().unwrap()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // After a failure nobody knows in which state it is: it shows its logs and ends.
        if let Some(plane) = self.plane.take().filter(|_| !thread::panicking()) {
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(plane);
        }
    }
}

/// The shared control plane, in the hands of one test: if that fails, the logs are shown.
#[derive(Debug)]
pub(crate) struct Shared(&'static ControlPlane);

impl Deref for Shared {
    type Target = ControlPlane;
    fn deref(&self) -> &ControlPlane {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show_logs();
        }
    }
}

/// `kubectl` with somebody's credential.
#[derive(Clone, Debug)]
pub(crate) struct Kubectl {
    program: PathBuf,
    /// The credential as a file, for any other client.
    pub(crate) kubeconfig: PathBuf,
}

impl Kubectl {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        command
    }

    /// Runs it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.command(arguments))
    }

    /// What a shell would run, for a script to have its own arguments after.
    pub(crate) fn words(&self) -> String {
        format!("'{}' --kubeconfig '{}' \"$@\"", self.program.display(), self.kubeconfig.display())
    }

    /// Runs it with `input` on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Finished {
        finish_with(&mut self.command(arguments), input)
    }

    /// `kubectl apply` of manifests as text; an unknown field is an error.
    pub(crate) fn apply(&self, manifests: &str, arguments: &[&str]) -> Finished {
        finish_with(self.command(&["apply", "--validate=strict", "-f", "-"]).args(arguments), manifests)
    }

    /// A client with the same credential.
    pub(crate) async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }
}
