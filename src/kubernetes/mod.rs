//! Talking to the Kubernetes API server: the client, status writes, Events, and reading objects that may not parse.

pub mod client;
pub mod event;
pub mod guard;
pub mod status;
