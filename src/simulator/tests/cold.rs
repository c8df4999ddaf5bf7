//! Cold migrations, states that no live migration takes, groups, and hosts that come and go. The contract suite asserts on a real Nova what it can; here is the rest.

use super::*;
use crate::simulator::state::{Refusal, ServiceChange};
use crate::simulator::{FailPoint, GroupPolicy, GroupSettings, Knobs, MoveKind};

fn live(cloud: &mut Cloud, id: Uuid) {
    let request = cloud.request_id();
    cloud.live_migrate(id, None, &request).unwrap();
}

#[test]
fn a_cold_migration_stands_on_its_destination_before_it_is_finished_and_holds_its_source_until_it_is_confirmed() {
    let mut cloud = cloud(settings());
    let id = cloud.boot(&ServerSettings { state: VmState::Shutoff, ..server_on("cmp-1") }).unwrap();
    cloud.cold_migrate(id, Some("cmp-3"), "req-1").unwrap();
    let mut seen = Vec::new();
    for step in 0..50 {
        cloud.advance(at(step * 100));
        let now = (row(&cloud, id), server(&cloud, id).status(), server(&cloud, id).host.clone());
        if seen.last().is_none_or(|(_, last)| *last != now) {
            seen.push((step * 100, now));
        }
    }
    let expected = [
        (0, (None, "RESIZE", "cmp-1")),
        (100, (Some("pre-migrating"), "RESIZE", "cmp-1")),
        (1100, (Some("migrating"), "RESIZE", "cmp-1")),
        (2600, (Some("post-migrating"), "RESIZE", "cmp-3")),
        (3300, (Some("finished"), "VERIFY_RESIZE", "cmp-3")),
    ];
    assert_eq!(seen, expected.map(|(when, (row, status, host))| (when, (row, status, host.to_owned()))));
    let held = |cloud: &Cloud, host: &str| cloud.allocations(host).into_iter().map(|(consumer, _)| consumer).collect::<Vec<_>>();
    let migration = cloud.migrations().next().unwrap().uuid;
    assert_eq!((held(&cloud, "cmp-1"), held(&cloud, "cmp-3")), (vec![migration], vec![id]));
    cloud.confirm_resize(id, "req-2").unwrap();
    assert_eq!(row(&cloud, id), Some("confirming"));
    cloud.advance(at(10_000));
    assert_eq!((row(&cloud, id), server(&cloud, id).status()), (Some("confirmed"), "SHUTOFF"));
    assert_eq!((held(&cloud, "cmp-1"), held(&cloud, "cmp-3")), (vec![], vec![id]));
}

#[test]
fn somebody_s_resize_waits_and_goes_back() {
    let mut cloud = cloud(settings());
    let id = cloud.boot(&ServerSettings { state: VmState::Resized, resized_from: Some("cmp-1".into()), ..server_on("cmp-2") }).unwrap();
    let migration = cloud.migrations().next().unwrap();
    assert_eq!((migration.kind, migration.status, migration.source.as_str()), (MoveKind::Resize, Some("finished"), "cmp-1"));
    assert_eq!(cloud.allocations("cmp-1").len(), 1);
    cloud.revert_resize(id, "req-1").unwrap();
    assert_eq!(server(&cloud, id).status(), "REVERT_RESIZE");
    cloud.advance(at(10_000));
    assert_eq!((row(&cloud, id), server(&cloud, id).status(), server(&cloud, id).host.as_str()), (Some("reverted"), "ACTIVE", "cmp-1"));
    assert_eq!(cloud.allocations("cmp-2"), []);
    assert!(matches!(cloud.confirm_resize(id, "req-2"), Err(Refusal::Conflict(_))));
}

#[test]
fn a_row_that_is_ahead_of_its_server_leaves_it_migrating_on_the_source() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    cloud.set_knobs("default", Some(Knobs { fail: Some(FailPoint::RecordBehind), ..Knobs::default() }));
    live(&mut cloud, id);
    cloud.advance(at(3_600_000));
    assert_eq!((row(&cloud, id), server(&cloud, id).status(), server(&cloud, id).host.as_str()), (Some("completed"), "MIGRATING", "cmp-1"));
}

#[test]
fn a_network_service_that_is_away_for_a_while_fails_moves_for_that_while() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    cloud.set_knobs("default", Some(Knobs { fail: Some(FailPoint::Network), seconds: Some(60.0), ..Knobs::default() }));
    live(&mut cloud, id);
    cloud.advance(at(50_000));
    assert_eq!((row(&cloud, id), server(&cloud, id).status()), (Some("error"), "ACTIVE"));
    cloud.advance(at(60_000));
    live(&mut cloud, id);
    cloud.advance(at(80_000));
    assert_eq!(row(&cloud, id), Some("completed"));
}

#[test]
fn members_of_a_group_go_where_its_rule_lets_them() {
    for (policy, ends) in [(GroupPolicy::AntiAffinity, "error"), (GroupPolicy::SoftAntiAffinity, "completed"), (GroupPolicy::Affinity, "error")] {
        let server_groups = [("g".to_owned(), GroupSettings { policy })].into();
        let mut cloud = cloud(Settings { hosts: vec!["cmp-1".into(), "cmp-2".into()], server_groups, ..settings() });
        let hosts = if policy == GroupPolicy::Affinity { ["cmp-1", "cmp-1"] } else { ["cmp-1", "cmp-2"] };
        let ids = hosts.map(|host| cloud.boot(&ServerSettings { group: Some("g".into()), ..server_on(host) }).unwrap());
        live(&mut cloud, ids[0]);
        cloud.advance(at(60_000));
        assert_eq!(row(&cloud, ids[0]), Some(ends), "{policy:?}");
    }
}

#[test]
fn a_nova_compute_that_starts_without_a_service_row_makes_another_in_service() {
    let mut cloud = cloud(settings());
    let before = cloud.host("cmp-1").unwrap().clone();
    let disabled = ServiceChange { enabled: Some(false), reason: Some("r".into()), ..ServiceChange::default() };
    cloud.change_service(&before.service_id.to_string(), disabled).unwrap();
    cloud.delete_service("cmp-1").unwrap();
    assert!(!cloud.host("cmp-1").unwrap().is_up());
    cloud.restart_host("cmp-1").unwrap();
    let after = cloud.host("cmp-1").unwrap();
    assert_ne!((after.service_id, after.service_number), (before.service_id, before.service_number));
    assert_eq!((after.enabled, after.registered, after.disabled_reason.as_deref()), (true, true, None));
}

#[test]
fn nova_compute_enables_its_own_host_only_when_it_finds_its_own_reason() {
    let mut cloud = cloud(settings());
    let state = |cloud: &Cloud| cloud.host("cmp-1").map(|host| (host.enabled, host.disabled_reason.clone())).unwrap();
    let lost = Some("AUTO: Connection to libvirt lost: 1".to_owned());
    cloud.set_hypervisor("cmp-1", false).unwrap();
    assert_eq!(state(&cloud), (false, lost));
    cloud.set_hypervisor("cmp-1", true).unwrap();
    assert_eq!(state(&cloud), (true, None));
    cloud.set_hypervisor("cmp-1", false).unwrap();
    let id = cloud.host("cmp-1").unwrap().service_id.to_string();
    cloud.change_service(&id, ServiceChange { enabled: Some(false), reason: Some("mine".into()), ..ServiceChange::default() }).unwrap();
    cloud.set_hypervisor("cmp-1", true).unwrap();
    assert_eq!(state(&cloud), (false, Some("mine".into())));
}

#[test]
fn ten_thousand_servers_on_two_hundred_hosts_are_each_found_on_their_own() {
    let hosts: Vec<String> = (0..200).map(|number| format!("h{number:03}")).collect();
    let servers = hosts.iter().flat_map(|host| (0..50).map(|_| server_on(host))).collect();
    let mut cloud = cloud(Settings { hosts: hosts.clone(), servers, ..settings() });
    assert!(hosts.iter().all(|host| cloud.servers_on(host).count() == 50));
    let moved: Vec<Uuid> = hosts.iter().take(20).flat_map(|host| cloud.servers_on(host).take(10).map(|server| server.id).collect::<Vec<_>>()).collect();
    moved.iter().for_each(|id| live(&mut cloud, *id));
    cloud.advance(at(3_600_000));
    assert_eq!(cloud.migrations().filter(|row| row.status == Some("completed")).count(), moved.len());
    assert_eq!(hosts.iter().map(|host| cloud.servers_on(host).count()).sum::<usize>(), 10_000);
    assert!(cloud.usage().values().map(|size| size.ram_mb).sum::<u64>() == 10_000 * 512);
}
