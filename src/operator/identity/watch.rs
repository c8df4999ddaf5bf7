//! Watches the admission policies, their bindings and the kinds, and judges them at each change.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream::{BoxStream, select_all};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

use super::demand::{Demands, Key, demands, differences};
use super::{Finding, Grounds, schema};
use crate::api::GROUP;
use crate::operator::context::Context;
use crate::operator::feeds::{Pauses, Readiness};
use crate::telemetry::health::Part;

const POLICY: &str = "ValidatingAdmissionPolicy";
const BINDING: &str = "ValidatingAdmissionPolicyBinding";
const DEFINITION: &str = "CustomResourceDefinition";
/// The watched kinds: group, kind, plural.
const WATCHED: [(&str, &str, &str); 3] = [
    ("admissionregistration.k8s.io", POLICY, "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", BINDING, "validatingadmissionpolicybindings"),
    ("apiextensions.k8s.io", DEFINITION, "customresourcedefinitions"),
];
/// What `/readyz` calls them.
const PART: &str = "admission policies and kinds";
/// Definitions are large, and a cluster may have hundreds of others'.
const PAGE: u32 = 20;

/// Follows them for as long as the operator runs, which is in this namespace and demands this revision. What was found stands in the context.
pub(in super::super) async fn follow(client: Client, (namespace, revision): (&str, &str), readiness: Readiness, context: &Context) {
    let (demands, own) = match (demands(namespace, revision), schema::own()) {
        (Ok(demands), Ok(own)) => (demands, own),
        (demands, own) => {
            tracing::error!(policies = ?demands.err(), kinds = ?own.err(), "What this program was built with cannot be read; nothing is decided.");
            return std::future::pending().await;
        }
    };
    let mut held = Held::default();
    readiness.says(PART, Part::Waits("the first comparison".to_owned()));
    let mut waiting = Some(readiness);
    let mut events = select_all(WATCHED.map(|watched| events(&client, watched)));
    while let Some((kind, event)) = events.next().await {
        held.note(kind, event);
        let grounds = Grounds { identity: held.identity(&demands), kinds: held.kinds(&own) };
        let known = grounds.is_known();
        context.set_grounds(&grounds);
        if let Some(readiness) = waiting.take_if(|_| known) {
            readiness.says(PART, Part::Ready("compared".to_owned()));
            readiness.one_more(PART);
        }
    }
}

type Events = BoxStream<'static, (&'static str, watcher::Result<watcher::Event<DynamicObject>>)>;

fn events(client: &Client, (group, kind, plural): (&str, &'static str, &str)) -> Events {
    let resource =
        ApiResource { group: group.to_owned(), version: "v1".to_owned(), api_version: format!("{group}/v1"), kind: kind.to_owned(), plural: plural.to_owned() };
    let config = watcher::Config::default().page_size(PAGE);
    watcher(Api::all_with(client.clone(), &resource), config).backoff(Pauses::default()).map(move |event| (kind, event)).boxed()
}

/// What the API server holds.
#[derive(Debug, Default)]
struct Held {
    objects: BTreeMap<Key, Value>,
    /// A list that is not complete yet.
    listing: BTreeMap<Key, Value>,
    /// By kind: that its list was read, or why it cannot be.
    read: BTreeMap<&'static str, Result<(), String>>,
}

impl Held {
    fn note(&mut self, kind: &'static str, event: watcher::Result<watcher::Event<DynamicObject>>) {
        match event {
            Ok(watcher::Event::Init) => self.listing.retain(|key, _| key.kind != kind),
            Ok(watcher::Event::InitApply(object)) => drop(keep(&mut self.listing, kind, object)),
            Ok(watcher::Event::InitDone) => {
                self.objects.retain(|key, _| key.kind != kind);
                self.objects.extend(self.listing.extract_if(.., |key, _| key.kind == kind));
                self.read.insert(kind, Ok(()));
            }
            Ok(watcher::Event::Apply(object)) => drop(keep(&mut self.objects, kind, object)),
            Ok(watcher::Event::Delete(object)) => drop(self.objects.remove(&Key { kind: kind.to_owned(), name: object.name_any() })),
            Err(error) => self.note_failure(kind, &error),
        }
    }

    /// A server that answers that it does not show them is believed; one that is away is not: the watch goes on, and what was seen last stands.
    fn note_failure(&mut self, kind: &'static str, error: &watcher::Error) {
        tracing::warn!(kind, %error, "A watch of the API server broke and is begun again.");
        let (watcher::Error::InitialListFailed(source) | watcher::Error::WatchStartFailed(source)) = error else { return };
        if let kube::Error::Api(refusal) = source
            && matches!(refusal.code, 401 | 403 | 404)
        {
            self.read.insert(kind, Err(format!("{kind} objects cannot be read ({} {})", refusal.code, refusal.reason)));
        }
    }

    fn identity(&self, demands: &Demands) -> Finding {
        self.finding(&[POLICY, BINDING], || differences(demands, &self.objects))
    }

    fn kinds(&self, own: &[Value]) -> Finding {
        self.finding(&[DEFINITION], || {
            let served: Vec<Value> = self.objects.iter().filter(|(key, _)| key.kind == DEFINITION).map(|(_, object)| object.clone()).collect();
            schema::missing(own, &served)
        })
    }

    fn finding(&self, kinds: &[&str], lacks: impl FnOnce() -> Vec<String>) -> Finding {
        let read: Vec<_> = kinds.iter().filter_map(|kind| self.read.get(kind)).collect();
        let unreadable: Vec<String> = read.iter().filter_map(|read| read.as_ref().err().cloned()).collect();
        match (read.len() == kinds.len(), unreadable.is_empty()) {
            (_, false) => Finding::Lacks(unreadable),
            (true, true) => Finding::of(lacks()),
            (false, true) => Finding::NotRead,
        }
    }
}

/// Keeps of a policy or binding its spec, of a definition of ours the whole without what changes by itself; of others' definitions nothing.
fn keep(objects: &mut BTreeMap<Key, Value>, kind: &'static str, mut object: DynamicObject) -> Option<Value> {
    let key = Key { kind: kind.to_owned(), name: object.name_any() };
    let spec = object.data.get_mut("spec").map(Value::take).unwrap_or_default();
    if kind != DEFINITION {
        return objects.insert(key, spec);
    }
    let ours = spec.get("group").and_then(Value::as_str) == Some(GROUP);
    ours.then(|| serde_json::json!({"metadata": {"name": key.name}, "spec": spec})).and_then(|definition| objects.insert(key, definition))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn object(kind: &str, name: &str, spec: &Value) -> DynamicObject {
        serde_json::from_value(json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec})).unwrap()
    }

    fn list(held: &mut Held, kind: &'static str, objects: Vec<DynamicObject>) {
        held.note(kind, Ok(watcher::Event::Init));
        for object in objects {
            held.note(kind, Ok(watcher::Event::InitApply(object)));
        }
        held.note(kind, Ok(watcher::Event::InitDone));
    }

    fn full() -> (Demands, Held) {
        let (demands, mut held) = (demands("here", super::super::REVISION).unwrap(), Held::default());
        for kind in [POLICY, BINDING] {
            list(&mut held, kind, demands.iter().filter(|(key, _)| key.kind == kind).map(|(key, spec)| object(kind, &key.name, spec)).collect());
        }
        let definitions = schema::own().unwrap();
        list(&mut held, DEFINITION, definitions.iter().map(|crd| object(DEFINITION, crd["metadata"]["name"].as_str().unwrap(), &crd["spec"])).collect());
        (demands, held)
    }

    #[test]
    fn what_was_built_in_fits_and_is_known_only_when_every_list_is_complete() {
        let (demands, held) = full();
        assert_eq!((held.identity(&demands), held.kinds(&schema::own().unwrap())), (Finding::Fits, Finding::Fits));
        let mut half = Held::default();
        list(&mut half, POLICY, Vec::new());
        assert_eq!(half.identity(&demands), Finding::NotRead);
    }

    #[test]
    fn a_policy_that_is_deleted_or_changed_is_noticed_and_so_is_its_return() {
        let (demands, mut held) = full();
        let (key, spec) = demands.iter().find(|(key, _)| key.kind == BINDING).unwrap();
        held.note(BINDING, Ok(watcher::Event::Delete(object(BINDING, &key.name, spec))));
        assert_eq!(held.identity(&demands), Finding::Lacks(vec![format!("{BINDING} {} is missing", key.name)]));
        held.note(BINDING, Ok(watcher::Event::Apply(object(BINDING, &key.name, &json!({"policyName": key.name, "validationActions": ["Audit"]})))));
        assert_eq!(held.identity(&demands), Finding::Lacks(vec![format!("{BINDING} {} was changed", key.name)]));
        held.note(BINDING, Ok(watcher::Event::Apply(object(BINDING, &key.name, spec))));
        assert_eq!(held.identity(&demands), Finding::Fits);
    }

    #[test]
    fn what_is_not_in_a_new_list_is_gone() {
        let (demands, mut held) = full();
        list(&mut held, BINDING, Vec::new());
        assert!(matches!(held.identity(&demands), Finding::Lacks(lacks) if lacks.len() == 4));
        assert_eq!(held.kinds(&schema::own().unwrap()), Finding::Fits);
    }

    #[test]
    fn a_server_that_refuses_to_show_them_is_believed_and_one_that_is_away_is_not() {
        let failure = |code| Err(watcher::Error::InitialListFailed(kube::Error::Api(Box::new(Status { code, reason: "R".to_owned(), ..Status::default() }))));
        let (demands, mut held) = full();
        held.note(POLICY, failure(503));
        assert_eq!(held.identity(&demands), Finding::Fits);
        held.note(POLICY, failure(403));
        assert_eq!(held.identity(&demands), Finding::Lacks(vec![format!("{POLICY} objects cannot be read (403 R)")]));
    }
}
