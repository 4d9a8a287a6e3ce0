//! A real Git repository, and the least that stands for a GitOps operator: check out what was committed, apply it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kube::Client;
use serde_json::Value;
use tokio::process::Command;

use crate::objects;

/// The field manager of what comes from Git.
pub const MANAGER: &str = "gitops-test";

/// A repository whose commits the operator follows into one namespace.
pub struct GitRepository {
    work: PathBuf,
    deployed: PathBuf,
    client: Client,
    namespace: String,
}

impl GitRepository {
    /// An empty repository under `folder`.
    ///
    /// # Errors
    /// When `git` fails.
    pub async fn create(folder: &Path, client: Client, namespace: &str) -> Result<Self> {
        let (work, deployed) = (folder.join("repository"), folder.join("deployed"));
        std::fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
        git(&work, &["init", "--quiet", "--initial-branch", "main"]).await?;
        git(&work, &["config", "user.name", "Dev"]).await?;
        git(&work, &["config", "user.email", "dev@example.com"]).await?;
        Ok(Self { work, deployed, client, namespace: namespace.to_owned() })
    }

    /// Writes the objects as manifests, one file each, commits them and lets the operator apply the commit. Returns its id.
    ///
    /// # Errors
    /// When `git` or the API server refuses.
    pub async fn commit(&self, message: &str, objects: &[Value]) -> Result<String> {
        for object in objects {
            let name =
                format!("{}-{}.yaml", object["kind"], object["metadata"]["name"]).replace('"', "").to_lowercase();
            let text = serde_saphyr::to_string(object).with_context(|| format!("writing {name} as YAML"))?;
            std::fs::write(self.work.join(&name), text).with_context(|| format!("writing {name}"))?;
        }
        git(&self.work, &["add", "--all"]).await?;
        git(&self.work, &["commit", "--quiet", "--message", message]).await?;
        self.deploy().await
    }

    /// Takes the last commit back by a new commit, as a person would, and applies that.
    ///
    /// # Errors
    /// When `git` or the API server refuses.
    pub async fn revert(&self) -> Result<String> {
        git(&self.work, &["revert", "--no-edit", "HEAD"]).await?;
        self.deploy().await
    }

    async fn deploy(&self) -> Result<String> {
        if !self.deployed.exists() {
            let (from, to) = (path(&self.work)?, path(&self.deployed)?);
            git(&self.work, &["clone", "--quiet", from, to]).await?;
        }
        git(&self.deployed, &["pull", "--quiet", "--ff-only"]).await?;
        let commit = git(&self.deployed, &["rev-parse", "HEAD"]).await?;
        let mut files: Vec<PathBuf> = std::fs::read_dir(&self.deployed)
            .with_context(|| format!("listing {}", self.deployed.display()))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .collect();
        files.sort_by_key(|path| std::cmp::Reverse(path.clone()));
        for file in files {
            let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            let object: Value = serde_saphyr::from_str(&text).with_context(|| format!("parsing {}", file.display()))?;
            objects::apply(&self.client, &self.namespace, MANAGER, &object).await?;
        }
        Ok(commit)
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

pub(crate) async fn git(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .output()
        .await
        .with_context(|| format!("running git {}", arguments.join(" ")))?;
    if !output.status.success() {
        bail!("git {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
