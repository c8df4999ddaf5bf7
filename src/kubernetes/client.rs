//! The client of the API server.

use std::path::{Path, PathBuf};

use kube::client::ClientBuilder;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::writes::Oversight;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig file cannot be used.
    #[error("the kubeconfig {} cannot be used: correct the file that --kubeconfig names", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KubeconfigError,
    },
    /// There is no service account of a pod.
    #[error("there is no service account here: outside a pod, name a file with --kubeconfig")]
    InCluster {
        /// Why.
        source: InClusterError,
    },
    /// The client could not be made.
    #[error("cannot set up a connection to the API server {server}")]
    Setup {
        /// Its address.
        server: String,
        /// Why.
        source: kube::Error,
    },
}

/// How to reach the API server: by the file, or by the pod's service account where none is given. KUBECONFIG is never read: which cluster is meant must be said.
///
/// # Errors
///
/// When the file or the service account cannot be used.
pub async fn config(kubeconfig: Option<&Path>) -> Result<Config, ClientError> {
    match kubeconfig {
        Some(path) => from_file(path).await.map_err(|source| ClientError::Kubeconfig { path: path.to_owned(), source }),
        None => Config::incluster().map_err(|source| ClientError::InCluster { source }),
    }
}

async fn from_file(path: &Path) -> Result<Config, KubeconfigError> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
}

/// A client whose writes are watched over. Nothing is sent yet.
///
/// # Errors
///
/// When TLS cannot be set up with what the configuration names.
pub fn under(config: Config, oversight: &Oversight) -> Result<Client, ClientError> {
    let server = config.cluster_url.to_string();
    let builder = ClientBuilder::try_from(config).map_err(|source| ClientError::Setup { server, source })?;
    Ok(builder.with_layer(oversight).build())
}

/// A client. Nothing is sent yet.
///
/// # Errors
///
/// When TLS cannot be set up with what the configuration names.
pub fn of(config: Config) -> Result<Client, ClientError> {
    let server = config.cluster_url.to_string();
    Client::try_from(config).map_err(|source| ClientError::Setup { server, source })
}
