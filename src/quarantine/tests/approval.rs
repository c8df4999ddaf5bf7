//! A plan and the agreement to it: mode Approve.

use super::*;
use crate::api::units::Scope;
use crate::quarantine::{approved_hosts, permission_for};

fn approving(servers: Vec<Server>) -> World {
    let mut world = World::new().with_servers(servers);
    world.spec.mode = Mode::Approve;
    world.step();
    world.go();
    world
}

fn approve(world: &mut World) -> String {
    let digest = world.plan_digest();
    world.spec.approval.plan.clone_from(&digest);
    world.spec.approval.approved_by = "kim".into();
    digest
}

#[test]
fn approval_cordons_at_once_and_moves_nothing_before_the_plan_is_approved() {
    let mut world = approving(vec![server(1, "ACTIVE"), server(2, "SUSPENDED")]);
    world.assert_phase(Phase::AwaitingApproval);
    assert!(is_true(&world.status.conditions, Kind::Cordoned) && is_true(&world.status.conditions, Kind::PlanReady));
    let approved = find(&world.status.conditions, Kind::Approved).unwrap();
    assert!(approved.message.contains(&world.plan_digest()) && approved.message.contains("kubectl patch hq q"), "{}", approved.message);
    assert_eq!(world.runs.len(), 1, "the plan's content is kept: its runs are there, and wait");
    assert_eq!(world.runs[0].plan, world.plan_digest());
    assert!(matches!(permission_for(&world.object(), &world.plan_digest()), Permission::Holds(_)));
    let digest = approve(&mut world);
    world.step();
    world.assert_phase(Phase::Draining);
    assert_eq!(permission_for(&world.object(), &digest), Permission::Permits);
    assert_eq!(approved_hosts(&world.object()).unwrap(), ["cmp-2", "cmp-3"]);
    assert!(world.moment(TimelineEvent::Approved).is_some());
    let approved = find(&world.status.conditions, Kind::Approved).unwrap();
    assert!(approved.message.contains("by kim"), "{}", approved.message);
}

#[test]
fn waiting_for_a_person_is_under_way_and_not_stalled() {
    let mut world = approving(vec![server(1, "ACTIVE")]);
    world.step();
    assert!(is_true(&world.status.conditions, Kind::Reconciling) && !is_true(&world.status.conditions, Kind::Stalled));
    assert_eq!(world.status.observed_generation, Some(1));
}

#[test]
fn approval_of_another_plan_lets_nothing_start() {
    let mut world = approving(vec![server(1, "ACTIVE")]);
    world.spec.approval.plan = "f".repeat(64);
    world.step();
    world.assert_phase(Phase::AwaitingApproval);
    assert_eq!(world.reason(Kind::Approved), "PlanChanged");
    assert!(world.status.approved.is_none());
}

#[test]
fn a_plan_that_grows_before_its_approval_has_another_name() {
    let mut world = approving(vec![server(1, "ACTIVE")]);
    let first = world.plan_digest();
    world.servers.push(server(2, "ACTIVE"));
    world.go();
    assert_ne!(world.plan_digest(), first);
    // The run of the first plan is replaced by one of the second.
    assert!(matches!(permission_for(&world.object(), &first), Permission::Over(_)));
    world.runs.iter_mut().filter(|run| run.plan == first).for_each(|run| run.state = RunState::Superseded);
    world.go();
    let second = world.plan_digest();
    assert!(world.runs.iter().any(|run| run.server == id(1) && run.ordinal == 2 && run.plan == second));
    world.step();
    assert_eq!(world.plan_digest(), second, "nothing more was added");
}

#[test]
fn approval_of_less_is_never_needed_anew() {
    let mut world = approving(vec![server(1, "ACTIVE"), server(2, "ACTIVE")]);
    let digest = approve(&mut world);
    world.step();
    world.servers.pop();
    world.hosts.pop();
    world.step();
    world.assert_phase(Phase::Draining);
    assert_eq!(permission_for(&world.object(), &digest), Permission::Permits);
    assert_eq!(world.reason(Kind::Approved), "Approved");
}

#[test]
fn approval_of_its_own_is_what_a_server_waits_for_that_comes_later() {
    let mut world = approving(vec![server(1, "ACTIVE")]);
    let first = approve(&mut world);
    world.step();
    world.servers = vec![server(2, "ACTIVE")];
    world.run(1, RunState::Succeeded(at(world.now)));
    for _ in 0..2 {
        world.go();
        world.assert_phase(Phase::AwaitingApproval);
        assert_eq!(world.status.residents[0].reason, ResidentReason::ArrivedAfterApproval);
    }
    let second = world.plan_digest();
    assert_ne!(second, first);
    assert!(matches!(permission_for(&world.object(), &second), Permission::Over(_) | Permission::Holds(_)));
    approve(&mut world);
    world.step();
    world.assert_phase(Phase::Draining);
    assert_eq!(permission_for(&world.object(), &second), Permission::Permits);
    assert_eq!(permission_for(&world.object(), &first), Permission::Permits, "what was approved first still is");
}

#[test]
fn approval_late_arrivals_may_move_where_the_spec_says_so() {
    let mut world = approving(vec![server(1, "ACTIVE")]);
    approve(&mut world);
    world.spec.allow_late_arrivals = true;
    world.step();
    world.servers.push(server(2, "ACTIVE"));
    assert_eq!(named(&world.step()), vec![(2, 1)]);
    assert_eq!(permission_for(&world.object(), &world.plan_digest()), Permission::Permits);
}

#[test]
fn approval_that_is_taken_back_holds_the_rest() {
    let mut world = approving(vec![server(1, "ACTIVE")]);
    approve(&mut world);
    world.step();
    world.spec.approval.plan.clear();
    world.step();
    world.assert_phase(Phase::AwaitingApproval);
    assert!(matches!(permission(&world.object()), Permission::Holds(_)));
}

#[test]
fn approval_is_void_under_a_stricter_scope() {
    let mut world = approving(vec![server(1, "ACTIVE")]);
    approve(&mut world);
    world.step();
    world.joined.scope = Some(Scope::Unknown);
    world.step();
    assert!(world.status.approved.is_none());
    assert_eq!(world.reason(Kind::Approved), "PlanChanged");
    world.assert_phase(Phase::AwaitingApproval);
}

#[test]
fn the_deadline_begins_with_the_approval() {
    let mut world = approving(vec![server(1, "ACTIVE")]);
    world.now += 10_000;
    world.step();
    approve(&mut world);
    world.step();
    world.assert_phase(Phase::Draining);
    world.now += 1900;
    world.step();
    assert_eq!(world.reason(Kind::Drained), DEADLINE_EXCEEDED);
}

#[test]
fn an_empty_host_needs_nobodys_approval() {
    let mut world = World::new();
    world.spec.mode = Mode::Approve;
    world.steps(4);
    world.assert_phase(Phase::Empty);
}

#[test]
fn enforce_that_becomes_approve_waits_for_approval_of_what_is_left() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.step();
    world.go();
    world.assert_phase(Phase::Draining);
    world.spec.mode = Mode::Approve;
    world.step();
    world.assert_phase(Phase::AwaitingApproval);
    approve(&mut world);
    world.step();
    world.assert_phase(Phase::Draining);
}

#[test]
fn observe_shows_the_plan_that_approve_would_ask_about() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.spec.mode = Mode::Observe;
    world.steps(2);
    let plan = world.status.plan.clone().unwrap();
    assert_eq!((plan.servers, plan.hosts.len()), (1, 2));
    world.spec.mode = Mode::Approve;
    world.step();
    world.go();
    assert_eq!(world.plan_digest(), plan.digest);
}
