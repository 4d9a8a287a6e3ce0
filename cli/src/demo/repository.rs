//! The Git repository that holds what should run, and the operator that brings its HEAD to the cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

use super::DemoError;

/// Between two looks at HEAD.
const POLL: Duration = Duration::from_millis(500);

/// What the simulated cluster is to run.
pub(super) const FILES: [(&str, &str); 2] =
    [("app.yaml", include_str!("manifests/app.yaml")), ("canary.yaml", include_str!("manifests/canary.yaml"))];

/// Variables that would lead `git` to another repository, as in a hook.
const ASTRAY: [&str; 4] = ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"];

/// A repository on disk.
#[derive(Clone, Debug)]
pub(super) struct Repository {
    folder: PathBuf,
}

/// What the operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// All objects of that commit are in the cluster.
    Applied(String),
    /// It could not do that; the words say why.
    Refused(String),
}

impl Repository {
    /// A new one in that folder, with these files in its first commit.
    pub(super) async fn create(
        folder: PathBuf,
        files: &[(&str, &str)],
        message: &str,
    ) -> Result<Repository, DemoError> {
        let file = |path: &Path, why| DemoError::File { path: path.to_owned(), why };
        std::fs::create_dir(&folder).map_err(|why| file(&folder, why))?;
        let repository = Repository { folder };
        repository.git(&["init", "--quiet"]).await?;
        repository.git(&["symbolic-ref", "HEAD", "refs/heads/main"]).await?;
        // Commits of the user are to work as well, whatever their own settings are.
        for (key, value) in [
            ("user.name", "Serin demo"),
            ("user.email", "demo@example.com"),
            ("commit.gpgSign", "false"),
            ("core.hooksPath", ".git/no-hooks"),
        ] {
            repository.git(&["config", key, value]).await?;
        }
        for (name, text) in files {
            let path = repository.folder.join(name);
            std::fs::write(&path, text).map_err(|why| file(&path, why))?;
        }
        repository.git(&["add", "--all"]).await?;
        repository.git(&["commit", "--quiet", "--message", message]).await?;
        Ok(repository)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives the workload another tag, and commits that.
    pub(super) async fn release(&self, from: &str, to: &str) -> Result<(), DemoError> {
        let edit = (format!("podinfo:{from}"), format!("podinfo:{to}"));
        self.change(&[(&edit.0, &edit.1)], &format!("podinfo {to}")).await
    }

    /// Puts other words into the workload's manifest, and commits that.
    pub(super) async fn change(&self, edits: &[(&str, &str)], message: &str) -> Result<(), DemoError> {
        let path = self.folder.join("app.yaml");
        let file = |why| DemoError::File { path: path.clone(), why };
        let text = std::fs::read_to_string(&path).map_err(file)?;
        let text = edits.iter().fold(text, |text, (from, to)| text.replace(from, to));
        std::fs::write(&path, text).map_err(file)?;
        self.git(&["commit", "--quiet", "--all", "--message", message]).await.map(drop)
    }

    /// Brings the objects of HEAD to a cluster whenever it is another commit, for ever; `apply` does that for one. What is
    /// gone from Git stays in the cluster.
    pub(super) async fn deliver(
        &self,
        apply: impl AsyncFn(Value) -> Result<(), DemoError>,
        told: &UnboundedSender<Delivery>,
    ) {
        let mut last = Err(String::new());
        loop {
            let head = self.git(&["rev-parse", "HEAD"]).await.map_err(|error| error.to_string());
            if head != last {
                let delivery = match &head {
                    Ok(commit) => match self.apply(commit, &apply).await {
                        Ok(()) => Delivery::Applied(commit.chars().take(7).collect()),
                        Err(error) => Delivery::Refused(error.to_string()),
                    },
                    Err(why) => Delivery::Refused(why.clone()),
                };
                last = head;
                if told.send(delivery).is_err() {
                    return;
                }
            }
            sleep(POLL).await;
        }
    }

    async fn apply(&self, commit: &str, apply: &impl AsyncFn(Value) -> Result<(), DemoError>) -> Result<(), DemoError> {
        for object in self.objects(commit).await? {
            apply(object).await?;
        }
        Ok(())
    }

    /// All objects of that commit.
    async fn objects(&self, commit: &str) -> Result<Vec<Value>, DemoError> {
        let mut objects = Vec::new();
        let names = self.git(&["ls-tree", "-r", "--name-only", commit]).await?;
        for name in names.lines().filter(|name| name.ends_with(".yaml") || name.ends_with(".yml")) {
            let text = self.git(&["show", &format!("{commit}:{name}")]).await?;
            let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
                .map_err(|why| DemoError::Manifest { name: name.to_owned(), why: why.to_string() })?;
            objects.extend(documents.into_iter().filter(|document| !document.is_null()));
        }
        Ok(objects)
    }

    /// What `git` prints, without the last line's end.
    async fn git(&self, arguments: &[&str]) -> Result<String, DemoError> {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.folder).args(arguments);
        for name in ASTRAY {
            command.env_remove(name);
        }
        let output = command.output().await.map_err(DemoError::NoGit)?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(DemoError::Git { command: arguments.join(" "), why })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_release_is_a_commit_with_another_tag() {
        let folder = tempfile::tempdir().expect("a folder");
        let repository =
            Repository::create(folder.path().join("repository"), &FILES, "podinfo 6.9.0").await.expect("a repository");
        repository.release("6.9.0", "6.9.1").await.expect("a release");
        let objects = repository.objects("HEAD").await.expect("objects");
        let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
        assert_eq!(kinds, ["Deployment", "HorizontalPodAutoscaler", "Canary"]);
        let image = objects[0].pointer("/spec/template/spec/containers/0/image");
        assert_eq!(image, Some(&Value::from("stefanprodan/podinfo:6.9.1")));
        assert_eq!(repository.git(&["rev-list", "--count", "HEAD"]).await.expect("a count"), "2");
    }

    #[tokio::test]
    async fn what_is_no_yaml_is_refused_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let repository =
            Repository::create(folder.path().join("repository"), &FILES, "podinfo 6.9.0").await.expect("a repository");
        std::fs::write(repository.folder.join("broken.yaml"), "a: [").expect("a file");
        repository.git(&["add", "--all"]).await.expect("added");
        repository.git(&["commit", "--quiet", "--message", "broken"]).await.expect("a commit");
        let refused = repository.objects("HEAD").await.expect_err("no YAML");
        assert!(refused.to_string().starts_with("reading broken.yaml of the repository"), "{refused}");
    }
}
