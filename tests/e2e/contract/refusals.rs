//! How Nova says no: at once, or in a row that fails, with the reason somewhere else.

use serde_json::json;
use sidestep::inventory::{RowStatus, ServerId, ServerStatus};
use sidestep::openstack::{Fault, FaultKind, PostOutcome};
use uuid::Uuid;

use super::lab::{Initial, Lab, Posted, Whose, host};

async fn refused(lab: &Lab, server: ServerId) -> Fault {
    match lab.control.live_migrate(server, None).await {
        PostOutcome::Refused(fault) => fault,
        other => panic!("the live migration of {server} was not refused: {other:?}"),
    }
}

pub(super) async fn a_stopped_server_is_refused(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Stopped).await;
    let fault = refused(lab, server).await;
    assert_eq!(fault.kind(), FaultKind::Conflict);
    assert!(fault.message().unwrap().contains("vm_state stopped"), "{fault}");
    assert_eq!(lab.rows(server).await, []);
}

pub(super) async fn an_unknown_server_is_refused(lab: &Lab) {
    let nobody = ServerId(Uuid::from_u128(0xdead));
    assert_eq!(refused(lab, nobody).await.kind(), FaultKind::NotFound);
    assert_eq!(lab.cloud.server(nobody).await.unwrap(), None);
}

pub(super) async fn a_server_under_way_is_refused(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.steer(Whose::Servers(server), json!({"hold": true})).await;
    let posted = lab.migrate(server).await;
    let fault = refused(lab, server).await;
    assert_eq!(fault.kind(), FaultKind::Conflict);
    assert!(fault.message().unwrap().contains("task_state migrating"), "{fault}");
    lab.let_go(Whose::Servers(server)).await;
    lab.settled(&posted).await;
    assert_eq!(lab.rows(server).await.len(), 1);
}

pub(super) async fn a_disabled_host_is_no_destination(lab: &Lab) {
    let servers = lab.boot(&host(1), Initial::Active, 2).await;
    // The source too, as in every drain: a disabled host still sends.
    lab.disable(&host(1)).await;
    lab.disable(&host(2)).await;
    for server in servers {
        let (row, moved) = lab.settled(&lab.migrate(server).await).await;
        assert_eq!((row.status, moved.host), (RowStatus::Completed, Some(host(3))));
    }
}

/// The row ends with this status (a failed preparation is `error` first, and `failed` when it is undone), the server is where it was and as it was.
async fn stayed(lab: &Lab, posted: &Posted, status: RowStatus) {
    lab.row_when(posted, status.as_str(), |row| row.status == status).await;
    let (_, server) = lab.settled(posted).await;
    assert_eq!((server.status, server.host), (ServerStatus::Active, Some(host(1))));
    assert_eq!(lab.cloud.allocations(&host(1)).await.unwrap(), [posted.server.0]);
}

pub(super) async fn no_valid_host_is_an_error_row_with_its_reason_in_the_action(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.disable(&host(2)).await;
    lab.disable(&host(3)).await;
    let posted = lab.migrate(server).await;
    stayed(lab, &posted, RowStatus::Error).await;
    let reason = lab.reason(&posted).await;
    assert!(reason.contains("No valid host"), "{reason}");
}

pub(super) async fn a_destination_that_refuses_is_an_error_row_with_its_reason_in_the_action(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.steer(Whose::Servers(server), json!({"fail": "check_destination"})).await;
    let posted = lab.migrate(server).await;
    stayed(lab, &posted, RowStatus::Error).await;
    assert_ne!(lab.reason(&posted).await, "");
}

pub(super) async fn a_source_that_refuses_is_an_error_row_with_its_reason_in_the_action(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.steer(Whose::Servers(server), json!({"fail": "check_source"})).await;
    let posted = lab.migrate(server).await;
    stayed(lab, &posted, RowStatus::Error).await;
    assert_ne!(lab.reason(&posted).await, "");
}

pub(super) async fn a_failure_while_preparing_leaves_the_server_on_its_source(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.steer(Whose::Servers(server), json!({"fail": "pre"})).await;
    let posted = lab.migrate(server).await;
    stayed(lab, &posted, RowStatus::Failed).await;
    assert_ne!(lab.reason(&posted).await, "");
}

pub(super) async fn a_failure_while_copying_leaves_the_server_on_its_source(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.steer(Whose::Servers(server), json!({"fail": "during", "times": 1})).await;
    let posted = lab.migrate(server).await;
    stayed(lab, &posted, RowStatus::Failed).await;
    let (row, moved) = lab.settled(&lab.migrate(server).await).await;
    assert_eq!((row.status, moved.host), (RowStatus::Completed, row.dest_compute));
}
