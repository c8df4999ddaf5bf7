//! Collections of hosts and of servers: `os-aggregates`, `os-server-groups`.

use http::StatusCode;
use serde_json::{Value, json};

use super::super::describe::{AggregateSettings, GroupPolicy, VmState};
use super::super::state::{Cloud, Refusal};
use super::super::wire::Reply;
use super::{Call, stamp};

pub(super) fn aggregates(cloud: &Cloud, call: &Call<'_>) -> Result<Reply, Refusal> {
    call.need_admin("os_compute_api:os-aggregates:index")?;
    let rows = (1_u64..).zip(&cloud.settings.aggregates).map(|(id, (name, one))| aggregate(cloud, call, id, name, one));
    Ok(Reply::json(StatusCode::OK, &json!({"aggregates": rows.collect::<Vec<_>>()})))
}

fn aggregate(cloud: &Cloud, call: &Call<'_>, id: u64, name: &str, one: &AggregateSettings) -> Value {
    let mut metadata = json!(one.metadata);
    if let (Some(zone), Some(metadata)) = (&one.availability_zone, metadata.as_object_mut()) {
        metadata.insert("availability_zone".into(), json!(zone));
    }
    let mut row = json!({
        "id": id,
        "name": name,
        "hosts": one.hosts,
        "metadata": metadata,
        "availability_zone": one.availability_zone,
        "created_at": stamp(cloud.began),
        "updated_at": null,
        "deleted_at": null,
        "deleted": false,
    });
    if let (true, Some(row)) = (call.at_least(41), row.as_object_mut()) {
        row.insert("uuid".into(), json!(cloud.ids.named(&format!("aggregate {name}"))));
    }
    row
}

/// Pages of groups are counted by an offset, and have no links.
pub(super) fn server_groups(cloud: &Cloud, call: &Call<'_>) -> Result<Reply, Refusal> {
    call.know_params(&["all_projects", "limit", "offset"])?;
    let all = call.ask.param("all_projects").is_some();
    if all && !call.admin {
        call.need_admin("os_compute_api:os-server-groups:index:all_projects")?;
    }
    let number = |name| call.ask.param(name).and_then(|text| text.parse::<usize>().ok());
    let limit = number("limit").unwrap_or(cloud.settings.max_limit).min(cloud.settings.max_limit);
    let rows = cloud.settings.server_groups.iter().filter(|_| all || call.project == cloud.owners.demo_project);
    let rows = rows.skip(number("offset").unwrap_or_default()).take(limit).map(|(name, group)| server_group(cloud, call, name, group.policy));
    Ok(Reply::json(StatusCode::OK, &json!({"server_groups": rows.collect::<Vec<_>>()})))
}

/// The id of the group of this name.
pub(super) fn group_id(cloud: &Cloud, name: &str) -> Value {
    json!(cloud.ids.named(&format!("server group {name}")))
}

fn server_group(cloud: &Cloud, call: &Call<'_>, name: &str, policy: GroupPolicy) -> Value {
    let members: Vec<_> = cloud.members(name).into_iter().filter(|server| server.state != VmState::SoftDeleted).map(|server| server.id).collect();
    let mut row = json!({
        "id": group_id(cloud, name),
        "name": name,
        "members": members,
        "project_id": cloud.owners.demo_project.simple().to_string(),
        "user_id": cloud.owners.demo_user.simple().to_string(),
    });
    let Some(map) = row.as_object_mut() else { return row };
    if call.at_least(64) {
        map.insert("policy".into(), json!(policy));
        map.insert("rules".into(), json!({}));
    } else {
        map.insert("policies".into(), json!([policy]));
        map.insert("metadata".into(), json!({}));
    }
    row
}
