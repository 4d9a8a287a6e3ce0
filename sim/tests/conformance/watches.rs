//! Watches: from where, of what, with what in between.

use serde_json::{Value, json};

use crate::cases;
use crate::scene::{JSON, Scene, config_map, widget};

cases![
    a_watch_tells_additions_changes_and_ends,
    a_watch_without_a_version_begins_with_what_there_is,
    a_watch_resumes_after_a_version,
    a_watch_of_one_object,
    an_object_that_leaves_the_selection_is_told_as_deleted,
    initial_events_end_with_a_bookmark,
    a_watch_ends_at_its_time,
    a_watch_of_all_namespaces,
    a_watch_of_metadata,
];

fn seen(lines: &[Value]) -> Vec<String> {
    let line = |line: &Value| {
        format!(
            "{} {}",
            line["type"].as_str().unwrap_or_default(),
            line["object"]["metadata"]["name"].as_str().unwrap_or_default()
        )
    };
    lines.iter().map(line).collect()
}

async fn version(scene: &Scene) -> String {
    let list = scene.list("widgets", "").await.ok();
    list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
}

async fn a_watch_tells_additions_changes_and_ends(scene: Scene) {
    let version = version(&scene).await;
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.patch("widgets", "a", JSON, &json!([{ "op": "replace", "path": "/spec/weight", "value": 3 }])).await.ok();
    scene.delete("widgets", "a", &json!({})).await.ok();
    let lines = scene.watch("widgets", &format!("resourceVersion={version}"), 3).await;
    assert_eq!(seen(&lines), ["ADDED a", "MODIFIED a", "DELETED a"]);
    assert_eq!(lines[1]["object"]["spec"]["weight"], 3);
    assert_eq!(lines[0]["object"]["kind"], "Widget");
    let versions: Vec<u64> = lines
        .iter()
        .map(|line| line["object"]["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(versions.is_sorted() && versions[1] < versions[2], "{versions:?}");
}

async fn a_watch_without_a_version_begins_with_what_there_is(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.create("widgets", &widget("b", &json!({}))).await.ok();
    let mut seen = seen(&scene.watch("widgets", "", 2).await);
    seen.sort();
    assert_eq!(seen, ["ADDED a", "ADDED b"]);
}

async fn a_watch_resumes_after_a_version(scene: Scene) {
    let first = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.create("widgets", &widget("b", &json!({}))).await.ok();
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    assert_eq!(seen(&scene.watch("widgets", &format!("resourceVersion={version}"), 1).await), ["ADDED b"]);
}

async fn a_watch_of_one_object(scene: Scene) {
    let version = version(&scene).await;
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.create("widgets", &widget("b", &json!({}))).await.ok();
    let query = format!("resourceVersion={version}&fieldSelector=metadata.name%3Db");
    assert_eq!(seen(&scene.watch("widgets", &query, 1).await), ["ADDED b"]);
}

async fn an_object_that_leaves_the_selection_is_told_as_deleted(scene: Scene) {
    let version = version(&scene).await;
    let mut body = widget("a", &json!({}));
    body["metadata"]["labels"] = json!({ "in": "yes" });
    scene.create("widgets", &body).await.ok();
    let patch = json!([{ "op": "remove", "path": "/metadata/labels/in" }]);
    let left = scene.patch("widgets", "a", JSON, &patch).await.ok();
    scene
        .patch("widgets", "a", JSON, &json!([{ "op": "add", "path": "/metadata/labels", "value": { "in": "yes" } }]))
        .await
        .ok();
    let lines = scene.watch("widgets", &format!("resourceVersion={version}&labelSelector=in"), 3).await;
    assert_eq!(seen(&lines), ["ADDED a", "DELETED a", "ADDED a"]);
    assert_eq!(lines[1]["object"]["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"]);
    assert_eq!(lines[1]["object"]["metadata"]["labels"], json!({ "in": "yes" }));
}

async fn initial_events_end_with_a_bookmark(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let lines = scene.watch("widgets", query, 2).await;
    assert_eq!((&lines[0]["type"], &lines[1]["type"]), (&json!("ADDED"), &json!("BOOKMARK")));
    let mark = &lines[1]["object"];
    assert_eq!(mark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!((&mark["kind"], &mark["apiVersion"]), (&json!("Widget"), &json!("conformance.serin.app/v1")));
}

async fn a_watch_ends_at_its_time(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    let version = version(&scene).await;
    let query = format!("resourceVersion={version}&allowWatchBookmarks=true&timeoutSeconds=1");
    let lines = scene.watch("widgets", &query, 9).await;
    assert!(lines.iter().all(|line| line["type"] == "BOOKMARK"), "{lines:?}");
}

async fn a_watch_of_all_namespaces(scene: Scene) {
    let version = version(&scene).await;
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    let path = format!("/apis/conformance.serin.app/v1/widgets?watch=true&resourceVersion={version}");
    let lines = scene.lines(&path, "application/json", 1).await;
    assert_eq!(lines[0]["object"]["metadata"]["namespace"], scene.namespace.as_str());
}

async fn a_watch_of_metadata(scene: Scene) {
    let version = version(&scene).await;
    scene.create("configmaps", &config_map("a", &json!({ "x": "y" }))).await.ok();
    let query = format!("watch=true&resourceVersion={version}&fieldSelector=metadata.name%3Da");
    let path = format!("{}?{query}", scene.path("configmaps"));
    let lines = scene.lines(&path, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", 1).await;
    assert_eq!(lines[0]["object"]["kind"], "PartialObjectMetadata");
    assert!(lines[0]["object"].get("data").is_none());
}
