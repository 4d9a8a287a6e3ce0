//! Makes desired objects real, and writes only what differs. Every write may be repeated: the cache lags behind.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::cache::Cache;
use crate::objects::kinds::CANARY;
use crate::objects::{Desired, Kind, Owner, covers};
use crate::pointers::{is_positional, operations};
use crate::problem::{ApiProblem, Class};
use crate::rest::{PatchType, Rest};
use crate::view::View;
use crate::watch::is_metadata_only;
use crate::{ownership, rest};

/// Writes objects.
pub struct Writer {
    rest: Rest,
    cache: Cache,
    /// What was applied last, by object.
    applied: Mutex<HashMap<Address, Applied>>,
}

type Address = (Kind, String, String);

#[derive(Clone, PartialEq, Eq)]
struct Applied {
    /// Hash of the body.
    hash: u64,
    /// Last event in the cache just before the write: while it is the last, the cache has not seen the write yet.
    event: u64,
    /// Version that the write made.
    version: Option<String>,
}

/// What became of a desired object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was so already.
    Unchanged,
    /// A write was made.
    Changed,
}

impl Writer {
    /// Over this API and cache.
    pub fn new(rest: Rest, cache: Cache) -> Writer {
        Writer { rest, cache, applied: Mutex::new(HashMap::new()) }
    }

    /// Makes the objects real in their order, and stops at the first problem, since later objects may rely on earlier
    /// ones. Returns the number of objects written.
    pub async fn converge(&self, view: &View, owner: &Owner, desired: &[Desired]) -> Result<usize, ApiProblem> {
        let mut changed = 0;
        for desired in desired {
            match self.write(view, owner, desired).await? {
                Written::Changed => changed += 1,
                Written::Unchanged => {}
            }
        }
        Ok(changed)
    }

    /// Makes one object real.
    pub async fn write(&self, view: &View, owner: &Owner, desired: &Desired) -> Result<Written, ApiProblem> {
        let (kind, name) = (desired.kind(), desired.name());
        let live = self.live(view, owner, kind, name).await?;
        match desired {
            Desired::Apply { kind, body } => self.apply(owner, *kind, body, live).await,
            Desired::Replace { kind, body, pointers } => {
                let Some(live) = live else {
                    self.rest.create(*kind, &owner.namespace, body).await?;
                    return Ok(Written::Changed);
                };
                let wanted = pointers.iter().map(|pointer| (pointer.as_str(), body.pointer(pointer)));
                self.patch(owner, *kind, name, &live, wanted).await
            }
            Desired::Patch { kind, name, pointer_values } => {
                let Some(live) = live else { return Ok(Written::Unchanged) };
                let wanted = pointer_values.iter().map(|(pointer, value)| (pointer.as_str(), value.as_ref()));
                self.patch(owner, *kind, name, &live, wanted).await
            }
            Desired::Delete { kind, name } => self.delete(owner, *kind, name, live).await,
        }
    }

    /// Writes the whole status of the Canary as it was seen; a Canary that changed meanwhile is a
    /// [`Class::Conflict`]. Returns the object as written.
    pub async fn persist_status(&self, canary: &Value, status: &Value) -> Result<Value, ApiProblem> {
        let operations = json!([
            { "op": "replace", "path": "/metadata/resourceVersion", "value": canary["metadata"]["resourceVersion"] },
            { "op": "add", "path": "/status", "value": status },
        ]);
        let (namespace, name) = identity(canary);
        self.rest.patch(CANARY, namespace, name, Some("status"), PatchType::Json, &operations).await
    }

    /// Adds or removes the finalizer of the Canary as it was seen; a Canary that changed meanwhile is a
    /// [`Class::Conflict`]. `None` when it stands so already.
    pub async fn set_finalizer(
        &self,
        canary: &Value,
        finalizer: &str,
        present: bool,
    ) -> Result<Option<Value>, ApiProblem> {
        let finalizers = canary.pointer("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
        if finalizers.iter().any(|existing| existing == finalizer) == present {
            return Ok(None);
        }
        let mut wanted: Vec<Value> = finalizers.into_iter().filter(|existing| existing != finalizer).collect();
        if present {
            wanted.push(finalizer.into());
        }
        let body = json!({
            "metadata": { "resourceVersion": canary["metadata"]["resourceVersion"], "finalizers": wanted },
        });
        let (namespace, name) = identity(canary);
        let written = self.rest.patch(CANARY, namespace, name, None, PatchType::Merge, &body).await;
        match written {
            // Taking the last finalizer off a Canary that is already gone is what was wanted.
            Err(ApiProblem { class: Class::NotFound, .. }) if !present => Ok(None),
            written => written.map(Some),
        }
    }

    /// Drops what is remembered of objects that are gone.
    pub fn tidy(&self) {
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.retain(|(kind, namespace, name), _| self.cache.resource_version(*kind, namespace, name).is_some());
    }

    /// The object as it is now: out of the cache, or from the API when it is not watched or only its metadata is.
    async fn live(
        &self,
        view: &View,
        owner: &Owner,
        kind: Kind,
        name: &str,
    ) -> Result<Option<Arc<Value>>, ApiProblem> {
        let seen = view.fresh(kind, name);
        if let Some(problem) = self.cache.problem(kind) {
            let doing = format!("write {} {}/{name}", kind.kind, owner.namespace);
            let class = if problem.contains("may not") {
                Class::Forbidden { verb: "watch".into(), resource: crate::problem::rbac_resource(kind) }
            } else {
                Class::NotFound
            };
            return Err(ApiProblem { class, doing, message: problem });
        }
        if self.cache.is_synced(kind) {
            return Ok(seen);
        }
        Ok(self.rest.get(kind, &owner.namespace, name).await?.map(Arc::new))
    }

    async fn apply(
        &self,
        owner: &Owner,
        kind: Kind,
        body: &Value,
        live: Option<Arc<Value>>,
    ) -> Result<Written, ApiProblem> {
        let (_, name) = identity(body);
        let address = (kind, owner.namespace.clone(), name.to_owned());
        let hash = hash(body);
        let event = self.cache.last_event(kind, &owner.namespace, name);
        let version = live.as_deref().and_then(resource_version);
        if self.is_applied(&address, hash, event, version.as_ref()) {
            return Ok(Written::Unchanged);
        }
        let full = match &live {
            Some(_) if is_metadata_only(kind) => self.rest.get(kind, &owner.namespace, name).await?.map(Arc::new),
            other => other.clone(),
        };
        if let Some(full) = &full
            && self.is_same_body(&address, hash)
            && covers(Some(full), body)
        {
            self.remember(address, Applied { hash, event, version });
            return Ok(Written::Unchanged);
        }
        drop(full);
        self.take_ownership(owner, kind, name, body).await?;
        let written = self.rest.patch(kind, &owner.namespace, name, None, PatchType::Apply, body).await?;
        self.remember(address, Applied { hash, event, version: resource_version(&written) });
        Ok(Written::Changed)
    }

    /// Before the first apply to an object that Flagger wrote, or when a replica count is no longer stated.
    async fn take_ownership(&self, owner: &Owner, kind: Kind, name: &str, body: &Value) -> Result<(), ApiProblem> {
        let ownership = self.cache.ownership(kind, &owner.namespace, name);
        let states_replicas = body.pointer("/spec/replicas").is_some();
        if !ownership.by_flagger && (states_replicas || !ownership.applied_replicas) {
            return Ok(());
        }
        let Some(live) = self.rest.get(kind, &owner.namespace, name).await? else { return Ok(()) };
        if let Some(patch) = ownership::transfer(&live, states_replicas) {
            tracing::info!(
                canary = %format_args!("{}.{}", owner.name, owner.namespace),
                "taking over the fields of {} {name} from {}",
                kind.kind,
                if ownership.by_flagger { "flagger" } else { rest::FIELD_MANAGER },
            );
            self.rest.patch(kind, &owner.namespace, name, None, PatchType::Json, &patch).await?;
        }
        Ok(())
    }

    async fn patch<'a>(
        &self,
        owner: &Owner,
        kind: Kind,
        name: &str,
        live: &Value,
        wanted: impl Iterator<Item = (&'a str, Option<&'a Value>)>,
    ) -> Result<Written, ApiProblem> {
        let wanted: Vec<(&str, Option<&Value>)> = wanted.collect();
        let mut operations = operations(live, wanted.iter().copied());
        if operations.is_empty() {
            return Ok(Written::Unchanged);
        }
        if wanted.iter().any(|(pointer, _)| is_positional(pointer)) {
            let version = &live["metadata"]["resourceVersion"];
            operations.push(json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": version }));
        }
        self.rest.patch(kind, &owner.namespace, name, None, PatchType::Json, &Value::Array(operations)).await?;
        Ok(Written::Changed)
    }

    async fn delete(
        &self,
        owner: &Owner,
        kind: Kind,
        name: &str,
        live: Option<Arc<Value>>,
    ) -> Result<Written, ApiProblem> {
        let Some(live) = live.filter(|live| owner.controls(live)) else { return Ok(Written::Unchanged) };
        if live.pointer("/metadata/deletionTimestamp").is_some() {
            return Ok(Written::Unchanged);
        }
        let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
        self.rest.delete(kind, &owner.namespace, name, uid).await?;
        Ok(Written::Changed)
    }

    /// True when exactly this body was applied and nobody has written since: also when the cache has not seen it yet.
    fn is_applied(&self, address: &Address, hash: u64, event: u64, version: Option<&String>) -> bool {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.get(address).is_some_and(|applied| {
            let as_written = applied.version.is_some() && applied.version.as_ref() == version;
            applied.hash == hash && (applied.event == event || as_written)
        })
    }

    /// False when another body was applied last: then the live object may cover this one and still have fields that are
    /// to be taken out.
    fn is_same_body(&self, address: &Address, hash: u64) -> bool {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.get(address).is_none_or(|applied| applied.hash == hash)
    }

    fn remember(&self, address: Address, applied: Applied) {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).insert(address, applied);
    }
}

fn identity(object: &Value) -> (&str, &str) {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    (text("/metadata/namespace"), text("/metadata/name"))
}

fn resource_version(object: &Value) -> Option<String> {
    object.pointer("/metadata/resourceVersion")?.as_str().map(str::to_owned)
}

fn hash(body: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.to_string().hash(&mut hasher);
    hasher.finish()
}
