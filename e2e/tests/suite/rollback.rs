//! Bad releases: taken back, at a cost to users that the policy bounds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::traffic::{Counts, Exchange};
use e2e::workload::{self, ERRORS, NAME, SLOW, V0, V1, analysis, interval, intervals};
use e2e::{GitRepository, Scene, wait_for};
use serde_json::{Value, json};

const RATE: u32 = 100;
const STEP: u64 = 10;
const THRESHOLD: u64 = 2;

pub(crate) async fn release_with_errors_is_taken_back(scene: Arc<Scene>) -> Result<()> {
    let git = scene.git().await?;
    let _serin = scene.serin().await?;
    // Half of the canary's answers are errors, and the query remembers them until after the repair is shipped.
    let mut metric = workload::success_rate();
    metric["interval"] = json!("30s");
    let hurt = taken_back(&scene, &git, ERRORS, &metric, Exchange::failed).await?;
    ensure!(hurt <= allowed() / 2, "{hurt} requests failed, the policy allows {}", allowed() / 2);

    git.commit("Ship 6.0.1, repaired", &[workload::deployment(V1)]).await?;
    scene.promoted(V1, intervals(12)).await
}

pub(crate) async fn slow_release_is_taken_back(scene: Arc<Scene>) -> Result<()> {
    let git = scene.git().await?;
    let _serin = scene.serin().await?;
    let slow = |exchange: &Exchange| exchange.took > Duration::from_millis(500);
    let hurt = taken_back(&scene, &git, SLOW, &workload::duration(), slow).await?;
    ensure!(hurt <= allowed(), "{hurt} requests were slow, the policy allows {}", allowed());

    // The target holds the bad release: what was promoted stands in its history alone.
    let primary = format!("{NAME}-primary");
    e2e::objects::delete(&scene.cluster.client, &scene.namespace, "apps/v1", "Deployment", &primary).await?;
    wait_for("the primary to be made anew", intervals(3), || async {
        let primary = scene.deployment(&primary).await?;
        let (tag, available) = (e2e::canary::release_of(&primary), &primary["status"]["availableReplicas"]);
        ensure!(tag == V0 && *available == 1, "it has {tag}, available are {available}");
        Ok(())
    })
    .await?;

    git.revert().await?;
    wait_for("Git to be applied", Duration::from_secs(5), || async {
        let tag = e2e::canary::release_of(&scene.deployment(NAME).await?);
        ensure!(tag == V0, "the target has {tag}");
        Ok(())
    })
    .await?;
    e2e::holds_for("no rollout of what is promoted already", Duration::from_secs(3 * interval()), || async {
        let seen = scene.canary().await?;
        ensure!(seen.phase == "Failed", "the Canary is {seen:?}");
        Ok(())
    })
    .await
}

/// Requests that reach the canary from the first step to the verdict: the failed checks, one that found too little, one to be
/// noticed in, and one to act in.
fn allowed() -> usize {
    usize::try_from(u64::from(RATE) * STEP * (THRESHOLD + 3) * interval() / 100).unwrap_or(usize::MAX)
}

/// Ships `tag` and sees it taken back. Returns how many requests users saw `hurt`.
async fn taken_back(
    scene: &Scene,
    git: &GitRepository,
    tag: &str,
    metric: &Value,
    hurt: impl Fn(&Exchange) -> bool,
) -> Result<usize> {
    let policy = analysis(&json!({"threshold": THRESHOLD, "stepWeight": STEP, "maxWeight": 50, "metrics": [metric]}));
    git.commit("Ship the shop", &[workload::deployment(V0), workload::canary(&scene.host, &policy)]).await?;
    scene.phase("Initialized", intervals(5)).await?;
    let traffic = scene.traffic(|plan| plan.rate = RATE)?;
    traffic.expect_share(V0, 100.0).await?;

    let mark = traffic.mark();
    git.commit(&format!("Ship {tag}"), &[workload::deployment(tag)]).await?;
    let seen = scene.phase("Failed", intervals(THRESHOLD + 8)).await?;
    ensure!(seen.weight == 0, "the Canary is {seen:?}");
    ensure!(seen.promoted == Some(("False".into(), "Failed".into())), "the condition Promoted is {:?}", seen.promoted);
    wait_for("all traffic at the primary", Duration::from_secs(5), || async {
        let weights = scene.weights().await?;
        ensure!(weights == (100, 0), "the route has {weights:?}");
        Ok(())
    })
    .await?;
    crate::release::scaled_down(scene).await?;
    let counts = traffic.expect_share(V0, 100.0).await?;
    ensure!(counts.failed == 0, "after the rollback {} requests failed", counts.failed);
    let primary = e2e::canary::release_of(&scene.deployment(&format!("{NAME}-primary")).await?);
    ensure!(primary == V0, "the primary has {primary}");

    let exchanges = traffic.since(mark);
    // Where the machine itself is held up, the release before is slow as well, and that is not the new one's doing.
    let hurt = exchanges.iter().filter(|exchange| exchange.release != V0 && hurt(exchange)).count();
    let counts = Counts::of(&exchanges);
    ensure!(counts.by_release.contains_key(tag), "no user ever saw {tag}: {:?}", counts.by_release);
    scene.report(&format!("{tag}: {hurt} requests hurt users before it was taken back; {:?}", counts.by_release));
    Ok(hurt)
}
