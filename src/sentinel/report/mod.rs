//! The HostReport: what this sentinel sees of its own host, written by server-side apply.
//!
//! ```text
//!  the task that follows the files ── Snapshot ──┐
//!  /proc, the files from outside ──── look ──────┼─► draft ── silence::sensor ──► HostReport, if it is worth a write
//!  the heartbeat ──────────────────── clock ─────┘
//! ```
//!
//! It waits for nobody and holds nobody up: the latest of each is taken as it is, the looks are taken on a thread of their own, and a write that fails is tried again later.

mod draft;
mod look;
mod writer;

use std::convert::Infallible;
use std::fs;
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Client, Resource};
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::deliver::{Answer, FIELD_MANAGER};
use super::snapshot::{Snapshot, SourceSnapshot};
use crate::api::report::{ClockReport, SensorHealth, SensorReport};
use crate::api::{HostReport, HostReportSpec};
use crate::clock::Clock;
use crate::kubernetes::answer;
use draft::About;
use look::{Looker, Sight};

/// The time between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(10);
/// Where the kernel tells its boot's id.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The API server did not take the report.
#[derive(Debug, Error)]
#[error(
    "The API server did not take HostReport {node}; the sentinel needs create and patch on hostreports.sidestep.dev, and the kinds (crds/) must be installed"
)]
struct WriteError {
    node: String,
    source: Answer,
}

/// Keeps one HostReport up to date for as long as the process lives.
pub(super) struct Report<'a> {
    client: Client,
    clock: &'a Clock,
    about: About,
    /// What the task that follows the files says.
    known: watch::Receiver<Snapshot>,
    /// What the heartbeat has measured.
    measured: watch::Receiver<Option<ClockReport>>,
    lookers: Vec<Looker>,
    /// What was written last, and when (monotonic).
    told: Option<(HostReportSpec, Duration)>,
    not_before: Duration,
    failing: bool,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        client: Client,
        clock: &'a Clock,
        node: &str,
        patience: Duration,
        known: watch::Receiver<Snapshot>,
        measured: watch::Receiver<Option<ClockReport>>,
    ) -> Self {
        let boot_id = fs::read_to_string(BOOT_ID).ok().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        let about = About { node: node.to_owned(), boot_id, patience };
        Self { client, clock, about, known, measured, lookers: Vec::new(), told: None, not_before: Duration::ZERO, failing: false }
    }

    pub(super) async fn run(mut self) -> Infallible {
        loop {
            let sources = self.known.borrow().sources.clone();
            // Before the first snapshot nothing is known of the sensors.
            if !sources.is_empty() {
                let sights = self.look(&sources).await;
                let clock = *self.measured.borrow();
                let draft = draft::draft(&self.about, sources.iter().zip(&sights), clock);
                self.tell(draft).await;
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Looks at each file from outside, on a thread that may be held up.
    async fn look(&mut self, sources: &[SourceSnapshot]) -> Vec<Sight> {
        let mut lookers = std::mem::take(&mut self.lookers);
        lookers.resize_with(sources.len(), Looker::new);
        let (paths, clock): (Vec<_>, _) = (sources.iter().map(|source| source.path.clone()).collect(), self.clock.clone());
        let looked = spawn_blocking(move || {
            let sights = lookers.iter_mut().zip(&paths).map(|(looker, path)| looker.look(path, &clock)).collect();
            (lookers, sights)
        });
        let (lookers, sights) = looked.await.unwrap_or_default();
        self.lookers = lookers;
        sights
    }

    async fn tell(&mut self, draft: HostReportSpec) {
        let now = self.clock.monotonic();
        let told = self.told.as_ref().map(|(told, at)| (told, now.saturating_sub(*at)));
        if now < self.not_before || !draft::is_due(told, &draft) {
            return;
        }
        match self.write(&draft).await {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("The API server takes the HostReport again");
                }
                log_changes(self.told.as_ref().map(|(told, _)| told), &draft);
                self.told = Some((draft, now));
            }
            Err(error) => {
                self.not_before = now + RETRY;
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!("{:#}; it is tried again every {} s", anyhow::Error::from(error), RETRY.as_secs());
                }
            }
        }
    }

    async fn write(&self, spec: &HostReportSpec) -> Result<(), WriteError> {
        let node = &self.about.node;
        let object = json!({"apiVersion": HostReport::api_version(&()), "kind": HostReport::kind(&()), "metadata": {"name": node}, "spec": spec});
        let api: Api<DeserializeGuard<HostReport>> = Api::all(self.client.clone());
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let written = answer(api.patch(node, &params, &Patch::Apply(object))).await;
        written.map(drop).map_err(|error| WriteError { node: node.clone(), source: Answer::from(error) })
    }
}

/// Says which sensors' health is another one than it was.
fn log_changes(told: Option<&HostReportSpec>, now: &HostReportSpec) {
    let earlier = |name: &str| told.and_then(|told| told.sensors.iter().find(|sensor| sensor.name == name)).map(|sensor| sensor.health);
    for SensorReport { name, health, message, .. } in now.sensors.iter().filter(|sensor| earlier(&sensor.name) != Some(sensor.health)) {
        match health {
            SensorHealth::Healthy | SensorHealth::Unknown => tracing::info!(sensor = name, health = health.as_str(), why = message, "A sensor's health"),
            SensorHealth::Degraded | SensorHealth::Dead => tracing::warn!(sensor = name, health = health.as_str(), why = message, "A sensor is not well"),
        }
    }
}
