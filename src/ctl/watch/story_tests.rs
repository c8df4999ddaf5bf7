//! Tests of what is told.

use serde_json::{Value, json};

use super::*;

fn quarantine(name: &str, status: &Value) -> HostQuarantine {
    let text = json!({
        "apiVersion": "sidestep.dev/v1alpha1", "kind": "HostQuarantine",
        "metadata": {"name": name, "uid": format!("uid-of-{name}"), "generation": 1},
        "spec": {"cloud": "c", "host": format!("host-of-{name}"), "mode": "Enforce", "reason": "suricata 1:2024897"},
        "status": status
    });
    serde_json::from_value(text).unwrap()
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": "2026-03-02T08:15:04Z"})
}

fn draining(name: &str) -> HostQuarantine {
    let timeline = json!([{"event": "cordonRequested", "time": "2026-03-02T08:15:04.250000Z", "clock": "Operator"}]);
    let progress = json!({"total": 4, "waiting": 1, "running": 1, "migrated": 2, "failed": 0, "remaining": 2, "percent": 50});
    let conditions = json!([condition("Reconciling", "True", "Draining", "servers are leaving")]);
    quarantine(name, &json!({"observedGeneration": 1, "timeline": timeline, "progress": progress, "conditions": conditions}))
}

fn empty(name: &str) -> HostQuarantine {
    quarantine(name, &json!({"observedGeneration": 1, "conditions": [condition("Ready", "True", "Empty", "nothing is left")]}))
}

fn blocked(name: &str) -> HostQuarantine {
    let residents = json!([{"server": "6a1fb5a0-0000-0000-0000-000000000001", "name": "web\u{1b}[2J", "reason": "ServerInError", "message": "it is in ERROR"}]);
    let conditions = json!([condition("Stalled", "True", "Residents", "1 server stays"), condition("Ready", "False", "Residents", "")]);
    quarantine(name, &json!({"observedGeneration": 1, "residents": residents, "residentCount": 3, "conditions": conditions}))
}

fn run(quarantine: &str, server: &str, status: &Value) -> MigrationRun {
    let text = json!({
        "apiVersion": "sidestep.dev/v1alpha1", "kind": "MigrationRun",
        "metadata": {"name": server, "ownerReferences": [{"apiVersion": "sidestep.dev/v1alpha1", "kind": "HostQuarantine", "name": quarantine, "uid": format!("uid-of-{quarantine}")}]},
        "spec": {"cloud": "c", "server": server, "sourceHost": format!("host-of-{quarantine}"), "quarantine": quarantine},
        "status": status
    });
    serde_json::from_value(text).unwrap()
}

fn copying(quarantine: &str, server: &str, percent: u32) -> MigrationRun {
    run(quarantine, server, &json!({"phase": "Running", "progress": {"percent": percent}}))
}

fn begun(only: Option<&str>, objects: &[HostQuarantine]) -> (Story, Vec<String>) {
    let mut story = Story::of(only.map(str::to_owned));
    let mut lines: Vec<String> = objects.iter().flat_map(|object| story.quarantine(object)).collect();
    lines.extend(story.begin(false));
    (story, lines)
}

const SERVER: &str = "6a1fb5a0-1111-4111-8111-000000000001";

#[test]
fn each_moment_and_each_state_is_told_once() {
    let (mut story, lines) = begun(None, &[draining("a")]);
    let expected = [
        "host-of-a: HostQuarantine a, mode Enforce: suricata 1:2024897",
        "host-of-a: Nova was asked to disable the host at 08:15:04.250Z (operator clock)",
        "host-of-a: Draining. servers are leaving",
    ];
    assert_eq!(lines, expected);
    assert_eq!(story.quarantine(&draining("a")), Vec::<String>::new());
}

#[test]
fn what_was_at_rest_before_is_not_followed_unless_it_was_asked_for() {
    let (story, lines) = begun(None, &[empty("a")]);
    assert_eq!(lines, ["No host is being quarantined; waiting for the next one."]);
    assert_eq!(story.ended(), None);
    let (story, _) = begun(Some("a"), &[empty("a")]);
    assert_eq!(story.ended(), Some(Ending::Well));
    let (story, lines) = begun(Some("b"), &[draining("a")]);
    assert_eq!((story.ended(), lines), (None, vec!["There is no HostQuarantine b; waiting for it.".to_owned()]));
}

#[test]
fn what_was_at_rest_before_is_followed_when_it_goes_to_work_again_and_not_for_a_mere_look() {
    let (mut story, _) = begun(None, &[empty("a")]);
    assert_eq!(story.quarantine(&empty("a")), Vec::<String>::new());
    assert_eq!(story.rows(Timestamp::UNIX_EPOCH).len(), 0);
    story.quarantine(&draining("a"));
    assert_eq!(story.rows(Timestamp::UNIX_EPOCH).len(), 1);
    // One that is made meanwhile and refused before it was seen is told.
    assert!(!story.quarantine(&blocked("b")).is_empty());
}

#[test]
fn a_host_at_work_is_shown_with_its_state_first_and_what_is_stuck() {
    let mut object = draining("a");
    object.status.as_mut().unwrap().resident_count = Some(1);
    let (story, _) = begun(None, &[object]);
    assert_eq!(story.rows(Timestamp::UNIX_EPOCH)[0].text, "Draining: 2 of 4 servers gone, 1 stuck, 1 moving, 1 waiting");
}

#[test]
fn the_story_ends_when_all_have_come_to_rest_and_the_worst_counts() {
    let (mut story, _) = begun(None, &[draining("a"), draining("b")]);
    story.quarantine(&blocked("a"));
    assert_eq!(story.ended(), None);
    story.quarantine(&empty("b"));
    assert_eq!(story.ended(), Some(Ending::NeedsPerson));
    story.quarantine(&empty("a"));
    assert_eq!(story.ended(), Some(Ending::Well));
}

#[test]
fn a_status_of_an_earlier_spec_is_no_end() {
    let mut object = empty("a");
    object.metadata.generation = Some(2);
    let (story, _) = begun(Some("a"), &[object]);
    assert_eq!(story.ended(), None);
}

#[test]
fn residents_are_named_with_their_reason_and_nothing_steers_the_terminal() {
    let (mut story, _) = begun(None, &[draining("a")]);
    let lines = story.quarantine(&blocked("a"));
    assert!(lines.contains(&"host-of-a: stays: 6a1fb5a0-0000-0000-0000-000000000001 (web\u{fffd}[2J): ServerInError: it is in ERROR".to_owned()), "{lines:?}");
    assert!(lines.contains(&"host-of-a: and 2 more".to_owned()), "{lines:?}");
    assert!(!lines.concat().contains(char::is_control));
}

#[test]
fn a_copy_is_told_by_its_quarters_where_no_bar_shows_it() {
    let (mut story, _) = begun(None, &[draining("a")]);
    let told: Vec<usize> = [1, 10, 30, 45, 60].iter().map(|percent| story.run(&copying("a", SERVER, *percent), false).len()).collect();
    assert_eq!(told, [1, 0, 1, 0, 1]);
}

#[test]
fn of_a_move_that_a_bar_shows_only_the_end_is_told() {
    let (mut story, _) = begun(None, &[draining("a")]);
    let mut told = |status: Value| story.run(&run("a", SERVER, &status), true).len();
    assert_eq!(
        [told(json!({"phase": "Planned"})), told(json!({"phase": "Queued"})), told(json!({"phase": "Running", "progress": {"percent": 80}}))],
        [0, 0, 0]
    );
    assert_eq!(told(json!({"phase": "Failed"})), 1);
}

#[test]
fn runs_of_a_host_that_is_not_followed_are_not_told() {
    let (mut story, _) = begun(Some("a"), &[draining("a")]);
    assert_eq!(story.run(&copying("b", SERVER, 10), false), Vec::<String>::new());
    assert_eq!(story.rows(Timestamp::UNIX_EPOCH).len(), 1);
}

#[test]
fn a_measured_move_is_told_with_its_figures_and_an_unmeasured_one_without() {
    let (mut story, _) = begun(None, &[draining("a")]);
    let ended = |measured: &Value| {
        let conditions = json!([condition("Succeeded", "True", "Moved", "")]);
        run("a", SERVER, &json!({"phase": "Succeeded", "destinationHost": "h2", "measured": measured, "conditions": conditions}))
    };
    assert_eq!(story.run(&ended(&json!({})), false), ["host-of-a: server 6a1fb5a0 moved to h2"]);
    let measured = ended(&json!({"durationMillis": 4210, "queuedMillis": 1050}));
    assert_eq!(server_line(&measured), "host-of-a: server 6a1fb5a0 moved to h2 in 4.2 s, 1.0 s of them queued in Nova");
}

#[test]
fn what_a_new_list_does_not_show_was_deleted() {
    let (mut story, _) = begun(None, &[draining("a")]);
    story.list_began(false);
    assert_eq!(story.list_ended(false).len(), 1);
    assert_eq!(story.ended(), Some(Ending::Well));
    assert_eq!(story.list_ended(false), Vec::<String>::new(), "it is told once");
}

#[test]
fn how_moves_stand_at_the_beginning_is_told_only_where_no_bars_show_it() {
    for (has_bars, told) in [(false, 1), (true, 0)] {
        let mut story = Story::of(None);
        story.quarantine(&draining("a"));
        story.run(&copying("a", SERVER, 10), has_bars);
        assert_eq!(story.begin(has_bars).len(), told);
    }
}

#[test]
fn a_host_at_rest_and_a_server_at_rest_make_room_for_those_at_work() {
    let (mut story, _) = begun(None, &[draining("a"), draining("b")]);
    story.quarantine(&empty("a"));
    story.run(&run("b", SERVER, &json!({"phase": "Planned"})), true);
    let busy: Vec<bool> = story.rows(Timestamp::UNIX_EPOCH).iter().map(|row| row.is_busy).collect();
    assert_eq!(busy, [false, true, false]);
}

#[test]
fn a_server_without_samples_has_no_percentage() {
    let (mut story, _) = begun(None, &[draining("a")]);
    story.run(&run("a", SERVER, &json!({"phase": "Running"})), true);
    assert_eq!(story.rows(Timestamp::UNIX_EPOCH)[1].percent, None);
}
