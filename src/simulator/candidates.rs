//! Placement's `GET /allocation_candidates`: which hosts have room for a server, and how full each of them is.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::model::{Host, Size};
use super::placement::{self, resources};
use super::state::Cloud;
use super::wire::{Ask, Reply};

/// What was asked for.
struct Wanted {
    size: Size,
    /// The names of the classes that were named.
    classes: Vec<String>,
    with: Vec<String>,
    without: Vec<String>,
    limit: usize,
}

/// Answers the request, or says what is wrong with it.
pub(super) fn answer(cloud: &Cloud, ask: &Ask, minor: u16) -> Result<Reply, String> {
    if minor < 10 {
        return Err("The resource could not be found.".into());
    }
    let wanted = parse(ask)?;
    let usage = cloud.usage();
    let used = |host: &Host| usage.get(host.name.as_str()).copied().unwrap_or_default();
    let fits = |host: &&Host| {
        let traits = placement::traits_of(cloud, host);
        used(host).leaves_room_for(wanted.size, cloud.settings.capacity(&host.name))
            && wanted.with.iter().all(|name| traits.contains(name))
            && !wanted.without.iter().any(|name| traits.contains(name))
    };
    let hosts: Vec<&Host> = cloud.hosts().filter(|host| host.registered).filter(fits).take(wanted.limit).collect();
    let requests: Vec<Value> = hosts.iter().map(|host| request(host, &wanted, minor)).collect();
    let summaries: Map<String, Value> = hosts.iter().map(|host| (host.provider_id.to_string(), summary(cloud, host, used(host), &wanted, minor))).collect();
    Ok(Reply::json(StatusCode::OK, &json!({"allocation_requests": requests, "provider_summaries": summaries})))
}

fn parse(ask: &Ask) -> Result<Wanted, String> {
    let known = ["resources", "required", "limit", "group_policy"];
    if let Some((name, _)) = ask.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(format!("Invalid query string parameters: Additional properties are not allowed ('{name}' was unexpected)"));
    }
    let text = ask.param("resources").ok_or("Invalid query string parameters: 'resources' is a required property")?;
    let mut wanted = Wanted { size: Size::default(), classes: Vec::new(), with: Vec::new(), without: Vec::new(), limit: usize::MAX };
    for part in text.split(',') {
        let malformed =
            || format!("Badly formed resources parameter. Expected resources query string parameter in form: ?resources=VCPU:2,MEMORY_MB:1024. Got: {text}.");
        let (class, amount) = part.split_once(':').ok_or_else(malformed)?;
        let amount = amount.parse::<u64>().ok().filter(|amount| *amount > 0).ok_or_else(malformed)?;
        match class {
            "VCPU" => wanted.size.vcpus = amount,
            "MEMORY_MB" => wanted.size.ram_mb = amount,
            "DISK_GB" => wanted.size.disk_gb = amount,
            _ => return Err(format!("Invalid resource class in resources parameter: No such resource class {class}.")),
        }
        wanted.classes.push(class.to_owned());
    }
    for (_, names) in ask.query.iter().filter(|(name, _)| name == "required") {
        for name in names.split(',') {
            match name.strip_prefix('!') {
                Some(name) => wanted.without.push(name.to_owned()),
                None => wanted.with.push(name.to_owned()),
            }
        }
    }
    if let Some(limit) = ask.param("limit") {
        wanted.limit = limit
            .parse()
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| format!("Invalid query string parameters: '{limit}' does not match '^[1-9][0-9]*$'"))?;
    }
    Ok(wanted)
}

fn of_classes(size: Size, wanted: &Wanted) -> Value {
    let mut value = resources(size);
    if let Some(map) = value.as_object_mut() {
        map.retain(|class, _| wanted.classes.contains(class));
    }
    value
}

fn request(host: &Host, wanted: &Wanted, minor: u16) -> Value {
    let asked = of_classes(wanted.size, wanted);
    if minor < 12 {
        return json!({"allocations": [{"resource_provider": {"uuid": host.provider_id}, "resources": asked}]});
    }
    let mut request = json!({"allocations": {host.provider_id.to_string(): {"resources": asked}}});
    if let (true, Some(map)) = (minor >= 34, request.as_object_mut()) {
        map.insert("mappings".into(), json!({"": [host.provider_id]}));
    }
    request
}

fn summary(cloud: &Cloud, host: &Host, used: Size, wanted: &Wanted, minor: u16) -> Value {
    let (capacity, used) = (resources(cloud.settings.capacity(&host.name)), resources(used));
    let classes = capacity.as_object().into_iter().flatten().filter(|(class, _)| minor >= 27 || wanted.classes.contains(class));
    let classes: Map<String, Value> = classes.map(|(class, capacity)| (class.clone(), json!({"capacity": capacity, "used": used.get(class)}))).collect();
    let mut summary = json!({"resources": classes});
    let Some(map) = summary.as_object_mut() else { return summary };
    if minor >= 17 {
        map.insert("traits".into(), json!(placement::traits_of(cloud, host)));
    }
    if minor >= 29 {
        map.insert("parent_provider_uuid".into(), Value::Null);
        map.insert("root_provider_uuid".into(), json!(host.provider_id));
    }
    summary
}
