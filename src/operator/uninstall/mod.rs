//! `uninstall`: what has to be done before the operator and its admission policies are removed. The chart runs it as a hook.
//!
//! It stops the operators and takes their Lease, so that nothing new starts; says in the status of what is under way that nobody follows it; removes Sidestep's finalizers, so that objects can be
//! deleted without an operator; and prints which hosts stay out of service. It holds no cloud credential and touches no cloud: every cordon stays. After a new installation everything goes on
//! from what stands in the objects and in Nova.

mod seal;

use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, Error};
use rustls::crypto::aws_lc_rs;
use serde_json::json;
use tokio::time::timeout;

use super::args::UninstallArguments;
use super::crash::{self, Crash};
use super::leader::LEASE;
use crate::clock::{Clock, Window};
use crate::kubernetes::lease::{Candidate, Terms};
use crate::kubernetes::{answer, client};

/// The name under which it holds the Lease, and writes.
const IDENTITY: &str = "sidestep-uninstall";
/// The chart's Deployment.
const DEPLOYMENT: &str = "sidestep-operator";
/// How long the operators have to end. One that was killed leaves its Lease for 15 s.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs to its end.
pub(super) fn run(arguments: &UninstallArguments) -> anyhow::Result<()> {
    aws_lc_rs::default_provider().install_default().map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(uninstall(arguments))
}

async fn uninstall(arguments: &UninstallArguments) -> anyhow::Result<()> {
    let crash = Crash::at(arguments.crash_at.clone());
    let config = client::config(arguments.kubeconfig.as_deref()).await?;
    let client = client::under(config, &crash::oversight(Window::always(), &crash, |_| {}))?;
    stop_operators(&client, &arguments.namespace).await?;
    let leases = Api::<Lease>::namespaced(client.clone(), &arguments.namespace);
    let clock = Clock::system();
    let mut candidate = Candidate::new(leases.clone(), LEASE, IDENTITY, Terms::default(), clock.clone(), Window::shut(clock.clone()));
    let mut holder = String::new();
    let acquired = timeout(PATIENCE, candidate.acquire(|other| other.clone_into(&mut holder))).await;
    let Ok(mut lease) = acquired else {
        bail!("operator {holder} still runs and holds the Lease {LEASE} in namespace {}: stop it, then repeat", arguments.namespace);
    };
    let left = tokio::select! {
        left = seal::all(&client, &clock) => left?,
        why = candidate.keep(&mut lease, || ()) => bail!("an operator runs again ({why}): stop it, then repeat"),
    };
    // An operator elsewhere may claim the clouds now.
    match answer(leases.delete(LEASE, &DeleteParams::default())).await {
        Ok(_) => {}
        Err(Error::Api(refusal)) if refusal.code == 404 => {}
        Err(error) => return Err(error).context("cannot delete the operators' Lease"),
    }
    println!("{}", left.text());
    Ok(())
}

/// Takes the chart's Deployment to no replicas, where there is one.
async fn stop_operators(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
    match answer(deployments.patch(DEPLOYMENT, &PatchParams::default(), &patch)).await {
        Ok(_) => Ok(()),
        Err(Error::Api(refusal)) if refusal.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot stop the Deployment {DEPLOYMENT} in namespace {namespace}")),
    }
}
