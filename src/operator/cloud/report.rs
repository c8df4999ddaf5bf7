//! The status of a cloud.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::observe::Seen;
use crate::api::OpenStackCloud;
use crate::api::cloud::{HostCounts, Identity, OpenStackCloudStatus};
use crate::api::condition::{Conditions, Kind, State, find};
use crate::inventory::mark::Mark;
use crate::inventory::{ComputeService, ServiceState, ServiceStatus};
use crate::kubernetes::event::Tone;
use crate::kubernetes::status;
use crate::operator::context::Context;
use crate::operator::failure::Failure;

/// The status that says what was seen.
pub(super) fn status(cloud: &OpenStackCloud, seen: &Seen, now: Timestamp) -> OpenStackCloudStatus {
    let current = cloud.status.clone().unwrap_or_default();
    let mut conditions = Conditions::of(&current.conditions, cloud.metadata.generation, now);
    credentials(&mut conditions, seen);
    inventory(&mut conditions, cloud, seen);
    budget(&mut conditions, seen);
    readiness(&mut conditions, seen);
    let services = seen.live.as_ref().and_then(|live| live.inventory.services());
    let identity = seen.live.as_ref().map(|live| live.cloud.identity());
    OpenStackCloudStatus {
        observed_generation: cloud.metadata.generation,
        identity: identity.map(|who| Identity { user: who.user.clone(), project: who.project.clone(), region: who.region.clone() }).or(current.identity),
        microversion: seen.live.as_ref().map(|live| live.cloud.microversion().to_string()).or(current.microversion),
        hosts: services.map(|services| counts(&services.services, seen.alerting)).or(current.hosts),
        operator: current.operator,
        conditions: conditions.finish(),
    }
}

fn credentials(conditions: &mut Conditions, seen: &Seen) {
    match (&seen.problem, &seen.live) {
        (Some(problem), _) if problem.about_credential => {
            conditions.set(Kind::CredentialsValid, State::False, &problem.unusable.reason, &problem.unusable.message);
        }
        (_, Some(_)) => {
            conditions.set(Kind::CredentialsValid, State::True, "Accepted", "Keystone accepts the credential");
        }
        (Some(problem), None) => {
            conditions.set(Kind::CredentialsValid, State::Unknown, &problem.unusable.reason, &problem.unusable.message);
        }
        (None, None) => {
            conditions.set(Kind::CredentialsValid, State::Unknown, "Connecting", "");
        }
    }
    match &seen.live {
        Some(live) if live.sees_all_projects => conditions.set(Kind::SeesAllProjects, State::True, "Proven", "a list of all projects' servers was answered"),
        Some(_) => conditions.set(Kind::SeesAllProjects, State::False, "Forbidden", "Nova does not let this credential list the servers of all projects"),
        None => conditions.set(Kind::SeesAllProjects, State::Unknown, "NotConnected", ""),
    };
}

fn inventory(conditions: &mut Conditions, cloud: &OpenStackCloud, seen: &Seen) {
    let limit = cloud.spec.inventory.stale_after.get();
    match &seen.unseen {
        None if seen.fresh => conditions.set(Kind::InventoryFresh, State::True, "Fresh", ""),
        Some(unseen) if seen.fresh => conditions.set(Kind::InventoryFresh, State::False, "HostUnseen", format!("{unseen}; nothing is decided about it")),
        _ => {
            let message = format!("there is no view of the cloud younger than {limit:?}: nothing is decided on an older one");
            conditions.set(Kind::InventoryFresh, State::False, "Stale", message)
        }
    };
}

fn budget(conditions: &mut Conditions, seen: &Seen) {
    match seen.budget {
        None => conditions.set(Kind::BudgetAvailable, State::Unknown, "NotLooked", ""),
        Some((used, limit)) if used < usize::try_from(limit).unwrap_or(usize::MAX) => {
            conditions.set(Kind::BudgetAvailable, State::True, "Available", format!("{used} of {limit} hosts are out of service by Sidestep"))
        }
        Some((used, limit)) => {
            let message = format!("{used} hosts are out of service by Sidestep, and budget.hostsOutOfService is {limit}: release one, or raise it");
            conditions.set(Kind::BudgetAvailable, State::False, "Exhausted", message)
        }
    };
}

fn readiness(conditions: &mut Conditions, seen: &Seen) {
    let notices = seen.live.as_ref().map(|live| live.notices.join("; ")).unwrap_or_default();
    let but = if notices.is_empty() { String::new() } else { format!("; in clouds.yaml: {notices}") };
    let usable = format!("the cloud is looked at and can be acted on{but}");
    let (ready, reason, message, stalled) = match &seen.problem {
        Some(problem) => (false, problem.unusable.reason.as_str(), problem.unusable.message.as_str(), problem.needs_a_person),
        None if seen.fresh => (true, "Usable", usable.as_str(), false),
        None => (false, "Looking", "waiting for the first look at the cloud", false),
    };
    let busy = !ready && !stalled;
    conditions.set(Kind::Ready, ready.into(), reason, message);
    conditions.set(Kind::Reconciling, busy.into(), if busy { reason } else { "NotReconciling" }, if busy { message } else { "" });
    conditions.set(Kind::Stalled, stalled.into(), if stalled { reason } else { "NotStalled" }, if stalled { message } else { "" });
}

fn counts(services: &[ComputeService], alerting: usize) -> HostCounts {
    let count = |test: &dyn Fn(&ComputeService) -> bool| u32::try_from(services.iter().filter(|service| test(service)).count()).unwrap_or(u32::MAX);
    HostCounts {
        total: count(&|_| true),
        enabled: count(&|service| service.status == ServiceStatus::Enabled),
        disabled: count(&|service| service.status == ServiceStatus::Disabled),
        down: count(&|service| service.state == ServiceState::Down || service.forced_down),
        quarantined: count(&|service| Mark::on(service).is_some()),
        alerting: u32::try_from(alerting).unwrap_or(u32::MAX),
    }
}

/// Writes the status where it differs, with an Event and a log line when the cloud becomes usable or a problem stands against that.
pub(super) async fn write(context: &Context, cloud: &OpenStackCloud, seen_a_problem: bool, next: OpenStackCloudStatus) -> Result<(), Failure> {
    if cloud.status.as_ref() == Some(&next) {
        return Ok(());
    }
    let written = status::apply(&context.api(), cloud, &next).await?;
    let before = cloud.status.as_ref().and_then(|status| find(&status.conditions, Kind::Ready)).map(|ready| ready.reason.clone());
    let Some(ready) = find(&next.conditions, Kind::Ready) else { return Ok(()) };
    if before.as_deref() != Some(ready.reason.as_str()) && (seen_a_problem || ready.status == State::True.as_str()) {
        let good = ready.status == State::True.as_str();
        let tone = if good { Tone::Normal } else { Tone::Warning };
        if good {
            tracing::info!(cloud = cloud.name_any(), "The cloud can be used.");
        } else {
            tracing::warn!(cloud = cloud.name_any(), reason = ready.reason, why = ready.message, "The cloud cannot be used.");
        }
        context.events.publish(&written, tone, "Look", &ready.reason, &ready.message).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::observe::Problem;
    use super::*;
    use crate::operator::context::Unusable;

    fn cloud() -> OpenStackCloud {
        let spec = serde_json::from_value(serde_json::json!({"credentials": {"secretRef": {"name": "s"}, "cloud": "c"}})).unwrap();
        OpenStackCloud::new("c", spec)
    }

    fn seen(problem: Option<Problem>) -> Seen {
        Seen { live: None, problem, fresh: false, unseen: None, budget: None, alerting: 0 }
    }

    fn problem(needs_a_person: bool, about_credential: bool) -> Problem {
        Problem { unusable: Unusable { reason: "Why".into(), message: "because".into() }, needs_a_person, about_credential }
    }

    #[track_caller]
    fn assert_state(next: &OpenStackCloudStatus, kind: Kind, state: State, reason: &str) {
        let condition = find(&next.conditions, kind).unwrap();
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), (state.as_str(), reason), "{kind:?}");
    }

    #[test]
    fn every_condition_is_published_at_the_first_look() {
        let next = status(&cloud(), &seen(None), Timestamp::UNIX_EPOCH);
        let kinds = [Kind::Ready, Kind::CredentialsValid, Kind::SeesAllProjects, Kind::InventoryFresh, Kind::BudgetAvailable, Kind::Reconciling, Kind::Stalled];
        assert!(kinds.iter().all(|kind| find(&next.conditions, *kind).is_some()));
    }

    #[test]
    fn a_credential_that_is_refused_needs_a_person() {
        let next = status(&cloud(), &seen(Some(problem(true, true))), Timestamp::UNIX_EPOCH);
        assert_state(&next, Kind::CredentialsValid, State::False, "Why");
        assert_state(&next, Kind::Ready, State::False, "Why");
        assert_state(&next, Kind::Stalled, State::True, "Why");
        assert_state(&next, Kind::Reconciling, State::False, "NotReconciling");
    }

    #[test]
    fn a_cloud_out_of_reach_says_nothing_about_the_credential_and_is_tried_again() {
        let next = status(&cloud(), &seen(Some(problem(false, false))), Timestamp::UNIX_EPOCH);
        assert_state(&next, Kind::CredentialsValid, State::Unknown, "Why");
        assert_state(&next, Kind::Reconciling, State::True, "Why");
        assert_state(&next, Kind::Stalled, State::False, "NotStalled");
    }

    #[test]
    fn a_host_whose_list_fails_is_not_fresh_although_the_services_are() {
        let next = status(&cloud(), &Seen { fresh: true, unseen: Some("every look at host h fails".into()), ..seen(None) }, Timestamp::UNIX_EPOCH);
        assert_state(&next, Kind::InventoryFresh, State::False, "HostUnseen");
        assert_state(&next, Kind::Ready, State::True, "Usable");
    }

    #[test]
    fn a_budget_that_is_used_up_names_both_figures() {
        let next = status(&cloud(), &Seen { budget: Some((1, 1)), ..seen(None) }, Timestamp::UNIX_EPOCH);
        assert_state(&next, Kind::BudgetAvailable, State::False, "Exhausted");
        assert!(find(&next.conditions, Kind::BudgetAvailable).unwrap().message.contains("budget.hostsOutOfService is 1"));
    }

    #[test]
    fn a_look_that_shows_the_same_makes_the_same_status() {
        let mut object = cloud();
        let first = status(&object, &seen(Some(problem(true, true))), Timestamp::UNIX_EPOCH);
        object.status = Some(first.clone());
        let later = Timestamp::from_second(600).unwrap();
        assert_eq!(status(&object, &seen(Some(problem(true, true))), later), first);
    }
}
