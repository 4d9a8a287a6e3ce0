//! What a controller wants to have written. A reconcile function returns these and touches nothing itself.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{object, view::Key, view::Kind};

/// What one look at one object came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) writes: Vec<Write>,
    /// When to look again although nothing has changed.
    pub(super) wake: Option<Timestamp>,
}

impl Outcome {
    /// Looks again at this time too, if it is the earliest.
    pub(super) fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Replaces the status of an object, if it differs.
    pub(super) fn status(&mut self, kind: Kind, object: &Value, status: Value) {
        let current = object.get("status").unwrap_or(&Value::Null);
        if !object::same(current, &status) {
            self.writes.push(Write::Status { key: Key::of(kind, object), status: difference(current, status) });
        }
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Write {
    /// Makes this object. With `metadata.generateName` instead of a name, it gets one.
    Create(Kind, Value),
    /// Merges this (RFC 7386) into the object.
    Patch { key: Key, merge: Value },
    /// Merges this (RFC 7386) into the status of the object.
    Status { key: Key, status: Value },
    /// Asks for the deletion: a pod then ends gracefully.
    Delete(Key),
    /// Takes a pod away that has ended gracefully.
    Remove(Key),
    /// Tells people.
    Tell(Event),
}

/// What `kubectl describe` shows below an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// apiVersion, kind, namespace, name and uid of what it is about.
    pub(super) regarding: Value,
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// The controller that tells it.
    pub(super) by: &'static str,
}

impl Event {
    pub(super) fn normal(kind: Kind, object: &Value, by: &'static str, reason: &'static str, message: String) -> Write {
        Write::Tell(Event { regarding: reference(kind, object), warning: false, reason, message, by })
    }

    pub(super) fn warning(
        kind: Kind,
        object: &Value,
        by: &'static str,
        reason: &'static str,
        message: String,
    ) -> Write {
        Write::Tell(Event { regarding: reference(kind, object), warning: true, reason, message, by })
    }
}

fn reference(kind: Kind, object: &Value) -> Value {
    json!({
        "apiVersion": kind.api_version(), "kind": kind.name(), "namespace": object::namespace(object),
        "name": object::name(object), "uid": object::uid(object),
    })
}

/// The merge that turns `current` into `wanted`: keys that are gone become null.
fn difference(current: &Value, wanted: Value) -> Value {
    let mut merge = wanted;
    for key in current.as_object().into_iter().flat_map(|current| current.keys()) {
        if merge.get(key).is_none() {
            merge[key] = Value::Null;
        }
    }
    merge
}
