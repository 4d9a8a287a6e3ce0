//! The handle on a cluster, and the way in for actors of the same process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::access::{Access, Attempt};
use crate::changes::{Bell, Changes};
use crate::clock::Clock;
use crate::registry::Kind;
use crate::selector;
use crate::state::{Options, Part, State, Target};
use crate::status::Status;
use crate::store::Change;
use crate::verbs::{Deletion, Dependents, Patch};

/// A Kubernetes in memory. Cheap to clone; all clones are the same cluster.
///
/// Its methods are what a client with all rights could do, without waiting and without faults: they go through the same
/// defaults, rules and ownership of fields as requests. Objects are JSON with `apiVersion`, `kind` and `metadata`.
#[derive(Clone)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
    bell: Bell,
}

impl Cluster {
    /// A cluster with the namespaces that every cluster has, and nothing else. The same calls on it give the same uids
    /// and names every time.
    pub fn new(clock: impl Clock) -> Cluster {
        Cluster::seeded(clock, 0)
    }

    /// A cluster whose uids and generated names follow from `seed`.
    pub fn seeded(clock: impl Clock, seed: u64) -> Cluster {
        let state = State::new(Arc::new(clock), seed);
        let bell = Bell::new(state.store.version());
        Cluster { state: Arc::new(Mutex::new(state)), bell }
    }

    /// Becomes changed after every change of an object.
    pub fn changed(&self) -> Changes {
        self.bell.follow()
    }

    /// The time in the cluster.
    pub fn now(&self) -> jiff::Timestamp {
        self.lock().clock.now()
    }

    /// The version after the last change.
    pub fn version(&self) -> u64 {
        self.lock().store.version()
    }

    /// The object; `None` when there is none, or no such kind. The namespace is of no matter for kinds without.
    pub fn get(&self, kind: Kind<'_>, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let state = self.lock();
        let target = state.target(kind, namespace, name)?;
        state.read(&target).ok()
    }

    /// All objects of a kind in the order of namespace and name; an empty namespace means all of them.
    pub fn list(&self, kind: Kind<'_>, namespace: &str) -> Vec<Arc<Value>> {
        let state = self.lock();
        let Some(target) = state.target(kind, namespace, "") else { return vec![] };
        state.list(&target, &crate::verbs::Query::default()).map(|page| page.items).unwrap_or_default()
    }

    /// Those that a label selector such as `app=web,tier in (a,b)` selects.
    ///
    /// # Errors
    /// When the selector cannot be read.
    pub fn select(&self, kind: Kind<'_>, namespace: &str, labels: &str) -> Result<Vec<Arc<Value>>, Status> {
        let mut selected = vec![];
        for object in self.list(kind, namespace) {
            if selector::labels_match(labels, &object)? {
                selected.push(object);
            }
        }
        Ok(selected)
    }

    /// The objects that name `uid` as an owner, in order of kind, namespace and name.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<Value>> {
        let state = self.lock();
        state.store.dependents(uid).iter().filter_map(|key| state.store.get(key).cloned()).collect()
    }

    /// Creates an object as the field manager `manager`.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn create(&self, manager: &str, object: Value) -> Result<Arc<Value>, Status> {
        self.write(|state| {
            let target = state.target_of(&object)?;
            state.create(&target, object, &options(manager, false)).map(|written| written.object)
        })
    }

    /// Replaces an object; its `metadata.resourceVersion` guards against concurrent writers, if it is there.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn update(&self, manager: &str, object: Value) -> Result<Arc<Value>, Status> {
        self.replace(manager, object, Part::Whole)
    }

    /// Replaces an object's status.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn update_status(&self, manager: &str, object: Value) -> Result<Arc<Value>, Status> {
        self.replace(manager, object, Part::Status)
    }

    /// Server-side apply, forced. Creates what is missing.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn apply_as(&self, manager: &str, object: Value) -> Result<Arc<Value>, Status> {
        self.write(|state| {
            let target = state.target_of(&object)?;
            state.patch(&target, &Patch::Apply(object), &options(manager, true)).map(|written| written.object)
        })
    }

    /// Changes an object by a merge patch (RFC 7386).
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn patch(
        &self,
        manager: &str,
        kind: Kind<'_>,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Arc<Value>, Status> {
        self.merge(manager, kind, namespace, name, patch, Part::Whole)
    }

    /// Changes an object's status by a merge patch of the whole object: `{"status": {…}}`.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn patch_status(
        &self,
        manager: &str,
        kind: Kind<'_>,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<Arc<Value>, Status> {
        self.merge(manager, kind, namespace, name, patch, Part::Status)
    }

    /// Sets the number of replicas through the scale subresource.
    ///
    /// # Errors
    /// As the API server refuses.
    pub fn scale(
        &self,
        manager: &str,
        kind: Kind<'_>,
        namespace: &str,
        name: &str,
        replicas: u32,
    ) -> Result<(), Status> {
        let patch = serde_json::json!({ "spec": { "replicas": replicas } });
        self.merge(manager, kind, namespace, name, patch, Part::Scale).map(|_| ())
    }

    /// Deletes an object, its dependents in the background. A pod on a node gets its time to end.
    ///
    /// # Errors
    /// As the API server refuses; an object that is not there is refused as not found.
    pub fn delete(&self, kind: Kind<'_>, namespace: &str, name: &str) -> Result<(), Status> {
        self.remove(kind, namespace, name, None)
    }

    /// Deletes at once: how the kubelet reports that a pod has ended.
    ///
    /// # Errors
    /// As [`delete`](Cluster::delete).
    pub fn delete_now(&self, kind: Kind<'_>, namespace: &str, name: &str) -> Result<(), Status> {
        self.remove(kind, namespace, name, Some(0))
    }

    /// All changes after a version, oldest first.
    ///
    /// # Errors
    /// `410 Expired` when some of them are forgotten: list again.
    pub fn watch_from(&self, version: u64) -> Result<Vec<Change>, Status> {
        let state = self.lock();
        let changes = state.store.since(version).ok_or_else(|| {
            Status::expired(format!("too old resource version: {version} ({})", state.store.version()))
        })?;
        Ok(changes.cloned().collect())
    }

    /// From now on requests with a client are allowed by this rule alone. Calls on the cluster itself always are.
    pub fn authorize(&self, rule: impl Fn(&Attempt) -> bool + Send + Sync + 'static) {
        self.lock().access = Access::by(rule);
    }

    /// Forgets all changes so far: watches that resume from before must list again.
    pub fn compact(&self) {
        self.lock().store.compact();
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `change` write, and tells everybody afterwards when it did.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut State) -> Result<T, Status>) -> Result<T, Status> {
        let mut state = self.lock();
        let result = change(&mut state);
        let version = state.store.version();
        drop(state);
        self.bell.ring(version);
        result
    }

    fn replace(&self, manager: &str, object: Value, part: Part) -> Result<Arc<Value>, Status> {
        self.write(|state| {
            let target = Target { part, ..state.target_of(&object)? };
            state.update(&target, object, &options(manager, false)).map(|written| written.object)
        })
    }

    fn merge(
        &self,
        manager: &str,
        kind: Kind<'_>,
        namespace: &str,
        name: &str,
        patch: Value,
        part: Part,
    ) -> Result<Arc<Value>, Status> {
        self.write(|state| {
            let target = state.target(kind, namespace, name).ok_or_else(Status::no_such_path)?;
            let target = Target { part, ..target };
            state.patch(&target, &Patch::Merge(patch), &options(manager, false)).map(|written| written.object)
        })
    }

    fn remove(&self, kind: Kind<'_>, namespace: &str, name: &str, grace: Option<i64>) -> Result<(), Status> {
        self.write(|state| {
            let target = state.target(kind, namespace, name).ok_or_else(Status::no_such_path)?;
            let deletion = Deletion { dependents: Dependents::Background, grace, ..Deletion::default() };
            state.delete(&target, &deletion).map(|_| ())
        })
    }
}

fn options(manager: &str, force: bool) -> Options {
    Options { manager: manager.to_owned(), force, ..Options::default() }
}
