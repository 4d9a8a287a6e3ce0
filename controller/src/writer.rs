//! Makes desired objects real, and writes only what differs. Every write may be repeated: the cache lags behind.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::cache::Cache;
use crate::objects::kinds::CANARY;
use crate::objects::{At, Desired, Kind, Owner, covers};
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
    /// What was written last, by object.
    applied: Mutex<HashMap<Address, Applied>>,
}

/// Kind, namespace and name, and what sort of write: several may concern the same object.
type Address = (Kind, String, String, Sort);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Sort {
    Apply,
    Replace,
    Patch,
}

struct Applied {
    /// Hash of what was wanted.
    hash: u64,
    /// Last event in the cache just before the write: while it is the last, the cache has not seen the write yet.
    event: u64,
    /// Version that the write made.
    version: Option<String>,
}

/// A write that is wanted, and what was known of the object then.
struct Wish {
    address: Address,
    hash: u64,
    event: u64,
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
            Desired::Apply { kind, body } => {
                let wish = self.wish(owner, *kind, name, Sort::Apply, hash(body), live.as_deref());
                if self.is_granted(&wish) {
                    return Ok(Written::Unchanged);
                }
                let live = self.whole(owner, *kind, name, live).await?;
                self.apply(owner, *kind, body, live, wish).await
            }
            Desired::Replace { kind, body, pointers } => {
                let wish = self.wish(owner, *kind, name, Sort::Replace, hash(&(body, pointers)), live.as_deref());
                if self.is_granted(&wish) {
                    return Ok(Written::Unchanged);
                }
                let Some(live) = self.whole(owner, *kind, name, live).await? else {
                    let written = self.rest.create(*kind, &owner.namespace, body).await?;
                    self.remember(wish, Some(&written));
                    return Ok(Written::Changed);
                };
                let wanted = pointers.iter().map(|pointer| (pointer.as_str(), body.at(pointer)));
                self.patch(owner, *kind, name, &live, wanted, wish).await
            }
            Desired::Patch { kind, name, pointer_values } => {
                let wish = self.wish(owner, *kind, name, Sort::Patch, hash(pointer_values), live.as_deref());
                if self.is_granted(&wish) {
                    return Ok(Written::Unchanged);
                }
                // The object is the user's: when it is gone, so is the wish.
                let Some(live) = self.whole(owner, *kind, name, live).await? else { return Ok(Written::Unchanged) };
                let wanted = pointer_values.iter().map(|(pointer, value)| (pointer.as_str(), value.as_ref()));
                self.patch(owner, *kind, name, &live, wanted, wish).await
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
        let finalizers = canary.at("/metadata/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
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
        applied.retain(|(kind, namespace, name, _), _| self.cache.resource_version(*kind, namespace, name).is_some());
    }

    /// The object as it is now: out of the cache, or from the API when it is not watched yet.
    async fn live(&self, view: &View, owner: &Owner, kind: Kind, name: &str) -> Result<Option<Arc<Value>>, ApiProblem> {
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

    /// Of kinds that are watched as metadata only, the whole object.
    async fn whole(
        &self,
        owner: &Owner,
        kind: Kind,
        name: &str,
        live: Option<Arc<Value>>,
    ) -> Result<Option<Arc<Value>>, ApiProblem> {
        if live.is_some() && is_metadata_only(kind) {
            return Ok(self.rest.get(kind, &owner.namespace, name).await?.map(Arc::new));
        }
        Ok(live)
    }

    async fn apply(
        &self,
        owner: &Owner,
        kind: Kind,
        body: &Value,
        live: Option<Arc<Value>>,
        wish: Wish,
    ) -> Result<Written, ApiProblem> {
        if live.is_some() && self.is_first_or_same(&wish) && covers(live.as_deref(), body) {
            self.remember(wish, live.as_deref());
            return Ok(Written::Unchanged);
        }
        let (_, name) = identity(body);
        self.take_ownership(owner, kind, name, body).await?;
        let written = self.rest.patch(kind, &owner.namespace, name, None, PatchType::Apply, body).await?;
        self.remember(wish, Some(&written));
        Ok(Written::Changed)
    }

    /// Before the first apply to an object that Flagger wrote, or when a replica count is no longer stated.
    async fn take_ownership(&self, owner: &Owner, kind: Kind, name: &str, body: &Value) -> Result<(), ApiProblem> {
        let ownership = self.cache.ownership(kind, &owner.namespace, name);
        let states_replicas = body.at("/spec/replicas").is_some();
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
        wish: Wish,
    ) -> Result<Written, ApiProblem> {
        let wanted: Vec<(&str, Option<&Value>)> = wanted.collect();
        let mut operations = operations(live, wanted.iter().copied());
        if operations.is_empty() {
            self.remember(wish, Some(live));
            return Ok(Written::Unchanged);
        }
        let positional = wanted.iter().any(|(pointer, _)| is_positional(pointer));
        if positional {
            let version = &live["metadata"]["resourceVersion"];
            operations.push(json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": version }));
        }
        let operations = Value::Array(operations);
        let written = match self.rest.patch(kind, &owner.namespace, name, None, PatchType::Json, &operations).await {
            // The server applies the patch before it compares versions, and a list that changed may not fit any more.
            Err(problem) if positional && problem.class == Class::Invalid => {
                let now = self.rest.get(kind, &owner.namespace, name).await?;
                let moved = now.as_ref().and_then(resource_version) != resource_version(live);
                return Err(if moved { ApiProblem { class: Class::Conflict, ..problem } } else { problem });
            }
            written => written?,
        };
        self.remember(wish, Some(&written));
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
        if live.at("/metadata/deletionTimestamp").is_some() {
            return Ok(Written::Unchanged);
        }
        let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
        self.rest.delete(kind, &owner.namespace, name, uid).await?;
        Ok(Written::Changed)
    }

    fn wish(&self, owner: &Owner, kind: Kind, name: &str, sort: Sort, hash: u64, live: Option<&Value>) -> Wish {
        Wish {
            address: (kind, owner.namespace.clone(), name.to_owned(), sort),
            hash,
            event: self.cache.last_event(kind, &owner.namespace, name),
            version: live.and_then(resource_version),
        }
    }

    /// True when exactly this was written and nobody has written since: also when the cache has not seen it yet.
    fn is_granted(&self, wish: &Wish) -> bool {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.get(&wish.address).is_some_and(|applied| {
            let as_written = applied.version.is_some() && applied.version == wish.version;
            applied.hash == wish.hash && (applied.event == wish.event || as_written)
        })
    }

    /// False when something else was applied last: then the live object may cover the new body and still have fields
    /// that are to be taken out.
    fn is_first_or_same(&self, wish: &Wish) -> bool {
        let applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.get(&wish.address).is_none_or(|applied| applied.hash == wish.hash)
    }

    fn remember(&self, wish: Wish, written: Option<&Value>) {
        let Wish { address, hash, event, .. } = wish;
        let version = written.and_then(resource_version);
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.insert(address, Applied { hash, event, version });
    }
}

fn identity(object: &Value) -> (&str, &str) {
    let text = |pointer| object.at(pointer).and_then(Value::as_str).unwrap_or_default();
    (text("/metadata/namespace"), text("/metadata/name"))
}

fn resource_version(object: &Value) -> Option<String> {
    object.at("/metadata/resourceVersion")?.as_str().map(str::to_owned)
}

fn hash(wanted: &impl serde::Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Values always serialise; were it otherwise, nothing would be taken for written.
    serde_json::to_vec(wanted).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
