//! When a client may write to Kubernetes, and who is told of each write: a layer around every request, so that none can be forgotten.
//!
//! A read passes. A write goes out only while the window is open; what has not been answered when it shuts is given up.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use tower::{BoxError, Layer, Service};

use crate::clock::Window;

/// How long before the window shuts the last write must have had its answer.
const MARGIN: Duration = Duration::from_millis(500);

/// One write and what came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// The plural of the kind, with `/status` where only that was written.
    pub resource: &'a str,
    /// `create`, `update`, `patch` or `delete`.
    pub verb: &'static str,
    /// The object's name; nothing where one is made.
    pub name: &'a str,
    /// The HTTP status of the answer, if there was one.
    pub status: Option<u16>,
}

/// When writes may go out, and who is told of them.
#[derive(Clone)]
pub struct Oversight {
    window: Window,
    about_to: Arc<dyn Fn(&Write<'_>) + Send + Sync>,
    told: Arc<dyn Fn(&Write<'_>) + Send + Sync>,
}

impl fmt::Debug for Oversight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oversight").field("window", &self.window).finish_non_exhaustive()
    }
}

impl Oversight {
    /// Writes go out only while the window is open. `about_to` is called before each, `told` after each and before anything is done with its answer.
    pub fn new(window: Window, about_to: impl Fn(&Write<'_>) + Send + Sync + 'static, told: impl Fn(&Write<'_>) + Send + Sync + 'static) -> Self {
        Self { window, about_to: Arc::new(about_to), told: Arc::new(told) }
    }
}

impl<S> Layer<S> for Oversight {
    type Service = Overseen<S>;
    fn layer(&self, inner: S) -> Overseen<S> {
        Overseen { inner, oversight: self.clone() }
    }
}

/// A client's service under [`Oversight`].
#[derive(Clone, Debug)]
pub struct Overseen<S> {
    inner: S,
    oversight: Oversight,
}

/// A write that must not go out, or not go on.
#[derive(Debug, thiserror::Error)]
#[error("this program does not lead at this moment, and only the leader writes")]
pub struct NotLeading;

impl<S, B, R> Service<Request<B>> for Overseen<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: Send,
{
    type Response = Response<R>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<R>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let write = verb(request.method()).map(|verb| (verb, target(request.uri())));
        let Some((verb, (resource, name))) = write else {
            let answer = self.inner.call(request);
            return Box::pin(async move { answer.await.map_err(Into::into) });
        };
        let Oversight { window, about_to, told } = self.oversight.clone();
        if window.left() <= MARGIN {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        about_to(&Write { resource: &resource, verb, name: &name, status: None });
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = window.within(MARGIN, answer).await;
            let status = answer.as_ref().ok().and_then(|answer| answer.as_ref().ok()).map(|answer| answer.status().as_u16());
            told(&Write { resource: &resource, verb, name: &name, status });
            answer.map_err(|_| NotLeading)?.map_err(Into::into)
        })
    }
}

fn verb(method: &Method) -> Option<&'static str> {
    match *method {
        Method::POST => Some("create"),
        Method::PUT => Some("update"),
        Method::PATCH => Some("patch"),
        Method::DELETE => Some("delete"),
        _ => None,
    }
}

/// What a path is about, and its name: `/apis/GROUP/VERSION/[namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE]]`, without a group `/api/VERSION/...`.
fn target(uri: &Uri) -> (String, String) {
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let prefix = if parts.first() == Some(&"apis") { 3 } else { 2 };
    let namespaced = parts.get(prefix) == Some(&"namespaces") && parts.len() > prefix + 2;
    let mut rest = parts.iter().skip(if namespaced { prefix + 2 } else { prefix }).copied();
    let (resource, name, subresource) = (rest.next().unwrap_or_default(), rest.next().unwrap_or_default(), rest.next());
    let resource = subresource.map_or_else(|| resource.to_owned(), |subresource| format!("{resource}/{subresource}"));
    (resource, name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::Timestamp;
    use tower::service_fn;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn kind_and_name_are_read_from_the_path() {
        for (path, kind, name) in [
            ("/apis/sidestep.dev/v1alpha1/migrationruns?fieldManager=x", "migrationruns", ""),
            ("/apis/sidestep.dev/v1alpha1/migrationruns/a/status", "migrationruns/status", "a"),
            ("/apis/events.k8s.io/v1/namespaces/default/events", "events", ""),
            ("/api/v1/namespaces/n/secrets/s", "secrets", "s"),
            ("/api/v1/namespaces/n", "namespaces", "n"),
        ] {
            assert_eq!(target(&path.parse().unwrap()), (kind.to_owned(), name.to_owned()), "{path}");
        }
    }

    #[tokio::test]
    async fn a_read_always_passes_and_a_write_only_while_the_window_is_open() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let window = Window::shut(clock.clone());
        let (sent, told) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (count, list) = (Arc::clone(&sent), Arc::clone(&told));
        let before = Arc::clone(&told);
        let oversight = Oversight::new(
            window.clone(),
            move |write| before.lock().unwrap().push(format!("about to {} {}", write.verb, write.name)),
            move |write| list.lock().unwrap().push(format!("{} {}: {:?}", write.verb, write.resource, write.status)),
        );
        let mut service = oversight.layer(service_fn(move |_: Request<()>| {
            *count.lock().unwrap() += 1;
            async { Ok::<_, BoxError>(Response::new(())) }
        }));
        let mut ask = async |method: &str| service.call(Request::builder().method(method).uri("/apis/g/v1/things/a/status").body(()).unwrap()).await;
        ask("GET").await.unwrap();
        let refused = ask("PATCH").await.unwrap_err();
        assert!(refused.is::<NotLeading>());
        assert_eq!(*sent.lock().unwrap(), 1);
        window.open(clock.moment(), Duration::from_secs(15));
        ask("PATCH").await.unwrap();
        assert_eq!(*sent.lock().unwrap(), 2);
        assert_eq!(*told.lock().unwrap(), ["about to patch a", "patch things/status: Some(200)"]);
    }
}
