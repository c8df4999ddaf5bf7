//! Placement: resource providers, what is allocated on them and to whom, their traits.

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::core::Core;
use super::model::{Host, Size};
use super::state::Cloud;
use super::wire::{Ask, Reply};
use super::{candidates, keystone};

/// Newest microversion of Placement that is spoken; the oldest is 1.0.
const NEWEST: u16 = 39;

/// Answers a request to `/placement`.
pub(crate) fn answer(core: &mut Core, ask: &Ask) -> Reply {
    let request_id = core.cloud.request_id();
    let parts = ask.rest();
    if parts.is_empty() {
        let version = json!({
            "id": "v1.0", "max_version": format!("1.{NEWEST}"), "min_version": "1.0", "status": "CURRENT", "links": [{"rel": "self", "href": ""}],
        });
        return Reply::json(StatusCode::OK, &json!({"versions": [version]})).with("x-openstack-request-id", request_id);
    }
    let Some(token) = core.tokens.of(ask, core.now) else {
        let uri = format!("Keystone uri=\"{}/identity/v3\"", ask.base());
        return keystone::unauthorized().with("www-authenticate", uri).with("x-openstack-request-id", request_id);
    };
    let minor = match asked_for(ask) {
        Ok(minor) => minor,
        Err(text) => {
            let sentence = format!("Unacceptable version header: {text}");
            return error(StatusCode::NOT_ACCEPTABLE, "Not Acceptable", &sentence, &request_id).with("x-openstack-request-id", request_id.clone());
        }
    };
    let reply = if token.admin {
        route(&core.cloud, ask, &parts, minor, &request_id)
    } else {
        error(StatusCode::FORBIDDEN, "Forbidden", "Access was denied to this resource.", &request_id)
    };
    reply
        .with("x-openstack-request-id", request_id)
        .with("openstack-api-version", format!("placement 1.{minor}"))
        .with("vary", "openstack-api-version")
        .with("cache-control", "no-cache")
        .with("last-modified", http_date(core.now))
}

fn asked_for(ask: &Ask) -> Result<u16, String> {
    let header = ask.header("openstack-api-version").and_then(|text| text.split(',').find_map(|one| one.trim().strip_prefix("placement ")));
    match header.map(str::trim) {
        None => Ok(0),
        Some("latest") => Ok(NEWEST),
        Some(text) => text.strip_prefix("1.").and_then(|minor| minor.parse().ok()).filter(|minor| *minor <= NEWEST).ok_or_else(|| text.to_owned()),
    }
}

fn route(cloud: &Cloud, ask: &Ask, parts: &[&str], minor: u16, request_id: &str) -> Reply {
    if ask.method != Method::GET {
        return error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", "The method specified is not allowed for this resource.", request_id);
    }
    if let ["allocation_candidates"] = parts {
        return candidates::answer(cloud, ask, minor).unwrap_or_else(|sentence| error(StatusCode::BAD_REQUEST, "Bad Request", &sentence, request_id));
    }
    let body = match parts {
        ["resource_providers"] => providers(cloud, ask, minor),
        ["resource_providers", id] => find(cloud, id).map(|host| provider(host, minor)),
        ["resource_providers", id, "allocations"] => find(cloud, id).map(|host| of_provider(cloud, host, minor)),
        ["resource_providers", id, "usages"] => find(cloud, id).map(|host| usages(cloud, host)),
        ["resource_providers", id, "inventories"] => find(cloud, id).map(|host| inventories(cloud, host)),
        ["resource_providers", id, "traits"] => find(cloud, id).map(|host| traits(cloud, host)),
        ["allocations", consumer] => consumer.parse().ok().map(|consumer| of_consumer(cloud, consumer, minor)),
        _ => None,
    };
    match body {
        Some(body) => Reply::json(StatusCode::OK, &body),
        None => {
            let sentence = format!("The resource could not be found: {} is nothing that Placement knows.", ask.path);
            error(StatusCode::NOT_FOUND, "Not Found", &sentence, request_id)
        }
    }
}

fn providers(cloud: &Cloud, ask: &Ask, minor: u16) -> Option<Value> {
    let name = ask.param("name");
    let id = ask.param("uuid");
    let fits = |host: &&Host| host.registered && name.is_none_or(|name| host.name == name) && id.is_none_or(|id| host.provider_id.to_string() == id);
    let rows: Vec<Value> = cloud.hosts().filter(fits).map(|host| provider(host, minor)).collect();
    Some(json!({"resource_providers": rows}))
}

fn find<'a>(cloud: &'a Cloud, id: &str) -> Option<&'a Host> {
    cloud.hosts().find(|host| host.registered && host.provider_id.to_string() == id)
}

fn provider(host: &Host, minor: u16) -> Value {
    let path = format!("/resource_providers/{}", host.provider_id);
    let link = |rel: &str| json!({"rel": rel, "href": if rel == "self" { path.clone() } else { format!("{path}/{rel}") }});
    let links: Vec<Value> = ["self", "inventories", "usages", "aggregates", "traits", "allocations"].into_iter().map(link).collect();
    let mut value = json!({"uuid": host.provider_id, "name": host.name, "generation": host.generation, "links": links});
    if let Some(map) = value.as_object_mut()
        && minor >= 14
    {
        map.insert("parent_provider_uuid".into(), Value::Null);
        map.insert("root_provider_uuid".into(), json!(host.provider_id));
    }
    value
}

/// A size by the classes of resources.
pub(super) fn resources(size: Size) -> Value {
    json!({"VCPU": size.vcpus, "MEMORY_MB": size.ram_mb, "DISK_GB": size.disk_gb})
}

fn of_provider(cloud: &Cloud, host: &Host, minor: u16) -> Value {
    let mut consumers = Map::new();
    for (consumer, size) in cloud.allocations(&host.name) {
        let mut entry = json!({"resources": resources(size)});
        if let Some(entry) = entry.as_object_mut()
            && minor >= 28
        {
            entry.insert("consumer_generation".into(), json!(1));
        }
        consumers.insert(consumer.to_string(), entry);
    }
    json!({"allocations": consumers, "resource_provider_generation": host.generation})
}

fn of_consumer(cloud: &Cloud, consumer: Uuid, minor: u16) -> Value {
    let mut providers = Map::new();
    for host in cloud.hosts() {
        for (_, size) in cloud.allocations(&host.name).into_iter().filter(|(one, _)| *one == consumer) {
            providers.insert(host.provider_id.to_string(), json!({"resources": resources(size), "generation": host.generation}));
        }
    }
    // A consumer without allocations is not known, and that is an answer, not an error.
    let known = !providers.is_empty();
    let mut value = json!({"allocations": providers});
    if let Some(map) = value.as_object_mut().filter(|_| known) {
        let owner = cloud.owners;
        for (since, name, text) in [
            (12, "project_id", json!(owner.admin_project.simple().to_string())),
            (12, "user_id", json!(owner.admin_user.simple().to_string())),
            (28, "consumer_generation", json!(1)),
            (38, "consumer_type", json!("unknown")),
        ] {
            if minor >= since {
                map.insert(name.into(), text);
            }
        }
    }
    value
}

fn usages(cloud: &Cloud, host: &Host) -> Value {
    let mut sum = Size::default();
    cloud.allocations(&host.name).into_iter().for_each(|(_, size)| sum.add(size));
    json!({"resource_provider_generation": host.generation, "usages": resources(sum)})
}

fn inventories(cloud: &Cloud, host: &Host) -> Value {
    let class = |total: u64| json!({"total": total, "reserved": 0, "min_unit": 1, "max_unit": total, "step_size": 1, "allocation_ratio": 1.0});
    let Size { ram_mb, vcpus, disk_gb } = cloud.settings.capacity(&host.name);
    json!({
        "resource_provider_generation": host.generation,
        "inventories": {"VCPU": class(vcpus), "MEMORY_MB": class(ram_mb), "DISK_GB": class(disk_gb)},
    })
}

/// The traits of a host's resource provider.
pub(super) fn traits_of(cloud: &Cloud, host: &Host) -> Vec<String> {
    let own = cloud.settings.host_settings.get(&host.name).into_iter().flat_map(|own| own.traits.iter().cloned());
    let common = ["COMPUTE_NODE", "OWNER_NOVA", "COMPUTE_TRUSTED_CERTS", "COMPUTE_IMAGE_TYPE_RAW"].map(String::from);
    let disabled = (!host.enabled).then(|| "COMPUTE_STATUS_DISABLED".to_owned());
    common.into_iter().chain(own).chain(disabled).collect()
}

fn traits(cloud: &Cloud, host: &Host) -> Value {
    json!({"traits": traits_of(cloud, host), "resource_provider_generation": host.generation})
}

fn error(status: StatusCode, title: &str, detail: &str, request_id: &str) -> Reply {
    Reply::json(status, &json!({"errors": [{"status": status.as_u16(), "title": title, "detail": detail, "request_id": request_id}]}))
}

fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
