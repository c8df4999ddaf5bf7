//! Objects that do not parse cannot stop a watch: they are named in the log and left out, and all others go on.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use kube::Resource;
use kube::core::ClusterResourceScope;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};

/// An object as it is watched.
pub type Guarded<K> = DeserializeGuard<K>;

/// All objects of a store that parse. The others are named in the log when they are reconciled.
#[must_use]
pub fn all<K>(store: &Store<Guarded<K>>) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug,
    <Guarded<K> as Resource>::DynamicType: Eq + Hash + Clone + Default,
{
    store.state().iter().filter_map(|object| object.0.as_ref().ok()).cloned().collect()
}

/// What `select` makes of each object of a store that parses, without copying the objects: for questions that are asked with every decision.
pub fn select<K, T>(store: &Store<Guarded<K>>, mut select: impl FnMut(&K) -> Option<T>) -> Vec<T>
where
    K: Resource<DynamicType = ()> + Clone + Debug,
    <Guarded<K> as Resource>::DynamicType: Eq + Hash + Clone + Default,
{
    store.state().iter().filter_map(|object| object.0.as_ref().ok()).filter_map(&mut select).collect()
}

/// Whether an object of a store that parses is such a one; none is copied.
pub fn any<K>(store: &Store<Guarded<K>>, test: impl Fn(&K) -> bool) -> bool
where
    K: Resource<DynamicType = ()> + Clone + Debug,
    <Guarded<K> as Resource>::DynamicType: Eq + Hash + Clone + Default,
{
    store.state().iter().filter_map(|object| object.0.as_ref().ok()).any(test)
}

/// What `read` makes of one object of a store, if it is there and parses.
pub fn read<K, T>(store: &Store<Guarded<K>>, name: &str, read: impl FnOnce(&K) -> T) -> Option<T>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + Debug,
    <Guarded<K> as Resource>::DynamicType: Eq + Hash + Clone + Default,
{
    store.get(&ObjectRef::new(name)).and_then(|object| object.0.as_ref().ok().map(read))
}

/// The object, if it parses; otherwise its name goes into the log.
#[must_use]
pub fn valid<K>(object: &Arc<Guarded<K>>) -> Option<&K>
where
    K: Resource<DynamicType = ()>,
{
    match &object.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            let name = invalid.metadata.name.as_deref().unwrap_or_default();
            tracing::error!(kind = %K::kind(&()), name, error = invalid.error, "An object does not parse and is left out; correct or delete it.");
            None
        }
    }
}
