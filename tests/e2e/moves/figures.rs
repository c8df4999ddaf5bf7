//! What is measured of a move, what people see of it, and what it costs the API server.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use sidestep::api::quarantine::Phase;
use sidestep::api::run::RunPhase;

use super::{many, move_by_hand, wait_for_run, world_with};

#[tokio::test]
async fn without_novas_samples_the_bytes_are_absent_and_no_column_shows_a_0() {
    let world = world_with(many(1), json!({})).await;
    world.simulator().fault(r#"{"method": "GET", "path": "/migrations/", "answer": "503", "seconds": 600}"#);
    let server = world.simulator().servers_on("cmp-1")[0];
    world.simulator().knobs(&server.to_string(), Some(r#"{"bandwidth": 4, "dirty_rate": 0}"#));
    move_by_hand(&world, "unseen", server, json!({})).await;
    let run = wait_for_run(&world, "unseen", RunPhase::Succeeded).await;
    let measured = run.status.unwrap().measured.unwrap();
    assert_eq!(measured.transferred_bytes, None);
    assert!(!measured.witnesses.contains_key("transferredBytes") && !measured.bounds.contains_key("transferredBytes"));
    assert!(measured.duration_millis.unwrap() > 0);
    let table = world.plane.kubectl().run(&["get", "migrationruns.sidestep.dev", "unseen", "-o", "wide"]).ok();
    let head = table.lines().next().unwrap().to_owned();
    let row = table.lines().nth(1).unwrap().to_owned();
    let cell = |column: &str| {
        let start = head.find(column).unwrap();
        row.get(start..).unwrap_or_default().split_whitespace().next().filter(|_| !row[start..].starts_with(' ')).unwrap_or_default().to_owned()
    };
    assert!(["", "<none>"].contains(&cell("DOWN-MS").as_str()), "{table}");
    assert!(["", "<none>"].contains(&cell("MEMORY-BYTES").as_str()), "{table}");
    assert_ne!(cell("SECS"), "0");
}

#[tokio::test]
async fn the_table_of_runs_fits_120_columns() {
    let world = world_with(many(3), json!({})).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    let table = world.plane.kubectl().run(&["get", "migrationruns.sidestep.dev"]).ok();
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["NAME", "SERVER", "FROM", "TO", "PHASE", "%", "DOWN-MS", "SECS", "AGE"]);
    assert!(table.lines().all(|line| line.trim_end().chars().count() <= 120), "{table}");
}

#[tokio::test]
async fn a_move_costs_six_writes_to_its_run_at_most() {
    let world = world_with(many(6), json!({})).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    let names: Vec<String> = world.runs_of("hunch").await.into_iter().filter_map(|run| run.metadata.name).collect();
    let log = fs::read_to_string(world.plane.audit_log()).unwrap();
    let mut writes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (verb, name) = (entry["verb"].as_str().unwrap_or_default(), entry["objectRef"]["name"].as_str().unwrap_or_default());
        let done = entry["responseStatus"]["code"].as_u64().is_some_and(|code| code < 300);
        if done && !matches!(verb, "get" | "list" | "watch") && names.iter().any(|run| run == name) {
            writes.entry(name.to_owned()).or_default().push(format!("{verb} {}", entry["objectRef"]["subresource"]));
        }
    }
    assert_eq!(writes.len(), 6);
    for (run, writes) in writes {
        assert!(writes.len() <= 6, "{run}: {writes:?}");
    }
}
