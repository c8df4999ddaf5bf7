//! The name of the HostQuarantine that a decision makes.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::Place;

/// The longest host part: 63 characters less a hyphen and 8 hex digits. An object's name may be longer, a label's value that repeats it may not.
const HOST_MAX_CHARS: usize = 54;

/// `HOST-xxxxxxxx`: the host made safe for DNS, and 8 hex digits of SHA-256 over what was decided on. The same events give the same name, so that making the object twice, after a crash
/// or by two operators, fails with AlreadyExists instead of taking the host out of service twice.
pub(super) fn quarantine_name(place: &Place, alert_name: &str, series: &str, seq: i64) -> String {
    let mut hash = Sha256::new();
    for part in [place.cloud.as_str(), place.host.as_str(), alert_name, series, &seq.to_string()] {
        hash.update(part.as_bytes());
        // no part can contain it, so no two lists of parts look the same
        hash.update([0]);
    }
    let mut name = dns_safe(place.host.as_str());
    name.push('-');
    for byte in hash.finalize().iter().take(4) {
        // writing into a String cannot fail
        let _ = write!(name, "{byte:02x}");
    }
    name
}

fn dns_safe(host: &str) -> String {
    let safe: String = host.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let short: String = safe.trim_matches('-').chars().take(HOST_MAX_CHARS).collect();
    match short.trim_matches('-') {
        "" => "host".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inventory::HostName;

    fn named(host: &str) -> String {
        quarantine_name(&Place { cloud: "production".into(), host: HostName::from(host) }, "cmp-1-00", "0011223344556677", 5)
    }

    #[test]
    fn a_name_is_the_host_and_eight_hex_digits() {
        let name = named("cmp-1");
        let (host, hash) = name.rsplit_once('-').unwrap();
        assert_eq!((host, hash.len()), ("cmp-1", 8));
        assert!(hash.chars().all(|c| c.is_ascii_hexdigit()));
    }

    #[test]
    fn unsafe_characters_become_hyphens() {
        for (host, expected) in [("Compute_17.example.org", "compute-17-example-org"), ("-x-", "x"), ("größe", "gr--e"), ("日本", "host")] {
            assert_eq!(named(host).rsplit_once('-').unwrap().0, expected);
        }
    }

    #[test]
    fn every_input_changes_the_name() {
        let place = |cloud: &str, host: &str| Place { cloud: cloud.into(), host: HostName::from(host) };
        let names = [
            quarantine_name(&place("a", "h"), "n", "s", 1),
            quarantine_name(&place("b", "h"), "n", "s", 1),
            quarantine_name(&place("a", "H"), "n", "s", 1),
            quarantine_name(&place("a", "h"), "m", "s", 1),
            quarantine_name(&place("a", "h"), "n", "t", 1),
            quarantine_name(&place("a", "h"), "n", "s", 2),
            quarantine_name(&place("a", "h"), "ns", "", 1),
        ];
        let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    proptest! {
        #[test]
        fn every_name_is_a_dns_label(host in any::<String>()) {
            let name = named(&host);
            prop_assert!(name.len() <= 63, "{name}");
            prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            prop_assert!(!name.starts_with('-') && !name.ends_with('-'));
        }
    }
}
