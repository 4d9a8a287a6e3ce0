//! A ReplicaSet of a Deployment, as one pass sees and changes it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use super::spec::Spec;
use crate::controllers::{
    object::{self, name, number, texts},
    view::{Key, Kind},
    write::Write,
};

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a Deployment that are not those of its ReplicaSets.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
];
const HASH: &str = "pod-template-hash";

/// One ReplicaSet.
#[derive(Debug)]
pub(super) struct Set {
    object: Arc<Value>,
    is_new: bool,
    pub(super) replicas: i64,
    min_ready_seconds: i64,
    annotations: BTreeMap<String, String>,
}

impl Set {
    pub(super) fn existing(object: Arc<Value>) -> Set {
        Set {
            is_new: false,
            replicas: number(&object, "/spec/replicas").unwrap_or(1),
            min_ready_seconds: number(&object, "/spec/minReadySeconds").unwrap_or(0),
            annotations: texts(&object, "/metadata/annotations"),
            object,
        }
    }

    /// One for the present template, without pods yet.
    pub(super) fn made_for(deployment: &Value, hash: &str) -> Set {
        let template = &deployment["spec"]["template"];
        let mut labels = template.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
        labels[HASH] = hash.into();
        let mut template = template.clone();
        template["metadata"]["labels"] = labels.clone();
        let mut selector = deployment["spec"]["selector"].clone();
        selector["matchLabels"][HASH] = hash.into();
        let object = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", name(deployment)),
                "namespace": object::namespace(deployment),
                "labels": labels,
                "ownerReferences": [object::owner_reference(deployment, Kind::Deployment)],
            },
            "spec": {"selector": selector, "template": template},
        });
        Set { object: Arc::new(object), is_new: true, replicas: 0, min_ready_seconds: 0, annotations: BTreeMap::new() }
    }

    pub(super) fn name(&self) -> &str {
        name(&self.object)
    }

    pub(super) fn uid(&self) -> &str {
        object::uid(&self.object)
    }

    /// Older ones first.
    pub(super) fn age_order(&self) -> (&str, &str) {
        (object::text(&self.object, "/metadata/creationTimestamp"), self.name())
    }

    /// Whether its pods are made of this template.
    pub(super) fn is_of(&self, template: &Value) -> bool {
        let own = &self.object["spec"]["template"];
        let metadata = |template: &Value| {
            let mut metadata = template["metadata"].clone();
            if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
                labels.remove(HASH);
            }
            metadata
        };
        object::same(&own["spec"], &template["spec"]) && object::same(&metadata(own), &metadata(template))
    }

    fn count(&self, of: &str) -> i64 {
        self.object["status"][of].as_i64().unwrap_or(0)
    }

    pub(super) fn actual(&self) -> i64 {
        self.count("replicas")
    }

    pub(super) fn ready(&self) -> i64 {
        self.count("readyReplicas")
    }

    pub(super) fn available(&self) -> i64 {
        self.count("availableReplicas")
    }

    pub(super) fn terminating(&self) -> i64 {
        self.count("terminatingReplicas")
    }

    /// Whether nothing of it is left or still to come.
    pub(super) fn is_spent(&self) -> bool {
        self.replicas == 0
            && self.actual() == 0
            && object::generation(&self.object) <= self.count("observedGeneration")
            && !object::is_deleting(&self.object)
    }

    pub(super) fn revision(&self) -> i64 {
        self.annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// How many pods the Deployment wanted when this was scaled last.
    pub(super) fn desired(&self) -> Option<i64> {
        self.annotations.get(DESIRED)?.parse().ok()
    }

    /// How many pods the Deployment could have had when this was scaled last.
    pub(super) fn maximum(&self) -> Option<i64> {
        self.annotations.get(MAXIMUM)?.parse().ok().filter(|maximum| *maximum != 0)
    }

    pub(super) fn note_scale(&mut self, spec: &Spec) {
        self.annotations.insert(DESIRED.to_owned(), spec.replicas.to_string());
        self.annotations.insert(MAXIMUM.to_owned(), (spec.replicas + spec.surge()).to_string());
    }

    /// Makes it the present one: the Deployment's annotations, and a revision above those of all others. What revisions it
    /// was before stays on record.
    pub(super) fn make_current(&mut self, deployment: &Value, spec: &Spec, revision: i64) {
        for (key, value) in texts(deployment, "/metadata/annotations") {
            if !NOT_COPIED.contains(&key.as_str()) {
                self.annotations.insert(key, value);
            }
        }
        let old = self.revision();
        if old < revision
            && let Some(old) = self.annotations.insert(REVISION.to_owned(), revision.to_string())
        {
            let history = self.annotations.entry(HISTORY.to_owned()).or_default();
            if !history.is_empty() {
                history.push(',');
            }
            history.push_str(&old);
        }
        if self.is_new {
            self.note_scale(spec);
        }
        self.min_ready_seconds = spec.min_ready_seconds;
    }

    /// What has to be written for it, if anything.
    pub(super) fn write(self) -> Option<Write> {
        if self.is_new {
            let mut object = Arc::unwrap_or_clone(self.object);
            object["metadata"]["annotations"] = json!(self.annotations);
            object["spec"]["replicas"] = self.replicas.into();
            if self.min_ready_seconds != 0 {
                object["spec"]["minReadySeconds"] = self.min_ready_seconds.into();
            }
            return Some(Write::Create(Kind::ReplicaSet, object));
        }
        let before = Set::existing(Arc::clone(&self.object));
        let mut merge = Map::new();
        if self.annotations != before.annotations {
            merge.insert("metadata".to_owned(), json!({"annotations": self.annotations}));
        }
        let mut spec = Map::new();
        if self.replicas != before.replicas {
            spec.insert("replicas".to_owned(), self.replicas.into());
        }
        if self.min_ready_seconds != before.min_ready_seconds {
            spec.insert("minReadySeconds".to_owned(), self.min_ready_seconds.into());
        }
        if !spec.is_empty() {
            merge.insert("spec".to_owned(), Value::Object(spec));
        }
        (!merge.is_empty())
            .then(|| Write::Patch { key: Key::of(Kind::ReplicaSet, &self.object), merge: Value::Object(merge) })
    }

    pub(super) fn deletion(&self) -> Write {
        Write::Delete(Key::of(Kind::ReplicaSet, &self.object))
    }
}
