//! What the demo writes into a real cluster beside the controller: definitions, the namespace, what Git holds; and their end.

use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, TypeMeta};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{ClusterError, NAMESPACE};
use crate::complaint::is_not_found;

/// On all that the demo made itself.
pub(super) const OURS: &str = "serin.dev/demo";

/// What a namespace or a definition may take to come or go.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at it.
const POLL: Duration = Duration::from_millis(500);

/// Group, version, kind and plural.
pub(super) type Known = (&'static str, &'static str, &'static str, &'static str);
pub(super) const NAMESPACES: Known = ("", "v1", "Namespace", "namespaces");
pub(super) const POD: Known = ("", "v1", "Pod", "pods");
pub(super) const DEPLOYMENT: Known = ("apps", "v1", "Deployment", "deployments");
pub(super) const CANARY: Known = ("flagger.app", "v1beta1", "Canary", "canaries");
pub(super) const GATEWAY: Known = ("gateway.networking.k8s.io", "v1", "Gateway", "gateways");
pub(super) const DEFINITION: Known =
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions");

/// As the client wants it.
pub(super) fn resource((group, version, kind, plural): Known) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// As a value.
pub(super) fn value(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

/// Applies an object as a GitOps operator does; one without a namespace goes into the demo's, and none into another.
pub(super) async fn apply(client: &Client, mut object: Value) -> Result<(), ClusterError> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name, namespace) = (text("/kind"), text("/metadata/name"), text("/metadata/namespace"));
    let doing = format!("applying {kind} {name}");
    let refused = |why: &str| ClusterError::Api { doing: doing.clone(), why: why.to_owned() };
    if !namespace.is_empty() && namespace != NAMESPACE {
        return Err(refused(&format!("it is for the namespace {namespace}; the demo writes into {NAMESPACE} alone")));
    }
    let types = TypeMeta { api_version: text("/apiVersion"), kind: kind.clone() };
    let kind = GroupVersionKind::try_from(&types).map_err(|why| refused(&why.to_string()))?;
    let (resource, abilities) =
        pinned_kind(client, &kind).await.map_err(|why| ClusterError::api(doing.clone(), &why))?;
    if abilities.scope == Scope::Cluster {
        return Err(refused(&format!("it belongs to no namespace; the demo writes into {NAMESPACE} alone")));
    }
    object["metadata"]["namespace"] = NAMESPACE.into();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
    let parameters = PatchParams::apply("serin-demo-gitops").force();
    api.patch(&name, &parameters, &Patch::Apply(&object)).await.map_err(|why| ClusterError::api(doing, &why))?;
    Ok(())
}

/// What has been made, and so has to go.
#[derive(Debug, Default)]
pub(super) struct Made {
    definitions: Vec<String>,
    namespace: bool,
}

impl Made {
    /// Installs these definitions and waits until they are served.
    pub(super) async fn definitions(&mut self, client: &Client, wanted: &[Value]) -> Result<(), ClusterError> {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(DEFINITION));
        for definition in wanted {
            let name = definition["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let doing = format!("installing the definition {name}");
            let object: DynamicObject = serde_json::from_value(definition.clone())
                .map_err(|why| ClusterError::Api { doing: doing.clone(), why: why.to_string() })?;
            // Noted first: whatever happens then, it is taken away.
            self.definitions.push(name.clone());
            if let Err(why) = api.create(&PostParams::default(), &object).await {
                self.definitions.retain(|known| *known != name);
                return Err(ClusterError::api(doing, &why));
            }
            until(&doing, async || {
                let found = api.get(&name).await.map_err(|why| ClusterError::api(doing.clone(), &why))?;
                let conditions = value(&found);
                let conditions = conditions.pointer("/status/conditions").and_then(Value::as_array).cloned();
                let served = |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
                Ok(conditions.unwrap_or_default().iter().any(served))
            })
            .await?;
        }
        Ok(())
    }

    /// Makes the namespace, after the end of the one that an earlier demo left.
    pub(super) async fn namespace(&mut self, client: &Client, leftover: bool) -> Result<(), ClusterError> {
        if leftover {
            delete_namespace(client).await?;
        }
        let doing = format!("making the namespace {NAMESPACE}");
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE, "labels": { OURS: "true" } },
        });
        let object: DynamicObject = serde_json::from_value(object)
            .map_err(|why| ClusterError::Api { doing: doing.clone(), why: why.to_string() })?;
        self.namespace = true;
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(NAMESPACES));
        if let Err(why) = api.create(&PostParams::default(), &object).await {
            self.namespace = false;
            return Err(ClusterError::api(doing, &why));
        }
        Ok(())
    }

    /// Deletes all of it; says what came of that.
    pub(super) async fn take_away(self, client: &Client) -> Vec<String> {
        let mut told = Vec::new();
        if self.namespace {
            told.push(match delete_namespace(client).await {
                Ok(()) => format!("the namespace {NAMESPACE} is deleted"),
                Err(why) => format!("{why}; finish with `kubectl delete namespace {NAMESPACE}`"),
            });
        }
        if self.definitions.is_empty() {
            return told;
        }
        match others(client).await {
            Ok(0) => {}
            Ok(count) => {
                told.push(format!("the definitions stay: there are {count} Canaries of others"));
                return told;
            }
            Err(why) => {
                told.push(format!("the definitions stay: {why}"));
                return told;
            }
        }
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(DEFINITION));
        for name in &self.definitions {
            told.push(match api.delete(name, &DeleteParams::default()).await {
                Ok(_) => format!("the definition {name} is deleted"),
                Err(why) => ClusterError::api(format!("deleting the definition {name}"), &why).to_string(),
            });
        }
        told
    }
}

/// Canaries, metric templates and alert providers would go with their definitions; those of others must not.
async fn others(client: &Client) -> Result<usize, ClusterError> {
    let mut count = 0;
    for plural in [("MetricTemplate", "metrictemplates"), ("AlertProvider", "alertproviders"), (CANARY.2, CANARY.3)] {
        let kind = resource((CANARY.0, CANARY.1, plural.0, plural.1));
        let list = Api::<DynamicObject>::all_with(client.clone(), &kind).list(&ListParams::default()).await;
        match list {
            Ok(list) => count += list.items.len(),
            Err(why) if is_not_found(&why) => {}
            Err(why) => return Err(ClusterError::api(format!("listing {}", plural.1), &why)),
        }
    }
    Ok(count)
}

async fn delete_namespace(client: &Client) -> Result<(), ClusterError> {
    let doing = format!("deleting the namespace {NAMESPACE}");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(NAMESPACES));
    let failed = |why: kube::Error| ClusterError::api(doing.clone(), &why);
    match api.get(NAMESPACE).await {
        Ok(found) if found.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(OURS)) => {}
        Ok(_) => return Err(ClusterError::Api { doing, why: format!("it has lost the label {OURS}") }),
        Err(why) if is_not_found(&why) => return Ok(()),
        Err(why) => return Err(failed(why)),
    }
    match api.delete(NAMESPACE, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(why) if is_not_found(&why) => return Ok(()),
        Err(why) => return Err(failed(why)),
    }
    until(&doing, async || match api.get(NAMESPACE).await {
        Ok(_) => Ok(false),
        Err(why) if is_not_found(&why) => Ok(true),
        Err(why) => Err(failed(why)),
    })
    .await
}

async fn until(doing: &str, holds: impl AsyncFn() -> Result<bool, ClusterError>) -> Result<(), ClusterError> {
    let begin = Instant::now();
    while !holds().await? {
        if begin.elapsed() > PATIENCE {
            let why = format!("it takes longer than {} s", PATIENCE.as_secs());
            return Err(ClusterError::Api { doing: doing.to_owned(), why });
        }
        sleep(POLL).await;
    }
    Ok(())
}
