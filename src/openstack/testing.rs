//! A cloud of canned answers for the tests of the client: Keystone and the version documents are there already, a test says what Nova and Placement answer, and reads what was asked.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

use super::clouds_yaml;
use super::{Cloud, CloudConfig};
use crate::clock::Clock;

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) token: Option<String>,
    pub(super) version: Option<String>,
    pub(super) body: Value,
}

impl Asked {
    /// `GET /nova/v2.1/servers?limit=2`
    pub(super) fn line(&self) -> String {
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        format!("{} {}{query}", self.method, self.path)
    }
}

/// What is answered.
pub(super) enum Reply {
    Json(u16, Value),
    /// With more headers.
    With(u16, Vec<(&'static str, String)>, String),
    /// The connection closes without an answer.
    Drop,
    /// No answer ever comes.
    Hang,
}

impl Reply {
    pub(super) fn ok(body: Value) -> Self {
        Self::Json(200, body)
    }

    pub(super) fn html(status: u16) -> Self {
        Self::With(status, vec![("content-type", "text/html".into())], "<html>hello</html>".into())
    }

    /// A recorded answer, `{"status": .., "headers": {..}, "body": ..}`.
    pub(super) fn recorded(text: &str) -> Self {
        let record: Value = serde_json::from_str(text).unwrap();
        let response = &record["response"];
        let request_id = response["headers"]["x-openstack-request-id"].as_str().unwrap_or_default().to_owned();
        let body = match &response["body"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let status = u16::try_from(response["status"].as_u64().unwrap()).unwrap();
        Self::With(status, vec![("x-openstack-request-id", request_id)], body)
    }
}

type Script = Box<dyn Fn(&Asked, usize) -> Reply + Send + Sync>;

/// The running server. It ends when dropped.
pub(super) struct Canned {
    pub(super) url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: JoinSet<()>,
}

struct Shared {
    url: Url,
    script: Script,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Canned {
    /// Starts one. The script gets each request that is not answered already, with how many requests of the same method and path came before it.
    pub(super) async fn start(script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared { url: url.clone(), script: Box::new(script), asked: asked.clone() });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                connections.spawn(async move { serve(stream, &shared).await });
            }
        });
        Self { url, asked, _tasks: tasks }
    }

    pub(super) fn config(&self) -> CloudConfig {
        let text = format!(
            "clouds: {{c: {{region_name: r1, api_timeout: 2, auth: {{auth_url: '{}identity', username: u, password: p, project_name: admin}}}}}}",
            self.url
        );
        clouds_yaml::parse(text.as_bytes(), "c", None).unwrap()
    }

    pub(super) async fn cloud(&self) -> Cloud {
        self.cloud_at(Clock::system()).await
    }

    pub(super) async fn cloud_at(&self, clock: Clock) -> Cloud {
        let cloud = Cloud::connect(&self.config(), clock).await.unwrap();
        self.asked.lock().unwrap().clear();
        cloud
    }

    /// What was asked since the cloud was connected.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) {
    let Some(asked) = read_request(&mut stream).await else { return };
    let before = {
        let mut log = shared.asked.lock().unwrap();
        let before = log.iter().filter(|earlier| earlier.method == asked.method && earlier.path == asked.path).count();
        log.push(asked.clone());
        before
    };
    let scripted = (shared.script)(&asked, before);
    let reply = match (asked.method.as_str(), asked.path.as_str(), scripted) {
        ("POST", "/identity/v3/auth/tokens", Reply::With(0, ..)) => token(&shared.url, before),
        ("GET", "/nova/v2.1/", Reply::With(0, ..)) => Reply::ok(json!({"version": {"id": "v2.1", "version": "2.104", "min_version": "2.1"}})),
        ("GET", "/placement/", Reply::With(0, ..)) => Reply::ok(json!({"versions": [{"id": "v1.0", "max_version": "1.39", "min_version": "1.0"}]})),
        (_, _, reply) => reply,
    };
    let (status, headers, body) = match reply {
        Reply::Json(status, body) => (status, Vec::new(), body.to_string()),
        Reply::With(status, headers, body) => (status, headers, body),
        Reply::Drop => return,
        Reply::Hang => std::future::pending().await,
    };
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// What a script says to leave a request to the answers that are there already.
pub(super) fn usual() -> Reply {
    Reply::With(0, Vec::new(), String::new())
}

/// A token of an hour; the number tells one from the next.
fn token(url: &Url, before: usize) -> Reply {
    let endpoints = |path: &str| json!([{"interface": "public", "region": "r1", "region_id": "r1", "url": format!("{url}{path}")}]);
    let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let body = json!({"token": {
        "issued_at": now.to_string(), "expires_at": (now + jiff::SignedDuration::from_hours(1)).to_string(),
        "user": {"name": "u"}, "project": {"name": "admin"},
        "catalog": [{"type": "compute", "endpoints": endpoints("nova/v2.1")}, {"type": "placement", "endpoints": endpoints("placement")}],
    }});
    Reply::With(201, vec![("x-subject-token", format!("token-{before}"))], body.to_string())
}

async fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?;
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head_end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut first = head.lines().next()?.split(' ');
    let method = first.next()?.to_owned();
    let (path, query) = first.next().map(|target| target.split_once('?').unwrap_or((target, "")))?;
    Some(Asked {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        token: header("x-auth-token"),
        version: header("openstack-api-version"),
        body: serde_json::from_slice(&bytes[head_end + 4..]).unwrap_or_default(),
    })
}
