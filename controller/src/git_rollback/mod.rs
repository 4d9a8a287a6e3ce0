//! The revert in Git of a revision that was taken back: beside the passes, a few at a time. See docs/adr/0013.

mod argocd;
mod files;
mod hold;
mod message;
#[cfg(test)]
mod tests;
mod tries;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use crds::{GitRollback, OnRollback, Source};
use rollout::{Effect, GitOutcome, Spec, Step};

use crate::attribution::{self, Sight};
use crate::cache::CanaryKey;
use crate::context::Context;
use crate::gather::secret_data;
use tries::Tries;

pub use hold::{apply, seen};
pub use work::{Access, Committed, Mirrors, Repositories, Written};

/// What is to be reverted, where, and what is told with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Whose revision it was.
    pub canary: CanaryKey,
    /// Kind and name of the workload.
    pub target: (String, String),
    /// As the status has it.
    pub record: GitRollback,
    /// Where the failed revision came from; with repository, branch and commit.
    pub source: Source,
    /// The images that serve again, where they are known.
    pub serving: Vec<String>,
    /// The checks of the last look.
    pub checks: Vec<crds::Check>,
    /// A revert that was made is looked for, and none is made.
    pub look_only: bool,
    /// A pull request is asked for, not a push.
    pub by_pull_request: bool,
    /// Name of the forge, where the address does not tell.
    pub forge: Option<String>,
}

/// Reverts under way, and what came of those that ended.
#[derive(Clone)]
pub struct Rollbacks {
    repositories: Arc<dyn Repositories>,
    tries: Arc<Tries>,
}

impl Rollbacks {
    /// Nothing is under way.
    pub fn new(repositories: Arc<dyn Repositories>) -> Rollbacks {
        Rollbacks { repositories, tries: Arc::new(Tries::new()) }
    }

    /// What came of the Canary's revert; told once.
    pub fn take(&self, canary: &CanaryKey) -> Option<(String, GitOutcome)> {
        self.tries.take(canary)
    }

    /// Forgets the Canary: what waits for its next try is given up, and what is under way is told to nobody.
    pub fn forget(&self, canary: &CanaryKey) {
        self.tries.forget(canary);
    }

    /// Begins what the step asks for, unless it is under way. The Canary is woken when it ends.
    pub fn begin(&self, context: &Arc<Context>, canary: &CanaryKey, spec: &Spec, step: &Step, sight: &dyn Sight) {
        let look_only = step.effects.contains(&Effect::FindRevertInGit);
        if !look_only && !step.effects.contains(&Effect::RevertInGit) {
            return;
        }
        let (Some(record), Some(source)) = (&step.state.git, &step.state.source) else { return };
        let Some(next) = self.tries.next(canary, &record.revision, look_only) else { return };
        let job = job(canary, spec, step, record, source);
        let secret = secret_of(canary, spec, source, sight);
        let (rollbacks, context) = (self.clone(), context.clone());
        tokio::spawn(async move {
            let work = async |look_only| rollbacks.outcome(&context, &Job { look_only, ..job.clone() }, secret).await;
            if rollbacks.tries.carry_out(next, work).await {
                context.cache.look_again(job.canary);
            }
        });
    }

    async fn outcome(&self, context: &Context, job: &Job, secret: Option<(String, String)>) -> GitOutcome {
        if let Some(message) = refused_here(&job.source, context.settings.git_local_repositories) {
            return GitOutcome::Blocked { message };
        }
        let data = match &secret {
            None => argocd::credentials(context, &job.canary, &job.source).await.unwrap_or_default(),
            Some((namespace, name)) => match secret_data(context, namespace, name).await {
                Ok(Some(data)) => data,
                Ok(None) => {
                    let message =
                        format!("Secret {namespace}/{name} with the credentials for Git does not exist; make it");
                    return GitOutcome::Delayed { message };
                }
                Err(why) => {
                    return GitOutcome::Delayed {
                        message: format!("reading Secret {namespace}/{name} with the credentials for Git: {why}"),
                    };
                }
            },
        };
        let access = match Access::of(&job.source, &data) {
            Ok(access) => access,
            Err(message) => return GitOutcome::Blocked { message },
        };
        let hint = match &secret {
            None => "; name a Secret that may write in spec.git.secretRef".to_owned(),
            Some((namespace, name)) => format!("; see to Secret {namespace}/{name}"),
        };
        work::carry_out(job, &access, self.repositories.as_ref(), context.outside.as_ref(), context.now(), &hint).await
    }
}

fn job(canary: &CanaryKey, spec: &Spec, step: &Step, record: &GitRollback, source: &Source) -> Job {
    let state = &step.state;
    let serving = match &record.undone_by {
        // The newest entry of that commit: a commit may have brought several revisions.
        Some(_) => {
            let good =
                state.promoted_commits.iter().rev().find(|known| Some(&known.commit) == record.good_commit.as_ref());
            good.map(|good| good.images.clone()).unwrap_or_default()
        }
        None => state.promoted_source.iter().flat_map(|good| &good.images).map(|image| image.image.clone()).collect(),
    };
    Job {
        canary: canary.clone(),
        target: (spec.target.kind.as_str().to_owned(), spec.target.name.clone()),
        record: record.clone(),
        source: source.clone(),
        serving,
        checks: state.checks.clone(),
        look_only: step.effects.contains(&Effect::FindRevertInGit),
        by_pull_request: spec.git.on_rollback == OnRollback::PullRequest,
        forge: spec.git.forge.clone(),
    }
}

/// Namespace and name of the Secret with what may write.
fn secret_of(canary: &CanaryKey, spec: &Spec, source: &Source, sight: &dyn Sight) -> Option<(String, String)> {
    if let Some(name) = &spec.git.secret {
        return Some((canary.namespace.to_string(), name.clone()));
    }
    let (deployer, _, object) = attribution::deployer(source.applied_by.as_ref()?, sight)?;
    // Who applies the target is what its labels say, and whoever may write those is not let at the credentials of others.
    deployer.secret(&object, sight).filter(|(namespace, _)| **namespace == *canary.namespace)
}

/// Who names a repository may be anybody who can make an object of the operator's kind, and no file of ours is theirs.
fn refused_here(source: &Source, local: bool) -> Option<String> {
    let url = source.repository.as_deref().filter(|url| !local && url.starts_with("file:"))?;
    Some(format!("{url} is on this machine, and Serin runs without --git-local-repositories; revert it by hand"))
}

/// Where mirrors of repositories are kept, one folder each.
pub fn folder_of(storage: &std::path::Path, repository: &str) -> PathBuf {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(repository.as_bytes());
    storage.join(digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect::<String>())
}
