//! What a judgement on a HostReport rests on.

use std::time::Duration;

use kube::ResourceExt as _;

use crate::alert::decision::{Place, Unmapped};
use crate::api::HostReport;
use crate::api::condition::{Kind, is_true};
use crate::operator::context::Context;
use crate::operator::place::Map;
use crate::silence::fleet::Standing;

/// What is known of one report's node.
pub(super) struct Seen {
    /// Where it belongs; nothing while a cloud was never read and it was known before.
    pub(super) place: Option<Result<Place, Unmapped>>,
    pub(super) standing: Standing,
    pub(super) silent_after: Duration,
}

pub(super) fn observe(context: &Context, map: &Map, report: &HostReport) -> Seen {
    Seen { place: place(map, report), standing: context.hearing.standing(&report.name_any()), silent_after: context.hearing.silent_after() }
}

/// After a start the clouds are not connected yet: what was known of the node stays until they are.
fn place(map: &Map, report: &HostReport) -> Option<Result<Place, Unmapped>> {
    let found = map.locate(&report.spec.node);
    let was_mapped = report.status.as_ref().is_some_and(|status| is_true(&status.conditions, Kind::Mapped));
    (found.is_ok() || !was_mapped || !map.is_incomplete()).then_some(found)
}
