//! From a packet to an empty host and back, on real servers.

use kube::ResourceExt as _;
use serde_json::json;
use sidestep::api::HostQuarantine;
use sidestep::api::alert::Decision;
use sidestep::api::condition::Kind;
use sidestep::api::quarantine::{Phase, ResidentReason, TimelineEvent};
use sidestep::inventory::ServiceStatus;
use sidestep::inventory::mark::Mark;

use super::super::support::nova::Nova;
use super::super::support::suricata::Suricata;
use super::super::support::world::{POLICY, World};
use super::{each_left_by_one_attempt, ends, figures, message, moments, release, row_words, runs_elsewhere, setup};
use sidestep::api::HostAlert;

const SOURCE: &str = "cmp-1";

/// The steps of an incident that an alert began, up to the empty host.
const STEPS: [TimelineEvent; 9] = [
    TimelineEvent::AlertWritten,
    TimelineEvent::AlertRead,
    TimelineEvent::AlertReceived,
    TimelineEvent::Decided,
    TimelineEvent::CordonRequested,
    TimelineEvent::CordonVerified,
    TimelineEvent::Planned,
    TimelineEvent::FirstMigrationRequested,
    TimelineEvent::Empty,
];

#[tokio::test]
async fn one_packet_empties_the_host_and_release_gives_it_back() {
    let nova = Nova::take().await;
    let (tiny, small) = tokio::join!(nova.boot(SOURCE, "tiny", "active", 2), nova.boot(SOURCE, "small", "active", 1));
    let paused = nova.boot(SOURCE, "medium", "paused", 1).await;
    let world = World::start(setup(nova).sentinel_on(SOURCE)).await;
    let suricata = Suricata::start(&world.eve(SOURCE));
    suricata.attack();
    let name = world.wait_for_quarantine_of(SOURCE, "", |_| true).await.name_any();
    let quarantine = ends(&world, &name, Phase::Empty).await;
    figures("one packet", &world, &quarantine);

    let service = world.nova().service(SOURCE).await;
    let mark = Mark::on(&service).unwrap_or_else(|| panic!("no mark of Sidestep's: {service:?}"));
    assert_eq!((Some(mark.uid), mark.disabled_before), (quarantine.uid(), false));
    assert_eq!(world.get::<HostAlert>("cmp-1-00").await.status.unwrap().decision, Some(Decision::Quarantined));
    each_left_by_one_attempt(&world, SOURCE, &[tiny, small].concat(), "running").await;
    each_left_by_one_attempt(&world, SOURCE, &paused, "paused").await;
    assert!(world.nova().client().await.servers_on(&SOURCE.into()).await.unwrap().is_empty());

    complete_and_in_order(&quarantine, &STEPS);
    let released = release(&world, &name, SOURCE).await;
    complete_and_in_order(&released, &[&STEPS[..], &[TimelineEvent::Released]].concat());
}

/// The timeline has these events and no other, and no moment lies before the one of the event before.
fn complete_and_in_order(quarantine: &HostQuarantine, expected: &[TimelineEvent]) {
    let mut moments = moments(quarantine);
    let unsorted = format!("{moments:?}");
    // All processes are on one machine, so their clocks may be compared.
    moments.sort_by_key(|(_, micros)| *micros);
    let events: Vec<TimelineEvent> = moments.into_iter().map(|(event, _)| event).collect();
    assert_eq!(events, expected, "{unsorted}");
}

/// Twelve servers of five flavors: one paused, one shut off, one whose move fails once, one that Nova refuses.
#[tokio::test]
async fn twelve_servers_leave_but_for_the_one_that_nova_refuses_and_without_it_the_host_is_empty() {
    let nova = Nova::take().await;
    nova.steer("default", &json!({"bandwidth": 8192}));
    let (tiny, small, medium, large, xlarge, paused, off) = tokio::join!(
        nova.boot(SOURCE, "tiny", "active", 5),
        nova.boot(SOURCE, "small", "active", 2),
        nova.boot(SOURCE, "medium", "active", 1),
        nova.boot(SOURCE, "large", "active", 1),
        nova.boot(SOURCE, "xlarge", "active", 1),
        nova.boot(SOURCE, "small", "paused", 1),
        nova.boot(SOURCE, "medium", "shutoff", 1),
    );
    let [refused, failing, tiny @ ..] = tiny.as_slice() else { panic!("not five servers: {tiny:?}") };
    nova.steer(&refused.to_string(), &json!({"fail": "check_destination"}));
    nova.steer(&failing.to_string(), &json!({"fail": "pre", "times": 1}));
    let world = World::start(setup(nova).sentinel_on(SOURCE)).await;
    let suricata = Suricata::start(&world.eve(SOURCE));
    suricata.attack();
    let name = world.wait_for_quarantine_of(SOURCE, "", |_| true).await.name_any();

    let blocked = ends(&world, &name, Phase::Blocked).await;
    figures("twelve servers", &world, &blocked);
    assert_eq!(world.nova().service(SOURCE).await.status, ServiceStatus::Disabled);
    each_left_by_one_attempt(&world, SOURCE, &[tiny, &small, &medium, &large, &xlarge].concat(), "running").await;
    each_left_by_one_attempt(&world, SOURCE, &paused, "paused").await;
    runs_elsewhere(&world, SOURCE, *failing, "running");
    assert_eq!(row_words(&world, *failing).await, ["failed", "completed"]);
    runs_elsewhere(&world, SOURCE, off[0], "shutdown");
    assert_eq!(row_words(&world, off[0]).await, ["confirmed"]);
    assert_eq!(world.nova().guests()[refused], [(SOURCE.to_owned(), "running".to_owned())]);
    let residents = blocked.status.unwrap().residents;
    let [resident] = residents.as_slice() else { panic!("not one resident: {residents:?}") };
    assert_eq!(resident.server, refused.to_string());
    let words = "the test wants";
    assert!(resident.message.contains(words) || resident.message.contains("No valid host"), "Nova's reason is missing: {}", resident.message);

    world.nova().delete(&[*refused]).await;
    let empty = ends(&world, &name, Phase::Empty).await;
    assert_eq!(empty.status.unwrap().residents, []);
    release(&world, &name, SOURCE).await;
}

#[tokio::test]
async fn a_suspended_server_blocks_the_drain_and_release_gives_the_host_back() {
    let nova = Nova::take().await;
    let server = nova.boot(SOURCE, "tiny", "suspended", 1).await[0];
    let world = World::start(setup(nova).sentinel_on(SOURCE)).await;
    let suricata = Suricata::start(&world.eve(SOURCE));
    suricata.attack();
    let name = world.wait_for_quarantine_of(SOURCE, "", |_| true).await.name_any();
    let quarantine = ends(&world, &name, Phase::Blocked).await;
    figures("one suspended server", &world, &quarantine);
    let residents = quarantine.status.clone().unwrap().residents;
    let [resident] = residents.as_slice() else { panic!("not one resident: {residents:?}") };
    assert_eq!((&resident.server, resident.reason), (&server.to_string(), ResidentReason::StateNotMovable));
    assert!(resident.message.contains("SUSPENDED"), "{}", resident.message);
    assert_eq!(world.nova().service(SOURCE).await.status, ServiceStatus::Disabled);
    release(&world, &name, SOURCE).await;
    assert_eq!(world.nova().guests()[&server], [(SOURCE.to_owned(), "suspended".to_owned())]);
    assert!(world.nova().rows(server).await.is_empty());
}

#[tokio::test]
async fn observe_writes_nothing_to_nova() {
    let nova = Nova::take().await;
    nova.boot(SOURCE, "tiny", "active", 2).await;
    nova.boot(SOURCE, "tiny", "suspended", 1).await;
    let mut setup = setup(nova).sentinel_on(SOURCE);
    setup.policy = json!({"mode": "Observe"});
    let world = World::start(setup).await;
    let suricata = Suricata::start(&world.eve(SOURCE));
    let before = world.nova().requests().len();
    suricata.attack();
    let recorded = |alert: &HostAlert| alert.status.as_ref().is_some_and(|status| status.decision == Some(Decision::Recorded));
    let alert: HostAlert = world.wait_for("cmp-1-00", "is recorded", recorded).await;
    let observed = alert.status.unwrap().observed;
    let [observed] = observed.as_slice() else { panic!("not one policy: {observed:?}") };
    assert_eq!((observed.policy.as_str(), observed.decision), (POLICY, Decision::Quarantined));
    assert!(world.all::<HostQuarantine>().await.is_empty());

    // And what a person looks at before he acts.
    world.quarantine_by_hand("look", SOURCE, "Observe").await;
    let shown = ends(&world, "look", Phase::Observed).await;
    assert!(message(&shown, Kind::Ready).starts_with("2 servers would be moved and 1 would stay"), "{}", message(&shown, Kind::Ready));
    release(&world, "look", SOURCE).await;

    let requests = world.nova().requests().split_off(before);
    assert!(requests.iter().any(|request| request.agent.starts_with("sidestep/")), "the operator is not seen in the log: {requests:?}");
    let writes: Vec<String> =
        requests.iter().filter(|request| request.method != "GET").map(|request| format!("{} {} by {}", request.method, request.path, request.agent)).collect();
    assert_eq!(writes, Vec::<String>::new());
}
