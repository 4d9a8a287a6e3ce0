//! `serin image set` in a checkout of a real Git repository.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

const KUSTOMIZATION: &str = "# what runs\nimages:\n- name: ghcr.io/acme/shop   # ours\n  newTag: \"1.0\"\n";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// A remote, and a clone `work` of it with a Kustomization and a template in it.
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder") };
        place.git(".", &["init", "--quiet", "--bare", "--initial-branch", "main", "remote"]);
        place.clone_as("work");
        place.write("work/apps/kustomization.yaml", KUSTOMIZATION);
        place.write("work/chart/templates/all.yaml", "{{ if .Values.on }}\nimage: {{ .Values.image }}\n{{ end }}\n");
        place.git("work", &["add", "--all"]);
        place.git("work", &["commit", "--quiet", "--message", "First"]);
        place.git("work", &["push", "--quiet", "origin", "main"]);
        place
    }

    fn clone_as(&self, name: &str) {
        self.git(".", &["clone", "--quiet", "remote", name]);
        self.git(name, &["config", "user.name", "Pipeline"]);
        self.git(name, &["config", "user.email", "pipeline@example.com"]);
        self.git(name, &["checkout", "--quiet", "-B", "main"]);
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, text).expect("written");
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).expect("a file")
    }

    fn git(&self, folder: &str, arguments: &[&str]) -> String {
        let output = run(Command::new("git").current_dir(self.folder.path().join(folder)).args(arguments));
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// `serin image set` in the folder: whether it succeeded, and what it said on stdout and stderr.
    fn set(&self, folder: &str, arguments: &[&str]) -> (bool, String) {
        self.set_with(folder, arguments, &[])
    }

    fn set_with(&self, folder: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.env_remove("SERIN_FORGE_TOKEN").envs(variables.iter().copied());
        let output = run(command.current_dir(self.folder.path().join(folder)).args(["image", "set"]).args(arguments));
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// A forge that has no pull request yet and opens number 7.
struct Forge {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Forge {
    fn start() -> Forge {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let request = whole_request(&mut stream);
                let pull = r#"{"number":7,"html_url":"http://forge.example/7"}"#;
                let (status, body) = if request.starts_with("POST") { ("201 Created", pull) } else { ("200 OK", "[]") };
                seen.lock().expect("a lock").push(request);
                let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
                write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).expect("an answer");
            }
        });
        Forge { port, asked }
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}/dev/shop.git", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("a lock").clone()
    }
}

/// Head and body as text.
fn whole_request(stream: &mut TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        let end = line.trim().is_empty();
        text.push_str(&line);
        if end {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    text + &String::from_utf8_lossy(&body)
}

fn run(command: &mut Command) -> Output {
    command.env("GIT_CONFIG_GLOBAL", Path::new("/dev/null")).output().expect("a program")
}

#[test]
fn a_tag_is_set_committed_and_pushed() {
    let place = Place::new();
    let (done, said) = place.set("work", &["ghcr.io/acme/shop:1.1", "--push"]);
    assert!(done, "{said}");
    assert!(said.contains("-   newTag: \"1.0\"") || said.contains("- newTag: \"1.0\""), "{said}");
    assert!(said.contains("+ newTag: \"1.1\""), "{said}");
    assert_eq!(place.read("work/apps/kustomization.yaml"), KUSTOMIZATION.replace("1.0", "1.1"));
    assert_eq!(place.git("remote", &["log", "-1", "--format=%s", "main"]), "Set ghcr.io/acme/shop:1.1");

    let (done, said) = place.set("work", &["ghcr.io/acme/shop:1.1", "--push"]);
    assert!(done && said.starts_with("nothing to change"), "{said}");
    assert_eq!(place.git("remote", &["rev-list", "--count", "main"]), "2");
}

#[test]
fn a_push_that_comes_second_is_put_on_top() {
    let place = Place::new();
    place.clone_as("other");
    place.write("other/README", "hello\n");
    place.git("other", &["add", "--all"]);
    place.git("other", &["commit", "--quiet", "--message", "Between"]);
    place.git("other", &["push", "--quiet", "origin", "main"]);
    let (done, said) = place.set("work", &["ghcr.io/acme/shop:1.1", "--push", "--message", "Ship 1.1"]);
    assert!(done, "{said}");
    assert_eq!(place.git("remote", &["log", "--format=%s", "main"]), "Ship 1.1\nBetween\nFirst");
}

#[test]
fn a_pull_request_is_opened_for_a_branch_of_its_own() {
    let place = Place::new();
    let forge = Forge::start();
    place.git(
        "work",
        &["config", &format!("url.{}.insteadOf", place.folder.path().join("remote").display()), &forge.address()],
    );
    place.git("work", &["remote", "set-url", "origin", &forge.address()]);
    let (done, said) = place.set("work", &["ghcr.io/acme/shop:1.1", "--pull-request", "--forge", "gitea"]);
    assert!(!done && said.contains("SERIN_FORGE_TOKEN"), "{said}");
    let stands = place.git("work", &["status", "--short", "--branch"]);
    assert!(stands.starts_with("## main") && !stands.contains('\n'), "nothing was done: {stands}");
    let arguments = ["ghcr.io/acme/shop:1.1", "--pull-request", "--forge", "gitea"];
    let (done, said) = place.set_with("work", &arguments, &[("SERIN_FORGE_TOKEN", "very-secret")]);
    assert!(done && said.contains("http://forge.example/7") && !said.contains("very-secret"), "{said}");
    let branch = "serin/set-ghcr.io-acme-shop-1.1";
    assert_eq!(place.git("remote", &["log", "-1", "--format=%s", branch]), "Set ghcr.io/acme/shop:1.1");
    assert_eq!(place.git("remote", &["rev-list", "--count", "main"]), "1");
    let asked = forge.asked();
    let opened = asked.iter().find(|request| request.starts_with("POST")).expect("a pull request");
    for word in ["/api/v1/repos/dev/shop/pulls", "token very-secret", branch, "\"base\":\"main\""] {
        assert!(opened.contains(word), "{word}: {opened}");
    }
}

#[test]
fn only_the_changed_files_are_committed() {
    let place = Place::new();
    place.write("work/notes.txt", "mine\n");
    place.git("work", &["add", "notes.txt"]);
    let (done, said) = place.set("work", &["ghcr.io/acme/shop:1.1", "--path", "apps", "--branch", "ship"]);
    assert!(done, "{said}");
    assert_eq!(place.git("work", &["show", "--format=", "--name-only", "HEAD"]), "apps/kustomization.yaml");
    assert_eq!(place.git("work", &["rev-parse", "--abbrev-ref", "HEAD"]), "ship");
    assert_eq!(place.git("work", &["status", "--short"]), "A  notes.txt");
}

#[test]
fn a_dry_run_changes_nothing() {
    let place = Place::new();
    let (done, said) = place.set("work", &["ghcr.io/acme/shop:1.1", "--dry-run"]);
    assert!(done && said.contains("+ newTag: \"1.1\""), "{said}");
    assert_eq!(place.git("work", &["status", "--short"]), "");
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let place = Place::new();
    for (arguments, words) in [
        (vec!["ghcr.io/acme/ship:1.1"], vec!["no manifest", "named there: ghcr.io/acme/shop", "all.yaml"]),
        (vec!["ghcr.io/acme/shop"], vec!["neither tag nor digest"]),
        (vec!["ghcr.io/acme/shop:a b"], vec!["is no image"]),
        (vec!["ghcr.io/acme/shop:1.1", "--path", "nowhere"], vec!["nowhere"]),
    ] {
        let (done, said) = place.set("work", &arguments);
        assert!(!done, "{arguments:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{arguments:?} does not say {word:?}: {said}");
        }
    }
    assert_eq!(place.git("work", &["status", "--short"]), "");
}
