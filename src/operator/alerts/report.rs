//! The status of an alert, and the Event that copies each decision.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::stale::Telling;
use crate::alert::decision::{Held, Judgement, same_judgement};
use crate::api::alert::{Decision, ObservedDecision};
use crate::api::{HostAlert, HostAlertStatus};
use crate::kubernetes::event::Tone;
use crate::kubernetes::status;
use crate::operator::context::Context;
use crate::operator::failure::Failure;

/// Writes the judgement where it differs from what stands there.
pub(super) async fn write(context: &Context, alert: &HostAlert, judgement: &Judgement, received: Timestamp) -> Result<(), Failure> {
    let earlier = alert.status.as_ref();
    if same_judgement(earlier, judgement, &alert.spec) && !joins_anew(context, earlier) {
        return Ok(());
    }
    let next = judgement.status(&alert.spec, earlier, received);
    let written = status::apply(&context.api(), alert, &next).await?;
    context.metrics.decisions.one([judgement.decision.as_str()]);
    let (decision, host, rule) = (judgement.decision.as_str(), judgement.host.as_deref().unwrap_or("-"), alert.spec.rule_id.as_str());
    let name = alert.name_any();
    tracing::info!(
        alert = name,
        host,
        rule,
        decision,
        policy = judgement.policy,
        quarantine = judgement.quarantine,
        why = judgement.message,
        "Decided on an alert."
    );
    tell(context, &written, judgement).await;
    observed(context, &written, earlier, judgement).await;
    Ok(())
}

/// Whether an earlier decision joined a quarantine while that was suspended: now it counts.
fn joins_anew(context: &Context, earlier: Option<&HostAlertStatus>) -> bool {
    let anew = || {
        let status = earlier?;
        let resumed = context.quarantine(status.quarantine.as_deref()?)?.status?.resumed?;
        Some(status.last_received.as_ref().is_none_or(|received| received.0 <= resumed.0))
    };
    anew().unwrap_or_default()
}

/// One Event per decision; of series that were too old already when the operator began one per host.
async fn tell(context: &Context, alert: &HostAlert, judgement: &Judgement) {
    let warns = [Decision::Unmapped, Decision::IdentityUnenforced, Decision::OverBudget, Decision::Quarantined];
    let tone = if warns.contains(&judgement.decision) { Tone::Warning } else { Tone::Normal };
    let too_old = judgement.decision == Decision::Stale && judgement.held == Held::Not;
    let telling = if too_old { context.alarms.stale.telling(&alert.spec.node, super::observe::written(alert)) } else { Telling::AsUsual };
    if telling != Telling::AsUsual {
        context.metrics.stale_at_start.one([alert.spec.node.clone()]);
    }
    match telling {
        Telling::AsUsual => context.events.publish(alert, tone, "Decide", judgement.decision.as_str(), &judgement.message).await,
        Telling::OfTheHost => {
            let node = &alert.spec.node;
            let note = format!(
                "Node {node} has alerts that were too old to act on when the operator began to decide; look at them: kubectl get hostalerts.sidestep.dev --field-selector spec.node={node}"
            );
            context.events.publish(alert, Tone::Warning, "Decide", "StaleAtStart", &note).await;
        }
        Telling::Nothing => {}
    }
}

/// One Event for each policy in mode Observe that would now have acted, or would have and for a reason did not.
async fn observed(context: &Context, alert: &HostAlert, earlier: Option<&HostAlertStatus>, judgement: &Judgement) {
    let before = earlier.map(|status| status.observed.as_slice()).unwrap_or_default();
    let news = judgement.observed.iter().filter(|observed| !before.contains(observed));
    for ObservedDecision { policy, decision } in news.filter(|observed| !matches!(observed.decision, Decision::BelowThreshold | Decision::Stale)) {
        let note = format!("QuarantinePolicy {policy} is in mode Observe; in mode Enforce its decision would be {}.", decision.as_str());
        context.events.publish(alert, Tone::Normal, "Observe", "Observed", &note).await;
    }
}
