//! `servers`: the list with its filters and pages, and one server.

use http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::describe::VmState;
use super::super::ids::host_id;
use super::super::model::{Server, Size};
use super::super::state::{Cloud, Refusal, unknown_server};
use super::super::wire::Reply;
use super::{Call, changed_since, collections, parse_since, stamp, stamp_z};

pub(super) fn list(cloud: &Cloud, call: &Call<'_>, detail: bool) -> Result<Reply, Refusal> {
    call.know_params(&["all_tenants", "host", "status", "name", "project_id", "deleted", "changes-since", "limit", "marker"])?;
    let param = |name| call.ask.param(name);
    let all = param("all_tenants").is_some_and(|value| matches!(value, "" | "1" | "true" | "True"));
    if all && !call.admin {
        let what = if detail { "detail" } else { "index" };
        call.need_admin(&format!("os_compute_api:servers:{what}:get_all_tenants"))?;
    }
    let since = param("changes-since").map(parse_since).transpose()?;
    // A caller without the role is not refused the filter by host: it is left out, and he gets his own servers.
    let host = param("host").filter(|_| call.admin);
    // Without it the list leaves out what is soft-deleted, whatever status is asked for; only an administrator may ask.
    let deleted = call.admin && param("deleted").is_some_and(|value| matches!(value, "1" | "true" | "True"));
    let fits = |server: &&Server| {
        deleted == (server.state == VmState::SoftDeleted)
            && (all || server.project_id == call.project)
            && param("status").is_none_or(|status| server.status().eq_ignore_ascii_case(status))
            && param("name").is_none_or(|name| server.name.contains(name))
            && param("project_id").is_none_or(|project| server.project_id.simple().to_string() == project)
            && since.is_none_or(|since| changed_since(server.updated, since))
    };
    let rows = match host {
        Some(host) => cloud.servers_on(host).filter(fits).collect(),
        None => cloud.servers().filter(fits).collect(),
    };
    let path = if detail { "servers/detail" } else { "servers" };
    let (rows, next) = call.page(rows, cloud.settings.max_limit, path, |server| server.id.to_string())?;
    let rows: Vec<Value> = rows.into_iter().map(|server| if detail { full(cloud, call, server) } else { short(call, server) }).collect();
    let mut body = json!({"servers": rows});
    if let (Some(href), Some(body)) = (next, body.as_object_mut()) {
        body.insert("servers_links".into(), json!([{"rel": "next", "href": href}]));
    }
    Ok(Reply::json(StatusCode::OK, &body))
}

pub(super) fn show(cloud: &Cloud, call: &Call<'_>, id: Uuid) -> Result<Reply, Refusal> {
    call.visible(cloud, id)?;
    let server = cloud.server(id).ok_or_else(|| unknown_server(id))?;
    let mut row = full(cloud, call, server);
    if let Some(row) = row.as_object_mut()
        && call.at_least(71)
    {
        let group = server.group.iter().map(|group| collections::group_id(cloud, group)).collect::<Vec<_>>();
        row.insert("server_groups".into(), json!(group));
    }
    Ok(Reply::json(StatusCode::OK, &json!({"server": row})))
}

pub(super) fn delete(cloud: &mut Cloud, call: &Call<'_>, id: Uuid) -> Result<Reply, Refusal> {
    call.visible(cloud, id)?;
    if cloud.server(id).is_some_and(|server| server.locked) && !call.admin {
        return Err(Refusal::Conflict(format!("Instance {id} is locked")));
    }
    cloud.delete(id)?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn short(call: &Call<'_>, server: &Server) -> Value {
    json!({"id": server.id, "name": server.name, "links": call.links(&format!("servers/{}", server.id))})
}

fn full(cloud: &Cloud, call: &Call<'_>, server: &Server) -> Value {
    let mut row = Map::new();
    for part in [owners_part(call, server), platform_part(call, server), state_part(server), host_part(cloud, call, server)] {
        if let Value::Object(part) = part {
            row.extend(part);
        }
    }
    for (since, name, value) in [
        (19, "description", Value::Null),
        (26, "tags", json!([])),
        (63, "trusted_image_certificates", Value::Null),
        (73, "locked_reason", Value::Null),
        (96, "pinned_availability_zone", Value::Null),
        (100, "scheduler_hints", json!({})),
    ] {
        if call.at_least(since) {
            row.insert(name.into(), value);
        }
    }
    if let Some(fault) = &server.fault {
        let fault = json!({"code": 500, "created": stamp_z(fault.created), "message": fault.message, "details": fault.message});
        row.insert("fault".into(), fault);
    }
    // Nova shows a progress of the states that can have one, and ERROR is not among them.
    if !matches!(
        server.status(),
        "ACTIVE" | "BUILD" | "DELETED" | "MIGRATING" | "RESIZE" | "VERIFY_RESIZE" | "SHUTOFF" | "PAUSED" | "REVERT_RESIZE" | "SOFT_DELETED"
    ) {
        row.remove("progress");
    }
    Value::Object(row)
}

fn owners_part(call: &Call<'_>, server: &Server) -> Value {
    json!({
        "id": server.id,
        "name": server.name,
        "tenant_id": server.project_id.simple().to_string(),
        "user_id": server.user_id.simple().to_string(),
        "metadata": {},
        "created": stamp_z(server.created),
        "updated": stamp_z(server.updated),
        "links": call.links(&format!("servers/{}", server.id)),
        "key_name": null,
        "accessIPv4": "",
        "accessIPv6": "",
        "addresses": addresses(server),
    })
}

fn addresses(server: &Server) -> Value {
    if server.addresses.is_empty() {
        return json!({});
    }
    let one = |(place, address): (usize, &String)| {
        let version = if address.contains(':') { 6 } else { 4 };
        let mac = format!("fa:16:3e:{place:02x}:{:02x}:{:02x}", server.number / 256 % 256, server.number % 256);
        json!({"version": version, "addr": address, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": mac})
    };
    json!({"lab": server.addresses.iter().enumerate().map(one).collect::<Vec<_>>()})
}

fn platform_part(call: &Call<'_>, server: &Server) -> Value {
    let Size { ram_mb, vcpus, disk_gb } = server.size;
    let (flavor_id, flavor_name) = flavor(server.size);
    let flavor = if call.at_least(47) {
        json!({
            "vcpus": vcpus, "ram": ram_mb, "disk": disk_gb, "ephemeral": 0, "swap": 0, "original_name": flavor_name, "extra_specs": {},
        })
    } else {
        json!({"id": flavor_id.to_string(), "links": [{"rel": "bookmark", "href": format!("{}/flavors/{flavor_id}", call.base)}]})
    };
    let image = Uuid::nil();
    let mut image = json!({"id": image, "links": [{"rel": "bookmark", "href": format!("{}/images/{image}", call.base)}]});
    if let Some(image) = image.as_object_mut()
        && call.at_least(98)
    {
        image.insert("properties".into(), json!({}));
    }
    // What boots from a volume shows no image.
    let image = if server.volume { json!("") } else { image };
    let volumes: Vec<Value> = server.volume.then(|| json!({"id": server.id, "delete_on_termination": true})).into_iter().collect();
    json!({
        "flavor": flavor,
        "image": image,
        "config_drive": "",
        "OS-DCF:diskConfig": "MANUAL",
        "os-extended-volumes:volumes_attached": volumes,
        "OS-SRV-USG:launched_at": stamp(server.created),
        "OS-SRV-USG:terminated_at": null,
    })
}

fn state_part(server: &Server) -> Value {
    json!({
        "status": server.status(),
        "progress": server.progress,
        "locked": server.locked,
        "OS-EXT-STS:task_state": server.task,
        "OS-EXT-STS:vm_state": server.state.vm_state(),
        "OS-EXT-STS:power_state": server.power_state,
    })
}

fn host_part(cloud: &Cloud, call: &Call<'_>, server: &Server) -> Value {
    let mut part = json!({"hostId": host_id(&server.host), "OS-EXT-AZ:availability_zone": "nova"});
    let Some(map) = part.as_object_mut().filter(|_| call.admin) else { return part };
    let status = match cloud.host(&server.host) {
        Some(host) if !host.is_up() => "DOWN",
        Some(host) if !host.enabled => "MAINTENANCE",
        Some(_) => "UP",
        None => "UNKNOWN",
    };
    map.insert("host_status".into(), json!(status));
    for (name, value) in [
        ("host", json!(server.host)),
        ("hypervisor_hostname", json!(server.host)),
        ("instance_name", json!(instance_name(server))),
        ("hostname", json!(server.name)),
        ("kernel_id", json!("")),
        ("ramdisk_id", json!("")),
        ("launch_index", json!(0)),
        ("reservation_id", json!(format!("r-{:08x}", server.number))),
        ("root_device_name", json!("/dev/sda")),
        ("user_data", Value::Null),
    ] {
        map.insert(format!("OS-EXT-SRV-ATTR:{name}"), value);
    }
    part
}

/// The name of a server on its hypervisor.
pub(super) fn instance_name(server: &Server) -> String {
    format!("instance-{:08x}", server.number)
}

/// Number and name of the flavor of this size.
pub(super) fn flavor(size: Size) -> (u64, &'static str) {
    match size.ram_mb {
        ..=512 => (1, "tiny"),
        513..=2048 => (2, "small"),
        2049..=4096 => (3, "medium"),
        4097..=8192 => (4, "large"),
        8193.. => (5, "xlarge"),
    }
}
