//! Facts about the transitions of a run.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::fixtures::{at, attempt, on_source, row, run, server};
use super::*;
use crate::api::run::{AbortReason, FailureReason, Outcome, RunPhase};
use crate::migration::DEADLINE_EXCEEDED;

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
    assert_eq!(next.status.attempts[0].outcome, Some(Outcome::DestinationRefused));
    assert_eq!(next.status.attempts[0].message.as_deref(), Some("No valid host was found."));
    assert_phase(&next, RunPhase::Waiting);
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
fn only_active_paused_and_shut_off_servers_without_a_task_are_asked_for() {
    for (status, task, step) in [
        ("ACTIVE", None, Step::Ask),
        ("PAUSED", None, Step::Ask),
        ("SHUTOFF", None, Step::Ask),
        ("SUSPENDED", None, Step::Wait),
        ("VERIFY_RESIZE", None, Step::Wait),
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

// ---- destinations ----

fn refused() -> Observation {
    Observation { failure: Some("Unacceptable CPU info".into()), ..with_rows(on_source(), vec![row(8, "error")]) }
}

#[test]
fn the_destination_stands_in_the_intent() {
    let named = decide(&run(), &MigrationRunStatus::default(), &on_source(), at(5)).status;
    assert_eq!((named.attempts[0].destination.as_deref(), named.destination_host.as_deref()), (Some("cmp-2"), Some("cmp-2")));
    let free = Observation { choice: Choice::Scheduler, ..on_source() };
    assert_eq!(decide(&run(), &MigrationRunStatus::default(), &free, at(5)).status.attempts[0].destination, None);
}

#[test]
fn a_refusal_before_copying_uses_up_no_attempt_five_times() {
    let mut status = MigrationRunStatus::default();
    let mut outcomes = Vec::new();
    for turn in 0..8 {
        let now = at(i64::from(turn) * 100);
        let asked = decide(&run(), &status, &on_source(), now);
        assert_eq!(asked.step, Step::Ask, "turn {turn}");
        let mut seen = refused();
        seen.rows[0].id = 8 + u64::try_from(turn).unwrap();
        status = decide(&run(), &asked.status, &seen, now).status;
        outcomes.push((status.attempts.last().unwrap().number, status.attempts.last().unwrap().outcome.unwrap()));
    }
    assert_eq!(outcomes[..5], [(1, Outcome::DestinationRefused); 5]);
    assert_eq!(outcomes[5..], [(1, Outcome::Error), (2, Outcome::Error), (3, Outcome::Error)]);
    assert_eq!(status.phase, Some(RunPhase::Failed));
}

#[test]
fn a_failure_after_the_copy_began_or_at_a_destination_that_a_person_named_uses_up_an_attempt() {
    let mut copying = open();
    copying.attempts[0].copying_at = Some(MicroTime(at(1)));
    assert_eq!(decide(&run(), &copying, &refused(), at(5)).status.attempts[0].outcome, Some(Outcome::Error));
    let named = Run { may_choose: false, ..run() };
    assert_eq!(decide(&named, &open(), &refused(), at(5)).status.attempts[0].outcome, Some(Outcome::Error));
}

#[test]
fn while_the_brake_holds_no_attempt_is_used_up_and_the_next_try_is_said() {
    let seen = Observation { braked: true, ..refused() };
    let named = Run { may_choose: false, ..run() };
    let next = decide(&named, &open(), &seen, at(5));
    assert_eq!(next.status.attempts[0].outcome, Some(Outcome::DependencyDown));
    let held = Standing::Holds { reason: Some("DependencyDown"), message: "neutron".into(), until: Some(at(70)) };
    let held = decide(&run(), &next.status, &Observation { standing: held, ..on_source() }, at(10));
    assert_eq!((held.step, held.status.next_attempt.as_ref().unwrap().0, held.wake), (Step::Wait, at(70), Some(Duration::from_secs(60))));
    assert_eq!(reason(&held), "DependencyDown");
}

#[test]
fn a_server_in_error_is_never_taken_for_one_that_was_refused() {
    let seen = Observation { server: ServerSight::OnSource(server("cmp-1", "ERROR", None)), ..refused() };
    assert_eq!(decide(&run(), &open(), &seen, at(5)).status.attempts[0].outcome, Some(Outcome::Error));
}

// ---- abort, withdrawal, suspension ----

fn open_with(row_status: &str) -> Observation {
    with_rows(migrating(), vec![row(8, row_status)])
}

#[test]
fn what_is_queued_is_withdrawn_and_what_runs_goes_on() {
    for change in
        [Observation { wish: Wish::WithdrawQueued, ..open_with("queued") }, Observation { unfit: Some("cmp-2 is quarantined".into()), ..open_with("queued") }]
    {
        let next = decide(&run(), &open(), &change, at(5));
        assert_eq!(next.step, Step::Abort(8));
        assert_eq!(next.status.attempts[0].abort_reason, Some(AbortReason::Withdrawn));
        let running = Observation { rows: vec![row(8, "running")], ..change.clone() };
        assert_eq!(decide(&run(), &open(), &running, at(5)).step, Step::Wait);
        let accepted = Observation { rows: vec![row(8, "accepted")], ..change };
        assert_eq!(decide(&run(), &open(), &accepted, at(5)).step, Step::Wait, "Nova refuses that");
    }
}

#[test]
fn a_withdrawn_request_uses_up_no_attempt() {
    let asked = decide(&run(), &open(), &Observation { wish: Wish::WithdrawQueued, ..open_with("queued") }, at(5));
    let next = decide(&run(), &asked.status, &with_rows(on_source(), vec![row(8, "cancelled")]), at(6));
    assert_eq!(next.status.attempts[0].outcome, Some(Outcome::Withdrawn));
    let again = decide(&run(), &next.status, &on_source(), at(9));
    assert_eq!((again.step, again.status.attempts[1].number), (Step::Ask, 1));
}

#[test]
fn an_abort_by_a_person_ends_queued_and_running_moves_for_good() {
    for row_status in ["queued", "running"] {
        let asked = decide(&run(), &open(), &Observation { aborted: true, ..open_with(row_status) }, at(5));
        assert_eq!(asked.step, Step::Abort(8));
        let cancelled = decide(&run(), &asked.status, &Observation { aborted: true, ..with_rows(on_source(), vec![row(8, "cancelled")]) }, at(6));
        assert_eq!(cancelled.status.attempts[0].outcome, Some(Outcome::Aborted));
        assert!(!is_finished(&cancelled.status), "Nova may call the server ERROR yet");
        let settled = decide(&run(), &cancelled.status, &Observation { aborted: true, ..on_source() }, at(11));
        assert_phase(&settled, RunPhase::Aborted);
        assert_eq!(decide(&run(), &settled.status, &on_source(), at(99)).step, Step::Wait);
    }
}

#[test]
fn a_move_that_ends_before_the_abort_reaches_it_has_succeeded() {
    let asked = decide(&run(), &open(), &Observation { aborted: true, ..open_with("running") }, at(5));
    let done = Observation { aborted: true, ..with_rows(left(), vec![row(8, "completed")]) };
    assert_phase(&decide(&run(), &asked.status, &done, at(6)), RunPhase::Succeeded);
}

#[test]
fn an_abort_that_leaves_the_server_in_error_says_how_it_is_repaired() {
    let asked = decide(&run(), &open(), &Observation { aborted: true, ..open_with("running") }, at(5));
    let cancelled = decide(&run(), &asked.status, &Observation { aborted: true, ..with_rows(on_source(), vec![row(8, "cancelled")]) }, at(6));
    let error = Observation { server: ServerSight::OnSource(server("cmp-1", "ERROR", None)), aborted: true, ..on_source() };
    let next = decide(&run(), &cancelled.status, &error, at(8));
    assert_eq!(reason(&next), FailureReason::ErrorAfterAbort.as_str());
    assert!(find(&next.status.conditions, Kind::Stalled).unwrap().message.contains("openstack server set --state active"));
}

#[test]
fn an_abort_is_asked_for_again_only_after_a_while() {
    let seen = Observation { aborted: true, ..open_with("running") };
    let first = decide(&run(), &open(), &seen, at(5));
    assert_eq!(decide(&run(), &first.status, &seen, at(14)).step, Step::Wait);
    assert_eq!(decide(&run(), &first.status, &seen, at(15)).step, Step::Abort(8));
}

#[test]
fn a_run_that_is_aborted_before_it_began_asks_for_nothing() {
    let next = decide(&run(), &MigrationRunStatus::default(), &Observation { aborted: true, ..on_source() }, at(5));
    assert_phase(&next, RunPhase::Aborted);
    assert_eq!(next.step, Step::Wait);
}

#[test]
fn a_copy_that_takes_too_long_is_aborted_only_while_others_wait() {
    let status = decide(&run(), &open(), &open_with("running"), at(5)).status;
    let alone = open_with("running");
    let crowded = Observation { others_wait: true, ..alone.clone() };
    assert_eq!(decide(&run(), &status, &alone, at(206)).step, Step::Wait);
    assert_eq!(decide(&run(), &status, &crowded, at(205)).step, Step::Wait);
    let next = decide(&run(), &status, &crowded, at(206));
    assert_eq!((next.step, next.status.attempts[0].abort_reason), (Step::Abort(8), Some(AbortReason::CompletionTimeout)));
    let ended = decide(&run(), &next.status, &with_rows(on_source(), vec![row(8, "cancelled")]), at(207)).status;
    assert_eq!((ended.attempts[0].outcome, ended.phase), (Some(Outcome::TimedOut), Some(RunPhase::Waiting)));
}

// ---- shut off ----

fn cold() -> MigrationRunStatus {
    let mut status = open();
    status.attempts[0].kind = MoveKind::Cold;
    status
}

fn cold_row(status: &str) -> NovaMigration {
    NovaMigration { migration_type: "migration".into(), ..row(8, status) }
}

fn arrived(host: &str) -> Observation {
    Observation { server: ServerSight::Elsewhere(server(host, "VERIFY_RESIZE", None)), listed_on_source: Some(false), ..on_source() }
}

#[test]
fn a_server_that_is_shut_off_is_asked_for_cold_and_confirmed_only_where_it_was_seen() {
    let shut_off = Observation { server: ServerSight::OnSource(server("cmp-1", "SHUTOFF", None)), ..on_source() };
    assert_eq!(decide(&run(), &MigrationRunStatus::default(), &shut_off, at(1)).status.attempts[0].kind, MoveKind::Cold);
    let finished = vec![cold_row("finished")];
    let not_seen = with_rows(Observation { server: ServerSight::OnSource(server("cmp-1", "VERIFY_RESIZE", None)), ..on_source() }, finished.clone());
    assert_eq!(decide(&run(), &cold(), &not_seen, at(5)).step, Step::Wait);
    assert_eq!(decide(&run(), &cold(), &with_rows(arrived("cmp-3"), finished.clone()), at(5)).step, Step::Wait, "elsewhere than the record says");
    let seen = with_rows(arrived("cmp-2"), finished);
    let next = decide(&run(), &cold(), &seen, at(5));
    assert_eq!((next.step, next.status.attempts[0].confirm_at.as_ref().unwrap().0), (Step::Confirm, at(5)));
    assert_eq!(decide(&run(), &next.status, &seen, at(6)).step, Step::Wait, "once");
    let confirmed = Observation { server: ServerSight::Elsewhere(server("cmp-2", "SHUTOFF", None)), ..arrived("cmp-2") };
    assert_phase(&decide(&run(), &next.status, &with_rows(confirmed, vec![cold_row("confirmed")]), at(7)), RunPhase::Succeeded);
}

#[test]
fn somebody_elses_resize_is_never_confirmed() {
    let mut status = cold();
    status.attempts[0].highest_migration_id_before = Some(8);
    let seen = with_rows(arrived("cmp-2"), vec![cold_row("finished")]);
    assert_eq!(decide(&run(), &status, &seen, at(5)).step, Step::Wait);
    let resize = NovaMigration { migration_type: "resize".into(), ..row(9, "finished") };
    assert_eq!(decide(&run(), &status, &with_rows(arrived("cmp-2"), vec![resize]), at(5)).step, Step::Wait);
}

#[test]
fn a_node_of_our_own_cluster_is_never_moved_cold() {
    let own = Run { is_own_node: true, ..run() };
    let shut_off = Observation { server: ServerSight::OnSource(server("cmp-1", "SHUTOFF", None)), ..on_source() };
    assert_eq!(decide(&own, &MigrationRunStatus::default(), &shut_off, at(1)).step, Step::Wait);
    assert_eq!(decide(&own, &MigrationRunStatus::default(), &on_source(), at(1)).step, Step::Ask);
}

#[test]
fn a_cold_migration_that_its_owner_reverts_has_failed() {
    let next = decide(
        &run(),
        &cold(),
        &with_rows(Observation { server: ServerSight::OnSource(server("cmp-1", "SHUTOFF", None)), ..on_source() }, vec![cold_row("reverted")]),
        at(5),
    );
    assert_eq!(next.status.attempts[0].outcome, Some(Outcome::Error));
}

// ---- made by hand ----

#[test]
fn a_run_that_must_not_begin_is_refused_and_one_that_has_begun_goes_on() {
    let refuses = Standing::Refuses("DestinationQuarantined", "cmp-2 is quarantined".into());
    let next = decide(&run(), &MigrationRunStatus::default(), &Observation { standing: refuses.clone(), ..on_source() }, at(1));
    assert_phase(&next, RunPhase::Refused);
    assert_eq!(reason(&next), "DestinationQuarantined");
    assert_phase(&decide(&run(), &open(), &Observation { standing: refuses, ..open_with("running") }, at(1)), RunPhase::Running);
}
