//! HostReport: whether the operator hears from a sentinel, and what it means when it does not.
//!
//! ```text
//!  hearing     looks at the sentinels' Leases every few seconds, judges each cloud's sentinels together, wakes whatever is to be said otherwise than it is
//!  reconcile   observe (place, standing) → report (status, Event) → act (HostAlert of a silence)
//!  forget      deletes what is left of nodes that are gone for good
//! ```
//!
//! The status comes before the alert: its condition's transition time is what the alert is dated by, so that one silence makes one alert, however often this is repeated.

mod act;
mod forget;
mod hearing;
mod observe;
mod report;

use std::sync::Arc;

use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;

use super::context::Context;
use super::failure::Failure;
use super::place::Map;
use crate::api::HostReport;
use crate::kubernetes::guard;

pub(super) use hearing::{Fleet, Hearing, Settings, listen};

pub(super) async fn reconcile(object: Arc<DeserializeGuard<HostReport>>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(report) = guard::valid(&object).filter(|report| report.metadata.deletion_timestamp.is_none()) else { return Ok(Action::await_change()) };
    let seen = observe::observe(&context, &Map::read(&context), report);
    let status = report::status(report, &seen, context.clock.now());
    report::write(&context, report, &status).await?;
    act::raise(&context, report, &status).await?;
    Ok(Action::await_change())
}
