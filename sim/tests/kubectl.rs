//! An unmodified kubectl against a cluster that is served. `SERIN_TEST_KUBECTL` is the command to run, `kubectl` when it
//! is not set.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sim::kinds::DEPLOYMENT;
use sim::{Cluster, SystemClock};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'app:1'}]}
";

const EVENT: &str = "
apiVersion: v1
kind: Event
metadata: {name: web.1, namespace: default}
involvedObject: {apiVersion: apps/v1, kind: Deployment, name: web, namespace: default}
reason: Scaled
message: scaled up
type: Normal
source: {component: test}
firstTimestamp: '2026-01-01T00:00:00Z'
lastTimestamp: '2026-01-01T00:00:00Z'
count: 1
";

struct Kubectl {
    command: Vec<String>,
    home: PathBuf,
}

impl Kubectl {
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).arg("--kubeconfig").arg(self.home.join("kubeconfig"));
        command.args(arguments.split_whitespace()).env("HOME", &self.home).env_remove("KUBECONFIG").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Output and errors of a command that succeeds.
    async fn run(&self, arguments: &str, input: &str) -> String {
        let mut child = self.command(arguments).spawn().expect("kubectl starts");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).await.expect("kubectl reads");
        let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
        let output = output.expect("kubectl ends").expect("kubectl runs");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {arguments}: {text}");
        text
    }

    async fn says(&self, arguments: &str, input: &str, expected: &[&str]) {
        let text = self.run(arguments, input).await;
        for part in expected {
            assert!(text.contains(part), "kubectl {arguments} does not say {part:?}:\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_works_unmodified() {
    let command = std::env::var("SERIN_TEST_KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    if Command::new(&command[0]).args(&command[1..]).args(["version", "--client"]).output().await.is_err() {
        eprintln!("skipped: there is no {}", command[0]);
        return;
    }
    let cluster = Cluster::new(SystemClock);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = cluster.clone();
    let server = tokio::spawn(async move { served.serve(listener).await });
    let home = std::env::temp_dir().join(format!("serin-sim-kubectl-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("kubeconfig"), Cluster::kubeconfig(address)).unwrap();
    let kubectl = Kubectl { command, home: home.clone() };

    kubectl.says("get namespaces", "", &["NAME", "STATUS", "default", "Active"]).await;
    kubectl.says("api-resources", "", &["deployments", "deploy", "customresourcedefinitions"]).await;
    kubectl.says("apply -f -", WEB, &["deployment.apps/web created"]).await;
    kubectl.says("apply -f -", WEB, &["deployment.apps/web unchanged"]).await;
    kubectl.says("apply -f -", &WEB.replace("app:1", "app:2"), &["deployment.apps/web configured"]).await;
    kubectl
        .says("apply --server-side -f -", &WEB.replace("app:1", "app:2"), &["deployment.apps/web serverside-applied"])
        .await;
    kubectl.says("get deployments -o wide", "", &["READY", "0/2", "app:2", "app=web"]).await;
    kubectl.says("get deploy web -o jsonpath={.spec.strategy.type}", "", &["RollingUpdate"]).await;
    kubectl
        .says("patch deployment web -p {\"spec\":{\"minReadySeconds\":3}}", "", &["deployment.apps/web patched"])
        .await;
    kubectl.says("scale deployment web --replicas=3", "", &["deployment.apps/web scaled"]).await;
    kubectl.says("label deployment web tier=front", "", &["deployment.apps/web labeled"]).await;
    kubectl.says("create -f -", EVENT, &["event/web.1 created"]).await;
    kubectl.says("events", "", &["Scaled", "Deployment/web", "scaled up"]).await;
    kubectl.says("describe deployment web", "", &["Name:", "tier=front", "app:2", "25% max surge"]).await;
    kubectl.says("explain deployment.spec.replicas", "", &["FIELD: replicas <integer>"]).await;
    let widgets = include_str!("conformance/widgets.yaml");
    kubectl
        .says(
            "apply -f -",
            widgets,
            &["customresourcedefinition.apiextensions.k8s.io/widgets.conformance.serin.app created"],
        )
        .await;
    kubectl
        .says(
            "wait --for=condition=Established crd/widgets.conformance.serin.app --timeout=10s",
            "",
            &["condition met"],
        )
        .await;
    kubectl.says("explain widget.spec.weight", "", &["FIELD: weight <integer>"]).await;
    let widget = "apiVersion: conformance.serin.app/v1\nkind: Widget\nmetadata: {name: a}\nspec: {}\n";
    kubectl.says("apply -f -", widget, &["widget.conformance.serin.app/a created"]).await;
    kubectl.says("get wd", "", &["WEIGHT", "READY", "10"]).await;
    kubectl.says("auth can-i create deployments", "", &["yes"]).await;
    kubectl.says("auth whoami", "", &["admin"]).await;

    watches(&kubectl).await;
    rolls_out(&kubectl, &cluster).await;

    kubectl.says("delete deployment web", "", &["deployment.apps \"web\" deleted"]).await;
    kubectl.says("get all", "", &["widget.conformance.serin.app/a", "service/kubernetes"]).await;
    server.abort();
    std::fs::remove_dir_all(home).unwrap();
}

async fn watches(kubectl: &Kubectl) {
    let mut child = kubectl.command("get widgets -w").spawn().expect("kubectl starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut seen = String::new();
    let deadline = Duration::from_secs(30);
    while !seen.contains("77") {
        let line = tokio::time::timeout(deadline, lines.next_line()).await.expect("the watch tells").expect("text");
        seen.push_str(&line.expect("the watch goes on"));
        if seen.contains(" 10") && !seen.contains("patched") {
            seen.push_str("patched");
            let patch = "patch widget a --type=merge -p {\"spec\":{\"weight\":77}}";
            kubectl.says(patch, "", &["widget.conformance.serin.app/a patched"]).await;
        }
    }
}

async fn rolls_out(kubectl: &Kubectl, cluster: &Cluster) {
    let live = cluster.get(DEPLOYMENT, "default", "web").expect("a deployment");
    let status: Value = json!({ "status": {
        "observedGeneration": live["metadata"]["generation"], "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3,
        "availableReplicas": 3,
        "conditions": [{ "type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "" }],
    } });
    cluster.patch_status("test", DEPLOYMENT, "default", "web", status).expect("a status");
    kubectl.says("rollout status deployment/web --timeout=20s", "", &["successfully rolled out"]).await;
    kubectl.says("wait --for=condition=Available deployment/web --timeout=10s", "", &["condition met"]).await;
    kubectl.says("get deployment web", "", &["3/3"]).await;
}
