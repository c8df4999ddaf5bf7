//! The `sidestep-simulator` program: parses its arguments and runs the library; nothing else lives here.

use std::process::ExitCode;

use clap::Parser;
use sidestep::simulator::{Args, run};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_writer(std::io::stderr).init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {:#}", anyhow::Error::from(error));
            ExitCode::FAILURE
        }
    }
}
