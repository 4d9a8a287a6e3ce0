//! CustomResourceDefinitions: kinds that come and go while the cluster runs.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::registry::{Resource, Scale, Version};
use crate::schema::{self, Lazy, builtin};
use crate::state::State;
use crate::store::Key;
use crate::verbs::Deletion;

/// Conditions and names that the server writes into a definition.
pub(crate) fn establish(state: &State, live: Option<&Value>, next: &mut Value) {
    let now = state.now_text();
    let condition = |kind: &str, reason: &str, message: &str| {
        let earlier = live.and_then(|live| live["status"]["conditions"].as_array());
        let earlier = earlier.and_then(|conditions| conditions.iter().find(|condition| condition["type"] == kind));
        let since = earlier.map_or_else(|| json!(now), |earlier| earlier["lastTransitionTime"].clone());
        json!({ "type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": since })
    };
    let versions = next["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<Value> =
        versions.filter(|version| version["storage"] == true).map(|version| version["name"].clone()).collect();
    next["status"] = json!({
        "acceptedNames": next["spec"]["names"],
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": stored,
    });
}

/// The kind of a definition that was stored.
pub(crate) fn register(state: &mut State, key: &Key) {
    let Some(definition) = state.store.get(key).cloned() else { return };
    if let Some(resource) = resource(&definition) {
        state.registry.add(resource);
        state.kinds_changed += 1;
    }
}

/// The kind of a definition that is gone, with all its objects.
pub(crate) fn unregister(state: &mut State, definition: &Value) {
    let text = |pointer| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let Some(resource) = state.registry.by_plural(text("/spec/group"), text("/spec/names/plural")).cloned() else {
        return;
    };
    let keys: Vec<Key> = state.store.list(&resource.storage, "").map(|(key, _)| key.clone()).collect();
    for key in keys {
        let Some(object) = state.store.get(&key).cloned() else { continue };
        if let Ok(target) = state.target_of(&object) {
            // A finalizer that nobody will ever remove must not keep the object of a kind that is gone.
            let _ = state.delete(&target, &Deletion::default());
            state.erase(&key);
        }
    }
    state.registry.remove(&resource.group, &resource.plural);
    state.kinds_changed += 1;
}

fn resource(definition: &Value) -> Option<Resource> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<String>>();
    let (group, names) = (text(&spec["group"]), &spec["names"]);
    let plural = text(&names["plural"]);
    let mut versions: Vec<(bool, Version)> = spec["versions"]
        .as_array()?
        .iter()
        .map(|version| {
            let raw = Arc::new(version["schema"]["openAPIV3Schema"].clone());
            let subresources = &version["subresources"];
            let scale = subresources.get("scale").map(|scale| Scale {
                spec_replicas: pointer(&scale["specReplicasPath"]),
                status_replicas: pointer(&scale["statusReplicasPath"]),
                selector: scale.get("labelSelectorPath").map(pointer),
            });
            let selectable = version["selectableFields"].as_array().into_iter().flatten();
            let version_of = Version {
                name: text(&version["name"]),
                served: version["served"] == true,
                schema: {
                    let raw = raw.clone();
                    Lazy::new(move || schema::custom(&raw, builtin::metadata()).into())
                },
                raw,
                status: subresources.get("status").is_some(),
                scale,
                columns: version["additionalPrinterColumns"].as_array().cloned().unwrap_or_default(),
                selectable: selectable.map(|field| text(&field["jsonPath"])).collect(),
            };
            (version["storage"] == true, version_of)
        })
        .collect();
    versions.sort_by_key(|(storage, _)| !storage);
    Some(Resource {
        storage: format!("{plural}.{group}").into(),
        kind: text(&names["kind"]),
        singular: text(&names["singular"]),
        short_names: texts(&names["shortNames"]),
        categories: texts(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        versions: versions.into_iter().map(|(_, version)| version).collect(),
        custom: true,
        generations: true,
        group,
        plural,
    })
}

/// `.spec.replicas` as `/spec/replicas`.
fn pointer(path: &Value) -> String {
    path.as_str().unwrap_or_default().replace('.', "/")
}
