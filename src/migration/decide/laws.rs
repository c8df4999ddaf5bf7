//! Laws of a run, whatever Nova shows in whatever order: nothing is asked twice, everything ends.

use jiff::Timestamp;
use proptest::prelude::*;

use super::fixtures::{at, on_source, row, run, server};
use super::*;
use crate::api::run::{ATTEMPTS_KEPT, Outcome};
use crate::inventory::RowStatus;
use crate::migration::{MOST_REFUSALS, UNRESOLVED_AFTER, used_up};

const WORDS: [&str; 14] = [
    "",
    "accepted",
    "queued",
    "preparing",
    "running",
    "completed",
    "failed",
    "error",
    "cancelled",
    "migrating",
    "finished",
    "confirming",
    "confirmed",
    "reverted",
];
const STATES: [(&str, Option<&str>); 7] =
    [("ACTIVE", None), ("ACTIVE", None), ("MIGRATING", Some("migrating")), ("SHUTOFF", None), ("VERIFY_RESIZE", None), ("PAUSED", None), ("ERROR", None)];

/// One look, drawn at random: what the row of the latest request says, where the server is, and what people want.
#[derive(Clone, Debug)]
struct Look {
    seconds: i64,
    word: &'static str,
    state: (&'static str, Option<&'static str>),
    elsewhere: u8,
    listed: bool,
    traceless: bool,
    standing: u8,
    wish: Wish,
    aborted: bool,
    unfit: bool,
    others_wait: bool,
    braked: bool,
}

fn look() -> impl Strategy<Value = Look> {
    let times = prop::sample::select(vec![0_i64, 1, 1, 5, 20, 61, 300, 2000]);
    let wish = prop::sample::select(vec![Wish::GoOn, Wish::GoOn, Wish::GoOn, Wish::WithdrawQueued, Wish::AbortAll]);
    let rare = || prop::bool::weighted(0.05);
    let nova = (times, prop::sample::select(WORDS.to_vec()), prop::sample::select(STATES.to_vec()), 0_u8..12, any::<bool>(), any::<bool>());
    (nova, (0_u8..20, wish, rare(), rare(), any::<bool>(), rare())).prop_map(|(nova, people)| {
        let (seconds, word, state, elsewhere, listed, traceless) = nova;
        let (standing, wish, aborted, unfit, others_wait, braked) = people;
        Look { seconds, word, state, elsewhere, listed, traceless, standing, wish, aborted, unfit, others_wait, braked }
    })
}

impl Look {
    /// What is seen at `now` of the requests that went out so far; the `n`th made the record 10 n.
    fn seen(&self, requests: u64, kind: MoveKind, now: Timestamp) -> Observation {
        let mut rows: Vec<NovaMigration> = (1..requests).map(|n| row(10 * n, "error")).collect();
        if requests > 0 && !self.word.is_empty() {
            rows.push(row(10 * requests, self.word));
        }
        for row in &mut rows {
            row.migration_type = if kind == MoveKind::Cold { "migration" } else { "live-migration" }.to_owned();
        }
        let (status, task) = self.state;
        let server = match self.elsewhere {
            0 => ServerSight::Gone,
            1 | 2 => ServerSight::Elsewhere(server("cmp-2", status, task)),
            3 => ServerSight::Elsewhere(server("cmp-3", status, task)),
            _ => ServerSight::OnSource(server("cmp-1", status, task)),
        };
        let standing = match self.standing {
            0 => Standing::Over("over".into()),
            1 => Standing::Refuses("No", "no".into()),
            2 | 3 => Standing::holds("not now"),
            _ => Standing::Permits,
        };
        Observation {
            server,
            listed_on_source: Some(self.listed),
            rows,
            absence: self.traceless.then_some(Absence { first_begun_at: now }),
            standing,
            wish: self.wish,
            aborted: self.aborted,
            unfit: self.unfit.then(|| "unfit".to_owned()),
            others_wait: self.others_wait,
            braked: self.braked,
            ..on_source()
        }
    }
}

/// What one decision must not do, whatever came before.
fn check(before: &MigrationRunStatus, seen: &Observation, next: &Next) {
    let was_open = open_attempt(before).cloned();
    match next.step {
        Step::Wait => {}
        Step::Ask => {
            assert!(was_open.is_none() && !is_finished(before), "asked while an attempt was open or the run had ended");
            assert!(open_attempt(&next.status).is_some(), "no intent goes with the request");
            assert_eq!(seen.standing, Standing::Permits);
            assert!(!seen.aborted && matches!(seen.server, ServerSight::OnSource(_)));
        }
        Step::Abort(id) => {
            let attempt = open_attempt(&next.status).expect("an abort is about an open attempt");
            assert_eq!(attempt.migration_id, Some(id));
            assert!(attempt.abort_at.is_some());
        }
        Step::Confirm => {
            let attempt = open_attempt(&next.status).expect("a confirmation is about an open attempt");
            assert!(attempt.kind == MoveKind::Cold && attempt.confirm_at.is_some() && attempt.migration_id.is_some());
            let ServerSight::Elsewhere(server) = &seen.server else { panic!("confirmed a server that was not seen elsewhere") };
            assert_eq!(server.host.as_ref().map(|host| host.0.as_str()), attempt.destination.as_deref());
        }
    }
    let ended_well = next.status.attempts.last().is_some_and(|attempt| attempt.outcome == Some(Outcome::Completed));
    if ended_well && !is_finished(before) {
        assert!(matches!(seen.server, ServerSight::Elsewhere(_)) && seen.listed_on_source == Some(false), "success without its witnesses");
        assert!(seen.rows.iter().any(|row| row.status == RowStatus::Completed || row.status.as_str() == "confirmed"));
    }
    assert!(next.status.attempts.len() <= ATTEMPTS_KEPT);
    assert!(used_up(&next.status) <= run().max_attempts);
    assert!(next.status.attempts.iter().rev().skip(1).all(|attempt| attempt.ended_at.is_some()), "only the last attempt may be open");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_asked_twice_and_what_has_ended_stays_so(looks in prop::collection::vec(look(), 1..60), answered in any::<bool>()) {
        let (mut status, mut now, mut requests) = (MigrationRunStatus::default(), at(0), 0_u64);
        let mut free = 0_u64;
        for look in looks {
            now += jiff::SignedDuration::from_secs(look.seconds);
            let kind = open_attempt(&status).map_or(MoveKind::Live, |attempt| attempt.kind);
            let seen = look.seen(requests, kind, now);
            let next = decide(&run(), &status, &seen, now);
            check(&status, &seen, &next);
            if is_finished(&status) {
                prop_assert_eq!(&next.status, &status);
            }
            let was_open = open_attempt(&status).is_some();
            status = next.status;
            let last = status.attempts.last().and_then(|attempt| attempt.outcome);
            free += u64::from(was_open && last.is_some_and(|outcome| !outcome.uses_up_an_attempt() && outcome != Outcome::DestinationRefused));
            if next.step == Step::Ask {
                requests += 1;
                if answered && let Some(attempt) = status.attempts.last_mut() {
                    attempt.started_at = Some(attempt.intent_at.clone());
                }
            }
        }
        let most = u64::from(run().max_attempts) + MOST_REFUSALS as u64;
        prop_assert!(requests <= most + free, "{requests} requests");
    }

    #[test]
    fn a_cloud_that_settles_ends_every_run(looks in prop::collection::vec(look(), 0..30)) {
        let (mut status, mut now, mut requests) = (MigrationRunStatus::default(), at(0), 0_u64);
        for look in looks {
            now += jiff::SignedDuration::from_secs(look.seconds);
            let kind = open_attempt(&status).map_or(MoveKind::Live, |attempt| attempt.kind);
            let next = decide(&run(), &status, &look.seen(requests, kind, now), now);
            requests += u64::from(next.step == Step::Ask);
            status = next.status;
        }
        // From here on every request fails before anything is copied, and nobody holds anything.
        let calm = Look {
            seconds: 0, word: "error", state: ("ACTIVE", None), elsewhere: 9, listed: true, traceless: true, standing: 9,
            wish: Wish::GoOn, aborted: false, unfit: false, others_wait: false, braked: false,
        };
        for _ in 0..40 {
            now += jiff::SignedDuration::from_secs(61).max(jiff::SignedDuration::try_from(UNRESOLVED_AFTER).unwrap());
            let kind = open_attempt(&status).map_or(MoveKind::Live, |attempt| attempt.kind);
            let next = decide(&run(), &status, &calm.seen(requests, kind, now), now);
            requests += u64::from(next.step == Step::Ask);
            status = next.status;
        }
        prop_assert!(is_finished(&status), "{status:#?}");
    }
}
