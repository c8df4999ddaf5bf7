//! The contract with people and with the API server: one file per kind of the group `sidestep.dev`, version `v1alpha1`, all cluster-scoped.
//!
//! ```text
//! OpenStackCloud     one Nova region: credentials, limits, budget                 people, Git
//! QuarantinePolicy   which alerts lead to a quarantine, under which evidence      people, Git
//! HostAlert          one series of alerts on one host, and the decision on it     sentinels (spec), operator (status)
//! HostQuarantine     the desired state of one suspect host, and what happened     people, Git, operator
//! MigrationRun       the move of one server off its host: attempts, figures       operator
//! HostReport         what a sentinel sees of its own host, and whether it is heard sentinels (spec), operator (status)
//! ```
//!
//! Rules that hold for all: a field is here only when it is honoured; every field is described (`kubectl explain`); ranges, sizes and immutability are in the schema
//! (CEL), not in a webhook; a value that nobody measured is absent; integers carry their unit in the name. `crds/` is generated from these types by
//! `sidestep-operator crds` and a test fails when it differs.
//!
//! Fields that a stored object has and this version does not know are ignored when read, so that a schema that is newer than the operator does not blind it; the API server
//! refuses them when they are written (kubectl validates strictly).

#![expect(unreachable_pub, reason = "KubeSchema repeats each struct in a scope of its own, where the lint takes it for unreachable")]

pub mod alert;
pub mod cloud;
#[cfg(test)]
mod compatibility;
pub mod condition;
pub mod policy;
pub mod quarantine;
pub mod report;
pub mod run;
pub mod units;

pub use alert::{HostAlert, HostAlertSpec, HostAlertStatus};
pub use cloud::{OpenStackCloud, OpenStackCloudSpec, OpenStackCloudStatus};
pub use policy::{QuarantinePolicy, QuarantinePolicySpec, QuarantinePolicyStatus};
pub use quarantine::{HostQuarantine, HostQuarantineSpec, HostQuarantineStatus};
pub use report::{HostReport, HostReportSpec, HostReportStatus};
pub use run::{MigrationRun, MigrationRunSpec, MigrationRunStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

/// The API group of every kind.
pub const GROUP: &str = "sidestep.dev";
/// The finalizer that keeps an object until what it stands for has ended.
pub const FINALIZER: &str = "sidestep.dev/finalizer";

/// The definitions of all kinds, in the order of the table above.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![OpenStackCloud::crd(), QuarantinePolicy::crd(), HostAlert::crd(), HostQuarantine::crd(), MigrationRun::crd(), HostReport::crd()];
    for crd in &mut all {
        for version in &mut crd.spec.versions {
            if let Some(schema) = version.schema.as_mut().and_then(|validation| validation.open_api_v3_schema.as_mut()) {
                suit_kubernetes(schema);
            }
        }
    }
    all
}

/// Kubernetes knows no unsigned formats and warns about each; the range says the same. A description is a paragraph, which `kubectl explain` folds itself: where the source folds it is left out.
fn suit_kubernetes(schema: &mut JSONSchemaProps) {
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    schema.description = schema.description.take().map(|text| text.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n"));
    if let Some(properties) = schema.properties.as_mut() {
        properties.values_mut().for_each(suit_kubernetes);
    }
    match schema.items.as_mut() {
        Some(JSONSchemaPropsOrArray::Schema(items)) => suit_kubernetes(items),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all.iter_mut().for_each(suit_kubernetes),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        suit_kubernetes(values);
    }
}

/// The file under `crds/` that a definition belongs in, and its text.
///
/// # Errors
///
/// When the definition cannot be written as YAML, which would be a fault of this program.
pub fn crd_file(crd: &CustomResourceDefinition) -> Result<(String, String), serde_saphyr::ser::Error> {
    let yaml = serde_saphyr::to_string(crd)?;
    let head = "# Generated from src/api by `make crds`. Do not edit.\n";
    Ok((format!("{}.yaml", crd.spec.names.plural), format!("{head}{yaml}")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_files_under_crds_are_what_the_types_say() {
        for crd in crds() {
            let (name, text) = crd_file(&crd).unwrap();
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds").join(&name);
            let on_disk = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(on_disk == text, "crds/{name} differs from src/api: run `make crds`");
        }
    }

    #[test]
    fn every_field_is_described_in_whole_paragraphs() {
        fn walk(path: &str, schema: &JSONSchemaProps, missing: &mut Vec<String>) {
            for (name, property) in schema.properties.iter().flatten() {
                let here = format!("{path}.{name}");
                let text = property.description.as_deref().unwrap_or_default();
                if text.is_empty() || text.replace("\n\n", "").contains('\n') {
                    missing.push(here.clone());
                }
                walk(&here, property, missing);
            }
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                walk(&format!("{path}[]"), items, missing);
            }
        }
        let mut missing = Vec::new();
        for crd in crds() {
            let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
            walk(&crd.spec.names.kind, &schema, &mut missing);
        }
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn every_list_and_every_text_has_a_bound() {
        fn walk(path: &str, schema: &JSONSchemaProps, missing: &mut Vec<String>) {
            let enumerated = schema.enum_.is_some() || schema.format.is_some();
            let unbounded = match schema.type_.as_deref() {
                Some("string") => schema.max_length.is_none() && !enumerated,
                Some("array") => schema.max_items.is_none(),
                _ => false,
            };
            if unbounded {
                missing.push(path.to_owned());
            }
            for (name, property) in schema.properties.iter().flatten() {
                if name != "conditions" {
                    walk(&format!("{path}.{name}"), property, missing);
                }
            }
            if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
                walk(&format!("{path}[]"), items, missing);
            }
        }
        let mut missing = Vec::new();
        for crd in crds() {
            let schema = crd.spec.versions[0].schema.clone().unwrap().open_api_v3_schema.unwrap();
            walk(&crd.spec.names.kind, &schema, &mut missing);
        }
        assert_eq!(missing, Vec::<String>::new());
    }
}
