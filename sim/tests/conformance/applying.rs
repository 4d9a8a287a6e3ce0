//! Server-side apply and the ownership of fields.

use serde_json::{Value, json};

use crate::cases;
use crate::scene::{JSON, MERGE, Scene, config_map, deployment, fields_of, owners, service, widget};

cases![
    apply_creates,
    apply_again_is_no_change,
    apply_removes_what_is_no_longer_stated,
    apply_leaves_what_others_own,
    apply_conflicts_name_the_owner_and_the_field,
    apply_with_force_takes_over,
    apply_of_the_same_value_shares,
    apply_needs_a_manager,
    apply_refuses_managed_fields,
    apply_of_an_unknown_field_is_refused_when_strict,
    apply_does_not_own_defaults,
    apply_merges_lists_by_key,
    apply_replaces_atomic_lists,
    apply_of_sets,
    apply_removes_items_of_its_own,
    apply_to_the_status,
    apply_to_the_scale,
    apply_dry_run_changes_nothing,
    apply_with_a_version_of_nothing_conflicts,
    apply_of_ports_is_by_port_and_protocol,
    updates_own_what_they_change,
    updates_own_nothing_when_nothing_changes,
    an_update_takes_fields_from_those_who_applied,
    status_writers_own_the_status_as_a_subresource,
    owners_can_be_handed_over,
    owners_can_be_taken_away,
    owner_references_are_owned_by_uid,
    a_field_given_up_while_shared_stays,
];

fn stated(data: &Value) -> Value {
    config_map("a", data)
}

async fn apply_creates(scene: Scene) {
    let answer = scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1" }))).await;
    assert_eq!(answer.code, 201);
    assert_eq!(owners(&answer.body), ["one Apply"]);
    assert_eq!(*fields_of(&answer.body, "one", "Apply"), json!({ "f:data": { "f:x": {} } }));
}

async fn apply_again_is_no_change(scene: Scene) {
    let first = scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.ok();
    let answer = scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1" }))).await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.body["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
}

async fn apply_removes_what_is_no_longer_stated(scene: Scene) {
    scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1", "y": "2" }))).await.ok();
    let after = scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.ok();
    assert_eq!(after["data"], json!({ "x": "1" }));
    let after = scene.apply("one", "configmaps", "a", &json!({ "apiVersion": "v1", "kind": "ConfigMap" })).await.ok();
    assert!(after.get("data").is_none(), "{after}");
}

async fn apply_leaves_what_others_own(scene: Scene) {
    scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.ok();
    scene.patch("configmaps", "a", MERGE, &json!({ "data": { "y": "2" } })).await.ok();
    let after = scene.apply("one", "configmaps", "a", &stated(&json!({}))).await.ok();
    assert_eq!(after["data"], json!({ "y": "2" }));
}

async fn apply_conflicts_name_the_owner_and_the_field(scene: Scene) {
    scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.ok();
    let status = scene.apply("two", "configmaps", "a", &stated(&json!({ "x": "2" }))).await.refused(409, "Conflict");
    assert_eq!(status["message"], "Apply failed with 1 conflict: conflict with \"one\": .data.x");
    assert_eq!(
        status["details"]["causes"],
        json!([{ "reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.x" }])
    );
    scene.patch("configmaps", "a", MERGE, &json!({ "data": { "x": "3" } })).await.ok();
    let status = scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.refused(409, "Conflict");
    assert_eq!(status["message"], "Apply failed with 1 conflict: conflict with \"tester\" using v1: .data.x");
}

async fn apply_with_force_takes_over(scene: Scene) {
    scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1", "y": "1" }))).await.ok();
    let after = scene.force("two", "configmaps", "a", &stated(&json!({ "x": "2" }))).await.ok();
    assert_eq!(after["data"], json!({ "x": "2", "y": "1" }));
    assert_eq!(*fields_of(&after, "one", "Apply"), json!({ "f:data": { "f:y": {} } }));
    assert_eq!(*fields_of(&after, "two", "Apply"), json!({ "f:data": { "f:x": {} } }));
}

async fn apply_of_the_same_value_shares(scene: Scene) {
    scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.ok();
    let after = scene.apply("two", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.ok();
    assert_eq!(owners(&after), ["one Apply", "two Apply"]);
}

async fn apply_needs_a_manager(scene: Scene) {
    let path = format!("{}/a", scene.path("configmaps"));
    let answer = scene.call("PATCH", &path, crate::scene::APPLY, Some(&stated(&json!({})))).await;
    assert!(answer.code == 400 || answer.code == 422, "{answer:?}");
    assert!(answer.body["message"].as_str().unwrap().contains("is required for apply patch"), "{answer:?}");
}

async fn apply_refuses_managed_fields(scene: Scene) {
    let mut body = scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.ok();
    body["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let status = scene.apply("one", "configmaps", "a", &body).await.refused(400, "BadRequest");
    assert_eq!(status["message"], "metadata.managedFields must be nil");
}

async fn apply_of_an_unknown_field_is_refused_when_strict(scene: Scene) {
    let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "bogus": 1 });
    let path = format!("{}/a?fieldManager=one&fieldValidation=Strict", scene.path("configmaps"));
    let answer = scene.call("PATCH", &path, crate::scene::APPLY, Some(&body)).await;
    assert!(answer.code >= 400, "{answer:?}");
    assert!(answer.body["message"].as_str().unwrap().contains("field not declared in schema"), "{answer:?}");
}

async fn apply_does_not_own_defaults(scene: Scene) {
    let after = scene.apply("one", "deployments", "web", &deployment("web")).await.ok();
    assert_eq!(after["spec"]["revisionHistoryLimit"], 10);
    assert_eq!(
        *fields_of(&after, "one", "Apply"),
        json!({ "f:spec": {
            "f:replicas": {}, "f:selector": {},
            "f:template": {
                "f:metadata": { "f:labels": { "f:app": {} } },
                "f:spec": { "f:containers": { "k:{\"name\":\"app\"}": {
                    ".": {}, "f:image": {}, "f:name": {},
                    "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} } },
                } } },
            },
        } })
    );
}

async fn apply_merges_lists_by_key(scene: Scene) {
    scene.apply("one", "widgets", "a", &widget("a", &json!({ "parts": [{ "name": "x", "color": "red" }] }))).await.ok();
    let after = scene.apply("two", "widgets", "a", &widget("a", &json!({ "parts": [{ "name": "y" }] }))).await.ok();
    assert_eq!(after["spec"]["parts"], json!([{ "name": "x", "color": "red", "size": 1 }, { "name": "y", "size": 1 }]));
    assert_eq!(
        *fields_of(&after, "two", "Apply"),
        json!({ "f:spec": { "f:parts": { "k:{\"name\":\"y\"}": { ".": {}, "f:name": {} } } } })
    );
}

async fn apply_replaces_atomic_lists(scene: Scene) {
    scene.apply("one", "widgets", "a", &widget("a", &json!({ "list": ["x", "y"] }))).await.ok();
    scene.apply("two", "widgets", "a", &widget("a", &json!({ "list": ["z"] }))).await.refused(409, "Conflict");
    let after = scene.force("two", "widgets", "a", &widget("a", &json!({ "list": ["z"] }))).await.ok();
    assert_eq!(after["spec"]["list"], json!(["z"]));
    assert_eq!(owners(&after), ["two Apply"]);
}

async fn apply_of_sets(scene: Scene) {
    scene.apply("one", "widgets", "a", &widget("a", &json!({ "set": ["x"] }))).await.ok();
    let after = scene.apply("two", "widgets", "a", &widget("a", &json!({ "set": ["y"] }))).await.ok();
    assert_eq!(after["spec"]["set"], json!(["x", "y"]));
    assert_eq!(*fields_of(&after, "two", "Apply"), json!({ "f:spec": { "f:set": { "v:\"y\"": {} } } }));
    let after = scene.apply("one", "widgets", "a", &widget("a", &json!({}))).await.ok();
    assert_eq!(after["spec"]["set"], json!(["y"]));
}

async fn apply_removes_items_of_its_own(scene: Scene) {
    let both = json!({ "parts": [{ "name": "x", "color": "red" }, { "name": "y" }] });
    scene.apply("one", "widgets", "a", &widget("a", &both)).await.ok();
    let patch = json!([{ "op": "add", "path": "/spec/parts/-", "value": { "name": "z" } }]);
    scene.patch("widgets", "a", JSON, &patch).await.ok();
    let after = scene.apply("one", "widgets", "a", &widget("a", &json!({ "parts": [{ "name": "y" }] }))).await.ok();
    assert_eq!(after["spec"]["parts"], json!([{ "name": "y", "size": 1 }, { "name": "z", "size": 1 }]));
}

async fn apply_to_the_status(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    let mut body = widget("a", &json!({ "weight": 99 }));
    body["status"] = json!({ "phase": "Fine" });
    let after = scene.apply("one", "widgets", "a/status", &body).await.ok();
    assert_eq!((&after["status"]["phase"], &after["spec"]["weight"]), (&json!("Fine"), &json!(10)));
    assert!(owners(&after).contains(&"one Apply status".to_owned()), "{:?}", owners(&after));
    assert_eq!(*fields_of(&after, "one", "Apply"), json!({ "f:status": { "f:phase": {} } }));
}

async fn apply_to_the_scale(scene: Scene) {
    scene.create("deployments", &deployment("a")).await.ok();
    let body = json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": { "name": "a" }, "spec": { "replicas": 1 } });
    let status = scene.apply("one", "deployments", "a/scale", &body).await.refused(409, "Conflict");
    assert!(
        status["message"].as_str().unwrap().starts_with("Apply failed with 1 conflict: conflict with \"tester\""),
        "{status}"
    );
    scene.force("one", "deployments", "a/scale", &body).await.ok();
    let after = scene.get("deployments", "a").await.ok();
    assert_eq!(after["spec"]["replicas"], 1);
    assert!(owners(&after).contains(&"one Apply scale".to_owned()), "{:?}", owners(&after));
}

async fn apply_dry_run_changes_nothing(scene: Scene) {
    let path = format!("{}/a?fieldManager=one&dryRun=All", scene.path("configmaps"));
    let answer = scene.call("PATCH", &path, crate::scene::APPLY, Some(&stated(&json!({ "x": "1" })))).await;
    assert_eq!((answer.code, &answer.body["data"]["x"]), (201, &json!("1")));
    scene.get("configmaps", "a").await.refused(404, "NotFound");
}

async fn apply_with_a_version_of_nothing_conflicts(scene: Scene) {
    let mut body = stated(&json!({}));
    body["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000".into();
    scene.apply("one", "configmaps", "a", &body).await.refused(409, "Conflict");
}

async fn apply_of_ports_is_by_port_and_protocol(scene: Scene) {
    scene.apply("one", "services", "web", &service("web")).await.ok();
    let mut other = service("web");
    other["spec"] = json!({ "ports": [{ "name": "dns", "port": 53, "protocol": "UDP" }] });
    let after = scene.apply("two", "services", "web", &other).await.ok();
    assert_eq!(after["spec"]["ports"].as_array().unwrap().len(), 2);
    assert_eq!(
        *fields_of(&after, "two", "Apply"),
        json!({ "f:spec": { "f:ports": { "k:{\"port\":53,\"protocol\":\"UDP\"}":
            { ".": {}, "f:name": {}, "f:port": {}, "f:protocol": {} } } } })
    );
}

async fn updates_own_what_they_change(scene: Scene) {
    let mut body = config_map("a", &json!({ "x": "1" }));
    body["metadata"]["labels"] = json!({ "l": "1" });
    let created = scene.create("configmaps", &body).await.ok();
    assert_eq!(
        *fields_of(&created, "tester", "Update"),
        json!({ "f:data": { ".": {}, "f:x": {} }, "f:metadata": { "f:labels": { ".": {}, "f:l": {} } } })
    );
    let path = format!("{}/a?fieldManager=other", scene.path("configmaps"));
    let after = scene.call("PATCH", &path, MERGE, Some(&json!({ "data": { "y": "2" } }))).await.ok();
    assert_eq!(*fields_of(&after, "other", "Update"), json!({ "f:data": { "f:y": {} } }));
    let after = scene.call("PATCH", &path, MERGE, Some(&json!({ "data": { "x": "2" } }))).await.ok();
    assert_eq!(*fields_of(&after, "other", "Update"), json!({ "f:data": { "f:x": {}, "f:y": {} } }));
    assert_eq!(
        *fields_of(&after, "tester", "Update"),
        json!({ "f:data": {}, "f:metadata": { "f:labels": { ".": {}, "f:l": {} } } })
    );
}

async fn updates_own_nothing_when_nothing_changes(scene: Scene) {
    scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.ok();
    let after = scene.patch("configmaps", "a", MERGE, &json!({ "data": { "x": "1" } })).await.ok();
    assert_eq!(owners(&after), ["one Apply"]);
}

async fn an_update_takes_fields_from_those_who_applied(scene: Scene) {
    scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1", "y": "1" }))).await.ok();
    let after = scene.patch("configmaps", "a", MERGE, &json!({ "data": { "x": "2" } })).await.ok();
    assert_eq!(*fields_of(&after, "one", "Apply"), json!({ "f:data": { "f:y": {} } }));
    assert_eq!(*fields_of(&after, "tester", "Update"), json!({ "f:data": { "f:x": {} } }));
}

async fn status_writers_own_the_status_as_a_subresource(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    let after = scene.patch("widgets", "a/status", MERGE, &json!({ "status": { "phase": "Fine" } })).await.ok();
    assert_eq!(owners(&after), ["tester Update", "tester Update status"]);
}

async fn owners_can_be_handed_over(scene: Scene) {
    let created = scene.create_by("flagger", "configmaps", &config_map("a", &json!({ "x": "1", "y": "1" }))).await.ok();
    let mut entry = created["metadata"]["managedFields"][0].clone();
    entry["manager"] = "serin".into();
    entry["operation"] = "Apply".into();
    let patch = json!([
        { "op": "replace", "path": "/metadata/managedFields", "value": [entry] },
        { "op": "replace", "path": "/metadata/resourceVersion", "value": created["metadata"]["resourceVersion"] },
    ]);
    let after = scene.patch("configmaps", "a", JSON, &patch).await.ok();
    assert_eq!(owners(&after), ["serin Apply"]);
    let after = scene.apply("serin", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.ok();
    assert_eq!(after["data"], json!({ "x": "1" }));
}

async fn owners_can_be_taken_away(scene: Scene) {
    scene.create("configmaps", &config_map("a", &json!({ "x": "1" }))).await.ok();
    let patch = json!([{ "op": "replace", "path": "/metadata/managedFields", "value": [{}] }]);
    let after = scene.patch("configmaps", "a", JSON, &patch).await.ok();
    assert!(owners(&after).is_empty(), "{:?}", owners(&after));
    let after = scene.patch("configmaps", "a", MERGE, &json!({ "data": { "y": "1" } })).await.ok();
    assert!(owners(&after).is_empty(), "what nobody owns is not tracked: {:?}", owners(&after));
}

async fn owner_references_are_owned_by_uid(scene: Scene) {
    let owner = scene.create("configmaps", &config_map("owner", &json!({}))).await.ok();
    let uid = owner["metadata"]["uid"].as_str().unwrap();
    let mut body = stated(&json!({}));
    body["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid }]);
    let after = scene.apply("one", "configmaps", "a", &body).await.ok();
    let key = format!("k:{{\"uid\":\"{uid}\"}}");
    assert_eq!(
        *fields_of(&after, "one", "Apply"),
        json!({ "f:data": {}, "f:metadata": { "f:ownerReferences": { key: {} } } })
    );
}

async fn a_field_given_up_while_shared_stays(scene: Scene) {
    scene.apply("one", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.ok();
    scene.apply("two", "configmaps", "a", &stated(&json!({ "x": "1" }))).await.ok();
    let after = scene.apply("one", "configmaps", "a", &stated(&json!({ "y": "1" }))).await.ok();
    assert_eq!(after["data"], json!({ "x": "1", "y": "1" }));
    let after = scene.apply("two", "configmaps", "a", &stated(&json!({ "z": "1" }))).await.ok();
    assert_eq!(after["data"], json!({ "y": "1", "z": "1" }));
}
