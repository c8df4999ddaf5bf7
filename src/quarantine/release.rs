//! How an incident ends: release gives the host back, deletion follows what runs to its end and keeps the cordon.

use std::time::Duration;

use jiff::Timestamp;

use super::cordon::{self, Restoration};
use super::decide::{Action, CloudSight, Draft, Pace, ServiceSight, later};
use super::drain::RunState;
use crate::api::condition::{Kind, State};
use crate::api::quarantine::{Phase, TimelineEvent};

/// How long an object that is being deleted waits for a cloud that cannot be reached.
const DELETION_PATIENCE: Duration = Duration::from_secs(600);

impl Draft<'_> {
    /// Gives the host back.
    pub(super) fn release(&mut self) {
        let Some(before) = self.next.status.host.clone() else {
            self.released("NothingToRestore", "Sidestep had not written to this host");
            return;
        };
        if let CloudSight::Unusable { reason, message } = &self.seen.cloud {
            self.phase(Phase::Releasing, reason, message);
            return;
        }
        let service = match self.service() {
            ServiceSight::Unseen => {
                self.phase(Phase::Releasing, "Looking", "looking at the host before giving it back");
                self.next.pace = Pace::Now;
                return;
            }
            ServiceSight::NotOne(rows) => {
                self.released("ServiceGone", &format!("Nova has {rows} compute services of this name: there is none to give back"));
                return;
            }
            ServiceSight::One(service, _) => service.clone(),
        };
        match cordon::restoration(&service, self.incident.uid, &before) {
            Restoration::Write(write) => {
                self.next.actions.push(Action::WriteService(service.id, write));
                self.phase(Phase::Releasing, "Releasing", "giving the host back");
                self.next.pace = Pace::Now;
            }
            Restoration::Done { reason, message } => self.released(reason, &message),
        }
    }

    fn released(&mut self, reason: &str, message: &str) {
        self.moment(TimelineEvent::Released);
        self.set(Kind::Cordoned, State::False, "Released", "");
        self.set(Kind::Contested, State::False, "NotContested", "");
        self.set(Kind::Blocked, State::False, "NotBlocked", "");
        self.set(Kind::Released, State::True, reason, message);
        self.phase(Phase::Released, reason, message);
        self.next.pace = Pace::Never;
    }

    /// Follows what runs to its end and keeps the cordon.
    pub(super) fn delete(&mut self, deleted: Timestamp) {
        let open = self.seen.runs.iter().filter(|run| matches!(run.state, RunState::Open | RunState::Overdue(_))).count();
        let patient = later(deleted, DELETION_PATIENCE) > self.now;
        if open > 0 && (self.seen.cloud == CloudSight::Usable || patient) {
            let message = format!("being deleted: nothing new starts; {open} moves are followed to their end; the host stays as it is");
            let current = self.next.status.phase.unwrap_or(Phase::Pending);
            self.phase(current, "Deleting", &message);
            self.next.pace = Pace::Active;
            return;
        }
        self.next.actions.push(Action::RemoveFinalizer);
        self.next.pace = Pace::Never;
    }
}
