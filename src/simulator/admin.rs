//! The simulator's own interface under `/admin`: what a test or a demonstration does to the cloud behind everybody's back. Needs no token, is not in the list of requests,
//! and no fault touches it.
//!
//! ```text
//! GET    /admin/requests            every request so far        DELETE   forgets them
//! GET    /admin/state               hosts, servers, migrations
//! POST   /admin/servers             a server as in a description: {"name", "host", "state", "ram_mb", ...} -> 201 {"id"}
//! PATCH  /admin/servers/{id}        {"state", "locked"}
//! POST   /admin/servers/{id}/{what} what its owner does: delete, restore, migrate, confirm, revert
//! DELETE /admin/servers/{id}        gone with all that it held
//! PUT    /admin/hosts/{host}        {"state": "up" | "down", "hypervisor": "lost" | "back"}
//! POST   /admin/hosts/{host}/restart         its nova-compute ends and starts again; it makes a service row where there is none
//! DELETE /admin/hosts/{host}/service         its service row is gone until then
//! PUT    /admin/faults/{name}       knobs of migrations; name: default, host-<source>, <server's UUID>        DELETE removes them
//! POST   /admin/http-faults         {"method", "path", "answer", "times", "seconds", "delay_ms"}              DELETE removes all
//! PUT    /admin/settings            the settings to change, by name; aggregates, server_groups and timing entry by entry                                           GET shows all
//! DELETE /admin/tokens              every token given out is unknown from now on
//! ```

use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::core::Core;
use super::describe::VmState;
use super::model::{Host, Migration, Server};
use super::settings::Settings;
use super::state::Refusal;
use super::wire::{Ask, Reply};

/// Answers a request to `/admin`.
pub(crate) fn answer(core: &mut Core, ask: &Ask) -> Reply {
    route(core, ask).unwrap_or_else(|refusal| {
        let status = match refusal {
            Refusal::NotFound(_) => StatusCode::NOT_FOUND,
            Refusal::Conflict(_) => StatusCode::CONFLICT,
            Refusal::BadRequest(_) | Refusal::Forbidden(_) => StatusCode::BAD_REQUEST,
        };
        Reply::json(status, &json!({"error": refusal.to_string()}))
    })
}

fn route(core: &mut Core, ask: &Ask) -> Result<Reply, Refusal> {
    match (&ask.method, ask.rest().as_slice()) {
        (&Method::GET, ["requests"]) => return Ok(Reply::json(StatusCode::OK, &json!({"requests": core.log.requests()}))),
        (&Method::GET, ["state"]) => return Ok(state(core)),
        (&Method::GET, ["settings"]) => return Ok(Reply::json(StatusCode::OK, &json!(core.cloud.settings))),
        (&Method::POST, ["servers"]) => {
            let id = core.cloud.boot(&parse(ask)?)?;
            return Ok(Reply::json(StatusCode::CREATED, &json!({"id": id})));
        }
        (&Method::DELETE, ["requests"]) => core.log.clear(),
        (&Method::DELETE, ["servers", id]) => core.cloud.delete_server(server_id(id)?)?,
        (&Method::PATCH, ["servers", id]) => change_server(core, server_id(id)?, &parse(ask)?)?,
        (&Method::POST, ["servers", id, what]) => of_owner(core, server_id(id)?, what)?,
        (&Method::PUT, ["hosts", name]) => change_host(core, name, &parse(ask)?)?,
        (&Method::POST, ["hosts", name, "restart"]) => core.cloud.restart_host(name)?,
        (&Method::DELETE, ["hosts", name, "service"]) => core.cloud.delete_service(name)?,
        (&Method::PUT, ["faults", name]) => core.cloud.set_knobs(knobs_name(core, name)?, Some(parse(ask)?)),
        (&Method::DELETE, ["faults", name]) => core.cloud.set_knobs(name, None),
        (&Method::POST, ["http-faults"]) => core.faults.add(parse(ask)?, core.now),
        (&Method::DELETE, ["http-faults"]) => core.faults.clear(),
        (&Method::PUT, ["settings"]) => change_settings(core, ask)?,
        (&Method::DELETE, ["tokens"]) => core.tokens.revoke_all(),
        _ => return Err(Refusal::NotFound(format!("{} {} is not among what /admin can do", ask.method, ask.path))),
    }
    Ok(Reply { headers: Vec::new(), ..Reply::empty(StatusCode::NO_CONTENT) })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerChange {
    state: Option<VmState>,
    locked: Option<bool>,
}

fn change_server(core: &mut Core, id: Uuid, change: &ServerChange) -> Result<(), Refusal> {
    if let Some(state) = change.state {
        core.cloud.set_state(id, state)?;
    }
    change.locked.map_or(Ok(()), |locked| core.cloud.set_locked(id, locked))
}

fn of_owner(core: &mut Core, id: Uuid, what: &str) -> Result<(), Refusal> {
    let request_id = core.cloud.request_id();
    match what {
        "delete" => core.cloud.delete(id),
        "restore" => core.cloud.set_state(id, VmState::Active),
        "migrate" => core.cloud.cold_migrate(id, None, &request_id),
        "confirm" => core.cloud.confirm_resize(id, &request_id),
        "revert" => core.cloud.revert_resize(id, &request_id),
        _ => Err(Refusal::NotFound(format!("{what} is none of delete, restore, migrate, confirm, revert"))),
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct HostChange {
    state: Option<Report>,
    hypervisor: Option<Hypervisor>,
}

#[derive(Clone, Copy, serde::Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Report {
    Up,
    Down,
}

#[derive(Clone, Copy, serde::Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Hypervisor {
    Lost,
    Back,
}

fn change_host(core: &mut Core, name: &str, change: &HostChange) -> Result<(), Refusal> {
    if let Some(state) = change.state {
        core.cloud.set_host_up(name, state == Report::Up)?;
    }
    change.hypervisor.map_or(Ok(()), |hypervisor| core.cloud.set_hypervisor(name, hypervisor == Hypervisor::Back))
}

fn parse<T: DeserializeOwned>(ask: &Ask) -> Result<T, Refusal> {
    serde_json::from_slice(&ask.body).map_err(|error| Refusal::BadRequest(format!("The body of {} {} cannot be used: {error}", ask.method, ask.path)))
}

fn server_id(text: &str) -> Result<Uuid, Refusal> {
    text.parse().map_err(|_| Refusal::NotFound(format!("{text} is no UUID of a server")))
}

/// A name that knobs can have; a wrong one would change nothing, and nobody would notice.
fn knobs_name<'a>(core: &Core, name: &'a str) -> Result<&'a str, Refusal> {
    let host = name.strip_prefix("host-").is_some_and(|host| core.cloud.host(host).is_some());
    let server = name.parse().is_ok_and(|id| core.cloud.server(id).is_some());
    if name == "default" || host || server {
        return Ok(name);
    }
    Err(Refusal::NotFound(format!("{name} is neither default, nor host- and the name of a host, nor the UUID of a server")))
}

fn state(core: &Core) -> Reply {
    let hosts: Vec<&Host> = core.cloud.hosts().collect();
    let servers: Vec<Value> = core.cloud.servers().map(|server: &Server| with_status(json!(server), server.status())).collect();
    let migrations: Vec<&Migration> = core.cloud.migrations().collect();
    Reply::json(StatusCode::OK, &json!({"hosts": hosts, "servers": servers, "migrations": migrations}))
}

fn with_status(mut row: Value, status: &str) -> Value {
    if let Some(row) = row.as_object_mut() {
        row.insert("status".into(), json!(status));
    }
    row
}

/// What is only read at the start, so that changing it later would do nothing.
const FIXED: [&str; 6] = ["cloud", "listen", "hosts", "servers", "seed", "access_log"];

fn change_settings(core: &mut Core, ask: &Ask) -> Result<(), Refusal> {
    let changes: serde_json::Map<String, Value> = parse(ask)?;
    if let Some(name) = changes.keys().find(|name| FIXED.contains(&name.as_str())) {
        return Err(Refusal::BadRequest(format!("{name} cannot be changed while the simulator runs: set it at the start")));
    }
    let bad = |error: serde_json::Error| Refusal::BadRequest(format!("The settings cannot be used: {error}"));
    let mut merged = serde_json::to_value(&core.cloud.settings).map_err(bad)?;
    for (name, value) in changes {
        match (merged.get_mut(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
            (_, value) => {
                if let Some(merged) = merged.as_object_mut() {
                    merged.insert(name, value);
                }
            }
        }
    }
    let settings: Settings = serde_json::from_value(merged).map_err(bad)?;
    settings.check().map_err(Refusal::BadRequest)?;
    core.cloud.set_settings(settings);
    Ok(())
}
