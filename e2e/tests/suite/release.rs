//! Good releases: from a commit to all users, step by step, with nobody noticing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::audit::Audit;
use e2e::workload::{self, NAME, V0, V1, V2, analysis, intervals};
use e2e::{Gate, Scene, objects, wait_for};
use serde_json::json;

pub(crate) async fn commit_reaches_all_users_step_by_step(scene: Arc<Scene>) -> Result<()> {
    let (git, gate) = (scene.git().await?, Gate::closed().await?);
    let _serin = scene.serin().await?;
    let policy = workload::canary(
        &scene.host,
        &analysis(&json!({
            "stepWeights": [10, 30, 50],
            "metrics": [workload::success_rate(), workload::duration()],
            "webhooks": [workload::webhook("confirm-traffic-increase", gate.url())],
        })),
    );
    git.commit("Ship the shop", &[workload::deployment(V0), policy]).await?;
    scene.phase("Initialized", intervals(5)).await?;
    let traffic = scene.traffic(|plan| plan.rate = 250)?;
    traffic.expect_share(V0, 100.0).await?;

    git.commit("Ship 6.0.1", &[workload::deployment(V1)]).await?;
    for weight in [10, 30, 50] {
        let audit = Audit::from_now(&scene.cluster, &scene.controller_user())?;
        gate.admit(1);
        wait_for(&format!("weight {weight}"), intervals(6), || async {
            let (weights, canary) = (scene.weights().await?, scene.canary().await?);
            ensure!(weights == (100 - weight, weight), "the route has {weights:?}, the Canary is {canary:?}");
            ensure!(canary.weight == weight, "the Canary is {canary:?}");
            Ok(())
        })
        .await?;
        if let Some(audit) = audit {
            scene.report(&format!("weight {weight}: the step cost these requests: {:?}", audit.requests()?));
        }
        #[expect(clippy::cast_precision_loss, reason = "a weight is at most 100")]
        let counts = traffic.expect_share(V1, weight as f64).await?;
        scene.report(&format!("weight {weight}: {:.1} % of {} requests", counts.share(V1), counts.total));
        ensure!(scene.weights().await? == (100 - weight, weight), "the weight moved while the gate was closed");
    }
    gate.open();
    scene.promoted(V1, intervals(10)).await?;
    traffic.expect_share(V1, 100.0).await?;
    let promoted = scene.canary().await?.promoted;
    ensure!(promoted == Some(("True".into(), "Succeeded".into())), "the condition Promoted is {promoted:?}");
    scaled_down(&scene).await?;
    let counts = traffic.stop();
    ensure!(
        counts.failed == 0,
        "users saw {} of {} requests fail: {:?}",
        counts.failed,
        counts.total,
        counts.by_status
    );
    Ok(())
}

pub(crate) async fn ten_promotions_fail_no_request(scene: Arc<Scene>) -> Result<()> {
    let git = scene.git().await?;
    let _serin = scene.serin().await?;
    git.commit("Ship the shop", &[workload::deployment(V0)]).await?;
    // Two pods, scaled by someone else than Git.
    let scale =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": NAME}, "spec": {"replicas": 2}});
    objects::merge(&scene.cluster.client, &scene.namespace, &scale).await?;
    let policy = analysis(&json!({"stepWeight": 50, "metrics": [workload::success_rate()]}));
    git.commit("Say how to ship it", &[workload::canary(&scene.host, &policy)]).await?;
    scene.phase("Initialized", intervals(5)).await?;
    let traffic = scene.traffic(|plan| plan.duration = Duration::from_secs(1200))?;
    traffic.expect_share(V0, 100.0).await?;
    for number in 1..=10 {
        let tag = if number % 2 == 1 { V1 } else { V2 };
        git.commit(&format!("Ship release {number}"), &[workload::deployment(tag)]).await?;
        scene.promoted(tag, intervals(12)).await?;
        let failed = traffic.counts_since(0).failed;
        ensure!(failed == 0, "promotion {number} cost users {failed} requests");
    }
    scaled_down(&scene).await?;
    let counts = traffic.stop();
    scene.report(&format!("ten promotions, {} requests, {} failed", counts.total, counts.failed));
    ensure!(
        counts.failed == 0,
        "users saw {} of {} requests fail: {:?}",
        counts.failed,
        counts.total,
        counts.by_status
    );
    Ok(())
}

pub(crate) async fn scaled_down(scene: &Scene) -> Result<()> {
    wait_for("the target to be scaled to zero", intervals(3), || async {
        let replicas = scene.deployment(NAME).await?["spec"]["replicas"].clone();
        ensure!(replicas == 0, "it has {replicas}");
        Ok(())
    })
    .await
}
