//! Where a live migration goes: what Placement would let through, in the order of Nova's weigher.
//!
//! Two different looks at a host, as in Nova: whether a server fits is asked of Placement, where running moves already hold their destination; which host is the emptiest is
//! asked of the compute hosts, which do not know of servers that have not arrived. So several moves at once go to the same host as long as it fits.

use super::model::{Host, Size};

/// A host as the scheduler sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// The host.
    pub(crate) host: &'a Host,
    /// What Placement has given away, moves included.
    pub(crate) allocated: Size,
    /// What it has to give.
    pub(crate) capacity: Size,
    /// The rule of the server's group lets it go there.
    pub(crate) fits_group: bool,
    /// Memory of the servers that are there, MiB.
    pub(crate) resident_mb: u64,
}

/// The hosts that may receive a server of `size`, best first. `source` never does; with `wanted` only that host may.
pub(crate) fn rank<'a>(candidates: Vec<Candidate<'a>>, size: Size, source: &str, wanted: Option<&str>) -> Vec<&'a str> {
    let mut fitting: Vec<Candidate<'_>> = candidates
        .into_iter()
        .filter(|candidate| {
            let Host { name, enabled, .. } = candidate.host;
            name != source
                && *enabled
                && candidate.host.is_up()
                && wanted.is_none_or(|wanted| wanted == name)
                && candidate.fits_group
                && candidate.allocated.leaves_room_for(size, candidate.capacity)
        })
        .collect();
    fitting.sort_by(|one, other| (one.resident_mb, &one.host.name).cmp(&(other.resident_mb, &other.host.name)));
    fitting.into_iter().map(|candidate| candidate.host.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use uuid::Uuid;

    use super::*;

    const SIZE: Size = Size { ram_mb: 512, vcpus: 1, disk_gb: 1 };
    const CAPACITY: Size = Size { ram_mb: 1024, vcpus: 8, disk_gb: 10 };

    fn host(name: &str) -> Host {
        Host {
            name: name.into(),
            service_id: Uuid::nil(),
            service_number: 1,
            provider_id: Uuid::nil(),
            disabled_reason: None,
            enabled: true,
            up: true,
            forced_down: false,
            registered: true,
            changed_at: Timestamp::UNIX_EPOCH,
            generation: 0,
        }
    }

    fn ranked<'a>(hosts: &'a [Host], allocated: &[u64], resident: &[u64], wanted: Option<&str>) -> Vec<&'a str> {
        let candidates = hosts.iter().zip(allocated).zip(resident);
        let candidate = |((host, &ram_mb), &resident_mb)| {
            let allocated = Size { ram_mb, ..Size::default() };
            Candidate { host, allocated, capacity: CAPACITY, fits_group: true, resident_mb }
        };
        rank(candidates.map(candidate).collect(), SIZE, "a", wanted)
    }

    #[test]
    fn the_emptiest_other_host_comes_first_and_a_full_one_not_at_all() {
        let hosts = ["a", "b", "c", "d"].map(host);
        assert_eq!(ranked(&hosts, &[0, 512, 0, 1024], &[0, 512, 0, 0], None), ["c", "b"]);
    }

    #[test]
    fn disabled_down_and_forced_down_hosts_receive_nothing() {
        let mut hosts = ["a", "b", "c", "d"].map(host);
        hosts[1].enabled = false;
        hosts[2].up = false;
        hosts[3].forced_down = true;
        assert!(ranked(&hosts, &[0; 4], &[0; 4], None).is_empty());
        assert!(ranked(&hosts, &[0; 4], &[0; 4], Some("b")).is_empty());
    }

    #[test]
    fn a_wanted_host_is_the_only_one_and_the_source_is_none() {
        let hosts = ["a", "b", "c"].map(host);
        assert_eq!(ranked(&hosts, &[0; 3], &[0; 3], Some("c")), ["c"]);
        assert!(ranked(&hosts, &[0; 3], &[0; 3], Some("a")).is_empty());
    }
}
