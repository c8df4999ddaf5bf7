//! `os-hypervisors`: one per host.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::describe::VmState;
use super::super::model::Host;
use super::super::state::{Cloud, Refusal};
use super::super::wire::Reply;
use super::{Call, servers};

pub(super) fn list(cloud: &Cloud, call: &Call<'_>, detail: bool) -> Result<Reply, Refusal> {
    call.need_admin("os_compute_api:os-hypervisors:list")?;
    call.know_params(&["with_servers", "hypervisor_hostname_pattern"])?;
    let pattern = call.ask.param("hypervisor_hostname_pattern");
    let with_servers = call.ask.param("with_servers").is_some_and(|value| matches!(value, "1" | "true" | "True"));
    let hosts: Vec<&Host> = cloud.hosts().filter(|host| host.registered && pattern.is_none_or(|pattern| host.name.contains(pattern))).collect();
    if let (true, Some(pattern)) = (hosts.is_empty(), pattern) {
        return Err(Refusal::NotFound(format!("No hypervisor matching '{pattern}' could be found.")));
    }
    let rows: Vec<Value> = hosts.into_iter().map(|host| row(cloud, host, detail, with_servers)).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"hypervisors": rows})))
}

fn row(cloud: &Cloud, host: &Host, detail: bool, with_servers: bool) -> Value {
    let mut value = json!({
        "id": host.provider_id,
        "hypervisor_hostname": host.name,
        "state": if host.is_up() { "up" } else { "down" },
        "status": if host.enabled { "enabled" } else { "disabled" },
    });
    let Some(map) = value.as_object_mut() else { return value };
    if detail {
        map.insert("hypervisor_type".into(), json!("QEMU"));
        map.insert("hypervisor_version".into(), json!(10_000_000));
        map.insert("host_ip".into(), json!("127.0.0.1"));
        map.insert("service".into(), json!({"id": host.service_id, "host": host.name, "disabled_reason": host.disabled_reason}));
        map.insert("uptime".into(), Value::Null);
    }
    if with_servers {
        let there = cloud.servers_on(&host.name).filter(|server| server.state != VmState::SoftDeleted);
        let there: Vec<Value> = there.map(|server| json!({"name": servers::instance_name(server), "uuid": server.id})).collect();
        map.insert("servers".into(), json!(there));
    }
    value
}
