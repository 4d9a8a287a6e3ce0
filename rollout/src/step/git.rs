//! What follows in Git when a revision was taken back: the revert, and the hold until Git has moved on.

use crds::{GitRollback, GitRollbackState, Hold, HoldState, OnRollback, Source};

use crate::desired::{Desired, FinalizerAction, HoldAction};
use crate::effect::Effect;
use crate::observation::{DeployerSeen, GitOutcome};
use crate::spec::Severity;
use crate::state::Stage;

use super::Pass;

impl Pass<'_> {
    /// The revision was taken back: what that asks for in Git is owed from now on.
    pub(super) fn owe_git(&mut self, why: &str) {
        let Some(applied) = self.state.applied.as_ref().filter(|_| self.spec.git.on_rollback != OnRollback::None)
        else {
            return;
        };
        self.state.git = Some(GitRollback {
            revision: applied.id.clone(),
            failed_commit: None,
            good_commit: None,
            why: why.to_owned(),
            since: self.now,
            state: GitRollbackState::Pending,
            revert_commit: None,
            pull_request: None,
            message: None,
            hold: None,
            undone_by: None,
        });
    }

    /// Goes on with what is owed in Git.
    pub(super) fn follow_git(&mut self, desired: &mut Desired) {
        let outcome = self.memory.git_outcome.take();
        let Some(mut git) = self.state.git.take() else { return };
        let asked = match self.state.stage {
            Stage::Failed { .. } => true,
            Stage::Initialized | Stage::Succeeded => git.undone_by.is_some(),
            Stage::New
            | Stage::Initializing
            | Stage::Waiting { .. }
            | Stage::Progressing(_)
            | Stage::WaitingPromotion(_)
            | Stage::Promoting { .. }
            | Stage::Finalising { .. }
            | Stage::Terminating
            | Stage::Terminated => false,
        };
        let stands = !self.seen.deleting
            && asked
            && self.state.applied.as_ref().is_some_and(|applied| applied.id == git.revision);
        let outcome = outcome.filter(|(revision, _)| *revision == git.revision).map(|(_, outcome)| outcome);
        match git.state {
            GitRollbackState::Pending if stands => match outcome {
                Some(outcome) => self.take_outcome(&mut git, outcome),
                None => self.revert(&mut git),
            },
            GitRollbackState::Pending => self.look_back(&mut git, outcome),
            GitRollbackState::Reverted
            | GitRollbackState::Proposed
            | GitRollbackState::MovedOn
            | GitRollbackState::Blocked => {}
        }
        if let Some(hold) = &mut git.hold {
            desired.hold = self.keep_still(hold, stands);
        }
        self.state.git = Some(git);
        if self.holds() && !self.seen.finalizer && !self.seen.deleting {
            desired.finalizer = FinalizerAction::Add;
        }
        let settled = self.state.git.as_ref().is_some_and(|git| git.state != GitRollbackState::Pending);
        if self.state.stage == Stage::Succeeded && !stands && settled && !self.holds() {
            self.state.git = None;
        }
    }

    /// Somebody is kept from applying, or is about to be.
    pub(super) fn holds(&self) -> bool {
        let hold = self.state.git.as_ref().and_then(|git| git.hold.as_ref());
        hold.is_some_and(|hold| match hold.state {
            HoldState::Wanted | HoldState::Held | HoldState::Lifting => true,
            HoldState::Lifted | HoldState::NotOurs => false,
        })
    }

    fn revert(&mut self, git: &mut GitRollback) {
        if git.failed_commit.is_none() {
            let Some(source) = self.state.source.clone() else {
                self.block(git, "nothing says where the revision came from; revert it by hand".into());
                return;
            };
            if source.provisional {
                let message = "who applied the revision has not said yet by which commit; then it is reverted".into();
                self.wait("GitSourceUnknown", message);
                return;
            }
            match writable(&source) {
                Err(why) => {
                    self.block(git, why);
                    return;
                }
                Ok(commit) => git.failed_commit = Some(commit),
            }
            let good = self.state.promoted_source.as_ref().filter(|good| good.repository == source.repository);
            git.good_commit =
                good.and_then(|good| good.commit.clone()).filter(|good| Some(good) != source.commit.as_ref());
            git.hold = source.applied_by.filter(|_| self.spec.git.hold).map(|object| Hold {
                object,
                commit: None,
                state: HoldState::Wanted,
            });
        }
        self.effects.push(Effect::RevertInGit);
        let commit = git.failed_commit.as_deref().map(short).unwrap_or_default();
        let reason = match &git.message {
            Some(delay) => delayed(commit, delay),
            None => format!("commit {commit} is being reverted in Git"),
        };
        self.wait("RevertingInGit", reason);
    }

    /// Another revision stands there. That may be what the revert brought, of which the process that made it could tell
    /// nothing any more.
    fn look_back(&mut self, git: &mut GitRollback, outcome: Option<GitOutcome>) {
        match outcome {
            Some(outcome @ (GitOutcome::Reverted { .. } | GitOutcome::Proposed { .. })) => {
                self.take_outcome(git, outcome);
            }
            None if self.may_look_back(git) => self.effects.push(Effect::FindRevertInGit),
            Some(GitOutcome::MovedOn { .. } | GitOutcome::Blocked { .. } | GitOutcome::Delayed { .. }) | None => {
                git.state = GitRollbackState::MovedOn;
                git.message = Some("another rollout began before anything was reverted".into());
            }
        }
    }

    fn may_look_back(&self, git: &GitRollback) -> bool {
        let known = self.state.source.as_ref().is_some_and(|source| source.repository.is_some());
        git.failed_commit.is_some() && known && !self.seen.deleting
    }

    fn take_outcome(&mut self, git: &mut GitRollback, outcome: GitOutcome) {
        let failed = git.failed_commit.as_deref().map(short).unwrap_or_default().to_owned();
        match outcome {
            GitOutcome::Reverted { commit } => {
                let told = format!("Reverted commit {failed} in Git by commit {}", short(&commit));
                git.state = GitRollbackState::Reverted;
                git.revert_commit = Some(commit);
                self.event(false, told.clone());
                self.alert(Severity::Info, false, told);
            }
            GitOutcome::Proposed { url, why } => {
                let told = format!("Opened a pull request that reverts commit {failed}: {url}");
                git.state = GitRollbackState::Proposed;
                git.pull_request = Some(url);
                git.message = why;
                self.event(false, told.clone());
                self.alert(Severity::Info, false, told);
            }
            GitOutcome::MovedOn { message } => {
                git.state = GitRollbackState::MovedOn;
                self.event(false, format!("Nothing to revert in Git of commit {failed}: {message}"));
                git.message = Some(message);
            }
            GitOutcome::Blocked { message } => self.block(git, message),
            GitOutcome::Delayed { message } => {
                let told = delayed(&failed, &message);
                if git.message.as_ref() != Some(&message) {
                    self.event(true, told.clone());
                }
                git.message = Some(message);
                self.wait("RevertingInGit", told);
                self.effects.push(Effect::RevertInGit);
            }
        }
    }

    fn block(&mut self, git: &mut GitRollback, message: String) {
        let failed =
            git.failed_commit.as_deref().map(|commit| format!(" commit {}", short(commit))).unwrap_or_default();
        let told = format!("Cannot revert{failed} in Git: {message}");
        git.state = GitRollbackState::Blocked;
        git.message = Some(message);
        self.event(true, told.clone());
        self.alert(Severity::Warn, false, told);
    }

    /// Sets the hold, or lifts it when its time is over.
    fn keep_still(&mut self, hold: &mut Hold, stands: bool) -> HoldAction {
        let object = hold.object.to_string();
        let Some(seen) = &self.seen.deployer else {
            // It is gone, and with it whatever it was kept from.
            hold.state = match hold.state {
                HoldState::Wanted | HoldState::Held | HoldState::Lifting | HoldState::Lifted => HoldState::Lifted,
                HoldState::NotOurs => HoldState::NotOurs,
            };
            return HoldAction::Keep;
        };
        let DeployerSeen { head, held, suspended } = seen.clone();
        let moved = head.is_some() && hold.commit.is_some() && head != hold.commit;
        match hold.state {
            HoldState::Wanted if held => {
                hold.state = HoldState::Held;
                self.event(false, format!("{object} is held until Git has moved on"));
                HoldAction::Keep
            }
            HoldState::Wanted if suspended => {
                hold.state = HoldState::NotOurs;
                HoldAction::Keep
            }
            HoldState::Wanted if !stands || moved => {
                hold.state = HoldState::Lifted;
                HoldAction::Keep
            }
            HoldState::Wanted => {
                if hold.commit.is_none() {
                    hold.commit = head;
                }
                // With the finalizer on, nobody stays held when the Canary is deleted.
                if self.seen.finalizer { HoldAction::Set } else { HoldAction::Keep }
            }
            HoldState::Held | HoldState::Lifting if !held => {
                hold.state = HoldState::Lifted;
                self.event(false, format!("{object} is held no longer"));
                HoldAction::Keep
            }
            HoldState::Held if stands && !moved => {
                let commit = hold.commit.as_deref().map(short).unwrap_or("the failed commit").to_owned();
                self.wait("Held", format!("{object} applies nothing until Git has moved on from {commit}"));
                HoldAction::Keep
            }
            HoldState::Held | HoldState::Lifting => {
                hold.state = HoldState::Lifting;
                HoldAction::Lift
            }
            HoldState::Lifted | HoldState::NotOurs => HoldAction::Keep,
        }
    }
}

fn delayed(commit: &str, why: &str) -> String {
    format!("Reverting commit {commit} in Git is delayed: {why}")
}

/// The commit, when there is a branch to which its revert could be written.
pub(super) fn writable(source: &Source) -> Result<String, String> {
    let by = source.applied_by.as_ref().map_or_else(|| "the target".to_owned(), ToString::to_string);
    let Some(commit) = &source.commit else {
        return Err(format!("{by} names no commit; revert the change by hand"));
    };
    if source.repository.is_none() {
        return Err(format!("{by} names no repository; revert commit {} by hand", short(commit)));
    }
    match (&source.branch, &source.tag) {
        (Some(_), _) => Ok(commit.clone()),
        (None, Some(tag)) => {
            Err(format!("{by} follows the tag {tag}, and a tag is not moved; tag a good commit by hand"))
        }
        (None, None) => Err(format!("{by} follows no branch; make it follow another commit than {}", short(commit))),
    }
}

pub(super) fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}
