//! The dashboard, where the cluster's own rights decide.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::workload::{self, NAME, V0, V1, analysis, intervals};
use e2e::{Gate, Scene, wait_for};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

/// A browser of somebody, as far as it matters here.
struct Visitor {
    client: Client<HttpConnector, Full<Bytes>>,
    site: String,
    token: String,
}

impl Visitor {
    /// A service account of the test with these verbs on Canaries.
    async fn new(scene: &Scene, site: &str, name: &str, verbs: &[&str]) -> Result<Visitor> {
        let group = "rbac.authorization.k8s.io";
        scene.apply(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})).await?;
        scene
            .apply(&json!({
                "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": name},
                "rules": [{"apiGroups": ["flagger.app"], "resources": ["canaries"], "verbs": verbs}],
            }))
            .await?;
        scene
            .apply(&json!({
                "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": scene.namespace}],
            }))
            .await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(scene.client(), &scene.namespace);
        let answer = accounts.create_token_request(name, &PostParams::default(), &TokenRequest::default()).await;
        let token = answer.with_context(|| format!("asking for {name}'s token"))?.status.context("no token")?.token;
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Ok(Visitor { client, site: site.to_owned(), token })
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<http::Response<hyper::body::Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/api/{path}", self.site))
            .header("x-serin-dashboard", "1")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::from(body.to_string()))?;
        self.client.request(request).await.with_context(|| format!("asking the dashboard for {path}"))
    }

    /// What a stream tells first.
    async fn first(&self, path: &str) -> Result<Value> {
        let mut answer = self.ask("GET", path, &Value::Null).await?;
        ensure!(answer.status().is_success(), "the dashboard answered {}", answer.status());
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            let frame = answer.frame().await.context("the stream ended")??;
            text.push_str(std::str::from_utf8(frame.data_ref().map_or(&[], |data| data.as_ref()))?);
        }
        let data = text.lines().find_map(|line| line.strip_prefix("data:")).context("no data")?;
        Ok(serde_json::from_str(data)?)
    }

    async fn command(&self, namespace: &str, verb: &str) -> Result<u16> {
        let path = format!("rollouts/{namespace}/{NAME}/command");
        Ok(self.ask("POST", &path, &json!({"verb": verb})).await?.status().as_u16())
    }
}

pub(crate) async fn rights_of_the_cluster_decide(scene: Arc<Scene>) -> Result<()> {
    let (git, gate) = (scene.git().await?, Gate::closed().await?);
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let (site, address) = (format!("http://127.0.0.1:{port}"), format!(":{port}"));
    let flags = ["-mesh-provider", "gatewayapi:v1", "-namespace", &scene.namespace, "-dashboard-address", &address];
    let mut serin = scene.serin_with(&flags).await?;
    let gates = json!([workload::webhook("confirm-traffic-increase", gate.url())]);
    let policy = workload::canary(&scene.host, &analysis(&json!({"stepWeights": [10, 50], "webhooks": gates})));
    git.commit("Ship the shop", &[workload::deployment(V0), policy]).await?;
    scene.phase("Initialized", intervals(5)).await?;
    git.commit("Ship 6.0.1", &[workload::deployment(V1)]).await?;
    gate.admit(1);
    wait_for("weight 10", intervals(20), || async {
        let canary = scene.canary().await?;
        ensure!(canary.weight == 10, "the Canary is {canary:?}");
        Ok(())
    })
    .await?;

    let stranger = Visitor::new(&scene, &site, "stranger", &["watch"]).await?;
    let viewer = Visitor::new(&scene, &site, "viewer", &["list"]).await?;
    let operator = Visitor::new(&scene, &site, "operator", &["list", "patch"]).await?;
    let nobody = Visitor { token: "made.up.token".into(), ..Visitor::new(&scene, &site, "nobody", &["list"]).await? };
    let namespace = scene.namespace.as_str();
    let one = format!("stream?namespace={namespace}&name={NAME}");

    ensure!(nobody.ask("GET", "session", &Value::Null).await?.status() == 401, "a made up token was let in");
    ensure!(stranger.first("stream").await?["rollouts"] == json!([]), "a stranger sees rollouts");
    ensure!(stranger.ask("GET", &one, &Value::Null).await?.status() == 403, "a stranger sees the rollout");
    let seen = viewer.first("stream").await?;
    ensure!(seen["rollouts"][0]["name"] == NAME && seen["rollouts"][0]["weight"] == 10, "a viewer sees {seen}");
    let full = viewer.first(&one).await?;
    let weights: Vec<&Value> =
        full["rollout"]["history"]["samples"].as_array().into_iter().flatten().map(|sample| &sample[1]).collect();
    ensure!(full["mayAct"] == false && weights.contains(&&json!(10)), "a viewer sees {full}");
    ensure!(viewer.command(namespace, "abort").await? == 403, "a viewer may act");
    ensure!(operator.command(namespace, "retry").await? == 409, "what is under way was retried");
    ensure!(operator.command(namespace, "abort").await? == 202, "an operator may not act");
    wait_for("the rollout to be aborted by the operator", intervals(10), || async {
        let rollout = operator.first(&one).await?["rollout"].take();
        let (phase, command) = (&rollout["phase"], &rollout["lastCommand"]);
        let by = format!("system:serviceaccount:{namespace}:operator");
        ensure!(
            phase == "Failed" && command["by"] == by && command["outcome"] == "aborted",
            "it is {phase}, {command}"
        );
        Ok(())
    })
    .await?;
    // The heartbeat of a stream that tells nothing.
    let mut quiet = viewer.ask("GET", &one, &Value::Null).await?;
    let heartbeat = async {
        loop {
            let frame = quiet.frame().await.context("the stream ended")??;
            if frame.data_ref().is_some_and(|data| data.starts_with(b":")) {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(40), heartbeat).await.context("no heartbeat")??;
    serin.alive()
}
