//! A cloud to test against: a stateful Keystone, Nova and Placement over HTTP, whose live migrations take their time, queue, fail and get lost as real ones do.
//!
//! ```text
//!   socket (serve) -> faults of the transport -> Core -> keystone | nova | placement | admin    values in, values out
//!                                                  |
//!                                                Cloud (state), moved on to the present by `advance` (lifecycle): copy model, scheduler
//! ```
//!
//! Nothing happens in the background: each request (and a slow tick, for the log) lets everything happen that was due until then, in order and each at its own time. So
//! the cloud does not depend on how often it is asked, and everything but `serve` can be tested without a socket or a clock.
//!
//! What it answers has the shape of recorded requests and answers of Nova 34, Keystone 30 and Placement 16. It speaks the part that taking a host out of service needs, and
//! refuses the rest; it keeps nothing on disk. Not for anybody but tests and demonstrations: its password is in its clouds.yaml, and `/admin` asks for none.

mod access;
mod admin;
mod allocations;
mod args;
mod candidates;
mod cold;
mod copy;
mod core;
mod describe;
mod faults;
mod groups;
mod ids;
mod keystone;
mod lifecycle;
mod model;
mod nova;
mod orders;
mod placement;
mod run;
mod scheduler;
mod serve;
mod settings;
mod state;
mod strikes;
#[cfg(test)]
mod tests;
mod wire;

pub use access::Request;
pub use args::Args;
pub use describe::{AggregateSettings, GroupPolicy, GroupSettings, HostSettings, ServerSettings, VmState};
pub use faults::{FaultAnswer, HttpFault};
pub use model::{Action, Event, Fault, Host, Migration, MoveKind, Outcome, Sample, Server, Size};
pub use nova::Microversion;
pub use run::{RunError, run};
pub use settings::{AfterRollback, FailPoint, Knobs, Settings, Timing};
pub use state::{Cloud, Refusal};

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::access::AccessLog;
use self::core::Core;
use self::faults::HttpFaults;
use self::keystone::Tokens;
use self::serve::{Connection, Shared};
use crate::clock::Clock;

/// Why a simulator could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting makes no sense.
    #[error("A setting of the simulator cannot be used: {0}")]
    Settings(String),
    /// The address is taken or not this machine's.
    #[error("The simulator cannot listen on {address}: choose another address, or port 0 for a free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The access log cannot be written.
    #[error("The access log {path} cannot be opened for writing: its folder must exist and be writable", path = path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A running simulator. Dropping it closes its socket and ends every connection.
#[derive(Debug)]
pub struct Simulator {
    url: Url,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Simulator {
    /// Starts a cloud on the system's clock.
    ///
    /// # Errors
    /// When a setting makes no sense, the address cannot be listened on, or the access log not be opened.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Self::start_at(settings, Clock::system()).await
    }

    /// Starts a cloud on this clock: with a manual one, nothing moves until the test moves it.
    ///
    /// # Errors
    /// As [`Simulator::start`].
    pub async fn start_at(settings: Settings, clock: Clock) -> Result<Self, StartError> {
        settings.check().map_err(StartError::Settings)?;
        let log = AccessLog::open(settings.access_log.as_deref())
            .map_err(|source| StartError::AccessLog { path: settings.access_log.clone().unwrap_or_default(), source })?;
        let unheard = |source| StartError::Listen { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(unheard)?;
        let address = listener.local_addr().map_err(unheard)?;
        let url = Url::parse(&format!("http://{address}")).map_err(|error| StartError::Settings(error.to_string()))?;
        let now = clock.now();
        let core = Core { now, cloud: Cloud::new(settings, now), tokens: Tokens::default(), faults: HttpFaults::default(), log };
        let shared = Arc::new(Shared::new(core, clock, now));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(shared.clone(), listener, stop.clone()));
        tasks.spawn(tick(shared.clone(), stop.clone()));
        Ok(Self { url, shared, stop, tasks })
    }

    /// Where it listens: Keystone is at `identity/v3` below it, Nova at `compute/v2.1`, Placement at `placement`, its own interface at `admin`.
    #[must_use]
    pub fn url(&self) -> Url {
        self.url.clone()
    }

    /// A clouds.yaml for the user `admin`, with the cloud's name and its first region.
    #[must_use]
    pub fn clouds_yaml(&self) -> String {
        let core = self.shared.now();
        let settings = &core.cloud.settings;
        // JSON strings are YAML strings, whatever stands in them.
        let text = |value: &str| serde_json::Value::from(value).to_string();
        format!(
            "# Written by sidestep-simulator: a simulated cloud, nothing to protect.\nclouds:\n  {cloud}:\n    region_name: {region}\n    identity_api_version: 3\n    auth:\n      \
             auth_url: {auth_url}\n      username: admin\n      password: {password}\n      project_name: admin\n      user_domain_name: Default\n      \
             project_domain_name: Default\n",
            cloud = text(&settings.cloud),
            region = text(settings.regions.first().map_or("RegionOne", String::as_str)),
            auth_url = text(&format!("{}identity/v3", self.url)),
            password = text(&settings.password),
        )
    }

    /// Looks at the cloud, or does something to it, at the present.
    pub fn cloud<T>(&self, look: impl FnOnce(&mut Cloud) -> T) -> T {
        look(&mut self.shared.now().cloud)
    }

    /// Every request to Keystone, Nova and Placement so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.now().log.requests().to_vec()
    }

    /// Sets a fault of the transport.
    pub fn add_fault(&self, fault: HttpFault) {
        let mut core = self.shared.now();
        let now = core.now;
        core.faults.add(fault, now);
    }

    /// Ends all faults of the transport.
    pub fn clear_faults(&self) {
        self.shared.now().faults.clear();
    }

    /// Makes every token that was given out unknown.
    pub fn revoke_tokens(&self) {
        self.shared.now().tokens.revoke_all();
    }

    /// Closes the socket and waits until nothing of it runs any more.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.shared.close();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.cancel();
        self.shared.close();
    }
}

async fn listen(shared: Arc<Shared>, listener: TcpListener, stop: CancellationToken) {
    let listener = shared.listener(listener);
    let service = serve::router(shared).into_make_service_with_connect_info::<Connection>();
    let served = tokio::select! {
        served = async { axum::serve(listener, service).await } => served,
        () = stop.cancelled() => Ok(()),
    };
    if let Err(error) = served {
        tracing::error!(%error, "The simulator's socket failed");
    }
}

/// Moves the cloud on when nobody asks, so that the log tells of what happens when it happens.
async fn tick(shared: Arc<Shared>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        drop(shared.now());
    }
}

const TICK: Duration = Duration::from_millis(250);
