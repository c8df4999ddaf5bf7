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
            self.next.pace = Pace::Soon;
            return;
        }
        let service = match self.service() {
            ServiceSight::Unseen => {
                self.phase(Phase::Releasing, "Looking", "looking at the host before giving it back");
                self.next.pace = Pace::Now;
                return;
            }
            ServiceSight::NotOne(rows) => {
                if rows == 0 {
                    self.released("ServiceGone", "Nova has no compute service of this name any more: there is none to give back");
                } else {
                    let message = format!(
                        "Nova has {rows} compute services named {:?}: delete those that are not the host's, and it is given back",
                        self.incident.spec.host
                    );
                    self.phase(Phase::Releasing, "ServiceAmbiguous", &message);
                }
                return;
            }
            ServiceSight::One(service, _) => service.clone(),
        };
        match cordon::restoration(&service, self.incident.uid, &before) {
            Restoration::Write(write) => {
                self.next.actions.push(Action::WriteService(service.id, write));
                match self.next.memory.refused.clone() {
                    Some(words) => self.phase(Phase::Releasing, "ReleaseRefused", &format!("Nova refuses to give the host back: {words}. It is asked again")),
                    None => {
                        self.phase(Phase::Releasing, "Releasing", "giving the host back");
                        self.next.pace = Pace::Now;
                    }
                }
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
        // An overdue one is not waited for; its own finalizer follows it on.
        let open = self.seen.runs.iter().filter(|run| matches!(run.state, RunState::Open | RunState::Queued)).count();
        let patience = if self.seen.cloud == CloudSight::Usable { self.incident.spec.deadline.get() } else { DELETION_PATIENCE };
        if open > 0 && later(deleted, patience) > self.now {
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
