//! Values for tests of this module.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use uuid::Uuid;

use super::{Choice, Observation, Run, Standing, Wish};
use crate::api::run::{Attempt, MoveKind};
use crate::inventory::{Flavor, HostName, NovaMigration, Server, ServerId, ServerStatus};
use crate::migration::ServerSight;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn micro(second: i64) -> MicroTime {
    MicroTime(at(second))
}

pub(crate) fn server_id() -> ServerId {
    ServerId(Uuid::from_u128(0xd9e4))
}

pub(crate) fn source() -> HostName {
    "cmp-1".into()
}

pub(crate) fn attempt(number: u32) -> Attempt {
    Attempt {
        number,
        kind: MoveKind::Live,
        server_status: Some("ACTIVE".to_owned()),
        intent_at: micro(0),
        highest_migration_id_before: None,
        request_id: None,
        migration_id: None,
        migration_uuid: None,
        destination: None,
        started_at: None,
        copying_at: None,
        abort_at: None,
        abort_reason: None,
        confirm_at: None,
        end_requests: 0,
        ended_at: None,
        outcome: None,
        message: None,
    }
}

pub(crate) fn row(id: u64, status: &str) -> NovaMigration {
    NovaMigration {
        id,
        uuid: Uuid::from_u128(id.into()),
        server: server_id(),
        status: status.to_owned().into(),
        migration_type: "live-migration".into(),
        source_compute: Some(source()),
        dest_compute: Some("cmp-2".into()),
        created_at: at(0),
        updated_at: None,
    }
}

pub(crate) fn server(host: &str, status: &str, task: Option<&str>) -> Server {
    Server {
        id: server_id(),
        name: "vm".into(),
        status: ServerStatus::from(status.to_owned()),
        task_state: task.map(ToOwned::to_owned),
        vm_state: "active".into(),
        power_state: 1,
        host: Some(host.into()),
        locked: false,
        flavor: Flavor::default(),
        pinned_zone: None,
    }
}

pub(crate) fn run() -> Run {
    Run {
        server: server_id(),
        source: source(),
        max_attempts: 3,
        deadline: Duration::from_secs(1800),
        completion_timeout: Duration::from_secs(200),
        is_own_node: false,
        may_choose: true,
        generation: Some(1),
    }
}

pub(crate) fn on_source() -> Observation {
    Observation {
        server: ServerSight::OnSource(server("cmp-1", "ACTIVE", None)),
        listed_on_source: Some(true),
        rows: vec![],
        progress: None,
        failure: None,
        absence: None,
        standing: Standing::Permits,
        choice: Choice::Host("cmp-2".into()),
        wish: Wish::GoOn,
        aborted: false,
        unfit: None,
        others_wait: false,
        braked: false,
    }
}
