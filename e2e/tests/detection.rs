//! How soon a change is seen: of 300 idle Canaries fifty workloads get a new template; the time runs from the answer to that
//! write to the moment a watch shows the workload scaled up. A report first, a bound on what it may be second.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::audit::Audit;
use e2e::{Scene, Serin, Test, fleet, objects, test, wait_for};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;

const CANARIES: usize = 300;
const CHANGED: usize = 50;
/// Each change is to be seen on its own: the API server's queue is not what is measured.
const APART: Duration = Duration::from_millis(300);
const IDLE: Duration = Duration::from_secs(30);
const MEDIAN: Duration = Duration::from_millis(40);
const P99: Duration = Duration::from_millis(120);

const TESTS: &[Test] = &[test!(detection::change_is_seen_at_once, 15, alone)];

fn main() -> ExitCode {
    e2e::main("detection", TESTS)
}

type Moments = Arc<Mutex<BTreeMap<String, Instant>>>;

mod detection {
    use super::{Arc, Result, Scene};

    pub(super) async fn change_is_seen_at_once(scene: Arc<Scene>) -> Result<()> {
        super::measure(&scene).await
    }
}

/// When each Deployment of the namespace was first seen with replicas, after `started`.
fn scaled_up(scene: &Scene) -> Moments {
    let moments = Moments::default();
    let (api, seen) = (Api::<Deployment>::namespaced(scene.client(), &scene.namespace), Arc::clone(&moments));
    tokio::spawn(async move {
        let mut deployments = Box::pin(watcher(api, watcher::Config::default()).applied_objects().default_backoff());
        while let Some(deployment) = deployments.next().await {
            let now = Instant::now();
            let Ok(deployment) = deployment else { continue };
            let replicas = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
            if let (true, Some(name)) = (replicas > 0, deployment.metadata.name) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert(now);
            }
        }
    });
    moments
}

/// Reports what the controller costs while nothing happens.
async fn idle(scene: &Scene, serin: &Serin) -> Result<()> {
    let Some(audit) = Audit::from_now(&scene.cluster, &scene.controller_user())? else { return Ok(()) };
    let (processor, from) = (serin.processor_time()?, Instant::now());
    tokio::time::sleep(IDLE).await;
    let (requests, seconds) = (audit.requests()?, from.elapsed().as_secs_f64());
    let total: usize = requests.values().sum();
    let busy = (serin.processor_time()? - processor).as_secs_f64() * 100.0 / seconds;
    scene.report(&format!(
        "{CANARIES} idle: {total} requests in {seconds:.0} s {requests:?}, {busy:.2} % of a core, {} KiB resident, {} KiB at most",
        serin.resident_kib()?,
        serin.peak_resident_kib()?
    ));
    Ok(())
}

async fn measure(scene: &Scene) -> Result<()> {
    let mut serin = scene.serin_with(&["-mesh-provider", "kubernetes"]).await?;
    let began = fleet::create(scene, CANARIES).await?;
    fleet::initialized(scene, CANARIES, Duration::from_secs(300)).await?;
    scene.report(&format!("{CANARIES} Canaries were initialized after {:.1} s", began.elapsed().as_secs_f64()));
    fleet::quiet(scene).await?;
    let all = objects::list(&scene.cluster.client, &scene.namespace, "apps/v1", "Deployment").await?;
    let up = all.iter().filter(|deployment| !is_primary(deployment) && deployment["spec"]["replicas"] != 0).count();
    ensure!(up == 0, "{up} targets are not at zero, though the controller rests");
    idle(scene, &serin).await?;

    let seen = scaled_up(scene);
    wait_for("the watch to have begun", Duration::from_secs(10), || async {
        let primaries = seen.lock().unwrap_or_else(PoisonError::into_inner).len();
        ensure!(primaries >= CANARIES, "it showed {primaries} Deployments with replicas");
        Ok(())
    })
    .await?;
    let (median, p99) = change(scene, &seen, 0, APART).await?;
    // Closer together two cores cannot bear what the rollouts make of it, and each change waits for those before it.
    fleet::quiet(scene).await?;
    change(scene, &seen, 1, APART / 3).await?;
    scene.report(&format!("{} KiB resident at most", serin.peak_resident_kib()?));
    serin.alive()?;
    ensure!(
        median <= MEDIAN,
        "the median is {} ms, it should be at most {} ms",
        median.as_millis(),
        MEDIAN.as_millis()
    );
    ensure!(p99 <= P99, "the 99th percentile is {} ms, it should be at most {} ms", p99.as_millis(), P99.as_millis());
    Ok(())
}

/// Changes every sixth workload, one after the other, and returns the median and the 99th percentile of the times until they
/// were scaled up.
async fn change(scene: &Scene, seen: &Moments, first: usize, apart: Duration) -> Result<(Duration, Duration)> {
    let mut changes = Vec::new();
    for number in (first..CANARIES).step_by(CANARIES / CHANGED) {
        let name = fleet::name(number);
        let change = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"template": {"metadata": {"annotations": {"e2e.serin.dev/change": "1"}}}},
        });
        objects::merge(&scene.cluster.client, &scene.namespace, &change).await?;
        changes.push((name, Instant::now()));
        tokio::time::sleep(apart).await;
    }
    let latencies = wait_for("all changes to be seen", Duration::from_secs(120), || async {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latencies: Vec<Duration> = Vec::new();
        for (name, changed) in &changes {
            latencies.extend(seen.get(name).map(|up| up.saturating_duration_since(*changed)));
        }
        ensure!(latencies.len() == changes.len(), "{} of {} were", latencies.len(), changes.len());
        latencies.sort();
        Ok(latencies)
    })
    .await?;
    let (median, p99) = (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]);
    scene.report(&format!(
        "change to scale-up, {} changes among {CANARIES}, {} ms apart: median {} ms, p99 {} ms, from {} to {} ms",
        latencies.len(),
        apart.as_millis(),
        median.as_millis(),
        p99.as_millis(),
        latencies[0].as_millis(),
        latencies[latencies.len() - 1].as_millis(),
    ));
    Ok((median, p99))
}

fn is_primary(deployment: &serde_json::Value) -> bool {
    deployment["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-primary"))
}
