//! The ground the other tests stand on, without Serin: gateway, metrics, releases, fake nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::workload::{self, ERRORS, SLOW, V0, V1};
use e2e::{Scene, fake, objects, prometheus, wait_for};
use serde_json::{Value, json};

async fn release(scene: &Scene, name: &str, tag: &str) -> Result<()> {
    let mut deployment = workload::deployment(tag);
    deployment["metadata"]["name"] = json!(name);
    deployment["spec"]["selector"]["matchLabels"]["app"] = json!(name);
    deployment["spec"]["template"]["metadata"]["labels"]["app"] = json!(name);
    scene.apply(&deployment).await?;
    scene
        .apply(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 9898}]},
        }))
        .await?;
    wait_for(&format!("{name} to be available"), Duration::from_secs(60), || async {
        let status = scene.deployment(name).await?["status"].clone();
        ensure!(status["availableReplicas"] == 1, "its status is {status}");
        Ok(())
    })
    .await
}

pub(crate) async fn gateway_follows_weights(scene: Arc<Scene>) -> Result<()> {
    release(&scene, "old", V0).await?;
    release(&scene, "new", V1).await?;
    scene.apply(&workload::route("shop", &scene.host, &[("old", 90), ("new", 10)])).await?;
    let traffic = scene.traffic(|plan| plan.rate = 250)?;
    traffic.expect_share(V1, 10.0).await?;
    let mark = traffic.mark();
    let changed = Instant::now();
    scene.apply(&workload::route("shop", &scene.host, &[("old", 50), ("new", 50)])).await?;
    wait_for("the gateway to follow", Duration::from_secs(10), || async {
        let last = traffic.next(25).await?;
        let new = last.iter().filter(|exchange| exchange.release == V1).count();
        ensure!(new >= 10, "{new} of 25 went to {V1}");
        Ok(())
    })
    .await?;
    scene.report(&format!("a new weight is on the wire after less than {} ms", changed.elapsed().as_millis()));
    let counts = traffic.expect_share(V1, 50.0).await?;
    ensure!(counts.failed == 0, "{} requests failed", counts.failed);
    let all = traffic.counts_since(mark);
    ensure!(all.failed == 0, "{} requests failed while the weight changed", all.failed);

    wait_for("the builtin queries to have values", Duration::from_secs(10), || async {
        for query in [
            prometheus::success_rate(&scene.namespace, "new", "5s"),
            prometheus::duration(&scene.namespace, "new", "5s"),
        ] {
            let value = prometheus::query(&scene.cluster, &query).await?;
            ensure!(value.is_some(), "no value for {query}");
        }
        Ok(())
    })
    .await
}

pub(crate) async fn bad_releases_are_bad(scene: Arc<Scene>) -> Result<()> {
    release(&scene, "errors", ERRORS).await?;
    release(&scene, "slow", SLOW).await?;
    for (name, host) in [("errors", "errors"), ("slow", "slow")] {
        scene.apply(&workload::route(name, &format!("{host}.{}", scene.host), &[(name, 1)])).await?;
    }
    let errors = scene.traffic(|plan| plan.host = format!("errors.{}", scene.host))?;
    let slow = scene.traffic(|plan| {
        plan.host = format!("slow.{}", scene.host);
        plan.rate = 20;
    })?;
    let counts = errors.expect_share(ERRORS, 100.0).await?;
    let failed = counts.by_status.get(&500).copied().unwrap_or(0);
    ensure!((450..=550).contains(&failed), "half of the answers should be errors: {:?}", counts.by_status);
    let took = wait_for("the slow release", Duration::from_secs(20), || async {
        let exchanges = slow.next(20).await?;
        ensure!(exchanges.iter().all(|e| e.release == SLOW), "the route is not there yet");
        Ok(exchanges.iter().map(|e| e.took).min().unwrap_or_default())
    })
    .await?;
    ensure!(took >= Duration::from_millis(550), "it answered after {} ms", took.as_millis());

    wait_for("the builtin queries to see both", Duration::from_secs(20), || async {
        let success =
            prometheus::query(&scene.cluster, &prometheus::success_rate(&scene.namespace, "errors", "5s")).await?;
        ensure!(success.is_some_and(|percent| (40.0..60.0).contains(&percent)), "the success rate is {success:?}");
        let p99 = prometheus::query(&scene.cluster, &prometheus::duration(&scene.namespace, "slow", "5s")).await?;
        ensure!(p99.is_some_and(|ms| ms > 500.0), "the 99th percentile is {p99:?} ms");
        Ok(())
    })
    .await
}

pub(crate) async fn fake_nodes_take_three_hundred_deployments(scene: Arc<Scene>) -> Result<()> {
    let started = Instant::now();
    fake::nodes(&scene.cluster.client, fake::NODES, true).await?;
    let objects: Vec<Value> = (0..300).flat_map(|number| fake::workload(&format!("app-{number}"))).collect();
    fake::apply_all(&scene.cluster.client, &scene.namespace, objects).await?;
    wait_for("three hundred Deployments to be available", Duration::from_secs(120), || async {
        let deployments = objects::list(&scene.cluster.client, &scene.namespace, "apps/v1", "Deployment").await?;
        let available = deployments.iter().filter(|d| d["status"]["availableReplicas"] == 1).count();
        ensure!(available == 300, "{available} are");
        Ok(())
    })
    .await?;
    scene.report(&format!(
        "300 Deployments on fake nodes were available after {:.1} s",
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}
