//! The kinds and the chart before a real API server: what it accepts, what it refuses and with which words, what people see,
//! and what each of our service accounts may do.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::Value;
use sidestep::api;

use super::support::control_plane::{ControlPlane, NAMESPACE, SENTINELS, chart, helm, kinds, repository};
use super::support::process::finish;

// ---- what the API server accepts and refuses ----

#[test]
fn every_definition_is_established_without_a_warning() {
    let plane = ControlPlane::shared();
    // Applied before, by whoever came first; the warnings come each time.
    let applied = plane.kubectl().apply(&kinds().silent(), &["--server-side"]).silent();
    assert_eq!(applied.lines().count(), api::crds().len(), "{applied}");
    let named = r#"jsonpath={range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Established")].status} {.status.conditions[?(@.type=="NonStructuralSchema")].status}{"\n"}{end}"#;
    let conditions = plane.kubectl().run(&["get", "customresourcedefinitions", "-o", named]).silent();
    let expected: BTreeSet<String> = api::crds().iter().map(|crd| format!("{}.sidestep.dev True ", crd.spec.names.plural)).collect();
    assert_eq!(conditions.lines().map(str::to_owned).collect::<BTreeSet<_>>(), expected);
}

#[test]
fn every_sample_is_accepted_without_a_warning() {
    let plane = ControlPlane::shared();
    let mut kinds = BTreeSet::new();
    for (name, text) in manifests("config/samples") {
        plane.kubectl().apply(&text, &["--dry-run=server"]).silent();
        kinds.extend(text.lines().filter_map(|line| line.strip_prefix("kind: ")).map(str::to_owned));
        assert!(text.starts_with("# "), "{name} does not say what it is about");
    }
    assert_eq!(kinds, api::crds().into_iter().map(|crd| crd.spec.names.kind).collect(), "a kind without a sample, or the reverse");
}

#[test]
fn every_invalid_manifest_is_refused_with_its_message_alone() {
    let plane = ControlPlane::shared();
    for (name, text) in manifests("config/invalid") {
        let expected = expectation(&name, &text);
        let mut documents: Vec<&str> = text.split("\n---\n").collect();
        let wrong = documents.pop().unwrap();
        for before in documents {
            plane.kubectl().apply(before, &[]).silent();
        }
        let answer = plane.kubectl().apply(wrong, &[]);
        assert!(!answer.status.success(), "{name} is accepted");
        let answer = answer.stderr;
        assert!(answer.contains(expected), "{name} is refused for another reason: {answer}");
        // A word or number out of range keeps the rules from being asked, which the server says in a line of its own.
        let reasons = answer.lines().filter(|line| line.starts_with("* ") && !line.contains("some validation rules were not checked"));
        assert!(reasons.count() <= 1, "{name} is refused for more than one reason: {answer}");
    }
}

#[test]
fn every_rule_has_a_manifest_that_it_refuses() {
    let expected: Vec<String> = manifests("config/invalid").iter().map(|(name, text)| expectation(name, text).to_owned()).collect();
    let mut messages = Vec::new();
    for crd in api::crds() {
        collect_rules(&serde_json::to_value(&crd).unwrap(), &mut messages);
    }
    let unproven: Vec<&String> = messages.iter().filter(|message| !expected.contains(message)).collect();
    assert!(unproven.is_empty(), "no file in config/invalid expects the message of these rules: {unproven:#?}");
    let distinct: BTreeSet<&String> = messages.iter().collect();
    assert_eq!(distinct.len(), messages.len(), "two rules have the same message, so that a file cannot tell which one refused it");
    assert!(messages.len() > 10, "the rules were not found: {messages:?}");
}

/// A group in which the kinds have no rules, so that only these can be what refuses a manifest in the real one.
const WITHOUT_RULES: &str = "without-rules.example";

#[test]
fn without_the_rule_that_it_expects_a_manifest_is_accepted() {
    let plane = ControlPlane::shared();
    let (mut definitions, mut messages) = (Vec::new(), Vec::new());
    for crd in api::crds() {
        let mut definition = serde_json::to_value(&crd).unwrap();
        collect_rules(&definition, &mut messages);
        drop_rules(&mut definition);
        definition["metadata"]["name"] = format!("{}.{WITHOUT_RULES}", crd.spec.names.plural).into();
        definition["spec"]["group"] = WITHOUT_RULES.into();
        // The words that people type stay those of the real kinds.
        definition["spec"]["names"]["shortNames"] = Value::Null;
        definition["spec"]["names"]["categories"] = Value::Null;
        definitions.push(definition.to_string());
    }
    let definitions = definitions.join("\n---\n");
    plane.kubectl().apply(&definitions, &["--server-side"]).silent();
    plane.kubectl().run_with(&["wait", "--for=condition=Established", "--timeout=60s", "-f", "-"], &definitions).ok();
    let mut tried = 0;
    for (name, text) in manifests("config/invalid") {
        if messages.iter().any(|message| message == expectation(&name, &text)) {
            for document in text.replace("sidestep.dev/v1alpha1", &format!("{WITHOUT_RULES}/v1alpha1")).split("\n---\n") {
                let answer = plane.kubectl().apply(document, &[]);
                assert!(answer.status.success(), "{name} is refused for another reason than its rule, which could so be deleted unnoticed: {answer}");
            }
            tried += 1;
        }
    }
    assert!(tried >= messages.len(), "{tried} manifests for {} rules", messages.len());
}

fn drop_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(drop_rules);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_rules),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The messages of all rules below a schema. A rule without a message would be refused in CEL's words: it counts as one that no file expects.
fn collect_rules(schema: &Value, messages: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                messages.push(rule.get("message").and_then(Value::as_str).map_or_else(|| rule.to_string(), str::to_owned));
            }
            fields.values().for_each(|value| collect_rules(value, messages));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_rules(value, messages)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The manifests in a folder, by name.
fn manifests(folder: &str) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(repository(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    assert!(!paths.is_empty(), "{folder} holds no manifest");
    paths.iter().map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())).collect()
}

fn expectation<'a>(name: &str, text: &'a str) -> &'a str {
    let first = text.lines().next().and_then(|line| line.strip_prefix("# expect: "));
    first.unwrap_or_else(|| panic!("{name} does not begin with `# expect: ` and a part of the answer"))
}

// ---- what people see ----

#[test]
fn what_the_on_call_reads_fits_into_120_columns() {
    let plane = ControlPlane::shared();
    let kubectl = plane.kubectl();
    // The operator's names of runs are the longest.
    let run = "6f1c9f0e-2d3b-4c59-9a77-0b8f5e2d4a61-5f3a9c01";
    for (_, text) in manifests("config/samples") {
        // The table of runs has room for hosts of eight characters beside the longest name.
        let text = text.replace("name: move-database", &format!("name: {run}")).replace("sourceHost: compute-17", "sourceHost: cmp-0017");
        kubectl.apply(&text, &[]).silent();
    }
    let run = &format!("mrun/{run}");
    let status = |object: &str, status: &str| {
        kubectl.run(&["patch", object, "--subresource=status", "--type=merge", "-p", &format!(r#"{{"status":{status}}}"#)]).silent();
    };
    let ready = r#"[{"type":"Ready","status":"True","reason":"Connected","message":"","lastTransitionTime":"2026-03-02T08:15:04Z"}]"#;
    let progress = r#"{"total":100,"waiting":0,"running":0,"migrated":98,"failed":2,"remaining":2,"percent":98}"#;
    status(
        "oscloud/production",
        &format!(
            r#"{{"identity":{{"user":"sidestep","project":"service","region":"RegionOne"}},"hosts":{{"total":200,"enabled":198,"disabled":2,"down":1,"quarantined":1}},"conditions":{ready}}}"#
        ),
    );
    status("qpol/exploits", &format!(r#"{{"conditions":{ready}}}"#));
    let silent = r#"[{"type":"SensorSilent","status":"Unknown","reason":"SentinelsUnreachable","message":"","lastTransitionTime":"2026-03-02T08:15:04Z"}]"#;
    status("hrep/compute-17", &format!(r#"{{"cloud":"production","host":"compute-17","conditions":{silent}}}"#));
    status("halert/compute-17-00", r#"{"decision":"AlreadyQuarantined","policy":"exploits","quarantine":"compute-17-5f3a9c01"}"#);
    status("hq/compute-17-by-hand", &format!(r#"{{"phase":"Blocked","progress":{progress},"residentCount":2}}"#));
    status(run, r#"{"phase":"Succeeded","destinationHost":"cmp-0018","progress":{"percent":100},"measured":{"durationMillis":102345}}"#);
    for object in ["oscloud/production", "qpol/exploits", "hrep/compute-17", "halert/compute-17-00", "hq/compute-17-by-hand", run] {
        let table = kubectl.run(&["get", object]).silent();
        let widest = table.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
        assert!(widest <= 120, "{widest} columns:\n{table}");
    }
}

// ---- the chart ----

#[test]
fn both_charts_pass_the_strict_lint() {
    for chart in ["sidestep", "sidestep-crds"] {
        finish(helm().args(["lint", "--strict"]).arg(repository("charts").join(chart))).ok();
    }
}

#[test]
fn the_kinds_outlive_their_chart() {
    let rendered = kinds().silent();
    assert_eq!(rendered.matches("annotations: {helm.sh/resource-policy: keep}").count(), api::crds().len());
}

#[test]
fn the_policy_samples_are_off_by_default_and_accepted_when_on() {
    let plane = ControlPlane::shared();
    assert!(!chart(NAMESPACE, &[]).silent().contains("kind: QuarantinePolicy"));
    assert!(chart(NAMESPACE, &["--set", "policySamples.enabled=true"]).refused().contains("name an OpenStackCloud"));
    let samples = ["--show-only", "templates/policy-samples.yaml", "--set", "policySamples.enabled=true,policySamples.cloud=production"];
    let samples = chart(NAMESPACE, &samples).silent();
    assert_eq!(samples.matches("mode: Observe").count(), samples.matches("kind: QuarantinePolicy").count());
    plane.kubectl().apply(&samples, &["--dry-run=server"]).silent();
}

#[test]
fn the_whole_chart_is_accepted_without_a_warning() {
    let plane = ControlPlane::shared();
    plane.kubectl().apply(&chart(NAMESPACE, &[]).silent(), &["--dry-run=server"]).silent();
    let snort = "sentinel.sources[1].format=snort3_fast,sentinel.sources[1].folder=/var/log/snort,sentinel.sources[1].file=alert_fast.txt,sentinel.sources[1].timezone=Asia/Kolkata";
    let eve =
        "sentinel.sources[0].format=suricata_eve,sentinel.sources[0].folder=/var/log/suricata,sentinel.sources[0].file=eve.json,sentinel.sources[0].name=edge";
    let other = [
        "--set",
        eve,
        "--set",
        snort,
        "--set",
        "sentinel.groups={4,64045}",
        "--set",
        "sentinel.tolerations[0].operator=Exists",
        "--set",
        "operator.nodeSelector.role=control",
    ];
    plane.kubectl().apply(&chart(NAMESPACE, &other).silent(), &["--dry-run=server"]).silent();
}

#[test]
fn the_operator_needs_nothing_that_the_restricted_pod_security_standard_forbids() {
    let plane = ControlPlane::shared();
    let namespace = "restricted-pods";
    for namespace in [namespace, "restricted-pods-sentinels"] {
        plane.kubectl().run(&["create", "namespace", namespace]).ok();
        plane.kubectl().run(&["label", "namespace", namespace, "pod-security.kubernetes.io/warn=restricted"]).ok();
    }
    let warned = |template: &str| plane.kubectl().apply(&chart(namespace, &["--show-only", template]).ok(), &["--dry-run=server"]).stderr;
    assert_eq!(warned("templates/operator-deployment.yaml"), "");
    // The sentinel reads the host's files: it is the one that needs more, and this shows that the server looks at all.
    assert!(warned("templates/sentinel-daemonset.yaml").contains("would violate PodSecurity"));
}

#[test]
fn the_programs_understand_the_arguments_that_the_chart_gives_them() {
    let programs = [
        ("templates/operator-deployment.yaml", env!("CARGO_BIN_EXE_sidestep-operator")),
        ("templates/sentinel-daemonset.yaml", env!("CARGO_BIN_EXE_sidestep-sentinel")),
        ("templates/uninstall-hook.yaml", env!("CARGO_BIN_EXE_sidestep-operator")),
    ];
    for (template, program) in programs {
        let rendered = chart(NAMESPACE, &["--show-only", template]).silent();
        let pods = rendered.split("\n---\n").filter_map(|document| serde_saphyr::from_str::<Value>(document).ok());
        let arguments = pods.filter_map(|object| object.pointer("/spec/template/spec/containers/0/args").cloned()).next().unwrap();
        let arguments = serde_json::from_value::<Vec<String>>(arguments).unwrap();
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.replace("$(NODE_NAME)", "n").replace("8081", "0")).collect();
        // Not in a pod, it has no service account; a word that it does not know is another error.
        let answer = finish(Command::new(program).args(&arguments).env_remove("KUBERNETES_SERVICE_HOST"));
        assert!(answer.stderr.contains("there is no service account here"), "{template}: {answer}");
    }
}

#[test]
fn a_value_that_the_chart_does_not_know_is_refused_by_name() {
    assert!(chart(NAMESPACE, &["--set", "operator.leaders=2"]).refused().contains("leaders"));
    let folder = "sentinel.sources[0].format=snort3_json,sentinel.sources[0].file=a,sentinel.sources[0].folder=var/log";
    assert!(chart(NAMESPACE, &["--set", folder]).refused().contains("folder"));
}

// ---- what the service accounts may do ----

const VERBS: [&str; 11] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "bind", "escalate", "impersonate"];

/// Resources that are asked about, as group, names. The namespaced ones are asked about in four namespaces.
const CLUSTER: [(&str, &[&str]); 4] = [
    ("", &["nodes", "namespaces", "persistentvolumes", "users", "groups"]),
    ("apiextensions.k8s.io", &["customresourcedefinitions"]),
    ("rbac.authorization.k8s.io", &["clusterroles", "clusterrolebindings"]),
    ("admissionregistration.k8s.io", &["validatingadmissionpolicies", "validatingadmissionpolicybindings", "validatingwebhookconfigurations"]),
];
const NAMESPACED: [(&str, &[&str]); 5] = [
    ("", &["secrets", "configmaps", "pods", "pods/exec", "serviceaccounts", "serviceaccounts/token", "events"]),
    ("events.k8s.io", &["events"]),
    ("coordination.k8s.io", &["leases"]),
    ("apps", &["deployments", "daemonsets"]),
    ("rbac.authorization.k8s.io", &["roles", "rolebindings"]),
];

#[tokio::test]
async fn the_operator_may_do_what_it_does_and_nothing_else() {
    let plane = ControlPlane::shared();
    let granted = granted(&plane.kubectl_as("sidestep-operator", None).client().await).await;
    let expected = [
        "openstackclouds: get list watch",
        "openstackclouds/status: patch",
        "quarantinepolicies: get list watch",
        "quarantinepolicies/status: patch",
        "hostalerts: get list watch create patch delete",
        "hostalerts/status: patch",
        "hostquarantines: get list watch create patch",
        "hostquarantines/status: patch",
        "hostquarantines/finalizers: update",
        "migrationruns: get list watch create patch delete",
        "migrationruns/status: patch",
        "hostreports: get list watch delete",
        "hostreports/status: patch",
        "nodes: list",
        "customresourcedefinitions.apiextensions.k8s.io: get list watch",
        "validatingadmissionpolicies.admissionregistration.k8s.io: get list watch",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io: get list watch",
        "secrets in sidestep-system: get list watch",
        "events.events.k8s.io in default: create patch",
        "leases.coordination.k8s.io in sidestep-system: create",
        "leases.coordination.k8s.io in sidestep-system-sentinels: get list watch delete",
    ];
    assert_eq!(granted, expected);
}

#[tokio::test]
async fn a_sentinel_may_write_alerts_and_its_heartbeat_and_nothing_else() {
    let plane = ControlPlane::shared();
    let granted = granted(&plane.kubectl_as("sidestep-sentinel", Some("compute-17")).client().await).await;
    assert_eq!(
        granted,
        ["hostalerts: get create patch", "hostreports: get create patch", "leases.coordination.k8s.io in sidestep-system-sentinels: get create update patch"]
    );
}

#[test]
fn a_sentinel_reports_with_its_own_token_and_is_refused_everything_else() {
    let plane = ControlPlane::shared();
    let sentinel = plane.kubectl_as("sidestep-sentinel", Some("compute-20"));
    let alert = fs::read_to_string(repository("config/samples/hostalert.yaml")).unwrap().replace("compute-17", "compute-20");
    sentinel.apply(&alert, &["--server-side"]).silent();
    sentinel.apply(&alert.replace("seq: 4", "seq: 5"), &["--server-side"]).silent();
    assert_eq!(sentinel.run(&["get", "hostalert", "compute-20-00", "-o", "jsonpath={.spec.seq}"]).silent(), "5");
    for denied in [
        &["get", "hostalerts"][..],
        &["get", "hostquarantines"],
        &["get", "openstackclouds"],
        &["get", "secrets", "--namespace", NAMESPACE],
        &["delete", "hostalert", "compute-20-00"],
        &["patch", "hostalert", "compute-20-00", "--subresource=status", "--type=merge", "-p", r#"{"status":{"decision":"Recorded"}}"#],
    ] {
        let answer = sentinel.run(denied).refused();
        assert!(answer.contains("Forbidden") || answer.contains("forbidden"), "{denied:?}: {answer}");
    }
}

#[test]
fn the_operator_reads_the_secrets_of_its_own_namespace_alone() {
    let plane = ControlPlane::shared();
    let operator = plane.kubectl_as("sidestep-operator", None);
    operator.run(&["get", "secrets", "--namespace", NAMESPACE]).ok();
    for elsewhere in [&["--namespace", "default"][..], &["--namespace", "kube-system"], &["--all-namespaces"]] {
        assert!(operator.run(&[&["get", "secrets"], elsewhere].concat()).refused().contains("cannot list resource \"secrets\""));
    }
    let cloud = fs::read_to_string(repository("config/samples/openstackcloud.yaml")).unwrap().replace("name: production\nspec", "name: another\nspec");
    assert!(operator.apply(&cloud, &["--server-side"]).refused().contains("cannot patch resource \"openstackclouds\""));
}

/// All that the owner of the credential may do among what is asked about, as `RESOURCE[.GROUP][ in NAMESPACE]: VERBS`; of Sidestep's own kinds without the group.
async fn granted(client: &Client) -> Vec<String> {
    let mut all = Vec::new();
    for crd in api::crds() {
        for part in ["", "/status", "/finalizers"] {
            let resource = format!("{}{part}", crd.spec.names.plural);
            all.extend(verbs(client, api::GROUP, &resource, None).await.map(|verbs| format!("{resource}: {verbs}")));
        }
    }
    let namespaces = [NAMESPACE, SENTINELS, "default", "kube-system"];
    let cluster = CLUSTER.iter().map(|&(group, names)| (group, names, &[None][..]));
    let some = namespaces.map(Some);
    for (group, names, places) in cluster.chain(NAMESPACED.iter().map(|&(group, names)| (group, names, &some[..]))) {
        for name in names {
            let named = if group.is_empty() { (*name).to_owned() } else { format!("{name}.{group}") };
            for place in places {
                let suffix = place.map(|place| format!(" in {place}")).unwrap_or_default();
                all.extend(verbs(client, group, name, *place).await.map(|verbs| format!("{named}{suffix}: {verbs}")));
            }
        }
    }
    all
}

/// The verbs that are granted, in one line; nothing if there is none.
async fn verbs(client: &Client, group: &str, resource: &str, namespace: Option<&str>) -> Option<String> {
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    let (resource, subresource) = resource.split_once('/').map_or((resource, None), |(resource, part)| (resource, Some(part.to_owned())));
    let mut granted = Vec::new();
    for verb in VERBS {
        let attributes = ResourceAttributes {
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.clone(),
            namespace: namespace.map(str::to_owned),
            verb: Some(verb.to_owned()),
            ..Default::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), non_resource_attributes: None };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
        if answer.status.is_some_and(|status| status.allowed) {
            granted.push(verb);
        }
    }
    (!granted.is_empty()).then(|| granted.join(" "))
}
