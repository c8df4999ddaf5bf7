//! Lines of an eve.json and of a fast.log as Suricata writes them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

/// An alert on an HTTP request over an established TCP connection.
#[derive(Clone, Debug)]
pub(crate) struct AlertLine {
    /// The attacker.
    pub(crate) source: &'static str,
    /// The rule.
    pub(crate) sid: u32,
    /// Suricata's priority; 1 is the worst.
    pub(crate) priority: u8,
    /// The stamp.
    pub(crate) time: Timestamp,
}

impl AlertLine {
    /// A rule of priority 1.
    pub(crate) fn at(time: Timestamp) -> Self {
        Self { source: "192.0.2.66", sid: 9_000_001, priority: 1, time }
    }

    /// The line, with its end.
    pub(crate) fn text(&self) -> String {
        let stamp = self.time.strftime("%Y-%m-%dT%H:%M:%S%.6f+0000").to_string();
        // Suricata's order of keys: what comes first is all that a program has that reads a cut line.
        let head = json!({"timestamp": stamp, "flow_id": 1_990_786_735_181_773_u64, "in_iface": "tap0", "event_type": "alert"}).to_string();
        let rest = json!({
            "src_ip": self.source, "src_port": 48_688, "dest_ip": "198.51.100.7", "dest_port": 80, "proto": "TCP", "pkt_src": "wire/pcap", "tx_id": 0,
            "alert": {
                "action": "allowed", "gid": 1, "signature_id": self.sid, "rev": 1, "signature": "SIDESTEP demo: request for /sidestep-demo",
                "category": "A Network Trojan was detected", "severity": self.priority
            },
            "http": {"hostname": "shop.example", "url": "/sidestep-demo", "http_user_agent": "curl/8", "http_method": "GET", "protocol": "HTTP/1.1", "status": 200, "length": 0},
            "app_proto": "http", "direction": "to_server",
            "flow": {"pkts_toserver": 4, "pkts_toclient": 3, "bytes_toserver": 359, "bytes_toclient": 343, "start": stamp},
            "verdict": {"action": "alert"}
        })
        .to_string();
        format!("{},{}\n", head.trim_end_matches('}'), rest.trim_start_matches('{'))
    }

    /// The same alert as a line of fast.log, stamped in this zone.
    pub(crate) fn fast(&self, zone: &TimeZone) -> String {
        let stamp = self.time.to_zoned(zone.clone()).strftime("%m/%d/%Y-%H:%M:%S%.6f").to_string();
        let Self { sid, source, priority, .. } = self;
        format!(
            "{stamp}  [**] [1:{sid}:1] SIDESTEP demo: request for /sidestep-demo [**] [Classification: A Network Trojan was detected] [Priority: {priority}] {{TCP}} {source}:48688 -> 198.51.100.7:80\n"
        )
    }
}
