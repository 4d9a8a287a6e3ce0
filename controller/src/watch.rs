//! One watch per kind: listed in pages, stripped as it is decoded, resumed with back-off, restarted when it dies.

use std::borrow::Cow;
use std::pin::pin;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, ApiResource};
use kube::core::{DynamicResourceScope, Resource};
use kube::runtime::watcher::{self, Event, watcher};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::attribution;
use crate::cache::Cache;
use crate::objects::Kind;
use crate::objects::kinds::{CANARY_TEMPLATE, CLUSTER_CANARY_TEMPLATE, CONFIG_MAP, SECRET};
use crate::opt_in::ANNOTATION;
use crate::problem::rbac_resource;

/// Objects in one page of a list. A page is held twice while it is decoded, so this bounds the peak of memory.
const PAGE: u32 = 100;

/// Time between two attempts to watch a kind that may well be missing, an operator's or a template's, and is not installed or may not be read.
const ABSENT: Duration = Duration::from_secs(600);

/// How long a watch may fail before nothing is decided any more on what it had brought.
const BLIND: Duration = Duration::from_secs(10);

/// What is kept of an object: identity, and the stripped rest as compact JSON.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) resource_version: String,
    /// JSON without `apiVersion`, `kind` and `metadata.resourceVersion`, so that equal bytes mean nothing of interest
    /// changed.
    pub(crate) body: Vec<u8>,
    pub(crate) ownership: Ownership,
    /// It is annotated with the name of a template of Canaries.
    pub(crate) opts_in: bool,
}

/// What the stripped `metadata.managedFields` said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Flagger owns fields by update; they must become Serin's before fields can be taken out.
    pub by_flagger: bool,
    /// Serin has applied `spec.replicas`.
    pub applied_replicas: bool,
}

/// Watches a kind until the task is ended. Never returns.
pub(crate) async fn watch(cache: Cache, kind: Kind) {
    loop {
        let task = if is_metadata_only(kind) {
            tokio::spawn(follow::<true>(cache.clone(), kind))
        } else {
            tokio::spawn(follow::<false>(cache.clone(), kind))
        };
        let guard = AbortOnDrop(task.abort_handle());
        match task.await {
            Ok(()) => {}
            Err(error) => tracing::error!(kind = kind.kind, %error, "a watch panicked, starting it again"),
        }
        drop(guard);
        cache.metrics().watch_restart(kind.kind);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// True for kinds whose content may be secret or large: only their metadata is watched.
pub(crate) fn is_metadata_only(kind: Kind) -> bool {
    kind == CONFIG_MAP || kind == SECRET
}

/// True for kinds that are watched although no Canary may ever need them.
pub(crate) fn is_optional(kind: Kind) -> bool {
    kind == CANARY_TEMPLATE || kind == CLUSTER_CANARY_TEMPLATE
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Follows a kind until its API goes away.
async fn follow<const METADATA_ONLY: bool>(cache: Cache, kind: Kind) {
    let resource = ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        plural: kind.plural.to_owned(),
    };
    let api: Api<Slim<METADATA_ONLY>> = match cache.namespace() {
        Some(namespace) if kind != CLUSTER_CANARY_TEMPLATE => {
            Api::namespaced_with(cache.client().clone(), namespace, &resource)
        }
        Some(_) | None => Api::all_with(cache.client().clone(), &resource),
    };
    let mut config = watcher::Config::default().page_size(PAGE);
    if kind == SECRET {
        // No Canary follows these, and a cluster has thousands of them.
        config = config.fields("type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token");
    }
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(500))
        .with_max_delay(Duration::from_secs(45)) // jitter adds up to 15 s more
        .with_factor(2.0)
        .without_max_times();
    let mut delays = backoff.build();
    let mut failing: Option<Instant> = None;
    let mut events = pin!(watcher(api, config));
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                delays = backoff.build();
                failing = None;
                match event {
                    Event::Init => cache.listing(kind),
                    Event::InitApply(object) => cache.listed(kind, object.seen),
                    Event::InitDone => cache.synced(kind),
                    Event::Apply(object) => cache.applied(kind, object.seen),
                    Event::Delete(object) => cache.deleted(kind, &object.seen),
                }
            }
            Err(error) => {
                cache.metrics().watch_restart(kind.kind);
                let trouble = trouble(kind, cache.namespace(), &error);
                tracing::debug!(kind = kind.kind, %error, "watch interrupted");
                let gone = matches!(trouble, Some(Trouble::NoApi(_)));
                let absent = trouble.is_some() && attribution::is_optional(kind);
                cache.troubled(kind, trouble);
                let mut delay = delays.next().unwrap_or(Duration::from_secs(45));
                if absent || (gone && is_optional(kind)) {
                    delay = ABSENT;
                }
                // What is known may be as old as this: a new leader must not promote what Git has left behind meanwhile.
                let blind = failing.get_or_insert_with(Instant::now).elapsed() >= BLIND && cache.is_synced(kind);
                if blind {
                    cache.doubted(kind);
                }
                tokio::time::sleep(delay.mul_f64(1.0 + fastrand::f64() / 3.0)).await;
                if blind {
                    return;
                }
                // Resuming at an old version is of no use when the API comes back: list again.
                if gone && cache.is_synced(kind) {
                    cache.emptied(kind);
                    return;
                }
            }
        }
    }
}

/// Trouble that does not pass by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The API does not exist.
    NoApi(String),
    /// A right is missing.
    NoRight(String),
}

fn trouble(kind: Kind, namespace: Option<&str>, error: &watcher::Error) -> Option<Trouble> {
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
    match code {
        404 if attribution::is_optional(kind) => Some(Trouble::NoApi(format!(
            "the API {} {} is not installed, so it is not asked where revisions come from",
            kind.api_version(),
            kind.kind
        ))),
        404 => Some(Trouble::NoApi(format!(
            "the API {} {} is not installed; install its CustomResourceDefinition, or choose another provider",
            kind.api_version(),
            kind.kind
        ))),
        401 | 403 => {
            let place = match namespace {
                Some(namespace) => format!("in the namespace {namespace}"),
                None => "in all namespaces".to_owned(),
            };
            Some(Trouble::NoRight(format!(
                "the service account may not list and watch {} {place}; grant get, list and watch to it",
                rbac_resource(kind)
            )))
        }
        _ => None,
    }
}

/// An object as the watch decodes it: stripped and packed while decoding, so that no page ever stands in memory as
/// trees. Decodes anything that is JSON.
#[derive(Clone, Debug)]
struct Slim<const METADATA_ONLY: bool> {
    /// Only the resource version, which the watcher asks for.
    metadata: ObjectMeta,
    seen: Seen,
}

impl<'de, const METADATA_ONLY: bool> Deserialize<'de> for Slim<METADATA_ONLY> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seen = strip(Value::deserialize(deserializer)?, METADATA_ONLY);
        let metadata = ObjectMeta {
            name: Some(seen.name.clone()),
            resource_version: Some(seen.resource_version.clone()),
            ..ObjectMeta::default()
        };
        Ok(Slim { metadata, seen })
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

/// Annotations that repeat the object or count for nobody here.
const DROPPED_ANNOTATIONS: [&str; 2] =
    ["kubectl.kubernetes.io/last-applied-configuration", "autoscaling.alpha.kubernetes.io/conditions"];

/// Status fields that change often and that no part reads.
const DROPPED_STATUS: [&str; 5] =
    ["collisionCount", "currentMetrics", "lastScaleTime", "loadBalancer", "terminatingReplicas"];

pub(crate) fn strip(mut object: Value, metadata_only: bool) -> Seen {
    let mut seen = Seen::default();
    attribution::thin(&mut object);
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            strip_metadata(metadata, &mut seen);
            if metadata_only && !is_of_a_canary(metadata) {
                metadata.retain(|key, _| matches!(key.as_str(), "name" | "namespace" | "uid"));
            }
        }
        if let Some(Value::Object(status)) = fields.get_mut("status") {
            status.retain(|key, _| !DROPPED_STATUS.contains(&key.as_str()));
        }
        if metadata_only {
            fields.retain(|key, _| key == "metadata");
        }
    }
    seen.body = serde_json::to_vec(&object).unwrap_or_default();
    seen
}

fn strip_metadata(metadata: &mut Map<String, Value>, seen: &mut Seen) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    seen.namespace = text(metadata.get("namespace"));
    seen.name = text(metadata.get("name"));
    seen.resource_version = text(metadata.remove("resourceVersion").as_ref());
    metadata.remove("selfLink");
    if let Some(managed_fields) = metadata.remove("managedFields") {
        seen.ownership = ownership(&managed_fields);
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        seen.opts_in = annotations.contains_key(ANNOTATION);
        annotations.retain(|key, _| !DROPPED_ANNOTATIONS.contains(&key.as_str()));
    }
}

/// What `metadata.managedFields` says of interest.
pub(crate) fn ownership(managed_fields: &Value) -> Ownership {
    let mut ownership = Ownership::default();
    for entry in managed_fields.as_array().into_iter().flatten() {
        let subresource = entry["subresource"].as_str().unwrap_or_default();
        if !subresource.is_empty() {
            continue;
        }
        match (entry["manager"].as_str(), entry["operation"].as_str()) {
            (Some("flagger"), Some("Update")) => ownership.by_flagger = true,
            (Some("serin"), Some("Apply")) => {
                ownership.applied_replicas = entry.pointer("/fieldsV1/f:spec/f:replicas").is_some();
            }
            _ => {}
        }
    }
    ownership
}

fn is_of_a_canary(metadata: &Map<String, Value>) -> bool {
    metadata
        .get("ownerReferences")
        .and_then(Value::as_array)
        .is_some_and(|owners| owners.iter().any(|owner| owner["kind"] == "Canary" && owner["controller"] == true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strips_what_nobody_reads() {
        let seen = strip(
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {
                    "name": "web", "namespace": "shop", "resourceVersion": "7", "generation": 2,
                    "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes" },
                    "managedFields": [
                        { "manager": "flagger", "operation": "Update", "fieldsV1": {} },
                        { "manager": "serin", "operation": "Apply", "fieldsV1": { "f:spec": { "f:replicas": {} } } },
                    ],
                },
                "spec": { "replicas": 2 },
                "status": { "observedGeneration": 2, "readyReplicas": 2, "collisionCount": 1, "conditions": [] },
            }),
            false,
        );
        assert_eq!((seen.namespace.as_str(), seen.name.as_str(), seen.resource_version.as_str()), ("shop", "web", "7"));
        assert_eq!(seen.ownership, Ownership { by_flagger: true, applied_replicas: true });
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        let expected = json!({
            "metadata": { "name": "web", "namespace": "shop", "generation": 2, "annotations": { "kept": "yes" } },
            "spec": { "replicas": 2 },
            "status": { "observedGeneration": 2, "readyReplicas": 2, "conditions": [] },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn of_secrets_only_the_identity_is_kept_unless_a_canary_owns_them() {
        let secret = |owner: Value| {
            json!({
                "metadata": { "name": "s", "namespace": "shop", "uid": "u", "labels": { "a": "b" }, "ownerReferences": owner },
                "data": { "password": "c2VjcmV0" },
            })
        };
        let body = |seen: Seen| String::from_utf8(seen.body).unwrap();
        assert_eq!(body(strip(secret(json!([])), true)), r#"{"metadata":{"name":"s","namespace":"shop","uid":"u"}}"#);
        let owned = body(strip(secret(json!([{ "kind": "Canary", "controller": true }])), true));
        assert!(owned.contains("labels") && !owned.contains("password"), "{owned}");
    }

    #[test]
    fn a_status_write_of_flagger_is_not_ownership_of_fields() {
        let managed_fields = json!([{ "manager": "flagger", "operation": "Update", "subresource": "status" }]);
        assert_eq!(ownership(&managed_fields), Ownership::default());
    }

    #[test]
    fn odd_objects_are_decoded_all_the_same() {
        for text in
            ["{}", "[]", "3", r#"{"metadata": 3, "status": []}"#, r#"{"metadata": {"labels": 7, "annotations": "x"}}"#]
        {
            assert!(serde_json::from_str::<Slim<false>>(text).is_ok(), "{text}");
        }
    }
}
