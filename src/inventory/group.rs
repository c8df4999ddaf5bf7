//! Server groups: the rows of `GET /os-server-groups?all_projects=1`.

use serde::{Deserialize, Deserializer, Serialize};

use super::ServerId;

/// One server group (microversion 2.64 and later: one policy, with rules).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerGroup {
    /// Its UUID.
    pub id: String,
    /// Its name, chosen by its owner: untrusted text.
    #[serde(default)]
    pub name: String,
    /// `affinity`, `anti-affinity`, or one of these with `soft-` before it. Empty where Nova has none, as for groups of old releases: such a group binds nobody.
    #[serde(default, deserialize_with = "text_or_nothing")]
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

/// A text, or null.
fn text_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_without_a_policy_is_read_and_binds_nobody() {
        let group: ServerGroup = serde_json::from_str(r#"{"id": "g", "policy": null, "members": []}"#).unwrap();
        assert!(!group.binds());
    }
}
