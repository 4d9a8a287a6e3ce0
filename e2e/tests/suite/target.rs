//! Targets other than a Deployment.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::workload::{self, NAME, V1, interval, intervals};
use e2e::{Gate, Scene, Way, holds_for, wait_for};
use serde_json::{Value, json};

use crate::router::{errors_are_taken_back, shared_by_weight};

pub(crate) async fn daemon_set_is_rolled_out(scene: Arc<Scene>) -> Result<()> {
    let (gate, _serin) = (Gate::closed().await?, scene.serin().await?);
    let users = shared_by_weight(&scene, &gate, Way::Gateway, workload::daemon_set).await?;
    asleep(&scene).await?;
    let promoted = revision(&scene).await?;
    holds_for("what is rolled out to stay so", Duration::from_secs(2 * interval()), || async {
        let (seen, revision) = (scene.canary().await?, revision(&scene).await?);
        ensure!(seen.phase == "Succeeded" && revision == promoted, "the Canary is {seen:?} at {revision}");
        Ok(())
    })
    .await?;

    errors_are_taken_back(&scene, &users, workload::daemon_set).await?;
    asleep(&scene).await?;
    let failed = revision(&scene).await?;
    ensure!(failed != promoted, "the revision {failed} is that of {V1}");
    let primary = e2e::canary::release_of(&scene.workload(&format!("{NAME}-primary")).await?);
    ensure!(primary == V1, "the primary has {primary}");
    Ok(())
}

/// Waits until no node wants a pod of the target: it asks for nodes that there are none of, as under Flagger.
async fn asleep(scene: &Scene) -> Result<()> {
    wait_for("the target to leave its nodes", intervals(3), || async {
        let target = scene.workload(NAME).await?;
        let nodes = &target["spec"]["template"]["spec"]["nodeSelector"];
        ensure!(*nodes == json!({"flagger.app/scale-to-zero": "true"}), "it asks for nodes {nodes}");
        let wanted = &target["status"]["desiredNumberScheduled"];
        ensure!(*wanted == 0, "{wanted} nodes want it");
        Ok(())
    })
    .await
}

/// The revision that Serin last looked at.
async fn revision(scene: &Scene) -> Result<Value> {
    Ok(scene.status().await?["lastAppliedSpec"].take())
}
