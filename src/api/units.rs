//! Values that several kinds share: durations as people write them, severities, modes, clocks, witnesses.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use kube::core::duration::ParseError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};

/// A length of time as people write it in YAML: `90s`, `1h30m`, `500ms`. Never negative; at most 7 digits before each unit.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Period(kube::core::Duration);

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Kubernetes' own way to write nothing is `0ns`, a unit that people do not write and the schema does not take.
        if self.get().is_zero() { serializer.serialize_str("0s") } else { self.0.serialize(serializer) }
    }
}

impl Period {
    /// So many seconds.
    #[must_use]
    pub fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds).into())
    }

    /// As the standard library's duration.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0.into()
    }
}

impl FromStr for Period {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The length bound keeps the CEL rules that compare durations under their cost limit. The bound on digits keeps the sum within what can be read: a number that is too
        // large would panic in kube's parser.
        json_schema!({"type": "string", "maxLength": 32, "pattern": "^([0-9]{1,7}(ms|s|m|h))+$"})
    }
}

/// A [`Period`] that may be left empty: `""` is the same as nothing.
pub mod optional_period {
    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize as _, Deserializer, de};

    use super::Period;

    /// Reads nothing, `""` or a length of time.
    ///
    /// # Errors
    /// The text is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Period>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
        text.map(|text| text.parse().map_err(|error| de::Error::custom(format!("{text:?} is no length of time such as 90s or 1h30m: {error}")))).transpose()
    }

    /// As [`Period`]'s, or empty.
    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 32, "pattern": "^([0-9]{1,7}(ms|s|m|h))*$"})
    }
}

/// How bad the sensor says an alert is, on one scale for all engines. `Unknown` satisfies no `minSeverity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// The sensor said nothing, or nothing that has a place on the scale.
    Unknown,
    /// Suricata priority 4 and more.
    Info,
    /// Suricata priority 3.
    Low,
    /// Suricata priority 2.
    Medium,
    /// Suricata priority 1.
    High,
    /// Only where a rule's own metadata says so.
    Critical,
}

/// What the sensor could show about the traffic behind an alert: the protection against spoofed packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Flow {
    /// TCP with a handshake: the sensor recognised the application protocol, and packets went both ways.
    Established,
    /// Packets of one direction only: anybody can have forged them.
    OneWay,
    /// The record does not tell.
    Unknown,
}

/// Whether Sidestep may write to the cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Watch and say what would be done. Nothing is written to the cloud.
    #[default]
    Observe,
    /// Take the host out of service at once, and move nothing before a person has approved the plan.
    Approve,
    /// Act.
    Enforce,
}

impl Mode {
    /// Whether anything may be written to the cloud.
    #[must_use]
    pub fn writes(self) -> bool {
        match self {
            Self::Observe => false,
            Self::Approve | Self::Enforce => true,
        }
    }
}

/// What is suspected of a host, from the mildest to the worst. A live migration makes the destination's hypervisor read a stream that the suspect host writes, so the worse the suspicion the
/// fewer hosts may be destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Scope {
    /// Nothing: a person wants the host empty.
    Maintenance,
    /// The host is under attack and shows no sign of having been taken.
    HostThreatened,
    /// Nobody knows yet: treated as if the hypervisor could be lost, but for the approval.
    #[default]
    Unknown,
    /// The hypervisor itself is believed to be lost.
    HostCompromised,
}

impl Scope {
    /// The word in spec and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Maintenance => "Maintenance",
            Self::HostThreatened => "HostThreatened",
            Self::Unknown => "Unknown",
            Self::HostCompromised => "HostCompromised",
        }
    }
}

/// How far a response goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ResponseAction {
    /// Take the host out of service and leave its servers where they are.
    Cordon,
    /// Take the host out of service and move its servers off it.
    #[default]
    Drain,
}

/// What the quarantine pool is for a drain: the aggregate that `spec.destinations.pool` of the OpenStackCloud names, set aside for servers from suspect hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PoolUse {
    /// Its hosts are no destinations.
    Ignore,
    /// Its hosts first, then all others.
    #[default]
    Prefer,
    /// Its hosts and no others.
    Only,
}

/// Whose clock a moment was read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClockName {
    /// The compute host's: the sensor's stamp or the sentinel's reading.
    Node,
    /// The operator's.
    Operator,
}

/// Who saw a measured figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Witness {
    /// Nova's API, read by the operator.
    Nova,
}

/// On which side of the true value a figure lies, where it is only a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Bound {
    /// The true value is this or more.
    AtLeast,
    /// The true value is this or less.
    AtMost,
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn periods_are_read_as_people_write_them() {
        assert_eq!("1h30m".parse::<Period>().unwrap().get(), Duration::from_secs(5400));
        assert_eq!("90s".parse::<Period>().unwrap().get(), Duration::from_secs(90));
        assert!("ten".parse::<Period>().is_err());
    }

    #[test]
    fn an_optional_period_may_be_empty_or_left_out_or_null() {
        #[derive(Deserialize)]
        struct Settings {
            #[serde(default, deserialize_with = "optional_period::deserialize")]
            limit: Option<Period>,
        }
        let limit = |text: &str| serde_json::from_str::<Settings>(text).map(|settings| settings.limit);
        for nothing in [r#"{}"#, r#"{"limit": ""}"#, r#"{"limit": null}"#] {
            assert_eq!(limit(nothing).unwrap(), None, "{nothing}");
        }
        assert_eq!(limit(r#"{"limit": "2m"}"#).unwrap(), Some(Period::from_secs(120)));
        assert!(limit(r#"{"limit": "soon"}"#).unwrap_err().to_string().contains("soon"));
    }

    #[test]
    fn no_time_at_all_is_written_as_people_write_it() {
        assert_eq!(serde_json::to_value(Period::from_secs(0)).unwrap(), "0s");
        assert_eq!(serde_json::to_value(Period::from_secs(90)).unwrap(), "90s");
    }

    #[test]
    fn the_longest_period_that_the_schema_lets_through_can_be_read() {
        let schema = Period::json_schema(&mut SchemaGenerator::default());
        assert_eq!(schema.get("pattern").unwrap(), "^([0-9]{1,7}(ms|s|m|h))+$");
        assert_eq!(schema.get("maxLength").unwrap(), 32);
        let centuries = "9999999h".repeat(4).parse::<Period>().unwrap().get();
        assert_eq!(centuries, Duration::from_secs(4 * 9_999_999 * 3600));
        assert!(Timestamp::UNIX_EPOCH.checked_add(centuries).is_ok());
    }

    #[test]
    fn unknown_severity_is_below_every_other() {
        assert!(Severity::Unknown < Severity::Info);
        assert!(Severity::High < Severity::Critical);
    }
}
