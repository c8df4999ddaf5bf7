//! HostReport: what a sentinel says about its own host, its sensors above all, and whether the operator still hears from it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a sentinel sees of its own host. The name is the node's.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "sidestep.dev",
    version = "v1alpha1",
    kind = "HostReport",
    plural = "hostreports",
    shortname = "hrep",
    category = "sidestep",
    status = "HostReportStatus",
    derive = "PartialEq",
    doc = "What a sentinel sees of its own host: its sensors and their health, and its clock. A Lease of the same name, in the sentinels' own namespace, is its heartbeat.",
    selectable = ".spec.node",
    selectable = ".status.host",
    printcolumn(name = "Host", type_ = "string", json_path = ".status.host"),
    printcolumn(name = "Silent", type_ = "string", json_path = r#".status.conditions[?(@.type=="SensorSilent")].status"#),
    printcolumn(name = "Why", type_ = "string", json_path = r#".status.conditions[?(@.type=="SensorSilent")].reason"#),
    printcolumn(name = "Sensors", type_ = "string", json_path = ".spec.sensors[*].name"),
    printcolumn(name = "Health", type_ = "string", json_path = ".spec.sensors[*].health"),
    printcolumn(name = "Clock-ms", type_ = "integer", json_path = ".spec.clock.offsetMillis"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Cloud", type_ = "string", json_path = ".status.cloud", priority = 1),
    printcolumn(name = "Clock-bound", type_ = "integer", json_path = ".spec.clock.boundMillis", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="SensorSilent")].message"#, priority = 1),
    printcolumn(name = "Seen", type_ = "string", json_path = ".spec.sensors[*].message", priority = 1),
    validation = Rule::new("self.metadata.name == self.spec.node").message("a HostReport has the name of its node: a sentinel speaks about its own node only")
)]
#[serde(rename_all = "camelCase")]
pub struct HostReportSpec {
    /// The Kubernetes node that the sentinel runs on; the same as the object's name. The operator maps it to one cloud and host.
    #[schemars(length(min = 1, max = 253))]
    pub node: String,
    /// The sentinel's version.
    #[schemars(length(min = 1, max = 64))]
    pub version: String,
    /// The kernel's id of this boot: another one means that the host was restarted. Absent where it cannot be read.
    #[serde(rename = "bootID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub boot_id: Option<String>,
    /// The sensors whose alert files the sentinel follows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sensors: Vec<SensorReport>,
    /// The node's clock beside the API server's. Absent while it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockReport>,
}

/// What a sentinel sees of one sensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SensorReport {
    /// Which of the node's sensors: the name of the source that the sentinel follows.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// The sensor's kind, as in the alerts of its host, e.g. `suricata`.
    #[schemars(length(min = 1, max = 32))]
    pub engine: String,
    /// The alert file, as the sentinel sees it: in a pod, where it is mounted.
    #[schemars(length(min = 1, max = 4096))]
    pub path: String,
    /// Up to where the file has been read, bytes. Absent while there is no file. Brought up to date at most every five minutes, with `size` and `lastEvent`, unless something else changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub offset: Option<i64>,
    /// The file's size, bytes. Absent while there is no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub size: Option<i64>,
    /// When the sentinel last read an alert from it, by the node's clock. Absent when it has read none since it started: a quiet sensor is not a dead one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_event: Option<MicroTime>,
    /// Records that were given up since the sentinel started: unreadable or too long.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub lost: i64,
    /// Whether the sensor lives. A quiet sensor is not a dead one.
    pub health: SensorHealth,
    /// What that judgement rests on, and what to do where something is wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Whether a sensor lives, as far as its sentinel can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SensorHealth {
    /// Something shows that it lives: its statistics keep coming, a process has its file open for writing, or it has just written.
    Healthy,
    /// It lives, or may, but something is amiss: its alerts cannot all be read, or it writes nothing.
    Degraded,
    /// Its process is gone, its file is missing, empty for a day or without a writer, or its statistics have stopped.
    Dead,
    /// Nothing can tell: it is quiet, it writes no statistics, and the sentinel cannot see who has the file open.
    Unknown,
}

impl SensorHealth {
    /// The word in the report and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Degraded => "Degraded",
            Self::Dead => "Dead",
            Self::Unknown => "Unknown",
        }
    }
}

/// The node's clock, compared with the API server's in the answers to the heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClockReport {
    /// The node's clock minus the API server's, milliseconds: positive where the node is ahead. The true value lies within `boundMillis` of this.
    pub offset_millis: i64,
    /// How far off `offsetMillis` may be, milliseconds. A server dates its answers in whole seconds; many of them together tell more.
    #[schemars(range(min = 0))]
    pub bound_millis: i64,
}

/// The operator's judgement. Written only when it changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostReportStatus {
    /// The OpenStackCloud that the node belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub cloud: Option<String>,
    /// Nova's name of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub host: Option<String>,
    /// Mapped: the node belongs to exactly one host of one cloud. SensorSilent: True with reason SentinelSilent (its Lease was not renewed for 40 s) or SensorDead (the sentinel says so); Unknown
    /// while the operator has not watched long enough, and with reason SentinelsUnreachable while many fell silent at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
