//! The host gate, fail-closed: the host exists exactly once among Nova's compute services.

use std::collections::BTreeSet;

use super::Verdict;
use crate::inventory::{ComputeService, HostName};

/// So many names are offered where a host was not found.
const SUGGESTIONS: usize = 3;
/// So many changed characters still count as a slip of the pen.
const SLIP: usize = 2;

/// Passes when exactly one compute service has this host's name, compared as Nova does: case counts, and a short name is not the long one.
pub fn host_exists(cloud: &str, host: &HostName, services: &[ComputeService]) -> Verdict {
    let rows: Vec<&ComputeService> = services.iter().filter(|service| service.host == *host).collect();
    match rows.as_slice() {
        [_] => Verdict::Pass,
        [] => Verdict::Refuse { reason: "HostNotFound", message: not_found(cloud, host, services) },
        several => {
            let ids: Vec<&str> = several.iter().map(|service| service.id.0.as_str()).collect();
            Verdict::Refuse {
                reason: "HostAmbiguous",
                message: format!(
                    "OpenStackCloud {cloud} has {} compute services on host {host} ({}); delete the stale ones (openstack compute service delete).",
                    several.len(),
                    ids.join(", ")
                ),
            }
        }
    }
}

fn not_found(cloud: &str, host: &HostName, services: &[ComputeService]) -> String {
    let near = close_names(host, services);
    let hint = if near.is_empty() {
        let total = services.iter().map(|service| &service.host).collect::<BTreeSet<_>>().len();
        format!("none of its {total} hosts has a similar name; see `openstack compute service list`")
    } else {
        format!("similar: {}", near.join(", "))
    };
    format!(
        "OpenStackCloud {cloud} has no compute service on host {host} ({hint}); names are compared exactly, so make a new HostQuarantine with Nova's own name."
    )
}

/// Names that a person may have meant: the same but for case or domain, or a character or two away.
pub(super) fn close_names(host: &HostName, services: &[ComputeService]) -> Vec<String> {
    let wanted = host.as_str().to_lowercase();
    let mut near: BTreeSet<(usize, &str)> = BTreeSet::new();
    for service in services {
        let name = service.host.as_str();
        let folded = name.to_lowercase();
        let distance = if short(&folded) == short(&wanted) { 0 } else { edits(&folded, &wanted) };
        if distance <= SLIP {
            near.insert((distance, name));
        }
    }
    near.into_iter().take(SUGGESTIONS).map(|(_, name)| name.to_owned()).collect()
}

fn short(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// How many characters must be put in, taken out or changed (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        let mut left = i + 1;
        for (y, (diagonal, above)) in b.iter().zip(row.iter().zip(row.iter().skip(1))) {
            left = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::testing::services;
    use super::*;

    fn verdict(host: &str, names: &[&str]) -> Verdict {
        host_exists("production", &HostName::from(host), &services(names))
    }

    #[test]
    fn host_exists_once_passes() {
        assert_eq!(verdict("cmp-1", &["cmp-1", "cmp-2"]), Verdict::Pass);
    }

    #[test]
    fn host_exists_not_at_all_is_refused_with_close_names() {
        for (asked, names, offered) in [
            ("cmp1", vec!["cmp-1", "other"], "similar: cmp-1)"),
            ("CMP-1", vec!["cmp-1", "other"], "similar: cmp-1)"),
            ("cmp-1", vec!["cmp-1.example.org"], "similar: cmp-1.example.org)"),
            ("cmp-10", vec!["cmp-1", "cmp-11", "cmp-12", "cmp-13"], "similar: cmp-1, cmp-11, cmp-12)"),
            ("cmp-1", vec!["storage"], "none of its 1 hosts"),
            ("cmp-1", vec![], "none of its 0 hosts"),
        ] {
            let verdict = verdict(asked, &names);
            assert!(matches!(verdict, Verdict::Refuse { reason: "HostNotFound", .. }), "{asked}");
            let message = verdict.refusal().unwrap();
            assert!(message.contains(offered) && message.contains(asked) && message.contains("production"), "{message}");
        }
    }

    #[test]
    fn host_exists_twice_is_refused_with_the_ids_of_its_services() {
        let verdict = verdict("cmp-1", &["cmp-1", "cmp-2", "cmp-1"]);
        assert!(matches!(&verdict, Verdict::Refuse { reason: "HostAmbiguous", message } if message.contains("service-0, service-2")), "{verdict:?}");
    }

    #[test]
    fn edits_counts_changed_characters() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}
