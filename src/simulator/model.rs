//! The rows of the simulated cloud: hosts, servers, migrations, instance actions. Plain data; what moves it is in `lifecycle`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::copy::Copy;
use super::describe::VmState;

/// A compute host: its nova-compute service and its resource provider.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// UUID of its service.
    pub service_id: Uuid,
    /// Number of its service, for microversions before 2.53.
    pub service_number: u64,
    /// UUID of its resource provider and hypervisor.
    pub provider_id: Uuid,
    /// Why it is disabled; `None` in [`Host::enabled`] hosts and in hosts disabled without a reason.
    pub disabled_reason: Option<String>,
    /// May receive servers.
    pub enabled: bool,
    /// Reports.
    pub up: bool,
    /// Forced down by an administrator.
    pub forced_down: bool,
    /// Nova has a service row of it. One that was deleted comes back, under another id, when its nova-compute starts again.
    pub registered: bool,
    /// When an administrator last changed its service.
    pub changed_at: Timestamp,
    /// Generation of its resource provider: one more with each change of its allocations or traits.
    pub generation: u64,
}

impl Host {
    /// Whether Nova counts it as working.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up && !self.forced_down && self.registered
    }
}

/// The size of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Memory, MiB.
    pub ram_mb: u64,
    /// Virtual CPUs.
    pub vcpus: u64,
    /// Disk, GiB.
    pub disk_gb: u64,
}

impl Size {
    /// Adds another one.
    pub(crate) fn add(&mut self, other: Self) {
        self.ram_mb += other.ram_mb;
        self.vcpus += other.vcpus;
        self.disk_gb += other.disk_gb;
    }

    /// Takes another one away.
    pub(crate) fn remove(&mut self, other: Self) {
        self.ram_mb = self.ram_mb.saturating_sub(other.ram_mb);
        self.vcpus = self.vcpus.saturating_sub(other.vcpus);
        self.disk_gb = self.disk_gb.saturating_sub(other.disk_gb);
    }

    /// Whether one more of `other` goes into `whole` beside what this is.
    pub(crate) fn leaves_room_for(self, other: Self, whole: Self) -> bool {
        let mut sum = self;
        sum.add(other);
        sum.ram_mb <= whole.ram_mb && sum.vcpus <= whole.vcpus && sum.disk_gb <= whole.disk_gb
    }
}

/// What `fault` of a server shows.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// Its text.
    pub message: String,
    /// When it came.
    pub created: Timestamp,
}

/// A server.
#[derive(Clone, Debug, Serialize)]
pub struct Server {
    /// Its UUID.
    pub id: Uuid,
    /// The number in its instance name; servers are listed newest first by it.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// The project that owns it.
    pub project_id: Uuid,
    /// The user who made it.
    pub user_id: Uuid,
    /// Its size.
    pub size: Size,
    /// Where Nova believes it to be.
    pub host: String,
    /// What it is.
    pub state: VmState,
    /// What its guest was last known to do, in Nova's numbers.
    pub power_state: u8,
    /// What is being done with it, in Nova's word: `migrating`, `resize_prep`, ...
    pub task: Option<&'static str>,
    /// Per cent of the memory that the last sample showed as sent.
    pub progress: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// What went wrong, while it is in ERROR.
    pub fault: Option<Fault>,
    /// Locked by its owner.
    pub locked: bool,
    /// Its disk is a volume.
    pub volume: bool,
    /// Its server group, by name.
    pub group: Option<String>,
    /// Its addresses.
    pub addresses: Vec<String>,
}

impl Server {
    /// The word of `status`: Nova shows some tasks instead of the state.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match (self.state, self.task) {
            (VmState::Active | VmState::Paused, Some("migrating")) => "MIGRATING",
            (VmState::Active | VmState::Shutoff, Some(task)) if task.starts_with("resize_") => "RESIZE",
            (VmState::Resized, Some("resize_reverting")) => "REVERT_RESIZE",
            (state, _) => state.status(),
        }
    }
}

/// The servers that stand on one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Residents {
    /// By number.
    pub(crate) servers: BTreeMap<u64, Uuid>,
    /// All of them together.
    pub(crate) size: Size,
}

/// Where a live migration stands, with what is due next.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// The POST was answered; there is no row yet. The row comes at the time given.
    Posted(Timestamp),
    /// `accepted`, no destination: scheduling and checks end at the time given.
    Checking(Timestamp),
    /// `accepted` with a destination: asks for a slot of the source at the time given.
    Cast(Timestamp),
    /// `queued` for a slot of the source since the time given.
    Queued(Timestamp),
    /// `preparing` until the time given.
    Preparing(Timestamp),
    /// `running`; the first byte is sent at the time given.
    Starting(Timestamp),
    /// `running`; memory is sent.
    Copying(Copy),
    /// `running`; the guest runs on the destination, and Nova says so at the time given.
    Leaving(Timestamp),
    /// `running`; the server stands on the destination; `completed` at the time given.
    Arrived(Timestamp),
    /// Being rolled back until the time given, then it ends with this word.
    RollingBack(Timestamp, &'static str),
    /// Stands where it stood when nova-compute on the source died; the hypervisor copied on, and nobody tells Nova. Ends when that nova-compute starts again.
    Orphaned,
    /// Cold, `pre-migrating`: scheduling ends at the time given.
    Scheduling(Timestamp),
    /// Cold, `migrating`: the source stops the guest and hands its disk over until the time given.
    Moving(Timestamp),
    /// Cold, `post-migrating`: the destination takes it up until the time given.
    Landing(Timestamp),
    /// Cold, `finished`: waits for a confirmation or a revert, for as long as it takes.
    Finished,
    /// Cold, `confirming` until the time given.
    Confirming(Timestamp),
    /// Cold, `reverting` until the time given.
    Reverting(Timestamp),
    /// Ended with a word that turns to `error`, and the server to ERROR, at the time given.
    Souring(Timestamp),
    /// Ended.
    Ended,
}

/// The memory counters as nova-compute last saved them, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// To copy.
    pub total: u64,
    /// Sent.
    pub processed: u64,
    /// Left.
    pub remaining: u64,
}

/// What kind of move a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum MoveKind {
    /// A live migration.
    Live,
    /// A cold migration.
    Cold,
    /// Somebody's resize.
    Resize,
}

impl MoveKind {
    /// The word of `migration_type`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live-migration",
            Self::Cold => "migration",
            Self::Resize => "resize",
        }
    }
}

/// A migration and its row.
#[derive(Clone, Debug, Serialize)]
pub struct Migration {
    /// Number of the row; rises with time.
    pub id: u64,
    /// UUID of the row and Placement consumer that holds the source meanwhile.
    pub uuid: Uuid,
    /// What kind of move it is.
    pub kind: MoveKind,
    /// What the server was before it.
    pub before: VmState,
    /// The server.
    pub server: Uuid,
    /// Its memory in MiB stands for the flavor in `old_instance_type_id`.
    pub size: Size,
    /// From where.
    pub source: String,
    /// To where the POST asked for.
    pub wanted: Option<String>,
    /// To where; absent until the checks are through.
    pub destination: Option<String>,
    /// The word of the row; absent while there is no row.
    pub status: Option<&'static str>,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Option<Timestamp>,
    /// The request that asked for it: the key of its instance action.
    pub request_id: String,
    /// When it got one of its source's slots and was no longer `queued`.
    pub slot_at: Option<Timestamp>,
    /// What nova-compute last saved of its counters.
    pub sample: Option<Sample>,
    #[serde(skip)]
    pub(crate) phase: Phase,
    /// When the next sample is saved.
    #[serde(skip)]
    pub(crate) next_sample: Option<Timestamp>,
}

impl Migration {
    /// Whether it still occupies one of its source's slots.
    pub(crate) fn holds_slot(&self) -> bool {
        match self.phase {
            Phase::Preparing(_) | Phase::Starting(_) | Phase::Copying(_) | Phase::Leaving(_) | Phase::Arrived(_) | Phase::Orphaned => true,
            // One that was aborted while it waited never had a slot.
            Phase::RollingBack(..) => self.status != Some("queued"),
            Phase::Posted(_) | Phase::Checking(_) | Phase::Cast(_) | Phase::Queued(_) | Phase::Souring(_) | Phase::Ended => false,
            Phase::Scheduling(_) | Phase::Moving(_) | Phase::Landing(_) | Phase::Finished | Phase::Confirming(_) | Phase::Reverting(_) => false,
        }
    }

    /// Whether `/servers/{id}/migrations` lists it.
    #[must_use]
    pub fn is_in_progress(&self) -> bool {
        self.kind == MoveKind::Live && matches!(self.status, Some("queued" | "preparing" | "running"))
    }

    /// Whether its UUID holds the source in Placement, and the server's UUID the destination once there is one.
    #[must_use]
    pub fn holds_source(&self) -> bool {
        !matches!(self.phase, Phase::Posted(_) | Phase::Arrived(_) | Phase::Souring(_) | Phase::Ended)
    }
}

/// A step of an instance action.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Its name.
    pub event: &'static str,
    /// The host that took it.
    pub host: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended, and how: `None` while it goes on.
    pub finished: Option<(Timestamp, Outcome)>,
}

/// How a step ended.
#[derive(Clone, Debug, Serialize)]
pub enum Outcome {
    /// Well.
    Success,
    /// With this reason.
    Error(String),
}

/// What somebody asked of a server, by request.
#[derive(Clone, Debug, Serialize)]
pub struct Action {
    /// `create`, `live-migration`, `live_migration_cancel`, `migrate`, `confirmResize`, ...
    pub action: &'static str,
    /// The server.
    pub server: Uuid,
    /// The request's id.
    pub request_id: String,
    /// When it was asked.
    pub started: Timestamp,
    /// When a step of it last changed.
    pub updated: Timestamp,
    /// A step failed.
    pub failed: bool,
    /// Its steps, oldest first.
    pub events: Vec<Event>,
}

impl Action {
    /// A new action without steps.
    pub(crate) fn new(action: &'static str, server: Uuid, request_id: &str, now: Timestamp) -> Self {
        Self { action, server, request_id: request_id.to_owned(), started: now, updated: now, failed: false, events: Vec::new() }
    }

    /// A step begins.
    pub(crate) fn begin(&mut self, event: &'static str, host: &str, now: Timestamp) {
        self.events.push(Event { event, host: host.to_owned(), started: now, finished: None });
        self.updated = now;
    }

    /// The step of this name that is still open ends.
    pub(crate) fn end(&mut self, event: &str, now: Timestamp, outcome: Outcome) {
        self.failed |= matches!(outcome, Outcome::Error(_));
        if let Some(open) = self.events.iter_mut().rev().find(|one| one.event == event && one.finished.is_none()) {
            open.finished = Some((now, outcome));
        }
        self.updated = now;
    }

    /// A step that begins and ends at once.
    pub(crate) fn step(&mut self, event: &'static str, host: &str, now: Timestamp, outcome: Outcome) {
        self.begin(event, host, now);
        self.end(event, now, outcome);
    }
}
