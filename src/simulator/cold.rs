//! How a cold migration goes on by itself, and what a confirmation or a revert of it leads to.
//!
//! ```text
//!  POST ── row ── pre-migrating ── migrating ── post-migrating ── finished ─┬─ confirming ── confirmed
//!  RESIZE        └─ error (no valid host)       stands on the destination   └─ reverting ── reverted
//!                                               from here on, VERIFY_RESIZE at the end
//! ```
//!
//! The source is held by the migration's UUID until it is confirmed or reverted: a host whose server list is empty may still be held by such a move.

use jiff::Timestamp;

use super::describe::VmState;
use super::model::{Migration, Outcome, Phase};
use super::settings::FailPoint;
use super::state::{Cloud, later};

impl Cloud {
    /// The scheduler has answered.
    pub(super) fn cold_scheduled(&mut self, id: u64, at: Timestamp) {
        let Some(migration) = self.migrations.get(&id).cloned() else { return };
        let Some(host) = self.ranked(&migration).first().map(|host| (*host).to_owned()) else {
            let reason = "No valid host was found. No valid host found for cold migrate".to_owned();
            self.act(&migration, |action| action.end("conductor_migrate_server", at, Outcome::Error(reason)));
            return self.end(id, at, "error");
        };
        self.act(&migration, |action| {
            action.end("conductor_migrate_server", at, Outcome::Success);
            action.step("compute_prep_resize", &host, at, Outcome::Success);
            action.begin("compute_resize_instance", &migration.source, at);
        });
        let due = later(at, self.settings.pace(self.settings.timing.cold_move_ms));
        self.set(id, at, Some("migrating"), Phase::Moving(due));
        if let Some(migration) = self.migrations.get_mut(&id) {
            migration.destination = Some(host.clone());
        }
        self.task(&migration, Some("resize_migrating"), at);
        self.bump(&host);
        self.bump(&migration.source);
    }

    /// The source has handed the server over, or cannot.
    pub(super) fn cold_moved(&mut self, id: u64, at: Timestamp) {
        let Some(migration) = self.migrations.get(&id).cloned() else { return };
        let destination = migration.destination.clone().unwrap_or_default();
        if let Some(reason) = self.strike(&migration, FailPoint::Cold, &destination) {
            self.act(&migration, |action| action.end("compute_resize_instance", at, Outcome::Error(reason)));
            return self.end(id, at, "error");
        }
        self.act(&migration, |action| {
            action.end("compute_resize_instance", at, Outcome::Success);
            action.begin("compute_finish_resize", &destination, at);
        });
        let due = later(at, self.settings.pace(self.settings.timing.cold_finish_ms));
        self.set(id, at, Some("post-migrating"), Phase::Landing(due));
        self.relocate(migration.server, &destination);
        self.task(&migration, Some("resize_finish"), at);
    }

    /// The destination has taken it up: it waits for a confirmation.
    pub(super) fn cold_landed(&mut self, id: u64, at: Timestamp) {
        let Some(migration) = self.migrations.get(&id).cloned() else { return };
        self.act(&migration, |action| action.end("compute_finish_resize", at, Outcome::Success));
        self.set(id, at, Some("finished"), Phase::Finished);
        self.task(&migration, None, at);
        if let Some(server) = self.servers.get_mut(&migration.server) {
            server.state = VmState::Resized;
            server.power_state = migration.before.power_state();
        }
    }

    /// The source has given up what it kept.
    pub(super) fn cold_confirmed(&mut self, id: u64, at: Timestamp) {
        let Some(migration) = self.migrations.get(&id).cloned() else { return };
        self.finish_action(&migration, "confirmResize", "compute_confirm_resize", at);
        self.end(id, at, "confirmed");
        self.bump(&migration.source);
        self.as_before(&migration);
    }

    /// The source has taken it back.
    pub(super) fn cold_reverted(&mut self, id: u64, at: Timestamp) {
        let Some(migration) = self.migrations.get(&id).cloned() else { return };
        self.finish_action(&migration, "revertResize", "compute_revert_resize", at);
        self.end(id, at, "reverted");
        self.relocate(migration.server, &migration.source);
        if let Some(destination) = &migration.destination {
            self.bump(destination);
        }
        self.as_before(&migration);
    }

    fn as_before(&mut self, migration: &Migration) {
        if let Some(server) = self.servers.get_mut(&migration.server) {
            server.state = migration.before;
            server.power_state = migration.before.power_state();
        }
    }

    fn task(&mut self, migration: &Migration, task: Option<&'static str>, at: Timestamp) {
        if let Some(server) = self.servers.get_mut(&migration.server) {
            server.task = task;
            server.updated = at;
        }
    }

    /// The step of a later action than the one that began the move.
    fn finish_action(&mut self, migration: &Migration, name: &str, step: &str, at: Timestamp) {
        if let Some(action) = self.actions.iter_mut().rev().find(|action| action.server == migration.server && action.action == name) {
            action.end(step, at, Outcome::Success);
        }
    }
}
