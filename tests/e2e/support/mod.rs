//! What the stories share: how a test runs programs, and how it gets real servers. No story's own words belong here.

pub(crate) mod alert_line;
pub(crate) mod cloud;
pub(crate) mod control_plane;
pub(crate) mod front;
pub(crate) mod heartbeats;
pub(crate) mod nova;
pub(crate) mod process;
pub(crate) mod suricata;
pub(crate) mod world;
