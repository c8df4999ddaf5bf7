//! The log: one line per event on standard error, as text for people or as JSON for collectors.
//!
//! Levels: `error` somebody must act, `warn` something is lost or held up and may mend itself, `info` what a person wants to read a week later, `debug` each step.
//! A line is a sentence that reads alone, with its figures as fields, units in their names.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The flags of both programs that say how they log. Their names begin with `log`, since they must not be those of a command's own.
#[derive(Args, Clone, Debug)]
pub struct LogArguments {
    /// How log lines on standard error look.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub log_format: Format,
    /// Which log lines are written: a level, or a list such as sidestep=debug,warn.
    #[arg(long, global = true, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub log_filter: String,
}

/// Why the log could not be set up.
#[derive(Debug, Error)]
pub enum InitError {
    /// The filter does not parse.
    #[error("The log filter {filter:?} cannot be read; write a level (info) or a list such as sidestep=debug,warn")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a log already.
    #[error("The log is set up already")]
    Twice,
}

/// Starts the log of this process; call it once, from the program's main function. The filter is in the form of `RUST_LOG`.
///
/// # Errors
/// When the filter does not parse, or on a second call.
pub fn init(LogArguments { log_format, log_filter }: &LogArguments) -> Result<(), InitError> {
    let directives = EnvFilter::try_new(with_defaults(log_filter)).map_err(|source| InitError::Filter { filter: log_filter.clone(), source })?;
    let base = tracing_subscriber::fmt().with_env_filter(directives).with_writer(io::stderr).with_target(false);
    match log_format {
        Format::Text => base.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => base.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    }
    .map_err(|_| InitError::Twice)
}

/// What two libraries log unless the filter names them. The Kubernetes client logs each failed request itself; whoever asked does so too, in a sentence. kube's runtime wraps each reconcile
/// in a span that would stand before every line.
const QUIET: [(&str, &str); 2] = [("kube_client", "off"), ("kube_runtime", "warn")];

fn with_defaults(filter: &str) -> String {
    let quiet = QUIET.iter().filter(|(library, _)| !filter.contains(library)).map(|(library, level)| format!(",{library}={level}"));
    filter.to_owned() + &quiet.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubernetes_libraries_are_quiet_unless_they_are_named() {
        assert_eq!(with_defaults("info"), "info,kube_client=off,kube_runtime=warn");
        assert_eq!(with_defaults("info,kube_client=debug"), "info,kube_client=debug,kube_runtime=warn");
    }

    #[test]
    fn a_wrong_filter_is_named() {
        let error = init(&LogArguments { log_format: Format::Text, log_filter: "sidestep=loud".into() }).unwrap_err();
        assert!(error.to_string().contains("sidestep=loud"), "{error}");
    }
}
