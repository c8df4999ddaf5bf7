//! A released schema never narrows: what was accepted once is accepted for ever, or stored objects could no longer be written. This compares each kind with every release before.
//!
//! A release is kept in `tests/fixtures/released/VERSION/crds`, copied by `make release-record`; see the README there. A release in CHANGELOG.md that was not kept is an error, so this cannot be forgotten.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::crds;

/// Limits from above and from below, by the name in the schema.
const UPPER: [&str; 4] = ["maxLength", "maxItems", "maxProperties", "maximum"];
const LOWER: [&str; 4] = ["minLength", "minItems", "minProperties", "minimum"];
/// What must stay as it is, where it is there at all.
const FIXED: [&str; 5] = ["type", "pattern", "format", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"];

/// What `new` refuses and `old` accepted, by path.
fn narrowings(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    limits(path, old, new, found);
    words(path, old, new, found);
    let (before, after) = (strings(old, "required"), strings(new, "required"));
    found.extend(
        after
            .difference(&before)
            .filter(|field| new.pointer(&format!("/properties/{field}/default")).is_none())
            .map(|field| format!("{path}.{field} is required now")),
    );
    let rules = |schema: &Value| -> BTreeSet<String> {
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
        rules.map(|rule| rule["rule"].as_str().unwrap_or_default().to_owned()).collect()
    };
    found.extend(rules(new).difference(&rules(old)).map(|rule| format!("{path} has a new rule: {rule}")));
    for (name, property) in old.get("properties").and_then(Value::as_object).into_iter().flatten() {
        match new.get("properties").and_then(|properties| properties.get(name)) {
            Some(new) => narrowings(&format!("{path}.{name}"), property, new, found),
            None => found.push(format!("{path}.{name} is gone")),
        }
    }
    for part in ["items", "additionalProperties"] {
        if let (Some(old), Some(new)) = (old.get(part), new.get(part)) {
            narrowings(&format!("{path}[]"), old, new, found);
        }
    }
}

fn limits(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let number = |schema: &Value, name: &str| schema.get(name).and_then(Value::as_f64);
    for name in UPPER {
        if number(new, name).is_some_and(|new| number(old, name).is_none_or(|old| new < old)) {
            found.push(format!("{path}: {name} is lower"));
        }
    }
    for name in LOWER {
        if number(new, name).is_some_and(|new| number(old, name).is_none_or(|old| new > old)) {
            found.push(format!("{path}: {name} is higher"));
        }
    }
    for name in FIXED {
        if new.get(name).is_some_and(|new| old.get(name) != Some(new)) {
            found.push(format!("{path}: {name} is another"));
        }
    }
    if old.get("nullable") == Some(&Value::Bool(true)) && new.get("nullable") != Some(&Value::Bool(true)) {
        found.push(format!("{path} cannot be null any more"));
    }
}

fn words(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    if new.get("enum").is_none() {
        return;
    }
    if old.get("enum").is_none() {
        found.push(format!("{path} is bound to words"));
    }
    found.extend(strings(old, "enum").difference(&strings(new, "enum")).map(|word| format!("{path}={word} is gone")));
}

fn strings(schema: &Value, name: &str) -> BTreeSet<String> {
    schema.get(name).and_then(Value::as_array).into_iter().flatten().map(|word| word.as_str().unwrap_or_default().to_owned()).collect()
}

/// What a definition refuses that an older one of the same kind accepted.
fn narrowed(old: &Value, new: &Value) -> Vec<String> {
    let kind = old["spec"]["names"]["kind"].as_str().unwrap_or_default();
    let mut found = Vec::new();
    for version in old["spec"]["versions"].as_array().into_iter().flatten() {
        let counterpart = new["spec"]["versions"].as_array().into_iter().flatten().find(|other| other["name"] == version["name"] && other["served"] != false);
        match counterpart {
            None => found.push(format!("{kind} {} is not served any more", version["name"])),
            Some(new) => narrowings(kind, &version["schema"]["openAPIV3Schema"], &new["schema"]["openAPIV3Schema"], &mut found),
        }
    }
    found
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The releases that are kept, by version.
fn kept() -> BTreeSet<String> {
    let entries = fs::read_dir(repository("tests/fixtures/released")).unwrap().map(Result::unwrap);
    entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_release_in_the_changelog_was_kept() {
    let changelog = fs::read_to_string(repository("CHANGELOG.md")).unwrap();
    let released: BTreeSet<String> = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| title.split_whitespace().next().unwrap_or_default().trim_matches(['[', ']']).to_owned())
        .filter(|version| version != "Unreleased")
        .collect();
    assert_eq!(released, kept(), "run `make release-record` when a release is made");
}

#[test]
fn no_kind_is_narrower_than_in_any_release_before() {
    let new: Vec<Value> = crds().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
    let mut found = Vec::new();
    for version in kept() {
        for entry in fs::read_dir(repository("tests/fixtures/released").join(&version).join("crds")).unwrap() {
            let old: Value = serde_saphyr::from_str(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
            let counterpart = new.iter().find(|new| new["metadata"]["name"] == old["metadata"]["name"]);
            let reasons = counterpart.map_or_else(|| vec![format!("{} is gone", old["metadata"]["name"])], |new| narrowed(&old, new));
            found.extend(reasons.into_iter().map(|reason| format!("since {version}: {reason}")));
        }
    }
    assert!(found.is_empty(), "stored objects could no longer be written:\n{}", found.join("\n"));
}

/// An edit of a schema.
type Edit = fn(&mut Value);

/// A kind with one of everything, as edited.
fn kind(edit: impl Fn(&mut Value)) -> Value {
    let mut schema = serde_json::json!({
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "string", "maxLength": 10, "minLength": 2, "pattern": "^a"},
            "b": {"type": "string", "enum": ["X", "Y"], "default": "X"},
            "c": {"type": "array", "maxItems": 4, "items": {"type": "integer", "minimum": 1, "maximum": 9}},
            "d": {"type": "object", "additionalProperties": {"type": "string"}, "nullable": true},
        },
        "x-kubernetes-validations": [{"rule": "self.a != ''", "message": "m"}],
    });
    edit(&mut schema);
    serde_json::json!({"spec": {"names": {"kind": "K"}, "versions": [{"name": "v1", "served": true, "schema": {"openAPIV3Schema": schema}}]}})
}

#[test]
fn each_way_to_narrow_a_schema_is_noticed_and_widening_is_not() {
    let narrower: [(Edit, &str); 16] = [
        (|s| s["properties"]["a"]["maxLength"] = 9.into(), "K.a: maxLength is lower"),
        (|s| s["properties"]["a"]["minLength"] = 3.into(), "K.a: minLength is higher"),
        (|s| s["properties"]["a"]["pattern"] = "^ab".into(), "K.a: pattern is another"),
        (|s| s["properties"]["b"]["maxLength"] = 9.into(), "K.b: maxLength is lower"),
        (|s| s["properties"]["a"]["type"] = "integer".into(), "K.a: type is another"),
        (|s| s["properties"]["b"]["enum"] = serde_json::json!(["X"]), "K.b=Y is gone"),
        (|s| s["properties"]["a"]["enum"] = serde_json::json!(["abc"]), "K.a is bound to words"),
        (|s| s["properties"]["c"]["maxItems"] = 3.into(), "K.c: maxItems is lower"),
        (|s| s["properties"]["c"]["items"]["maximum"] = 8.into(), "K.c[]: maximum is lower"),
        (|s| s["properties"]["c"]["items"]["minimum"] = 2.into(), "K.c[]: minimum is higher"),
        (|s| s["properties"]["d"]["additionalProperties"]["maxLength"] = 8.into(), "K.d[]: maxLength is lower"),
        (|s| s["properties"]["d"]["nullable"] = false.into(), "K.d cannot be null any more"),
        (|s| drop(s["properties"].as_object_mut().unwrap().remove("c")), "K.c is gone"),
        (|s| s["required"] = serde_json::json!(["a", "c"]), "K.c is required now"),
        (|s| s["x-kubernetes-validations"][0]["rule"] = "self.a != 'x'".into(), "K has a new rule: self.a != 'x'"),
        (|s| s["properties"]["c"]["x-kubernetes-list-type"] = "set".into(), "K.c: x-kubernetes-list-type is another"),
    ];
    let old = kind(|_| ());
    for (edit, reason) in narrower {
        assert_eq!(narrowed(&old, &kind(edit)), [reason]);
    }
    let wider: [Edit; 6] = [
        |s| s["properties"]["a"]["maxLength"] = 11.into(),
        |s| drop(s["properties"]["a"].as_object_mut().unwrap().remove("pattern")),
        |s| s["properties"]["b"]["enum"] = serde_json::json!(["X", "Y", "Z"]),
        |s| s["properties"]["e"] = serde_json::json!({"type": "string", "maxLength": 1}),
        |s| s["required"] = serde_json::json!(["a", "b"]),
        |s| drop(s.as_object_mut().unwrap().remove("x-kubernetes-validations")),
    ];
    for edit in wider {
        assert_eq!(narrowed(&old, &kind(edit)), Vec::<String>::new());
    }
}
