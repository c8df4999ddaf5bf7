//! The next state of a run: from its status, what Nova shows, and what the quarantine and the limits allow.

mod consider;
mod draft;
mod end;
mod follow;

use std::time::Duration;

use jiff::Timestamp;

use super::{Absence, ServerSight, open_attempt};
use crate::api::condition::{Kind, State, find};
use crate::api::run::{MigrationRunStatus, MoveKind};
use crate::inventory::{HostName, MigrationProgress, NovaMigration, Server, ServerId, ServerStatus};
pub use consider::is_due;
use draft::Draft;

/// What does not change about a run while it is decided on.
#[derive(Clone, Debug)]
pub struct Run {
    /// The server.
    pub server: ServerId,
    /// The host that it leaves.
    pub source: HostName,
    /// How often it is tried.
    pub max_attempts: u32,
    /// The longest that one attempt may take once Nova has begun with it.
    pub deadline: Duration,
    /// How long a copy may take while other servers wait.
    pub completion_timeout: Duration,
    /// Whether the server is a node of the cluster that Sidestep itself runs in: it is never moved cold.
    pub is_own_node: bool,
    /// Whether a refused destination may be replaced by another: not where a person named it.
    pub may_choose: bool,
    /// The generation of the spec.
    pub generation: Option<i64>,
}

/// Whether the run may ask for something new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// New requests may go out.
    Permits,
    /// Not now.
    Holds {
        /// A PascalCase word for the condition, where the phase does not say enough.
        reason: Option<&'static str>,
        /// A sentence.
        message: String,
        /// When to look again, where that is known.
        until: Option<Timestamp>,
    },
    /// Never again; the sentence says why. What runs is followed to its end.
    Over(String),
    /// It must not begin: made by hand, against what holds for it. A word and a sentence. What has begun is followed to its end.
    Refuses(&'static str, String),
}

impl Standing {
    /// Not now, for a reason that the phase says well enough.
    #[must_use]
    pub fn holds(message: impl Into<String>) -> Self {
        Self::Holds { reason: None, message: message.into(), until: None }
    }
}

/// Whether what is under way shall end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// It goes on.
    #[default]
    GoOn,
    /// What Nova still shows as queued is taken back.
    WithdrawQueued,
    /// All of it ends, running copies too.
    AbortAll,
}

/// Where the next attempt goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// To this host.
    Host(HostName),
    /// Wherever Nova's scheduler sends it.
    Scheduler,
}

/// What was seen for one decision.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Where Nova shows the server.
    pub server: ServerSight,
    /// Whether a list of the source, begun after the attempt was written, contains the server. Absent when there is no such list yet.
    pub listed_on_source: Option<bool>,
    /// The server's migration records, newest first or in any order.
    pub rows: Vec<NovaMigration>,
    /// The latest sample of the byte counters of the attempt's record.
    pub progress: Option<MigrationProgress>,
    /// Nova's own words for the failure of the attempt. Empty when Nova gave none, absent when nobody asked.
    pub failure: Option<String>,
    /// Two reads without a trace of the attempt.
    pub absence: Option<Absence>,
    /// Whether it may ask for something new. Read only while no attempt is open.
    pub standing: Standing,
    /// Where the next attempt goes. Read only while no attempt is open and something new may be asked for.
    pub choice: Choice,
    /// Whether what is under way shall end, by the quarantine's word.
    pub wish: Wish,
    /// Whether a person has ended this run for good.
    pub aborted: bool,
    /// Why the destination of the open attempt should not get the server any more; absent while it may.
    pub unfit: Option<String>,
    /// Whether other servers wait for their turn at this source.
    pub others_wait: bool,
    /// Whether something that Nova depends on seems to be down: what fails before anything was copied uses up no attempt.
    pub braked: bool,
}

/// What to do beside writing the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// The status holds a new attempt: write it with the object's resourceVersion as precondition, then ask Nova.
    Ask,
    /// The status says that the attempt's end was asked for: write it, then ask Nova to abort this migration.
    Abort(i64),
    /// The status says that the cold migration was confirmed: write it, then confirm it.
    Confirm,
}

/// The result of a decision.
#[derive(Clone, Debug)]
pub struct Next {
    /// The status to write, if it differs.
    pub status: MigrationRunStatus,
    /// What to do.
    pub step: Step,
    /// When to look again at the latest, when nothing else happens.
    pub wake: Option<Duration>,
}

/// Whether the run has ended.
#[must_use]
pub fn is_finished(status: &MigrationRunStatus) -> bool {
    find(&status.conditions, Kind::Succeeded).is_some_and(|condition| condition.status != State::Unknown.as_str())
}

/// Decides the next state of a run.
#[must_use]
pub fn decide(run: &Run, status: &MigrationRunStatus, seen: &Observation, now: Timestamp) -> Next {
    if is_finished(status) {
        return Next { status: status.clone(), step: Step::Wait, wake: None };
    }
    let mut draft = Draft::new(run, status, now);
    if open_attempt(status).is_some() {
        draft.follow(seen);
    } else {
        draft.consider(seen);
    }
    draft.finish()
}

/// What stands in a run while its host cannot be looked at: why not, where nothing is under way.
#[must_use]
pub fn unseen(run: &Run, status: &MigrationRunStatus, standing: &Standing, now: Timestamp) -> Next {
    if is_finished(status) || !status.attempts.is_empty() {
        return Next { status: status.clone(), step: Step::Wait, wake: None };
    }
    let mut draft = Draft::new(run, status, now);
    draft.unseen(standing);
    draft.finish()
}

/// How Sidestep moves a server in this state: ACTIVE and PAUSED ones live, SHUTOFF ones cold, and none that Nova is working on or that is in another state.
#[must_use]
pub fn kind_of_move(server: &Server) -> Option<MoveKind> {
    match (&server.status, &server.task_state) {
        (_, Some(_)) => None,
        (ServerStatus::Active | ServerStatus::Paused, None) => Some(MoveKind::Live),
        (ServerStatus::Shutoff, None) => Some(MoveKind::Cold),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod tests;
