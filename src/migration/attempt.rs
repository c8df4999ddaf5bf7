//! One attempt: which of Nova's records is its own, and whether there is any trace of it.

use jiff::Timestamp;

use super::MOST_PROBES;
use crate::api::run::{Attempt, MigrationRunStatus, MoveKind, Outcome};
use crate::inventory::{HostName, NovaMigration, Server, ServerId};

/// Where Nova shows the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerSight {
    /// On the source host.
    OnSource(Server),
    /// On another host.
    Elsewhere(Server),
    /// Nova knows no such server.
    Gone,
}

/// Two reads that were begun after a moment and showed neither row nor action nor task of the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// When the earlier of the two was begun.
    pub first_begun_at: Timestamp,
}

/// The attempt that has no end yet. There is at most one, and it is the last.
#[must_use]
pub fn open_attempt(status: &MigrationRunStatus) -> Option<&Attempt> {
    status.attempts.last().filter(|attempt| attempt.ended_at.is_none())
}

/// How many ended attempts count as ones of `maxAttempts`.
#[must_use]
pub fn used_up(status: &MigrationRunStatus) -> u32 {
    let ended = status.attempts.iter().filter(|attempt| attempt.ended_at.is_some());
    u32::try_from(ended.filter(|attempt| attempt.outcome.is_none_or(Outcome::uses_up_an_attempt)).count()).unwrap_or(u32::MAX)
}

/// How often a destination refused the server before anything was copied.
#[must_use]
pub fn refusals(status: &MigrationRunStatus) -> usize {
    status.attempts.iter().filter(|attempt| attempt.outcome == Some(Outcome::DestinationRefused)).count()
}

/// Whether one more request may fail while the brake holds without using up an attempt.
#[must_use]
pub fn has_free_probes(status: &MigrationRunStatus) -> bool {
    status.attempts.iter().filter(|attempt| attempt.outcome == Some(Outcome::DependencyDown)).count() < MOST_PROBES
}

/// Nova's record of this attempt: the one already adopted, else the oldest migration of its kind of this server from this source whose id is higher than any that Nova
/// showed before the request.
#[must_use]
pub fn find_row<'a>(attempt: &Attempt, server: ServerId, source: &HostName, rows: &'a [NovaMigration]) -> Option<&'a NovaMigration> {
    let own = |row: &&NovaMigration| row.server == server;
    if let Some(id) = attempt.migration_id {
        return rows.iter().filter(own).find(|row| i64::try_from(row.id).is_ok_and(|row_id| row_id == id));
    }
    rows.iter()
        .filter(own)
        .filter(|row| row.migration_type == type_of(attempt.kind) || (row.migration_type.is_empty() && attempt.kind == MoveKind::Live))
        .filter(|row| row.source_compute.as_ref().is_none_or(|from| from == source))
        .filter(|row| attempt.highest_migration_id_before.is_none_or(|before| i64::try_from(row.id).is_ok_and(|row_id| row_id > before)))
        .min_by_key(|row| row.id)
}

/// Nova's word for a kind of move.
fn type_of(kind: MoveKind) -> &'static str {
    match kind {
        MoveKind::Live => "live-migration",
        MoveKind::Cold => "migration",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migration::decide::fixtures::{attempt, row, server_id, source};

    #[test]
    fn the_record_of_an_attempt_is_the_oldest_that_is_newer_than_what_was_there_before() {
        let rows = [row(9, "completed"), row(8, "error"), row(7, "completed")];
        let mut open = attempt(1);
        open.highest_migration_id_before = Some(7);
        assert_eq!(find_row(&open, server_id(), &source(), &rows).unwrap().id, 8);
    }

    #[test]
    fn an_adopted_record_is_found_by_its_id() {
        let rows = [row(9, "completed"), row(8, "error")];
        let mut open = attempt(1);
        open.migration_id = Some(9);
        assert_eq!(find_row(&open, server_id(), &source(), &rows).unwrap().id, 9);
    }

    #[test]
    fn earlier_records_and_other_kinds_of_move_are_not_adopted() {
        let mut cold = row(9, "finished");
        cold.migration_type = "migration".into();
        let mut open = attempt(1);
        open.highest_migration_id_before = Some(8);
        assert_eq!(find_row(&open, server_id(), &source(), &[row(8, "completed"), cold.clone()]), None);
        open.kind = MoveKind::Cold;
        assert_eq!(find_row(&open, server_id(), &source(), &[row(10, "running"), cold]).unwrap().id, 9);
    }

    #[test]
    fn what_was_refused_or_withdrawn_uses_up_no_attempt() {
        let ended = |outcome| {
            let mut one = attempt(1);
            (one.ended_at, one.outcome) = (Some(one.intent_at.clone()), Some(outcome));
            one
        };
        let attempts = vec![ended(Outcome::DestinationRefused), ended(Outcome::Withdrawn), ended(Outcome::DependencyDown), ended(Outcome::Error), attempt(2)];
        let status = MigrationRunStatus { attempts, ..MigrationRunStatus::default() };
        assert_eq!((used_up(&status), refusals(&status)), (1, 1));
    }
}
