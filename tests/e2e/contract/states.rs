//! What Nova does with servers in each state, in a group, and without its network service.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sidestep::inventory::{RowStatus, ServerId, ServerStatus};

use super::lab::{Initial, Lab, host};

fn live() -> Value {
    json!({"os-migrateLive": {"host": null, "block_migration": "auto"}})
}

pub(super) async fn only_active_and_paused_servers_are_moved_live_and_a_lock_does_not_hold_an_administrator(lab: &Lab) {
    for (initial, status, vm_state) in
        [(Initial::Suspended, "SUSPENDED", "suspended"), (Initial::Rescued, "RESCUE", "rescued"), (Initial::InError, "ERROR", "error")]
    {
        let server = lab.boot_one(&host(1), initial).await;
        let shown = lab.server(server).await;
        assert_eq!((shown.status.as_str(), shown.vm_state.as_str()), (status, vm_state));
        let refused = lab.act(server, live()).await;
        assert!(refused.status == 409 && refused.sentence().ends_with(&format!("vm_state {vm_state}")), "{refused:?}");
    }
    let locked = lab.boot_one(&host(1), Initial::Locked).await;
    assert!(lab.server(locked).await.locked);
    let (row, moved) = lab.settled(&lab.migrate(locked).await).await;
    assert_eq!((row.status, moved.locked), (RowStatus::Completed, true));
}

pub(super) async fn a_server_that_is_being_built_is_on_its_host(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Building).await;
    let listed = lab.cloud.servers_on(&host(1)).await.unwrap().remove(0);
    assert_eq!((listed.id, listed.status.as_str(), listed.task_state.as_deref()), (server, "BUILD", Some("spawning")));
    assert_eq!(lab.cloud.allocations(&host(1)).await.unwrap(), [server.0]);
    let refused = lab.act(server, live()).await;
    assert!(refused.status == 409 && refused.sentence().ends_with("vm_state building"), "{refused:?}");
}

async fn listed(lab: &Lab, query: &str) -> BTreeSet<ServerId> {
    let page = lab.raw.get(&format!("/servers/detail?all_tenants=1&host=cmp-1{query}")).await;
    page["servers"].as_array().unwrap().iter().map(|server| ServerId(server["id"].as_str().unwrap().parse().unwrap())).collect()
}

pub(super) async fn a_soft_deleted_server_is_hidden_holds_its_host_and_comes_back(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.soft_delete(server).await;
    lab.server_when(server, "soft-deleted", |server| server.status.as_str() == "SOFT_DELETED" && server.task_state.is_none()).await;
    assert_eq!(listed(lab, "").await, BTreeSet::new());
    assert_eq!(listed(lab, "&status=SOFT_DELETED").await, BTreeSet::new());
    assert_eq!(listed(lab, "&deleted=true&status=SOFT_DELETED").await, BTreeSet::from([server]));
    assert_eq!(lab.cloud.allocations(&host(1)).await.unwrap(), [server.0]);
    let refused = lab.act(server, live()).await;
    assert!(refused.status == 409 && refused.sentence().ends_with("vm_state soft-delete"), "{refused:?}");
    assert_eq!(lab.act(server, json!({"restore": null})).await.status, 202);
    lab.server_when(server, "back", |server| server.status == ServerStatus::Active && server.task_state.is_none()).await;
    assert_eq!(listed(lab, "").await, BTreeSet::from([server]));
    assert_eq!(listed(lab, "&deleted=true&status=SOFT_DELETED").await, BTreeSet::new());
}

pub(super) async fn members_of_a_group_stay_apart(lab: &Lab) {
    let mut members = Vec::new();
    for number in 1..=3 {
        members.push(lab.boot_one(&host(number), Initial::Grouped).await);
    }
    let groups = lab.raw.get("/os-server-groups?all_projects=true").await;
    let [group] = groups["server_groups"].as_array().unwrap().as_slice() else { panic!("{groups}") };
    assert_eq!(group["policy"], "anti-affinity");
    let listed: BTreeSet<ServerId> = group["members"].as_array().unwrap().iter().map(|id| ServerId(id.as_str().unwrap().parse().unwrap())).collect();
    assert_eq!(listed, BTreeSet::from_iter(members.clone()));
    let shown = lab.raw.get(&format!("/servers/{}", members[0])).await;
    assert_eq!(shown["server"]["server_groups"], json!([group["id"]]));
    let posted = lab.migrate(members[0]).await;
    let (row, stayed) = lab.settled(&posted).await;
    assert_eq!((row.status, stayed.host), (RowStatus::Error, Some(host(1))));
    assert!(lab.reason(&posted).await.contains("No valid host"));
}
