//! `sidestepctl`: what people at a terminal use beside `kubectl`. It reads and never writes: everything that changes something is a field of an object, so that it can be reviewed and is recorded.
//!
//! Unlike the operator and the sentinel it belongs to the person who starts it, and so finds the cluster as `kubectl` does. Under the name `kubectl-sidestep` in the path (a link is
//! enough) it is `kubectl sidestep`.

mod args;
mod connect;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use self::args::{Arguments, Command};

/// Parses the arguments and runs.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { cluster, command } = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::from(error).context("cannot start")),
    };
    let result = runtime.block_on(async {
        match command {
            Command::Watch(arguments) => watch::run(&cluster, &arguments).await,
        }
    });
    result.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("sidestepctl: {error:#}");
    ExitCode::FAILURE
}
