//! The cloud as a whole: what happens by itself (`lifecycle`), what the services answer (`shapes`), and what the socket does (`socket`).

mod cold;
mod lifecycle;
mod shapes;
mod socket;

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Cloud, Server, ServerSettings, Settings, Timing, VmState};

/// Three hosts; rounds steps: row after 100 ms, checks 1 s, cast 100 ms, prepare 800 ms, start 500 ms, 512 MiB at 512 MiB/s in 1 s, then 3.5 s and 0.5 s.
fn settings() -> Settings {
    Settings { bandwidth: 512.0, dirty_rate: 0.0, seed: Some(1), timing: Timing::default(), ..Settings::default() }
}

/// A cloud that begins at the epoch.
fn cloud(settings: Settings) -> Cloud {
    Cloud::new(settings, Timestamp::UNIX_EPOCH)
}

/// So many milliseconds after the epoch.
fn at(milliseconds: u64) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_millis(milliseconds)
}

fn server_on(host: &str) -> ServerSettings {
    ServerSettings { name: "web".into(), host: host.into(), ..ServerSettings::default() }
}

#[track_caller]
fn boot(cloud: &mut Cloud, host: &str) -> Uuid {
    cloud.boot(&server_on(host)).unwrap()
}

#[track_caller]
fn server(cloud: &Cloud, id: Uuid) -> &Server {
    cloud.server(id).unwrap()
}

/// The word of the newest row of a server.
fn row(cloud: &Cloud, server: Uuid) -> Option<&'static str> {
    cloud.migrations().find(|row| row.server == server).and_then(|row| row.status)
}
