//! Whether and where a migration fails because somebody steers it so.

use super::model::Migration;
use super::settings::FailPoint;
use super::state::Cloud;

impl Cloud {
    /// Whether the knobs let this migration fail at `point` with this destination.
    fn armed(&self, migration: &Migration, point: FailPoint, destination: &str) -> bool {
        let knobs = self.knobs_of(migration.server, &migration.source);
        let count = self.failures.get(&migration.server).copied().unwrap_or(0);
        knobs.fail == Some(point) && knobs.fail_host.is_none_or(|host| host == destination) && knobs.times.is_none_or(|times| count < times)
    }

    /// Lets it fail when the knobs say so, counts it, and gives the reason.
    pub(super) fn strike(&mut self, migration: &Migration, point: FailPoint, destination: &str) -> Option<String> {
        if !self.armed(migration, point, destination) {
            return None;
        }
        *self.failures.entry(migration.server).or_default() += 1;
        let reason = self.knobs_of(migration.server, &migration.source).reason;
        let network = "Connection to neutron failed: Failed to establish a new connection: Connection refused";
        let text = if point == FailPoint::Network { network.to_owned() } else { format!("simulated failure on {destination}") };
        Some(reason.unwrap_or(text))
    }

    /// Where the copy breaks, if it does: the point, and the share of the memory that is sent before.
    pub(super) fn breaks_at(&self, migration: &Migration) -> Option<(FailPoint, f64)> {
        let destination = migration.destination.as_deref().unwrap_or_default();
        let point = [FailPoint::During, FailPoint::Raise].into_iter().find(|point| self.armed(migration, *point, destination))?;
        Some((point, self.knobs_of(migration.server, &migration.source).fail_at.unwrap_or(0.5).clamp(0.0, 1.0)))
    }
}
