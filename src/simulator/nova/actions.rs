//! What is asked of a server (`action`: the live migration), and what became of it (`os-instance-actions`: the only place where Nova says why).

use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::ids::host_id;
use super::super::model::{Action, Event, Outcome};
use super::super::state::{Cloud, Refusal};
use super::super::wire::Reply;
use super::{Call, manage, stamp};

pub(super) fn act(cloud: &mut Cloud, call: &Call<'_>, server: Uuid) -> Result<Reply, Refusal> {
    let body = call.ask.json().map_err(|_| Refusal::BadRequest("The server could not comply with the request since it is malformed.".into()))?;
    let action = body.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next());
    let Some((name, details)) = action else {
        return Err(Refusal::BadRequest("The server could not comply with the request since there is no one action in its body.".into()));
    };
    if name != "os-migrateLive" {
        let status = manage::act(cloud, call, server, name, details)?;
        return Ok(Reply::empty(StatusCode::from_u16(status).unwrap_or(StatusCode::ACCEPTED)));
    }
    call.need_admin("os_compute_api:os-migrate-server:migrate_live")?;
    let host = live_migration(call, details)?;
    cloud.live_migrate(server, host.as_deref(), &call.request_id)?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// The host that the body of a live migration names.
fn live_migration(call: &Call<'_>, details: &Value) -> Result<Option<String>, Refusal> {
    let bad = |sentence: String| Err(Refusal::BadRequest(sentence));
    let Some(map) = details.as_object() else {
        return bad(format!("Invalid input for field/attribute os-migrateLive. Value: {details}. It is not of type 'object'"));
    };
    let auto = call.at_least(25);
    let force = call.at_least(30) && !call.at_least(68);
    let known = |key: &str| matches!(key, "host" | "block_migration") || (key == "disk_over_commit" && !auto) || (key == "force" && force);
    if let Some(key) = map.keys().find(|key| !known(key)) {
        let fault = format!("Additional properties are not allowed ('{key}' was unexpected)");
        return bad(format!("Invalid input for field/attribute os-migrateLive. Value: {details}. {fault}"));
    }
    let required: &[&str] = if auto { &["block_migration", "host"] } else { &["block_migration", "disk_over_commit", "host"] };
    if let Some(key) = required.iter().find(|key| !map.contains_key(**key)) {
        return bad(format!("Invalid input for field/attribute os-migrateLive. Value: {details}. '{key}' is a required property"));
    }
    match map.get("block_migration") {
        Some(Value::Bool(_)) => {}
        Some(Value::String(word)) if auto && word == "auto" => {}
        Some(value) => {
            let word = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            return bad(format!("Invalid input for field/attribute block_migration. Value: {word}. '{word}' is not one of [True, False]"));
        }
        None => {}
    }
    match map.get("host") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(host)) if !host.is_empty() => Ok(Some(host.clone())),
        Some(other) => bad(format!("Invalid input for field/attribute host. Value: {other}. It is no name of a host")),
    }
}

pub(super) fn list(cloud: &Cloud, call: &Call<'_>, server: Uuid) -> Result<Reply, Refusal> {
    call.know_params(&["limit", "marker"])?;
    call.visible(cloud, server)?;
    let actions: Vec<&Action> = cloud.actions(server).collect();
    let path = format!("servers/{server}/os-instance-actions");
    let paged = call.at_least(58) && (call.ask.param("limit").is_some() || call.ask.param("marker").is_some());
    let (actions, next) = if paged { call.page(actions, cloud.settings.max_limit, &path, |action| action.request_id.clone())? } else { (actions, None) };
    let rows: Vec<Value> = actions.into_iter().map(|action| row(cloud, call, action)).collect();
    let mut body = json!({"instanceActions": rows});
    if let (Some(href), Some(body)) = (next, body.as_object_mut()) {
        body.insert("links".into(), json!([{"rel": "next", "href": href}]));
    }
    Ok(Reply::json(StatusCode::OK, &body))
}

pub(super) fn show(cloud: &Cloud, call: &Call<'_>, server: Uuid, request: &str) -> Result<Reply, Refusal> {
    call.visible(cloud, server)?;
    let action = cloud.actions(server).find(|action| action.request_id == request);
    let action = action.ok_or_else(|| Refusal::NotFound(format!("Action for request_id {request} on instance {server} not found")))?;
    let mut value = row(cloud, call, action);
    if let Some(map) = value.as_object_mut() {
        // Newest first; steps that began at the same time, in the reverse of their order.
        let events: Vec<Value> = action.events.iter().rev().map(|event| step(call, event)).collect();
        map.insert("events".into(), json!(events));
    }
    Ok(Reply::json(StatusCode::OK, &json!({"instanceAction": value})))
}

fn row(cloud: &Cloud, call: &Call<'_>, action: &Action) -> Value {
    let mut value = json!({
        "action": action.action,
        "instance_uuid": action.server,
        "request_id": action.request_id,
        "user_id": cloud.owners.admin_user.simple().to_string(),
        "project_id": cloud.owners.admin_project.simple().to_string(),
        "start_time": stamp(action.started),
        "message": action.failed.then_some("Error"),
    });
    if let Some(map) = value.as_object_mut()
        && call.at_least(58)
    {
        map.insert("updated_at".into(), json!(stamp(action.updated)));
    }
    value
}

fn step(call: &Call<'_>, event: &Event) -> Value {
    let (finish, result, details) = match &event.finished {
        None => (None, None, None),
        Some((at, Outcome::Success)) => (Some(stamp(*at)), Some("Success"), None),
        Some((at, Outcome::Error(reason))) => (Some(stamp(*at)), Some("Error"), Some(reason.as_str())),
    };
    let mut value = json!({
        "event": event.event,
        "start_time": stamp(event.started),
        "finish_time": finish,
        "result": result,
    });
    let Some(map) = value.as_object_mut() else { return value };
    if call.admin {
        map.insert("traceback".into(), json!(details.map(|reason| format!("  File \"simulator\", in {}\n{reason}\n", event.event))));
    }
    if call.at_least(62) {
        map.insert("hostId".into(), json!(host_id(&event.host)));
        if call.admin {
            map.insert("host".into(), json!(event.host));
        }
    }
    if call.at_least(84) {
        map.insert("details".into(), json!(details));
    }
    value
}
