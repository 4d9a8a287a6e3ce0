//! The controller dies in the middle of a shift, as by a node's end, and another takes its place.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::canary::route_weights;
use e2e::workload::{self, NAME, V0, V1, analysis, intervals};
use e2e::{Scene, holds_for, objects, wait_for};
use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;

const STEP: i64 = 10;
const MOST: i64 = 50;

/// Every canary weight that the route ever had, in order, without repetitions.
fn recorded(scene: &Scene) -> Arc<Mutex<Vec<i64>>> {
    let weights = Arc::new(Mutex::new(Vec::new()));
    let routes = objects::api(&scene.client(), &scene.namespace, "gateway.networking.k8s.io/v1", "HTTPRoute");
    let (record, by_name) = (Arc::clone(&weights), watcher::Config::default().fields(&format!("metadata.name={NAME}")));
    tokio::spawn(async move {
        let mut routes = Box::pin(watcher(routes, by_name).applied_objects().default_backoff());
        while let Some(route) = routes.next().await {
            let Some(route) = route.ok().and_then(|route| serde_json::to_value(route).ok()) else { continue };
            let Ok((primary, canary)) = route_weights(&route, NAME) else { continue };
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            // A route whose weights do not add up is recorded as a weight that no step has.
            let weight = if primary + canary == 100 { canary } else { -1 };
            if record.last() != Some(&weight) {
                record.push(weight);
            }
        }
    });
    weights
}

pub(crate) async fn rollout_goes_on_where_it_was(scene: Arc<Scene>) -> Result<()> {
    let mut serin = scene.serin().await?;
    scene.apply(&workload::deployment(V0)).await?;
    let policy = analysis(&json!({"stepWeight": STEP, "maxWeight": MOST, "metrics": [workload::success_rate()]}));
    scene.apply(&workload::canary(&scene.host, &policy)).await?;
    scene.phase("Initialized", intervals(5)).await?;
    let traffic = scene.traffic(|plan| plan.rate = 150)?;
    traffic.expect_share(V0, 100.0).await?;
    let record = recorded(&scene);

    scene.apply(&workload::deployment(V1)).await?;
    wait_for("a weight of 20", intervals(8), || async {
        let weights = scene.weights().await?;
        ensure!(weights == (80, 20), "the route has {weights:?}");
        Ok(())
    })
    .await?;
    serin.crash()?;
    let (_, held) = scene.weights().await?;
    holds_for("the weight, with no controller", Duration::from_secs(4), || async {
        let (_, weight) = scene.weights().await?;
        ensure!(weight == held, "it is {weight}");
        Ok(())
    })
    .await?;
    let mut serin = scene.serin().await?;
    scene.promoted(V1, intervals(14)).await?;
    serin.alive()?;
    traffic.expect_share(V1, 100.0).await?;
    let counts = traffic.stop();
    ensure!(counts.failed == 0, "users saw {} requests fail", counts.failed);

    let weights = record.lock().unwrap_or_else(PoisonError::into_inner).clone();
    scene.report(&format!("weights, with a crash at {held}: {weights:?}"));
    let steady = weights.windows(2).all(|pair| pair[1] - pair[0] == STEP || (pair[0] >= MOST && pair[1] == 0));
    ensure!(steady, "the weight jumped: {weights:?}");
    ensure!(weights.contains(&MOST), "the weight never reached {MOST}: {weights:?}");
    Ok(())
}
