//! The gates between an alert and a move, on hosts that are more than one of many: those of the quarantine pool, attackers' hosts, destinations that are alerted themselves.

use serde_json::{Value, json};
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::{Phase, ResidentReason};
use sidestep::api::run::Outcome;
use sidestep::api::units::Scope;
use sidestep::api::{HostAlert, HostQuarantine, OpenStackCloud};
use sidestep::simulator::{AggregateSettings, HostSettings, ServerSettings, Settings};
use uuid::Uuid;

use super::moves::{story, wanted};
use super::policy::forged;
use super::support::cloud::{Cloud, Simulated, active};
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
async fn a_full_pool_leaves_the_rest_as_residents_until_there_is_room() {
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
async fn an_attackers_host_is_no_destination_and_is_decided_before_its_victim_under_a_full_budget() {
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
async fn the_host_of_a_server_that_attacks_takes_no_servers_of_its_victims_host() {
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
async fn a_destination_that_is_alerted_in_mid_drain_gets_no_further_server_and_what_copies_to_it_ends() {
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
