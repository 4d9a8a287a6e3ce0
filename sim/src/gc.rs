//! What follows from a change: dependents go with their owners, namespaces are emptied, kinds come and go with their
//! definitions.

use std::sync::Arc;

use serde_json::Value;

use crate::definitions;
use crate::registry::kinds;
use crate::state::{State, Target, has_finalizers};
use crate::store::{Key, owner_uids};
use crate::verbs::{Deletion, Dependents, FOREGROUND, ORPHAN};

impl State {
    /// After an object was stored.
    pub(crate) fn react(&mut self, key: &Key, object: &Arc<Value>) {
        if &*key.resource == "customresourcedefinitions.apiextensions.k8s.io" {
            definitions::register(self, key);
        }
        let deleting = !object["metadata"]["deletionTimestamp"].is_null();
        if &*key.resource == "namespaces" {
            if deleting {
                self.empty(&key.name);
            } else if object["metadata"]["resourceVersion"] == self.store.version().to_string().as_str() {
                self.furnish(&key.name);
            }
        }
        if deleting && has_finalizer(object, ORPHAN) {
            self.orphan_dependents(object);
            self.drop_finalizer(key, ORPHAN);
        } else if deleting && has_finalizer(object, FOREGROUND) {
            self.delete_dependents_first(key);
        }
        self.collect(key);
    }

    /// Takes an object away for good, and what depends on it with it.
    pub(crate) fn erase(&mut self, key: &Key) {
        let Some(object) = self.store.remove(key) else { return };
        if &*key.resource == "customresourcedefinitions.apiextensions.k8s.io" {
            definitions::unregister(self, &object);
        }
        let uid = uid_of(&object);
        for dependent in self.store.dependents(&uid) {
            self.collect(&dependent);
        }
        for owner in owner_uids(&object) {
            let Some(owner) = self.store.by_uid(owner).cloned() else { continue };
            let waits = self.store.get(&owner).is_some_and(|owner| has_finalizer(owner, FOREGROUND));
            if waits {
                self.delete_dependents_first(&owner);
            }
        }
        self.end_namespace(&key.namespace);
    }

    /// Deletes an object whose owners are all gone; takes the gone ones out of its references otherwise.
    fn collect(&mut self, key: &Key) {
        let Some(object) = self.store.get(key).cloned() else { return };
        let references = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        if references.is_empty() || !object["metadata"]["deletionTimestamp"].is_null() {
            return;
        }
        let stands = |reference: &Value| {
            let owner = reference["uid"].as_str().and_then(|uid| self.store.by_uid(uid));
            owner.is_some_and(|owner| owner.namespace.is_empty() || owner.namespace == key.namespace)
        };
        let standing: Vec<Value> = references.iter().filter(|reference| stands(reference)).cloned().collect();
        if standing.len() == references.len() {
            return;
        }
        if standing.is_empty() {
            let dependents = if has_finalizer(&object, ORPHAN) { Dependents::Orphan } else { Dependents::Background };
            self.delete_key(key, dependents);
            return;
        }
        let mut next = (*object).clone();
        next["metadata"]["ownerReferences"] = Value::Array(standing);
        self.store.put(key.clone(), next);
    }

    fn delete_dependents_first(&mut self, key: &Key) {
        let Some(object) = self.store.get(key).cloned() else { return };
        let uid = uid_of(&object);
        for dependent in self.store.dependents(&uid) {
            let Some(live) = self.store.get(&dependent) else { continue };
            if live["metadata"]["deletionTimestamp"].is_null() {
                let nested = !self.store.dependents(&uid_of(live)).is_empty();
                let policy = if nested { Dependents::Foreground } else { Dependents::Background };
                self.delete_key(&dependent, policy);
            }
        }
        let blocked =
            self.store.dependents(&uid).iter().filter_map(|dependent| self.store.get(dependent)).any(|dependent| {
                let references = dependent["metadata"]["ownerReferences"].as_array();
                references
                    .into_iter()
                    .flatten()
                    .any(|reference| reference["uid"] == uid.as_str() && reference["blockOwnerDeletion"] == true)
            });
        if !blocked {
            self.drop_finalizer(key, FOREGROUND);
        }
    }

    fn orphan_dependents(&mut self, object: &Value) {
        let uid = uid_of(object);
        for key in self.store.dependents(&uid) {
            let Some(dependent) = self.store.get(&key) else { continue };
            let mut next = (**dependent).clone();
            let mut references = next["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
            references.retain(|reference| reference["uid"] != uid.as_str());
            if let Some(metadata) = next["metadata"].as_object_mut() {
                metadata.remove("ownerReferences");
                if !references.is_empty() {
                    metadata.insert("ownerReferences".to_owned(), Value::Array(references));
                }
            }
            self.store.put(key, next);
        }
    }

    fn drop_finalizer(&mut self, key: &Key, finalizer: &str) {
        let Some(object) = self.store.get(key) else { return };
        let mut next = (**object).clone();
        if let Some(finalizers) = next["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|other| other != finalizer);
        }
        let done = !has_finalizers(&next);
        if done && let Some(metadata) = next["metadata"].as_object_mut() {
            metadata.remove("finalizers");
        }
        let grace = next["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
        self.store.put(key.clone(), next);
        if done && grace == 0 {
            self.erase(key);
        }
    }

    fn empty(&mut self, namespace: &str) {
        let inside: Vec<Key> =
            self.store.all().filter(|(key, _)| key.namespace == namespace).map(|(key, _)| key.clone()).collect();
        for key in inside {
            self.delete_key(&key, Dependents::Background);
        }
        self.end_namespace(namespace);
    }

    /// A namespace under deletion goes with the last object in it.
    fn end_namespace(&mut self, namespace: &str) {
        if namespace.is_empty() {
            return;
        }
        let Some(target) = self.target(kinds::NAMESPACE, "", namespace) else { return };
        let Ok(live) = self.stored(&target) else { return };
        if live["metadata"]["deletionTimestamp"].is_null() || has_finalizers(&live) {
            return;
        }
        if !self.store.all().any(|(key, _)| key.namespace == namespace) {
            self.erase(&target.key());
        }
    }

    fn delete_key(&mut self, key: &Key, dependents: Dependents) {
        let Some(object) = self.store.get(key).cloned() else { return };
        let Ok(target) = self.target_of(&object) else { return };
        let target = Target { name: key.name.clone(), namespace: key.namespace.clone(), ..target };
        let deletion = Deletion { dependents, ..Deletion::default() };
        // What cannot be deleted stays, as it would on a server whose collector is refused.
        let _ = self.delete(&target, &deletion);
    }
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| finalizers.iter().any(|one| one == finalizer))
}

fn uid_of(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}
