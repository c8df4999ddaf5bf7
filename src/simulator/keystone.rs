//! Keystone v3: tokens for a password or an application credential, the catalog, the version documents.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::core::Core;
use super::wire::{Ask, Reply};

/// A token that was given out.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) expires: Timestamp,
    /// Of the project that it is scoped to.
    pub(crate) project: Option<Uuid>,
    pub(crate) admin: bool,
}

/// The tokens that are good, by their text.
#[derive(Debug, Default)]
pub(crate) struct Tokens(BTreeMap<String, Token>);

impl Tokens {
    /// The token that a request carries, when it is known and has not expired.
    pub(crate) fn of(&self, ask: &Ask, now: Timestamp) -> Option<&Token> {
        self.0.get(ask.header("x-auth-token")?).filter(|token| token.expires > now)
    }

    /// Makes every token unknown, as a rotation of Keystone's keys does.
    pub(crate) fn revoke_all(&mut self) {
        self.0.clear();
    }
}

/// Id and name of the application credential of the user `admin`; its secret is the password.
pub(crate) const APPLICATION_CREDENTIAL: &str = "sidestep";

/// Answers a request to `/identity`.
pub(crate) fn answer(core: &mut Core, ask: &Ask) -> Reply {
    let base = ask.base();
    match (&ask.method, ask.rest().as_slice()) {
        (&Method::GET, []) => Reply::json(StatusCode::MULTIPLE_CHOICES, &json!({"versions": {"values": [version(&base)]}})),
        (&Method::GET, ["v3"]) => Reply::json(StatusCode::OK, &json!({"version": version(&base)})),
        (&Method::POST, ["v3", "auth", "tokens"]) => authenticate(core, ask),
        _ => error(StatusCode::NOT_FOUND, "Not Found", &format!("The resource could not be found: {}", ask.path)),
    }
}

fn version(base: &str) -> Value {
    json!({
        "id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": format!("{base}/identity/v3/")}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    })
}

/// A user, and the project that was asked for.
struct Login {
    user: &'static str,
    method: &'static str,
    project: Option<&'static str>,
}

fn authenticate(core: &mut Core, ask: &Ask) -> Reply {
    let Ok(body) = ask.json() else {
        return error(StatusCode::BAD_REQUEST, "Bad Request", "Expecting to find valid JSON in the request body.");
    };
    if body.pointer("/auth/identity/methods").is_none() {
        return error(StatusCode::BAD_REQUEST, "Bad Request", "Invalid input for field 'auth/identity': 'methods' is a required property");
    }
    match login(core, &body) {
        Some(login) => give_token(core, ask, &login),
        None => unauthorized(),
    }
}

fn login(core: &Core, body: &Value) -> Option<Login> {
    let text = |path: &str| body.pointer(path).and_then(Value::as_str);
    let owners = core.cloud.owners;
    let named = |name: Option<&str>, id: Option<&str>, admin: Uuid, demo: Uuid| match (name, id) {
        (Some("admin"), _) => Some("admin"),
        (Some("demo"), _) => Some("demo"),
        (None, Some(id)) if id == admin.simple().to_string() => Some("admin"),
        (None, Some(id)) if id == demo.simple().to_string() => Some("demo"),
        _ => None,
    };
    let password = core.cloud.settings.password.as_str();
    let methods = body.pointer("/auth/identity/methods").and_then(Value::as_array)?;
    if methods.iter().any(|method| method == "application_credential") {
        let id = text("/auth/identity/application_credential/id").or_else(|| text("/auth/identity/application_credential/name"))?;
        let good = id == APPLICATION_CREDENTIAL && text("/auth/identity/application_credential/secret")? == password;
        // An application credential belongs to one project: asking for a scope as well is an error of Keystone's, too.
        return (good && body.pointer("/auth/scope").is_none()).then_some(Login { user: "admin", method: "application_credential", project: Some("admin") });
    }
    let user = "/auth/identity/password/user";
    let name = named(text(&format!("{user}/name")), text(&format!("{user}/id")), owners.admin_user, owners.demo_user)?;
    if text(&format!("{user}/password"))? != password {
        return None;
    }
    let project = match body.pointer("/auth/scope") {
        Some(_) => {
            let (project, id) = (text("/auth/scope/project/name"), text("/auth/scope/project/id"));
            Some(named(project, id, owners.admin_project, owners.demo_project).filter(|project| *project == name)?)
        }
        None => None,
    };
    Some(Login { user: name, method: "password", project })
}

fn give_token(core: &mut Core, ask: &Ask, login: &Login) -> Reply {
    let owners = core.cloud.owners;
    let admin = login.user == "admin";
    let (user_id, project_id) = if admin { (owners.admin_user, owners.admin_project) } else { (owners.demo_user, owners.demo_project) };
    let lifetime = SignedDuration::from_secs(i64::try_from(core.cloud.settings.token_lifetime_seconds).unwrap_or(i64::MAX));
    let expires = core.now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
    let text = format!("gAAAAAB{}{}", core.cloud.new_id().simple(), core.cloud.new_id().simple());
    let domain = json!({"id": "default", "name": "Default"});
    let mut token = json!({
        "methods": [login.method],
        "user": {"domain": domain, "id": user_id.simple().to_string(), "name": login.user, "password_expires_at": null},
        "audit_ids": [core.cloud.new_id().simple().to_string()],
        "expires_at": stamp(expires),
        "issued_at": stamp(core.now),
    });
    if let (Some(project), Some(token)) = (login.project, token.as_object_mut()) {
        let roles: &[&str] = if admin { &["admin", "manager", "member", "reader"] } else { &["member", "reader"] };
        let roles: Vec<Value> = roles.iter().map(|role| json!({"id": core.cloud.new_id().simple().to_string(), "name": role})).collect();
        token.insert("project".into(), json!({"domain": domain, "id": project_id.simple().to_string(), "name": project}));
        token.insert("is_domain".into(), json!(false));
        token.insert("roles".into(), json!(roles));
        let public = core.cloud.settings.public_url.as_ref().map(|url| url.trim_end_matches('/').to_owned());
        let catalog = catalog(core, &public.unwrap_or_else(|| ask.base()));
        token.insert("catalog".into(), catalog);
    }
    let project = login.project.map(|_| project_id);
    core.tokens.0.retain(|_, token| token.expires > core.now);
    core.tokens.0.insert(text.clone(), Token { expires, project, admin });
    Reply::json(StatusCode::CREATED, &json!({"token": token})).with("x-subject-token", text).with("vary", "X-Auth-Token")
}

fn catalog(core: &mut Core, base: &str) -> Value {
    let regions = core.cloud.settings.regions.clone();
    let services = [("compute", "nova", "/compute/v2.1"), ("placement", "placement", "/placement"), ("identity", "keystone", "/identity")];
    let mut id = || core.cloud.new_id().simple().to_string();
    let mut entries = Vec::new();
    for (kind, name, path) in services {
        let mut endpoints = Vec::new();
        for region in &regions {
            for interface in ["public", "internal", "admin"] {
                endpoints.push(json!({
                    "id": id(), "interface": interface, "region_id": region, "region": region, "url": format!("{base}{path}"),
                }));
            }
        }
        entries.push(json!({"id": id(), "type": kind, "name": name, "endpoints": endpoints}));
    }
    json!(entries)
}

/// Keystone's stamps: microseconds and a `Z`.
fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string()
}

/// What Keystone says of a wrong password, and every service of a token that it does not know.
pub(crate) fn unauthorized() -> Reply {
    error(StatusCode::UNAUTHORIZED, "Unauthorized", "The request you have made requires authentication.")
}

fn error(status: StatusCode, title: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"code": status.as_u16(), "title": title, "message": message}})).with("vary", "X-Auth-Token")
}
