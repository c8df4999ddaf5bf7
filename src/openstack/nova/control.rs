//! The writes: take a host out of service, put it back, and ask for a live migration. There is no fourth.

use serde_json::{Value, json};

use super::super::cloud::Cloud;
use super::super::error::{Fault, PostOutcome};
use crate::gate::WritePermit;
use crate::inventory::{ComputeService, ServerId, ServiceId, ServiceStatus};

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

    /// Asks Nova to live-migrate a server to a host of its scheduler's choice. Sent at most once; see [`PostOutcome`].
    ///
    /// `block_migration: "auto"` lets the hypervisor find out whether disks must be copied.
    pub async fn live_migrate(&self, server: ServerId) -> PostOutcome {
        let operation = format!("ask for the live migration of server {server}");
        let body = json!({"os-migrateLive": {"host": null, "block_migration": "auto"}});
        self.cloud.post_once(self.cloud.nova(), &operation, &["servers", &server.to_string(), "action"], &body).await
    }
}
