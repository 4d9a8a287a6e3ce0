//! Real repositories on disk.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::http::StatusCode;
use controller::agent::{Mirrors, Rules};
use serde_json::json;

use crate::world::*;

/// A repository on disk.
pub(crate) struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    pub(crate) fn new() -> Repository {
        let repository = Repository { folder: tempfile::tempdir().unwrap() };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let settings = ["-c", "user.name=Mia", "-c", "user.email=mia@example.com", "-c", "commit.gpgSign=false"];
        let mut command = Command::new("git");
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            command.env_remove(name);
        }
        let output = command.arg("-C").arg(self.folder.path()).args(settings).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap_or_default()
    }

    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Takes it away, or puts it back.
    pub(crate) fn out_of_reach(&self, away: bool) {
        let (here, there) = (self.folder.path().to_owned(), self.folder.path().with_extension("away"));
        let (from, to) = if away { (here, there) } else { (there, here) };
        std::fs::rename(from, to).unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.folder.path().display())
    }
}

fn world(mirrors: &Path) -> World {
    let upstream = Arc::new(Mirrors::new(mirrors, git::Limits::default()));
    World::with(cluster(), upstream, Memory::default(), Rules { local_repositories: true, ..Rules::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_force_pushes_and_deleted_branches() {
    let (repository, mirrors) = (Repository::new(), tempfile::tempdir().unwrap());
    repository.write("deploy/a.yaml", config_map("a", "1"));
    let first = repository.commit("one\n\nmore");
    let world = world(mirrors.path());
    world.source("apps", json!({ "url": repository.url(), "path": "deploy" }));
    world.until_applied("apps", &first).await;
    assert_eq!(world.status("apps")["commit"]["message"], "one");

    repository.write("deploy/a.yaml", config_map("a", "2"));
    let second = repository.commit("two");
    world.ask("apps");
    world.until_applied("apps", &second).await;

    repository.git(&["reset", "--quiet", "--hard", &first]);
    repository.write("deploy/a.yaml", config_map("a", "3"));
    let forced = repository.commit("another two");
    world.ask("apps");
    world.until_applied("apps", &forced).await;
    assert_eq!(world.config("a").unwrap()["data"]["key"], "3");

    repository.git(&["branch", "--quiet", "--move", "main", "trunk"]);
    world.ask("apps");
    world.until_ready("apps", "False NotFound ").await;
    let told = world.condition("apps", "Ready");
    assert!(told.contains("branch 'main'") && told.contains("what was applied stays"), "{told}");
    assert!(world.config("a").is_some());
    let patch = json!({ "spec": { "ref": { "branch": "trunk" } } });
    world.cluster.patch("user", GIT_SOURCE, "shop", "apps", patch).unwrap();
    world.until_ready("apps", "True Applied trunk@sha1:").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repositories_that_are_odd_or_huge_end_as_conditions() {
    let mirrors = tempfile::tempdir().unwrap();
    let world = world(mirrors.path());
    let good = Repository::new();
    good.write("a.yaml", config_map("good", "1"));
    let fine = good.commit("fine");
    type Make = fn(&Repository);
    let cases: [(&str, &str, Make); 6] = [
        ("many", "False TooLarge ", |repository| {
            for number in 0..10_050 {
                repository.write(&format!("deploy/{}/{number}.txt", number / 500), "x");
            }
        }),
        ("large", "False TooLarge file 'deploy/large.yaml' has ", |repository| {
            repository.write("deploy/large.yaml", vec![b'#'; 50 << 20])
        }),
        ("words", "False InvalidManifest deploy/a.yaml:2 is not a manifest", |repository| {
            repository.write("deploy/a.yaml", "this is\n  not: [yaml");
        }),
        ("link", "False NotFollowed deploy/passwd.yaml is a symbolic link", |repository| {
            repository.write("deploy/a.yaml", config_map("link", "1"));
            std::os::unix::fs::symlink("/etc/passwd", repository.folder.path().join("deploy/passwd.yaml")).unwrap();
        }),
        ("module", "False NotFollowed deploy/module is a submodule", |repository| {
            repository.write("deploy/a.yaml", config_map("module", "1"));
            let commit = repository.commit("a commit to point at");
            repository.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},deploy/module")]);
            repository.git(&["commit", "--quiet", "--message", "a submodule"]);
        }),
        ("nowhere", "False NotFound ", |repository| repository.write("elsewhere/a.yaml", config_map("a", "1"))),
    ];
    let mut repositories = Vec::new();
    for (name, _, make) in &cases {
        let repository = Repository::new();
        make(&repository);
        if *name != "module" {
            repository.commit("odd");
        }
        world.source(name, json!({ "url": repository.url(), "path": "deploy" }));
        repositories.push(repository);
    }
    world.source("good", json!({ "url": good.url() }));
    world.until_applied("good", &fine).await;
    for (name, begins, _) in &cases {
        world.until_ready(name, begins).await;
        eprintln!("{name}: {}", world.condition(name, "Ready"));
        assert!(world.config(name).is_none(), "{name}: nothing of it is applied");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_to_a_thousand_files_is_applied_within_a_second_of_the_word() {
    controller::http::install_cryptography();
    let (repository, mirrors) = (Repository::new(), tempfile::tempdir().unwrap());
    for number in 0..1_000 {
        repository.write(&format!("deploy/{number}.yaml"), config_map(&format!("c{number}"), "1"));
    }
    let first = repository.commit("a thousand");
    let world = world(mirrors.path());
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "hook", "namespace": "shop" }, "stringData": { "token": "a long token" } });
    world.cluster.create("user", secret).unwrap();
    let webhook = json!({ "type": "Generic", "secretRef": { "name": "hook" } });
    world.source("apps", json!({ "url": repository.url(), "webhook": webhook, "interval": "1h" }));
    world.until_applied("apps", &first).await;
    world.at_rest().await;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = world.agent.receiver().router();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let path = world.status("apps")["webhookPath"].as_str().unwrap().to_owned();

    repository.write("deploy/500.yaml", config_map("c500", "2"));
    let second = repository.commit("one of them");
    world.requests.forget();
    let begin = Instant::now();
    let request = reqwest::Client::new().post(format!("http://{address}{path}")).bearer_auth("a long token");
    assert_eq!(request.send().await.unwrap().status(), 202);
    world.until("the change", |world| world.config("c500").unwrap()["data"]["key"] == "2").await;
    let took = begin.elapsed();
    world.until_applied("apps", &second).await;
    assert_eq!(world.requests.writes(), ["patch ConfigMap shop/c500"]);
    eprintln!("from the push to the object, one of 1,000 files: {took:?}");
    assert!(took.as_millis() <= 1_000, "{took:?}");
    // Of all of this program: of interest when this test runs alone.
    let memory = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    eprintln!("{}", memory.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    serving.abort();
}

/// The log of this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_nowhere_to_be_read() {
    controller::http::install_cryptography();
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(move || writer.clone());
    // No other test of this program reads the log.
    subscriber.try_init().unwrap();
    // A server that repeats what it was told, as some do in pages of errors.
    let refuse = axum::routing::any(|headers: axum::http::HeaderMap| async move {
        (StatusCode::UNAUTHORIZED, [("www-authenticate", "Basic realm=\"git\"")], format!("{headers:?}"))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(refuse)).await });

    let mirrors = tempfile::tempdir().unwrap();
    let world = world(mirrors.path());
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "git", "namespace": "shop" },
        "stringData": { "username": "mia", "password": "hunter2-hunter2" } });
    world.cluster.create("user", secret).unwrap();
    world.source("apps", json!({ "url": format!("http://{address}/shop.git"), "secretRef": { "name": "git" } }));
    world.until_ready("apps", "False CredentialsRefused ").await;
    assert!(world.condition("apps", "Ready").contains("Secret of spec.secretRef"));
    world.at_rest().await;
    let sources = world.cluster.list(GIT_SOURCE, "").iter().map(ToString::to_string).collect::<String>();
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(log.contains("git source shop/apps"), "the log was read: {log}");
    // As it is, and as a header of HTTP carries it.
    for secret in ["hunter2-hunter2", "bWlhOmh1bnRlcjItaHVudGVyMg"] {
        assert!(!sources.contains(secret) && !log.contains(secret), "{secret} is shown");
        let kept = Command::new("grep").args(["-r", secret]).arg(mirrors.path()).output().unwrap();
        assert!(kept.stdout.is_empty(), "{secret} is on the disk");
    }
    serving.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_commits_that_a_known_key_has_signed_are_applied() {
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        eprintln!("skipped: there is no ssh-keygen");
        return;
    }
    let (repository, mirrors, keys) = (Repository::new(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = |name: &str| {
        let path = keys.path().join(name);
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status().unwrap();
        assert!(made.success());
        (path.display().to_string(), std::fs::read_to_string(path.with_extension("pub")).unwrap())
    };
    let ((mine, public), (other, _)) = (key("mine"), key("other"));
    let sign = |key: &str, message: &str| {
        let signing = format!("user.signingKey={key}");
        repository.git(&["add", "--all"]);
        repository.git(&["-c", "gpg.format=ssh", "-c", &signing, "commit", "--quiet", "-S", "--message", message]);
        repository.git(&["rev-parse", "HEAD"])
    };
    repository.write("a.yaml", config_map("a", "1"));
    let first = sign(&mine, "signed");
    let world = world(mirrors.path());
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "keys", "namespace": "shop" },
        "stringData": { "mia.pub": public } });
    world.cluster.create("user", secret).unwrap();
    world.source("apps", json!({ "url": repository.url(), "verify": { "secretRef": { "name": "keys" } } }));
    world.until_applied("apps", &first).await;

    repository.write("a.yaml", config_map("a", "2"));
    sign(&other, "by somebody");
    world.ask("apps");
    world.until_ready("apps", "False NotVerified the signature of commit ").await;
    repository.write("a.yaml", config_map("a", "3"));
    repository.commit("by nobody");
    world.ask("apps");
    let unsigned = |world: &World| world.condition("apps", "Ready").contains("is not signed");
    world.until("the next one", unsigned).await;
    assert_eq!(world.config("a").unwrap()["data"]["key"], "1", "what was applied stays");
    repository.write("a.yaml", config_map("a", "4"));
    let last = sign(&mine, "signed again");
    world.ask("apps");
    world.until_applied("apps", &last).await;
}
