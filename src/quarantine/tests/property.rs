//! Whatever happens to an incident in whatever order, some things hold after every decision.

use proptest::prelude::*;

use super::*;
use crate::api::condition::State;
use crate::api::quarantine::Abort;
use crate::api::units::{ResponseAction, Scope};
use crate::inventory::mark;

/// Something that happens between two decisions.
#[derive(Clone, Copy, Debug)]
enum Event {
    Wait(i64),
    Arrive(u128, &'static str),
    Vanish(u128),
    Advance(u128),
    Fail(u128),
    DeleteRun(u128),
    Enable,
    DisableByHand,
    ReplaceService,
    CloudDown(bool),
    Gate(bool),
    Suspend(bool),
    Abort(Abort),
    Retry(u8),
    Mode(Mode),
    Approve,
    Join(Scope),
    Pool(bool),
    Hosts(bool),
    Release(bool),
    Delete,
}

fn event() -> impl Strategy<Value = Event> {
    let n = 1..5_u128;
    let status = prop::sample::select(vec!["ACTIVE", "PAUSED", "SHUTOFF", "ERROR", "BUILD", "MIGRATING", "VERIFY_RESIZE"]);
    let scope = prop::sample::select(vec![Scope::Maintenance, Scope::HostThreatened, Scope::Unknown, Scope::HostCompromised]);
    prop_oneof![
        4 => (1..400_i64).prop_map(Event::Wait),
        4 => (n.clone(), status).prop_map(|(n, status)| Event::Arrive(n, status)),
        2 => n.clone().prop_map(Event::Vanish),
        6 => n.clone().prop_map(Event::Advance),
        2 => n.clone().prop_map(Event::Fail),
        1 => n.prop_map(Event::DeleteRun),
        1 => Just(Event::Enable),
        1 => Just(Event::DisableByHand),
        1 => Just(Event::ReplaceService),
        2 => any::<bool>().prop_map(Event::CloudDown),
        1 => any::<bool>().prop_map(Event::Gate),
        2 => any::<bool>().prop_map(Event::Suspend),
        1 => prop::sample::select(vec![Abort::None, Abort::Queued, Abort::All]).prop_map(Event::Abort),
        1 => any::<u8>().prop_map(Event::Retry),
        1 => prop::sample::select(vec![Mode::Approve, Mode::Enforce]).prop_map(Event::Mode),
        2 => Just(Event::Approve),
        1 => scope.prop_map(Event::Join),
        1 => any::<bool>().prop_map(Event::Pool),
        1 => any::<bool>().prop_map(Event::Hosts),
        1 => any::<bool>().prop_map(Event::Release),
        1 => Just(Event::Delete),
    ]
}

impl World {
    fn happen(&mut self, event: Event) {
        match event {
            Event::Wait(seconds) => self.now += seconds,
            Event::Arrive(n, status) => {
                self.servers.retain(|one| one.id != id(n));
                self.servers.push(server(n, status));
            }
            Event::Vanish(n) => self.servers.retain(|one| one.id != id(n)),
            Event::Advance(n) => self.advance(n),
            Event::Fail(n) => self.end(n, |_| RunState::Failed("AttemptsExhausted".into(), "3 attempts".into())),
            Event::DeleteRun(n) => self.end(n, |_| RunState::Deleted),
            Event::Enable => self.enable(),
            Event::DisableByHand => self.disable(Some("bad RAM")),
            Event::ReplaceService => {
                let service = self.service.as_mut().unwrap();
                service.id = crate::inventory::ServiceId("s-2".into());
                (service.status, service.disabled_reason) = (ServiceStatus::Enabled, None);
            }
            Event::CloudDown(true) => self.cloud = CloudSight::Unusable { reason: "Unreachable".into(), message: "down".into() },
            Event::CloudDown(false) => self.cloud = CloudSight::Usable,
            Event::Gate(true) => self.gates = Ok(()),
            Event::Gate(false) => self.gates = Err(Refusal { reason: "OverBudget".into(), message: "full".into(), is_final: false }),
            Event::Suspend(suspend) => self.spec.suspend = suspend,
            Event::Abort(abort) => self.spec.abort = abort,
            Event::Retry(token) => self.spec.retry_token = token.to_string(),
            Event::Mode(mode) => self.spec.mode = mode,
            Event::Approve => self.spec.approval.plan = self.plan_digest(),
            Event::Join(scope) => self.joined.scope = Some(scope),
            Event::Pool(has_pool) => self.has_pool = has_pool,
            Event::Hosts(there) => self.hosts = if there { vec!["cmp-2", "cmp-3"] } else { vec![] },
            Event::Release(force) => {
                self.spec.release.requested = true;
                self.spec.release.force |= force;
            }
            Event::Delete => self.deleted = Some(at(self.now)),
        }
    }

    /// The server's latest run goes one step on, if it may.
    fn advance(&mut self, n: u128) {
        let permitted = |plan: &str| crate::quarantine::permission_for(&self.object(), plan);
        let Some(run) = self.runs.iter().filter(|run| run.server == id(n)).max_by_key(|run| run.ordinal).cloned() else { return };
        let next = match run.state {
            RunState::Pending => match permitted(&run.plan) {
                Permission::Permits => RunState::Queued,
                Permission::Holds(_) => RunState::Pending,
                Permission::Over(_) => RunState::Superseded,
            },
            RunState::Queued => RunState::Open,
            RunState::Open => {
                self.servers.retain(|one| one.id != id(n));
                RunState::Succeeded(at(self.now))
            }
            other => other,
        };
        self.end(n, |_| next.clone());
    }

    fn end(&mut self, n: u128, state: impl Fn(&RunState) -> RunState) {
        if let Some(run) = self.runs.iter_mut().filter(|run| run.server == id(n)).max_by_key(|run| run.ordinal)
            && matches!(run.state, RunState::Pending | RunState::Queued | RunState::Open)
        {
            run.state = state(&run.state);
        }
    }

    /// What holds after every decision. `before` is the world before it.
    fn check(&self, before: &Before, actions: &[Action]) -> Result<(), TestCaseError> {
        let status = &self.status;
        let truth = [Kind::Ready, Kind::Reconciling, Kind::Stalled].iter().filter(|kind| is_true(&status.conditions, **kind)).count();
        prop_assert!(truth == 1 || before.deleted, "exactly one of Ready, Reconciling, Stalled: {:#?}", status.conditions);
        prop_assert!(status.conditions.iter().all(|condition| !condition.reason.is_empty()));
        prop_assert!(before.scope.is_none_or(|scope| status.effective_scope >= Some(scope)), "the scope fell");
        let kept = before.by_hand && self.service.as_ref().unwrap().disabled_reason.as_deref() != Some("bad RAM");
        prop_assert!(!kept || before.untouched, "wrote over a person's word");
        let enables = writes(actions).contains(&Write::Enable);
        prop_assert!(!enables || self.spec.release.requested, "enabled a host that nobody released");
        let runs = made(actions);
        let held = self.spec.suspend || self.spec.abort != Abort::None || before.deleted || before.released;
        prop_assert!(runs.is_empty() || !held, "made runs while held");
        prop_assert!(runs.is_empty() || self.moment(TimelineEvent::CordonVerified).is_some(), "made runs without a cordon");
        for run in &runs {
            let twin = self.runs.iter().any(|other| other.server == run.server && other.ordinal == run.ordinal);
            prop_assert!(!twin, "made a run whose name is taken: {run:?}");
            prop_assert!(run.plan == self.plan_digest() || status.approved.as_ref().is_some_and(|approved| approved.plans.contains(&run.plan)));
        }
        prop_assert!(!before.released || actions.iter().all(|action| *action == Action::RemoveFinalizer), "did something after release");
        if status.phase == Some(Phase::Empty) && self.cloud == CloudSight::Usable && !before.deleted {
            prop_assert!(self.servers.is_empty(), "called a host with servers empty");
            let service = self.service.as_ref().unwrap();
            let by_hand = service.status == ServiceStatus::Disabled && service.disabled_reason.as_deref() == Some("bad RAM");
            prop_assert!(by_hand || mark::Mark::on(service).is_some_and(|mark| mark.uid == UID), "called a host in service empty");
        }
        prop_assert!(status.residents.len() <= 32 && status.resident_count.unwrap_or_default() as usize >= status.residents.len());
        let exposed = |status: &HostQuarantineStatus| {
            status.measured.as_ref().and_then(|measured| measured.exposure.as_ref()).map_or(0, |exposure| exposure.server_seconds)
        };
        prop_assert!(exposed(status) >= exposed(&before.status), "exposure fell");
        if permission(&self.object()) == Permission::Permits {
            let approved = find(&status.conditions, Kind::Approved).map(|condition| condition.status.clone());
            prop_assert_ne!(approved.as_deref(), Some(State::False.as_str()));
            prop_assert!(self.spec.mode.writes() && !held && status.effective_action == Some(ResponseAction::Drain));
        }
        Ok(())
    }
}

struct Before {
    status: HostQuarantineStatus,
    scope: Option<Scope>,
    released: bool,
    deleted: bool,
    /// Nothing was written to the host's service yet.
    untouched: bool,
    /// A person keeps the host out of service.
    by_hand: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn an_incident_keeps_its_promises_whatever_happens(
        mode in prop::sample::select(vec![Mode::Observe, Mode::Approve, Mode::Enforce]),
        scope in prop::sample::select(vec![Scope::Maintenance, Scope::HostThreatened, Scope::Unknown, Scope::HostCompromised]),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new();
        (world.spec.mode, world.spec.scope) = (mode, scope);
        for event in events {
            world.happen(event);
            let before = Before {
                status: world.status.clone(),
                scope: world.status.effective_scope,
                released: is_true(&world.status.conditions, Kind::Released),
                deleted: world.deleted.is_some(),
                untouched: world.status.host.is_none() || world.status.host.as_ref().is_some_and(|host| host.disabled_before),
                by_hand: world.service.as_ref().unwrap().disabled_reason.as_deref() == Some("bad RAM"),
            };
            let runs = world.runs.clone();
            let actions = world.step();
            world.runs = runs;
            world.check(&before, &actions)?;
            world.make(&actions);
        }
    }

    #[test]
    fn whatever_happened_an_incident_left_alone_comes_to_rest(
        scope in prop::sample::select(vec![Scope::Maintenance, Scope::HostThreatened, Scope::Unknown, Scope::HostCompromised]),
        events in prop::collection::vec(event(), 1..30),
    ) {
        let mut world = World::new();
        world.spec.scope = scope;
        for event in events {
            world.happen(event);
            world.go();
        }
        world.cloud = CloudSight::Usable;
        world.gates = Ok(());
        // Everything that may move moves; then the status stays.
        for round in 0..60 {
            for n in 1..5 {
                world.advance(n);
            }
            world.now += if round > 30 { 2000 } else { 1 };
            world.go();
        }
        let rest = world.status.clone();
        world.go();
        prop_assert_eq!(&world.status, &rest);
        prop_assert!(world.deleted.is_some() || !matches!(world.status.phase, Some(Phase::Cordoning | Phase::Planning | Phase::Releasing)), "{:?}", world.status.phase);
    }
}
