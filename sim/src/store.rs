//! The objects, in one order, with one version that counts all changes, and the last changes themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;

/// Changes kept for watches that resume. One that is further behind is told to list again.
const KEPT_CHANGES: usize = 20_000;

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// `plural` or `plural.group`.
    pub(crate) resource: Arc<str>,
    /// Empty for what belongs to the cluster.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is another.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// The cluster's version after it.
    pub version: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// The object after the change; of a deleted one the last state, with the version of its deletion.
    pub object: Arc<Value>,
    /// The object before the change.
    pub previous: Option<Arc<Value>>,
    pub(crate) key: Key,
}

/// All objects.
#[derive(Debug, Default)]
pub(crate) struct Store {
    version: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    changes: VecDeque<Change>,
    forgotten: u64,
    uids: BTreeMap<String, Key>,
    /// By the owner's uid.
    dependents: BTreeMap<String, BTreeSet<Key>>,
}

impl Store {
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// In order of namespace and name; an empty namespace means all.
    pub(crate) fn list<'a>(
        &'a self,
        resource: &'a Arc<str>,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> + use<'a> {
        let from = Key { resource: resource.clone(), namespace: namespace.to_owned(), name: String::new() };
        self.objects.range(from..).take_while(move |(key, _)| {
            key.resource == *resource && (namespace.is_empty() || key.namespace == namespace)
        })
    }

    /// Everything, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// The collection as it was after `version`; `None` when that is too long ago.
    pub(crate) fn list_at(
        &self,
        resource: &Arc<str>,
        namespace: &str,
        version: u64,
    ) -> Option<BTreeMap<Key, Arc<Value>>> {
        let mut then: BTreeMap<Key, Arc<Value>> =
            self.list(resource, namespace).map(|(key, object)| (key.clone(), object.clone())).collect();
        for change in self.since(version)?.rev() {
            if change.key.resource != *resource || !(namespace.is_empty() || change.key.namespace == namespace) {
                continue;
            }
            match &change.previous {
                Some(previous) => then.insert(change.key.clone(), previous.clone()),
                None => then.remove(&change.key),
            };
        }
        Some(then)
    }

    /// The object of that uid.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<&Key> {
        self.uids.get(uid)
    }

    /// Objects that name that uid as an owner.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<Key> {
        self.dependents.get(uid).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// Changes after `version`, oldest first; `None` when some of them are forgotten.
    pub(crate) fn since(&self, version: u64) -> Option<impl DoubleEndedIterator<Item = &Change>> {
        if version < self.forgotten {
            return None;
        }
        let first = self.changes.partition_point(|change| change.version <= version);
        Some(self.changes.range(first..))
    }

    /// Forgets all changes so far, as a server does after compaction.
    pub(crate) fn compact(&mut self) {
        self.changes.clear();
        self.forgotten = self.version;
    }

    /// Stores the object under the next version, which is written into it.
    pub(crate) fn put(&mut self, key: Key, mut object: Value) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(object);
        let previous = self.objects.insert(key.clone(), object.clone());
        if let Some(previous) = &previous {
            self.forget_references(&key, previous);
        }
        self.note_references(&key, &object);
        let kind = if previous.is_some() { ChangeKind::Modified } else { ChangeKind::Added };
        self.remember(Change { version: self.version, kind, object: object.clone(), previous, key });
        object
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let previous = self.objects.remove(key)?;
        self.forget_references(key, &previous);
        self.version += 1;
        let mut object = (*previous).clone();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(object);
        let change = Change {
            version: self.version,
            kind: ChangeKind::Deleted,
            object: object.clone(),
            previous: Some(previous),
            key: key.clone(),
        };
        self.remember(change);
        Some(object)
    }

    fn note_references(&mut self, key: &Key, object: &Value) {
        if let Some(uid) = object["metadata"]["uid"].as_str() {
            self.uids.insert(uid.to_owned(), key.clone());
        }
        for owner in owner_uids(object) {
            self.dependents.entry(owner.to_owned()).or_default().insert(key.clone());
        }
    }

    fn forget_references(&mut self, key: &Key, object: &Value) {
        if let Some(uid) = object["metadata"]["uid"].as_str() {
            self.uids.remove(uid);
        }
        for owner in owner_uids(object) {
            if let Some(keys) = self.dependents.get_mut(owner) {
                keys.remove(key);
                if keys.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }

    fn remember(&mut self, change: Change) {
        self.changes.push_back(change);
        if self.changes.len() > KEPT_CHANGES
            && let Some(oldest) = self.changes.pop_front()
        {
            self.forgotten = oldest.version;
        }
    }
}

/// Uids of the object's owners.
pub(crate) fn owner_uids(object: &Value) -> impl Iterator<Item = &str> {
    let references = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    references.filter_map(|reference| reference["uid"].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> Key {
        Key { resource: "pods".into(), namespace: "a".into(), name: name.into() }
    }

    #[test]
    fn an_earlier_list_can_be_asked_for_until_it_is_forgotten() {
        let mut store = Store::default();
        store.put(key("x"), json!({"metadata": {}, "n": 1}));
        store.put(key("y"), json!({"metadata": {}}));
        let then = store.version();
        store.put(key("x"), json!({"metadata": {}, "n": 2}));
        store.remove(&key("y"));
        store.put(key("z"), json!({"metadata": {}}));
        let names = |version| {
            let list = store.list_at(&"pods".into(), "", version)?;
            Some(list.iter().map(|(key, object)| format!("{}{}", key.name, object["n"])).collect::<Vec<_>>())
        };
        assert_eq!(names(then).unwrap(), ["x1", "ynull"]);
        assert_eq!(names(store.version()).unwrap(), ["x2", "znull"]);
        store.compact();
        assert!(store.since(then).is_none());
        assert!(store.since(store.version()).is_some());
    }
}
