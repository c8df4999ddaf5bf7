//! The drain's deadline: what time counts.

use super::*;

#[test]
fn after_the_deadline_nothing_new_starts_and_the_rest_is_named() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Pending);
    world.now += 1900;
    world.servers.push(server(2, "ACTIVE"));
    assert!(made(&world.step()).is_empty());
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.status.residents.iter().filter(|resident| resident.reason == ResidentReason::DrainDeadlineExceeded).count(), 2);
    assert_eq!(world.reason(Kind::Drained), DEADLINE_EXCEEDED);
}

#[test]
fn the_deadline_does_not_run_while_the_cloud_cannot_be_asked() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Pending);
    world.cloud = CloudSight::Unusable { reason: "Unreachable".into(), message: "down".into() };
    world.step();
    world.assert_phase(Phase::Draining);
    world.now += 1900;
    world.step();
    world.cloud = CloudSight::Usable;
    world.step();
    world.assert_phase(Phase::Draining);
}

#[test]
fn the_deadline_does_not_run_while_no_operator_acts() {
    let mut world = World::new().with_servers(vec![server(1, "ACTIVE")]);
    world.steps(2);
    world.run(1, RunState::Pending);
    world.step();
    let begun = world.now;
    world.absence = Some((at(begun + 100), at(begun + 5000)));
    world.now = begun + 5000;
    world.steps(2);
    world.assert_phase(Phase::Draining);
    assert_eq!(world.status.deadline.as_ref().unwrap().used_millis / 1000, 100 + 1);
    world.now += 1690;
    world.step();
    world.assert_phase(Phase::Draining);
    world.now += 20;
    world.step();
    assert_eq!(world.reason(Kind::Drained), DEADLINE_EXCEEDED);
}

#[test]
fn a_move_that_nova_has_not_begun_with_at_the_deadline_is_a_resident() {
    let mut world = World::new().with_servers(vec![server(1, "MIGRATING")]);
    world.steps(2);
    world.run(1, RunState::Queued);
    world.step();
    world.assert_phase(Phase::Draining);
    world.now += 1900;
    world.step();
    world.assert_phase(Phase::Blocked);
    assert_eq!(world.status.residents[0].reason, ResidentReason::Busy);
}

#[test]
fn active_a_refusal_is_asked_again_until_the_deadline_and_then_stays() {
    let mut world = World::new();
    world.gates = Err(Refusal { reason: "OverBudget".into(), message: "full".into(), is_final: false });
    world.step();
    world.assert_phase(Phase::Refused);
    world.gates = Ok(());
    assert_eq!(writes(&world.step()).len(), 1);
    let mut late = World::new();
    late.gates = Err(Refusal { reason: "OverBudget".into(), message: "full".into(), is_final: false });
    late.step();
    late.now += 1900;
    late.gates = Ok(());
    assert!(late.step().is_empty());
    late.assert_phase(Phase::Refused);
}
