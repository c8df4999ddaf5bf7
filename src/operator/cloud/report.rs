//! The status of a cloud.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::ResourceExt as _;

use super::budget::BudgetView;
use super::observe::Seen;
use super::sentinels;
use crate::api::OpenStackCloud;
use crate::api::cloud::{BudgetUse, HostCounts, Identity, OpenStackCloudStatus};
use crate::api::condition::{Conditions, Kind, State, find, whole_seconds};
use crate::gate::{self, Verdict};
use crate::inventory::mark::Mark;
use crate::inventory::{ComputeService, ServiceState, ServiceStatus};
use crate::kubernetes::event::Tone;
use crate::kubernetes::status;
use crate::operator::context::Context;
use crate::operator::failure::Failure;

/// How often `observedAt` is renewed when nothing else changes.
const OBSERVED_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// The time that `cordonsPerHour` is about.
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The status that says what was seen.
pub(super) fn status(cloud: &OpenStackCloud, seen: &Seen, now: Timestamp) -> OpenStackCloudStatus {
    let current = cloud.status.clone().unwrap_or_default();
    let mut conditions = Conditions::of(&current.conditions, cloud.metadata.generation, now);
    credentials(&mut conditions, seen);
    inventory(&mut conditions, cloud, seen);
    budget(&mut conditions, seen);
    sentinels::condition(&mut conditions, seen.fleet.as_ref());
    readiness(&mut conditions, seen);
    let services = seen.live.as_ref().and_then(|live| live.inventory.services());
    let identity = seen.live.as_ref().map(|live| live.cloud.identity());
    let mut next = OpenStackCloudStatus {
        observed_generation: cloud.metadata.generation,
        identity: identity.map(|who| Identity { user: who.user.clone(), project: who.project.clone(), region: who.region.clone() }).or(current.identity),
        microversion: seen.live.as_ref().map(|live| live.cloud.microversion().to_string()).or(current.microversion),
        hosts: services.map(|services| counts(&services.services, seen)).or(current.hosts),
        servers: seen.live.as_ref().and_then(|live| live.inventory.addresses()).map(|all| count(all.servers)).or(current.servers),
        budget: seen.budget.as_ref().map(usage).or(current.budget),
        incidents: seen.budget.as_ref().map(|view| view.past.to_remember(now)).unwrap_or(current.incidents),
        operator: current.operator,
        conditions: conditions.finish(),
        observed_at: current.observed_at,
    };
    renew(&mut next, cloud.status.as_ref(), seen, now);
    next
}

/// Says when the cloud was looked at, without a write for that alone more often than every [`OBSERVED_EVERY`].
fn renew(next: &mut OpenStackCloudStatus, current: Option<&OpenStackCloudStatus>, seen: &Seen, now: Timestamp) {
    let Some(begun_at) = seen.budget.as_ref().and_then(BudgetView::begun_at) else { return };
    let old = next.observed_at.as_ref().is_none_or(|at| now.duration_since(at.0) >= OBSERVED_EVERY);
    if old || current != Some(next) {
        next.observed_at = Some(Time(whole_seconds(begun_at)));
    }
}

fn usage(view: &BudgetView) -> BudgetUse {
    let facts = view.facts();
    let mut cordons: Vec<MicroTime> = facts.cordons.values().copied().map(MicroTime).collect();
    cordons.retain(|at| facts.now.duration_since(at.0) < HOUR);
    cordons.sort_by_key(|at| at.0);
    BudgetUse { out_of_service: count(gate::out_of_service(&facts).len()), cordons }
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
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
    let Some(view) = &seen.budget else {
        conditions.set(Kind::BudgetAvailable, State::Unknown, "NotLooked", "");
        return;
    };
    let facts = view.facts();
    match gate::alerting_share(&facts).and_then(|| gate::budget_for_next(&facts)) {
        Verdict::Pass => {
            let (used, most) = (gate::out_of_service(&facts).len(), gate::most_out_of_service(&facts));
            conditions.set(Kind::BudgetAvailable, State::True, "Available", format!("{used} of at most {most} hosts are out of service by Sidestep"))
        }
        Verdict::Refuse { reason, message } => conditions.set(Kind::BudgetAvailable, State::False, reason, message),
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

fn counts(services: &[ComputeService], seen: &Seen) -> HostCounts {
    let count = |test: &dyn Fn(&ComputeService) -> bool| u32::try_from(services.iter().filter(|service| test(service)).count()).unwrap_or(u32::MAX);
    HostCounts {
        total: count(&|_| true),
        enabled: count(&|service| service.status == ServiceStatus::Enabled),
        disabled: count(&|service| service.status == ServiceStatus::Disabled),
        down: count(&|service| service.state == ServiceState::Down || service.forced_down),
        quarantined: count(&|service| Mark::on(service).is_some()),
        alerting: self::count(seen.budget.as_ref().map_or(0, |view| view.facts().alerting.len())),
        silent: self::count(seen.fleet.as_ref().map_or(0, |fleet| fleet.silent.len())),
    }
}

/// Writes the status where it differs, with an Event and a log line when the cloud becomes usable or a problem stands against that.
pub(super) async fn write(context: &Context, cloud: &OpenStackCloud, seen_a_problem: bool, next: OpenStackCloudStatus) -> Result<(), Failure> {
    if cloud.status.as_ref() == Some(&next) {
        return Ok(());
    }
    let written = status::apply(&context.api(), cloud, &next).await?;
    let available = find(&next.conditions, Kind::BudgetAvailable).is_some_and(|condition| condition.status == State::True.as_str());
    context.metrics.budget_available.set([cloud.name_any()], i64::from(available));
    tell_of_the_budget(context, &written, cloud.status.as_ref(), &next).await;
    sentinels::tell(context, cloud, &next).await;
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

/// An Event when there is no more room, and when there is again: a person is to look, above all when too many hosts alert.
async fn tell_of_the_budget(context: &Context, object: &OpenStackCloud, before: Option<&OpenStackCloudStatus>, next: &OpenStackCloudStatus) {
    let reason = |status: &OpenStackCloudStatus| find(&status.conditions, Kind::BudgetAvailable).map(|condition| condition.reason.clone());
    let (earlier, Some(condition)) = (before.and_then(reason), find(&next.conditions, Kind::BudgetAvailable)) else { return };
    if earlier.as_deref() == Some(condition.reason.as_str()) || condition.status == State::Unknown.as_str() {
        return;
    }
    let shut = condition.status == State::False.as_str();
    let first = earlier.is_none_or(|earlier| earlier == "NotLooked");
    if shut || !first {
        let tone = if shut { Tone::Warning } else { Tone::Normal };
        context.events.publish(object, tone, "Budget", &condition.reason, &condition.message).await;
        tracing::info!(cloud = object.name_any(), reason = condition.reason, why = condition.message, "The safety budget has changed.");
    }
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
        Seen { live: None, problem, fresh: false, unseen: None, budget: None, fleet: None }
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
        let kinds = [
            Kind::Ready,
            Kind::CredentialsValid,
            Kind::SeesAllProjects,
            Kind::InventoryFresh,
            Kind::BudgetAvailable,
            Kind::SentinelsUnreachable,
            Kind::Reconciling,
            Kind::Stalled,
        ];
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
    fn a_look_that_shows_the_same_makes_the_same_status() {
        let mut object = cloud();
        let first = status(&object, &seen(Some(problem(true, true))), Timestamp::UNIX_EPOCH);
        object.status = Some(first.clone());
        let later = Timestamp::from_second(600).unwrap();
        assert_eq!(status(&object, &seen(Some(problem(true, true))), later), first);
    }
}
