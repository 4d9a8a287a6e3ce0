//! The same object through different versions and groups.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::state::Target;

/// Names of an Event's fields in the core group and in `events.k8s.io`.
const EVENT_FIELDS: [(&str, &str); 8] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("source", "deprecatedSource"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
];

/// A stored object as the target's version shows it.
pub(crate) fn outbound(target: &Target, stored: &Arc<Value>) -> Arc<Value> {
    if is_newer_event(target) {
        return Arc::new(renamed(stored, "events.k8s.io/v1", |name| {
            EVENT_FIELDS.iter().find(|(old, _)| *old == name).map(|(_, new)| *new)
        }));
    }
    if stored["apiVersion"] == target.api_version().as_str() {
        return stored.clone();
    }
    let mut object = (**stored).clone();
    object["apiVersion"] = target.api_version().into();
    Arc::new(object)
}

/// An object of the target's version as it is stored.
pub(crate) fn inbound(target: &Target, object: Value) -> Value {
    if is_newer_event(target) {
        return renamed(&object, "v1", |name| EVENT_FIELDS.iter().find(|(_, new)| *new == name).map(|(old, _)| *old));
    }
    let mut object = object;
    object["apiVersion"] = target.resource.api_version(0).into();
    object
}

fn is_newer_event(target: &Target) -> bool {
    target.resource.group == "events.k8s.io"
}

fn renamed(object: &Value, api_version: &str, name_of: impl Fn(&str) -> Option<&'static str>) -> Value {
    let mut fields = Map::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        fields.insert(name_of(name).unwrap_or(name).to_owned(), value.clone());
    }
    fields.insert("apiVersion".to_owned(), api_version.into());
    Value::Object(fields)
}
