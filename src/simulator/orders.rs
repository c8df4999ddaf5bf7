//! What may be asked of a server's place: live and cold migration, abort, confirmation, revert, deletion; and what Nova refuses at once.

use std::time::Duration;

use uuid::Uuid;

use super::describe::VmState;
use super::model::{Action, Migration, MoveKind, Outcome, Phase, Server};
use super::state::{Cloud, Refusal, later, unknown_host, unknown_server};

impl Cloud {
    /// Accepts a live migration: the server is MIGRATING at once, the row comes later.
    pub(crate) fn live_migrate(&mut self, id: Uuid, wanted: Option<&str>, request_id: &str) -> Result<(), Refusal> {
        self.know_destination(wanted)?;
        self.free(id, "os-migrateLive", &[VmState::Active, VmState::Paused])?.task = Some("migrating");
        self.post(id, MoveKind::Live, wanted, request_id);
        let mut action = Action::new("live-migration", id, request_id, self.now);
        action.begin("conductor_live_migrate_instance", "conductor", self.now);
        self.actions.push(action);
        Ok(())
    }

    /// Accepts a cold migration: the server prepares for a resize to its own size at once, the row comes later.
    ///
    /// # Errors
    /// When the server or the host does not exist, or it is in another state than ACTIVE or SHUTOFF.
    pub fn cold_migrate(&mut self, id: Uuid, wanted: Option<&str>, request_id: &str) -> Result<(), Refusal> {
        self.know_destination(wanted)?;
        let server = self.free(id, "migrate", &[VmState::Active, VmState::Shutoff])?;
        if wanted == Some(server.host.as_str()) {
            return Err(Refusal::BadRequest("Cannot migrate to the host where the server exists.".into()));
        }
        let source = server.host.clone();
        if !self.host(&source).is_some_and(super::model::Host::is_up) {
            return Err(Refusal::Conflict("Service is unavailable at this time.".into()));
        }
        self.free(id, "migrate", &[VmState::Active, VmState::Shutoff])?.task = Some("resize_prep");
        self.post(id, MoveKind::Cold, wanted, request_id);
        let mut action = Action::new("migrate", id, request_id, self.now);
        action.begin("conductor_migrate_server", "conductor", self.now);
        self.actions.push(action);
        Ok(())
    }

    /// Confirms a cold migration or a resize: the source is given up.
    ///
    /// # Errors
    /// When the server does not exist or waits for no confirmation, or its source's nova-compute is down.
    pub fn confirm_resize(&mut self, id: Uuid, request_id: &str) -> Result<(), Refusal> {
        let finished = self.finished(id, "confirmResize")?;
        if !self.migrations.get(&finished).and_then(|one| self.host(&one.source)).is_some_and(super::model::Host::is_up) {
            return Err(Refusal::Conflict("Service is unavailable at this time.".into()));
        }
        let due = later(self.now, self.settings.pace(self.settings.timing.cold_finish_ms));
        self.wait_for(finished, "confirming", Phase::Confirming(due));
        let mut action = Action::new("confirmResize", id, request_id, self.now);
        action.begin("compute_confirm_resize", "source", self.now);
        self.actions.push(action);
        Ok(())
    }

    /// Reverts a cold migration or a resize: the server goes back to the source.
    ///
    /// # Errors
    /// When the server does not exist or waits for no confirmation.
    pub fn revert_resize(&mut self, id: Uuid, request_id: &str) -> Result<(), Refusal> {
        let finished = self.finished(id, "revertResize")?;
        self.free(id, "revertResize", &[VmState::Resized])?.task = Some("resize_reverting");
        let due = later(self.now, self.settings.pace(2 * self.settings.timing.cold_finish_ms));
        self.wait_for(finished, "reverting", Phase::Reverting(due));
        let mut action = Action::new("revertResize", id, request_id, self.now);
        action.begin("compute_revert_resize", "destination", self.now);
        self.actions.push(action);
        Ok(())
    }

    /// What its owner's deletion does to a server: with [`super::Settings::soft_delete`] it stays, powered off, until it is restored or reclaimed.
    ///
    /// # Errors
    /// When the server does not exist.
    pub fn delete(&mut self, id: Uuid) -> Result<(), Refusal> {
        let known = self.server(id).ok_or_else(|| unknown_server(id))?;
        if !self.settings.soft_delete || matches!(known.state, VmState::SoftDeleted | VmState::Error | VmState::Building) {
            return self.delete_server(id);
        }
        self.set_state(id, VmState::SoftDeleted)
    }

    /// Accepts the abort of a live migration.
    pub(crate) fn abort(&mut self, server_id: Uuid, id: &str, queued_too: bool, request_id: &str) -> Result<(), Refusal> {
        let now = self.now;
        let server = self.servers.get(&server_id).ok_or_else(|| unknown_server(server_id))?;
        if server.task != Some("migrating") {
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

    /// Notes the row of a resize that somebody began before this cloud did, and that waits for its confirmation.
    pub(super) fn note_resize(&mut self, id: Uuid, source: &str) {
        let request_id = self.request_id();
        let Some(destination) = self.server(id).map(|server| server.host.clone()) else { return };
        let now = self.now;
        let number = self.post(id, MoveKind::Resize, None, &request_id);
        if let Some(migration) = number.and_then(|number| self.migrations.get_mut(&number)) {
            (migration.source, migration.destination) = (source.to_owned(), Some(destination));
            (migration.status, migration.phase, migration.updated_at) = (Some("finished"), Phase::Finished, Some(now));
            migration.before = VmState::Active;
        }
    }

    fn know_destination(&self, wanted: Option<&str>) -> Result<(), Refusal> {
        match wanted.filter(|wanted| !self.host(wanted).is_some_and(|host| host.registered)) {
            Some(wanted) => Err(unknown_host(wanted)),
            None => Ok(()),
        }
    }

    /// The server, when it is in one of these states and nothing is being done with it. The state is complained of first.
    pub(super) fn free(&mut self, id: Uuid, what: &str, states: &[VmState]) -> Result<&mut Server, Refusal> {
        let now = self.now;
        let server = self.servers.get_mut(&id).ok_or_else(|| unknown_server(id))?;
        let refuse = |place: &str| Err(Refusal::Conflict(format!("Cannot '{what}' instance {id} while it is in {place}")));
        if !states.contains(&server.state) {
            return refuse(&format!("vm_state {}", server.state.vm_state()));
        }
        if let Some(task) = server.task {
            return refuse(&format!("task_state {task}"));
        }
        server.updated = now;
        Ok(server)
    }

    /// The number of the row that waits for the confirmation of this server.
    fn finished(&mut self, id: Uuid, what: &str) -> Result<u64, Refusal> {
        self.free(id, what, &[VmState::Resized])?;
        let row = self.open().find(|one| one.server == id && matches!(one.phase, Phase::Finished)).map(|one| one.id);
        row.ok_or_else(|| Refusal::BadRequest("Instance has not been resized.".into()))
    }

    fn wait_for(&mut self, number: u64, word: &'static str, phase: Phase) {
        let now = self.now;
        if let Some(migration) = self.migrations.get_mut(&number) {
            (migration.status, migration.phase, migration.updated_at) = (Some(word), phase, Some(now));
        }
    }

    /// Notes a move whose row comes later; gives its number.
    fn post(&mut self, id: Uuid, kind: MoveKind, wanted: Option<&str>, request_id: &str) -> Option<u64> {
        let now = self.now;
        let server = self.servers.get(&id)?;
        let (source, size, before) = (server.host.clone(), server.size, server.state);
        let delay = match self.knobs_of(id, &source).row_ms {
            Some(exact) => Duration::from_millis(exact),
            None => self.settings.pace(self.settings.timing.row_ms),
        };
        let number = self.migrations.last_key_value().map_or(1, |(last, _)| last + 1);
        let migration = Migration {
            id: number,
            uuid: self.ids.next(),
            kind,
            before,
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
        self.migrations.insert(number, migration);
        self.open.insert(number);
        Some(number)
    }
}
