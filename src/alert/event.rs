//! The normalised alert: what every sensor's record becomes, whatever its format.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::api::units::{Flow, Severity};

/// The generators of rules that people write (text rules, shared-object rules); every other one is a sensor's own decoder or preprocessor.
const RULE_GENERATORS: [i64; 2] = [1, 3];
/// The range of signature numbers that Suricata reserves for its own decoder, stream and application-layer events.
const SENSOR_INTERNAL_SIDS: std::ops::RangeInclusive<i64> = 2_200_000..=2_299_999;

/// One alert of one sensor about one packet or transaction. Texts are as the sensor wrote them: untrusted, of any length below the record's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertEvent {
    /// The sensor, e.g. `suricata`.
    pub engine: &'static str,
    /// The rule's generator.
    pub gid: i64,
    /// The rule's signature number.
    pub sid: i64,
    /// The rule's revision: information, not identity.
    pub rev: Option<i64>,
    /// The rule's text.
    pub message: String,
    /// The rule's class, as text.
    pub classification: Option<String>,
    /// Severity as the sensor writes it.
    pub severity_native: Option<i64>,
    /// Severity on the scale of all engines.
    pub severity: Severity,
    /// What the sensor did with the packet.
    pub action: Option<Action>,
    /// The protocol's name, `TCP`, `UDP`, `ICMP`, `ICMPv6` or as the sensor calls it.
    pub proto: Option<String>,
    /// Where the packet came from.
    pub source: Option<Peer>,
    /// Where it went.
    pub destination: Option<Peer>,
    /// ICMP type and code, for the protocols that have them instead of ports.
    pub icmp: Option<Icmp>,
    /// Whether the sensor says that the rule fired on the reply: then the far end is the destination.
    pub on_reply: bool,
    /// What the record shows about the traffic.
    pub flow: Flow,
    /// The sensor's stamp; absent when there is none or it is impossible.
    pub time: Option<Timestamp>,
    /// The sensor's own number of the flow.
    pub flow_id: Option<u64>,
    /// Community ID of the flow, the same in all sensors that compute it.
    pub community_id: Option<String>,
    /// The interface that the packet was seen on.
    pub interface: Option<String>,
    /// VLAN tags, outermost first.
    pub vlan: Vec<u16>,
    /// Words that the rule's author gave it, for policies.
    pub tags: Vec<String>,
}

/// One end of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// Its port, where the protocol has ports.
    pub port: Option<u16>,
}

/// ICMP's place of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// The message's type.
    pub kind: u8,
    /// The message's code.
    pub code: Option<u8>,
}

/// What a sensor did with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It let the packet pass.
    Allow,
    /// It dropped the packet (inline mode).
    Drop,
    /// It would have dropped the packet if it were inline.
    WouldDrop,
}

impl Action {
    /// The word in objects and output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Drop => "drop",
            Self::WouldDrop => "would_drop",
        }
    }
}

impl AlertEvent {
    /// An alert of this engine of which nothing is known yet.
    #[must_use]
    pub fn of(engine: &'static str) -> Self {
        Self {
            engine,
            gid: 1,
            sid: 0,
            rev: None,
            message: String::new(),
            classification: None,
            severity_native: None,
            severity: Severity::Unknown,
            action: None,
            proto: None,
            source: None,
            destination: None,
            icmp: None,
            on_reply: false,
            flow: Flow::Unknown,
            time: None,
            flow_id: None,
            community_id: None,
            interface: None,
            vlan: Vec::new(),
            tags: Vec::new(),
        }
    }

    /// The rule as policies name it, without the engine: `1:2024897`.
    #[must_use]
    pub fn rule_id(&self) -> String {
        format!("{}:{}", self.gid, self.sid)
    }

    /// The far end of the traffic. It is the source, but a rule that fired on a reply names the answering machine as source, and that is the one to protect:
    /// then it is the destination. `None` when the record has no address.
    #[must_use]
    pub fn subject(&self) -> Option<IpAddr> {
        let far = if self.on_reply { self.destination } else { self.source };
        far.map(|peer| peer.ip)
    }
}

/// Whether a rule is the sensor's own report on what it could not decode (Suricata's decoder, stream and application-layer events), not a rule about an attack: anybody can provoke them
/// with one packet. Such alerts are parsed and shown; policies never match them.
#[must_use]
pub fn is_sensor_internal(gid: i64, sid: i64) -> bool {
    !RULE_GENERATORS.contains(&gid) || (gid == 1 && SENSOR_INTERNAL_SIDS.contains(&sid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_suricatas_reserved_numbers_are_sensor_internal() {
        assert!(is_sensor_internal(1, 2_200_000));
        assert!(is_sensor_internal(1, 2_299_999));
        assert!(!is_sensor_internal(1, 2_300_000));
        assert!(!is_sensor_internal(3, 2_200_000));
        assert!(is_sensor_internal(116, 1));
        assert!(!is_sensor_internal(1, 2_024_897));
    }
}
