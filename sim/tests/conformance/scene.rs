//! A namespace, and requests in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{AsyncBufReadExt, StreamExt};
use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// The namespace of one case.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.code < 300, "{self:?}");
        self.body
    }

    #[track_caller]
    pub(crate) fn refused(self, code: u16, reason: &str) -> Value {
        assert_eq!((self.code, self.body["reason"].as_str().unwrap_or_default()), (code, reason), "{:?}", self.body);
        self.body
    }
}

pub(crate) const JSON: &str = "application/json-patch+json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

pub(crate) async fn call(
    client: &Client,
    method: &str,
    path: &str,
    content_type: &str,
    body: Option<&Value>,
) -> Answer {
    call_with(client, method, path, &[("content-type", content_type), ("accept", "application/json")], body).await
}

pub(crate) async fn call_with(
    client: &Client,
    method: &str,
    path: &str,
    headers: &[(&'static str, &str)],
    body: Option<&Value>,
) -> Answer {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let response = client.send(request.body(Body::from(bytes)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect_bytes().await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
    let warnings = parts.headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
    Answer { code: parts.status.as_u16(), body, warnings }
}

impl Scene {
    pub(crate) async fn new(client: Client) -> Scene {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("conformance-{}-{number}", std::process::id());
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
        call(&client, "POST", "/api/v1/namespaces", "application/json", Some(&body)).await.ok();
        Scene { client, namespace }
    }

    /// The collection of a kind in this namespace.
    pub(crate) fn path(&self, plural: &str) -> String {
        let start = match plural {
            "deployments" | "daemonsets" | "replicasets" | "statefulsets" => "/apis/apps/v1",
            "widgets" => "/apis/conformance.serin.app/v1",
            "leases" => "/apis/coordination.k8s.io/v1",
            "ingresses" => "/apis/networking.k8s.io/v1",
            "horizontalpodautoscalers" => "/apis/autoscaling/v2",
            "newerevents" => return format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace),
            _ => "/api/v1",
        };
        format!("{start}/namespaces/{}/{plural}", self.namespace)
    }

    pub(crate) async fn call(&self, method: &str, path: &str, content_type: &str, body: Option<&Value>) -> Answer {
        call(&self.client, method, path, content_type, body).await
    }

    pub(crate) async fn create(&self, plural: &str, body: &Value) -> Answer {
        self.create_by("tester", plural, body).await
    }

    pub(crate) async fn create_by(&self, manager: &str, plural: &str, body: &Value) -> Answer {
        let path = format!("{}?fieldManager={manager}", self.path(plural));
        self.call("POST", &path, "application/json", Some(body)).await
    }

    pub(crate) async fn get(&self, plural: &str, name: &str) -> Answer {
        self.call("GET", &format!("{}/{name}", self.path(plural)), "", None).await
    }

    pub(crate) async fn put(&self, plural: &str, name: &str, body: &Value) -> Answer {
        let path = format!("{}/{name}?fieldManager=tester", self.path(plural));
        self.call("PUT", &path, "application/json", Some(body)).await
    }

    /// Name may end in a subresource.
    pub(crate) async fn patch(&self, plural: &str, name: &str, content_type: &str, body: &Value) -> Answer {
        let path = format!("{}/{name}?fieldManager=tester", self.path(plural));
        self.call("PATCH", &path, content_type, Some(body)).await
    }

    pub(crate) async fn apply(&self, manager: &str, plural: &str, name: &str, body: &Value) -> Answer {
        let path = format!("{}/{name}?fieldManager={manager}", self.path(plural));
        self.call("PATCH", &path, APPLY, Some(body)).await
    }

    pub(crate) async fn force(&self, manager: &str, plural: &str, name: &str, body: &Value) -> Answer {
        let path = format!("{}/{name}?fieldManager={manager}&force=true", self.path(plural));
        self.call("PATCH", &path, APPLY, Some(body)).await
    }

    pub(crate) async fn delete(&self, plural: &str, name: &str, options: &Value) -> Answer {
        self.call("DELETE", &format!("{}/{name}", self.path(plural)), "application/json", Some(options)).await
    }

    pub(crate) async fn list(&self, plural: &str, query: &str) -> Answer {
        self.call("GET", &format!("{}?{query}", self.path(plural)), "", None).await
    }

    pub(crate) async fn names(&self, plural: &str, query: &str) -> Vec<String> {
        let list = self.list(plural, query).await.ok();
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    /// So many lines of a watch.
    pub(crate) async fn watch(&self, plural: &str, query: &str, lines: usize) -> Vec<Value> {
        let path = format!("{}?watch=true&{query}", self.path(plural));
        self.lines(&path, "application/json", lines).await
    }

    /// So many lines of an answer, or fewer when it ends.
    pub(crate) async fn lines(&self, path: &str, accept: &str, lines: usize) -> Vec<Value> {
        let request = Request::builder().uri(path).header("accept", accept).body(vec![]).unwrap();
        let stream = self.client.request_stream(request).await.unwrap().lines();
        let read = stream.take(lines).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("the watch tells enough")
    }

    /// Waits until an object is gone.
    pub(crate) async fn gone(&self, plural: &str, name: &str) {
        self.eventually(&format!("{plural}/{name} is gone"), async || self.get(plural, name).await.code == 404).await;
    }

    /// Waits until something holds.
    pub(crate) async fn eventually(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds().await {
            assert!(Instant::now() < deadline, "not within a minute: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) fn config_map(name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

pub(crate) fn widget(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "conformance.serin.app/v1", "kind": "Widget", "metadata": { "name": name }, "spec": spec })
}

pub(crate) fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "replicas": 0, "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "app", "image": "local/app:1", "ports": [{ "containerPort": 80 }] }] },
            },
        },
    })
}

pub(crate) fn service(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
        "spec": { "selector": { "app": name }, "ports": [{ "name": "http", "port": 80 }] } })
}

/// Who owns fields, as `manager operation [subresource]`.
pub(crate) fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let mut owners: Vec<String> = entries
        .iter()
        .map(|entry| {
            let text = |field: &str| entry[field].as_str().unwrap_or_default();
            format!("{} {} {}", text("manager"), text("operation"), text("subresource")).trim().to_owned()
        })
        .collect();
    owners.sort();
    owners
}

pub(crate) fn fields_of<'a>(object: &'a Value, manager: &str, operation: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().expect("owners");
    let entry = entries.iter().find(|entry| entry["manager"] == manager && entry["operation"] == operation);
    &entry.unwrap_or_else(|| panic!("{manager} owns nothing: {entries:?}"))["fieldsV1"]
}

pub(crate) async fn delete_namespace(client: &Client, namespace: &str) {
    let path = format!("/api/v1/namespaces/{namespace}");
    call(client, "DELETE", &path, "application/json", Some(&json!({}))).await;
}

pub(crate) async fn install_widgets(client: &Client) {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let widgets: Value = serde_saphyr::from_str(include_str!("widgets.yaml")).expect("YAML");
    let answer = call(client, "POST", path, "application/json", Some(&widgets)).await;
    assert!(answer.code == 201 || answer.code == 409, "{answer:?}");
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found = call(client, "GET", &format!("{path}/widgets.conformance.serin.app"), "", None).await.ok();
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let established = |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
        let served = call(client, "GET", "/apis/conformance.serin.app/v1/widgets", "", None).await.code == 200;
        if conditions.iter().any(established) && served {
            return;
        }
        assert!(Instant::now() < deadline, "the kind is not served: {found}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
