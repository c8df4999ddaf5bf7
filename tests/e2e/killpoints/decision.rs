//! A decision on an alert, with a kill at each write from the alert to the cordon: one quarantine, the decision stands, the host is out of service.

use jiff::Timestamp;
use serde_json::json;
use sidestep::api::alert::Decision;
use sidestep::api::quarantine::Phase;
use sidestep::api::{HostAlert, HostQuarantine, OpenStackCloud};
use sidestep::clock::Clock;

use super::super::support::world::{CLOUD, LIMIT, POLICY, World, decision_of, phase_of, until};
use super::scene::{Kills, Scene, killed, world, writes_about};
use super::{SIDES, assert_covered};

/// Hosts that are attacked, more than there are points.
const HOSTS: usize = 30;

/// Writes the alert that the sentinel of this host would write.
async fn attack(world: &World, scene: &Scene) {
    let now: Timestamp = Clock::system().now();
    let spec = json!({
        "node": scene.host, "series": "5f3a9c017be2d480", "seq": 1, "engine": "suricata", "ruleID": "1:1000017", "severity": "High", "subject": "10.0.4.7",
        "flow": "Established", "firstSeen": now.to_string(), "lastSeen": now.to_string(), "count": 1, "recent": [{"secondsAgo": 0, "count": 1}],
    });
    world.create::<HostAlert>(&alert_of(scene), spec).await;
}

fn alert_of(scene: &Scene) -> String {
    format!("{}-00", scene.host)
}

/// One quarantine of the host, which has ended, and the alert says that it led to it; or what is there instead.
async fn decided(world: &World, scene: &Scene) -> Result<(), String> {
    let quarantines: Vec<HostQuarantine> = world.all::<HostQuarantine>().await.into_iter().filter(|quarantine| quarantine.spec.host == scene.host).collect();
    let [quarantine] = quarantines.as_slice() else { return Err(format!("{} quarantines of {}", quarantines.len(), scene.host)) };
    let alert = world.get::<HostAlert>(&alert_of(scene)).await;
    // Who made the quarantine and died before saying so finds it there.
    let decision = decision_of(&alert).filter(|decision| matches!(decision, Decision::Quarantined | Decision::AlreadyQuarantined));
    let named = alert.status.as_ref().and_then(|status| status.quarantine.as_ref()) == quarantine.metadata.name.as_ref();
    let cordoned = phase_of(quarantine) == Some(Phase::Cordoned) && !world.simulator().service(&scene.host).0;
    if decision.is_some() && named && cordoned { Ok(()) } else { Err(format!("{:?} {:?}", alert.status, quarantine.status)) }
}

#[tokio::test]
async fn kill_9_before_and_after_every_write_of_a_decision_makes_one_quarantine_and_loses_no_decision() {
    let mut world = world(HOSTS, json!({})).await;
    world.create_policy(POLICY, json!({"response": {"scope": "HostThreatened", "action": "Cordon"}})).await;
    world.start_operator(&["--log-filter", "sidestep=debug"]);
    world.wait_for_condition::<OpenStackCloud>(CLOUD, "Ready", "True").await;
    let first = Scene::set(&world, 0, &[]).await;
    attack(&world, &first).await;
    world.until("the first host is cordoned", async || decided(&world, &first).await).await;
    let writes = writes_about(&first, &world.printed("operator"), 0);
    println!("writes of a decision: {writes:?}");
    world.kill_operator();

    let mut kills = Kills::default();
    let mut scenes = vec![first];
    for write in &writes {
        for side in SIDES {
            let scene = Scene::set(&world, scenes.len(), &[]).await;
            let point = scene.point(side, write);
            world.start_operator(&["--crash-at", &point]);
            attack(&world, &scene).await;
            if killed(&mut world, &point, async |world| decided(world, &scene).await.is_ok()).await {
                kills.note(side, &write.0);
            }
            scenes.push(scene);
        }
    }
    world.start_operator(&[]);
    for scene in &scenes {
        until(&format!("{} is cordoned by one decision", scene.host), LIMIT, async || decided(&world, scene).await).await;
        let asked = scene.service_writes(&world);
        // One that was killed before it saw the answer may ask again; the third is the one by which the host was put into service.
        assert!((2..=3).contains(&asked), "{} was written {asked} times", scene.host);
    }
    println!("{} decisions, killed at {} kinds of points", scenes.len() - 1, kills.0.len());
    kills.assert_all(&writes);
    assert_covered("decision", &kills.0);
}
