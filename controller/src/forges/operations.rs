//! What takes several questions, and may be asked again after a crash without happening twice.

use super::call::{Call, Next};
use super::error::{ForgeError, Problem};
use super::{NewCommit, NewPull, PullRequest, Repository};

/// What came of a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commented {
    /// There was none of ours.
    Added,
    /// Ours has another text now.
    Updated,
    /// Ours said so already.
    Unchanged,
}

/// A change that is proposed: a branch with a commit, and a pull request for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The commit, on a branch of its own; its name says which change it is, so that it is known again.
    pub commit: NewCommit,
    /// Title of the pull request.
    pub title: String,
    /// Its text, in Markdown.
    pub body: String,
}

/// The pull request that brought a commit, if it can be known.
pub fn pull_request_of(repository: &Repository, commit: &str) -> Call<Option<PullRequest>> {
    repository.forge.pulls_of(repository, commit).map(|pulls| pulls.into_iter().next())
}

/// The open pull request between these branches; opens it when there is none.
pub fn request_pull(repository: &Repository, pull: &NewPull) -> Call<PullRequest> {
    let (again, pull) = (repository.clone(), pull.clone());
    repository.forge.open_pulls(repository, &pull.head, &pull.base).then(move |open| match open.into_iter().next() {
        Some(open) => Ok(Next::Done(open)),
        None => Ok(Next::Ask(open_pull(again, pull))),
    })
}

/// Opens it; when somebody was faster, theirs is ours.
fn open_pull(repository: Repository, pull: NewPull) -> Call<PullRequest> {
    repository.forge.open_pull(&repository, &pull).recover(move |error| {
        if !matches!(error.problem, Problem::Conflict(_)) {
            return Err(error);
        }
        let open = repository.forge.open_pulls(&repository, &pull.head, &pull.base);
        Ok(Next::Ask(open.then(move |open| open.into_iter().next().map(Next::Done).ok_or(error))))
    })
}

/// Says `text` in the one comment of that id on the pull request: adds it, or changes it where it says something else.
pub fn comment(repository: &Repository, pull: u64, id: &str, text: &str) -> Call<Commented> {
    let marker = repository.forge.marker(id);
    // The empty line ends the marker where that is Markdown.
    let text = format!("{marker}\n\n{text}");
    let repository = repository.clone();
    repository.forge.comments(&repository, pull, &marker).then(move |comments| {
        let forge = repository.forge;
        match comments.into_iter().next() {
            None => Ok(Next::Ask(forge.add_comment(&repository, pull, &text).map(|()| Commented::Added))),
            Some(ours) if same_text(&ours.text, &text) => Ok(Next::Done(Commented::Unchanged)),
            Some(ours) => {
                Ok(Next::Ask(forge.edit_comment(&repository, pull, &ours, &text).map(|()| Commented::Updated)))
            }
        }
    })
}

/// Commits to a branch of its own and asks for it to be pulled. After a crash it goes on where it stopped: a pull request
/// that is open is the answer, and a branch that exists is not committed to again.
pub fn propose(repository: &Repository, proposal: &Proposal) -> Call<PullRequest> {
    let Proposal { commit, title, body } = proposal.clone();
    let pull = NewPull { head: commit.branch.clone(), base: commit.base.clone(), title, body };
    let again = repository.clone();
    repository.forge.open_pulls(repository, &pull.head, &pull.base).then(move |open| {
        if let Some(open) = open.into_iter().next() {
            return Ok(Next::Done(open));
        }
        Ok(Next::Ask(again.forge.branch(&again, &commit.branch).then(move |branch| {
            if branch.is_some() {
                return Ok(Next::Ask(open_pull(again, pull)));
            }
            let committed = again.forge.commit(&again, &commit).recover(taken);
            Ok(Next::Ask(committed.then(move |_| Ok(Next::Ask(open_pull(again, pull))))))
        })))
    })
}

/// Somebody made the branch between our look and our commit: another instance of ours, as the name says what is in it.
fn taken(error: ForgeError) -> Result<Next<String>, ForgeError> {
    match &error.problem {
        Problem::Conflict(answer) if answer.to_ascii_lowercase().contains("exist") => Ok(Next::Done(String::new())),
        Problem::Conflict(_)
        | Problem::Address(_)
        | Problem::Authentication { .. }
        | Problem::Permission { .. }
        | Problem::NotFound { .. }
        | Problem::RateLimited(_)
        | Problem::Unreachable(_)
        | Problem::Refused(_)
        | Problem::Unexpected(_)
        | Problem::Unsupported(_) => Err(error),
    }
}

/// Forges store texts with other line ends and without space at their end.
fn same_text(theirs: &str, ours: &str) -> bool {
    theirs.replace("\r\n", "\n").trim_end() == ours.trim_end()
}
