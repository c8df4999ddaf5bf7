//! What a kind as the API server serves it lacks of what this program knows.

use serde_json::Value;

use crate::api;

/// The version of all kinds.
const VERSION: &str = "v1alpha1";

/// The kinds that this program was built with, as JSON.
///
/// # Errors
///
/// When a definition cannot be written as JSON, which would be a fault of this program.
pub(super) fn own() -> serde_json::Result<Vec<Value>> {
    api::crds().iter().map(serde_json::to_value).collect()
}

/// The fields and words of `own` that are not among `served`, by kind and path.
pub(super) fn missing(own: &[Value], served: &[Value]) -> Vec<String> {
    let mut missing = Vec::new();
    for definition in own {
        let kind = definition.pointer("/spec/names/kind").and_then(Value::as_str).unwrap_or_default();
        let name = definition.pointer("/metadata/name");
        let counterpart = served.iter().find(|served| served.pointer("/metadata/name") == name).and_then(schema);
        match (schema(definition), counterpart) {
            (Some(own), Some(served)) => walk(kind, own, served, &mut missing),
            (Some(_), None) => missing.push(format!("{kind} as a whole")),
            (None, _) => {}
        }
    }
    missing
}

/// The schema of the version that this program speaks, where it is served.
fn schema(definition: &Value) -> Option<&Value> {
    let versions = definition.pointer("/spec/versions")?.as_array()?;
    let version = versions.iter().find(|version| version["name"] == VERSION && version["served"] != false)?;
    version.pointer("/schema/openAPIV3Schema")
}

fn walk(path: &str, own: &Value, served: &Value, missing: &mut Vec<String>) {
    for (name, property) in own.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = format!("{path}.{name}");
        match served.get("properties").and_then(|properties| properties.get(name)) {
            Some(served) => walk(&path, property, served, missing),
            None => missing.push(path),
        }
    }
    for word in words(own).filter(|word| !words(served).any(|other| other == *word)) {
        missing.push(format!("{path}={}", word.as_str().unwrap_or_default()));
    }
    for part in ["items", "additionalProperties"] {
        if let (Some(own), Some(served)) = (own.get(part), served.get(part)) {
            walk(path, own, served, missing);
        }
    }
}

/// The words of an enumeration.
fn words(schema: &Value) -> impl Iterator<Item = &Value> {
    schema.get("enum").and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(kind: usize, edit: impl Fn(&mut Value)) -> Vec<String> {
        let own = own().unwrap();
        let mut served = own.clone();
        edit(served[kind].pointer_mut("/spec/versions/0/schema/openAPIV3Schema").unwrap());
        missing(&own, &served)
    }

    #[test]
    fn a_field_or_a_word_that_is_not_served_is_named() {
        assert_eq!(without(0, |_| ()), Vec::<String>::new());
        assert_eq!(
            without(0, |schema| drop(
                schema.pointer_mut("/properties/spec/properties/budget/properties").unwrap().as_object_mut().unwrap().remove("hostsOutOfService")
            )),
            ["OpenStackCloud.spec.budget.hostsOutOfService"]
        );
        assert_eq!(
            without(3, |schema| drop(
                schema.pointer_mut("/properties/status/properties/residents/items/properties").unwrap().as_object_mut().unwrap().remove("server")
            )),
            ["HostQuarantine.status.residents.server"]
        );
        assert_eq!(
            without(3, |schema| schema.pointer_mut("/properties/spec/properties/mode/enum").unwrap().as_array_mut().unwrap().retain(|word| word != "Enforce")),
            ["HostQuarantine.spec.mode=Enforce"]
        );
    }

    #[test]
    fn a_newer_schema_lacks_nothing() {
        assert_eq!(without(1, |schema| schema["properties"]["spec"]["properties"]["later"] = serde_json::json!({"type": "string"})), Vec::<String>::new());
    }

    #[test]
    fn a_kind_or_a_version_that_is_not_served_is_named() {
        let own = own().unwrap();
        assert_eq!(missing(&own, &own[1..]), ["OpenStackCloud as a whole"]);
        let mut served = own.clone();
        served[0]["spec"]["versions"][0]["served"] = false.into();
        assert_eq!(missing(&own, &served), ["OpenStackCloud as a whole"]);
    }
}
