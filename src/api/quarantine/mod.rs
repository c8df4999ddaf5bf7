//! HostQuarantine: the desired state of one suspect host, and what happened to it.

mod ending;
mod resident;
mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use ending::{Abort, Approval, DeletionPolicy, Release, ReleaseVerdict};
pub use resident::{Resident, ResidentReason};
pub use status::{
    Approved, Contest, Deadline, DeletedRun, DrainMeasured, Exposure, HostBefore, HostQuarantineStatus, Phase, PlanSummary, Progress, Retry, TimelineEntry,
    TimelineEvent,
};

use super::run::Method;
use super::units::{Mode, Period, PoolUse, ResponseAction, Scope, optional_period};

/// Takes one Nova host out of service and moves every server off it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sidestep.dev",
    version = "v1alpha1",
    kind = "HostQuarantine",
    plural = "hostquarantines",
    shortname = "hq",
    category = "sidestep",
    status = "HostQuarantineStatus",
    derive = "PartialEq",
    doc = "Takes one Nova compute host out of service and live-migrates every server off it. Made by a policy's decision, or by hand. Deleting it does not put the host back into service: release does. The fastest stop of a drain: kubectl patch hq NAME --type=merge -p '{\"spec\":{\"suspend\":true}}'.",
    selectable = ".spec.cloud",
    selectable = ".spec.host",
    selectable = ".status.phase",
    printcolumn(name = "Cloud", type_ = "string", json_path = ".spec.cloud", priority = 1),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Why", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Gone", type_ = "integer", json_path = ".status.progress.migrated"),
    printcolumn(name = "Left", type_ = "integer", json_path = ".status.progress.remaining"),
    printcolumn(name = "Stuck", type_ = "integer", json_path = ".status.residentCount"),
    printcolumn(name = "Exposed-Secs", type_ = "integer", json_path = ".status.measured.exposure.serverSeconds"),
    printcolumn(name = "Scope", type_ = "string", json_path = ".status.effectiveScope", priority = 1),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", priority = 1),
    printcolumn(name = "Plan", type_ = "string", json_path = ".status.plan.digest", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.cloud == oldSelf.cloud").message("cloud is immutable: make a new HostQuarantine"),
    validation = Rule::new("self.host == oldSelf.host").message("host is immutable: make a new HostQuarantine"),
    validation = Rule::new("oldSelf.mode == 'Observe' || self.mode != 'Observe'").message("mode cannot go back to Observe: what was done stays done; release the host instead"),
    validation = Rule::new("has(self.trigger) == has(oldSelf.trigger) && (!has(self.trigger) || self.trigger == oldSelf.trigger)").message("trigger is immutable"),
    validation = Rule::new("oldSelf.scope == 'Maintenance' || self.scope == 'HostCompromised' || (self.scope == 'Unknown' && oldSelf.scope != 'HostCompromised') || (self.scope == 'HostThreatened' && oldSelf.scope == 'HostThreatened')").message("scope only gets stricter: Maintenance, HostThreatened, Unknown, HostCompromised; what was suspected is not taken back, release the host instead"),
    validation = Rule::new("oldSelf.action == 'Cordon' || self.action == 'Drain'").message("action cannot go back to Cordon: to stop a drain set suspend, or release the host"),
    validation = Rule::new("self.deletionPolicy == 'KeepCordoned' || self.scope == 'Maintenance'").message("deletionPolicy Release goes with scope Maintenance only: deleting the object of a suspect host must not put it back into service")
)]
pub struct HostQuarantineSpec {
    /// The OpenStackCloud. Cannot be changed: the identity of a quarantine is (cloud, host).
    #[schemars(length(min = 1, max = 253))]
    pub cloud: String,
    /// Nova's name of the host, exactly as `openstack compute service list` shows it (`OS-EXT-SRV-ATTR:host`); case counts, and a short name is not the long one.
    #[schemars(length(min = 1, max = 255))]
    pub host: String,
    /// The decision that made this object. Written by the operator; absent when a person made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Trigger>,
    /// Why, for people. Its beginning also goes into Nova's disabled reason, which holds 255 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub reason: String,
    /// What is suspected; it decides where servers may go, and whether a person must agree. Maintenance: nothing, an ordinary drain. HostThreatened: the host is under attack without a sign of compromise;
    /// a drain to trusted hosts. Unknown (the default): into the quarantine pool only; where the cloud has no pool the host is taken out of service at once and the drain waits for approval (NoPool).
    /// HostCompromised: the hypervisor is believed lost; into the quarantine pool only, and after approval unless `allowUnapproved`. May only get stricter, in this order. Later alerts raise
    /// `status.effectiveScope` in the same way; that is what counts.
    #[serde(default)]
    pub scope: Scope,
    /// Observe (the default): show what would move and write nothing to the cloud. Approve: take the host out of service at once and show the plan; nothing moves before `approval` names it.
    /// Enforce: take the host out of service and drain it. Observe can become Approve or Enforce, Enforce can become Approve and the reverse; nothing becomes Observe again.
    #[serde(default)]
    pub mode: Mode,
    /// Drain (the default): take the host out of service and move its servers off it. Cordon: take it out of service only; no new server is placed there, those that are there stay. Cordon can
    /// become Drain, not the reverse.
    #[serde(default)]
    pub action: ResponseAction,
    /// The agreement of a person to a plan, where one is needed: mode Approve, scope HostCompromised, scope Unknown without a pool, or a trigger that is too old.
    #[serde(default)]
    pub approval: Approval,
    /// The andon cord: while true nothing new starts and what Nova still has queued is withdrawn; copies that run go on to their end, the host stays out of service, and the deadline stands still. A host
    /// that somebody else enables meanwhile is reported (Contested) and disabled again only after that.
    /// `kubectl patch hq NAME --type=merge -p '{"spec":{"suspend":true}}'`
    #[serde(default)]
    pub suspend: bool,
    /// None (the default), Queued or All. Queued withdraws what Nova has queued and not begun. All also aborts copies that run. Beware: on Nova 33 and 34 with libvirt an aborted copy leaves its server
    /// in ERROR on the suspect host, although its guest runs on untouched; each must then be repaired by hand (openstack server set --state active). Nothing new starts while this is not None.
    #[serde(default)]
    pub abort: Abort,
    /// Gives the host back.
    #[serde(default)]
    pub release: Release,
    /// What becomes of the host when this object is deleted. KeepCordoned (the default): it stays out of service, so that pruning an object never puts a suspect host back. Release: it is given back as
    /// by `release`; only with scope Maintenance, and only if no alert has raised `status.effectiveScope` above that.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// After this time no new move starts; what is left is reported, and a new `retryToken` begins anew. Only time counts in which moves were permitted: from the verified cordon (or the approval, where one is
    /// needed), not while suspended, and not while the cloud cannot be reached or refuses the credential. Also how long a refusal by a gate is asked again after the object was made.
    #[serde(default = "half_an_hour")]
    pub deadline: Period,
    /// Any change of this text begins anew: the deadline, the attempts of every resident, a refusal by a gate, and runs that were deleted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub retry_token: String,
    /// Lets a drain of scope HostCompromised go on without approval. Still into the quarantine pool only.
    #[serde(default)]
    pub allow_unapproved: bool,
    /// Where a plan was approved: servers that came to the host afterwards may move too, to the approved hosts. Otherwise they wait, and are named in `status.residents`.
    #[serde(default)]
    pub allow_late_arrivals: bool,
    /// How each server is moved.
    #[serde(default)]
    pub migration: MigrationSettings,
    /// Where servers may go, beside what the OpenStackCloud says.
    #[serde(default)]
    pub destinations: Destinations,
}

fn half_an_hour() -> Period {
    Period::from_secs(1800)
}

impl HostQuarantineSpec {
    /// A host of a cloud, and for everything else what the API server fills in.
    #[must_use]
    pub fn of(cloud: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            cloud: cloud.into(),
            host: host.into(),
            trigger: None,
            reason: String::new(),
            scope: Scope::default(),
            mode: Mode::default(),
            action: ResponseAction::default(),
            approval: Approval::default(),
            suspend: false,
            abort: Abort::default(),
            release: Release::default(),
            deletion_policy: DeletionPolicy::default(),
            deadline: half_an_hour(),
            retry_token: String::new(),
            allow_unapproved: false,
            allow_late_arrivals: false,
            migration: MigrationSettings::default(),
            destinations: Destinations::default(),
        }
    }
}

/// Which decision made the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// The QuarantinePolicy that decided.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// Its generation at that time.
    pub policy_generation: i64,
    /// The HostAlerts that it decided on.
    #[schemars(length(max = 64), inner(length(max = 253)))]
    pub alerts: Vec<String>,
    /// The rules of those alerts, with their engines, such as `suricata:1:2024897`: what a cooldown, and a verdict FalsePositive, are about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 192)))]
    pub rules: Vec<String>,
    /// A cordon over the budget, by a policy with `onLimit: Cordon`: it counts in `budget.cordonsPerHour` of the cloud instead of `hostsOutOfService`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_budget: bool,
}

/// How each server is moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MigrationSettings {
    /// How servers that run are moved: `method` of each MigrationRun.
    #[serde(default)]
    pub method: Method,
    /// How often one server is tried before it is reported as a resident. The second try waits 15 s, every later one 60 s.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 10))]
    pub max_attempts: u32,
    /// How long one copy may take before it is aborted in favour of servers that wait for it. Empty (the default): 60 s and four times what the server's memory needs at the rate that this drain has seen
    /// (100 MiB/s before it has seen any), at most a quarter of `deadline`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_period::deserialize")]
    #[schemars(schema_with = "optional_period::schema")]
    pub completion_timeout: Option<Period>,
    /// ColdMigrate (the default): a server that is shut off is migrated cold and confirmed once it was seen on its destination. Report: it is a resident.
    #[serde(default)]
    pub stopped_servers: StoppedServers,
    /// Report (the default): a locked server is a resident, because its owner or an administrator said that nothing shall be done with it. Migrate: it moves like any other; Nova lets an administrator do
    /// that, and it stays locked.
    #[serde(default)]
    pub locked_servers: LockedServers,
}

impl Default for MigrationSettings {
    fn default() -> Self {
        Self {
            method: Method::default(),
            max_attempts: three(),
            completion_timeout: None,
            stopped_servers: StoppedServers::default(),
            locked_servers: LockedServers::default(),
        }
    }
}

fn three() -> u32 {
    3
}

/// What is done with a server that is shut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StoppedServers {
    /// It is migrated cold.
    #[default]
    ColdMigrate,
    /// It stays, and is reported.
    Report,
}

/// What is done with a locked server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LockedServers {
    /// It stays, and is reported.
    #[default]
    Report,
    /// It moves.
    Migrate,
}

/// How destinations are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// Most free first.
    #[default]
    Spread,
}

/// Where servers may go. Rules of the OpenStackCloud hold beside these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Destinations {
    /// How a destination is chosen among those that the rules allow and that have room. Spread (the default): the one with most free memory; ties are random, by a seed that `status.plan` shows.
    #[serde(default)]
    pub strategy: Strategy,
    /// Only hosts in one of these aggregates, by name; empty for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 255)))]
    pub aggregates: Vec<String>,
    /// Only hosts that have all these traits in Placement.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 255)))]
    pub required_traits: Vec<String>,
    /// None of these hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 255)))]
    pub exclude: Vec<String>,
    /// What the cloud's quarantine pool is for this drain. Ignore: its hosts take nothing. Prefer (the default): they come first. Only: no other host takes anything. With effective scope HostCompromised, and
    /// with Unknown where the cloud has a pool, it is Only whatever stands here.
    #[serde(default)]
    pub pool: PoolUse,
}
