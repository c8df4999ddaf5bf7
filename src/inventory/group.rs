//! Server groups: the rows of `GET /os-server-groups?all_projects=1`.

use serde::{Deserialize, Serialize};

use super::ServerId;

/// One server group (microversion 2.64 and later: one policy, with rules).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerGroup {
    /// Its UUID.
    pub id: String,
    /// Its name, chosen by its owner: untrusted text.
    #[serde(default)]
    pub name: String,
    /// `affinity`, `anti-affinity`, or one of these with `soft-` before it.
    pub policy: String,
    /// Its members, without deleted ones.
    #[serde(default)]
    pub members: Vec<ServerId>,
    /// What goes with the policy.
    #[serde(default)]
    pub rules: GroupRules,
}

/// What goes with the policy of a server group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRules {
    /// How many members one host may have (`anti-affinity`); 1 unless given.
    #[serde(default)]
    pub max_server_per_host: Option<u32>,
}

impl ServerGroup {
    /// Whether Nova refuses a host that breaks the policy; a soft one is only a wish.
    #[must_use]
    pub fn binds(&self) -> bool {
        matches!(self.policy.as_str(), "affinity" | "anti-affinity")
    }
}
