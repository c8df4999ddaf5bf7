//! Removes what is older than `spec.retention`: alerts that nothing was heard of for a while, and runs that have ended and whose incident is over.
//!
//! What still matters stays: an alert that is part of an active quarantine, and the runs of an incident that was not given back yet, which say how often each server was tried. HostQuarantines are never removed: they
//! are the record, and people's.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Preconditions};
use kube::core::ClusterResourceScope;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::api::cloud::Retention;
use crate::api::condition::{Kind, find, is_true};
use crate::api::{HostAlert, MigrationRun, OpenStackCloud};
use crate::kubernetes::{answer, guard};
use crate::operator::context::{Context, is_finished};
use crate::operator::failure::Failure;

/// So many objects are removed in one go; the next look removes more.
const AT_ONCE: usize = 50;

/// An object as it was when it was found to be old.
struct Old {
    name: String,
    uid: Option<String>,
    version: Option<String>,
}

impl Old {
    fn of<K: Resource>(object: &K) -> Self {
        Self { name: object.name_any(), uid: object.meta().uid.clone(), version: object.meta().resource_version.clone() }
    }
}

/// Removes what is old of a cloud.
pub(super) async fn sweep(context: &Context, cloud: &OpenStackCloud, now: Timestamp) -> Result<(), Failure> {
    let (name, Retention { alerts, runs }) = (cloud.name_any(), cloud.spec.retention);
    let old = guard::select(&context.stores.alerts, |alert| is_old_alert(context, alert, &name, alerts.get(), now).then(|| Old::of(alert)));
    remove::<HostAlert>(context, old).await?;
    let old = guard::select(&context.stores.runs, |run| is_old_run(context, run, &name, runs.get(), now).then(|| Old::of(run)));
    remove::<MigrationRun>(context, old).await
}

fn is_old_alert(context: &Context, alert: &HostAlert, cloud: &str, kept: Duration, now: Timestamp) -> bool {
    let Some(status) = alert.status.as_ref().filter(|status| status.cloud.as_deref() == Some(cloud)) else { return false };
    let entries = alert.metadata.managed_fields.iter().flatten();
    let Some(written) = entries.filter(|entry| entry.subresource.is_none()).filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max() else {
        return false;
    };
    is_older(written, kept, now) && status.quarantine.as_deref().is_none_or(|quarantine| is_over(context, quarantine))
}

fn is_old_run(context: &Context, run: &MigrationRun, cloud: &str, kept: Duration, now: Timestamp) -> bool {
    let conditions = run.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ended = find(conditions, Kind::Succeeded).map(|condition| condition.last_transition_time.0);
    run.spec.cloud == cloud
        && run.metadata.deletion_timestamp.is_none()
        && is_finished(run)
        && ended.is_some_and(|ended| is_older(ended, kept, now))
        && is_over(context, &run.spec.quarantine)
}

/// Whether an incident was given back, or its object is gone.
fn is_over(context: &Context, quarantine: &str) -> bool {
    let released =
        guard::read(&context.stores.quarantines, quarantine, |object| object.status.as_ref().is_some_and(|status| is_true(&status.conditions, Kind::Released)));
    released.unwrap_or(true)
}

fn is_older(at: Timestamp, kept: Duration, now: Timestamp) -> bool {
    SignedDuration::try_from(kept).is_ok_and(|kept| now.duration_since(at) > kept)
}

/// Removes objects, each only if it is still as it was seen.
async fn remove<K>(context: &Context, old: Vec<Old>) -> Result<(), Failure>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    for Old { name, uid, version } in old.into_iter().take(AT_ONCE) {
        let params = DeleteParams { preconditions: Some(Preconditions { uid, resource_version: version }), ..DeleteParams::default() };
        match answer(context.api::<K>().delete(&name, &params)).await {
            Ok(_) => tracing::debug!(kind = %K::kind(&()), name, "Removed an object that was kept as long as spec.retention says."),
            // Gone, or changed: then it is looked at again.
            Err(kube::Error::Api(refusal)) if matches!(refusal.code, 404 | 409) => {}
            Err(error) => return Err(Failure::kubernetes(format!("remove {} {name}, which is older than spec.retention", K::kind(&())))(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exactly_as_old_as_it_is_kept_stays() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(!is_older(at(0), Duration::from_secs(10), at(10)));
        assert!(is_older(at(0), Duration::from_secs(10), at(11)));
        assert!(!is_older(at(100), Duration::from_secs(10), at(11)), "a clock that was set back removes nothing");
    }
}
