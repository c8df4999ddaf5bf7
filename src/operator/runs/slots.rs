//! The slots for moves: how many are under way at once, per source host and in the whole cloud.
//!
//! One more request per source than Nova works on waits queued in Nova, so that no slot idles between two moves. A slot is taken before the intent is written and given back
//! when the attempt has ended; attempts that stand open in the API server count also when this process did not take a slot for them (after a restart).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::api::MigrationRun;
use crate::api::cloud::Concurrency;

/// The slots that this process has given out.
#[derive(Debug, Default)]
pub(in super::super) struct Slots(Mutex<HashMap<String, Place>>);

#[derive(Clone, Debug)]
struct Place {
    cloud: String,
    source: String,
}

impl Slots {
    /// Takes a slot for the run, unless the limits forbid it. Taking it twice is the same as once.
    pub(in super::super) fn take(&self, name: &str, run: &MigrationRun, all: &[MigrationRun], limits: Concurrency) -> bool {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = all.iter().filter(|other| is_open(other)).filter_map(|other| {
            let place = Place { cloud: other.spec.cloud.clone(), source: other.spec.source_host.clone() };
            other.metadata.name.clone().map(|name| (name, place))
        });
        let mut taken: HashMap<String, Place> = open.collect();
        taken.extend(given.iter().map(|(name, place)| (name.clone(), place.clone())));
        taken.remove(name);
        let in_cloud = taken.values().filter(|place| place.cloud == run.spec.cloud).count();
        let at_source = taken.values().filter(|place| place.cloud == run.spec.cloud && place.source == run.spec.source_host).count();
        let most_at_source = usize::try_from(limits.per_source).unwrap_or(usize::MAX).saturating_add(1);
        let most = usize::try_from(limits.total).unwrap_or(usize::MAX);
        if at_source >= most_at_source || in_cloud >= most {
            return false;
        }
        given.insert(name.to_owned(), Place { cloud: run.spec.cloud.clone(), source: run.spec.source_host.clone() });
        true
    }

    /// Gives the slot back.
    pub(in super::super) fn give_back(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

fn is_open(run: &MigrationRun) -> bool {
    run.status.as_ref().is_some_and(|status| crate::migration::open_attempt(status).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::MigrationRunSpec;

    fn run(name: &str, source: &str) -> MigrationRun {
        let spec: MigrationRunSpec = serde_json::from_value(serde_json::json!({
            "cloud": "c", "server": "00000000-0000-0000-0000-000000000001", "sourceHost": source, "quarantine": "q"
        }))
        .unwrap();
        MigrationRun::new(name, spec)
    }

    fn open(name: &str, source: &str) -> MigrationRun {
        let mut run = run(name, source);
        run.status = serde_json::from_value(serde_json::json!({"attempts": [{"number": 1, "intentAt": "2026-11-22T12:00:00.000000Z"}]})).unwrap();
        run
    }

    const LIMITS: Concurrency = Concurrency { per_source: 1, total: 3 };

    #[test]
    fn one_more_than_nova_works_on_is_asked_for_per_source() {
        let slots = Slots::default();
        let take = |name: &str, source: &str| slots.take(name, &run(name, source), &[], LIMITS);
        assert!(take("a", "h1") && take("b", "h1") && !take("c", "h1"));
        assert!(take("a", "h1"), "taking twice is the same as once");
        slots.give_back("a");
        assert!(take("c", "h1"));
    }

    #[test]
    fn the_total_holds_over_all_sources() {
        let slots = Slots::default();
        let take = |name: &str, source: &str| slots.take(name, &run(name, source), &[], LIMITS);
        assert!(take("a", "h1") && take("b", "h2") && take("c", "h3") && !take("d", "h4"));
    }

    #[test]
    fn attempts_of_an_earlier_process_count() {
        let slots = Slots::default();
        let all = [open("x", "h1"), open("y", "h1")];
        assert!(!slots.take("a", &run("a", "h1"), &all, LIMITS));
        assert!(slots.take("x", &run("x", "h1"), &all, LIMITS), "an open attempt does not stand in its own way");
    }
}
