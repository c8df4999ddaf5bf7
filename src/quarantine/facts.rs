//! What a decision on an incident is taken on, and what it is.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::cordon::Write;
use super::drain::RunFacts;
use crate::api::quarantine::{ResidentReason, TimelineEntry};
use crate::api::units::Scope;
use crate::api::{HostQuarantineSpec, HostQuarantineStatus};
use crate::inventory::{ComputeService, HostName, HostView, ServerId, ServiceId};

/// What does not change during one decision.
#[derive(Clone, Debug)]
pub struct Incident<'a> {
    /// The object's name, for the commands that messages offer.
    pub name: &'a str,
    /// The object's UID, which the mark in Nova carries.
    pub uid: &'a str,
    /// Its spec.
    pub spec: &'a HostQuarantineSpec,
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// When it was created.
    pub created: Timestamp,
    /// When its deletion was asked for, if it was.
    pub deleted: Option<Timestamp>,
    /// The moments before this object existed: the alert's.
    pub alert_moments: &'a [TimelineEntry],
    /// From when until when no operator acted, before this one began to; absent where none ever did before.
    pub absence: Option<(Timestamp, Timestamp)>,
    /// The cloud's active interval: two lists that show an empty host lie at least so far apart.
    pub tick: Duration,
}

/// Whether the cloud can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudSight {
    /// It answers.
    Usable,
    /// It does not, or Sidestep does not know it.
    Unusable {
        /// One PascalCase word.
        reason: String,
        /// The sentence, with the remedy.
        message: String,
    },
}

/// A gate that said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One PascalCase word.
    pub reason: String,
    /// The sentence, with the remedy.
    pub message: String,
    /// Whether asking again cannot change it.
    pub is_final: bool,
}

/// The host's service in the latest look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceSight<'a> {
    /// Exactly one row, and when the look was begun.
    One(&'a ComputeService, Timestamp),
    /// So many rows, which is not one.
    NotOne(usize),
    /// No look yet.
    Unseen,
}

/// What later alerts on the host, which joined this object, ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The strictest scope among the decisions; absent when no alert has joined.
    pub scope: Option<Scope>,
    /// When the latest decision that asked for a drain was taken.
    pub drain: Option<Timestamp>,
    /// Whether an alert was received after this object was made: a decision that is newer than its trigger.
    pub is_new: bool,
}

/// The plan as it would be made now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanSight {
    /// Its name.
    pub digest: String,
    /// The servers that it moves, each with its destination and its place in the order.
    pub moves: BTreeMap<ServerId, (Option<HostName>, u32)>,
    /// The servers that have nowhere to go.
    pub unplaced: BTreeMap<ServerId, (ResidentReason, String)>,
    /// The hosts that servers may go to, with or without room.
    pub hosts: Vec<HostName>,
    /// What decided between equally free hosts.
    pub seed: Option<i64>,
}

/// What was seen for one decision.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    /// Whether the cloud can be asked.
    pub cloud: CloudSight,
    /// What the gates say. Read only while the object is not accepted, or when more is asked of it than was accepted.
    pub gates: Result<(), Refusal>,
    /// What an earlier object for the same host remembered as the disabled reason before it.
    pub earlier_reason: Option<&'a str>,
    /// The latest look at the host. Placement must have been asked when no server is listed.
    pub view: Option<&'a HostView>,
    /// Whether that look lists the servers; else only the service's row was asked for.
    pub lists_servers: bool,
    /// The runs of this incident.
    pub runs: &'a [RunFacts],
    /// What later alerts ask for.
    pub joined: Joined,
    /// Whether the cloud has a quarantine pool.
    pub has_pool: bool,
    /// The plan as it would be made now. Absent while it is not known what the other hosts have room for.
    pub plan: Option<&'a PlanSight>,
}

/// What is kept between decisions and not in status: losing it costs two more looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// When the first list that found nothing was begun.
    pub first_empty: Option<Timestamp>,
    /// Since when nothing but allocations is left.
    pub allocations_since: Option<Timestamp>,
    /// Since when nothing but a cloud that cannot be reached, or does not give the host back, keeps an object that is being deleted.
    pub waits_since: Option<Timestamp>,
    /// Nova's words when it refused the last write to the service; absent when it took it.
    pub refused: Option<String>,
}

/// A run to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// The server.
    pub server: ServerId,
    /// 1 for its first run in this incident.
    pub ordinal: u32,
    /// Where the plan sends it; absent where Nova's scheduler chooses.
    pub destination: Option<HostName>,
    /// Its place in the plan, from 1 on; 0 where the plan gives none.
    pub order: u32,
    /// The digest of the plan that it belongs to.
    pub plan: String,
    /// The retry that it is made after, if there was one.
    pub retry: Option<Timestamp>,
}

/// What to do after the status was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write to the host's service.
    WriteService(ServiceId, Write),
    /// Make these runs.
    MakeRuns(Vec<NewRun>),
    /// Let the object go.
    RemoveFinalizer,
}

/// When to decide again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At once, with a new look.
    Now,
    /// After a few seconds: the cloud could not be asked.
    Soon,
    /// When something changes, at the latest after the active interval.
    Active,
    /// When something changes, at the latest after the idle interval.
    Idle,
    /// When the object changes.
    Never,
}

/// The result of a decision.
#[derive(Clone, Debug)]
pub struct Next {
    /// The status to write, if it differs, before the actions.
    pub status: HostQuarantineStatus,
    /// What to do then, in this order.
    pub actions: Vec<Action>,
    /// When to decide again.
    pub pace: Pace,
    /// What to remember.
    pub memory: Memory,
}
