//! Writing HostAlerts to the API server, and reading them back at the start.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::path::Path;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use thiserror::Error;
use tokio::time::timeout;

use super::alerts::{Delivery, KnownSlot, READ_UP_TO, positions_from_text, positions_to_text};
use crate::alert::series::SLOTS;
use crate::api::alert::HostAlert;
use crate::kubernetes::client::{self, ClientError};

/// The field manager of everything that the sentinel writes.
pub(super) const FIELD_MANAGER: &str = "sidestep-sentinel";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Slots read at the same time at the start.
const READ_AT_ONCE: usize = 8;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the API server did not take or give what it was asked for.
#[derive(Debug, Error)]
pub(super) enum DeliverError {
    /// It will never take this object.
    #[error("The API server refuses HostAlert {name}")]
    Refused { name: String, source: Answer },
    #[error("The API server does not know the sentinel of node {node} (401); check its service account token or the kubeconfig's credentials")]
    Unauthenticated { node: String, source: Answer },
    #[error("The sentinel of node {node} may not {operation} (403); it needs get, create and patch on hostalerts.sidestep.dev")]
    Forbidden { node: String, operation: String, source: Answer },
    #[error("The API server does not have the kind HostAlert (404); install Sidestep's CRDs (crds/)")]
    NoKind { source: Answer },
    #[error("The API server did not {operation}")]
    Away { operation: String, source: Answer },
    #[error("The API server gave no answer within {} s when asked to {operation}", ANSWER_TIMEOUT.as_secs())]
    NoAnswer { operation: String },
}

/// What came back instead of success.
#[derive(Debug, Error)]
pub(super) enum Answer {
    /// The API server's own words.
    #[error("{message} ({code} {reason})")]
    Status { code: u16, reason: String, message: String },
    /// No answer came.
    #[error("It cannot be reached")]
    Unreachable { source: Box<dyn StdError + Send + Sync> },
    /// Something that is no answer of an API server.
    #[error(transparent)]
    Failure(kube::Error),
}

impl Answer {
    pub(super) fn code(&self) -> u16 {
        if let Self::Status { code, .. } = self { *code } else { 0 }
    }
}

impl From<kube::Error> for Answer {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Status { code: status.code, reason: status.reason, message: status.message },
            kube::Error::Service(source) => Self::Unreachable { source },
            kube::Error::HyperError(source) => Self::Unreachable { source: Box::new(source) },
            other => Self::Failure(other),
        }
    }
}

/// A client for this node's HostAlerts.
#[derive(Clone)]
pub(super) struct Reporter {
    node: String,
    client: Client,
}

impl Reporter {
    /// A client by this kubeconfig, or by the pod's service account. Nothing is sent yet.
    pub(super) async fn new(node: &str, kubeconfig: Option<&Path>) -> Result<Self, ClientError> {
        let mut config = client::config(kubeconfig).await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // The caller repeats, with what is true by then.
        config.default_retry = false;
        let client = client::of(config)?;
        Ok(Self { node: node.to_owned(), client })
    }

    /// For whatever else the sentinel writes.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    fn object_name(&self, slot: usize) -> String {
        format!("{}-{slot:02x}", self.node)
    }

    /// This node's slots as the API server has them, read by name: a sentinel may list nothing. An object that cannot be read is left out and named in the log.
    pub(super) async fn read_slots(&self) -> Result<Vec<KnownSlot>, DeliverError> {
        let slots = stream::iter(0..SLOTS).map(|slot| self.read_slot(slot)).buffered(READ_AT_ONCE);
        let known: Vec<Option<KnownSlot>> = slots.try_collect().await?;
        Ok(known.into_iter().flatten().collect())
    }

    async fn read_slot(&self, slot: usize) -> Result<Option<KnownSlot>, DeliverError> {
        let name = self.object_name(slot);
        let operation = || format!("give HostAlert {name}");
        let api: Api<DeserializeGuard<HostAlert>> = Api::all(self.client.clone());
        let answer = timeout(ANSWER_TIMEOUT, api.get(&name)).await.map_err(|_| DeliverError::NoAnswer { operation: operation() })?;
        let object = match answer {
            Ok(DeserializeGuard(object)) => object,
            // Without the kind, the answer names no object.
            Err(kube::Error::Api(status)) if status.code == 404 && status.details.as_ref().is_some_and(|details| details.name == name) => return Ok(None),
            Err(error) => return Err(self.judge(error, &name, operation())),
        };
        match object {
            Ok(alert) => {
                let read_up_to = alert.annotations().get(READ_UP_TO).map(|text| positions_from_text(text)).unwrap_or_default();
                Ok(Some(KnownSlot { slot, spec: alert.spec, read_up_to }))
            }
            Err(error) => {
                tracing::warn!(host_alert = name, %error, "A HostAlert of this node cannot be read; its slot goes on from the checkpoint");
                Ok(None)
            }
        }
    }

    /// Writes one HostAlert. Writing the same twice changes nothing.
    pub(super) async fn write(&self, delivery: &Delivery) -> Result<(), DeliverError> {
        let name = self.object_name(delivery.write.slot);
        let operation = || format!("take HostAlert {name}");
        let annotations = BTreeMap::from([(READ_UP_TO, positions_to_text(&delivery.read_up_to))]);
        let object = json!({
            "apiVersion": HostAlert::api_version(&()),
            "kind": HostAlert::kind(&()),
            "metadata": {"name": name, "annotations": annotations},
            "spec": delivery.write.spec,
        });
        let api: Api<DeserializeGuard<HostAlert>> = Api::all(self.client.clone());
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let answer = timeout(ANSWER_TIMEOUT, api.patch(&name, &params, &Patch::Apply(object))).await;
        match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.judge(error, &name, operation())),
            Err(_) => Err(DeliverError::NoAnswer { operation: operation() }),
        }
    }

    fn judge(&self, error: kube::Error, name: &str, operation: String) -> DeliverError {
        let source = Answer::from(error);
        match source.code() {
            400 | 422 => DeliverError::Refused { name: name.to_owned(), source },
            401 => DeliverError::Unauthenticated { node: self.node.clone(), source },
            403 => DeliverError::Forbidden { node: self.node.clone(), operation, source },
            404 => DeliverError::NoKind { source },
            _ => DeliverError::Away { operation, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::Config;
    use kube::core::Status;

    use super::*;

    fn reporter() -> Reporter {
        let config = Config::new("http://127.0.0.1:1".parse().unwrap());
        Reporter { node: "cmp-1".to_owned(), client: Client::try_from(config).unwrap() }
    }

    fn answer(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(Status { code, message: "the server's words".to_owned(), ..Status::default() }))
    }

    #[tokio::test]
    async fn each_refusal_says_what_to_do_and_only_a_bad_object_is_given_up() {
        let reporter = reporter();
        let judge = |code: u16| reporter.judge(answer(code), "cmp-1-00", "take HostAlert cmp-1-00".to_owned());
        assert!(matches!(judge(422), DeliverError::Refused { .. }));
        assert!(judge(422).to_string().contains("cmp-1-00"));
        assert!(judge(401).to_string().contains("token"));
        assert!(judge(403).to_string().contains("get, create and patch"));
        assert!(judge(404).to_string().contains("CRDs"));
        for code in [409, 429, 500, 503] {
            assert!(matches!(judge(code), DeliverError::Away { .. }), "{code}");
        }
    }

    #[tokio::test]
    async fn an_error_tells_the_servers_words_once() {
        let error = reporter().judge(answer(503), "cmp-1-00", "take HostAlert cmp-1-00".to_owned());
        let chain = format!("{:#}", anyhow::Error::from(error));
        assert_eq!(chain.matches("the server's words").count(), 1, "{chain}");
    }
}
