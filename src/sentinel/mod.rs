//! The sentinel: the program beside the sensor on each compute host. It follows the sensor's alert file and reports each series of alerts as one HostAlert.

mod args;
mod parse_command;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

/// The program `sidestep-sentinel`.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = crate::telemetry::log::init(arguments.log_format, &arguments.log_filter) {
        eprintln!("sidestep-sentinel: {:#}", anyhow::Error::from(error));
        return ExitCode::FAILURE;
    }
    let outcome = match arguments.command {
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
