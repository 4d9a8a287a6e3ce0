//! The revert in Git of a revision that was taken back: beside the passes, a few at a time. See docs/adr/0013.

mod argocd;
mod files;
mod hold;
mod message;
#[cfg(test)]
mod tests;
mod work;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crds::{GitRollback, OnRollback, Source};
use futures::FutureExt;
use rollout::{Effect, GitOutcome, Spec, Step};
use tokio::sync::Semaphore;

use crate::attribution::{self, Sight};
use crate::cache::CanaryKey;
use crate::context::Context;
use crate::gather::secret_data;

pub use hold::{apply, seen};
pub use work::{Access, Committed, Mirrors, Repositories, Written};

/// Reverts at once.
const AT_ONCE: usize = 4;

/// Time between two tries of one that is delayed, growing from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

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
    shared: Arc<Shared>,
}

struct Shared {
    repositories: Arc<dyn Repositories>,
    turns: Semaphore,
    entries: Mutex<HashMap<CanaryKey, Entry>>,
}

struct Entry {
    revision: String,
    tries: u32,
    outcome: Option<GitOutcome>,
}

impl Rollbacks {
    /// Nothing is under way.
    pub fn new(repositories: Arc<dyn Repositories>) -> Rollbacks {
        let entries = Mutex::new(HashMap::new());
        Rollbacks { shared: Arc::new(Shared { repositories, turns: Semaphore::new(AT_ONCE), entries }) }
    }

    /// What came of the Canary's revert; told once.
    pub fn take(&self, canary: &CanaryKey) -> Option<(String, GitOutcome)> {
        let mut entries = self.entries();
        let entry = entries.get_mut(canary)?;
        let outcome = entry.outcome.take()?;
        let revision = entry.revision.clone();
        let lasting = match outcome {
            GitOutcome::Delayed { .. } => true,
            GitOutcome::Reverted { .. }
            | GitOutcome::Proposed { .. }
            | GitOutcome::MovedOn { .. }
            | GitOutcome::Blocked { .. } => false,
        };
        if !lasting {
            entries.remove(canary);
        }
        Some((revision, outcome))
    }

    /// Forgets the Canary; what is under way for it goes on and is told to nobody.
    pub fn forget(&self, canary: &CanaryKey) {
        self.entries().remove(canary);
    }

    /// Begins what the step asks for, unless it is under way. The Canary is woken when it ends.
    pub fn begin(&self, context: &Arc<Context>, canary: &CanaryKey, spec: &Spec, step: &Step, sight: &dyn Sight) {
        if ![Effect::RevertInGit, Effect::FindRevertInGit].iter().any(|effect| step.effects.contains(effect)) {
            return;
        }
        let (Some(record), Some(source)) = (&step.state.git, &step.state.source) else { return };
        let pause = {
            let mut entries = self.entries();
            let tries = match entries.get(canary) {
                Some(entry) if entry.revision == record.revision && entry.outcome.is_none() && entry.tries > 0 => {
                    // Under way, or it waits for its next try.
                    return;
                }
                Some(entry) if entry.revision == record.revision => entry.tries,
                Some(_) | None => 0,
            };
            entries
                .insert(canary.clone(), Entry { revision: record.revision.clone(), tries: tries + 1, outcome: None });
            pause(tries)
        };
        let job = job(canary, spec, step, record, source);
        let secret = secret_of(canary, spec, source, sight);
        let (rollbacks, context) = (self.clone(), context.clone());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let work = rollbacks.outcome(&context, &job, secret);
            let outcome = std::panic::AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
                tracing::error!(canary = %job.canary, "reverting in Git panicked");
                GitOutcome::Blocked {
                    message: "this is a defect of Serin; its log tells more. Revert it by hand".into(),
                }
            });
            {
                let mut entries = rollbacks.entries();
                let Some(entry) = entries.get_mut(&job.canary) else { return };
                if entry.revision != job.record.revision {
                    return;
                }
                entry.outcome = Some(outcome);
            }
            context.cache.look_again(job.canary.clone());
        });
    }

    async fn outcome(&self, context: &Context, job: &Job, secret: Option<(String, String)>) -> GitOutcome {
        let Ok(_turn) = self.shared.turns.acquire().await else {
            return GitOutcome::Delayed { message: "the controller is ending".into() };
        };
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
        work::carry_out(job, &access, self.shared.repositories.as_ref(), context.outside.as_ref(), context.now(), &hint)
            .await
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<CanaryKey, Entry>> {
        self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first try is at once.
fn pause(tries: u32) -> Duration {
    if tries == 0 {
        return Duration::ZERO;
    }
    let pause = PAUSES.0.saturating_mul(1 << (tries - 1).min(10)).min(PAUSES.1);
    pause.mul_f64(0.75 + 0.5 * fastrand::f64())
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
