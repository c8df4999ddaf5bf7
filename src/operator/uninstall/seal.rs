//! Lets go of every object: the status of what is under way says that nobody follows it, the finalizer is removed.

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, Error, ResourceExt as _};
use serde_json::{Value, json};

use super::IDENTITY;
use crate::api::condition::{Conditions, Kind, State, is_true};
use crate::api::{self, FINALIZER};
use crate::clock::Clock;
use crate::kubernetes::answer;

/// Objects in one page of a list.
const PAGE: u32 = 500;
/// How often an object is tried that somebody else changes at the same time.
const TRIES: usize = 5;
/// The reason in the conditions of what is not followed any more.
const UNINSTALLED: &str = "Uninstalled";
const SENTENCE: &str =
    "Sidestep was uninstalled; nobody follows this until it is installed again. What Nova has begun goes on, and hosts that are out of service stay so";

/// What is left behind, a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    hosts: Vec<String>,
    moves: Vec<String>,
}

impl Left {
    /// For people.
    pub(super) fn text(&self) -> String {
        let mut lines = vec!["Sidestep lets go: nothing new starts, and its finalizers are removed. The kinds and their objects stay.".to_owned()];
        if self.hosts.is_empty() {
            lines.push("No HostQuarantine keeps a host out of service.".to_owned());
        } else {
            lines.push("These hosts stay out of service:".to_owned());
            lines.extend(self.hosts.iter().map(|host| format!("  {host}")));
        }
        if !self.moves.is_empty() {
            lines.push("These moves go on in Nova, and nobody follows them:".to_owned());
            lines.extend(self.moves.iter().map(|server| format!("  {server}")));
        }
        lines.push("Hosts of objects that were deleted earlier are known to Nova alone: `openstack compute service list --long` shows the reason, which begins with sidestep/.".to_owned());
        lines.push("To put a host back into service: `openstack compute service set --enable HOST nova-compute`.".to_owned());
        lines.join("\n")
    }

    fn note(&mut self, object: &DynamicObject, kind: &str) {
        let spec = |field: &str| object.data.pointer(&format!("/spec/{field}")).and_then(Value::as_str).unwrap_or("-").to_owned();
        let conditions = conditions(object);
        if kind == "HostQuarantine" && is_true(&conditions, Kind::Cordoned) && !is_true(&conditions, Kind::Released) {
            self.hosts.push(format!("{} of OpenStackCloud {} (HostQuarantine {})", spec("host"), spec("cloud"), object.name_any()));
        }
        let last = object.data.pointer("/status/attempts").and_then(Value::as_array).and_then(|attempts| attempts.last());
        if kind == "MigrationRun" && last.is_some_and(|attempt| attempt.get("endedAt").is_none()) {
            self.moves.push(format!("server {} from {} of OpenStackCloud {}", spec("server"), spec("sourceHost"), spec("cloud")));
        }
    }
}

/// Lets go of all objects of all kinds.
pub(super) async fn all(client: &Client, clock: &Clock) -> anyhow::Result<Left> {
    let mut left = Left::default();
    for crd in api::crds() {
        let api = Api::all_with(client.clone(), &resource(&crd));
        let kind = &crd.spec.names.kind;
        for object in list(&api).await.with_context(|| format!("cannot list the objects of kind {kind}"))? {
            left.note(&object, kind);
            let name = object.name_any();
            let_go(&api, object, kind, clock.now()).await.with_context(|| format!("cannot let go of {kind} {name}"))?;
        }
    }
    Ok(left)
}

fn resource(crd: &CustomResourceDefinition) -> ApiResource {
    let version = crd.spec.versions.first().map(|version| version.name.clone()).unwrap_or_default();
    let (group, names) = (crd.spec.group.clone(), &crd.spec.names);
    ApiResource { api_version: format!("{group}/{version}"), group, version, kind: names.kind.clone(), plural: names.plural.clone() }
}

/// Nothing where the kind is not there any more.
async fn list(api: &Api<DynamicObject>) -> kube::Result<Vec<DynamicObject>> {
    let mut all = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = match answer(api.list(&page)).await {
            Err(Error::Api(refusal)) if refusal.code == 404 => return Ok(Vec::new()),
            answer => answer?,
        };
        all.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(all),
        }
    }
}

async fn let_go(api: &Api<DynamicObject>, mut object: DynamicObject, kind: &str, now: Timestamp) -> kube::Result<()> {
    let name = object.name_any();
    for _ in 0..TRIES {
        match write(api, &object, kind, now).await {
            Err(Error::Api(refusal)) if refusal.code == 409 => {}
            Err(Error::Api(refusal)) if refusal.code == 404 => return Ok(()),
            answer => return answer,
        }
        match answer(api.get_opt(&name)).await? {
            Some(newer) => object = newer,
            None => return Ok(()),
        }
    }
    write(api, &object, kind, now).await
}

/// Writes what differs, each time on top of what was read.
async fn write(api: &Api<DynamicObject>, object: &DynamicObject, kind: &str, now: Timestamp) -> kube::Result<()> {
    let name = object.name_any();
    let params = PatchParams { field_manager: Some(IDENTITY.to_owned()), ..PatchParams::default() };
    let mut version = object.resource_version();
    if let Some(conditions) = sealed(object, kind, now) {
        let patch = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": conditions}});
        version = answer(api.patch_status(&name, &params, &Patch::Merge(&patch))).await?.resource_version();
    }
    if object.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        let others: Vec<&String> = object.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
        let patch = json!({"metadata": {"finalizers": others, "resourceVersion": version}});
        answer(api.patch(&name, &params, &Patch::Merge(&patch))).await?;
    }
    Ok(())
}

fn conditions(object: &DynamicObject) -> Vec<Condition> {
    let conditions = object.data.pointer("/status/conditions").cloned().unwrap_or_default();
    serde_json::from_value(conditions).unwrap_or_default()
}

/// The conditions of an object that is under way, as they stand when nobody follows it; nothing where it has come to an end.
fn sealed(object: &DynamicObject, kind: &str, now: Timestamp) -> Option<Vec<Condition>> {
    let current = conditions(object);
    if !is_true(&current, Kind::Reconciling) {
        return None;
    }
    let mut next = Conditions::of(&current, object.metadata.generation, now);
    match kind {
        // Not False: that would say that the move has ended, and the next operator would believe it.
        "MigrationRun" => next.set(Kind::Succeeded, State::Unknown, UNINSTALLED, SENTENCE),
        _ => next.set(Kind::Ready, State::False, UNINSTALLED, SENTENCE),
    };
    next.set(Kind::Reconciling, State::False, UNINSTALLED, "");
    next.set(Kind::Stalled, State::True, UNINSTALLED, SENTENCE);
    Some(next.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::condition::find;
    use crate::migration;

    fn object(kind: &str, spec: &Value, status: &Value) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "sidestep.dev/v1alpha1", "kind": kind, "metadata": {"name": "q"}, "spec": spec, "status": status})).unwrap()
    }

    fn condition(kind: &str, status: &str) -> Value {
        json!({"type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": "2026-11-25T11:00:00Z"})
    }

    #[test]
    fn what_is_under_way_is_said_to_be_followed_by_nobody_and_what_has_ended_is_left_alone() {
        let now = Timestamp::UNIX_EPOCH;
        let draining = object("HostQuarantine", &json!({}), &json!({"conditions": [condition("Reconciling", "True"), condition("Cordoned", "True")]}));
        let next = sealed(&draining, "HostQuarantine", now).unwrap();
        for (kind, status) in [(Kind::Ready, "False"), (Kind::Reconciling, "False"), (Kind::Stalled, "True"), (Kind::Cordoned, "True")] {
            assert_eq!(find(&next, kind).unwrap().status, status, "{kind:?}");
        }
        let moving = object("MigrationRun", &json!({}), &json!({"conditions": [condition("Reconciling", "True"), condition("Succeeded", "Unknown")]}));
        let next = sealed(&moving, "MigrationRun", now).unwrap();
        let status = serde_json::from_value(json!({"conditions": next})).unwrap();
        assert!(!migration::is_finished(&status), "the next operator would take it for one that has failed");
        let empty = object("HostQuarantine", &json!({}), &json!({"conditions": [condition("Reconciling", "False"), condition("Ready", "True")]}));
        assert_eq!(sealed(&empty, "HostQuarantine", now), None);
        assert_eq!(sealed(&object("HostQuarantine", &json!({}), &Value::Null), "HostQuarantine", now), None);
    }

    #[test]
    fn a_cordoned_host_and_an_open_move_are_named() {
        let mut left = Left::default();
        let cordoned = json!({"conditions": [condition("Cordoned", "True")]});
        left.note(&object("HostQuarantine", &json!({"cloud": "production", "host": "compute-17"}), &cordoned), "HostQuarantine");
        let released = json!({"conditions": [condition("Cordoned", "True"), condition("Released", "True")]});
        left.note(&object("HostQuarantine", &json!({"cloud": "production", "host": "compute-18"}), &released), "HostQuarantine");
        let run = json!({"cloud": "production", "server": "s-1", "sourceHost": "compute-17"});
        left.note(&object("MigrationRun", &run, &json!({"attempts": [{"number": 1, "endedAt": "x"}, {"number": 2}]})), "MigrationRun");
        left.note(&object("MigrationRun", &run, &json!({"attempts": [{"number": 1, "endedAt": "x"}]})), "MigrationRun");
        let text = left.text();
        assert!(text.contains("compute-17 of OpenStackCloud production (HostQuarantine q)") && !text.contains("compute-18"), "{text}");
        assert_eq!(text.matches("server s-1").count(), 1, "{text}");
        assert!(Left::default().text().contains("No HostQuarantine keeps a host out of service"));
    }
}
