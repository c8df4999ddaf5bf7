//! The name of a plan: what a person approves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::inventory::{HostName, ServerId};

/// What a plan's name covers: all that a person who approves it must be sure of. No times, no predictions, no order: they may change without a new approval.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The OpenStackCloud.
    pub cloud: &'a str,
    /// The host that is left.
    pub host: &'a str,
    /// The effective scope.
    pub scope: &'a str,
    /// The rules of the method, each with its name.
    pub method: &'a BTreeMap<String, String>,
    /// The servers that may move, in any order.
    pub servers: &'a [ServerId],
    /// The hosts that they may move to, in any order.
    pub allowed: &'a [HostName],
}

/// SHA-256 over the subject, 64 hex digits. Sets are sorted first, and every text is length-prefixed, so that no two subjects share their bytes.
#[must_use]
pub fn digest(subject: &Subject<'_>) -> String {
    let mut servers: Vec<String> = subject.servers.iter().map(ToString::to_string).collect();
    servers.sort_unstable();
    servers.dedup();
    let mut allowed: Vec<&str> = subject.allowed.iter().map(HostName::as_str).collect();
    allowed.sort_unstable();
    allowed.dedup();
    let method: Vec<&str> = subject.method.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]).collect();
    let mut hash = Sha256::new();
    list(&mut hash, &["sidestep plan 1", subject.cloud, subject.host, subject.scope]);
    list(&mut hash, &method);
    list(&mut hash, &servers.iter().map(String::as_str).collect::<Vec<_>>());
    list(&mut hash, &allowed);
    hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn list(hash: &mut Sha256, texts: &[&str]) {
    let length = |number: usize| u64::try_from(number).unwrap_or(u64::MAX).to_be_bytes();
    hash.update(length(texts.len()));
    for text in texts {
        hash.update(length(text.len()));
        hash.update(text.as_bytes());
    }
}
