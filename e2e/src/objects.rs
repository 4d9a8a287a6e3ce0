//! Objects of any kind as JSON: apply, read, list, delete.

use anyhow::{Context, Result};
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;

/// The kinds that the tests touch and that are kept when a test fails.
pub const KINDS: [(&str, &str); 18] = [
    ("flagger.app/v1beta1", "Canary"),
    ("flagger.app/v1beta1", "MetricTemplate"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("v1", "Event"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1", "Ingress"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("traefik.io/v1alpha1", "TraefikService"),
    ("traefik.io/v1alpha1", "IngressRoute"),
    ("serin.dev/v1alpha1", "GitSource"),
    ("source.toolkit.fluxcd.io/v1", "GitRepository"),
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
];

/// The resource of a kind; plurals are regular but for the constraints of Gatekeeper, which have none.
#[must_use]
pub fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    if group == "constraints.gatekeeper.sh" {
        return ApiResource { plural: kind.to_lowercase(), ..resource };
    }
    resource
}

/// The API of a kind in a namespace.
#[must_use]
pub fn api(client: &Client, namespace: &str, api_version: &str, kind: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(api_version, kind))
}

fn api_of(client: &Client, namespace: &str, object: &Value) -> Result<(Api<DynamicObject>, String)> {
    let text = |value: &Value, what: &str| {
        value.as_str().map(str::to_owned).with_context(|| format!("an object has no {what}: {object}"))
    };
    let api_version = text(&object["apiVersion"], "apiVersion")?;
    let kind = text(&object["kind"], "kind")?;
    let name = text(&object["metadata"]["name"], "metadata.name")?;
    let resource = resource(&api_version, &kind);
    let clusterwide = matches!(
        kind.as_str(),
        "Namespace" | "Node" | "ClusterRoleBinding" | "CustomResourceDefinition" | "ConstraintTemplate"
    ) || api_version.starts_with("constraints.gatekeeper.sh/");
    let api = if clusterwide {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    };
    Ok((api, name))
}

/// Server-side apply as `manager`.
///
/// # Errors
/// When the API server refuses.
pub async fn apply(client: &Client, namespace: &str, manager: &str, object: &Value) -> Result<DynamicObject> {
    let (api, name) = api_of(client, namespace, object)?;
    api.patch(&name, &PatchParams::apply(manager).force(), &Patch::Apply(object))
        .await
        .with_context(|| format!("applying {} {name} in {namespace}", object["kind"]))
}

/// The object as it is now, as JSON.
///
/// # Errors
/// When it is not there.
pub async fn get(client: &Client, namespace: &str, api_version: &str, kind: &str, name: &str) -> Result<Value> {
    let object = api(client, namespace, api_version, kind)
        .get(name)
        .await
        .with_context(|| format!("reading {kind} {name} in {namespace}"))?;
    serde_json::to_value(object).context("an object is not JSON")
}

/// All objects of a kind in a namespace; none when the kind is unknown to the cluster.
///
/// # Errors
/// When the API server does not answer.
pub async fn list(client: &Client, namespace: &str, api_version: &str, kind: &str) -> Result<Vec<Value>> {
    match api(client, namespace, api_version, kind).list(&ListParams::default()).await {
        Ok(list) => list.items.into_iter().map(|o| serde_json::to_value(o).context("an object is not JSON")).collect(),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("listing {kind} in {namespace}")),
    }
}

/// Deletes the object, in the background, as a user would.
///
/// # Errors
/// When the API server refuses.
pub async fn delete(client: &Client, namespace: &str, api_version: &str, kind: &str, name: &str) -> Result<()> {
    api(client, namespace, api_version, kind)
        .delete(name, &DeleteParams::background())
        .await
        .with_context(|| format!("deleting {kind} {name} in {namespace}"))?;
    Ok(())
}

/// Deletes an object that is in no namespace.
///
/// # Errors
/// When the API server refuses.
pub async fn delete_clusterwide(client: &Client, api_version: &str, kind: &str, name: &str) -> Result<()> {
    Api::<DynamicObject>::all_with(client.clone(), &resource(api_version, kind))
        .delete(name, &DeleteParams::background())
        .await
        .with_context(|| format!("deleting {kind} {name}"))?;
    Ok(())
}

/// Merges `change` into the object.
///
/// # Errors
/// When the API server refuses.
pub async fn merge(client: &Client, namespace: &str, change: &Value) -> Result<DynamicObject> {
    let (api, name) = api_of(client, namespace, change)?;
    api.patch(&name, &PatchParams::default(), &Patch::Merge(change))
        .await
        .with_context(|| format!("changing {} {name} in {namespace}", change["kind"]))
}
