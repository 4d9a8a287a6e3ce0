//! Blue/green, A/B and session affinity, as users see them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::workload::{self, V0, V1, analysis, intervals};
use e2e::{Gate, Scene, Way, wait_for};
use serde_json::{Value, json};

async fn shop(scene: &Scene, way: Way, policy: &Value) -> Result<()> {
    for object in way.objects(scene) {
        scene.apply(&object).await?;
    }
    scene.apply(&workload::deployment(V0)).await?;
    scene.apply(&way.canary(scene, &analysis(policy))).await?;
    scene.phase("Initialized", intervals(5)).await.map(drop)
}

pub(crate) async fn blue_green_switches_users_at_once(scene: Arc<Scene>) -> Result<()> {
    switched_at_once(&scene, Way::Gateway).await
}

pub(crate) async fn services_alone_switch_users_at_once(scene: Arc<Scene>) -> Result<()> {
    switched_at_once(&scene, Way::Services).await
}

pub(crate) async fn header_chooses_the_version(scene: Arc<Scene>) -> Result<()> {
    chosen_by_header(&scene, Way::Gateway).await
}

pub(crate) async fn header_chooses_the_version_behind_an_ingress(scene: Arc<Scene>) -> Result<()> {
    chosen_by_header(&scene, Way::Nginx).await
}

async fn switched_at_once(scene: &Scene, way: Way) -> Result<()> {
    let _serin = scene.serin().await?;
    shop(scene, way, &json!({"iterations": 3, "metrics": [way.success_rate()]})).await?;
    // The new version gets its traffic from a preview address until it is judged.
    let preview = format!("preview.{}", scene.host);
    scene.apply(&workload::route("preview", &preview, &[("podinfo-canary", 1)])).await?;
    let _preview = scene.traffic(|plan| plan.host = preview)?;
    let users = scene.traffic(|_| ())?;
    users.expect_share(V0, 100.0).await?;

    let mark = users.mark();
    scene.apply(&workload::deployment(V1)).await?;
    wait_for("all iterations", intervals(10), || async {
        // In this order: what users saw until then, and then where the rollout is.
        let early = users.counts_since(mark).by_release.get(V1).copied().unwrap_or(0);
        let seen = scene.canary().await?;
        if seen.phase == "Progressing" && seen.iterations < 3 {
            assert_eq!(early, 0, "users saw {V1} while it was judged: {seen:?}");
        }
        ensure!(seen.iterations >= 3 || seen.phase == "Succeeded", "the Canary is {seen:?}");
        Ok(())
    })
    .await?;
    scene.promoted(V1, intervals(8)).await?;
    let counts = users.expect_share(V1, 100.0).await?;
    ensure!(counts.failed == 0 && users.stop().failed == 0, "users saw requests fail");
    Ok(())
}

async fn chosen_by_header(scene: &Scene, way: Way) -> Result<()> {
    let (gate, _serin) = (Gate::closed().await?, scene.serin().await?);
    shop(
        scene,
        way,
        &json!({
            "iterations": 2,
            "match": [{"headers": {"x-insider": {"exact": "yes"}}}],
            "metrics": [way.success_rate()],
            "webhooks": [workload::webhook("confirm-promotion", gate.url())],
        }),
    )
    .await?;
    let users = scene.traffic(|_| ())?;
    let insiders = scene.traffic(|plan| plan.headers.push(("x-insider".into(), "yes".into())))?;
    let strangers = scene.traffic(|plan| {
        plan.headers.push(("x-insider".into(), "no".into()));
        plan.rate = 20;
    })?;
    users.expect_share(V0, 100.0).await?;
    insiders.expect_share(V0, 100.0).await?;

    let marks = (users.mark(), strangers.mark());
    scene.apply(&workload::deployment(V1)).await?;
    scene.phase("WaitingPromotion", intervals(8)).await?;
    insiders.expect_share(V1, 100.0).await?;
    for (who, traffic, mark) in [("a user", &users, marks.0), ("a stranger", &strangers, marks.1)] {
        let counts = traffic.counts_since(mark);
        ensure!(!counts.by_release.contains_key(V1), "{who} saw {V1}: {:?}", counts.by_release);
    }
    gate.open();
    scene.promoted(V1, intervals(10)).await?;
    users.expect_share(V1, 100.0).await?;
    let failed = [&users, &insiders, &strangers].map(|traffic| traffic.stop().failed);
    ensure!(failed == [0, 0, 0], "users, insiders and strangers saw {failed:?} requests fail");
    Ok(())
}

pub(crate) async fn users_stay_on_the_version_they_met(scene: Arc<Scene>) -> Result<()> {
    let (gate, _serin) = (Gate::closed().await?, scene.serin().await?);
    shop(
        &scene,
        Way::Gateway,
        &json!({
            "stepWeight": 30, "maxWeight": 60,
            "sessionAffinity": {"cookieName": "shop-version"},
            "metrics": [workload::success_rate()],
            "webhooks": [workload::webhook("confirm-traffic-increase", gate.url())],
        }),
    )
    .await?;
    let passers_by = scene.traffic(|plan| plan.rate = 200)?;
    passers_by.expect_share(V0, 100.0).await?;
    scene.apply(&workload::deployment(V1)).await?;

    let mut users = None;
    for weight in [30, 60] {
        gate.admit(1);
        wait_for(&format!("weight {weight}"), intervals(6), || async {
            let weights = scene.weights().await?;
            ensure!(weights == (100 - weight, weight), "the route has {weights:?}");
            Ok(())
        })
        .await?;
        #[expect(clippy::cast_precision_loss, reason = "a weight is at most 100")]
        passers_by.expect_share(V1, weight as f64).await?;
        let users = match &users {
            Some(users) => users,
            None => users.insert(scene.traffic(|plan| plan.users = 50)?),
        };
        let exchanges = users.next(500).await?;
        let with_cookie: Vec<_> = exchanges.iter().filter(|exchange| exchange.with_cookie).collect();
        let astray = with_cookie.iter().filter(|exchange| exchange.release != V1).count();
        scene.report(&format!(
            "weight {weight}: {} of 500 requests had the cookie, {astray} went astray",
            with_cookie.len()
        ));
        ensure!(with_cookie.len() >= 250, "only {} of 500 requests had the cookie", with_cookie.len());
        ensure!(astray == 0, "{astray} of {} users with the cookie met another version", with_cookie.len());
    }
    gate.open();
    scene.promoted(V1, intervals(10)).await?;
    passers_by.expect_share(V1, 100.0).await?;
    let failed = users.map_or(0, |users| users.stop().failed) + passers_by.stop().failed;
    ensure!(failed == 0, "users saw {failed} requests fail");
    wait_for("the route to forget the cookie", Duration::from_secs(5), || async {
        let weights = scene.weights().await?;
        ensure!(weights == (100, 0), "the route has {weights:?}");
        Ok(())
    })
    .await
}
