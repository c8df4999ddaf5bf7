//! Requests as they go over the wire, for what the project's own client does not ask, or not yet: a behaviour that a test asserts must not depend on how a client reads it.

use http::Method;
use reqwest::Client;
use serde_json::{Value, json};

/// A caller with an administrator's token. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Raw {
    http: Client,
    token: String,
    nova: String,
    placement: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) request_id: String,
    pub(crate) body: Value,
}

impl Raw {
    /// Logs in with an entry of a clouds.yaml.
    pub(crate) async fn log_in(clouds_yaml: &[u8], entry: &str) -> Self {
        let http = Client::builder().no_proxy().build().unwrap();
        let file: Value = serde_saphyr::from_str(std::str::from_utf8(clouds_yaml).unwrap()).unwrap();
        let auth = &file["clouds"][entry]["auth"];
        let domain = json!({"name": "Default"});
        let user = json!({"name": auth["username"], "domain": domain, "password": auth["password"]});
        let scope = json!({"project": {"name": auth["project_name"], "domain": domain}});
        let login = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}});
        let url = auth["auth_url"].as_str().unwrap().trim_end_matches('/').trim_end_matches("/v3").to_owned();
        let answer = http.post(format!("{url}/v3/auth/tokens")).json(&login).send().await.unwrap();
        let token = answer.headers()["x-subject-token"].to_str().unwrap().to_owned();
        let body: Value = answer.json().await.unwrap();
        let endpoint = |kind: &str| {
            let catalog = body["token"]["catalog"].as_array().unwrap();
            let service = catalog.iter().find(|service| service["type"] == kind).unwrap();
            let endpoint = service["endpoints"].as_array().unwrap().iter().find(|endpoint| endpoint["interface"] == "public").unwrap();
            endpoint["url"].as_str().unwrap().trim_end_matches('/').to_owned()
        };
        Self { nova: endpoint("compute"), placement: endpoint("placement"), http, token }
    }

    /// Asks Nova, in microversion 2.96.
    pub(crate) async fn nova(&self, method: Method, path: &str, body: Option<Value>) -> Answered {
        self.send(method, format!("{}{path}", self.nova), "compute 2.96", body).await
    }

    /// Asks Placement, in microversion 1.36; the answer must be 200.
    pub(crate) async fn placement(&self, path: &str) -> Value {
        let answered = self.send(Method::GET, format!("{}{path}", self.placement), "placement 1.36", None).await;
        assert_eq!(answered.status, 200, "{answered:?}");
        answered.body
    }

    /// Reads from Nova; the answer must be 200.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answered = self.nova(Method::GET, path, None).await;
        assert_eq!(answered.status, 200, "{answered:?}");
        answered.body
    }

    async fn send(&self, method: Method, url: String, version: &str, body: Option<Value>) -> Answered {
        let mut request = self.http.request(method, url).header("x-auth-token", &self.token).header("openstack-api-version", version);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let request_id = answer.headers()["x-openstack-request-id"].to_str().unwrap().to_owned();
        let text = answer.text().await.unwrap();
        Answered { status, request_id, body: serde_json::from_str(&text).unwrap_or(Value::Null) }
    }
}

impl Answered {
    /// The sentence of a refusal.
    pub(crate) fn sentence(&self) -> &str {
        let kind = self.body.as_object().and_then(|body| body.values().next());
        kind.and_then(|kind| kind["message"].as_str()).unwrap_or_default()
    }
}
