//! The host's service in Nova: what stood there before, what must stand there, what to do when somebody else changes it, and how release puts it back.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::decide::Draft;
use super::facts::{Action, Pace};
use super::later;
use crate::api::condition::{Kind, State};
use crate::api::quarantine::{Contest, HostBefore, Phase, TimelineEvent};
use crate::api::units::Scope;
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
    HostBefore {
        service_id: service.id.0.clone(),
        disabled_before: found.disabled,
        disabled_reason_before: found.reason,
        state: Some(state_word(service).to_owned()),
        status: Some(status_word(service).to_owned()),
    }
}

fn state_word(service: &ComputeService) -> &'static str {
    match service.state {
        ServiceState::Up => "up",
        ServiceState::Down => "down",
    }
}

fn status_word(service: &ComputeService) -> &'static str {
    match service.status {
        ServiceStatus::Enabled => "enabled",
        ServiceStatus::Disabled => "disabled",
    }
}

/// The text that Nova's disabled reason must have.
pub(super) fn reason_text(uid: &str, before: &HostBefore, reason: &str) -> String {
    let earlier = before.disabled_reason_before.clone();
    mark::Mark { uid: uid.to_owned(), disabled_before: before.disabled_before, reason: reason.to_owned(), earlier }.text()
}

/// Whether the service is disabled by this object.
pub(super) fn is_ours(service: &ComputeService, uid: &str) -> bool {
    mark::Mark::on(service).is_some_and(|mark| mark.uid == uid)
}

/// Whether a person keeps the host out of service, with a reason of their own or without one. nova-compute's own reason is no person's: it lifts that by itself.
fn is_kept_by_a_person(service: &ComputeService) -> bool {
    let by_nova = service.disabled_reason.as_deref().is_some_and(|text| text.starts_with(NOVAS_OWN));
    service.status == ServiceStatus::Disabled && mark::Mark::on(service).is_none() && !by_nova
}

/// Whether the service is disabled as Sidestep found it.
fn stands_as_before(service: &ComputeService, before: &HostBefore) -> bool {
    let reason = service.disabled_reason.as_deref().filter(|text| !text.is_empty());
    before.disabled_before && reason == before.disabled_reason_before.as_deref()
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
    // Also nova-compute's own reason: it lifts that itself when its hypervisor is back.
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
        if reason_before.is_some_and(|text| text.starts_with(NOVAS_OWN)) {
            let message = format!(
                "host {} stays disabled {why}. nova-compute wrote that itself when it lost its hypervisor, and is down now: start it; it lifts the reason when its hypervisor is back. If it does not: openstack compute service set --enable {} nova-compute",
                service.host, service.host
            );
            return Restoration::Done { reason: "NovaComputeDown", message };
        }
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

/// The pauses before Sidestep disables a host again that somebody else changed.
const CONTEST_PAUSES: [Duration; 3] = [Duration::from_secs(60), Duration::from_secs(120), Duration::from_secs(240)];

/// Whether the host is to be disabled again now; notes when it is.
fn disable_now(contest: &mut Contest, now: Timestamp) -> bool {
    let since = contest.since.as_ref().map_or(now, |since| since.0);
    let tries = usize::try_from(contest.disabled_again).unwrap_or(usize::MAX);
    let due = CONTEST_PAUSES.get(tries).is_some_and(|pause| later(since, *pause) <= now);
    if due {
        contest.disabled_again = contest.disabled_again.saturating_add(1);
        contest.since = Some(MicroTime(now));
    }
    due
}

impl Draft<'_> {
    /// Brings the service out of service and verifies it. True when the host may be drained.
    pub(super) fn cordon(&mut self, service: &ComputeService) -> bool {
        let before = self.next.status.host.get_or_insert_with(|| before_of(service, self.seen.earlier_reason)).clone();
        let ours = is_ours(service, self.incident.uid);
        let begun_at = self.seen.view.map(|view| view.begun_at);
        if let Some(verified) = self.moment_of(TimelineEvent::CordonVerified) {
            // An older look says nothing about what happened since.
            if begun_at >= Some(verified) {
                self.judge_cordon(service, ours, &before);
            }
            return true;
        }
        // Somebody may have been faster, or have done what Nova refuses to Sidestep.
        let is_out = ours || (is_kept_by_a_person(service) && !stands_as_before(service, &before));
        if is_out && self.moment_of(TimelineEvent::CordonRequested).is_some_and(|requested| begun_at >= Some(requested)) {
            self.moment(TimelineEvent::CordonVerified);
            self.judge_cordon(service, ours, &before);
            return true;
        }
        self.moment(TimelineEvent::CordonRequested);
        self.disable(service, &before);
        if let Some(words) = self.next.memory.refused.clone() {
            let message = format!("Nova refuses to disable the host: {words}. It is asked again; nothing is moved before the host is out of service");
            self.set(Kind::Cordoned, State::False, "CordonRefused", &message);
            self.blocked("CordonRefused", &message);
        } else {
            self.phase(Phase::Cordoning, "Cordoning", "disabling the host's compute service");
            self.next.pace = Pace::Now;
        }
        false
    }

    fn disable(&mut self, service: &ComputeService, before: &HostBefore) {
        let reason = reason_text(self.incident.uid, before, &self.incident.spec.reason);
        self.next.actions.push(Action::WriteService(service.id.clone(), Write::Disable(Some(reason))));
    }

    fn judge_cordon(&mut self, service: &ComputeService, ours: bool, before: &HostBefore) {
        let host = &self.incident.spec.host;
        if let Some(row) = self.next.status.host.as_mut() {
            row.state = Some(state_word(service).to_owned());
            row.status = Some(status_word(service).to_owned());
        }
        if ours || is_kept_by_a_person(service) {
            if let Some(row) = self.next.status.host.as_mut() {
                row.service_id.clone_from(&service.id.0);
            }
            if let Some(contest) = self.next.status.contest.as_mut() {
                contest.since = None;
            }
            if ours {
                self.set(Kind::Cordoned, State::True, "Disabled", &format!("Nova shows {host} disabled by this object"));
            } else {
                // Their word goes before ours: nothing is written over it, and release leaves it.
                let reason = service.disabled_reason.as_deref().filter(|text| !text.is_empty()).unwrap_or("none");
                let message = format!("somebody else has disabled {host} meanwhile (reason: {reason}): it is out of service, and stays so after release");
                self.set(Kind::Cordoned, State::True, "DisabledByOthers", &message);
            }
            self.set(Kind::Contested, State::False, "NotContested", "");
            return;
        }
        let (reason, what) = if service.id.0 == before.service_id {
            ("Contested", "somebody else changed the compute service of")
        } else {
            ("ServiceReplaced", "the compute service was deleted and registered again on")
        };
        self.moment(TimelineEvent::Contested);
        let (reason, then) = self.contest(service, before, reason);
        let message = format!("{what} {host} (Nova does not say who). {then}; to leave it in service, release this object");
        self.set(Kind::Cordoned, State::False, reason, &message);
        self.set(Kind::Contested, State::True, reason, &message);
    }

    /// What is done about the dispute: one word and a sentence.
    fn contest(&mut self, service: &ComputeService, before: &HostBefore, reason: &'static str) -> (&'static str, String) {
        if self.scope() == Scope::Maintenance {
            return (reason, "Nothing is suspected of the host, so the drain stops".to_owned());
        }
        let held = self.is_held();
        let contest = self.next.status.contest.get_or_insert_default();
        contest.since.get_or_insert(MicroTime(self.now));
        let again = !held && disable_now(contest, self.now);
        let tries = usize::try_from(contest.disabled_again).unwrap_or(usize::MAX);
        if again {
            self.disable(service, before);
            return (reason, "Servers keep moving off it, and Sidestep disables it again now".to_owned());
        }
        let left = CONTEST_PAUSES.len().saturating_sub(tries);
        let moves = if held { "Nothing new starts" } else { "Servers keep moving off it" };
        if left == 0 {
            let reason = if reason == "Contested" { "ContestedRepeatedly" } else { reason };
            return (reason, format!("{moves}, and Sidestep does not disable it again"));
        }
        let when = if held { " once spec.suspend and spec.abort are lifted" } else { "" };
        (reason, format!("{moves}, and Sidestep disables it again{when}, at most {left} times more"))
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
            zone: None,
        }
    }

    fn ours(before: &HostBefore) -> ComputeService {
        service(ServiceStatus::Disabled, Some(&reason_text("u-1", before, "why")))
    }

    fn before(disabled: bool, reason: Option<&str>) -> HostBefore {
        HostBefore { service_id: "s-1".into(), disabled_before: disabled, disabled_reason_before: reason.map(Into::into), state: None, status: None }
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
    fn novas_reason_of_somebody_elses_maintenance_is_restored_at_release() {
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
    fn novas_reason_what_was_before_an_earlier_object_is_carried_over() {
        let first = before(false, None);
        let marked = service(ServiceStatus::Disabled, Some(&reason_text("u-0", &first, "first")));
        assert!(!before_of(&marked, None).disabled_before);
        let maintenance = before(true, Some("disk swap"));
        let marked = service(ServiceStatus::Disabled, Some(&reason_text("u-0", &maintenance, "first")));
        assert_eq!(before_of(&marked, None).disabled_reason_before.as_deref(), Some("disk swap"), "also when the earlier object is gone");
    }
}
