//! One mapping of the file with its place in it, so that every complaint names the key.

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::CloudsYamlError;

/// A mapping inside a cloud's entry.
pub(super) struct Section<'a> {
    cloud: &'a str,
    prefix: &'static str,
    values: &'a Map<String, Value>,
}

impl<'a> Section<'a> {
    pub(super) fn new(cloud: &'a str, prefix: &'static str, value: &'a Value) -> Result<Self, CloudsYamlError> {
        let Value::Object(values) = value else {
            return Err(CloudsYamlError::WrongType { cloud: cloud.to_owned(), key: format!("clouds.{cloud}"), expected: "a mapping with `auth`" });
        };
        Ok(Self { cloud, prefix, values })
    }

    /// The mapping `auth`.
    pub(super) fn section(&self, key: &'static str) -> Result<Self, CloudsYamlError> {
        match self.values.get(key) {
            Some(Value::Object(values)) => Ok(Self { cloud: self.cloud, prefix: key, values }),
            Some(_) => Err(self.wrong_type(key, "a mapping")),
            None => Err(self.missing(key)),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.values.get(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !value.is_null())
    }

    /// The text under a key; nothing when it is absent, null or empty. A number is refused, because YAML has already changed it: `0123` is no longer what was written.
    pub(super) fn text(&self, key: &str) -> Result<Option<String>, CloudsYamlError> {
        match self.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong_type(key, "text: put the value in quotes")),
        }
    }

    pub(super) fn secret(&self, key: &str) -> Result<SecretString, CloudsYamlError> {
        self.text(key)?.map(SecretString::from).ok_or_else(|| self.missing(key))
    }

    /// The keys that are not in `known`.
    pub(super) fn others(&self, known: &'static [&'static str]) -> impl Iterator<Item = &'a str> {
        self.values.keys().map(String::as_str).filter(|key| !known.contains(key))
    }

    pub(super) fn missing(&self, key: &str) -> CloudsYamlError {
        // The old names of projects and the domain scopes are what people have there instead.
        let near = ["tenant_name", "tenant_id", "domain_id", "domain_name", "system_scope", "user_name", "token"];
        let instead = near.iter().filter(|near| self.has(near)).map(|near| self.path(near)).collect();
        CloudsYamlError::Missing { cloud: self.cloud.to_owned(), key: self.path(key), instead }
    }

    pub(super) fn wrong_type(&self, key: &str, expected: &'static str) -> CloudsYamlError {
        CloudsYamlError::WrongType { cloud: self.cloud.to_owned(), key: self.path(key), expected }
    }

    pub(super) fn unsupported(&self, key: &str, remedy: &'static str) -> CloudsYamlError {
        CloudsYamlError::Unsupported { cloud: self.cloud.to_owned(), key: self.path(key), remedy }
    }

    fn path(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }
}
