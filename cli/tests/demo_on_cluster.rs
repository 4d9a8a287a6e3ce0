//! `serin demo --context` as it is started, against a cluster over HTTP: a simulated one, with what answers in the place of its
//! pods.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sim::controllers::{Controllers, WellBehaved, make_nodes};
use sim::{Cluster, Kind, SystemClock};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const NAMESPACE: Kind<'static> = Kind { group: "", kind: "Namespace" };
const DEPLOYMENT: Kind<'static> = Kind { group: "apps", kind: "Deployment" };
const DEFINITION: Kind<'static> = Kind { group: "apiextensions.k8s.io", kind: "CustomResourceDefinition" };

#[derive(Clone)]
struct Pods {
    cluster: Cluster,
    /// The proxy of the API server reaches them.
    reached: bool,
    asked: Arc<AtomicUsize>,
}

/// The API of the cluster, with the answers of its pods.
async fn api(State(pods): State<Pods>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if path.contains("/proxy/") {
        let of_primary = path.contains("podinfo-primary");
        let name = if of_primary { "podinfo-primary" } else { "podinfo" };
        let env = "/spec/template/spec/containers/0/env/1/value";
        let workload = pods.cluster.get(DEPLOYMENT, "serin-demo", name);
        let broken = workload.is_some_and(|found| found.pointer(env) == Some(&Value::from("true")));
        let every_third = pods.asked.fetch_add(1, Ordering::Relaxed) % 3 == 0;
        return match (pods.reached, broken && every_third) {
            (true, false) => "{}".into_response(),
            (true, true) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            (false, _) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        };
    }
    if path.ends_with("/pods/users/log") {
        return "200 first release\n200 second release\n500 \n".into_response();
    }
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 22).await.expect("a body");
    let request = http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    match pods.cluster.client().send(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(why) => (StatusCode::BAD_GATEWAY, why.to_string()).into_response(),
    }
}

struct Stage {
    cluster: Cluster,
    folder: tempfile::TempDir,
    _runtime: Runtime,
}

/// A cluster with machines and nothing else, and its kubeconfig.
fn stage(reached: bool) -> Stage {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::new(SystemClock);
    make_nodes(&cluster, 2).expect("machines");
    let address = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let pods = Pods { cluster: cluster.clone(), reached, asked: Arc::default() };
        tokio::spawn(Controllers::new(cluster.clone(), Arc::new(WellBehaved)).run());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(api).with_state(pods)).await });
        address
    });
    std::fs::write(folder.path().join("kubeconfig"), Cluster::kubeconfig(address)).expect("a file");
    Stage { cluster, folder, _runtime: runtime }
}

fn demo(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_serin"))
        .args(["demo", "--context", "sim", "--exit-after-tour", "--kubeconfig"])
        .arg(folder.join("kubeconfig"))
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn told_in_turn(told: &str, sentences: &[&str]) {
    let mut rest = told;
    for sentence in sentences {
        let at = rest.find(sentence).unwrap_or_else(|| panic!("{sentence:?} is not told, or not in its turn:\n{told}"));
        rest = &rest[at + sentence.len()..];
    }
}

#[test]
fn the_tour_judges_by_real_answers_and_leaves_nothing_behind() {
    let stage = stage(true);
    let (code, told, complaints) = demo(stage.folder.path(), &["--yes"]);
    assert_eq!(code, Some(0), "{told}{complaints}");
    told_in_turn(
        &told,
        &[
            "Services alone",
            "the Gateway API is not installed",
            "installs the definitions",
            "podinfo-primary serves all requests with the first release",
            "Releases are judged by real answers",
            "Serin sees the second release",
            "Promoted: the second release serves everybody",
            "Serin sees the third release",
            "Serin warns",
            "Rolled back: the third release is gone, the second release serves everybody",
            "3 requests, 1 failed",
            "the namespace serin-demo is deleted",
            "the definition canaries.flagger.app is deleted",
        ],
    );
    assert!(stage.cluster.get(NAMESPACE, "", "serin-demo").is_none());
    assert!(stage.cluster.get(DEFINITION, "", "canaries.flagger.app").is_none());
}

#[test]
fn nothing_is_done_unasked_nor_in_the_namespace_of_somebody_else() {
    let stage = stage(true);
    let (code, told, complaint) = demo(stage.folder.path(), &[]);
    assert_eq!(code, Some(1), "{told}");
    assert!(complaint.contains("--yes"), "{complaint}");
    assert!(stage.cluster.get(DEFINITION, "", "canaries.flagger.app").is_none(), "nothing is written before");

    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "serin-demo"}});
    stage.cluster.create("test", namespace).expect("a namespace");
    let rival = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": "default", "name": "flagger", "labels": {"app.kubernetes.io/name": "flagger"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "flagger"}}, "template": {
            "metadata": {"labels": {"app": "flagger"}}, "spec": {"containers": [{"name": "flagger", "image": "flagger:1"}]}}},
    });
    stage.cluster.create("test", rival).expect("a Deployment");
    let (code, _, complaint) = demo(stage.folder.path(), &["--yes"]);
    assert_eq!(code, Some(1));
    for part in ["was not made by the demo", "default/flagger"] {
        assert!(complaint.contains(part), "{complaint}");
    }
    assert!(stage.cluster.get(NAMESPACE, "", "serin-demo").is_some(), "it stays");
}

#[test]
fn a_gateway_that_is_asked_for_must_be_there() {
    let stage = stage(true);
    for definition in sim::networking::definitions() {
        stage.cluster.create("test", definition).expect("a definition");
    }
    let (code, _, complaint) = demo(stage.folder.path(), &["--yes", "--gateway", "edge/public"]);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("there is no Gateway edge/public"), "{complaint}");
}
