//! Delete: preconditions, finalizers, dependents, collections, namespaces.

use serde_json::{Value, json};

use crate::cases;
use crate::scene::{JSON, MERGE, Scene, config_map, widget};

cases![
    delete_answers_with_success,
    delete_of_nothing_is_not_found,
    delete_with_another_uid_conflicts,
    delete_with_the_uid_passes,
    delete_with_an_old_version_conflicts,
    delete_dry_run_changes_nothing,
    delete_waits_for_finalizers,
    finalizers_cannot_be_added_to_what_is_deleted,
    dependents_go_in_the_background,
    dependents_stay_when_orphaned,
    owners_wait_for_dependents_in_the_foreground,
    a_dependent_with_another_owner_stays,
    an_object_of_an_owner_that_never_was_goes,
    a_collection_is_deleted_by_label,
    a_bad_propagation_policy_is_refused,
    a_namespace_empties,
    what_is_deleted_counts_a_generation,
];

fn owned(name: &str, owners: &[&Value], blocking: bool) -> Value {
    let mut body = config_map(name, &json!({}));
    let references = owners.iter().map(|owner| {
        json!({ "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "blockOwnerDeletion": blocking })
    });
    body["metadata"]["ownerReferences"] = references.collect();
    body
}

async fn delete_answers_with_success(scene: Scene) {
    let made = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    let answer = scene.delete("widgets", "a", &json!({})).await;
    assert_eq!((answer.code, &answer.body["status"]), (200, &json!("Success")));
    let details =
        json!({ "name": "a", "group": "conformance.serin.app", "kind": "widgets", "uid": made["metadata"]["uid"] });
    assert_eq!(answer.body["details"], details);
    scene.get("widgets", "a").await.refused(404, "NotFound");
}

async fn delete_of_nothing_is_not_found(scene: Scene) {
    scene.delete("widgets", "a", &json!({})).await.refused(404, "NotFound");
}

async fn delete_with_another_uid_conflicts(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    let options = json!({ "preconditions": { "uid": "00000000-0000-4000-8000-000000000000" } });
    let status = scene.delete("widgets", "a", &options).await.refused(409, "Conflict");
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains(" on Widget.conformance.serin.app \"a\": the UID in the precondition ("),
        "{status}"
    );
}

async fn delete_with_the_uid_passes(scene: Scene) {
    let made = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": { "uid": made["metadata"]["uid"] } });
    scene.delete("widgets", "a", &options).await.ok();
}

async fn delete_with_an_old_version_conflicts(scene: Scene) {
    let made = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.patch("widgets", "a", MERGE, &json!({ "spec": { "weight": 1 } })).await.ok();
    let options = json!({ "preconditions": { "resourceVersion": made["metadata"]["resourceVersion"] } });
    scene.delete("widgets", "a", &options).await.refused(409, "Conflict");
}

async fn delete_dry_run_changes_nothing(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.delete("widgets", "a", &json!({ "dryRun": ["All"] })).await.ok();
    scene.get("widgets", "a").await.ok();
}

async fn delete_waits_for_finalizers(scene: Scene) {
    let mut body = widget("a", &json!({}));
    body["metadata"]["finalizers"] = json!(["serin.app/test"]);
    scene.create("widgets", &body).await.ok();
    let answer = scene.delete("widgets", "a", &json!({})).await.ok();
    assert_eq!(answer["kind"], "Widget");
    assert!(answer["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(answer["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = scene.delete("widgets", "a", &json!({})).await.ok();
    assert_eq!(again["metadata"]["resourceVersion"], answer["metadata"]["resourceVersion"]);
    scene.patch("widgets", "a", MERGE, &json!({ "metadata": { "finalizers": null } })).await.ok();
    scene.get("widgets", "a").await.refused(404, "NotFound");
}

async fn finalizers_cannot_be_added_to_what_is_deleted(scene: Scene) {
    let mut body = widget("a", &json!({}));
    body["metadata"]["finalizers"] = json!(["serin.app/test"]);
    scene.create("widgets", &body).await.ok();
    scene.delete("widgets", "a", &json!({})).await.ok();
    let patch = json!([{ "op": "add", "path": "/metadata/finalizers/-", "value": "serin.app/other" }]);
    let status = scene.patch("widgets", "a", JSON, &patch).await.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.finalizers");
    scene.patch("widgets", "a", MERGE, &json!({ "metadata": { "finalizers": null } })).await.ok();
}

async fn dependents_go_in_the_background(scene: Scene) {
    let owner = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.create("configmaps", &owned("b", &[&owner], true)).await.ok();
    scene.delete("widgets", "a", &json!({ "propagationPolicy": "Background" })).await.ok();
    scene.gone("widgets", "a").await;
    scene.gone("configmaps", "b").await;
}

async fn dependents_stay_when_orphaned(scene: Scene) {
    let owner = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.create("configmaps", &owned("b", &[&owner], true)).await.ok();
    scene.delete("widgets", "a", &json!({ "propagationPolicy": "Orphan" })).await.ok();
    scene.gone("widgets", "a").await;
    let left = scene.get("configmaps", "b").await.ok();
    assert!(left["metadata"].get("ownerReferences").is_none(), "{left}");
}

async fn owners_wait_for_dependents_in_the_foreground(scene: Scene) {
    let owner = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    let mut dependent = owned("b", &[&owner], true);
    dependent["metadata"]["finalizers"] = json!(["serin.app/test"]);
    scene.create("configmaps", &dependent).await.ok();
    scene.delete("widgets", "a", &json!({ "propagationPolicy": "Foreground" })).await.ok();
    scene
        .eventually("the dependent is being deleted", async || {
            scene.get("configmaps", "b").await.ok()["metadata"]["deletionTimestamp"].is_string()
        })
        .await;
    let waiting = scene.get("widgets", "a").await.ok();
    assert_eq!(waiting["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    scene.patch("configmaps", "b", MERGE, &json!({ "metadata": { "finalizers": null } })).await.ok();
    scene.gone("configmaps", "b").await;
    scene.gone("widgets", "a").await;
}

async fn a_dependent_with_another_owner_stays(scene: Scene) {
    let first = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    let second = scene.create("widgets", &widget("b", &json!({}))).await.ok();
    scene.create("configmaps", &owned("c", &[&first, &second], false)).await.ok();
    scene.delete("widgets", "a", &json!({ "propagationPolicy": "Background" })).await.ok();
    scene
        .eventually("one owner is left", async || {
            let left = scene.get("configmaps", "c").await.ok();
            left["metadata"]["ownerReferences"].as_array().is_some_and(|owners| owners.len() == 1)
        })
        .await;
}

async fn an_object_of_an_owner_that_never_was_goes(scene: Scene) {
    let mut owner = widget("never", &json!({}));
    owner["metadata"]["uid"] = "00000000-0000-4000-8000-000000000000".into();
    scene.create("configmaps", &owned("b", &[&owner], false)).await.ok();
    scene.gone("configmaps", "b").await;
}

async fn a_collection_is_deleted_by_label(scene: Scene) {
    for name in ["a", "b", "c"] {
        let mut body = widget(name, &json!({}));
        body["metadata"]["labels"] = json!({ "go": if name == "c" { "no" } else { "yes" } });
        scene.create("widgets", &body).await.ok();
    }
    let path = format!("{}?labelSelector=go%3Dyes", scene.path("widgets"));
    let answer = scene.call("DELETE", &path, "application/json", Some(&json!({}))).await.ok();
    assert_eq!(answer["kind"], "WidgetList");
    assert_eq!(scene.names("widgets", "").await, ["c"]);
}

async fn a_bad_propagation_policy_is_refused(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.delete("widgets", "a", &json!({ "propagationPolicy": "Bogus" })).await.refused(422, "Invalid");
}

async fn a_namespace_empties(scene: Scene) {
    let namespace = format!("{}-x", scene.namespace);
    let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    scene.call("POST", "/api/v1/namespaces", "application/json", Some(&body)).await.ok();
    let inside = Scene { namespace: namespace.clone(), ..scene.clone() };
    inside.create("widgets", &widget("a", &json!({}))).await.ok();
    let path = format!("/api/v1/namespaces/{namespace}");
    scene.call("DELETE", &path, "application/json", Some(&json!({}))).await.ok();
    scene.eventually("the namespace is gone", async || scene.call("GET", &path, "", None).await.code == 404).await;
    inside.get("widgets", "a").await.refused(404, "NotFound");
}

async fn what_is_deleted_counts_a_generation(scene: Scene) {
    let mut body = widget("a", &json!({}));
    body["metadata"]["finalizers"] = json!(["serin.app/test"]);
    scene.create("widgets", &body).await.ok();
    let answer = scene.delete("widgets", "a", &json!({})).await.ok();
    assert_eq!(answer["metadata"]["generation"], 2);
    scene.patch("widgets", "a", MERGE, &json!({ "metadata": { "finalizers": null } })).await.ok();
}
