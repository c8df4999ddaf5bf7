//! QuarantinePolicy: says whether the cloud that it is about exists.

use std::sync::Arc;

use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;

use super::context::Context;
use super::failure::Failure;
use crate::api::QuarantinePolicy;
use crate::api::condition::{Conditions, Kind, State};
use crate::api::policy::QuarantinePolicyStatus;
use crate::kubernetes::{guard, status};

pub(super) async fn reconcile(object: Arc<DeserializeGuard<QuarantinePolicy>>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(policy) = guard::valid(&object) else { return Ok(Action::await_change()) };
    let known = context.cloud_spec(&policy.spec.cloud).is_some();
    let current = policy.status.clone().unwrap_or_default();
    let mut conditions = Conditions::of(&current.conditions, policy.metadata.generation, context.clock.now());
    let message = format!("there is no OpenStackCloud {}: create it, or correct spec.cloud", policy.spec.cloud);
    if known {
        conditions.set(Kind::Ready, State::True, "InForce", format!("decides on alerts of the hosts of OpenStackCloud {}", policy.spec.cloud));
    } else {
        conditions.set(Kind::Ready, State::False, "CloudNotFound", &message);
    }
    conditions.set(Kind::Reconciling, State::False, "NotReconciling", "");
    conditions.set(Kind::Stalled, (!known).into(), if known { "NotStalled" } else { "CloudNotFound" }, if known { "" } else { &message });
    let next = QuarantinePolicyStatus { observed_generation: policy.metadata.generation, conditions: conditions.finish() };
    if policy.status.as_ref() != Some(&next) {
        if !known {
            tracing::warn!(policy = policy.name_any(), cloud = policy.spec.cloud, "A policy is about a cloud that does not exist.");
        }
        status::apply(&context.api(), policy, &next).await?;
    }
    Ok(Action::await_change())
}
