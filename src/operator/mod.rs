//! The operator: watches alerts, policies, quarantines and runs in Kubernetes, and acts on Nova.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::api;

/// Takes attacked OpenStack compute hosts out of service and live-migrates their servers away.
#[derive(Debug, Parser)]
#[command(name = "sidestep-operator", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the definitions of all kinds, one file per kind.
    Crds {
        /// The folder to write into.
        #[arg(long, default_value = "crds")]
        output: PathBuf,
    },
}

/// Parses the arguments and runs.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Command::Crds { output } => write_crds(&output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write_crds(output: &std::path::Path) -> anyhow::Result<()> {
    for crd in api::crds() {
        let (name, text) = api::crd_file(&crd)?;
        let path = output.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
