//! JSON, merge and strategic merge patches.

use serde_json::{Value, json};

use crate::cases;
use crate::scene::{JSON, MERGE, STRATEGIC, Scene, config_map, deployment, service, widget};

cases![
    json_patch_changes,
    json_patch_that_fails_its_test_is_refused,
    json_patch_with_an_old_version_conflicts,
    json_patch_escapes_keys,
    json_patch_that_is_none_is_refused,
    merge_patch_sets_and_removes,
    merge_patch_replaces_lists,
    merge_patch_with_an_old_version_conflicts,
    merge_patch_of_nothing_is_not_found,
    merge_patch_that_changes_nothing_is_no_change,
    a_patch_cannot_rename,
    a_patch_dry_run_changes_nothing,
    strategic_patch_merges_containers_by_name,
    strategic_patch_puts_what_is_new_first,
    strategic_patch_deletes_by_directive,
    strategic_patch_merges_ports_of_services_by_port,
    strategic_patch_replaces_by_directive,
    strategic_patch_is_not_for_custom_kinds,
    an_unknown_patch_is_refused,
    force_is_for_apply_alone,
    a_patch_that_breaks_the_schema_is_refused,
];

async fn json_patch_changes(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await.ok();
    let patch = json!([
        { "op": "test", "path": "/data/x", "value": "1" },
        { "op": "replace", "path": "/data/x", "value": "2" },
        { "op": "add", "path": "/data/y", "value": "3" },
    ]);
    assert_eq!(scene.patch("configmaps", "a", JSON, &patch).await.ok()["data"], json!({ "x": "2", "y": "3" }));
}

async fn json_patch_that_fails_its_test_is_refused(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await.ok();
    let patch = json!([{ "op": "test", "path": "/data/x", "value": "2" }]);
    let status = scene.patch("configmaps", "a", JSON, &patch).await.refused(422, "Invalid");
    assert_eq!(status["message"], "the server rejected our request due to an error in our request");
}

async fn json_patch_with_an_old_version_conflicts(scene: Scene) {
    let before = scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await.ok();
    scene.patch("configmaps", "a", MERGE, &json!({ "data": { "x": "2" } })).await.ok();
    let version = &before["metadata"]["resourceVersion"];
    let patch = json!([
        { "op": "replace", "path": "/data/x", "value": "3" },
        { "op": "replace", "path": "/metadata/resourceVersion", "value": version },
    ]);
    scene.patch("configmaps", "a", JSON, &patch).await.refused(409, "Conflict");
}

async fn json_patch_escapes_keys(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({}))).await.ok();
    let patch = json!([
        { "op": "add", "path": "/metadata/annotations", "value": {} },
        { "op": "add", "path": "/metadata/annotations/a.b~1c", "value": "d" },
    ]);
    let after = scene.patch("configmaps", "a", JSON, &patch).await.ok();
    assert_eq!(after["metadata"]["annotations"]["a.b/c"], "d");
}

async fn json_patch_that_is_none_is_refused(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({}))).await.ok();
    scene.patch("configmaps", "a", JSON, &json!({ "data": {} })).await.refused(400, "BadRequest");
}

async fn merge_patch_sets_and_removes(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({ "x": "1", "y": "2" }))).await.ok();
    let after = scene.patch("configmaps", "a", MERGE, &json!({ "data": { "x": null, "z": "3" } })).await.ok();
    assert_eq!(after["data"], json!({ "y": "2", "z": "3" }));
}

async fn merge_patch_replaces_lists(scene: Scene) {
    scene.create("services", &service("web")).await.ok();
    let patch = json!({ "spec": { "ports": [{ "name": "other", "port": 81 }] } });
    let after = scene.patch("services", "web", MERGE, &patch).await.ok();
    assert_eq!(after["spec"]["ports"], json!([{ "name": "other", "port": 81, "protocol": "TCP", "targetPort": 81 }]));
}

async fn merge_patch_with_an_old_version_conflicts(scene: Scene) {
    let before = scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await.ok();
    scene.patch("configmaps", "a", MERGE, &json!({ "data": { "x": "2" } })).await.ok();
    let patch = json!({
        "metadata": { "resourceVersion": before["metadata"]["resourceVersion"] }, "data": { "x": "3" },
    });
    scene.patch("configmaps", "a", MERGE, &patch).await.refused(409, "Conflict");
}

async fn merge_patch_of_nothing_is_not_found(scene: Scene) {
    scene.patch("configmaps", "a", MERGE, &json!({})).await.refused(404, "NotFound");
}

async fn merge_patch_that_changes_nothing_is_no_change(scene: Scene) {
    let before = scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await.ok();
    let after = scene.patch("configmaps", "a", MERGE, &json!({ "data": { "x": "1" } })).await.ok();
    assert_eq!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
}

async fn a_patch_cannot_rename(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({}))).await.ok();
    let answer = scene.patch("configmaps", "a", MERGE, &json!({ "metadata": { "name": "b" } })).await;
    assert_eq!(answer.code, 400, "{answer:?}");
}

async fn a_patch_dry_run_changes_nothing(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await.ok();
    let path = format!("{}/a?dryRun=All", scene.path("configmaps"));
    let answer = scene.call("PATCH", &path, MERGE, Some(&json!({ "data": { "x": "2" } }))).await.ok();
    assert_eq!(answer["data"]["x"], "2");
    assert_eq!(scene.get("configmaps", "a").await.ok()["data"]["x"], "1");
}

async fn strategic_patch_merges_containers_by_name(scene: Scene) {
    scene.create("deployments", &deployment("web")).await.ok();
    let patch = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "app", "image": "local/app:2" }, { "name": "side", "image": "local/side:1" },
    ] } } } });
    let after = scene.patch("deployments", "web", STRATEGIC, &patch).await.ok();
    let containers = after["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let mut images: Vec<(&str, &str)> = containers
        .iter()
        .map(|container| (container["name"].as_str().unwrap(), container["image"].as_str().unwrap()))
        .collect();
    images.sort();
    assert_eq!(images, [("app", "local/app:2"), ("side", "local/side:1")]);
    let app = containers.iter().find(|container| container["name"] == "app").unwrap();
    assert_eq!(app["ports"][0]["containerPort"], 80);
}

async fn strategic_patch_puts_what_is_new_first(scene: Scene) {
    scene.create("deployments", &deployment("web")).await.ok();
    let names = async |patch: Value| -> Vec<String> {
        let patch = json!({ "spec": { "template": { "spec": patch } } });
        let after = scene.patch("deployments", "web", STRATEGIC, &patch).await.ok();
        let containers = after["spec"]["template"]["spec"]["containers"].as_array().unwrap().iter();
        containers.map(|container| container["name"].as_str().unwrap().to_owned()).collect()
    };
    let side = |name: &str| json!({ "name": name, "image": "local/side:1" });
    assert_eq!(names(json!({ "containers": [side("side")] })).await, ["side", "app"]);
    let order = json!([{ "name": "app" }, { "name": "last" }, { "name": "side" }]);
    assert_eq!(
        names(json!({ "containers": [side("last")], "$setElementOrder/containers": order })).await,
        ["app", "last", "side"]
    );
    assert_eq!(names(json!({ "containers": [side("side")] })).await, ["app", "last", "side"]);
}

async fn strategic_patch_deletes_by_directive(scene: Scene) {
    let mut body = deployment("web");
    body["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }]);
    scene.create("deployments", &body).await.ok();
    let patch = json!({ "spec": { "template": { "spec": { "containers": [
        { "name": "app", "env": [{ "name": "A", "$patch": "delete" }] },
    ] } } } });
    let after = scene.patch("deployments", "web", STRATEGIC, &patch).await.ok();
    let env = &after["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(*env, json!([{ "name": "B", "value": "2" }]));
}

async fn strategic_patch_merges_ports_of_services_by_port(scene: Scene) {
    scene.create("services", &service("web")).await.ok();
    let patch = json!({ "spec": { "ports": [{ "port": 80, "name": "renamed" }] } });
    let after = scene.patch("services", "web", STRATEGIC, &patch).await.ok();
    assert_eq!(after["spec"]["ports"], json!([{ "name": "renamed", "port": 80, "protocol": "TCP", "targetPort": 80 }]));
}

async fn strategic_patch_replaces_by_directive(scene: Scene) {
    scene.create("services", &service("web")).await.ok();
    let patch = json!({ "spec": { "selector": { "$patch": "replace", "x": "y" } } });
    let after = scene.patch("services", "web", STRATEGIC, &patch).await.ok();
    assert_eq!(after["spec"]["selector"], json!({ "x": "y" }));
}

async fn strategic_patch_is_not_for_custom_kinds(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.patch("widgets", "a", STRATEGIC, &json!({})).await.refused(415, "UnsupportedMediaType");
}

async fn an_unknown_patch_is_refused(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({}))).await.ok();
    scene.patch("configmaps", "a", "application/json", &json!({})).await.refused(415, "UnsupportedMediaType");
}

async fn force_is_for_apply_alone(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({}))).await.ok();
    let path = format!("{}/a?force=true", scene.path("configmaps"));
    scene.call("PATCH", &path, MERGE, Some(&json!({}))).await.refused(422, "Invalid");
}

async fn a_patch_that_breaks_the_schema_is_refused(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.patch("widgets", "a", MERGE, &json!({ "spec": { "weight": 101 } })).await.refused(422, "Invalid");
    scene.patch("widgets", "a", MERGE, &json!({ "spec": { "weight": "x" } })).await.refused(422, "Invalid");
}
