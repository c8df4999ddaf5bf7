//! Identity and verbs, before a real API server with the chart's admission policies and real tokens: which sentinel may speak about which node, what the operator's account can never write, which
//! acts of people need a verb, and what happens when a policy is missing.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use serde_json::json;
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::Phase;
use sidestep::api::{HostAlert, HostQuarantine, OpenStackCloud};
use sidestep::clock::Clock;

use super::support::cloud::active;
use super::support::control_plane::{ControlPlane, Kubectl, NAMESPACE, SENTINELS, chart, repository};
use super::support::process::Finished;
use super::support::world::{CLOUD, Setup, World, condition_of, decision_of};

// ---- sentinels ----

/// A HostAlert of a node in a slot, as its sentinel writes it.
fn alert(node: &str, slot: &str) -> String {
    let sample = fs::read_to_string(repository("config/samples/hostalert.yaml")).unwrap();
    sample.replace("compute-17-00", &format!("{node}-{slot}")).replace("compute-17", node)
}

/// A HostReport of a node, as its sentinel writes it.
fn report(node: &str) -> String {
    fs::read_to_string(repository("config/samples/hostreport.yaml")).unwrap().replace("compute-17", node)
}

fn lease(name: &str, namespace: &str) -> String {
    format!("apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{holderIdentity: {name}}}\n")
}

fn applied(kubectl: &Kubectl, manifest: &str) -> Finished {
    kubectl.apply(manifest, &["--server-side", "--force-conflicts"])
}

#[track_caller]
fn assert_refused(answer: Finished, why: &str) {
    let words = answer.refused();
    assert!(words.contains(why), "refused for another reason than {why:?}: {words}");
}

#[test]
fn identity_a_sentinel_writes_the_alerts_and_the_lease_of_its_own_node() {
    let plane = ControlPlane::shared();
    let sentinel = plane.kubectl_as("sidestep-sentinel", Some("own-1"));
    for slot in ["00", "2f", "3e", "3f"] {
        applied(&sentinel, &alert("own-1", slot)).silent();
    }
    applied(&sentinel, &report("own-1")).silent();
    applied(&sentinel, &lease("own-1", SENTINELS)).silent();
    // How far it has read stands beside the spec.
    let read = alert("own-1", "00").replace("seq: 4", "seq: 5").replace("spec:\n", "  annotations: {sidestep.dev/read-up-to: 'inode 7 offset 8'}\nspec:\n");
    applied(&sentinel, &read).silent();
    // A label that a person put there does not stop it.
    plane.kubectl().run(&["label", "hostalert", "own-1-00", "seen=yes"]).silent();
    applied(&sentinel, &read.replace("seq: 5", "seq: 6")).silent();
}

#[test]
fn identity_a_sentinel_is_refused_whatever_is_not_its_own() {
    let plane = ControlPlane::shared();
    let own = plane.kubectl_as("sidestep-sentinel", Some("thief-1"));
    let other = plane.kubectl_as("sidestep-sentinel", Some("victim-1"));
    applied(&own, &alert("thief-1", "00")).silent();
    applied(&other, &alert("victim-1", "00")).silent();
    applied(&other, &lease("victim-1", SENTINELS)).silent();
    // another node
    assert_refused(applied(&own, &alert("victim-1", "01")), "the token is of node thief-1, the object is about node victim-1");
    // another node's object, under the own node's name
    let renamed = alert("victim-1", "00").replace("node: victim-1", "node: thief-1");
    assert_refused(applied(&own, &renamed), "node is immutable");
    // an own name, for another node
    assert_refused(applied(&own, &alert("thief-1", "05").replace("node: thief-1", "node: victim-1")), "the object is about node victim-1");
    // a name that begins like the own one, and slots that do not exist
    for name in ["40", "0", "000", "0G", "3F", "victim-1-00", "silent"] {
        assert_refused(applied(&own, &alert("thief-1", name)), "");
    }
    assert_refused(applied(&own, &alert("thief-1", "40")), "a sentinel of node thief-1 has the HostAlerts thief-1-00 to thief-1-3f and no other");
    // silence is what others say about a sentinel
    assert_refused(applied(&own, &alert("thief-1", "01").replace("engine: suricata", "engine: sidestep")), "are the operator's");
    // seq falls
    assert_refused(applied(&own, &alert("thief-1", "00").replace("seq: 4", "seq: 3")), "seq never falls");
    // more than the spec
    let finalizer = alert("thief-1", "02").replace("spec:\n", "  finalizers: [example.org/never]\nspec:\n");
    assert_refused(applied(&own, &finalizer), "a sentinel writes the spec, how far it has read, and nothing else");
    let label = alert("thief-1", "02").replace("spec:\n", "  labels: {a: b}\nspec:\n");
    assert_refused(applied(&own, &label), "a sentinel writes the spec, how far it has read, and nothing else");
    // another report, and the own one about another node
    applied(&other, &report("victim-1")).silent();
    assert_refused(applied(&own, &report("victim-1")), "the object is about node victim-1");
    assert_refused(own.run(&["patch", "hostreport", "victim-1", "--type=merge", "-p", r#"{"spec":{"version":"9"}}"#]), "the object is about node victim-1");
    // another Lease, and the own one elsewhere
    assert_refused(applied(&own, &lease("victim-1", SENTINELS)), "bear the name of its node, thief-1");
    assert_refused(applied(&own, &lease("thief-1", NAMESPACE)), "cannot");
    // another kind, status, deletion
    let quarantine = fs::read_to_string(repository("config/samples/hostquarantine.yaml")).unwrap();
    assert_refused(applied(&own, &quarantine), "cannot");
    let status = ["patch", "hostalert", "thief-1-00", "--subresource=status", "--type=merge", "-p", r#"{"status":{"decision":"Recorded"}}"#];
    assert_refused(own.run(&status), "cannot");
    assert_refused(own.run(&["delete", "hostalert", "thief-1-00"]), "cannot");
}

#[test]
fn identity_the_policy_alone_holds_where_the_roles_grant_too_much() {
    let plane = ControlPlane::shared();
    let admin = plane.kubectl();
    let node = "roaming-1";
    let sentinel = plane.kubectl_as("sidestep-sentinel", Some(node));
    let binding = format!("--serviceaccount={SENTINELS}:sidestep-sentinel");
    admin.run(&["create", "clusterrolebinding", "too-much", "--clusterrole=cluster-admin", &binding]).ok();
    applied(&sentinel, &alert(node, "00")).silent();
    let quarantine = fs::read_to_string(repository("config/samples/hostquarantine.yaml")).unwrap();
    let status = ["patch", "hostalert", "roaming-1-00", "--subresource=status", "--type=merge", "-p", r#"{"status":{"decision":"Recorded"}}"#];
    let answers = [
        (applied(&sentinel, &quarantine), "a sentinel writes HostAlerts, its HostReport and its Lease only"),
        (sentinel.run(&status), "a sentinel writes no status"),
        (sentinel.run(&["delete", "hostalert", "roaming-1-00"]), "a sentinel deletes nothing"),
        (applied(&sentinel, &lease(node, NAMESPACE)), "a sentinel's Lease lives in the sentinels' namespace"),
        // A token that is bound to no pod names no node.
        (applied(&plane.kubectl_as("sidestep-sentinel", None), &alert(node, "00")), "the token names no node"),
    ];
    admin.run(&["delete", "clusterrolebinding", "too-much"]).ok();
    for (answer, why) in answers {
        assert_refused(answer, why);
    }
}

#[test]
fn a_stolen_token_has_a_share_of_the_api_server_of_its_own() {
    let plane = ControlPlane::shared();
    for (account, node) in [("sidestep-sentinel", Some("busy-1")), ("sidestep-operator", None)] {
        let schema = account.replace("sentinel", "sentinels");
        let uid = plane.kubectl().run(&["get", "flowschema", &schema, "-o", "jsonpath={.metadata.uid}"]).ok();
        let answer = plane.kubectl_as(account, node).run(&["get", "hostalert", "none", "--v=8"]).stderr;
        assert!(answer.contains(&uid), "requests of {account} are not those of the FlowSchema {schema} ({uid}): {answer}");
    }
}

// ---- verbs ----

/// `kubectl` as a person who has one of the chart's roles.
struct Person {
    kubectl: Kubectl,
    name: String,
}

impl Person {
    fn with(plane: &ControlPlane, role: &str, name: &str) -> Self {
        plane.kubectl().run(&["create", "clusterrolebinding", name, &format!("--clusterrole={role}"), &format!("--user={name}")]).ok();
        let person = Self { kubectl: plane.kubectl(), name: name.to_owned() };
        let may = || person.run(&["auth", "can-i", "list", "hostquarantines.sidestep.dev"]).status.success();
        assert!((0..100).any(|_| may()), "{name} still may not even list");
        person
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        self.kubectl.run(&[&[&format!("--as={}", self.name) as &str], arguments].concat())
    }

    fn makes(&self, name: &str, spec: &serde_json::Value) -> Finished {
        self.makes_kind("HostQuarantine", name, spec)
    }

    fn makes_kind(&self, kind: &str, name: &str, spec: &serde_json::Value) -> Finished {
        let object = json!({"apiVersion": "sidestep.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let arguments = [&format!("--as={}", self.name) as &str, "create", "-f", "-"];
        self.kubectl.run_with(&arguments, &object.to_string())
    }

    fn patches(&self, object: &str, spec: &serde_json::Value) -> Finished {
        self.run(&["patch", object, "--type=merge", "-p", &json!({"spec": spec}).to_string()])
    }
}

#[test]
fn verbs_an_editor_can_ask_and_stop_but_neither_enforce_nor_release() {
    let plane = ControlPlane::shared();
    let (editor, admin) = (Person::with(&plane, "sidestep-editor", "edda"), Person::with(&plane, "sidestep-admin", "ada"));
    let spec = |mode: &str| json!({"cloud": "verbs", "host": "h", "mode": mode});
    assert_refused(editor.makes("verbs-1", &spec("Enforce")), "needs the verb approve");
    editor.makes("verbs-1", &spec("Observe")).ok();
    assert_refused(editor.patches("hq/verbs-1", &json!({"mode": "Enforce"})), "needs the verb approve");
    admin.patches("hq/verbs-1", &json!({"mode": "Enforce"})).ok();
    // An object in mode Enforce that is already there: not widened, but labelled, and released by whoever may.
    assert_refused(editor.patches("hq/verbs-1", &json!({"deadline": "2h"})), "needs the verb approve");
    editor.run(&["label", "hq/verbs-1", "seen=yes"]).ok();
    // What stops something needs no verb; what starts it again does.
    editor.patches("hq/verbs-1", &json!({"suspend": true, "abort": "Queued"})).ok();
    assert_refused(editor.patches("hq/verbs-1", &json!({"suspend": false})), "needs the verb approve");
    let release = |who: &str| json!({"release": {"requested": true, "approvedBy": who}});
    assert_refused(editor.patches("hq/verbs-1", &release("edda")), "release needs the verb release");
    for nobody_or_another in ["", "edda"] {
        assert_refused(admin.patches("hq/verbs-1", &release(nobody_or_another)), "must be the name of whoever releases: ada");
    }
    admin.patches("hq/verbs-1", &release("ada")).ok();
}

#[test]
fn verbs_approval_is_an_act_of_the_person_that_it_names() {
    let plane = ControlPlane::shared();
    let editor = Person::with(&plane, "sidestep-editor", "edna");
    let (admin, other) = (Person::with(&plane, "sidestep-admin", "arne"), Person::with(&plane, "sidestep-admin", "olga"));
    let approval = |plan: &str, who: &str| json!({"approval": {"plan": plan.repeat(64), "approvedBy": who}});
    editor.makes("asking", &json!({"cloud": "verbs", "host": "a", "mode": "Approve"})).ok();
    assert_refused(editor.patches("hq/asking", &approval("a", "edna")), "approval needs the verb approve");
    for nobody_or_another in ["", "edna"] {
        assert_refused(admin.patches("hq/asking", &approval("a", nobody_or_another)), "must be the name of whoever approves: arne");
    }
    admin.patches("hq/asking", &approval("a", "arne")).ok();
    // Nobody puts another plan under a name that stands there.
    assert_refused(other.patches("hq/asking", &json!({"approval": {"plan": "b".repeat(64)}})), "must be the name of whoever approves: olga");
    // What does without an approval, or puts a host back without a release, needs the same verbs.
    for field in ["allowUnapproved", "allowLateArrivals"] {
        assert_refused(editor.patches("hq/asking", &json!({field: true})), "needs the verb approve");
        admin.patches("hq/asking", &json!({field: true})).ok();
        editor.patches("hq/asking", &json!({field: false})).ok();
    }
    let maintenance = |policy: &str| json!({"cloud": "verbs", "host": "b", "scope": "Maintenance", "deletionPolicy": policy});
    assert_refused(editor.makes("maintenance", &maintenance("Release")), "deletionPolicy Release needs the verb release");
    editor.makes("maintenance", &maintenance("KeepCordoned")).ok();
    assert_refused(editor.patches("hq/maintenance", &json!({"deletionPolicy": "Release"})), "deletionPolicy Release needs the verb release");
    admin.patches("hq/maintenance", &json!({"deletionPolicy": "Release"})).ok();
}

#[test]
fn verbs_what_moves_servers_without_a_quarantine_needs_the_verb_too() {
    let plane = ControlPlane::shared();
    let (editor, admin) = (Person::with(&plane, "sidestep-editor", "emil"), Person::with(&plane, "sidestep-admin", "anna"));
    let run = json!({"cloud": "verbs", "server": "6f1c9f0e-2d3b-4c59-9a77-0b8f5e2d4a61", "sourceHost": "h", "quarantine": "q"});
    assert_refused(editor.makes_kind("MigrationRun", "by-hand", &run), "needs the verb approve");
    admin.makes_kind("MigrationRun", "by-hand", &run).ok();
    let policy = |mode: &str| json!({"cloud": "verbs", "mode": mode, "match": {"minSeverity": "High"}});
    assert_refused(editor.makes_kind("QuarantinePolicy", "verbs", &policy("Enforce")), "needs the verb approve");
    editor.makes_kind("QuarantinePolicy", "verbs", &policy("Observe")).ok();
    assert_refused(editor.patches("qpol/verbs", &json!({"mode": "Enforce"})), "needs the verb approve");
    admin.patches("qpol/verbs", &json!({"mode": "Enforce"})).ok();
    editor.patches("qpol/verbs", &json!({"mode": "Observe"})).ok();
}

#[test]
fn verbs_a_viewer_reads_and_writes_nothing() {
    let plane = ControlPlane::shared();
    let viewer = Person::with(&plane, "sidestep-viewer", "vera");
    viewer.run(&["get", "hostquarantines,hostalerts,migrationruns"]).ok();
    assert_refused(viewer.makes("verbs-3", &json!({"cloud": "verbs", "host": "h"})), "cannot create");
}

#[test]
fn verbs_the_operator_makes_what_was_decided_and_can_neither_approve_nor_release() {
    let plane = ControlPlane::shared();
    let operator = plane.kubectl_as("sidestep-operator", None);
    let trigger = json!({"policy": "p", "policyGeneration": 1, "alerts": []});
    let make = |name: &str, spec: serde_json::Value| {
        let object = json!({"apiVersion": "sidestep.dev/v1alpha1", "kind": "HostQuarantine", "metadata": {"name": name}, "spec": spec});
        operator.run_with(&["create", "-f", "-"], &object.to_string())
    };
    assert_refused(make("by-operator-1", json!({"cloud": "c", "host": "h", "mode": "Enforce"})), "names the decision behind it");
    assert_refused(
        make("by-operator-1", json!({"cloud": "c", "host": "h", "mode": "Enforce", "trigger": trigger, "release": {"requested": true}})),
        "approval and release are acts of a named person",
    );
    make("by-operator-1", json!({"cloud": "c", "host": "h", "mode": "Enforce", "trigger": trigger})).ok();
    for spec in [json!({"release": {"requested": true}}), json!({"deadline": "1h"})] {
        let patch = json!({"spec": spec}).to_string();
        assert_refused(operator.run(&["patch", "hq/by-operator-1", "--type=merge", "-p", &patch]), "does not change the spec");
    }
    operator.run(&["patch", "hq/by-operator-1", "--type=merge", "-p", r#"{"metadata":{"finalizers":["sidestep.dev/finalizer"]}}"#]).ok();
    operator.run(&["patch", "hq/by-operator-1", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]).ok();
    // Alerts: only that a sensor is silent.
    assert_refused(applied(&operator, &alert("quiet-1", "00")), "NODE-silent of engine sidestep only");
    let silence = alert("quiet-1", "silent").replace("engine: suricata", "engine: sidestep");
    applied(&operator, &silence).silent();
    assert_refused(applied(&plane.kubectl(), &silence.replace("quiet-1", "quiet-2")), "are the operator's");
}

// ---- a policy that is missing ----

#[tokio::test]
async fn identity_with_a_policy_removed_decisions_are_recorded_only_and_people_go_on() {
    let world = World::start(Setup::simulated(vec![active("web-1", "cmp-1")]).await.sentinel_on("cmp-1")).await;
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "IdentityEnforced", "True").await;
    let kubectl = world.plane.kubectl();
    let policy = "sidestep-sentinels-r1";
    kubectl.run(&["delete", "validatingadmissionpolicybinding", policy]).ok();
    let missing = world.wait_for_condition::<OpenStackCloud>(CLOUD, "IdentityEnforced", "False").await;
    assert!(missing.message.contains(&format!("ValidatingAdmissionPolicyBinding {policy} is missing")), "{missing:?}");
    world.wait_for_event(CLOUD, "IdentityUnenforced").await;
    world.alert("cmp-1");
    let held_back = |alert: &HostAlert| decision_of(alert) == Some(Decision::IdentityUnenforced);
    world.wait_for::<HostAlert>("cmp-1-00", "is IdentityUnenforced", held_back).await;
    // What a person asks for needs no sentinel's word.
    world.quarantine_by_hand("by-hand", "cmp-2", "Enforce").await;
    world.wait_for_phase("by-hand", Phase::Empty).await;
    world.release("by-hand").await;
    world.wait_for_phase("by-hand", Phase::Released).await;
    // Changed by a word, it is no better.
    let audit = format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: {policy}}}\nspec: {{policyName: {policy}, validationActions: [Audit]}}\n"
    );
    kubectl.apply(&audit, &[]).ok();
    let changed = |cloud: &OpenStackCloud| condition_of(cloud, "IdentityEnforced").is_some_and(|condition| condition.message.contains("was changed"));
    world.wait_for::<OpenStackCloud>(CLOUD, "shows that the binding was changed", changed).await;
    // Whole again: the alert is decided once more, being young.
    world.plane.apply_chart();
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "IdentityEnforced", "True").await;
    world.wait_for_quarantine_of("cmp-1", "made by the alert", |quarantine| quarantine.spec.trigger.is_some()).await;
    world.plane.wait_for_policies();
}

/// Waits until the condition IdentityEnforced says so, and returns how long after `from` the operator judged it, by its own stamp.
async fn judged(world: &World, from: Timestamp, status: &str, part: &str) -> SignedDuration {
    let holds = |cloud: &OpenStackCloud| {
        condition_of(cloud, "IdentityEnforced").is_some_and(|condition| condition.status == status && condition.message.contains(part))
    };
    let cloud = world.wait_for(CLOUD, &format!("has IdentityEnforced {status}: {part}"), holds).await;
    condition_of(&cloud, "IdentityEnforced").unwrap().last_transition_time.0.duration_since(from)
}

/// The chart's admission policies, as the API server is given them.
fn policies() -> String {
    chart(NAMESPACE, &["--show-only", "templates/admission-access.yaml"]).ok()
}

#[tokio::test]
async fn identity_policies_that_are_removed_or_changed_are_noticed_within_10_s_and_decisions_are_recorded_only() {
    let world = World::start(Setup::simulated(vec![active("web-1", "cmp-1")]).await.sentinel_on("cmp-1")).await;
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "IdentityEnforced", "True").await;
    let kubectl = world.plane.kubectl();
    let clock = Clock::system();
    let limit = SignedDuration::from_secs(10);

    // One is changed: it stands there, and does not hold.
    let from = clock.now();
    kubectl.run(&["patch", "validatingadmissionpolicy", "sidestep-sentinels-r1", "--type=merge", "-p", r#"{"spec":{"failurePolicy":"Ignore"}}"#]).ok();
    let took = judged(&world, from, "False", "ValidatingAdmissionPolicy sidestep-sentinels-r1 was changed").await;
    assert!(took <= limit, "the change was noticed after {took:?}");
    world.alert("cmp-1");
    let held_back = |alert: &HostAlert| decision_of(alert) == Some(Decision::IdentityUnenforced);
    world.wait_for::<HostAlert>("cmp-1-00", "is IdentityUnenforced", held_back).await;
    world.plane.apply_chart();
    judged(&world, from, "True", "").await;
    let first = world.wait_for_quarantine_of("cmp-1", "made by the alert", |quarantine| quarantine.spec.trigger.is_some()).await.name_any();
    world.release_by_force(&first).await;
    world.wait_for_phase(&first, Phase::Released).await;

    // All are removed.
    let from = clock.now();
    kubectl.run_with(&["delete", "-f", "-"], &policies()).ok();
    let took = judged(&world, from, "False", "is missing").await;
    assert!(took <= limit, "the removal was noticed after {took:?}");
    world.alert("cmp-1");
    let again =
        |alert: &HostAlert| alert.spec.seq > 1 && held_back(alert) && alert.status.as_ref().is_some_and(|status| status.observed_seq == Some(alert.spec.seq));
    world.wait_for::<HostAlert>("cmp-1-00", "is IdentityUnenforced once more", again).await;
    let quarantines: Vec<String> = world.all::<HostQuarantine>().await.iter().map(|quarantine| quarantine.name_any()).collect();
    assert_eq!(quarantines, [first], "nothing was made while the policies were away");
    assert!(world.simulator().service("cmp-1").0);
    world.plane.apply_chart();
    judged(&world, from, "True", "").await;
    world.plane.wait_for_policies();
}

/// Both directions of an upgrade that hangs half way. Each alert is decided once: at once by whoever may decide, or by the next leader who may.
#[tokio::test]
async fn identity_an_upgrade_half_way_and_back_loses_no_decision() {
    let mut setup = Setup::simulated(Vec::new()).await;
    setup.spec = json!({"budget": {"hostsOutOfService": 3}});
    let mut world = World::start(setup).await;
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "IdentityEnforced", "True").await;
    let kubectl = world.plane.kubectl();
    // New policies, old leader: the next release's chart, its own revision beside the one that this operator demands.
    let next = policies().replace("-r1", "-r2");
    kubectl.apply(&next, &[]).silent();
    world.alert("cmp-1");
    world.wait_for_phase_of("cmp-1", Phase::Empty).await;
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "IdentityEnforced", "True").await;

    // An alert comes while nobody leads; the new leader decides on it.
    world.operator().signal("TERM");
    world.wait_for_end_of_operator().await;
    world.alert("cmp-2");
    world.wait_for::<HostAlert>("cmp-2-00", "is written", |alert| decision_of(alert).is_none()).await;
    let new = world.another_operator("new", &["--admission-revision", "r2"]);
    world.wait_for_phase_of("cmp-2", Phase::Empty).await;
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "IdentityEnforced", "True").await;

    // The way back: the new policies are gone while the new leader still leads, which records only. The old one decides.
    kubectl.run_with(&["delete", "-f", "-"], &next).ok();
    let missing = world.wait_for_condition::<OpenStackCloud>(CLOUD, "IdentityEnforced", "False").await;
    assert!(missing.message.contains("-r2 is missing"), "{missing:?}");
    world.alert("cmp-3");
    let held_back = |alert: &HostAlert| decision_of(alert) == Some(Decision::IdentityUnenforced);
    world.wait_for::<HostAlert>("cmp-3-00", "is IdentityUnenforced", held_back).await;
    world.start_operator(&[]);
    new.signal("TERM");
    world.wait_for_phase_of("cmp-3", Phase::Empty).await;
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "IdentityEnforced", "True").await;
    for alert in world.all::<HostAlert>().await {
        assert_eq!(decision_of(&alert), Some(Decision::Quarantined), "{alert:?}");
    }
    assert_eq!(world.all::<HostQuarantine>().await.len(), 3, "each alert was decided on once");
    drop(new);
}
