//! Many Canaries on fake nodes, for what must stay cheap when there are many.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::audit::Audit;
use crate::{Observed, Scene, fake, objects, wait_for};

/// The name of the `number`th workload and its Canary.
#[must_use]
pub fn name(number: usize) -> String {
    format!("app-{number}")
}

/// Makes `count` workloads, waits until they are available, then makes their Canaries. Returns when that began.
///
/// # Errors
/// When the API server refuses or the workloads do not become available.
pub async fn create(scene: &Scene, count: usize) -> Result<Instant> {
    fake::nodes(&scene.cluster.client, fake::NODES, true).await?;
    let workloads: Vec<Value> = (0..count).flat_map(|number| fake::workload(&name(number))).collect();
    fake::apply_all(&scene.cluster.client, &scene.namespace, workloads).await?;
    wait_for(&format!("{count} workloads to be available"), Duration::from_secs(180), || async {
        let all = objects::list(&scene.cluster.client, &scene.namespace, "apps/v1", "Deployment").await?;
        let available = all.iter().filter(|deployment| deployment["status"]["availableReplicas"] == 1).count();
        ensure!(available >= count, "{available} are");
        Ok(())
    })
    .await?;
    let began = Instant::now();
    let canaries = (0..count).map(|number| fake::canary(&name(number))).collect();
    fake::apply_all(&scene.cluster.client, &scene.namespace, canaries).await?;
    Ok(began)
}

/// Waits until all Canaries of the namespace are initialized.
///
/// # Errors
/// When they are not in time.
pub async fn initialized(scene: &Scene, count: usize, deadline: Duration) -> Result<()> {
    wait_for(&format!("{count} Canaries to be initialized"), deadline, || async {
        let all = objects::list(&scene.cluster.client, &scene.namespace, "flagger.app/v1beta1", "Canary").await?;
        let ready = all.iter().filter(|canary| Observed::of(canary).phase == "Initialized").count();
        ensure!(ready == count, "{ready} are");
        Ok(())
    })
    .await
}

/// Waits until the controller has gone five seconds with less than one request a second: until it is done initializing. Where
/// requests cannot be counted it returns at once.
///
/// # Errors
/// When the audit log cannot be read, or the controller does not come to rest.
pub async fn quiet(scene: &Scene) -> Result<()> {
    wait_for("the controller to be quiet", Duration::from_secs(60), || async {
        let Some(audit) = Audit::from_now(&scene.cluster, &scene.controller_user())? else { return Ok(()) };
        tokio::time::sleep(Duration::from_secs(5)).await;
        let requests: usize = audit.requests()?.values().sum();
        ensure!(requests < 5, "it made {requests} requests in five seconds");
        Ok(())
    })
    .await
}
