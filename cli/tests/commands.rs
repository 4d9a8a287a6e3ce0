//! The binary as it is called: what it asks of the API server, what it prints, and what it ends with.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

const CANARIES: &str = "/apis/flagger.app/v1beta1/namespaces/shop/canaries";

/// What the server does with a command: answers so, or never.
type Answer = Option<&'static str>;

/// An API server that knows one Canary.
struct Server {
    port: u16,
    kubeconfig: PathBuf,
    /// Method and path of each request, and the body of the last patch.
    asked: Arc<Mutex<(Vec<String>, Value)>>,
}

impl Server {
    fn start(phase: &str, answer: Answer) -> Self {
        Self::with(json!({"phase": phase, "canaryWeight": 50, "failedChecks": 0, "iterations": 0}), answer)
    }

    fn with(status: Value, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new((Vec::new(), Value::Null)));
        let canary = json!({
            "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
            "metadata": {"name": "podinfo", "namespace": "shop", "uid": "1", "resourceVersion": "1"},
            "spec": {"targetRef": {"kind": "Deployment", "name": "podinfo"}, "analysis": {"stepWeight": 50}},
            "status": status,
        });
        let canary = Arc::new(Mutex::new(canary));
        let seen = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (canary, seen) = (canary.clone(), seen.clone());
                std::thread::spawn(move || serve(stream.expect("a connection"), &canary, &seen, answer));
            }
        });
        let kubeconfig = std::env::temp_dir().join(format!("serin-kubeconfig-{}-{port}", std::process::id()));
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
            "users": [{"name": "mia", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "mia", "namespace": "shop"}}],
        });
        std::fs::write(&kubeconfig, text.to_string()).expect("a kubeconfig");
        Server { port, kubeconfig, asked }
    }

    fn serin(&self, line: &str) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_serin"))
            .args(line.split_whitespace())
            .env("KUBECONFIG", &self.kubeconfig)
            .output()
            .expect("serin starts");
        outcome(output)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").0.clone()
    }

    fn patched(&self) -> Value {
        self.asked.lock().expect("no panic").1.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.kubeconfig));
    }
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn serve(stream: TcpStream, canary: &Mutex<Value>, asked: &Mutex<(Vec<String>, Value)>, answer: Answer) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        let mut words = line.split_whitespace();
        let (method, target) =
            (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
        let mut headers = BTreeMap::new();
        loop {
            line.clear();
            reader.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body");
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let path = target.split('?').next().unwrap_or_default();
        asked.lock().expect("no panic").0.push(format!("{method} {path}"));
        if method == "PATCH" {
            asked.lock().expect("no panic").1 = body.clone();
        }
        let (code, reply) = reply(&method, path, &body, &mut canary.lock().expect("no panic"), answer);
        let text = reply.to_string();
        let head =
            format!("HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", text.len());
        let stream = reader.get_mut();
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes())).expect("the answer is sent");
        line.clear();
    }
}

fn reply(method: &str, path: &str, body: &Value, canary: &mut Value, answer: Answer) -> (u16, Value) {
    let failure = |code: u16, message: &str| {
        (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}))
    };
    let one = format!("{CANARIES}/podinfo");
    match (method, path) {
        ("GET", path) if path == one => (200, canary.clone()),
        ("GET", path) if path == CANARIES => (200, json!({"metadata": {"resourceVersion": "2"}, "items": [canary]})),
        ("PATCH", path) if path == one => {
            let annotations = &body["metadata"]["annotations"];
            canary["metadata"]["annotations"] = annotations.clone();
            if let Some(outcome) = answer {
                canary["status"]["lastCommand"] = json!({
                    "id": annotations["serin.dev/command-id"], "command": annotations["serin.dev/command"],
                    "by": annotations["serin.dev/command-by"], "outcome": outcome, "time": "2026-01-01T00:00:00Z",
                });
            }
            (200, canary.clone())
        }
        ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews") => {
            (201, json!({"metadata": {}, "status": {"userInfo": {"username": "mia@example.com"}}}))
        }
        ("GET" | "PATCH", path) if path.ends_with("/deployments/podinfo") => {
            let annotations = json!({"deployment.kubernetes.io/revision": "3"});
            (
                200,
                json!({"metadata": {"name": "podinfo", "uid": "2", "resourceVersion": "7", "annotations": annotations}}),
            )
        }
        ("GET", path) if path.ends_with("/replicasets") => {
            let set = |number: &str| {
                json!({
                    "metadata": {
                        "name": format!("podinfo-{number}"), "ownerReferences": [{
                            "apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo", "uid": "2",
                        }],
                        "annotations": {"deployment.kubernetes.io/revision": number},
                    },
                    "spec": {"template": {"metadata": {"labels": {"pod-template-hash": "x"}}, "spec": {"r": number}}},
                })
            };
            (200, json!({"metadata": {"resourceVersion": "2"}, "items": [set("1"), set("2"), set("3")]}))
        }
        ("GET", path) if path.ends_with("/pods") => failure(403, "pods is forbidden: mia cannot list them"),
        ("GET", "/apis/flagger.app/v1beta1/canaries") => failure(403, "canaries is forbidden: mia cannot list them"),
        ("GET", path) if path.contains("/deployments/") || path.contains("/canaries/") => failure(404, "not found"),
        _ => (200, json!({"metadata": {"resourceVersion": "2"}, "items": []})),
    }
}

#[test]
fn a_command_is_written_with_who_asked_and_its_answer_printed() {
    let server = Server::start("Progressing", Some("the primary is being updated"));
    let (code, out, err) = server.serin("promote podinfo --full");
    assert_eq!((code, out.as_str(), err.as_str()), (0, "podinfo: promote-full: the primary is being updated\n", ""));
    let annotations = &server.patched()["metadata"]["annotations"];
    assert_eq!(annotations["serin.dev/command"], "promote-full");
    assert_eq!(annotations["serin.dev/command-by"], "mia@example.com");
    assert_eq!(annotations["serin.dev/command-id"].as_str().map(str::len), Some(36));
}

#[test]
fn what_comes_from_git_is_undone_in_git() {
    let by = json!({"apiVersion": "serin.dev/v1alpha1", "kind": "GitSource", "namespace": "shop", "name": "apps"});
    let status = json!({
        "phase": "Succeeded", "canaryWeight": 0, "failedChecks": 0, "iterations": 0, "source": {"appliedBy": by},
    });
    let server = Server::with(status, Some("commit 4f2c1e9 is being taken back in Git to what 0ddba11 had"));
    let (code, out, err) = server.serin("undo podinfo --to-revision 0ddba11");
    let told = "podinfo: undo 0ddba11: commit 4f2c1e9 is being taken back in Git to what 0ddba11 had\n";
    assert_eq!((code, out.as_str(), err.as_str()), (0, told, ""));
    assert_eq!(server.patched()["metadata"]["annotations"]["serin.dev/command"], "undo 0ddba11");
    let workload = server.asked().into_iter().find(|request| request.contains("/deployments/"));
    assert_eq!(workload, None, "the workload is left alone");
}

#[test]
fn what_does_not_come_from_git_gets_a_former_template() {
    let server = Server::start("Succeeded", None);
    let (code, out, err) = server.serin("undo podinfo --to-revision 1");
    let told = "podinfo: undo: deployment podinfo has the template of revision 1\n";
    assert_eq!((code, out.as_str(), err.as_str()), (0, told, ""));
    assert_eq!(
        server.patched(),
        json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "replace", "path": "/spec/template", "value": {"metadata": {"labels": {}}, "spec": {"r": "1"}}},
        ])
    );
    let (code, _, err) = server.serin("undo podinfo --to-revision 4f2c1e9");
    assert!(code == 1 && err.contains("\"4f2c1e9\" is no number of a revision"), "{err}");
}

#[test]
fn a_refusal_of_the_controller_is_a_failure() {
    let server = Server::start("Progressing", Some("refused: the canary is not ready: 0 of 2 pods"));
    let (code, out, err) = server.serin("promote podinfo");
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, "serin: podinfo: promote: refused: the canary is not ready: 0 of 2 pods\n");
}

#[test]
fn a_silent_controller_is_told_of_with_where_to_look() {
    let server = Server::start("Progressing", None);
    let (code, _, err) = server.serin("pause podinfo --timeout 0");
    assert_eq!(code, 1);
    assert!(err.contains("has not taken pause within 0 s") && err.contains("kubectl logs"), "{err}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let server = Server::start("Succeeded", Some("done"));
    let (code, _, err) = server.serin("retry podinfo");
    assert_eq!(
        (code, err.as_str()),
        (1, "serin: nothing to retry: podinfo is Succeeded; only what has failed can be retried\n")
    );
    assert!(server.asked().iter().all(|request| request.starts_with("GET")), "{:?}", server.asked());
}

#[test]
fn unknown_and_forbidden_are_sentences() {
    let server = Server::start("Succeeded", None);
    let (code, _, err) = server.serin("get podinf");
    assert_eq!((code, err.as_str()), (1, "serin: no canary podinf in namespace shop; there is: podinfo\n"));
    let (code, _, err) = server.serin("get -A");
    assert_eq!(code, 1);
    assert!(err.contains("listing all canaries: not allowed (canaries is forbidden: mia cannot list them)"), "{err}");
}

#[test]
fn what_may_not_be_read_is_noted_and_the_rest_is_shown() {
    let server = Server::start("Progressing", None);
    let (code, out, err) = server.serin("get podinfo -o json");
    assert_eq!((code, err.as_str()), (0, ""));
    let view: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&view["phase"], &view["strategy"]["weight"]), (&json!("Progressing"), &json!(50)));
    assert!(view["notes"].to_string().contains("pods are not shown"), "{}", view["notes"]);
    let (_, yaml, _) = server.serin("get podinfo -o yaml");
    let same: Value = serde_saphyr::from_str(&yaml).expect("YAML");
    assert_eq!(same["strategy"], view["strategy"]);
}

#[test]
fn a_watch_ends_with_the_rollout() {
    for (phase, expected) in [("Succeeded", 0), ("Failed", 1)] {
        let server = Server::start(phase, None);
        let (code, out, _) = server.serin("watch podinfo --exit-on-end");
        assert_eq!(code, expected, "{phase}");
        assert!(out.contains(&format!("shop/podinfo  {phase}  weight 50")), "{out}");
    }
}

#[test]
fn called_as_wget_it_probes() {
    let server = Server::start("Succeeded", None);
    let probe = |path: &str| {
        let url = format!("http://localhost:{}{path}", server.port);
        let arguments = ["--quiet", "--tries=1", "--timeout=4", "--spider", &url];
        let output = Command::new(env!("CARGO_BIN_EXE_serin")).arg0("wget").args(arguments).output();
        outcome(output.expect("serin starts")).0
    };
    assert_eq!((probe(CANARIES), probe("/apis/flagger.app/v1beta1/canaries")), (0, 8));
}
