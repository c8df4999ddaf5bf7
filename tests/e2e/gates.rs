//! The gates between an alert and a move, and what people are promised about them. The names begin with the gate, or with the words of the promise.

use serde_json::{Value, json};
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::{Phase, ResidentReason};
use sidestep::api::run::{Outcome, RunPhase};
use sidestep::api::units::Scope;
use sidestep::api::{HostAlert, HostQuarantine, OpenStackCloud};
use sidestep::simulator::{AggregateSettings, HostSettings, Microversion, ServerSettings, Settings, VmState};
use uuid::Uuid;

use super::moves::{story, wanted};
use super::policy::forged;
use super::support::cloud::{Cloud, Simulated, active};
use super::support::control_plane::{NAMESPACE, SENTINELS, chart};
use super::support::world::{CLOUD, Setup, World, condition_of, decision_of};

/// So many hosts, `cmp-1`, `cmp-2`, …
fn hosts(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("cmp-{number}")).collect()
}

/// The aggregate `suspects` of these hosts.
fn pool_of(members: &[&str]) -> (String, AggregateSettings) {
    ("suspects".to_owned(), AggregateSettings { hosts: members.iter().map(|host| (*host).to_owned()).collect(), ..AggregateSettings::default() })
}

/// A host with memory for so many of the stories' servers.
fn small(host: &str, servers: u64) -> (String, HostSettings) {
    (host.to_owned(), HostSettings { memory_mb: Some(servers * ServerSettings::default().ram_mb), ..HostSettings::default() })
}

async fn setup(settings: Settings) -> Setup {
    Setup::on(Cloud::Simulator(Simulated::start(Settings { speed: 20.0, ..settings }).await)).without_sentinels()
}

/// An alert on a node, as its sentinel writes it; `slot` also makes its rule.
async fn alert(world: &World, node: &str, slot: usize, subject: &str) -> String {
    let name = format!("{node}-{slot:02x}");
    let mut spec = forged(node, slot);
    spec["subject"] = subject.into();
    world.create::<HostAlert>(&name, spec).await;
    name
}

/// Somebody outside the cloud.
const FAR: &str = "192.0.2.66";

async fn wait_for_decision(world: &World, alert: &str, decision: Decision) -> String {
    let decided = world.wait_for(alert, &format!("is {}", decision.as_str()), |alert: &HostAlert| decision_of(alert) == Some(decision)).await;
    decided.status.and_then(|status| status.message).unwrap_or_default()
}

fn residents(quarantine: &HostQuarantine) -> Vec<ResidentReason> {
    quarantine.status.iter().flat_map(|status| &status.residents).map(|resident| resident.reason).collect()
}

/// Waits until one server copies and one is queued behind it, and says which they are and where they go.
async fn one_copies_and_one_is_queued(world: &World) -> [(Uuid, String); 2] {
    let row = |status: &'static str| {
        world.simulator().cloud(|cloud| cloud.migrations().find(|row| row.status == Some(status)).and_then(|row| Some((row.server, row.destination.clone()?))))
    };
    world.until("one copies and one is queued", async || row("running").zip(row("queued")).map(|(a, b)| [a, b]).ok_or_else(|| "not yet".to_owned())).await
}

// ---- credentials and microversion ----

#[tokio::test]
async fn microversion_a_nova_that_is_too_old_is_refused_with_that_sentence_and_nothing_is_done_in_it() {
    let settings = Settings { max_microversion: Microversion(79), ..Settings::default() };
    let mut world = World::bare(setup(settings).await.cloud).await;
    world.create_secret(CLOUD, &world.cloud.clouds_yaml()).await;
    world.create_cloud(CLOUD, json!({})).await;
    world.start_operator(&[]);
    let ready = world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "False").await;
    let says = |cloud: &OpenStackCloud| condition_of(cloud, "Ready").is_some_and(|ready| ready.reason == "MicroversionTooOld");
    let cloud = world.wait_for(CLOUD, &format!("is too old, not {ready:?}"), says).await;
    let message = condition_of(&cloud, "Ready").unwrap().message;
    assert!(message.contains("needs Nova microversion 2.84 or newer; this endpoint offers up to 2.79"), "{message}");
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let waits = |quarantine: &HostQuarantine| condition_of(quarantine, "Ready").is_some_and(|ready| ready.message.contains("2.84"));
    let waiting = world.wait_for("hunch", "says what its cloud lacks", waits).await;
    assert_ne!(condition_of(&waiting, "Accepted").map(|accepted| accepted.status).as_deref(), Some("True"));
    assert!(world.simulator().service_writes().is_empty());
}

// ---- capacity ----

#[tokio::test]
async fn capacity_what_fits_elsewhere_moves_and_the_rest_is_reported() {
    let settings = Settings {
        hosts: hosts(2),
        host_settings: [small("cmp-2", 2)].into(),
        servers: ["a", "b", "c"].map(|name| active(name, "cmp-1")).to_vec(),
        ..Settings::default()
    };
    let world = World::start(setup(settings).await).await;
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let blocked = world.wait_for_phase("hunch", Phase::Blocked).await;
    assert_eq!((residents(&blocked), world.simulator().servers_on("cmp-2").len()), (vec![ResidentReason::NoDestination], 2));
    let message = &blocked.status.as_ref().unwrap().residents[0].message;
    assert!(message.contains("no host can take it") && message.contains("1 full for its 512 MiB"), "{message}");
    let moved = world.simulator().servers_on("cmp-2")[0];
    world.simulator().cloud(|cloud| cloud.delete_server(moved)).unwrap();
    world.wait_for_phase("hunch", Phase::Empty).await;
}

// ---- the quarantine pool ----

#[tokio::test]
async fn a_host_of_the_pool_is_drained_by_no_policy_and_its_alerts_count_for_nothing() {
    let settings = Settings {
        hosts: hosts(4),
        // cmp-4 is full, so that Placement does not show it among the hosts with room.
        host_settings: [small("cmp-4", 1)].into(),
        aggregates: [pool_of(&["cmp-3", "cmp-4"])].into(),
        servers: vec![active("web", "cmp-1"), active("held", "cmp-4")],
        ..Settings::default()
    };
    // 25 % of four hosts is one.
    let spec = json!({"destinations": {"pool": "suspects"}, "budget": {"alertingSharePercent": 25}});
    let world = World::start(Setup { spec, ..setup(settings).await }).await;
    for host in ["cmp-3", "cmp-4"] {
        let name = alert(&world, host, 0, FAR).await;
        let why = wait_for_decision(&world, &name, Decision::Recorded).await;
        assert!(why.contains("PoolHost") && why.contains("aggregate suspects"), "{why}");
        world.wait_for_event(&name, "Recorded").await;
    }
    assert!(world.all::<HostQuarantine>().await.is_empty());

    // Neither closes the share to the next alert, nor the pool to its server.
    let name = alert(&world, "cmp-1", 0, FAR).await;
    wait_for_decision(&world, &name, Decision::Quarantined).await;
    world.wait_for_phase_of("cmp-1", Phase::Empty).await;
    let one_alerts = |cloud: &OpenStackCloud| cloud.status.as_ref().and_then(|status| status.hosts).is_some_and(|hosts| hosts.alerting == 1);
    world.wait_for(CLOUD, "counts one alerting host", one_alerts).await;
    assert_eq!(world.simulator().disabled_hosts(), ["cmp-1"]);

    // A person may drain it, to the pool's other hosts and nowhere else.
    world.quarantine("hunch", "cmp-4", json!({"destinations": {"pool": "Ignore"}})).await;
    world.wait_for_phase("hunch", Phase::Empty).await;
    assert_eq!(wanted(world.simulator()), vec![Some("cmp-3".to_owned()); 2]);

    // Once it is an ordinary host, the alert is decided like any other.
    world.change::<OpenStackCloud>(CLOUD, json!({"destinations": {"pool": ""}})).await;
    wait_for_decision(&world, "cmp-3-00", Decision::OverBudget).await;
}

#[tokio::test]
async fn capacity_a_full_pool_leaves_the_rest_as_residents_until_there_is_room() {
    let settings = Settings {
        hosts: hosts(3),
        host_settings: [small("cmp-3", 1)].into(),
        aggregates: [pool_of(&["cmp-3"])].into(),
        servers: vec![active("a", "cmp-1"), active("b", "cmp-1"), active("c", "cmp-1")],
        ..Settings::default()
    };
    let spec = json!({"destinations": {"pool": "suspects"}});
    let world = World::start(Setup { spec, ..setup(settings).await }).await;
    world.quarantine("hunch", "cmp-1", json!({"destinations": {"pool": "Only"}})).await;
    let blocked = world.wait_for_phase("hunch", Phase::Blocked).await;
    assert_eq!(residents(&blocked), [ResidentReason::PoolFull; 2]);
    let message = &blocked.status.as_ref().unwrap().residents[0].message;
    assert!(message.contains("the quarantine pool has no room for it"), "{message}");
    for left in [1, 0] {
        let moved = world.simulator().servers_on("cmp-3")[0];
        world.simulator().cloud(|cloud| cloud.delete_server(moved)).unwrap();
        world
            .until(&format!("{left} are left"), async || {
                let there = world.simulator().servers_on("cmp-1").len();
                if there == left { Ok(()) } else { Err(format!("{there} are")) }
            })
            .await;
    }
    world.wait_for_phase("hunch", Phase::Empty).await;
    assert_eq!(wanted(world.simulator()), vec![Some("cmp-3".to_owned()); 3], "never cmp-2, where there was room all the time");
}

// ---- destinations ----

#[tokio::test]
async fn destination_an_attackers_host_is_none_and_is_decided_before_its_victim_under_a_full_budget() {
    let attacker = ServerSettings { addresses: vec!["10.0.4.7".into()], ..active("attacker", "cmp-2") };
    let settings = Settings {
        hosts: hosts(4),
        // Most is free on cmp-2.
        host_settings: [small("cmp-3", 4), small("cmp-4", 4)].into(),
        servers: vec![active("victim", "cmp-1"), attacker],
        ..Settings::default()
    };
    let world = World::start(setup(settings).await).await;
    world.quarantine_by_hand("maintained", "cmp-4", "Enforce").await;
    world.wait_for_phase("maintained", Phase::Empty).await;
    let victim = alert(&world, "cmp-1", 0, "10.0.4.7").await;
    wait_for_decision(&world, &victim, Decision::OverBudget).await;
    let attacking = alert(&world, "cmp-2", 0, FAR).await;
    wait_for_decision(&world, &attacking, Decision::OverBudget).await;
    // One place becomes free.
    world.release("maintained").await;
    world.wait_for_phase("maintained", Phase::Released).await;
    wait_for_decision(&world, &attacking, Decision::Quarantined).await;
    wait_for_decision(&world, &victim, Decision::OverBudget).await;
    let drained = world.wait_for_phase_of("cmp-2", Phase::Empty).await.metadata.name.unwrap();
    assert_eq!(world.simulator().disabled_hosts(), ["cmp-2"]);
    let attacker = world.simulator().cloud(|cloud| cloud.servers().find(|server| server.name == "attacker").map(|server| server.host.clone())).unwrap();
    assert_ne!(attacker, "cmp-1", "a victim is alerted itself");

    // Given back, the host is in service again; it stays no destination as long as one of its servers attacks, and this one is on another host now.
    world.release(&drained).await;
    world.wait_for_phase(&drained, Phase::Released).await;
    wait_for_decision(&world, &victim, Decision::Quarantined).await;
}

#[tokio::test]
async fn destination_the_host_of_a_server_that_attacks_takes_none_of_its_victims_host() {
    let attacker = ServerSettings { addresses: vec!["10.0.4.7".into()], ..active("attacker", "cmp-2") };
    let settings = Settings {
        hosts: hosts(3),
        host_settings: [small("cmp-3", 4)].into(),
        servers: vec![active("a", "cmp-1"), active("b", "cmp-1"), attacker],
        ..Settings::default()
    };
    let world = World::start(setup(settings).await).await;
    let name = alert(&world, "cmp-1", 0, "10.0.4.7").await;
    wait_for_decision(&world, &name, Decision::Quarantined).await;
    world.wait_for_phase_of("cmp-1", Phase::Empty).await;
    assert_eq!(wanted(world.simulator()), vec![Some("cmp-3".to_owned()); 2], "although most is free on cmp-2");
}

#[tokio::test]
async fn mid_flight_a_destination_that_is_alerted_gets_no_further_server_and_what_copies_to_it_ends() {
    let servers = ["a", "b"].map(|name| active(name, "cmp-1")).to_vec();
    // A policy that only observes says as well as any other that a host is alerted.
    let policy = json!({"mode": "Observe"});
    let world = World::start(Setup { policy, ..setup(Settings { servers, ..Settings::default() }).await }).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let [(copying, one), (queued, other)] = one_copies_and_one_is_queued(&world).await;
    assert_ne!(one, other);

    let name = alert(&world, &other, 0, FAR).await;
    wait_for_decision(&world, &name, Decision::Recorded).await;
    let twice = |run: &sidestep::api::MigrationRun| run.status.as_ref().is_some_and(|status| status.attempts.len() == 2);
    let run = world.wait_for_run_of("hunch", queued, "is asked for again", twice).await;
    assert_eq!(story(&run)[0], (Some(Outcome::Withdrawn), Some(other.clone())));
    assert_eq!(story(&run)[1].1.as_ref(), Some(&one));

    let name = alert(&world, &one, 0, FAR).await;
    wait_for_decision(&world, &name, Decision::Recorded).await;
    let withdrawn = |run: &sidestep::api::MigrationRun| story(run).get(1).is_some_and(|(outcome, _)| *outcome == Some(Outcome::Withdrawn));
    world.wait_for_run_of("hunch", queued, "is withdrawn again", withdrawn).await;
    world.simulator().rows_in("running", 1).unwrap();
    world.simulator().knobs("host-cmp-1", None);
    let blocked = world.wait_for_phase("hunch", Phase::Blocked).await;
    assert_eq!(residents(&blocked), [ResidentReason::NoDestination]);
    assert_eq!(world.simulator().host_of(copying).as_ref(), Some(&one));
    assert_eq!((world.simulator().servers_on(&one).len(), world.simulator().servers_on(&other).len()), (1, 0));
    assert_eq!(world.simulator().disabled_hosts(), ["cmp-1"]);
}

// ---- scope ----

#[tokio::test]
async fn scope_raised_by_a_later_alert_with_what_its_policy_suspects() {
    let settings =
        Settings { aggregates: [pool_of(&["cmp-3"])].into(), servers: ["a", "b", "c"].map(|name| active(name, "cmp-1")).to_vec(), ..Settings::default() };
    let rule = |sid: &str| -> Value { json!({"minSeverity": "High", "rules": [format!("suricata:1:{sid}")]}) };
    let ordinary = json!({"scope": "HostThreatened", "template": {"destinations": {"pool": "Ignore"}}});
    let setup =
        Setup { spec: json!({"destinations": {"pool": "suspects"}}), policy: json!({"match": rule("9000001"), "response": ordinary}), ..setup(settings).await };
    let world = World::start(setup).await;
    world.create_policy("worse", json!({"match": rule("9000002"), "response": {"scope": "HostCompromised"}})).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    let first = alert(&world, "cmp-1", 0, FAR).await;
    wait_for_decision(&world, &first, Decision::Quarantined).await;
    let [(copying, _), (queued, _)] = one_copies_and_one_is_queued(&world).await;
    let name = world.wait_for_quarantine_of("cmp-1", "made by the alert", |_| true).await.metadata.name.unwrap();

    let worse = alert(&world, "cmp-1", 1, FAR).await;
    let why = wait_for_decision(&world, &worse, Decision::AlreadyQuarantined).await;
    assert!(why.contains(&name) && why.contains("scope HostCompromised"), "{why}");
    let raised = |quarantine: &HostQuarantine| quarantine.status.as_ref().is_some_and(|status| status.effective_scope == Some(Scope::HostCompromised));
    let quarantine = world.wait_for(&name, "has the stricter scope", raised).await;
    assert_eq!(quarantine.spec.scope, Scope::HostThreatened, "the spec is nobody's but its maker's");
    // What was queued is withdrawn, what copies ends, and a person is asked.
    world
        .until("what was queued is withdrawn", async || {
            let statuses: Vec<_> = world.simulator().migrations_of(queued).iter().map(|row| row.status).collect();
            if statuses == [Some("cancelled")] { Ok(()) } else { Err(format!("{statuses:?}")) }
        })
        .await;
    world.simulator().knobs("host-cmp-1", None);
    world.until("the copy has ended", async || world.simulator().rows_in("completed", 1)).await;
    let waiting = world.wait_for_phase(&name, Phase::AwaitingApproval).await;
    assert_eq!(condition_of(&waiting, "Approved").unwrap().status, "False");
    let plan = waiting.status.unwrap().plan.unwrap();
    assert_eq!((plan.servers, plan.hosts), (2, vec!["cmp-3".to_owned()]));
    world.change::<HostQuarantine>(&name, json!({"approval": {"plan": plan.digest, "approvedBy": world.user()}})).await;
    world.wait_for_phase(&name, Phase::Empty).await;
    assert_eq!(world.simulator().host_of(copying).as_deref(), Some("cmp-2"));
    assert_eq!(world.simulator().servers_on("cmp-3").len(), 2, "into the pool and nowhere else");
}

// ---- what people are promised ----

#[tokio::test]
async fn active_an_alert_that_joins_what_a_person_made_raises_the_scope_and_starts_nothing() {
    let settings = Settings { servers: vec![active("a", "cmp-1")], ..Settings::default() };
    let rule = |sid: &str| -> Value { json!({"minSeverity": "High", "rules": [format!("suricata:1:{sid}")]}) };
    let world = World::start(Setup { policy: json!({"match": rule("9000001")}), ..setup(settings).await }).await;
    world.create_policy("worse", json!({"match": rule("9000002"), "response": {"scope": "HostCompromised"}})).await;
    let manifest = json!({
        "apiVersion": "sidestep.dev/v1alpha1", "kind": "HostQuarantine", "metadata": {"name": "firmware"},
        "spec": {"cloud": CLOUD, "host": "cmp-1", "mode": "Approve", "scope": "Maintenance", "reason": "new firmware"},
    })
    .to_string();
    world.plane.kubectl().apply(&manifest, &["--server-side"]).ok();
    world.wait_for_phase("firmware", Phase::AwaitingApproval).await;
    for (slot, scope) in [Scope::HostThreatened, Scope::HostCompromised].into_iter().enumerate() {
        let name = alert(&world, "cmp-1", slot, FAR).await;
        wait_for_decision(&world, &name, Decision::AlreadyQuarantined).await;
        let raised = |quarantine: &HostQuarantine| quarantine.status.as_ref().is_some_and(|status| status.effective_scope == Some(scope));
        let joined = world.wait_for("firmware", &format!("has scope {}", scope.as_str()), raised).await;
        assert_eq!(condition_of(&joined, "AlertWhileHeld").map(|held| held.status).as_deref(), Some("True"));
        // One each time the scope rises.
        world
            .until("an Event tells of it", async || {
                let events = world.events_about("firmware").await;
                let told = events.iter().filter(|event| event.starts_with("ScopeRaised") && event.contains(scope.as_str())).count();
                let held = events.iter().filter(|event| event.starts_with("AlertWhileHeld") && event.contains(scope.as_str())).count();
                if (told, held) == (1, 1) { Ok(()) } else { Err(format!("{events:#?}")) }
            })
            .await;
    }
    assert_eq!(world.all::<HostQuarantine>().await.len(), 1);
    assert_eq!(world.simulator().moves_asked(0), Ok(()));

    // Released is final, and the same manifest brings nothing back.
    world.release_by_force("firmware").await;
    world.wait_for_phase("firmware", Phase::Released).await;
    world.plane.kubectl().apply(&manifest, &["--server-side"]).ok();
    let again = alert(&world, "cmp-1", 2, FAR).await;
    wait_for_decision(&world, &again, Decision::NoPolicy).await;
    let released = world.get::<HostQuarantine>("firmware").await;
    assert_eq!(released.status.unwrap().phase, Some(Phase::Released));
    assert_eq!(world.simulator().service("cmp-1"), (true, None));
    // The next decision makes a new object; the person's one stays.
    let mut next = forged("cmp-1", 0);
    next["series"] = "00000000000000aa".into();
    world.create::<HostAlert>("cmp-1-0a", next).await;
    wait_for_decision(&world, "cmp-1-0a", Decision::Quarantined).await;
    world.wait_for_quarantine_of("cmp-1", "made by the alert", |quarantine| quarantine.spec.trigger.is_some()).await;
    world.get::<HostQuarantine>("firmware").await;
}

#[tokio::test]
async fn approval_lets_servers_go_to_the_approved_hosts_and_to_no_other() {
    let settings = Settings { servers: ["a", "b", "c"].map(|name| active(name, "cmp-1")).to_vec(), ..Settings::default() };
    let world = World::start(setup(settings).await).await;
    world.simulator().disable("cmp-3", "new disks").await;
    world.wait_for_hosts_disabled(1).await;
    world.quarantine("careful", "cmp-1", json!({"mode": "Approve", "allowLateArrivals": true})).await;
    let plan = world.wait_for_phase("careful", Phase::AwaitingApproval).await.status.unwrap().plan.unwrap();
    assert_eq!(plan.hosts, ["cmp-2"]);
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.change::<HostQuarantine>("careful", json!({"approval": {"plan": plan.digest, "approvedBy": world.user()}})).await;
    world.until("one copies", async || world.simulator().has_row("running")).await;
    // Now most is free on a host that nobody approved, and a server comes that nobody knew of.
    world.simulator().enable("cmp-3").await;
    world.wait_for_hosts_disabled(1).await;
    let late = world.simulator().boot("late", "cmp-1", VmState::Active);
    world.simulator().knobs("host-cmp-1", None);
    world.wait_for_phase("careful", Phase::Empty).await;
    assert_eq!(world.simulator().servers_on("cmp-2").len(), 4);
    assert_eq!(world.simulator().host_of(late).as_deref(), Some("cmp-2"));
}

#[tokio::test]
async fn undo_by_the_manuals_command_withdraws_what_is_queued_and_release_moves_nothing_back() {
    let settings = Settings { servers: ["a", "b", "c"].map(|name| active(name, "cmp-1")).to_vec(), ..Settings::default() };
    let world = World::start(setup(settings).await).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    world.quarantine_by_hand("hunch", "cmp-1", "Enforce").await;
    let [(copying, to), (queued, _)] = one_copies_and_one_is_queued(&world).await;
    let withdrawn = async |count: usize| world.until("what was queued is withdrawn", async || world.simulator().rows_in("cancelled", count)).await;
    world.plane.kubectl().run(&["patch", "hq", "hunch", "--type=merge", "-p", r#"{"spec":{"suspend":true}}"#]).ok();
    withdrawn(1).await;
    world.simulator().rows_in("running", 1).unwrap();
    assert_eq!(world.simulator().migrations_of(queued).len(), 1);
    // And on again, to the release.
    world.plane.kubectl().run(&["patch", "hq", "hunch", "--type=merge", "-p", r#"{"spec":{"suspend":false}}"#]).ok();
    world.until("one is queued again", async || world.simulator().rows_in("queued", 1)).await;
    world.release_by_force("hunch").await;
    withdrawn(2).await;
    world.wait_for_phase("hunch", Phase::Released).await;
    assert_eq!(world.simulator().service("cmp-1"), (true, None));
    let asked = world.simulator().writes().iter().filter(|write| write.method == "POST").count();
    world.simulator().knobs("host-cmp-1", None);
    world
        .until("one run has succeeded and the others are Superseded", async || {
            let mut phases: Vec<_> = world.runs_of("hunch").await.iter().map(|run| run.status.as_ref().and_then(|status| status.phase)).collect();
            phases.sort_by_key(|phase| phase.map(RunPhase::as_str));
            if phases == [Some(RunPhase::Succeeded), Some(RunPhase::Superseded), Some(RunPhase::Superseded)] { Ok(()) } else { Err(format!("{phases:?}")) }
        })
        .await;
    assert_eq!(world.simulator().host_of(copying), Some(to), "moved back by nobody");
    assert_eq!(world.simulator().servers_on("cmp-1").len(), 2);
    assert_eq!(world.simulator().writes().iter().filter(|write| write.method == "POST").count(), asked);
}

#[tokio::test]
async fn novas_reason_reads_as_promised_and_a_later_object_takes_over_what_was_there() {
    let world = World::start(setup(Settings { servers: vec![active("a", "cmp-1")], ..Settings::default() }).await).await;
    world.simulator().disable("cmp-1", "new disks").await;
    world.wait_for_hosts_disabled(1).await;
    world.simulator().knobs("host-cmp-1", Some(r#"{"hold": true}"#));
    let reason =
        |quarantine: &HostQuarantine| format!("sidestep/{} before=disabled: seen by the on-call [was: new disks]", quarantine.metadata.uid.as_ref().unwrap());
    let first = world.quarantine_by_hand("first", "cmp-1", "Enforce").await;
    world.until("a copy runs", async || world.simulator().has_row("running")).await;
    assert_eq!(world.simulator().service("cmp-1"), (false, Some(reason(&first))));
    // It is deleted, and there as long as its copy runs: what was there before stands in Nova.
    world.delete::<HostQuarantine>("first").await;
    let second = world.quarantine_by_hand("second", "cmp-1", "Enforce").await;
    world
        .until("Nova's reason names the second", async || {
            let (_, shown) = world.simulator().service("cmp-1");
            if shown.as_ref() == Some(&reason(&second)) { Ok(()) } else { Err(format!("{shown:?}")) }
        })
        .await;
    world.simulator().knobs("host-cmp-1", None);
    world.wait_until_gone::<HostQuarantine>("first").await;
    let before = world.wait_for_phase("second", Phase::Empty).await.status.unwrap().host.unwrap();
    assert_eq!((before.disabled_before, before.disabled_reason_before.as_deref()), (true, Some("new disks")));
    world.release("second").await;
    world.wait_for_phase("second", Phase::Released).await;
    assert_eq!(world.simulator().service("cmp-1"), (false, Some("new disks".to_owned())));
}

#[test]
fn one_operator_the_chart_keeps_it_away_from_the_nodes_of_sentinels() {
    let template = |name: &str| -> Value {
        let rendered = chart(NAMESPACE, &["--show-only", &format!("templates/{name}.yaml")]).silent();
        let objects = rendered.split("\n---\n").filter_map(|document| serde_saphyr::from_str::<Value>(document).ok());
        objects.filter_map(|object| object.pointer("/spec/template").cloned()).next().unwrap()
    };
    let (operator, sentinel) = (template("operator-deployment"), template("sentinel-daemonset"));
    let apart = operator.pointer("/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0").unwrap();
    assert_eq!((&apart["topologyKey"], &apart["namespaces"]), (&json!("kubernetes.io/hostname"), &json!([SENTINELS])));
    let labels = apart["labelSelector"]["matchLabels"].as_object().unwrap();
    assert!(!labels.is_empty() && labels.iter().all(|(name, value)| sentinel["metadata"]["labels"][name] == *value), "{apart} {sentinel}");
}
