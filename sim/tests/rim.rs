//! What can go wrong between a client and the cluster, and who is let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt};
use http::Request;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use sim::kinds::CONFIG_MAP;
use sim::{Attempt, Call, Cluster, Fault, Faults, ManualClock, RuntimeClock};

const PATH: &str = "/api/v1/namespaces/default/configmaps";

fn cluster() -> Cluster {
    Cluster::new(ManualClock::starting_at(jiff::Timestamp::UNIX_EPOCH))
}

fn config_map(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "default" }, "data": { "x": value } })
}

/// Status code and body, or what broke.
async fn call(client: &Client, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value), kube::Error> {
    let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let response = client.send(request.body(Body::from(bytes)).expect("a request")).await?;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await?;
    Ok((code, serde_json::from_slice(&bytes).unwrap_or_default()))
}

#[tokio::test]
async fn a_request_is_refused_as_told_and_nothing_is_done() {
    let cluster = cluster();
    let client = cluster.client_with(|call: &Call| match (call.verb.as_str(), call.number) {
        ("create", 1) => Fault::conflict(),
        ("create", 2) => Fault::too_many_requests(7),
        ("create", 3) => Fault::internal(),
        _ => Fault::Pass,
    });
    let body = config_map("a", "1");
    for (code, reason) in [(409, "Conflict"), (429, "TooManyRequests"), (500, "InternalError")] {
        let (got, status) = call(&client, "POST", PATH, Some(&body)).await.unwrap();
        assert_eq!((got, status["reason"].as_str().unwrap()), (code, reason));
        assert!(cluster.get(CONFIG_MAP, "default", "a").is_none());
    }
    assert_eq!(call(&client, "POST", PATH, Some(&body)).await.unwrap().0, 201);
}

#[tokio::test]
async fn a_connection_breaks_before_or_after_the_write() {
    struct Breaking(Arc<AtomicUsize>);
    impl Faults for Breaking {
        fn before(&self, call: &Call) -> Fault {
            if call.name == "a" { Fault::Unheard } else { Fault::Unanswered }
        }
        fn after(&self, _: &Call) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let cluster = cluster();
    cluster.create("me", config_map("a", "1")).unwrap();
    cluster.create("me", config_map("b", "1")).unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let client = cluster.client_with(Breaking(done.clone()));
    for name in ["a", "b"] {
        let answer = call(&client, "PUT", &format!("{PATH}/{name}"), Some(&config_map(name, "2"))).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    assert_eq!(cluster.get(CONFIG_MAP, "default", "a").unwrap()["data"]["x"], "1");
    assert_eq!(cluster.get(CONFIG_MAP, "default", "b").unwrap()["data"]["x"], "2");
    assert_eq!(done.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_stale_read_shows_what_was() {
    let cluster = cluster();
    cluster.create("me", config_map("a", "1")).unwrap();
    cluster.update("me", config_map("a", "2")).unwrap();
    let client = cluster.client_with(|_: &Call| Fault::Stale(1));
    let (_, list) = call(&client, "GET", &format!("{PATH}?fieldSelector=metadata.name%3Da"), None).await.unwrap();
    assert_eq!(list["items"][0]["data"]["x"], "1");
    assert_eq!(call(&client, "GET", &format!("{PATH}/a"), None).await.unwrap().1["data"]["x"], "1");
}

#[tokio::test]
async fn a_watch_breaks_after_so_many_events() {
    let cluster = cluster();
    let version = cluster.version();
    for name in ["a", "b", "c"] {
        cluster.create("me", config_map(name, "1")).unwrap();
    }
    let client = cluster.client_with(|_: &Call| Fault::Break(2));
    let request = Request::builder().uri(format!("{PATH}?watch=true&resourceVersion={version}")).body(vec![]).unwrap();
    assert_eq!(client.request_stream(request).await.unwrap().lines().count().await, 2);
}

#[tokio::test]
async fn a_watch_from_before_what_is_remembered_is_told_to_list_again() {
    let cluster = cluster();
    let version = cluster.version();
    cluster.create("me", config_map("a", "1")).unwrap();
    cluster.compact();
    let request = Request::builder().uri(format!("{PATH}?watch=true&resourceVersion={version}")).body(vec![]).unwrap();
    let mut lines = cluster.client().request_stream(request).await.unwrap().lines();
    let line: Value = serde_json::from_str(&lines.next().await.unwrap().unwrap()).unwrap();
    assert_eq!(
        (&line["type"], &line["object"]["code"], &line["object"]["reason"]),
        (&json!("ERROR"), &json!(410), &json!("Expired"))
    );
    assert!(lines.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_delay_and_the_clock_follow_the_time_of_the_runtime() {
    let cluster = Cluster::new(RuntimeClock::starting_at(jiff::Timestamp::UNIX_EPOCH));
    let client = cluster.client_with(|_: &Call| Fault::Delay(Duration::from_secs(90)));
    let (_, made) = call(&client, "POST", PATH, Some(&config_map("a", "1"))).await.unwrap();
    assert_eq!(made["metadata"]["creationTimestamp"], "1970-01-01T00:01:30Z");
}

#[tokio::test]
async fn a_rule_decides_who_may_do_what() {
    let cluster = cluster();
    cluster.authorize(|attempt: &Attempt| attempt.verb != "create" || attempt.resource != "configmaps");
    let client = cluster.client();
    let (code, status) = call(&client, "POST", PATH, Some(&config_map("a", "1"))).await.unwrap();
    assert_eq!((code, status["reason"].as_str().unwrap()), (403, "Forbidden"));
    assert_eq!(
        status["message"],
        "configmaps is forbidden: User \"admin\" cannot create resource \"configmaps\" in API group \"\" in the namespace \
         \"default\""
    );
    let question = json!({ "spec": { "resourceAttributes": { "verb": "create", "resource": "configmaps" } } });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(call(&client, "POST", path, Some(&question)).await.unwrap().1["status"]["allowed"], false);
    assert_eq!(call(&client, "GET", PATH, None).await.unwrap().0, 200);
}
