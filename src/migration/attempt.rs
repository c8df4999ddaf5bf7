//! One attempt: which of Nova's records is its own, and whether there is any trace of it.

use jiff::Timestamp;

use crate::api::run::{Attempt, MigrationRunStatus};
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

/// Nova's record of this attempt: the one already adopted, else the oldest live migration of this server from this source whose id is higher than any that Nova
/// showed before the request.
#[must_use]
pub fn find_row<'a>(attempt: &Attempt, server: ServerId, source: &HostName, rows: &'a [NovaMigration]) -> Option<&'a NovaMigration> {
    let own = |row: &&NovaMigration| row.server == server;
    if let Some(id) = attempt.migration_id {
        return rows.iter().filter(own).find(|row| i64::try_from(row.id).is_ok_and(|row_id| row_id == id));
    }
    rows.iter()
        .filter(own)
        .filter(|row| row.migration_type.is_empty() || row.migration_type == "live-migration")
        .filter(|row| row.source_compute.as_ref().is_none_or(|from| from == source))
        .filter(|row| attempt.highest_migration_id_before.is_none_or(|before| i64::try_from(row.id).is_ok_and(|row_id| row_id > before)))
        .min_by_key(|row| row.id)
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
        assert_eq!(find_row(&open, server_id(), &source(), &[row(8, "completed"), cold]), None);
    }
}
