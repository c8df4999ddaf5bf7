//! The writes: take a host out of service and put it back; ask for the move of a server, confirm a cold one, abort a live one. There are no others.

use serde_json::{Value, json};

use super::super::cloud::Cloud;
use super::super::error::{Fault, PostOutcome};
use crate::gate::WritePermit;
use crate::inventory::{ComputeService, HostName, ServerId, ServiceId, ServiceStatus};

/// Nova answers 400 to a longer reason.
const MAX_REASON_CHARS: usize = 255;

/// One OpenStack region, writing. It exists only where the mode gate gave a permit.
#[derive(Clone, Debug)]
pub struct CloudControl {
    cloud: Cloud,
}

impl CloudControl {
    /// The writing side of a cloud.
    #[must_use]
    pub fn new(cloud: Cloud, _permit: WritePermit) -> Self {
        Self { cloud }
    }

    /// The reading side.
    #[must_use]
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// Takes a host out of service: no new servers; what is there goes on. Doing it twice replaces the reason. The reason is cut after 255 characters, Nova's limit; an empty one is
    /// the same as none.
    pub async fn disable_service(&self, id: &ServiceId, reason: Option<&str>) -> Result<ComputeService, Fault> {
        let mut body = json!({"status": "disabled"});
        if let (Some(reason), Value::Object(body)) = (reason.filter(|reason| !reason.is_empty()), &mut body) {
            body.insert("disabled_reason".to_owned(), Value::String(reason.chars().take(MAX_REASON_CHARS).collect()));
        }
        self.put_service(&format!("disable service {id}"), id, &body, ServiceStatus::Disabled).await
    }

    /// Puts a host back into service; Nova drops the reason.
    pub async fn enable_service(&self, id: &ServiceId) -> Result<ComputeService, Fault> {
        self.put_service(&format!("enable service {id}"), id, &json!({"status": "enabled"}), ServiceStatus::Enabled).await
    }

    async fn put_service(&self, operation: &str, id: &ServiceId, body: &Value, want: ServiceStatus) -> Result<ComputeService, Fault> {
        #[derive(serde::Deserialize)]
        struct Body {
            service: ComputeService,
        }
        let answer = self.cloud.put(self.cloud.nova(), operation, &["os-services", &id.0], body).await?;
        let service = answer.parse::<Body>()?.service;
        if service.status == want && service.id == *id {
            Ok(service)
        } else {
            Err(Fault::foreign(operation, "the answer shows another service or status than was asked for"))
        }
    }

    /// Asks Nova to live-migrate a server to a host, or to one of its scheduler's choice. Sent at most once; see [`PostOutcome`].
    ///
    /// The scheduler judges a named host too (`force` does not exist since 2.68). `block_migration: "auto"` lets the hypervisor find out whether disks must be copied.
    pub async fn live_migrate(&self, server: ServerId, destination: Option<&HostName>) -> PostOutcome {
        let operation = format!("ask for the live migration of server {server}");
        let body = json!({"os-migrateLive": {"host": destination.map(HostName::as_str), "block_migration": "auto"}});
        self.act(server, &operation, &body).await
    }

    /// Asks Nova to migrate a server that is shut off, to a host or to one of its scheduler's choice. It then waits on the destination for [`CloudControl::confirm_resize`]. Sent at most once.
    pub async fn cold_migrate(&self, server: ServerId, destination: Option<&HostName>) -> PostOutcome {
        let operation = format!("ask for the cold migration of server {server}");
        let body = destination.map_or_else(|| json!({"migrate": null}), |host| json!({"migrate": {"host": host.as_str()}}));
        self.act(server, &operation, &body).await
    }

    /// Confirms a cold migration: the source gives up what it kept. Nova refuses it for a server that does not wait for that, so that asking twice does no harm.
    pub async fn confirm_resize(&self, server: ServerId) -> PostOutcome {
        self.act(server, &format!("confirm the cold migration of server {server}"), &json!({"confirmResize": null})).await
    }

    async fn act(&self, server: ServerId, operation: &str, body: &Value) -> PostOutcome {
        self.cloud.post_once(self.cloud.nova(), operation, &["servers", &server.to_string(), "action"], body).await
    }

    /// Asks Nova to abort a live migration: one that is queued is taken back, a copy that runs is undone. Nova refuses it for one that has ended, so that asking twice does no harm.
    ///
    /// An aborted copy leaves the server in ERROR on Nova 33 and 34, although its guest runs on.
    pub async fn abort_migration(&self, server: ServerId, migration: i64) -> PostOutcome {
        let operation = format!("abort migration {migration} of server {server}");
        let path = ["servers", &server.to_string(), "migrations", &migration.to_string()];
        self.cloud.delete_once(self.cloud.nova(), &operation, &path).await
    }
}
