//! How fast and how large the Git agent is, and how fast the rollback in Git, as a process of its own before a Kubernetes in
//! memory. Takes minutes, so it runs only when asked for:
//! `SERIN_BIN=target/release/serin cargo test -p cli --test agent_bars -- --ignored --nocapture`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sim::controllers::{Controllers, WellBehaved, make_nodes};
use sim::{Call, Cluster, Fault, Faults, Kind, SystemClock};

const GIT_SOURCE: Kind<'static> = Kind { group: "serin.dev", kind: "GitSource" };
const CANARY: Kind<'static> = Kind { group: "flagger.app", kind: "Canary" };
const DEPLOYMENT: Kind<'static> = Kind { group: "apps", kind: "Deployment" };
const CONFIG_MAP: Kind<'static> = Kind { group: "", kind: "ConfigMap" };
const TOKEN: &str = "a long token";
const ROUNDS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, and takes minutes"]
async fn from_a_commit_to_the_cluster() {
    let setting = Setting::new().await;
    let [apps, configs, polled, failing] = std::array::from_fn(|_| Repository::new());
    apps.write("web.yaml", &deployment("web", 1));
    apps.write("canary.yaml", &canary("web"));
    polled.write("slow.yaml", &deployment("slow", 1));
    polled.write("canary.yaml", &canary("slow"));
    failing.write("bad.yaml", &deployment("bad", 1));
    failing.write("canary.yaml", &canary("bad"));
    for number in 0..1_000 {
        configs.write(&format!("deploy/{}/{number}.yaml", number / 50), &config_map(number, 1));
    }
    let webhook = json!({ "type": "Generic", "secretRef": { "name": "hook" } });
    for (name, repository, interval) in
        [("apps", &apps, "1h"), ("configs", &configs, "1h"), ("polled", &polled, "2s"), ("failing", &failing, "1h")]
    {
        repository.commit();
        let mut spec = json!({ "url": repository.url(), "interval": interval });
        if interval == "1h" {
            spec["webhook"] = webhook.clone();
        }
        setting.source(name, spec);
    }
    for name in ["web", "slow", "bad"] {
        setting.until(&format!("{name} at rest"), || setting.at_rest(name)).await;
    }
    setting.until("all of the thousand", || setting.configured(999, 1)).await;

    let mut pushed = Vec::new();
    let mut looked = Vec::new();
    for round in 2..=ROUNDS + 1 {
        for (name, repository, times) in [("web", &apps, &mut pushed), ("slow", &polled, &mut looked)] {
            repository.write(&format!("{name}.yaml"), &deployment(name, round));
            repository.commit();
            let begin = Instant::now();
            if name == "web" {
                setting.tell("apps");
            }
            setting.until("the canary", || setting.replicas(name) > 0).await;
            times.push(begin.elapsed());
        }
        for name in ["web", "slow"] {
            setting.until("the promotion", || setting.at_rest(name)).await;
        }
    }
    let mut applied = Vec::new();
    for round in 2..=ROUNDS + 1 {
        configs.write("deploy/10/500.yaml", &config_map(500, round));
        configs.commit();
        setting.calls.lock().unwrap().clear();
        let begin = Instant::now();
        setting.tell("configs");
        setting.until("the change", || setting.configured(500, round)).await;
        applied.push(begin.elapsed());
        setting.until("the status", || setting.is_ready("configs")).await;
        assert_eq!(setting.writes(), ["ConfigMap c500"], "unchanged objects are not written");
    }
    let mut reverted = Vec::new();
    for round in 2..=ROUNDS + 1 {
        failing.write("bad.yaml", &deployment("bad", round));
        failing.commit();
        let commit = failing.head();
        setting.tell("failing");
        setting.until("a certain source", || setting.is_certain("bad", &commit)).await;
        setting.abort("bad", round);
        setting.until("the verdict", || setting.of(CANARY, "bad", "/status/phase") == "Failed").await;
        let begin = Instant::now();
        setting.until("the revert", || failing.head() != commit).await;
        reverted.push(begin.elapsed());
        setting.until("its end", || setting.of(CANARY, "bad", "/status/git/state") == "Reverted").await;
        setting.tell("failing");
        setting.until("rest", || setting.is_given_back("bad")).await;
    }
    eprintln!("commit to canary scaled up, by a push:           {}", told(&mut pushed));
    eprintln!("commit to canary scaled up, looked for every 2 s: {}", told(&mut looked));
    eprintln!("one of 1,000 files, from the push to the object: {}", told(&mut applied));
    eprintln!("from the verdict to the revert commit: {}", told(&mut reverted));
    eprintln!(
        "memory of the whole controller: {} MiB resident, {} MiB at most",
        setting.memory("VmRSS"),
        setting.memory("VmHWM")
    );
    assert!(percentile(&mut pushed, 95) <= Duration::from_secs(2));
    assert!(percentile(&mut looked, 95) <= Duration::from_secs(4));
    assert!(percentile(&mut applied, 95) <= Duration::from_secs(1));
    assert!(percentile(&mut reverted, 95) <= Duration::from_secs(5));
    assert!(setting.memory("VmRSS") <= 60, "{} MiB", setting.memory("VmRSS"));
}

/// A cluster that is served on a port, and Serin that works on it.
struct Setting {
    cluster: Cluster,
    serin: Child,
    receiver: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
    _folder: tempfile::TempDir,
}

/// Notes what is asked.
struct Noted(Arc<Mutex<Vec<Call>>>);

impl Faults for Noted {
    fn before(&self, call: &Call) -> Fault {
        self.0.lock().unwrap().push(call.clone());
        Fault::Pass
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        drop(self.serin.kill().and_then(|()| self.serin.wait()));
    }
}

impl Setting {
    async fn new() -> Setting {
        let cluster = Cluster::new(SystemClock);
        for definition in crds::all_crds() {
            cluster.apply_as("test", definition).unwrap();
        }
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "hook", "namespace": "shop" },
            "stringData": { "token": TOKEN },
        });
        cluster
            .apply_as("test", json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }))
            .unwrap();
        cluster.apply_as("test", secret).unwrap();
        make_nodes(&cluster, 1).unwrap();
        tokio::spawn(Controllers::new(cluster.clone(), Arc::new(WellBehaved)).run());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, Cluster::kubeconfig(listener.local_addr().unwrap())).unwrap();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (served, noted) = (cluster.clone(), Noted(calls.clone()));
        tokio::spawn(async move { served.serve_with(listener, noted).await });
        let (port, receiver) = (free().port(), free());
        let binary = std::env::var("SERIN_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_serin").to_owned());
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let serin = Command::new(binary)
            .args(["run", "--git-local-repositories", "--mesh-provider=kubernetes", "--min-interval=1s", "--drain=0s"])
            .args(["--settle=0s", "--log-level=info", &format!("--port={port}")])
            .arg(format!("--git-webhook-address={receiver}"))
            .arg(format!("--git-storage={}", folder.path().join("mirrors").display()))
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Setting { cluster, serin, receiver, calls, _folder: folder }
    }

    fn source(&self, name: &str, spec: Value) {
        let metadata = json!({ "name": name, "namespace": "shop" });
        let source =
            json!({ "apiVersion": "serin.dev/v1alpha1", "kind": "GitSource", "metadata": metadata, "spec": spec });
        self.cluster.create("user", source).unwrap();
    }

    fn of(&self, kind: Kind<'_>, name: &str, pointer: &str) -> Value {
        let found = self.cluster.get(kind, "shop", name);
        found.and_then(|found| found.pointer(pointer).cloned()).unwrap_or_default()
    }

    fn replicas(&self, name: &str) -> u64 {
        self.of(DEPLOYMENT, name, "/spec/replicas").as_u64().unwrap_or_default()
    }

    /// The rollout is over and the target scaled down.
    fn at_rest(&self, name: &str) -> bool {
        let phase = self.of(CANARY, name, "/status/phase");
        let ready = self.of(CANARY, name, "/status/waitingFor").is_null();
        ["Initialized", "Succeeded"].iter().any(|rest| phase == *rest) && self.replicas(name) == 0 && ready
    }

    fn is_certain(&self, name: &str, commit: &str) -> bool {
        let source = self.of(CANARY, name, "/status/source");
        source["commit"] == commit
            && source["provisional"].is_null()
            && self.of(CANARY, name, "/status/phase") == "Progressing"
    }

    /// The release before stands there again, by a commit that is known, and nobody is held.
    fn is_given_back(&self, name: &str) -> bool {
        if !self.of(CANARY, name, "/status/source/provisional").is_null() {
            return false;
        }
        let image = self.of(DEPLOYMENT, name, "/spec/template/spec/containers/0/image");
        let held = self.of(GIT_SOURCE, "failing", "/metadata/annotations/serin.dev~1hold");
        image == format!("acme/{name}:1") && held.is_null() && self.replicas(name) == 0
    }

    fn abort(&self, name: &str, round: usize) {
        let command = json!({ "serin.dev/command": "abort", "serin.dev/command-id": round.to_string() });
        let patch = json!({ "metadata": { "annotations": command } });
        self.cluster.patch("user", CANARY, "shop", name, patch).unwrap();
    }

    fn configured(&self, number: usize, round: usize) -> bool {
        self.of(CONFIG_MAP, &format!("c{number}"), "/data/key").as_str() == Some(round.to_string().as_str())
    }

    fn is_ready(&self, name: &str) -> bool {
        let (tried, applied) = ("/status/lastAttemptedRevision", "/status/lastAppliedRevision");
        self.of(GIT_SOURCE, name, tried) == self.of(GIT_SOURCE, name, applied)
    }

    /// Objects that Serin wrote, without the statuses of sources.
    fn writes(&self) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        let writes = calls.iter().filter(|call| !["get", "list", "watch"].contains(&call.verb.as_str()));
        let others = writes.filter(|call| !["GitSource", "Event"].contains(&call.kind.as_str()));
        others.map(|call| format!("{} {}", call.kind, call.name)).collect()
    }

    /// Says that something was pushed.
    fn tell(&self, name: &str) {
        let path = self.of(GIT_SOURCE, name, "/status/webhookPath");
        let mut stream = TcpStream::connect(self.receiver).unwrap();
        let path = path.as_str().expect("the status says where");
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: serin\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let mut changed = self.cluster.changed();
        let waiting = async {
            while !holds() {
                // Repositories change without the cluster.
                let _ = tokio::time::timeout(Duration::from_millis(10), changed.changed()).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), waiting).await.is_err() {
            let all: Vec<String> = [GIT_SOURCE, CANARY]
                .iter()
                .flat_map(|kind| self.cluster.list(*kind, "shop"))
                .map(|one| one["status"].to_string())
                .collect();
            panic!("{what} does not come: {}", all.join("\n"));
        }
    }

    /// Of Serin, in MiB.
    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.serin.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_matches(|letter: char| !letter.is_ascii_digit()).parse::<u64>().unwrap() / 1024
    }
}

struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Repository {
        let repository = Repository(tempfile::tempdir().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        // A push moves the files along.
        repository.git(&["config", "receive.denyCurrentBranch", "updateInstead"]);
        repository
    }

    fn git(&self, arguments: &[&str]) {
        let settings = ["-c", "user.name=Mia", "-c", "user.email=mia@example.com", "-c", "commit.gpgSign=false"];
        let status = Command::new("git").arg("-C").arg(self.0.path()).args(settings).args(arguments).status().unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "Ship"]);
    }

    fn head(&self) -> String {
        std::fs::read_to_string(self.0.path().join(".git/refs/heads/main")).unwrap().trim().to_owned()
    }

    fn url(&self) -> String {
        format!("file://{}", self.0.path().display())
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap()
}

fn told(times: &mut [Duration]) -> String {
    let [median, p95] = [50, 95].map(|percent| percentile(times, percent).as_millis());
    format!("{median} ms median, {p95} ms p95, of {}", times.len())
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent).div_ceil(100) - 1]
}

fn config_map(number: usize, round: usize) -> String {
    let name = format!("c{number}");
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  key: \"{round}\"\n")
}

fn deployment(name: &str, version: usize) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": {
            "selector": { "matchLabels": { "app": name } },
            "template": {
                "metadata": { "labels": { "app": name } },
                "spec": { "containers": [{ "name": "c", "image": format!("acme/{name}:{version}") }] },
            },
        },
    })
    .to_string()
}

fn canary(name: &str) -> String {
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": { "name": name },
        "spec": {
            "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
            "service": { "port": 80 },
            "git": { "onRollback": "Revert" },
            // The bad one is taken back by a command.
            "analysis": { "interval": "1s", "threshold": 5, "iterations": if name == "bad" { 1_000 } else { 1 } },
        },
    })
    .to_string()
}
