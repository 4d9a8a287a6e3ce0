//! Every router that moves users by weight, as the users see it. The Gateway API in its newer version is in all other tests.

use std::sync::Arc;

use anyhow::{Result, ensure};
use e2e::workload::{self, ERRORS, V0, V1, analysis, intervals};
use e2e::{Gate, Scene, Traffic, Way, wait_for};
use serde_json::{Value, json};

pub(crate) async fn older_gateway_api_shares(scene: Arc<Scene>) -> Result<()> {
    let (gate, _serin) = (Gate::closed().await?, scene.serin().await?);
    shared_by_weight(&scene, &gate, Way::GatewayV1Beta1, workload::deployment).await.map(drop)
}

pub(crate) async fn ingress_annotations_share(scene: Arc<Scene>) -> Result<()> {
    let (gate, _serin) = (Gate::closed().await?, scene.serin().await?);
    shared_by_weight(&scene, &gate, Way::Nginx, workload::deployment).await.map(drop)
}

pub(crate) async fn traefik_shares_and_counts(scene: Arc<Scene>) -> Result<()> {
    let (gate, _serin) = (Gate::closed().await?, scene.serin().await?);
    let users = shared_by_weight(&scene, &gate, Way::Traefik, workload::deployment).await?;
    errors_are_taken_back(&scene, &users, workload::deployment).await
}

/// Rolls out a good release, and leaves the gate open: users meet it as often as its weight says, and none of them notices anything else.
pub(crate) async fn shared_by_weight(
    scene: &Scene,
    gate: &Gate,
    way: Way,
    target: fn(&str) -> Value,
) -> Result<Arc<Traffic>> {
    for object in way.objects(scene) {
        scene.apply(&object).await?;
    }
    let policy = analysis(&json!({
        "stepWeights": [20, 60],
        "metrics": [way.success_rate()],
        "webhooks": [workload::webhook("confirm-traffic-increase", gate.url())],
    }));
    scene.apply(&target(V0)).await?;
    let mut canary = way.canary(scene, &policy);
    canary["spec"]["targetRef"]["kind"] = target(V0)["kind"].clone();
    scene.apply(&canary).await?;
    scene.phase("Initialized", intervals(5)).await?;
    let users = scene.traffic(|plan| plan.rate = 250)?;
    users.expect_share(V0, 100.0).await?;

    let mark = users.mark();
    scene.apply(&target(V1)).await?;
    for weight in [20, 60] {
        gate.admit(1);
        wait_for(&format!("weight {weight}"), intervals(6), || async {
            let seen = scene.canary().await?;
            ensure!(seen.weight == weight, "the Canary is {seen:?}");
            Ok(())
        })
        .await?;
        #[expect(clippy::cast_precision_loss, reason = "a weight is at most 100")]
        let counts = users.expect_share(V1, weight as f64).await?;
        scene.report(&format!("weight {weight}: {:.1} % of {} requests", counts.share(V1), counts.total));
    }
    gate.open();
    scene.promoted(V1, intervals(10)).await?;
    users.expect_share(V1, 100.0).await?;
    // A gateway that has lost its way answers 404.
    let answers = users.counts_since(mark).by_status;
    ensure!(answers.keys().eq([&200]), "users met {answers:?}");
    Ok(users)
}

/// After a good release was rolled out: what the metrics say of a bad one is about its own pods.
pub(crate) async fn errors_are_taken_back(scene: &Scene, users: &Traffic, target: fn(&str) -> Value) -> Result<()> {
    let mark = users.mark();
    scene.apply(&target(ERRORS)).await?;
    wait_for("the bad release to be noticed", intervals(2), || async {
        let seen = scene.canary().await?;
        ensure!(seen.phase != "Succeeded", "the Canary is {seen:?}");
        Ok(())
    })
    .await?;
    let seen = scene.phase("Failed", intervals(10)).await?;
    ensure!(seen.weight == 0, "the Canary is {seen:?}");
    users.expect_share(V1, 100.0).await?;
    let answers = users.counts_since(mark).by_status;
    ensure!(answers.keys().eq([&200, &500]), "users met {answers:?}");
    Ok(())
}
