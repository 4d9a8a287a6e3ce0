//! What a template may know of a workload.

use std::collections::BTreeMap;

use rollout::spec::TargetKind;
use serde_json::{Value, json};

use super::ANNOTATION;

/// Containers of service meshes, whose ports are not the application's.
const MESH_CONTAINERS: [&str; 2] = ["istio-proxy", "envoy"];

/// What a template may know of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its kind.
    pub kind: TargetKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The template that it asks for.
    pub template: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The first port of its first container that has one.
    pub port: Option<i64>,
    /// It is the primary of some Canary.
    pub is_of_a_canary: bool,
    /// It is being deleted.
    pub deleting: bool,
}

impl Workload {
    /// Reads it.
    pub fn of(kind: TargetKind, object: &Value) -> Workload {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let texts = |pointer| {
            let fields = object.pointer(pointer).and_then(Value::as_object);
            let texts = fields.into_iter().flatten();
            texts.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        };
        let annotations: BTreeMap<String, String> = texts("/metadata/annotations");
        let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
        let ours = |container: &&Value| {
            !MESH_CONTAINERS.contains(&container.get("name").and_then(Value::as_str).unwrap_or_default())
        };
        let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        Workload {
            kind,
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
            template: annotations.get(ANNOTATION).map(|name| name.trim().to_owned()),
            labels: texts("/metadata/labels"),
            port: containers
                .into_iter()
                .flatten()
                .filter(ours)
                .filter_map(|container| container.pointer("/ports/0/containerPort"))
                .find_map(Value::as_i64),
            is_of_a_canary: owners
                .into_iter()
                .flatten()
                .any(|owner| owner["kind"] == "Canary" && owner["controller"] == true),
            deleting: object.pointer("/metadata/deletionTimestamp").is_some(),
            annotations,
        }
    }

    /// The controller reference to it.
    pub fn reference(&self) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": self.kind.as_str(), "name": self.name, "uid": self.uid, "controller": true,
        })
    }

    /// True when it controls the object.
    pub fn controls(&self, object: &Value) -> bool {
        let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        owners.into_iter().flatten().any(|owner| owner["uid"] == self.uid.as_str() && owner["controller"] == true)
    }
}
