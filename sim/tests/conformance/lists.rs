//! Lists: selectors, pages, versions, forms.

use serde_json::{Value, json};

use crate::cases;
use crate::scene::{Scene, call_with, config_map, deployment, service, widget};

cases![
    a_list_has_a_version_and_items_without_kind,
    items_of_a_custom_kind_say_what_they_are,
    labels_select,
    sets_of_labels_select,
    a_bad_label_selector_is_refused,
    names_select,
    fields_of_events_select,
    types_of_secrets_select_with_negation,
    an_unknown_field_selector_is_refused,
    pages_go_on_and_stay_consistent,
    a_bad_token_is_refused,
    an_exact_version_is_listed,
    all_namespaces_are_listed,
    a_list_of_metadata,
    an_object_as_metadata,
    a_table_of_deployments,
    a_table_of_services,
    a_table_of_a_custom_kind,
    a_table_of_events_tells_the_object,
];

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const METADATA: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json";
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json";

async fn three(scene: &Scene) {
    for (name, labels) in [("a", json!({ "app": "web" })), ("b", json!({ "app": "api" })), ("c", json!({ "x": "y" }))] {
        let mut body = config_map(name, &json!({}));
        body["metadata"]["labels"] = labels;
        scene.create("configmaps", &body).await.ok();
    }
}

fn event(scene: &Scene, name: &str, reason: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": name }, "reason": reason, "message": "m", "type": "Normal",
        "involvedObject": { "kind": "Widget", "name": "w", "namespace": scene.namespace },
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
        "source": { "component": "tester" },
    })
}

async fn table(scene: &Scene, plural: &str, query: &str) -> Value {
    let path = format!("{}?{query}", scene.path(plural));
    call_with(&scene.client, "GET", &path, &[("accept", TABLE)], None).await.ok()
}

fn column_names(table: &Value) -> Vec<&str> {
    let columns = table["columnDefinitions"].as_array().expect("columns").iter();
    columns.map(|column| column["name"].as_str().expect("a name")).collect()
}

async fn a_list_has_a_version_and_items_without_kind(scene: Scene) {
    three(&scene).await;
    let list = scene.list("configmaps", "labelSelector=x%3Dy").await.ok();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("ConfigMapList"), &json!("v1")));
    assert!(list["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert!(list["items"][0].get("kind").is_none());
}

async fn items_of_a_custom_kind_say_what_they_are(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({}))).await.ok();
    let list = scene.list("widgets", "").await.ok();
    assert_eq!(list["kind"], "WidgetList");
    assert_eq!(list["items"][0]["kind"], "Widget");
}

async fn labels_select(scene: Scene) {
    three(&scene).await;
    assert_eq!(scene.names("configmaps", "labelSelector=app%3Dweb").await, ["a"]);
    assert_eq!(scene.names("configmaps", "labelSelector=app%21%3Dweb,x").await, ["c"]);
}

async fn sets_of_labels_select(scene: Scene) {
    three(&scene).await;
    assert_eq!(scene.names("configmaps", "labelSelector=app+in+%28web,api%29").await, ["a", "b"]);
    assert_eq!(scene.names("configmaps", "labelSelector=app+notin+%28web%29,app").await, ["b"]);
    assert_eq!(scene.names("configmaps", "labelSelector=%21app,x").await, ["c"]);
}

async fn a_bad_label_selector_is_refused(scene: Scene) {
    let status = scene.list("configmaps", "labelSelector=a+b").await.refused(400, "BadRequest");
    assert!(status["message"].as_str().unwrap().starts_with("unable to parse requirement: "), "{status}");
}

async fn names_select(scene: Scene) {
    three(&scene).await;
    assert_eq!(scene.names("configmaps", "fieldSelector=metadata.name%3Db").await, ["b"]);
}

async fn fields_of_events_select(scene: Scene) {
    scene.create("events", &event(&scene, "a", "One")).await.ok();
    scene.create("events", &event(&scene, "b", "Two")).await.ok();
    assert_eq!(scene.names("events", "fieldSelector=involvedObject.name%3Dw,reason%3DTwo").await, ["b"]);
    assert_eq!(scene.names("newerevents", "fieldSelector=regarding.name%3Dw,reason%3DOne").await, ["a"]);
}

async fn types_of_secrets_select_with_negation(scene: Scene) {
    for (name, kind) in [("a", "Opaque"), ("b", "helm.sh/release.v1")] {
        let body = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "type": kind });
        scene.create("secrets", &body).await.ok();
    }
    let query = "fieldSelector=type%21%3Dhelm.sh%2Frelease.v1,type%21%3Dkubernetes.io%2Fservice-account-token";
    assert_eq!(scene.names("secrets", query).await, ["a"]);
}

async fn an_unknown_field_selector_is_refused(scene: Scene) {
    let status = scene.list("pods", "fieldSelector=foo%3Dbar").await.refused(400, "BadRequest");
    assert_eq!(status["message"], "field label not supported: foo");
}

async fn pages_go_on_and_stay_consistent(scene: Scene) {
    for index in 0..5 {
        scene.create("widgets", &widget(&format!("w{index}"), &json!({}))).await.ok();
    }
    let first = scene.list("widgets", "limit=2").await.ok();
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    scene.create("widgets", &widget("w3a", &json!({}))).await.ok();
    scene.delete("widgets", "w4", &json!({})).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = scene.list("widgets", &format!("limit=9&continue={token}")).await.ok();
    let items = second["items"].as_array().unwrap().iter();
    let names: Vec<&str> = items.map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["w2", "w3", "w4"]);
    assert!(second["metadata"]["continue"].as_str().unwrap_or_default().is_empty());
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
}

async fn a_bad_token_is_refused(scene: Scene) {
    scene.list("widgets", "limit=1&continue=bogus").await.refused(400, "BadRequest");
}

async fn an_exact_version_is_listed(scene: Scene) {
    let first = scene.create("widgets", &widget("a", &json!({}))).await.ok();
    scene.create("widgets", &widget("b", &json!({}))).await.ok();
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let query = format!("resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(scene.names("widgets", &query).await, ["a"]);
}

async fn all_namespaces_are_listed(scene: Scene) {
    scene.create("widgets", &widget("mine", &json!({}))).await.ok();
    let list = scene.call("GET", "/apis/conformance.serin.app/v1/widgets", "", None).await.ok();
    let mine = |item: &&Value| item["metadata"]["namespace"] == scene.namespace.as_str();
    assert_eq!(list["items"].as_array().unwrap().iter().filter(mine).count(), 1);
}

async fn a_list_of_metadata(scene: Scene) {
    three(&scene).await;
    let answer =
        call_with(&scene.client, "GET", &scene.path("configmaps"), &[("accept", METADATA_LIST)], None).await.ok();
    assert_eq!(answer["kind"], "PartialObjectMetadataList");
    let item = &answer["items"][0];
    assert_eq!(item["kind"], "PartialObjectMetadata");
    assert!(item.get("data").is_none());
}

async fn an_object_as_metadata(scene: Scene) {
    three(&scene).await;
    let path = format!("{}/a", scene.path("configmaps"));
    let answer = call_with(&scene.client, "GET", &path, &[("accept", METADATA)], None).await.ok();
    assert_eq!((&answer["kind"], &answer["metadata"]["name"]), (&json!("PartialObjectMetadata"), &json!("a")));
}

async fn a_table_of_deployments(scene: Scene) {
    scene.create("deployments", &deployment("web")).await.ok();
    let table = table(&scene, "deployments", "").await;
    assert_eq!(table["kind"], "Table");
    assert_eq!(
        column_names(&table),
        ["Name", "Ready", "Up-to-date", "Available", "Age", "Containers", "Images", "Selector"]
    );
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..4], [json!("web"), json!("0/0"), json!(0), json!(0)]);
    assert_eq!(cells[5..], [json!("app"), json!("local/app:1"), json!("app=web")]);
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}

async fn a_table_of_services(scene: Scene) {
    scene.create("services", &service("web")).await.ok();
    let table = table(&scene, "services", "includeObject=Object").await;
    assert_eq!(column_names(&table), ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector"]);
    let row = &table["rows"][0];
    assert_eq!(row["cells"][1], "ClusterIP");
    assert_eq!(row["cells"][2], row["object"]["spec"]["clusterIP"]);
    assert_eq!(
        (&row["cells"][3], &row["cells"][4], &row["cells"][6]),
        (&json!("<none>"), &json!("80/TCP"), &json!("app=web"))
    );
}

async fn a_table_of_a_custom_kind(scene: Scene) {
    scene.create("widgets", &widget("a", &json!({ "weight": 7 }))).await.ok();
    let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    scene.patch("widgets", "a/status", crate::scene::MERGE, &status).await.ok();
    let table = table(&scene, "widgets", "includeObject=None").await;
    assert_eq!(column_names(&table), ["Name", "Weight", "Ready"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", 7, "True"]));
    assert!(table["rows"][0]["object"].is_null());
}

async fn a_table_of_events_tells_the_object(scene: Scene) {
    scene.create("events", &event(&scene, "a", "One")).await.ok();
    let table = table(&scene, "events", "").await;
    let names = column_names(&table);
    let cell = |name: &str| &table["rows"][0]["cells"][names.iter().position(|one| *one == name).unwrap()];
    assert_eq!((cell("Type"), cell("Reason"), cell("Object")), (&json!("Normal"), &json!("One"), &json!("widget/w")));
}
