//! The drain proper: what is left on the host, what is done about it, and the phase that goes with it.

use std::time::Duration;

use uuid::Uuid;

use super::decide::Draft;
use super::drain::Rules;
use super::facts::{Action, NewRun, Pace};
use super::report::moment;
use super::scope::contest_stops;
use super::tally::{Tally, plans};
use super::{DEADLINE_EXCEEDED, NO_POOL, RESIDENTS_SHOWN, later};
use crate::api::condition::{Kind, State, find, is_true};
use crate::api::quarantine::{LockedServers, Phase, Resident, ResidentReason, StoppedServers, TimelineEvent};
use crate::api::units::{Bound, ClockName, ResponseAction, Scope};
use crate::inventory::HostView;

/// How long an allocation may outlive the last server before it is reported: Nova drops a migration's own a moment after its record ends.
const ALLOCATION_PATIENCE: Duration = Duration::from_secs(10);

impl Draft<'_> {
    /// Derives the work from what is on the host now.
    pub(super) fn drain(&mut self) {
        let Some(view) = self.list() else {
            self.phase(Phase::Planning, "Planning", "listing the servers on the host");
            self.next.pace = Pace::Now;
            return;
        };
        self.expose(view);
        if self.next.status.effective_action == Some(ResponseAction::Cordon) {
            self.cordoned(view);
            return;
        }
        let Some(approved) = self.plan_and_approve() else {
            self.phase(Phase::Planning, "Planning", "making the plan");
            self.next.pace = Pace::Soon;
            return;
        };
        let closed = self.is_closed();
        let tally = self.tally(view, closed, approved);
        self.moment(TimelineEvent::Planned);
        if let Some(first) = self.seen.runs.iter().filter_map(|run| run.first_intent).min() {
            moment(&mut self.next.status, TimelineEvent::FirstMigrationRequested, first, ClockName::Operator);
        }
        self.measure();
        self.next.status.progress = Some(tally.progress);
        self.judge_locations(&tally.residents);
        if !self.is_held() {
            self.make_runs(&tally);
        }
        self.conclude(view, tally, closed, approved);
    }

    /// Whether Nova's word for a server is known not to say where its guest runs, or whether it does.
    fn judge_locations(&mut self, residents: &[Resident]) {
        let has = |reasons: &[ResidentReason]| residents.iter().any(|resident| reasons.contains(&resident.reason));
        if has(&[ResidentReason::RecordBehindGuest]) {
            let message = "Nova's record of a move and Nova's host of its server disagree: see status.residents";
            self.set(Kind::GuestLocationDisputed, true, "RecordBehindGuest", message);
        } else if has(&[ResidentReason::ErrorAfterAttempt, ResidentReason::ErrorAfterAbort]) {
            let message = "Nova calls a server ERROR after a move that failed or was aborted; its guest may run on, untouched: see status.residents";
            self.set(Kind::GuestLocationDisputed, true, "ErrorAfterMove", message);
        } else {
            self.set(Kind::GuestLocationDisputed, false, "NotDisputed", "");
        }
    }

    /// One look at the host, counted. `approved` says whether moves may start; what has come since an approval then needs one of its own.
    pub(super) fn tally(&self, view: &HostView, closed: bool, approved: bool) -> Tally {
        let spec = self.incident.spec;
        let by_approval = approved && find(&self.next.status.conditions, Kind::Approved).is_some_and(|condition| condition.reason == "Approved");
        let status = &self.next.status;
        let rules = Rules {
            closed,
            retried: status.retry.as_ref().map(|retry| retry.since.0),
            moves_locked: spec.migration.locked_servers == LockedServers::Migrate,
            moves_stopped: spec.migration.stopped_servers == StoppedServers::ColdMigrate,
            plans: plans(status),
            sight: self.seen.plan,
            late: &|server| by_approval && !spec.allow_late_arrivals && !self.is_approved_server(self.seen.runs, server),
        };
        Tally::of(view, self.seen.runs, &rules)
    }

    pub(super) fn make_runs(&mut self, tally: &Tally) {
        let runs: Vec<NewRun> = tally
            .new_runs
            .iter()
            .map(|(server, ordinal)| {
                let place = self.seen.plan.and_then(|plan| plan.moves.get(server));
                NewRun {
                    server: *server,
                    ordinal: *ordinal,
                    destination: place.and_then(|(destination, _)| destination.clone()),
                    order: place.map_or(0, |(_, order)| *order),
                    plan: self.plan_of(*server),
                    retry: self.next.status.retry.as_ref().map(|retry| retry.since.0),
                }
            })
            .collect();
        if !runs.is_empty() {
            self.next.actions.push(Action::MakeRuns(runs));
        }
    }

    /// Action Cordon: the host is out of service, and nothing else is done.
    fn cordoned(&mut self, view: &HostView) {
        let left = view.servers.len();
        self.set(Kind::Drained, State::False, "NotRequested", "");
        if is_true(&self.next.status.conditions, Kind::Contested) {
            self.contested_and_blocked();
            return;
        }
        self.set(Kind::Blocked, State::False, "NotBlocked", "");
        let more = match &self.seen.gates {
            Err(refusal) if self.is_asked_to_drain() => format!("; a later decision asks for a drain, and a gate is shut: {}", refusal.message),
            _ => String::new(),
        };
        self.phase(Phase::Cordoned, "Cordoned", &format!("the host is out of service; its {left} servers stay{more}"));
    }

    fn contested_and_blocked(&mut self) {
        let reason = find(&self.next.status.conditions, Kind::Contested).map_or_else(|| "Contested".to_owned(), |contested| contested.reason.clone());
        self.blocked(&reason, "the host is not out of service by this object: see condition Contested");
    }

    /// The phase that goes with what is left on the host.
    fn conclude(&mut self, view: &HostView, tally: Tally, closed: bool, approved: bool) {
        let left = tally.progress.remaining;
        let deadline_or = |other: &'static str| if closed { DEADLINE_EXCEEDED } else { other };
        let (running, in_motion) = (tally.progress.running, tally.in_motion);
        let late = tally.residents.iter().any(|resident| resident.reason == ResidentReason::ArrivedAfterApproval);
        if contest_stops(self.incident.spec, &self.next.status) {
            self.not_empty(deadline_or("Contested"));
            self.report_residents(tally.residents);
            self.contested_and_blocked();
        } else if self.is_held() && (left > 0 || in_motion > 0) {
            self.not_empty(deadline_or("Suspended"));
            self.report_residents(tally.residents);
            self.suspended(running);
        } else if (!approved && in_motion > 0 && running == 0) || (late && in_motion == 0) {
            self.not_empty(deadline_or("AwaitingApproval"));
            self.report_residents(tally.residents);
            self.await_approval();
        } else if in_motion > 0 {
            self.not_empty(deadline_or("Draining"));
            self.report_residents(tally.residents.into_iter().chain(tally.held).collect());
            self.draining();
        } else if !tally.residents.is_empty() {
            self.not_empty(deadline_or("Residents"));
            self.blocked_by_residents(tally.residents);
        } else if let Some(first) = tally.arriving.first() {
            self.not_empty(DEADLINE_EXCEEDED);
            self.report_residents(Vec::new());
            let more = if tally.arriving.len() > 1 { format!(", and {} more", tally.arriving.len() - 1) } else { String::new() };
            self.blocked("Arriving", &format!("no server is left, but {first} heads to the host{more}, and the drain's deadline has passed"));
        } else if !tally.leftover.is_empty() {
            self.allocations_left(&tally.leftover);
        } else if is_true(&self.next.status.conditions, Kind::Contested) {
            self.not_empty("Contested");
            self.report_residents(Vec::new());
            self.contested_and_blocked();
        } else {
            self.report_residents(Vec::new());
            self.verify_empty(view);
        }
    }

    fn suspended(&mut self, running: u32) {
        self.set(Kind::Blocked, State::False, "NotBlocked", "");
        let what = if self.incident.spec.suspend { "spec.suspend" } else { "spec.abort" };
        let host = if is_true(&self.next.status.conditions, Kind::Contested) {
            "the host is not out of service (see condition Contested) and is not disabled again meanwhile"
        } else {
            "the host stays out of service"
        };
        let message = format!("{what} holds the drain: nothing new starts, {running} moves are followed to their end, {host}");
        self.phase(Phase::Suspended, "Suspended", &message);
        self.next.pace = if running > 0 { Pace::Active } else { Pace::Idle };
    }

    /// Waits for a person. The condition Approved has the command.
    pub(super) fn await_approval(&mut self) {
        self.set(Kind::Blocked, State::False, "NotBlocked", "");
        let approved = find(&self.next.status.conditions, Kind::Approved).filter(|approved| approved.status == State::False.as_str()).cloned();
        let (reason, message) = approved.map_or_else(
            || {
                let plan = self.next.status.plan.as_ref().map(|plan| plan.digest.as_str()).unwrap_or_default();
                ("ArrivedAfterApproval".to_owned(), format!("servers came after the approval: set allowLateArrivals, or approve plan {plan}"))
            },
            |approved| (approved.reason, approved.message),
        );
        self.phase(Phase::AwaitingApproval, &reason, &message);
        self.next.pace = Pace::Idle;
    }

    fn draining(&mut self) {
        let repeatedly = find(&self.next.status.conditions, Kind::Contested).is_some_and(|contested| contested.reason == "ContestedRepeatedly");
        if repeatedly {
            self.contested_and_blocked();
        } else {
            self.set(Kind::Blocked, State::False, "NotBlocked", "");
            self.phase(Phase::Draining, "Draining", "servers are leaving the host");
        }
        self.next.pace = Pace::Active;
    }

    fn blocked_by_residents(&mut self, residents: Vec<Resident>) {
        let count = residents.len();
        self.report_residents(residents);
        if self.scope() == Scope::HostCompromised && !self.seen.has_pool {
            let message = "the hypervisor is believed lost, so servers may go to the quarantine pool only, and the cloud has none (spec.destinations.pool of the OpenStackCloud)";
            self.blocked(NO_POOL, message);
        } else {
            self.blocked("Residents", &format!("{count} are left on the host that will not move by themselves; status.residents says why"));
        }
    }

    fn allocations_left(&mut self, consumers: &[Uuid]) {
        let since = *self.next.memory.allocations_since.get_or_insert(self.now);
        self.not_empty("AllocationsLeft");
        if later(since, ALLOCATION_PATIENCE) > self.now {
            self.set(Kind::Blocked, State::False, "NotBlocked", "");
            self.phase(Phase::Draining, "Draining", "no server is left; waiting until Placement holds no allocation on the host");
            self.next.pace = Pace::Active;
            return;
        }
        let message = "Placement holds an allocation on this host for something that is no server listed here: a shelved server, or a leak. See: openstack resource provider allocation show UUID";
        let residents = consumers
            .iter()
            .map(|consumer| Resident {
                server: consumer.to_string(),
                name: String::new(),
                reason: ResidentReason::AllocationLeft,
                message: message.to_owned(),
                next_attempt: None,
            })
            .collect();
        self.report_residents(residents);
        self.blocked("Residents", "no server is left, but Placement still holds allocations on the host; status.residents names them");
    }

    fn verify_empty(&mut self, view: &HostView) {
        self.next.memory.allocations_since = None;
        if view.consumers.is_none() {
            self.phase(Phase::Draining, "Verifying", "no server is left; asking Placement");
            self.next.pace = Pace::Now;
            return;
        }
        let first = *self.next.memory.first_empty.get_or_insert(view.begun_at);
        if is_true(&self.next.status.conditions, Kind::Drained) || later(first, self.incident.tick) <= view.begun_at {
            self.set(Kind::Drained, State::True, "Empty", "two lists of the host found nothing, and Placement holds nothing on it");
            self.set(Kind::Blocked, State::False, "NotBlocked", "");
            self.moment(TimelineEvent::Empty);
            self.measure();
            self.phase(Phase::Empty, "Empty", "nothing is left on the host, and it is out of service");
            return;
        }
        self.set(Kind::Blocked, State::False, "NotBlocked", "");
        self.phase(Phase::Draining, "Verifying", "one list found nothing; the next one must agree");
        self.next.pace = Pace::Active;
    }

    pub(super) fn not_empty(&mut self, reason: &str) {
        self.next.memory.first_empty = None;
        self.next.status.timeline.retain(|entry| entry.event != TimelineEvent::Empty);
        if let Some(measured) = self.next.status.measured.as_mut() {
            measured.duration_seconds = None;
        }
        self.set(Kind::Drained, State::False, reason, "");
        if reason != "AllocationsLeft" {
            self.next.memory.allocations_since = None;
        }
    }

    pub(super) fn blocked(&mut self, reason: &str, message: &str) {
        self.set(Kind::Blocked, State::True, reason, message);
        self.phase(Phase::Blocked, reason, message);
        self.next.pace = Pace::Idle;
    }

    pub(super) fn report_residents(&mut self, mut residents: Vec<Resident>) {
        residents.sort_by(|a, b| a.server.cmp(&b.server));
        self.next.status.resident_count = u32::try_from(residents.len()).ok();
        residents.truncate(RESIDENTS_SHOWN);
        self.next.status.residents = residents;
    }

    pub(super) fn measure(&mut self) {
        let bytes = self.seen.runs.iter().filter_map(|run| run.transferred_bytes).reduce(i64::saturating_add);
        let empty = self.moment_of(TimelineEvent::Empty).zip(self.moment_of(TimelineEvent::CordonRequested));
        let duration = empty.map(|(end, begin)| end.duration_since(begin).as_secs());
        if bytes.is_some() || duration.is_some() {
            let measured = self.next.status.measured.get_or_insert_default();
            measured.duration_seconds = duration;
            measured.transferred_bytes = bytes;
            measured.transferred_bytes_bound = bytes.map(|_| Bound::AtLeast);
        }
    }
}
