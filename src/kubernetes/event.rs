//! Events (events.k8s.io/v1): a copy of each decision, for people. Status is the record, so an Event that cannot be written is logged and nothing else.
//!
//! What is said again in the same words is counted in one Event (`series`); other words are another Event. A [`Recorder`] alone compares action and reason, and would keep the first note whatever is
//! said later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use super::answer;
use crate::api::condition::shorten;

/// The API server's limit on `note`, in characters, with room for multi-byte ones (it counts 1 kB).
const NOTE_MAX_CHARS: usize = 500;

/// So many Events are remembered to count what is said again; after that counting begins anew.
const REMEMBERED: usize = 1024;

/// By kind and name of the object, action and reason: what was said last, and what has counted it.
type Said = HashMap<[String; 4], (String, Recorder)>;

/// Publishes Events in the operator's name.
#[derive(Clone)]
pub struct Events {
    client: Client,
    reporter: Reporter,
    said: Arc<Mutex<Said>>,
}

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
        Self { client, reporter: Reporter { controller: "sidestep-operator".to_owned(), instance }, said: Arc::default() }
    }

    /// The recorder that has counted the same, or a new one.
    fn recorder(&self, key: [String; 4], note: &str) -> Recorder {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, recorder)) = said.get(&key).filter(|(before, _)| before == note) {
            return recorder.clone();
        }
        if said.len() >= REMEMBERED {
            said.clear();
        }
        let recorder = Recorder::new(self.client.clone(), self.reporter.clone());
        said.insert(key, (note.to_owned(), recorder.clone()));
        recorder
    }

    /// Publishes one Event about `object`: what was done (`action`), one PascalCase word why (`reason`), and a sentence.
    pub async fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, tone: Tone, action: &str, reason: &str, note: &str) {
        let name = object.meta().name.clone().unwrap_or_default();
        let note = shorten(note.to_owned(), NOTE_MAX_CHARS);
        let recorder = self.recorder([K::kind(&()).into_owned(), name.clone(), action.to_owned(), reason.to_owned()], &note);
        let event = Event {
            type_: match tone {
                Tone::Normal => EventType::Normal,
                Tone::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = answer(recorder.publish(&event, &object.object_ref(&()))).await {
            tracing::warn!(kind = %K::kind(&()), name, reason, %error, "An Event could not be written; the object's status has the same.");
        }
    }
}
