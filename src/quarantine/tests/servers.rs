//! What each state of a server means, and what lies on a host behind the list of its servers.

use super::*;
use crate::api::quarantine::{LockedServers, StoppedServers};
use crate::quarantine::Wait;

/// What becomes of one server in this state.
fn verdict(status: &str, task: Option<&str>) -> Result<ResidentReason, Phase> {
    let mut one = server(1, status);
    one.task_state = task.map(str::to_owned);
    let mut world = World::new().with_servers(vec![one]);
    world.steps(2);
    world.status.residents.first().map(|resident| resident.reason).ok_or_else(|| world.status.phase.unwrap())
}

#[test]
fn every_state_of_a_server_has_a_stated_treatment() {
    let draining = Err(Phase::Draining);
    for (status, task, expected) in [
        ("ACTIVE", None, draining),
        ("PAUSED", None, draining),
        ("ACTIVE", Some("rebooting"), draining),
        ("MIGRATING", Some("migrating"), draining),
        ("BUILD", Some("spawning"), draining),
        ("BUILD", None, draining),
        ("REBUILD", Some("rebuilding"), draining),
        ("RESIZE", Some("resize_migrating"), draining),
        ("SHUTOFF", None, draining),
        ("SHUTOFF", Some("powering-on"), draining),
        ("SUSPENDED", None, Ok(ResidentReason::StateNotMovable)),
        ("RESCUE", None, Ok(ResidentReason::StateNotMovable)),
        ("SHELVED", None, Ok(ResidentReason::StateNotMovable)),
        ("UNKNOWN", None, Ok(ResidentReason::StateNotMovable)),
        ("SOMETHING_NEW", None, Ok(ResidentReason::StateNotMovable)),
        ("VERIFY_RESIZE", None, Ok(ResidentReason::PendingResize)),
        ("SOFT_DELETED", None, Ok(ResidentReason::SoftDeleted)),
        ("ERROR", None, Ok(ResidentReason::ServerInError)),
    ] {
        assert_eq!(verdict(status, task), expected, "{status} {task:?}");
    }
}

#[test]
fn every_state_that_keeps_a_server_says_what_gets_it_out() {
    for (status, words) in [
        ("SUSPENDED", "server resume"),
        ("RESCUE", "server unrescue"),
        ("SHELVED", "Unshelve it"),
        ("VERIFY_RESIZE", "confirms only moves that it started"),
        ("ERROR", "was so before the drain"),
    ] {
        let mut world = World::new().with_servers(vec![server(1, status)]);
        world.steps(2);
        let resident = &world.status.residents[0];
        assert!(resident.message.contains(words), "{status}: {}", resident.message);
        assert!(resident.message.chars().count() <= 512);
    }
}

#[test]
fn what_nova_is_busy_with_is_a_resident_only_at_the_deadline() {
    let mut one = server(1, "BUILD");
    one.task_state = Some("spawning".into());
    let mut world = World::new().with_servers(vec![one]);
    world.steps(2);
    world.now += 1900;
    world.step();
    assert_eq!(world.status.residents[0].reason, ResidentReason::Busy);
    assert!(world.status.residents[0].message.contains("spawning"));
}

#[test]
fn a_locked_server_stays_unless_the_spec_says_otherwise() {
    let mut one = server(1, "ACTIVE");
    one.locked = true;
    let mut world = World::new().with_servers(vec![one, server(2, "ACTIVE")]);
    world.step();
    assert_eq!(named(&world.step()), vec![(2, 1)]);
    assert_eq!(world.status.residents[0].reason, ResidentReason::Locked);
    world.spec.migration.locked_servers = LockedServers::Migrate;
    assert_eq!(named(&world.step()), vec![(1, 1), (2, 1)]);
}

#[test]
fn a_soft_deleted_server_keeps_the_host_from_being_empty_and_is_a_late_arrival_when_it_is_restored() {
    let mut world = World::new();
    world.soft_deleted = vec![server(7, "SOFT_DELETED")];
    world.consumers = Some(vec![id(7).0]);
    world.steps(3);
    world.assert_phase(Phase::Blocked);
    let [resident] = &world.status.residents[..] else { panic!("{:?}", world.status.residents) };
    assert_eq!((resident.reason, resident.name.as_str()), (ResidentReason::SoftDeleted, "vm-7"));
    world.soft_deleted.clear();
    world.servers = vec![server(7, "ACTIVE")];
    assert_eq!(named(&world.step()), vec![(7, 1)]);
    world.assert_phase(Phase::Draining);
}

fn resize(n: u128, status: &str) -> NovaMigration {
    NovaMigration {
        id: 5,
        uuid: uuid::Uuid::from_u128(500),
        server: id(n),
        status: status.to_owned().into(),
        migration_type: "resize".into(),
        source_compute: Some("cmp-1".into()),
        dest_compute: Some("cmp-2".into()),
        created_at: at(1),
        updated_at: None,
    }
}

#[test]
fn a_resize_that_waits_for_its_owner_is_a_resident_until_it_is_confirmed() {
    let mut world = World::new();
    world.migrations = vec![resize(7, "finished")];
    world.consumers = Some(vec![uuid::Uuid::from_u128(500)]);
    world.steps(3);
    world.assert_phase(Phase::Blocked);
    let [resident] = &world.status.residents[..] else { panic!("{:?}", world.status.residents) };
    assert_eq!((resident.reason, resident.server.as_str()), (ResidentReason::PendingResize, id(7).to_string().as_str()));
    world.migrations = vec![resize(7, "confirmed")];
    world.consumers = Some(vec![]);
    world.steps(2);
    world.assert_phase(Phase::Empty);
}

#[test]
fn a_finished_record_without_an_allocation_is_an_old_one_that_nobody_closed() {
    let mut world = World::new();
    world.migrations = vec![resize(7, "finished")];
    world.steps(3);
    world.assert_phase(Phase::Empty);
}

#[test]
fn a_cold_move_of_our_own_that_is_not_confirmed_yet_is_no_pending_resize() {
    let mut world = World::new();
    world.steps(2);
    world.migrations = vec![resize(7, "finished")];
    world.consumers = Some(vec![uuid::Uuid::from_u128(500)]);
    world.run(7, RunState::Open);
    world.runs[0].rows = vec![5];
    world.steps(3);
    world.assert_phase(Phase::Draining);
    assert!(world.status.residents.is_empty());
}

#[test]
fn an_allocation_of_no_listed_server_is_found_also_while_residents_are_left() {
    let mut world = World::new().with_servers(vec![server(1, "SUSPENDED")]);
    world.soft_deleted = vec![server(7, "SOFT_DELETED")];
    world.consumers = Some(vec![id(1).0, id(7).0]);
    world.steps(3);
    let reasons: Vec<_> = world.status.residents.iter().map(|resident| resident.reason).collect();
    assert_eq!(reasons, [ResidentReason::StateNotMovable, ResidentReason::SoftDeleted]);
}

#[test]
fn a_server_that_is_shut_off_stays_where_the_spec_says_so() {
    let mut world = World::new().with_servers(vec![server(1, "SHUTOFF")]);
    world.spec.migration.stopped_servers = StoppedServers::Report;
    world.steps(2);
    let resident = &world.status.residents[0];
    assert!(resident.reason == ResidentReason::StateNotMovable && resident.message.contains("Start it"), "{resident:?}");
}

#[test]
fn what_a_run_waits_for_is_told_with_the_time_of_the_next_attempt() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE"), server(2, "ACTIVE")]);
    world.steps(2);
    let wait = |reason, until: Option<i64>| Some(Wait { reason, message: "why".into(), until: until.map(at) });
    world.run(1, RunState::Pending);
    world.runs[0].wait = wait(ResidentReason::DependencyDown, Some(200));
    world.run(2, RunState::Pending);
    world.runs[1].wait = wait(ResidentReason::SourceDown, None);
    world.step();
    world.assert_phase(Phase::Draining);
    let told: Vec<_> = world.status.residents.iter().map(|resident| (resident.reason, resident.next_attempt.as_ref().map(|time| time.0))).collect();
    assert_eq!(told, [(ResidentReason::DependencyDown, Some(at(200))), (ResidentReason::SourceDown, None)]);
}

#[test]
fn what_a_person_aborted_stays_until_a_retry() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Failed("Aborted".into(), "aborted by a person".into()));
    world.step();
    assert_eq!(world.status.residents[0].reason, ResidentReason::Aborted);
    world.spec.retry_token = "again".into();
    assert_eq!(named(&world.step()), vec![(1, 2)]);
}

/// A row of server 7 from cmp-2 to this host.
fn arriving(status: &str) -> NovaMigration {
    let (from, to) = (Some("cmp-2".into()), Some("cmp-1".into()));
    NovaMigration { source_compute: from, dest_compute: to, migration_type: "live-migration".into(), ..resize(7, status) }
}

#[test]
fn an_open_row_whose_server_nova_does_not_work_on_keeps_no_host_from_being_empty() {
    let idle = Server { host: Some("cmp-3".into()), ..server(7, "ACTIVE") };
    for asked in [None, Some(idle)] {
        let mut world = World::new();
        world.migrations = vec![arriving("running")];
        world.asked.insert(id(7), asked);
        world.steps(5);
        world.assert_phase(Phase::Empty);
    }
}

#[test]
fn a_row_that_nova_works_on_or_that_was_not_asked_about_is_waited_for_and_named_after_the_deadline() {
    let moving = Server { host: Some("cmp-2".into()), task_state: Some("migrating".into()), ..server(7, "MIGRATING") };
    let here = server(7, "ACTIVE");
    for asked in [None, Some(moving), Some(here)] {
        let mut world = World::new();
        world.migrations = vec![arriving("running")];
        world.asked.extend(asked.map(|server| (id(7), Some(server))));
        world.steps(5);
        world.assert_phase(Phase::Draining);
        world.now += 1900;
        world.step();
        world.assert_phase(Phase::Blocked);
        assert_eq!(world.reason(Kind::Blocked), "Arriving");
        let message = find(&world.status.conditions, Kind::Blocked).unwrap().message.clone();
        assert!(message.contains(&format!("migration 5 of server {} from cmp-2 (running since 1970-01-01T00:00:01Z)", id(7))), "{message}");
    }
}

#[test]
fn the_allocation_of_a_row_that_nobody_works_on_is_left_over() {
    let mut world = World::new();
    let leaving = NovaMigration { source_compute: Some("cmp-1".into()), dest_compute: Some("cmp-2".into()), ..arriving("running") };
    world.consumers = Some(vec![leaving.uuid]);
    world.migrations = vec![leaving];
    world.asked.insert(id(7), Some(Server { host: Some("cmp-3".into()), ..server(7, "ACTIVE") }));
    world.steps(4);
    world.now += 10;
    world.step();
    assert_eq!(world.status.residents.first().map(|resident| resident.reason), Some(ResidentReason::AllocationLeft));
}

#[test]
fn a_resize_or_a_cold_move_that_heads_to_the_host_is_waited_for_like_a_live_one() {
    let back = NovaMigration { source_compute: Some("cmp-1".into()), dest_compute: Some("cmp-2".into()), ..resize(7, "reverting") };
    for row in [NovaMigration { migration_type: "resize".into(), ..arriving("pre-migrating") }, arriving("migrating"), back] {
        let mut world = World::new();
        world.consumers = Some(vec![row.server.0]);
        world.migrations = vec![row];
        world.steps(4);
        world.now += 20;
        world.steps(2);
        world.assert_phase(Phase::Draining);
        assert_eq!(world.status.residents, vec![]);
    }
}

#[test]
fn servers_are_asked_about_where_their_rows_head_here_or_hold_something_here() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    let leaving = NovaMigration { source_compute: Some("cmp-1".into()), dest_compute: Some("cmp-2".into()), server: id(8), ..arriving("running") };
    let listed = NovaMigration { server: id(1), ..arriving("running") };
    world.migrations = vec![arriving("running"), listed, leaving.clone(), arriving("completed")];
    assert_eq!(crate::quarantine::strays(&world.view()), [id(7)]);
    world.consumers = Some(vec![leaving.uuid]);
    assert_eq!(crate::quarantine::strays(&world.view()), [id(7), id(8)]);
}

#[test]
fn a_run_of_a_server_that_no_list_shows_is_not_waited_for_after_the_deadline() {
    let mut world = World::new();
    world.steps(2);
    world.run(1, RunState::Pending);
    world.soft_deleted = vec![server(1, "SOFT_DELETED")];
    world.steps(3);
    world.assert_phase(Phase::Draining);
    world.now += 1900;
    world.step();
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.status.residents[0].reason, ResidentReason::SoftDeleted);
}

#[test]
fn a_server_in_error_with_which_nova_is_never_done_is_a_resident_at_the_deadline() {
    let mut stuck = server(1, "ERROR");
    stuck.task_state = Some("migrating".into());
    let mut world = World::new().with_servers(vec![stuck]);
    world.steps(2);
    world.run(1, RunState::Pending);
    world.runs[0].first_intent = Some(at(101));
    world.step();
    world.assert_phase(Phase::Draining);
    world.now += 1900;
    world.step();
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.status.residents[0].reason, ResidentReason::ErrorAfterAttempt);
}
