//! The socket: takes requests off it, does to them what a fault says, lets [`Core`] answer, and can cut a connection without a word.
//!
//! A connection is cut through a switch in the stream itself: once it is off, writing fails, the HTTP server gives the connection up, and the client sees it closed with no
//! byte of an answer, exactly as when the service dies after it did its work.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request as HttpRequest, State};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::access::Request;
use super::core::Core;
use super::faults::FaultAnswer;
use super::wire::{Ask, Reply};
use super::{keystone, nova};
use crate::clock::Clock;

/// Largest body that is read, bytes.
const MAX_BODY: usize = 1 << 20;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    clock: Clock,
    /// The wall clock when the cloud began, and the monotonic one: stamps follow the latter, so that a step of the former cannot undo what happened.
    began: (Timestamp, Duration),
    closed: Arc<AtomicBool>,
}

impl Shared {
    pub(crate) fn new(core: Core, clock: Clock, began: Timestamp) -> Self {
        let began = (began, clock.monotonic());
        Self { core: Mutex::new(core), clock, began, closed: Arc::new(AtomicBool::new(false)) }
    }

    /// The core, brought to the present.
    pub(crate) fn now(&self) -> MutexGuard<'_, Core> {
        let elapsed = self.clock.monotonic().saturating_sub(self.began.1);
        let now = super::state::later(self.began.0, elapsed);
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        core.advance(now);
        core
    }

    /// Ends every connection at its next use.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// A listener whose connections [`Shared::close`] ends.
    pub(crate) fn listener(&self, inner: TcpListener) -> CuttingListener {
        CuttingListener { inner, closed: self.closed.clone() }
    }
}

/// The routes: everything goes the same way.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

async fn handle(State(shared): State<Arc<Shared>>, ConnectInfo(connection): ConnectInfo<Connection>, request: HttpRequest) -> Response {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or_else(|| parts.uri.path().to_owned(), ToString::to_string);
    let query = parts.uri.query().unwrap_or_default();
    let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return respond(Reply::html(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let ask = Ask { method: parts.method, path: parts.uri.path().to_owned(), query, headers: parts.headers, body: body.to_vec() };
    let fault = {
        let mut core = shared.now();
        let now = core.now;
        core.faults.take(&ask.method, &target, now)
    };
    if let Some(fault) = &fault
        && fault.answer == FaultAnswer::Delay
    {
        tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    }
    let answer = fault.map(|fault| fault.answer);
    let mut core = shared.now();
    let (status, reply) = match answer {
        Some(FaultAnswer::Reset) => (0, None),
        Some(FaultAnswer::Html) => (503, Some(Reply::html(StatusCode::SERVICE_UNAVAILABLE))),
        Some(FaultAnswer::Page) => (200, Some(Reply::html(StatusCode::OK))),
        Some(FaultAnswer::Empty) => (200, Some(Reply::json(StatusCode::OK, &serde_json::json!({})))),
        Some(FaultAnswer::Status(StatusCode::UNAUTHORIZED)) => (401, Some(keystone::unauthorized())),
        Some(FaultAnswer::Status(status)) => (status.as_u16(), Some(nova::fault(status, "The service refuses by order of the simulator."))),
        Some(FaultAnswer::LoseReply) => (core.answer(&ask).status.as_u16(), None),
        Some(FaultAnswer::Delay) | None => {
            let reply = core.answer(&ask);
            (reply.status.as_u16(), Some(reply))
        }
    };
    record(&mut core, &ask, target, status, answer);
    drop(core);
    reply.map_or_else(
        || {
            connection.cut();
            respond(Reply::empty(StatusCode::OK))
        },
        respond,
    )
}

fn record(core: &mut Core, ask: &Ask, target: String, status: u16, fault: Option<FaultAnswer>) {
    tracing::debug!(method = %ask.method, path = %target, status, fault = fault.map(FaultAnswer::name), "Answered a request");
    if ask.path.starts_with("/admin") {
        return;
    }
    let at = core.now;
    core.log.add(Request { number: 0, at, method: ask.method.to_string(), path: target, status, fault: fault.map(FaultAnswer::name) });
}

fn respond(reply: Reply) -> Response {
    let mut headers = HeaderMap::new();
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = headers;
    response
}

/// A handle on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection(Arc<AtomicBool>);

impl Connection {
    fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Connected<IncomingStream<'_, CuttingListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, CuttingListener>) -> Self {
        Self(stream.io().cut.clone())
    }
}

/// Accepts connections that can be cut.
#[derive(Debug)]
pub(crate) struct CuttingListener {
    inner: TcpListener,
    closed: Arc<AtomicBool>,
}

impl Listener for CuttingListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The inner listener's accept waits and tries again when the system has no descriptors left.
        let (inner, address) = Listener::accept(&mut self.inner).await;
        (CuttableStream { inner, cut: Arc::new(AtomicBool::new(false)), closed: self.closed.clone() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// A connection with a switch.
#[derive(Debug)]
pub(crate) struct CuttableStream {
    inner: TcpStream,
    cut: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl CuttableStream {
    fn alive(&self) -> io::Result<()> {
        if self.cut.load(Ordering::Acquire) || self.closed.load(Ordering::Acquire) { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        // Asked after the read: a connection that waits for its next request while everything is closed must not serve it.
        self.alive()?;
        polled
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.alive()?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.alive()?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
