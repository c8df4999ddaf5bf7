//! Exposure: server-seconds on the suspect host. A closed sum, and how many servers still count since when, so that it is written only when that number changes.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::decide::Draft;
use crate::api::quarantine::Exposure;
use crate::api::units::{ClockName, Scope};
use crate::inventory::HostView;

/// Microseconds in a second.
const MICROS: i128 = 1_000_000;

impl Draft<'_> {
    /// Counts the servers of a list. Where nothing is suspected there is no exposure.
    pub(super) fn expose(&mut self, view: &HostView) {
        let known = self.next.status.measured.as_ref().and_then(|measured| measured.exposure.clone());
        if known.is_none() && self.scope() == Scope::Maintenance {
            return;
        }
        let servers = u32::try_from(view.servers.len()).unwrap_or(u32::MAX);
        let mut exposure = match known {
            // What left between the first alert and the first list is not known.
            None => Exposure { since: Some(MicroTime(self.suspected_since())), ..Exposure::default() },
            // An older list says nothing that the later one did not.
            Some(known) if known.servers == servers || known.since.as_ref().is_some_and(|since| view.begun_at < since.0) => return,
            Some(known) => advanced(&known, view.begun_at),
        };
        exposure.servers = servers;
        exposure.since = exposure.since.filter(|_| servers > 0);
        self.next.status.measured.get_or_insert_default().exposure = Some(exposure);
    }

    /// Closes the sum: the incident is over, whatever is left on the host.
    pub(super) fn close_exposure(&mut self) {
        let now = self.now;
        if let Some(exposure) = self.next.status.measured.as_mut().and_then(|measured| measured.exposure.as_mut()) {
            *exposure = Exposure { servers: 0, since: None, ..advanced(exposure, now) };
        }
    }

    /// From when on servers were exposed: when the first alert was received, or the making of this object; where the suspicion came later, from now on. What the node's clock says is not compared with ours.
    fn suspected_since(&self) -> Timestamp {
        if self.incident.spec.scope == Scope::Maintenance {
            return self.now;
        }
        let ours = self.incident.alert_moments.iter().filter(|entry| entry.clock == ClockName::Operator);
        ours.map(|entry| entry.time.0).min().unwrap_or(self.incident.created)
    }
}

/// The sum up to a moment, with as many servers since then.
fn advanced(exposure: &Exposure, until: Timestamp) -> Exposure {
    let passed = exposure.since.as_ref().map_or(0, |since| until.duration_since(since.0).as_micros().max(0));
    let micros = passed.saturating_mul(i128::from(exposure.servers)).saturating_add(i128::from(exposure.remainder_micros));
    let seconds = i64::try_from(micros / MICROS).unwrap_or(i64::MAX);
    Exposure {
        server_seconds: exposure.server_seconds.saturating_add(seconds),
        remainder_micros: i64::try_from(micros % MICROS).unwrap_or_default(),
        servers: exposure.servers,
        since: Some(MicroTime(until)),
    }
}
