//! Facts about what happens to a server while its run is at work, and not by it; and about how often Nova is asked.

use super::fixtures::{at, attempt, on_source, row, run, server};
use super::*;
use crate::api::run::{AbortReason, Outcome, RunPhase};
use crate::migration::DEADLINE_EXCEEDED;

fn open() -> MigrationRunStatus {
    MigrationRunStatus { attempts: vec![attempt(1)], ..MigrationRunStatus::default() }
}

fn seen(host: &str, status: &str, task: Option<&str>, rows: Vec<NovaMigration>) -> Observation {
    let server = server(host, status, task);
    let on_source_host = host == "cmp-1";
    let sight = if on_source_host { ServerSight::OnSource(server) } else { ServerSight::Elsewhere(server) };
    Observation { server: sight, listed_on_source: Some(on_source_host), rows, ..on_source() }
}

fn led(id: u64, kind: &str, status: &str, from: &str, to: &str) -> NovaMigration {
    NovaMigration { migration_type: kind.into(), source_compute: Some(from.into()), dest_compute: Some(to.into()), ..row(id, status) }
}

fn reason(next: &Next) -> String {
    find(&next.status.conditions, Kind::Succeeded).unwrap().reason.clone()
}

#[track_caller]
fn assert_overtaken(next: &Next) {
    assert_eq!((next.status.phase, next.status.attempts[0].outcome), (Some(RunPhase::Superseded), Some(Outcome::Overtaken)), "{:?}", next.status.conditions);
}

#[test]
fn a_server_that_was_evacuated_while_its_attempt_was_open_is_not_waited_for() {
    // The row says running for ever, or turns to error when the source's nova-compute comes back.
    for status in ["running", "error"] {
        assert_overtaken(&decide(&run(), &open(), &seen("cmp-3", "ACTIVE", None, vec![row(8, status)]), at(9)));
        let to_the_same_host = vec![led(9, "evacuation", "done", "cmp-1", "cmp-2"), row(8, status)];
        assert_overtaken(&decide(&run(), &open(), &seen("cmp-2", "ACTIVE", None, to_the_same_host), at(9)));
    }
}

#[test]
fn a_server_that_is_on_its_way_or_has_just_arrived_is_not_overtaken() {
    for (host, status, task) in [("cmp-3", "MIGRATING", Some("migrating")), ("cmp-3", "ACTIVE", Some("rebuilding")), ("cmp-2", "ACTIVE", None)] {
        let next = decide(&run(), &open(), &seen(host, status, task, vec![row(8, "running")]), at(9));
        assert_eq!(next.status.phase, Some(RunPhase::Running), "{host} {status} {task:?}");
    }
    let failed_at_the_end = decide(&run(), &open(), &seen("cmp-2", "ACTIVE", None, vec![row(8, "error")]), at(9));
    assert_eq!(reason(&failed_at_the_end), "LeftInError");
}

#[test]
fn a_server_that_came_back_between_two_looks_is_no_record_behind_its_guest() {
    let rows = vec![led(9, "live-migration", "completed", "cmp-2", "cmp-1"), row(8, "completed")];
    assert_overtaken(&decide(&run(), &open(), &seen("cmp-1", "ACTIVE", None, rows.clone()), at(9)));
    assert_overtaken(&decide(&run(), &open(), &seen("cmp-1", "ACTIVE", None, rows), at(1900)));
    let alone = decide(&run(), &open(), &seen("cmp-1", "ACTIVE", None, vec![row(8, "completed")]), at(1900));
    assert_eq!(reason(&alone), "RecordBehindGuest");
}

#[test]
fn a_server_that_was_soft_deleted_is_nobodys_to_move() {
    let next = decide(&run(), &MigrationRunStatus::default(), &seen("cmp-1", "SOFT_DELETED", None, vec![]), at(9));
    assert_eq!((next.step, next.status.phase), (Step::Wait, Some(RunPhase::Superseded)));
}

#[test]
fn a_move_that_has_left_is_not_aborted_for_those_that_wait() {
    let status = decide(&run(), &open(), &seen("cmp-1", "MIGRATING", Some("migrating"), vec![row(8, "running")]), at(5)).status;
    let crowded = |host, status, task| Observation { others_wait: true, ..seen(host, status, task, vec![row(8, "running")]) };
    assert_eq!(decide(&run(), &status, &crowded("cmp-2", "ACTIVE", None), at(900)).step, Step::Wait);
    assert_eq!(decide(&run(), &status, &crowded("cmp-1", "MIGRATING", Some("migrating")), at(900)).step, Step::Abort(8));
}

/// When an end is asked for, in a world where asking shows no effect.
fn asked(mut status: MigrationRunStatus, seen: &Observation, seconds: i64) -> (Vec<i64>, MigrationRunStatus) {
    let mut times = Vec::new();
    for second in 1..seconds {
        let next = decide(&run(), &status, seen, at(second));
        if next.step != Step::Wait {
            times.push(second);
        }
        status = next.status;
    }
    (times, status)
}

#[test]
fn an_end_without_effect_is_asked_for_ten_times_with_growing_pauses() {
    let aborted = Observation { aborted: true, ..seen("cmp-1", "MIGRATING", Some("migrating"), vec![row(8, "running")]) };
    let (times, status) = asked(open(), &aborted, 20_000);
    assert_eq!(times, [1, 11, 31, 71, 151, 311, 631, 1271, 2551, 5111]);
    assert_eq!(find(&status.conditions, Kind::Stalled).unwrap().reason, DEADLINE_EXCEEDED);

    let mut cold = open();
    cold.attempts[0].kind = MoveKind::Cold;
    let finished = vec![NovaMigration { migration_type: "migration".into(), ..row(8, "finished") }];
    assert_eq!(asked(cold, &seen("cmp-2", "VERIFY_RESIZE", None, finished), 20_000).0, times);
}

#[test]
fn the_condition_of_an_overdue_attempt_does_not_change_when_its_end_is_asked_for_again() {
    let seen = Observation { aborted: true, ..seen("cmp-1", "MIGRATING", Some("migrating"), vec![row(8, "running")]) };
    let (_, status) = asked(open(), &seen, 2000);
    let again = decide(&run(), &status, &seen, at(2551));
    assert_eq!((again.step, &again.status.conditions), (Step::Abort(8), &status.conditions));
    assert_eq!(decide(&run(), &again.status, &seen, at(2561)).status, again.status, "and nothing is written while nothing happens");
}

#[test]
fn a_person_who_aborts_does_not_wait_for_the_pauses_of_a_withdrawal() {
    let queued = seen("cmp-1", "MIGRATING", Some("migrating"), vec![row(8, "queued")]);
    let (_, status) = asked(open(), &Observation { wish: Wish::WithdrawQueued, ..queued.clone() }, 100);
    let next = decide(&run(), &status, &Observation { aborted: true, ..queued }, at(101));
    assert_eq!((next.step, next.status.attempts[0].abort_reason), (Step::Abort(8), Some(AbortReason::Requested)));
}

#[test]
fn what_fails_while_the_brake_holds_is_free_five_times_and_then_the_run_comes_to_its_end() {
    let named = Run { may_choose: false, ..run() };
    let mut status = MigrationRunStatus::default();
    let mut outcomes = Vec::new();
    for turn in 0..8_u32 {
        let now = at(i64::from(turn) * 100);
        let asked = decide(&named, &status, &on_source(), now);
        assert_eq!(asked.step, Step::Ask, "turn {turn}");
        let failed = Observation {
            braked: true,
            failure: Some("Unacceptable CPU info".into()),
            ..seen("cmp-1", "ACTIVE", None, vec![row(8 + u64::from(turn), "error")])
        };
        status = decide(&named, &asked.status, &failed, now).status;
        outcomes.push(status.attempts.last().unwrap().outcome.unwrap());
    }
    assert_eq!(outcomes[..5], [Outcome::DependencyDown; 5]);
    assert_eq!(outcomes[5..], [Outcome::Error; 3]);
    assert!(find(&status.conditions, Kind::Stalled).unwrap().message.contains("Unacceptable CPU info"));
}

#[test]
fn why_a_host_cannot_be_looked_at_stands_only_in_a_run_that_has_not_begun() {
    let refused = unseen(&run(), &MigrationRunStatus::default(), &Standing::Refuses("HostNotFound", "Nova has no such host".into()), at(1));
    assert_eq!((refused.status.phase, reason(&refused).as_str()), (Some(RunPhase::Refused), "HostNotFound"));
    let held = Standing::Holds { reason: Some("CloudNotFound"), message: "there is no such cloud".into(), until: None };
    let waits = unseen(&run(), &MigrationRunStatus::default(), &held, at(1));
    assert_eq!((waits.status.phase, reason(&waits).as_str(), waits.status.conditions.len()), (Some(RunPhase::Planned), "CloudNotFound", 3));
    assert_eq!(unseen(&run(), &open(), &held, at(1)).status, open());
}
