//! The connection to the cluster that the person means.

use anyhow::Context as _;
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

use super::args::ClusterArguments;
use crate::kubernetes::client;

/// A client for the cluster that the flags, or else kubectl's own settings, name. Nothing is sent yet.
pub(super) async fn connect(cluster: &ClusterArguments) -> anyhow::Result<Client> {
    let kubeconfig = match &cluster.kubeconfig {
        Some(path) => Kubeconfig::read_from(path)
            .with_context(|| format!("the kubeconfig {} cannot be used: correct the file that --kubeconfig names", path.display()))?,
        None => Kubeconfig::read().context("no kubeconfig was found: name one with --kubeconfig, or in KUBECONFIG")?,
    };
    let options = KubeConfigOptions { context: cluster.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(|| match &cluster.context {
        Some(context) => format!("the context {context} cannot be used: `kubectl config get-contexts` lists those that there are"),
        None => "the current context of the kubeconfig cannot be used: name one with --context".to_owned(),
    })?;
    Ok(client::of(config)?)
}
