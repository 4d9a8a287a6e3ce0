//! What the API says about itself, and questions about rights.

use serde_json::{Value, json};

use crate::cases;
use crate::scene::{Scene, call_with};

cases![
    it_has_a_version,
    it_is_ready,
    groups_are_listed,
    kinds_of_a_group_are_listed,
    kinds_are_listed_at_once,
    custom_kinds_are_listed,
    schemas_are_published,
    rights_can_be_asked_for,
    identity_can_be_asked_for,
];

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

fn named<'a>(list: &'a Value, field: &str, name: &str) -> &'a Value {
    let found = list.as_array().expect("a list").iter().find(|item| item[field] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list}"))
}

async fn it_has_a_version(scene: Scene) {
    let version = scene.call("GET", "/version", "", None).await.ok();
    assert_eq!(version["major"], "1");
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1."));
}

async fn it_is_ready(scene: Scene) {
    for path in ["/healthz", "/readyz", "/livez"] {
        assert_eq!(scene.call("GET", path, "", None).await.ok(), "ok");
    }
}

async fn groups_are_listed(scene: Scene) {
    let list = scene.call("GET", "/apis", "", None).await.ok();
    assert_eq!(list["kind"], "APIGroupList");
    let apps = named(&list["groups"], "name", "apps");
    assert_eq!(apps["preferredVersion"], json!({ "groupVersion": "apps/v1", "version": "v1" }));
    let core = scene.call("GET", "/api", "", None).await.ok();
    assert_eq!((&core["kind"], &core["versions"]), (&json!("APIVersions"), &json!(["v1"])));
}

async fn kinds_of_a_group_are_listed(scene: Scene) {
    let list = scene.call("GET", "/apis/apps/v1", "", None).await.ok();
    assert_eq!((&list["kind"], &list["groupVersion"]), (&json!("APIResourceList"), &json!("apps/v1")));
    let deployments = named(&list["resources"], "name", "deployments");
    assert_eq!(deployments["shortNames"], json!(["deploy"]));
    assert_eq!((&deployments["namespaced"], &deployments["singularName"]), (&json!(true), &json!("deployment")));
    let scale = named(&list["resources"], "name", "deployments/scale");
    assert_eq!((&scale["kind"], &scale["group"]), (&json!("Scale"), &json!("autoscaling")));
    assert_eq!(scene.call("GET", "/apis/apps/v9", "", None).await.code, 404);
}

async fn kinds_are_listed_at_once(scene: Scene) {
    let list = call_with(&scene.client, "GET", "/apis", &[("accept", AGGREGATED)], None).await.ok();
    assert_eq!(list["kind"], "APIGroupDiscoveryList");
    let apps = list["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "apps").unwrap();
    let deployments = named(&apps["versions"][0]["resources"], "resource", "deployments");
    assert_eq!(deployments["responseKind"], json!({ "group": "", "version": "", "kind": "Deployment" }));
    assert_eq!(deployments["scope"], "Namespaced");
    let core = call_with(&scene.client, "GET", "/api", &[("accept", AGGREGATED)], None).await.ok();
    named(&core["items"][0]["versions"][0]["resources"], "resource", "pods");
}

async fn custom_kinds_are_listed(scene: Scene) {
    let list = scene.call("GET", "/apis/conformance.serin.app/v1", "", None).await.ok();
    let widgets = named(&list["resources"], "name", "widgets");
    assert_eq!((&widgets["shortNames"], &widgets["categories"]), (&json!(["wd"]), &json!(["all"])));
    named(&list["resources"], "name", "widgets/status");
}

async fn schemas_are_published(scene: Scene) {
    let index = scene.call("GET", "/openapi/v3", "", None).await.ok();
    let address = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let document = scene.call("GET", address, "", None).await.ok();
    let schema = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(schema["x-kubernetes-group-version-kind"][0]["kind"], "Deployment");
    let path = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    assert_eq!(path["patch"]["x-kubernetes-group-version-kind"]["kind"], "Deployment");
}

async fn rights_can_be_asked_for(scene: Scene) {
    let question = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": { "verb": "create", "group": "apps", "resource": "deployments" } },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = scene.call("POST", path, "application/json", Some(&question)).await;
    assert_eq!((answer.code, &answer.body["status"]["allowed"]), (201, &json!(true)));
}

async fn identity_can_be_asked_for(scene: Scene) {
    let question = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = scene.call("POST", path, "application/json", Some(&question)).await.ok();
    assert_eq!(answer["status"]["userInfo"]["username"], "admin");
}
