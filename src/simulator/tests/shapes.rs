//! What the services answer, compared with the keys, status codes, headers and sentences that real ones were recorded with. No socket: requests and answers are values.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::simulator::access::AccessLog;
use crate::simulator::core::Core;
use crate::simulator::faults::HttpFaults;
use crate::simulator::keystone::Tokens;
use crate::simulator::wire::{Ask, Reply};
use crate::simulator::{Microversion, StartError};

/// A caller with a token at a simulator without a socket.
struct Desk {
    core: Core,
    token: String,
    version: &'static str,
}

impl Desk {
    fn new(settings: Settings) -> Self {
        Self::as_user(settings, "admin")
    }

    fn as_user(settings: Settings, user: &str) -> Self {
        let cloud = cloud(settings);
        let log = AccessLog::default();
        let core = Core { now: at(0), cloud, tokens: Tokens::default(), faults: HttpFaults::default(), log };
        let mut desk = Self { core, token: String::new(), version: "2.104" };
        let reply = desk.log_in(user, "lab");
        desk.token = header(&reply, "x-subject-token").unwrap().to_owned();
        desk
    }

    fn log_in(&mut self, user: &str, password: &str) -> Reply {
        let domain = json!({"name": "Default"});
        let identity = json!({"methods": ["password"], "password": {"user": {"name": user, "domain": domain, "password": password}}});
        let auth = json!({"auth": {"identity": identity, "scope": {"project": {"name": user, "domain": domain}}}});
        self.send(Method::POST, "/identity/v3/auth/tokens", &auth)
    }

    fn send(&mut self, method: Method, path: &str, body: &Value) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert("host", "cloud:1".parse().unwrap());
        headers.insert("x-auth-token", self.token.parse().unwrap());
        let versions = format!("compute {}, placement 1.39", self.version);
        headers.insert("openstack-api-version", versions.parse().unwrap());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.core.answer(&Ask { method, path: path.into(), query, headers, body })
    }

    #[track_caller]
    fn get(&mut self, path: &str) -> Value {
        let reply = self.send(Method::GET, path, &Value::Null);
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.body);
        body(&reply)
    }

    /// Status and sentence of a refusal.
    #[track_caller]
    fn refused(&mut self, method: Method, path: &str, ask: &Value) -> (u16, String, String) {
        let reply = self.send(method, path, ask);
        let body = body(&reply);
        let (kind, inner) = body.as_object().unwrap().iter().next().unwrap();
        assert_eq!(inner["code"], reply.status.as_u16());
        (reply.status.as_u16(), kind.clone(), inner["message"].as_str().unwrap().to_owned())
    }

    fn boot(&mut self, host: &str) -> Uuid {
        boot(&mut self.core.cloud, host)
    }

    #[track_caller]
    fn live_migrate(&mut self, id: Uuid) -> Reply {
        let reply = self.send(Method::POST, &format!("/compute/v2.1/servers/{id}/action"), &MIGRATE());
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.body);
        reply
    }
}

#[expect(non_snake_case, reason = "it reads as the constant that a JSON value cannot be")]
fn MIGRATE() -> Value {
    json!({"os-migrateLive": {"host": null, "block_migration": "auto"}})
}

fn body(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap()
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
}

/// The keys of an object, sorted.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn assert_keys(value: &Value, recorded: &str) {
    let mut recorded: Vec<&str> = recorded.split_whitespace().collect();
    recorded.sort_unstable();
    assert_eq!(keys(value), recorded);
}

#[test]
fn a_service_has_the_recorded_keys_and_the_answer_the_recorded_headers() {
    let mut desk = Desk::new(settings());
    let reply = desk.send(Method::GET, "/compute/v2.1/os-services?binary=nova-compute&host=cmp-1", &Value::Null);
    let service = body(&reply)["services"][0].clone();
    assert_keys(&service, "binary host id zone status state updated_at disabled_reason forced_down");
    assert_eq!(service["updated_at"], "1970-01-01T00:00:00.000000");
    assert_eq!(header(&reply, "openstack-api-version"), Some("compute 2.104"));
    assert_eq!(header(&reply, "x-openstack-nova-api-version"), Some("2.104"));
    assert!(header(&reply, "x-openstack-request-id").unwrap().starts_with("req-"));
    assert_eq!(header(&reply, "x-openstack-request-id"), header(&reply, "x-compute-request-id"));
}

#[test]
fn a_service_is_disabled_with_a_reason_replaced_and_cleared_as_recorded() {
    let mut desk = Desk::new(settings());
    let id = desk.core.cloud.host("cmp-1").unwrap().service_id;
    let path = format!("/compute/v2.1/os-services/{id}");
    for reason in ["drain: compromised", "again"] {
        let reply = desk.send(Method::PUT, &path, &json!({"status": "disabled", "disabled_reason": reason}));
        assert_eq!((reply.status, &body(&reply)["service"]["disabled_reason"]), (StatusCode::OK, &json!(reason)));
    }
    let bad = |sentence: &str| (400, "badRequest".to_owned(), sentence.to_owned());
    assert_eq!(
        desk.refused(Method::PUT, &path, &json!({"disabled_reason": "other"})),
        bad("No updates were requested. Fields 'status' or 'forced_down' should be specified.")
    );
    assert_eq!(
        desk.refused(Method::PUT, &path, &json!({"status": "enabled", "disabled_reason": "x"})),
        bad("Specifying 'disabled_reason' with status 'enabled' is invalid.")
    );
    let provider = desk.core.cloud.host("cmp-1").unwrap().provider_id;
    let traits = desk.get(&format!("/placement/resource_providers/{provider}/traits"));
    assert!(traits["traits"].as_array().unwrap().contains(&json!("COMPUTE_STATUS_DISABLED")));
    let reply = desk.send(Method::PUT, &path, &json!({"status": "enabled"}));
    assert_eq!(body(&reply)["service"]["disabled_reason"], Value::Null);
}

#[test]
fn a_server_has_the_recorded_keys() {
    let mut desk = Desk::new(settings());
    let id = desk.boot("cmp-1");
    let recorded = "accessIPv4 accessIPv6 addresses created flavor hostId id image links metadata name status tenant_id user_id updated OS-DCF:diskConfig progress \
                    OS-EXT-AZ:availability_zone config_drive key_name OS-SRV-USG:launched_at OS-SRV-USG:terminated_at OS-EXT-SRV-ATTR:host OS-EXT-SRV-ATTR:instance_name \
                    OS-EXT-SRV-ATTR:hypervisor_hostname OS-EXT-SRV-ATTR:hostname OS-EXT-SRV-ATTR:kernel_id OS-EXT-SRV-ATTR:launch_index OS-EXT-SRV-ATTR:ramdisk_id \
                    OS-EXT-SRV-ATTR:reservation_id OS-EXT-SRV-ATTR:root_device_name OS-EXT-SRV-ATTR:user_data OS-EXT-STS:task_state OS-EXT-STS:vm_state \
                    OS-EXT-STS:power_state os-extended-volumes:volumes_attached locked description tags trusted_image_certificates locked_reason \
                    pinned_availability_zone scheduler_hints host_status";
    let listed = desk.get("/compute/v2.1/servers/detail?all_tenants=1&host=cmp-1");
    assert_keys(&listed["servers"][0], recorded);
    let shown = desk.get(&format!("/compute/v2.1/servers/{id}"));
    assert_keys(&shown["server"], &format!("{recorded} server_groups"));
    assert_keys(&shown["server"]["flavor"], "vcpus ram disk ephemeral swap original_name extra_specs");
    assert_eq!((&shown["server"]["created"], &shown["server"]["hostId"].as_str().unwrap().len()), (&json!("1970-01-01T00:00:00Z"), &56));
    assert_eq!(desk.get("/compute/v2.1/servers/detail?host=nope&all_tenants=1"), json!({"servers": []}));
}

#[test]
fn a_row_has_the_recorded_keys_in_both_lists_and_leaves_one_when_it_ends() {
    let mut desk = Desk::new(settings());
    let id = desk.boot("cmp-1");
    let reply = desk.live_migrate(id);
    assert_eq!((reply.body.as_str(), header(&reply, "content-type")), ("", Some("application/json")));
    desk.core.advance(at(200));
    let common = "id status source_compute source_node dest_compute dest_node dest_host created_at updated_at uuid user_id project_id";
    let listed = format!("{common} instance_uuid old_instance_type_id new_instance_type_id migration_type");
    let rows = desk.get(&format!("/compute/v2.1/os-migrations?instance_uuid={id}"));
    assert_keys(&rows["migrations"][0], &listed);
    assert_eq!((&rows["migrations"][0]["dest_compute"], &rows["migrations"][0]["updated_at"]), (&Value::Null, &Value::Null));
    assert_eq!(desk.get(&format!("/compute/v2.1/servers/{id}/migrations")), json!({"migrations": []}), "an accepted one is not listed there");
    desk.core.advance(at(2_500));
    let rows = desk.get("/compute/v2.1/os-migrations?host=cmp-1&status=running");
    assert_keys(&rows["migrations"][0], &format!("{listed} links"));
    let counters = "server_uuid memory_total_bytes memory_processed_bytes memory_remaining_bytes disk_total_bytes disk_processed_bytes disk_remaining_bytes";
    let shown = desk.get(&format!("/compute/v2.1/servers/{id}/migrations/1"));
    assert_keys(&shown["migration"], &format!("{common} {counters}"));
    desk.core.advance(at(20_000));
    assert_eq!(
        desk.refused(Method::GET, &format!("/compute/v2.1/servers/{id}/migrations/1"), &Value::Null),
        (404, "itemNotFound".into(), format!("In-progress live migration 1 is not found for server {id}."))
    );
    let rows = desk.get(&format!("/compute/v2.1/os-migrations?instance_uuid={id}"));
    assert_eq!((&rows["migrations"][0]["status"], &rows["migrations"][0]["dest_compute"]), (&json!("completed"), &json!("cmp-2")));
}

#[test]
fn the_action_of_the_post_s_request_id_says_why_it_failed() {
    let mut desk = Desk::new(Settings { hosts: vec!["cmp-1".into()], ..settings() });
    let id = desk.boot("cmp-1");
    let reply = desk.live_migrate(id);
    let request = header(&reply, "x-openstack-request-id").unwrap().to_owned();
    desk.core.advance(at(5_000));
    let action = desk.get(&format!("/compute/v2.1/servers/{id}/os-instance-actions/{request}"));
    let action = &action["instanceAction"];
    assert_keys(action, "action instance_uuid request_id user_id project_id start_time message updated_at events");
    assert_keys(&action["events"][0], "event start_time finish_time result traceback host hostId details");
    assert_eq!((&action["message"], &action["events"][0]["result"]), (&json!("Error"), &json!("Error")));
    assert_eq!(action["events"][0]["details"], "No valid host was found. There are not enough hosts available.");
    let listed = desk.get(&format!("/compute/v2.1/servers/{id}/os-instance-actions"));
    assert_eq!(listed["instanceActions"].as_array().unwrap().iter().map(|one| &one["action"]).collect::<Vec<_>>(), ["live-migration", "create"]);
    desk.version = "2.83";
    let action = desk.get(&format!("/compute/v2.1/servers/{id}/os-instance-actions/{request}"));
    assert!(action["instanceAction"]["events"][0].get("details").is_none(), "details came with 2.84");
}

#[test]
fn refusals_have_the_recorded_status_kind_and_sentence() {
    let mut desk = Desk::new(settings());
    let id = desk.boot("cmp-1");
    let action = format!("/compute/v2.1/servers/{id}/action");
    let nobody = Uuid::nil();
    assert_eq!(
        desk.refused(Method::POST, &format!("/compute/v2.1/servers/{nobody}/action"), &MIGRATE()),
        (404, "itemNotFound".into(), format!("Instance {nobody} could not be found."))
    );
    assert_eq!(
        desk.refused(Method::POST, &action, &json!({"os-migrateLive": {"host": "nope", "block_migration": "auto"}})),
        (400, "badRequest".into(), "Compute host nope could not be found.".into())
    );
    let (code, _, sentence) = desk.refused(Method::POST, &action, &json!({"os-migrateLive": {"block_migration": "auto"}}));
    assert!(code == 400 && sentence.ends_with("'host' is a required property"), "{sentence}");
    let (code, _, sentence) = desk.refused(Method::POST, &action, &json!({"os-migrateLive": {"host": "cmp-2", "block_migration": "auto", "force": true}}));
    assert!(code == 400 && sentence.ends_with("('force' was unexpected)"), "{sentence}");
    desk.version = "2.24";
    let (code, _, sentence) =
        desk.refused(Method::POST, &action, &json!({"os-migrateLive": {"host": null, "block_migration": "auto", "disk_over_commit": false}}));
    assert!(code == 400 && sentence.contains("'auto' is not one of"), "{sentence}");
    desk.version = "2.104";
    assert_eq!(
        desk.refused(Method::GET, "/compute/v2.1/os-migrations?hots=cmp-1", &Value::Null),
        (400, "badRequest".into(), "Additional properties are not allowed ('hots' was unexpected)".into())
    );
    desk.version = "2.74";
    desk.get("/compute/v2.1/os-migrations?hots=cmp-1");
}

#[test]
fn pages_end_with_a_link_whenever_they_are_full_and_go_on_at_its_marker() {
    let mut desk = Desk::new(Settings { max_limit: 2, ..settings() });
    let mut newest_first: Vec<Uuid> = (0..4).map(|_| desk.boot("cmp-1")).collect();
    newest_first.reverse();
    let mut path = "/compute/v2.1/servers/detail?host=cmp-1&all_tenants=1&limit=3".to_owned();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let page = desk.get(&path);
        seen.extend(page["servers"].as_array().unwrap().iter().map(|server| server["id"].as_str().unwrap().parse::<Uuid>().unwrap()));
        let Some(next) = page.pointer("/servers_links/0/href") else { break };
        let next = next.as_str().unwrap();
        assert!(next.starts_with("http://cloud:1/compute/v2.1/servers/detail?all_tenants=1&host=cmp-1&limit=3&marker="), "{next}");
        path = next.trim_start_matches("http://cloud:1").to_owned();
    }
    assert_eq!(seen, newest_first, "the last page is empty, and linked to all the same");
    assert_eq!(desk.refused(Method::GET, "/compute/v2.1/servers?marker=nope", &Value::Null).0, 400);
}

#[test]
fn rows_are_filtered_by_what_they_say_and_by_when_they_changed() {
    let mut desk = Desk::new(settings());
    let servers = [desk.boot("cmp-1"), desk.boot("cmp-2")];
    for id in servers {
        desk.live_migrate(id);
        desk.core.advance(at(desk.core.now.as_millisecond().unsigned_abs() + 20_000));
    }
    desk.live_migrate(servers[0]);
    desk.core.advance(at(40_200));
    let mut ids = |query: &str| {
        let rows = desk.get(&format!("/compute/v2.1/os-migrations?{query}"));
        rows["migrations"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(""), [3, 2, 1]);
    assert_eq!(ids("source_compute=cmp-2"), [2]);
    assert_eq!(ids("status=completed"), [2, 1]);
    assert_eq!(ids("migration_type=evacuation"), [0_u64; 0]);
    assert_eq!(ids("host=cmp-1"), [2, 1], "as destination or source");
    assert_eq!(ids("changes-since=1970-01-01T00:00:20Z"), [2], "a row that was accepted and never changed is left out");
    assert_eq!(ids("changes-since=1970-01-01T00:00:07"), [2, 1]);
}

#[test]
fn versions_are_negotiated_within_the_bounds_that_are_set() {
    let mut desk = Desk::new(Settings { max_microversion: Microversion(90), ..settings() });
    let document = desk.get("/compute/v2.1");
    assert_eq!((&document["version"]["version"], &document["version"]["min_version"]), (&json!("2.90"), &json!("2.1")));
    let sentence = "Version 2.104 is not supported by the API. Minimum is 2.1 and maximum is 2.90.";
    assert_eq!(desk.refused(Method::GET, "/compute/v2.1/servers", &Value::Null), (406, "computeFault".into(), sentence.into()));
    desk.version = "latest";
    let reply = desk.send(Method::GET, "/compute/v2.1/servers", &Value::Null);
    assert_eq!(header(&reply, "openstack-api-version"), Some("compute 2.90"));
    assert_eq!(desk.get("/placement/")["versions"][0]["max_version"], "1.39");
}

#[test]
fn placement_names_the_provider_and_who_holds_it() {
    let mut desk = Desk::new(settings());
    let id = desk.boot("cmp-1");
    let providers = desk.get("/placement/resource_providers?name=cmp-1");
    let provider = &providers["resource_providers"][0];
    assert_keys(provider, "uuid name generation links parent_provider_uuid root_provider_uuid");
    let path = format!("/placement/resource_providers/{}/allocations", provider["uuid"].as_str().unwrap());
    let held = desk.get(&path);
    assert_keys(&held, "allocations resource_provider_generation");
    assert_eq!(held["allocations"][id.to_string()], json!({"resources": {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 1}, "consumer_generation": 1}));
    desk.live_migrate(id);
    desk.core.advance(at(3_000));
    let migration = desk.core.cloud.migrations().next().unwrap().uuid;
    assert_eq!(keys(&desk.get(&path)["allocations"]), [migration.to_string()]);
    let consumer = desk.get(&format!("/placement/allocations/{migration}"));
    assert_keys(&consumer, "allocations project_id user_id consumer_generation consumer_type");
    assert_eq!(desk.get("/placement/resource_providers?name=nope"), json!({"resource_providers": []}));
}

#[test]
fn a_token_has_a_catalog_for_each_region_and_ends_when_it_expires() {
    let mut desk = Desk::new(Settings { regions: vec!["north".into(), "south".into()], token_lifetime_seconds: 60, ..settings() });
    let reply = desk.log_in("admin", "lab");
    assert_eq!(reply.status, StatusCode::CREATED);
    let token = &body(&reply)["token"];
    assert_keys(token, "methods user audit_ids expires_at issued_at project is_domain roles catalog");
    assert_eq!(token["expires_at"], "1970-01-01T00:01:00.000000Z");
    let compute = token["catalog"].as_array().unwrap().iter().find(|service| service["type"] == "compute").unwrap();
    let public: Vec<_> = compute["endpoints"].as_array().unwrap().iter().filter(|endpoint| endpoint["interface"] == "public").collect();
    assert_eq!(public.iter().map(|endpoint| endpoint["region"].as_str().unwrap()).collect::<Vec<_>>(), ["north", "south"]);
    assert_eq!(public[0]["url"], "http://cloud:1/compute/v2.1");
    desk.get("/compute/v2.1/servers");
    desk.core.advance(at(60_000));
    for path in ["/compute/v2.1/servers", "/placement/resource_providers"] {
        let reply = desk.send(Method::GET, path, &Value::Null);
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert_eq!(header(&reply, "www-authenticate"), Some("Keystone uri=\"http://cloud:1/identity/v3\""));
        assert_eq!(body(&reply)["error"]["title"], "Unauthorized");
    }
}

#[test]
fn a_wrong_password_or_a_foreign_project_is_401_and_an_application_credential_needs_no_scope() {
    let mut desk = Desk::new(settings());
    assert_eq!(desk.log_in("admin", "wrong").status, StatusCode::UNAUTHORIZED);
    assert_eq!(desk.log_in("nobody", "lab").status, StatusCode::UNAUTHORIZED);
    let credential = json!({"methods": ["application_credential"], "application_credential": {"id": "sidestep", "secret": "lab"}});
    let reply = desk.send(Method::POST, "/identity/v3/auth/tokens", &json!({"auth": {"identity": credential}}));
    assert_eq!((reply.status, &body(&reply)["token"]["project"]["name"]), (StatusCode::CREATED, &json!("admin")));
    assert_eq!(desk.send(Method::POST, "/identity/v3/auth/tokens", &json!({"auth": {}})).status, StatusCode::BAD_REQUEST);
}

#[test]
fn without_the_role_nothing_of_an_administrator_s_is_answered() {
    let mut desk = Desk::as_user(settings(), "demo");
    let id = desk.boot("cmp-1");
    for path in ["os-services", "os-migrations", "os-hypervisors", "servers/detail?all_tenants=1"] {
        let (code, kind, sentence) = desk.refused(Method::GET, &format!("/compute/v2.1/{path}"), &Value::Null);
        assert_eq!((code, kind.as_str()), (403, "forbidden"), "{path}: {sentence}");
    }
    assert_eq!(desk.refused(Method::POST, &format!("/compute/v2.1/servers/{id}/action"), &MIGRATE()).0, 403);
    let own = desk.get("/compute/v2.1/servers/detail?host=nope");
    assert_eq!(own["servers"][0]["id"], json!(id), "his filter by host is left out");
    assert!(own["servers"][0].get("OS-EXT-SRV-ATTR:host").is_none());
}

#[test]
fn the_administration_sets_what_it_says_and_refuses_what_it_does_not_know() {
    let mut desk = Desk::new(settings());
    let made = desk.send(Method::POST, "/admin/servers", &json!({"name": "late", "host": "cmp-2", "state": "PAUSED", "ram_mb": 1024}));
    assert_eq!(made.status, StatusCode::CREATED);
    let id: Uuid = body(&made)["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(server(&desk.core.cloud, id).status(), "PAUSED");
    let mut status = |method, path: &str, body: Value| desk.send(method, path, &body).status.as_u16();
    assert_eq!(status(Method::PUT, &format!("/admin/faults/{id}"), json!({"fail": "pre", "times": 1})), 204);
    assert_eq!(status(Method::PUT, "/admin/faults/host-nope", json!({"hold": true})), 404);
    assert_eq!(status(Method::PUT, "/admin/faults/default", json!({"hodl": true})), 400);
    assert_eq!(status(Method::PUT, "/admin/hosts/cmp-3", json!({"state": "down"})), 204);
    assert_eq!(status(Method::PUT, "/admin/settings", json!({"max_limit": 3, "timing": {"checks_ms": 7}})), 204);
    assert_eq!(status(Method::PUT, "/admin/settings", json!({"speed": 0})), 400);
    assert_eq!(status(Method::PUT, "/admin/settings", json!({"hosts": []})), 400);
    assert_eq!(status(Method::PATCH, &format!("/admin/servers/{id}"), json!({"state": "SHUTOFF", "locked": true})), 204);
    assert_eq!(status(Method::POST, &format!("/admin/servers/{id}/confirm"), Value::Null), 409);
    assert_eq!(status(Method::POST, &format!("/admin/servers/{id}/explode"), Value::Null), 404);
    assert_eq!(status(Method::PUT, "/admin/hosts/cmp-2", json!({"hypervisor": "lost"})), 204);
    assert_eq!(status(Method::DELETE, "/admin/hosts/cmp-1/service", Value::Null), 204);
    assert_eq!(status(Method::POST, "/admin/hosts/cmp-1/restart", Value::Null), 204);
    assert_eq!(status(Method::PUT, "/admin/settings", json!({"aggregates": {"pool": {"hosts": ["cmp-3"]}}})), 204);
    assert_eq!(status(Method::PUT, "/admin/settings", json!({"aggregates": {"pool": {"hosts": ["nope"]}}})), 400);
    assert_eq!(status(Method::DELETE, &format!("/admin/servers/{id}"), Value::Null), 204);
    assert_eq!(status(Method::DELETE, &format!("/admin/servers/{id}"), Value::Null), 404);
    let settings = desk.get("/admin/settings");
    assert_eq!((&settings["max_limit"], &settings["timing"]["checks_ms"], &settings["timing"]["row_ms"]), (&json!(3), &json!(7), &json!(100)));
    assert_eq!(desk.get("/compute/v2.1/os-services?host=cmp-3")["services"][0]["state"], "down");
    assert_keys(&desk.get("/admin/state"), "hosts servers migrations");
}

#[test]
fn services_have_the_shape_of_their_version() {
    let mut desk = Desk::new(settings());
    for (version, id_is_a_number, forced_down) in [("2.104", false, true), ("2.53", false, true), ("2.52", true, true), ("2.10", true, false)] {
        desk.version = version;
        let service = desk.get("/compute/v2.1/os-services?host=cmp-1")["services"][0].clone();
        assert_eq!((service["id"].is_number(), service.get("forced_down").is_some()), (id_is_a_number, forced_down), "{version}");
    }
}

#[test]
fn a_server_shows_its_addresses_and_one_on_a_volume_no_image() {
    let mut desk = Desk::new(settings());
    let wanted = ServerSettings { volume: true, addresses: vec!["10.0.4.7".into(), "fd00::7".into()], ..server_on("cmp-1") };
    desk.core.cloud.boot(&wanted).unwrap();
    let server = desk.get("/compute/v2.1/servers/detail?all_tenants=1")["servers"][0].clone();
    assert_eq!((&server["image"], server["os-extended-volumes:volumes_attached"].as_array().unwrap().len()), (&json!(""), 1));
    assert_keys(&server["addresses"]["lab"][0], "version addr OS-EXT-IPS:type OS-EXT-IPS-MAC:mac_addr");
    assert_eq!((&server["addresses"]["lab"][0]["addr"], &server["addresses"]["lab"][1]["version"]), (&json!("10.0.4.7"), &json!(6)));
}

#[test]
fn candidates_are_asked_for_by_resources_and_traits_and_nothing_else() {
    let host_settings = [("cmp-2".to_owned(), crate::simulator::HostSettings { memory_mb: Some(256), ..Default::default() })].into();
    let mut desk = Desk::new(Settings { host_settings, ..settings() });
    let candidates = desk.get("/placement/allocation_candidates?resources=VCPU:1,MEMORY_MB:512");
    assert_eq!(candidates["provider_summaries"].as_object().unwrap().len(), 2, "cmp-2 is too small");
    let summary = candidates["provider_summaries"].as_object().unwrap().values().next().unwrap();
    assert_keys(summary, "resources traits parent_provider_uuid root_provider_uuid");
    assert_keys(&summary["resources"], "VCPU MEMORY_MB DISK_GB");
    assert_keys(&candidates["allocation_requests"][0], "allocations mappings");
    for query in ["", "?resources=VCPU", "?resources=VCPU:0", "?resources=FOO:1", "?resources=VCPU:1&member_of=x"] {
        assert_eq!(desk.send(Method::GET, &format!("/placement/allocation_candidates{query}"), &Value::Null).status.as_u16(), 400, "{query}");
    }
}

#[test]
fn a_start_error_names_what_is_wrong() {
    let error = StartError::Settings(Settings { speed: -1.0, ..settings() }.check().unwrap_err());
    assert!(error.to_string().contains("speed is -1"), "{error}");
}
