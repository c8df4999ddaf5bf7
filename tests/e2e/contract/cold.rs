//! Cold migration: how a stopped server leaves a host, and what is held meanwhile.

use serde_json::{Value, json};
use sidestep::inventory::{RowStatus, ServerId, ServerStatus};

use super::lab::{Initial, Lab, Posted, Whose, host};

/// Row and server when it waits for a confirmation.
async fn finished(lab: &Lab, server: ServerId, destination: Value) -> Posted {
    let posted = lab.moved_by(server, json!({"migrate": {"host": destination}})).await;
    let waiting = |status: &ServerStatus| *status == ServerStatus::Other("VERIFY_RESIZE".into());
    lab.server_when(server, "waiting for a confirmation", |server| waiting(&server.status) && server.task_state.is_none()).await;
    lab.row_when(&posted, "finished", |row| row.status.as_str() == "finished").await;
    posted
}

pub(super) async fn a_stopped_server_moves_cold_and_holds_its_source_until_it_is_confirmed(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Stopped).await;
    let posted = finished(lab, server, json!("cmp-2")).await;
    let row = lab.rows(server).await.remove(0);
    assert_eq!((row.migration_type.as_str(), &row.source_compute, &row.dest_compute), ("migration", &Some(host(1)), &Some(host(2))));
    let waiting = lab.server(server).await;
    assert_eq!((waiting.host, waiting.vm_state.as_str()), (Some(host(2)), "resized"));
    // The source's list is empty, and it is not free.
    assert_eq!(lab.cloud.servers_on(&host(1)).await.unwrap(), []);
    assert_eq!(lab.cloud.allocations(&host(1)).await.unwrap(), [row.uuid]);
    assert_eq!(lab.cloud.allocations(&host(2)).await.unwrap(), [server.0]);
    let refused = lab.act(server, json!({"os-migrateLive": {"host": null, "block_migration": "auto"}})).await;
    assert!(refused.status == 409 && refused.sentence().ends_with("vm_state resized"), "{refused:?}");

    assert_eq!(lab.act(server, json!({"confirmResize": null})).await.status, 204);
    lab.row_when(&posted, "confirmed", |row| row.status.as_str() == "confirmed").await;
    let moved = lab.server_when(server, "off", |server| server.status == ServerStatus::Shutoff).await;
    assert_eq!((moved.host, moved.power_state), (Some(host(2)), 4));
    let source = lab.cloud.host_view(&host(1), true).await.unwrap();
    assert_eq!((source.servers, source.consumers), (Vec::new(), Some(Vec::new())));
    let refused = lab.act(server, json!({"confirmResize": null})).await;
    assert!(refused.status == 409 && refused.sentence().ends_with("vm_state stopped"), "{refused:?}");
}

pub(super) async fn a_cold_migration_that_is_reverted_is_back_on_its_source(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    let posted = finished(lab, server, Value::Null).await;
    let destination = lab.server(server).await.host.unwrap();
    assert_ne!(destination, host(1));
    assert_eq!(lab.act(server, json!({"revertResize": null})).await.status, 202);
    lab.row_when(&posted, "reverted", |row| row.status.as_str() == "reverted").await;
    let back = lab.server_when(server, "running", |server| server.status == ServerStatus::Active && server.task_state.is_none()).await;
    assert_eq!(back.host, Some(host(1)));
    assert_eq!(lab.cloud.allocations(&host(1)).await.unwrap(), [server.0]);
    assert!(lab.cloud.allocations(&destination).await.unwrap().is_empty());
}

pub(super) async fn a_cold_migration_that_fails_leaves_the_server_as_it_was(lab: &Lab) {
    let servers = lab.boot(&host(1), Initial::Stopped, 2).await;
    let paused = lab.boot_one(&host(1), Initial::Paused).await;
    let refused = lab.act(paused, json!({"migrate": {"host": null}})).await;
    assert!(refused.status == 409 && refused.sentence().ends_with("vm_state paused"), "{refused:?}");

    lab.steer(Whose::Servers(servers[0]), json!({"fail": "cold"})).await;
    let kept = lab.moved_by(servers[0], json!({"migrate": null})).await;
    lab.row_when(&kept, "in error", |row| row.status == RowStatus::Error).await;
    lab.disable(&host(2)).await;
    lab.disable(&host(3)).await;
    let nowhere = lab.moved_by(servers[1], json!({"migrate": {"host": null}})).await;
    lab.row_when(&nowhere, "in error", |row| row.status == RowStatus::Error).await;
    for posted in [&kept, &nowhere] {
        let stayed = lab.server_when(posted.server, "idle", |server| server.task_state.is_none()).await;
        assert_eq!((stayed.status, stayed.host), (ServerStatus::Shutoff, Some(host(1))));
        assert_ne!(lab.reason(posted).await, "");
    }
    assert!(lab.reason(&nowhere).await.contains("No valid host"), "{}", lab.reason(&nowhere).await);
    let mut held = lab.cloud.allocations(&host(1)).await.unwrap();
    held.retain(|consumer| *consumer != paused.0);
    let mut both: Vec<_> = servers.iter().map(|server| server.0).collect();
    both.sort();
    assert_eq!(held, both);
}
