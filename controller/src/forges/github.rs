//! GitHub, and GitHub Enterprise.

use ::http::Method;
use serde_json::{Value, json};
use url::Url;

use super::call::{Answer, Body, Call, Next, Page, pages, url};
use super::error::{About, ForgeError, Problem};
use super::{
    Branch, CloneAddress, Comment, CommitState, CommitStatus, FileChange, Forge, NewCommit, NewPull, Place, PullRequest,
    Repository, short,
};

pub(super) static FORGE: GitHub = GitHub;

pub(super) struct GitHub;

/// Comments in one answer: few enough for long ones.
const COMMENTS: usize = 30;

impl Forge for GitHub {
    fn name(&self) -> &'static str {
        "github"
    }

    fn title(&self) -> &'static str {
        "GitHub"
    }

    fn is_home(&self, host: &str) -> bool {
        matches!(host, "github.com" | "www.github.com" | "ssh.github.com") || host.ends_with(".ghe.com")
    }

    fn locate(&self, address: &CloneAddress) -> Result<Place, String> {
        let [owner, name] = address.parts()[..] else {
            return Err("the path of a repository on GitHub is OWNER/REPOSITORY".into());
        };
        let origin = match address.host.as_str() {
            "www.github.com" | "ssh.github.com" => "https://github.com/".to_owned(),
            _ => address.origin()?.to_string(),
        };
        let api = match address.host.as_str() {
            "github.com" | "www.github.com" | "ssh.github.com" => "https://api.github.com/".to_owned(),
            host if host.ends_with(".ghe.com") => format!("https://api.{host}/"),
            _ => format!("{origin}api/v3/"),
        };
        let parse = |text: &str| Url::parse(text).map_err(|error| error.to_string());
        let path = vec![owner.to_owned(), name.to_owned()];
        Ok(Place { api: parse(&api)?, web: url(&parse(&origin)?, [owner, name], &[]), path })
    }

    fn authorization(&self, token: &str) -> String {
        format!("Bearer {token}")
    }

    fn rights(&self) -> &'static str {
        "the permissions Contents, Pull requests and Commit statuses (read and write)"
    }

    fn longest_description(&self) -> usize {
        140
    }

    fn pulls_of(&self, repository: &Repository, commit: &str) -> Call<Vec<PullRequest>> {
        let about = About::new(repository, &format!("looking for the pull request of commit {}", short(commit)));
        let url = at(repository, &["commits", commit, "pulls"], &[("per_page", "20")]);
        Call::new(&about, Method::GET, &url, Body::None, |answer| pulls(&answer))
    }

    fn set_status(&self, repository: &Repository, commit: &str, status: &CommitStatus) -> Call<()> {
        let about = About::new(repository, &format!("setting the status of commit {}", short(commit)));
        let state = match status.state {
            CommitState::Pending => "pending",
            CommitState::Success => "success",
            CommitState::Failure => "failure",
        };
        let mut body = json!({
            "state": state,
            "context": status.context,
            "description": status.description_for(self),
        });
        if let Some(target) = &status.target {
            body["target_url"] = target.as_str().into();
        }
        Call::new(&about, Method::POST, &at(repository, &["statuses", commit], &[]), Body::Json(body), |_| Ok(()))
    }

    fn open_pulls(&self, repository: &Repository, head: &str, base: &str) -> Call<Vec<PullRequest>> {
        let about = About::new(repository, &format!("looking for an open pull request of branch {head}"));
        let from = format!("{}:{head}", repository.part(0));
        let url = at(repository, &["pulls"], &[("state", "open"), ("head", &from), ("base", base)]);
        Call::new(&about, Method::GET, &url, Body::None, |answer| pulls(&answer))
    }

    fn open_pull(&self, repository: &Repository, pull: &NewPull) -> Call<PullRequest> {
        let about = About::new(repository, &format!("opening a pull request of branch {}", pull.head));
        let body = json!({"title": pull.title, "head": pull.head, "base": pull.base, "body": pull.body});
        let url = at(repository, &["pulls"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(body), |answer| {
            pull_request(&answer.json()?).ok_or_else(|| answer.lacks("number"))
        })
    }

    fn comments(&self, repository: &Repository, pull: u64, marker: &str) -> Call<Vec<Comment>> {
        let (repository, marker) = (repository.clone(), marker.to_owned());
        pages(1, move |page| {
            let about = About::new(&repository, &format!("reading the comments of pull request {pull}"));
            let (number, size) = (page.to_string(), COMMENTS.to_string());
            let path = ["issues", &pull.to_string(), "comments"];
            let url = at(&repository, &path, &[("per_page", &size), ("page", &number)]);
            let marker = marker.clone();
            Call::new(&about, Method::GET, &url, Body::None, move |answer| {
                let all = answer.list("")?;
                let next = (all.len() >= COMMENTS).then_some(page + 1);
                Ok(Page { items: all.iter().filter_map(|one| comment(one, &marker)).collect(), next })
            })
        })
    }

    fn add_comment(&self, repository: &Repository, pull: u64, text: &str) -> Call<()> {
        let about = About::new(repository, &format!("commenting on pull request {pull}"));
        let url = at(repository, &["issues", &pull.to_string(), "comments"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(json!({"body": text})), |_| Ok(()))
    }

    fn edit_comment(&self, repository: &Repository, pull: u64, comment: &Comment, text: &str) -> Call<()> {
        let about = About::new(repository, &format!("updating the comment on pull request {pull}"));
        let url = at(repository, &["issues", "comments", &comment.id], &[]);
        Call::new(&about, Method::PATCH, &url, Body::Json(json!({"body": text})), |_| Ok(()))
    }

    fn branch(&self, repository: &Repository, name: &str) -> Call<Option<Branch>> {
        let about = About::new(repository, &format!("reading branch {name}"));
        Call::new(&about, Method::GET, &at(repository, &["branches", name], &[]), Body::None, |answer| {
            let protected = answer.json()?.pointer("/protected").and_then(Value::as_bool);
            Ok(Some(Branch { head: answer.text("/commit/sha")?, protected }))
        })
        .recover(none_when_missing)
    }

    /// Tree, commit and at last the branch: whatever breaks in between leaves nothing that anybody sees.
    fn commit(&self, repository: &Repository, commit: &NewCommit) -> Call<String> {
        let about = About::new(repository, &format!("committing to branch {}", commit.branch));
        let url = at(repository, &["git", "commits", &commit.parent], &[]);
        let (repository, commit) = (repository.clone(), commit.clone());
        Call::new(&about, Method::GET, &url, Body::None, |answer| answer.text("/tree/sha"))
            .then(move |tree| Ok(Next::Ask(with_tree(about, repository, commit, &tree))))
    }
}

fn with_tree(about: About, repository: Repository, commit: NewCommit, tree: &str) -> Call<String> {
    let entry = |change: &super::Change| {
        let mut entry = json!({"path": change.path, "mode": "100644", "type": "blob"});
        match &change.file {
            FileChange::Create(content) | FileChange::Update(content) => entry["content"] = content.as_str().into(),
            FileChange::Delete => entry["sha"] = Value::Null,
        }
        entry
    };
    let entries: Vec<Value> = commit.changes.iter().map(entry).collect();
    let body = json!({"base_tree": tree, "tree": entries});
    let url = at(&repository, &["git", "trees"], &[]);
    Call::new(&about, Method::POST, &url, Body::Json(body), |answer| answer.text("/sha"))
        .then(move |tree| Ok(Next::Ask(with_commit(about, repository, commit, &tree))))
}

fn with_commit(about: About, repository: Repository, commit: NewCommit, tree: &str) -> Call<String> {
    let mut body = json!({"message": commit.message, "tree": tree, "parents": [commit.parent]});
    if let Some(author) = &commit.author {
        body["author"] = json!({"name": author.name, "email": author.email});
    }
    let url = at(&repository, &["git", "commits"], &[]);
    Call::new(&about, Method::POST, &url, Body::Json(body), |answer| answer.text("/sha"))
        .then(move |sha| Ok(Next::Ask(with_branch(&about, &repository, &commit, sha))))
}

fn with_branch(about: &About, repository: &Repository, commit: &NewCommit, sha: String) -> Call<String> {
    let (method, url, body) = if commit.branch == commit.base {
        let path: Vec<&str> = ["git", "refs", "heads"].into_iter().chain(commit.branch.split('/')).collect();
        (Method::PATCH, at(repository, &path, &[]), json!({"sha": sha, "force": false}))
    } else {
        let body = json!({"ref": format!("refs/heads/{}", commit.branch), "sha": sha});
        (Method::POST, at(repository, &["git", "refs"], &[]), body)
    };
    Call::new(about, method, &url, Body::Json(body), move |_| Ok(sha)).recover(|error| Err(moved_on(error, "fast forward")))
}

/// A refusal in these words means that the branch has moved on.
pub(super) fn moved_on(error: ForgeError, words: &str) -> ForgeError {
    let answer = match &error.problem {
        Problem::Refused(answer) if answer.contains(words) => answer.clone(),
        Problem::Refused(_)
        | Problem::NotFound { .. }
        | Problem::Address(_)
        | Problem::Authentication { .. }
        | Problem::Permission { .. }
        | Problem::Conflict(_)
        | Problem::RateLimited(_)
        | Problem::Unreachable(_)
        | Problem::Unexpected(_)
        | Problem::Unsupported(_) => return error,
    };
    ForgeError { problem: Problem::Conflict(answer), ..error }
}

/// `None` in place of an error that says that there is no such thing.
pub(super) fn none_when_missing<T>(error: ForgeError) -> Result<Next<Option<T>>, ForgeError> {
    match error.problem {
        Problem::NotFound { .. } => Ok(Next::Done(None)),
        Problem::Address(_)
        | Problem::Authentication { .. }
        | Problem::Permission { .. }
        | Problem::Conflict(_)
        | Problem::RateLimited(_)
        | Problem::Unreachable(_)
        | Problem::Refused(_)
        | Problem::Unexpected(_)
        | Problem::Unsupported(_) => Err(error),
    }
}

/// A comment as GitHub and Gitea write it, when it begins with the marker.
pub(super) fn comment(value: &Value, marker: &str) -> Option<Comment> {
    let text = value.get("body")?.as_str()?;
    let id = value.get("id")?.as_u64()?.to_string();
    text.starts_with(marker).then(|| Comment { id, version: None, text: text.to_owned() })
}

/// A pull request as GitHub and Gitea write it.
pub(super) fn pull_request(value: &Value) -> Option<PullRequest> {
    let url = value.get("html_url").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(PullRequest { number: value.get("number")?.as_u64()?, url })
}

fn pulls(answer: &Answer) -> Result<Vec<PullRequest>, ForgeError> {
    Ok(answer.list("")?.iter().filter_map(pull_request).collect())
}

fn at(repository: &Repository, path: &[&str], query: &[(&str, &str)]) -> Url {
    let start = ["repos", repository.part(0), repository.part(1)];
    url(&repository.place.api, start.into_iter().chain(path.iter().copied()), query)
}
