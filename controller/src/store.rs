//! What was seen, kept compact, and who asked for it: which change wakes whom. Without watches, locks and queues.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use crate::cache::CanaryKey;
use crate::objects::Kind;
use crate::objects::kinds::{CANARY, DAEMON_SET, DEPLOYMENT};
use crate::watch::{Ownership, Seen, Trouble, is_metadata_only};

/// All that was seen.
#[derive(Default)]
pub(crate) struct Store {
    kinds: Vec<KindState>,
    /// What each Canary asked for, as index of the kind, namespace and name.
    asked: HashMap<CanaryKey, BTreeSet<Address>>,
    targets: HashMap<Target, BTreeSet<CanaryKey>>,
    target_of: HashMap<CanaryKey, Target>,
    /// Workloads that ask for a Canary of their name.
    opted_in: BTreeSet<(Kind, CanaryKey)>,
    /// Events so far.
    events: u64,
}

type Address = (u16, Arc<str>, Arc<str>);
/// Namespace, kind and name of a workload.
pub(crate) type Target = (Arc<str>, String, String);

/// What was seen of one kind.
pub(crate) struct KindState {
    pub(crate) kind: Kind,
    /// It has been listed and is being followed.
    pub(crate) synced: bool,
    /// Why it cannot be watched, where that does not pass by itself.
    pub(crate) problem: Option<Trouble>,
    slots: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Slot>>,
    /// What the list under way did not name yet.
    unlisted: Option<BTreeSet<(Arc<str>, Arc<str>)>>,
}

#[derive(Default)]
struct Slot {
    entry: Option<Entry>,
    askers: Vec<CanaryKey>,
    /// Number of the last event about this object; 0 when there was none.
    event: u64,
}

pub(crate) struct Entry {
    pub(crate) resource_version: Box<str>,
    body: Arc<[u8]>,
    pub(crate) ownership: Ownership,
}

/// An object as it is kept: parsed only when it is needed.
pub(crate) struct Packed {
    kind: Kind,
    resource_version: String,
    body: Arc<[u8]>,
}

impl Packed {
    pub(crate) fn resource_version(&self) -> &str {
        &self.resource_version
    }

    fn is_same(&self, other: &Packed) -> bool {
        Arc::ptr_eq(&self.body, &other.body)
            && self.kind == other.kind
            && self.resource_version == other.resource_version
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

/// Objects parsed kept at most: what one Canary sees, and some more. Of idle Canaries nothing more stands in memory.
const PARSED: usize = 16;

/// The objects that were parsed last: a pass sees much of what the pass before saw.
#[derive(Default)]
pub(crate) struct Parsed {
    /// The one that was needed last is first.
    objects: VecDeque<(Packed, Arc<Value>)>,
}

impl Parsed {
    /// The object, parsed now if it was not lately.
    pub(crate) fn object(&mut self, packed: Packed) -> Arc<Value> {
        let known = self.objects.iter().position(|(known, _)| known.is_same(&packed));
        let (packed, object) = known.and_then(|at| self.objects.remove(at)).unwrap_or_else(|| {
            let object = Arc::new(packed.parse());
            (packed, object)
        });
        self.objects.truncate(PARSED - 1);
        self.objects.push_front((packed, object.clone()));
        object
    }
}

impl Store {
    /// Of this kind, seen or not.
    pub(crate) fn kind(&mut self, kind: Kind) -> &mut KindState {
        let index = self.index(kind);
        &mut self.kinds[index]
    }

    /// All Canaries.
    pub(crate) fn canaries(&mut self) -> Vec<CanaryKey> {
        let names = self.kind(CANARY).present();
        names.map(|(namespace, name)| CanaryKey { namespace, name }).collect()
    }

    /// Number of Canaries in the namespace.
    pub(crate) fn count(&mut self, namespace: &str) -> usize {
        let slots = self.kind(CANARY).slots.get(namespace);
        slots.map_or(0, |slots| slots.values().filter(|slot| slot.entry.is_some()).count())
    }

    /// True when a workload asks for a Canary of this name.
    pub(crate) fn is_opted_in(&self, key: &CanaryKey) -> bool {
        !self.opted_in.is_empty()
            && [DEPLOYMENT, DAEMON_SET].into_iter().any(|kind| self.opted_in.contains(&(kind, key.clone())))
    }

    /// The names of Canaries that workloads ask for.
    pub(crate) fn opted_in(&self) -> impl Iterator<Item = CanaryKey> + '_ {
        self.opted_in.iter().map(|(_, key)| key.clone())
    }

    /// The Canaries with this target.
    pub(crate) fn canaries_of_target(&self, target: &Target) -> Vec<CanaryKey> {
        self.targets.get(target).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// Looks an object up for a Canary and remembers that it asked; with it, whether the kind is synced.
    pub(crate) fn ask(
        &mut self,
        canary: &CanaryKey,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> (Option<Packed>, bool) {
        let index = self.index(kind);
        let state = &mut self.kinds[index];
        let (namespace, name) = state.ask(namespace, name, canary);
        let found = (state.packed(&namespace, &name), state.synced);
        self.asked.entry(canary.clone()).or_default().insert((to_u16(index), namespace, name));
        found
    }

    /// Forgets what the Canary asked for and is not among `kept`.
    pub(crate) fn retain(&mut self, canary: &CanaryKey, kept: &BTreeSet<(Kind, String, String)>) {
        let Some(asked) = self.asked.get_mut(canary) else { return };
        let kinds = &mut self.kinds;
        asked.retain(|(index, namespace, name)| {
            let state = &mut kinds[usize::from(*index)];
            let keep = kept.contains(&(state.kind, namespace.to_string(), name.to_string()));
            if !keep {
                state.unask(namespace, name, canary);
            }
            keep
        });
        if asked.is_empty() {
            self.asked.remove(canary);
        }
    }

    /// Takes out what the list that has ended did not name.
    pub(crate) fn listed(&mut self, kind: Kind, woken: &mut BTreeSet<CanaryKey>) {
        for (namespace, name) in self.kind(kind).unlisted.take().unwrap_or_default() {
            self.delete(kind, &namespace, &name, woken);
        }
    }

    /// Stores the object; returns its namespace when it was not there before.
    pub(crate) fn apply(&mut self, kind: Kind, seen: Seen, woken: &mut BTreeSet<CanaryKey>) -> Option<Arc<str>> {
        self.events += 1;
        let event = self.events;
        let state = self.kind(kind);
        let (namespace, name) = state.intern(&seen.namespace, &seen.name);
        let slot = state.slot(&namespace, &name);
        slot.event = event;
        let opts_in = seen.opts_in;
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
            if kind == DEPLOYMENT || kind == DAEMON_SET {
                let key = CanaryKey { namespace: namespace.clone(), name };
                self.opt(kind, key, opts_in, woken);
            } else if kind == CANARY {
                let target = slot.entry.as_ref().and_then(|entry| target_of(&namespace, &entry.body));
                let key = CanaryKey { namespace: namespace.clone(), name };
                self.retarget(&key, target, woken);
                woken.insert(key);
            }
        }
        is_new.then_some(namespace)
    }

    /// Takes the object out.
    pub(crate) fn delete(&mut self, kind: Kind, namespace: &str, name: &str, woken: &mut BTreeSet<CanaryKey>) {
        self.events += 1;
        let event = self.events;
        let state = self.kind(kind);
        let Some(slot) = state.slots.get_mut(namespace).and_then(|slots| slots.get_mut(name)) else { return };
        slot.entry = None;
        slot.event = event;
        woken.extend(slot.askers.iter().cloned());
        state.prune(namespace, name);
        let key = CanaryKey::new(namespace, name);
        if kind != CANARY {
            self.opt(kind, key, false, woken);
            return;
        }
        self.retarget(&key, None, woken);
        for (index, namespace, name) in self.asked.remove(&key).unwrap_or_default() {
            self.kinds[usize::from(index)].unask(&namespace, &name, &key);
        }
        // One more pass, which finds nothing and cleans up.
        woken.insert(key);
    }

    fn index(&mut self, kind: Kind) -> usize {
        if let Some(index) = self.kinds.iter().position(|known| known.kind == kind) {
            return index;
        }
        self.kinds.push(KindState { kind, synced: false, problem: None, slots: BTreeMap::new(), unlisted: None });
        self.kinds.len() - 1
    }

    /// Notes whether the workload asks for a Canary, and wakes that name when it does or did.
    fn opt(&mut self, kind: Kind, key: CanaryKey, opts_in: bool, woken: &mut BTreeSet<CanaryKey>) {
        let address = (kind, key);
        let did = if opts_in { !self.opted_in.insert(address.clone()) } else { self.opted_in.remove(&address) };
        if opts_in || did {
            woken.insert(address.1);
        }
    }

    /// Puts the Canary, which changed, into the index of targets, and wakes all that share its former or its new one:
    /// which of them has the target rests on what each of them means.
    fn retarget(&mut self, key: &CanaryKey, target: Option<Target>, woken: &mut BTreeSet<CanaryKey>) {
        for (namespace, _, name) in self.target_of.get(key).into_iter().chain(&target) {
            let asked = CanaryKey { namespace: namespace.clone(), name: name.as_str().into() };
            if self.is_opted_in(&asked) {
                woken.insert(asked);
            }
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
    /// The object as it is kept, with its version and owners.
    pub(crate) fn entry(&self, namespace: &str, name: &str) -> Option<&Entry> {
        self.slots.get(namespace)?.get(name)?.entry.as_ref()
    }

    /// The object.
    pub(crate) fn packed(&self, namespace: &str, name: &str) -> Option<Packed> {
        let entry = self.entry(namespace, name)?;
        Some(Packed { kind: self.kind, resource_version: entry.resource_version.to_string(), body: entry.body.clone() })
    }

    /// Number of the last event about the object; 0 when there was none.
    pub(crate) fn last_event(&self, namespace: &str, name: &str) -> u64 {
        self.slots.get(namespace).and_then(|slots| slots.get(name)).map_or(0, |slot| slot.event)
    }

    /// A list begins: whatever it does not name is gone when it ends.
    pub(crate) fn begin_list(&mut self) {
        self.unlisted = Some(self.present().collect());
    }

    /// The list under way named the object.
    pub(crate) fn name_in_list(&mut self, namespace: &str, name: &str) {
        if let Some(unlisted) = &mut self.unlisted {
            unlisted.remove(&(Arc::from(namespace), Arc::from(name)));
        }
    }

    /// Canaries that asked for an object of the kind, there or not.
    pub(crate) fn askers(&self) -> impl Iterator<Item = CanaryKey> + '_ {
        self.slots.values().flat_map(BTreeMap::values).flat_map(|slot| slot.askers.iter().cloned())
    }

    pub(crate) fn present(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>)> + '_ {
        self.slots.iter().flat_map(|(namespace, slots)| {
            let present = slots.iter().filter(|(_, slot)| slot.entry.is_some());
            present.map(|(name, _)| (namespace.clone(), name.clone()))
        })
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
