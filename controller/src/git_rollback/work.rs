//! One revert: into a mirror, on top of the branch, out to the remote, and where that is wanted or needed a pull request.

use std::path::PathBuf;

use crds::Source;
use futures::FutureExt;
use futures::future::BoxFuture;
use git::{
    Change, CommitId, Credentials, Error, Limits, Mirror, NewCommit, Person, Pushed, Reference, Remote, Reverted,
};
use jiff::Timestamp;
use rollout::GitOutcome;

use super::files::{self, Changed};
use super::{Job, folder_of, message};
use crate::attribution::DEFAULT_BRANCH;
use crate::forges::{self, CloneAddress, FileChange, NewPull, Proposal, Repository, Token, talk};
use crate::gather::SecretData;
use crate::outside::Outside;

/// Tries against others who push to the same branch at the same time.
const RACES: usize = 5;

/// Commits of the branch that are searched for the failed one.
const LOG: usize = 1000;

/// Who makes the commits.
fn serin() -> Person {
    Person { name: "Serin".into(), email: "serin@noreply.serin.dev".into() }
}

/// With what a repository is written.
#[derive(Clone, Debug)]
pub struct Access {
    remote: Remote,
    token: Option<Token>,
}

impl Access {
    /// Out of a Secret, with the keys that Flux and GitSources know: `username` and `password`, `bearerToken`, `identity` and
    /// `known_hosts`, `ca.crt`; and `token` for the forge where it is another.
    ///
    /// # Errors
    /// What is wrong, in words without a secret.
    pub fn of(source: &Source, data: &SecretData) -> Result<Access, String> {
        let text = |key: &str| {
            let value = data.get(key).map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
            value.filter(|value| !value.is_empty())
        };
        let (Some(url), Some(branch)) = (&source.repository, &source.branch) else {
            return Err("neither repository nor branch of the failed revision are known".into());
        };
        let credentials = if let (Some(private_key), Some(known_hosts)) = (text("identity"), text("known_hosts")) {
            Credentials::Ssh { private_key: format!("{private_key}\n"), known_hosts }
        } else if let Some(token) = text("bearerToken") {
            Credentials::Bearer(token)
        } else if let Some(password) = text("password").or_else(|| text("token")) {
            Credentials::Basic { username: text("username").unwrap_or_else(|| "git".into()), password }
        } else {
            Credentials::None
        };
        let remote =
            Remote::new(url, Reference::Branch(branch.clone()), credentials).map_err(|error| error.to_string())?;
        let remote = match text("ca.crt") {
            Some(ca) => remote.with_ca(ca),
            None => remote,
        };
        let token = ["token", "bearerToken", "password"].into_iter().find_map(text);
        Ok(Access { remote, token: token.as_deref().and_then(Token::new) })
    }

    /// With the name of the branch, where the source only says that it is the default one.
    async fn resolve(&self, repositories: &dyn Repositories) -> Result<Option<Access>, Error> {
        if branch_of(&self.remote) != DEFAULT_BRANCH {
            return Ok(None);
        }
        let branch = repositories.default_branch(self).await?;
        Ok(Some(Access { remote: self.remote.at(Reference::Branch(branch))?, token: self.token.clone() }))
    }
}

/// A revert as a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its id; of the commit that it would be put on when it was not made.
    pub commit: String,
    /// The files in it.
    pub paths: Vec<String>,
}

/// What came of writing into a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there, on the branch that was asked for.
    Pushed(Committed),
    /// It had been there before.
    Already(String),
    /// There is nothing to revert.
    MovedOn(String),
    /// These files were changed since in the same places.
    Conflict(Vec<String>),
    /// The branch does not take it.
    Refused(String),
    /// There is no `git` to push with. Each change, and whether its file is on the branch now.
    Unpushed(Committed, Vec<(Change, bool)>),
}

/// Where repositories are read and written.
pub trait Repositories: Send + Sync {
    /// The repository's default branch.
    fn default_branch<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Result<String, Error>>;

    /// Reverts on the branch of the source, or on the new branch of that name.
    fn write<'a>(
        &'a self,
        job: &'a Job,
        access: &'a Access,
        branch: Option<String>,
    ) -> BoxFuture<'a, Result<Written, Error>>;
}

/// Mirrors in a folder, which belongs to them alone.
pub struct Mirrors {
    storage: PathBuf,
    /// Two reverts in one repository take turns.
    turn: tokio::sync::Mutex<()>,
}

impl Mirrors {
    /// Nothing is made before it is needed.
    pub fn new(storage: PathBuf) -> Mirrors {
        Mirrors { storage, turn: tokio::sync::Mutex::new(()) }
    }
}

impl Repositories for Mirrors {
    fn default_branch<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Result<String, Error>> {
        let remote = access.remote.clone();
        blocking("ask for the default branch", move || Mirror::default_branch(&remote, &Limits::default())).boxed()
    }

    fn write<'a>(
        &'a self,
        job: &'a Job,
        access: &'a Access,
        branch: Option<String>,
    ) -> BoxFuture<'a, Result<Written, Error>> {
        async move {
            let _turn = self.turn.lock().await;
            let folder = folder_of(&self.storage, access.remote.url());
            let (job, remote) = (job.clone(), access.remote.clone());
            blocking("revert", move || write(&job, &remote, branch.as_deref(), folder)).await
        }
        .boxed()
    }
}

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(Error::File { what: what.into(), source: std::io::Error::other(panic) }))
}

fn write(job: &Job, remote: &Remote, branch: Option<&str>, folder: PathBuf) -> Result<Written, Error> {
    let limits = Limits::default();
    let mut mirror = Mirror::new(folder);
    let gone = |commit: &str| Ok(Written::MovedOn(format!("the branch does not contain commit {commit} any more")));
    let failed_text = job.record.failed_commit.as_deref().unwrap_or_default();
    let failed: CommitId = failed_text.parse()?;
    for _ in 0..RACES {
        let head = mirror.fetch(remote, &limits)?.commit.id;
        let parents = match mirror.deepen(remote, &failed, &limits) {
            Ok(commit) => commit.parents,
            Err(Error::NoCommit { .. }) => return gone(failed_text),
            Err(error) => return Err(error),
        };
        let since = mirror.log(LOG)?;
        let Some(depth) = since.iter().position(|commit| commit.id == failed) else { return gone(failed_text) };
        let trailer = message::trailer(job);
        if let Some(done) = since.iter().take(depth).find(|commit| commit.message.lines().any(|line| line == trailer)) {
            return Ok(Written::Already(done.id.to_string()));
        }
        if job.look_only {
            return Ok(Written::MovedOn("there is no revert of it".into()));
        }
        let good = match job.record.undone_by {
            Some(_) => Some(asked_for(job, &mut mirror, remote, &limits)?),
            None => known_good(job, &mut mirror, remote, &limits).or_else(|| parents.first().copied()),
        };
        let changed = changed(job, &mirror, good.as_ref(), &failed, &limits)?;
        let paths = files::of_workload(job, &changed);
        let under: Vec<&str> = paths.iter().map(String::as_str).collect();
        let changes = match mirror.restore(&failed, good.as_ref(), &head, &under, &limits)? {
            Reverted::Conflict(files) => return Ok(Written::Conflict(files)),
            Reverted::Clean(changes) if changes.is_empty() || under.is_empty() => {
                return Ok(Written::MovedOn("the branch asks for something else already".into()));
            }
            Reverted::Clean(changes) => changes,
        };
        let paths: Vec<String> = changes.iter().map(|change| change.path.clone()).collect();
        let new = NewCommit {
            parent: head,
            changes: changes.clone(),
            author: serin(),
            committer: serin(),
            // Made again after a crash, it is the same commit.
            time: job.record.since,
            message: message::commit(job, &paths),
        };
        let commit = match mirror.commit(&new) {
            Ok(commit) => commit,
            Err(Error::NothingToCommit { .. }) => {
                return Ok(Written::MovedOn("the branch asks for something else already".into()));
            }
            Err(error) => return Err(error),
        };
        let onto = branch.unwrap_or_else(|| branch_of(remote));
        let done = Written::Pushed(Committed { commit: commit.to_string(), paths: paths.clone() });
        match mirror.push(remote, onto, &commit, &limits) {
            Ok(Pushed::Done) => return Ok(done),
            // A branch of our own that is there already is what a former try had made.
            Ok(Pushed::Moved) if branch.is_some() => return Ok(done),
            Ok(Pushed::Moved) => {}
            Ok(Pushed::Refused { why }) => return Ok(Written::Refused(why)),
            Err(Error::Forbidden { why, .. }) => return Ok(Written::Refused(why)),
            Err(Error::Program { .. }) => {
                let tree = mirror.tree(&head)?;
                let known = |change: Change| Ok((tree.file(&change.path, &limits)?.is_some(), change));
                let changes = changes.into_iter().map(known).map(|known| known.map(|(there, change)| (change, there)));
                let changes = changes.collect::<Result<Vec<_>, Error>>()?;
                return Ok(Written::Unpushed(Committed { commit: head.to_string(), paths }, changes));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Written::Refused(format!("others pushed to the branch {RACES} times in a row")))
}

fn branch_of(remote: &Remote) -> &str {
    match &remote.reference {
        Reference::Branch(branch) => branch,
        Reference::Tag(_) | Reference::Commit(_) => "",
    }
}

/// The commit of the revision that serves, when it is in the history of this branch.
fn known_good(job: &Job, mirror: &mut Mirror, remote: &Remote, limits: &Limits) -> Option<CommitId> {
    let good: CommitId = job.record.good_commit.as_deref()?.parse().ok()?;
    mirror.deepen(remote, &good, limits).ok()?;
    mirror.log(LOG).ok()?.iter().any(|commit| commit.id == good).then_some(good)
}

/// The commit that a person wants to go back to.
fn asked_for(job: &Job, mirror: &mut Mirror, remote: &Remote, limits: &Limits) -> Result<CommitId, Error> {
    let commit: CommitId = job.record.good_commit.as_deref().unwrap_or_default().parse()?;
    mirror.deepen(remote, &commit, limits)?;
    let known = mirror.log(LOG)?.iter().any(|one| one.id == commit);
    if known { Ok(commit) } else { Err(Error::NoCommit { commit }) }
}

fn changed(
    job: &Job,
    mirror: &Mirror,
    good: Option<&CommitId>,
    failed: &CommitId,
    limits: &Limits,
) -> Result<Vec<Changed>, Error> {
    let read = |path: &str| {
        Some(String::from_utf8_lossy(&mirror.tree(failed).ok()?.file(path, limits).ok()??.bytes).into_owned())
    };
    let roots = files::roots(job.source.path.as_deref().unwrap_or_default(), &read);
    let mut paths = Vec::new();
    for root in &roots {
        match mirror.changed(good, failed, root) {
            Ok(changed) => paths.extend(changed),
            Err(Error::Path { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    paths.sort();
    paths.dedup();
    let text = |commit: Option<&CommitId>, path: &str| -> Result<Option<String>, Error> {
        let Some(commit) = commit else { return Ok(None) };
        let file = match mirror.tree(commit)?.file(path, limits) {
            // Somebody else's file: it does not keep ours from being taken back.
            Err(Error::FileTooLarge { .. } | Error::NotFollowed { .. }) => None,
            read => read?,
        };
        Ok(file.map(|file| String::from_utf8_lossy(&file.bytes).into_owned()))
    };
    paths
        .into_iter()
        .take(limits.files)
        .map(|path| {
            let (failed, good) = (text(Some(failed), &path)?, text(good, &path)?);
            Ok(Changed { path, failed, good })
        })
        .collect()
}

/// Reverts, by a push or a pull request. `hint` is told where credentials are missing.
pub(super) async fn carry_out(
    job: &Job,
    access: &Access,
    repositories: &dyn Repositories,
    outside: &dyn Outside,
    now: Timestamp,
    hint: &str,
) -> GitOutcome {
    tracing::info!(canary = %job.canary, commit = job.record.failed_commit, since = %job.record.since, %now, "reverting in Git");
    let resolved;
    let access = match access.resolve(repositories).await {
        Ok(None) => access,
        Ok(Some(found)) => {
            resolved = found;
            &resolved
        }
        Err(error) => return of_error(&error, hint),
    };
    let branch = job.by_pull_request.then(|| message::branch(job));
    let written = repositories.write(job, access, branch.clone()).await;
    let written = match written {
        Ok(written) => written,
        Err(error) => return of_error(&error, hint),
    };
    match (written, branch) {
        (Written::Already(commit), _) => GitOutcome::Reverted { commit },
        (Written::MovedOn(message), _) => GitOutcome::MovedOn { message },
        (Written::Conflict(files), _) => GitOutcome::Blocked {
            message: format!("{} changed since in the same places; revert by hand", files.join(", ")),
        },
        (Written::Pushed(done), None) => GitOutcome::Reverted { commit: done.commit },
        (Written::Pushed(done), Some(branch)) => pull(job, access, outside, branch, &done.paths, None).await,
        (Written::Refused(why), Some(_)) => {
            GitOutcome::Blocked { message: format!("the branch for a pull request is not taken: {why}{hint}") }
        }
        (Written::Refused(why), None) => {
            let branch = message::branch(job);
            match repositories.write(job, access, Some(branch.clone())).await {
                Ok(Written::Pushed(done)) => pull(job, access, outside, branch, &done.paths, Some(why)).await,
                Ok(Written::Already(commit)) => GitOutcome::Reverted { commit },
                Ok(Written::MovedOn(message)) => GitOutcome::MovedOn { message },
                Ok(Written::Conflict(_) | Written::Refused(_) | Written::Unpushed(..)) => {
                    GitOutcome::Blocked { message: format!("the push is not allowed: {why}{hint}; revert by hand") }
                }
                Err(error) => of_error(&error, hint),
            }
        }
        (Written::Unpushed(base, changes), branch) => by_forge(job, access, outside, branch, &base, changes).await,
    }
}

fn of_error(error: &Error, hint: &str) -> GitOutcome {
    let message = error.to_string();
    match error {
        Error::Unreachable { .. }
        | Error::Fetch { .. }
        | Error::Deadline { .. }
        | Error::Interrupted
        | Error::Damaged { .. }
        | Error::File { .. }
        | Error::Push { .. } => GitOutcome::Delayed { message },
        // These are mended outside, and nobody tells us when.
        Error::Authentication { .. } | Error::Forbidden { .. } | Error::NoRepository { .. } => {
            GitOutcome::Delayed { message: format!("{message}{hint}") }
        }
        Error::Address { .. }
        | Error::Name { .. }
        | Error::Path { .. }
        | Error::NoReference { .. }
        | Error::PackTooLarge { .. }
        | Error::TooManyFiles { .. }
        | Error::FileTooLarge { .. }
        | Error::TotalTooLarge { .. }
        | Error::NoPath { .. }
        | Error::NotFollowed { .. }
        | Error::NoCommit { .. }
        | Error::Empty
        | Error::NothingToCommit { .. }
        | Error::NotSigned { .. }
        | Error::NotTrusted { .. }
        | Error::Key { .. }
        | Error::Program { .. }
        | _ => GitOutcome::Blocked { message: format!("{message}; revert by hand") },
    }
}

fn repository(job: &Job) -> Result<Repository, String> {
    let url = job.source.repository.as_deref().unwrap_or_default();
    match &job.forge {
        None => forges::recognise(url, &[]).map_err(|error| format!("{error}, in spec.git.forge")),
        Some(name) => {
            let address = CloneAddress::parse(url)?;
            forges::locate(forges::by_name(name)?, &address).map_err(|error| error.to_string())
        }
    }
}

/// The pull request for a branch that is there.
async fn pull(
    job: &Job,
    access: &Access,
    outside: &dyn Outside,
    branch: String,
    paths: &[String],
    why: Option<String>,
) -> GitOutcome {
    let opened = async {
        let repository = repository(job)?;
        let token = access.token.as_ref().ok_or("the Secret has no token for the forge")?;
        let pull = NewPull {
            head: branch.clone(),
            base: branch_of(&access.remote).to_owned(),
            title: message::title(job),
            body: message::pull_request(job, paths, why.as_deref()),
        };
        let call = forges::request_pull(&repository, &pull);
        talk(call, repository.forge, token, None, outside).await.map_err(|error| error.to_string())
    };
    match opened.await {
        Ok(pull) => GitOutcome::Proposed { url: pull.url, why },
        Err::<_, String>(error) => GitOutcome::Blocked {
            message: format!(
                "the revert is on branch {branch}, and no pull request could be opened: {error}; open one by hand"
            ),
        },
    }
}

/// Commits by the forge's API.
async fn by_forge(
    job: &Job,
    access: &Access,
    outside: &dyn Outside,
    branch: Option<String>,
    base: &Committed,
    changes: Vec<(Change, bool)>,
) -> GitOutcome {
    let done = async {
        let repository = repository(job)?;
        let token = access.token.as_ref().ok_or("the Secret has no token for the forge")?;
        let serin = serin();
        let onto = branch_of(&access.remote).to_owned();
        let commit = forges::NewCommit {
            base: onto.clone(),
            parent: base.commit.clone(),
            branch: branch.clone().unwrap_or(onto),
            message: message::commit(job, &base.paths),
            author: Some(forges::Author { name: serin.name, email: serin.email }),
            changes: changes.into_iter().map(forge_change).collect::<Result<Vec<_>, String>>()?,
        };
        if branch.is_none() {
            let call = repository.forge.commit(&repository, &commit);
            let id = talk(call, repository.forge, token, None, outside).await.map_err(|error| error.to_string())?;
            return Ok(GitOutcome::Reverted { commit: id });
        }
        let body = message::pull_request(job, &base.paths, None);
        let call = forges::propose(&repository, &Proposal { commit, title: message::title(job), body });
        let pull = talk(call, repository.forge, token, None, outside).await.map_err(|error| error.to_string())?;
        Ok(GitOutcome::Proposed { url: pull.url, why: None })
    };
    done.await.unwrap_or_else(|error: String| GitOutcome::Blocked {
        message: format!(
            "there is no git beside Serin to push with, and the forge does not take it: {error}; revert by hand"
        ),
    })
}

fn forge_change((change, there): (Change, bool)) -> Result<forges::Change, String> {
    let text = change.bytes.map(String::from_utf8).transpose().map_err(|_| format!("{} is no text", change.path))?;
    let file = match text {
        None => FileChange::Delete,
        Some(text) if there => FileChange::Update(text),
        Some(text) => FileChange::Create(text),
    };
    Ok(forges::Change { path: change.path, file })
}
