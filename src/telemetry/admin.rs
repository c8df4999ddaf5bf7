//! The admin endpoint of both programs: `/livez`, `/readyz`, `/metrics` over plain HTTP.
//!
//! It runs in a thread with a runtime of its own, so that it answers also when the program's own runtime is stuck: that is what `/livez` is for. An address that cannot be listened on is
//! tried again and does not stop the program: whoever takes the port first must not be able to silence a sentinel.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::health::{Health, Part};
use super::metrics::Catalogue;

/// How long until an address that is taken is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(5);
/// The media type of Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Where the admin endpoint listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// Nowhere.
    Off,
    /// At this address; port 0 lets the system choose one, which the log says.
    At(SocketAddr),
}

impl FromStr for AdminAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| "write ADDRESS:PORT, such as 127.0.0.1:8081 or [::]:8081, or off".to_owned())
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// The flag of both programs.
#[derive(Args, Clone, Debug)]
pub struct AdminArguments {
    /// Where /livez, /readyz and /metrics are answered, over plain HTTP: ADDRESS:PORT, or off. Without a port of your own choice (port 0) the log says which one it is.
    #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDRESS")]
    pub admin_address: AdminAddress,
}

/// The running endpoint; it ends when this is dropped.
#[derive(Debug)]
pub struct Admin {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// What the endpoint tells.
struct Told {
    health: Health,
    catalogue: Catalogue,
    refresh: Box<dyn Fn() + Send + Sync>,
}

impl Admin {
    /// Starts it. `refresh` is called before each answer of `/metrics`, for figures that are counted only when somebody asks.
    #[must_use]
    pub fn start(arguments: &AdminArguments, health: Health, catalogue: Catalogue, refresh: impl Fn() + Send + Sync + 'static) -> Self {
        let stop = CancellationToken::new();
        let AdminAddress::At(address) = arguments.admin_address else { return Self { stop, thread: None } };
        let router = router(Told { health, catalogue, refresh: Box::new(refresh) });
        let until = stop.clone();
        let thread = thread::Builder::new().name("admin".to_owned()).spawn(move || run(address, router, &until));
        if let Err(error) = &thread {
            tracing::error!(%error, "The admin endpoint has no thread to run in; the program goes on without it.");
        }
        Self { stop, thread: thread.ok() }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
        // It fails only where the thread has panicked, which was printed.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn run(address: SocketAddr, router: Router, stop: &CancellationToken) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "The admin endpoint has no runtime; the program goes on without it.");
            return;
        }
    };
    runtime.block_on(async {
        // Connections that are still open end with the runtime.
        tokio::select! {
            () = stop.cancelled() => {}
            () = listen(address, router) => {}
        }
    });
}

async fn listen(address: SocketAddr, router: Router) {
    let listener = bind(address).await;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "The admin endpoint answers.");
    }
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "The admin endpoint has ended; the program goes on without it.");
    }
}

async fn bind(address: SocketAddr) -> TcpListener {
    let mut complained = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => {
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(%address, %error, "The admin endpoint cannot listen there and tries again; name another --admin-address, or off.");
                }
                tokio::time::sleep(BIND_AGAIN).await;
            }
        }
    }
}

fn router(told: Told) -> Router {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).route("/metrics", get(metrics)).with_state(Arc::new(told))
}

async fn livez(State(told): State<Arc<Told>>) -> (StatusCode, String) {
    let stuck = told.health.stuck();
    if stuck.is_empty() {
        return (StatusCode::OK, format!("alive: {} loops and pieces of work go on\n", told.health.under_way()));
    }
    (StatusCode::SERVICE_UNAVAILABLE, lines(stuck.iter().map(|sentence| format!("stuck: {sentence}"))))
}

async fn readyz(State(told): State<Arc<Told>>) -> (StatusCode, String) {
    let parts = told.health.parts();
    let waits = parts.is_empty() || parts.values().any(|part| matches!(part, Part::Waits(_)));
    let status = if waits { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let line = |(name, part): (&String, &Part)| match part {
        Part::Ready(text) => format!("ready  {name}: {text}"),
        Part::Waits(text) => format!("waits  {name}: {text}"),
    };
    let text = if parts.is_empty() { "waits  start: the program has just begun\n".to_owned() } else { lines(parts.iter().map(line)) };
    (status, text)
}

async fn metrics(State(told): State<Arc<Told>>) -> Response {
    (told.refresh)();
    match told.catalogue.text() {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn lines(sentences: impl Iterator<Item = String>) -> String {
    sentences.map(|sentence| sentence + "\n").collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::clock::Clock;

    fn told() -> (Clock, State<Arc<Told>>) {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let health = Health::new(clock.clone());
        (clock, State(Arc::new(Told { health, catalogue: Catalogue::new(), refresh: Box::new(|| {}) })))
    }

    #[tokio::test]
    async fn a_stuck_loop_makes_the_program_no_longer_alive() {
        let (clock, state) = told();
        let pulse = state.health.pulse("reading", Duration::from_secs(30));
        assert_eq!(livez(state.clone()).await.0, StatusCode::OK);
        clock.advance(Duration::from_secs(31));
        let (status, text) = livez(state.clone()).await;
        assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "stuck: reading has not moved for 31 s (limit 30 s)\n"));
        pulse.beat();
        assert_eq!(livez(state).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn readiness_has_a_line_for_each_part_and_says_what_is_waited_for() {
        let (_, state) = told();
        assert_eq!(readyz(state.clone()).await.0, StatusCode::SERVICE_UNAVAILABLE, "nothing has begun");
        state.health.set("leader", Part::Ready("follows".into()));
        state.health.set("watches", Part::Waits("the first list of HostAlerts".into()));
        let (status, text) = readyz(state.clone()).await;
        assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "ready  leader: follows\nwaits  watches: the first list of HostAlerts\n"));
        state.health.set("watches", Part::Ready("all listed".into()));
        assert_eq!(readyz(state).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn it_answers_over_http_until_it_is_dropped() {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let arguments = AdminArguments { admin_address: AdminAddress::At(address) };
        let admin = Admin::start(&arguments, Health::new(Clock::system()), Catalogue::new(), || {});
        let url = format!("http://{address}/livez");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = loop {
            if let Ok(answer) = client.get(&url).send().await {
                break answer;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(answer.status(), 200);
        drop(admin);
        assert!(std::net::TcpListener::bind(address).is_ok() || client.get(&url).send().await.is_err());
    }

    #[test]
    fn an_address_is_a_socket_or_off() {
        assert_eq!("off".parse(), Ok(AdminAddress::Off));
        assert_eq!("127.0.0.1:1".parse::<AdminAddress>().unwrap().to_string(), "127.0.0.1:1");
        assert!("nowhere".parse::<AdminAddress>().unwrap_err().contains("or off"));
    }
}
