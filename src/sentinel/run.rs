//! `sidestep-sentinel run`: one task that reads, sends one HostAlert at a time, saves the checkpoint, and waits for the next reason to do so.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::alerts::{Alerts, Delivery};
use super::args::{RunCommand, SourcesError};
use super::deliver::{DeliverError, Reporter};
use super::figures;
use super::heartbeat::Heartbeat;
use super::report::Report;
use super::snapshot::Snapshot;
use super::source::{Source, SourceSettings, State};
use crate::clock::Clock;
use crate::kubernetes::client::ClientError;
use crate::tail::checkpoint::{Checkpoint, CheckpointError, StateFolder};
use crate::tail::wake::Wake;
use crate::tail::{Start, mount};
use crate::telemetry::admin::Admin;
use crate::telemetry::health::{Health, Part, Pulse};
use crate::telemetry::metrics::{Catalogue, SentinelMetrics};

/// How long the loop may take for one round: it waits for [`LAST_RETRY`] at most, and reads a bounded part of the file.
const ROUND: Duration = Duration::from_secs(60);
/// How long the last deliveries may take after SIGTERM.
const FAREWELL: Duration = Duration::from_secs(4);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How often it is published what the sentinel knows of itself.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// No heartbeat comes faster.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// How often it is looked whether an alert file is itself mounted.
const MOUNT_INTERVAL: Duration = Duration::from_secs(30);

/// Why the program cannot run.
#[derive(Debug, Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Connect(#[from] ClientError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Sources(#[from] SourcesError),
    #[error("Cannot start: the operating system gives no runtime or no signals")]
    System { source: io::Error },
}

/// A finished delivery.
type Delivered = (Delivery, Result<(), DeliverError>);

/// Runs until SIGTERM or SIGINT.
pub(super) fn run(command: &RunCommand) -> Result<(), RunError> {
    let system = |source| RunError::System { source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(system)?;
    runtime.block_on(async {
        let stop = Stop { term: signal(SignalKind::terminate()).map_err(system)?, int: signal(SignalKind::interrupt()).map_err(system)? };
        work(command, &Clock::system(), stop).await
    })
}

/// Follows the files, and beside that says that the sentinel lives and what it sees, until asked to end.
async fn work(command: &RunCommand, clock: &Clock, stop: Stop) -> Result<(), RunError> {
    let reporter = Reporter::new(&command.node, command.kubeconfig.as_deref()).await?;
    let (published, known) = watch::channel(Snapshot::default());
    let (measured, clock_measured) = watch::channel(None);
    let heartbeat = Heartbeat {
        client: reporter.client(),
        clock,
        node: &command.node,
        namespace: &command.lease_namespace,
        interval: command.heartbeat_interval.get().max(SHORTEST_INTERVAL),
        measured,
    };
    let report = Report::new(reporter.client(), clock, &command.node, command.sensor_patience.get(), known, clock_measured);
    tokio::select! {
        biased;
        outcome = follow(command, clock, stop, reporter, published) => outcome,
        never = heartbeat.run() => match never {},
        never = report.run() => match never {},
    }
}

struct Stop {
    term: Signal,
    int: Signal,
}

impl Stop {
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

async fn follow(command: &RunCommand, clock: &Clock, mut stop: Stop, reporter: Reporter, published: watch::Sender<Snapshot>) -> Result<(), RunError> {
    let settings = command.sources()?;
    let state = StateFolder::open(&command.state_dir)?;
    let health = Health::new(clock.clone());
    let _admin = admin(command, &health, published.subscribe());
    let checkpoint = load(&state);
    // Where reading begins is decided now, not when the API server answers: what is written meanwhile is new.
    let sources: Vec<Source> = settings.into_iter().enumerate().map(|(number, settings)| begin(number, settings, checkpoint.as_ref(), clock)).collect();
    if checkpoint.is_none() {
        keep_beginning(&state, &sources, clock);
    }
    let known = tokio::select! {
        known = read_slots(&reporter) => known,
        () = stop.asked() => return Ok(()),
    };
    tracing::info!(node = command.node, host_alerts = known.len(), "The API server answers; reading begins");
    health.set("API server", Part::Ready("it has answered".to_owned()));
    let (wake, no_notice) = Wake::new(sources.iter().map(|source| source.settings().path.as_path()));
    if let Some(error) = no_notice {
        tracing::warn!("{:#}", anyhow::Error::from(error));
    }
    let alerts = Alerts::new(&command.node, sources, checkpoint, known);
    let mut sentinel = Sentinel {
        clock,
        state,
        reporter,
        alerts,
        wake,
        sending: FuturesUnordered::new(),
        retry: Retry::default(),
        known: Snapshot::default(),
        published,
        next_publish: Duration::ZERO,
        pulse: health.pulse("the loop that reads and reports", ROUND),
        next_mount_look: Duration::ZERO,
    };
    sentinel.run(&mut stop).await;
    sentinel.say_farewell().await;
    Ok(())
}

fn admin(command: &RunCommand, health: &Health, snapshots: watch::Receiver<Snapshot>) -> Admin {
    let catalogue = Catalogue::new();
    let metrics = SentinelMetrics::new(&catalogue);
    health.set("API server", Part::Waits("its answer with this node's HostAlerts".to_owned()));
    Admin::start(&command.admin, health.clone(), catalogue, move || figures::refresh(&metrics, &snapshots.borrow()))
}

/// Begins to follow a file and says where.
fn begin(number: usize, settings: SourceSettings, checkpoint: Option<&Checkpoint>, clock: &Clock) -> Source {
    let (source, start) = Source::new(number, settings, checkpoint, clock);
    let SourceSettings { name, path, format, zone } = source.settings();
    if zone.is_unknown() && !format.stamps_name_their_zone() {
        tracing::warn!(
            source = name,
            "The host's time zone is not known: stamps are read as UTC; give the zone with --timezone, or mount the host's /etc/localtime"
        );
    }
    let path = path.display();
    match start {
        Ok(Start::Awaiting) => tracing::info!(source = name, %path, "Waiting for the alert file; it will be read from its beginning"),
        Ok(Start::AtEnd { offset }) => {
            tracing::info!(source = name, %path, offset_bytes = offset, "Following the alert file from its end, because there is no checkpoint: what it holds already is not told");
        }
        Ok(Start::Appeared { files }) => tracing::info!(source = name, %path, files, "Following the alert file from its beginning: there was none before"),
        Ok(Start::Resumed { offset, files }) => {
            tracing::info!(source = name, %path, offset_bytes = offset, files, "Following the alert file on from the checkpoint");
        }
        Ok(Start::Lost { files }) => {
            tracing::warn!(source = name, %path, files, "The file that the checkpoint names is gone, and with it what was not read of it; following what was written since");
        }
        Err(error) => tracing::warn!(source = name, "{:#}; it is tried again every second", anyhow::Error::from(error)),
    }
    source
}

/// Saves where reading begins when nothing was saved before: a sentinel that is killed before the API server has answered must not begin later, at the end of what was written meanwhile.
fn keep_beginning(state: &StateFolder, sources: &[Source], clock: &Clock) {
    let places = sources.iter().filter_map(Source::saved).collect();
    if let Err(error) = state.save(&Checkpoint::new(clock.now(), places, Vec::new())) {
        tracing::warn!("{:#}. Should the sentinel end before it can be saved, reading begins at the end of the file", anyhow::Error::from(error));
    }
}

fn load(state: &StateFolder) -> Option<Checkpoint> {
    match state.load() {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            tracing::error!("{:#}. Reading starts at the end of the file: alerts written since the last stop are not told", anyhow::Error::from(error));
            None
        }
    }
}

/// Reads this node's slots, however long the API server takes to answer.
async fn read_slots(reporter: &Reporter) -> Vec<super::alerts::KnownSlot> {
    let mut retry = Retry::default();
    loop {
        match reporter.read_slots().await {
            Ok(known) => return known,
            Err(error) => {
                if !retry.is_failing() {
                    tracing::warn!("{:#}; it is asked again until it answers, and the alert file keeps everything until then", anyhow::Error::from(error));
                }
                sleep(retry.fail(Duration::ZERO)).await;
            }
        }
    }
}

/// When to try again: twice as late each time, up to a bound.
#[derive(Debug, Default)]
struct Retry {
    wait: Option<Duration>,
    not_before: Duration,
}

impl Retry {
    fn fail(&mut self, now: Duration) -> Duration {
        let wait = self.wait.map_or(FIRST_RETRY, |wait| (wait * 2).min(LAST_RETRY));
        self.wait = Some(wait);
        self.not_before = now + wait;
        wait
    }

    fn is_failing(&self) -> bool {
        self.wait.is_some()
    }
}

struct Sentinel<'a> {
    clock: &'a Clock,
    state: StateFolder,
    reporter: Reporter,
    alerts: Alerts,
    wake: Wake,
    /// At most one.
    sending: FuturesUnordered<Pin<Box<dyn Future<Output = Delivered>>>>,
    retry: Retry,
    known: Snapshot,
    published: watch::Sender<Snapshot>,
    next_publish: Duration,
    pulse: Pulse,
    next_mount_look: Duration,
}

impl Sentinel<'_> {
    async fn run(&mut self, stop: &mut Stop) {
        loop {
            self.pulse.beat();
            let state = self.read();
            self.send();
            self.save();
            self.publish();
            let pause = if state == State::More { Duration::ZERO } else { self.next_step() };
            let changed = async {
                if state == State::More {
                    std::future::pending::<()>().await;
                } else {
                    self.wake.changed().await;
                }
            };
            tokio::select! {
                biased;
                () = stop.asked() => return,
                Some(done) = self.sending.next(), if !self.sending.is_empty() => self.take_answer(done),
                () = changed => {}
                () = sleep(pause) => {}
            }
        }
    }

    fn read(&mut self) -> State {
        let now = self.clock.monotonic();
        self.alerts.read(self.clock, |source, read| source.note(read, now))
    }

    fn send(&mut self) {
        let now = self.clock.monotonic();
        if !self.sending.is_empty() || now < self.retry.not_before {
            return;
        }
        if let Some(delivery) = self.alerts.due(now) {
            self.alerts.sent(&delivery, now);
            let reporter = self.reporter.clone();
            self.sending.push(Box::pin(async move {
                let answer = reporter.write(&delivery).await;
                (delivery, answer)
            }));
        }
    }

    fn take_answer(&mut self, (delivery, answer): Delivered) {
        let Delivery { write, .. } = delivery;
        match answer {
            Ok(()) => {
                if self.retry.is_failing() {
                    tracing::info!("The API server takes HostAlerts again");
                }
                self.retry = Retry::default();
                self.known.reports.accepted += 1;
                let is_new = self.alerts.is_new(&write);
                self.alerts.settled(write.slot, write.spec.seq);
                let spec = &write.spec;
                if is_new {
                    tracing::info!(slot = format!("{:02x}", write.slot), rule = spec.rule_id, severity = ?spec.severity, flow = ?spec.flow, subject = spec.subject, text = spec.message, "A new series of alerts was reported");
                } else {
                    tracing::debug!(slot = format!("{:02x}", write.slot), seq = spec.seq, count = spec.count, "A series of alerts was reported");
                }
            }
            Err(error @ DeliverError::Refused { .. }) => {
                self.known.reports.refused += 1;
                self.alerts.settled(write.slot, write.spec.seq);
                tracing::error!(refused_total = self.known.reports.refused, "{:#}; it is given up", anyhow::Error::from(error));
            }
            Err(error) => {
                self.known.reports.failed += 1;
                let first = !self.retry.is_failing();
                let wait = self.retry.fail(self.clock.monotonic());
                if first {
                    tracing::warn!(
                        retry_in_ms = wait.as_millis(),
                        "{:#}; it is tried again, and the alert file keeps what is not told yet",
                        anyhow::Error::from(error)
                    );
                }
            }
        }
    }

    fn save(&mut self) {
        if let Some(checkpoint) = self.alerts.checkpoint(self.clock) {
            self.write_checkpoint(checkpoint);
        }
    }

    /// Lets others know how things stand, at most once a second.
    fn publish(&mut self) {
        let now = self.clock.monotonic();
        if now < self.next_publish {
            return;
        }
        self.next_publish = now + PUBLISH_INTERVAL;
        if now >= self.next_mount_look {
            self.next_mount_look = now + MOUNT_INTERVAL;
            self.alerts.sources_mut().iter_mut().for_each(look_at_mount);
        }
        let saving =
            "The position cannot be saved: see that the state folder is writable and not full; alerts are told all the same, and read again after a restart";
        self.known.sources = self.alerts.snapshots(self.known.saving_fails.then_some(saving));
        self.published.send_replace(self.known.clone());
    }

    fn write_checkpoint(&mut self, checkpoint: Checkpoint) {
        match self.state.save(&checkpoint) {
            Ok(()) => {
                if std::mem::take(&mut self.known.saving_fails) {
                    tracing::info!("The position is saved again");
                }
                self.known.saved_at = Some(checkpoint.saved_at);
                self.alerts.saved(checkpoint);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.known.saving_fails, true) {
                    tracing::warn!("{:#}; it is tried again every second", anyhow::Error::from(error));
                }
            }
        }
    }

    /// How long nothing is to be done unless something happens.
    fn next_step(&self) -> Duration {
        let now = self.clock.monotonic();
        let send = if self.sending.is_empty() { self.alerts.next_due(now).map(|due| due.max(self.retry.not_before)) } else { None };
        let save = self.alerts.has_unsaved().then(|| self.alerts.next_save()).filter(|at| *at > now);
        let at = send.into_iter().chain(save).min();
        at.map_or(LAST_RETRY, |at| at.saturating_sub(now))
    }

    /// Delivers what was read and saves the position, within a bound.
    async fn say_farewell(&mut self) {
        let deliver_all = async {
            while let Some(done) = self.sending.next().await {
                self.take_answer(done);
            }
            while let Some(delivery) = self.alerts.untold() {
                let answer = self.reporter.write(&delivery).await;
                let failed = answer.is_err();
                self.take_answer((delivery, answer));
                if failed && self.retry.is_failing() {
                    sleep(FIRST_RETRY).await;
                }
            }
        };
        let in_time = timeout(FAREWELL, deliver_all).await.is_ok();
        if let Some(checkpoint) = self.alerts.last_checkpoint(self.clock) {
            self.write_checkpoint(checkpoint);
        }
        // A checkpoint that waited for the last deliveries may have been older than what was read since.
        if let Some(checkpoint) = self.alerts.last_checkpoint(self.clock) {
            self.write_checkpoint(checkpoint);
        }
        let counters = self.alerts.counters();
        if in_time {
            tracing::info!(records = counters.records, alerts = counters.alerts, "Stopped; every alert that was read is reported");
        } else {
            tracing::warn!(
                records = counters.records,
                alerts = counters.alerts,
                "Stopped before the API server took everything; the rest is read again at the next start"
            );
        }
    }
}

/// A file that is not there is not mounted; where the kernel does not say, nothing is said.
fn look_at_mount(source: &mut Source) {
    let is_mounted = mount::is_mounted(&source.settings().path).unwrap_or(false);
    source.note_mount(is_mounted);
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::alert::parse::Format;

    #[test]
    fn where_reading_begins_is_kept_before_the_api_server_answers() {
        let folder = tempfile::tempdir().unwrap();
        let eve = folder.path().join("eve.json");
        std::fs::write(&eve, "{\"event_type\":\"stats\"}\n").unwrap();
        let state = StateFolder::open(&folder.path().join("state")).unwrap();
        let clock = Clock::manual("2026-11-25T10:00:00Z".parse().unwrap());
        let settings = SourceSettings { name: "eve".to_owned(), format: Format::SuricataEve, path: eve.clone(), zone: TimeZone::UTC };
        let source = begin(0, settings.clone(), None, &clock);
        keep_beginning(&state, &[source], &clock);
        let kept = state.load().unwrap().unwrap();
        std::fs::write(&eve, "{\"event_type\":\"stats\"}\n{\"event_type\":\"flow\"}\n").unwrap();
        let (_, start) = Source::new(0, settings, Some(&kept), &clock);
        assert!(matches!(start, Ok(Start::Resumed { offset: 23, files: 1 })), "{start:?}");
    }
}
