//! The operator's figures.

use prometheus_client::metrics::histogram::Histogram;

use super::{Catalogue, Counters, Gauges};

/// Upper bounds for the duration of a move, in seconds.
const MOVE_SECONDS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
/// Upper bounds for an exchange with a server, in seconds.
const CALL_SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The operator's figures. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OperatorMetrics {
    /// Decisions on alerts that were written: by decision.
    pub decisions: Counters<1>,
    /// Alert series that were too old to act on when this operator began to decide: by node.
    pub stale_at_start: Counters<1>,
    /// Whether one more host may be taken out of service: by cloud.
    pub budget_available: Gauges<1>,
    /// Writes to hosts' compute services: by action (disable, enable) and outcome (done, refused, failed).
    pub cordons: Counters<2>,
    /// Attempts that ended: by outcome.
    pub migrations: Counters<1>,
    /// Runs that ended without success and are given up: by reason.
    pub given_up: Counters<1>,
    /// Duration of the moves that succeeded, as measured.
    pub migration_seconds: Histogram,
    /// Bytes that left sources, as measured: by what (memory, disk).
    pub migration_bytes: Counters<1>,
    /// Runs that have not ended: by phase.
    pub runs: Gauges<1>,
    /// Quarantines: by phase.
    pub quarantines: Gauges<1>,
    /// Alerts: by decision; `None` where none was taken.
    pub alerts: Gauges<1>,
    /// Requests to OpenStack: by service, method and HTTP status (or what went wrong where there was no answer).
    pub openstack_requests: Counters<3>,
    /// How long OpenStack took to answer.
    pub openstack_seconds: Histogram,
    /// Writes to Kubernetes: by resource, verb and HTTP status.
    pub kubernetes_writes: Counters<3>,
    /// Milliseconds since the last complete view of a cloud was begun: by cloud.
    pub inventory_age: Gauges<1>,
    /// Whether this operator leads.
    pub leader: Gauges<0>,
    /// Reconciles: by kind and outcome (done, failed).
    pub reconciles: Counters<2>,
    /// Always 1: by version.
    pub build: Gauges<1>,
}

impl OperatorMetrics {
    /// Registers all of them.
    #[must_use]
    pub fn new(to: &Catalogue) -> Self {
        let metrics = Self {
            decisions: to.counters("sidestep_decisions", ["decision"], "Decisions on alerts"),
            stale_at_start: to.counters("sidestep_stale_at_start", ["node"], "Alert series that were too old to act on when this operator began to decide"),
            budget_available: to.gauges("sidestep_budget_available", ["cloud"], "1 while one more host may be taken out of service, else 0"),
            cordons: to.counters("sidestep_cordons", ["action", "outcome"], "Writes to hosts' compute services"),
            migrations: to.counters("sidestep_migrations", ["outcome"], "Attempts to move a server that ended"),
            given_up: to.counters("sidestep_given_up", ["reason"], "Moves that were given up"),
            migration_seconds: to.histogram("sidestep_migration_duration_seconds", &MOVE_SECONDS, "Duration of moves that succeeded"),
            migration_bytes: to.counters("sidestep_migration_transferred_bytes", ["what"], "Bytes that left sources, where measured"),
            runs: to.gauges("sidestep_migrationruns", ["phase"], "Moves that have not ended"),
            quarantines: to.gauges("sidestep_hostquarantines", ["phase"], "Quarantines"),
            alerts: to.gauges("sidestep_hostalerts", ["decision"], "Alert series"),
            openstack_requests: to.counters("sidestep_openstack_requests", ["service", "method", "status"], "Requests to OpenStack"),
            openstack_seconds: to.histogram("sidestep_openstack_request_duration_seconds", &CALL_SECONDS, "How long OpenStack took to answer"),
            kubernetes_writes: to.counters("sidestep_kubernetes_writes", ["resource", "verb", "status"], "Writes to Kubernetes"),
            inventory_age: to.gauges("sidestep_inventory_age_milliseconds", ["cloud"], "Age of the view of a cloud"),
            leader: to.gauges("sidestep_leader", [], "1 in the operator that leads, else 0"),
            reconciles: to.counters("sidestep_reconciles", ["kind", "outcome"], "Looks at an object"),
            build: to.gauges("sidestep_build_info", ["version"], "Always 1"),
        };
        metrics.build.set([env!("CARGO_PKG_VERSION")], 1);
        metrics
    }
}
