//! Talking to OpenStack as it is: behind proxies, with credentials that change, and with the files that people write.

use std::time::Duration;

use serde_json::json;
use sidestep::api::quarantine::Phase;
use sidestep::api::{HostQuarantine, MigrationRun, OpenStackCloud};
use sidestep::simulator::{ServerSettings, Settings};

use super::super::support::cloud::{Cloud, Simulated, active};
use super::super::support::front::{AUTHORITY, TlsFront, Trap};
use super::super::support::world::{CLOUD, LIMIT, Setup, World, condition_of, phase_of, until};

const HOST: &str = "cmp-1";
const DRAIN: &str = "drain";

fn servers(count: usize) -> Vec<ServerSettings> {
    (1..=count).map(|number| active(&format!("web-{number}"), HOST)).collect()
}

/// The clouds.yaml of a cloud behind a front.
fn through(front: &TlsFront, cloud: &Simulated) -> String {
    cloud.clouds_yaml().replace(cloud.url().as_str().trim_end_matches('/'), &front.url())
}

/// Waits until a condition of the cloud has this status and reason, and gives its message.
async fn cloud_shows(world: &World, condition: &str, status: &str, reason: &str) -> String {
    let shown = |cloud: &OpenStackCloud| condition_of(cloud, condition).is_some_and(|found| found.status == status && found.reason == reason);
    let cloud = world.wait_for(CLOUD, &format!("shows {condition} {status}, {reason}"), shown).await;
    condition_of(&cloud, condition).unwrap().message
}

#[tokio::test]
async fn next_page_link_with_another_scheme_or_host() {
    let simulated = Simulated::start(Settings { servers: servers(7), max_limit: 3, speed: 20.0, ..Settings::default() }).await;
    let front = TlsFront::before(simulated.url().socket_addrs(|| None).unwrap()[0]).await;
    let trap = Trap::set().await;
    simulated.set(json!({"public_url": front.url(), "link_prefix": format!("{}/compute", trap.url())})).await;
    let clouds_yaml = through(&front, &simulated);
    let mut world = World::bare(Cloud::Simulator(simulated)).await;
    world.create_secret_of(CLOUD, &[("clouds.yaml", &clouds_yaml), ("cacert", AUTHORITY)]).await;
    world.create_cloud(CLOUD, json!({"inventory": {"staleAfter": "4s"}})).await;
    world.start_operator(&[]);
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "True").await;

    // A page that fails: the list has failed, and is not the three servers of the first page.
    world.simulator().fault(r#"{"method": "GET", "path": "marker=", "answer": "500", "seconds": 3600}"#);
    world.quarantine_by_hand(DRAIN, HOST, "Enforce").await;
    let message = cloud_shows(&world, "InventoryFresh", "False", "HostUnseen").await;
    assert!(message.contains(HOST), "{message}");
    assert_ne!(phase_of(&world.get::<HostQuarantine>(DRAIN).await), Some(Phase::Empty));
    world.simulator().moves_asked(0).unwrap();

    world.simulator().clear_faults();
    let quarantine = world.wait_for_phase(DRAIN, Phase::Empty).await;
    assert_eq!(quarantine.status.unwrap().progress.unwrap_or_default().migrated, 7);
    cloud_shows(&world, "InventoryFresh", "True", "Fresh").await;
    assert_eq!(trap.caught(), 0, "something was sent to where the links lead");
}

#[tokio::test]
async fn credential_replaced_while_a_drain_runs() {
    let world = World::start(Setup::simulated(servers(3)).await.without_sentinels()).await;
    world.simulator().knobs("default", Some(r#"{"hold": true}"#));
    let spec = json!({"cloud": CLOUD, "host": HOST, "mode": "Enforce", "scope": "HostThreatened", "reason": "seen by the on-call", "deadline": "30s"});
    world.create::<HostQuarantine>(DRAIN, spec).await;
    world.until("Nova copies a server", async || world.simulator().has_row("running")).await;
    let asked = world.simulator().writes().len();

    // The password changes, and no token is good any more.
    world.simulator().set(json!({"password": "another"})).await;
    world.simulator().revoke_tokens();
    let message = cloud_shows(&world, "CredentialsValid", "False", "AuthenticationFailed").await;
    assert!(message.contains("put a valid credential into the Secret"), "{message}");
    // What was asked for goes on in Nova meanwhile, and longer than the whole deadline passes.
    world.simulator().knobs("default", None);
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert_eq!(phase_of(&world.get::<HostQuarantine>(DRAIN).await), Some(Phase::Draining));
    assert_eq!(world.simulator().writes().len(), asked, "something was asked for without a credential");

    world.create_secret(CLOUD, &world.cloud.clouds_yaml()).await;
    cloud_shows(&world, "CredentialsValid", "True", "Accepted").await;
    until("the drain ends", LIMIT, async || {
        let quarantine = world.get::<HostQuarantine>(DRAIN).await;
        if phase_of(&quarantine) == Some(Phase::Empty) { Ok(()) } else { Err(format!("{:?}", quarantine.status)) }
    })
    .await;
    let runs: Vec<MigrationRun> = world.runs_of(DRAIN).await;
    let attempts: Vec<usize> = runs.iter().map(|run| run.status.as_ref().map_or(0, |status| status.attempts.len())).collect();
    assert_eq!(attempts, [1, 1, 1], "an attempt was used up");
    world.simulator().rows_in("completed", 3).unwrap();
    world.simulator().moves_asked(3).unwrap();
}

#[tokio::test]
async fn clouds_yaml_as_people_write_it() {
    let regions = vec!["east".to_owned(), "west".to_owned()];
    let simulated = Simulated::start(Settings { servers: servers(1), regions, speed: 20.0, ..Settings::default() }).await;
    let front = TlsFront::before(simulated.url().socket_addrs(|| None).unwrap()[0]).await;
    simulated.set(json!({"public_url": front.url()})).await;
    let good = through(&front, &simulated);
    let region = "    region_name: \"east\"\n";
    let mut world = World::bare(Cloud::Simulator(simulated)).await;
    world.create_cloud(CLOUD, json!({})).await;
    world.start_operator(&[]);
    let with = async |clouds_yaml: &str| world.create_secret_of(CLOUD, &[("clouds.yaml", clouds_yaml), ("cacert", AUTHORITY)]).await;

    // (a) No region, and two of them.
    assert!(good.contains(region), "{good}");
    with(&good.replace(region, "")).await;
    let message = cloud_shows(&world, "Ready", "False", "RegionAmbiguous").await;
    assert!(message.contains("`east`, `west`"), "{message}");

    // (b) `verify: false` in the wrong place: named, and certificates are checked all the same.
    let misplaced = good.replace("      username: admin\n", "      username: admin\n      verify: false\n");
    with(&misplaced).await;
    let message = cloud_shows(&world, "Ready", "True", "Usable").await;
    assert!(message.contains("`auth.verify` is not honoured: certificates are checked"), "{message}");
    world.create_secret_of(CLOUD, &[("clouds.yaml", &misplaced)]).await;
    cloud_shows(&world, "Ready", "False", "Unreachable").await;

    // (c) The certificates of the author's machine; those in the Secret will do.
    let elsewhere = good.replace(region, &format!("{region}    cacert: /home/author/ca.pem\n"));
    world.create_secret_of(CLOUD, &[("clouds.yaml", &elsewhere)]).await;
    let message = cloud_shows(&world, "Ready", "False", "CACertNotFound").await;
    assert!(message.contains("/home/author/ca.pem") && message.contains("key `cacert` of the same Secret"), "{message}");
    with(&elsewhere).await;
    cloud_shows(&world, "Ready", "True", "Usable").await;

    // (e) Settings per region.
    with(&good.replace(region, "    regions: [{name: east, values: {auth: {auth_url: 'https://east.example'}}}]\n")).await;
    let message = cloud_shows(&world, "Ready", "False", "CloudsYamlInvalid").await;
    assert!(message.contains("`regions`"), "{message}");

    // (d) An application credential that names a project as well.
    let auth_url = format!("{}/identity/v3", front.url());
    let auth = json!({"auth_url": auth_url, "application_credential_id": "sidestep", "application_credential_secret": "lab", "project_name": "admin"});
    let entry = json!({"auth_type": "v3applicationcredential", "region_name": "west", "auth": auth});
    with(&json!({"clouds": {"simulator": entry}}).to_string()).await;
    let message = cloud_shows(&world, "Ready", "True", "Usable").await;
    assert!(message.contains("`auth.project_name` is not honoured: an application credential carries its own project"), "{message}");
    world.quarantine_by_hand(DRAIN, HOST, "Enforce").await;
    world.wait_for_phase(DRAIN, Phase::Empty).await;
}
