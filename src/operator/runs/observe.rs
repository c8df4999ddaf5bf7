//! What a decision on a run is taken on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::slots::{Place, place_of};
use super::standing::{is_dormant, standing, wish};
use crate::api::run::Attempt;
use crate::api::{HostQuarantine, MigrationRun};
use crate::inventory::{HostName, HostView, InstanceAction, NovaMigration, RowStatus, Server, ServerId};
use crate::migration::{Absence, Choice, Held, Observation, Run, ServerSight, Standing, UNRESOLVED_AFTER, completion_timeout, find_row, is_due, open_attempt};
use crate::openstack::{Fault, Freshness, MigrationFilter};
use crate::operator::cloud;
use crate::operator::context::{Context, LiveCloud, Unusable, owner_uid};
use crate::operator::places::{Found, bounds, choose, is_by_hand};
use crate::quarantine::approved_hosts;

/// The time between the two looks that find no trace of an attempt.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// What is said of an object that is of before the step that took its slot.
const NOT_SHOWN_YET: &str = "the last step of this run is not shown by the watch yet";
/// What is said while other moves have the slots.
const NO_SLOT: &str = "waits for a free slot: as many moves as the limits allow are under way";

/// What was seen for one decision.
pub(super) struct Seen {
    pub(super) run: Run,
    pub(super) observation: Observation,
    pub(super) live: Arc<LiveCloud>,
    /// The quarantine, while there is one of the run's owner.
    pub(super) quarantine: Option<HostQuarantine>,
}

/// What came of a look.
pub(super) enum Sight {
    /// Enough to decide on.
    Seen(Box<Seen>),
    /// Not enough, and nothing to say about it: a moment later there is.
    Nothing,
    /// There is nothing to look at, and why.
    Unseen(Box<Run>, Standing),
}

/// Objects that belong together are made together: so long a run that a person made waits for its cloud, before it is refused.
const MADE_TOGETHER: Duration = Duration::from_secs(60);

/// Looks at everything that a decision on this run needs.
pub(super) async fn observe(context: &Context, object: &MigrationRun) -> Sight {
    let Ok(server) = object.spec.server.parse().map(ServerId) else { return Sight::Nothing };
    let unseen = |standing| Sight::Unseen(Box::new(run_of(context, object, server, None, None)), standing);
    match cloud::usable(context, &object.spec.cloud) {
        Err(unusable) => without_cloud(context, object, unusable).map_or(Sight::Nothing, unseen),
        Ok(live) => match without_host(context, &live, object) {
            Some(standing) => unseen(standing),
            None => look(context, object, live, server).await.map_or(Sight::Nothing, |seen| Sight::Seen(Box::new(seen))),
        },
    }
}

/// What stands in a run whose cloud cannot be asked, where that says something new.
fn without_cloud(context: &Context, object: &MigrationRun, unusable: Unusable) -> Option<Standing> {
    let Unusable { reason, message } = unusable;
    let not_found = reason == "CloudNotFound";
    let made = object.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    if not_found && is_by_hand(object) && after(made, MADE_TOGETHER) <= context.clock.now() {
        return Some(Standing::Refuses("CloudNotFound", message));
    }
    let is_new = object.status.as_ref().is_none_or(|status| status.conditions.is_empty());
    let reason = if not_found { "CloudNotFound" } else { "CloudUnusable" };
    (is_new || is_by_hand(object)).then_some(Standing::Holds { reason: Some(reason), message, until: None })
}

/// Why a run that a person made must not begin: Nova knows no such host. Watching it would only make the view of the cloud look stale.
fn without_host(context: &Context, live: &LiveCloud, object: &MigrationRun) -> Option<Standing> {
    let begun = object.status.as_ref().is_some_and(|status| !status.attempts.is_empty());
    let services = live.inventory.services()?;
    let known = services.services.iter().any(|service| service.host.as_str() == object.spec.source_host);
    if known || begun || !is_by_hand(object) || live.inventory.freshness(context.clock.now()) != Freshness::Fresh {
        return None;
    }
    let host = &object.spec.source_host;
    Some(Standing::Refuses(
        "HostNotFound",
        format!("Nova has no compute service on host {host:?}: make a new MigrationRun with the exact name in sourceHost (openstack compute service list)"),
    ))
}

/// Nothing when the host was not looked at since the attempt was written: then nothing is decided.
async fn look(context: &Context, object: &MigrationRun, live: Arc<LiveCloud>, server: ServerId) -> Option<Seen> {
    let source = HostName(object.spec.source_host.clone());
    let quarantine = owner(context, object);
    if is_dormant(object, quarantine.as_ref()) {
        live.inventory.watch_host_calmly(&source);
    } else {
        live.inventory.watch_host(&source);
    }
    let view = live.inventory.host(&source)?;
    if live.inventory.host_error(&source).is_some() {
        return None;
    }
    let nodes = context.own_nodes().await;
    let run = Run { is_own_node: nodes.contains(&server), ..run_of(context, object, server, quarantine.as_ref(), view.server(server)) };
    let attempt = object.status.as_ref().and_then(open_attempt).cloned();
    if attempt.as_ref().is_some_and(|attempt| view.begun_at <= attempt.intent_at.0) {
        return None;
    }
    let look = Look { context, live: &live, view: &view, run: &run, object, quarantine: quarantine.as_ref(), nodes: &nodes };
    let seen = match &attempt {
        Some(attempt) => look.at_attempt(attempt).await,
        None => look.at_rest().await,
    };
    match seen {
        Ok(observation) => Some(Seen { run, observation, live, quarantine }),
        Err(fault) => {
            tracing::warn!(run = object.name_any(), error = %fault, "A look at a server failed; looking again.");
            None
        }
    }
}

fn run_of(context: &Context, object: &MigrationRun, server: ServerId, quarantine: Option<&HostQuarantine>, seen: Option<&Server>) -> Run {
    let drain_deadline = quarantine.map_or(object.spec.deadline, |quarantine| quarantine.spec.deadline).get();
    // One that has left the view is not copied any more.
    let formula = || seen.map_or(Duration::MAX, |server| completion_timeout(server.flavor.ram, rate_of(context, object), drain_deadline));
    Run {
        server,
        source: HostName(object.spec.source_host.clone()),
        max_attempts: object.spec.max_attempts,
        deadline: object.spec.deadline.get(),
        completion_timeout: object.spec.completion_timeout.map_or_else(formula, |period| period.get()),
        is_own_node: false,
        may_choose: !is_by_hand(object) || object.spec.destination.host.is_empty(),
        generation: object.metadata.generation,
    }
}

/// The rate at which the memory of this drain's servers was copied, bytes a second; absent before one was. Asked only for a copy that has taken long already.
fn rate_of(context: &Context, object: &MigrationRun) -> Option<u64> {
    let copying = object.status.as_ref().and_then(open_attempt)?.copying_at.as_ref()?.0;
    if object.spec.quarantine.is_empty() || after(copying, Duration::from_secs(60)) > context.clock.now() {
        return None;
    }
    let runs = context.stores.runs.state();
    let same =
        runs.iter().filter_map(|run| run.0.as_ref().ok()).filter(|run| run.spec.quarantine == object.spec.quarantine && run.spec.cloud == object.spec.cloud);
    let figures = same.filter_map(|run| {
        let measured = run.status.as_ref()?.measured.as_ref()?;
        let millis = measured.duration_millis?.checked_sub(measured.queued_millis.unwrap_or(0))?;
        Some((u64::try_from(measured.transferred_bytes?.memory?).ok()?, u64::try_from(millis).ok()?))
    });
    let (bytes, millis) = figures.fold((0_u64, 0_u64), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)));
    bytes.saturating_mul(1000).checked_div(millis)
}

/// The quarantine that the run names, if it is the one that owns it.
pub(super) fn owner(context: &Context, object: &MigrationRun) -> Option<HostQuarantine> {
    context.quarantine(&object.spec.quarantine).filter(|quarantine| quarantine.metadata.uid.as_deref() == owner_uid(object))
}

/// What a look needs.
struct Look<'a> {
    context: &'a Context,
    live: &'a LiveCloud,
    view: &'a HostView,
    run: &'a Run,
    object: &'a MigrationRun,
    quarantine: Option<&'a HostQuarantine>,
    /// The servers that are nodes of our own cluster.
    nodes: &'a BTreeSet<ServerId>,
}

impl Look<'_> {
    fn name(&self) -> String {
        self.object.name_any()
    }

    /// What is the same whether or not an attempt is open.
    async fn common(&self, rows: Vec<NovaMigration>) -> Result<Observation, Fault> {
        Ok(Observation {
            server: self.sight().await?,
            listed_on_source: Some(self.view.server(self.run.server).is_some()),
            rows,
            progress: None,
            failure: None,
            absence: None,
            standing: standing(self.context, self.live, self.view, self.object, self.quarantine, self.nodes),
            choice: Choice::Scheduler,
            wish: wish(self.object, self.quarantine),
            aborted: self.object.spec.abort,
            unfit: None,
            others_wait: false,
            braked: false,
        })
    }

    /// The server's records in the poller's view, without copying everybody's.
    fn rows(&self) -> Vec<NovaMigration> {
        self.view.migrations.iter().filter(|row| row.server == self.run.server).cloned().collect()
    }

    async fn at_attempt(&self, attempt: &Attempt) -> Result<Observation, Fault> {
        let (context, live, run) = (self.context, self.live, self.run);
        let mut rows = self.rows();
        let mut row = find_row(attempt, run.server, &run.source, &rows).cloned();
        if row.is_none() && attempt.migration_id.is_some() {
            rows = of_server(live, run.server).await?;
            row = find_row(attempt, run.server, &run.source, &rows).cloned();
        }
        self.hold_slot(row.as_ref());
        let absence = if row.is_none() && attempt.migration_id.is_none() { self.absence(attempt).await? } else { None };
        let destination = row.as_ref().filter(|row| row.status == RowStatus::Queued).and_then(|row| row.dest_compute.as_ref());
        let name = self.name();
        Ok(Observation {
            progress: row.as_ref().and_then(|row| live.inventory.progress(run.server, row.id)).map(|progress| progress.counters),
            failure: self.failure(attempt, row.as_ref()).await?,
            absence,
            unfit: destination.and_then(|host| self.unfit(host)),
            others_wait: attempt.copying_at.is_some() && context.slots.others_wait(&name, &self.object.spec.cloud, &self.object.spec.source_host),
            braked: context.brake(&self.object.spec.cloud, |brake| brake.is_open()),
            ..self.common(rows).await?
        })
    }

    /// Why the destination of a request that is still queued should not get the server; absent while it may.
    fn unfit(&self, host: &HostName) -> Option<String> {
        let approved = self.quarantine.and_then(approved_hosts);
        match approved.is_some_and(|hosts| !hosts.contains(&host.0)) {
            true => Some(format!("its destination {host} is not among the approved hosts")),
            false => self.context.unfit(&self.object.spec.cloud, host),
        }
    }

    /// Notes where the move that is under way goes, whoever has taken its slot.
    fn hold_slot(&self, row: Option<&NovaMigration>) {
        let Some(place) = place_of(self.object) else { return };
        let chosen = row.and_then(|row| row.dest_compute.clone());
        let resources = self.view.server(self.run.server).map(|server| server.flavor.into()).unwrap_or_default();
        let claimed_at = chosen.as_ref().map(|_| self.view.begun_at);
        let begun = place.begun || row.is_some_and(|row| !matches!(row.status, RowStatus::Accepted | RowStatus::Queued));
        self.context.slots.hold(&self.name(), Place { destination: chosen.or(place.destination), resources, claimed_at, begun, ..place });
    }

    /// No attempt is open: where may the next one go, and is it this run's turn?
    async fn at_rest(&self) -> Result<Observation, Fault> {
        let mut seen = self.common(Vec::new()).await?;
        if self.context.slots.holds(&self.name()) {
            seen.standing = Standing::holds(NOT_SHOWN_YET);
            return Ok(seen);
        }
        let status = self.object.status.clone().unwrap_or_default();
        let due = match &seen.server {
            ServerSight::OnSource(server) => Some(server.clone()).filter(|server| is_due(self.run, &status, server, self.context.clock.now())),
            _ => None,
        };
        match due.filter(|_| seen.standing == Standing::Permits && !seen.aborted) {
            Some(server) => self.start(&server, &mut seen).await?,
            None => self.context.slots.leave(&self.name()),
        }
        Ok(seen)
    }

    /// Everything but the limits speaks for a request: takes a slot, or says what it waits for.
    async fn start(&self, server: &Server, seen: &mut Observation) -> Result<(), Fault> {
        let (context, name, cloud) = (self.context, self.name(), &self.object.spec.cloud);
        let limits = context.cloud_spec(cloud).map(|spec| spec.concurrency).unwrap_or_default();
        context.compare_slots();
        if !context.slots.is_turn_of(&name, self.object, limits) {
            seen.standing = Standing::holds(NO_SLOT);
            return Ok(());
        }
        if let Err(held) = context.brake(cloud, |brake| brake.may_start(context.clock.now())) {
            context.slots.leave(&name);
            seen.standing = braked(held);
            return Ok(());
        }
        match choose(context, self.live, self.object, server, bounds(context, self.quarantine)).await {
            Found::Nowhere(reason, message) => {
                context.slots.leave(&name);
                seen.standing = Standing::Holds { reason: Some(reason.as_str()), message, until: None };
            }
            Found::Unknown(message) => {
                context.slots.leave(&name);
                seen.standing = Standing::holds(message);
            }
            Found::Place(_) if is_dormant(self.object, self.quarantine) => {
                // The list that shows its server may be old.
                context.slots.leave(&name);
                self.live.inventory.watch_host(&self.run.source);
                seen.standing = Standing::holds("there is a place for it now; its source is looked at once more");
            }
            Found::Place(choice) => self.take(server, choice, seen).await?,
        }
        Ok(())
    }

    async fn take(&self, server: &Server, choice: Choice, seen: &mut Observation) -> Result<(), Fault> {
        let (context, name, spec) = (self.context, self.name(), &self.object.spec);
        let destination = match &choice {
            Choice::Host(host) => Some(host.clone()),
            Choice::Scheduler => None,
        };
        let limits = context.cloud_spec(&spec.cloud).map(|spec| spec.concurrency).unwrap_or_default();
        let place = Place { cloud: spec.cloud.clone(), source: spec.source_host.clone(), destination, resources: server.flavor.into(), ..Place::default() };
        if !context.slots.take(&name, place, limits) {
            seen.standing = Standing::holds(NO_SLOT);
            return Ok(());
        }
        // Asked again: another may have become this minute's probe while the destination was chosen.
        if let Err(held) = context.brake(&spec.cloud, |brake| brake.start(context.clock.now())) {
            context.give_back(&name);
            seen.standing = braked(held);
            return Ok(());
        }
        // The intent must name the highest record there is, so the poller's selection will not do.
        match of_server(self.live, self.run.server).await {
            Ok(rows) => {
                seen.rows = rows;
                seen.choice = choice;
                Ok(())
            }
            Err(fault) => {
                context.give_back(&name);
                Err(fault)
            }
        }
    }

    /// Where the server is: in the list of the source, or wherever Nova says when asked about it alone.
    async fn sight(&self) -> Result<ServerSight, Fault> {
        if let Some(server) = self.view.server(self.run.server) {
            return Ok(ServerSight::OnSource(server.clone()));
        }
        Ok(match self.live.cloud.server(self.run.server).await? {
            None => ServerSight::Gone,
            Some(server) if server.host.as_ref() == Some(&self.run.source) => ServerSight::OnSource(server),
            Some(server) => ServerSight::Elsewhere(server),
        })
    }

    /// Nova's own words, once the record has ended without success.
    async fn failure(&self, attempt: &Attempt, row: Option<&NovaMigration>) -> Result<Option<String>, Fault> {
        let ended = row.is_some_and(|row| matches!(row.status, RowStatus::Error | RowStatus::Failed | RowStatus::Cancelled));
        if !ended {
            return Ok(None);
        }
        let request_id = match &attempt.request_id {
            Some(id) => Some(id.clone()),
            // The answer was lost, and with it the id: the action begun since then is the request's.
            None => self.action_since(attempt).await?,
        };
        let Some(request_id) = request_id else { return Ok(None) };
        Ok(self.live.cloud.instance_action(self.run.server, &request_id).await?.map(|action| action.failure()))
    }

    /// Two looks, both begun after the attempt has been without a trace for a minute: no record that could be its own, and no action.
    async fn absence(&self, attempt: &Attempt) -> Result<Option<Absence>, Fault> {
        let first_begun_at = self.context.clock.now();
        if first_begun_at < after(attempt.intent_at.0, UNRESOLVED_AFTER) {
            return Ok(None);
        }
        for look in 0..2 {
            if look > 0 {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            let rows = of_server(self.live, self.run.server).await?;
            if find_row(attempt, self.run.server, &self.run.source, &rows).is_some() || self.has_action(attempt).await? {
                return Ok(None);
            }
        }
        Ok(Some(Absence { first_begun_at }))
    }

    /// Whether Nova has an action that the attempt's request may have begun: the one of its request id, or, where the answer was lost, a migration begun since.
    async fn has_action(&self, attempt: &Attempt) -> Result<bool, Fault> {
        match attempt.request_id.as_deref() {
            Some(request_id) => Ok(self.live.cloud.instance_action(self.run.server, request_id).await?.is_some()),
            None => Ok(self.action_since(attempt).await?.is_some()),
        }
    }

    /// The request id of the newest migration that was asked for since the attempt was written.
    async fn action_since(&self, attempt: &Attempt) -> Result<Option<String>, Fault> {
        // Nova's stamps are whole seconds of its own clock.
        let since = attempt.intent_at.0.checked_sub(Duration::from_secs(2)).unwrap_or(Timestamp::MIN);
        let actions = self.live.cloud.instance_actions(self.run.server).await?;
        let earlier = self.object.status.as_ref().map(|status| status.attempts.as_slice()).unwrap_or_default();
        Ok(request_since(&actions, since, earlier))
    }
}

/// The request of the newest migration in `actions` that was begun since, and that is no earlier attempt's: a clock of Nova's that is ahead makes those look new.
fn request_since(actions: &[InstanceAction], since: Timestamp, earlier: &[Attempt]) -> Option<String> {
    let migrations = actions.iter().filter(|action| matches!(action.action.as_str(), "live-migration" | "migrate"));
    let mut new = migrations.filter(|action| action.start_time.is_none_or(|begun| begun >= since)).filter_map(|action| action.request_id.clone());
    new.find(|id| !earlier.iter().any(|attempt| attempt.request_id.as_ref() == Some(id)))
}

async fn of_server(live: &LiveCloud, server: ServerId) -> Result<Vec<NovaMigration>, Fault> {
    live.cloud.migrations(&MigrationFilter { server: Some(server), ..MigrationFilter::default() }).await
}

fn braked(held: Held) -> Standing {
    Standing::Holds { reason: Some(held.reason), message: held.message, until: Some(held.until) }
}

fn after(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::run::MigrationRunStatus;

    #[test]
    fn the_action_of_an_earlier_attempt_is_no_trace_of_a_later_one_however_far_novas_clock_is_ahead() {
        let actions: Vec<InstanceAction> = serde_json::from_value(serde_json::json!([
            {"action": "live-migration", "request_id": null, "start_time": "2026-11-22T12:10:00.000000"},
            {"action": "stop", "request_id": "req-stop", "start_time": "2026-11-22T12:10:00.000000"},
            {"action": "live-migration", "request_id": "req-1", "start_time": "2026-11-22T12:09:00.000000"},
            {"action": "live-migration", "request_id": "req-0", "start_time": "2026-11-22T11:00:00.000000"},
        ]))
        .unwrap();
        let status: MigrationRunStatus = serde_json::from_value(serde_json::json!({"attempts": [
            {"number": 1, "intentAt": "2026-11-22T12:00:00.000000Z", "requestID": "req-1"},
            {"number": 2, "intentAt": "2026-11-22T12:01:00.000000Z"},
        ]}))
        .unwrap();
        let since = status.attempts[1].intent_at.0;
        assert_eq!(request_since(&actions, since, &status.attempts), None);
        assert_eq!(request_since(&actions, since, &[]).as_deref(), Some("req-1"));
    }
}
