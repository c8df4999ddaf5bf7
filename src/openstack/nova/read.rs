//! The reads of Nova.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

use super::super::cloud::{Cloud, Page};
use super::super::error::{Fault, FaultKind};
use crate::inventory::{ComputeService, HostName, HostView, InstanceAction, MigrationProgress, NovaMigration, RowStatus, Server, ServerId};

/// Of closed migration rows a host's view has those among its newest this many; open ones are always there.
pub(in super::super) const NEWEST_ROWS: usize = 1_000;
/// The first page of a look at a host's rows; more pages are asked for only when an open row is not among them.
const ROWS_AT_ONCE: u32 = 200;

/// Which migration rows are wanted; without any field all of them, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationFilter {
    /// Those that leave this host.
    pub source_compute: Option<HostName>,
    /// Those that leave this host or go to it.
    pub host: Option<HostName>,
    /// Those of this server.
    pub server: Option<ServerId>,
    /// Those with this status.
    pub status: Option<RowStatus>,
    /// Those that Nova changed at or after this moment, by Nova's clock. A row that was never changed since it was made is not among them.
    pub changes_since: Option<Timestamp>,
}

impl Cloud {
    /// All nova-compute services.
    pub async fn services(&self) -> Result<Vec<ComputeService>, Fault> {
        // This list has no pages, and Nova refuses a limit.
        let operation = "list the compute services";
        let answer = self.get(self.nova(), operation, &["os-services"], &[("binary", "nova-compute")]).await?;
        let rows: Vec<Value> = Page::read(operation, &answer, "services")?.rows;
        // A host in a cell that does not answer is listed by its name alone (2.69): nothing is known about it, and the others are not worse for that. Without a row it is neither cordoned
        // nor a destination, and never empty.
        let known = rows.into_iter().filter(|row| row.get("status").and_then(Value::as_str) != Some("UNKNOWN"));
        let read =
            known.map(|row| serde_json::from_value(row).map_err(|error| Fault::foreign(operation, format!("`services` is not what was expected: {error}"))));
        read.collect()
    }

    /// All servers of all projects on one host.
    pub async fn servers_on(&self, host: &HostName) -> Result<Vec<Server>, Fault> {
        let operation = format!("list the servers on host {host}");
        let query = [("all_tenants", "1"), ("host", host.as_str())];
        let servers: Vec<Server> = self.list(self.nova(), &operation, &["servers", "detail"], &query, "servers").await?;
        // Nova ignores `host=` for a credential that may not use it and shows other servers instead; rows of a cell that is down have no host at all.
        match servers.iter().find(|server| server.host.as_ref() != Some(host)) {
            None => Ok(servers),
            Some(stranger) => {
                Err(Fault::foreign(operation, format!("the list shows server {} which is not there: the credential needs the admin role", stranger.id)))
            }
        }
    }

    /// The servers of all projects on a host that were deleted and can still be restored (SOFT_DELETED). The ordinary list leaves them out, and Nova shows deleted ones to administrators only.
    pub async fn soft_deleted_on(&self, host: &HostName) -> Result<Vec<Server>, Fault> {
        let operation = format!("list the soft-deleted servers on host {host}");
        let query = [("all_tenants", "1"), ("host", host.as_str()), ("deleted", "true"), ("status", "SOFT_DELETED")];
        let servers: Vec<Server> = self.list(self.nova(), &operation, &["servers", "detail"], &query, "servers").await?;
        // An older row of the same filter, fully deleted, has another status and no host.
        let kept = |server: &Server| server.status.as_str() == "SOFT_DELETED" && server.host.as_ref() == Some(host);
        Ok(servers.into_iter().filter(kept).collect())
    }

    /// What lies on a host behind the list of its servers: who holds something of it in Placement, and which deleted servers can still be restored.
    pub async fn behind_the_list(&self, host: &HostName) -> Result<(Vec<Uuid>, Vec<Server>), Fault> {
        futures::try_join!(self.allocations(host), self.soft_deleted_on(host))
    }

    /// One server; none when Nova itself says that it does not exist.
    pub async fn server(&self, id: ServerId) -> Result<Option<Server>, Fault> {
        #[derive(Deserialize)]
        struct Body {
            server: Server,
        }
        let operation = format!("read server {id}");
        Ok(self.find::<Body>(&operation, &["servers", &id.to_string()]).await?.map(|body| body.server))
    }

    /// Migration rows, newest first.
    pub async fn migrations(&self, filter: &MigrationFilter) -> Result<Vec<NovaMigration>, Fault> {
        let MigrationFilter { source_compute, host, server, status, changes_since } = filter;
        let server = server.map(|server| server.to_string());
        let since = changes_since.map(|since| since.to_string());
        let fields = [
            ("source_compute", source_compute.as_ref().map(HostName::as_str)),
            ("host", host.as_ref().map(HostName::as_str)),
            ("instance_uuid", server.as_deref()),
            ("status", status.as_ref().map(RowStatus::as_str)),
            ("changes-since", since.as_deref()),
        ];
        let query: Vec<(&str, &str)> = fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let what: Vec<String> = query.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        self.list(self.nova(), &format!("list the migrations{}", what.concat()), &["os-migrations"], &query, "migrations").await
    }

    /// The byte counters of a migration; none when it is not under way (Nova shows them for queued, preparing and running ones only).
    pub async fn server_migration(&self, server: ServerId, migration: u64) -> Result<Option<MigrationProgress>, Fault> {
        #[derive(Deserialize)]
        struct Body {
            migration: MigrationProgress,
        }
        let operation = format!("read migration {migration} of server {server}");
        let path = ["servers", &server.to_string(), "migrations", &migration.to_string()];
        Ok(self.find::<Body>(&operation, &path).await?.map(|body| body.migration))
    }

    /// The action that a request began, with its steps and their reasons; none when Nova has no such action (yet).
    pub async fn instance_action(&self, server: ServerId, request_id: &str) -> Result<Option<InstanceAction>, Fault> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(rename = "instanceAction")]
            action: InstanceAction,
        }
        let operation = format!("read action {request_id} of server {server}");
        let path = ["servers", &server.to_string(), "os-instance-actions", request_id];
        Ok(self.find::<Body>(&operation, &path).await?.map(|body| body.action))
    }

    /// All actions of a server that Nova remembers, newest first, without their steps. Empty when Nova has no such server.
    pub async fn instance_actions(&self, server: ServerId) -> Result<Vec<InstanceAction>, Fault> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(rename = "instanceActions")]
            actions: Vec<InstanceAction>,
        }
        let operation = format!("list the actions of server {server}");
        let path = ["servers", &server.to_string(), "os-instance-actions"];
        Ok(self.find::<Body>(&operation, &path).await?.map(|body| body.actions).unwrap_or_default())
    }

    /// Whether the credential sees the servers of all projects: proven by a list that Nova answers only to those that do.
    pub async fn sees_all_projects(&self) -> Result<bool, Fault> {
        let operation = "list one server of all projects";
        match self.get(self.nova(), operation, &["servers"], &[("all_tenants", "1"), ("limit", "1")]).await {
            Ok(answer) => Page::<Value>::read(operation, &answer, "servers").map(|_| true),
            Err(fault) if fault.kind() == FaultKind::Forbidden => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// One whole look at a host, every part of it asked for anew.
    pub async fn host_view(&self, host: &HostName, with_placement: bool) -> Result<HostView, Fault> {
        let begun_at = self.clock().now();
        let mut rows = NewestRows::default();
        let consumers = async {
            match with_placement {
                true => self.behind_the_list(host).await.map(|(consumers, soft_deleted)| (Some(consumers), soft_deleted)),
                false => Ok((None, Vec::new())),
            }
        };
        let (services, servers, (), (consumers, soft_deleted)) =
            futures::try_join!(self.services(), self.servers_on(host), rows.refresh(self, host), consumers)?;
        Ok(HostView {
            host: host.clone(),
            begun_at,
            ended_at: self.clock().now(),
            services: services.into_iter().filter(|service| service.host == *host).collect(),
            servers,
            migrations: rows.to_vec(),
            consumers,
            soft_deleted,
            asked: BTreeMap::new(),
        })
    }

    async fn find<T: DeserializeOwned>(&self, operation: &str, path: &[&str]) -> Result<Option<T>, Fault> {
        match self.get(self.nova(), operation, path, &[]).await {
            Ok(answer) => answer.parse().map(Some),
            Err(fault) if fault.kind() == FaultKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

/// The migration rows of one host: all that are open, and the closed ones among the newest [`NEWEST_ROWS`].
///
/// Nova keeps rows for ever and cannot list the open ones, so a look reads from the newest down and stops where everything older is known and closed: one page, unless an open row is far down.
/// `changes-since` would not do: it leaves out rows that were made and not changed yet, and it trusts two clocks.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct NewestRows {
    rows: BTreeMap<u64, NovaMigration>,
}

impl NewestRows {
    /// Reads what may have changed.
    pub(in super::super) async fn refresh(&mut self, cloud: &Cloud, host: &HostName) -> Result<(), Fault> {
        let operation = format!("list the migrations of host {host}");
        let limit = cloud.page_size().map_or(ROWS_AT_ONCE, |rows| rows.get().min(ROWS_AT_ONCE)).to_string();
        let mut seen: BTreeMap<u64, NovaMigration> = BTreeMap::new();
        let mut marker: Option<String> = None;
        let complete = loop {
            let mut query = vec![("host", host.as_str()), ("limit", &limit)];
            query.extend(marker.as_deref().map(|marker| ("marker", marker)));
            let page = cloud.get(cloud.nova(), &operation, &["os-migrations"], &query).await?;
            let page = Page::<NovaMigration>::read(&operation, &page, "migrations")?;
            let before = seen.len();
            seen.extend(page.rows.into_iter().map(|row| (row.id, row)));
            match page.next {
                None => break true,
                Some(_) if self.covers_the_rest(&seen) || seen.len() >= NEWEST_ROWS => break false,
                Some(_) if seen.len() == before => return Err(Fault::foreign(operation, "a page brought nothing new")),
                Some(next) => marker = Some(next),
            }
        };
        if complete {
            self.rows.clear();
        }
        self.rows.extend(seen);
        self.forget_old();
        Ok(())
    }

    /// Whether every row that was not seen in this look is known from an earlier one and will not change any more.
    fn covers_the_rest(&self, seen: &BTreeMap<u64, NovaMigration>) -> bool {
        let reached_a_known_row = seen.keys().any(|id| self.rows.contains_key(id));
        reached_a_known_row && self.rows.values().all(|row| seen.contains_key(&row.id) || is_closed(&row.status))
    }

    fn forget_old(&mut self) {
        let surplus = self.rows.len().saturating_sub(NEWEST_ROWS);
        let old: Vec<u64> = self.rows.values().filter(|row| is_closed(&row.status)).map(|row| row.id).take(surplus).collect();
        for id in old {
            self.rows.remove(&id);
        }
    }

    /// The rows, newest first.
    pub(in super::super) fn to_vec(&self) -> Vec<NovaMigration> {
        self.rows.values().rev().cloned().collect()
    }
}

/// Whether Nova will never change such a row, of any kind of migration.
fn is_closed(status: &RowStatus) -> bool {
    status.is_final() || matches!(status, RowStatus::Other(word) if matches!(word.as_str(), "confirmed" | "reverted" | "done"))
}
