//! The time of a drain: how long moves were permitted, against `spec.deadline`, and what a retry begins anew.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::decide::Draft;
use super::facts::CloudSight;
use super::scope::contest_stops;
use crate::api::condition::{Kind, is_true};
use crate::api::quarantine::{Abort, Retry, TimelineEvent};
use crate::api::units::ResponseAction;

impl Draft<'_> {
    /// Takes note of a new retry token: deadline and attempts begin anew. The token that an object was made with is no retry.
    pub(super) fn take_note_of_retry(&mut self) {
        let token = &self.incident.spec.retry_token;
        let known = self.next.status.retry.as_ref().map(|retry| retry.token.as_str());
        let first = self.next.status.phase.is_none();
        if known.unwrap_or_default() == token {
            return;
        }
        let since = if first { self.incident.created } else { self.now };
        self.next.status.retry = Some(Retry { token: token.clone(), since: MicroTime(since) });
        self.next.status.deadline = None;
    }

    /// Takes the time out of the deadline in which no operator acted, so that nothing could start.
    pub(super) fn leave_out_absence(&mut self) {
        let Some((from, until)) = self.incident.absence else { return };
        let Some(deadline) = self.next.status.deadline.as_mut() else { return };
        let Some(since) = deadline.running_since.as_mut().filter(|since| since.0 < until) else { return };
        let more = i64::try_from(from.duration_since(since.0).as_millis()).unwrap_or_default();
        deadline.used_millis = deadline.used_millis.saturating_add(more.max(0));
        *since = MicroTime(until);
    }

    /// Starts or stops the clock of the deadline. Called last, when the conditions are those of this moment.
    pub(super) fn keep_time(&mut self) {
        let (spec, status) = (self.incident.spec, &self.next.status);
        let permitted = self.incident.deleted.is_none()
            && !spec.suspend
            && spec.abort == Abort::None
            && self.seen.cloud == CloudSight::Usable
            && is_true(&status.conditions, Kind::Accepted)
            && is_true(&status.conditions, Kind::Approved)
            && !is_true(&status.conditions, Kind::Released)
            && status.effective_action == Some(ResponseAction::Drain)
            && self.moment_of(TimelineEvent::CordonVerified).is_some()
            && !contest_stops(spec, status);
        let running = status.deadline.as_ref().and_then(|deadline| deadline.running_since.clone());
        match (permitted, running) {
            (true, None) => self.next.status.deadline.get_or_insert_default().running_since = Some(MicroTime(self.now)),
            (false, Some(since)) => {
                let more = i64::try_from(self.now.duration_since(since.0).as_millis()).unwrap_or_default();
                let deadline = self.next.status.deadline.get_or_insert_default();
                deadline.used_millis = deadline.used_millis.saturating_add(more.max(0));
                deadline.running_since = None;
            }
            _ => {}
        }
    }

    /// Whether the drain has had its time.
    pub(super) fn is_closed(&self) -> bool {
        let Some(deadline) = self.next.status.deadline.as_ref() else { return false };
        let running = deadline.running_since.as_ref().map_or(Duration::ZERO, |since| Duration::try_from(self.now.duration_since(since.0)).unwrap_or_default());
        let used = Duration::from_millis(u64::try_from(deadline.used_millis).unwrap_or_default()).saturating_add(running);
        used > self.incident.spec.deadline.get()
    }
}
