use serde_json::{Value, json};

use super::*;
use crate::schema::builtin;

fn deployment() -> std::sync::Arc<Schema> {
    builtin::schema(builtin::definition("apps", "v1", "Deployment"))
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { manager, api_version: "apps/v1", subresource: "" }
}

fn config(image: &str, replicas: Option<u32>) -> Value {
    let mut config = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "labels": { "a": "b" } },
        "spec": { "template": { "spec": { "containers": [
            { "name": "web", "image": image, "ports": [{ "containerPort": 80 }] },
        ] } } },
    });
    if let Some(replicas) = replicas {
        config["spec"]["replicas"] = replicas.into();
    }
    config
}

#[test]
fn an_applied_object_is_owned_by_field_key_and_item() {
    let merged = apply(&deployment(), None, &config("a", Some(2)), &writer("me"), false, "t").unwrap();
    let expected = json!([{
        "manager": "me", "operation": "Apply", "apiVersion": "apps/v1", "time": "t", "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": { "f:labels": { "f:a": {} } },
            "f:spec": { "f:replicas": {}, "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": {
                ".": {}, "f:name": {}, "f:image": {},
                "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} } },
            } } } } },
        },
    }]);
    assert_eq!(merged["metadata"]["managedFields"], expected);
}

#[test]
fn what_is_no_longer_stated_goes_and_what_others_own_stays() {
    let schema = deployment();
    let first = apply(&schema, None, &config("a", Some(2)), &writer("me"), false, "1").unwrap();
    let mut second = first.clone();
    second["spec"]["template"]["spec"]["containers"][0]["stdin"] = true.into();
    track(&schema, Some(&first), &mut second, &writer("kubectl"), "2");
    let stripped = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": {} });
    let third = apply(&schema, Some(&second), &stripped, &writer("me"), false, "3").unwrap();
    assert_eq!(third["spec"], json!({ "template": { "spec": { "containers": [{ "stdin": true }] } } }));
    assert_eq!(third["metadata"]["managedFields"].as_array().unwrap().len(), 1);
    assert!(third["metadata"].get("labels").is_none());
}

#[test]
fn a_field_of_another_is_a_conflict_unless_forced() {
    let schema = deployment();
    let first = apply(&schema, None, &config("a", Some(2)), &writer("me"), false, "1").unwrap();
    let mut scaled = first.clone();
    scaled["spec"]["replicas"] = 5.into();
    track(&schema, Some(&first), &mut scaled, &Writer { subresource: "scale", ..writer("hpa") }, "2");
    let refused = apply(&schema, Some(&scaled), &config("b", Some(3)), &writer("me"), false, "3").unwrap_err();
    assert_eq!(
        refused.message,
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    assert_eq!(refused.details["causes"][0]["field"], ".spec.replicas");
    let forced = apply(&schema, Some(&scaled), &config("b", Some(3)), &writer("me"), true, "3").unwrap();
    assert_eq!(forced["spec"]["replicas"], 3);
    assert_eq!(forced["metadata"]["managedFields"].as_array().unwrap().len(), 1);
    // The same value is shared, not fought over.
    let shared = apply(&schema, Some(&scaled), &config("b", Some(5)), &writer("me"), false, "3").unwrap();
    assert_eq!(shared["metadata"]["managedFields"].as_array().unwrap().len(), 2);
}

#[test]
fn conflicts_of_several_fields_are_listed() {
    let schema = deployment();
    let first = apply(&schema, None, &config("a", Some(2)), &writer("me"), false, "1").unwrap();
    let refused = apply(&schema, Some(&first), &config("b", Some(3)), &writer("you"), false, "3").unwrap_err();
    assert_eq!(
        refused.message,
        "Apply failed with 2 conflicts: conflicts with \"me\":\n- .spec.replicas\n- \
         .spec.template.spec.containers[name=\"web\"].image"
    );
}
