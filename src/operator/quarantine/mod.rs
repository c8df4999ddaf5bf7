//! HostQuarantine: cordon, make runs, verify empty, give back.
//!
//! observe (gates, a look at the host, runs) → `quarantine::decide` (pure) → report (status, before anything is done) → act (Nova's service, MigrationRuns, finalizer).
//!
//! The status goes first: what stood in Nova before, and that a request goes out, is written down before it does. Steps that need a new look at once are taken in the same reconcile,
//! so that an alert does not wait for a queue between cordon and first move.

mod act;
mod observe;
mod plan;
mod report;

use std::sync::Arc;

use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;

use super::context::Context;
use super::failure::Failure;
use super::rests::Rest;
use crate::api::HostQuarantine;
use crate::kubernetes::guard;
use crate::quarantine::{Pace, decide};

/// The most steps that one reconcile takes; an incident needs five from its acceptance to its first runs.
const STEPS: u32 = 8;

pub(super) async fn reconcile(object: Arc<DeserializeGuard<HostQuarantine>>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(quarantine) = guard::valid(&object) else { return Ok(Action::await_change()) };
    match observe::nothing_due(&context, quarantine) {
        Some(Rest::For(pause)) => return Ok(Action::requeue(pause)),
        Some(Rest::UntilItChanges) => return Ok(Action::await_change()),
        None => {}
    }
    let mut quarantine = act::hold(&context, quarantine.clone()).await?;
    for step in 0..STEPS {
        let turn = if observe::is_accepted(&quarantine) { None } else { Some(context.acceptance(&quarantine.spec.cloud).await) };
        let seen = observe::observe(&context, &quarantine, step > 0).await;
        let now = context.clock.now();
        let next = decide(&seen.incident(&quarantine), &quarantine.status.clone().unwrap_or_default(), &seen.observation(), &seen.memory, now);
        context.remember(&seen.uid, next.memory.clone());
        let must_stand = !next.actions.is_empty() || next.pace == Pace::Never;
        let put_off = !must_stand && report::can_be_put_off(&context, &quarantine, &next.status);
        if !put_off {
            quarantine = report::write(&context, quarantine, &next.status).await?;
        }
        if observe::is_accepted(&quarantine) {
            context.just_accepted(&seen.uid);
        }
        drop(turn);
        act::act(&context, &quarantine, &seen, &next.actions).await?;
        match next.pace {
            Pace::Now => {}
            pace => {
                let action = act::pace(&context, &quarantine, &seen, pace);
                if put_off {
                    context.rests.wake(&seen.uid);
                    return Ok(Action::requeue(report::INTERVAL));
                }
                return Ok(action);
            }
        }
    }
    Ok(Action::requeue(std::time::Duration::from_secs(1)))
}
