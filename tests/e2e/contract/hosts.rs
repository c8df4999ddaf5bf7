//! Hosts and lists: what is out of service, what lies where, and lists longer than a page.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use http::Method;
use jiff::SignedDuration;
use sidestep::inventory::{ComputeService, HostName, NovaMigration, RowStatus, ServerId, ServiceState, ServiceStatus};
use sidestep::openstack::MigrationFilter;

use super::lab::{Initial, Lab, eventually, host};

async fn service(lab: &Lab) -> ComputeService {
    let services = lab.cloud.services().await.unwrap();
    assert_eq!(services.len(), 3);
    services.into_iter().find(|service| service.host == host(1)).unwrap()
}

pub(super) async fn disabling_sets_status_and_reason_and_enabling_clears_both(lab: &Lab) {
    let before = service(lab).await;
    assert_eq!((before.status, before.state, &before.disabled_reason, before.forced_down), (ServiceStatus::Enabled, ServiceState::Up, &None, false));
    let answered = lab.control.disable_service(&before.id, Some("one")).await.unwrap();
    assert_eq!((answered.status, answered.disabled_reason.as_deref()), (ServiceStatus::Disabled, Some("one")));
    let long = "ü".repeat(300);
    lab.control.disable_service(&before.id, Some(&long)).await.unwrap();
    let listed = service(lab).await;
    assert_eq!((listed.status, listed.state, listed.disabled_reason), (ServiceStatus::Disabled, ServiceState::Up, Some("ü".repeat(255))));
    lab.control.disable_service(&before.id, None).await.unwrap();
    assert_eq!(service(lab).await.disabled_reason, None);
    lab.control.enable_service(&before.id).await.unwrap();
    assert_eq!(service(lab).await, before);
}

async fn on(lab: &Lab, host: &HostName) -> BTreeSet<ServerId> {
    lab.cloud.servers_on(host).await.unwrap().into_iter().map(|server| server.id).collect()
}

pub(super) async fn a_list_by_host_shows_that_host_alone(lab: &Lab) {
    let here = lab.boot(&host(1), Initial::Active, 2).await;
    let there = lab.boot(&host(2), Initial::Stopped, 1).await;
    assert_eq!(on(lab, &host(1)).await, BTreeSet::from_iter(here.clone()));
    assert_eq!(on(lab, &host(2)).await, BTreeSet::from_iter(there));
    assert_eq!(on(lab, &host(3)).await, BTreeSet::new());
    assert_eq!(on(lab, &HostName::from("cmp-unknown")).await, BTreeSet::new());
    lab.delete(&here).await;
    assert_eq!(on(lab, &host(1)).await, BTreeSet::new());
    assert_eq!(lab.cloud.server(here[0]).await.unwrap(), None);
}

fn ids(rows: &[NovaMigration]) -> Vec<u64> {
    rows.iter().map(|row| row.id).collect()
}

/// Moves so many servers from the first host, one after the other; returns the rows, newest first.
async fn moved(lab: &Lab, count: usize) -> Vec<NovaMigration> {
    let mut rows = Vec::new();
    for server in lab.boot(&host(1), Initial::Active, count).await {
        rows.insert(0, lab.settled(&lab.migrate(server).await).await.0);
    }
    rows
}

pub(super) async fn lists_come_in_pages(lab: &Lab) {
    let rows = moved(lab, 3).await;
    let stay: BTreeSet<ServerId> = lab.boot(&host(1), Initial::Active, 5).await.into_iter().collect();
    for size in [1, 2, 3, 5] {
        let paged = lab.cloud.clone().with_page_size(NonZeroU32::new(size).unwrap());
        let servers: Vec<ServerId> = paged.servers_on(&host(1)).await.unwrap().into_iter().map(|server| server.id).collect();
        assert_eq!((servers.len(), BTreeSet::from_iter(servers)), (5, stay.clone()), "pages of {size}");
        assert_eq!(paged.migrations(&MigrationFilter { source_compute: Some(host(1)), ..MigrationFilter::default() }).await.unwrap(), rows, "pages of {size}");
        assert_eq!(paged.host_view(&host(1), false).await.unwrap().migrations, rows, "pages of {size}");
    }
}

pub(super) async fn rows_are_found_by_each_filter(lab: &Lab) {
    let rows = moved(lab, 2).await;
    let destination = rows[0].dest_compute.clone().unwrap();
    let to_there: Vec<NovaMigration> = rows.iter().filter(|row| row.dest_compute.as_ref() == Some(&destination)).cloned().collect();
    let find = async |filter: MigrationFilter| ids(&lab.cloud.migrations(&filter).await.unwrap());
    let (all, none) = (MigrationFilter::default, Vec::<u64>::new());
    assert_eq!(find(MigrationFilter { source_compute: Some(host(1)), ..all() }).await, ids(&rows));
    assert_eq!(find(MigrationFilter { source_compute: Some(destination.clone()), ..all() }).await, none);
    assert_eq!(find(MigrationFilter { host: Some(host(1)), ..all() }).await, ids(&rows));
    assert_eq!(find(MigrationFilter { host: Some(destination), ..all() }).await, ids(&to_there));
    assert_eq!(find(MigrationFilter { server: Some(rows[0].server), ..all() }).await, [rows[0].id]);
    assert_eq!(find(MigrationFilter { status: Some(RowStatus::Completed), ..all() }).await, ids(&rows));
    assert_eq!(find(MigrationFilter { status: Some(RowStatus::Queued), ..all() }).await, none);
    let newest = rows[0].updated_at.unwrap();
    assert!(find(MigrationFilter { changes_since: Some(newest), ..all() }).await.contains(&rows[0].id));
    assert_eq!(find(MigrationFilter { changes_since: Some(newest + SignedDuration::from_secs(1)), ..all() }).await, none);
}

pub(super) async fn an_administrator_sees_all_projects(lab: &Lab) {
    assert!(lab.cloud.sees_all_projects().await.unwrap());
    assert_eq!((lab.cloud.identity().user.as_str(), lab.cloud.microversion().to_string().as_str()), ("admin", "2.96"));
}

pub(super) async fn a_deleted_service_comes_back_under_another_id_and_in_service(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.disable(&host(1)).await;
    let before = service(lab).await;
    let path = format!("/os-services/{}", before.id);
    let refused = lab.raw.nova(Method::DELETE, &path, None).await;
    assert_eq!(
        (refused.status, refused.sentence()),
        (409, "Unable to delete compute service that is hosting instances. Migrate or delete the instances first.")
    );
    assert_eq!(lab.settled(&lab.migrate(server).await).await.0.status, RowStatus::Completed);
    assert_eq!(lab.raw.nova(Method::DELETE, &path, None).await.status, 204);
    assert!(lab.cloud.services().await.unwrap().iter().all(|service| service.host != host(1)));
    lab.restart(&host(1)).await;
    let after = eventually("the service to be there again", async || {
        let services = lab.cloud.services().await.unwrap();
        let there = services.iter().find(|service| service.host == host(1) && service.state == ServiceState::Up).cloned();
        there.ok_or_else(|| format!("{services:?}"))
    })
    .await;
    assert_ne!(after.id, before.id);
    assert_eq!((after.status, after.disabled_reason), (ServiceStatus::Enabled, None));
}

pub(super) async fn links_may_lead_elsewhere(lab: &Lab) {
    lab.links_lead_elsewhere().await;
    lab.boot(&host(1), Initial::Active, 2).await;
    let page = lab.raw.get("/servers/detail?all_tenants=1&limit=1").await;
    let next = page["servers_links"][0]["href"].as_str().unwrap();
    assert!(next.starts_with("https://proxy.invalid:1/compute/v2.1/servers/detail?") && next.contains("marker="), "{next}");
    let paged = lab.cloud.clone().with_page_size(NonZeroU32::new(1).unwrap());
    assert_eq!(paged.servers_on(&host(1)).await.unwrap().len(), 2);
}

pub(super) async fn a_host_without_nova_compute_is_down_and_its_servers_stay(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.set_compute(&host(1), false);
    eventually("the service to be down", async || {
        let found = service(lab).await;
        if found.state == ServiceState::Down { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert_eq!(service(lab).await.status, ServiceStatus::Enabled, "down is not disabled");
    assert_eq!(lab.cloud.servers_on(&host(1)).await.unwrap().iter().map(|server| server.id).collect::<Vec<_>>(), [server]);
    lab.set_compute(&host(1), true);
    eventually("the service to be up again", async || {
        let found = service(lab).await;
        if found.state == ServiceState::Up { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert_eq!(lab.settled(&lab.migrate(server).await).await.0.status, RowStatus::Completed);
}
