//! What a step of a rollout costs the API server.

use std::sync::Arc;

use anyhow::{Result, ensure};
use e2e::audit::Audit;
use e2e::workload::{self, V0, V1, analysis, intervals};
use e2e::{Scene, wait_for};
use serde_json::json;

pub(crate) async fn each_costs_four_writes_and_no_read(scene: Arc<Scene>) -> Result<()> {
    let git = scene.git().await?;
    let _serin = scene.serin().await?;
    let weights: Vec<i64> = (1..=8).map(|step| step * 10).collect();
    let metric = json!({"name": "constant", "query": "vector(100)", "interval": "10s", "thresholdRange": {"min": 99}});
    let policy = analysis(&json!({"stepWeights": weights, "metrics": [metric]}));
    git.commit("Ship the shop", &[workload::deployment(V0), workload::canary(&scene.host, &policy)]).await?;
    scene.phase("Initialized", intervals(5)).await?;
    git.commit("Ship 6.0.1", &[workload::deployment(V1)]).await?;

    // The first step tells more than the others, and Events are written behind the status.
    let (first, last) = (20, 70);
    weight(&scene, first).await?;
    let Some(audit) = Audit::from_now(&scene.cluster, &scene.controller_user())? else {
        scene.report("requests are not counted: this API server's audit log cannot be read");
        return Ok(());
    };
    weight(&scene, last).await?;
    let requests = audit.requests()?;
    let steps = (last - first) / 10;
    scene.report(&format!("{steps} weight steps cost these requests: {requests:?}"));
    // The counting may begin within a step and end within another.
    let most = usize::try_from(steps + 1)?;
    for (what, count) in &requests {
        let known =
            ["patch canaries/status", "patch httproutes", "create events", "patch canaryruns"].contains(&what.as_str());
        ensure!(known, "a weight step needs no {what}: {requests:?}");
        ensure!(*count <= most, "{count} of {what} are too many for {steps} steps: {requests:?}");
    }
    Ok(())
}

async fn weight(scene: &Scene, weight: i64) -> Result<()> {
    wait_for(&format!("weight {weight}"), intervals(20), || async {
        let canary = scene.canary().await?;
        ensure!(canary.weight == weight, "the Canary is {canary:?}");
        Ok(())
    })
    .await
}
