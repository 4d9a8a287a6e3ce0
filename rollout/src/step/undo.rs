//! Going back in Git to what was promoted before, because a person asks for it.

use crds::{GitRollback, GitRollbackState, PromotedCommit};

use crate::state::Stage;

use super::Pass;
use super::git::{short, writable};

/// Commits that are remembered.
const REMEMBERED: usize = 10;

impl Pass<'_> {
    /// Owes it to Git that the target goes back to what this commit had, or to what was promoted before. The rollout that
    /// follows is one like any other.
    pub(super) fn undo(&mut self, to: Option<&str>, by: &str) -> Result<String, String> {
        let phase = self.state.stage.phase().as_str();
        match self.state.stage {
            Stage::Initialized | Stage::Succeeded | Stage::Failed { .. } => {}
            Stage::Waiting { .. } | Stage::Progressing(_) | Stage::WaitingPromotion(_) => {
                return Err("a rollout is under way; abort it first".into());
            }
            Stage::New
            | Stage::Initializing
            | Stage::Promoting { .. }
            | Stage::Finalising { .. }
            | Stage::Terminating
            | Stage::Terminated => return Err(format!("it is in phase {phase}; wait until that is over")),
        }
        let target = self.seen.target.as_ref().map(|target| &target.revision.id);
        let Some(applied) = self.state.applied.clone().filter(|applied| target == Some(&applied.id)) else {
            return Err("a newer revision has just arrived".into());
        };
        let Some(source) = self.state.source.as_ref().filter(|source| source.applied_by.is_some()) else {
            return Err(format!(
                "nothing says that {} comes from Git; change it where it comes from, and that is rolled out",
                self.target_name()
            ));
        };
        if source.provisional {
            return Err("who applied the revision has not said yet by which commit; ask again then".into());
        }
        let now = writable(source)?;
        let former = self.state.git.as_ref().filter(|git| git.revision == applied.id);
        if let Some(former) = former {
            match former.state {
                GitRollbackState::Proposed | GitRollbackState::MovedOn | GitRollbackState::Blocked => {}
                GitRollbackState::Pending | GitRollbackState::Reverted => return Err(former.sentence()),
            }
        }
        let hold = former.and_then(|former| former.hold.clone());
        let destination = self.destination(to, &now)?;
        let outcome = format!("commit {} is being taken back in Git to what {} had", short(&now), short(&destination));
        self.state.git = Some(GitRollback {
            revision: applied.id,
            failed_commit: Some(now),
            good_commit: Some(destination),
            why: format!("undone by {by}"),
            since: self.now,
            state: GitRollbackState::Pending,
            revert_commit: None,
            pull_request: None,
            message: None,
            hold,
            undone_by: Some(by.to_owned()),
        });
        Ok(outcome)
    }

    /// Remembers by which commit the promoted revision came, once that is certain.
    pub(super) fn remember_commit(&mut self) {
        let (Some(promoted), Some(source)) = (&self.state.promoted, &self.state.promoted_source) else { return };
        let Some(commit) = source.commit.as_ref().filter(|_| !source.provisional) else { return };
        let former = self.former.promoted_source.as_ref();
        let known = &mut self.state.promoted_commits;
        if former.is_some_and(|former| former.repository != source.repository) {
            known.clear();
        }
        if let Some(last) = known.last_mut().filter(|last| last.commit == *commit) {
            // The same under another name, or more than one revision of a commit.
            last.revision.clone_from(&promoted.id);
            return;
        }
        known.pop_if(|last| last.revision == promoted.id);
        known.push(PromotedCommit {
            revision: promoted.id.clone(),
            commit: commit.clone(),
            images: source.images.iter().map(|image| image.image.clone()).collect(),
            time: self.now,
        });
        if known.len() > REMEMBERED {
            known.remove(0);
        }
    }

    /// The whole commit to go back to.
    fn destination(&self, to: Option<&str>, now: &str) -> Result<String, String> {
        let known = &self.state.promoted_commits;
        let applied = self.state.applied.as_ref().map(|applied| applied.id.as_str());
        let others = || known.iter().rev().filter(|known| known.commit != now && applied != Some(&known.revision));
        let listed = || {
            let listed: Vec<String> = others().map(ToString::to_string).collect();
            if listed.is_empty() {
                "none is remembered; name a whole commit of the branch".to_owned()
            } else {
                format!("remembered are {}; any other commit of the branch is to be named whole", listed.join(", "))
            }
        };
        let Some(to) = to else {
            let last = others().next().map(|known| known.commit.clone());
            return last.ok_or_else(|| format!("no earlier commit is known: {}", listed()));
        };
        let to = to.to_ascii_lowercase();
        let digits = to.len() >= LEAST_DIGITS && to.bytes().all(|digit| digit.is_ascii_hexdigit());
        if digits && now.starts_with(&to) {
            return Err(format!("commit {} is what stands there", short(now)));
        }
        let mut found: Vec<&str> = known
            .iter()
            .map(|known| known.commit.as_str())
            .filter(|commit| digits && commit.starts_with(&to))
            .collect();
        found.dedup();
        match found.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] if digits && matches!(to.len(), 40 | 64) => Ok(to),
            [] => Err(format!("{to:?} is no commit that was promoted; {}", listed())),
            [_, _, ..] => Err(format!("{to:?} is the beginning of several commits; write more of it")),
        }
    }
}

/// Of a commit, to be found by.
const LEAST_DIGITS: usize = 4;
