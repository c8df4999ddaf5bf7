//! The sentinel: the program beside the sensor on each compute host. It follows the alert files of the host's sensors and reports each series of alerts as one HostAlert.

mod alerts;
#[cfg(test)]
mod alerts_tests;
mod args;
mod deliver;
mod figures;
mod heartbeat;
mod parse_command;
mod report;
mod run;
#[cfg(test)]
mod situations_tests;
pub mod snapshot;
mod source;

use std::process::ExitCode;

use clap::Parser;
use rustls::crypto::aws_lc_rs;

use crate::telemetry::log;
use args::{Arguments, Command};

/// The program `sidestep-sentinel`.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = log::init(&arguments.log) {
        eprintln!("sidestep-sentinel: {:#}", anyhow::Error::from(error));
        return ExitCode::FAILURE;
    }
    // Fails only where a provider is installed already, which serves as well.
    drop(aws_lc_rs::default_provider().install_default());
    let outcome = match arguments.command {
        Command::Run(command) => run::run(&command).map_err(anyhow::Error::from),
        Command::Parse(command) => parse_command::run(&command).map_err(anyhow::Error::from),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sidestep-sentinel: {error:#}");
            ExitCode::FAILURE
        }
    }
}
