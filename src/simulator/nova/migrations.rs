//! Migration rows: `os-migrations`, which has all of them without byte counters, and `servers/{id}/migrations`, which has those in progress with the counters.

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::model::{Migration, MoveKind, Sample, Server};
use super::super::state::{Cloud, Refusal};
use super::super::wire::Reply;
use super::{Call, changed_since, parse_since, servers, stamp};

pub(super) fn list(cloud: &Cloud, call: &Call<'_>) -> Result<Reply, Refusal> {
    call.need_admin("os_compute_api:os-migrations:index")?;
    let paged = call.at_least(59);
    let known = ["source_compute", "host", "instance_uuid", "status", "migration_type", "changes-since", "limit", "marker"];
    call.know_params(&known)?;
    let param = |name| call.ask.param(name);
    let since = param("changes-since").filter(|_| paged).map(parse_since).transpose()?;
    let fits = |row: &&Migration| {
        param("source_compute").is_none_or(|host| row.source == host)
            && param("host").is_none_or(|host| row.source == host || row.destination.as_deref() == Some(host))
            && param("instance_uuid").is_none_or(|server| row.server.to_string() == server)
            && param("status").is_none_or(|status| row.status == Some(status))
            && param("migration_type").is_none_or(|kind| kind == row.kind.word())
            // A row that was never changed has no time of change, and Nova's query leaves it out.
            && since.is_none_or(|since| row.updated_at.is_some_and(|changed| changed_since(changed, since)))
    };
    let rows: Vec<&Migration> = cloud.migrations().filter(fits).collect();
    let (rows, next) = if paged { call.page(rows, cloud.settings.max_limit, "os-migrations", |row| row.uuid.to_string())? } else { (rows, None) };
    let rows: Vec<Value> = rows.into_iter().map(|row| listed(cloud, call, row)).collect();
    let mut body = json!({"migrations": rows});
    if let (Some(href), Some(body)) = (next, body.as_object_mut()) {
        body.insert("migrations_links".into(), json!([{"rel": "next", "href": href}]));
    }
    Ok(Reply::json(StatusCode::OK, &body))
}

fn listed(cloud: &Cloud, call: &Call<'_>, row: &Migration) -> Value {
    let (flavor, _) = servers::flavor(row.size);
    let mut value = common(cloud, call, row);
    if let Some(map) = value.as_object_mut() {
        map.insert("instance_uuid".into(), json!(row.server));
        map.insert("old_instance_type_id".into(), json!(flavor));
        map.insert("new_instance_type_id".into(), json!(flavor));
        if call.at_least(23) {
            map.insert("migration_type".into(), json!(row.kind.word()));
            if row.is_in_progress() {
                map.insert("links".into(), call.links(&format!("servers/{}/migrations/{}", row.server, row.id)));
            }
        }
    }
    value
}

fn common(cloud: &Cloud, call: &Call<'_>, row: &Migration) -> Value {
    let mut value = json!({
        "id": row.id,
        "status": row.status,
        "source_compute": row.source,
        // nova-compute writes its node into the row when the move reaches it.
        "source_node": row.destination.as_ref().map(|_| &row.source),
        "dest_compute": row.destination,
        "dest_node": row.destination,
        // The address of the destination, which only a cold one needs.
        "dest_host": row.destination.as_ref().filter(|_| row.kind != MoveKind::Live).map(|_| "127.0.0.1"),
        "created_at": stamp(row.created_at),
        "updated_at": row.updated_at.map(stamp),
    });
    if let Some(map) = value.as_object_mut() {
        if call.at_least(59) {
            map.insert("uuid".into(), json!(row.uuid));
        }
        if call.at_least(80) {
            let asker = cloud.owners;
            map.insert("user_id".into(), json!(asker.admin_user.simple().to_string()));
            map.insert("project_id".into(), json!(asker.admin_project.simple().to_string()));
        }
    }
    value
}

pub(super) fn of_server(cloud: &Cloud, call: &Call<'_>, server: Uuid) -> Result<Reply, Refusal> {
    call.need_admin("os_compute_api:servers:migrations:index")?;
    call.visible(cloud, server)?;
    let rows: Vec<Value> = in_progress(cloud, server).map(|row| with_counters(cloud, call, row)).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"migrations": rows})))
}

pub(super) fn show(cloud: &Cloud, call: &Call<'_>, server: Uuid, number: &str) -> Result<Reply, Refusal> {
    call.need_admin("os_compute_api:servers:migrations:show")?;
    call.visible(cloud, server)?;
    let row = in_progress(cloud, server).find(|row| row.id.to_string() == number);
    let row = row.ok_or_else(|| Refusal::NotFound(format!("In-progress live migration {number} is not found for server {server}.")))?;
    Ok(Reply::json(StatusCode::OK, &json!({"migration": with_counters(cloud, call, row)})))
}

pub(super) fn abort(cloud: &mut Cloud, call: &Call<'_>, server: Uuid, number: &str) -> Result<Reply, Refusal> {
    call.need_admin("os_compute_api:servers:migrations:delete")?;
    cloud.abort(server, number, call.at_least(65), &call.request_id)?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

fn in_progress(cloud: &Cloud, server: Uuid) -> impl Iterator<Item = &Migration> {
    let there = cloud.server(server).map(|server: &Server| server.id);
    cloud.migrations().filter(move |row| row.is_in_progress() && Some(row.server) == there)
}

fn with_counters(cloud: &Cloud, call: &Call<'_>, row: &Migration) -> Value {
    let mut value = common(cloud, call, row);
    let Some(map) = value.as_object_mut() else { return value };
    map.insert("server_uuid".into(), json!(row.server));
    let counter = |pick: fn(Sample) -> u64| json!(row.sample.map(pick));
    for (name, figure) in [
        ("memory_total_bytes", counter(|sample| sample.total)),
        ("memory_processed_bytes", counter(|sample| sample.processed)),
        ("memory_remaining_bytes", counter(|sample| sample.remaining)),
        ("disk_total_bytes", counter(|_| 0)),
        ("disk_processed_bytes", counter(|_| 0)),
        ("disk_remaining_bytes", counter(|_| 0)),
    ] {
        map.insert(name.into(), figure);
    }
    value
}
