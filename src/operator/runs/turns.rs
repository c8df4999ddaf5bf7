//! Whose turn it is: the slots and the brakes, as the controllers use them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kube::ResourceExt as _;

use super::slots::place_of;
use crate::migration::Brake;
use crate::operator::context::Context;

/// By cloud: what holds moves back while something that Nova depends on seems to be down.
#[derive(Debug, Default)]
pub(in super::super) struct Brakes(Mutex<HashMap<String, Brake>>);

impl Brakes {
    fn with<T>(&self, cloud: &str, act: impl FnOnce(&mut Brake) -> T) -> T {
        act(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(cloud.to_owned()).or_default())
    }
}

impl Context {
    /// Gives the slot of a run back and wakes those whose turn it may be now.
    pub(in super::super) fn give_back(&self, run: &str) {
        self.slots.leave(run);
        for next in self.slots.give_back(run, self.clock.now()) {
            self.wake_run(&next);
        }
    }

    /// Counts attempts that stand open in the API server and that this process has taken no slot for.
    pub(in super::super) fn compare_slots(&self) {
        self.slots.compare(self.clock.monotonic(), || {
            let runs = self.stores.runs.state();
            runs.iter().filter_map(|object| object.0.as_ref().ok()).filter_map(|run| Some((run.name_any(), place_of(run)?))).collect()
        });
    }

    /// Asks or tells the brake of a cloud.
    pub(in super::super) fn brake<T>(&self, cloud: &str, act: impl FnOnce(&mut Brake) -> T) -> T {
        self.brakes.with(cloud, act)
    }
}
