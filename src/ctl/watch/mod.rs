//! `sidestepctl watch`: the drains as they happen.
//!
//! [`story`] turns the states of objects into lines and rows and knows no terminal; `picture` makes rows fit one; `screen` shows them; this file watches the API server and brings both together. A watch that
//! breaks is begun again, which is said, so that a restarted API server does not end the picture of a drain that goes on.

mod picture;
mod screen;
mod story;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use futures::{Stream, StreamExt as _, stream};
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use tokio::time::MissedTickBehavior;

use self::screen::{IDLE_REDRAWS, REDRAW, Screen};
use self::story::{Ending, Story};
use super::args::{ClusterArguments, WatchArguments};
use super::connect::connect;
use crate::api::units::Period;
use crate::api::{HostQuarantine, MigrationRun};
use crate::clock::Clock;

/// The exit status when a person is needed.
const NEEDS_PERSON: u8 = 3;
/// The exit status when the time was over.
const TIMED_OUT: u8 = 4;
/// The exit status after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;
/// The exit status when nobody reads what is told, as shells have it.
const NOBODY_READS: u8 = 141;
/// How many of both kinds have to be listed before the story begins.
const LISTS: usize = 2;

/// What a watch showed.
enum News {
    Quarantine(Box<HostQuarantine>),
    QuarantineGone(Box<HostQuarantine>),
    Run(Box<MigrationRun>),
    RunGone(Box<MigrationRun>),
    ListBegan { of_runs: bool },
    ListEnded { of_runs: bool },
    Broken(String),
}

/// Watches until every watched host has come to rest, the time is over, or the person ends it.
pub(super) async fn run(cluster: &ClusterArguments, arguments: &WatchArguments) -> anyhow::Result<ExitCode> {
    let client = connect(cluster).await?;
    check_access(&client).await?;
    let mut screen = Screen::of_stdout(arguments.plain, arguments.term.as_deref());
    let limit = arguments.timeout.map_or(Duration::MAX, Period::get);
    let ended = tokio::select! {
        ended = tokio::time::timeout(limit, tell(&client, arguments, &mut screen)) => ended.map_or(Ok(End::TimedOut), |ended| ended.map(End::Rest)),
        _ = tokio::signal::ctrl_c() => Ok(End::Interrupted),
    };
    match ended.and_then(|end| Ok((say(&mut screen, end, limit)?, end))) {
        Ok((_, end)) => Ok(end.status()),
        // Nobody reads any more, as behind `head`.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) => Ok(ExitCode::from(NOBODY_READS)),
        Err(error) => Err(error),
    }
}

/// Why watching ended.
#[derive(Clone, Copy)]
enum End {
    Rest(Ending),
    TimedOut,
    Interrupted,
}

impl End {
    fn status(self) -> ExitCode {
        match self {
            Self::Rest(Ending::Well) => ExitCode::SUCCESS,
            Self::Rest(Ending::NeedsPerson) => ExitCode::from(NEEDS_PERSON),
            Self::TimedOut => ExitCode::from(TIMED_OUT),
            Self::Interrupted => ExitCode::from(INTERRUPTED),
        }
    }
}

/// What is said below the last picture.
fn say(screen: &mut Screen, end: End, limit: Duration) -> io::Result<()> {
    let line = match end {
        End::Rest(_) => return Ok(()),
        End::TimedOut => format!("The hosts have not come to rest within {limit:?}; the drains go on."),
        End::Interrupted => {
            "Nobody watches any more; the drains go on. To stop one: kubectl patch hq NAME --type merge -p '{\"spec\":{\"suspend\":true}}'".to_owned()
        }
    };
    screen.close(line)
}

/// A wrong address, a missing right or missing kinds are said at once, instead of being tried again for ever.
async fn check_access(client: &Client) -> anyhow::Result<()> {
    let quarantines: Api<HostQuarantine> = Api::all(client.clone());
    let remedy = "cannot list hostquarantines.sidestep.dev: is this the right cluster, is Sidestep installed there (`kubectl get crd hostquarantines.sidestep.dev`), \
                  and may you read its kinds (`kubectl auth can-i list hostquarantines.sidestep.dev`)?";
    quarantines.list(&ListParams::default().limit(1)).await.context(remedy)?;
    Ok(())
}

async fn tell(client: &Client, arguments: &WatchArguments, screen: &mut Screen) -> anyhow::Result<Ending> {
    let clock = Clock::system();
    let mut story = Story::of(arguments.name.clone());
    let mut lists_left = LISTS;
    let mut news = Box::pin(stream::select(quarantines(client), runs(client)));
    let mut ticks = tokio::time::interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut idle = 0;
    loop {
        let news = tokio::select! {
            news = news.next() => news.context("the watch of the API server has ended")?,
            _ = ticks.tick() => {
                idle = (idle + 1) % IDLE_REDRAWS;
                if idle == 0 && lists_left == 0 {
                    screen.show(story.rows(clock.now()))?;
                }
                continue;
            }
        };
        let lines = match news {
            News::Quarantine(object) => story.quarantine(&object),
            News::QuarantineGone(object) => story.quarantine_gone(&object),
            News::Run(run) => story.run(&run, screen.has_bars()),
            News::RunGone(run) => {
                story.run_gone(&run);
                Vec::new()
            }
            News::ListBegan { of_runs } => {
                story.list_began(of_runs);
                Vec::new()
            }
            News::ListEnded { of_runs } => {
                let mut lines = story.list_ended(of_runs);
                if lists_left == 1 {
                    lines.extend(story.begin(screen.has_bars()));
                }
                lists_left = lists_left.saturating_sub(1);
                lines
            }
            News::Broken(why) => vec![format!("A watch of the API server broke and is begun again: {why}")],
        };
        screen.tell(lines)?;
        // With the next tick.
        idle = IDLE_REDRAWS - 1;
        if let Some(ending) = story.ended().filter(|_| lists_left == 0 && !arguments.forever) {
            screen.show(story.rows(clock.now()))?;
            return Ok(ending);
        }
    }
}

fn quarantines(client: &Client) -> impl Stream<Item = News> + use<> {
    let api: Api<HostQuarantine> = Api::all(client.clone());
    watcher(api, watcher::Config::default()).default_backoff().map(|event| match event {
        Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => News::Quarantine(Box::new(object)),
        Ok(watcher::Event::Delete(object)) => News::QuarantineGone(Box::new(object)),
        Ok(watcher::Event::InitDone) => News::ListEnded { of_runs: false },
        Ok(watcher::Event::Init) => News::ListBegan { of_runs: false },
        Err(error) => News::Broken(error.to_string()),
    })
}

fn runs(client: &Client) -> impl Stream<Item = News> + use<> {
    let api: Api<MigrationRun> = Api::all(client.clone());
    watcher(api, watcher::Config::default()).default_backoff().map(|event| match event {
        Ok(watcher::Event::Apply(run) | watcher::Event::InitApply(run)) => News::Run(Box::new(run)),
        Ok(watcher::Event::Delete(run)) => News::RunGone(Box::new(run)),
        Ok(watcher::Event::InitDone) => News::ListEnded { of_runs: true },
        Ok(watcher::Event::Init) => News::ListBegan { of_runs: true },
        Err(error) => News::Broken(error.to_string()),
    })
}
