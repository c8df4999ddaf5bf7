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
    let contested = |status: &HostQuarantineStatus| find(&status.conditions, Kind::Contested).is_some_and(|condition| condition.status == State::True.as_str());
    if contested(next) && !contested(before) {
        let message = find(&next.conditions, Kind::Contested).map(|condition| condition.message.clone()).unwrap_or_default();
        tracing::warn!(quarantine = name, host, why = message, "Somebody else changed the host's compute service.");
        context.events.publish(object, Tone::Warning, "Cordon", "Contested", &message).await;
    }
}
