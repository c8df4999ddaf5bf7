//! How a live migration goes on by itself: what is due next, and what happens then.
//!
//! ```text
//!  POST ── row ── checks ─┬─ cast ─┬─ preparing ── starting ── copying ── leaving ── arrived ── completed
//!  (no row)  accepted     │        └─ queued ─┘     running     running    running    running
//!                         └─ error                     │           │
//!                            (no valid host)       rolled back: failed | cancelled | error
//! ```
//!
//! The server's own columns change at other moments than the row, as in real Nova: it stands on the destination with no task while its row still says `running`,
//! and a rollback clears the task before the row has its end. Times come from [`super::settings::Timing`].
//!
//! [`Cloud::advance`] lets everything happen that is due, one event after the other and each at its own time, so that it does not matter how often anybody looks.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::copy::{Copy, MIB, Rates, RoundEnd};
use super::describe::VmState;
use super::groups::allowed_hosts;
use super::model::{Action, Fault, Migration, MoveKind, Outcome, Phase, Sample};
use super::scheduler::{Candidate, rank};
use super::settings::{AfterRollback, FailPoint};
use super::state::{Cloud, later};

/// Copies by their source.
type Shares = BTreeMap<String, u32>;

impl Cloud {
    /// Lets everything happen that is due until `now`. Going back in time does nothing.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((at, id)) = self.next_event().filter(|(at, _)| *at <= now) {
            self.settle(at);
            self.now = self.now.max(at);
            self.fire(id, at);
            if self.migrations.get(&id).is_some_and(|one| matches!(one.phase, Phase::Ended)) {
                self.open.remove(&id);
            }
            self.admit();
        }
        self.now = self.now.max(now);
        self.settle(self.now);
    }

    /// When the next thing happens by itself, and to which migration.
    fn next_event(&self) -> Option<(Timestamp, u64)> {
        let shares = self.shares();
        self.open().filter_map(|migration| self.due(migration, &shares).map(|at| (at, migration.id))).min()
    }

    fn due(&self, migration: &Migration, shares: &Shares) -> Option<Timestamp> {
        let phase = match &migration.phase {
            Phase::Posted(at)
            | Phase::Checking(at)
            | Phase::Cast(at)
            | Phase::Preparing(at)
            | Phase::Starting(at)
            | Phase::Leaving(at)
            | Phase::Arrived(at)
            | Phase::RollingBack(at, _)
            | Phase::Scheduling(at)
            | Phase::Moving(at)
            | Phase::Landing(at)
            | Phase::Confirming(at)
            | Phase::Reverting(at)
            | Phase::Souring(at) => Some(*at),
            Phase::Copying(copy) => self.copy_due(migration, copy, shares),
            Phase::Queued(_) | Phase::Orphaned | Phase::Finished | Phase::Ended => None,
        };
        [phase, migration.next_sample].into_iter().flatten().min()
    }

    fn copy_due(&self, migration: &Migration, copy: &Copy, shares: &Shares) -> Option<Timestamp> {
        let send = self.rates(migration, shares).send;
        let fails = self.breaks_at(migration).and_then(|(_, share)| copy.seconds_to_share(share, send));
        let seconds = [copy.seconds_to_round_end(send), fails].into_iter().flatten().reduce(f64::min)?;
        // A nanosecond more than computed, so that rounding cannot make an event that changes nothing.
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).saturating_add(Duration::from_nanos(1));
        Some(later(self.settled, wait))
    }

    /// How many copies leave each host at this moment.
    fn shares(&self) -> Shares {
        let mut shares = Shares::new();
        self.copying().for_each(|migration| *shares.entry(migration.source.clone()).or_default() += 1);
        shares
    }

    /// What a copy is allowed at this moment: the source's bandwidth is shared by the copies that leave it.
    fn rates(&self, migration: &Migration, shares: &Shares) -> Rates {
        let knobs = self.knobs_of(migration.server, &migration.source);
        let sharing = shares.get(&migration.source).copied().unwrap_or(1);
        let speed = self.settings.speed;
        let send = if knobs.stall == Some(true) { 0.0 } else { knobs.bandwidth.unwrap_or(self.settings.bandwidth) * MIB * speed / f64::from(sharing) };
        Rates {
            send: send.max(0.0),
            dirty: knobs.dirty_rate.unwrap_or(self.settings.dirty_rate).max(0.0) * MIB * speed,
            max_downtime: self.settings.pace(self.settings.max_downtime_ms).as_secs_f64(),
            hold: knobs.hold == Some(true),
        }
    }

    fn settle(&mut self, to: Timestamp) {
        let seconds = to.duration_since(self.settled).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let shares = self.shares();
        let rates: Vec<(u64, f64)> = self.copying().map(|migration| (migration.id, self.rates(migration, &shares).send)).collect();
        for (id, send) in rates {
            if let Some(Migration { phase: Phase::Copying(copy), .. }) = self.migrations.get_mut(&id) {
                copy.settle(seconds, send);
            }
        }
        self.settled = to;
    }

    fn copying(&self) -> impl Iterator<Item = &Migration> {
        self.open().filter(|migration| matches!(migration.phase, Phase::Copying(_)))
    }

    fn fire(&mut self, id: u64, at: Timestamp) {
        let Some(migration) = self.migrations.get(&id) else { return };
        if migration.next_sample.is_some_and(|due| due <= at) {
            self.sample(id, at);
        }
        let Some(migration) = self.migrations.get(&id) else { return };
        let phase = migration.phase.clone();
        let alone = !self.hosts.get(&migration.source).is_some_and(|host| host.up);
        match phase {
            Phase::Cast(_) | Phase::Preparing(_) | Phase::Leaving(_) if alone => self.orphan(id),
            Phase::Posted(due) if due <= at => self.make_row(id, at),
            Phase::Checking(due) if due <= at => self.check(id, at),
            Phase::Cast(due) if due <= at => self.set(id, at, Some("queued"), Phase::Queued(at)),
            Phase::Preparing(due) if due <= at => self.prepared(id, at),
            Phase::Starting(due) if due <= at => self.start_copy(id),
            Phase::Copying(copy) => self.copy_event(id, at, &copy),
            Phase::Leaving(due) if due <= at => self.arrive(id, at),
            Phase::Arrived(due) if due <= at => self.complete(id, at),
            Phase::RollingBack(due, word) if due <= at => self.rolled_back(id, at, word),
            Phase::Souring(due) if due <= at => self.sour(id, at),
            Phase::Scheduling(due) if due <= at => self.cold_scheduled(id, at),
            Phase::Moving(due) if due <= at => self.cold_moved(id, at),
            Phase::Landing(due) if due <= at => self.cold_landed(id, at),
            Phase::Confirming(due) if due <= at => self.cold_confirmed(id, at),
            Phase::Reverting(due) if due <= at => self.cold_reverted(id, at),
            _ => {}
        }
    }

    fn make_row(&mut self, id: u64, at: Timestamp) {
        let due = later(at, self.settings.pace(self.settings.timing.checks_ms));
        if let Some(migration) = self.migrations.get_mut(&id) {
            migration.created_at = at;
            let live = migration.kind == MoveKind::Live;
            migration.status = Some(if live { "accepted" } else { "pre-migrating" });
            migration.phase = if live { Phase::Checking(due) } else { Phase::Scheduling(due) };
        }
    }

    /// The conductor: schedules, lets source and destination check, and tries the next host when one refuses.
    fn check(&mut self, id: u64, at: Timestamp) {
        let Some(migration) = self.migrations.get(&id).cloned() else { return };
        if !self.hosts.get(&migration.source).is_some_and(super::model::Host::is_up) {
            return self.refuse(&migration, at, &format!("Compute service of {} is unavailable at this time.", migration.source));
        }
        if let Some(reason) = self.strike(&migration, FailPoint::Network, "") {
            return self.refuse(&migration, at, &reason);
        }
        let hosts: Vec<String> = self.ranked(&migration).into_iter().map(str::to_owned).collect();
        for host in hosts {
            if let Some(reason) = self.strike(&migration, FailPoint::CheckDestination, &host) {
                let text = format!("Migration pre-check error: {reason}");
                self.act(&migration, |action| action.step("compute_check_can_live_migrate_destination", &host, at, Outcome::Error(text)));
                continue;
            }
            if let Some(reason) = self.strike(&migration, FailPoint::CheckSource, &host) {
                self.source_refuses(&migration, &host, at, &reason);
                continue;
            }
            return self.accept(&migration, &host, at);
        }
        self.refuse(
            &migration,
            at,
            if migration.wanted.is_some() { "No valid host was found. " } else { "No valid host was found. There are not enough hosts available." },
        );
    }

    fn source_refuses(&mut self, migration: &Migration, host: &str, at: Timestamp, reason: &str) {
        let text = format!("Migration pre-check error: {reason}");
        let source = migration.source.clone();
        let remote = format!("Error while check_can_live_migrate_source from {source} to host {host}: MigrationPreCheckError_Remote {text}");
        self.act(migration, |action| {
            action.step("compute_check_can_live_migrate_destination", host, at, Outcome::Error(remote));
            action.step("compute_check_can_live_migrate_source", &source, at, Outcome::Error(text));
        });
    }

    fn accept(&mut self, migration: &Migration, host: &str, at: Timestamp) {
        let source = migration.source.clone();
        self.act(migration, |action| {
            action.step("compute_check_can_live_migrate_destination", host, at, Outcome::Success);
            action.step("compute_check_can_live_migrate_source", &source, at, Outcome::Success);
            action.step("compute_live_migration", &source, at, Outcome::Success);
            action.end("conductor_live_migrate_instance", at, Outcome::Success);
        });
        let due = later(at, self.settings.pace(self.settings.timing.cast_ms));
        self.set(migration.id, at, None, Phase::Cast(due));
        if let Some(migration) = self.migrations.get_mut(&migration.id) {
            migration.destination = Some(host.to_owned());
        }
        self.bump(host);
        self.bump(&source);
    }

    fn refuse(&mut self, migration: &Migration, at: Timestamp, reason: &str) {
        self.act(migration, |action| action.end("conductor_live_migrate_instance", at, Outcome::Error(reason.to_owned())));
        self.end(migration.id, at, "error");
    }

    /// Gives free slots to those who wait, in the order in which their checks ended.
    pub(super) fn admit(&mut self) {
        let at = self.now;
        let since = |migration: &Migration| if let Phase::Queued(since) = migration.phase { Some((since, migration.id)) } else { None };
        let mut queued: Vec<(Timestamp, u64)> = self.open().filter_map(since).collect();
        if queued.is_empty() {
            return;
        }
        queued.sort_unstable();
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        self.open().filter(|one| one.holds_slot()).for_each(|one| *taken.entry(one.source.clone()).or_default() += 1);
        for (_, id) in queued {
            let Some(migration) = self.migrations.get(&id) else { continue };
            let of_source = taken.entry(migration.source.clone()).or_default();
            if *of_source >= self.settings.max_concurrent_live_migrations || !self.hosts.get(&migration.source).is_some_and(|host| host.up) {
                continue;
            }
            *of_source += 1;
            let migration = migration.clone();
            let due = later(at, self.settings.pace(self.settings.timing.prepare_ms));
            self.set(id, at, Some("preparing"), Phase::Preparing(due));
            if let Some(destination) = &migration.destination {
                self.act(&migration, |action| action.begin("compute_pre_live_migration", destination, at));
            }
        }
    }

    fn prepared(&mut self, id: u64, at: Timestamp) {
        let Some(migration) = self.migrations.get(&id).cloned() else { return };
        let destination = migration.destination.clone().unwrap_or_default();
        if let Some(reason) = self.strike(&migration, FailPoint::Pre, &destination) {
            self.act(&migration, |action| {
                action.end("compute_pre_live_migration", at, Outcome::Error(reason));
                action.step("compute_rollback_live_migration_at_destination", &destination, at, Outcome::Success);
            });
            return self.end(id, at, "failed");
        }
        self.act(&migration, |action| action.end("compute_pre_live_migration", at, Outcome::Success));
        let timing = self.settings.timing;
        self.set(id, at, Some("running"), Phase::Starting(later(at, self.settings.pace(timing.start_ms))));
        let first = later(at, self.settings.pace(timing.first_sample_ms));
        if let Some(migration) = self.migrations.get_mut(&id) {
            migration.next_sample = Some(first);
        }
    }

    fn start_copy(&mut self, id: u64) {
        let Some(migration) = self.migrations.get(&id) else { return };
        let megabytes = self.knobs_of(migration.server, &migration.source).memory_mb.unwrap_or(migration.size.ram_mb);
        let megabytes = u32::try_from(megabytes).unwrap_or(u32::MAX);
        if let Some(migration) = self.migrations.get_mut(&id) {
            migration.phase = Phase::Copying(Copy::new(f64::from(megabytes)));
        }
    }

    fn sample(&mut self, id: u64, at: Timestamp) {
        let next = later(at, self.settings.pace(self.settings.timing.sample_ms).max(Duration::from_millis(1)));
        let Some(migration) = self.migrations.get_mut(&id) else { return };
        // nova-compute takes the first sample before the first byte: all zeros, whatever the copy has done by then.
        let sample = match (&migration.phase, migration.sample) {
            (Phase::Copying(copy), Some(_)) => {
                let (total, processed, remaining) = copy.counters();
                Sample { total, processed, remaining }
            }
            _ => Sample::default(),
        };
        migration.next_sample = matches!(migration.phase, Phase::Starting(_) | Phase::Copying(_)).then_some(next);
        migration.sample = Some(sample);
        migration.updated_at = Some(at);
        let server = migration.server;
        if let Some(server) = self.servers.get_mut(&server) {
            server.progress = (sample.total - sample.remaining.min(sample.total)) * 100 / sample.total.max(1);
        }
    }

    fn copy_event(&mut self, id: u64, at: Timestamp, copy: &Copy) {
        let Some(migration) = self.migrations.get(&id).cloned() else { return };
        if let Some((point, share)) = self.breaks_at(&migration)
            && copy.has_sent(share)
        {
            let destination = migration.destination.clone().unwrap_or_default();
            self.strike(&migration, point, &destination);
            let word = if point == FailPoint::Raise { "error" } else { "failed" };
            let due = later(at, self.settings.pace(self.settings.timing.rollback_ms));
            return self.roll_back(id, due, word);
        }
        if !copy.round_is_over() {
            return;
        }
        let rates = self.rates(&migration, &self.shares());
        let due = later(at, self.settings.pace(self.settings.timing.leave_ms));
        if let Some(migration) = self.migrations.get_mut(&id)
            && let Phase::Copying(copy) = &mut migration.phase
            && copy.end_round(rates) == RoundEnd::Switched
        {
            migration.phase = Phase::Leaving(due);
            migration.next_sample = None;
        }
    }

    fn roll_back(&mut self, id: u64, due: Timestamp, word: &'static str) {
        if let Some(migration) = self.migrations.get_mut(&id) {
            migration.phase = Phase::RollingBack(due, word);
            migration.next_sample = None;
        }
    }

    fn rolled_back(&mut self, id: u64, at: Timestamp, word: &'static str) {
        let Some(migration) = self.migrations.get(&id).cloned() else { return };
        let was_queued = migration.status == Some("queued");
        self.end(id, at, word);
        if word == "error" {
            self.break_server(migration.server, at, None);
        } else if self.after_rollback(&migration) == AfterRollback::Error && migration.status == Some("running") {
            let due = later(at, self.settings.pace(self.settings.timing.rollback_error_ms));
            if let Some(migration) = self.migrations.get_mut(&id) {
                migration.phase = Phase::Souring(due);
            }
        } else if !was_queued && let Some(destination) = &migration.destination {
            self.act(&migration, |action| action.step("compute_rollback_live_migration_at_destination", destination, at, Outcome::Success));
        }
    }

    fn after_rollback(&self, migration: &Migration) -> AfterRollback {
        self.knobs_of(migration.server, &migration.source).after_rollback.unwrap_or(self.settings.after_rollback)
    }

    fn sour(&mut self, id: u64, at: Timestamp) {
        self.set(id, at, Some("error"), Phase::Ended);
        if let Some(server) = self.migrations.get(&id).map(|migration| migration.server) {
            self.break_server(server, at, None);
        }
    }

    fn orphan(&mut self, id: u64) {
        if let Some(migration) = self.migrations.get_mut(&id) {
            migration.phase = Phase::Orphaned;
            migration.next_sample = None;
        }
    }

    /// nova-compute on `source` starts again: it gives up the migrations that it finds under way. Where the guest had left already, Nova believes it on the source all the
    /// same, and only its power state shows it.
    pub(super) fn give_up(&mut self, source: &str) {
        let found = |migration: &&Migration| migration.source == source && matches!(migration.phase, Phase::Orphaned | Phase::Queued(_));
        let found: Vec<Migration> = self.open().filter(found).cloned().collect();
        for migration in found {
            self.end(migration.id, self.now, "error");
            if migration.status == Some("running")
                && let Some(server) = self.servers.get_mut(&migration.server)
            {
                server.power_state = 0;
            }
        }
        self.prune();
    }

    /// The guest has left the source and Nova notices.
    fn arrive(&mut self, id: u64, at: Timestamp) {
        let Some(migration) = self.migrations.get(&id).cloned() else { return };
        let destination = migration.destination.clone().unwrap_or_default();
        if self.strike(&migration, FailPoint::StayOnSource, &destination).is_some() {
            return self.end(id, at, "completed");
        }
        if self.strike(&migration, FailPoint::RecordBehind, &destination).is_some() {
            return self.set(id, at, Some("completed"), Phase::Ended);
        }
        self.relocate(migration.server, &destination);
        if let Some(server) = self.servers.get_mut(&migration.server) {
            server.task = None;
            server.progress = 0;
            server.updated = at;
        }
        self.bump(&migration.source);
        if let Some(reason) = self.strike(&migration, FailPoint::PostDestination, &destination) {
            let text = reason.clone();
            self.act(&migration, |action| action.step("compute_post_live_migration_at_destination", &destination, at, Outcome::Error(text)));
            self.end(id, at, "error");
            self.break_server(migration.server, at, Some(reason));
            return;
        }
        self.act(&migration, |action| action.step("compute_post_live_migration_at_destination", &destination, at, Outcome::Success));
        let due = later(at, self.settings.pace(self.settings.timing.complete_ms));
        if let Some(migration) = self.migrations.get_mut(&id) {
            migration.phase = Phase::Arrived(due);
        }
    }

    /// The row of a server that arrived gets its last word. The server is left alone: it may be on its next move already.
    fn complete(&mut self, id: u64, at: Timestamp) {
        self.set(id, at, Some("completed"), Phase::Ended);
        if let Some(migration) = self.migrations.get_mut(&id) {
            migration.sample = None;
        }
    }

    /// The row gets its last word, and the server has no task any more.
    pub(super) fn end(&mut self, id: u64, at: Timestamp, word: &'static str) {
        self.set(id, at, Some(word), Phase::Ended);
        let Some(migration) = self.migrations.get_mut(&id) else { return };
        migration.sample = None;
        migration.next_sample = None;
        let (server, source) = (migration.server, migration.source.clone());
        if let Some(server) = self.servers.get_mut(&server) {
            server.task = None;
            server.progress = 0;
            server.updated = at;
        }
        self.bump(&source);
        tracing::debug!(migration = id, %server, status = word, "Migration ended");
    }

    fn break_server(&mut self, id: Uuid, at: Timestamp, fault: Option<String>) {
        if let Some(server) = self.servers.get_mut(&id) {
            server.state = VmState::Error;
            server.updated = at;
            if fault.is_some() {
                server.power_state = 0;
            }
            server.fault = fault.map(|message| Fault { message, created: at });
        }
    }

    pub(super) fn set(&mut self, id: u64, at: Timestamp, word: Option<&'static str>, phase: Phase) {
        if let Some(migration) = self.migrations.get_mut(&id) {
            migration.status = word.or(migration.status);
            migration.updated_at = Some(at);
            if matches!(phase, Phase::Preparing(_)) {
                migration.slot_at.get_or_insert(at);
            }
            migration.phase = phase;
        }
    }

    pub(super) fn act(&mut self, migration: &Migration, change: impl FnOnce(&mut Action)) {
        if let Some(action) = self.actions.iter_mut().rev().find(|action| action.request_id == migration.request_id) {
            change(action);
        }
    }

    /// The hosts that may receive the server of this migration, best first.
    pub(super) fn ranked(&self, migration: &Migration) -> Vec<&str> {
        let usage = self.usage();
        let in_group = allowed_hosts(self, migration.server);
        let candidates = self.hosts.values().map(|host| Candidate {
            host,
            allocated: usage.get(host.name.as_str()).copied().unwrap_or_default(),
            capacity: self.settings.capacity(&host.name),
            fits_group: in_group(&host.name),
            resident_mb: self.residents.get(&host.name).map_or(0, |there| there.size.ram_mb),
        });
        rank(candidates.collect(), migration.size, &migration.source, migration.wanted.as_deref())
    }
}
