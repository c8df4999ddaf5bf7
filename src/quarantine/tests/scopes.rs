//! What is suspected, what later alerts change about it, and disputes about the host.

use super::*;
use crate::api::quarantine::{Abort, Trigger};
use crate::api::units::{PoolUse, ResponseAction, Scope};
use crate::quarantine::{TRIGGER_TOO_OLD, pool_use, withdrawal};

fn by_operator(mut world: World) -> World {
    world.spec.trigger = Some(Trigger { policy: "p".into(), policy_generation: 1, alerts: vec!["a".into()], rules: Vec::new(), over_budget: false });
    world.decided = Some(100);
    world
}

#[test]
fn the_pool_is_what_scope_and_spec_say() {
    for (scope, wanted, has_pool, expected) in [
        (Scope::Maintenance, PoolUse::Ignore, true, PoolUse::Ignore),
        (Scope::HostThreatened, PoolUse::Prefer, true, PoolUse::Prefer),
        (Scope::HostThreatened, PoolUse::Only, false, PoolUse::Only),
        (Scope::Unknown, PoolUse::Ignore, true, PoolUse::Only),
        (Scope::Unknown, PoolUse::Prefer, false, PoolUse::Prefer),
        (Scope::HostCompromised, PoolUse::Ignore, true, PoolUse::Only),
        (Scope::HostCompromised, PoolUse::Prefer, false, PoolUse::Only),
    ] {
        assert_eq!(pool_use(scope, wanted, has_pool), expected, "{scope:?} {wanted:?} {has_pool}");
    }
}

#[test]
fn an_unknown_scope_without_a_pool_cordons_at_once_and_waits_for_approval() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.spec.scope = Scope::Unknown;
    assert_eq!(writes(&world.step()).len(), 1);
    world.go();
    world.assert_phase(Phase::AwaitingApproval);
    assert_eq!(world.reason(Kind::Ready), "NoPool");
    assert!(is_true(&world.status.conditions, Kind::Cordoned));
    assert!(matches!(permission(&world.object()), Permission::Holds(_)));
    world.has_pool = true;
    world.step();
    world.assert_phase(Phase::Draining);
    assert_eq!(permission(&world.object()), Permission::Permits);
}

#[test]
fn a_compromised_host_without_a_pool_is_blocked() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    (world.spec.scope, world.spec.allow_unapproved) = (Scope::HostCompromised, true);
    world.hosts.clear();
    world.steps(2);
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.reason(Kind::Stalled), "NoPool");
    assert_eq!(world.status.residents[0].reason, ResidentReason::NoDestination);
}

#[test]
fn a_compromised_host_needs_approval_unless_it_is_allowed_without() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    (world.spec.scope, world.has_pool) = (Scope::HostCompromised, true);
    world.step();
    world.go();
    world.assert_phase(Phase::AwaitingApproval);
    assert_eq!(world.reason(Kind::Approved), "HostCompromised");
    world.spec.allow_unapproved = true;
    world.step();
    world.assert_phase(Phase::Draining);
    assert_eq!(world.reason(Kind::Approved), "NotRequired");
}

#[test]
fn scope_raised_mid_drain_plans_again_what_has_not_begun() {
    let mut world = World::new().with_servers(vec![server(1, "MIGRATING"), server(2, "ACTIVE")]);
    world.step();
    world.go();
    let before = world.plan_digest();
    world.run(1, RunState::Open);
    world.run(2, RunState::Pending);
    world.joined.scope = Some(Scope::HostCompromised);
    world.has_pool = true;
    world.step();
    assert_eq!(world.status.effective_scope, Some(Scope::HostCompromised));
    assert_eq!(world.spec.scope, Scope::HostThreatened, "the spec is never written");
    assert_ne!(world.plan_digest(), before);
    assert!(matches!(crate::quarantine::permission_for(&world.object(), &before), Permission::Over(_)));
    assert_eq!(withdrawal(&world.object(), &before), Abort::Queued, "what runs goes on");
    // The copy that runs is followed; then the rest waits for a person.
    world.assert_phase(Phase::Draining);
    world.servers.remove(0);
    world.run(1, RunState::Succeeded(at(world.now)));
    world.runs.iter_mut().filter(|run| run.server == id(2)).for_each(|run| (run.state, run.plan) = (RunState::Superseded, before.clone()));
    let actions = world.step();
    assert_eq!(named(&actions), vec![(2, 2)]);
    world.assert_phase(Phase::AwaitingApproval);
    // Alerts that go do not lower it.
    world.joined.scope = None;
    world.step();
    assert_eq!(world.status.effective_scope, Some(Scope::HostCompromised));
}

#[test]
fn active_alerts_that_join_what_a_person_made_or_holds_change_the_scope_and_nothing_else() {
    let mut world = World::new().with_servers(vec![server(1, "SUSPENDED")]);
    world.spec.action = ResponseAction::Cordon;
    world.steps(2);
    assert_eq!(world.reason(Kind::AlertWhileHeld), "NotHeld");
    world.joined = Joined { scope: Some(Scope::Unknown), drain: Some(at(100)), is_new: true };
    world.step();
    assert_eq!(world.status.effective_action, Some(ResponseAction::Cordon));
    assert_eq!(world.status.effective_scope, Some(Scope::Unknown));
    assert_eq!(world.reason(Kind::AlertWhileHeld), "MadeByPerson");
    let mut held = by_operator(World::new());
    held.spec.suspend = true;
    held.joined.scope = Some(Scope::HostThreatened);
    held.step();
    assert_eq!(held.reason(Kind::AlertWhileHeld), "Suspended");
    held.spec.suspend = false;
    held.step();
    assert_eq!(held.reason(Kind::AlertWhileHeld), "NotHeld");
}

#[test]
fn action_cordon_takes_the_host_out_of_service_and_moves_nothing() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.spec.action = ResponseAction::Cordon;
    assert_eq!(writes(&world.step()).len(), 1);
    assert!(world.steps(3).is_empty());
    world.assert_phase(Phase::Cordoned);
    assert!(is_true(&world.status.conditions, Kind::Ready));
    assert!(matches!(permission(&world.object()), Permission::Holds(_)));
    assert_eq!(world.status.measured.as_ref().unwrap().exposure.as_ref().unwrap().servers, 1);
}

#[test]
fn active_action_cordon_is_no_shield_and_a_decision_to_drain_runs_the_gates_once_more() {
    let mut world = by_operator(World::new().with_servers(vec![server(1, "ACTIVE")]));
    world.spec.action = ResponseAction::Cordon;
    world.steps(3);
    world.assert_phase(Phase::Cordoned);
    world.gates = Err(Refusal { reason: "OverBudget".into(), message: "full".into(), is_final: false });
    world.joined = Joined { scope: Some(Scope::HostThreatened), drain: Some(at(100)), is_new: true };
    world.step();
    world.assert_phase(Phase::Cordoned);
    assert!(find(&world.status.conditions, Kind::Ready).unwrap().message.contains("full"));
    world.gates = Ok(());
    assert_eq!(named(&world.step()), vec![(1, 1)]);
    assert_eq!(world.status.effective_action, Some(ResponseAction::Drain));
    // It stays so when the alert is gone.
    world.joined = Joined::default();
    world.step();
    assert_eq!(world.status.effective_action, Some(ResponseAction::Drain));
}

#[test]
fn contested_in_maintenance_stops_the_drain() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE"), server(2, "ACTIVE")]);
    world.spec.scope = Scope::Maintenance;
    world.step();
    world.go();
    world.assert_phase(Phase::Draining);
    world.enable();
    world.step();
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.reason(Kind::Stalled), "Contested");
    assert!(matches!(permission(&world.object()), Permission::Holds(_)));
    assert_eq!(withdrawal(&world.object(), ""), Abort::Queued);
    world.now += 10_000;
    assert!(writes(&world.steps(3)).is_empty(), "maintenance does not fight");
}

#[test]
fn contested_on_a_suspect_host_never_stops_the_drain() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    (world.spec.scope, world.spec.allow_unapproved, world.has_pool) = (Scope::HostCompromised, true, true);
    world.step();
    world.go();
    world.enable();
    world.step();
    assert_eq!(world.reason(Kind::Cordoned), "Contested");
    assert!(world.moment(TimelineEvent::Contested).is_some());
    assert_eq!(permission(&world.object()), Permission::Permits);
    world.assert_phase(Phase::Draining);
    // A dispute that goes on after three renewals is said, and the rest still leaves.
    for pause in [60, 120, 240] {
        world.now += pause;
        world.steps(2);
        world.enable();
        world.step();
    }
    assert_eq!(world.status.contest.as_ref().unwrap().disabled_again, 3);
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.reason(Kind::Stalled), "ContestedRepeatedly");
    assert_eq!(permission(&world.object()), Permission::Permits);
}

#[test]
fn who_disables_the_host_with_a_reason_of_their_own_contests_nothing_and_keeps_their_word() {
    for scope in [Scope::Maintenance, Scope::HostCompromised] {
        let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
        (world.spec.scope, world.spec.allow_unapproved, world.has_pool) = (scope, true, true);
        world.step();
        world.go();
        world.disable(Some("bad RAM"));
        world.now += 100;
        assert!(writes(&world.steps(3)).is_empty(), "their reason stands");
        world.assert_phase(Phase::Draining);
        assert_eq!((world.reason(Kind::Contested), world.reason(Kind::Cordoned)), ("NotContested".into(), "DisabledByOthers".into()));
        assert!(is_true(&world.status.conditions, Kind::Cordoned) && world.message(Kind::Cordoned).contains("bad RAM"));
        assert_eq!(permission(&world.object()), Permission::Permits);
        world.servers.clear();
        world.run(1, RunState::Succeeded(at(world.now)));
        world.steps(3);
        world.assert_phase(Phase::Empty);
        world.spec.release.requested = true;
        assert!(writes(&world.steps(2)).is_empty());
        world.assert_phase(Phase::Released);
        assert_eq!(world.reason(Kind::Released), "DisabledByOthers");
        assert_eq!(world.service.as_ref().unwrap().disabled_reason.as_deref(), Some("bad RAM"));
    }
}

#[test]
fn who_enables_the_host_again_takes_their_own_word_back() {
    let mut world = World::new();
    world.steps(3);
    world.disable(None);
    world.step();
    world.assert_phase(Phase::Empty);
    world.enable();
    world.step();
    assert_eq!(world.reason(Kind::Cordoned), "Contested");
    world.now += 60;
    assert_eq!(writes(&world.step()).len(), 1);
    world.spec.release.requested = true;
    world.spec.release.force = true;
    assert_eq!(writes(&world.steps(2)), vec![Write::Enable], "as it was before the quarantine");
}

#[test]
fn a_reason_that_nova_compute_lifts_by_itself_is_nobodys_word() {
    let mut world = World::new();
    world.steps(3);
    world.disable(Some("AUTO: Connection to libvirt lost: 1"));
    world.step();
    assert_eq!(world.reason(Kind::Cordoned), "Contested");
}

#[test]
fn what_nova_refuses_to_sidestep_a_person_can_do() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.step();
    world.enable();
    world.memory.refused = Some("Policy doesn't allow it".into());
    world.step();
    world.enable();
    world.assert_phase(Phase::Blocked);
    world.disable(Some("for Sidestep"));
    assert_eq!(named(&world.step()), vec![(1, 1)]);
    world.assert_phase(Phase::Draining);
}

#[test]
fn the_third_time_that_the_host_is_disabled_again_is_no_dead_end_yet() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.step();
    world.go();
    for pause in [60, 120, 240] {
        world.enable();
        world.step();
        world.now += pause;
        assert_eq!(writes(&world.step()).len(), 1);
        world.assert_phase(Phase::Draining);
        world.step();
        assert_eq!(world.reason(Kind::Contested), "NotContested");
    }
}

#[test]
fn contested_a_suspended_object_does_not_disable_the_host_again() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.spec.suspend = true;
    world.enable();
    world.step();
    world.now += 1000;
    assert!(writes(&world.steps(2)).is_empty());
    world.assert_phase(Phase::Suspended);
    assert!(world.message(Kind::Ready).contains("is not out of service"), "{}", world.message(Kind::Ready));
    assert!(world.message(Kind::Contested).contains("once spec.suspend"), "{}", world.message(Kind::Contested));
    world.spec.suspend = false;
    assert_eq!(writes(&world.step()).len(), 1);
}

#[test]
fn what_joined_while_suspended_makes_no_drain_of_a_cordon_afterwards_and_what_joins_then_does() {
    let mut world = by_operator(World::new().with_servers(vec![server(1, "ACTIVE")]));
    world.spec.action = ResponseAction::Cordon;
    world.steps(3);
    world.spec.suspend = true;
    world.joined = Joined { scope: Some(Scope::HostCompromised), drain: Some(at(world.now)), is_new: true };
    world.step();
    world.spec.suspend = false;
    world.steps(3);
    assert_eq!((world.status.effective_action, world.status.effective_scope), (Some(ResponseAction::Cordon), Some(Scope::HostCompromised)));
    world.joined.drain = Some(at(world.now));
    world.step();
    assert_eq!(world.status.effective_action, Some(ResponseAction::Drain));
}

#[test]
fn a_trigger_that_is_too_old_starts_nothing_without_a_new_decision_or_an_approval() {
    let restored = || {
        let mut world = by_operator(World::new().with_servers(vec![server(1, "ACTIVE")]));
        world.now = 100_000;
        world
    };
    let mut world = restored();
    world.go();
    world.go();
    assert_eq!(world.reason(Kind::Accepted), TRIGGER_TOO_OLD);
    world.assert_phase(Phase::AwaitingApproval);
    assert_eq!(world.service.as_ref().unwrap().status, ServiceStatus::Enabled);
    assert_eq!(world.status.host, None);
    // Approved, it goes on.
    world.spec.approval.plan = world.plan_digest();
    assert_eq!(writes(&world.step()).len(), 1);
    world.step();
    world.assert_phase(Phase::Draining);
    // A newer decision does too.
    let mut world = restored();
    world.go();
    world.joined = Joined { scope: Some(Scope::HostThreatened), drain: Some(at(100)), is_new: true };
    assert_eq!(writes(&world.step()).len(), 1);
    world.step();
    world.assert_phase(Phase::Draining);
}

#[test]
fn a_restored_object_takes_over_the_host_that_carries_sidesteps_mark() {
    let mut world = by_operator(World::new().with_servers(vec![server(1, "ACTIVE")]));
    world.now = 100_000;
    let service = world.service.as_mut().unwrap();
    (service.status, service.disabled_reason) = (ServiceStatus::Disabled, Some("sidestep/0b6f8a4e-5c1d-4c0e-9a3f-6c1f1d2e3a4b before=enabled: why".into()));
    assert_eq!(writes(&world.step()).len(), 1, "the mark becomes this object's own");
    assert!(!world.status.host.as_ref().unwrap().disabled_before);
    world.step();
    world.assert_phase(Phase::AwaitingApproval);
    assert_eq!(world.reason(Kind::Approved), TRIGGER_TOO_OLD);
    (world.spec.release.requested, world.spec.release.force) = (true, true);
    world.steps(2);
    world.assert_phase(Phase::Released);
    assert_eq!(world.service.as_ref().unwrap().status, ServiceStatus::Enabled);
}

#[test]
fn what_was_decided_a_moment_ago_is_not_too_old() {
    let mut world = by_operator(World::new());
    world.step();
    assert_eq!(world.reason(Kind::Accepted), "GatesPassed");
    let entry = entry(TimelineEvent::Decided, at(100), ClockName::Operator);
    assert!(world.status.timeline.contains(&entry));
}
