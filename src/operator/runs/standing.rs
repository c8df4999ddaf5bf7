//! Whether a run may ask for something new, and whether what is under way shall end: by its own spec, by its quarantine, by the source.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::nodes;
use crate::api::quarantine::Abort;
use crate::api::run::Outcome;
use crate::api::{HostQuarantine, MigrationRun};
use crate::inventory::{HostName, HostView, ServerId, ServiceState};
use crate::migration::{Standing, Wish, open_attempt};
use crate::openstack::Freshness;
use crate::operator::context::{Context, LiveCloud, is_finished};
use crate::operator::places::is_by_hand;
use crate::plan::Bar;
use crate::quarantine::{Permission, permission_for, withdrawal};

/// What the run, its quarantine, the view and the source's own service say about a new request.
pub(super) fn standing(
    context: &Context,
    live: &LiveCloud,
    view: &HostView,
    run: &MigrationRun,
    quarantine: Option<&HostQuarantine>,
    nodes: &BTreeSet<ServerId>,
) -> Standing {
    if run.metadata.deletion_timestamp.is_some() {
        return Standing::Over("the run was deleted; what a person deletes is not made again".to_owned());
    }
    match by_whom(context, run, quarantine) {
        Standing::Permits => {}
        other => return other,
    }
    if run.spec.suspend {
        return Standing::Holds { reason: Some("Suspended"), message: "the run is suspended (spec.suspend)".to_owned(), until: None };
    }
    if live.inventory.freshness(context.clock.now()) != Freshness::Fresh {
        return Standing::holds("the view of the cloud is too old to start anything");
    }
    let source_is_up = view.service().is_some_and(|service| service.state == ServiceState::Up && !service.forced_down);
    if !source_is_up {
        let message = "the source's nova-compute is down, and Nova cannot migrate from it (SourceDown)".to_owned();
        return Standing::Holds { reason: Some("SourceDown"), message, until: None };
    }
    if has_timed_out(run) && others_have_not_tried(context, run) {
        return Standing::holds("its copy was aborted because others waited; it is tried again after all others");
    }
    nodes::standing(context, run, view, quarantine, nodes)
}

/// Whether nothing comes of a run before something else changes: nothing is under way, and there is no place for its server, or somebody holds it. Its source is looked at seldom.
pub(in super::super) fn is_dormant(run: &MigrationRun, quarantine: Option<&HostQuarantine>) -> bool {
    let is_open = run.status.as_ref().is_some_and(|status| open_attempt(status).is_some());
    let is_held = || run.spec.suspend || quarantine.is_some_and(|quarantine| matches!(permission_for(quarantine, &run.spec.plan), Permission::Holds(_)));
    !is_open && (nodes::is_stuck(run) || is_held())
}

/// What whoever made the run says: its quarantine, or, where a person made it, what holds for such a run.
fn by_whom(context: &Context, run: &MigrationRun, quarantine: Option<&HostQuarantine>) -> Standing {
    if is_by_hand(run) {
        return by_hand(context, run);
    }
    let Some(quarantine) = quarantine else {
        let message = format!("there is no HostQuarantine {} that owns this run: a run does nothing without it", run.spec.quarantine);
        return Standing::Over(message);
    };
    match permission_for(quarantine, &run.spec.plan) {
        Permission::Over(why) => Standing::Over(why),
        Permission::Holds(why) => Standing::holds(why),
        Permission::Permits => Standing::Permits,
    }
}

/// A run that a person made counts as Enforce for its server. It must not begin when its destination is suspect, or when somebody else is at it.
fn by_hand(context: &Context, run: &MigrationRun) -> Standing {
    let begun = run.status.as_ref().is_some_and(|status| !status.attempts.is_empty());
    if begun {
        return Standing::Permits;
    }
    if let Some(other) = another_run(context, run) {
        return Standing::Refuses("AnotherRun", format!("MigrationRun {other} has this server and has not ended: wait for its end, or delete one of the two"));
    }
    let wanted = HostName(run.spec.destination.host.clone());
    let bar = context.barred(&run.spec.cloud).get(&wanted).copied();
    may_begin(&wanted, bar, context.grounds().outdated())
}

/// What its destination and the kinds say about a run that a person made and that has not begun. What the API server would drop in silence (`outdated`) may be what the move is found again by.
fn may_begin(wanted: &HostName, bar: Option<Bar>, outdated: Option<String>) -> Standing {
    match (bar, outdated) {
        (Some(Bar::Quarantined), _) => Standing::Refuses("DestinationQuarantined", format!("destination {wanted} is quarantined: choose another host")),
        (Some(Bar::Alerted), _) => Standing::Refuses("DestinationAlerted", format!("destination {wanted} is alerted: choose another host")),
        (_, Some(why)) => Standing::Holds { reason: Some("CRDOutdated"), message: why, until: None },
        (_, None) => Standing::Permits,
    }
}

/// Another run of the same server that has not ended and goes before this one: it has begun, or it is older.
fn another_run(context: &Context, run: &MigrationRun) -> Option<String> {
    let age = |run: &MigrationRun| (run.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0), run.uid());
    let runs = context.stores.runs.state();
    let mut others = runs.iter().filter_map(|object| object.0.as_ref().ok()).filter(|other| {
        let has_begun = other.status.as_ref().is_some_and(|status| !status.attempts.is_empty());
        other.spec.server == run.spec.server
            && other.spec.cloud == run.spec.cloud
            && other.uid() != run.uid()
            && !is_finished(other)
            && (has_begun || age(other) < age(run))
    });
    others.next().map(|other| other.name_any())
}

fn has_timed_out(run: &MigrationRun) -> bool {
    run.status.as_ref().is_some_and(|status| status.attempts.iter().any(|attempt| attempt.outcome == Some(Outcome::TimedOut)))
}

/// Whether another server of the same source has its turn before one whose copy was aborted: its run goes on, and it waits for nothing but time and a slot.
fn others_have_not_tried(context: &Context, run: &MigrationRun) -> bool {
    let runs = context.stores.runs.state();
    runs.iter().filter_map(|object| object.0.as_ref().ok()).any(|other| {
        let same_source = other.spec.cloud == run.spec.cloud && other.spec.source_host == run.spec.source_host;
        same_source
            && other.uid() != run.uid()
            && !is_finished(other)
            && !has_timed_out(other)
            && (context.slots.is_near(&other.name_any()) || context.slots.waits(&other.name_any()))
    })
}

/// Whether what is under way shall end.
pub(super) fn wish(run: &MigrationRun, quarantine: Option<&HostQuarantine>) -> Wish {
    let own = if run.spec.suspend { Wish::WithdrawQueued } else { Wish::GoOn };
    let by_quarantine = quarantine.map_or(Abort::None, |quarantine| withdrawal(quarantine, &run.spec.plan));
    own.max(match by_quarantine {
        Abort::None => Wish::GoOn,
        Abort::Queued => Wish::WithdrawQueued,
        Abort::All => Wish::AbortAll,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_by_hand_begins_neither_to_a_suspect_host_nor_while_the_kinds_are_outdated() {
        let wanted = HostName::from("cmp-2");
        let begins = |bar, outdated: Option<&str>| may_begin(&wanted, bar, outdated.map(ToOwned::to_owned));
        assert_eq!(begins(None, None), Standing::Permits);
        assert_eq!(begins(Some(Bar::Disabled), None), Standing::Permits, "whoever names a host that is out of service means it");
        assert!(matches!(begins(Some(Bar::Quarantined), Some("no field")), Standing::Refuses("DestinationQuarantined", _)));
        assert!(matches!(begins(Some(Bar::Alerted), None), Standing::Refuses("DestinationAlerted", _)));
        let held = Standing::Holds { reason: Some("CRDOutdated"), message: "no field".to_owned(), until: None };
        assert_eq!(begins(None, Some("no field")), held);
    }
}
