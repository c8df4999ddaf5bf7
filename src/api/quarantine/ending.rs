//! What people say to a quarantine: approve, abort, give back, and what deleting means.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The agreement of a person to a plan. Leave it out of manifests in Git: it belongs to people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The digest of the plan that may run, as `status.plan.digest` shows it. It covers cloud, host, effective scope, the rules of the method, the servers and the hosts that they may go to. Less than what was
    /// approved never needs a new approval; more does: a new server, another host, a stricter scope.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub plan: String,
    /// Your own user name, as the API server knows you (`kubectl auth whoami`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub approved_by: String,
}

/// What is called back from Nova.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Abort {
    /// Nothing.
    #[default]
    None,
    /// What Nova has queued and not begun.
    Queued,
    /// Also copies that run.
    All,
}

/// Gives the host back: what Nova has queued is withdrawn, running copies end, nothing new starts, and a host that Sidestep disabled is enabled again. Nothing moves back. Leave it out of manifests in Git: it belongs
/// to people.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!oldSelf.requested || self.requested").message("release cannot be taken back: make a new HostQuarantine"),
    validation = Rule::new("self.requested || !self.force").message("release.force without release.requested does nothing: set both")
)]
pub struct Release {
    /// Set to true to give the host back. One-way. It is carried out once the host is Empty; until then the drain goes on, unless `force` is set.
    #[serde(default)]
    pub requested: bool,
    /// Give the host back although servers are left on it: at once, in the midst of a drain.
    #[serde(default)]
    pub force: bool,
    /// Your own user name, as the API server knows you (`kubectl auth whoami`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub approved_by: String,
    /// What it was. Remediated (the default): there was something, and it is gone; the cooldown of the policies ends, so that a second attack counts. FalsePositive: there was nothing; the same rules do not act
    /// on this host for 24 h.
    #[serde(default)]
    pub verdict: ReleaseVerdict,
    /// What was done about it, for the record.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub remediation: String,
}

/// What an incident turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ReleaseVerdict {
    /// There was something, and it is gone.
    #[default]
    Remediated,
    /// There was nothing.
    FalsePositive,
}

impl ReleaseVerdict {
    /// The word in spec and status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Remediated => "Remediated",
            Self::FalsePositive => "FalsePositive",
        }
    }
}

/// What becomes of the host when the object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It stays out of service.
    #[default]
    KeepCordoned,
    /// It is given back.
    Release,
}
