//! The gate of the one active quarantine per host, fail-closed: two objects that drain and release one host would work against each other.

use super::{Claim, Verdict};
use crate::api::condition::ANOTHER_ACTIVE;

/// Passes when no other active quarantine goes before this one on the same host. One that was accepted keeps the host; of those that were not, the oldest wins, and of those made in the same
/// second the one with the smallest UID.
pub fn only_active(applicant: &Claim, claims: &[Claim]) -> Verdict {
    let winner = claims.iter().find(|other| {
        other.uid != applicant.uid && other.cloud == applicant.cloud && other.host == applicant.host && other.is_active() && other.goes_before(applicant)
    });
    match winner {
        None => Verdict::Pass,
        Some(other) => Verdict::Refuse {
            reason: ANOTHER_ACTIVE,
            message: format!(
                "HostQuarantine {} is active on host {} of OpenStackCloud {} already; once it is released, make a new HostQuarantine if one is still needed.",
                other.name, other.host, other.cloud
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::Acceptance;
    use super::super::testing::claim;
    use super::*;
    use crate::api::units::Mode;

    fn created(name: &str, second: i64) -> Claim {
        Claim { created: Timestamp::from_second(second).unwrap(), ..claim(name, "cmp-1") }
    }

    #[test]
    fn active_the_oldest_wins() {
        let (old, new) = (created("old", 1), created("new", 2));
        let all = [new.clone(), old.clone()];
        assert_eq!(only_active(&old, &all), Verdict::Pass);
        let refused = only_active(&new, &all);
        assert!(matches!(&refused, Verdict::Refuse { reason: ANOTHER_ACTIVE, message } if message.contains("HostQuarantine old ")), "{refused:?}");
        assert!(refused.is_final());
    }

    #[test]
    fn active_of_two_made_in_the_same_second_the_smaller_uid_wins() {
        let (a, b) = (created("a", 1), created("b", 1));
        let all = [b.clone(), a.clone()];
        assert_eq!(only_active(&a, &all), Verdict::Pass);
        assert!(only_active(&b, &all).refusal().is_some());
    }

    #[test]
    fn active_an_accepted_one_keeps_the_host_from_an_older_one_that_came_to_enforce_later() {
        let older = created("older", 1);
        let accepted = Claim { acceptance: Acceptance::Accepted, ..created("accepted", 2) };
        let all = [older.clone(), accepted.clone()];
        assert!(only_active(&older, &all).refusal().is_some());
    }

    #[test]
    fn active_what_is_not_or_is_elsewhere_shields_nothing() {
        let base = created("other", 1);
        let new = created("new", 2);
        for (what, other) in [
            ("mode Observe", Claim { mode: Mode::Observe, ..base.clone() }),
            ("refused", Claim { acceptance: Acceptance::Refused, ..base.clone() }),
            ("released", Claim { acceptance: Acceptance::Accepted, released_at: Some(Timestamp::UNIX_EPOCH), ..base.clone() }),
            ("being deleted", Claim { acceptance: Acceptance::Accepted, deleting: true, ..base.clone() }),
            ("another host", Claim { host: "cmp-2".into(), ..base.clone() }),
            ("another cloud", Claim { cloud: "staging".into(), ..base.clone() }),
        ] {
            assert_eq!(only_active(&new, &[other, new.clone()]), Verdict::Pass, "{what}");
        }
    }
}
