//! What is asked of a server besides a live migration: cold migration with its confirmation or revert, and what owners do (pause, stop, lock, restore, ...), which takes no time here.

use serde_json::Value;
use uuid::Uuid;

use super::super::describe::VmState;
use super::super::model::{Action, Outcome};
use super::super::state::{Cloud, Refusal, unknown_server};
use super::Call;

/// What an action turns a server into, and from which states.
struct Turn {
    name: &'static str,
    /// The word in the list of instance actions.
    action: &'static str,
    from: &'static [VmState],
    to: VmState,
}

const TURNS: [Turn; 9] = [
    Turn { name: "pause", action: "pause", from: &[VmState::Active], to: VmState::Paused },
    Turn { name: "unpause", action: "unpause", from: &[VmState::Paused], to: VmState::Active },
    Turn { name: "suspend", action: "suspend", from: &[VmState::Active], to: VmState::Suspended },
    Turn { name: "resume", action: "resume", from: &[VmState::Suspended], to: VmState::Active },
    Turn { name: "os-stop", action: "stop", from: &[VmState::Active, VmState::Shutoff, VmState::Error], to: VmState::Shutoff },
    Turn { name: "os-start", action: "start", from: &[VmState::Shutoff], to: VmState::Active },
    Turn { name: "rescue", action: "rescue", from: &[VmState::Active, VmState::Shutoff, VmState::Error], to: VmState::Rescued },
    Turn { name: "unrescue", action: "unrescue", from: &[VmState::Rescued], to: VmState::Active },
    Turn { name: "restore", action: "restore", from: &[VmState::SoftDeleted], to: VmState::Active },
];

/// Carries an action out; gives the status of the answer.
pub(super) fn act(cloud: &mut Cloud, call: &Call<'_>, server: Uuid, name: &str, details: &Value) -> Result<u16, Refusal> {
    call.visible(cloud, server)?;
    match name {
        "migrate" => {
            call.need_admin("os_compute_api:os-migrate-server:migrate")?;
            cloud.cold_migrate(server, destination(call, details)?.as_deref(), &call.request_id)?;
            Ok(202)
        }
        "confirmResize" => cloud.confirm_resize(server, &call.request_id).map(|()| 204),
        "revertResize" => cloud.revert_resize(server, &call.request_id).map(|()| 202),
        "forceDelete" => cloud.delete_server(server).map(|()| 204),
        "lock" | "unlock" => cloud.set_locked(server, name == "lock").map(|()| 202),
        "os-resetState" => reset(cloud, call, server, details),
        _ => turn(cloud, call, server, name),
    }
}

/// The host that the body of a cold migration names, since 2.56.
fn destination(call: &Call<'_>, details: &Value) -> Result<Option<String>, Refusal> {
    let bad = |sentence: String| Err(Refusal::BadRequest(sentence));
    let Value::Object(map) = details else {
        return if details.is_null() { Ok(None) } else { bad(format!("Invalid input for field/attribute migrate. Value: {details}.")) };
    };
    if let Some(key) = map.keys().find(|key| !call.at_least(56) || *key != "host") {
        return bad(format!("Invalid input for field/attribute migrate. Value: {details}. Additional properties are not allowed ('{key}' was unexpected)"));
    }
    match map.get("host") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(host)) if !host.is_empty() => Ok(Some(host.clone())),
        Some(other) => bad(format!("Invalid input for field/attribute host. Value: {other}.")),
    }
}

fn reset(cloud: &mut Cloud, call: &Call<'_>, server: Uuid, details: &Value) -> Result<u16, Refusal> {
    call.need_admin("os_compute_api:os-admin-actions:reset_state")?;
    let state = match details.get("state").and_then(Value::as_str) {
        Some("active") => VmState::Active,
        Some("error") => VmState::Error,
        _ => return Err(Refusal::BadRequest(format!("Invalid input for field/attribute os-resetState. Value: {details}."))),
    };
    let power_state = cloud.server(server).map(|server| server.power_state);
    cloud.set_state(server, state)?;
    // It changes what Nova believes of the server, not what its hypervisor last said of the guest.
    if let (Some(server), Some(power_state)) = (cloud.servers.get_mut(&server), power_state) {
        server.power_state = power_state;
    }
    Ok(202)
}

fn turn(cloud: &mut Cloud, call: &Call<'_>, server: Uuid, name: &str) -> Result<u16, Refusal> {
    let Some(turn) = TURNS.iter().find(|turn| turn.name == name) else {
        return Err(Refusal::BadRequest(format!("There is no such action: {name}")));
    };
    if cloud.server(server).is_some_and(|server| server.locked) && !call.admin {
        return Err(Refusal::Conflict(format!("Instance {server} is locked")));
    }
    cloud.free(server, name, turn.from)?;
    cloud.set_state(server, turn.to)?;
    let host = cloud.server(server).ok_or_else(|| unknown_server(server))?.host.clone();
    let mut action = Action::new(turn.action, server, &call.request_id, cloud.now);
    action.step("compute_action", &host, cloud.now, Outcome::Success);
    cloud.actions.push(action);
    Ok(if name == "rescue" { 200 } else { 202 })
}
