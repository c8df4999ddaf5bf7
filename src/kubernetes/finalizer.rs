//! Finalizers: what keeps an object until the program that put them there lets it go.

use std::fmt::Debug;

use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answer;
use super::status::FIELD_MANAGER;

/// Sets the finalizers of `object` as it was read; an object that changed since is a conflict (409). Returns the object as it stands now.
///
/// # Errors
///
/// When the API server refuses it or does not answer in time.
pub async fn set<K>(api: &Api<K>, object: &K, finalizers: &[String]) -> kube::Result<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.meta().resource_version}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    answer(api.patch(&object.name_any(), &params, &Patch::Merge(&patch))).await
}
