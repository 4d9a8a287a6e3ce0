//! What others change.

use serde_json::json;

use crate::world::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changes_or_deletes_is_repaired() {
    let world = World::new();
    let first = world
        .repository
        .commit([("a.yaml", Some(config_map("a", "1"))), ("web.yaml", Some(deployment("web", 1, "web:1")))]);
    world.source("apps", json!({}));
    world.until_applied("apps", &first).await;
    world.at_rest().await;

    world.cluster.patch("mia", CONFIG_MAP, "shop", "a", json!({ "data": { "key": "drifted" } })).unwrap();
    world.until("the repair", |world| world.config("a").unwrap()["data"]["key"] == "1").await;
    world.cluster.delete(CONFIG_MAP, "shop", "a").unwrap();
    world.until("a new one", |world| world.config("a").is_some()).await;
    world.at_rest().await;

    // A field that is not Git's is not the agent's business.
    world.requests.forget();
    world.cluster.patch("mia", CONFIG_MAP, "shop", "a", json!({ "data": { "other": "mine" } })).unwrap();
    world.cluster.patch_status("kubelet", DEPLOYMENT, "shop", "web", json!({ "status": { "replicas": 1 } })).unwrap();
    world.at_rest().await;
    assert_eq!(world.requests.writes(), Vec::<String>::new());
    assert_eq!(world.config("a").unwrap()["data"], json!({ "key": "1", "other": "mine" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_told_and_left_alone_where_that_is_asked_for() {
    let world = World::new();
    let first =
        world.repository.commit([("a.yaml", Some(config_map("a", "1"))), ("b.yaml", Some(config_map("b", "1")))]);
    world.source("apps", json!({ "drift": "Report" }));
    world.until_applied("apps", &first).await;
    world.at_rest().await;
    world.cluster.patch("mia", CONFIG_MAP, "shop", "a", json!({ "data": { "key": "drifted" } })).unwrap();
    world.cluster.delete(CONFIG_MAP, "shop", "b").unwrap();
    let told = json!([
        { "id": "ConfigMap/shop/a", "what": "changed by mia" },
        { "id": "ConfigMap/shop/b", "what": "deleted" },
    ]);
    world.until("the report", |world| world.status("apps")["drift"] == told).await;
    assert_eq!(world.config("a").unwrap()["data"]["key"], "drifted");
    // The next commit that changes it writes it; what it does not change stays as it is.
    world.repository.commit([("b.yaml", Some(config_map("b", "2")))]);
    world.ask("apps");
    world.until("the new one", |world| world.config("b").is_some_and(|live| live["data"]["key"] == "2")).await;
    assert_eq!(world.config("a").unwrap()["data"]["key"], "drifted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_a_canarys_target_are_the_canarys() {
    let world = World::new();
    let canary = "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: web}\nspec:\n  \
                  targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n  service: {port: 80}\n  \
                  analysis: {interval: 10s, threshold: 5, stepWeights: [10]}\n";
    let first = world
        .repository
        .commit([("web.yaml", Some(deployment("web", 3, "web:1"))), ("canary.yaml", Some(canary.into()))]);
    world.source("apps", json!({}));
    world.until_applied("apps", &first).await;
    let replicas = |world: &World| world.cluster.get(DEPLOYMENT, "shop", "web").unwrap()["spec"]["replicas"].clone();
    assert_eq!(replicas(&world), 3, "as long as nobody else has set it");
    world.at_rest().await;

    world.cluster.scale("serin", DEPLOYMENT, "shop", "web", 0).unwrap();
    world.at_rest().await;
    assert_eq!(replicas(&world), 0, "no tug of war");
    world.requests.forget();
    let second = world.repository.commit([("web.yaml", Some(deployment("web", 3, "web:2")))]);
    world.ask("apps");
    world.until_applied("apps", &second).await;
    world.at_rest().await;
    let live = world.cluster.get(DEPLOYMENT, "shop", "web").unwrap();
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["image"], "web:2");
    assert_eq!(live["spec"]["replicas"], 0);
    assert_eq!(world.requests.writes(), ["patch Deployment shop/web"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_that_of_the_workloads() {
    let world = World::new();
    let first = world.repository.commit([("web.yaml", Some(deployment("web", 1, "web:1")))]);
    world.source("apps", json!({}));
    world.until_applied("apps", &first).await;
    world.until("waiting", |world| world.condition("apps", "Healthy").starts_with("Unknown Progressing")).await;
    let status =
        |ready: u32| json!({ "status": { "observedGeneration": 1, "updatedReplicas": ready, "readyReplicas": ready } });
    world.cluster.patch_status("kubelet", DEPLOYMENT, "shop", "web", status(1)).unwrap();
    world.until("health", |world| world.condition("apps", "Healthy").starts_with("True Healthy")).await;
    let late = json!({ "status": { "conditions": [{ "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "it takes too long" }] } });
    world.cluster.patch_status("kubelet", DEPLOYMENT, "shop", "web", late).unwrap();
    let bad = "False Degraded Deployment shop/web: it takes too long";
    world.until(bad, |world| world.condition("apps", "Healthy") == bad).await;
}
