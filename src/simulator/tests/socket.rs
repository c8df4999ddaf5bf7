//! What only a socket can show: connections that are cut, the list of requests, the end.

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;
use crate::simulator::{FaultAnswer, HttpFault, Simulator};

struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    async fn new(simulator: &Simulator) -> Self {
        let base = simulator.url().to_string();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let user = json!({"name": "admin", "domain": {"name": "Default"}, "password": "lab"});
        let scope = json!({"project": {"name": "admin", "domain": {"name": "Default"}}});
        let auth = json!({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}});
        let reply = http.post(format!("{base}identity/v3/auth/tokens")).json(&auth).send().await.unwrap();
        let token = reply.headers()["x-subject-token"].to_str().unwrap().to_owned();
        Self { http, base, token }
    }

    fn request(&self, method: http::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}compute/v2.1/{path}", self.base));
        request.header("x-auth-token", &self.token).header("openstack-api-version", "compute 2.104")
    }

    async fn live_migrate(&self, id: Uuid) -> reqwest::Result<reqwest::Response> {
        let body = json!({"os-migrateLive": {"host": null, "block_migration": "auto"}});
        self.request(http::Method::POST, &format!("servers/{id}/action")).json(&body).send().await
    }
}

fn fault(answer: FaultAnswer) -> HttpFault {
    HttpFault { method: None, path: Some("/compute".into()), answer, times: None, seconds: None, delay_ms: 0 }
}

#[tokio::test]
async fn a_lost_reply_is_a_closed_connection_and_the_work_is_done() {
    let simulator = Simulator::start(settings()).await.unwrap();
    let client = Client::new(&simulator).await;
    let id = simulator.cloud(|cloud| boot(cloud, "cmp-1"));
    simulator.add_fault(HttpFault { method: Some("POST".into()), ..fault(FaultAnswer::LoseReply) });
    client.live_migrate(id).await.unwrap_err();
    assert!(simulator.cloud(|cloud| server(cloud, id).task.is_some()));
    assert_eq!(client.live_migrate(id).await.unwrap().status(), StatusCode::CONFLICT, "the fault is used up");
    let last_two = simulator.requests().split_off(simulator.requests().len() - 2);
    assert_eq!(last_two.iter().map(|request| (request.status, request.fault)).collect::<Vec<_>>(), [(202, Some("lose_reply")), (409, None)]);
    assert!(last_two.iter().all(|request| request.is_write() && request.path == format!("/compute/v2.1/servers/{id}/action")));
}

#[tokio::test]
async fn a_reset_carries_nothing_out() {
    let simulator = Simulator::start(settings()).await.unwrap();
    let client = Client::new(&simulator).await;
    let id = simulator.cloud(|cloud| boot(cloud, "cmp-1"));
    // The client may try a request again by itself when a kept connection was closed: no attempt must get through.
    simulator.add_fault(HttpFault { times: Some(10), ..fault(FaultAnswer::Reset) });
    client.live_migrate(id).await.unwrap_err();
    assert!(!simulator.cloud(|cloud| server(cloud, id).task.is_some()));
    simulator.clear_faults();
    assert_eq!(client.live_migrate(id).await.unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_service_that_is_down_answers_with_a_page_until_its_time_is_over() {
    let clock = Clock::manual(at(0));
    let simulator = Simulator::start_at(settings(), clock.clone()).await.unwrap();
    let client = Client::new(&simulator).await;
    simulator.add_fault(HttpFault { seconds: Some(20.0), ..fault(FaultAnswer::Html) });
    let reply = client.request(http::Method::GET, "servers").send().await.unwrap();
    assert_eq!((reply.status(), &reply.headers()["content-type"]), (StatusCode::SERVICE_UNAVAILABLE, &"text/html".parse().unwrap()));
    let unknown = HttpFault { seconds: Some(20.0), ..fault(FaultAnswer::Status(StatusCode::UNAUTHORIZED)) };
    clock.advance(Duration::from_secs(20));
    simulator.add_fault(unknown);
    assert_eq!(client.request(http::Method::GET, "servers").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    clock.advance(Duration::from_secs(20));
    assert_eq!(client.request(http::Method::GET, "servers").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn every_request_is_listed_and_written_and_the_administration_s_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests.jsonl");
    let simulator = Simulator::start(Settings { access_log: Some(path.clone()), ..settings() }).await.unwrap();
    let client = Client::new(&simulator).await;
    client.request(http::Method::GET, "servers/detail?all_tenants=1").send().await.unwrap();
    client.http.get(format!("{}admin/state", client.base)).send().await.unwrap();
    let requests = simulator.requests();
    let listed: Vec<_> = requests.iter().map(|request| (request.number, request.method.as_str(), request.path.as_str(), request.is_write())).collect();
    assert_eq!(listed, [(1, "POST", "/identity/v3/auth/tokens", false), (2, "GET", "/compute/v2.1/servers/detail?all_tenants=1", false)]);
    let written = std::fs::read_to_string(path).unwrap();
    let written: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(written, serde_json::to_value(&requests).unwrap().as_array().unwrap().clone());
}

#[tokio::test]
async fn a_manual_clock_moves_the_cloud_only_when_told() {
    let clock = Clock::manual(at(0));
    let simulator = Simulator::start_at(settings(), clock.clone()).await.unwrap();
    let client = Client::new(&simulator).await;
    let id = simulator.cloud(|cloud| boot(cloud, "cmp-1"));
    assert_eq!(client.live_migrate(id).await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(simulator.cloud(|cloud| row(cloud, id)), None);
    clock.advance(Duration::from_secs(8));
    assert_eq!(simulator.cloud(|cloud| row(cloud, id)), Some("completed"));
}

#[tokio::test]
async fn after_the_end_a_kept_connection_is_closed_and_a_new_one_refused() {
    let simulator = Simulator::start(settings()).await.unwrap();
    let client = Client::new(&simulator).await;
    simulator.stop().await;
    client.request(http::Method::GET, "servers").send().await.unwrap_err();
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let simulator = Simulator::start(settings()).await.unwrap();
    let listen = simulator.url().socket_addrs(|| None).unwrap()[0];
    let error = Simulator::start(Settings { listen, ..settings() }).await.unwrap_err();
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
}

#[tokio::test]
async fn the_clouds_yaml_leads_to_keystone() {
    let simulator = Simulator::start(Settings { cloud: "north: 1".into(), regions: vec!["eu".into()], ..settings() }).await.unwrap();
    let parsed: Value = serde_saphyr::from_str(&simulator.clouds_yaml()).unwrap();
    let cloud = &parsed["clouds"]["north: 1"];
    assert_eq!((&cloud["region_name"], &cloud["auth"]["username"]), (&json!("eu"), &json!("admin")));
    assert_eq!(cloud["auth"]["auth_url"], format!("{}identity/v3", simulator.url()));
}
