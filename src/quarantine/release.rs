//! How an incident ends: release gives the host back, deletion follows what runs to its end and keeps the cordon.

use std::time::Duration;

use jiff::Timestamp;

use super::cordon::{self, Restoration};
use super::decide::Draft;
use super::drain::RunState;
use super::facts::{Action, CloudSight, Pace, ServiceSight};
use super::later;
use crate::api::condition::{Kind, State};
use crate::api::quarantine::{DeletionPolicy, Phase, TimelineEvent};
use crate::api::units::Scope;

/// How long an object that is being deleted waits for a cloud that cannot be reached, or that does not give its host back, from the moment when it began to.
const DELETION_PATIENCE: Duration = Duration::from_secs(600);

/// How far the giving back of a host is.
enum Restored {
    /// A write is due, or a look; why.
    NotYet(&'static str, String, Pace),
    /// Done; why.
    Done(&'static str, String),
}

impl Draft<'_> {
    /// Gives the host back.
    pub(super) fn release(&mut self) {
        match self.restore() {
            Restored::NotYet(reason, message, pace) => {
                self.set(Kind::Released, State::False, "Releasing", "");
                self.phase(Phase::Releasing, reason, &message);
                self.next.pace = pace;
            }
            Restored::Done(reason, message) => self.released(reason, &message),
        }
    }

    /// Puts the service back as it was before, one step at a time.
    fn restore(&mut self) -> Restored {
        let Some(before) = self.next.status.host.clone() else {
            return Restored::Done("NothingToRestore", "Sidestep had not written to this host".to_owned());
        };
        if let CloudSight::Unusable { reason: _, message } = &self.seen.cloud {
            return Restored::NotYet("CloudUnusable", message.clone(), Pace::Soon);
        }
        let service = match self.service() {
            ServiceSight::Unseen => return Restored::NotYet("Looking", "looking at the host before giving it back".to_owned(), Pace::Now),
            ServiceSight::NotOne(0) => {
                return Restored::Done("ServiceGone", "Nova has no compute service of this name any more: there is none to give back".to_owned());
            }
            ServiceSight::NotOne(rows) => {
                let host = &self.incident.spec.host;
                let message = format!("Nova has {rows} compute services named {host:?}: delete those that are not the host's, and it is given back");
                return Restored::NotYet("ServiceAmbiguous", message, Pace::Idle);
            }
            ServiceSight::One(service, _) => service.clone(),
        };
        match cordon::restoration(&service, self.incident.uid, &before) {
            Restoration::Write(write) => {
                self.next.actions.push(Action::WriteService(service.id, write));
                match self.next.memory.refused.clone() {
                    Some(words) => Restored::NotYet("ReleaseRefused", format!("Nova refuses to give the host back: {words}. It is asked again"), Pace::Idle),
                    None => Restored::NotYet("Releasing", "giving the host back".to_owned(), Pace::Now),
                }
            }
            Restoration::Done { reason, message } => Restored::Done(reason, message),
        }
    }

    fn released(&mut self, reason: &str, message: &str) {
        let release = &self.incident.spec.release;
        let by = if release.approved_by.is_empty() { String::new() } else { format!(" by {}", release.approved_by) };
        let message = format!("{message}; given back{by} as {}", release.verdict.as_str());
        self.moment(TimelineEvent::Released);
        self.close_exposure();
        self.measure();
        self.settle();
        self.set(Kind::Cordoned, State::False, "Released", "");
        self.set(Kind::Contested, State::False, "NotContested", "");
        self.set(Kind::Blocked, State::False, "NotBlocked", "");
        self.set(Kind::Released, State::True, reason, &message);
        self.phase(Phase::Released, reason, &message);
        self.next.pace = Pace::Never;
    }

    /// The last figures: what waited is superseded, copies that run say themselves how they end, and nothing is a resident of a host in service.
    fn settle(&mut self) {
        if let Some(progress) = self.next.status.progress.as_mut() {
            (progress.waiting, progress.running) = (0, 0);
        }
        self.report_residents(Vec::new());
    }

    /// Follows what runs to its end, seals the figures, and keeps the cordon, unless nothing was ever suspected and the object's maker said otherwise.
    pub(super) fn delete(&mut self, deleted: Timestamp) {
        if let Some(view) = self.list() {
            self.expose(view);
        }
        // An overdue one is not waited for; its own finalizer follows it on.
        let open = self.seen.runs.iter().filter(|run| matches!(run.state, RunState::Open | RunState::Queued)).count();
        let usable = self.seen.cloud == CloudSight::Usable;
        let followed = usable && open > 0 && later(deleted, self.incident.spec.deadline.get()) > self.now;
        let waits = if followed || (open > 0 && !usable) {
            let message = format!("being deleted: nothing new starts; {open} moves are followed to their end; the host stays as it is");
            Some((message, Pace::Active))
        } else {
            self.give_back_if_wanted()
        };
        if followed {
            self.next.memory.waits_since = None;
        }
        if let Some((message, pace)) = waits
            && (followed || self.is_patient())
        {
            return self.deleting(&message, pace);
        }
        self.close_exposure();
        self.measure();
        self.next.actions.push(Action::RemoveFinalizer);
        self.next.pace = Pace::Never;
    }

    /// Gives the host back where deleting does. What it still waits for, if it does.
    fn give_back_if_wanted(&mut self) -> Option<(String, Pace)> {
        if !self.gives_back() {
            return None;
        }
        match self.restore() {
            Restored::NotYet(_, message, pace) => Some((format!("being deleted: {message}"), pace)),
            Restored::Done(reason, message) => {
                self.moment(TimelineEvent::Released);
                self.set(Kind::Released, State::True, reason, &message);
                None
            }
        }
    }

    /// Whether an object that is being deleted still waits for a cloud that does not answer, or does not do what it is asked.
    fn is_patient(&mut self) -> bool {
        let since = *self.next.memory.waits_since.get_or_insert(self.now);
        later(since, DELETION_PATIENCE) > self.now
    }

    fn deleting(&mut self, message: &str, pace: Pace) {
        let current = self.next.status.phase.unwrap_or(Phase::Pending);
        self.phase(current, "Deleting", message);
        self.next.pace = pace;
    }

    /// Whether deleting gives the host back: its maker said so, and neither the spec nor an alert suspects anything.
    fn gives_back(&self) -> bool {
        let spec = self.incident.spec;
        spec.deletion_policy == DeletionPolicy::Release && spec.scope == Scope::Maintenance && self.scope() == Scope::Maintenance
    }
}
