//! The gate of what decisions stand on: sentinels that are tied to their nodes, and kinds that are not older than the operator.

use super::{Claim, Verdict};
use crate::api::units::Mode;

/// Passes unless the kinds are older than the operator (`outdated`), or the object came of an alert whose sentinel may have lied about its node (`unenforced`). What people make needs no
/// sentinel's word. Closed: what was not compared yet counts as outdated and unenforced.
pub fn grounds(applicant: &Claim, unenforced: Option<&str>, outdated: Option<&str>) -> Verdict {
    match (outdated, unenforced) {
        _ if applicant.mode == Mode::Observe => Verdict::Pass,
        (Some(why), _) => Verdict::Refuse { reason: "CRDOutdated", message: why.to_owned() },
        (None, Some(why)) if !applicant.by_person => Verdict::Refuse { reason: "IdentityUnenforced", message: why.to_owned() },
        (None, _) => Verdict::Pass,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::claim;
    use super::*;

    fn reason(verdict: &Verdict) -> Option<&str> {
        match verdict {
            Verdict::Pass => None,
            Verdict::Refuse { reason, .. } => Some(reason),
        }
    }

    #[test]
    fn identity_what_a_person_made_needs_no_sentinels_word_and_nothing_starts_with_outdated_kinds() {
        let decided = Claim { by_person: false, ..claim("decided", "cmp-1") };
        let by_hand = Claim { by_person: true, ..claim("by-hand", "cmp-1") };
        let watching = Claim { mode: Mode::Observe, ..decided.clone() };
        let table = [
            (&decided, None, None, None),
            (&decided, Some("no policy"), None, Some("IdentityUnenforced")),
            (&by_hand, Some("no policy"), None, None),
            (&decided, Some("no policy"), Some("no field"), Some("CRDOutdated")),
            (&by_hand, None, Some("no field"), Some("CRDOutdated")),
            (&watching, Some("no policy"), Some("no field"), None),
        ];
        for (claim, unenforced, outdated, expected) in table {
            assert_eq!(reason(&grounds(claim, unenforced, outdated)), expected, "{} {unenforced:?} {outdated:?}", claim.name);
        }
    }
}
