//! HostAlert: decide on the series, and make the HostQuarantine that follows.
//!
//! observe (place, policies, quarantines, budget) → `alert::decision::judge` (pure) → act (make the quarantine) → report (status, Event).
//!
//! Alerts are decided one after the other: two decisions at the same moment could each see the last free place of the budget.

mod act;
mod alarms;
mod observe;
mod report;

use std::sync::Arc;

use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;

use super::context::Context;
use super::failure::Failure;
use crate::alert::decision;
use crate::api::HostAlert;
use crate::kubernetes::guard;

pub(super) use act::moments_of;
#[expect(unused_imports, reason = "for whoever chooses destinations")]
pub(super) use alarms::alerted_hosts;
pub(super) use alarms::{Alarms, alerting_hosts};

pub(super) async fn reconcile(object: Arc<DeserializeGuard<HostAlert>>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(alert) = guard::valid(&object) else { return Ok(Action::await_change()) };
    if context.has_joined(alert) {
        return Ok(Action::await_change());
    }
    let now = context.clock.now();
    let facts = observe::observe(&context, alert);
    let policies = facts.policies();
    if !decision::needs_decision(&alert.spec, alert.status.as_ref(), &policies, facts.written, now) {
        return Ok(Action::await_change());
    }
    let judgement = decision::judge(&facts.case(alert, &policies, now));
    context.alarms.note(&context, alert, &judgement, now);
    if let Some(new) = &judgement.create {
        act::make(&context, alert, new, now).await?;
    }
    report::write(&context, alert, &judgement, now).await?;
    if judgement.decision.is_final() {
        context.joined(alert);
    }
    Ok(Action::await_change())
}
