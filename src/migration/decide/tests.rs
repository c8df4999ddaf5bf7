//! Facts about the transitions of a run.

use super::fixtures::{at, attempt, row, server, server_id, source};
use super::*;

fn run() -> Run {
    Run { server: server_id(), source: source(), max_attempts: 3, deadline: Duration::from_secs(1800), generation: Some(1) }
}

fn on_source() -> Observation {
    Observation {
        server: ServerSight::OnSource(server("cmp-1", "ACTIVE", None)),
        listed_on_source: Some(true),
        rows: vec![],
        progress: None,
        failure: None,
        absence: None,
        standing: Standing::Permits,
    }
}

fn migrating() -> Observation {
    Observation { server: ServerSight::OnSource(server("cmp-1", "MIGRATING", Some("migrating"))), ..on_source() }
}

fn left() -> Observation {
    Observation { server: ServerSight::Elsewhere(server("cmp-2", "ACTIVE", None)), listed_on_source: Some(false), ..on_source() }
}

fn with_rows(mut seen: Observation, rows: Vec<NovaMigration>) -> Observation {
    seen.rows = rows;
    seen
}

fn open() -> MigrationRunStatus {
    MigrationRunStatus { attempts: vec![attempt(1)], ..MigrationRunStatus::default() }
}

#[track_caller]
fn assert_phase(next: &Next, phase: RunPhase) {
    assert_eq!(next.status.phase, Some(phase), "{:?}", next.status.conditions);
}

fn reason(next: &Next) -> String {
    find(&next.status.conditions, Kind::Succeeded).unwrap().reason.clone()
}

#[test]
fn the_intent_names_the_highest_record_that_was_there_before() {
    let next = decide(&run(), &MigrationRunStatus::default(), &with_rows(on_source(), vec![row(4, "completed"), row(7, "error")]), at(5));
    assert_eq!(next.step, Step::Ask);
    let attempt = next.status.attempts.last().unwrap();
    assert_eq!(attempt.highest_migration_id_before, Some(7));
    assert_eq!(attempt.intent_at.0, at(5));
    assert_eq!(attempt.ended_at, None);
}

#[test]
fn an_open_attempt_is_never_asked_for_again() {
    for second in [1, 59, 61, 3600] {
        let next = decide(&run(), &open(), &on_source(), at(second));
        assert_eq!(next.step, Step::Wait);
        assert_eq!(next.status.attempts.len(), 1);
    }
}

#[test]
fn the_record_of_a_lost_answer_is_adopted() {
    let next = decide(&run(), &open(), &with_rows(migrating(), vec![row(8, "running")]), at(3));
    let attempt = next.status.attempts.last().unwrap();
    assert_eq!(attempt.migration_id, Some(8));
    assert_eq!(attempt.destination.as_deref(), Some("cmp-2"));
    assert_eq!(attempt.copying_at.as_ref().unwrap().0, at(3));
    assert_phase(&next, RunPhase::Running);
}

#[test]
fn an_attempt_without_a_trace_counts_as_not_received_only_after_two_reads_begun_a_minute_later() {
    let early = Observation { absence: Some(Absence { first_begun_at: at(59) }), ..on_source() };
    assert_eq!(decide(&run(), &open(), &early, at(90)).status.attempts[0].outcome, None);
    let late = Observation { absence: Some(Absence { first_begun_at: at(60) }), ..on_source() };
    let next = decide(&run(), &open(), &late, at(90));
    assert_eq!(next.status.attempts[0].outcome, Some(Outcome::NotReceived));
    assert_phase(&next, RunPhase::Waiting);
}

#[test]
fn an_attempt_without_a_record_is_not_given_up_while_nova_works_on_the_server() {
    let seen = Observation { absence: Some(Absence { first_begun_at: at(80) }), ..migrating() };
    assert_eq!(decide(&run(), &open(), &seen, at(90)).status.attempts[0].outcome, None);
}

#[test]
fn success_takes_three_witnesses() {
    let completed = vec![row(8, "completed")];
    let all = decide(&run(), &open(), &with_rows(left(), completed.clone()), at(9));
    assert_phase(&all, RunPhase::Succeeded);
    assert_eq!(all.status.destination_host.as_deref(), Some("cmp-2"));
    assert_eq!(all.status.measured.as_ref().unwrap().duration_millis, Some(9_000));

    let old_host = with_rows(Observation { listed_on_source: Some(false), ..on_source() }, completed.clone());
    assert_phase(&decide(&run(), &open(), &old_host, at(9)), RunPhase::Running);
    let still_listed = with_rows(Observation { listed_on_source: Some(true), ..left() }, completed.clone());
    assert_phase(&decide(&run(), &open(), &still_listed, at(9)), RunPhase::Running);
    let no_list = with_rows(Observation { listed_on_source: None, ..left() }, completed);
    assert_phase(&decide(&run(), &open(), &no_list, at(9)), RunPhase::Running);
    let not_completed = with_rows(left(), vec![row(8, "running")]);
    assert_phase(&decide(&run(), &open(), &not_completed, at(9)), RunPhase::Running);
}

#[test]
fn a_completed_record_with_the_old_host_is_named_after_the_deadline_and_never_repeated() {
    let seen = with_rows(migrating(), vec![row(8, "completed")]);
    assert_phase(&decide(&run(), &open(), &seen, at(1800)), RunPhase::Running);
    let next = decide(&run(), &open(), &seen, at(1801));
    assert_phase(&next, RunPhase::Failed);
    assert_eq!(reason(&next), "RecordBehindGuest");
    assert_eq!(decide(&run(), &next.status, &on_source(), at(9000)).step, Step::Wait);
}

#[test]
fn a_failed_record_waits_until_nova_lets_go_of_the_server() {
    let busy = with_rows(migrating(), vec![row(8, "error")]);
    assert_eq!(decide(&run(), &open(), &busy, at(4)).status.attempts[0].outcome, None);
    let seen = Observation { failure: Some("No valid host was found.".into()), ..with_rows(on_source(), vec![row(8, "error")]) };
    let next = decide(&run(), &open(), &seen, at(5));
    assert_eq!(next.status.attempts[0].outcome, Some(Outcome::Error));
    assert_eq!(next.status.attempts[0].message.as_deref(), Some("No valid host was found."));
    assert_eq!(next.wake, Some(Duration::from_secs(15)));
}

#[test]
fn the_second_attempt_waits_15_s_and_the_third_60_s() {
    let mut status = open();
    let ended = |status: &mut MigrationRunStatus, second| {
        let last = status.attempts.last_mut().unwrap();
        last.ended_at = Some(MicroTime(at(second)));
        last.outcome = Some(Outcome::Error);
    };
    ended(&mut status, 100);
    assert_eq!(decide(&run(), &status, &on_source(), at(114)).step, Step::Wait);
    let second = decide(&run(), &status, &on_source(), at(115));
    assert_eq!(second.step, Step::Ask);
    status = second.status;
    ended(&mut status, 200);
    assert_eq!(decide(&run(), &status, &on_source(), at(259)).step, Step::Wait);
    assert_eq!(decide(&run(), &status, &on_source(), at(260)).step, Step::Ask);
}

#[test]
fn after_the_last_attempt_the_run_fails_with_novas_words() {
    let mut status = open();
    status.attempts[0].ended_at = Some(MicroTime(at(1)));
    let mut second = attempt(2);
    second.ended_at = Some(MicroTime(at(20)));
    status.attempts.extend([second, attempt(3)]);
    let seen = Observation { failure: Some("refused".into()), ..with_rows(on_source(), vec![row(8, "failed")]) };
    let next = decide(&run(), &status, &seen, at(90));
    assert_phase(&next, RunPhase::Failed);
    assert_eq!(reason(&next), "AttemptsExhausted");
    assert!(find(&next.status.conditions, Kind::Stalled).unwrap().message.contains("refused"));
}

#[test]
fn a_request_that_nova_refused_counts_as_an_attempt() {
    let mut status = open();
    status.attempts.extend([attempt(2), attempt(3)]);
    for attempt in &mut status.attempts {
        attempt.ended_at = Some(MicroTime(at(1)));
        attempt.outcome = Some(Outcome::Refused);
        attempt.message = Some("policy".into());
    }
    let next = decide(&run(), &status, &on_source(), at(900));
    assert_eq!(next.step, Step::Wait);
    assert_eq!(reason(&next), "AttemptsExhausted");
}

#[test]
fn a_server_left_in_error_is_not_tried_again() {
    let seen = with_rows(Observation { server: ServerSight::OnSource(server("cmp-1", "ERROR", None)), ..on_source() }, vec![row(8, "error")]);
    let next = decide(&run(), &open(), &seen, at(5));
    assert_phase(&next, RunPhase::Failed);
    assert_eq!(reason(&next), "ErrorAfterAttempt");
}

#[test]
fn time_in_novas_queue_does_not_count_against_the_deadline() {
    let queued = with_rows(migrating(), vec![row(8, "queued")]);
    let next = decide(&run(), &open(), &queued, at(100_000));
    assert_phase(&next, RunPhase::Queued);
    let running = with_rows(migrating(), vec![row(8, "running")]);
    let begun = decide(&run(), &next.status, &running, at(100_001));
    assert_phase(&begun, RunPhase::Running);
    assert_eq!(reason(&begun), "Running");
    let late = decide(&run(), &begun.status, &running, at(101_802));
    assert_eq!(find(&late.status.conditions, Kind::Stalled).unwrap().reason, DEADLINE_EXCEEDED);
    assert_eq!(late.step, Step::Wait);
    let ended = decide(&run(), &late.status, &with_rows(left(), vec![row(8, "completed")]), at(101_900));
    assert_phase(&ended, RunPhase::Succeeded);
}

#[test]
fn a_server_that_is_gone_or_elsewhere_supersedes_the_run() {
    assert_phase(&decide(&run(), &MigrationRunStatus::default(), &left(), at(1)), RunPhase::Superseded);
    let gone = Observation { server: ServerSight::Gone, ..on_source() };
    assert_phase(&decide(&run(), &MigrationRunStatus::default(), &gone, at(1)), RunPhase::Superseded);
    let next = decide(&run(), &open(), &gone, at(1));
    assert_phase(&next, RunPhase::Superseded);
    assert_eq!(next.status.attempts[0].outcome, Some(Outcome::Gone));
}

#[test]
fn a_quarantine_that_is_over_starts_nothing_and_lets_what_runs_go_on() {
    let over = Observation { standing: Standing::Over("the host was released".into()), ..on_source() };
    assert_phase(&decide(&run(), &MigrationRunStatus::default(), &over, at(1)), RunPhase::Superseded);
    let running = Observation { standing: Standing::Over("the host was released".into()), ..with_rows(migrating(), vec![row(8, "running")]) };
    assert_phase(&decide(&run(), &open(), &running, at(1)), RunPhase::Running);
}

#[test]
fn only_active_and_paused_servers_without_a_task_are_asked_for() {
    for (status, task, step) in [
        ("ACTIVE", None, Step::Ask),
        ("PAUSED", None, Step::Ask),
        ("SHUTOFF", None, Step::Wait),
        ("ACTIVE", Some("powering-off"), Step::Wait),
        ("ERROR", None, Step::Wait),
    ] {
        let seen = Observation { server: ServerSight::OnSource(server("cmp-1", status, task)), ..on_source() };
        assert_eq!(decide(&run(), &MigrationRunStatus::default(), &seen, at(1)).step, step, "{status} {task:?}");
    }
}

#[test]
fn figures_of_a_failed_copy_do_not_stand_for_the_move() {
    let sample = MigrationProgress { memory_total: Some(100), memory_processed: Some(60), memory_remaining: Some(40), ..MigrationProgress::default() };
    let copying = Observation { progress: Some(sample), ..with_rows(migrating(), vec![row(8, "running")]) };
    let during = decide(&run(), &open(), &copying, at(2));
    assert_eq!(during.status.progress.unwrap().percent, Some(60));
    assert_eq!(during.status.measured.as_ref().unwrap().transferred_bytes.unwrap().memory, Some(60));
    let failed = decide(&run(), &during.status, &with_rows(on_source(), vec![row(8, "failed")]), at(3));
    assert_eq!(failed.status.measured, None);
}

#[test]
fn a_status_on_which_nothing_happened_is_the_same_again() {
    let seen = with_rows(migrating(), vec![row(8, "running")]);
    let first = decide(&run(), &open(), &seen, at(2));
    assert_eq!(decide(&run(), &first.status, &seen, at(30)).status, first.status);
}

#[test]
fn an_attempt_is_overdue_whatever_it_waits_for() {
    let no_row = migrating();
    let accepted = with_rows(migrating(), vec![row(8, "accepted")]);
    let let_go_never = with_rows(migrating(), vec![row(8, "error")]);
    let still_listed = with_rows(Observation { listed_on_source: Some(true), ..left() }, vec![row(8, "completed")]);
    for seen in [no_row, accepted, let_go_never, still_listed] {
        let next = decide(&run(), &open(), &seen, at(1801));
        assert_eq!(find(&next.status.conditions, Kind::Stalled).unwrap().reason, DEADLINE_EXCEEDED, "{seen:?}");
        assert_eq!(next.step, Step::Wait);
    }
}

#[test]
fn one_look_that_shows_a_move_half_ended_is_no_record_behind_its_guest() {
    let mut just_ended = row(8, "completed");
    just_ended.updated_at = Some(at(1800));
    let next = decide(&run(), &open(), &with_rows(migrating(), vec![just_ended]), at(1801));
    assert_eq!(next.status.attempts[0].outcome, None);
}

#[test]
fn counters_that_arrive_with_the_end_are_kept() {
    let sample = MigrationProgress { memory_processed: Some(60), ..MigrationProgress::default() };
    let seen = Observation { progress: Some(sample), ..with_rows(left(), vec![row(8, "completed")]) };
    let next = decide(&run(), &open(), &seen, at(9));
    assert_eq!(next.status.measured.unwrap().transferred_bytes.unwrap().memory, Some(60));
}

#[test]
fn a_server_that_turns_to_error_after_its_attempt_has_ended_is_not_tried_again() {
    let ended = decide(&run(), &open(), &with_rows(on_source(), vec![row(8, "failed")]), at(5));
    assert_phase(&ended, RunPhase::Waiting);
    let error = Observation { server: ServerSight::OnSource(server("cmp-1", "ERROR", None)), ..on_source() };
    let next = decide(&run(), &ended.status, &error, at(6));
    assert_eq!(reason(&next), "ErrorAfterAttempt");
    assert!(find(&next.status.conditions, Kind::Stalled).unwrap().message.contains("openstack server set --state active"));
}
