//! A `clouds.yaml`, as people write it for the OpenStack command line, read into what the client needs.
//!
//! The file comes out of a Secret and is untrusted: nothing in it can panic, and no part of it is repeated in an error except key names, the names of clouds and regions,
//! and positions, because a line of this file may be a password.
//!
//! Honoured, in the cloud's entry: `auth_type` (`password`, `v3password`, `v3applicationcredential`), `auth`, `region_name`, `interface` (or `endpoint_type`), `cacert`,
//! `verify`, `api_timeout`, `identity_api_version` (3 only). In `auth`: `auth_url`; for a password `username` or `user_id`, `password`, `project_name` or `project_id`,
//! `user_domain_name`, `user_domain_id`, `project_domain_name`, `project_domain_id`; for an application credential `application_credential_id`, or
//! `application_credential_name` with the user, and `application_credential_secret`. Every other key in these two places is named in [`CloudConfig::notices`]. Keys that would
//! change which cloud is meant and cannot be honoured (`regions` with values, `profile`, `compute_endpoint_override` and its like) are refused.

mod section;

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use section::Section;

/// No real file is longer; a longer one is refused before it is parsed.
const MAX_BYTES: usize = 256 * 1024;
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REQUEST_TIMEOUT_SECONDS: u64 = 300;
/// OpenStack's own default when a file names a user but no domain.
const DEFAULT_DOMAIN_ID: &str = "default";

const CLOUD_KEYS: &[&str] = &["auth_type", "auth", "region_name", "interface", "endpoint_type", "cacert", "verify", "api_timeout", "identity_api_version"];
const PASSWORD_KEYS: &[&str] = &[
    "auth_url",
    "username",
    "user_id",
    "password",
    "project_name",
    "project_id",
    "user_domain_name",
    "user_domain_id",
    "project_domain_name",
    "project_domain_id",
];
const APPLICATION_CREDENTIAL_KEYS: &[&str] = &[
    "auth_url",
    "application_credential_id",
    "application_credential_name",
    "application_credential_secret",
    "username",
    "user_id",
    "user_domain_name",
    "user_domain_id",
];

/// One cloud of the file, checked.
#[derive(Clone, Debug)]
pub struct CloudConfig {
    /// The name under `clouds`.
    pub name: String,
    /// Keystone, always ending in `/v3`.
    pub auth_url: Url,
    /// Who Sidestep is.
    pub credentials: Credentials,
    /// The region; without it the catalog must have exactly one.
    pub region: Option<String>,
    /// Which of the catalog's addresses are used.
    pub interface: Interface,
    /// Which certificates are trusted.
    pub trust: Trust,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// Keys that are near and not honoured, and what that means: one sentence each, for the status.
    pub notices: Vec<String>,
}

/// How Sidestep proves who it is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A user with a password, scoped to a project.
    Password {
        /// The user.
        user: Principal,
        /// The password.
        password: SecretString,
        /// The project of the token's scope.
        project: Principal,
    },
    /// An application credential: it carries its project itself.
    ApplicationCredential {
        /// Its id, or its name and the user that it belongs to.
        credential: ApplicationCredential,
        /// Its secret.
        secret: SecretString,
    },
}

/// A user or a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// By id.
    Id(String),
    /// By name within a domain.
    Named {
        /// The name.
        name: String,
        /// Its domain.
        domain: Domain,
    },
}

/// A Keystone domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domain {
    /// By id.
    Id(String),
    /// By name.
    Name(String),
}

/// Which application credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplicationCredential {
    /// By id.
    Id(String),
    /// By name, unique to its user.
    Named {
        /// The name.
        name: String,
        /// The user.
        user: Principal,
    },
}

/// The catalog has up to three addresses for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// For everybody; the default.
    Public,
    /// Inside the cloud.
    Internal,
    /// For administrators.
    Admin,
}

impl Interface {
    /// The catalog's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }
}

/// Which certificates of servers are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Those that the system trusts.
    System,
    /// Only those of a file, in PEM.
    File(PathBuf),
    /// Only these, in PEM.
    Pem(Vec<u8>),
    /// Anything: `verify: false` in the cloud's entry. There is a notice whenever this is so.
    Anything,
}

/// Why a `clouds.yaml` cannot be used. The text says what to change.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloudsYamlError {
    /// Too long.
    #[error("clouds.yaml has {bytes} bytes; at most {MAX_BYTES} are read")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Not YAML, or not UTF-8.
    #[error("clouds.yaml is not valid YAML{}: correct it there", at(*.line, *.column))]
    NotYaml {
        /// Line of the error, from 1; 0 when unknown.
        line: u64,
        /// Column of the error, from 1.
        column: u64,
    },
    /// No `clouds` at the top.
    #[error("clouds.yaml has no mapping `clouds` at the top: put the cloud's entry under `clouds:`")]
    NoClouds,
    /// The cloud is not in the file.
    #[error("clouds.yaml has no cloud `{name}`; it has {}: set credentials.cloud to one of them", list(.available))]
    UnknownCloud {
        /// The cloud asked for.
        name: String,
        /// Those that exist.
        available: Vec<String>,
    },
    /// A key that is needed is not there.
    #[error("cloud `{cloud}` of clouds.yaml has no `{key}`: add it{}", hint(.instead))]
    Missing {
        /// The cloud.
        cloud: String,
        /// The path of the key.
        key: String,
        /// Keys that stand there and may have been meant; empty when none.
        instead: Vec<String>,
    },
    /// A key has a value of another kind.
    #[error("`{key}` of cloud `{cloud}` in clouds.yaml must be {expected}")]
    WrongType {
        /// The cloud.
        cloud: String,
        /// The path of the key.
        key: String,
        /// What it must be, with the remedy.
        expected: &'static str,
    },
    /// A key or value that Sidestep does not honour and that changes which cloud is meant.
    #[error("`{key}` of cloud `{cloud}` in clouds.yaml is not supported: {remedy}")]
    Unsupported {
        /// The cloud.
        cloud: String,
        /// The path of the key.
        key: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl CloudsYamlError {
    /// One word for a condition's reason or a metric's label.
    #[must_use]
    pub fn category(&self) -> &'static str {
        match self {
            Self::UnknownCloud { .. } => "CloudUnknown",
            _ => "CloudsYamlInvalid",
        }
    }
}

fn at(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!(" (line {line}, column {column})") }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ") }
}

fn hint(instead: &[String]) -> String {
    if instead.is_empty() { String::new() } else { format!(" (not honoured there: {})", list(instead)) }
}

/// Reads the entry `cloud` of a `clouds.yaml`. `ca_pem` is the Secret's own certificate bundle when it has one; it wins over the path in `cacert`, which often exists only on
/// its author's machine.
pub fn parse(bytes: &[u8], cloud: &str, ca_pem: Option<&[u8]>) -> Result<CloudConfig, CloudsYamlError> {
    let clouds = clouds_of(bytes)?;
    let Some(entry) = clouds.get(cloud) else {
        return Err(CloudsYamlError::UnknownCloud { name: cloud.to_owned(), available: clouds.keys().cloned().collect() });
    };
    let entry = Section::new(cloud, "", entry)?;
    refuse_what_changes_the_cloud(&entry)?;
    let auth = entry.section("auth")?;
    let kind = auth_kind(&entry, &auth)?;
    let mut notices = Vec::new();
    let trust = trust(&entry, ca_pem, &mut notices)?;
    let credentials = match kind {
        AuthKind::Password => password(&auth)?,
        AuthKind::ApplicationCredential => application_credential(&auth)?,
    };
    notices.extend(unhonoured(&entry, &auth, kind));
    Ok(CloudConfig {
        name: cloud.to_owned(),
        auth_url: auth_url(&auth)?,
        credentials,
        region: entry.text("region_name")?,
        interface: interface(&entry)?,
        trust,
        request_timeout: request_timeout(&entry)?,
        notices,
    })
}

fn clouds_of(bytes: &[u8]) -> Result<Map<String, Value>, CloudsYamlError> {
    if bytes.len() > MAX_BYTES {
        return Err(CloudsYamlError::TooLong { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, &error))?;
    // The parser's own message quotes the lines around the error, which may hold a password: only the position is taken from it.
    let document: Value = serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |location| (location.line(), location.column()));
        CloudsYamlError::NotYaml { line, column }
    })?;
    match document {
        Value::Object(mut top) => match top.remove("clouds") {
            Some(Value::Object(clouds)) => Ok(clouds),
            _ => Err(CloudsYamlError::NoClouds),
        },
        _ => Err(CloudsYamlError::NoClouds),
    }
}

fn not_utf8(bytes: &[u8], error: &std::str::Utf8Error) -> CloudsYamlError {
    let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
    let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
    CloudsYamlError::NotYaml { line, column }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AuthKind {
    Password,
    ApplicationCredential,
}

fn auth_kind(entry: &Section<'_>, auth: &Section<'_>) -> Result<AuthKind, CloudsYamlError> {
    match entry.text("auth_type")?.as_deref() {
        Some("password" | "v3password") => Ok(AuthKind::Password),
        Some("v3applicationcredential") => Ok(AuthKind::ApplicationCredential),
        Some(_) => Err(entry.unsupported("auth_type", "use `password` or `v3applicationcredential`")),
        None if auth.has("application_credential_secret") => Ok(AuthKind::ApplicationCredential),
        None => Ok(AuthKind::Password),
    }
}

fn refuse_what_changes_the_cloud(entry: &Section<'_>) -> Result<(), CloudsYamlError> {
    if entry.get("regions").is_some_and(has_values) {
        return Err(
            entry.unsupported("regions", "settings per region are not read; write `region_name` and the settings of that region into the cloud's entry")
        );
    }
    for key in ["profile", "vendor"] {
        if entry.has(key) {
            return Err(entry.unsupported(key, "vendor profiles are not read; write `auth_url` and the other settings into the cloud's entry"));
        }
    }
    if let Some(key) = entry.others(CLOUD_KEYS).find(|key| key.ends_with("_endpoint_override") && entry.has(key)) {
        return Err(entry.unsupported(key, "addresses are taken from Keystone's catalog alone; correct the catalog, or choose another `interface`"));
    }
    match entry.get("identity_api_version") {
        None => Ok(()),
        Some(Value::Number(version)) if version.as_f64() == Some(3.0) => Ok(()),
        Some(Value::String(version)) if version == "3" || version == "3.0" || version == "v3" => Ok(()),
        Some(_) => Err(entry.unsupported("identity_api_version", "only Keystone v3 is spoken; write 3 or leave it out")),
    }
}

/// A list of bare names only says which regions exist; anything else in it carries settings.
fn has_values(regions: &Value) -> bool {
    match regions {
        Value::Array(items) => items.iter().any(|item| !item.is_string()),
        Value::Null => false,
        _ => true,
    }
}

fn password(auth: &Section<'_>) -> Result<Credentials, CloudsYamlError> {
    let user = principal(auth, "user_id", "username", "user_domain_id", "user_domain_name")?;
    let project = principal(auth, "project_id", "project_name", "project_domain_id", "project_domain_name")?;
    Ok(Credentials::Password { user, password: auth.secret("password")?, project })
}

fn application_credential(auth: &Section<'_>) -> Result<Credentials, CloudsYamlError> {
    let credential = match (auth.text("application_credential_id")?, auth.text("application_credential_name")?) {
        (Some(id), _) => ApplicationCredential::Id(id),
        (None, Some(name)) => ApplicationCredential::Named { name, user: principal(auth, "user_id", "username", "user_domain_id", "user_domain_name")? },
        (None, None) => return Err(auth.missing("application_credential_id")),
    };
    Ok(Credentials::ApplicationCredential { credential, secret: auth.secret("application_credential_secret")? })
}

fn principal(auth: &Section<'_>, id: &str, name: &str, domain_id: &str, domain_name: &str) -> Result<Principal, CloudsYamlError> {
    if let Some(id) = auth.text(id)? {
        return Ok(Principal::Id(id));
    }
    let Some(name) = auth.text(name)? else { return Err(auth.missing(name)) };
    let domain = match (auth.text(domain_id)?, auth.text(domain_name)?) {
        (Some(id), _) => Domain::Id(id),
        (None, Some(name)) => Domain::Name(name),
        (None, None) => Domain::Id(DEFAULT_DOMAIN_ID.to_owned()),
    };
    Ok(Principal::Named { name, domain })
}

fn auth_url(auth: &Section<'_>) -> Result<Url, CloudsYamlError> {
    let text = auth.text("auth_url")?.ok_or_else(|| auth.missing("auth_url"))?;
    let wrong = || auth.wrong_type("auth_url", "an http or https address without user name, password or query, such as https://keystone.example:5000/v3");
    let mut url = Url::parse(text.trim()).map_err(|_| wrong())?;
    let plain = matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() && url.password().is_none();
    if !plain || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if path.ends_with("/v2.0") {
        return Err(auth.unsupported("auth_url", "only Keystone v3 is spoken; let it end in /v3"));
    }
    url.set_path(&if path.ends_with("/v3") { path } else { format!("{path}/v3") });
    Ok(url)
}

fn interface(entry: &Section<'_>) -> Result<Interface, CloudsYamlError> {
    let key = if entry.has("interface") { "interface" } else { "endpoint_type" };
    match entry.text(key)?.as_deref().map(|word| word.strip_suffix("URL").unwrap_or(word)) {
        None | Some("public") => Ok(Interface::Public),
        Some("internal") => Ok(Interface::Internal),
        Some("admin") => Ok(Interface::Admin),
        Some(_) => Err(entry.wrong_type(key, "`public`, `internal` or `admin`")),
    }
}

fn trust(entry: &Section<'_>, ca_pem: Option<&[u8]>, notices: &mut Vec<String>) -> Result<Trust, CloudsYamlError> {
    let path = entry.text("cacert")?;
    match entry.get("verify") {
        None | Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => {
            notices.push(
                "`verify: false` is set: the certificates of this cloud are not checked, so its credentials can be read on the way; use `cacert` instead"
                    .to_owned(),
            );
            return Ok(Trust::Anything);
        }
        Some(_) => return Err(entry.wrong_type("verify", "true or false; the path of a certificate bundle goes into `cacert`")),
    }
    Ok(match (ca_pem, path) {
        (Some(pem), _) => Trust::Pem(pem.to_vec()),
        (None, Some(path)) => Trust::File(PathBuf::from(path)),
        (None, None) => Trust::System,
    })
}

fn request_timeout(entry: &Section<'_>) -> Result<Duration, CloudsYamlError> {
    match entry.get("api_timeout") {
        None | Some(Value::Null) => Ok(DEFAULT_REQUEST_TIMEOUT),
        Some(value) => match value.as_u64() {
            Some(seconds) if (1..=MAX_REQUEST_TIMEOUT_SECONDS).contains(&seconds) => Ok(Duration::from_secs(seconds)),
            _ => Err(entry.wrong_type("api_timeout", "a whole number of seconds from 1 to 300")),
        },
    }
}

/// One sentence for every key that stands near and is not honoured.
fn unhonoured(entry: &Section<'_>, auth: &Section<'_>, kind: AuthKind) -> Vec<String> {
    let auth_keys = match kind {
        AuthKind::Password => PASSWORD_KEYS,
        AuthKind::ApplicationCredential => APPLICATION_CREDENTIAL_KEYS,
    };
    let mut notices: Vec<String> = entry.others(CLOUD_KEYS).map(|key| format!("`{key}` is not honoured")).collect();
    for key in auth.others(auth_keys) {
        notices.push(match key {
            "verify" | "insecure" => {
                format!("`auth.{key}` is not honoured: certificates are checked; a private authority's certificate goes into `cacert` of the cloud's entry")
            }
            "cacert" => "`auth.cacert` is not honoured: it belongs into the cloud's entry, beside `auth`".to_owned(),
            _ if kind == AuthKind::ApplicationCredential && key.starts_with("project") => {
                format!("`auth.{key}` is not honoured: an application credential carries its own project")
            }
            _ => format!("`auth.{key}` is not honoured"),
        });
    }
    notices
}

#[cfg(test)]
mod tests;
