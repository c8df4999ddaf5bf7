//! Exposure: server-seconds on the suspect host. A closed sum, and how many servers still count since when, so that it is written only when that number changes.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::decide::Draft;
use crate::api::quarantine::Exposure;
use crate::api::units::Scope;
use crate::inventory::HostView;

impl Draft<'_> {
    /// Counts the servers of a list. Where nothing is suspected there is no exposure.
    pub(super) fn expose(&mut self, view: &HostView) {
        let known = self.next.status.measured.as_ref().and_then(|measured| measured.exposure.clone());
        if known.is_none() && self.scope() == Scope::Maintenance {
            return;
        }
        let servers = u32::try_from(view.servers.len()).unwrap_or(u32::MAX);
        let exposure = match known {
            // What left between the first alert and the first list is not known.
            None => Exposure { server_seconds: 0, servers, since: (servers > 0).then(|| MicroTime(self.suspected_since())) },
            Some(known) if known.servers == servers => return,
            Some(known) => Exposure { server_seconds: sum(&known, view.begun_at), servers, since: (servers > 0).then_some(MicroTime(view.begun_at)) },
        };
        self.next.status.measured.get_or_insert_default().exposure = Some(exposure);
    }

    /// Closes the sum: the incident is over, whatever is left on the host.
    pub(super) fn close_exposure(&mut self) {
        let now = self.now;
        if let Some(exposure) = self.next.status.measured.as_mut().and_then(|measured| measured.exposure.as_mut()) {
            *exposure = Exposure { server_seconds: sum(exposure, now), servers: 0, since: None };
        }
    }

    /// From when on servers were exposed: the first alert's earliest moment, or the making of this object; where the suspicion came later, from now on.
    fn suspected_since(&self) -> Timestamp {
        if self.incident.spec.scope == Scope::Maintenance {
            return self.now;
        }
        self.incident.alert_moments.iter().map(|entry| entry.time.0).min().unwrap_or(self.incident.created)
    }
}

fn sum(exposure: &Exposure, until: Timestamp) -> i64 {
    let seconds = exposure.since.as_ref().map_or(0, |since| until.duration_since(since.0).as_secs().max(0));
    exposure.server_seconds.saturating_add(seconds.saturating_mul(i64::from(exposure.servers)))
}
