//! The wake-ups: which objects a controller has another one look at, when something has changed that concerns them.

use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use super::context::{Context, is_finished};
use crate::api::alert::Decision;
use crate::api::condition::{Kind, State, find, is_true};
use crate::api::{HostAlert, HostQuarantine};
use crate::inventory::HostName;
use crate::kubernetes::guard;

impl Context {
    /// Has every cloud looked at again.
    pub(super) fn wake_clouds(&self) {
        for cloud in self.stores.clouds.state() {
            if let Some(name) = &kube::Resource::meta(&*cloud).name {
                // A receiver is gone only when the operator ends.
                let _ = self.wakes.clouds.send(ObjectRef::new(name));
            }
        }
    }

    /// Wakes everything that concerns a cloud whose view has changed: the cloud, its quarantines, its runs that have not ended, and the alerts that are not decided for good.
    pub(super) fn wake_cloud(&self, name: &str) {
        // A receiver is gone only when the operator ends.
        let _ = self.wakes.clouds.send(ObjectRef::new(name));
        let live = self.cloud(name).ok();
        let watched = |host: HostName| live.as_ref().is_some_and(|live| live.inventory.host(&host).is_some() || live.inventory.host_error(&host).is_some());
        // The others look by themselves at the idle interval.
        let due =
            |quarantine: &HostQuarantine| quarantine.spec.cloud == name && (watched(HostName(quarantine.spec.host.clone())) || waits_for_the_cloud(quarantine));
        for quarantine in guard::select(&self.stores.quarantines, |quarantine| due(quarantine).then(|| quarantine.name_any())) {
            self.wake_from_rest(&quarantine);
            let _ = self.wakes.quarantines.send(ObjectRef::new(&quarantine));
        }
        // What the view of the cloud or its budget stood against may be decided otherwise now.
        let open = |alert: &HostAlert| {
            let decision = alert.status.as_ref().and_then(|status| status.decision);
            matches!(decision, None | Some(Decision::Unmapped | Decision::Stale | Decision::OverBudget))
        };
        for alert in guard::select(&self.stores.alerts, |alert| open(alert).then(|| alert.name_any())) {
            let _ = self.wakes.alerts.send(ObjectRef::new(&alert));
        }
        // A run that stands further back in the queue of its source is woken when it is among the next.
        for run in self.stores.runs.state().iter().filter_map(|object| object.0.as_ref().ok()).filter(|run| run.spec.cloud == name && !is_finished(run)) {
            let run = run.name_any();
            if self.slots.is_near(&run) {
                self.wake_run(&run);
            }
        }
    }

    /// Wakes the alerts of a cloud that are recorded only: a host may have left the quarantine pool.
    pub(super) fn wake_recorded(&self, name: &str) {
        let recorded = |alert: &HostAlert| {
            let status = alert.status.as_ref()?;
            (status.decision == Some(Decision::Recorded) && status.cloud.as_deref() == Some(name)).then(|| alert.name_any())
        };
        for alert in guard::select(&self.stores.alerts, recorded) {
            let _ = self.wakes.alerts.send(ObjectRef::new(&alert));
        }
    }

    /// Has a run looked at.
    pub(super) fn wake_run(&self, name: &str) {
        // The receiver is gone only when the operator ends.
        let _ = self.wakes.runs.send(ObjectRef::new(name));
    }
}

/// Whether a quarantine waits until its cloud can be asked: its phase stands still for that, and no look of the poller at its host will wake it.
fn waits_for_the_cloud(quarantine: &HostQuarantine) -> bool {
    let conditions = quarantine.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let accepted = find(conditions, Kind::Accepted).map(|condition| condition.status.as_str());
    let released = is_true(conditions, Kind::Released);
    let under_way = is_true(conditions, Kind::Reconciling);
    !released && (accepted.is_none() || accepted == Some(State::Unknown.as_str()) || under_way)
}
