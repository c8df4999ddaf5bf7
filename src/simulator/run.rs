//! The program: settings from the arguments, the start, the line that says where, the end.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use super::describe::ServerSettings;
use super::settings::Settings;
use super::{Args, Simulator, StartError};

/// Why the program ended badly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The description cannot be read.
    #[error("The description of the cloud {path} cannot be read", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The description is no description.
    #[error("The description of the cloud {path} cannot be used: see the example in --help", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<serde_saphyr::Error>,
    },
    /// The clouds.yaml cannot be written.
    #[error("The file {path} cannot be written: its folder must exist and be writable", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The simulator did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system gives no signals, or nobody reads the line with the URL.
    #[error("The process cannot wait for its end or say where it listens")]
    System(#[source] io::Error),
}

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When a file cannot be read or written or the simulator not be started.
pub async fn run(args: Args) -> Result<(), RunError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::System)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::System)?;
    let clouds_yaml = args.write_clouds_yaml.clone();
    let simulator = Simulator::start(settings(args)?).await?;
    if let Some(path) = clouds_yaml {
        write_private(&path, &simulator.clouds_yaml()).map_err(|source| RunError::Write { path, source })?;
    }
    announce(&simulator).map_err(RunError::System)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    simulator.stop().await;
    Ok(())
}

/// What the arguments describe.
fn settings(args: Args) -> Result<Settings, RunError> {
    let mut settings = match &args.state {
        Some(path) => read(path)?,
        None => Settings { hosts: Vec::new(), ..Settings::default() },
    };
    if args.state.is_none() {
        settings.hosts = (1..=args.hosts).map(|number| format!("compute-{number}")).collect();
        let servers = settings.hosts.iter().flat_map(|host| (1..=args.servers_per_host).map(move |number| server(host, number)));
        settings.servers = servers.collect();
    }
    settings.listen = args.listen;
    settings.speed = args.speed.unwrap_or(settings.speed);
    settings.access_log = args.access_log.or(settings.access_log);
    Ok(settings)
}

fn server(host: &str, number: u16) -> ServerSettings {
    let short = host.trim_start_matches("compute-");
    ServerSettings { name: format!("web-{short}-{number}"), host: host.to_owned(), ..ServerSettings::default() }
}

fn read(path: &Path) -> Result<Settings, RunError> {
    let text = std::fs::read_to_string(path).map_err(|source| RunError::Read { path: path.to_owned(), source })?;
    serde_saphyr::from_str(&text).map_err(|source| RunError::Parse { path: path.to_owned(), source: Box::new(source) })
}

/// Writes a file that only its owner can read, in one step, so that nobody sees half of it.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&draft, path)
}

fn announce(simulator: &Simulator) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", simulator.url().as_str().trim_end_matches('/'))?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parsed(args: &[&str]) -> Args {
        Args::try_parse_from([&["sidestep-simulator"], args].concat()).unwrap()
    }

    #[test]
    fn hosts_are_named_by_number_and_get_their_servers() {
        let settings = settings(parsed(&["--hosts", "2", "--servers-per-host", "3", "--speed", "5"])).unwrap();
        assert_eq!(settings.hosts, ["compute-1", "compute-2"]);
        assert_eq!(settings.servers.len(), 6);
        assert!((settings.speed - 5.0).abs() < f64::EPSILON);
        settings.check().unwrap();
    }

    #[test]
    fn a_description_replaces_the_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cloud.yaml");
        std::fs::write(&path, "hosts: [a, b]\nservers: [{name: web, host: a}]\nspeed: 3\n").unwrap();
        let settings = settings(parsed(&["--state", path.to_str().unwrap()])).unwrap();
        assert_eq!((settings.hosts.len(), settings.servers.len()), (2, 1));
        std::fs::write(&path, "hosts: {a: b}\n").unwrap();
        assert!(matches!(super::settings(parsed(&["--state", path.to_str().unwrap()])), Err(RunError::Parse { .. })));
    }

    #[test]
    fn the_written_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clouds.yaml");
        write_private(&path, "clouds: {}\n").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
