//! The host's service in Nova: what stood there before, what must stand there, and how release puts it back.

use crate::api::quarantine::HostBefore;
use crate::inventory::{ComputeService, ServiceState, ServiceStatus, mark};

/// The prefix of the reasons that nova-compute itself writes when it loses its hypervisor, and lifts when it is back.
const NOVAS_OWN: &str = "AUTO:";

/// A write to the host's service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Disable it with this reason. Without one, Nova keeps it disabled with no reason.
    Disable(Option<String>),
    /// Enable it.
    Enable,
}

/// What to remember of the service before Sidestep's first write. Where it carries the mark of an earlier object of Sidestep's, what that mark says counts, and `earlier_reason` is what
/// that object remembered.
#[must_use]
pub(super) fn before_of(service: &ComputeService, earlier_reason: Option<&str>) -> HostBefore {
    let found = mark::found(service, earlier_reason);
    HostBefore { service_id: service.id.0.clone(), disabled_before: found.disabled, disabled_reason_before: found.reason }
}

/// The text that Nova's disabled reason must have.
pub(super) fn reason_text(uid: &str, before: &HostBefore, reason: &str) -> String {
    mark::Mark { uid: uid.to_owned(), disabled_before: before.disabled_before, reason: reason.to_owned() }.text()
}

/// Whether the service is disabled by this object.
pub(super) fn is_ours(service: &ComputeService, uid: &str) -> bool {
    mark::Mark::on(service).is_some_and(|mark| mark.uid == uid)
}

/// What release has to write, and the sentence that says what came of it.
pub(super) enum Restoration {
    /// This write first.
    Write(Write),
    /// Nothing to write; what stands there is final.
    Done {
        /// The reason of condition Released.
        reason: &'static str,
        /// The sentence.
        message: String,
    },
}

/// What release has to do with the service as it stands now.
pub(super) fn restoration(service: &ComputeService, uid: &str, before: &HostBefore) -> Restoration {
    let reason_before = before.disabled_reason_before.as_deref();
    if !is_ours(service, uid) {
        return not_ours(service, before, reason_before);
    }
    let by_nova = reason_before.is_some_and(|text| text.starts_with(NOVAS_OWN));
    if !before.disabled_before || (by_nova && service.state == ServiceState::Up) {
        return Restoration::Write(Write::Enable);
    }
    if by_nova {
        // nova-compute would lift its own reason when its hypervisor is back, so it gets it back.
        return Restoration::Write(Write::Disable(reason_before.map(ToOwned::to_owned)));
    }
    Restoration::Write(Write::Disable(reason_before.map(ToOwned::to_owned)))
}

/// The service is not disabled by this object (any more): either release has been carried out, or somebody else changed it.
fn not_ours(service: &ComputeService, before: &HostBefore, reason_before: Option<&str>) -> Restoration {
    let now = service.disabled_reason.as_deref().filter(|text| !text.is_empty());
    if service.status == ServiceStatus::Enabled {
        return Restoration::Done { reason: "Enabled", message: format!("host {} is enabled", service.host) };
    }
    if before.disabled_before && now == reason_before {
        let why = now.map_or_else(|| "without a reason, as it was before".to_owned(), |text| format!("with the reason that stood there before: {text}"));
        return Restoration::Done { reason: "DisabledAsBefore", message: format!("host {} stays disabled {why}", service.host) };
    }
    Restoration::Done {
        reason: "DisabledByOthers",
        message: format!(
            "host {} stays disabled: its reason is not Sidestep's any more ({}), so somebody else decides about it",
            service.host,
            now.unwrap_or("none")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::ServiceId;

    fn service(status: ServiceStatus, reason: Option<&str>) -> ComputeService {
        ComputeService {
            id: ServiceId("s-1".into()),
            host: "cmp-1".into(),
            status,
            state: ServiceState::Up,
            disabled_reason: reason.map(Into::into),
            forced_down: false,
        }
    }

    fn ours(before: &HostBefore) -> ComputeService {
        service(ServiceStatus::Disabled, Some(&reason_text("u-1", before, "why")))
    }

    fn before(disabled: bool, reason: Option<&str>) -> HostBefore {
        HostBefore { service_id: "s-1".into(), disabled_before: disabled, disabled_reason_before: reason.map(Into::into) }
    }

    fn write(service: &ComputeService, before: &HostBefore) -> Option<Write> {
        match restoration(service, "u-1", before) {
            Restoration::Write(write) => Some(write),
            Restoration::Done { .. } => None,
        }
    }

    #[test]
    fn release_enables_a_host_that_sidestep_disabled() {
        let earlier = before(false, None);
        assert_eq!(write(&ours(&earlier), &earlier), Some(Write::Enable));
    }

    #[test]
    fn release_restores_the_reason_of_somebody_elses_maintenance() {
        let earlier = before(true, Some("disk swap"));
        assert_eq!(write(&ours(&earlier), &earlier), Some(Write::Disable(Some("disk swap".into()))));
        let silent = before(true, None);
        assert_eq!(write(&ours(&silent), &silent), Some(Write::Disable(None)));
    }

    #[test]
    fn a_host_that_nova_compute_itself_had_disabled_is_enabled_when_it_is_up() {
        let earlier = before(true, Some("AUTO: Connection to libvirt lost: 1"));
        let mut row = ours(&earlier);
        assert_eq!(write(&row, &earlier), Some(Write::Enable));
        row.state = ServiceState::Down;
        assert_eq!(write(&row, &earlier), Some(Write::Disable(earlier.disabled_reason_before.clone())));
    }

    #[test]
    fn release_writes_nothing_over_somebody_elses_reason() {
        let earlier = before(false, None);
        assert_eq!(write(&service(ServiceStatus::Disabled, Some("burned down")), &earlier), None);
        assert_eq!(write(&service(ServiceStatus::Enabled, None), &earlier), None);
    }

    #[test]
    fn what_was_before_an_earlier_object_is_carried_over() {
        let first = before(false, None);
        let marked = service(ServiceStatus::Disabled, Some(&reason_text("u-0", &first, "first")));
        assert!(!before_of(&marked, None).disabled_before);
        let maintenance = before(true, Some("disk swap"));
        let marked = service(ServiceStatus::Disabled, Some(&reason_text("u-0", &maintenance, "first")));
        assert_eq!(before_of(&marked, Some("disk swap")).disabled_reason_before.as_deref(), Some("disk swap"));
    }
}
