//! What people do to an incident: suspend, abort, release, retry, delete.

use super::*;
use crate::api::MigrationRun;
use crate::api::quarantine::{Abort, DeletionPolicy, ReleaseVerdict, Trigger};
use crate::api::units::Scope;
use crate::quarantine::{DELETED_RUNS_KEPT, permission_for, remembers_deletion, withdrawal};

#[test]
fn suspended_nothing_new_starts_and_the_cordon_stays() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE"), server(2, "ACTIVE")]);
    world.step();
    world.spec.suspend = true;
    assert!(made(&world.step()).is_empty());
    world.assert_phase(Phase::Suspended);
    assert_eq!(world.reason(Kind::Reconciling), "Suspended");
    assert!(is_true(&world.status.conditions, Kind::Cordoned));
    assert!(matches!(permission(&world.object()), Permission::Holds(why) if why.contains("suspend")));
    assert_eq!(withdrawal(&world.object(), ""), Abort::Queued);
    world.spec.suspend = false;
    assert_eq!(made(&world.step()).len(), 2);
    assert_eq!(withdrawal(&world.object(), ""), Abort::None);
}

#[test]
fn an_object_that_is_made_suspended_writes_nothing_before_it_is_let_go() {
    let mut world = World::new();
    world.spec.suspend = true;
    assert!(world.steps(3).is_empty());
    world.assert_phase(Phase::Suspended);
    world.spec.suspend = false;
    assert_eq!(writes(&world.step()).len(), 1);
}

#[test]
fn a_host_that_is_empty_is_empty_also_while_suspended() {
    let mut world = World::new();
    world.steps(2);
    world.spec.suspend = true;
    world.steps(2);
    world.assert_phase(Phase::Empty);
}

#[test]
fn the_deadline_stands_still_while_suspended() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Pending);
    world.spec.suspend = true;
    world.step();
    world.now += 10_000;
    world.spec.suspend = false;
    world.step();
    world.assert_phase(Phase::Draining);
    world.now += 1900;
    world.step();
    assert_eq!(world.reason(Kind::Drained), DEADLINE_EXCEEDED);
}

#[test]
fn abort_holds_the_drain_and_calls_back_what_it_says() {
    for abort in [Abort::Queued, Abort::All] {
        let mut world = World::new().with_servers(vec![server(1, "MIGRATING"), server(2, "ACTIVE")]);
        world.steps(2);
        world.run(1, RunState::Open);
        world.spec.abort = abort;
        assert!(made(&world.step()).is_empty());
        world.assert_phase(Phase::Suspended);
        assert_eq!(withdrawal(&world.object(), ""), abort);
        assert!(matches!(permission(&world.object()), Permission::Holds(why) if why.contains("abort")));
    }
}

#[test]
fn release_waits_until_the_host_is_empty() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Open);
    world.spec.release.requested = true;
    assert!(writes(&world.step()).is_empty());
    world.assert_phase(Phase::Draining);
    assert_eq!(world.reason(Kind::Released), "NotEmpty");
    world.servers.clear();
    world.run(1, RunState::Succeeded(at(world.now)));
    let mut actions = world.steps(3);
    actions.retain(|action| matches!(action, Action::WriteService(..)));
    assert_eq!(writes(&actions), vec![Write::Enable]);
    world.step();
    world.assert_phase(Phase::Released);
}

#[test]
fn undo_in_mid_drain_by_force_withdraws_what_is_queued_and_supersedes_the_rest() {
    let mut world = World::new().with_servers(vec![server(1, "MIGRATING"), server(2, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Open);
    world.spec.release.requested = true;
    world.spec.release.force = true;
    world.spec.release.approved_by = "kim".into();
    world.spec.release.verdict = ReleaseVerdict::FalsePositive;
    assert_eq!(writes(&world.step()), vec![Write::Enable]);
    assert!(matches!(permission(&world.object()), Permission::Over(_)));
    assert_eq!(withdrawal(&world.object(), ""), Abort::Queued);
    world.step();
    world.assert_phase(Phase::Released);
    let released = find(&world.status.conditions, Kind::Released).unwrap();
    assert!(released.message.contains("by kim") && released.message.contains("FalsePositive"), "{}", released.message);
    assert_eq!(world.service.as_ref().unwrap().status, ServiceStatus::Enabled);
    let sealed = world.status.measured.as_ref().unwrap().exposure.clone().unwrap();
    assert_eq!((sealed.servers, sealed.since), (0, None));
    let progress = world.status.progress.unwrap();
    assert_eq!((progress.waiting, progress.running, progress.remaining), (0, 0, 2));
    assert_eq!((world.status.residents.len(), world.status.resident_count), (0, Some(0)));
}

#[test]
fn a_new_retry_token_begins_anew() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE"), server(2, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Failed("AttemptsExhausted".into(), "3 attempts".into()));
    world.run(2, RunState::Deleted);
    world.now += 1900;
    world.step();
    world.assert_phase(Phase::Blocked);
    let reasons: Vec<_> = world.status.residents.iter().map(|resident| resident.reason).collect();
    assert_eq!(reasons, [ResidentReason::AttemptsExhausted, ResidentReason::RunDeleted]);
    world.spec.retry_token = "again".into();
    assert_eq!(named(&world.step()), vec![(1, 2), (2, 2)]);
    world.assert_phase(Phase::Draining);
    assert_ne!(world.reason(Kind::Drained), DEADLINE_EXCEEDED);
    // The same token is no news.
    let since = world.status.retry.clone();
    world.step();
    assert_eq!(world.status.retry, since);
}

/// The API server cuts the time of creation to whole seconds, so that a run made just after a retry looks older than it.
#[test]
fn what_is_made_after_a_retry_within_the_same_second_counts() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Failed("AttemptsExhausted".into(), "3 attempts".into()));
    world.spec.retry_token = "again".into();
    world.micros = 300_000;
    world.go();
    for end in [RunState::Failed("AttemptsExhausted".into(), "3 attempts".into()), RunState::Deleted] {
        let last = world.runs.last_mut().unwrap();
        assert_eq!((last.ordinal, last.state.clone()), (2, RunState::Pending));
        last.state = end;
        assert!(made(&world.step()).is_empty());
        world.runs.last_mut().unwrap().state = RunState::Pending;
    }
    // Another retry is another beginning.
    world.runs.last_mut().unwrap().state = RunState::Deleted;
    world.spec.retry_token = "once more".into();
    assert_eq!(named(&world.step()), vec![(1, 3)]);
}

#[test]
fn a_retry_lets_a_server_that_kept_returning_have_three_more_runs() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.runs = (1..=RUNS_PER_SERVER).map(|ordinal| facts(1, ordinal, RunState::Succeeded(at(100)))).collect();
    world.step();
    assert_eq!(world.status.residents[0].reason, ResidentReason::KeepsReturning);
    world.spec.retry_token = "again".into();
    assert_eq!(named(&world.step()), vec![(1, RUNS_PER_SERVER + 1)]);
}

#[test]
fn active_a_refusal_whose_time_is_over_is_asked_again_after_a_retry() {
    let mut world = World::new();
    world.gates = Err(Refusal { reason: "OverBudget".into(), message: "full".into(), is_final: false });
    world.step();
    world.now += 1900;
    world.gates = Ok(());
    world.step();
    world.assert_phase(Phase::Refused);
    world.spec.retry_token = "again".into();
    assert_eq!(writes(&world.step()).len(), 1);
}

#[test]
fn deleting_gives_a_host_back_only_where_nothing_was_ever_suspected() {
    let delete = |scope, policy, raised: Option<Scope>| {
        let mut world = World::new();
        (world.spec.scope, world.spec.deletion_policy) = (scope, policy);
        world.joined.scope = raised;
        world.steps(3);
        world.deleted = Some(at(world.now));
        let actions = world.steps(3);
        assert!(actions.contains(&Action::RemoveFinalizer));
        world.service.as_ref().unwrap().status
    };
    let (keep, release) = (DeletionPolicy::KeepCordoned, DeletionPolicy::Release);
    assert_eq!(delete(Scope::Maintenance, release, None), ServiceStatus::Enabled);
    assert_eq!(delete(Scope::Maintenance, keep, None), ServiceStatus::Disabled);
    assert_eq!(delete(Scope::Maintenance, release, Some(Scope::HostThreatened)), ServiceStatus::Disabled);
    assert_eq!(delete(Scope::HostThreatened, release, None), ServiceStatus::Disabled);
}

#[test]
fn deleting_seals_the_figures() {
    let mut world = World::new().with_servers(vec![server(1, "SUSPENDED")]);
    world.steps(3);
    assert_eq!(world.status.measured.as_ref().unwrap().exposure.as_ref().unwrap().servers, 1);
    world.deleted = Some(at(world.now));
    world.step();
    let sealed = world.status.measured.as_ref().unwrap().exposure.clone().unwrap();
    assert!(sealed.servers == 0 && sealed.server_seconds > 0, "{sealed:?}");
}

#[test]
fn servers_that_leave_while_the_object_is_deleted_count_no_longer() {
    let mut world = World::new().with_servers(vec![server(1, "MIGRATING"), server(2, "SUSPENDED")]);
    world.steps(3);
    world.run(1, RunState::Open);
    world.deleted = Some(at(world.now));
    world.step();
    world.servers.remove(0);
    world.now = 199;
    world.step();
    world.run(1, RunState::Succeeded(at(world.now)));
    world.now = 299;
    assert_eq!(world.step(), vec![Action::RemoveFinalizer]);
    assert_eq!(world.status.measured.as_ref().unwrap().exposure.as_ref().unwrap().server_seconds, 100 + 200);
}

#[test]
fn deleting_gives_a_host_back_however_long_its_moves_took() {
    let mut world = World::new().with_servers(vec![server(1, "MIGRATING")]);
    (world.spec.scope, world.spec.deletion_policy) = (Scope::Maintenance, DeletionPolicy::Release);
    world.steps(2);
    world.run(1, RunState::Open);
    world.deleted = Some(at(world.now));
    world.now += 1500;
    assert!(world.step().is_empty());
    world.run(1, RunState::Succeeded(at(world.now)));
    let actions = world.steps(2);
    assert_eq!(writes(&actions), vec![Write::Enable]);
    assert!(actions.contains(&Action::RemoveFinalizer));
}

#[test]
fn a_host_that_nova_does_not_give_back_keeps_a_deleted_object_for_ten_minutes() {
    let mut world = World::new();
    (world.spec.scope, world.spec.deletion_policy) = (Scope::Maintenance, DeletionPolicy::Release);
    world.steps(3);
    world.deleted = Some(at(world.now));
    let refuse = |world: &mut World| {
        world.memory.refused = Some("Policy doesn't allow it".into());
        let ours = world.service.clone();
        let actions = world.step();
        world.service = ours;
        actions.contains(&Action::RemoveFinalizer)
    };
    assert!(!refuse(&mut world));
    world.now += 598;
    assert!(!refuse(&mut world));
    assert!(refuse(&mut world));
}

#[test]
fn one_failed_look_lets_no_deleted_object_go() {
    let mut world = World::new().with_servers(vec![server(1, "MIGRATING")]);
    world.steps(2);
    world.run(1, RunState::Open);
    world.deleted = Some(at(world.now));
    for _ in 0..3 {
        world.now += 400;
        world.cloud = CloudSight::Unusable { reason: "Unreachable".into(), message: "down".into() };
        assert!(world.step().is_empty());
        world.cloud = CloudSight::Usable;
        assert!(world.step().is_empty());
    }
}

#[test]
fn a_run_of_a_plan_that_was_replaced_is_over() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    let digest = world.plan_digest();
    assert_eq!(permission_for(&world.object(), &digest), Permission::Permits);
    assert_eq!(permission_for(&world.object(), ""), Permission::Permits);
    assert!(matches!(permission_for(&world.object(), "another"), Permission::Over(_)));
    assert_eq!(withdrawal(&world.object(), "another"), Abort::Queued);
}

#[test]
fn exposure_is_a_closed_sum_and_how_many_still_count_since_when() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE"), server(2, "ACTIVE")]);
    world.steps(2);
    let exposure = |world: &World| world.status.measured.as_ref().unwrap().exposure.clone().unwrap();
    assert_eq!((exposure(&world).server_seconds, exposure(&world).servers), (0, 2));
    assert_eq!(exposure(&world).since.unwrap().0, at(100));
    world.now = 149;
    world.step();
    assert_eq!(exposure(&world).server_seconds, 0, "nothing left, nothing is written");
    world.servers.pop();
    world.now = 159;
    world.step();
    assert_eq!((exposure(&world).server_seconds, exposure(&world).servers), (120, 1));
    world.servers.pop();
    world.now = 169;
    world.step();
    assert_eq!((exposure(&world).server_seconds, exposure(&world).servers, exposure(&world).since), (130, 0, None));
}

#[test]
fn exposure_loses_nothing_where_many_leave_within_seconds() {
    let mut world = World::new().with_servers((1..=10).map(|n| server(n, "ACTIVE")).collect());
    world.steps(2);
    for k in 1..=10 {
        world.servers.pop();
        world.step_at(110_000_000 + k * 900_000);
    }
    let exposure = world.status.measured.as_ref().unwrap().exposure.clone().unwrap();
    // 10 servers for 10 s, and 0.9 + 1.8 + ... + 9 s.
    assert_eq!((exposure.server_seconds, exposure.remainder_micros, exposure.servers), (149, 500_000, 0));
}

#[test]
fn exposure_begins_by_our_own_clock_whatever_the_nodes_says() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    (world.written, world.decided) = (Some(-946_684_800), Some(99));
    world.steps(2);
    assert_eq!(world.status.measured.as_ref().unwrap().exposure.as_ref().unwrap().since.as_ref().unwrap().0, at(99));
    assert_eq!(world.moment(TimelineEvent::AlertWritten), Some(at(-946_684_800)));
}

#[test]
fn maintenance_exposes_nobody() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.spec.scope = Scope::Maintenance;
    world.steps(3);
    assert!(world.status.measured.as_ref().is_none_or(|measured| measured.exposure.is_none()));
}

/// The run of a server as the API server holds it while it waits for its finalizer.
fn terminating(n: u128, ordinal: u32, reason: &str) -> MigrationRun {
    let run = serde_json::json!({
        "apiVersion": "sidestep.dev/v1alpha1", "kind": "MigrationRun",
        "metadata": {"name": run_name(id(n), UID, ordinal), "deletionTimestamp": "2026-11-25T10:00:00Z", "finalizers": ["sidestep.dev/finalizer"]},
        "spec": {"cloud": "c", "server": id(n).to_string(), "sourceHost": "cmp-1", "quarantine": "q"},
        "status": {"conditions": [{"type": "Succeeded", "status": "False", "reason": reason, "message": "", "lastTransitionTime": "2026-11-25T10:00:00Z"}]},
    });
    serde_json::from_value(run).unwrap()
}

#[test]
fn a_deleted_run_goes_once_it_is_remembered_and_is_made_again_only_by_a_retry() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    let object = |world: &World| {
        let mut object = world.object();
        object.metadata.uid = Some(UID.into());
        object
    };
    assert!(!remembers_deletion(&object(&world), &terminating(1, 1, "Superseded")));
    world.run(1, RunState::Deleted);
    world.step();
    assert!(remembers_deletion(&object(&world), &terminating(1, 1, "Superseded")));
    assert!(!remembers_deletion(&object(&world), &terminating(1, 2, "Superseded")), "a later run was not deleted");
    // The object goes.
    world.runs.clear();
    assert!(made(&world.steps(3)).is_empty());
    world.assert_phase(Phase::Blocked);
    assert_eq!((world.status.residents[0].reason, world.status.progress.unwrap().total), (ResidentReason::RunDeleted, 1));
    world.spec.retry_token = "again".into();
    assert_eq!(named(&world.step()), vec![(1, 2)], "under a name of its own");
}

#[test]
fn so_many_deleted_runs_are_remembered_and_the_objects_of_others_stay() {
    let servers: Vec<_> = (1..=u128::try_from(DELETED_RUNS_KEPT).unwrap() + 1).map(|n| server(n, "ACTIVE")).collect();
    let mut world = World::new().with_servers(servers.clone());
    world.steps(2);
    for n in 1..=servers.len() {
        world.run(u128::try_from(n).unwrap(), RunState::Deleted);
    }
    world.step();
    assert_eq!(world.status.deleted_runs.len(), DELETED_RUNS_KEPT);
    assert!(!remembers_deletion(&world.object(), &terminating(u128::try_from(servers.len()).unwrap(), 1, "Superseded")));
}

#[test]
fn a_deleted_run_that_left_its_server_in_error_still_says_so() {
    let facts = |reason: &str| RunFacts::of(&terminating(1, 1, reason), UID).unwrap().state;
    assert_eq!((facts("Superseded"), facts("AttemptsExhausted"), facts("Aborted")), (RunState::Deleted, RunState::Deleted, RunState::Deleted));
    assert!(matches!(facts("ErrorAfterAttempt"), RunState::Failed(..)));
}

#[test]
fn what_was_refused_in_time_is_not_too_old_when_its_gate_opens_within_the_deadline() {
    let by_policy = || {
        let mut world = World::new();
        world.spec.trigger = Some(Trigger { policy: "p".into(), policy_generation: 1, alerts: vec!["a".into()], rules: Vec::new(), over_budget: false });
        world.decided = Some(100);
        world.gates = Err(Refusal { reason: "OverBudget".into(), message: "full".into(), is_final: false });
        world
    };
    let mut waited = by_policy();
    waited.step();
    waited.now += 1200;
    waited.gates = Ok(());
    assert_eq!(writes(&waited.step()).len(), 1);
    assert_eq!(waited.reason(Kind::Accepted), "GatesPassed");
    // A restored object was first refused when its trigger was old.
    let mut restored = by_policy();
    restored.now = 1000;
    restored.step();
    restored.gates = Ok(());
    assert!(writes(&restored.step()).is_empty());
    assert_eq!(restored.reason(Kind::Accepted), crate::quarantine::TRIGGER_TOO_OLD);
}
