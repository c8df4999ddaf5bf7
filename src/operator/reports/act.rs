//! Writes the HostAlert of a silence.

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;

use super::report::{SENSOR_DEAD, SENTINEL_SILENT};
use crate::api::condition::{Kind, State, find};
use crate::api::report::HostReportStatus;
use crate::api::{HostAlert, HostReport};
use crate::kubernetes::status::FIELD_MANAGER;
use crate::kubernetes::{answer, guard};
use crate::operator::context::Context;
use crate::operator::failure::Failure;
use crate::silence::signal;

/// Raises the alert, when the report's status says that the host is silent and no alert says so yet. A node that belongs to no host raises none: no policy could be about it.
pub(super) async fn raise(context: &Context, report: &HostReport, status: &HostReportStatus) -> Result<(), Failure> {
    let (Some((since, message)), Some(_)) = (silent_since(status), &status.host) else { return Ok(()) };
    let node = &report.spec.node;
    let name = signal::name(node);
    let earlier = guard::read(&context.stores.alerts, &name, |alert| alert.spec.clone());
    let Some(spec) = signal::alert(node, since, &message, earlier.as_ref(), context.clock.now()) else { return Ok(()) };
    let object = json!({"apiVersion": HostAlert::api_version(&()), "kind": HostAlert::kind(&()), "metadata": {"name": name}, "spec": spec});
    let params = PatchParams::apply(FIELD_MANAGER).force();
    answer(context.api::<HostAlert>().patch(&name, &params, &Patch::Apply(&object)))
        .await
        .map_err(Failure::kubernetes(format!("write HostAlert {name} for HostReport {}", report.name_any())))?;
    tracing::warn!(alert = name, host = status.host, why = message, "Raised an alert, because a host is silent.");
    Ok(())
}

/// Since when the status says that the host is silent, and why.
fn silent_since(status: &HostReportStatus) -> Option<(Timestamp, String)> {
    let silent = find(&status.conditions, Kind::SensorSilent).filter(|silent| silent.status == State::True.as_str())?;
    [SENTINEL_SILENT, SENSOR_DEAD].contains(&silent.reason.as_str()).then(|| (silent.last_transition_time.0, silent.message.clone()))
}
