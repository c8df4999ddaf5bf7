//! The status of an incident, with an Event and a log line at each turn.

use std::time::Duration;

use kube::ResourceExt as _;

use crate::api::condition::{Kind, State, find};
use crate::api::quarantine::{Phase, TimelineEvent};
use crate::api::{HostQuarantine, HostQuarantineStatus};
use crate::kubernetes::event::Tone;
use crate::kubernetes::status;
use crate::operator::context::Context;
use crate::operator::failure::Failure;

/// Figures and words are written at most so often. What an action or another controller depends on is written at once.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// Whether nothing is new but figures and words, and something was written a moment ago.
pub(super) fn can_be_put_off(context: &Context, quarantine: &HostQuarantine, next: &HostQuarantineStatus) -> bool {
    let before = quarantine.status.clone().unwrap_or_default();
    before != *next && can_wait(&before, next) && !context.progress_due(&quarantine.uid().unwrap_or_default(), INTERVAL)
}

/// Whether nothing is new but how far the drain is, what was measured, what is left, and words for the same reasons.
fn can_wait(before: &HostQuarantineStatus, next: &HostQuarantineStatus) -> bool {
    let mut without = next.clone();
    without.progress = before.progress;
    without.measured.clone_from(&before.measured);
    without.residents.clone_from(&before.residents);
    without.resident_count = before.resident_count;
    let first_request = |status: &HostQuarantineStatus| status.timeline.iter().any(|entry| entry.event == TimelineEvent::FirstMigrationRequested);
    if !first_request(before) {
        without.timeline.retain(|entry| entry.event != TimelineEvent::FirstMigrationRequested);
    }
    if let (Some(host), Some(earlier)) = (without.host.as_mut(), before.host.as_ref()) {
        host.state.clone_from(&earlier.state);
        host.status.clone_from(&earlier.status);
    }
    for condition in &mut without.conditions {
        if let Some(earlier) = before.conditions.iter().find(|earlier| earlier.type_ == condition.type_) {
            condition.message.clone_from(&earlier.message);
        }
    }
    without == *before
}

/// Writes the status where it differs, and returns the object as it stands.
pub(super) async fn write(context: &Context, quarantine: HostQuarantine, next: &HostQuarantineStatus) -> Result<HostQuarantine, Failure> {
    if quarantine.status.as_ref() == Some(next) {
        return Ok(quarantine);
    }
    let written = status::apply(&context.api(), &quarantine, next).await?;
    context.progress_written(&quarantine.uid().unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(changes: &Value) -> HostQuarantineStatus {
        let condition = json!({"type": "Ready", "status": "False", "reason": "Draining", "message": "m", "lastTransitionTime": "2026-11-25T10:00:00Z"});
        let mut status = json!({"phase": "Draining", "conditions": [condition], "timeline": [{"event": "planned", "time": "2026-11-25T10:00:00.000000Z", "clock": "Operator"}]});
        for (field, value) in changes.as_object().unwrap() {
            status[field] = value.clone();
        }
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn figures_and_words_can_wait_and_what_others_act_on_cannot() {
        let before = status(&json!({}));
        let moment = |event: &str| json!({"event": event, "time": "2026-11-25T10:00:00.000000Z", "clock": "Operator"});
        let condition = |status: &str, message: &str| json!([{"type": "Ready", "status": status, "reason": "Draining", "message": message, "lastTransitionTime": "2026-11-25T10:00:00Z"}]);
        for figures in [
            json!({"progress": {"total": 4, "waiting": 1, "running": 2, "migrated": 1, "failed": 0, "remaining": 3, "percent": 25}}),
            json!({"measured": {"transferredBytes": 7}}),
            json!({"residentCount": 1}),
            json!({"conditions": condition("False", "other words")}),
            json!({"timeline": [moment("planned"), moment("firstMigrationRequested")]}),
        ] {
            assert!(can_wait(&before, &status(&figures)), "{figures}");
        }
        for news in [
            json!({"phase": "Empty"}),
            json!({"conditions": condition("True", "m")}),
            json!({"timeline": [moment("planned"), moment("empty")]}),
            json!({"retry": {"token": "again", "since": "2026-11-25T10:00:00.000000Z"}}),
            json!({"deletedRuns": [{"server": "s", "ordinal": 1, "created": "2026-11-25T10:00:00Z"}]}),
            json!({"effectiveScope": "HostCompromised"}),
        ] {
            assert!(!can_wait(&before, &status(&news)), "{news}");
        }
    }
}
