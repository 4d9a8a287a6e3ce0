//! Seeing what was applied: watches of the applied kinds in the namespaces of a GitSource, by its label and with its
//! rights. Of most objects only the metadata is sent; of what makes pods, all, for its health.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use crds::SOURCE_ANNOTATION;
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, ApiResource};
use kube::core::{DynamicResourceScope, Resource};
use kube::runtime::watcher::{self, Event, watcher};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::fields::{fields, last_writer};
use super::health::{Health, has_health, health};
use super::manifest::ObjectId;
use crate::objects::Kind;
use crate::problem::rbac_resource;

/// Objects in one page of a list.
const PAGE: u32 = 100;

/// What is kept of an applied object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// Version in the cluster.
    pub resource_version: String,
    /// Checksum of the agent's fields.
    pub fields: String,
    /// Who wrote last, other than the agent.
    pub last_writer: String,
    /// How it is.
    pub health: Health,
}

/// Kind and namespace; no namespace for objects of the cluster.
pub type Place = (Kind, String);

/// What was seen of the objects of one GitSource. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Sight {
    shared: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    objects: HashMap<ObjectId, Glimpse>,
    /// Objects that went, and when that was seen.
    gone: HashMap<ObjectId, Instant>,
    /// Places that were listed, and when the last list began.
    listed: HashMap<(String, String, String), Instant>,
    troubles: BTreeMap<String, String>,
}

impl Sight {
    /// The object as last seen; `None` when it is not there any more. An error while that is not known, which is so until
    /// the watch has come to what the agent itself has `written`, and when.
    ///
    /// # Errors
    /// While that is not known.
    pub fn of(&self, id: &ObjectId, written: Option<&(u64, Instant)>) -> Result<Option<Glimpse>, NotKnown> {
        let seen = self.lock();
        if let Some(glimpse) = seen.objects.get(id) {
            let version: Option<u64> = glimpse.resource_version.parse().ok();
            let is_older = version.zip(written).is_some_and(|(version, (written, _))| version < *written);
            return if is_older { Err(NotKnown) } else { Ok(Some(glimpse.clone())) };
        }
        let since = |at: Option<&Instant>| at.is_some_and(|at| written.is_none_or(|(_, written)| at > written));
        if since(seen.gone.get(id)) || since(seen.listed.get(&place(id))) { Ok(None) } else { Err(NotKnown) }
    }

    /// Why some kinds cannot be watched.
    pub fn troubles(&self) -> Vec<String> {
        self.lock().troubles.values().cloned().collect()
    }

    /// Forgets a place that is watched no more.
    fn forget(&self, (kind, namespace): &Place) {
        let here = (kind.group.to_owned(), kind.kind.to_owned(), namespace.clone());
        let mut seen = self.lock();
        seen.objects.retain(|id, _| place(id) != here);
        seen.gone.retain(|id, _| place(id) != here);
        seen.listed.remove(&here);
        seen.troubles.remove(&trouble_key(&(*kind, namespace.clone())));
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nothing is known of an object yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotKnown;

/// The watches of one GitSource; they end when this is dropped.
#[derive(Default)]
pub struct Watches {
    tasks: HashMap<Place, JoinHandle<()>>,
    /// With whose rights.
    account: Option<String>,
}

impl Watches {
    /// Watches these places and no others. `wake` is called when something of interest changes.
    pub fn keep(
        &mut self,
        places: &BTreeSet<Place>,
        (client, account): (&Client, Option<&String>),
        label: &str,
        sight: &Sight,
        wake: &Arc<dyn Fn() + Send + Sync>,
    ) {
        if self.account.as_ref() != account {
            self.stop();
            self.account = account.cloned();
        }
        self.tasks.retain(|place, task| {
            let keep = places.contains(place) && !task.is_finished();
            if !keep {
                task.abort();
                sight.forget(place);
            }
            keep
        });
        for place in places {
            self.tasks.entry(place.clone()).or_insert_with(|| {
                let (client, place) = (client.clone(), place.clone());
                let (label, sight, wake) = (label.to_owned(), sight.clone(), wake.clone());
                tokio::spawn(async move {
                    if has_health(place.0) {
                        follow::<false>(client, place, label, sight, wake).await;
                    } else {
                        follow::<true>(client, place, label, sight, wake).await;
                    }
                })
            });
        }
    }

    fn stop(&mut self) {
        self.tasks.drain().for_each(|(_, task)| task.abort());
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn follow<const METADATA_ONLY: bool>(
    client: Client,
    (kind, namespace): Place,
    label: String,
    sight: Sight,
    wake: Arc<dyn Fn() + Send + Sync>,
) {
    let resource = ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        plural: kind.plural.to_owned(),
    };
    let api: Api<Slim<METADATA_ONLY>> = if namespace.is_empty() {
        Api::all_with(client, &resource)
    } else {
        Api::namespaced_with(client, &namespace, &resource)
    };
    let config = watcher::Config::default().page_size(PAGE).labels(&format!("{SOURCE_ANNOTATION}={label}"));
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_secs(1))
        .with_max_delay(Duration::from_secs(120))
        .with_factor(2.0)
        .without_max_times();
    let mut delays = backoff.build();
    let id = |slim: &Slim<METADATA_ONLY>| ObjectId {
        kind: kind.kind.to_owned(),
        group: kind.group.to_owned(),
        namespace: namespace.clone(),
        name: slim.metadata.name.clone().unwrap_or_default(),
    };
    let key = trouble_key(&(kind, namespace.clone()));
    let mut listed = HashSet::new();
    let mut began = Instant::now();
    let mut events = pin!(watcher(api, config));
    while let Some(event) = events.next().await {
        let changed = match event {
            Ok(Event::Init) => {
                listed.clear();
                began = Instant::now();
                false
            }
            Ok(Event::InitApply(slim)) => {
                listed.insert(id(&slim));
                put(&sight, id(&slim), slim.glimpse)
            }
            Ok(Event::InitDone) => {
                delays = backoff.build();
                let mut seen = sight.lock();
                let here = (kind.group.to_owned(), kind.kind.to_owned(), namespace.clone());
                seen.objects.retain(|id, _| place(id) != here || listed.contains(id));
                listed = HashSet::new();
                seen.troubles.remove(&key);
                seen.gone.retain(|id, _| place(id) != here);
                seen.listed.insert(here, began);
                true
            }
            Ok(Event::Apply(slim)) => put(&sight, id(&slim), slim.glimpse),
            Ok(Event::Delete(slim)) => {
                let mut seen = sight.lock();
                seen.gone.insert(id(&slim), Instant::now());
                seen.objects.remove(&id(&slim)).is_some()
            }
            Err(error) => {
                tracing::debug!(kind = kind.kind, namespace, %error, "watch of applied objects interrupted");
                let told = match trouble(kind, &namespace, &error) {
                    Some(trouble) => sight.lock().troubles.insert(key.clone(), trouble.clone()) != Some(trouble),
                    None => false,
                };
                if told {
                    wake();
                }
                let delay = delays.next().unwrap_or(Duration::from_secs(120));
                tokio::time::sleep(delay.mul_f64(1.0 + fastrand::f64() / 3.0)).await;
                false
            }
        };
        if changed {
            wake();
        }
    }
}

/// True when something of interest is another than before.
fn put(sight: &Sight, id: ObjectId, glimpse: Glimpse) -> bool {
    let before = {
        let mut seen = sight.lock();
        seen.gone.remove(&id);
        seen.objects.insert(id, glimpse.clone())
    };
    before.is_none_or(|before| before.fields != glimpse.fields || before.health != glimpse.health)
}

fn place(id: &ObjectId) -> (String, String, String) {
    (id.group.clone(), id.kind.clone(), id.namespace.clone())
}

fn trouble_key((kind, namespace): &Place) -> String {
    format!("{}/{}/{namespace}", kind.group, kind.plural)
}

fn trouble(kind: Kind, namespace: &str, error: &watcher::Error) -> Option<String> {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code,
        watcher::Error::WatchError(status) => status.code,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => return None,
    };
    let place =
        if namespace.is_empty() { "in the cluster".to_owned() } else { format!("in the namespace {namespace}") };
    (code == 403).then(|| {
        format!(
            "the account may not list and watch {} {place}, so drift and health of them are not seen: grant list and watch, \
             or set spec.drift to Ignore",
            rbac_resource(kind)
        )
    })
}

/// An applied object as the watch decodes it.
#[derive(Clone, Debug)]
struct Slim<const METADATA_ONLY: bool> {
    /// Name and version alone.
    metadata: ObjectMeta,
    glimpse: Glimpse,
}

impl<'de, const METADATA_ONLY: bool> Deserialize<'de> for Slim<METADATA_ONLY> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        let glimpse = Glimpse {
            resource_version: text("resourceVersion"),
            fields: fields(metadata),
            last_writer: last_writer(metadata).unwrap_or_default().to_owned(),
            health: if METADATA_ONLY { Health::NotAsked } else { health(&object) },
        };
        let metadata = ObjectMeta {
            name: Some(text("name")),
            resource_version: Some(glimpse.resource_version.clone()),
            ..ObjectMeta::default()
        };
        Ok(Slim { metadata, glimpse })
    }
}

impl<const METADATA_ONLY: bool> Resource for Slim<METADATA_ONLY> {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn metadata_api() -> bool {
        METADATA_ONLY
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
