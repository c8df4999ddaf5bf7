//! Which host an address belongs to: those of the servers, and of the hosts themselves.
//!
//! Read beside the ticks, so that it never holds one up: every [`IDLE_INTERVAL`], and when somebody asks for it, at most every [`SHORTEST_INTERVAL`].

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::super::cloud::Cloud;
use super::super::error::Fault;
use super::super::placement::WITHOUT_UPTIME;
use super::Inventory;
use crate::clock::Clock;
use crate::inventory::HostName;

/// How often the addresses are read when nobody asks: it also counts the servers.
const IDLE_INTERVAL: Duration = Duration::from_secs(600);
/// How often they are read at most.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(60);
/// So many servers in one answer: a page of them is held in memory as a whole.
const ROWS_AT_ONCE: u32 = 250;
/// Projects may use the same private address. One that is found on more hosts than this says nothing about any of them.
const HOSTS_PER_ADDRESS: usize = 4;

/// The addresses of one cloud, as one look showed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// When the look was begun.
    pub begun_at: Timestamp,
    /// All servers of all projects.
    pub servers: usize,
    hosts: HashMap<IpAddr, Vec<HostName>>,
}

/// A row of `GET /servers/detail`, as far as it is needed here.
#[derive(Deserialize)]
struct ServerRow {
    #[serde(rename = "OS-EXT-SRV-ATTR:host", default)]
    host: Option<HostName>,
    /// By network.
    #[serde(default)]
    addresses: BTreeMap<String, Vec<AddressRow>>,
}

#[derive(Deserialize)]
struct AddressRow {
    addr: String,
}

/// A row of `GET /os-hypervisors/detail`, as far as it is needed here.
#[derive(Deserialize)]
struct HypervisorRow {
    /// Absent, or a name, with drivers other than libvirt's.
    #[serde(default)]
    host_ip: Option<String>,
    service: ServiceRow,
}

#[derive(Deserialize)]
struct ServiceRow {
    host: HostName,
}

impl Addresses {
    /// The hosts that an address belongs to: the one that has it, or those of the servers that have it. None when nobody has it, and when too many do.
    #[must_use]
    pub fn hosts_of(&self, address: &IpAddr) -> &[HostName] {
        let hosts = self.hosts.get(&address.to_canonical()).map(Vec::as_slice).unwrap_or_default();
        if hosts.len() <= HOSTS_PER_ADDRESS { hosts } else { &[] }
    }

    fn of(begun_at: Timestamp, servers: Vec<ServerRow>, hypervisors: Vec<HypervisorRow>) -> Self {
        let mut found = Self { begun_at, servers: servers.len(), hosts: HashMap::new() };
        for row in servers {
            let Some(host) = row.host else { continue };
            for address in row.addresses.into_values().flatten().filter_map(|address| address.addr.parse().ok()) {
                found.add(address, &host);
            }
        }
        for row in hypervisors {
            if let Some(Ok(address)) = row.host_ip.map(|address| address.parse()) {
                found.add(address, &row.service.host);
            }
        }
        found
    }

    fn add(&mut self, address: IpAddr, host: &HostName) {
        let address = address.to_canonical();
        // What a host calls itself by says nothing to others.
        if address.is_loopback() || address.is_unspecified() {
            return;
        }
        let hosts = self.hosts.entry(address).or_default();
        if !hosts.contains(host) && hosts.len() <= HOSTS_PER_ADDRESS {
            hosts.push(host.clone());
        }
    }
}

/// One look.
async fn read(cloud: &Cloud, clock: &Clock) -> Result<Addresses, Fault> {
    let begun_at = clock.now();
    let paged = match std::num::NonZeroU32::new(ROWS_AT_ONCE) {
        Some(rows) if cloud.page_size().is_none() => cloud.clone().with_page_size(rows),
        _ => cloud.clone(),
    };
    let query = [("all_tenants", "1")];
    let servers = paged.list(paged.nova(), "list the addresses of all servers", &["servers", "detail"], &query, "servers").await?;
    let nova = cloud.nova().speaking("compute", WITHOUT_UPTIME);
    let hypervisors = cloud.list(&nova, "list the addresses of the hosts", &["os-hypervisors", "detail"], &[], "hypervisors").await?;
    Ok(Addresses::of(begun_at, servers, hypervisors))
}

/// Reads the addresses for ever. A look that fails leaves the earlier one in place.
pub(super) async fn keep_reading(cloud: &Cloud, inventory: &Inventory, clock: &Clock) -> Infallible {
    loop {
        match read(cloud, clock).await {
            Ok(addresses) => inventory.with(|state| state.addresses = Some(Arc::new(addresses))),
            Err(fault) => {
                tracing::debug!(cloud = cloud.name(), reason = fault.category(), error = %fault, "The addresses of the servers cannot be listed.");
            }
        }
        tokio::time::sleep(SHORTEST_INTERVAL).await;
        // An early wish is not lost: its permit is still there.
        let _ = tokio::time::timeout(IDLE_INTERVAL.saturating_sub(SHORTEST_INTERVAL), inventory.0.addresses_wanted.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn addresses(servers: serde_json::Value, hypervisors: serde_json::Value) -> Addresses {
        Addresses::of(Timestamp::UNIX_EPOCH, serde_json::from_value(servers).unwrap(), serde_json::from_value(hypervisors).unwrap())
    }

    fn hosts(addresses: &Addresses, address: &str) -> Vec<String> {
        addresses.hosts_of(&address.parse().unwrap()).iter().map(ToString::to_string).collect()
    }

    fn server(host: &str, address: &str) -> serde_json::Value {
        json!({"id": "x", "OS-EXT-SRV-ATTR:host": host, "addresses": {"private": [
            {"version": 4, "addr": address, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": "fa:16:3e:00:00:01"}
        ]}})
    }

    #[test]
    fn an_address_belongs_to_the_host_of_its_server_or_to_the_host_that_has_it() {
        let found = addresses(
            json!([server("cmp-1", "10.0.4.7"), server("cmp-2", "fd00::7"), {"addresses": {"private": [{"addr": "10.0.4.9"}]}}]),
            json!([{"host_ip": "192.0.2.3", "service": {"host": "cmp-3"}}, {"host_ip": "a-name", "service": {"host": "cmp-4"}}, {"service": {"host": "cmp-5"}}]),
        );
        assert_eq!(found.servers, 3);
        for (address, expected) in [
            ("10.0.4.7", vec!["cmp-1"]),
            ("::ffff:10.0.4.7", vec!["cmp-1"]),
            ("fd00::7", vec!["cmp-2"]),
            ("192.0.2.3", vec!["cmp-3"]),
            ("10.0.4.9", vec![]),
            ("198.51.100.1", vec![]),
        ] {
            assert_eq!(hosts(&found, address), expected, "{address}");
        }
    }

    #[test]
    fn an_address_that_many_projects_use_says_nothing() {
        let on = |count: usize| (1..=count).map(|number| server(&format!("cmp-{number}"), "10.0.0.2")).collect::<Vec<_>>();
        assert_eq!(hosts(&addresses(json!(on(4)), json!([])), "10.0.0.2").len(), 4);
        assert_eq!(hosts(&addresses(json!(on(40)), json!([])), "10.0.0.2"), Vec::<String>::new());
    }

    #[test]
    fn the_address_that_every_host_calls_itself_by_belongs_to_none() {
        let found = addresses(json!([]), json!([{"host_ip": "127.0.0.1", "service": {"host": "cmp-1"}}]));
        assert_eq!(hosts(&found, "127.0.0.1"), Vec::<String>::new());
    }
}
