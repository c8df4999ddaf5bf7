//! The course of an incident from acceptance to its end.

use super::*;

#[test]
fn what_stood_there_before_is_in_status_with_the_first_request_to_disable() {
    let mut world = World::new();
    let actions = world.step();
    assert!(matches!(&writes(&actions)[..], [Write::Disable(Some(reason))] if reason.starts_with(&format!("sidestep/{UID} before=enabled: why"))));
    assert!(!world.status.host.as_ref().unwrap().disabled_before);
    world.assert_phase(Phase::Cordoning);
}

#[test]
fn fresh_view_servers_are_listed_only_after_the_cordon_was_seen() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    assert!(made(&world.step()).is_empty());
    let actions = world.step();
    assert_eq!(named(&actions), vec![(1, 1)]);
    assert!(is_true(&world.status.conditions, Kind::Cordoned));
    world.assert_phase(Phase::Draining);
}

#[test]
fn fresh_view_a_list_that_was_begun_before_the_cordon_was_requested_verifies_nothing() {
    let mut world = World::new();
    world.step();
    // The service already carries our mark, but this look was begun before the request: the clock stands still.
    world.now -= 1;
    world.status.timeline.iter_mut().find(|entry| entry.event == TimelineEvent::CordonRequested).unwrap().time = MicroTime(at(500));
    world.step();
    assert!(!is_true(&world.status.conditions, Kind::Cordoned));
}

#[test]
fn empty_takes_two_lists_a_tick_apart() {
    let mut world = World::new();
    world.step();
    world.step();
    world.assert_phase(Phase::Draining);
    assert_eq!(world.reason(Kind::Reconciling), "Verifying");
    world.step();
    world.assert_phase(Phase::Empty);
    assert!(is_true(&world.status.conditions, Kind::Ready));
    assert!(world.status.measured.as_ref().unwrap().duration_seconds.is_some());
    assert_eq!(world.status.measured.as_ref().unwrap().transferred_bytes, None);
}

#[test]
fn a_host_is_not_empty_while_a_move_heads_to_it() {
    let mut world = World::new();
    world.steps(2);
    world.migrations = vec![NovaMigration {
        id: 1,
        uuid: Uuid::from_u128(9),
        server: id(7),
        status: "running".to_owned().into(),
        migration_type: "live-migration".into(),
        source_compute: Some("cmp-2".into()),
        dest_compute: Some("cmp-1".into()),
        created_at: at(1),
        updated_at: None,
    }];
    world.steps(3);
    world.assert_phase(Phase::Draining);
}

#[test]
fn a_host_is_not_empty_while_placement_holds_an_allocation() {
    let mut world = World::new();
    world.consumers = Some(vec![Uuid::from_u128(77)]);
    world.steps(4);
    world.assert_phase(Phase::Draining);
    world.now += 10;
    world.step();
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.status.residents[0].reason, ResidentReason::AllocationLeft);
    world.consumers = Some(vec![]);
    world.steps(2);
    world.assert_phase(Phase::Empty);
}

#[test]
fn a_host_is_not_empty_before_placement_was_asked() {
    let mut world = World::new();
    world.consumers = None;
    world.steps(5);
    world.assert_phase(Phase::Draining);
}

#[test]
fn a_late_arrival_gets_a_run_and_ends_empty() {
    let mut world = World::new();
    world.steps(3);
    world.assert_phase(Phase::Empty);
    world.servers.push(server(5, "ACTIVE"));
    assert_eq!(named(&world.step()), vec![(5, 1)]);
    world.assert_phase(Phase::Draining);
    assert!(!is_true(&world.status.conditions, Kind::Drained));
    assert!(moment_of(&world.status, TimelineEvent::Empty).is_none());
    assert_eq!(world.status.measured.as_ref().unwrap().duration_seconds, None);
}

#[test]
fn a_server_that_does_not_move_blocks_and_is_named_with_its_reason() {
    let mut world = World::new().with_servers(vec![server(1, "SUSPENDED"), server(2, "ERROR"), server(3, "SUSPENDED")]);
    world.steps(2);
    world.assert_phase(Phase::Blocked);
    assert!(is_true(&world.status.conditions, Kind::Stalled));
    let reasons: Vec<_> = world.status.residents.iter().map(|resident| resident.reason).collect();
    assert_eq!(reasons, vec![ResidentReason::StateNotMovable, ResidentReason::ServerInError, ResidentReason::StateNotMovable]);
    world.servers.clear();
    world.steps(2);
    world.assert_phase(Phase::Empty);
    assert!(world.status.residents.is_empty());
}

#[test]
fn one_resident_does_not_hold_up_the_others() {
    let mut world = World::new().with_servers(vec![server(1, "SUSPENDED"), server(2, "ACTIVE")]);
    world.step();
    assert_eq!(named(&world.step()), vec![(2, 1)]);
    world.assert_phase(Phase::Draining);
    assert_eq!(world.status.resident_count, Some(1));
}

#[test]
fn a_failed_run_is_a_resident_with_novas_reason() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Failed("AttemptsExhausted".into(), "3 attempts; the last: No valid host was found.".into()));
    world.step();
    world.assert_phase(Phase::Blocked);
    assert!(world.status.residents[0].message.contains("No valid host"));
    assert_eq!(world.status.progress.unwrap().failed, 1);
}

#[test]
fn a_server_in_error_waits_for_the_verdict_of_the_run_that_asked_for_it() {
    let mut world = World::new().with_servers(vec![server(1, "ERROR")]);
    world.steps(2);
    assert_eq!(world.status.residents[0].reason, ResidentReason::ServerInError);
    world.run(1, RunState::Pending);
    world.runs[0].first_intent = Some(at(1));
    world.step();
    world.assert_phase(Phase::Draining);
    assert!(world.status.residents.is_empty());
}

#[test]
fn a_server_that_somebody_repaired_is_tried_again() {
    let mut world = World::new().with_servers(vec![server(1, "ERROR")]);
    world.steps(2);
    world.run(1, RunState::Failed("ErrorAfterAttempt".into(), "left in ERROR".into()));
    world.step();
    assert_eq!(world.status.residents[0].reason, ResidentReason::ErrorAfterAttempt);
    assert_eq!(world.reason(Kind::GuestLocationDisputed), "ErrorAfterMove", "its guest may run on, untouched");
    world.servers = vec![server(1, "ACTIVE")];
    assert_eq!(named(&world.step()), vec![(1, 2)]);
    assert_eq!(world.reason(Kind::GuestLocationDisputed), "NotDisputed");
}

#[test]
fn a_server_whose_attempts_are_used_up_is_tried_again_in_another_state_and_not_for_ever() {
    let failed = |ordinal: u32, status: &str| RunFacts {
        tried_as: Some(status.into()),
        ..facts(1, ordinal, RunState::Failed("AttemptsExhausted".into(), "3 attempts".into()))
    };
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.runs = vec![failed(1, "ACTIVE")];
    let stays = |world: &mut World, status: &str| {
        world.servers = vec![server(1, status)];
        assert!(made(&world.step()).is_empty(), "{status}");
        assert_eq!(world.status.residents[0].reason, ResidentReason::AttemptsExhausted, "{status}");
    };
    stays(&mut world, "ACTIVE");
    stays(&mut world, "SUSPENDED");
    world.servers = vec![server(1, "SHUTOFF")];
    assert_eq!(named(&world.step()), vec![(1, 2)], "cold");
    world.runs = vec![failed(1, "ACTIVE"), failed(2, "SHUTOFF"), failed(3, "ACTIVE")];
    stays(&mut world, "PAUSED");
}

#[test]
fn a_server_that_keeps_returning_is_left_after_three_runs() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    for ordinal in 1..RUNS_PER_SERVER {
        world.runs = (1..=ordinal).map(|ordinal| facts(1, ordinal, RunState::Succeeded(at(world.now)))).collect();
        assert_eq!(named(&world.step()), vec![(1, ordinal + 1)]);
    }
    world.runs = (1..=RUNS_PER_SERVER).map(|ordinal| facts(1, ordinal, RunState::Succeeded(at(world.now)))).collect();
    world.step();
    assert_eq!(world.status.residents[0].reason, ResidentReason::KeepsReturning);
}

#[test]
fn a_list_begun_before_the_end_was_seen_does_not_show_a_return() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Succeeded(at(world.now + 5)));
    assert!(made(&world.step()).is_empty());
}

#[test]
fn a_run_that_a_person_deleted_is_not_made_again() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Deleted);
    assert!(made(&world.step()).is_empty());
    assert_eq!(world.status.residents[0].reason, ResidentReason::RunDeleted);
}

#[test]
fn contested_a_host_is_never_called_empty_and_goes_on_draining() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    let service = world.service.as_mut().unwrap();
    (service.status, service.disabled_reason) = (ServiceStatus::Enabled, None);
    assert!(writes(&world.step()).is_empty());
    assert_eq!(world.reason(Kind::Cordoned), "Contested");
    assert_eq!(made(&world.step()).len(), 1);
    world.servers.clear();
    world.steps(4);
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.reason(Kind::Ready), "Contested");
}

#[test]
fn a_service_row_that_was_replaced_ends_empty() {
    let mut world = World::new();
    world.steps(3);
    world.assert_phase(Phase::Empty);
    let service = world.service.as_mut().unwrap();
    service.id = crate::inventory::ServiceId("s-2".into());
    (service.status, service.disabled_reason) = (ServiceStatus::Enabled, None);
    world.step();
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.reason(Kind::Cordoned), "ServiceReplaced");
}

#[test]
fn contested_a_suspect_host_is_disabled_again_three_times_at_growing_pauses() {
    let mut world = World::new();
    world.steps(3);
    let mut writes_seen = 0;
    for pause in [60, 120, 240] {
        let service = world.service.as_mut().unwrap();
        (service.status, service.disabled_reason) = (ServiceStatus::Enabled, None);
        assert!(writes(&world.step()).is_empty(), "not at once");
        world.now += pause;
        writes_seen += writes(&world.step()).len();
        world.steps(3);
        world.assert_phase(Phase::Empty);
    }
    assert_eq!(writes_seen, 3);
    let service = world.service.as_mut().unwrap();
    (service.status, service.disabled_reason) = (ServiceStatus::Enabled, None);
    world.step();
    world.now += 100_000;
    assert!(writes(&world.steps(3)).is_empty());
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.reason(Kind::Cordoned), "ContestedRepeatedly");
}

#[test]
fn a_cordon_that_nova_refuses_is_blocked_with_novas_words_and_asked_again() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.step();
    world.service.as_mut().unwrap().status = ServiceStatus::Enabled;
    world.memory.refused = Some("Policy doesn't allow os_compute_api:os-services:update to be performed. (HTTP 403)".into());
    let actions = world.step();
    assert!(made(&actions).is_empty());
    assert_eq!(writes(&actions).len(), 1);
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.reason(Kind::Cordoned), "CordonRefused");
    world.memory.refused = None;
    world.steps(2);
    world.assert_phase(Phase::Draining);
}

#[test]
fn the_host_of_another_quarantine_is_never_taken_over_once_that_one_is_released() {
    let mut world = World::new();
    world.gates = Err(Refusal { reason: ANOTHER_ACTIVE.into(), message: "taken".into(), is_final: true });
    world.step();
    world.gates = Ok(());
    assert!(world.steps(3).is_empty());
    world.assert_phase(Phase::Refused);
}

#[test]
fn a_host_whose_service_row_is_gone_is_not_empty() {
    let mut world = World::new();
    world.steps(3);
    world.service = None;
    world.step();
    world.assert_phase(Phase::Blocked);
    assert!(!is_true(&world.status.conditions, Kind::Drained));
    assert!(!is_true(&world.status.conditions, Kind::Cordoned));
}

#[test]
fn observe_writes_nothing_and_shows_what_would_move() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE"), server(2, "SUSPENDED")]);
    world.spec.mode = Mode::Observe;
    assert!(world.steps(4).is_empty());
    world.assert_phase(Phase::Observed);
    assert_eq!(world.status.progress.unwrap().waiting, 1);
    assert_eq!(world.status.resident_count, Some(1));
    assert_eq!(world.status.host, None);
    // What is shown follows what is there.
    let first = world.plan_digest();
    world.servers = vec![server(1, "ACTIVE"), server(3, "ACTIVE")];
    world.step();
    assert_ne!(world.plan_digest(), first);
    assert_eq!(world.status.plan.as_ref().unwrap().servers, 2);
    world.servers.clear();
    world.step();
    assert_eq!(world.status.plan.as_ref().unwrap().servers, 0);
}

#[test]
fn while_nothing_changes_the_status_stays_as_it_is() {
    for mode in [Mode::Observe, Mode::Approve, Mode::Enforce] {
        let mut world = World::new().with_servers(vec![server(2, "SUSPENDED")]);
        world.spec.mode = mode;
        world.steps(6);
        let before = world.status.clone();
        world.steps(3);
        assert_eq!(world.status, before, "{mode:?}");
    }
}

#[test]
fn the_gates_are_asked_again_when_observe_becomes_enforce() {
    let mut world = World::new();
    world.spec.mode = Mode::Observe;
    world.step();
    assert_eq!(world.reason(Kind::Accepted), "Observing");
    world.spec.mode = Mode::Enforce;
    world.gates = Err(Refusal { reason: "OverBudget".into(), message: "full".into(), is_final: false });
    assert!(world.step().is_empty());
    world.assert_phase(Phase::Refused);
}

#[test]
fn a_gate_that_closes_after_acceptance_stops_nothing() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.step();
    world.gates = Err(Refusal { reason: "OverBudget".into(), message: "full".into(), is_final: false });
    assert_eq!(made(&world.step()).len(), 1);
}

#[test]
fn release_gives_back_what_sidestep_took_and_is_final() {
    let mut world = World::new();
    world.steps(3);
    world.spec.release.requested = true;
    assert_eq!(writes(&world.step()), vec![Write::Enable]);
    world.assert_phase(Phase::Releasing);
    world.step();
    world.assert_phase(Phase::Released);
    assert_eq!(world.service.as_ref().unwrap().status, ServiceStatus::Enabled);
    assert!(world.steps(3).is_empty());
}

#[test]
fn release_of_an_object_that_wrote_nothing_writes_nothing() {
    let mut world = World::new();
    world.spec.release.requested = true;
    assert!(world.step().is_empty());
    world.assert_phase(Phase::Released);
    assert_eq!(world.reason(Kind::Released), "NothingToRestore");
}

#[test]
fn deleting_keeps_the_cordon_and_follows_what_runs() {
    let mut world = World::new().with_servers(vec![server(1, "MIGRATING")]);
    world.steps(2);
    world.run(1, RunState::Open);
    world.deleted = Some(at(world.now));
    assert!(world.steps(3).is_empty());
    world.run(1, RunState::Succeeded(at(world.now)));
    assert_eq!(world.step(), vec![Action::RemoveFinalizer]);
    assert_eq!(world.service.as_ref().unwrap().status, ServiceStatus::Disabled);
}

#[test]
fn deleting_waits_ten_minutes_for_a_cloud_that_cannot_be_reached() {
    let mut world = World::new().with_servers(vec![server(1, "MIGRATING")]);
    world.steps(2);
    world.run(1, RunState::Open);
    world.deleted = Some(at(world.now));
    world.cloud = CloudSight::Unusable { reason: "Unreachable".into(), message: "down".into() };
    assert!(world.step().is_empty());
    world.now += 598;
    assert!(world.step().is_empty());
    assert_eq!(world.step(), vec![Action::RemoveFinalizer]);
}

#[test]
fn a_status_on_which_nothing_happened_is_the_same_again() {
    for servers in [vec![], vec![server(1, "SUSPENDED")]] {
        let mut world = World::new().with_servers(servers);
        world.steps(4);
        let before = world.status.clone();
        world.steps(3);
        assert_eq!(world.status, before);
    }
}

#[test]
fn runs_are_named_by_server_and_quarantine() {
    assert_eq!(run_name(id(1), UID, 1), format!("{}-5f3a9c01", id(1)));
    assert_eq!(run_name(id(1), UID, 3), format!("{}-5f3a9c01-3", id(1)));
}

#[test]
fn runs_may_start_only_under_a_verified_cordon_in_force() {
    let object = |status: &HostQuarantineStatus, world: &World| {
        let mut hq = HostQuarantine::new("q", world.spec.clone());
        hq.status = Some(status.clone());
        hq
    };
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    assert!(matches!(permission(&object(&world.status, &world)), Permission::Holds(_)));
    world.step();
    assert!(matches!(permission(&object(&world.status, &world)), Permission::Holds(_)));
    world.step();
    assert_eq!(permission(&object(&world.status, &world)), Permission::Permits);
    world.spec.release.requested = true;
    assert_eq!(permission(&object(&world.status, &world)), Permission::Permits, "release waits until the host is empty");
    world.spec.release.force = true;
    assert!(matches!(permission(&object(&world.status, &world)), Permission::Over(_)));
}
