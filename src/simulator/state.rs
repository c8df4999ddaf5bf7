//! The state of the simulated cloud, and what may be asked of it. No sockets, no clock: `now` is a parameter, so the same requests at the same times give the same cloud.
//!
//! Every request first calls [`Cloud::advance`], which lets everything happen that was due until then, in order (see `lifecycle`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::ids::Ids;
use super::model::{Action, Host, Migration, Outcome, Phase, Server, Size};
use super::settings::{Knobs, ServerSettings, Settings, VmState};

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
    /// Until when the copies are settled.
    pub(super) settled: Timestamp,
    pub(super) hosts: BTreeMap<String, Host>,
    pub(super) servers: BTreeMap<Uuid, Server>,
    pub(super) migrations: BTreeMap<u64, Migration>,
    pub(super) actions: Vec<Action>,
    pub(super) knobs: BTreeMap<String, Knobs>,
    pub(super) failures: BTreeMap<Uuid, u32>,
    ids: Ids,
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
            settled: now,
            hosts,
            servers: BTreeMap::new(),
            migrations: BTreeMap::new(),
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

    /// Who holds what on a host in Placement: during a migration its UUID holds the source, and the server's the destination.
    #[must_use]
    pub fn allocations(&self, host: &str) -> Vec<(Uuid, Size)> {
        let mut allocations = Vec::new();
        for server in self.servers.values() {
            match self.migrations.values().find(|migration| migration.server == server.id && migration.holds_source()) {
                Some(migration) => {
                    if migration.source == host {
                        allocations.push((migration.uuid, server.size));
                    }
                    if migration.destination.as_deref() == Some(host) {
                        allocations.push((server.id, server.size));
                    }
                }
                None if server.host == host => allocations.push((server.id, server.size)),
                None => {}
            }
        }
        allocations
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
        let demo = (self.owners.demo_project, self.owners.demo_user);
        let (project_id, user_id) = if wanted.project == "admin" { (self.owners.admin_project, self.owners.admin_user) } else { demo };
        self.server_count += 1;
        let server = Server {
            id,
            number: self.server_count,
            name: wanted.name.clone(),
            project_id,
            user_id,
            size: Size { ram_mb: wanted.ram_mb, vcpus: wanted.vcpus, disk_gb: 1 },
            host: wanted.host.clone(),
            state: wanted.state,
            power_state: wanted.state.power_state(),
            migrating: false,
            progress: 0,
            created: self.now,
            updated: self.now,
            fault: None,
        };
        let request_id = self.request_id();
        let mut action = Action::new("create", id, &request_id, self.now);
        action.step("compute__do_build_and_run_instance", &wanted.host, self.now, Outcome::Success);
        self.actions.push(action);
        self.servers.insert(id, server);
        self.bump(&wanted.host);
        Ok(id)
    }

    /// Takes a server away with its allocations; a migration of it ends in `error`.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn delete_server(&mut self, id: Uuid) -> Result<(), Refusal> {
        let server = self.servers.remove(&id).ok_or_else(|| unknown_server(id))?;
        let now = self.now;
        for migration in self.migrations.values_mut().filter(|migration| migration.server == id && !matches!(migration.phase, Phase::Ended)) {
            migration.phase = Phase::Ended;
            migration.status = Some("error");
            migration.updated_at = Some(now);
        }
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
        server.power_state = state.power_state();
        server.updated = now;
        server.fault = None;
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
        }
        Ok(())
    }

    /// Sets the knobs of `name`: `default`, `host-<source host>`, or a server's UUID; the later of these wins. `None` removes them. Failures are counted anew.
    pub fn set_knobs(&mut self, name: &str, knobs: Option<Knobs>) {
        match knobs {
            Some(knobs) => self.knobs.insert(name.to_owned(), knobs),
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
        let host = self.hosts.values_mut().find(|host| host.service_id.to_string() == id);
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

    /// Accepts a live migration: the server is MIGRATING at once, the row comes later.
    pub(crate) fn live_migrate(&mut self, id: Uuid, wanted: Option<&str>, request_id: &str) -> Result<(), Refusal> {
        let now = self.now;
        if let Some(wanted) = wanted.filter(|wanted| !self.hosts.contains_key(*wanted)) {
            return Err(unknown_host(wanted));
        }
        let server = self.servers.get_mut(&id).ok_or_else(|| unknown_server(id))?;
        if server.migrating {
            return Err(Refusal::Conflict(format!("Cannot 'os-migrateLive' instance {id} while it is in task_state migrating")));
        }
        if !matches!(server.state, VmState::Active | VmState::Paused) {
            return Err(Refusal::Conflict(format!("Cannot 'os-migrateLive' instance {id} while it is in vm_state {}", server.state.vm_state())));
        }
        server.migrating = true;
        server.updated = now;
        let (source, size) = (server.host.clone(), server.size);
        let delay = match self.knobs_of(id, &source).row_ms {
            Some(exact) => std::time::Duration::from_millis(exact),
            None => self.settings.pace(self.settings.timing.row_ms),
        };
        let migration_id = self.migrations.last_key_value().map_or(1, |(last, _)| last + 1);
        let migration = Migration {
            id: migration_id,
            uuid: self.ids.next(),
            server: id,
            size,
            source,
            wanted: wanted.map(str::to_owned),
            destination: None,
            status: None,
            created_at: now,
            updated_at: None,
            request_id: request_id.to_owned(),
            sample: None,
            phase: Phase::Posted(later(now, delay)),
            next_sample: None,
            slot_at: None,
        };
        self.migrations.insert(migration_id, migration);
        let mut action = Action::new("live-migration", id, request_id, now);
        action.begin("conductor_live_migrate_instance", "conductor", now);
        self.actions.push(action);
        Ok(())
    }

    /// Accepts the abort of a live migration.
    pub(crate) fn abort(&mut self, server_id: Uuid, id: &str, queued_too: bool, request_id: &str) -> Result<(), Refusal> {
        let now = self.now;
        let server = self.servers.get(&server_id).ok_or_else(|| unknown_server(server_id))?;
        if !server.migrating {
            return Err(Refusal::Conflict(format!("Instance {server_id} is in an invalid state for 'abort live migration'")));
        }
        let found = id.parse().ok().and_then(|id| self.migrations.get_mut(&id)).filter(|one| one.server == server_id && one.status.is_some());
        let migration = found.ok_or_else(|| Refusal::NotFound(format!("Migration {id} not found for instance {server_id}")))?;
        let timing = self.settings.timing;
        let wait = match migration.phase {
            Phase::Queued(_) | Phase::Preparing(_) if !queued_too => None,
            Phase::Queued(_) => Some(timing.cancel_queued_ms),
            Phase::Preparing(_) | Phase::Starting(_) | Phase::Copying(_) => Some(timing.rollback_ms),
            _ => None,
        };
        let Some(wait) = wait else {
            let state = migration.status.unwrap_or_default();
            return Err(Refusal::BadRequest(format!(
                "Migration {id} state of instance {server_id} is {state}. Cannot abort live migration while the migration is in this state."
            )));
        };
        migration.phase = Phase::RollingBack(later(now, self.settings.pace(wait)), "cancelled");
        migration.next_sample = None;
        let mut action = Action::new("live_migration_cancel", server_id, request_id, now);
        action.step("compute_live_migration_abort", &migration.source, now, Outcome::Success);
        self.actions.push(action);
        Ok(())
    }

    /// The knobs that hold for a server on a source host.
    pub(super) fn knobs_of(&self, server: Uuid, source: &str) -> Knobs {
        let names = ["default".to_owned(), format!("host-{source}"), server.to_string()];
        names.iter().filter_map(|name| self.knobs.get(name)).fold(Knobs::default(), |under, over| under.overlaid(over))
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
        changed_at: now,
        generation: 1,
    }
}

/// `now` and `wait`; the end of time when that is beyond it.
pub(super) fn later(now: Timestamp, wait: std::time::Duration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

pub(crate) fn unknown_server(id: Uuid) -> Refusal {
    Refusal::NotFound(format!("Instance {id} could not be found."))
}

fn unknown_host(name: &str) -> Refusal {
    Refusal::BadRequest(format!("Compute host {name} could not be found."))
}
