//! Custom resources: schemas, defaults, status, scale.

use serde_json::json;

use crate::cases;
use crate::scene::{MERGE, Scene, call, widget};

cases![
    defaults_are_filled_in,
    defaults_in_lists_are_filled_in,
    unknown_fields_are_pruned,
    free_parts_keep_unknown_fields,
    a_null_that_may_stand_stays,
    a_null_that_may_not_stand_becomes_the_default,
    a_wrong_type_is_named,
    a_value_out_of_range_is_named,
    a_value_that_is_none_of_the_allowed_is_named,
    a_pattern_is_checked,
    a_missing_field_is_named,
    several_faults_are_all_named,
    numbers_or_strings_may_be_either,
    maps_are_checked_by_value,
    items_with_the_same_key_are_refused,
    the_generation_counts_changes_of_intent,
    the_status_is_written_apart,
    the_status_can_be_replaced,
    the_status_is_checked_too,
    the_scale_can_be_read,
    the_scale_can_be_patched,
    a_definition_is_established,
    a_kind_goes_with_its_definition,
    an_old_value_is_refused_when_the_object_is_replaced,
];

async fn defaults_are_filled_in(scene: Scene) {
    assert_eq!(scene.create("widgets", &widget("a", &json!({}))).await.ok()["spec"], json!({ "weight": 10 }));
}

async fn defaults_in_lists_are_filled_in(scene: Scene) {
    let after = scene.create("widgets", &widget("a", &json!({ "parts": [{ "name": "x" }] }))).await.ok();
    assert_eq!(after["spec"]["parts"], json!([{ "name": "x", "size": 1 }]));
}

async fn unknown_fields_are_pruned(scene: Scene) {
    let answer = scene.create("widgets", &widget("a", &json!({ "bogus": 1, "weight": 1 }))).await;
    assert_eq!(answer.warnings, ["299 - \"unknown field \\\"spec.bogus\\\"\""]);
    assert_eq!(answer.body["spec"], json!({ "weight": 1 }));
}

async fn free_parts_keep_unknown_fields(scene: Scene) {
    let after = scene.create("widgets", &widget("a", &json!({ "free": { "x": { "y": [1, null] } } }))).await.ok();
    assert_eq!(after["spec"]["free"], json!({ "x": { "y": [1, null] } }));
}

async fn a_null_that_may_stand_stays(scene: Scene) {
    let after = scene.create("widgets", &widget("a", &json!({ "nothing": null }))).await.ok();
    assert_eq!(after["spec"], json!({ "nothing": null, "weight": 10 }));
}

async fn a_null_that_may_not_stand_becomes_the_default(scene: Scene) {
    let after = scene.create("widgets", &widget("a", &json!({ "weight": null }))).await.ok();
    assert_eq!(after["spec"], json!({ "weight": 10 }));
}

async fn a_wrong_type_is_named(scene: Scene) {
    let status = scene.create("widgets", &widget("a", &json!({ "weight": "x" }))).await.refused(422, "Invalid");
    assert_eq!(
        status["message"],
        "Widget.conformance.serin.app \"a\" is invalid: spec.weight: Invalid value: \"string\": spec.weight in body must be \
         of type integer: \"string\""
    );
    assert_eq!(status["details"]["causes"][0]["reason"], "FieldValueTypeInvalid");
    assert_eq!(status["details"]["causes"][0]["field"], "spec.weight");
    assert_eq!(
        (&status["details"]["kind"], &status["details"]["group"]),
        (&json!("Widget"), &json!("conformance.serin.app"))
    );
}

async fn a_value_out_of_range_is_named(scene: Scene) {
    let status = scene.create("widgets", &widget("a", &json!({ "weight": 101 }))).await.refused(422, "Invalid");
    assert_eq!(
        status["details"]["causes"],
        json!([{
            "reason": "FieldValueInvalid", "field": "spec.weight",
            "message": "Invalid value: 101: spec.weight in body should be less than or equal to 100",
        }])
    );
}

async fn a_value_that_is_none_of_the_allowed_is_named(scene: Scene) {
    let status = scene.create("widgets", &widget("a", &json!({ "mode": "medium" }))).await.refused(422, "Invalid");
    assert_eq!(
        status["details"]["causes"],
        json!([{
            "reason": "FieldValueNotSupported", "field": "spec.mode",
            "message": "Unsupported value: \"medium\": supported values: \"fast\", \"slow\"",
        }])
    );
}

async fn a_pattern_is_checked(scene: Scene) {
    let status = scene.create("widgets", &widget("a", &json!({ "name": "A1" }))).await.refused(422, "Invalid");
    let cause = &status["details"]["causes"][0];
    assert_eq!(cause["message"], "Invalid value: \"A1\": spec.name in body should match '^[a-z]+$'");
    let status = scene.create("widgets", &widget("a", &json!({ "name": "abcdef" }))).await.refused(422, "Invalid");
    let cause = &status["details"]["causes"][0];
    assert_eq!((&cause["reason"], &cause["field"]), (&json!("FieldValueTooLong"), &json!("spec.name")));
}

async fn a_missing_field_is_named(scene: Scene) {
    let body = json!({ "apiVersion": "conformance.serin.app/v1", "kind": "Widget", "metadata": { "name": "a" } });
    let status = scene.create("widgets", &body).await.refused(422, "Invalid");
    assert_eq!(
        status["details"]["causes"],
        json!([{ "reason": "FieldValueRequired", "message": "Required value", "field": "spec" }])
    );
}

async fn several_faults_are_all_named(scene: Scene) {
    let status =
        scene.create("widgets", &widget("a", &json!({ "weight": -1, "mode": "x" }))).await.refused(422, "Invalid");
    let mut fields: Vec<&str> =
        status["details"]["causes"].as_array().unwrap().iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    fields.sort();
    assert_eq!(fields, ["spec.mode", "spec.weight"]);
    assert!(status["message"].as_str().unwrap().contains("is invalid: [spec."), "{status}");
}

async fn numbers_or_strings_may_be_either(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({ "port": "http" }))).await.ok();
    scene.create("widgets", &widget("b", &json!({ "port": 80 }))).await.ok();
    scene.create("widgets", &widget("c", &json!({ "port": true }))).await.refused(422, "Invalid");
}

async fn maps_are_checked_by_value(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({ "labels": { "x": "y" } }))).await.ok();
    let status = scene.create("widgets", &widget("b", &json!({ "labels": { "x": 1 } }))).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "spec.labels.x");
}

async fn items_with_the_same_key_are_refused(scene: Scene) {
    let spec = json!({ "parts": [{ "name": "x" }, { "name": "x" }] });
    let status = scene.create("widgets", &widget("a", &spec)).await.refused(422, "Invalid");
    assert_eq!(
        status["details"]["causes"],
        json!([{
            "reason": "FieldValueDuplicate", "message": "Duplicate value: {\"name\":\"x\"}", "field": "spec.parts[1]",
        }])
    );
}

async fn the_generation_counts_changes_of_intent(scene: Scene) {
    let created = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    assert_eq!(created["metadata"]["generation"], 1);
    let labels = json!({ "metadata": { "labels": { "x": "y" } } });
    assert_eq!(scene.patch("widgets", "a", MERGE, &labels).await.ok()["metadata"]["generation"], 1);
    let status = json!({ "status": { "phase": "Fine" } });
    assert_eq!(scene.patch("widgets", "a/status", MERGE, &status).await.ok()["metadata"]["generation"], 1);
    let spec = json!({ "spec": { "weight": 3 } });
    assert_eq!(scene.patch("widgets", "a", MERGE, &spec).await.ok()["metadata"]["generation"], 2);
}

async fn the_status_is_written_apart(scene: Scene) {
    let mut body = widget("a", &json!({}));
    body["status"] = json!({ "phase": "Early" });
    assert!(scene.create("widgets", &body).await.ok().get("status").is_none());
    let both = json!({ "spec": { "weight": 50 }, "status": { "phase": "Fine" } });
    let after = scene.patch("widgets", "a/status", MERGE, &both).await.ok();
    assert_eq!((&after["spec"]["weight"], &after["status"]["phase"]), (&json!(10), &json!("Fine")));
    let other = json!({ "spec": { "weight": 60 }, "status": { "phase": "Other" } });
    let after = scene.patch("widgets", "a", MERGE, &other).await.ok();
    assert_eq!((&after["spec"]["weight"], &after["status"]["phase"]), (&json!(60), &json!("Fine")));
}

async fn the_status_can_be_replaced(scene: Scene) {
    let mut body = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    body["status"] = json!({ "phase": "One", "replicas": 2 });
    let mut body = scene.put("widgets", "a/status", &body).await.ok();
    body["status"] = json!({ "phase": "Two" });
    let after = scene.put("widgets", "a/status", &body).await.ok();
    assert_eq!(after["status"], json!({ "phase": "Two" }));
    scene.put("widgets", "a/status", &body).await.refused(409, "Conflict");
}

async fn the_status_is_checked_too(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.patch("widgets", "a/status", MERGE, &json!({ "status": { "phase": 1 } })).await.refused(422, "Invalid");
}

async fn the_scale_can_be_read(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({ "replicas": 3 }))).await.ok();
    let scale = scene.get("widgets", "a/scale").await.ok();
    assert_eq!((&scale["kind"], &scale["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["replicas"]), (&json!(3), &json!(0)));
}

async fn the_scale_can_be_patched(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({ "replicas": 3 }))).await.ok();
    let scale = scene.patch("widgets", "a/scale", MERGE, &json!({ "spec": { "replicas": 5 } })).await.ok();
    assert_eq!(scale["spec"]["replicas"], 5);
    let after = scene.get("widgets", "a").await.ok();
    assert_eq!((&after["spec"]["replicas"], &after["metadata"]["generation"]), (&json!(5), &json!(2)));
    scene.patch("widgets", "a/scale", MERGE, &json!({ "spec": { "replicas": -1 } })).await.refused(422, "Invalid");
}

async fn a_definition_is_established(scene: Scene) {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.conformance.serin.app";
    let found = scene.call("GET", path, "", None).await.ok();
    assert_eq!(found["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(found["spec"]["names"]["singular"], "widget");
    assert_eq!(found["spec"]["conversion"], json!({ "strategy": "None" }));
    assert_eq!(found["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(found["status"]["acceptedNames"]["kind"], "Widget");
}

async fn a_kind_goes_with_its_definition(scene: Scene) {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let group = format!("{}.serin.app", scene.namespace);
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("things.{group}") },
        "spec": {
            "group": group, "scope": "Cluster", "names": { "kind": "Thing", "plural": "things" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }],
        },
    });
    call(&scene.client, "POST", path, "application/json", Some(&definition)).await.ok();
    let things = format!("/apis/{group}/v1/things");
    let thing = json!({ "apiVersion": format!("{group}/v1"), "kind": "Thing", "metadata": { "name": "a" }, "free": 1 });
    scene
        .eventually("the kind is served", async || call(&scene.client, "GET", &things, "", None).await.code == 200)
        .await;
    let made = call(&scene.client, "POST", &things, "application/json", Some(&thing)).await.ok();
    assert_eq!(made["free"], 1);
    call(&scene.client, "DELETE", &format!("{path}/things.{group}"), "application/json", Some(&json!({}))).await.ok();
    scene
        .eventually("the kind is gone", async || call(&scene.client, "GET", &things, "", None).await.code == 404)
        .await;
}

async fn an_old_value_is_refused_when_the_object_is_replaced(scene: Scene) {
    let mut body = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    body["spec"]["mode"] = "bogus".into();
    scene.put("widgets", "a", &body).await.refused(422, "Invalid");
}
