//! The admission policies that this program demands: those of the newest revision in the chart, built in word for word.

use std::collections::BTreeMap;

use serde_json::Value;

/// The revision that this program demands. The chart ships the one before as well; see charts/sidestep/admission/README.md.
pub(in super::super) const REVISION: &str = "r1";
/// The files of the revision.
const SOURCES: [&str; 4] = [
    include_str!("../../../charts/sidestep/admission/r1/operator.yaml"),
    include_str!("../../../charts/sidestep/admission/r1/people.yaml"),
    include_str!("../../../charts/sidestep/admission/r1/sentinels.yaml"),
    include_str!("../../../charts/sidestep/admission/r1/verbs.yaml"),
];
/// What stands for the operator's namespace in them.
const NAMESPACE: &str = "OPERATOR_NAMESPACE";

/// A policy or a binding: its kind and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: String,
    pub(super) name: String,
}

/// The specs that the API server must hold, by kind and name.
pub(super) type Demands = BTreeMap<Key, Value>;

/// What must be there for an operator in this namespace. Another `revision` than [`REVISION`] demands the same under the names of that one, as a later version of this program would.
///
/// # Errors
///
/// When a file is no YAML, which would be a fault of this program.
pub(super) fn demands(namespace: &str, revision: &str) -> Result<Demands, serde_saphyr::Error> {
    let (own, other) = (format!("-{REVISION}"), format!("-{revision}"));
    let mut demands = Demands::new();
    for document in SOURCES.iter().flat_map(|source| source.split("\n---\n")) {
        let named = document.replace(NAMESPACE, namespace).replace(own.as_str(), &other);
        let mut object: Value = serde_saphyr::from_str(&named)?;
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = Key { kind: text(object.get("kind")), name: text(object.pointer("/metadata/name")) };
        demands.insert(key, object.get_mut("spec").map(Value::take).unwrap_or_default());
    }
    Ok(demands)
}

/// What is missing or differs, a few words each.
pub(super) fn differences(demands: &Demands, held: &BTreeMap<Key, Value>) -> Vec<String> {
    let difference = |(key, spec): (&Key, &Value)| match held.get(key) {
        None => Some(format!("{} {} is missing", key.kind, key.name)),
        Some(other) if other != spec => Some(format!("{} {} was changed", key.kind, key.name)),
        Some(_) => None,
    };
    demands.iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/sidestep/admission")
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn identity_the_newest_revision_of_the_chart_is_demanded_and_no_more_than_the_one_before_is_shipped() {
        let revisions: Vec<u32> = names(&folder()).iter().filter_map(|name| name.strip_prefix('r')?.parse().ok()).collect();
        let newest = *revisions.iter().max().unwrap();
        assert_eq!(format!("r{newest}"), REVISION);
        assert!(revisions.iter().all(|revision| revision + 1 >= newest), "{revisions:?}");
        let on_disk: BTreeSet<String> =
            names(&folder().join(REVISION)).iter().map(|name| fs::read_to_string(folder().join(REVISION).join(name)).unwrap()).collect();
        assert_eq!(on_disk, SOURCES.iter().map(|source| (*source).to_owned()).collect());
    }

    #[test]
    fn a_revision_that_was_released_is_as_it_was() {
        let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/released");
        let folders = |folder: &Path| names(folder).into_iter().map(|name| folder.join(name)).filter(|path| path.is_dir()).collect::<Vec<_>>();
        for revision in folders(&released).iter().flat_map(|version| folders(&version.join("admission"))) {
            let shipped = folder().join(revision.file_name().unwrap());
            // Older ones than the one before are not shipped any more.
            for name in names(&revision).iter().filter(|_| shipped.exists()) {
                assert_eq!(fs::read_to_string(revision.join(name)).unwrap(), fs::read_to_string(shipped.join(name)).unwrap(), "{}", shipped.display());
            }
        }
    }

    #[test]
    fn identity_every_policy_is_bound_and_every_name_carries_the_revision() {
        let demands = demands("here", REVISION).unwrap();
        assert_eq!(demands.len(), 2 * SOURCES.len());
        for (key, spec) in &demands {
            assert!(key.name.ends_with(&format!("-{REVISION}")), "{key:?}");
            if key.kind == "ValidatingAdmissionPolicyBinding" {
                assert_eq!(spec["policyName"], key.name, "{key:?}");
                assert_eq!(spec["validationActions"], serde_json::json!(["Deny"]));
            } else {
                assert_eq!(spec["failurePolicy"], "Fail", "{key:?}");
            }
        }
    }

    #[test]
    fn another_revision_is_the_same_under_other_names() {
        let (own, next) = (demands("here", REVISION).unwrap(), demands("here", "r9").unwrap());
        let renamed = |key: &Key| Key { kind: key.kind.clone(), name: key.name.replace(REVISION, "r9") };
        assert_eq!(own.keys().map(renamed).collect::<BTreeSet<_>>(), next.keys().cloned().collect());
        for (key, spec) in &own {
            assert_eq!(spec.to_string().replace(&format!("-{REVISION}"), "-r9"), next[&renamed(key)].to_string());
        }
    }

    #[test]
    fn the_accounts_are_those_of_the_operators_namespace() {
        let text = serde_json::to_string(&demands("here", REVISION).unwrap().values().collect::<Vec<_>>()).unwrap();
        assert!(text.contains("system:serviceaccount:here:sidestep-operator") && text.contains("system:serviceaccount:here-sentinels:sidestep-sentinel"));
        assert!(!text.contains(NAMESPACE));
    }

    #[test]
    fn identity_one_letter_is_a_difference_and_one_that_is_gone_is_named() {
        let demands = demands("here", REVISION).unwrap();
        assert_eq!(differences(&demands, &demands), Vec::<String>::new());
        let mut held = demands.clone();
        let (first, second) = {
            let mut keys = demands.keys();
            (keys.next().unwrap().clone(), keys.next().unwrap().clone())
        };
        held.remove(&first);
        held.get_mut(&second).unwrap()["failurePolicy"] = "Ignore".into();
        assert_eq!(differences(&demands, &held), [format!("{} {} is missing", first.kind, first.name), format!("{} {} was changed", second.kind, second.name)]);
        // Others' policies are none of its business.
        held.clone_from(&demands);
        held.insert(Key { kind: first.kind, name: "another".to_owned() }, Value::Null);
        assert_eq!(differences(&demands, &held), Vec::<String>::new());
    }
}
