//! The client on a bad day: lost answers, tokens that end, regions and passwords that are not right. Only the simulator can be made to do this at will.

use sidestep::clock::Clock;
use sidestep::inventory::{RowStatus, ServiceStatus};
use sidestep::openstack::{Cloud, ConnectError, PostOutcome, clouds_yaml};
use sidestep::simulator::{FaultAnswer, HttpFault, Settings, Simulator};

use super::lab::{Initial, Lab, Posted, host};

fn once(method: &str, path: &str, answer: FaultAnswer) -> HttpFault {
    HttpFault { method: Some(method.into()), path: Some(path.into()), answer, times: Some(1), seconds: None, delay_ms: 0 }
}

fn asked(simulator: &Simulator, method: &str, part: &str) -> usize {
    simulator.requests().iter().filter(|request| request.method == method && request.path.contains(part)).count()
}

#[tokio::test]
async fn a_migration_whose_answer_is_lost_is_unknown_and_goes_on_once() {
    let lab = Lab::simulated().await;
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.simulator().add_fault(once("POST", "/action", FaultAnswer::LoseReply));
    let outcome = lab.control.live_migrate(server, None).await;
    assert!(matches!(outcome, PostOutcome::Unknown(_)), "{outcome:?}");
    let (row, moved) = lab.settled(&Posted { server, request_id: String::new(), highest_before: 0 }).await;
    assert_eq!((row.status, moved.host), (RowStatus::Completed, row.dest_compute));
    assert_eq!((lab.rows(server).await.len(), asked(lab.simulator(), "POST", "/action")), (1, 1));
}

#[tokio::test]
async fn a_cordon_whose_answer_is_lost_is_asked_again() {
    let lab = Lab::simulated().await;
    let service = lab.cloud.services().await.unwrap().remove(0);
    lab.simulator().add_fault(once("PUT", "/os-services/", FaultAnswer::LoseReply));
    let answered = lab.control.disable_service(&service.id, Some("r")).await.unwrap();
    assert_eq!(answered.status, ServiceStatus::Disabled);
    assert_eq!(asked(lab.simulator(), "PUT", "/os-services/"), 2);
}

#[tokio::test]
async fn tokens_that_end_early_are_replaced_unseen() {
    let lab = Lab::simulated().await;
    let server = lab.boot_one(&host(1), Initial::Active).await;
    lab.simulator().revoke_tokens();
    assert_eq!(lab.cloud.servers_on(&host(1)).await.unwrap().len(), 1);
    lab.simulator().revoke_tokens();
    let posted = lab.migrate(server).await;
    assert_eq!(lab.settled(&posted).await.0.status, RowStatus::Completed);
    assert_eq!(lab.rows(server).await.len(), 1);
}

#[tokio::test]
async fn an_answer_of_something_in_between_is_no_empty_list() {
    let lab = Lab::simulated().await;
    lab.boot_one(&host(1), Initial::Active).await;
    lab.simulator().add_fault(HttpFault { times: Some(4), ..once("GET", "/servers/detail", FaultAnswer::Html) });
    assert_eq!(lab.cloud.servers_on(&host(1)).await.unwrap_err().category(), "ServerError");
    assert_eq!(lab.cloud.servers_on(&host(1)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_page_with_200_or_an_object_without_the_list_is_no_empty_list() {
    let lab = Lab::simulated().await;
    lab.boot_one(&host(1), Initial::Active).await;
    for answer in [FaultAnswer::Page, FaultAnswer::Empty] {
        lab.simulator().add_fault(once("GET", "/servers/detail", answer));
        assert_eq!(lab.cloud.servers_on(&host(1)).await.unwrap_err().category(), "ForeignAnswer", "{answer:?}");
    }
    assert_eq!(lab.cloud.servers_on(&host(1)).await.unwrap().len(), 1);
}

/// Why the simulator's clouds.yaml with this change cannot be used.
async fn refusal(simulator: &Simulator, from: &str, to: &str) -> ConnectError {
    let text = simulator.clouds_yaml();
    assert!(text.contains(from), "{text}");
    let config = clouds_yaml::parse(text.replace(from, to).as_bytes(), "simulator", None).unwrap();
    Cloud::connect(&config, Clock::system()).await.unwrap_err()
}

#[tokio::test]
async fn what_is_wrong_in_clouds_yaml_is_said_with_its_remedy() {
    let simulator = Simulator::start(Settings { regions: vec!["east".into(), "west".into()], ..Settings::default() }).await.unwrap();
    let region = "    region_name: \"east\"\n";
    let error = refusal(&simulator, region, "").await;
    assert_eq!(error.to_string(), "cloud `simulator` has several regions, `east`, `west`: set `region_name` in clouds.yaml to one of them");
    let error = refusal(&simulator, region, "    region_name: north\n").await;
    assert_eq!(error.to_string(), "cloud `simulator` has no region `north`; it has `east`, `west`: correct `region_name` in clouds.yaml");
    let error = refusal(&simulator, "\"lab\"", "\"wrong\"").await;
    assert_eq!(error.category(), "AuthenticationFailed");
    assert!(error.to_string().ends_with("does not accept the credential of cloud `simulator`: correct it in clouds.yaml"), "{error}");
}

#[tokio::test]
async fn a_member_sees_his_own_project_alone_and_no_list_of_a_host() {
    let lab = Lab::simulated().await;
    lab.boot_one(&host(1), Initial::Active).await;
    let text = lab.simulator().clouds_yaml().replace("username: admin", "username: demo").replace("project_name: admin", "project_name: demo");
    let cloud = Cloud::connect(&clouds_yaml::parse(text.as_bytes(), "simulator", None).unwrap(), Clock::system()).await.unwrap();
    assert!(!cloud.sees_all_projects().await.unwrap());
    assert_eq!(cloud.servers_on(&host(1)).await.unwrap_err().category(), "Forbidden");
}
