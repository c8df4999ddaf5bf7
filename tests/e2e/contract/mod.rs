//! The contract with Nova: what Sidestep relies on, each a function over the project's own client, run against the simulator and against a real Nova.
//!
//! A behaviour that the simulator shows and Nova does not would let every other test pass for nothing; so both answer to the same list. Each behaviour starts from a cloud of three
//! enabled hosts without servers, says nothing about how fast anything goes, and waits for conditions only.

mod hosts;
mod lab;
mod moves;
mod refusals;
mod transport;

pub(crate) use lab::Lab;

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
    refusals::a_failure_while_preparing_leaves_the_server_on_its_source,
    refusals::a_failure_while_copying_leaves_the_server_on_its_source,
    hosts::disabling_sets_status_and_reason_and_enabling_clears_both,
    hosts::a_list_by_host_shows_that_host_alone,
    hosts::lists_come_in_pages,
    hosts::rows_are_found_by_each_filter,
    hosts::an_administrator_sees_all_projects,
];
