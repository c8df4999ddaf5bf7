//! What can be set about the simulated cloud, before it starts or (most of it) while it runs, and what it is when nobody sets anything.
//!
//! The defaults of the timings are what a real Nova 34 with libvirt took on an idle machine for one small server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::describe::{AggregateSettings, GroupSettings, HostSettings, ServerSettings};
use super::model::Size;
use super::nova::Microversion;
use serde::{Deserialize, Serialize};

/// Everything that can be set. Unknown names are refused, absent ones keep their default.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Name of the cloud in the clouds.yaml that the simulator writes.
    pub cloud: String,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The compute hosts, all alike.
    pub hosts: Vec<String>,
    /// Memory of each host, MiB.
    pub host_memory_mb: u64,
    /// Virtual CPUs that each host can give away.
    pub host_vcpus: u64,
    /// Disk of each host, GiB.
    pub host_disk_gb: u64,
    /// In what single hosts differ, by name.
    pub host_settings: BTreeMap<String, HostSettings>,
    /// Aggregates of hosts, by name.
    pub aggregates: BTreeMap<String, AggregateSettings>,
    /// Groups of servers, by name.
    pub server_groups: BTreeMap<String, GroupSettings>,
    /// The servers that are there from the beginning.
    pub servers: Vec<ServerSettings>,
    /// The regions of the catalog; all lead to the same services.
    pub regions: Vec<String>,
    /// Password of the users `admin` and `demo`.
    pub password: String,
    /// How long a token is good for, seconds of real time.
    pub token_lifetime_seconds: u64,
    /// Oldest microversion of the compute API.
    pub min_microversion: Microversion,
    /// Newest microversion of the compute API.
    pub max_microversion: Microversion,
    /// Most rows in one page.
    pub max_limit: usize,
    /// What the addresses of the catalog begin with, such as `https://cloud.example`: what callers are to use. Absent: the address that was asked.
    pub public_url: Option<String>,
    /// What links in lists begin with, such as `http://elsewhere:1/compute`: a Nova behind a proxy that it does not know. Absent: the address that was asked.
    pub link_prefix: Option<String>,
    /// A server that its owner deletes is only soft-deleted, as with `reclaim_instance_interval`.
    pub soft_delete: bool,
    /// Live migrations that may leave one host at the same time; the rest is `queued`.
    pub max_concurrent_live_migrations: usize,
    /// What a source host can send, MiB/s, shared by the copies that leave it.
    pub bandwidth: f64,
    /// What each guest writes to its memory, MiB/s.
    pub dirty_rate: f64,
    /// Longest pause of a guest that the hypervisor accepts for the last round of a copy.
    pub max_downtime_ms: u64,
    /// What is left of a server whose copy was aborted or failed.
    pub after_rollback: AfterRollback,
    /// How long the steps of a migration take.
    pub timing: Timing,
    /// How many times faster than `timing`, `bandwidth` and `dirty_rate` say everything goes. Time stamps stay the wall clock's.
    pub speed: f64,
    /// Makes the ids the same in every run. Absent: ids that no other simulator has.
    pub seed: Option<u64>,
    /// A file to which one line of JSON is appended for each request.
    pub access_log: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cloud: "simulator".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            hosts: ["cmp-1", "cmp-2", "cmp-3"].map(String::from).into(),
            host_memory_mb: 262_144,
            host_vcpus: 256,
            host_disk_gb: 2000,
            host_settings: BTreeMap::new(),
            aggregates: BTreeMap::new(),
            server_groups: BTreeMap::new(),
            servers: Vec::new(),
            regions: vec!["RegionOne".into()],
            password: "lab".into(),
            token_lifetime_seconds: 3600,
            min_microversion: Microversion::FIRST,
            max_microversion: Microversion(104),
            max_limit: 1000,
            public_url: None,
            link_prefix: None,
            soft_delete: false,
            max_concurrent_live_migrations: 1,
            bandwidth: 1024.0,
            dirty_rate: 64.0,
            max_downtime_ms: 300,
            after_rollback: AfterRollback::Active,
            timing: Timing::default(),
            speed: 1.0,
            seed: None,
            access_log: None,
        }
    }
}

/// What is left of a server whose copy was aborted or failed while it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterRollback {
    /// The row stays `cancelled` or `failed`, the server is ACTIVE: Nova up to 32, and drivers without the fault of the later ones.
    Active,
    /// A moment later the row turns to `error` and the server to ERROR although its guest runs on: Nova 33 and 34 with libvirt.
    Error,
}

/// How long the steps of a migration take, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timing {
    /// From the answer of the POST to the row in `os-migrations`.
    pub row_ms: u64,
    /// From the row to the end of scheduling and checks.
    pub checks_ms: u64,
    /// From the destination standing in the row to the try for a slot of the source.
    pub cast_ms: u64,
    /// How long a destination prepares.
    pub prepare_ms: u64,
    /// From `running` to the first byte.
    pub start_ms: u64,
    /// From `running` to the first sample of the memory counters, which is all zeros.
    pub first_sample_ms: u64,
    /// Between two samples.
    pub sample_ms: u64,
    /// From the guest running on the destination to Nova saying so.
    pub leave_ms: u64,
    /// From the server standing on the destination to its row being `completed`.
    pub complete_ms: u64,
    /// From an abort of a queued migration to `cancelled`.
    pub cancel_queued_ms: u64,
    /// From an abort or a failure while copying to the end of the rollback.
    pub rollback_ms: u64,
    /// From the end of the rollback to `error`, with [`AfterRollback::Error`].
    pub rollback_error_ms: u64,
    /// How long the source of a cold migration stops the guest and hands its disk over.
    pub cold_move_ms: u64,
    /// How long the destination of a cold migration takes it up, and either side of a confirmation or a revert.
    pub cold_finish_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            row_ms: 100,
            checks_ms: 1000,
            cast_ms: 100,
            prepare_ms: 800,
            start_ms: 500,
            first_sample_ms: 800,
            sample_ms: 5000,
            leave_ms: 3500,
            complete_ms: 500,
            cancel_queued_ms: 200,
            rollback_ms: 1000,
            rollback_error_ms: 900,
            cold_move_ms: 1500,
            cold_finish_ms: 700,
        }
    }
}

/// What can be done to the migrations of one server, of one source host, or of all, while they run. Absent knobs change nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// Copies for ever: each round dirties all of the memory.
    pub hold: Option<bool>,
    /// Sends nothing.
    pub stall: Option<bool>,
    /// What may be sent, MiB/s.
    pub bandwidth: Option<f64>,
    /// What the guest writes, MiB/s.
    pub dirty_rate: Option<f64>,
    /// Memory to copy instead of the flavor's, MiB.
    pub memory_mb: Option<u64>,
    /// Where the migration fails.
    pub fail: Option<FailPoint>,
    /// Share of the memory that is sent before `during` and `raise` strike; 0.5 when absent.
    pub fail_at: Option<f64>,
    /// Fail only when this is the destination.
    pub fail_host: Option<String>,
    /// Fail only so many times per server, counted from when these knobs were set.
    pub times: Option<u32>,
    /// Fail only for so long, seconds of real time, counted from when these knobs were set.
    pub seconds: Option<f64>,
    /// The reason in Nova's words, where the API shows one.
    pub reason: Option<String>,
    /// From the POST's answer to the row, instead of the timing's; not divided by the speed.
    pub row_ms: Option<u64>,
    /// What is left after a rollback, instead of [`Settings::after_rollback`].
    pub after_rollback: Option<AfterRollback>,
}

/// Where a migration fails, and what is left then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailPoint {
    /// The network service does not answer the conductor: row `error`, server as before.
    Network,
    /// The destination's check refuses; Nova tries the other hosts, and then: row `error`, server as before.
    CheckDestination,
    /// The source's check refuses, with any destination: row `error`, server as before.
    CheckSource,
    /// The destination cannot prepare: row `failed`, server as before.
    Pre,
    /// The copy breaks: row `failed`, then as [`AfterRollback`] says.
    During,
    /// The driver raises: row `error`, server ERROR on the source.
    Raise,
    /// The destination fails after the switch: row `error`, server ERROR on the destination.
    PostDestination,
    /// The row says `completed` and the server stays on the source: no real Nova was seen to do so, but a client must not believe the row alone.
    StayOnSource,
    /// The row says `completed`, and the server stays MIGRATING on the source for ever although its guest has left.
    RecordBehind,
    /// The source of a cold migration cannot hand the server over: row `error`, server as before.
    Cold,
}

impl Knobs {
    /// These knobs with those of `over` on top.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        let Self { hold, stall, bandwidth, dirty_rate, memory_mb, fail, fail_at, fail_host, times, seconds, reason, row_ms, after_rollback } = over.clone();
        Self {
            hold: hold.or(self.hold),
            stall: stall.or(self.stall),
            bandwidth: bandwidth.or(self.bandwidth),
            dirty_rate: dirty_rate.or(self.dirty_rate),
            memory_mb: memory_mb.or(self.memory_mb),
            fail: fail.or(self.fail),
            fail_at: fail_at.or(self.fail_at),
            fail_host: fail_host.or_else(|| self.fail_host.clone()),
            times: times.or(self.times),
            seconds: seconds.or(self.seconds),
            reason: reason.or_else(|| self.reason.clone()),
            row_ms: row_ms.or(self.row_ms),
            after_rollback: after_rollback.or(self.after_rollback),
        }
    }
}

impl Settings {
    /// `milliseconds` of a timing as they pass at this speed.
    pub(crate) fn pace(&self, milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds).div_f64(self.speed.max(f64::MIN_POSITIVE)).min(FOREVER)
    }

    /// Whether the numbers make sense; the sentence names the setting and what it may be.
    ///
    /// # Errors
    /// When one does not.
    pub fn check(&self) -> Result<(), String> {
        let positive = [("speed", self.speed), ("bandwidth", self.bandwidth)];
        if let Some((name, value)) = positive.iter().find(|(_, value)| !value.is_finite() || *value <= 0.0) {
            return Err(format!("{name} is {value}: give a number above 0"));
        }
        if !self.dirty_rate.is_finite() || self.dirty_rate < 0.0 {
            return Err(format!("dirty_rate is {}: give 0 or more", self.dirty_rate));
        }
        if self.max_limit == 0 || self.max_concurrent_live_migrations == 0 {
            return Err("max_limit and max_concurrent_live_migrations must be 1 or more".into());
        }
        if self.min_microversion > self.max_microversion {
            return Err(format!("min_microversion {} is above max_microversion {}", self.min_microversion, self.max_microversion));
        }
        if self.regions.is_empty() {
            return Err("regions is empty: name at least one".into());
        }
        let mut names: Vec<&String> = self.hosts.iter().collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(format!("hosts names {:?} twice: each host needs a name of its own", twice.first()));
        }
        self.check_names()
    }
}

impl Settings {
    /// Whether what is named exists.
    fn check_names(&self) -> Result<(), String> {
        let known: BTreeSet<&String> = self.hosts.iter().collect();
        let of_servers = self.servers.iter().flat_map(|server| {
            let what = format!("server {}", server.name);
            [Some(&server.host), server.resized_from.as_ref()].into_iter().flatten().map(move |host| (what.clone(), host))
        });
        let of_aggregates = self.aggregates.iter().flat_map(|(name, one)| one.hosts.iter().map(move |host| (format!("aggregate {name}"), host)));
        let of_settings = self.host_settings.keys().map(|host| ("host_settings".to_owned(), host));
        if let Some((what, host)) = of_servers.chain(of_aggregates).chain(of_settings).find(|(_, host)| !known.contains(host)) {
            return Err(format!("{what} is on host {host}, which is not in hosts"));
        }
        let grouped = |server: &&ServerSettings| server.group.as_ref().is_some_and(|group| !self.server_groups.contains_key(group));
        match self.servers.iter().find(grouped) {
            Some(server) => Err(format!("server {} is a member of a group that is not in server_groups", server.name)),
            None => Ok(()),
        }
    }

    /// What a host has to give.
    pub(crate) fn capacity(&self, host: &str) -> Size {
        let own = self.host_settings.get(host);
        let or = |own: Option<u64>, all: u64| own.unwrap_or(all);
        Size {
            ram_mb: or(own.and_then(|own| own.memory_mb), self.host_memory_mb),
            vcpus: or(own.and_then(|own| own.vcpus), self.host_vcpus),
            disk_gb: or(own.and_then(|own| own.disk_gb), self.host_disk_gb),
        }
    }
}

/// Longer than any run: what a division by a tiny speed is cut to, so that adding it to a time cannot overflow.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

#[cfg(test)]
mod tests {
    use super::super::describe::VmState;
    use super::*;

    #[test]
    fn a_description_in_yaml_or_json_is_read_and_unknown_names_are_refused() {
        let settings: Settings = serde_saphyr::from_str("hosts: [a, b]\nspeed: 10\nservers: [{name: web, host: a, state: PAUSED}]\n").unwrap();
        assert_eq!(settings.servers[0].state, VmState::Paused);
        assert_eq!(settings.pace(1000), Duration::from_millis(100));
        settings.check().unwrap();
        serde_json::from_str::<Settings>(r#"{"hosts": ["a"], "max_microversion": "2.90"}"#).unwrap();
        serde_saphyr::from_str::<Settings>("hots: [a]").unwrap_err();
    }

    #[test]
    fn senseless_settings_are_named() {
        let wrong = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().unwrap_err()
        };
        assert!(wrong(|s| s.speed = 0.0).contains("speed"));
        assert!(wrong(|s| s.hosts = vec!["a".into(), "a".into()]).contains("twice"));
        assert!(wrong(|s| s.min_microversion = Microversion(200)).contains("min_microversion"));
    }

    #[test]
    fn the_later_knobs_win_and_the_rest_stays() {
        let host = Knobs { hold: Some(true), bandwidth: Some(10.0), ..Knobs::default() };
        let server = Knobs { hold: Some(false), ..Knobs::default() };
        let both = host.overlaid(&server);
        assert_eq!((both.hold, both.bandwidth), (Some(false), Some(10.0)));
    }
}
