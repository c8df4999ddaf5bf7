//! A world in which an incident is played; the facts about it are in the files beside this one.

mod approval;
mod course;
mod deadline;
mod people;
mod property;
mod scopes;
mod servers;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use uuid::Uuid;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::condition::{ANOTHER_ACTIVE, Kind, find, is_true};
use crate::api::quarantine::{Phase, ResidentReason, TimelineEvent};
use crate::api::units::{ClockName, Mode};
use crate::api::{HostQuarantine, HostQuarantineSpec, HostQuarantineStatus};
use crate::inventory::{ComputeService, Flavor, HostView, NovaMigration, Server, ServerId, ServerStatus, ServiceState, ServiceStatus};
use crate::quarantine::decide::decide;
use crate::quarantine::report::moment_of;
use crate::quarantine::{
    Action, CloudSight, DEADLINE_EXCEEDED, Incident, Joined, Memory, NewRun, Observation, Permission, PlanSight, RUNS_PER_SERVER, Refusal, RunFacts, RunState,
    Write, entry, passengers, permission, remembered, run_name,
};

const UID: &str = "5f3a9c01-0000-4000-8000-000000000001";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(n: u128) -> ServerId {
    ServerId(Uuid::from_u128(n))
}

fn server(n: u128, status: &str) -> Server {
    Server {
        id: id(n),
        name: format!("vm-{n}"),
        status: ServerStatus::from(status.to_owned()),
        task_state: None,
        vm_state: String::new(),
        power_state: 1,
        host: Some("cmp-1".into()),
        locked: false,
        flavor: Flavor::default(),
        pinned_zone: None,
    }
}

fn facts(n: u128, ordinal: u32, state: RunState) -> RunFacts {
    RunFacts {
        server: id(n),
        ordinal,
        state,
        transferred_bytes: None,
        first_intent: None,
        plan: String::new(),
        created: at(100),
        retry: None,
        rows: vec![],
        tried_as: None,
        wait: None,
    }
}

/// A world in which one incident is played: the host as Nova shows it, the runs, and the object's own status.
struct World {
    spec: HostQuarantineSpec,
    status: HostQuarantineStatus,
    service: Option<ComputeService>,
    servers: Vec<Server>,
    migrations: Vec<NovaMigration>,
    consumers: Option<Vec<Uuid>>,
    soft_deleted: Vec<Server>,
    asked: BTreeMap<ServerId, Option<Server>>,
    runs: Vec<RunFacts>,
    hosts: Vec<&'static str>,
    has_pool: bool,
    joined: Joined,
    gates: Result<(), Refusal>,
    cloud: CloudSight,
    memory: Memory,
    deleted: Option<Timestamp>,
    decided: Option<i64>,
    /// What the sensor's stamp says, by the node's own clock.
    written: Option<i64>,
    /// From when until when no operator acted.
    absence: Option<(Timestamp, Timestamp)>,
    now: i64,
    /// What is added to whole seconds in the operator's own time.
    micros: i64,
}

impl World {
    fn new() -> Self {
        let spec: HostQuarantineSpec =
            serde_json::from_value(serde_json::json!({"cloud": "c", "host": "cmp-1", "mode": "Enforce", "scope": "HostThreatened", "reason": "why"})).unwrap();
        let service = ComputeService {
            id: crate::inventory::ServiceId("s-1".into()),
            host: "cmp-1".into(),
            status: ServiceStatus::Enabled,
            state: ServiceState::Up,
            disabled_reason: None,
            forced_down: false,
            zone: None,
        };
        Self {
            spec,
            status: HostQuarantineStatus::default(),
            service: Some(service),
            servers: vec![],
            migrations: vec![],
            consumers: Some(vec![]),
            soft_deleted: vec![],
            asked: BTreeMap::new(),
            runs: vec![],
            hosts: vec!["cmp-2", "cmp-3"],
            has_pool: false,
            joined: Joined::default(),
            gates: Ok(()),
            cloud: CloudSight::Usable,
            memory: Memory::default(),
            deleted: None,
            decided: None,
            written: None,
            absence: None,
            now: 100,
            micros: 0,
        }
    }

    fn with_servers(mut self, servers: Vec<Server>) -> Self {
        self.servers = servers;
        self
    }

    fn moment_now(&self) -> Timestamp {
        at(self.now) + jiff::SignedDuration::from_micros(self.micros)
    }

    fn view(&self) -> HostView {
        let now = self.moment_now();
        HostView {
            host: "cmp-1".into(),
            begun_at: now,
            ended_at: now,
            services: self.service.iter().cloned().collect(),
            servers: self.servers.clone(),
            migrations: self.migrations.clone(),
            consumers: self.consumers.clone(),
            soft_deleted: self.soft_deleted.clone(),
            asked: self.asked.clone(),
        }
    }

    /// One decision, a second after the one before; writes to the service take effect, everything else is up to the test.
    fn step(&mut self) -> Vec<Action> {
        self.now += 1;
        let now = self.moment_now();
        let view = self.view();
        let written = self.written.map(|written| entry(TimelineEvent::AlertWritten, at(written), ClockName::Node));
        let decided = self.decided.map(|decided| entry(TimelineEvent::Decided, at(decided), ClockName::Operator));
        let moments: Vec<_> = written.into_iter().chain(decided).collect();
        let incident = Incident {
            name: "q",
            uid: UID,
            spec: &self.spec,
            generation: Some(1),
            created: at(100),
            deleted: self.deleted,
            alert_moments: &moments,
            absence: self.absence,
            tick: Duration::from_secs(1),
        };
        // As the operator puts them together: the objects, and what is remembered of those that are gone.
        let mut runs = self.runs.clone();
        runs.extend(remembered(&self.status, &runs));
        let plan = self.plan(&view, &runs);
        let seen = Observation {
            cloud: self.cloud.clone(),
            gates: self.gates.clone(),
            earlier_reason: None,
            view: Some(&view),
            lists_servers: true,
            runs: &runs,
            joined: self.joined,
            has_pool: self.has_pool,
            plan: Some(&plan),
        };
        let next = decide(&incident, &self.status, &seen, &self.memory, now);
        self.status = next.status;
        self.memory = next.memory;
        for action in &next.actions {
            if let (Action::WriteService(_, write), Some(service)) = (action, self.service.as_mut()) {
                (service.status, service.disabled_reason) = match write {
                    Write::Disable(reason) => (ServiceStatus::Disabled, reason.clone()),
                    Write::Enable => (ServiceStatus::Enabled, None),
                };
            }
        }
        next.actions
    }

    /// The plan as the operator would make it: everything goes to the first host; without hosts nothing goes anywhere.
    fn plan(&self, view: &HostView, runs: &[RunFacts]) -> PlanSight {
        let servers = passengers(&self.spec, &self.status, view, runs);
        let mut plan = PlanSight { hosts: self.hosts.iter().map(|host| (*host).into()).collect(), ..PlanSight::default() };
        for (order, server) in (1..).zip(servers) {
            match plan.hosts.first() {
                Some(host) => drop(plan.moves.insert(server, (Some(host.clone()), order))),
                None => drop(plan.unplaced.insert(server, (ResidentReason::NoDestination, "no host".to_owned()))),
            }
        }
        let scope = crate::quarantine::effective_scope(&self.spec, &self.status, &self.joined);
        let servers: Vec<ServerId> = plan.moves.keys().copied().collect();
        plan.digest = format!("{scope:?} {servers:?} {:?}", plan.hosts);
        plan
    }

    fn plan_digest(&self) -> String {
        self.status.plan.as_ref().map(|plan| plan.digest.clone()).unwrap_or_default()
    }

    /// Makes the runs that were asked for, as the operator does.
    fn make(&mut self, actions: &[Action]) {
        for new in made(actions) {
            let (created, retry) = (at(self.now), new.retry);
            self.runs.push(RunFacts { server: new.server, ordinal: new.ordinal, plan: new.plan, created, retry, ..facts(0, 1, RunState::Pending) });
        }
    }

    /// One decision after which the runs are made.
    fn go(&mut self) {
        let actions = self.step();
        self.make(&actions);
    }

    /// The object as the API server holds it.
    fn object(&self) -> HostQuarantine {
        let mut object = HostQuarantine::new("q", self.spec.clone());
        object.status = Some(self.status.clone());
        object.metadata.deletion_timestamp = self.deleted.map(Time);
        object
    }

    fn steps(&mut self, n: usize) -> Vec<Action> {
        (0..n).flat_map(|_| self.step()).collect()
    }

    /// One decision at a moment.
    fn step_at(&mut self, micros: i64) -> Vec<Action> {
        (self.now, self.micros) = (micros / 1_000_000 - 1, micros % 1_000_000);
        self.step()
    }

    /// Somebody else disables the host.
    fn disable(&mut self, reason: Option<&str>) {
        let service = self.service.as_mut().unwrap();
        (service.status, service.disabled_reason) = (ServiceStatus::Disabled, reason.map(Into::into));
    }

    /// Somebody else enables the host.
    fn enable(&mut self) {
        let service = self.service.as_mut().unwrap();
        (service.status, service.disabled_reason) = (ServiceStatus::Enabled, None);
    }

    fn message(&self, kind: Kind) -> String {
        find(&self.status.conditions, kind).unwrap().message.clone()
    }

    #[track_caller]
    fn assert_phase(&self, phase: Phase) {
        assert_eq!(self.status.phase, Some(phase), "{:#?}", self.status.conditions);
    }

    fn moment(&self, event: TimelineEvent) -> Option<Timestamp> {
        moment_of(&self.status, event)
    }

    fn reason(&self, kind: Kind) -> String {
        find(&self.status.conditions, kind).unwrap().reason.clone()
    }

    fn run(&mut self, n: u128, state: RunState) {
        self.runs.retain(|run| run.server != id(n));
        self.runs.push(RunFacts { plan: self.plan_digest(), ..facts(n, 1, state) });
    }
}

fn made(actions: &[Action]) -> Vec<NewRun> {
    actions.iter().flat_map(|action| if let Action::MakeRuns(runs) = action { runs.clone() } else { vec![] }).collect()
}

/// The runs that are to be made: the server's number, and which of its runs it is.
fn named(actions: &[Action]) -> Vec<(u128, u32)> {
    made(actions).iter().map(|run| (run.server.0.as_u128(), run.ordinal)).collect()
}

fn writes(actions: &[Action]) -> Vec<Write> {
    actions.iter().filter_map(|action| if let Action::WriteService(_, write) = action { Some(write.clone()) } else { None }).collect()
}
