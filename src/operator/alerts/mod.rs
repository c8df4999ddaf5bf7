//! HostAlert: decide on the series, and make the HostQuarantine that follows.
//!
//! observe (place, policies, quarantines, budget) → `alert::decision::judge` (pure) → act (make the quarantine) → report (status, Event).
//!
//! Alerts are decided one after the other: two decisions at the same moment could each see the last free place of the budget.

mod act;
mod alarms;
mod observe;
mod report;
mod stale;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;

use super::context::Context;
use super::failure::Failure;
use crate::alert::decision::{self, Held, Judgement};
use crate::api::HostAlert;
use crate::api::alert::Decision;
use crate::kubernetes::guard;

use observe::{Beginning, Facts, Peer};

pub(super) use act::moments_of;
pub(super) use alarms::alerted_hosts;
pub(super) use alarms::{Alarms, alerting_hosts, waiting_attackers};

pub(super) async fn reconcile(object: Arc<DeserializeGuard<HostAlert>>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(alert) = guard::valid(&object) else { return Ok(Action::await_change()) };
    let in_vain = observe::has_joined_in_vain(&context, alert);
    if context.has_joined(alert) && !in_vain {
        return Ok(Action::await_change());
    }
    let (now, beginning) = (context.clock.now(), Beginning::of(&context, alert));
    let policies = beginning.policies();
    if !in_vain && !decision::needs_decision(&alert.spec, beginning.labels(), alert.status.as_ref(), &policies, beginning.written, now) {
        return Ok(Action::await_change());
    }
    let facts = Facts::of(&context, alert, &beginning, now);
    let judgement = decision::judge(&facts.case(alert, &beginning, &policies, &facts.series(), now));
    context.alarms.note(&context, alert, &judgement, now);
    if goes_on(alert, &facts, &judgement) {
        context.joined(alert);
        return Ok(Action::await_change());
    }
    if let Some(new) = &judgement.create {
        let received = judgement.status(&alert.spec, alert.status.as_ref(), now).first_received.map(|time| time.0);
        act::make(&context, alert, new, received).await?;
    }
    report::write(&context, alert, &judgement, now).await?;
    if judgement.decision.is_final() {
        context.joined(alert);
    }
    if judgement.held != Held::Not {
        wake_peers(&context, &facts);
    }
    Ok(next_look(&judgement, now))
}

/// Whether a series that joined the host's quarantine goes on, only more slowly: what was decided on it stands.
fn goes_on(alert: &HostAlert, facts: &Facts, judgement: &Judgement) -> bool {
    let Some(status) = &alert.status else { return false };
    let joined = facts.is_active(status.quarantine.as_deref(), status.quarantine_uid.as_deref())
        && status.observed_series.as_deref() == Some(alert.spec.series.as_str());
    joined && judgement.held == Held::Not && matches!(judgement.decision, Decision::BelowThreshold | Decision::Stale)
}

/// Where a threshold that counts several series together holds now, it may hold for those that were below it before.
fn wake_peers(context: &Context, facts: &Facts) {
    let below = |alert: &&HostAlert| alert.status.as_ref().is_some_and(|status| status.decision == Some(Decision::BelowThreshold));
    for peer in facts.peers().iter().filter_map(Peer::alert).filter(below) {
        // The receiver is gone only when the operator ends.
        let _ = context.wakes.alerts.send(ObjectRef::new(&peer.name_any()));
    }
}

/// When time alone can change the decision; everything else wakes the alert when it changes.
fn next_look(judgement: &Judgement, now: Timestamp) -> Action {
    let pause = judgement.again_at.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    pause.map_or_else(Action::await_change, |pause| Action::requeue(pause + Duration::from_millis(10)))
}
