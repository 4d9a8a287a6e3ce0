//! `serin image set` in a checkout of a real Git repository.

use std::path::Path;
use std::process::{Command, Output};

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
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        let output = run(command.current_dir(self.folder.path().join(folder)).args(["image", "set"]).args(arguments));
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }
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
