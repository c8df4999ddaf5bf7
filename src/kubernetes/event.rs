//! Events (events.k8s.io/v1): a copy of each decision, for people. Status is the record, so an Event that cannot be written is logged and nothing else.

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use super::answer;
use crate::api::condition::shorten;

/// The API server's limit on `note`, in characters, with room for multi-byte ones (it counts 1 kB).
const NOTE_MAX_CHARS: usize = 500;

/// Publishes Events in the operator's name.
#[derive(Clone)]
pub struct Events(Recorder);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}

/// What a person should make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Events {
    /// Events reported by the program of this name.
    #[must_use]
    pub fn new(client: Client, instance: Option<String>) -> Self {
        Self(Recorder::new(client, Reporter { controller: "sidestep-operator".to_owned(), instance }))
    }

    /// Publishes one Event about `object`: what was done (`action`), one PascalCase word why (`reason`), and a sentence.
    pub async fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, tone: Tone, action: &str, reason: &str, note: &str) {
        let event = Event {
            type_: match tone {
                Tone::Normal => EventType::Normal,
                Tone::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(shorten(note.to_owned(), NOTE_MAX_CHARS)),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = answer(self.0.publish(&event, &object.object_ref(&()))).await {
            let name = object.meta().name.as_deref().unwrap_or_default();
            tracing::warn!(kind = %K::kind(&()), name, reason, %error, "An Event could not be written; the object's status has the same.");
        }
    }
}
