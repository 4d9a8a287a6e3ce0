//! From a commit to objects, and what it costs.

use std::time::{Duration, Instant};

use serde_json::json;
use sim::Kind;

use crate::world::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_applied_and_what_leaves_git_is_deleted() {
    let world = World::new();
    let first = world.repository.commit([
        ("deploy/a.yaml", Some(config_map("a", "1"))),
        ("deploy/b.yaml", Some(config_map("b", "1"))),
        ("deploy/web.yaml", Some(deployment("web", 2, "web:1"))),
        ("other/c.yaml", Some(config_map("c", "1"))),
    ]);
    world.source("apps", json!({ "path": "deploy" }));
    world.until_applied("apps", &first).await;
    let live = world.config("a").unwrap();
    assert_eq!(live["metadata"]["labels"]["serin.dev/source"], "shop.apps");
    assert_eq!(live["metadata"]["managedFields"][0]["manager"], "serin-agent");
    assert_eq!(world.config("c"), None, "other folders are no business of this source");
    let status = world.status("apps");
    assert_eq!(status["commit"]["author"], json!({ "name": "Mia", "mail": "mia@example.com" }));
    assert_eq!(status["commit"]["message"], "Commit 1");
    assert_eq!(status["inventory"].as_array().unwrap().len(), 3);

    let second = world.repository.commit([("deploy/a.yaml", Some(config_map("a", "2"))), ("deploy/b.yaml", None)]);
    world.requests.forget();
    world.ask("apps");
    world.until_applied("apps", &second).await;
    assert_eq!(world.config("a").unwrap()["data"]["key"], "2");
    assert_eq!(world.config("b"), None);
    assert_eq!(world.requests.writes(), ["patch ConfigMap shop/a", "delete ConfigMap shop/b"]);
    assert_eq!(world.status("apps")["inventory"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_at_rest_asks_nothing_and_a_look_without_news_asks_nothing_either() {
    let world = World::new();
    let first = world.repository.commit([("a.yaml", Some(config_map("a", "1")))]);
    world.source("apps", json!({ "interval": "5s" }));
    world.until_applied("apps", &first).await;
    world.at_rest().await;
    world.requests.forget();
    let fetches = world.repository.state.lock().unwrap().fetches;
    world.until("another look", |world| world.repository.state.lock().unwrap().fetches > fetches).await;
    world.at_rest().await;
    assert_eq!(world.requests.told(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_files_the_changed_one_is_written_within_a_second() {
    let world = World::new();
    let names: Vec<(String, String)> =
        (0..1_000).map(|number| (format!("deploy/{number}.yaml"), config_map(&format!("c{number}"), "1"))).collect();
    let first = world.repository.commit(names.iter().map(|(path, text)| (path.as_str(), Some(text.clone()))));
    world.source("apps", json!({}));
    world.until_applied("apps", &first).await;
    world.at_rest().await;
    assert_eq!(world.requests.writes().len(), 1_000, "what the watch has not told yet is not taken for drift");
    world.requests.forget();
    let second = world.repository.commit([("deploy/500.yaml", Some(config_map("c500", "2")))]);
    let begin = Instant::now();
    world.ask("apps");
    world.until("the change", |world| world.config("c500").unwrap()["data"]["key"] == "2").await;
    let took = begin.elapsed();
    world.until_applied("apps", &second).await;
    world.at_rest().await;
    assert_eq!(
        world.requests.told(),
        ["patch GitSource shop/apps (status)", "patch ConfigMap shop/c500", "patch GitSource shop/apps (status)"],
        "one write of an object, between what is about to be and what is"
    );
    eprintln!("one of 1,000 files: {took:?}");
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_writes_nothing_that_stands() {
    let world = World::new();
    let first = world
        .repository
        .commit([("a.yaml", Some(config_map("a", "1"))), ("web.yaml", Some(deployment("web", 1, "web:1")))]);
    world.source("apps", json!({}));
    world.until_applied("apps", &first).await;
    world.at_rest().await;
    let version = world.cluster.version();
    let world = world.restart();
    world.until("a look", |world| world.repository.state.lock().unwrap().fetches >= 2).await;
    world.at_rest().await;
    assert_eq!(world.requests.writes(), Vec::<String>::new());
    assert_eq!(world.cluster.version(), version, "{:#?}", world.requests.told());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_needed_comes_first_definitions_included() {
    let world = World::new();
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\n\
                      spec:\n  group: example.com\n  scope: Namespaced\n  names: {kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}\n  \
                      versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}\n";
    let first = world.repository.commit([
        (
            "a-widget.yaml",
            Some("apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w, namespace: made}\n".into()),
        ),
        (
            "b-web.yaml",
            Some(deployment("web", 1, "web:1").replace("  name: web\nspec", "  name: web\n  namespace: made\nspec")),
        ),
        ("c-namespace.yaml", Some("apiVersion: v1\nkind: Namespace\nmetadata: {name: made}\n".into())),
        ("d-definition.yaml", Some(definition.into())),
    ]);
    world.source("apps", json!({}));
    world.until_applied("apps", &first).await;
    assert!(world.cluster.get(Kind { group: "example.com", kind: "Widget" }, "made", "w").is_some());
    let writes = world.requests.writes();
    let at = |kind: &str| writes.iter().position(|write| write.contains(kind)).unwrap();
    assert!(at(" Namespace ") < at(" Deployment ") && at("CustomResourceDefinition") < at(" Widget "), "{writes:#?}");

    // What cannot be brought back stays.
    let second =
        world.repository.commit([("c-namespace.yaml", None), ("d-definition.yaml", None), ("a-widget.yaml", None)]);
    world.ask("apps");
    world.until_applied("apps", &second).await;
    assert!(world.condition("apps", "Ready").contains("Namespace made stays"), "{}", world.condition("apps", "Ready"));
    assert!(world.cluster.get(Kind { group: "", kind: "Namespace" }, "", "made").is_some());
    assert!(world.cluster.get(Kind { group: "example.com", kind: "Widget" }, "made", "w").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_source_goes_what_it_applied() {
    let world = World::new();
    let kept =
        config_map("kept", "1").replace("metadata:\n", "metadata:\n  annotations: {serin.dev/prune: disabled}\n");
    let first = world.repository.commit([("a.yaml", Some(config_map("a", "1"))), ("kept.yaml", Some(kept))]);
    world.source("apps", json!({}));
    world.until_applied("apps", &first).await;
    world.cluster.delete(GIT_SOURCE, "shop", "apps").unwrap();
    world.until("the end of it", |world| world.cluster.get(GIT_SOURCE, "shop", "apps").is_none()).await;
    assert_eq!(world.config("a"), None);
    assert!(world.config("kept").is_some());

    world.source("left", json!({ "prune": false }));
    world.until_ready("left", "True Applied").await;
    world.cluster.delete(GIT_SOURCE, "shop", "left").unwrap();
    world.until("the end of it", |world| world.cluster.get(GIT_SOURCE, "shop", "left").is_none()).await;
    assert!(world.config("a").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_has_the_rights_of_its_account_and_no_others() {
    let world = World::new();
    world.cluster.authorize(|attempt| {
        attempt.user == "admin"
            || (attempt.user == "system:serviceaccount:shop:deployer" && attempt.resource != "secrets")
    });
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: hunter2}\n";
    world.repository.commit([("a.yaml", Some(config_map("a", "1"))), ("s.yaml", Some(secret.into()))]);
    world.source("apps", json!({ "serviceAccountName": "deployer" }));
    world.until_ready("apps", "False Forbidden s.yaml:1").await;
    assert!(world.config("a").is_some(), "what may be applied is");
    let told = world.condition("apps", "Ready");
    assert!(told.contains("may not patch secrets") && !told.contains("hunter2"), "{told}");
    world.cluster.authorize(|_| true);
    world.until_ready("apps", "True Applied").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suspended_means_hands_off() {
    let world = World::new();
    world.repository.commit([("a.yaml", Some(config_map("a", "1")))]);
    world.source("apps", json!({ "suspend": true }));
    world.until_ready("apps", "True Suspended").await;
    assert_eq!(world.repository.state.lock().unwrap().fetches, 0);
    world.cluster.patch("user", GIT_SOURCE, "shop", "apps", json!({ "spec": { "suspend": false } })).unwrap();
    world.until_ready("apps", "True Applied").await;
    assert!(world.config("a").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_was_taken_back_is_not_applied_again_and_the_next_one_is() {
    let world = World::new();
    let first = world.repository.commit([("web.yaml", Some(deployment("web", 1, "web:1")))]);
    world.source("apps", json!({}));
    world.until_applied("apps", &first).await;
    world.at_rest().await;
    let hold =
        json!({ "metadata": { "annotations": { "serin.dev/hold": format!("Canary shop/web took {first} back") } } });
    world.cluster.patch("serin", GIT_SOURCE, "shop", "apps", hold).unwrap();
    world.until_ready("apps", "True Held commit").await;
    let image = |image: &str| json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": image }] } } } });
    world.cluster.patch("mia", DEPLOYMENT, "shop", "web", image("web:0")).unwrap();
    world.at_rest().await;
    let live = |world: &World| world.cluster.get(DEPLOYMENT, "shop", "web").unwrap();
    assert_eq!(live(&world)["spec"]["template"]["spec"]["containers"][0]["image"], "web:0");
    let second = world.repository.commit([("web.yaml", Some(deployment("web", 1, "web:2")))]);
    world.ask("apps");
    world.until_applied("apps", &second).await;
    assert_eq!(live(&world)["spec"]["template"]["spec"]["containers"][0]["image"], "web:2");
}
