//! What one step of an incident is decided on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::plan;
use crate::api::HostQuarantine;
use crate::api::condition::{Kind, OBSERVING, State, find, is_true};
use crate::api::quarantine::{TimelineEntry, TimelineEvent};
use crate::gate::{self, Claim, Facts, Verdict};
use crate::inventory::mark::Mark;
use crate::inventory::{HostName, HostView, ServerId};
use crate::kubernetes::guard;
use crate::openstack::Fault;
use crate::operator::cloud::BudgetView;
use crate::operator::context::{Context, LiveCloud, Unusable, is_finished};
use crate::operator::places;
use crate::operator::rests::Rest;
use crate::operator::{alerts, cloud};
use crate::quarantine::{self, CloudSight, Incident, Joined, Memory, Observation, PlanSight, Refusal, RunFacts, RunState};

/// How many servers are asked about side by side.
const STRAYS_AT_ONCE: usize = 4;

/// What was seen for one step.
pub(super) struct Seen {
    pub(super) uid: String,
    pub(super) live: Option<Arc<LiveCloud>>,
    pub(super) memory: Memory,
    pub(super) idle: Duration,
    /// How often the object had been woken when this look began.
    pub(super) wakes: u64,
    absence: Option<(Timestamp, Timestamp)>,
    tick: Duration,
    sight: CloudSight,
    gates: Result<(), Refusal>,
    earlier_reason: Option<String>,
    view: Option<Arc<HostView>>,
    lists_servers: bool,
    runs: Vec<RunFacts>,
    moments: Vec<TimelineEntry>,
    joined: Joined,
    has_pool: bool,
    plan: Option<PlanSight>,
}

impl Seen {
    /// What does not change during the step.
    pub(super) fn incident<'a>(&'a self, quarantine: &'a HostQuarantine) -> Incident<'a> {
        Incident {
            name: quarantine.metadata.name.as_deref().unwrap_or_default(),
            uid: &self.uid,
            spec: &quarantine.spec,
            generation: quarantine.metadata.generation,
            created: quarantine.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            deleted: quarantine.metadata.deletion_timestamp.as_ref().map(|time| time.0),
            alert_moments: &self.moments,
            absence: self.absence,
            tick: self.tick,
        }
    }

    /// What was seen.
    pub(super) fn observation(&self) -> Observation<'_> {
        Observation {
            cloud: self.sight.clone(),
            gates: self.gates.clone(),
            earlier_reason: self.earlier_reason.as_deref(),
            view: self.view.as_deref(),
            lists_servers: self.lists_servers,
            runs: &self.runs,
            joined: self.joined,
            has_pool: self.has_pool,
            plan: self.plan.as_ref(),
        }
    }
}

/// For how long nothing is due for this object, when the only news is our own last write to it.
pub(super) fn nothing_due(context: &Context, quarantine: &HostQuarantine) -> Option<Rest> {
    context.rests.left(quarantine.metadata.uid.as_deref()?, quarantine.metadata.resource_version.as_deref()?, context.clock.monotonic())
}

/// Looks at everything that the next step needs; an object that was given back needs nothing. `anew` asks Nova now, instead of taking the poller's latest look.
pub(super) async fn observe(context: &Context, quarantine: &HostQuarantine, anew: bool) -> Seen {
    let uid = quarantine.uid().unwrap_or_default();
    let host = HostName(quarantine.spec.host.clone());
    let spec = context.cloud_spec(&quarantine.spec.cloud);
    let has_pool = spec.as_ref().is_some_and(|spec| !spec.destinations.pool.is_empty());
    let inventory = spec.map(|spec| spec.inventory).unwrap_or_default();
    let mut seen = Seen {
        live: None,
        memory: context.memory(&uid),
        wakes: context.rests.wakes(&uid),
        idle: inventory.idle_interval.get(),
        absence: context.leadership.absence(),
        tick: inventory.active_interval.get(),
        sight: CloudSight::Usable,
        gates: Ok(()),
        earlier_reason: None,
        view: None,
        lists_servers: false,
        runs: runs_of(context, quarantine, &uid),
        moments: alerts::moments_of(quarantine),
        joined: plan::joined(context, quarantine),
        has_pool,
        plan: None,
        uid,
    };
    if is_released(quarantine) && quarantine.metadata.deletion_timestamp.is_none() {
        return seen;
    }
    let mut wanted = wanted(quarantine, &seen.runs);
    let mut looked = look(context, quarantine, &host, wanted, anew).await;
    if looked.is_err() && wanted == Wanted::Servers && quarantine.metadata.deletion_timestamp.is_some() {
        // Its moves are followed by their own records; the list would only make a figure better.
        wanted = Wanted::Service;
        looked = look(context, quarantine, &host, wanted, anew).await;
    }
    match looked {
        Ok((live, view)) => {
            seen.lists_servers = wanted != Wanted::Service;
            let view = with_strays(context, &live, view).await;
            seen.earlier_reason = earlier_reason(context, &seen.uid, &host, &view);
            seen.gates = gates(context, quarantine);
            seen.plan = plan::sight(context, &live, quarantine, &view, &seen.runs, &seen.joined).await;
            seen.view = Some(view);
            seen.live = Some(live);
        }
        Err(Unusable { reason, message }) => seen.sight = CloudSight::Unusable { reason, message },
    }
    seen
}

/// The runs of this incident, with those that people deleted, and those that people made for servers of the host: the drain takes over what has not ended, and keeps counting what has moved a server since it began.
fn runs_of(context: &Context, quarantine: &HostQuarantine, uid: &str) -> Vec<RunFacts> {
    let mut runs: Vec<RunFacts> = context.runs_of(uid).iter().filter_map(|run| RunFacts::of(run, uid)).collect();
    runs.extend(quarantine.status.iter().flat_map(|status| quarantine::remembered(status, &runs)).collect::<Vec<_>>());
    let spec = &quarantine.spec;
    let stored = context.stores.runs.state();
    let by_hand = stored.iter().filter_map(|object| object.0.as_ref().ok()).filter(|run| places::is_by_hand(run));
    let here = by_hand.filter(|run| run.spec.cloud == spec.cloud && run.spec.source_host == spec.host);
    let (mut ended, mut open) = (Vec::new(), Vec::new());
    for run in here {
        let list = if is_finished(run) { &mut ended } else { &mut open };
        list.extend(RunFacts::by_hand(run));
    }
    let created = quarantine.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
    runs.extend(moved_since(created, ended));
    // What is under way says more of a server than what has ended.
    runs.extend(open);
    runs
}

/// The runs that moved a server at this moment or later; one for each server.
fn moved_since(begin: Timestamp, runs: Vec<RunFacts>) -> impl Iterator<Item = RunFacts> {
    let ended = |run: &RunFacts| if let RunState::Succeeded(at) = run.state { Some(at) } else { None };
    let latest = runs.into_iter().filter(|run| ended(run).is_some_and(|at| at >= begin)).fold(BTreeMap::new(), |mut latest, run| {
        let known = latest.get(&run.server).and_then(ended);
        if known < ended(&run) {
            latest.insert(run.server, run);
        }
        latest
    });
    latest.into_values()
}

/// What a look at the host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The service's row alone, read anew: it is written next.
    Service,
    /// The servers.
    Servers,
}

/// Before the host is seen to be disabled, and when it is given back, its servers do not matter, and listing them would only delay that, or keep it from being done where Nova answers for its services and
/// not for its servers. Moves that are followed while the object is deleted end exposures.
fn wanted(quarantine: &HostQuarantine, runs: &[RunFacts]) -> Wanted {
    let followed = quarantine.metadata.deletion_timestamp.is_some() && runs.iter().any(|run| matches!(run.state, RunState::Open | RunState::Queued));
    if only_the_service_matters(quarantine) && !followed { Wanted::Service } else { Wanted::Servers }
}

/// One look at the host.
async fn look(
    context: &Context,
    quarantine: &HostQuarantine,
    host: &HostName,
    wanted: Wanted,
    anew: bool,
) -> Result<(Arc<LiveCloud>, Arc<HostView>), Unusable> {
    let live = cloud::usable(context, &quarantine.spec.cloud)?;
    if live.inventory.services().is_none() {
        return Err(Unusable { reason: "Looking".into(), message: format!("waiting for the first look at OpenStackCloud {}", quarantine.spec.cloud) });
    }
    let writes_next = wanted == Wanted::Service;
    if let Some(error) = live.inventory.host_error(host).filter(|_| !writes_next) {
        return Err(unusable(&error.fault));
    }
    if let Some(view) = live.inventory.host(host).filter(|view| !anew && !writes_next && is_newer_than_the_cordon(quarantine, view)) {
        return Ok((live, view));
    }
    if quarantine.spec.mode.writes() && !writes_next && moment(quarantine, TimelineEvent::Planned).is_none() {
        // The runs that come of this look are decided on the poller's, which is so begun meanwhile and not after it.
        live.inventory.watch_host(host);
    }
    let view = if writes_next { service_view(context, &live, host).await } else { whole_view(&live, host, is_blocked(quarantine)).await };
    match view {
        Ok(view) => Ok((live, Arc::new(view))),
        Err(fault) => Err(unusable(&fault)),
    }
}

/// Whether the next write is one to the service. Its row is read anew: what stands in it is what release gives back, and what nobody else's write may be overwritten by. The drain needs a list that is begun
/// afterwards.
fn only_the_service_matters(quarantine: &HostQuarantine) -> bool {
    let cordoning = moment(quarantine, TimelineEvent::CordonVerified).is_none() && !shows_its_plan_first(quarantine);
    quarantine.spec.mode.writes() && (quarantine::releases(quarantine) || quarantine.metadata.deletion_timestamp.is_some() || cordoning)
}

/// An object whose trigger is too old shows what it would do before anything is written.
fn shows_its_plan_first(quarantine: &HostQuarantine) -> bool {
    let accepted = quarantine.status.as_ref().and_then(|status| find(&status.conditions, Kind::Accepted));
    accepted.is_some_and(|accepted| accepted.reason == quarantine::TRIGGER_TOO_OLD) && moment(quarantine, TimelineEvent::CordonRequested).is_none()
}

fn is_blocked(quarantine: &HostQuarantine) -> bool {
    quarantine.status.as_ref().is_some_and(|status| is_true(&status.conditions, Kind::Blocked))
}

/// A look begun before the cordon was verified says nothing about what happened since.
fn is_newer_than_the_cordon(quarantine: &HostQuarantine, view: &HostView) -> bool {
    moment(quarantine, TimelineEvent::CordonVerified).is_none_or(|verified| view.begun_at >= verified)
}

fn moment(quarantine: &HostQuarantine, event: TimelineEvent) -> Option<Timestamp> {
    quarantine.status.as_ref()?.timeline.iter().find(|entry| entry.event == event).map(|entry| entry.time.0)
}

async fn service_view(context: &Context, live: &LiveCloud, host: &HostName) -> Result<HostView, Fault> {
    let begun_at = context.clock.now();
    let services = live.cloud.services().await?.into_iter().filter(|service| service.host == *host).collect();
    Ok(HostView {
        host: host.clone(),
        begun_at,
        ended_at: context.clock.now(),
        services,
        servers: Vec::new(),
        migrations: Vec::new(),
        consumers: None,
        soft_deleted: Vec::new(),
        asked: BTreeMap::new(),
    })
}

/// Everything on the host. What lies behind the list is asked for when the list is empty, and when what is left does not move by itself (`thorough`).
async fn whole_view(live: &LiveCloud, host: &HostName, thorough: bool) -> Result<HostView, Fault> {
    let mut view = live.cloud.host_view(host, false).await?;
    if (view.servers.is_empty() || thorough) && view.service().is_some() {
        let (consumers, soft_deleted) = live.cloud.behind_the_list(host).await?;
        (view.consumers, view.soft_deleted) = (Some(consumers), soft_deleted);
    }
    Ok(view)
}

/// Asks about the servers of open rows that are not on the host, so that rows that a dead nova-compute left behind do not count. One that cannot be asked about counts.
async fn with_strays(context: &Context, live: &LiveCloud, view: Arc<HostView>) -> Arc<HostView> {
    let strays = quarantine::strays(&view);
    if strays.is_empty() {
        return view;
    }
    let ask = async |server: ServerId| Some((server, live.cloud.server(server).await.ok()?));
    let asked = stream::iter(strays).map(ask).buffer_unordered(STRAYS_AT_ONCE).collect::<Vec<_>>().await;
    let mut view = HostView::clone(&view);
    view.asked = asked.into_iter().flatten().collect();
    for row in view.migrations.iter().filter(|row| row.status.is_under_way() && !view.is_alive(row)) {
        if context.may_warn("migration", &row.uuid.to_string()) {
            let (host, server) = (view.host.as_str(), row.server.to_string());
            tracing::warn!(host, migration = row.id, server, status = row.status.as_str(), since = %row.created_at, "Nova calls a migration open and is not at work on its server; it counts no more.");
        }
    }
    Arc::new(view)
}

fn unusable(fault: &Fault) -> Unusable {
    let said = fault.message().map(|text| format!(": {text}")).unwrap_or_default();
    Unusable { reason: fault.category().to_owned(), message: format!("the last look at the host failed ({}){said}; it is asked again", fault.category()) }
}

/// What the gates say; asked only while the object is not accepted.
fn gates(context: &Context, quarantine: &HostQuarantine) -> Result<(), Refusal> {
    let Some(applicant) = Claim::of(quarantine) else { return Ok(()) };
    let Some(spec) = context.cloud_spec(&quarantine.spec.cloud) else { return Ok(()) };
    let view = BudgetView::of(context, &quarantine.spec.cloud, spec.budget);
    let grounds = context.grounds();
    let verdict = gate::grounds(&applicant, grounds.unenforced().as_deref(), grounds.outdated().as_deref()).and_then(|| {
        gate::ask_all(&Facts { applicant: &applicant, budget: view.facts(), begun_at: view.begun_at(), stale_after: spec.inventory.stale_after.get() })
    });
    let is_final = verdict.is_final();
    match verdict {
        Verdict::Pass => Ok(()),
        Verdict::Refuse { reason, message } => Err(Refusal { reason: reason.to_owned(), message, is_final }),
    }
}

/// Where the host carries the mark of an earlier object that still exists: the reason that that object remembered.
fn earlier_reason(context: &Context, uid: &str, host: &HostName, view: &HostView) -> Option<String> {
    let mark = view.service().and_then(Mark::on).filter(|mark| mark.uid != uid)?;
    let earlier = guard::select(&context.stores.quarantines, |other| {
        let marked = other.spec.host == host.0 && other.metadata.uid.as_deref() == Some(&mark.uid);
        marked.then(|| other.status.as_ref()?.host.as_ref()?.disabled_reason_before.clone())
    });
    earlier.into_iter().next().flatten()
}

/// Whether every gate let the object through.
pub(super) fn is_accepted(quarantine: &HostQuarantine) -> bool {
    let accepted = quarantine.status.as_ref().and_then(|status| find(&status.conditions, Kind::Accepted));
    accepted.is_some_and(|accepted| accepted.status == State::True.as_str() && accepted.reason != OBSERVING)
}

/// Whether the object was given back: nothing more is done about it.
pub(super) fn is_released(quarantine: &HostQuarantine) -> bool {
    quarantine.status.as_ref().is_some_and(|status| is_true(&status.conditions, Kind::Released))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::api::MigrationRun;

    fn quarantine(mode: &str, last: &str, release: bool) -> HostQuarantine {
        let spec = serde_json::from_value(json!({"cloud": "c", "host": "h", "mode": mode, "release": {"requested": release, "force": release}})).unwrap();
        let timeline = json!([{"event": last, "time": "2026-03-02T08:15:04.000000Z", "clock": "Operator"}]);
        let mut quarantine = HostQuarantine::new("q", spec);
        quarantine.status = serde_json::from_value(json!({"timeline": timeline})).unwrap();
        quarantine
    }

    #[test]
    fn servers_are_listed_from_the_verified_cordon_to_the_release() {
        let needs_no_list = |mode, last| only_the_service_matters(&quarantine(mode, last, false));
        assert!(needs_no_list("Enforce", "decided") && needs_no_list("Enforce", "cordonRequested"));
        assert!(!needs_no_list("Enforce", "cordonVerified"));
        assert!(!needs_no_list("Observe", "decided"));
        assert!(only_the_service_matters(&quarantine("Enforce", "cordonVerified", true)));
    }

    #[test]
    fn a_server_that_a_person_moved_while_the_host_is_drained_keeps_being_counted() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let run = |state| {
            let spec = json!({"cloud": "c", "server": "0b6f8a4e-5c1d-4c0e-9a3f-6c1f1d2e3a4b", "sourceHost": "h"});
            RunFacts { state, ..RunFacts::by_hand(&MigrationRun::new("r", serde_json::from_value(spec).unwrap())).unwrap() }
        };
        let runs = vec![run(RunState::Succeeded(at(20))), run(RunState::Succeeded(at(30))), run(RunState::Succeeded(at(9))), run(RunState::Superseded)];
        assert_eq!(moved_since(at(10), runs.clone()).map(|run| run.state).collect::<Vec<_>>(), [RunState::Succeeded(at(30))]);
        assert_eq!(moved_since(at(31), runs).count(), 0);
    }

    #[test]
    fn while_an_object_is_deleted_its_servers_are_listed_as_long_as_moves_are_followed() {
        let mut deleted = quarantine("Enforce", "cordonVerified", false);
        deleted.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let run = |state: &serde_json::Value| {
            let spec = json!({"cloud": "c", "server": "0b6f8a4e-5c1d-4c0e-9a3f-6c1f1d2e3a4b", "sourceHost": "h"});
            let attempts = json!([{"number": 1, "intentAt": "2026-03-02T08:15:04.000000Z", "endedAt": state}]);
            let mut run = MigrationRun::new("r", serde_json::from_value(spec).unwrap());
            run.status = serde_json::from_value(json!({"attempts": attempts})).unwrap();
            RunFacts::by_hand(&run).unwrap()
        };
        assert_eq!(wanted(&deleted, &[run(&json!("2026-03-02T08:15:05.000000Z"))]), Wanted::Service);
        assert_eq!(wanted(&deleted, &[run(&json!(null))]), Wanted::Servers);
    }
}
