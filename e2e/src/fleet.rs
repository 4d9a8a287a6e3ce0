//! Many Canaries on fake nodes, for what must stay cheap when there are many.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
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
    let available = |deployment: &Value| deployment["status"]["availableReplicas"] == 1;
    let deadline = Duration::from_secs(180);
    seen(scene, "apps/v1", "Deployment", count, deadline, available)
        .await
        .context("waiting for available workloads")?;
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
    let initialized = |canary: &Value| Observed::of(canary).phase == "Initialized";
    let seen = seen(scene, "flagger.app/v1beta1", "Canary", count, deadline, initialized).await;
    seen.context("waiting for initialized Canaries")
}

/// Waits until a watch has shown `count` objects for which `holds`. Asking again and again for hundreds of objects would be
/// a load like that of the controller.
async fn seen(
    scene: &Scene,
    api_version: &str,
    kind: &str,
    count: usize,
    deadline: Duration,
    holds: impl Fn(&Value) -> bool,
) -> Result<()> {
    let resource = objects::resource(api_version, kind);
    let api = Api::<DynamicObject>::namespaced_with(scene.client(), &scene.namespace, &resource);
    let mut changes = pin!(watcher(api, watcher::Config::default()).applied_objects().default_backoff());
    let mut names = BTreeSet::new();
    let all = async {
        while names.len() < count {
            let object = changes.next().await.context("the watch ended")?;
            let Ok(object) = object else { continue };
            let name = object.name_any();
            let object = serde_json::to_value(object).context("reading an object")?;
            if holds(&object) {
                names.insert(name)
            } else {
                names.remove(&name)
            };
        }
        Ok(())
    };
    match tokio::time::timeout(deadline, all).await {
        Ok(ended) => ended,
        Err(_) => bail!("{} of {count} are so after {} s", names.len(), deadline.as_secs()),
    }
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
