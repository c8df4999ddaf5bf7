//! The state of the simulated cloud, and what may be asked of it. No sockets, no clock: `now` is a parameter, so the same requests at the same times give the same cloud.
//!
//! Every request first calls [`Cloud::advance`], which lets everything happen that was due until then, in order (see `lifecycle`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::describe::{ServerSettings, VmState};
use super::ids::Ids;
use super::model::{Action, Host, Migration, Outcome, Phase, Residents, Server, Size};
use super::settings::{Knobs, Settings};

/// The user and the project `admin`, and the user and the project `demo`, in this order of ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owners {
    pub(crate) admin_user: Uuid,
    pub(crate) admin_project: Uuid,
    pub(crate) demo_user: Uuid,
    pub(crate) demo_project: Uuid,
}

/// Why Nova refuses a request at once; the text is what it answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 400.
    #[error("{0}")]
    BadRequest(String),
    /// 409.
    #[error("{0}")]
    Conflict(String),
    /// 403.
    #[error("{0}")]
    Forbidden(String),
}

/// What a PUT of a service may change.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceChange {
    pub(crate) enabled: Option<bool>,
    pub(crate) reason: Option<String>,
    pub(crate) forced_down: Option<bool>,
}

/// The cloud.
#[derive(Debug)]
pub struct Cloud {
    pub(crate) settings: Settings,
    pub(crate) owners: Owners,
    pub(super) now: Timestamp,
    /// When it began.
    pub(super) began: Timestamp,
    /// Until when the copies are settled.
    pub(super) settled: Timestamp,
    pub(super) hosts: BTreeMap<String, Host>,
    pub(super) servers: BTreeMap<Uuid, Server>,
    /// The servers of each host, by number: most of what is asked is about one host of many.
    pub(super) residents: BTreeMap<String, Residents>,
    pub(super) migrations: BTreeMap<u64, Migration>,
    /// The migrations that may not have ended: most of a long history has.
    pub(super) open: BTreeSet<u64>,
    pub(super) actions: Vec<Action>,
    /// What is steered, and since when.
    pub(super) knobs: BTreeMap<String, (Knobs, Timestamp)>,
    pub(super) failures: BTreeMap<Uuid, u32>,
    pub(super) ids: Ids,
    server_count: u64,
}

impl Cloud {
    /// The cloud that `settings` describe, at `now`.
    #[must_use]
    pub fn new(settings: Settings, now: Timestamp) -> Self {
        let ids = Ids::new(settings.seed);
        let [admin_user, admin_project, demo_user, demo_project] = ["user admin", "project admin", "user demo", "project demo"].map(|name| ids.named(name));
        let owners = Owners { admin_user, admin_project, demo_user, demo_project };
        let hosts = (1..).zip(&settings.hosts).map(|(number, name)| (name.clone(), new_host(&ids, number, name, now))).collect();
        let servers = settings.servers.clone();
        let mut cloud = Self {
            settings,
            owners,
            now,
            began: now,
            settled: now,
            hosts,
            servers: BTreeMap::new(),
            residents: BTreeMap::new(),
            migrations: BTreeMap::new(),
            open: BTreeSet::new(),
            actions: Vec::new(),
            knobs: BTreeMap::new(),
            failures: BTreeMap::new(),
            ids,
            server_count: 0,
        };
        for server in &servers {
            // Settings::check has seen to it that the hosts exist and names are no ids, so nothing is refused here.
            let _ = cloud.boot(server);
        }
        cloud
    }

    /// The hosts by name.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// The host of this name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// The servers, newest first.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        let mut servers: Vec<&Server> = self.servers.values().collect();
        servers.sort_by_key(|server| std::cmp::Reverse(server.number));
        servers.into_iter()
    }

    /// The servers on a host, newest first.
    pub fn servers_on(&self, host: &str) -> impl Iterator<Item = &Server> {
        let there = self.residents.get(host).into_iter().flat_map(|there| there.servers.values().rev());
        there.filter_map(|id| self.servers.get(id))
    }

    /// The migrations that have not ended, oldest first.
    pub(super) fn open(&self) -> impl Iterator<Item = &Migration> {
        self.open.iter().filter_map(|id| self.migrations.get(id)).filter(|one| !matches!(one.phase, Phase::Ended))
    }

    /// Forgets which migrations were open and have ended.
    pub(super) fn prune(&mut self) {
        let Self { open, migrations, .. } = self;
        open.retain(|id| migrations.get(id).is_some_and(|one| !matches!(one.phase, Phase::Ended)));
    }

    /// Notes that a server stands on another host.
    pub(super) fn relocate(&mut self, id: Uuid, host: &str) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        let old = std::mem::replace(&mut server.host, host.to_owned());
        let (number, size) = (server.number, server.size);
        self.leave(&old, number, size);
        self.settle_in(host, number, id, size);
    }

    fn leave(&mut self, host: &str, number: u64, size: Size) {
        if let Some(there) = self.residents.get_mut(host)
            && there.servers.remove(&number).is_some()
        {
            there.size.remove(size);
        }
    }

    fn settle_in(&mut self, host: &str, number: u64, id: Uuid, size: Size) {
        let there = self.residents.entry(host.to_owned()).or_default();
        there.servers.insert(number, id);
        there.size.add(size);
    }

    /// The server with this id.
    #[must_use]
    pub fn server(&self, id: Uuid) -> Option<&Server> {
        self.servers.get(&id)
    }

    /// The migrations that have a row, newest first.
    pub fn migrations(&self) -> impl Iterator<Item = &Migration> {
        self.migrations.values().rev().filter(|migration| migration.status.is_some())
    }

    /// What was asked of a server, newest first.
    pub fn actions(&self, server: Uuid) -> impl Iterator<Item = &Action> {
        self.actions.iter().rev().filter(move |action| action.server == server)
    }

    /// Makes a server that is there at once, as if it had been booted long ago.
    ///
    /// # Errors
    /// When the host does not exist or the id is taken.
    pub fn boot(&mut self, wanted: &ServerSettings) -> Result<Uuid, Refusal> {
        if !self.hosts.contains_key(&wanted.host) {
            return Err(unknown_host(&wanted.host));
        }
        let id = wanted.id.unwrap_or_else(|| self.ids.next());
        if self.servers.contains_key(&id) {
            return Err(Refusal::Conflict(format!("There is a server {id} already.")));
        }
        if let Some(group) = wanted.group.as_ref().filter(|group| !self.settings.server_groups.contains_key(*group)) {
            return Err(Refusal::BadRequest(format!("There is no server group {group}: add it to server_groups first.")));
        }
        let demo = (self.owners.demo_project, self.owners.demo_user);
        let (project_id, user_id) = if wanted.project == "admin" { (self.owners.admin_project, self.owners.admin_user) } else { demo };
        self.server_count += 1;
        let server = Server {
            id,
            number: self.server_count,
            name: wanted.name.clone(),
            project_id,
            user_id,
            size: Size { ram_mb: wanted.ram_mb, vcpus: wanted.vcpus, disk_gb: wanted.disk_gb },
            host: wanted.host.clone(),
            state: wanted.state,
            power_state: wanted.state.power_state(),
            task: (wanted.state == VmState::Building).then_some("spawning"),
            progress: 0,
            created: self.now,
            updated: self.now,
            fault: None,
            locked: wanted.locked,
            volume: wanted.volume,
            group: wanted.group.clone(),
            addresses: wanted.addresses.clone(),
        };
        let request_id = self.request_id();
        let mut action = Action::new("create", id, &request_id, self.now);
        action.step("compute__do_build_and_run_instance", &wanted.host, self.now, Outcome::Success);
        self.actions.push(action);
        self.settle_in(&wanted.host, server.number, id, server.size);
        self.servers.insert(id, server);
        self.bump(&wanted.host);
        if let Some(source) = wanted.resized_from.clone() {
            self.note_resize(id, &source);
        }
        Ok(id)
    }

    /// Takes a server away with its allocations; a migration of it ends in `error`.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn delete_server(&mut self, id: Uuid) -> Result<(), Refusal> {
        let server = self.servers.remove(&id).ok_or_else(|| unknown_server(id))?;
        let now = self.now;
        self.leave(&server.host, server.number, server.size);
        for number in self.open.clone() {
            let Some(migration) = self.migrations.get_mut(&number).filter(|one| one.server == id) else { continue };
            // Nova confirms a move that waits for it when its server is deleted.
            migration.status = Some(if matches!(migration.phase, Phase::Finished) { "confirmed" } else { "error" });
            migration.phase = Phase::Ended;
            migration.updated_at = Some(now);
        }
        self.prune();
        self.bump(&server.host);
        self.admit();
        Ok(())
    }

    /// Makes a server something else at once: what its owner does to it behind everybody's back.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn set_state(&mut self, id: Uuid, state: VmState) -> Result<(), Refusal> {
        let now = self.now;
        let server = self.servers.get_mut(&id).ok_or_else(|| unknown_server(id))?;
        server.state = state;
        server.task = None;
        server.power_state = state.power_state();
        server.updated = now;
        server.fault = None;
        Ok(())
    }

    /// Locks a server, or unlocks it.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn set_locked(&mut self, id: Uuid, locked: bool) -> Result<(), Refusal> {
        self.servers.get_mut(&id).ok_or_else(|| unknown_server(id))?.locked = locked;
        Ok(())
    }

    /// Lets nova-compute of a host report, or not. A dead one lets the copies that leave its host go on, and gives them up when it starts again.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn set_host_up(&mut self, name: &str, up: bool) -> Result<(), Refusal> {
        let host = self.hosts.get_mut(name).ok_or_else(|| unknown_host(name))?;
        let starts = up && !host.up;
        host.up = up;
        host.changed_at = self.now;
        if starts {
            self.give_up(name);
            self.register(name);
        }
        Ok(())
    }

    /// Ends nova-compute of a host and starts it again.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn restart_host(&mut self, name: &str) -> Result<(), Refusal> {
        self.set_host_up(name, false)?;
        self.set_host_up(name, true)
    }

    /// A nova-compute that starts without a service row makes one: another id, in service.
    fn register(&mut self, name: &str) {
        let next = self.hosts.values().map(|host| host.service_number).max().unwrap_or_default() + 1;
        let id = self.ids.next();
        if let Some(host) = self.hosts.get_mut(name).filter(|host| !host.registered) {
            (host.registered, host.enabled, host.forced_down, host.disabled_reason) = (true, true, false, None);
            (host.service_id, host.service_number, host.changed_at) = (id, next, self.now);
            host.generation += 1;
        }
    }

    /// Deletes the service row of a host as `DELETE /os-services/{id}` does, also one that Nova would still refuse to delete.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn delete_service(&mut self, name: &str) -> Result<(), Refusal> {
        let host = self.hosts.get_mut(name).ok_or_else(|| unknown_host(name))?;
        host.registered = false;
        for aggregate in self.settings.aggregates.values_mut() {
            aggregate.hosts.retain(|host| host != name);
        }
        Ok(())
    }

    /// The connection of a host's nova-compute to its hypervisor is lost, or back: it takes its own host out of service, unless that was done already, and back only when it finds
    /// its own reason.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn set_hypervisor(&mut self, name: &str, connected: bool) -> Result<(), Refusal> {
        let host = self.hosts.get_mut(name).ok_or_else(|| unknown_host(name))?;
        let own = host.disabled_reason.as_deref().is_some_and(|reason| reason.starts_with("AUTO: "));
        if connected && !host.enabled && own {
            (host.enabled, host.disabled_reason) = (true, None);
        } else if !connected && host.enabled {
            (host.enabled, host.disabled_reason) = (false, Some("AUTO: Connection to libvirt lost: 1".to_owned()));
        } else {
            return Ok(());
        }
        host.generation += 1;
        Ok(())
    }

    /// Sets the knobs of `name`: `default`, `host-<source host>`, or a server's UUID; the later of these wins. `None` removes them. Failures are counted anew.
    pub fn set_knobs(&mut self, name: &str, knobs: Option<Knobs>) {
        match knobs {
            Some(knobs) => self.knobs.insert(name.to_owned(), (knobs, self.now)),
            None => self.knobs.remove(name),
        };
        match name.parse::<Uuid>() {
            Ok(server) => {
                self.failures.remove(&server);
            }
            Err(_) => self.failures.clear(),
        }
    }

    /// Replaces the settings while the cloud runs; hosts and servers stay as they are.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
        self.admit();
    }

    pub(crate) fn change_service(&mut self, id: &str, change: ServiceChange) -> Result<&Host, Refusal> {
        let now = self.now;
        let host = self.hosts.values_mut().find(|host| host.registered && host.service_id.to_string() == id);
        let host = host.ok_or_else(|| Refusal::NotFound(format!("Service {id} could not be found.")))?;
        if let Some(enabled) = change.enabled {
            host.generation += u64::from(host.enabled != enabled);
            host.enabled = enabled;
            host.disabled_reason = if enabled { None } else { change.reason };
        }
        host.forced_down = change.forced_down.unwrap_or(host.forced_down);
        host.changed_at = now;
        Ok(host)
    }

    /// The knobs that hold for a server on a source host.
    pub(super) fn knobs_of(&self, server: Uuid, source: &str) -> Knobs {
        if self.knobs.is_empty() {
            return Knobs::default();
        }
        let names = ["default".to_owned(), format!("host-{source}"), server.to_string()];
        names.iter().filter_map(|name| self.knobs.get(name)).fold(Knobs::default(), |under, (over, since)| {
            let mut over = over.clone();
            if over.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).is_some_and(|seconds| self.now >= later(*since, seconds)) {
                over.fail = None;
            }
            under.overlaid(&over)
        })
    }

    /// An id for a request.
    pub(crate) fn request_id(&mut self) -> String {
        format!("req-{}", self.ids.next())
    }

    /// A new id, for a token.
    pub(crate) fn new_id(&mut self) -> Uuid {
        self.ids.next()
    }

    pub(super) fn bump(&mut self, host: &str) {
        if let Some(host) = self.hosts.get_mut(host) {
            host.generation += 1;
        }
    }
}

fn new_host(ids: &Ids, number: u64, name: &str, now: Timestamp) -> Host {
    Host {
        name: name.to_owned(),
        service_id: ids.named(&format!("service {name}")),
        service_number: number,
        provider_id: ids.named(&format!("provider {name}")),
        disabled_reason: None,
        enabled: true,
        up: true,
        forced_down: false,
        registered: true,
        changed_at: now,
        generation: 1,
    }
}

/// `now` and `wait`; the end of time when that is beyond it.
pub(super) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

pub(crate) fn unknown_server(id: Uuid) -> Refusal {
    Refusal::NotFound(format!("Instance {id} could not be found."))
}

pub(super) fn unknown_host(name: &str) -> Refusal {
    Refusal::BadRequest(format!("Compute host {name} could not be found."))
}
