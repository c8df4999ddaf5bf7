//! The freshness gate, fail-closed: no decision on a view of the cloud that is too old, or that nobody ever had.

use std::time::Duration;

use jiff::Timestamp;

use super::Verdict;

/// Passes when the view's first call was begun less than `stale_after` ago. Both moments are on the operator's clock; a view from the future means that the clock was set back, and counts by
/// its distance.
pub fn fresh(cloud: &str, begun_at: Option<Timestamp>, stale_after: Duration, now: Timestamp) -> Verdict {
    let Some(begun_at) = begun_at else {
        return refuse(format!("OpenStackCloud {cloud} has not been read yet; look at its conditions Ready and CredentialsValid."));
    };
    if now.duration_since(begun_at).unsigned_abs() < stale_after {
        return Verdict::Pass;
    }
    refuse(format!(
        "The last view of OpenStackCloud {cloud} is of {begun_at:.0} and nothing is decided on a view older than {stale_after:?} (spec.inventory.staleAfter); look at its condition InventoryFresh."
    ))
}

fn refuse(message: String) -> Verdict {
    Verdict::Refuse { reason: "InventoryStale", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(age_secs: i64) -> Verdict {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let begun = Timestamp::from_second(1_000_000 - age_secs).unwrap();
        fresh("production", Some(begun), Duration::from_secs(90), now)
    }

    #[test]
    fn fresh_view_younger_than_stale_after_passes() {
        assert_eq!(verdict(0), Verdict::Pass);
        assert_eq!(verdict(89), Verdict::Pass);
    }

    #[test]
    fn fresh_view_as_old_as_stale_after_is_refused_with_its_moment_and_the_limit() {
        let verdict = verdict(90);
        let message = verdict.refusal().unwrap();
        assert!(message.contains("production") && message.contains("90s") && message.contains("1970-01-12T13:45:10Z"), "{message}");
    }

    #[test]
    fn a_small_step_back_of_the_clock_does_not_matter_and_a_large_one_closes_the_gate() {
        assert_eq!(verdict(-2), Verdict::Pass);
        assert!(verdict(-3600).refusal().is_some());
    }

    #[test]
    fn fresh_view_of_a_cloud_that_was_never_read_is_refused() {
        let verdict = fresh("production", None, Duration::from_secs(90), Timestamp::UNIX_EPOCH);
        assert!(matches!(verdict, Verdict::Refuse { reason: "InventoryStale", .. }));
    }
}
