//! The GitSources of the cluster, watched.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use crds::{GitSource, HOLD_ANNOTATION, REQUESTED_AT_ANNOTATION};
use futures::StreamExt;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::Value;

use super::source::SourceKey;
use crate::objects::kinds::GIT_SOURCE;

/// Between two questions whether the kind is there: an installation without it costs next to nothing.
const ABSENT: Duration = Duration::from_secs(10 * 60);

/// A GitSource as it was read, or why it cannot be.
pub type Read = Result<Arc<GitSource>, Arc<Unreadable>>;

/// A GitSource that is not of this version's form; a definition of another version may let such in.
#[derive(Debug)]
pub struct Unreadable {
    /// Generation.
    pub generation: i64,
    /// What is wrong.
    pub why: String,
}

/// The GitSources. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Sources {
    known: Arc<Mutex<HashMap<SourceKey, Read>>>,
}

impl Sources {
    /// The GitSource as last seen.
    pub fn get(&self, key: &SourceKey) -> Option<Read> {
        self.lock().get(key).cloned()
    }

    /// All of them.
    pub fn keys(&self) -> Vec<SourceKey> {
        self.lock().keys().cloned().collect()
    }

    /// Watches GitSources, those of one namespace or all, and tells of each that changes in what counts. `begin` is
    /// called with all of them when they are known for the first time. Never returns.
    pub async fn follow(
        &self,
        client: &Client,
        namespace: Option<&str>,
        begin: impl Fn(&[Arc<GitSource>]) + Send + Sync,
        wake: impl Fn(SourceKey) + Send + Sync,
    ) {
        let resource = ApiResource {
            group: GIT_SOURCE.group.to_owned(),
            version: GIT_SOURCE.version.to_owned(),
            api_version: GIT_SOURCE.api_version(),
            kind: GIT_SOURCE.kind.to_owned(),
            plural: GIT_SOURCE.plural.to_owned(),
        };
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(500))
            .with_max_delay(Duration::from_secs(45))
            .with_factor(2.0)
            .without_max_times();
        let mut delays = backoff.build();
        let mut begun = false;
        let mut listed: HashSet<SourceKey> = HashSet::new();
        let mut events = pin!(watcher(api, watcher::Config::default().page_size(50)));
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    let (key, changed) = self.put(object);
                    listed.insert(key.clone());
                    if changed && begun {
                        wake(key);
                    }
                }
                Ok(Event::InitDone) => {
                    delays = backoff.build();
                    let gone: Vec<SourceKey> = {
                        let mut known = self.lock();
                        let gone: Vec<_> = known.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                        gone.iter().for_each(|key| drop(known.remove(key)));
                        gone
                    };
                    gone.into_iter().for_each(&wake);
                    if !std::mem::replace(&mut begun, true) {
                        let known: Vec<_> = self.lock().values().flatten().cloned().collect();
                        begin(&known);
                        let keys: Vec<_> = self.lock().keys().cloned().collect();
                        keys.into_iter().for_each(&wake);
                    }
                }
                Ok(Event::Apply(object)) => {
                    let (key, changed) = self.put(object);
                    if changed {
                        wake(key);
                    }
                }
                Ok(Event::Delete(object)) => {
                    let key = key_of(&object);
                    self.lock().remove(&key);
                    wake(key);
                }
                Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))
                    if matches!(status.code, 403 | 404) =>
                {
                    tracing::debug!("no GitSource is defined, or none may be read; looking again in {ABSENT:?}");
                    tokio::time::sleep(ABSENT.mul_f64(1.0 + fastrand::f64() / 3.0)).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "watch of GitSources interrupted");
                    let delay = delays.next().unwrap_or(Duration::from_secs(45));
                    tokio::time::sleep(delay.mul_f64(1.0 + fastrand::f64() / 3.0)).await;
                }
            }
        }
    }

    /// Keeps the object; true when something counts that is another than before.
    fn put(&self, object: DynamicObject) -> (SourceKey, bool) {
        let key = key_of(&object);
        let generation = object.metadata.generation.unwrap_or_default();
        let read: Result<GitSource, _> = serde_json::to_value(object).and_then(without_managed_fields);
        let read = match read {
            Ok(source) => Ok(Arc::new(source)),
            Err(error) => Err(Arc::new(Unreadable { generation, why: error.to_string() })),
        };
        let before = self.lock().insert(key.clone(), read.clone());
        (key, before.is_none_or(|before| of_interest(&before) != of_interest(&read)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SourceKey, Read>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without_managed_fields(mut object: Value) -> serde_json::Result<GitSource> {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    serde_json::from_value(object)
}

fn key_of(object: &DynamicObject) -> SourceKey {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    SourceKey::new(&text(&object.metadata.namespace), &text(&object.metadata.name))
}

/// What a pass looks at; what the agent itself writes is not among it.
fn of_interest(read: &Read) -> (String, i64, bool, [Option<String>; 2]) {
    match read {
        Ok(source) => (
            source.metadata.uid.clone().unwrap_or_default(),
            source.metadata.generation.unwrap_or_default(),
            source.metadata.deletion_timestamp.is_some(),
            [requested_at(source), annotation(source, HOLD_ANNOTATION)],
        ),
        Err(unreadable) => (String::new(), unreadable.generation, false, [None, None]),
    }
}

/// The value of the annotation that asks for a look now.
pub fn requested_at(source: &GitSource) -> Option<String> {
    annotation(source, REQUESTED_AT_ANNOTATION)
}

/// True when that commit is not to be applied, because a rollback has taken it back.
pub fn is_held(source: &GitSource, commit: &str) -> bool {
    annotation(source, HOLD_ANNOTATION).is_some_and(|hold| hold.contains(commit))
}

fn annotation(source: &GitSource, name: &str) -> Option<String> {
    source.metadata.annotations.as_ref()?.get(name).cloned()
}
