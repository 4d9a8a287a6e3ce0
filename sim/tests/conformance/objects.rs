//! Create, get, replace.

use serde_json::json;

use crate::cases;
use crate::scene::{Scene, config_map, owners, service};

cases![
    create_gives_identity,
    create_twice_is_refused,
    create_takes_a_generated_name,
    create_needs_a_name,
    create_refuses_a_bad_name,
    create_refuses_a_name_that_no_service_can_have,
    create_in_an_absent_namespace_is_not_found,
    create_refuses_another_kind,
    create_refuses_another_namespace,
    create_dry_run_changes_nothing,
    create_ignores_a_resource_version_only_when_empty,
    get_of_nothing_is_not_found,
    get_of_an_unknown_kind_is_not_found,
    put_replaces,
    put_with_an_old_version_conflicts,
    put_without_a_version_wins,
    put_of_nothing_is_not_found,
    put_with_another_uid_conflicts,
    put_of_the_same_is_no_change,
    put_with_another_name_is_refused,
    put_dry_run_changes_nothing,
    a_writer_without_a_name_is_its_user_agent,
    an_invalid_label_is_refused,
    an_unknown_field_is_warned_about,
    an_unknown_field_is_refused_when_strict,
    a_value_of_the_wrong_type_is_refused,
];

async fn create_gives_identity(scene: Scene) {
    let answer = scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await;
    assert_eq!(answer.code, 201);
    let metadata = &answer.body["metadata"];
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        assert!(metadata[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {metadata}");
    }
    assert_eq!(metadata["namespace"], scene.namespace.as_str());
    assert_eq!((&answer.body["kind"], &answer.body["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert!(metadata.get("generation").is_none(), "configmaps have none");
}

async fn create_twice_is_refused(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({}))).await.ok();
    let status = scene.create("configmaps", &config_map("a", &json!({}))).await.refused(409, "AlreadyExists");
    assert_eq!(status["message"], "configmaps \"a\" already exists");
    assert_eq!(status["details"], json!({ "name": "a", "kind": "configmaps" }));
}

async fn create_takes_a_generated_name(scene: Scene) {
    let mut body = config_map("", &json!({}));
    body["metadata"] = json!({ "generateName": "a-" });
    let first = scene.create("configmaps", &body).await.ok();
    let second = scene.create("configmaps", &body).await.ok();
    let name = first["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("a-") && name.len() == 7, "{name}");
    assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
}

async fn create_needs_a_name(scene: Scene) {
    let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {} });
    let status = scene.create("configmaps", &body).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.name");
}

async fn create_refuses_a_bad_name(scene: Scene) {
    let status = scene.create("configmaps", &config_map("X_", &json!({}))).await.refused(422, "Invalid");
    assert!(status["message"].as_str().unwrap().starts_with(
        "ConfigMap \"X_\" is invalid: metadata.name: Invalid value: \"X_\": a lowercase RFC 1123 subdomain must consist"
    ));
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueInvalid");
}

async fn create_refuses_a_name_that_no_service_can_have(scene: Scene) {
    scene.create("services", &service("a.b")).await.refused(422, "Invalid");
}

async fn create_in_an_absent_namespace_is_not_found(scene: Scene) {
    let path = "/api/v1/namespaces/absent/configmaps";
    let status = scene.call("POST", path, "application/json", Some(&config_map("a", &json!({})))).await;
    let status = status.refused(404, "NotFound");
    assert_eq!(status["message"], "namespaces \"absent\" not found");
}

async fn create_refuses_another_kind(scene: Scene) {
    scene.create("configmaps", &service("a")).await.refused(400, "BadRequest");
}

async fn create_refuses_another_namespace(scene: Scene) {
    let mut body = config_map("a", &json!({}));
    body["metadata"]["namespace"] = "other".into();
    scene.create("configmaps", &body).await.refused(400, "BadRequest");
}

async fn create_dry_run_changes_nothing(scene: Scene) {
    let path = format!("{}?dryRun=All", scene.path("configmaps"));
    let answer = scene.call("POST", &path, "application/json", Some(&config_map("a", &json!({ "x": "1" })))).await;
    assert_eq!(answer.code, 201);
    assert!(answer.body["metadata"]["uid"].is_string());
    scene.get("configmaps", "a").await.refused(404, "NotFound");
}

async fn create_ignores_a_resource_version_only_when_empty(scene: Scene) {
    let mut body = config_map("a", &json!({}));
    body["metadata"]["resourceVersion"] = "5".into();
    let status = scene.create("configmaps", &body).await.refused(500, "");
    assert_eq!(status["message"], "resourceVersion should not be set on objects to be created");
    body["metadata"]["resourceVersion"] = "".into();
    scene.create("configmaps", &body).await.ok();
}

async fn get_of_nothing_is_not_found(scene: Scene) {
    let status = scene.get("deployments", "a").await.refused(404, "NotFound");
    assert_eq!(status["message"], "deployments.apps \"a\" not found");
    assert_eq!(status["details"], json!({ "name": "a", "group": "apps", "kind": "deployments" }));
    assert_eq!(status["code"], 404);
}

async fn get_of_an_unknown_kind_is_not_found(scene: Scene) {
    let answer = scene.get("bogus", "a").await;
    assert_eq!(answer.code, 404, "{answer:?}");
}

async fn put_replaces(scene: Scene) {
    let mut body = scene.create("configmaps", &config_map("a", &json!({ "x": "1", "y": "2" }))).await.ok();
    let before = body["metadata"]["resourceVersion"].clone();
    body["data"] = json!({ "x": "3" });
    let after = scene.put("configmaps", "a", &body).await.ok();
    assert_eq!(after["data"], json!({ "x": "3" }));
    assert_eq!(after["metadata"]["uid"], body["metadata"]["uid"]);
    assert_ne!(after["metadata"]["resourceVersion"], before);
}

async fn put_with_an_old_version_conflicts(scene: Scene) {
    let mut body = scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await.ok();
    body["data"]["x"] = "2".into();
    scene.put("configmaps", "a", &body).await.ok();
    let status = scene.put("configmaps", "a", &body).await.refused(409, "Conflict");
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the \
         latest version and try again"
    );
}

async fn put_without_a_version_wins(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await.ok();
    let after = scene.put("configmaps", "a", &config_map("a", &json!({ "y": "1" }))).await.ok();
    assert_eq!(after["data"], json!({ "y": "1" }));
}

async fn put_of_nothing_is_not_found(scene: Scene) {
    scene.put("configmaps", "a", &config_map("a", &json!({}))).await.refused(404, "NotFound");
}

async fn put_with_another_uid_conflicts(scene: Scene) {
    let mut body = scene.create("configmaps", &config_map("a", &json!({}))).await.ok();
    body["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000".into();
    scene.put("configmaps", "a", &body).await.refused(409, "Conflict");
}

async fn put_of_the_same_is_no_change(scene: Scene) {
    let body = scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await.ok();
    let after = scene.put("configmaps", "a", &body).await.ok();
    assert_eq!(after["metadata"]["resourceVersion"], body["metadata"]["resourceVersion"]);
}

async fn put_with_another_name_is_refused(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({}))).await.ok();
    scene.put("configmaps", "a", &config_map("b", &json!({}))).await.refused(400, "BadRequest");
}

async fn put_dry_run_changes_nothing(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await.ok();
    let path = format!("{}/a?dryRun=All", scene.path("configmaps"));
    let body = config_map("a", &json!({ "x": "2" }));
    let answer = scene.call("PUT", &path, "application/json", Some(&body)).await.ok();
    assert_eq!(answer["data"]["x"], "2");
    assert_eq!(scene.get("configmaps", "a").await.ok()["data"]["x"], "1");
}

async fn a_writer_without_a_name_is_its_user_agent(scene: Scene) {
    let body = config_map("a", &json!({ "x": "1" }));
    let headers = [("content-type", "application/json"), ("user-agent", "my-tool/1.2 (x)")];
    let answer = crate::scene::call_with(&scene.client, "POST", &scene.path("configmaps"), &headers, Some(&body)).await;
    assert_eq!(owners(&answer.ok()), ["my-tool Update"]);
}

async fn an_invalid_label_is_refused(scene: Scene) {
    let mut body = config_map("a", &json!({}));
    body["metadata"]["labels"] = json!({ "a": "not valid" });
    let status = scene.create("configmaps", &body).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.labels");
}

async fn an_unknown_field_is_warned_about(scene: Scene) {
    let mut body = config_map("a", &json!({}));
    body["bogus"] = 1.into();
    let answer = scene.create("configmaps", &body).await;
    assert_eq!(answer.warnings, ["299 - \"unknown field \\\"bogus\\\"\""]);
    assert!(answer.ok().get("bogus").is_none());
}

async fn an_unknown_field_is_refused_when_strict(scene: Scene) {
    let mut body = config_map("a", &json!({}));
    body["bogus"] = 1.into();
    let path = format!("{}?fieldValidation=Strict", scene.path("configmaps"));
    let status = scene.call("POST", &path, "application/json", Some(&body)).await.refused(400, "BadRequest");
    assert!(status["message"].as_str().unwrap().contains("strict decoding error: unknown field \"bogus\""), "{status}");
}

async fn a_value_of_the_wrong_type_is_refused(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({ "x": 1 }))).await.refused(400, "BadRequest");
}
