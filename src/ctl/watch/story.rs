//! What is known of the watched drains, and what there is to tell about each new state of an object: values in, lines and rows out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;

use crate::api::condition::{Kind, find, is_true};
use crate::api::quarantine::{Resident, TimelineEvent};
use crate::api::run::{MigrationRunStatus, RunPhase};
use crate::api::units::Bound;
use crate::api::{HostQuarantine, MigrationRun};

/// A copy is told again after each such share of it, in percent.
const STEP: u32 = 25;

/// One bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// What it is about: a host, or the first characters of a server's UUID.
    pub(super) name: String,
    /// Whether it is a host's.
    pub(super) is_host: bool,
    /// 0 to 100; absent when nothing is known.
    pub(super) percent: Option<u32>,
    /// What happens.
    pub(super) text: String,
    /// Whether something is going on: such rows are shown first when there is not room for all.
    pub(super) is_busy: bool,
}

/// How a watched host has come to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Nothing is left to do.
    Well,
    /// A person is needed.
    NeedsPerson,
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// The one that was asked for, if one was.
    only: Option<String>,
    /// Whether the first lists are complete: what was at rest before is not followed unless it was asked for.
    begun: bool,
    at_rest: BTreeSet<String>,
    quarantines: BTreeMap<String, Followed>,
    runs: BTreeMap<String, Told>,
    /// What the list that is being read anew has shown so far; what it does not show was deleted unseen.
    listed: BTreeSet<String>,
    runs_listed: BTreeSet<String>,
}

#[derive(Debug)]
struct Followed {
    object: HostQuarantine,
    state: String,
    moments: usize,
    ending: Option<Ending>,
    is_gone: bool,
}

#[derive(Debug)]
struct Told {
    run: MigrationRun,
    phase: Option<RunPhase>,
    step: u32,
}

impl Story {
    /// A story about one HostQuarantine, or about all that are at work.
    pub(super) fn of(only: Option<String>) -> Self {
        Self { only, ..Self::default() }
    }

    /// The first lists are complete. Returns how the moves stand, where no bars show that, or that there is nothing to watch yet.
    pub(super) fn begin(&mut self, has_bars: bool) -> Vec<String> {
        self.begun = true;
        if !self.quarantines.is_empty() && has_bars {
            return Vec::new();
        }
        if !self.quarantines.is_empty() {
            let mine = self.runs.values().filter(|told| told.phase.is_some() && self.follows(&told.run));
            return mine.map(|told| safe(&server_line(&told.run))).collect();
        }
        vec![match &self.only {
            Some(name) => format!("There is no HostQuarantine {name}; waiting for it."),
            None => "No host is being quarantined; waiting for the next one.".to_owned(),
        }]
    }

    /// All quarantines, or else all runs, are listed from here on.
    pub(super) fn list_began(&mut self, of_runs: bool) {
        if of_runs { self.runs_listed.clear() } else { self.listed.clear() }
    }

    /// The list is complete: what it did not show is gone.
    pub(super) fn list_ended(&mut self, of_runs: bool) -> Vec<String> {
        if of_runs {
            self.runs.retain(|name, _| self.runs_listed.contains(name));
            return Vec::new();
        }
        let gone: Vec<HostQuarantine> =
            self.quarantines.values().map(|followed| &followed.object).filter(|object| !self.listed.contains(&object.name_any())).cloned().collect();
        gone.iter().flat_map(|object| self.quarantine_gone(object)).collect()
    }

    /// Takes in a state of a quarantine.
    pub(super) fn quarantine(&mut self, object: &HostQuarantine) -> Vec<String> {
        let name = object.name_any();
        self.listed.insert(name.clone());
        if self.only.as_ref().is_some_and(|only| *only != name) {
            return Vec::new();
        }
        let ending = ending(object);
        let known = self.quarantines.contains_key(&name);
        if !known && self.only.is_none() && ending.is_some() && self.was_at_rest(&name) {
            return Vec::new();
        }
        let followed = self.quarantines.entry(name.clone()).or_insert_with(|| Followed {
            object: object.clone(),
            state: String::new(),
            moments: 0,
            ending: None,
            is_gone: false,
        });
        let mut lines = Vec::new();
        if !known {
            lines.push(opening(object));
        }
        let timeline = object.status.as_ref().map(|status| status.timeline.as_slice()).unwrap_or_default();
        // A moment that was taken back (the host is no longer empty) is told again when it comes again.
        followed.moments = followed.moments.min(timeline.len());
        for entry in timeline.iter().skip(followed.moments) {
            lines.push(format!("{}: {} {} ({} clock)", object.spec.host, moment(entry.event), time(entry.time.0), format!("{:?}", entry.clock).to_lowercase()));
        }
        followed.moments = timeline.len();
        let state = state(object);
        if state != followed.state && !state.is_empty() {
            lines.push(format!("{}: {state}", object.spec.host));
        }
        if ending.is_some() && ending != followed.ending {
            lines.extend(closing(object));
        }
        followed.state = state;
        followed.ending = ending;
        followed.is_gone = false;
        followed.object = object.clone();
        plain(&lines)
    }

    /// Whether a quarantine was at rest when the story began, and so is none of its business before it goes to work again.
    fn was_at_rest(&mut self, name: &str) -> bool {
        if !self.begun {
            self.at_rest.insert(name.to_owned());
        }
        self.at_rest.contains(name)
    }

    /// Takes in that a quarantine was deleted.
    pub(super) fn quarantine_gone(&mut self, object: &HostQuarantine) -> Vec<String> {
        self.at_rest.remove(&object.name_any());
        let Some(followed) = self.quarantines.get_mut(&object.name_any()).filter(|followed| !followed.is_gone) else { return Vec::new() };
        followed.is_gone = true;
        followed.ending = Some(Ending::Well);
        plain(&[format!("{}: HostQuarantine {} was deleted. Deleting is not releasing: its host stays as it is.", object.spec.host, object.name_any())])
    }

    /// Takes in a state of a run. What is under way is told only where no bar shows it.
    pub(super) fn run(&mut self, run: &MigrationRun, has_bars: bool) -> Vec<String> {
        let name = run.name_any();
        self.runs_listed.insert(name.clone());
        let phase = run.status.as_ref().and_then(|status| status.phase);
        let step = if has_bars { 0 } else { percent(run).unwrap_or(0) / STEP };
        let before = self.runs.get(&name).map(|told| (told.phase, told.step));
        self.runs.insert(name, Told { run: run.clone(), phase, step });
        let is_news = phase.is_some() && before != Some((phase, step)) && (step > 0 || before.is_none_or(|(earlier, _)| earlier != phase));
        let bar_tells = has_bars && matches!(phase, Some(RunPhase::Planned | RunPhase::Waiting | RunPhase::Queued | RunPhase::Running));
        if !is_news || bar_tells || !self.begun || !self.follows(run) {
            return Vec::new();
        }
        plain(&[server_line(run)])
    }

    /// Takes in that a run was deleted.
    pub(super) fn run_gone(&mut self, run: &MigrationRun) {
        self.runs.remove(&run.name_any());
    }

    /// How the watched hosts have ended: the worst of them, once all have.
    pub(super) fn ended(&self) -> Option<Ending> {
        if self.quarantines.is_empty() {
            return None;
        }
        self.quarantines.values().map(|followed| followed.ending).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// The bars: each host, and below it its servers.
    pub(super) fn rows(&self, now: Timestamp) -> Vec<Row> {
        let mut rows = Vec::new();
        for followed in self.quarantines.values() {
            rows.push(Row { is_busy: followed.ending.is_none(), ..host_row(&followed.object) });
            let mine = self.runs.values().map(|told| &told.run).filter(|run| belongs(run, &followed.object));
            rows.extend(mine.map(|run| server_row(run, now)));
        }
        rows
    }

    fn follows(&self, run: &MigrationRun) -> bool {
        self.quarantines.values().any(|followed| belongs(run, &followed.object))
    }
}

fn server_line(run: &MigrationRun) -> String {
    format!("{}: server {} {}", run.spec.source_host, short(&run.spec.server), describe(run))
}

fn belongs(run: &MigrationRun, quarantine: &HostQuarantine) -> bool {
    run.owner_references().iter().any(|owner| Some(owner.uid.as_str()) == quarantine.metadata.uid.as_deref())
}

fn host_row(object: &HostQuarantine) -> Row {
    let progress = object.status.as_ref().and_then(|status| status.progress);
    let word = Some(word(object)).filter(|word| !word.is_empty());
    let residents = object.status.as_ref().and_then(|status| status.resident_count).filter(|count| *count > 0);
    let figures = progress.map(|progress| {
        let residents = residents.map(|count| format!(", {count} stuck")).unwrap_or_default();
        format!("{} of {} servers gone{residents}, {} moving, {} waiting", progress.migrated, progress.total, progress.running, progress.waiting)
    });
    Row {
        name: safe(&object.spec.host),
        is_host: true,
        percent: progress.map(|progress| progress.percent),
        text: safe(&[word, figures].into_iter().flatten().collect::<Vec<_>>().join(": ")),
        is_busy: true,
    }
}

fn server_row(run: &MigrationRun, now: Timestamp) -> Row {
    let phase = run.status.as_ref().and_then(|status| status.phase);
    let text = copying_for(run, now).unwrap_or_else(|| describe(run));
    Row {
        name: short(&run.spec.server).to_owned(),
        is_host: false,
        percent: percent(run),
        text: safe(&text),
        is_busy: matches!(phase, Some(RunPhase::Queued | RunPhase::Running)),
    }
}

/// Nova samples a copy every 5 s only, so the time that it takes already is shown beside it.
fn copying_for(run: &MigrationRun, now: Timestamp) -> Option<String> {
    let status = run.status.as_ref().filter(|status| status.phase == Some(RunPhase::Running))?;
    let since = status.attempts.last()?.copying_at.as_ref()?;
    Some(format!("Running for {} s", now.duration_since(since.0).as_secs().max(0)))
}

fn percent(run: &MigrationRun) -> Option<u32> {
    let status = run.status.as_ref()?;
    if is_true(&status.conditions, Kind::Succeeded) { Some(100) } else { status.progress.and_then(|progress| progress.percent) }
}

/// The state of a move in a few words.
fn describe(run: &MigrationRun) -> String {
    let Some((status, phase)) = run.status.as_ref().and_then(|status| Some((status, status.phase?))) else { return "new".to_owned() };
    match phase {
        RunPhase::Succeeded => succeeded(status),
        RunPhase::Running => percent(run).map_or_else(|| "Running".to_owned(), |percent| format!("Running, {percent} % copied")),
        other => {
            let message = find(&status.conditions, Kind::Succeeded).map(|condition| condition.message.as_str()).filter(|text| !text.is_empty());
            message.map_or_else(|| other.as_str().to_owned(), |message| format!("{}: {message}", other.as_str()))
        }
    }
}

fn succeeded(status: &MigrationRunStatus) -> String {
    let measured = status.measured.as_ref();
    let mut text = format!("moved to {}", status.destination_host.as_deref().unwrap_or("another host"));
    if let Some(duration) = measured.and_then(|measured| measured.duration_millis) {
        text.push_str(&format!(" in {}", seconds(duration)));
    }
    if let Some(queued) = measured.and_then(|measured| measured.queued_millis) {
        text.push_str(&format!(", {} of them queued in Nova", seconds(queued)));
    }
    text
}

fn seconds(millis: i64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

fn opening(object: &HostQuarantine) -> String {
    let why = if object.spec.reason.is_empty() { String::new() } else { format!(": {}", object.spec.reason) };
    format!("{}: HostQuarantine {}, mode {:?}{why}", object.spec.host, object.name_any(), object.spec.mode)
}

/// What there is to say when a host has come to rest: what is left on it, what was measured, and what a person can do next.
fn closing(object: &HostQuarantine) -> Vec<String> {
    let Some(status) = &object.status else { return Vec::new() };
    let host = &object.spec.host;
    let mut lines: Vec<String> = status.residents.iter().map(|resident| format!("{host}: stays: {}", stays(resident))).collect();
    let more = status.resident_count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0).saturating_sub(status.residents.len());
    if more > 0 {
        lines.push(format!("{host}: and {more} more"));
    }
    if let Some(bytes) = status.measured.as_ref().and_then(|measured| measured.transferred_bytes) {
        let bound = match status.measured.as_ref().and_then(|measured| measured.transferred_bytes_bound) {
            Some(Bound::AtLeast) => "at least ",
            Some(Bound::AtMost) => "at most ",
            None => "",
        };
        lines.push(format!("{host}: {bound}{} MiB were sent", bytes >> 20));
    }
    if !is_true(&status.conditions, Kind::Released) && status.host.is_some() {
        let name = object.name_any();
        lines.push(format!("{host}: stays out of service until it is released, by you (kubectl auth whoami): kubectl patch hostquarantines.sidestep.dev {name} --type merge -p '{{\"spec\":{{\"release\":{{\"requested\":true,\"approvedBy\":\"YOUR-USER\"}}}}}}'"));
    }
    lines
}

fn stays(resident: &Resident) -> String {
    let name = if resident.name.is_empty() { String::new() } else { format!(" ({})", resident.name) };
    format!("{}{name}: {}: {}", resident.server, resident.reason.as_str(), resident.message)
}

/// The condition that says how the object is.
fn telling(object: &HostQuarantine) -> Option<&Condition> {
    let conditions = &object.status.as_ref()?.conditions;
    [Kind::Stalled, Kind::Reconciling, Kind::Ready].into_iter().find(|kind| is_true(conditions, *kind)).and_then(|kind| find(conditions, kind))
}

fn word(object: &HostQuarantine) -> String {
    telling(object).map(|condition| condition.reason.clone()).unwrap_or_default()
}

fn state(object: &HostQuarantine) -> String {
    telling(object)
        .map(|condition| if condition.message.is_empty() { condition.reason.clone() } else { format!("{}. {}", condition.reason, condition.message) })
        .unwrap_or_default()
}

fn ending(object: &HostQuarantine) -> Option<Ending> {
    let status = object.status.as_ref()?;
    if status.observed_generation != object.metadata.generation {
        return None;
    }
    if is_true(&status.conditions, Kind::Ready) {
        Some(Ending::Well)
    } else if is_true(&status.conditions, Kind::Stalled) {
        Some(Ending::NeedsPerson)
    } else {
        None
    }
}

fn moment(event: TimelineEvent) -> &'static str {
    match event {
        TimelineEvent::AlertWritten => "the sensor stamped the alert",
        TimelineEvent::AlertRead => "the sentinel read the alert",
        TimelineEvent::AlertReceived => "the operator received the HostAlert",
        TimelineEvent::Decided => "the policy decided",
        TimelineEvent::CordonRequested => "Nova was asked to disable the host",
        TimelineEvent::CordonVerified => "Nova showed the host disabled",
        TimelineEvent::Contested => "somebody else changed the host's service",
        TimelineEvent::Planned => "the servers were listed and their moves planned",
        TimelineEvent::Approved => "a person approved the plan",
        TimelineEvent::FirstMigrationRequested => "Nova was asked for the first move",
        TimelineEvent::Empty => "nothing was left on the host",
        TimelineEvent::Released => "the host was given back",
    }
}

fn time(moment: Timestamp) -> String {
    moment.strftime("at %H:%M:%S.%3fZ").to_string()
}

fn short(server: &str) -> &str {
    server.get(..8).unwrap_or(server)
}

/// Names of servers and Nova's words come from outside: nothing in them may steer the terminal, and each line stays one.
fn safe(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

fn plain(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| safe(line)).collect()
}

#[cfg(test)]
#[path = "story_tests.rs"]
mod tests;
