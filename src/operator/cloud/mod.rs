//! OpenStackCloud: connect with the credential of its Secret, poll, and say whether the cloud can be used.
//!
//! observe (Secret, connection, inventory) → report (status, Event). There is nothing to decide and nothing to act on: a cloud is only looked at.

mod budget;
mod observe;
mod past;
mod report;
mod retention;
mod sentinels;

use std::sync::Arc;

use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;

use super::context::{Context, LiveCloud, Unusable};
use super::failure::Failure;
use super::identity;
use crate::api::OpenStackCloud;
use crate::kubernetes::guard;
use crate::openstack::Freshness;

pub(super) use budget::BudgetView;
pub(super) use observe::clouds_of_secret;
pub(super) use past::Past;

/// The cloud of this name when it can be asked at this moment, or why it cannot.
pub(super) fn usable(context: &Context, name: &str) -> Result<Arc<LiveCloud>, Unusable> {
    let live = context.cloud(name)?;
    let fresh = live.inventory.freshness(context.clock.now()) == Freshness::Fresh;
    match observe::runs_on_suspect(context, name, &live).or_else(|| observe::problem_of(&live, fresh)) {
        None => Ok(live),
        Some(problem) => Err(problem.unusable),
    }
}

pub(super) async fn reconcile(object: Arc<DeserializeGuard<OpenStackCloud>>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(cloud) = guard::valid(&object) else { return Ok(Action::await_change()) };
    if cloud.metadata.deletion_timestamp.is_some() {
        context.forget_cloud(&cloud.name_any());
        context.health.forget(&format!("cloud {}", cloud.name_any()));
        return Ok(Action::await_change());
    }
    let seen = observe::observe(&context, cloud).await;
    context.health.set(format!("cloud {}", cloud.name_any()), seen.as_part());
    // One who follows looks, so as to be warm, and writes nothing. Nobody writes into a status that is another operator's.
    if !context.may_act() {
        return Ok(seen.next_look());
    }
    let (grounds, now) = (context.grounds(), context.clock.now());
    let next = identity::conditions(&grounds, cloud, report::status(cloud, &seen, now), now);
    report::write(&context, cloud, seen.problem.is_some() || grounds.outdated().is_some(), next.clone()).await?;
    identity::tell(&context, cloud, &next).await;
    retention::sweep(&context, cloud, now).await?;
    Ok(seen.next_look())
}
