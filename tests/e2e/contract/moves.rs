//! A live migration from the POST to its end.

use std::time::Duration;

use serde_json::json;
use sidestep::clock::Clock;
use sidestep::inventory::{RowStatus, ServerStatus};
use sidestep::openstack::{Inventory, Settings};
use tokio::task::JoinSet;

use super::lab::{Initial, Lab, Whose, eventually, host};

pub(super) async fn a_post_is_answered_with_a_request_id_and_its_row_comes_later_with_a_higher_id(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    let first = lab.migrate(server).await;
    let (earlier, _) = lab.settled(&first).await;
    let second = lab.migrate(server).await;
    assert_eq!(second.highest_before, earlier.id);
    let row = lab.row_when(&second, "there", |_| true).await;
    assert!(row.id > earlier.id);
    assert_ne!(second.request_id, first.request_id);
    let action = lab.cloud.instance_action(server, &second.request_id).await.unwrap().expect("an action under the request's id");
    assert_eq!((action.action.as_str(), &action.request_id), ("live-migration", &Some(second.request_id.clone())));
    assert_eq!(lab.cloud.instance_action(server, "req-00000000-0000-0000-0000-000000000000").await.unwrap(), None);
    lab.settled(&second).await;
}

pub(super) async fn a_row_goes_forward_through_its_statuses(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.steer(Whose::Servers(server), json!({"hold": true})).await;
    let posted = lab.migrate(server).await;
    let mut seen = Vec::new();
    let order = [RowStatus::Accepted, RowStatus::Queued, RowStatus::Preparing, RowStatus::Running, RowStatus::Completed];
    while seen.last() != Some(&RowStatus::Completed) {
        let last = seen.last().cloned();
        let row = lab.row_when(&posted, "in its next status", |row| Some(&row.status) != last.as_ref()).await;
        if row.status == RowStatus::Running {
            lab.let_go(Whose::Servers(server)).await;
        }
        seen.push(row.status);
        let places: Vec<_> = seen.iter().map(|status| order.iter().position(|known| known == status)).collect();
        assert!(places.is_sorted() && !places.contains(&None), "{seen:?}");
    }
    assert!(seen.contains(&RowStatus::Running), "{seen:?}");
}

pub(super) async fn a_source_copies_one_at_a_time_and_queues_the_rest(lab: &Lab) {
    let servers = lab.boot(&host(1), Initial::Active, 3).await;
    lab.steer(Whose::Everybodys, json!({"hold": true})).await;
    let mut posted = Vec::new();
    for server in servers {
        posted.push(lab.migrate(server).await);
    }
    let statuses = async || {
        let view = lab.cloud.host_view(&host(1), false).await.unwrap();
        view.migrations.into_iter().map(|row| row.status).collect::<Vec<_>>()
    };
    let copying = |statuses: &[RowStatus]| statuses.iter().filter(|status| matches!(status, RowStatus::Preparing | RowStatus::Running)).count();
    eventually("one migration to run and two to be queued", async || {
        let statuses = statuses().await;
        assert!(copying(&statuses) <= 1, "{statuses:?}");
        let queued = statuses.iter().filter(|status| **status == RowStatus::Queued).count();
        if statuses.contains(&RowStatus::Running) && queued == 2 { Ok(()) } else { Err(format!("{statuses:?}")) }
    })
    .await;
    lab.let_go(Whose::Everybodys).await;
    eventually("all three to be completed, one at a time", async || {
        let statuses = statuses().await;
        assert!(copying(&statuses) <= 1, "{statuses:?}");
        if statuses.iter().all(|status| *status == RowStatus::Completed) { Ok(()) } else { Err(format!("{statuses:?}")) }
    })
    .await;
    for posted in &posted {
        assert_ne!(lab.settled(posted).await.1.host, Some(host(1)));
    }
}

pub(super) async fn a_server_under_way_is_on_its_source_and_holds_both_hosts(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    assert_eq!(lab.cloud.allocations(&host(1)).await.unwrap(), [server.0]);
    lab.steer(Whose::Servers(server), json!({"hold": true, "bandwidth": 64})).await;
    let posted = lab.migrate(server).await;
    let row = lab.row_when(&posted, "running", |row| row.status == RowStatus::Running).await;
    let under_way = lab.server(server).await;
    assert_eq!((under_way.status, under_way.task_state.as_deref(), under_way.host), (ServerStatus::Migrating, Some("migrating"), Some(host(1))));
    let counters = eventually("the byte counters", async || {
        let counters = lab.cloud.server_migration(server, row.id).await.unwrap();
        counters.filter(|counters| counters.memory_processed.is_some_and(|bytes| bytes > 0)).ok_or_else(|| format!("{counters:?}"))
    })
    .await;
    // A hypervisor counts a little more than the flavor's memory.
    assert!(counters.memory_total.is_some_and(|bytes| bytes >= 512 * 1024 * 1024), "{counters:?}");
    assert!(counters.memory_remaining.is_some());
    let destination = row.dest_compute.clone().expect("a running migration has a destination");
    assert_eq!(lab.cloud.allocations(&host(1)).await.unwrap(), [row.uuid]);
    assert_eq!(lab.cloud.allocations(&destination).await.unwrap(), [server.0]);

    lab.let_go(Whose::Servers(server)).await;
    lab.settled(&posted).await;
    assert_eq!(lab.cloud.server_migration(server, row.id).await.unwrap(), None);
    eventually("the source to be held by nobody", async || {
        let consumers = lab.cloud.allocations(&host(1)).await.unwrap();
        if consumers.is_empty() { Ok(()) } else { Err(format!("{consumers:?}")) }
    })
    .await;
}

pub(super) async fn success_shows_in_the_row_the_server_and_both_lists(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    let posted = lab.migrate(server).await;
    let (row, moved) = lab.settled(&posted).await;
    assert_eq!((&row.status, &row.source_compute, row.migration_type.as_str()), (&RowStatus::Completed, &Some(host(1)), "live-migration"));
    assert_eq!((moved.status, moved.power_state), (ServerStatus::Active, 1));
    assert_eq!(moved.host, row.dest_compute);
    assert_ne!(moved.host, Some(host(1)));
    let source = lab.cloud.host_view(&host(1), true).await.unwrap();
    assert_eq!((source.servers, source.consumers), (Vec::new(), Some(Vec::new())));
    let destination = lab.cloud.host_view(&row.dest_compute.clone().unwrap(), true).await.unwrap();
    assert!(destination.server(server).is_some());
    assert_eq!(destination.migrations, [row]);
}

pub(super) async fn the_inventory_follows_servers_until_nothing_is_left(lab: &Lab) {
    let servers = lab.boot(&host(1), Initial::Active, 2).await;
    lab.steer(Whose::Everybodys, json!({"hold": true, "bandwidth": 64})).await;
    let settings = Settings { active_interval: Duration::from_millis(200), ..Settings::default() };
    let (inventory, poller) = Inventory::start(lab.cloud.clone(), settings, Clock::system());
    let mut polling = JoinSet::new();
    polling.spawn(poller.run());
    inventory.watch_host(&host(1));
    for server in &servers {
        lab.migrate(*server).await;
    }
    let statuses = || {
        inventory.host(&host(1)).map(|view| view.migrations.iter().map(|row| (row.server, row.id, row.status.clone())).collect::<Vec<_>>()).unwrap_or_default()
    };
    eventually("the counters of a running migration", async || {
        let progress = statuses().iter().find_map(|(server, id, _)| inventory.progress(*server, *id));
        progress.filter(|progress| progress.counters.memory_processed.is_some_and(|bytes| bytes > 0)).ok_or_else(|| format!("{:?}, {progress:?}", statuses()))
    })
    .await;
    lab.let_go(Whose::Everybodys).await;
    eventually("both to be completed and nothing left on the source", async || {
        let view = inventory.host(&host(1)).ok_or("no view")?;
        let over = view.migrations.len() == 2 && view.migrations.iter().all(|row| row.status == RowStatus::Completed);
        if over && view.servers.is_empty() && view.consumers == Some(Vec::new()) { Ok(()) } else { Err(format!("{view:?}")) }
    })
    .await;
    assert!(inventory.last_error().is_none() && inventory.host_error(&host(1)).is_none());
}

pub(super) async fn a_paused_server_arrives_paused(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Paused).await;
    let (row, moved) = lab.settled(&lab.migrate(server).await).await;
    assert_eq!(row.status, RowStatus::Completed);
    assert_eq!((moved.status, moved.vm_state.as_str(), moved.host), (ServerStatus::Paused, "paused", row.dest_compute));
}

pub(super) async fn a_named_host_is_where_it_goes_and_the_scheduler_may_refuse_it(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    let to = |name: &str| json!({"os-migrateLive": {"host": name, "block_migration": "auto"}});
    let refused = lab.act(server, to("cmp-unknown")).await;
    assert_eq!((refused.status, refused.sentence()), (400, "Compute host cmp-unknown could not be found."));
    // The scheduler is asked about a named host too: an accepted request may still be refused, and only the action says so.
    lab.disable(&host(2)).await;
    for name in ["cmp-2", "cmp-1"] {
        let posted = lab.moved_by(server, to(name)).await;
        let (row, stayed) = lab.settled(&posted).await;
        assert_eq!((row.status, row.dest_compute, stayed.host, stayed.status), (RowStatus::Error, None, Some(host(1)), ServerStatus::Active), "{name}");
        let reason = lab.reason(&posted).await;
        assert!(reason.contains("No valid host"), "{name}: {reason}");
    }
    let (row, moved) = lab.settled(&lab.moved_by(server, to("cmp-3")).await).await;
    assert_eq!((row.status, row.dest_compute, moved.host), (RowStatus::Completed, Some(host(3)), Some(host(3))));
}
