//! The operator is killed with SIGKILL before and after each write, to Nova and to Kubernetes. Nothing is asked for twice, no server is lost, no decision is lost, and all that was begun ends.
//!
//! Which writes there are is not a matter of memory. Every write passes its two points, because they stand in the clients. The tables here name for each word a story whose operator is killed
//! there, and three tests compare them with what there is: the methods of the client that writes to Nova, what the shipped roles let the operator write, and every call in the source that writes to
//! Kubernetes. Each story fails when a word of its own was not reached on both sides.

mod decision;
mod drain;
mod scene;
mod uninstall;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::support::control_plane::{NAMESPACE, chart, repository};

/// Every method of the client that writes to Nova, the word for what it sends, and the story that is killed there.
const NOVA: [(&str, &str, &str); 6] = [
    ("disable_service", "disable-service", "drain"),
    ("enable_service", "enable-service", "drain"),
    ("live_migrate", "live-migrate", "drain"),
    ("cold_migrate", "cold-migrate", "cold drain"),
    ("confirm_resize", "confirm-resize", "cold drain"),
    ("abort_migration", "abort-migration", "abort"),
];

/// Every write of the operator to Kubernetes, and the story that is killed there.
const KUBERNETES: [(&str, &str); 19] = [
    ("create-hostquarantines", "decision"),
    ("patch-hostalerts/status", "decision"),
    ("patch-hostquarantines", "drain"),
    ("patch-hostquarantines/status", "drain"),
    ("create-migrationruns", "drain"),
    ("patch-migrationruns/status", "drain"),
    ("create-leases", "upkeep"),
    ("update-leases", "upkeep"),
    ("patch-openstackclouds/status", "upkeep"),
    ("patch-quarantinepolicies/status", "upkeep"),
    ("create-events", "upkeep"),
    ("patch-events", "upkeep"),
    ("patch-migrationruns", "upkeep"),
    ("patch-hostreports/status", "upkeep"),
    ("patch-hostalerts", "upkeep"),
    ("delete-hostalerts", "upkeep"),
    ("delete-migrationruns", "upkeep"),
    ("delete-hostreports", "upkeep"),
    ("delete-leases", "upkeep"),
];

/// What its role grants, and no request of it is.
const GRANTED_ONLY: [&str; 2] = [
    // What a patch of an object that is not there yet needs.
    "create-hostalerts",
    // What some clusters ask for before one object may hold up the deletion of another.
    "update-hostquarantines/finalizers",
];

/// Every file that writes to Kubernetes: how many calls in it do, and their words; none for those that others write through.
const CALLS: [(&str, usize, &[&str]); 17] = [
    ("kubernetes/event.rs", 1, &["create-events", "patch-events"]),
    ("kubernetes/finalizer.rs", 1, &[]),
    ("kubernetes/lease.rs", 4, &["create-leases", "update-leases"]),
    ("kubernetes/status.rs", 1, &[]),
    ("operator/alerts/act.rs", 1, &["create-hostquarantines"]),
    ("operator/alerts/report.rs", 1, &["patch-hostalerts/status"]),
    ("operator/cloud/report.rs", 1, &["patch-openstackclouds/status"]),
    ("operator/cloud/retention.rs", 1, &["delete-hostalerts", "delete-migrationruns"]),
    ("operator/leader.rs", 1, &["patch-openstackclouds/status"]),
    ("operator/policies/mod.rs", 1, &["patch-quarantinepolicies/status"]),
    ("operator/quarantine/act.rs", 2, &["create-migrationruns", "patch-hostquarantines"]),
    ("operator/quarantine/report.rs", 1, &["patch-hostquarantines/status"]),
    ("operator/reports/act.rs", 1, &["patch-hostalerts"]),
    ("operator/reports/forget.rs", 1, &["delete-hostalerts", "delete-hostreports", "delete-leases"]),
    ("operator/reports/report.rs", 1, &["patch-hostreports/status"]),
    ("operator/runs/act.rs", 3, &["patch-migrationruns", "patch-migrationruns/status"]),
    ("operator/runs/report.rs", 2, &["patch-migrationruns/status"]),
];

/// The program that lets go of everything before Sidestep is removed: the same, of its own account.
const UNINSTALL: [(&str, usize); 2] = [("operator/uninstall/mod.rs", 2), ("operator/uninstall/seal.rs", 2)];

/// How a call that writes to Kubernetes looks.
const WRITING: [&str; 9] =
    [".create(&", ".patch(", ".patch_status(", ".replace(&", ".delete(", ".delete_collection(", "recorder.publish(", "status::apply(", "finalizer::set("];

const SIDES: [&str; 2] = ["before", "after"];

/// Fails unless the operator was killed on both sides of every write that the tables give to this story.
fn assert_covered(story: &str, reached: &BTreeSet<String>) {
    let nova = NOVA.iter().map(|(_, word, story)| (*word, *story));
    let words = nova.chain(KUBERNETES).filter(|(_, of)| *of == story).map(|(word, _)| word);
    let missing: Vec<String> = words.flat_map(|word| SIDES.map(|side| format!("{side}-{word}"))).filter(|point| !reached.contains(point)).collect();
    assert_eq!(missing, Vec::<String>::new(), "the story {story:?} was not killed there");
}

#[test]
fn every_method_that_writes_to_nova_has_a_story_that_is_killed_before_and_after_it() {
    let source = include_str!("../../../src/openstack/nova/control.rs");
    let methods: BTreeSet<&str> = source.lines().filter_map(|line| line.trim().strip_prefix("pub async fn ")?.split('(').next()).collect();
    let known: BTreeSet<&str> = NOVA.iter().map(|(method, ..)| *method).collect();
    assert_eq!(methods, known, "give a new method a line in NOVA, and a story that takes it");
}

/// The writes that the roles in a manifest grant, as the words of the points.
fn granted(manifests: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for document in manifests.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document).unwrap();
        let texts =
            |rule: &Value, field: &str| -> Vec<String> { rule[field].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect() };
        for rule in object["rules"].as_array().into_iter().flatten() {
            let writes = texts(rule, "verbs").into_iter().filter(|verb| !["get", "list", "watch"].contains(&verb.as_str()));
            words.extend(writes.flat_map(|verb| texts(rule, "resources").into_iter().map(move |resource| format!("{verb}-{resource}"))));
        }
    }
    words
}

#[test]
fn every_write_that_the_operators_role_grants_has_a_story_that_is_killed_before_and_after_it() {
    let known = KUBERNETES.iter().map(|(word, _)| *word).chain(GRANTED_ONLY).map(str::to_owned).collect();
    let manifests = chart(NAMESPACE, &["--show-only", "templates/operator-access.yaml"]).ok();
    assert_eq!(granted(&manifests), known, "give a new write a line in KUBERNETES, and a story that takes it");
}

/// How many calls of each file under a folder write to Kubernetes; tests apart.
fn calls(folder: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            calls(&entry, found);
            continue;
        }
        let text = fs::read_to_string(&entry).unwrap();
        let program = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let code = program.lines().filter(|line| !line.trim_start().starts_with("//"));
        let count = code.map(|line| WRITING.iter().map(|call| line.matches(call).count()).sum::<usize>()).sum();
        if count > 0 {
            found.insert(entry.strip_prefix(repository("src")).unwrap().to_string_lossy().into_owned(), count);
        }
    }
}

#[test]
fn every_call_that_writes_to_kubernetes_has_a_story_that_is_killed_before_and_after_it() {
    let mut found = BTreeMap::new();
    for folder in ["src/kubernetes", "src/operator"] {
        calls(&repository(folder), &mut found);
    }
    let known = CALLS.iter().map(|(file, count, _)| (*file, *count)).chain(UNINSTALL).map(|(file, count)| (file.to_owned(), count)).collect();
    assert_eq!(found, known, "give a new call a line in CALLS, and a story that takes it");
    let words: BTreeSet<&str> = CALLS.iter().flat_map(|(.., words)| words.iter().copied()).collect();
    assert_eq!(words, KUBERNETES.iter().map(|(word, _)| *word).collect());
}
