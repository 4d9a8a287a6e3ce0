//! The whole way, for each of those who apply what is in Git: a good commit is promoted; a bad one is taken back, in the
//! cluster and in Git; the next good one is promoted. Users change nothing but Git.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::workload::{self, ERRORS, NAME, V0, V1, V2, analysis, intervals};
use e2e::{Forge, Scene, objects, wait_for};
use serde_json::{Value, json};

use crate::deployer::{Deployer, PATH};

pub(crate) async fn with_serin_alone(scene: Arc<Scene>) -> Result<()> {
    round(&scene, Deployer::Agent).await
}

pub(crate) async fn with_flux(scene: Arc<Scene>) -> Result<()> {
    round(&scene, Deployer::Flux).await
}

pub(crate) async fn with_argo_cd(scene: Arc<Scene>) -> Result<()> {
    let outcome = round(&scene, Deployer::ArgoCd).await;
    Deployer::ArgoCd.leave(&scene).await?;
    outcome
}

async fn round(scene: &Scene, deployer: Deployer) -> Result<()> {
    let repository = Forge::find()?.repository(&scene.namespace, &scene.folder).await?;
    let _serin = match deployer {
        Deployer::Agent | Deployer::Flux => scene.serin().await?,
        Deployer::ArgoCd => scene.serin_with(&["-mesh-provider", "gatewayapi:v1"]).await?,
    };
    let mut policy = workload::canary(
        &scene.host,
        &analysis(&json!({"stepWeights": [30, 60], "metrics": [workload::success_rate()]})),
    );
    policy["spec"]["git"] = json!({"onRollback": "Revert", "secretRef": {"name": "writer"}});
    scene.apply(&repository.secret("writer")).await?;
    repository.commit(PATH, "Ship the shop", &[workload::deployment(V0), policy]).await?;
    deployer.follow(scene, &repository).await?;
    scene.phase("Initialized", intervals(15)).await?;
    let traffic = scene.traffic(|plan| plan.rate = 100)?;
    traffic.expect_share(V0, 100.0).await?;

    let good = repository.commit(PATH, "Ship 6.0.1", &[workload::deployment(V1)]).await?;
    scene.promoted(V1, intervals(15)).await?;
    let source = source(scene).await?;
    ensure!(source["commit"] == good.as_str(), "6.0.1 came with {good}, and the status says {source}");
    ensure!(source["repository"].as_str().is_some_and(|url| url.starts_with(&repository.url())), "{source}");

    let bad = repository.commit(PATH, "Ship 6.0.1-errors", &[workload::deployment(ERRORS)]).await?;
    scene.phase("Progressing", intervals(10)).await?;
    scene.phase("Failed", intervals(20)).await?;
    let failed = Instant::now();
    deployer.held(scene, true, Duration::from_secs(10)).await.or_else(|error| {
        // The revert may have come, and been seen, between two looks.
        if failed.elapsed() < Duration::from_secs(10) { Err(error) } else { Ok(()) }
    })?;
    let since = wait_for("the revert commit", Duration::from_secs(30), || async {
        let since = repository.commits_since(&bad).await?;
        ensure!(!since.is_empty(), "nothing was committed since the bad release");
        Ok(since)
    })
    .await?;
    scene.report(&format!("revert commit seen {:.1} s after the phase Failed", failed.elapsed().as_secs_f64()));
    ensure!(since.len() == 1, "one commit was expected: {since:?}");
    let message = &since[0].message;
    for word in ["request-success-rate", "99", &bad[..7], NAME] {
        ensure!(message.contains(word), "the revert does not tell {word:?}:\n{message}");
    }
    let manifest = repository.file(&format!("{PATH}/deployment-{NAME}.yaml")).await?;
    ensure!(manifest.contains(&format!("local/podinfo:{V1}")), "the revert left:\n{manifest}");
    deployer.held(scene, false, Duration::from_secs(30)).await?;
    wait_for("the reverted manifest in the cluster", Duration::from_secs(30), || async {
        let image = scene.deployment(NAME).await?["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        ensure!(image == format!("local/podinfo:{V1}"), "it has {image}");
        Ok(())
    })
    .await?;

    // As a pipeline does that has built the image.
    repository.set_image(PATH, &format!("local/podinfo:{V2}")).await?;
    scene.promoted(V2, intervals(20)).await?;
    let since = repository.commits_since(&bad).await?;
    ensure!(since.len() == 2, "two commits were expected since the bad one: {since:?}");
    let counts = traffic.stop();
    scene.report(&format!("{} requests, {} failed, by release {:?}", counts.total, counts.failed, counts.by_status));
    Ok(())
}

/// The controller dies twenty times around the verdict and the revert, at moments that nobody chose.
pub(crate) async fn twenty_restarts_give_one_revert(scene: Arc<Scene>) -> Result<()> {
    let repository = Forge::find()?.repository(&scene.namespace, &scene.folder).await?;
    let mut serin = scene.serin().await?;
    // Only a command ends it.
    let mut policy = workload::canary(&scene.host, &analysis(&json!({"stepWeight": 10, "interval": "60s"})));
    policy["spec"]["git"] = json!({"onRollback": "Revert", "secretRef": {"name": "writer"}});
    scene.apply(&repository.secret("writer")).await?;
    repository.commit(PATH, "Ship the shop", &[workload::deployment(V0), policy]).await?;
    Deployer::Flux.follow(&scene, &repository).await?;
    scene.phase("Initialized", intervals(15)).await?;
    certain(&scene, V0).await?;
    let failed = repository.commit(PATH, "Ship 6.0.1", &[workload::deployment(V1)]).await?;
    scene.phase("Progressing", intervals(15)).await?;
    ensure!(certain(&scene, V1).await? == failed, "another commit is named");
    let abort = json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {"name": NAME, "annotations": {"serin.dev/command": "abort", "serin.dev/command-id": "1"}},
    });
    objects::merge(&scene.cluster.client, &scene.namespace, &abort).await?;
    for round in 0..20 {
        let pause = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_micros() % 700;
        // The moment of the crash, not a wait for something.
        let _ = tokio::time::timeout(Duration::from_millis(pause.into()), std::future::pending::<()>()).await;
        serin.crash()?;
        serin = scene.serin().await?;
        serin.alive().with_context(|| format!("restart {round}"))?;
    }
    let since = wait_for("the revert commit", Duration::from_secs(60), || async {
        let since = repository.commits_since(&failed).await?;
        ensure!(!since.is_empty(), "nothing was committed since the failed release");
        Ok(since)
    })
    .await?;
    Deployer::Flux.held(&scene, false, Duration::from_secs(60)).await?;
    wait_for("the status to tell of the revert", Duration::from_secs(30), || async {
        let git = scene.status().await?["git"].take();
        ensure!(git["state"] == "Reverted" && git["revertCommit"] == since[0].id.as_str(), "it says {git}");
        Ok(())
    })
    .await?;
    let since = repository.commits_since(&failed).await?;
    ensure!(since.len() == 1, "one commit was expected: {since:?}");
    Ok(())
}

/// The commit of the release, once it is known for certain.
async fn certain(scene: &Scene, release: &str) -> Result<String> {
    wait_for(&format!("a certain source of {release}"), Duration::from_secs(15), || async {
        let source = source(scene).await?;
        let image = format!("local/podinfo:{release}");
        ensure!(source["images"][0]["image"] == image.as_str() && source["provisional"] != true, "it is {source}");
        source["commit"].as_str().map(str::to_owned).with_context(|| format!("no commit is named: {source}"))
    })
    .await
}

async fn source(scene: &Scene) -> Result<Value> {
    Ok(scene.status().await?["source"].take())
}
