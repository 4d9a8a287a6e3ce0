//! The forge of the tests, Gitea, and repositories in it that people and controllers push to.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::git::git;

const ADDRESS: &str = "127.0.0.1:3300";

/// The running forge and the account that owns everything in it.
#[derive(Clone, Debug)]
pub struct Forge {
    /// Who pushes.
    pub user: String,
    /// Their password.
    pub password: String,
}

/// A repository in the forge, with a clone that a person works in.
pub struct ForgeRepository {
    forge: Forge,
    name: String,
    work: PathBuf,
}

impl Forge {
    /// The forge that `cluster/gitops` started.
    ///
    /// # Errors
    /// When it was not started.
    pub fn find() -> Result<Self> {
        let file = crate::cluster::state().context("a cluster of one's own has no forge")?.join("gitea/account");
        let account = std::fs::read_to_string(&file)
            .with_context(|| format!("reading {}; start the forge with e2e/cluster/gitops", file.display()))?;
        let (user, password) =
            account.trim().split_once(' ').with_context(|| format!("{} has no account", file.display()))?;
        Ok(Self { user: user.to_owned(), password: password.to_owned() })
    }

    /// Makes a repository anew, with a first commit, and clones it into `folder`.
    ///
    /// # Errors
    /// When the forge or `git` refuses.
    pub async fn repository(&self, name: &str, folder: &Path) -> Result<ForgeRepository> {
        let path = format!("/repos/{}/{name}", self.user);
        if self.ask(Method::GET, &path, None).await.is_ok() {
            self.ask(Method::DELETE, &path, None).await?;
        }
        let wanted = json!({"name": name, "auto_init": true, "default_branch": "main"});
        self.ask(Method::POST, "/user/repos", Some(wanted)).await?;
        let work = folder.join(name);
        let target = work.to_str().context("the folder of the test is not UTF-8")?;
        git(folder, &["clone", "--quiet", &self.authenticated(name), target]).await?;
        git(&work, &["config", "user.name", "Mia Dev"]).await?;
        git(&work, &["config", "user.email", "mia@example.com"]).await?;
        Ok(ForgeRepository { forge: self.clone(), name: name.to_owned(), work })
    }

    /// Makes a token that may write repositories and speak on pull requests, anew.
    ///
    /// # Errors
    /// When the forge refuses.
    pub async fn token(&self, name: &str) -> Result<String> {
        let path = format!("/users/{}/tokens", self.user);
        if let Err(error) = self.ask(Method::DELETE, &format!("{path}/{name}"), None).await {
            // There is none of that name.
            drop(error);
        }
        let wanted = json!({"name": name, "scopes": ["write:repository", "write:issue"]});
        let made = self.ask(Method::POST, &path, Some(wanted)).await?;
        made["sha1"].as_str().map(str::to_owned).context("the forge made a token and does not tell it")
    }

    /// Asks the forge's API; a status that is no success is an error.
    ///
    /// # Errors
    /// When it refuses or does not answer.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let url = format!("http://{ADDRESS}/api/v1{path}");
        let told = format!("{method} {url}");
        let credentials = BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password));
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .header("authorization", format!("Basic {credentials}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .with_context(|| told.clone())?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.with_context(|| told.clone())?;
        let status = response.status();
        let body = response.into_body().collect().await.with_context(|| told.clone())?.to_bytes();
        if !status.is_success() {
            bail!("{told} answered {status}: {}", String::from_utf8_lossy(&body));
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).with_context(|| format!("{told} answered no JSON"))
    }

    fn authenticated(&self, name: &str) -> String {
        format!("http://{}:{}@{ADDRESS}/{}/{name}.git", self.user, self.password, self.user)
    }
}

impl ForgeRepository {
    /// Its URL, without credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{ADDRESS}/{}/{}", self.forge.user, self.name)
    }

    /// Writes the objects as manifests below `folder` of the repository, commits and pushes them. Returns the commit.
    ///
    /// # Errors
    /// When `git` or the forge refuses.
    pub async fn commit(&self, folder: &str, message: &str, objects: &[Value]) -> Result<String> {
        self.pull().await?;
        self.record(folder, message, objects).await?;
        git(&self.work, &["push", "--quiet", "origin", "main"]).await?;
        git(&self.work, &["rev-parse", "HEAD"]).await
    }

    /// What a pipeline does that has built an image: `serin image set` in a checkout. Returns the commit.
    ///
    /// # Errors
    /// When it does not end well.
    pub async fn set_image(&self, folder: &str, image: &str) -> Result<String> {
        self.pull().await?;
        let serin = crate::serin::binary()?;
        let step = tokio::process::Command::new(&serin)
            .args(["image", "set", image, "--path", folder, "--push"])
            .current_dir(&self.work)
            .output()
            .await
            .with_context(|| format!("running {} image set", serin.display()))?;
        ensure!(step.status.success(), "image set failed: {}", String::from_utf8_lossy(&step.stderr));
        git(&self.work, &["rev-parse", "HEAD"]).await
    }

    /// Commits the objects in the checkout, on the branch that it is at.
    async fn record(&self, folder: &str, message: &str, objects: &[Value]) -> Result<()> {
        let into = self.work.join(folder);
        std::fs::create_dir_all(&into).with_context(|| format!("making {}", into.display()))?;
        for object in objects {
            let name =
                format!("{}-{}.yaml", object["kind"], object["metadata"]["name"]).replace('"', "").to_lowercase();
            let text = serde_saphyr::to_string(object).with_context(|| format!("writing {name} as YAML"))?;
            std::fs::write(into.join(&name), text).with_context(|| format!("writing {name}"))?;
        }
        git(&self.work, &["add", "--all"]).await?;
        git(&self.work, &["commit", "--quiet", "--message", message]).await?;
        Ok(())
    }

    /// Opens a pull request from a new branch with these manifests. Returns its number.
    ///
    /// # Errors
    /// When `git` or the forge refuses.
    pub async fn propose(&self, branch: &str, folder: &str, title: &str, objects: &[Value]) -> Result<u64> {
        self.pull().await?;
        git(&self.work, &["checkout", "--quiet", "-b", branch]).await?;
        self.record(folder, title, objects).await?;
        git(&self.work, &["push", "--quiet", "origin", branch]).await?;
        git(&self.work, &["checkout", "--quiet", "main"]).await?;
        let wanted = json!({"title": title, "head": branch, "base": "main"});
        let pull = self.ask(Method::POST, "/pulls", Some(wanted)).await?;
        pull["number"].as_u64().with_context(|| format!("the pull request has no number: {pull}"))
    }

    /// Merges a pull request, once the forge has seen that it can be merged. Returns the newest commit of the branch.
    ///
    /// # Errors
    /// When the forge refuses for half a minute.
    pub async fn merge(&self, number: u64) -> Result<String> {
        crate::wait_for("the forge to merge", std::time::Duration::from_secs(30), || async {
            self.ask(Method::POST, &format!("/pulls/{number}/merge"), Some(json!({"Do": "merge"}))).await
        })
        .await?;
        self.pull().await?;
        git(&self.work, &["rev-parse", "HEAD"]).await
    }

    /// The commits of the forge's branch since `commit`, newest first, as `id subject`, with the body of each.
    ///
    /// # Errors
    /// When `git` or the forge refuses.
    pub async fn commits_since(&self, commit: &str) -> Result<Vec<Commit>> {
        self.pull().await?;
        let range = format!("{commit}..HEAD");
        let text = git(&self.work, &["log", "--format=%H%x1f%an%x1f%B%x1e", &range]).await?;
        let commits = text.split('\x1e').filter(|part| !part.trim().is_empty()).map(|part| {
            let mut fields = part.trim().splitn(3, '\x1f');
            let mut next = || fields.next().unwrap_or_default().to_owned();
            Commit { id: next(), author: next(), message: next() }
        });
        Ok(commits.collect())
    }

    /// A file of the forge's branch.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn file(&self, path: &str) -> Result<String> {
        self.pull().await?;
        std::fs::read_to_string(self.work.join(path)).with_context(|| format!("reading {path} of {}", self.name))
    }

    /// Asks the forge about this repository.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        self.forge.ask(method, &format!("/repos/{}/{}{path}", self.forge.user, self.name), body).await
    }

    /// A Secret with which controllers may read and write it.
    #[must_use]
    pub fn secret(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"username": self.forge.user, "password": self.forge.password},
        })
    }

    async fn pull(&self) -> Result<()> {
        git(&self.work, &["pull", "--quiet", "--ff-only"]).await.map(drop)
    }
}

/// A commit as the forge has it.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// Who wrote it.
    pub author: String,
    /// The whole message.
    pub message: String,
}
