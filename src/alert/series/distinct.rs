//! About how many different far ends a slot has seen, in 256 bytes however many they are: HyperLogLog (Flajolet and others, 2007), with counting of empty registers while few are filled.
//!
//! Its standard error is 6.5 %. Adding the same again changes nothing, so records that are read again after a restart do no harm.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const REGISTERS: usize = 256;
const REGISTERS_F: f64 = 256.0;

/// A set of addresses of which only the size is known, about.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Distinct(Vec<u8>);

impl Default for Distinct {
    fn default() -> Self {
        Self(vec![0; REGISTERS])
    }
}

impl Distinct {
    /// Adds one.
    pub(super) fn add(&mut self, address: Option<IpAddr>) {
        let digest = match address {
            Some(IpAddr::V4(ip)) => Sha256::digest(ip.octets()),
            Some(IpAddr::V6(ip)) => Sha256::digest(ip.octets()),
            None => Sha256::digest([]),
        };
        let Some((hash, _)) = digest.split_first_chunk::<8>() else { return };
        let hash = u64::from_be_bytes(*hash);
        // The first byte chooses the register; it keeps the longest run of zeros seen behind it.
        let run = (hash << 8).leading_zeros().min(56) + 1;
        let register = usize::try_from(hash >> 56).ok().and_then(|index| self.0.get_mut(index));
        if let (Some(register), Ok(run)) = (register, u8::try_from(run)) {
            *register = run.max(*register);
        }
    }

    /// How many were added, about; at least 1.
    pub(super) fn estimate(&self) -> i64 {
        let empty = self.0.iter().filter(|run| **run == 0).count();
        let sum: f64 = self.0.iter().map(|run| 2_f64.powi(-i32::from(*run))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / REGISTERS_F) * REGISTERS_F * REGISTERS_F / sum;
        let estimate = if empty > 0 && raw <= 2.5 * REGISTERS_F {
            let empty = u32::try_from(empty).map_or(1.0, f64::from);
            REGISTERS_F * (REGISTERS_F / empty).ln()
        } else {
            raw
        };
        #[expect(clippy::cast_possible_truncation, reason = "it is far below the bound, and a float that is not becomes the bound")]
        let rounded = estimate.round() as i64;
        rounded.max(1)
    }
}

impl fmt::Debug for Distinct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "about {}", self.estimate())
    }
}

impl From<Distinct> for String {
    fn from(distinct: Distinct) -> Self {
        distinct.0.iter().map(|run| format!("{run:02x}")).collect()
    }
}

impl TryFrom<String> for Distinct {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Distinct {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()));
        let registers: Option<Vec<u8>> = pairs.collect();
        registers.filter(|registers| registers.len() == REGISTERS).map(Self).ok_or_else(|| format!("These are no {REGISTERS} registers of two hex digits each"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: u32) -> Distinct {
        let mut distinct = Distinct::default();
        for number in 0..count {
            distinct.add(Some(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()));
        }
        distinct
    }

    #[test]
    fn a_handful_is_counted_and_many_are_estimated() {
        for count in [1, 2, 3, 10, 100, 1000, 10_000, 100_000] {
            let (estimate, count) = (of(count).estimate(), i64::from(count));
            assert!((estimate - count).abs() * 8 <= count, "{estimate} for {count}");
        }
    }

    #[test]
    fn the_same_again_changes_nothing_and_text_keeps_it() {
        let mut distinct = of(500);
        distinct.add(Some(std::net::Ipv4Addr::from_bits(0x0a00_0000).into()));
        assert_eq!(distinct, of(500));
        assert_eq!(String::from(distinct.clone()).parse(), Ok(distinct));
        assert!("00".parse::<Distinct>().is_err());
    }
}
