//! Fake nodes, and workloads on them: pods that are ready at once and cost nothing.

use anyhow::Result;
use futures::stream::{self, StreamExt, TryStreamExt};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::objects;

/// The field manager of what the harness makes.
pub const MANAGER: &str = "e2e";

/// Enough for a thousand pods each.
pub const NODES: usize = 10;

/// Makes sure that `count` fake nodes are there. With `taint`, only pods that tolerate it are put there.
///
/// # Errors
/// When the API server refuses.
pub async fn nodes(client: &Client, count: usize, taint: bool) -> Result<()> {
    for number in 0..count {
        let taints = if taint { json!([{"key": "e2e.serin.dev/fake", "effect": "NoSchedule"}]) } else { json!([]) };
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": format!("fake-{number}"),
                "annotations": {"kwok.x-k8s.io/node": "fake"},
                "labels": {"e2e.serin.dev/fake": "true", "kubernetes.io/hostname": format!("fake-{number}")},
            },
            "spec": {"taints": taints},
        });
        objects::apply(client, "", MANAGER, &node).await?;
        let room = json!({"cpu": "1000", "memory": "1000Gi", "pods": "1000"});
        let status = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("fake-{number}")},
            "status": {"allocatable": room, "capacity": room},
        });
        let nodes: Api<DynamicObject> = Api::all_with(client.clone(), &objects::resource("v1", "Node"));
        nodes
            .patch_status(&format!("fake-{number}"), &PatchParams::apply(MANAGER).force(), &Patch::Apply(&status))
            .await?;
    }
    Ok(())
}

/// Puts all new pods on fake nodes, whatever they tolerate; or ends that.
///
/// # Errors
/// When the API server refuses.
pub async fn only(client: &Client, only: bool) -> Result<()> {
    let real = ListParams::default().labels("!e2e.serin.dev/fake");
    let list: Api<DynamicObject> = Api::all_with(client.clone(), &objects::resource("v1", "Node"));
    for node in list.list(&real).await?.items {
        let change = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.metadata.name},
            "spec": {"unschedulable": only},
        });
        objects::merge(client, "", &change).await?;
    }
    nodes(client, NODES, !only).await
}

/// A Deployment whose pods run on fake nodes, with one ConfigMap that it reads.
#[must_use]
pub fn workload(name: &str) -> [Value; 2] {
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("{name}-settings")}, "data": {"colour": "yellow"},
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "nodeSelector": {"e2e.serin.dev/fake": "true"},
                    "tolerations": [{"key": "e2e.serin.dev/fake", "operator": "Exists"}],
                    "containers": [{
                        "name": "app", "image": "local/podinfo:6.0.0",
                        "envFrom": [{"configMapRef": {"name": format!("{name}-settings")}}],
                        "ports": [{"name": "http", "containerPort": 9898}],
                    }],
                },
            },
        },
    });
    [settings, deployment]
}

/// A Canary of such a workload that analyses nothing but time, behind plain Services.
#[must_use]
pub fn canary(name: &str) -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {"name": name},
        "spec": {
            "provider": "kubernetes",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "service": {"port": 80, "targetPort": 9898},
            "analysis": {"interval": "30s", "threshold": 3, "iterations": 5},
        },
    })
}

/// Applies many objects to a namespace, sixteen at a time.
///
/// # Errors
/// When the API server refuses one.
pub async fn apply_all(client: &Client, namespace: &str, objects: Vec<Value>) -> Result<()> {
    stream::iter(objects)
        .map(|object| async move { objects::apply(client, namespace, MANAGER, &object).await })
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await
}
