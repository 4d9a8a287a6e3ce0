//! A bad release that came by a pull request: the verdict is said on it and on its commit, and the way back is another pull
//! request, which a person merges. No secret is to be read anywhere afterwards.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use e2e::workload::{self, ERRORS, NAME, V0, V1, analysis, intervals};
use e2e::{Forge, Scene, objects, wait_for};
use http::Method;
use serde_json::json;

use crate::deployer::{Deployer, PATH};

pub(crate) async fn by_pull_request(scene: Arc<Scene>) -> Result<()> {
    let forge = Forge::find()?;
    let token = forge.token(&scene.namespace).await?;
    let repository = forge.repository(&scene.namespace, &scene.folder).await?;
    let _serin = scene.serin().await?;
    for (name, key) in [("writer", "password"), ("forge", "token")] {
        let mut secret = repository.secret(name);
        secret["stringData"][key] = token.clone().into();
        scene.apply(&secret).await?;
    }
    scene
        .apply(&json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider", "metadata": {"name": "forge"},
            "spec": {"type": "gitea", "address": repository.url(), "secretRef": {"name": "forge"}},
        }))
        .await?;
    let alert = json!({"name": "commit status", "severity": "info", "providerRef": {"name": "forge"}});
    let mut policy = workload::canary(
        &scene.host,
        &analysis(&json!({"stepWeights": [30, 60], "metrics": [workload::success_rate()], "alerts": [alert]})),
    );
    policy["spec"]["git"] = json!({"onRollback": "PullRequest", "secretRef": {"name": "writer"}, "forge": "gitea"});
    repository.commit(PATH, "Ship the shop", &[workload::deployment(V0), policy]).await?;
    Deployer::Agent.follow(&scene, &repository).await?;
    scene.phase("Initialized", intervals(15)).await?;
    let traffic = scene.traffic(|plan| plan.rate = 100)?;
    traffic.expect_share(V0, 100.0).await?;
    repository.commit(PATH, "Ship 6.0.1", &[workload::deployment(V1)]).await?;
    scene.promoted(V1, intervals(15)).await?;

    let bad = repository.propose("bad", PATH, "Ship 6.0.1-errors", &[workload::deployment(ERRORS)]).await?;
    let commit = repository.merge(bad).await?;
    scene.phase("Progressing", intervals(15)).await?;
    scene.phase("Failed", intervals(30)).await?;
    let git = wait_for("the pull request in the status", Duration::from_secs(30), || async {
        let git = scene.status().await?["git"].take();
        ensure!(git["state"] == "Proposed", "it is {git}");
        Ok(git)
    })
    .await?;
    ensure!(git["failedCommit"] == commit.as_str(), "{commit} is bad, and the status says {git}");
    Deployer::Agent.held(&scene, true, Duration::from_secs(10)).await?;
    let open = repository.ask(Method::GET, "/pulls?state=open", None).await?;
    ensure!(open.as_array().is_some_and(|open| open.len() == 1), "one pull request was expected: {open}");
    let (number, body) = (open[0]["number"].as_u64().context("no number")?, open[0]["body"].to_string());
    ensure!(open[0]["html_url"] == git["pullRequest"], "the status tells of another: {git}");
    for word in ["request-success-rate", "99", &commit[..7], NAME] {
        ensure!(body.contains(word), "the pull request does not tell {word:?}:\n{body}");
    }
    wait_for("the verdict on the commit", Duration::from_secs(30), || async {
        let said = repository.ask(Method::GET, &format!("/commits/{commit}/status"), None).await?;
        let context = format!("serin/{}.{NAME}", scene.namespace);
        ensure!(said["state"] == "failure" && said.to_string().contains(&context), "it says {said}");
        Ok(())
    })
    .await?;
    wait_for("the verdict on the pull request", Duration::from_secs(30), || async {
        let said = repository.ask(Method::GET, &format!("/issues/{bad}/comments"), None).await?;
        let one = said.as_array().filter(|said| said.len() == 1).and_then(|said| said[0]["body"].as_str());
        ensure!(one.is_some_and(|text| text.contains("request-success-rate")), "it says {said}");
        Ok(())
    })
    .await?;

    repository.merge(number).await?;
    Deployer::Agent.held(&scene, false, Duration::from_secs(30)).await?;
    wait_for("the reverted manifest in the cluster", Duration::from_secs(30), || async {
        let image = scene.deployment(NAME).await?["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        ensure!(image == format!("local/podinfo:{V1}"), "it has {image}");
        Ok(())
    })
    .await?;
    let counts = traffic.stop();
    ensure!(counts.failed > 0, "nobody met the bad release: {counts:?}");
    nothing_is_shown(&scene, &[&token, &forge.password, &BASE64_STANDARD.encode(format!("{}:{token}", forge.user))])
        .await
}

/// Neither in the log nor in what anybody who may look at the objects can read.
async fn nothing_is_shown(scene: &Scene, secrets: &[&str]) -> Result<()> {
    let client = &scene.cluster.client;
    let mut shown = std::fs::read_to_string(scene.folder.join("serin.log")).context("reading Serin's log")?;
    ensure!(shown.contains("reverting in Git"), "the log does not tell of the revert");
    for (api_version, kind, name) in
        [("flagger.app/v1beta1", "Canary", NAME), ("serin.dev/v1alpha1", "GitSource", "shop")]
    {
        shown.push_str(&objects::get(client, &scene.namespace, api_version, kind, name).await?.to_string());
    }
    for event in objects::list(client, &scene.namespace, "v1", "Event").await? {
        shown.push_str(&event.to_string());
    }
    for secret in secrets {
        ensure!(!shown.contains(secret), "a secret is shown");
    }
    Ok(())
}
