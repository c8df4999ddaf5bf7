//! MigrationRun: ask Nova for the move of one server, and follow it.
//!
//! observe (the host's view, the server, Nova's records, what the quarantine says, a slot, a destination) → `migration::decide` (pure) → report (the intent, before the request) → act (the request) →
//! report (its answer).
//!
//! Nova is not polled per run: the poller's view of the source has the server and the records. Only what it cannot have is asked for alone: where a server is that has left, the reason of a
//! failure, the highest record before a request, and, for an attempt without a trace, two more looks.

mod act;
mod nodes;
mod observe;
mod report;
pub(super) mod slots;
mod standing;
mod turns;

pub(super) use nodes::OwnNodes;
pub(super) use standing::is_dormant;
pub(super) use turns::Brakes;

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;

use super::context::{Context, is_finished};
use super::failure::Failure;
use super::places::is_by_hand;
use crate::api::{FINALIZER, MigrationRun};
use crate::kubernetes::guard;
use crate::migration::{self, Standing, Step, decide, open_attempt};
use observe::Sight;

/// The net under the poller's wake-ups; for a run of which nothing comes by itself the idle interval is.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) async fn reconcile(object: Arc<DeserializeGuard<MigrationRun>>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(run) = guard::valid(&object) else { return Ok(Action::await_change()) };
    if is_finished(run) || act::is_orphan(&context, run) {
        return act::let_go(&context, run).await;
    }
    if is_by_hand(run) && !run.finalizers().iter().any(|name| name == FINALIZER) && run.metadata.deletion_timestamp.is_none() {
        return act::hold(&context, run).await;
    }
    let status = run.status.clone().unwrap_or_default();
    let seen = match observe::observe(&context, run).await {
        Sight::Seen(seen) => seen,
        Sight::Nothing => return Ok(Action::requeue(PAUSE)),
        Sight::Unseen(unseen, standing) => {
            let next = migration::unseen(&unseen, &status, &standing, context.clock.now());
            report::write(&context, run, &next.status).await?;
            return Ok(Action::requeue(PAUSE));
        }
    };
    let next = decide(&seen.run, &status, &seen.observation, context.clock.now());
    act::tell_brake(&context, run, &status, &next.status);
    match next.step {
        Step::Ask => return act::ask(&context, run, &seen, &next.status).await,
        Step::Abort(migration) => return act::abort(&context, run, &seen, &next.status, migration).await,
        Step::Confirm => return act::confirm(&context, run, &seen, &next.status).await,
        Step::Wait => {}
    }
    if open_attempt(&next.status).is_none() && (open_attempt(&status).is_some() || seen.observation.standing == Standing::Permits) {
        context.give_back(&run.name_any());
    }
    report::write(&context, run, &next.status).await?;
    if migration::is_finished(&next.status) {
        context.slots.leave(&run.name_any());
        context.unwatch_if_idle(&seen.live, &run.spec.cloud, &seen.run.source, &run.name_any());
    }
    let idle = || context.cloud_spec(&run.spec.cloud).map_or(PAUSE, |spec| spec.inventory.idle_interval.get()).max(PAUSE);
    let pause = if is_dormant(run, seen.quarantine.as_ref()) { idle() } else { PAUSE };
    Ok(Action::requeue(next.wake.unwrap_or(pause).min(pause)))
}
