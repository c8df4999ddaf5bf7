//! Where nodes belong, by everything that the operator knows of the clouds at one moment.

use std::sync::Arc;

use kube::ResourceExt as _;

use super::context::Context;
use crate::alert::decision::{CloudFacts, Place, Unmapped, belongs_nowhere, locate};
use crate::api::OpenStackCloud;
use crate::kubernetes::guard;
use crate::openstack::{Freshness, Services};

/// All clouds, each with its hosts as Nova last showed them.
pub(super) struct Map {
    clouds: Vec<(OpenStackCloud, Option<Arc<Services>>)>,
    /// Whether every cloud's hosts were read, and lately.
    is_fresh: bool,
}

impl Map {
    pub(super) fn read(context: &Context) -> Self {
        let now = context.clock.now();
        let live = |cloud: &OpenStackCloud| context.cloud(&cloud.name_any()).ok();
        let clouds = guard::all(&context.stores.clouds);
        let is_fresh = clouds.iter().all(|cloud| live(cloud).is_some_and(|live| live.inventory.freshness(now) == Freshness::Fresh));
        let clouds = clouds.into_iter().map(|cloud| {
            let services = live(&cloud).and_then(|live| live.inventory.services());
            (cloud, services)
        });
        Self { clouds: clouds.collect(), is_fresh }
    }

    fn facts(&self) -> Vec<CloudFacts<'_>> {
        let facts = self.clouds.iter().map(|(cloud, services)| CloudFacts {
            name: cloud.metadata.name.as_deref().unwrap_or_default(),
            mapping: &cloud.spec.hosts,
            services: services.as_ref().map(|services| services.services.as_slice()),
        });
        facts.collect()
    }

    /// The one host of one cloud that a node belongs to.
    pub(super) fn locate(&self, node: &str) -> Result<Place, Unmapped> {
        locate(node, &self.facts())
    }

    /// Whether some cloud was never read, so that a node without a host may yet have one.
    pub(super) fn is_incomplete(&self) -> bool {
        self.clouds.iter().any(|(_, services)| services.is_none())
    }

    /// Whether a node surely belongs to no host: every cloud was read lately, and none has anything to do with it.
    pub(super) fn is_nowhere(&self, node: &str) -> bool {
        self.is_fresh && belongs_nowhere(node, &self.facts())
    }
}
