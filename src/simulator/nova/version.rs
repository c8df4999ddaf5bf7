//! Microversions of the compute API: what a client may ask for, and how it asks.

use std::fmt;
use std::str::FromStr;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::settings::Settings;
use super::super::wire::{Ask, Reply};
use super::fault;

/// A microversion `2.N` of the compute API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Microversion(pub u16);

impl Microversion {
    /// What a request without a version gets: 2.1.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2.{}", self.0)
    }
}

impl From<Microversion> for String {
    fn from(version: Microversion) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for Microversion {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Microversion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let minor = text.strip_prefix("2.").and_then(|minor| minor.parse().ok());
        minor.map(Self).ok_or_else(|| format!("{text:?} is no microversion of the compute API: write it like \"2.90\""))
    }
}

/// The version that a request asks for, or the refusal of it.
pub(crate) fn asked_for(ask: &Ask, settings: &Settings) -> Result<Microversion, Reply> {
    let new = ask.header("openstack-api-version").and_then(|text| text.split(',').find_map(|one| one.trim().strip_prefix("compute ")));
    let Some(text) = new.or_else(|| ask.header("x-openstack-nova-api-version")).map(str::trim) else {
        return Ok(Microversion::FIRST);
    };
    if text == "latest" {
        return Ok(settings.max_microversion);
    }
    let Ok(version) = text.parse::<Microversion>() else {
        let sentence = format!("API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum.");
        return Err(fault(StatusCode::BAD_REQUEST, &sentence));
    };
    let Settings { min_microversion: min, max_microversion: max, .. } = settings;
    if (*min..=*max).contains(&version) {
        return Ok(version);
    }
    let sentence = format!("Version {version} is not supported by the API. Minimum is {min} and maximum is {max}.");
    Err(fault(StatusCode::NOT_ACCEPTABLE, &sentence))
}

/// The document about `/v2.1`.
pub(crate) fn document(settings: &Settings, base: &str) -> Value {
    json!({
        "id": "v2.1",
        "status": "CURRENT",
        "version": settings.max_microversion.to_string(),
        "min_version": settings.min_microversion.to_string(),
        "updated": "2013-07-23T11:33:21Z",
        "links": [
            {"rel": "self", "href": format!("{base}/v2.1/")},
            {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"},
        ],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microversions_compare_as_numbers() {
        assert!("2.104".parse::<Microversion>().unwrap() > "2.90".parse().unwrap());
        assert!("3.1".parse::<Microversion>().is_err());
        assert_eq!(Microversion(90).to_string(), "2.90");
    }
}
