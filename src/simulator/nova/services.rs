//! `os-services`: the nova-compute services, in service and out of it.

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::model::Host;
use super::super::state::{Cloud, Refusal, ServiceChange};
use super::super::wire::Reply;
use super::{Call, stamp};

const POLICY: &str = "os_compute_api:os-services:list";

pub(super) fn list(cloud: &Cloud, call: &Call<'_>) -> Result<Reply, Refusal> {
    call.need_admin(POLICY)?;
    call.know_params(&["binary", "host"])?;
    let binary = call.ask.param("binary").is_none_or(|binary| binary == "nova-compute");
    let host = call.ask.param("host");
    // A service that reports was last seen a moment ago; one that does not, when it was last changed.
    let seen = |one: &Host| if one.up { cloud.now } else { one.changed_at };
    let rows: Vec<Value> =
        cloud.hosts().filter(|one| one.registered && binary && host.is_none_or(|host| host == one.name)).map(|one| row(call, one, &stamp(seen(one)))).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"services": rows})))
}

fn row(call: &Call<'_>, host: &Host, updated_at: &str) -> Value {
    let id = if call.at_least(53) { json!(host.service_id) } else { json!(host.service_number) };
    let mut row = json!({
        "binary": "nova-compute",
        "host": host.name,
        "id": id,
        "zone": "nova",
        "status": if host.enabled { "enabled" } else { "disabled" },
        "state": if host.is_up() { "up" } else { "down" },
        "updated_at": updated_at,
        "disabled_reason": host.disabled_reason,
    });
    if let (true, Some(row)) = (call.at_least(11), row.as_object_mut()) {
        row.insert("forced_down".into(), json!(host.forced_down));
    }
    row
}

/// Deletes the row of a service that has neither servers nor moves; its nova-compute makes another one when it starts again.
pub(super) fn delete(cloud: &mut Cloud, call: &Call<'_>, id: &str) -> Result<Reply, Refusal> {
    call.need_admin("os_compute_api:os-services:delete")?;
    let there = cloud.hosts().find(|host| host.registered && host.service_id.to_string() == id).map(|host| host.name.clone());
    let host = there.ok_or_else(|| Refusal::NotFound(format!("Service {id} not found.")))?;
    let conflict = |sentence: &str| Err(Refusal::Conflict(sentence.into()));
    if cloud.servers_on(&host).next().is_some() {
        return conflict("Unable to delete compute service that is hosting instances. Migrate or delete the instances first.");
    }
    if cloud.open().any(|row| row.status.is_some() && (row.source == host || row.destination.as_deref() == Some(host.as_str()))) {
        return conflict("Unable to delete compute service that has in-progress migrations. Complete the migrations or delete the instances first.");
    }
    cloud.delete_service(&host)?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

pub(super) fn change(cloud: &mut Cloud, call: &Call<'_>, id: &str) -> Result<Reply, Refusal> {
    call.need_admin("os_compute_api:os-services:update")?;
    if !call.at_least(53) {
        return Err(Refusal::NotFound("The resource could not be found.".into()));
    }
    if id.parse::<Uuid>().is_err() {
        return Err(Refusal::BadRequest(format!("Invalid uuid {id}")));
    }
    let change = parse(call)?;
    let now = cloud.now;
    let host = cloud.change_service(id, change)?;
    let row = row(call, host, &now.strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string());
    Ok(Reply::json(StatusCode::OK, &json!({"service": row})))
}

fn parse(call: &Call<'_>) -> Result<ServiceChange, Refusal> {
    let bad = |sentence: String| Err(Refusal::BadRequest(sentence));
    let Ok(Value::Object(body)) = call.ask.json() else {
        return bad("The request body is invalid.".into());
    };
    let mut change = ServiceChange::default();
    for (key, value) in &body {
        match (key.as_str(), value) {
            ("status", Value::String(word)) if word == "enabled" || word == "disabled" => change.enabled = Some(word == "enabled"),
            ("disabled_reason", Value::String(reason)) if (1..=255).contains(&reason.chars().count()) => change.reason = Some(reason.clone()),
            ("disabled_reason", Value::String(reason)) => {
                let fault = if reason.is_empty() { "short" } else { "long" };
                return bad(format!("Invalid input for field/attribute disabled_reason. Value: {reason}. '{reason}' is too {fault}"));
            }
            ("forced_down", Value::Bool(down)) => change.forced_down = Some(*down),
            ("status" | "disabled_reason" | "forced_down", _) => return bad(format!("Invalid input for field/attribute {key}. Value: {value}.")),
            _ => return bad(format!("Additional properties are not allowed ('{key}' was unexpected)")),
        }
    }
    match (change.enabled, change.forced_down, &change.reason) {
        (None, None, _) => bad("No updates were requested. Fields 'status' or 'forced_down' should be specified.".into()),
        (Some(true), _, Some(_)) => bad("Specifying 'disabled_reason' with status 'enabled' is invalid.".into()),
        (None, Some(_), Some(_)) => bad("Specifying 'disabled_reason' requires status 'disabled'.".into()),
        _ => Ok(change),
    }
}
