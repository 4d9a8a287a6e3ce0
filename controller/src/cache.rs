//! Everything that Serin sees: shared watches of whole kinds, kept as compact JSON, and who asked for what, so that a
//! change wakes exactly the Canaries that depend on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use serde_json::Value;

use crate::metrics::Metrics;
use crate::objects::Kind;
use crate::objects::kinds::CANARY;
use crate::queue::Queue;
use crate::view::View;
use crate::watch::{self, Ownership, Seen, Trouble, is_metadata_only};

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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kinds: Vec<KindState>,
    /// What each Canary asked for, as index of the kind, namespace and name.
    asked: HashMap<CanaryKey, BTreeSet<Address>>,
    targets: HashMap<Target, BTreeSet<CanaryKey>>,
    target_of: HashMap<CanaryKey, Target>,
    /// Events so far.
    events: u64,
}

type Address = (u16, Arc<str>, Arc<str>);
type Target = (Arc<str>, String, String);

struct KindState {
    kind: Kind,
    synced: bool,
    /// The first list is done, or failed for a reason that does not pass by itself.
    problem: Option<Trouble>,
    slots: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Slot>>,
    /// What the list under way did not name yet.
    unlisted: Option<BTreeSet<(Arc<str>, Arc<str>)>>,
    task: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Default)]
struct Slot {
    entry: Option<Entry>,
    askers: Vec<CanaryKey>,
    /// Number of the last event about this object; 0 when there was none.
    event: u64,
}

struct Entry {
    resource_version: Box<str>,
    body: Arc<[u8]>,
    ownership: Ownership,
}

/// An object as it is kept: parsed only when it is needed.
pub(crate) struct Packed {
    kind: Kind,
    resource_version: String,
    body: Arc<[u8]>,
}

impl Cache {
    /// A cache over this client that wakes Canaries through `queue`; of one namespace when given. Nothing is watched
    /// before it is asked for.
    pub fn new(client: Client, namespace: Option<String>, queue: Queue<CanaryKey>, metrics: Metrics) -> Cache {
        let state = Mutex::new(State::default());
        Cache { shared: Arc::new(Shared { client, namespace, queue, metrics, state }) }
    }

    /// Watches the kind from now on. Must be called within a tokio runtime.
    pub fn ensure(&self, kind: Kind) {
        let mut state = self.lock();
        let index = state.index(kind);
        if state.kinds[index].task.is_none() {
            state.kinds[index].task = Some(tokio::spawn(watch::watch(self.clone(), kind)));
        }
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
        let mut state = self.lock();
        let index = state.index(CANARY);
        let mut keys = Vec::new();
        for (namespace, slots) in &state.kinds[index].slots {
            let present = slots.iter().filter(|(_, slot)| slot.entry.is_some());
            keys.extend(present.map(|(name, _)| CanaryKey { namespace: namespace.clone(), name: name.clone() }));
        }
        keys
    }

    /// The Canaries whose `spec.targetRef` names this workload, in order of their names: more than one is a conflict.
    pub fn canaries_of_target(&self, namespace: &str, kind: &str, name: &str) -> Vec<CanaryKey> {
        let target = (Arc::from(namespace), kind.to_owned(), name.to_owned());
        self.lock().targets.get(&target).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// The object as last seen, whoever asks; not remembered as a dependency.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let packed = self.packed(kind, namespace, name);
        packed.map(|packed| Arc::new(packed.parse()))
    }

    /// Version of the object as last seen.
    pub fn resource_version(&self, kind: Kind, namespace: &str, name: &str) -> Option<String> {
        let mut state = self.lock();
        let index = state.index(kind);
        state.kinds[index].entry(namespace, name).map(|entry| entry.resource_version.to_string())
    }

    /// What a checksum of a ConfigMap or Secret depends on: its version as last seen.
    pub fn config_checksum_source(&self, kind: Kind, namespace: &str, name: &str) -> Option<String> {
        self.resource_version(kind, namespace, name)
    }

    /// Who owns fields of the object, as far as it matters here.
    pub fn ownership(&self, kind: Kind, namespace: &str, name: &str) -> Ownership {
        let mut state = self.lock();
        let index = state.index(kind);
        state.kinds[index].entry(namespace, name).map(|entry| entry.ownership).unwrap_or_default()
    }

    /// Number of the last event about the object. While it stays the same, the watch has told nothing new, not even what
    /// was written by Serin itself.
    pub(crate) fn last_event(&self, kind: Kind, namespace: &str, name: &str) -> u64 {
        let mut state = self.lock();
        let index = state.index(kind);
        let slots = state.kinds[index].slots.get(namespace);
        slots.and_then(|slots| slots.get(name)).map_or(0, |slot| slot.event)
    }

    /// True when the kind has been listed and is being followed.
    pub fn is_synced(&self, kind: Kind) -> bool {
        let mut state = self.lock();
        let index = state.index(kind);
        state.kinds[index].synced
    }

    /// Why the kind cannot be watched: its API is not installed, or a right is missing.
    pub fn problem(&self, kind: Kind) -> Option<String> {
        let mut state = self.lock();
        let index = state.index(kind);
        state.kinds[index].problem.as_ref().map(|(Trouble::NoApi(text) | Trouble::NoRight(text))| text.clone())
    }

    /// True when every kind asked for so far is synced or has a problem that does not pass by itself, and the Canaries
    /// are among the synced.
    pub fn is_ready(&self) -> bool {
        let state = self.lock();
        let canaries = state.kinds.iter().any(|kind| kind.kind == CANARY && kind.synced);
        canaries && state.kinds.iter().all(|kind| kind.task.is_none() || kind.synced || kind.problem.is_some())
    }

    /// True while every watch task lives.
    pub fn is_alive(&self) -> bool {
        self.lock().kinds.iter().all(|kind| kind.task.as_ref().is_none_or(|task| !task.is_finished()))
    }

    /// Ends all watches.
    pub fn stop(&self) {
        for kind in &mut self.lock().kinds {
            if let Some(task) = kind.task.take() {
                task.abort();
            }
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

    pub(crate) fn packed(&self, kind: Kind, namespace: &str, name: &str) -> Option<Packed> {
        let mut state = self.lock();
        let index = state.index(kind);
        state.kinds[index].packed(namespace, name)
    }

    /// Looks an object up for a Canary and remembers that it asked, in one step, so that no change falls between.
    pub(crate) fn ask(&self, canary: &CanaryKey, kind: Kind, namespace: &str, name: &str) -> (Option<Packed>, bool) {
        self.ensure(kind);
        let mut guard = self.lock();
        let state = &mut *guard;
        let index = state.index(kind);
        let (namespace, name) = state.kinds[index].ask(namespace, name, canary);
        let packed = state.kinds[index].packed(&namespace, &name);
        state.asked.entry(canary.clone()).or_default().insert((to_u16(index), namespace, name));
        (packed, state.kinds[index].synced)
    }

    /// Forgets what the Canary asked for earlier and did not ask for in its last pass.
    pub(crate) fn retain(&self, canary: &CanaryKey, kept: &BTreeSet<(Kind, String, String)>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(asked) = state.asked.get_mut(canary) else { return };
        let kinds = &mut state.kinds;
        asked.retain(|(index, namespace, name)| {
            let kind_state = &mut kinds[usize::from(*index)];
            let keep = kept.contains(&(kind_state.kind, namespace.to_string(), name.to_string()));
            if !keep {
                kind_state.unask(namespace, name, canary);
            }
            keep
        });
        if asked.is_empty() {
            state.asked.remove(canary);
        }
    }

    pub(crate) fn listing(&self, kind: Kind) {
        let mut state = self.lock();
        let index = state.index(kind);
        let kind_state = &mut state.kinds[index];
        let mut names = BTreeSet::new();
        for (namespace, slots) in &kind_state.slots {
            let present = slots.iter().filter(|(_, slot)| slot.entry.is_some());
            names.extend(present.map(|(name, _)| (namespace.clone(), name.clone())));
        }
        kind_state.unlisted = Some(names);
    }

    pub(crate) fn listed(&self, kind: Kind, seen: Seen) {
        {
            let mut state = self.lock();
            let index = state.index(kind);
            if let Some(unlisted) = &mut state.kinds[index].unlisted {
                unlisted.remove(&(Arc::from(seen.namespace.as_str()), Arc::from(seen.name.as_str())));
            }
        }
        self.applied(kind, seen);
    }

    pub(crate) fn synced(&self, kind: Kind) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let index = state.index(kind);
        let mut woken = BTreeSet::new();
        for (namespace, name) in state.kinds[index].unlisted.take().unwrap_or_default() {
            state.delete(index, &namespace, &name, &mut woken);
        }
        let first = !state.kinds[index].synced;
        state.kinds[index].synced = true;
        state.kinds[index].problem = None;
        if first {
            woken.extend(state.kinds[index].askers());
            if kind == CANARY {
                for (namespace, slots) in &state.kinds[index].slots {
                    let keys = slots.keys().map(|name| CanaryKey { namespace: namespace.clone(), name: name.clone() });
                    woken.extend(keys);
                }
            }
        }
        drop(guard);
        if first {
            tracing::debug!(kind = kind.kind, "watch synced");
        }
        if kind == CANARY {
            self.count_all();
        }
        self.wake(woken);
    }

    pub(crate) fn applied(&self, kind: Kind, seen: Seen) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let index = state.index(kind);
        let mut woken = BTreeSet::new();
        let was_new = state.apply(index, seen, &mut woken);
        let synced = state.kinds[index].synced;
        drop(guard);
        if synced {
            if let (CANARY, Some(namespace)) = (kind, was_new) {
                self.count(&namespace);
            }
            self.wake(woken);
        }
    }

    pub(crate) fn deleted(&self, kind: Kind, seen: &Seen) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let index = state.index(kind);
        let mut woken = BTreeSet::new();
        state.delete(index, &seen.namespace, &seen.name, &mut woken);
        drop(guard);
        if kind == CANARY {
            self.count(&seen.namespace);
        }
        self.wake(woken);
    }

    pub(crate) fn troubled(&self, kind: Kind, trouble: Option<Trouble>) {
        let mut state = self.lock();
        let index = state.index(kind);
        let kind_state = &mut state.kinds[index];
        // Trouble that passes does not unsay trouble that does not.
        let Some(trouble) = trouble else { return };
        if kind_state.problem.as_ref() == Some(&trouble) {
            return;
        }
        let (Trouble::NoApi(text) | Trouble::NoRight(text)) = &trouble;
        tracing::warn!(kind = kind.kind, "{text}");
        kind_state.problem = Some(trouble);
        let woken = kind_state.askers().collect();
        drop(state);
        self.wake(woken);
    }

    pub(crate) fn was_synced(&self, kind: Kind) -> bool {
        self.is_synced(kind)
    }

    /// The API of the kind went away, and with it all objects.
    pub(crate) fn emptied(&self, kind: Kind) {
        self.listing(kind);
        let mut guard = self.lock();
        let state = &mut *guard;
        let index = state.index(kind);
        let mut woken = BTreeSet::new();
        for (namespace, name) in state.kinds[index].unlisted.take().unwrap_or_default() {
            state.delete(index, &namespace, &name, &mut woken);
        }
        state.kinds[index].synced = false;
        drop(guard);
        if kind == CANARY {
            self.count_all();
        }
        self.wake(woken);
    }

    fn wake(&self, canaries: BTreeSet<CanaryKey>) {
        for canary in canaries {
            self.shared.queue.add(canary);
        }
    }

    fn count(&self, namespace: &str) {
        let mut state = self.lock();
        let index = state.index(CANARY);
        let slots = state.kinds[index].slots.get(namespace);
        let count = slots.map_or(0, |slots| slots.values().filter(|slot| slot.entry.is_some()).count());
        self.shared.metrics.canaries(namespace, count);
    }

    fn count_all(&self) {
        let namespaces: BTreeSet<Arc<str>> = self.canaries().into_iter().map(|key| key.namespace).collect();
        for namespace in namespaces {
            self.count(&namespace);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Packed {
    pub(crate) fn resource_version(&self) -> &str {
        &self.resource_version
    }

    /// The object, with the fields that the watch took apart.
    pub(crate) fn parse(&self) -> Value {
        let mut object: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".into(), self.kind.api_version().into());
            fields.insert("kind".into(), self.kind.kind.into());
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                metadata.insert("resourceVersion".into(), self.resource_version.clone().into());
            }
        }
        object
    }
}

impl State {
    fn index(&mut self, kind: Kind) -> usize {
        if let Some(index) = self.kinds.iter().position(|known| known.kind == kind) {
            return index;
        }
        self.kinds.push(KindState {
            kind,
            synced: false,
            problem: None,
            slots: BTreeMap::new(),
            unlisted: None,
            task: None,
        });
        self.kinds.len() - 1
    }

    /// Stores the object; returns its namespace when it was not there before.
    fn apply(&mut self, index: usize, seen: Seen, woken: &mut BTreeSet<CanaryKey>) -> Option<Arc<str>> {
        let kind = self.kinds[index].kind;
        let (namespace, name) = self.kinds[index].intern(&seen.namespace, &seen.name);
        self.events += 1;
        let slot = self.kinds[index].slot(&namespace, &name);
        slot.event = self.events;
        let is_new = slot.entry.is_none();
        let changed = slot.entry.as_ref().is_none_or(|entry| {
            *entry.body != *seen.body
                || (is_metadata_only(kind) && *entry.resource_version != *seen.resource_version.as_str())
        });
        match &mut slot.entry {
            Some(entry) if !changed => {
                entry.resource_version = seen.resource_version.into();
                entry.ownership = seen.ownership;
            }
            entry => {
                *entry = Some(Entry {
                    resource_version: seen.resource_version.into(),
                    body: seen.body.into(),
                    ownership: seen.ownership,
                });
            }
        }
        if changed {
            woken.extend(slot.askers.iter().cloned());
            if kind == CANARY {
                let target = slot.entry.as_ref().and_then(|entry| target_of(&namespace, &entry.body));
                let key = CanaryKey { namespace: namespace.clone(), name };
                self.retarget(&key, target, woken);
                woken.insert(key);
            }
        }
        is_new.then_some(namespace)
    }

    fn delete(&mut self, index: usize, namespace: &str, name: &str, woken: &mut BTreeSet<CanaryKey>) {
        self.events += 1;
        let kind_state = &mut self.kinds[index];
        let is_canary = kind_state.kind == CANARY;
        let Some(slot) = kind_state.slots.get_mut(namespace).and_then(|slots| slots.get_mut(name)) else { return };
        slot.entry = None;
        slot.event = self.events;
        woken.extend(slot.askers.iter().cloned());
        kind_state.prune(namespace, name);
        if !is_canary {
            return;
        }
        let key = CanaryKey::new(namespace, name);
        self.retarget(&key, None, woken);
        for (index, namespace, name) in self.asked.remove(&key).unwrap_or_default() {
            self.kinds[usize::from(index)].unask(&namespace, &name, &key);
        }
        // One more pass, which finds nothing and cleans up.
        woken.insert(key);
    }

    /// Moves the Canary in the index of targets, and wakes all that share the old or the new one.
    fn retarget(&mut self, key: &CanaryKey, target: Option<Target>, woken: &mut BTreeSet<CanaryKey>) {
        if self.target_of.get(key) == target.as_ref() {
            return;
        }
        if let Some(old) = self.target_of.remove(key)
            && let Some(keys) = self.targets.get_mut(&old)
        {
            keys.remove(key);
            woken.extend(keys.iter().cloned());
            if keys.is_empty() {
                self.targets.remove(&old);
            }
        }
        if let Some(target) = target {
            let keys = self.targets.entry(target.clone()).or_default();
            woken.extend(keys.iter().cloned());
            keys.insert(key.clone());
            self.target_of.insert(key.clone(), target);
        }
    }
}

impl KindState {
    fn entry(&self, namespace: &str, name: &str) -> Option<&Entry> {
        self.slots.get(namespace)?.get(name)?.entry.as_ref()
    }

    fn packed(&self, namespace: &str, name: &str) -> Option<Packed> {
        let entry = self.entry(namespace, name)?;
        Some(Packed { kind: self.kind, resource_version: entry.resource_version.to_string(), body: entry.body.clone() })
    }

    /// The one copy of these strings.
    fn intern(&self, namespace: &str, name: &str) -> (Arc<str>, Arc<str>) {
        let known = self.slots.get_key_value(namespace);
        let known_name = known.and_then(|(_, slots)| slots.get_key_value(name)).map(|(name, _)| name.clone());
        (
            known.map_or_else(|| namespace.into(), |(namespace, _)| namespace.clone()),
            known_name.unwrap_or_else(|| name.into()),
        )
    }

    fn slot(&mut self, namespace: &Arc<str>, name: &Arc<str>) -> &mut Slot {
        self.slots.entry(namespace.clone()).or_default().entry(name.clone()).or_default()
    }

    fn ask(&mut self, namespace: &str, name: &str, canary: &CanaryKey) -> (Arc<str>, Arc<str>) {
        let (namespace, name) = self.intern(namespace, name);
        let slot = self.slot(&namespace, &name);
        if !slot.askers.contains(canary) {
            slot.askers.push(canary.clone());
        }
        (namespace, name)
    }

    fn unask(&mut self, namespace: &str, name: &str, canary: &CanaryKey) {
        if let Some(slot) = self.slots.get_mut(namespace).and_then(|slots| slots.get_mut(name)) {
            slot.askers.retain(|asker| asker != canary);
            self.prune(namespace, name);
        }
    }

    fn prune(&mut self, namespace: &str, name: &str) {
        let Some(slots) = self.slots.get_mut(namespace) else { return };
        if slots.get(name).is_some_and(|slot| slot.entry.is_none() && slot.askers.is_empty()) {
            slots.remove(name);
        }
        if slots.is_empty() {
            self.slots.remove(namespace);
        }
    }

    fn askers(&self) -> impl Iterator<Item = CanaryKey> + '_ {
        self.slots.values().flat_map(BTreeMap::values).flat_map(|slot| slot.askers.iter().cloned())
    }
}

fn to_u16(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX) // there are a few dozen kinds
}

fn target_of(namespace: &Arc<str>, body: &[u8]) -> Option<Target> {
    let object: Value = serde_json::from_slice(body).ok()?;
    let target = object.pointer("/spec/targetRef")?;
    let (kind, name) = (target["kind"].as_str()?, target["name"].as_str()?);
    Some((namespace.clone(), kind.to_owned(), name.to_owned()))
}
