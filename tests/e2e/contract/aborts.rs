//! A live migration that is called off.

use http::Method;
use serde_json::json;
use sidestep::inventory::{NovaMigration, RowStatus, ServerStatus};

use super::lab::{Initial, Lab, Posted, Whose, host};
use super::raw::Answered;

async fn abort(lab: &Lab, row: &NovaMigration) -> Answered {
    lab.raw.nova(Method::DELETE, &format!("/servers/{}/migrations/{}", row.server, row.id), None).await
}

/// A held copy.
async fn copying(lab: &Lab, knobs: serde_json::Value) -> (Posted, NovaMigration) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.steer(Whose::Servers(server), knobs).await;
    let posted = lab.migrate(server).await;
    let row = lab.row_when(&posted, "running", |row| row.status == RowStatus::Running).await;
    (posted, row)
}

pub(super) async fn an_aborted_migration_that_was_queued_is_cancelled_and_stays_so(lab: &Lab) {
    let (held, _) = copying(lab, json!({"hold": true})).await;
    let server = lab.boot_one(&host(1), Initial::Active).await;
    let posted = lab.migrate(server).await;
    let queued = lab.row_when(&posted, "queued", |row| row.status == RowStatus::Queued).await;
    assert_eq!(abort(lab, &queued).await.status, 202);
    let (row, stayed) = lab.settled(&posted).await;
    assert_eq!((row.status, stayed.status, stayed.host), (RowStatus::Cancelled, ServerStatus::Active, Some(host(1))));
    // It does not begin when the slot is free, and the server may be moved again.
    lab.let_go(Whose::Servers(held.server)).await;
    lab.settled(&held).await;
    assert_eq!(lab.rows(server).await[0].status, RowStatus::Cancelled);
    assert_eq!(lab.settled(&lab.migrate(server).await).await.0.status, RowStatus::Completed);
}

pub(super) async fn an_aborted_copy_is_cancelled_and_the_server_as_before(lab: &Lab) {
    let (posted, row) = copying(lab, json!({"hold": true})).await;
    assert_eq!(abort(lab, &row).await.status, 202);
    let (row, stayed) = lab.settled(&posted).await;
    assert_eq!((row.status, stayed.status, stayed.host, stayed.power_state), (RowStatus::Cancelled, ServerStatus::Active, Some(host(1)), 1));
    assert_eq!(lab.cloud.allocations(&host(1)).await.unwrap(), [posted.server.0]);
    assert!(lab.cloud.allocations(row.dest_compute.as_ref().unwrap()).await.unwrap().is_empty());
}

pub(super) async fn where_the_driver_raises_after_a_rollback_an_aborted_copy_ends_in_error_and_the_guest_runs_on(lab: &Lab) {
    let (posted, row) = copying(lab, json!({"hold": true, "after_rollback": "error"})).await;
    assert_eq!(abort(lab, &row).await.status, 202);
    // `cancelled` and ACTIVE are seen for a moment; they are not the end.
    lab.row_when(&posted, "in error", |row| row.status == RowStatus::Error).await;
    let broken = lab.server_when(posted.server, "in ERROR", |server| server.status == ServerStatus::Error && server.task_state.is_none()).await;
    assert_eq!((broken.host, broken.power_state), (Some(host(1)), 1));
    let refused = lab.act(posted.server, json!({"os-migrateLive": {"host": null, "block_migration": "auto"}})).await;
    assert_eq!(refused.status, 409);
    assert!(refused.sentence().ends_with("vm_state error"), "{refused:?}");
    assert_eq!(lab.act(posted.server, json!({"os-resetState": {"state": "active"}})).await.status, 202);
    lab.let_go(Whose::Servers(posted.server)).await;
    assert_eq!(lab.settled(&lab.migrate(posted.server).await).await.0.status, RowStatus::Completed);
}

pub(super) async fn what_is_not_under_way_cannot_be_aborted(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    let (row, _) = lab.settled(&lab.migrate(server).await).await;
    let refused = abort(lab, &row).await;
    assert_eq!(refused.status, 409);
    assert!(refused.sentence().contains("is in an invalid state for 'abort live migration'"), "{refused:?}");
}
