//! The reads and writes of Nova and Placement, against recorded answers of a real Nova 34.

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::error::{FaultKind, PostOutcome};
use super::super::testing::{Asked, Canned, Reply, usual};
use super::super::{Cloud, CloudControl, MigrationFilter};
use super::NewestRows;
use crate::gate::permit_writes;
use crate::inventory::{HostName, RowStatus, ServerId, ServerStatus, ServiceId, ServiceStatus};

const SERVER: &str = "d9e4c311-8982-4a28-b0a9-ba16ac3ecf49";

fn server() -> ServerId {
    ServerId(SERVER.parse().unwrap())
}

fn host() -> HostName {
    HostName::from("cmp-1")
}

macro_rules! recorded {
    ($name:literal) => {
        Reply::recorded(include_str!(concat!("../recorded/", $name, ".json")))
    };
}

async fn answering(path: &'static str, reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (Canned, Cloud) {
    let canned = Canned::start(move |asked, before| if asked.path.contains(path) { reply(before) } else { usual() }).await;
    let cloud = canned.cloud().await;
    (canned, cloud)
}

async fn controlling(path: &'static str, reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (Canned, CloudControl) {
    let (canned, cloud) = answering(path, reply).await;
    (canned, CloudControl::new(cloud, permit_writes(true).unwrap()))
}

#[tokio::test]
async fn services_are_read() {
    let (canned, cloud) = answering("/os-services", |_| recorded!("os-services")).await;
    let services = cloud.with_page_size(std::num::NonZeroU32::MIN).services().await.unwrap();
    assert_eq!(services.iter().map(|service| service.host.as_str()).collect::<Vec<_>>(), ["cmp-1", "cmp-3", "cmp-2"]);
    assert_eq!(services[0].status, ServiceStatus::Enabled);
    assert_eq!(canned.lines(), ["GET /nova/v2.1/os-services?binary=nova-compute"]);
}

#[tokio::test]
async fn a_row_without_forced_down_or_reason_is_read() {
    let row = json!({"services": [{"id": "s", "host": "h", "status": "disabled", "state": "up", "binary": "nova-compute"}]});
    let (_canned, cloud) = answering("/os-services", move |_| Reply::ok(row.clone())).await;
    let services = cloud.services().await.unwrap();
    assert_eq!((services[0].forced_down, services[0].disabled_reason.as_deref()), (false, None));
}

#[tokio::test]
async fn a_host_in_a_cell_that_does_not_answer_is_left_out_and_the_others_are_read() {
    let there = json!({"id": "s", "host": "h", "status": "enabled", "state": "up", "binary": "nova-compute"});
    let unknown = json!({"host": "far", "status": "UNKNOWN", "binary": "nova-compute"});
    let broken = json!({"host": "odd", "status": "enabled"});
    let rows = move |before| Reply::ok(json!({"services": [there, if before == 0 { &unknown } else { &broken }]}));
    let (_canned, cloud) = answering("/os-services", rows).await;
    let services = cloud.services().await.unwrap();
    assert_eq!(services.iter().map(|service| service.host.as_str()).collect::<Vec<_>>(), ["h"]);
    assert_eq!(cloud.services().await.unwrap_err().kind(), FaultKind::Foreign);
}

#[tokio::test]
async fn servers_of_a_host_are_read_over_pages() {
    let (canned, cloud) = answering("/servers/detail", |before| match before {
        0 => recorded!("servers-detail-host"),
        _ => Reply::ok(json!({"servers": []})),
    })
    .await;
    let servers = cloud.servers_on(&host()).await.unwrap();
    assert_eq!(servers.len(), 2);
    assert_eq!((&servers[0].status, servers[0].flavor.ram, servers[0].power_state), (&ServerStatus::Active, 512, 1));
    let lines = canned.lines();
    assert_eq!(lines[0], "GET /nova/v2.1/servers/detail?all_tenants=1&host=cmp-1");
    assert!(lines[1].starts_with("GET /nova/v2.1/servers/detail?all_tenants=1&host=cmp-1&marker="), "{lines:?}");
}

#[tokio::test]
async fn a_list_in_which_the_host_was_ignored_is_no_list() {
    let (_canned, cloud) = answering("/servers/detail", |_| Reply::ok(json!({"servers": [{"id": SERVER, "status": "ACTIVE"}]}))).await;
    let fault = cloud.servers_on(&HostName::from("cmp-2")).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Foreign);
    assert!(fault.message().unwrap().contains("admin role"), "{fault}");
}

#[tokio::test]
async fn only_novas_own_404_says_that_a_server_is_gone() {
    let (_canned, cloud) = answering("/servers/", |before| if before == 0 { recorded!("err-live-migrate-unknown") } else { Reply::html(404) }).await;
    assert_eq!(cloud.server(server()).await.unwrap(), None);
    assert_eq!(cloud.server(server()).await.unwrap_err().kind(), FaultKind::Foreign);
}

#[tokio::test]
async fn migrations_are_asked_for_by_each_filter() {
    let (canned, cloud) = answering("/os-migrations", |_| Reply::ok(json!({"migrations": []}))).await;
    let filter = MigrationFilter {
        source_compute: Some(host()),
        server: Some(server()),
        status: Some(RowStatus::Running),
        changes_since: Some("2026-11-22T11:48:16Z".parse().unwrap()),
        ..MigrationFilter::default()
    };
    assert_eq!(cloud.migrations(&filter).await.unwrap(), []);
    let want = format!("source_compute=cmp-1&instance_uuid={SERVER}&status=running&changes-since=2026-11-22T11%3A48%3A16Z");
    assert_eq!(canned.asked()[0].query, want);
}

#[tokio::test]
async fn counters_are_read_and_absent_once_the_migration_is_over() {
    let (_canned, cloud) =
        answering("/migrations/1", |before| if before == 0 { recorded!("server-migration-running") } else { recorded!("err-live-migrate-unknown") }).await;
    let progress = cloud.server_migration(server(), 1).await.unwrap().unwrap();
    assert_eq!((progress.memory_total, progress.memory_remaining), (Some(2_147_483_648), Some(1_536_429_583)));
    assert_eq!(cloud.server_migration(server(), 1).await.unwrap(), None);
}

#[tokio::test]
async fn the_reason_of_a_failure_is_in_the_action() {
    let (canned, cloud) = answering("/os-instance-actions/", |_| recorded!("pre-instance-action")).await;
    let action = cloud.instance_action(server(), "req-1").await.unwrap().unwrap();
    assert_eq!(action.failure(), "simulated pre_live_migration failure on cmp-2");
    assert_eq!(canned.asked()[0].path, format!("/nova/v2.1/servers/{SERVER}/os-instance-actions/req-1"));
}

#[tokio::test]
async fn seeing_all_projects_is_proven_by_the_list_alone() {
    let (_canned, cloud) = answering("/servers", |before| match before {
        0 => Reply::ok(json!({"servers": []})),
        1 => recorded!("member-all-tenants"),
        _ => Reply::html(200),
    })
    .await;
    assert!(cloud.sees_all_projects().await.unwrap());
    assert!(!cloud.sees_all_projects().await.unwrap());
    assert!(cloud.sees_all_projects().await.is_err());
}

fn hypervisors_and(allocations: impl Fn() -> Reply + Send + Sync + 'static) -> impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static {
    move |asked, _| match asked.path.as_str() {
        path if path.ends_with("/os-hypervisors/detail") => recorded!("hypervisors-detail"),
        path if path.ends_with("/allocations") => allocations(),
        _ => usual(),
    }
}

#[tokio::test]
async fn the_consumers_of_a_host_are_found_through_its_hypervisor() {
    let canned = Canned::start(hypervisors_and(|| recorded!("placement-rp-allocations"))).await;
    let cloud = canned.cloud().await;
    let consumers = cloud.allocations(&host()).await.unwrap();
    assert_eq!(consumers.len(), 10);
    assert!(consumers.contains(&SERVER.parse().unwrap()));
    let asked = canned.asked();
    assert_eq!(asked[0].version.as_deref(), Some("compute 2.84"));
    assert_eq!(asked[1].line(), "GET /placement/resource_providers/26ee53a0-1029-5061-9ddb-8bbc43c5cf52/allocations");
    assert_eq!(asked[1].version.as_deref(), Some("placement 1.36"));
}

#[tokio::test]
async fn a_resource_provider_is_looked_for_each_time() {
    let canned = Canned::start(hypervisors_and(|| Reply::ok(json!({"allocations": {}})))).await;
    let cloud = canned.cloud().await;
    cloud.allocations(&host()).await.unwrap();
    cloud.allocations(&host()).await.unwrap();
    let looks = canned.lines().iter().filter(|line| line.contains("os-hypervisors")).count();
    assert_eq!(looks, 2);
}

#[tokio::test]
async fn a_host_without_hypervisor_is_not_an_empty_one() {
    let canned = Canned::start(hypervisors_and(|| Reply::html(200))).await;
    let cloud = canned.cloud().await;
    assert_eq!(cloud.allocations(&HostName::from("cmp-9")).await.unwrap_err().kind(), FaultKind::NotFound);
    assert_eq!(cloud.allocations(&host()).await.unwrap_err().kind(), FaultKind::Foreign);
}

#[tokio::test]
async fn disabling_sends_the_reason_cut_between_characters() {
    let (canned, control) = controlling("/os-services/", |_| recorded!("service-disable")).await;
    let id = ServiceId("764a46fc-ca86-4cf6-b90b-40afc11d1fb0".into());
    let service = control.disable_service(&id, Some(&"ü\n".repeat(200))).await.unwrap();
    assert_eq!(service.status, ServiceStatus::Disabled);
    let body = &canned.asked()[0].body;
    assert_eq!(body["status"], "disabled");
    assert_eq!(body["disabled_reason"].as_str().unwrap().chars().count(), 255);
}

#[tokio::test]
async fn an_empty_reason_is_never_sent() {
    let (canned, control) = controlling("/os-services/", |_| recorded!("service-disable")).await;
    let id = ServiceId("764a46fc-ca86-4cf6-b90b-40afc11d1fb0".into());
    control.disable_service(&id, Some("")).await.unwrap();
    control.disable_service(&id, None).await.unwrap();
    for asked in canned.asked() {
        assert_eq!(asked.body, json!({"status": "disabled"}));
    }
}

#[tokio::test]
async fn a_put_that_answers_another_state_has_failed() {
    let (_canned, control) = controlling("/os-services/", |_| recorded!("service-disable")).await;
    let id = ServiceId("764a46fc-ca86-4cf6-b90b-40afc11d1fb0".into());
    assert_eq!(control.enable_service(&id).await.unwrap_err().kind(), FaultKind::Foreign);
}

#[tokio::test]
async fn a_put_is_repeated_after_a_lost_connection() {
    let (canned, control) = controlling("/os-services/", |before| if before == 0 { Reply::Drop } else { recorded!("service-disable") }).await;
    control.disable_service(&ServiceId("764a46fc-ca86-4cf6-b90b-40afc11d1fb0".into()), Some("r")).await.unwrap();
    assert_eq!(canned.lines().len(), 2);
}

#[tokio::test]
async fn a_live_migration_is_accepted_with_its_request_id() {
    let (canned, control) = controlling("/action", |_| recorded!("live-migrate-auto")).await;
    let outcome = control.live_migrate(server(), None).await;
    assert!(matches!(&outcome, PostOutcome::Accepted { request_id: Some(id) } if id == "req-3d92908a-2cfa-4add-b905-f38b10d95671"), "{outcome:?}");
    assert_eq!(canned.asked()[0].path, format!("/nova/v2.1/servers/{SERVER}/action"));
    assert_eq!(canned.asked()[0].body, json!({"os-migrateLive": {"host": null, "block_migration": "auto"}}));
}

#[tokio::test]
async fn a_destination_is_named_and_judged_by_the_scheduler() {
    let (canned, control) = controlling("/action", |_| Reply::With(202, vec![], String::new())).await;
    drop(control.live_migrate(server(), Some(&host())).await);
    drop(control.cold_migrate(server(), Some(&host())).await);
    drop(control.cold_migrate(server(), None).await);
    let bodies: Vec<Value> = canned.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(
        bodies,
        [json!({"os-migrateLive": {"host": "cmp-1", "block_migration": "auto"}}), json!({"migrate": {"host": "cmp-1"}}), json!({"migrate": null})],
        "never by force"
    );
}

#[tokio::test]
async fn a_confirmation_and_an_abort_are_asked_for_once() {
    let (canned, control) = controlling("/servers/", |_| Reply::With(204, vec![], String::new())).await;
    assert!(matches!(control.confirm_resize(server()).await, PostOutcome::Accepted { .. }));
    assert!(matches!(control.abort_migration(server(), 7).await, PostOutcome::Accepted { .. }));
    assert_eq!(canned.asked()[0].body, json!({"confirmResize": null}));
    assert_eq!(canned.lines()[1], format!("DELETE /nova/v2.1/servers/{SERVER}/migrations/7"));
    let (canned, control) = controlling("/migrations/", |_| Reply::Json(400, json!({"badRequest": {"message": "already ended"}}))).await;
    assert!(matches!(control.abort_migration(server(), 7).await, PostOutcome::Refused(_)));
    assert_eq!(canned.lines().len(), 1);
}

#[tokio::test]
async fn a_refusal_of_nova_is_refused() {
    let (_canned, control) = controlling("/action", |_| recorded!("err-live-migrate-shutoff")).await;
    let outcome = control.live_migrate(server(), None).await;
    assert!(
        matches!(&outcome, PostOutcome::Refused(fault) if fault.kind() == FaultKind::Conflict && fault.message().unwrap().ends_with("vm_state stopped")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_post_without_a_sure_answer_is_unknown_and_never_repeated() {
    let replies: [fn() -> Reply; 5] =
        [|| Reply::Drop, || Reply::Json(500, json!({})), || Reply::Json(503, json!({})), || Reply::html(200), || Reply::Json(408, json!({}))];
    for reply in replies {
        let (canned, control) = controlling("/action", move |_| reply()).await;
        let outcome = control.live_migrate(server(), None).await;
        assert!(matches!(outcome, PostOutcome::Unknown(_)), "{outcome:?}");
        assert_eq!(canned.lines().len(), 1);
    }
}

#[tokio::test]
async fn a_401_proves_that_nothing_was_done_and_the_post_goes_out_again() {
    let (canned, control) =
        controlling("/action", |before| if before == 0 { Reply::Json(401, json!({"error": {"message": "expired"}})) } else { recorded!("live-migrate-auto") })
            .await;
    assert!(matches!(control.live_migrate(server(), None).await, PostOutcome::Accepted { .. }));
    let action = format!("POST /nova/v2.1/servers/{SERVER}/action");
    assert_eq!(canned.lines(), [&action, "POST /identity/v3/auth/tokens", &action]);
}

#[tokio::test]
async fn a_post_that_never_left_is_refused() {
    let (canned, control) = controlling("/action", |_| Reply::Drop).await;
    drop(canned);
    let outcome = control.live_migrate(server(), None).await;
    assert!(matches!(&outcome, PostOutcome::Refused(fault) if fault.kind() == FaultKind::Unreachable), "{outcome:?}");
}

#[tokio::test]
async fn a_post_for_which_there_is_no_new_token_is_refused() {
    let canned = Canned::start(|asked, before| match asked.path.as_str() {
        "/identity/v3/auth/tokens" if before == 0 && asked.token.is_none() => usual(),
        "/nova/v2.1/" | "/placement/" => usual(),
        _ => Reply::Json(401, json!({"error": {"message": "no"}})),
    })
    .await;
    let cloud = Cloud::connect(&canned.config(), crate::clock::Clock::system()).await.unwrap();
    let control = CloudControl::new(cloud, permit_writes(true).unwrap());
    let outcome = control.live_migrate(server(), None).await;
    assert!(matches!(&outcome, PostOutcome::Refused(fault) if fault.kind() == FaultKind::Unauthorized), "{outcome:?}");
}

fn row(id: u64, status: &str) -> Value {
    json!({"id": id, "uuid": Uuid::from_u128(id.into()), "instance_uuid": SERVER, "status": status, "migration_type": "live-migration", "source_compute": "cmp-1",
           "dest_compute": null, "created_at": "2026-11-22T11:48:16.000000", "updated_at": null})
}

/// The rows with these ids, newest first, in pages of ten.
fn rows_page(asked: &Asked, newest: u64, status: impl Fn(u64) -> &'static str) -> Reply {
    let marker = asked.query.split("marker=").nth(1).map_or(newest + 1, |uuid| u64::try_from(uuid.parse::<Uuid>().unwrap().as_u128()).unwrap());
    let ids: Vec<u64> = (1..marker).rev().take(10).collect();
    let mut body = json!({"migrations": ids.iter().map(|id| row(*id, status(*id))).collect::<Vec<_>>()});
    if ids.len() == 10 {
        body["migrations_links"] = json!([{"rel": "next", "href": format!("http://x/?marker={}", Uuid::from_u128((*ids.last().unwrap()).into()))}]);
    }
    Reply::ok(body)
}

#[tokio::test]
async fn a_later_look_at_a_hosts_rows_stops_where_everything_older_is_known_and_closed() {
    let canned =
        Canned::start(
            |asked, before| if asked.path.ends_with("/os-migrations") { rows_page(asked, if before < 4 { 35 } else { 37 }, |_| "completed") } else { usual() },
        )
        .await;
    let cloud = canned.cloud().await;
    let mut rows = NewestRows::default();
    rows.refresh(&cloud, &host()).await.unwrap();
    assert_eq!((canned.lines().len(), rows.to_vec().len()), (4, 35));
    rows.refresh(&cloud, &host()).await.unwrap();
    assert_eq!((canned.lines().len(), rows.to_vec().len(), rows.to_vec()[0].id), (5, 37, 37));
}

#[tokio::test]
async fn an_open_row_far_down_is_looked_at_again() {
    let canned = Canned::start(|asked, before| {
        let later = before >= 4;
        if asked.path.ends_with("/os-migrations") { rows_page(asked, 35, move |id| if id == 12 && !later { "queued" } else { "completed" }) } else { usual() }
    })
    .await;
    let cloud = canned.cloud().await;
    let mut rows = NewestRows::default();
    rows.refresh(&cloud, &host()).await.unwrap();
    let status = |rows: &NewestRows| rows.to_vec().into_iter().find(|row| row.id == 12).unwrap().status;
    assert_eq!(status(&rows), RowStatus::Queued);
    rows.refresh(&cloud, &host()).await.unwrap();
    assert_eq!((status(&rows), canned.lines().len()), (RowStatus::Completed, 7));
}

#[tokio::test]
async fn a_view_of_a_host_has_every_part() {
    let canned = Canned::start(|asked, _| match asked.path.rsplit('/').next().unwrap() {
        "os-services" => recorded!("os-services"),
        "detail" if asked.path.contains("hypervisors") => recorded!("hypervisors-detail"),
        "detail" => Reply::ok(json!({"servers": []})),
        "os-migrations" => Reply::ok(json!({"migrations": [row(1, "running")]})),
        "allocations" => recorded!("placement-rp-allocations"),
        _ => usual(),
    })
    .await;
    let cloud = canned.cloud().await;
    let view = cloud.host_view(&host(), true).await.unwrap();
    assert_eq!(view.service().unwrap().host, host());
    assert_eq!((view.servers.len(), view.migrations.len(), view.consumers.as_ref().unwrap().len()), (0, 1, 10));
    assert!(view.begun_at <= view.ended_at);
    assert_eq!(cloud.host_view(&host(), false).await.unwrap().consumers, None);
}
