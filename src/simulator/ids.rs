//! Where the simulator's UUIDs come from: a counter and a seed, so that the same seed and the same requests give the same ids, and two clouds never share one.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// A source of UUIDs.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    seed: Uuid,
    next: u64,
}

impl Ids {
    /// Ids that follow from `seed` alone; without one, ids that nobody had before.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        let seed = seed.map_or_else(Uuid::new_v4, |seed| Uuid::from_u64_pair(0, seed));
        Self { seed, next: 0 }
    }

    /// The next id.
    pub(crate) fn next(&mut self) -> Uuid {
        self.next += 1;
        self.hashed(&self.next.to_be_bytes())
    }

    /// An id that belongs to `name`: the same name gives the same id.
    pub(crate) fn named(&self, name: &str) -> Uuid {
        self.hashed(name.as_bytes())
    }

    fn hashed(&self, bytes: &[u8]) -> Uuid {
        let digest = Sha256::new().chain_update(self.seed.as_bytes()).chain_update(bytes).finalize();
        let mut first = [0; 16];
        first.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        Builder::from_random_bytes(first).into_uuid()
    }
}

/// Nova's `hostId`: 56 hexadecimal digits that stand for a host without naming it.
pub(crate) fn host_id(host: &str) -> String {
    let digest = Sha256::digest(host.as_bytes());
    digest.iter().take(28).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_another_gives_others() {
        let three = |seed| {
            let mut ids = Ids::new(seed);
            [ids.next(), ids.next(), ids.named("cmp-1")]
        };
        assert_eq!(three(Some(7)), three(Some(7)));
        assert_ne!(three(Some(7)), three(Some(8)));
        assert_ne!(three(None), three(None));
    }

    #[test]
    fn a_host_id_has_56_digits() {
        assert_eq!(host_id("cmp-1").len(), 56);
    }
}
