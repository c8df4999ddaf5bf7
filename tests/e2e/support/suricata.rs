//! A real Suricata that watches a veth pair, and the packets that it sees. It stops when dropped and also when the test process ends in whatever way.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio, id};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::control_plane::{server_script, stop_at_our_end};
use super::process::{finish, show_end};

/// A running Suricata with one rule of priority 1 for an HTTP request.
#[derive(Debug)]
pub(crate) struct Suricata {
    run: PathBuf,
    watch: Child,
}

impl Suricata {
    /// Starts it; its alerts go to this file. Its first start ever installs it.
    pub(crate) fn start(eve: &Path) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let run = PathBuf::from(format!("{}/suricata-{}-{}", env!("CARGO_TARGET_TMPDIR"), id(), STARTED.fetch_add(1, Ordering::Relaxed)));
        // Its standard error is ours, so that whoever waits sees why.
        let status = server_script("suricata/up").arg(&run).arg("--eve").arg(eve).stdin(Stdio::null()).status().unwrap();
        assert!(status.success(), "Suricata did not start; its own words stand above, its logs in {}", run.display());
        let watch = stop_at_our_end("suricata", &run);
        Self { run, watch }
    }

    /// Sends a request that matches its rule over an established connection, and returns the alert that it wrote.
    pub(crate) fn attack(&self) -> String {
        finish(server_script("suricata/attack").arg(&self.run)).ok()
    }
}

impl Drop for Suricata {
    fn drop(&mut self) {
        if thread::panicking() {
            show_end(&self.run.join("log/suricata.log"));
        }
        drop(self.watch.stdin.take());
        drop(self.watch.wait());
    }
}
