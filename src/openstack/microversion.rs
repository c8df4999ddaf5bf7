//! Microversions: Nova and Placement change their answers by a number that each request names.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// `2.84`: the minor part is a number, not a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Microversion {
    major: u16,
    minor: u16,
}

impl Microversion {
    /// A microversion of these two parts.
    #[must_use]
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is not `NUMBER.NUMBER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMicroversion;

impl FromStr for Microversion {
    type Err = NotAMicroversion;

    fn from_str(text: &str) -> Result<Self, NotAMicroversion> {
        let (major, minor) = text.split_once('.').ok_or(NotAMicroversion)?;
        let part = |part: &str| part.parse().map_err(|_| NotAMicroversion);
        Ok(Self { major: part(major)?, minor: part(minor)? })
    }
}

/// What Sidestep needs of one service, and what it speaks at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    /// The oldest that has every field that is read.
    pub(super) oldest: Microversion,
    /// The newest that was tried: a newer one may change an answer.
    pub(super) newest: Microversion,
}

/// Nova. 2.84 puts the reason of a failure into the instance action. 2.96 is what every Nova since 2024.1 offers and nothing later is read here: one number for nearly all clouds means
/// that what is tested is what runs.
pub(super) const NOVA: Range = Range { oldest: Microversion::new(2, 84), newest: Microversion::new(2, 96) };

/// Placement. 1.36 is what came with the first Nova that has 2.84; no later one changes what is read.
pub(super) const PLACEMENT: Range = Range { oldest: Microversion::new(1, 36), newest: Microversion::new(1, 36) };

impl Range {
    /// The microversion to speak to a service that offers up to `offered`; none when it is too old.
    pub(super) fn choose(self, offered: Microversion) -> Option<Microversion> {
        (offered >= self.oldest).then(|| offered.min(self.newest))
    }
}

/// The newest microversion in a version document: Nova's root of an API version has one `version`, Placement's root has a list `versions`.
pub(super) fn offered(document: &Value) -> Option<Microversion> {
    if let Some(version) = document.get("version") {
        return newest_of(version);
    }
    document.get("versions")?.as_array()?.iter().filter_map(newest_of).max()
}

fn newest_of(version: &Value) -> Option<Microversion> {
    ["max_version", "version"].iter().filter_map(|key| version.get(*key)?.as_str()).find_map(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn minor_parts_compare_as_numbers() {
        assert!(Microversion::new(2, 104) > Microversion::new(2, 96));
        assert_eq!("2.104".parse(), Ok(Microversion::new(2, 104)));
        assert!("2".parse::<Microversion>().is_err());
        assert!("2.x".parse::<Microversion>().is_err());
    }

    #[test]
    fn the_newest_that_both_sides_know_is_spoken() {
        assert_eq!(NOVA.choose(Microversion::new(2, 104)), Some(Microversion::new(2, 96)));
        assert_eq!(NOVA.choose(Microversion::new(2, 90)), Some(Microversion::new(2, 90)));
        assert_eq!(NOVA.choose(Microversion::new(2, 83)), None);
    }

    #[test]
    fn both_kinds_of_version_document_are_read() {
        assert_eq!(offered(&json!({"version": {"id": "v2.1", "version": "2.104", "min_version": "2.1"}})), Some(Microversion::new(2, 104)));
        assert_eq!(offered(&json!({"versions": [{"id": "v1.0", "max_version": "1.39", "min_version": "1.0"}]})), Some(Microversion::new(1, 39)));
        assert_eq!(offered(&json!({"versions": []})), None);
        assert_eq!(offered(&json!([])), None);
    }
}
