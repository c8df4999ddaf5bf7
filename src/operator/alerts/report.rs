//! The status of an alert, and the Event that copies each decision.

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::alert::decision::{Judgement, same_judgement};
use crate::api::HostAlert;
use crate::api::alert::Decision;
use crate::kubernetes::event::Tone;
use crate::kubernetes::status;
use crate::operator::context::Context;
use crate::operator::failure::Failure;

/// Writes the judgement where it differs from what stands there.
pub(super) async fn write(context: &Context, alert: &HostAlert, judgement: &Judgement, received: Timestamp) -> Result<(), Failure> {
    let earlier = alert.status.as_ref();
    if same_judgement(earlier, judgement, &alert.spec) {
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
    let tone = if matches!(judgement.decision, Decision::Unmapped | Decision::OverBudget | Decision::Quarantined) { Tone::Warning } else { Tone::Normal };
    context.events.publish(&written, tone, "Decide", decision, &judgement.message).await;
    Ok(())
}
