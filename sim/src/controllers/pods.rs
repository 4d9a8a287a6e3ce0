//! Pods as workloads make and count them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    object::{self, name, uid},
    view::{Key, Kind},
    write::{Event, Outcome, Write},
};

/// A pod of a template, controlled by its maker. `count` is how many were made in the same pass before; `taken` are names that
/// are in use.
pub(super) fn of_template(
    template: &Value,
    owner: (Kind, &Value),
    now: Timestamp,
    count: &mut u64,
    taken: &[&Arc<Value>],
) -> Value {
    let (kind, maker) = owner;
    let prefix = format!("{}-", name(maker));
    let seed = format!("{}/{}", uid(maker), now.as_nanosecond());
    let name = loop {
        let name = format!("{prefix}{}", object::suffix(&seed, *count));
        *count += 1;
        if taken.iter().all(|pod| object::name(pod) != name) {
            break name;
        }
    };
    let mut metadata = json!({
        "name": name,
        "generateName": prefix,
        "namespace": object::namespace(maker),
        "ownerReferences": [object::owner_reference(maker, kind)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template.pointer(&format!("/metadata/{field}")).filter(|value| !value.is_null()) {
            metadata[field] = value.clone();
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

impl Outcome {
    /// Makes a pod and tells it.
    pub(super) fn create_pod(&mut self, owner: (Kind, &Value), by: &'static str, pod: Value) {
        let message = format!("Created pod: {}", name(&pod));
        self.writes.push(Write::Create(Kind::Pod, pod));
        self.writes.push(Event::normal(owner.0, owner.1, by, "SuccessfulCreate", message));
    }

    /// Deletes a pod and tells it.
    pub(super) fn delete_pod(&mut self, owner: (Kind, &Value), by: &'static str, pod: &Value) {
        let message = format!("Deleted pod: {}", name(pod));
        self.writes.push(Write::Delete(Key::of(Kind::Pod, pod)));
        self.writes.push(Event::normal(owner.0, owner.1, by, "SuccessfulDelete", message));
    }
}

/// Whether a pod has been ready for long enough to count as available; if not yet, when it will have been.
pub(super) fn availability(pod: &Value, min_ready_seconds: i64, now: Timestamp) -> Availability {
    let Some(since) = object::ready_since(pod) else {
        return Availability::NotReady;
    };
    let from = since.checked_add(SignedDuration::from_secs(min_ready_seconds)).unwrap_or(Timestamp::MAX);
    if min_ready_seconds == 0 || from <= now { Availability::Available } else { Availability::From(from) }
}

/// See [`availability`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    NotReady,
    From(Timestamp),
    Available,
}
