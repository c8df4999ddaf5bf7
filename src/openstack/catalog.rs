//! Keystone's catalog: which address of a service is meant by an interface and a region.

use std::collections::BTreeSet;

use serde::Deserialize;
use url::Url;

use super::clouds_yaml::Interface;
use super::error::ConnectError;

/// The catalog of a token.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Catalog {
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    interface: String,
    #[serde(default)]
    region_id: Option<String>,
    /// The old name of the same; a catalog has either or both.
    #[serde(default)]
    region: Option<String>,
    url: String,
}

impl Endpoint {
    fn region(&self) -> Option<&str> {
        self.region_id.as_deref().or(self.region.as_deref())
    }
}

impl Catalog {
    /// The region to use: the one asked for if it exists, or the only one. Several and none asked for is an error that names them, never the first.
    pub(super) fn region(&self, cloud: &str, asked: Option<&str>) -> Result<String, ConnectError> {
        let regions: BTreeSet<&str> = self.of("compute").filter_map(Endpoint::region).collect();
        let named = || regions.iter().map(|&region| region.to_owned()).collect();
        match (asked, regions.len()) {
            (Some(region), _) if regions.contains(region) => Ok(region.to_owned()),
            (Some(region), _) => Err(ConnectError::RegionUnknown { cloud: cloud.to_owned(), region: region.to_owned(), regions: named() }),
            (None, 0 | 1) => Ok(regions.first().copied().unwrap_or_default().to_owned()),
            (None, _) => Err(ConnectError::RegionAmbiguous { cloud: cloud.to_owned(), regions: named() }),
        }
    }

    /// The address of a service in a region.
    pub(super) fn endpoint(&self, cloud: &str, service: &'static str, interface: Interface, region: &str) -> Result<Url, ConnectError> {
        self.of(service)
            .filter(|endpoint| endpoint.interface == interface.as_str() && endpoint.region().unwrap_or_default() == region)
            .find_map(|endpoint| usable(&endpoint.url))
            .ok_or_else(|| ConnectError::EndpointMissing { cloud: cloud.to_owned(), service, interface, region: region.to_owned() })
    }

    fn of(&self, service: &str) -> impl Iterator<Item = &Endpoint> {
        self.services.iter().filter(move |entry| entry.kind == service).flat_map(|entry| &entry.endpoints)
    }
}

fn usable(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// Nova's address up to and with `/v2.1`: what catalogs have is with or without the version, some with the project behind it, which Nova has not needed since 2.1.
pub(super) fn nova_base(endpoint: &Url) -> Url {
    let kept: Vec<String> = endpoint
        .path_segments()
        .into_iter()
        .flatten()
        .take_while(|segment| !matches!(*segment, "v2" | "v2.1"))
        .filter(|segment| !segment.is_empty())
        .map(str::to_owned)
        .collect();
    let mut base = endpoint.clone();
    base.set_path(&if kept.is_empty() { "/v2.1".to_owned() } else { format!("/{}/v2.1", kept.join("/")) });
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(endpoints: &str) -> Catalog {
        serde_json::from_str(&format!(r#"[{{"type": "identity", "name": "keystone"}}, {{"type": "compute", "endpoints": {endpoints}}}]"#)).unwrap()
    }

    fn two_regions() -> Catalog {
        catalog(
            r#"[{"interface": "public", "region": "west", "region_id": "west", "url": "http://w"}, {"interface": "public", "region_id": "east", "url": "http://e"},
               {"interface": "internal", "region_id": "east", "url": "http://e.internal"}]"#,
        )
    }

    #[test]
    fn several_regions_and_none_chosen_is_ambiguous_and_names_both() {
        let error = two_regions().region("c", None).unwrap_err();
        assert_eq!(error.category(), "RegionAmbiguous");
        assert_eq!(error.to_string(), "cloud `c` has several regions, `east`, `west`: set `region_name` in clouds.yaml to one of them");
    }

    #[test]
    fn an_unknown_region_is_named_with_those_that_exist() {
        let error = two_regions().region("c", Some("West")).unwrap_err();
        assert_eq!(error.to_string(), "cloud `c` has no region `West`; it has `east`, `west`: correct `region_name` in clouds.yaml");
    }

    #[test]
    fn the_only_region_needs_no_name() {
        let catalog = catalog(r#"[{"interface": "public", "region_id": "one", "url": "http://a"}]"#);
        assert_eq!(catalog.region("c", None).unwrap(), "one");
    }

    #[test]
    fn interface_and_region_choose_the_address() {
        assert_eq!(two_regions().endpoint("c", "compute", Interface::Internal, "east").unwrap().as_str(), "http://e.internal/");
        assert_eq!(two_regions().endpoint("c", "compute", Interface::Admin, "east").unwrap_err().category(), "EndpointMissing");
        assert_eq!(two_regions().endpoint("c", "placement", Interface::Public, "east").unwrap_err().category(), "EndpointMissing");
    }

    #[test]
    fn novas_address_ends_at_its_version() {
        for (given, want) in [
            ("http://h:8774/v2.1", "http://h:8774/v2.1"),
            ("https://h/compute/v2.1/0123abc", "https://h/compute/v2.1"),
            ("https://h/compute/", "https://h/compute/v2.1"),
            ("https://h", "https://h/v2.1"),
            ("https://h/v2/0123abc", "https://h/v2.1"),
        ] {
            assert_eq!(nova_base(&Url::parse(given).unwrap()).as_str(), want);
        }
    }
}
