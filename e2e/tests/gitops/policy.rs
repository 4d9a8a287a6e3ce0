//! A policy that refuses what Serin writes: it is named, nothing is tried in a hot loop, and all goes on when it is gone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::audit::Audit;
use e2e::workload::{self, V0, analysis, intervals};
use e2e::{Scene, holds_for, objects, wait_for};
use serde_json::{Value, json};

const TEMPLATE: (&str, &str) = ("templates.gatekeeper.sh/v1", "ConstraintTemplate");
const CONSTRAINT: (&str, &str) = ("constraints.gatekeeper.sh/v1beta1", "E2eRequiredLabel");

pub(crate) async fn gatekeeper_is_named_and_obeyed(scene: Arc<Scene>) -> Result<()> {
    let client = &scene.cluster.client;
    let template = json!({
        "apiVersion": TEMPLATE.0, "kind": TEMPLATE.1, "metadata": {"name": "e2erequiredlabel"},
        "spec": {
            "crd": {"spec": {
                "names": {"kind": CONSTRAINT.1},
                "validation": {"openAPIV3Schema": {"type": "object", "properties": {"label": {"type": "string"}}}},
            }},
            "targets": [{"target": "admission.k8s.gatekeeper.sh", "rego": "package e2erequiredlabel\n\n\
                violation[{\"msg\": message}] {\n  not input.review.object.metadata.labels[input.parameters.label]\n  \
                message := sprintf(\"label %v is required\", [input.parameters.label])\n}\n"}],
        },
    });
    objects::apply(client, "", "e2e", &template).await?;
    let constraint = json!({
        "apiVersion": CONSTRAINT.0, "kind": CONSTRAINT.1, "metadata": {"name": "team-label"},
        "spec": {
            "match": {"kinds": [{"apiGroups": ["apps"], "kinds": ["Deployment"]}], "namespaces": [scene.namespace]},
            "parameters": {"label": "team"},
        },
    });
    wait_for("the kind of the constraint", Duration::from_secs(60), || async {
        objects::apply(client, "", "e2e", &constraint).await.map(drop)
    })
    .await?;
    let mut unlabelled = workload::deployment(V0);
    unlabelled["metadata"]["name"] = "refused".into();
    wait_for("the policy to be in force", Duration::from_secs(60), || async {
        let created = scene.apply(&unlabelled).await;
        if created.is_ok() {
            objects::delete(client, &scene.namespace, "apps/v1", "Deployment", "refused").await?;
        }
        ensure!(created.is_err(), "a Deployment without the label was let in");
        Ok(())
    })
    .await?;

    let _serin = scene.serin().await?;
    let mut target = workload::deployment(V0);
    target["metadata"]["labels"]["team"] = "shop".into();
    scene.apply(&target).await?;
    scene.apply(&workload::canary(&scene.host, &analysis(&json!({"stepWeight": 50})))).await?;
    let refusal = wait_for("the refusal in the Canary's status", Duration::from_secs(30), || async {
        let seen = ready(&scene).await?;
        ensure!(seen["reason"] == "PolicyDenied", "it says {seen}");
        Ok(seen)
    })
    .await?;
    let message = refusal["message"].as_str().unwrap_or_default().to_owned();
    for word in ["team-label", "label team is required", "podinfo-primary"] {
        ensure!(message.contains(word), "the condition does not tell {word:?}: {message}");
    }
    scene.report(&format!("the condition says: {message}"));
    let audit = Audit::from_now(&scene.cluster, &scene.controller_user())?;
    holds_for("the refusal is told and nothing else happens", Duration::from_secs(30), || async {
        ensure!(ready(&scene).await?["reason"] == "PolicyDenied", "the reason is gone");
        Ok(())
    })
    .await?;
    if let Some(audit) = audit {
        let requests = audit.requests()?;
        scene.report(&format!("refused for half a minute, it made these requests: {requests:?}"));
        let total: usize = requests.values().sum();
        ensure!(total <= 12, "a refusal is tried again with back-off, these are {total} requests: {requests:?}");
    }

    objects::delete_clusterwide(client, CONSTRAINT.0, CONSTRAINT.1, "team-label").await?;
    scene.phase("Initialized", intervals(60)).await?;
    let ready = ready(&scene).await?;
    ensure!(ready["reason"] != "PolicyDenied", "it is initialized and still says {ready}");
    objects::delete_clusterwide(client, TEMPLATE.0, TEMPLATE.1, "e2erequiredlabel").await
}

async fn ready(scene: &Scene) -> Result<Value> {
    let conditions = scene.status().await?["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == "Ready").context("there is no condition Ready yet")
}
