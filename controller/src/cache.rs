//! Everything that Serin sees: shared watches of whole kinds, and a change there wakes exactly the Canaries that depend
//! on it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kube::Client;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::attribution;
use crate::metrics::Metrics;
use crate::objects::Kind;
use crate::objects::kinds::{CANARY, DAEMON_SET, DEPLOYMENT};
use crate::queue::Queue;
use crate::store::{Packed, Parsed, Store};
use crate::view::View;
use crate::watch::{self, Ownership, Seen, Trouble};

/// Which Canary.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanaryKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl CanaryKey {
    /// The Canary of that name in that namespace.
    pub fn new(namespace: &str, name: &str) -> CanaryKey {
        CanaryKey { namespace: namespace.into(), name: name.into() }
    }
}

/// `name.namespace`, as Flagger's logs and messages have it.
impl fmt::Display for CanaryKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.name, self.namespace)
    }
}

/// All that was seen. Cheap to clone; all clones are the same cache.
#[derive(Clone)]
pub struct Cache {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    namespace: Option<String>,
    queue: Queue<CanaryKey>,
    metrics: Metrics,
    watches: Mutex<HashMap<Kind, JoinHandle<()>>>,
    store: Mutex<Store>,
    parsed: Mutex<Parsed>,
    listener: OnceLock<Listener>,
}

type Listener = Box<dyn Fn(&CanaryKey) + Send + Sync>;

impl Cache {
    /// A cache over this client that wakes Canaries through `queue`; of one namespace when given. Nothing is watched
    /// before it is asked for.
    pub fn new(client: Client, namespace: Option<String>, queue: Queue<CanaryKey>, metrics: Metrics) -> Cache {
        let (watches, store, parsed) = (Mutex::default(), Mutex::default(), Mutex::default());
        let listener = OnceLock::new();
        Cache { shared: Arc::new(Shared { client, namespace, queue, metrics, watches, store, parsed, listener }) }
    }

    /// Tells the listener of every Canary that is woken, as soon as what it saw has changed. There is one at most.
    pub fn tell(&self, listener: impl Fn(&CanaryKey) + Send + Sync + 'static) {
        // A second dashboard would be told the same; the first stays.
        let _ = self.shared.listener.set(Box::new(listener));
    }

    /// Watches the kind from now on. Must be called within a tokio runtime.
    pub fn ensure(&self, kind: Kind) {
        self.watches().entry(kind).or_insert_with(|| tokio::spawn(watch::watch(self.clone(), kind)));
    }

    /// What the Canary sees; every look-up through it is remembered, and a change there wakes the Canary.
    pub fn view(&self, canary: CanaryKey) -> View {
        View::new(self.clone(), canary)
    }

    /// The Canary as last seen, valid or not.
    pub fn canary(&self, key: &CanaryKey) -> Option<Arc<Value>> {
        self.get(CANARY, &key.namespace, &key.name)
    }

    /// All Canaries.
    pub fn canaries(&self) -> Vec<CanaryKey> {
        self.store().canaries()
    }

    /// The Canaries whose `spec.targetRef` names this workload, in order of their names: more than one is a conflict.
    pub fn canaries_of_target(&self, namespace: &str, kind: &str, name: &str) -> Vec<CanaryKey> {
        self.store().canaries_of_target(&(Arc::from(namespace), kind.to_owned(), name.to_owned()))
    }

    /// True when a workload is annotated to get a Canary of this name.
    pub fn is_opted_in(&self, key: &CanaryKey) -> bool {
        self.store().is_opted_in(key)
    }

    /// Names of the objects of the kind in that namespace, in their order.
    pub fn names(&self, kind: Kind, namespace: &str) -> Vec<String> {
        let mut store = self.store();
        let present = store.kind(kind).present();
        present.filter(|(place, _)| **place == *namespace).map(|(_, name)| name.to_string()).collect()
    }

    /// The object as last seen, whoever asks; not remembered as a dependency.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let packed = self.store().kind(kind).packed(namespace, name);
        packed.map(|packed| self.parsed(packed))
    }

    /// Version of the object as last seen.
    pub fn resource_version(&self, kind: Kind, namespace: &str, name: &str) -> Option<String> {
        self.store().kind(kind).entry(namespace, name).map(|entry| entry.resource_version.to_string())
    }

    /// Who owns fields of the object, as far as it matters here.
    pub fn ownership(&self, kind: Kind, namespace: &str, name: &str) -> Ownership {
        self.store().kind(kind).entry(namespace, name).map(|entry| entry.ownership).unwrap_or_default()
    }

    /// Number of the last event about the object. While it stays the same, the watch has told nothing new, not even what
    /// was written by Serin itself.
    pub(crate) fn last_event(&self, kind: Kind, namespace: &str, name: &str) -> u64 {
        self.store().kind(kind).last_event(namespace, name)
    }

    /// True when the kind has been listed and is being followed.
    pub fn is_synced(&self, kind: Kind) -> bool {
        self.store().kind(kind).synced
    }

    /// Why the kind cannot be watched: its API is not installed, or a right is missing.
    pub fn problem(&self, kind: Kind) -> Option<String> {
        self.store().kind(kind).problem.as_ref().map(|(Trouble::NoApi(text) | Trouble::NoRight(text))| text.clone())
    }

    /// True when every kind asked for so far is synced or has a problem that does not pass by itself, and the Canaries
    /// are among the synced.
    pub fn is_ready(&self) -> bool {
        let watched: Vec<Kind> = self.watches().keys().copied().collect();
        let mut store = self.store();
        let settled = |kind: Kind| {
            let state = store.kind(kind);
            state.synced || (kind != CANARY && state.problem.is_some())
        };
        watched.contains(&CANARY) && watched.into_iter().all(settled)
    }

    /// True while every watch task lives.
    pub fn is_alive(&self) -> bool {
        self.watches().values().all(|task| !task.is_finished())
    }

    /// Ends all watches.
    pub fn stop(&self) {
        for (_, task) in self.watches().drain() {
            task.abort();
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The only namespace that is watched, when there is a restriction.
    pub fn namespace(&self) -> Option<&str> {
        self.shared.namespace.as_deref()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Looks an object up for a Canary and remembers that it asked, in one step, so that no change falls between.
    pub(crate) fn ask(&self, canary: &CanaryKey, kind: Kind, namespace: &str, name: &str) -> (Option<Packed>, bool) {
        self.ensure(kind);
        self.store().ask(canary, kind, namespace, name)
    }

    /// The object that was packed.
    pub(crate) fn parsed(&self, packed: Packed) -> Arc<Value> {
        self.shared.parsed.lock().unwrap_or_else(PoisonError::into_inner).object(packed)
    }

    /// Forgets what the Canary asked for earlier and did not ask for in its last pass.
    pub(crate) fn retain(&self, canary: &CanaryKey, kept: &BTreeSet<(Kind, String, String)>) {
        self.store().retain(canary, kept);
    }

    /// What is known of the kind may be old: nobody is shown it until it was listed anew.
    pub(crate) fn doubted(&self, kind: Kind) {
        self.store().kind(kind).synced = false;
    }

    pub(crate) fn listing(&self, kind: Kind) {
        self.store().kind(kind).begin_list();
    }

    pub(crate) fn listed(&self, kind: Kind, seen: Seen) {
        self.store().kind(kind).name_in_list(&seen.namespace, &seen.name);
        self.applied(kind, seen);
    }

    pub(crate) fn synced(&self, kind: Kind) {
        let mut store = self.store();
        let mut woken = BTreeSet::new();
        store.listed(kind, &mut woken);
        let state = store.kind(kind);
        state.problem = None;
        if !std::mem::replace(&mut state.synced, true) {
            tracing::debug!(kind = kind.kind, "watch synced");
            woken.extend(state.askers());
            if kind == CANARY {
                woken.extend(store.canaries());
            }
            if [CANARY, DEPLOYMENT, DAEMON_SET].contains(&kind) {
                woken.extend(store.opted_in());
            }
        }
        drop(store);
        if kind == CANARY {
            self.count_all();
        }
        if watch::is_optional(kind) {
            // Where there can be templates, workloads may ask for them.
            self.ensure(DEPLOYMENT);
            self.ensure(DAEMON_SET);
        }
        self.wake(woken);
    }

    pub(crate) fn applied(&self, kind: Kind, seen: Seen) {
        let mut store = self.store();
        let mut woken = BTreeSet::new();
        let was_new = store.apply(kind, seen, &mut woken);
        let synced = store.kind(kind).synced;
        drop(store);
        if synced {
            if let (CANARY, Some(namespace)) = (kind, was_new) {
                self.count(&namespace);
            }
            self.wake(woken);
        }
    }

    pub(crate) fn deleted(&self, kind: Kind, seen: &Seen) {
        let mut woken = BTreeSet::new();
        self.store().delete(kind, &seen.namespace, &seen.name, &mut woken);
        if kind == CANARY {
            self.count(&seen.namespace);
        }
        self.wake(woken);
    }

    /// The kind cannot be watched. Trouble that passes does not unsay trouble that does not.
    pub(crate) fn troubled(&self, kind: Kind, trouble: Option<Trouble>) {
        let Some(trouble) = trouble else { return };
        let mut store = self.store();
        let state = store.kind(kind);
        if state.problem.as_ref() == Some(&trouble) {
            return;
        }
        let (Trouble::NoApi(text) | Trouble::NoRight(text)) = &trouble;
        if watch::is_optional(kind) || attribution::is_optional(kind) {
            tracing::info!(kind = kind.kind, "{text}");
        } else {
            tracing::warn!(kind = kind.kind, "{text}");
        }
        state.problem = Some(trouble);
        let woken = state.askers().collect();
        drop(store);
        self.wake(woken);
    }

    /// The API of the kind went away, and with it all objects.
    pub(crate) fn emptied(&self, kind: Kind) {
        let mut store = self.store();
        let mut woken = BTreeSet::new();
        store.kind(kind).begin_list();
        store.listed(kind, &mut woken);
        store.kind(kind).synced = false;
        drop(store);
        if kind == CANARY {
            self.count_all();
        }
        self.wake(woken);
    }

    /// Has the Canary looked at, as something was learned of it that no watch tells.
    pub fn look_again(&self, canary: CanaryKey) {
        self.shared.queue.add(canary);
    }

    fn wake(&self, canaries: BTreeSet<CanaryKey>) {
        for canary in canaries {
            if let Some(listener) = self.shared.listener.get() {
                listener(&canary);
            }
            self.shared.queue.add(canary);
        }
    }

    fn count(&self, namespace: &str) {
        self.shared.metrics.canaries(namespace, self.store().count(namespace));
    }

    fn count_all(&self) {
        let namespaces: BTreeSet<Arc<str>> = self.canaries().into_iter().map(|key| key.namespace).collect();
        for namespace in namespaces {
            self.count(&namespace);
        }
    }

    fn watches(&self) -> MutexGuard<'_, HashMap<Kind, JoinHandle<()>>> {
        self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
