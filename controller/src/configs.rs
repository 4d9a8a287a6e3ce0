//! ConfigMaps and Secrets: watched as metadata, read only when they changed, and never kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::cache::Cache;
use crate::objects::Kind;
use crate::problem::ApiProblem;
use crate::rest::Rest;
use crate::view::View;

/// Reads configs, and remembers their checksums by version.
pub struct Configs {
    rest: Rest,
    cache: Cache,
    remembered: Mutex<HashMap<(Kind, String, String), Remembered>>,
}

struct Remembered {
    resource_version: String,
    checksum: Option<String>,
}

impl Configs {
    /// Nothing remembered yet.
    pub fn new(rest: Rest, cache: Cache) -> Configs {
        Configs { rest, cache, remembered: Mutex::new(HashMap::new()) }
    }

    /// Checksum of the config in the namespace of the view's Canary: `None` when there is no such object (or the kind
    /// is not synced, see [`View::unsynced`]), `Some(None)` when `checksum` gives none for it. Costs a request only when
    /// the version differs from the remembered one.
    pub async fn checksum(
        &self,
        view: &View,
        kind: Kind,
        name: &str,
        checksum: impl FnOnce(&Value) -> Option<String>,
    ) -> Result<Option<Option<String>>, ApiProblem> {
        let namespace = view.canary().namespace.to_string();
        let address = (kind, namespace, name.to_owned());
        let Some(resource_version) = view.config_version(kind, name) else {
            self.forget(&address);
            return Ok(None);
        };
        if let Some(checksum) = self.recall(&address, &resource_version) {
            return Ok(Some(checksum));
        }
        let Some(object) = self.rest.get(kind, &address.1, name).await? else {
            self.forget(&address);
            return Ok(None);
        };
        let sum = checksum(&object);
        let read = object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        drop(object);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.insert(address, Remembered { resource_version: read, checksum: sum.clone() });
        Ok(Some(sum))
    }

    /// The whole object, straight from the API; the caller drops it soon.
    pub async fn read(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Value>, ApiProblem> {
        self.rest.get(kind, namespace, name).await
    }

    /// Drops what is remembered of configs that are gone.
    pub fn tidy(&self) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.retain(|(kind, namespace, name), _| self.cache.resource_version(*kind, namespace, name).is_some());
    }

    /// What was remembered of the version seen in this pass, or of the one seen now: a read may have run ahead of the
    /// watch.
    fn recall(&self, address: &(Kind, String, String), resource_version: &str) -> Option<Option<String>> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = remembered.get(address)?;
        let (kind, namespace, name) = address;
        let current = entry.resource_version == resource_version
            || self.cache.resource_version(*kind, namespace, name).as_ref() == Some(&entry.resource_version);
        current.then(|| entry.checksum.clone())
    }

    fn forget(&self, address: &(Kind, String, String)) {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner).remove(address);
    }
}
