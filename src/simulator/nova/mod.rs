//! Nova's compute API: version documents, services, servers, live migrations, instance actions, hypervisors; what an operator of hosts needs, with the shapes, status codes,
//! headers and sentences of a recorded Nova 34.
//!
//! What is not here: booting, images, networks, volumes, and other actions of a server than those of `actions` and `manage` (404 or 400). Filters that are not honoured are refused, never ignored, from
//! microversion 2.75 on. Shapes are those of 2.53 and later; a client that asks for less gets an integer for ids of services and a flavor by reference, and otherwise the same.

mod actions;
mod collections;
mod hypervisors;
mod manage;
mod migrations;
mod servers;
mod services;
mod version;

pub use version::Microversion;

use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::core::Core;
use super::keystone;
use super::state::{Cloud, Refusal, unknown_server};
use super::wire::{Ask, Reply};

/// A request that has a version and a caller.
struct Call<'a> {
    ask: &'a Ask,
    version: Microversion,
    admin: bool,
    project: Uuid,
    request_id: String,
    /// What links begin with.
    base: String,
}

/// Answers a request to `/compute`.
pub(crate) fn answer(core: &mut Core, ask: &Ask) -> Reply {
    let base = format!("{}/compute", ask.base());
    let parts = ask.rest();
    let settings = &core.cloud.settings;
    match (&ask.method, parts.as_slice()) {
        (&Method::GET, []) => return Reply::json(StatusCode::OK, &json!({"versions": [version::document(settings, &base)]})),
        (&Method::GET, ["v2.1"]) => return Reply::json(StatusCode::OK, &json!({"version": version::document(settings, &base)})),
        _ => {}
    }
    let request_id = core.cloud.request_id();
    let identified = |reply: Reply| reply.with("x-openstack-request-id", request_id.clone()).with("x-compute-request-id", request_id.clone());
    let version = match version::asked_for(ask, &core.cloud.settings) {
        Ok(version) => version,
        Err(reply) => return identified(reply),
    };
    let Some((admin, project)) = core.tokens.of(ask, core.now).and_then(|token| Some((token.admin, token.project?))) else {
        let uri = format!("Keystone uri=\"{}/identity/v3\"", ask.base());
        return identified(keystone::unauthorized().with("www-authenticate", uri));
    };
    let base = core.cloud.settings.link_prefix.clone().unwrap_or(base);
    let call = Call { ask, version, admin, project, request_id: request_id.clone(), base };
    let reply = route(&mut core.cloud, &call, parts.get(1..).unwrap_or_default()).unwrap_or_else(|refusal| refused(&refusal));
    identified(reply)
        .with("openstack-api-version", format!("compute {version}"))
        .with("x-openstack-nova-api-version", version.to_string())
        .with("vary", "OpenStack-API-Version, X-OpenStack-Nova-API-Version")
}

fn route(cloud: &mut Cloud, call: &Call<'_>, parts: &[&str]) -> Result<Reply, Refusal> {
    match (&call.ask.method, parts) {
        (&Method::GET, ["os-services"]) => services::list(cloud, call),
        (&Method::PUT, ["os-services", id]) => services::change(cloud, call, id),
        (&Method::DELETE, ["os-services", id]) => services::delete(cloud, call, id),
        (&Method::GET, ["os-aggregates"]) => collections::aggregates(cloud, call),
        (&Method::GET, ["os-server-groups"]) => collections::server_groups(cloud, call),
        (&Method::GET, ["servers"]) => servers::list(cloud, call, false),
        (&Method::GET, ["servers", "detail"]) => servers::list(cloud, call, true),
        (&Method::GET, ["servers", id]) => servers::show(cloud, call, server_id(id)?),
        (&Method::DELETE, ["servers", id]) => servers::delete(cloud, call, server_id(id)?),
        (&Method::POST, ["servers", id, "action"]) => actions::act(cloud, call, server_id(id)?),
        (&Method::GET, ["servers", id, "migrations"]) => migrations::of_server(cloud, call, server_id(id)?),
        (&Method::GET, ["servers", id, "migrations", number]) => migrations::show(cloud, call, server_id(id)?, number),
        (&Method::DELETE, ["servers", id, "migrations", number]) => migrations::abort(cloud, call, server_id(id)?, number),
        (&Method::GET, ["servers", id, "os-instance-actions"]) => actions::list(cloud, call, server_id(id)?),
        (&Method::GET, ["servers", id, "os-instance-actions", request]) => actions::show(cloud, call, server_id(id)?, request),
        (&Method::GET, ["os-migrations"]) => migrations::list(cloud, call),
        (&Method::GET, ["os-hypervisors"]) => hypervisors::list(cloud, call, false),
        (&Method::GET, ["os-hypervisors", "detail"]) => hypervisors::list(cloud, call, true),
        _ => Err(Refusal::NotFound("The resource could not be found.".into())),
    }
}

impl Call<'_> {
    fn at_least(&self, minor: u16) -> bool {
        self.version >= Microversion(minor)
    }

    fn need_admin(&self, policy: &str) -> Result<(), Refusal> {
        if self.admin { Ok(()) } else { Err(Refusal::Forbidden(format!("Policy doesn't allow {policy} to be performed."))) }
    }

    /// Refuses query parameters that are not in `known`, as 2.75 and later do.
    fn know_params(&self, known: &[&str]) -> Result<(), Refusal> {
        let unknown = self.ask.query.iter().find(|(name, _)| !known.contains(&name.as_str()));
        match unknown {
            Some((name, _)) if self.at_least(75) => Err(Refusal::BadRequest(format!("Additional properties are not allowed ('{name}' was unexpected)"))),
            _ => Ok(()),
        }
    }

    /// The page that was asked for of `rows` whose names for the marker `name` gives, and the link to the next.
    fn page<T>(&self, rows: Vec<T>, max_limit: usize, path: &str, name: impl Fn(&T) -> String) -> Result<(Vec<T>, Option<String>), Refusal> {
        let limit = match self.ask.param("limit") {
            Some(text) => text
                .parse::<usize>()
                .map_err(|_| Refusal::BadRequest(format!("Invalid input for query parameters limit. Value: {text}. '{text}' does not match '^[0-9]*$'")))?,
            None => max_limit,
        }
        .min(max_limit);
        let begin = match self.ask.param("marker") {
            Some(marker) => match rows.iter().position(|row| name(row) == marker) {
                Some(position) => position + 1,
                None => return Err(Refusal::BadRequest(format!("Marker {marker} could not be found."))),
            },
            None => 0,
        };
        let rows: Vec<T> = rows.into_iter().skip(begin).take(limit).collect();
        // Nova links to a next page whenever this one is full, also when nothing follows.
        let last = rows.last().filter(|_| rows.len() == limit).map(name);
        let link = last.map(|marker| {
            let mut query: Vec<_> = self.ask.query.iter().filter(|(key, _)| key != "marker").collect();
            query.sort();
            let mut text = url::form_urlencoded::Serializer::new(String::new());
            text.extend_pairs(query).append_pair("marker", &marker);
            format!("{}/v2.1/{path}?{}", self.base, text.finish())
        });
        Ok((rows, link))
    }

    fn links(&self, path: &str) -> serde_json::Value {
        json!([{"rel": "self", "href": format!("{}/v2.1/{path}", self.base)}, {"rel": "bookmark", "href": format!("{}/{path}", self.base)}])
    }

    /// The server, when this caller may see it.
    fn visible(&self, cloud: &Cloud, id: Uuid) -> Result<(), Refusal> {
        match cloud.server(id) {
            Some(server) if self.admin || server.project_id == self.project => Ok(()),
            _ => Err(unknown_server(id)),
        }
    }
}

fn server_id(text: &str) -> Result<Uuid, Refusal> {
    text.parse().map_err(|_| Refusal::NotFound(format!("Instance {text} could not be found.")))
}

fn refused(refusal: &Refusal) -> Reply {
    let status = match refusal {
        Refusal::NotFound(_) => StatusCode::NOT_FOUND,
        Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
        Refusal::Conflict(_) => StatusCode::CONFLICT,
        Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
    };
    fault(status, &refusal.to_string())
}

/// Nova's body of an error: the key says the kind.
pub(crate) fn fault(status: StatusCode, sentence: &str) -> Reply {
    let key = match status {
        StatusCode::BAD_REQUEST => "badRequest",
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::NOT_FOUND => "itemNotFound",
        StatusCode::CONFLICT => "conflictingRequest",
        StatusCode::TOO_MANY_REQUESTS => "overLimit",
        StatusCode::SERVICE_UNAVAILABLE => "serviceUnavailable",
        _ => "computeFault",
    };
    let body = json!({key: {"code": status.as_u16(), "message": sentence}});
    Reply { status, headers: vec![("content-type", "application/json; charset=UTF-8".into())], body: body.to_string() }
}

/// A stamp of a row: whole seconds, written with microseconds and without a zone.
fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.000000").to_string()
}

/// A stamp of a server: whole seconds and a `Z`.
fn stamp_z(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The time in a `changes-since`: with a zone, or taken as UTC.
fn parse_since(text: &str) -> Result<Timestamp, Refusal> {
    let utc = |text: &str| text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let parsed = text.parse::<Timestamp>().ok().or_else(|| utc(text).map(|zoned| zoned.timestamp()));
    parsed.ok_or_else(|| Refusal::BadRequest(format!("Invalid input for query parameters changes-since. Value: {text}. '{text}' is not a 'date-time'")))
}

/// Whether a row that last changed at `changed` is in an answer to `since`; rows keep whole seconds only.
fn changed_since(changed: Timestamp, since: Timestamp) -> bool {
    changed.as_second() >= since.as_second()
}
