//! What happens to a live migration by itself, at which time, and what is left after it failed.

use proptest::prelude::*;

use super::*;
use crate::simulator::model::Phase;
use crate::simulator::state::{Refusal, ServiceChange};
use crate::simulator::{AfterRollback, FailPoint, Knobs, Outcome};

fn post(cloud: &mut Cloud, id: Uuid) -> Result<(), Refusal> {
    let request = cloud.request_id();
    cloud.live_migrate(id, None, &request)
}

/// The reasons in the newest action of a server, in the order in which the steps began.
fn reasons(cloud: &Cloud, id: Uuid) -> Vec<String> {
    let action = cloud.actions(id).next().unwrap();
    let reason = |outcome: &Outcome| if let Outcome::Error(reason) = outcome { Some(reason.clone()) } else { None };
    action.events.iter().filter_map(|event| event.finished.as_ref().and_then(|(_, outcome)| reason(outcome))).collect()
}

fn disable(cloud: &mut Cloud, host: &str) {
    let id = cloud.host(host).unwrap().service_id.to_string();
    cloud.change_service(&id, ServiceChange { enabled: Some(false), ..ServiceChange::default() }).unwrap();
}

#[test]
fn a_migration_goes_through_its_states_and_the_server_s_columns_do_not_follow_the_row() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    post(&mut cloud, id).unwrap();
    assert_eq!((server(&cloud, id).status(), row(&cloud, id)), ("MIGRATING", None), "the row comes later");
    let mut seen = Vec::new();
    for step in 0..100 {
        cloud.advance(at(step * 100));
        let server = server(&cloud, id);
        let now = (row(&cloud, id), server.status(), server.host.clone());
        if seen.last().is_none_or(|(_, last)| *last != now) {
            seen.push((step * 100, now));
        }
    }
    let expected = [
        (0, (None, "MIGRATING", "cmp-1")),
        (100, (Some("accepted"), "MIGRATING", "cmp-1")),
        (1200, (Some("preparing"), "MIGRATING", "cmp-1")),
        (2000, (Some("running"), "MIGRATING", "cmp-1")),
        (7100, (Some("running"), "ACTIVE", "cmp-2")),
        (7600, (Some("completed"), "ACTIVE", "cmp-2")),
    ];
    assert_eq!(seen, expected.map(|(when, (row, status, host))| (when, (row, status, host.to_owned()))));
}

#[test]
fn until_its_row_appears_the_newest_row_is_the_previous_migration_s() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    post(&mut cloud, id).unwrap();
    cloud.advance(at(20_000));
    cloud.set_knobs(&id.to_string(), Some(Knobs { row_ms: Some(5_000), ..Knobs::default() }));
    post(&mut cloud, id).unwrap();
    cloud.advance(at(24_999));
    assert_eq!(cloud.migrations().map(|row| (row.id, row.status)).collect::<Vec<_>>(), [(1, Some("completed"))]);
    cloud.advance(at(25_000));
    assert_eq!(cloud.migrations().next().map(|row| (row.id, row.status)), Some((2, Some("accepted"))));
}

#[test]
fn one_leaves_a_host_at_a_time_and_the_others_wait_in_the_order_of_their_checks() {
    let mut cloud = cloud(settings());
    let servers: Vec<Uuid> = (0..4).map(|_| boot(&mut cloud, "cmp-1")).collect();
    for (id, when) in servers.iter().zip([0, 10, 20, 30]) {
        cloud.advance(at(when));
        post(&mut cloud, *id).unwrap();
    }
    cloud.advance(at(2_500));
    let words: Vec<_> = servers.iter().map(|id| row(&cloud, *id).unwrap()).collect();
    assert_eq!(words, ["running", "queued", "queued", "queued"]);
    cloud.advance(at(7_600));
    let words: Vec<_> = servers.iter().map(|id| row(&cloud, *id).unwrap()).collect();
    assert_eq!(words, ["completed", "preparing", "queued", "queued"], "a slot is held until the row is completed");
    assert!(
        servers.iter().all(|id| cloud.migrations().any(|row| row.server == *id && row.destination.as_deref() == Some("cmp-2"))),
        "the emptiest at that time"
    );
}

#[test]
fn copies_that_leave_one_host_share_its_bandwidth() {
    let mut cloud = cloud(Settings { max_concurrent_live_migrations: 2, ..settings() });
    let servers = [boot(&mut cloud, "cmp-1"), boot(&mut cloud, "cmp-1")];
    for id in servers {
        post(&mut cloud, id).unwrap();
    }
    cloud.advance(at(8_000));
    assert!(servers.iter().all(|id| row(&cloud, *id) == Some("running")), "alone it would have been completed at 7.6 s");
    cloud.advance(at(8_700));
    assert!(servers.iter().all(|id| row(&cloud, *id) == Some("completed")));
}

#[test]
fn memory_counters_are_absent_then_zero_then_samples_and_then_absent_again() {
    let mut cloud = cloud(Settings { bandwidth: 64.0, ..settings() });
    let id = boot(&mut cloud, "cmp-1");
    post(&mut cloud, id).unwrap();
    let sample = |cloud: &Cloud| cloud.migrations().next().unwrap().sample;
    cloud.advance(at(2_700));
    assert_eq!((row(&cloud, id), sample(&cloud)), (Some("running"), None));
    cloud.advance(at(2_800));
    assert_eq!(sample(&cloud).map(|sample| (sample.total, sample.processed)), Some((0, 0)), "the first sample is from before the first byte");
    cloud.advance(at(7_799));
    assert_eq!(sample(&cloud).map(|sample| sample.total), Some(0), "and stays for 5 s");
    cloud.advance(at(7_800));
    let counters = sample(&cloud).unwrap();
    assert_eq!(counters.total, 512 * 1_048_576 + 794_624);
    assert_eq!(counters.processed / 1_048_576, 64 * 53 / 10, "5.3 s at 64 MiB/s");
    assert_eq!(counters.remaining, counters.total - counters.processed);
    assert_eq!(server(&cloud, id).progress, 66);
    cloud.advance(at(30_000));
    assert_eq!((row(&cloud, id), sample(&cloud)), (Some("completed"), None));
}

#[test]
fn each_failure_leaves_what_real_nova_leaves() {
    let cases = [
        (FailPoint::CheckDestination, "error", "ACTIVE", "cmp-1", vec![NO_HOST, "Migration pre-check error: R", "Migration pre-check error: R"]),
        (FailPoint::Pre, "failed", "ACTIVE", "cmp-1", vec!["R"]),
        (FailPoint::During, "failed", "ACTIVE", "cmp-1", vec![]),
        (FailPoint::Raise, "error", "ERROR", "cmp-1", vec![]),
        (FailPoint::PostDestination, "error", "ERROR", "cmp-2", vec!["R"]),
        (FailPoint::StayOnSource, "completed", "ACTIVE", "cmp-1", vec![]),
    ];
    for (fail, word, status, host, expected) in cases {
        let mut cloud = cloud(settings());
        let id = boot(&mut cloud, "cmp-1");
        cloud.set_knobs("default", Some(Knobs { fail: Some(fail), reason: Some("R".into()), ..Knobs::default() }));
        post(&mut cloud, id).unwrap();
        cloud.advance(at(60_000));
        let server = server(&cloud, id);
        assert_eq!((row(&cloud, id), server.status(), server.host.as_str()), (Some(word), status, host), "{fail:?}");
        assert_eq!(reasons(&cloud, id), expected, "{fail:?}");
        assert_eq!(cloud.allocations(host), [(id, server.size)], "{fail:?}: the server holds the host where it is");
        assert_eq!(cloud.actions(id).next().unwrap().failed, !expected.is_empty(), "{fail:?}");
    }
}

const NO_HOST: &str = "No valid host was found. There are not enough hosts available.";

#[test]
fn a_refusal_of_one_destination_sends_the_server_to_another() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    let knobs = Knobs { fail: Some(FailPoint::CheckDestination), fail_host: Some("cmp-2".into()), ..Knobs::default() };
    cloud.set_knobs("host-cmp-1", Some(knobs));
    post(&mut cloud, id).unwrap();
    cloud.advance(at(60_000));
    assert_eq!((row(&cloud, id), server(&cloud, id).host.as_str()), (Some("completed"), "cmp-3"));
}

#[test]
fn a_failure_that_is_wanted_once_does_not_strike_the_second_attempt() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    cloud.set_knobs(&id.to_string(), Some(Knobs { fail: Some(FailPoint::Pre), times: Some(1), ..Knobs::default() }));
    post(&mut cloud, id).unwrap();
    cloud.advance(at(20_000));
    assert_eq!(row(&cloud, id), Some("failed"));
    post(&mut cloud, id).unwrap();
    cloud.advance(at(40_000));
    assert_eq!(row(&cloud, id), Some("completed"));
}

#[test]
fn with_the_later_libvirt_driver_a_failed_copy_turns_to_error_a_moment_after_it_was_rolled_back() {
    let mut cloud = cloud(Settings { after_rollback: AfterRollback::Error, ..settings() });
    let id = boot(&mut cloud, "cmp-1");
    cloud.set_knobs("default", Some(Knobs { fail: Some(FailPoint::During), ..Knobs::default() }));
    post(&mut cloud, id).unwrap();
    // The copy breaks at half of it, 3.0 s after the POST; the rollback takes 1 s and the error 0.9 s more.
    cloud.advance(at(4_050));
    assert_eq!((row(&cloud, id), server(&cloud, id).status()), (Some("failed"), "ACTIVE"));
    cloud.advance(at(5_000));
    assert_eq!((row(&cloud, id), server(&cloud, id).status()), (Some("error"), "ERROR"));
    assert_eq!(server(&cloud, id).power_state, 1, "its guest runs on");
}

#[test]
fn a_queued_migration_is_aborted_without_a_trace_and_without_a_slot() {
    let mut cloud = cloud(settings());
    let servers = [boot(&mut cloud, "cmp-1"), boot(&mut cloud, "cmp-1")];
    for id in servers {
        post(&mut cloud, id).unwrap();
    }
    cloud.advance(at(3_000));
    assert!(matches!(cloud.abort(servers[1], "2", false, "req-1"), Err(Refusal::BadRequest(_))), "only from 2.65 on");
    cloud.abort(servers[1], "2", true, "req-1").unwrap();
    cloud.advance(at(3_200));
    assert_eq!((row(&cloud, servers[1]), server(&cloud, servers[1]).status()), (Some("cancelled"), "ACTIVE"));
    assert!(matches!(cloud.abort(servers[1], "2", true, "req-2"), Err(Refusal::Conflict(_))), "the server has no task any more");
    assert_eq!(row(&cloud, servers[0]), Some("running"));
}

#[test]
fn a_running_migration_is_aborted_and_the_next_one_gets_its_slot() {
    let mut cloud = cloud(settings());
    let servers = [boot(&mut cloud, "cmp-1"), boot(&mut cloud, "cmp-1")];
    for id in servers {
        post(&mut cloud, id).unwrap();
    }
    cloud.set_knobs(&servers[0].to_string(), Some(Knobs { hold: Some(true), ..Knobs::default() }));
    cloud.advance(at(30_000));
    assert_eq!((row(&cloud, servers[0]), row(&cloud, servers[1])), (Some("running"), Some("queued")));
    cloud.abort(servers[0], "1", true, "req-1").unwrap();
    cloud.advance(at(31_000));
    assert_eq!((row(&cloud, servers[0]), row(&cloud, servers[1])), (Some("cancelled"), Some("preparing")));
}

#[test]
fn a_held_copy_ends_when_it_is_let_go() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    cloud.set_knobs("default", Some(Knobs { hold: Some(true), ..Knobs::default() }));
    post(&mut cloud, id).unwrap();
    cloud.advance(at(60_000));
    assert_eq!(row(&cloud, id), Some("running"));
    cloud.set_knobs("default", None);
    cloud.advance(at(70_000));
    assert_eq!(row(&cloud, id), Some("completed"));
}

#[test]
fn with_no_host_to_go_to_the_row_says_error_and_the_action_why() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    disable(&mut cloud, "cmp-2");
    cloud.set_host_up("cmp-3", false).unwrap();
    post(&mut cloud, id).unwrap();
    cloud.advance(at(5_000));
    assert_eq!((row(&cloud, id), server(&cloud, id).status()), (Some("error"), "ACTIVE"));
    assert_eq!(reasons(&cloud, id), [NO_HOST]);
    assert_eq!(cloud.migrations().next().unwrap().destination, None);
}

#[test]
fn a_source_that_does_not_report_sends_nothing() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    cloud.set_host_up("cmp-1", false).unwrap();
    post(&mut cloud, id).unwrap();
    cloud.advance(at(5_000));
    assert_eq!(row(&cloud, id), Some("error"));
    assert_eq!(reasons(&cloud, id), ["Compute service of cmp-1 is unavailable at this time."]);
}

#[test]
fn when_nova_compute_of_the_source_dies_the_rows_stand_still_until_it_starts_again_and_gives_them_up() {
    let mut cloud = cloud(settings());
    let servers = [boot(&mut cloud, "cmp-1"), boot(&mut cloud, "cmp-1")];
    for id in servers {
        post(&mut cloud, id).unwrap();
    }
    cloud.advance(at(3_000));
    cloud.set_host_up("cmp-1", false).unwrap();
    cloud.advance(at(600_000));
    assert_eq!((row(&cloud, servers[0]), row(&cloud, servers[1])), (Some("running"), Some("queued")));
    assert_eq!(server(&cloud, servers[0]).status(), "MIGRATING");
    cloud.set_host_up("cmp-1", true).unwrap();
    for (id, power_state) in servers.into_iter().zip([0, 1]) {
        let server = server(&cloud, id);
        assert_eq!((row(&cloud, id), server.status(), server.host.as_str(), server.power_state), (Some("error"), "ACTIVE", "cmp-1", power_state));
    }
}

#[test]
fn moves_under_way_fill_their_destination_for_the_scheduler() {
    let mut cloud = cloud(Settings { host_memory_mb: 1024, ..settings() });
    let servers: Vec<Uuid> = (0..2).map(|_| boot(&mut cloud, "cmp-1")).collect();
    boot(&mut cloud, "cmp-2");
    for id in &servers {
        post(&mut cloud, *id).unwrap();
    }
    cloud.advance(at(30_000));
    assert!(servers.iter().all(|id| server(&cloud, *id).host == "cmp-3"));
    let third = boot(&mut cloud, "cmp-1");
    let fourth = boot(&mut cloud, "cmp-1");
    for id in [third, fourth] {
        post(&mut cloud, id).unwrap();
    }
    cloud.advance(at(60_000));
    assert_eq!((server(&cloud, third).host.as_str(), server(&cloud, fourth).host.as_str()), ("cmp-2", "cmp-1"), "cmp-3 is full, and cmp-2 after one");
}

#[test]
fn during_a_migration_its_uuid_holds_the_source_and_the_server_s_the_destination() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    post(&mut cloud, id).unwrap();
    cloud.advance(at(3_000));
    let migration = cloud.migrations().next().unwrap();
    let size = server(&cloud, id).size;
    assert_eq!((cloud.allocations("cmp-1"), cloud.allocations("cmp-2")), (vec![(migration.uuid, size)], vec![(id, size)]));
    cloud.advance(at(8_000));
    assert_eq!((cloud.allocations("cmp-1"), cloud.allocations("cmp-2")), (vec![], vec![(id, size)]));
}

#[test]
fn only_active_and_paused_servers_migrate_and_a_paused_one_stays_paused() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    for (state, word) in [(VmState::Shutoff, "stopped"), (VmState::Suspended, "suspended"), (VmState::Error, "error")] {
        cloud.set_state(id, state).unwrap();
        let refusal = post(&mut cloud, id).unwrap_err();
        assert_eq!(refusal, Refusal::Conflict(format!("Cannot 'os-migrateLive' instance {id} while it is in vm_state {word}")));
    }
    cloud.set_state(id, VmState::Paused).unwrap();
    post(&mut cloud, id).unwrap();
    assert!(matches!(post(&mut cloud, id), Err(Refusal::Conflict(reason)) if reason.ends_with("task_state migrating")));
    cloud.advance(at(20_000));
    assert_eq!((server(&cloud, id).status(), server(&cloud, id).host.as_str()), ("PAUSED", "cmp-2"));
    assert_eq!(server(&cloud, id).power_state, 3);
}

#[test]
fn a_server_that_has_arrived_may_be_moved_again_before_its_row_says_completed() {
    let mut cloud = cloud(settings());
    let id = boot(&mut cloud, "cmp-1");
    post(&mut cloud, id).unwrap();
    cloud.advance(at(7_100));
    assert_eq!((row(&cloud, id), server(&cloud, id).task.is_some()), (Some("running"), false));
    post(&mut cloud, id).unwrap();
    cloud.advance(at(8_000));
    assert_eq!(cloud.migrations().map(|row| row.status.unwrap()).collect::<Vec<_>>(), ["accepted", "completed"]);
    assert!(server(&cloud, id).task.is_some(), "the end of the first is not the end of the second");
}

#[test]
fn a_faster_cloud_does_the_same_in_less_time() {
    let mut cloud = cloud(Settings { speed: 10.0, ..settings() });
    let id = boot(&mut cloud, "cmp-1");
    post(&mut cloud, id).unwrap();
    cloud.advance(at(749));
    assert_eq!(row(&cloud, id), Some("running"));
    cloud.advance(at(752));
    assert_eq!(row(&cloud, id), Some("completed"));
}

/// Something that is done to a cloud, by numbers that stand for one of its servers or hosts.
#[derive(Clone, Debug)]
enum Deed {
    Wait(u64),
    Post(usize),
    Abort(usize),
    Boot(usize),
    Delete(usize),
    Disable(usize),
    Report(usize, bool),
    Steer(usize, Option<FailPoint>),
    Cold(usize),
    Confirm(usize),
    Revert(usize),
}

fn deed() -> impl Strategy<Value = Deed> {
    let fail = prop_oneof![
        Just(None),
        Just(Some(FailPoint::CheckDestination)),
        Just(Some(FailPoint::Pre)),
        Just(Some(FailPoint::During)),
        Just(Some(FailPoint::PostDestination)),
    ];
    prop_oneof![
        4 => (1_u64..4_000).prop_map(Deed::Wait),
        4 => (0_usize..8).prop_map(Deed::Post),
        1 => (0_usize..8).prop_map(Deed::Abort),
        1 => (0_usize..3).prop_map(Deed::Boot),
        1 => (0_usize..8).prop_map(Deed::Delete),
        1 => (0_usize..3).prop_map(Deed::Disable),
        1 => ((0_usize..3), any::<bool>()).prop_map(|(host, up)| Deed::Report(host, up)),
        1 => (0_usize..8).prop_map(Deed::Cold),
        1 => (0_usize..8).prop_map(Deed::Confirm),
        1 => (0_usize..8).prop_map(Deed::Revert),
        1 => ((0_usize..8), fail).prop_map(|(server, fail)| Deed::Steer(server, fail)),
    ]
}

/// Does the deeds, looking every `step` milliseconds; gives the cloud as text.
fn play(deeds: &[Deed], step: u64) -> Result<String, TestCaseError> {
    let mut cloud = cloud(Settings { max_concurrent_live_migrations: 2, ..settings() });
    let host = |number: usize| format!("cmp-{}", number % 3 + 1);
    let pick = |cloud: &Cloud, number: usize| cloud.servers().nth(number).map(|server| server.id);
    let mut now = 0;
    for deed in deeds {
        match deed {
            Deed::Wait(milliseconds) => {
                for passed in (0..*milliseconds).step_by(usize::try_from(step).unwrap()).chain([*milliseconds]) {
                    cloud.advance(at(now + passed));
                    check(&cloud)?;
                }
                now += milliseconds;
            }
            Deed::Post(number) => drop(pick(&cloud, *number).map(|id| post(&mut cloud, id))),
            Deed::Abort(number) => {
                let newest = pick(&cloud, *number).and_then(|id| cloud.migrations().find(|row| row.server == id).map(|row| (id, row.id)));
                let _ = newest.map(|(id, row)| cloud.abort(id, &row.to_string(), true, "req-abort"));
            }
            Deed::Boot(number) => drop(cloud.boot(&server_on(&host(*number)))),
            Deed::Delete(number) => drop(pick(&cloud, *number).map(|id| cloud.delete_server(id))),
            Deed::Cold(number) => drop(pick(&cloud, *number).map(|id| cloud.cold_migrate(id, None, "req-cold"))),
            Deed::Confirm(number) => drop(pick(&cloud, *number).map(|id| cloud.confirm_resize(id, "req-confirm"))),
            Deed::Revert(number) => drop(pick(&cloud, *number).map(|id| cloud.revert_resize(id, "req-revert"))),
            Deed::Disable(number) => disable(&mut cloud, &host(*number)),
            Deed::Report(number, up) => cloud.set_host_up(&host(*number), *up).unwrap(),
            Deed::Steer(number, fail) => drop(pick(&cloud, *number).map(|id| {
                cloud.set_knobs(&id.to_string(), Some(Knobs { fail: *fail, ..Knobs::default() }));
            })),
        }
        check(&cloud)?;
    }
    cloud.advance(at(now + 600_000));
    (0..3).for_each(|number| cloud.set_host_up(&host(number), true).unwrap());
    prop_assert!(cloud.servers().all(|server| server.task.is_none()), "every migration ends");
    let rows: Vec<_> = cloud.migrations().map(|row| (row.id, row.status, row.destination.clone(), row.updated_at)).collect();
    let servers: Vec<_> = cloud.servers().map(|server| (server.id, server.status(), server.host.clone(), server.updated)).collect();
    Ok(format!("{rows:#?} {servers:#?}"))
}

/// What holds at any time.
fn check(cloud: &Cloud) -> Result<(), TestCaseError> {
    let working = |host: &str| cloud.migrations().filter(|row| row.source == host && matches!(row.status, Some("preparing" | "running"))).count();
    for host in cloud.hosts() {
        prop_assert!(working(&host.name) <= 2, "{} sends {} at once", host.name, working(&host.name));
    }
    for server in cloud.servers() {
        let holding = cloud.hosts().filter(|host| cloud.allocations(&host.name).iter().any(|(consumer, _)| *consumer == server.id)).count();
        prop_assert!(holding == 1 || (server.task.is_some() && holding == 0), "{} holds {holding} hosts", server.id);
        let under_way = cloud.migrations().filter(|row| row.server == server.id && row.is_in_progress() && !matches!(row.phase, Phase::Arrived(_))).count();
        prop_assert!(under_way <= 1, "{} has {under_way} migrations in progress", server.id);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_same_deeds_lead_to_the_same_cloud_however_often_it_is_looked_at(deeds in proptest::collection::vec(deed(), 1..40)) {
        let deeds = [&[Deed::Boot(0), Deed::Boot(0), Deed::Boot(0), Deed::Boot(1)], deeds.as_slice()].concat();
        prop_assert_eq!(play(&deeds, 4_000)?, play(&deeds, 37)?);
    }
}
