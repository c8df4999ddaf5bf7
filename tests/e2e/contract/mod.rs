//! The contract with Nova: what Sidestep relies on, each a function over the project's own client, run against the simulator and against a real Nova.
//!
//! A behaviour that the simulator shows and Nova does not would let every other test pass for nothing; so both answer to the same list. Each behaviour starts from a cloud of three
//! enabled hosts without servers, says nothing about how fast anything goes, and waits for conditions only.
//!
//! What the simulator shows and the real Nova of these tests cannot be made to show, with its source:
//!
//! | behaviour | setting | source |
//! | --- | --- | --- |
//! | counters are null, then zeros for 5 s, then a sample every 5 s | `timing.first_sample_ms`, `sample_ms` | libvirt driver, `live_migration_monitor_interval`; recorded on Nova 34 with QEMU |
//! | the guest runs on the destination seconds before the row says `completed` | `timing.leave_ms` | recorded on Nova 34 with QEMU |
//! | `completed`, and the server keeps the source, or stays MIGRATING for ever | `stay_on_source`, `record_behind` | reported of production clouds (bigstack-oss/cubecos#1440) |
//! | moves are accepted and end in `error` within a second, while the network service answers the API and not the conductor | `network` | reported of a production cloud (bigstack-oss/cubecos#1300); a conductor here remembers for 10 min what it was answered |
//! | a row that appears only 10 s after the POST | `row_ms` | recorded on a loaded control plane: seconds |
//! | lost answers, pages of a proxy, 503 for a while, `max_limit` of 3, tokens that end early | `/admin/http-faults`, `/admin/tokens` | HTTP; `[api] max_limit`; Keystone's `token/expiration` |
//! | a member sees his own project alone, and may not list the servers of a host | user `demo` | Nova's default policies `os_compute_api:servers:detail:get_all_tenants` and `:allow_all_filters` |
//! | several regions | `regions` | Keystone's catalog |
//! | servers with addresses, servers on volumes | `addresses`, `volume` | recorded on Nova 34 with QEMU (addresses); API reference of `servers` (empty `image`, `os-extended-volumes:volumes_attached`) |
//! | nova-compute disables its own host with `AUTO: ...`, and enables it only when it finds that prefix | `hypervisor` | `_set_host_enabled` in nova/virt/libvirt/driver.py, 34.0.0 |
//! | shelved servers that still lie on their host | `SHELVED` | nova/compute/vm_states.py |

mod aborts;
mod cold;
mod hosts;
mod lab;
mod moves;
mod placement;
mod raw;
mod refusals;
mod states;
mod transport;

pub(crate) use lab::Lab;
pub(crate) use raw::Raw;

/// Makes a test against the simulator of each behaviour, and the list for the real Nova (see module `nova`).
macro_rules! behaviours {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        mod simulator {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$module::$name(&super::Lab::simulated().await).await;
                }
            )+
        }

        /// Every behaviour in turn, on one cloud; a failure does not keep the others from being looked at.
        pub(crate) async fn all_on(real: Lab) -> Vec<&'static str> {
            let mut failed = Vec::new();
            $(
                let lab = real.clone();
                let mut task = tokio::task::JoinSet::new();
                task.spawn(async move {
                    lab.reset().await;
                    $module::$name(&lab).await;
                });
                if task.join_next().await.is_none_or(|outcome| outcome.is_err()) {
                    failed.push(stringify!($name));
                }
            )+
            failed
        }
    };
}

behaviours![
    moves::a_post_is_answered_with_a_request_id_and_its_row_comes_later_with_a_higher_id,
    moves::a_row_goes_forward_through_its_statuses,
    moves::a_source_copies_one_at_a_time_and_queues_the_rest,
    moves::a_server_under_way_is_on_its_source_and_holds_both_hosts,
    moves::success_shows_in_the_row_the_server_and_both_lists,
    moves::a_paused_server_arrives_paused,
    moves::the_inventory_follows_servers_until_nothing_is_left,
    refusals::a_stopped_server_is_refused,
    refusals::an_unknown_server_is_refused,
    refusals::a_server_under_way_is_refused,
    refusals::a_disabled_host_is_no_destination,
    refusals::no_valid_host_is_an_error_row_with_its_reason_in_the_action,
    refusals::a_destination_that_refuses_is_an_error_row_with_its_reason_in_the_action,
    refusals::a_source_that_refuses_is_an_error_row_with_its_reason_in_the_action,
    refusals::a_failure_while_preparing_leaves_the_server_on_its_source,
    refusals::a_failure_while_copying_leaves_the_server_on_its_source,
    hosts::disabling_sets_status_and_reason_and_enabling_clears_both,
    hosts::a_list_by_host_shows_that_host_alone,
    hosts::lists_come_in_pages,
    hosts::rows_are_found_by_each_filter,
    hosts::an_administrator_sees_all_projects,
    hosts::a_deleted_service_comes_back_under_another_id_and_in_service,
    hosts::a_host_without_nova_compute_is_down_and_its_servers_stay,
    hosts::links_may_lead_elsewhere,
    moves::a_named_host_is_where_it_goes_and_the_scheduler_may_refuse_it,
    aborts::an_aborted_migration_that_was_queued_is_cancelled_and_stays_so,
    aborts::an_aborted_copy_is_cancelled_and_the_server_as_before,
    aborts::where_the_driver_raises_after_a_rollback_an_aborted_copy_ends_in_error_and_the_guest_runs_on,
    aborts::what_is_not_under_way_cannot_be_aborted,
    cold::a_stopped_server_moves_cold_and_holds_its_source_until_it_is_confirmed,
    cold::a_cold_migration_that_is_reverted_is_back_on_its_source,
    cold::a_cold_migration_that_fails_leaves_the_server_as_it_was,
    states::only_active_and_paused_servers_are_moved_live_and_a_lock_does_not_hold_an_administrator,
    states::a_server_that_is_being_built_is_on_its_host,
    states::a_soft_deleted_server_is_hidden_holds_its_host_and_comes_back,
    states::members_of_a_group_stay_apart,
    placement::candidates_have_room_and_say_how_full_they_are,
    placement::aggregates_name_their_hosts,
];
