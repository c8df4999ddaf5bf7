//! The operator: watches alerts, policies, quarantines and runs in Kubernetes, and acts on Nova.
//!
//! One folder per controller, each with the same shape: `mod.rs` is the table of contents of a reconcile, `observe` reads, the decision is a pure function of layer 1, `act` writes to the
//! cloud and makes objects, `report` writes the status.
//!
//! ```text
//!  cloud       OpenStackCloud   connects, polls, says whether the cloud can be used        wakes the others after each look
//!  policies    QuarantinePolicy says whether its cloud exists
//!  reports     HostReport       says whether a sentinel is heard; makes a HostAlert of a silence
//!  alerts      HostAlert        decides; makes a HostQuarantine
//!  quarantine  HostQuarantine   cordons, makes MigrationRuns, says when the host is empty, gives it back
//!  runs        MigrationRun     asks Nova for each move and follows it
//! ```
//!
//! Of several operators one leads and acts ([`leader`]); the others watch and look, and write nothing.
//!
//! A restart is a no-op: everything that matters stands in the API server and in Nova.

mod alerts;
mod args;
mod cloud;
mod context;
mod crash;
mod failure;
mod feeds;
mod figures;
mod identity;
mod leader;
mod place;
mod places;
mod policies;
mod quarantine;
mod reports;
mod rests;
mod run;
mod runs;
mod uninstall;
mod wakes;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use self::args::{Arguments, Command};
use crate::api;
use crate::telemetry::log::init;

/// Parses the arguments and runs.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { log, command } = Arguments::parse();
    let result = match command {
        Command::Crds { output } => write_crds(&output),
        Command::Uninstall(arguments) => init(&log).map_err(Into::into).and_then(|()| uninstall::run(&arguments)),
        Command::Run(arguments) => init(&log).map_err(Into::into).and_then(|()| run::run(&arguments)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sidestep-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write_crds(output: &Path) -> anyhow::Result<()> {
    for crd in api::crds() {
        let (name, text) = api::crd_file(&crd)?;
        let path = output.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}: name an existing folder with --output", path.display()))?;
    }
    Ok(())
}
