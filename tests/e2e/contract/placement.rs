//! How full each host is, by one request; and which hosts belong together.

use serde_json::{Value, json};
use sidestep::inventory::{HostName, RowStatus};
use uuid::Uuid;

use super::lab::{Initial, Lab, Whose, host};

const TINY: &str = "/allocation_candidates?resources=VCPU:1,MEMORY_MB:512,DISK_GB:1";

async fn provider(lab: &Lab, host: &HostName) -> Uuid {
    let hypervisors = lab.raw.get("/os-hypervisors/detail").await;
    let found = hypervisors["hypervisors"].as_array().unwrap().iter().find(|one| one["service"]["host"] == host.as_str()).unwrap();
    found["id"].as_str().unwrap().parse().unwrap()
}

/// What the summary of a host says is used, and its capacity, in MiB of memory and servers' CPUs.
fn memory(candidates: &Value, provider: Uuid) -> (u64, u64) {
    let memory = &candidates["provider_summaries"][provider.to_string()]["resources"]["MEMORY_MB"];
    (memory["used"].as_u64().unwrap(), memory["capacity"].as_u64().unwrap())
}

pub(super) async fn candidates_have_room_and_say_how_full_they_are(lab: &Lab) {
    let server = lab.boot_one(&host(1), Initial::Active).await;
    let (source, other) = (provider(lab, &host(1)).await, provider(lab, &host(2)).await);
    let candidates = lab.raw.placement(TINY).await;
    assert_eq!(candidates["provider_summaries"].as_object().unwrap().len(), 3);
    assert_eq!(candidates["allocation_requests"].as_array().unwrap().len(), 3);
    let (used, capacity) = memory(&candidates, source);
    assert_eq!((used, capacity >= 65_536), (512, true));
    assert_eq!(memory(&candidates, other).0, 0);
    for class in ["VCPU", "DISK_GB"] {
        assert_eq!(candidates["provider_summaries"][source.to_string()]["resources"][class]["used"], 1, "{class}");
    }

    // A host that is out of service has room all the same; its trait says so.
    lab.disable(&host(2)).await;
    let candidates = lab.raw.placement(TINY).await;
    let traits = &candidates["provider_summaries"][other.to_string()]["traits"];
    assert!(traits.as_array().unwrap().contains(&json!("COMPUTE_STATUS_DISABLED")), "{traits}");
    let enabled = lab.raw.placement(&format!("{TINY}&required=!COMPUTE_STATUS_DISABLED")).await;
    assert_eq!(enabled["provider_summaries"].as_object().unwrap().len(), 2);

    // What is on its way is taken on both hosts.
    lab.steer(Whose::Servers(server), json!({"hold": true})).await;
    let posted = lab.migrate(server).await;
    let row = lab.row_when(&posted, "running", |row| row.status == RowStatus::Running).await;
    let destination = provider(lab, row.dest_compute.as_ref().unwrap()).await;
    let candidates = lab.raw.placement(TINY).await;
    assert_eq!((memory(&candidates, source).0, memory(&candidates, destination).0), (512, 512));
    lab.let_go(Whose::Servers(server)).await;
    lab.settled(&posted).await;
    let full = lab.raw.placement(&format!("/allocation_candidates?resources=MEMORY_MB:{capacity}")).await;
    let with_room: Vec<&String> = full["provider_summaries"].as_object().unwrap().keys().collect();
    assert!(!with_room.contains(&&destination.to_string()) && with_room.contains(&&source.to_string()), "{with_room:?}");
}

pub(super) async fn aggregates_name_their_hosts(lab: &Lab) {
    assert_eq!(lab.raw.get("/os-aggregates").await, json!({"aggregates": []}));
    lab.aggregate("pool", &[host(2), host(3)]).await;
    let listed = lab.raw.get("/os-aggregates").await;
    let [aggregate] = listed["aggregates"].as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((&aggregate["name"], &aggregate["hosts"]), (&json!("pool"), &json!(["cmp-2", "cmp-3"])));
    let mut keys: Vec<&str> = aggregate.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["availability_zone", "created_at", "deleted", "deleted_at", "hosts", "id", "metadata", "name", "updated_at", "uuid"]);
}
