//! Status writes: server-side apply by one field manager, with the object's UID and resourceVersion as precondition.
//!
//! The precondition makes a write from an old view fail with a conflict instead of undoing a newer one; the reconcile is then repeated on what is there.

use std::fmt::Debug;

use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answer;

/// The field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "sidestep-operator";

/// A status write that failed.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Somebody else wrote the object since it was read.
    #[error("{kind} {name} has changed since it was read")]
    Conflict {
        /// The kind.
        kind: String,
        /// The object.
        name: String,
    },
    /// The API server refused it or could not be reached.
    #[error("cannot write the status of {kind} {name}")]
    Write {
        /// The kind.
        kind: String,
        /// The object.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// Writes the whole status of `object` and returns the object as it stands now.
///
/// # Errors
///
/// [`StatusError::Conflict`] when the object changed since it was read; [`StatusError::Write`] for everything else.
pub async fn apply<K, S>(api: &Api<K>, object: &K, status: &S) -> Result<K, StatusError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    S: Serialize,
{
    let kind = K::kind(&()).into_owned();
    let name = object.name_any();
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": kind,
        "metadata": {"name": name, "uid": object.meta().uid, "resourceVersion": object.meta().resource_version},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match answer(api.patch_status(&name, &params, &Patch::Apply(&body))).await {
        Ok(written) => Ok(written),
        Err(kube::Error::Api(refusal)) if refusal.code == 409 => Err(StatusError::Conflict { kind, name }),
        Err(source) => Err(StatusError::Write { kind, name, source: Box::new(source) }),
    }
}
