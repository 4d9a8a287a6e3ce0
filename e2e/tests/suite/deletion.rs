//! A Canary is deleted: without `revertOnDeletion` as Flagger does it, with it as if there had been none.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::workload::{self, NAME, V0, analysis, interval, intervals};
use e2e::{Scene, holds_for, objects, wait_for};
use serde_json::{Value, json};

async fn gone(scene: &Scene, api_version: &str, kind: &str, name: &str) -> Result<()> {
    wait_for(&format!("{kind} {name} to be gone"), intervals(10), || async {
        let all = objects::list(&scene.cluster.client, &scene.namespace, api_version, kind).await?;
        ensure!(all.iter().all(|object| object["metadata"]["name"] != name), "it is there");
        Ok(())
    })
    .await
}

async fn delete_canary(scene: &Scene) -> Result<()> {
    objects::delete(&scene.cluster.client, &scene.namespace, "flagger.app/v1beta1", "Canary", NAME).await
}

pub(crate) async fn without_revert_what_was_made_goes(scene: Arc<Scene>) -> Result<()> {
    let mut serin = scene.serin().await?;
    scene.apply(&workload::deployment(V0)).await?;
    scene.apply(&workload::canary(&scene.host, &analysis(&json!({"stepWeight": 50})))).await?;
    scene.phase("Initialized", intervals(5)).await?;
    delete_canary(&scene).await?;
    gone(&scene, "flagger.app/v1beta1", "Canary", NAME).await?;
    gone(&scene, "apps/v1", "Deployment", &format!("{NAME}-primary")).await?;
    for name in [NAME.to_owned(), format!("{NAME}-primary"), format!("{NAME}-canary")] {
        gone(&scene, "v1", "Service", &name).await?;
    }
    gone(&scene, "gateway.networking.k8s.io/v1", "HTTPRoute", NAME).await?;
    holds_for("the target at zero, as it was", Duration::from_secs(2 * interval()), || async {
        let replicas = scene.deployment(NAME).await?["spec"]["replicas"].clone();
        ensure!(replicas == 0, "it has {replicas} replicas");
        Ok(())
    })
    .await?;
    serin.alive()
}

pub(crate) async fn with_revert_users_do_not_notice(scene: Arc<Scene>) -> Result<()> {
    // The Service and the route to it are the user's own, and stay.
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME},
        "spec": {"selector": {"app": NAME}, "ports": [{"name": "http", "port": 80, "targetPort": 9898}]},
    });
    let mut serin = scene.serin().await?;
    scene.apply(&workload::deployment(V0)).await?;
    scene.apply(&service).await?;
    scene.apply(&workload::route("shop", &scene.host, &[(NAME, 1)])).await?;
    let traffic = scene.traffic(|_| ())?;
    traffic.expect_share(V0, 100.0).await?;

    let mark = traffic.mark();
    let mut canary = workload::canary(&scene.host, &analysis(&json!({"iterations": 2})));
    canary["spec"]["provider"] = json!("kubernetes");
    canary["spec"]["revertOnDeletion"] = json!(true);
    scene.apply(&canary).await?;
    scene.phase("Initialized", intervals(5)).await?;
    crate::release::scaled_down(&scene).await?;
    let failed = traffic.counts_since(mark).failed;
    ensure!(failed == 0, "users saw {failed} requests fail while the Canary was made");

    delete_canary(&scene).await?;
    gone(&scene, "flagger.app/v1beta1", "Canary", NAME).await?;
    gone(&scene, "apps/v1", "Deployment", &format!("{NAME}-primary")).await?;
    let target = scene.deployment(NAME).await?;
    ensure!(target["spec"]["replicas"] == 1, "the target has {} replicas", target["spec"]["replicas"]);
    ensure!(target["status"]["availableReplicas"] == 1, "the target is {}", target["status"]);
    let selector = selector(&scene).await?;
    ensure!(selector == json!({"app": NAME}), "the Service selects {selector}");
    traffic.expect_share(V0, 100.0).await?;
    let failed = traffic.counts_since(mark).failed;
    ensure!(failed == 0, "users saw {failed} requests fail");
    serin.alive()
}

async fn selector(scene: &Scene) -> Result<Value> {
    let service = objects::get(&scene.cluster.client, &scene.namespace, "v1", "Service", NAME).await?;
    Ok(service["spec"]["selector"].clone())
}
