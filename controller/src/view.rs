//! What one Canary sees in one pass: a steady picture, and the record of everything it asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::attribution::Sight;
use crate::cache::{Cache, CanaryKey};
use crate::objects::{Kind, Lookup};

/// The cache as one Canary sees it during one pass. An object asked for twice is the same both times, whatever happens
/// in between, so that what was analysed is what is promoted; [`View::fresh`] looks again.
pub struct View {
    cache: Cache,
    canary: CanaryKey,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    objects: BTreeMap<(Kind, String, String), Option<Arc<Value>>>,
    unsynced: BTreeSet<Kind>,
}

impl View {
    pub(crate) fn new(cache: Cache, canary: CanaryKey) -> View {
        View { cache, canary, seen: Mutex::new(Seen::default()) }
    }

    /// The Canary whose view this is.
    pub fn canary(&self) -> &CanaryKey {
        &self.canary
    }

    /// The object in that namespace.
    pub fn get_in(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let address = (kind, namespace.to_owned(), name.to_owned());
        if let Some(object) = self.lock().objects.get(&address) {
            return object.clone();
        }
        self.look(address)
    }

    /// The object in the namespace of the Canary as it is seen now; replaces the earlier picture of it.
    pub fn fresh(&self, kind: Kind, name: &str) -> Option<Arc<Value>> {
        self.look((kind, self.canary.namespace.to_string(), name.to_owned()))
    }

    /// Version of a ConfigMap or Secret; a checksum made from the same version is still right.
    pub fn config_version(&self, kind: Kind, name: &str) -> Option<String> {
        let object = self.get_in(kind, &self.canary.namespace, name)?;
        Some(object.pointer("/metadata/resourceVersion")?.as_str()?.to_owned())
    }

    /// Kinds that were asked for and are not listed yet: what was not found there may well exist. The Canary is woken
    /// when they are.
    pub fn unsynced(&self) -> Vec<Kind> {
        self.lock().unsynced.iter().copied().collect()
    }

    /// Why kinds that were asked for cannot be watched; see [`Cache::problem`].
    pub fn problems(&self) -> Vec<String> {
        self.unsynced().into_iter().filter_map(|kind| self.cache.problem(kind)).collect()
    }

    /// The cache behind.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// From now on, only changes of what was asked for in this pass wake the Canary. A pass that ends without this
    /// keeps the earlier dependencies too.
    pub fn finish(&self) {
        self.finish_beside(None);
    }

    /// As [`View::finish`]; what was asked for through the other view of the same Canary wakes it as well.
    pub fn finish_beside(&self, other: Option<&View>) {
        let mut kept: BTreeSet<_> = self.lock().objects.keys().cloned().collect();
        if let Some(other) = other {
            kept.extend(other.lock().objects.keys().cloned());
        }
        self.cache.retain(&self.canary, &kept);
    }

    fn look(&self, address: (Kind, String, String)) -> Option<Arc<Value>> {
        let (kind, namespace, name) = &address;
        let (packed, synced) = self.cache.ask(&self.canary, *kind, namespace, name);
        let mut seen = self.lock();
        if synced {
            seen.unsynced.remove(kind);
        } else {
            seen.unsynced.insert(*kind);
        }
        let object = packed.map(|packed| match seen.objects.get(&address) {
            Some(Some(earlier)) if earlier["metadata"]["resourceVersion"] == packed.resource_version() => {
                earlier.clone()
            }
            _ => self.cache.parsed(packed),
        });
        seen.objects.insert(address, object.clone());
        object
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of what may as well be missing: that its kind cannot be watched is no trouble.
impl Sight for View {
    fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        if self.cache.namespace().is_some_and(|only| only != namespace) {
            return None;
        }
        let object = self.get_in(kind, namespace, name);
        if self.cache.problem(kind).is_some() {
            self.lock().unsynced.remove(&kind);
        }
        object
    }
}

impl Lookup for View {
    fn get(&self, kind: Kind, name: &str) -> Option<Arc<Value>> {
        self.get_in(kind, &self.canary.namespace, name)
    }
}
