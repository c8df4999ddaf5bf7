//! The status of an incident, with an Event and a log line at each turn.

use kube::ResourceExt as _;

use crate::api::condition::{Kind, State, find};
use crate::api::quarantine::Phase;
use crate::api::{HostQuarantine, HostQuarantineStatus};
use crate::kubernetes::event::Tone;
use crate::kubernetes::status;
use crate::operator::context::Context;
use crate::operator::failure::Failure;

/// Writes the status where it differs, and returns the object as it stands.
pub(super) async fn write(context: &Context, quarantine: HostQuarantine, next: &HostQuarantineStatus) -> Result<HostQuarantine, Failure> {
    if quarantine.status.as_ref() == Some(next) {
        return Ok(quarantine);
    }
    let written = status::apply(&context.api(), &quarantine, next).await?;
    let before = quarantine.status.unwrap_or_default();
    turn(context, &written, &before, next).await;
    Ok(written)
}

/// What people are told: a new phase, and a cordon that somebody else changed.
async fn turn(context: &Context, object: &HostQuarantine, before: &HostQuarantineStatus, next: &HostQuarantineStatus) {
    let (name, host) = (object.name_any(), object.spec.host.as_str());
    if before.phase != next.phase
        && let Some(phase) = next.phase
    {
        let ready = find(&next.conditions, Kind::Ready);
        let (reason, message) = ready.map_or((phase.as_str(), ""), |ready| (ready.reason.as_str(), ready.message.as_str()));
        let tone = if matches!(phase, Phase::Blocked | Phase::Refused) { Tone::Warning } else { Tone::Normal };
        if tone == Tone::Warning {
            tracing::warn!(quarantine = name, host, phase = phase.as_str(), reason, why = message, "A quarantine needs somebody's attention.");
        } else {
            tracing::info!(quarantine = name, host, phase = phase.as_str(), reason, why = message, "A quarantine has a new phase.");
        }
        context.events.publish(object, tone, phase.as_str(), reason, message).await;
    }
    tell_of_alerts(context, object, before, next).await;
    let approved = |status: &HostQuarantineStatus| find(&status.conditions, Kind::Approved).filter(|condition| condition.reason == "Approved").cloned();
    if let Some(approval) = approved(next).filter(|_| approved(before).is_none()) {
        tracing::info!(quarantine = name, host, why = approval.message, "A plan was approved.");
        context.events.publish(object, Tone::Normal, "Approve", "Approved", &approval.message).await;
    }
    let contested = |status: &HostQuarantineStatus| find(&status.conditions, Kind::Contested).is_some_and(|condition| condition.status == State::True.as_str());
    if contested(next) && !contested(before) {
        let message = find(&next.conditions, Kind::Contested).map(|condition| condition.message.clone()).unwrap_or_default();
        tracing::warn!(quarantine = name, host, why = message, "Somebody else changed the host's compute service.");
        context.events.publish(object, Tone::Warning, "Cordon", "Contested", &message).await;
    }
}

/// Alerts that have joined: when the scope rises, and when somebody holds the object so that nothing else is done about them.
async fn tell_of_alerts(context: &Context, object: &HostQuarantine, before: &HostQuarantineStatus, next: &HostQuarantineStatus) {
    let (name, host) = (object.name_any(), object.spec.host.as_str());
    let held =
        |status: &HostQuarantineStatus| find(&status.conditions, Kind::AlertWhileHeld).filter(|condition| condition.status == State::True.as_str()).cloned();
    let rises = before.effective_scope.zip(next.effective_scope).is_some_and(|(before, next)| before < next);
    if let Some(condition) = held(next).filter(|_| rises || held(before).is_none()) {
        tracing::warn!(quarantine = name, host, why = condition.message, "Alerts have joined a quarantine that is held.");
        context.events.publish(object, Tone::Warning, "Join", "AlertWhileHeld", &condition.message).await;
    }
    if rises {
        let scope = next.effective_scope.unwrap_or_default().as_str();
        let note = format!(
            "later alerts on the host raise the scope to {scope}: what has not begun is planned again, and approval is asked for where that scope needs it"
        );
        tracing::warn!(quarantine = name, host, scope, "The scope of a quarantine has become stricter.");
        context.events.publish(object, Tone::Warning, "Join", "ScopeRaised", &note).await;
    }
}
