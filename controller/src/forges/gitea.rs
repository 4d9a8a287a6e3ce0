//! Gitea and Forgejo, wherever they run.

use ::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use super::call::{Body, Call, Next, Page, pages, url};
use super::error::{About, ForgeError};
use super::github::{comment, none_when_missing, pull_request};
use super::{
    Branch, CloneAddress, Comment, CommitState, CommitStatus, FileChange, Forge, NewCommit, NewPull, Place, PullRequest,
    Repository, Scheme, short,
};

pub(super) static FORGE: Gitea = Gitea;

pub(super) struct Gitea;

/// Pull requests in one answer; 50 is the most that a server gives without other settings.
const PULLS: usize = 50;

impl Forge for Gitea {
    fn name(&self) -> &'static str {
        "gitea"
    }

    fn title(&self) -> &'static str {
        "Gitea"
    }

    fn is_home(&self, host: &str) -> bool {
        matches!(host, "gitea.com" | "codeberg.org")
    }

    fn locate(&self, address: &CloneAddress) -> Result<Place, String> {
        let wrong = "the path of a repository on Gitea is OWNER/REPOSITORY";
        let parts = address.parts();
        let [folder @ .., owner, name] = &parts[..] else { return Err(wrong.into()) };
        if address.scheme == Scheme::Ssh && !folder.is_empty() {
            return Err(wrong.into());
        }
        // A server may stand below a path of its host.
        let root = url(&address.origin()?, folder.iter().copied(), &[]);
        let web = url(&root, [*owner, *name], &[]);
        let path = vec![(*owner).to_owned(), (*name).to_owned()];
        Ok(Place { api: url(&root, ["api", "v1"], &[]), web, path })
    }

    fn authorization(&self, token: &str) -> String {
        format!("token {token}")
    }

    fn rights(&self) -> &'static str {
        "the scopes write:repository and write:issue"
    }

    fn longest_description(&self) -> usize {
        255
    }

    /// Gitea knows the pull request whose merge the commit is, and no other.
    fn pulls_of(&self, repository: &Repository, commit: &str) -> Call<Vec<PullRequest>> {
        let about = About::new(repository, &format!("looking for the pull request of commit {}", short(commit)));
        let url = at(repository, &["commits", commit, "pull"], &[]);
        Call::new(&about, Method::GET, &url, Body::None, |answer| Ok(pull_request(&answer.json()?)))
            .recover(none_when_missing)
            .map(|found| found.into_iter().collect())
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

    /// The list cannot be narrowed to a branch, so it is read to its end.
    fn open_pulls(&self, repository: &Repository, head: &str, base: &str) -> Call<Vec<PullRequest>> {
        let (repository, head, base) = (repository.clone(), head.to_owned(), base.to_owned());
        pages(1, move |page| {
            let about = About::new(&repository, &format!("looking for an open pull request of branch {head}"));
            let (number, size) = (page.to_string(), PULLS.to_string());
            let query = [("state", "open"), ("limit", size.as_str()), ("page", number.as_str())];
            let url = at(&repository, &["pulls"], &query);
            let (full_name, head, base) = (repository.name(), head.clone(), base.clone());
            Call::new(&about, Method::GET, &url, Body::None, move |answer| {
                let all = answer.list("")?;
                let wanted = |pull: &&Value| {
                    let text = |pointer: &str| pull.pointer(pointer).and_then(Value::as_str);
                    // A branch of that name in a fork is another one.
                    let own = text("/head/repo/full_name").is_none_or(|name| name.eq_ignore_ascii_case(&full_name));
                    own && text("/head/ref") == Some(&head) && text("/base/ref") == Some(&base)
                };
                let next = (!all.is_empty()).then_some(page + 1);
                Ok(Page { items: all.iter().filter(wanted).filter_map(pull_request).collect(), next })
            })
        })
    }

    fn open_pull(&self, repository: &Repository, pull: &NewPull) -> Call<PullRequest> {
        let about = About::new(repository, &format!("opening a pull request of branch {}", pull.head));
        let body = json!({"title": pull.title, "head": pull.head, "base": pull.base, "body": pull.body});
        let url = at(repository, &["pulls"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(body), |answer| {
            pull_request(&answer.json()?).ok_or_else(|| answer.lacks("number"))
        })
    }

    /// All comments come in one answer.
    fn comments(&self, repository: &Repository, pull: u64, marker: &str) -> Call<Vec<Comment>> {
        let about = About::new(repository, &format!("reading the comments of pull request {pull}"));
        let url = at(repository, &["issues", &pull.to_string(), "comments"], &[]);
        let marker = marker.to_owned();
        Call::new(&about, Method::GET, &url, Body::None, move |answer| {
            Ok(answer.list("")?.iter().filter_map(|one| comment(one, &marker)).collect())
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
        let path: Vec<&str> = std::iter::once("branches").chain(name.split('/')).collect();
        Call::new(&about, Method::GET, &at(repository, &path, &[]), Body::None, |answer| {
            let json = answer.json()?;
            let told = |key: &str| json.get(key).and_then(Value::as_bool);
            // Protected from this token, that is.
            let protected = told("user_can_push").map(|may| !may).or_else(|| told("protected"));
            Ok(Some(Branch { head: answer.text("/commit/id")?, protected }))
        })
        .recover(none_when_missing)
    }

    /// Gitea wants to be told which version of a file is replaced, so each of those is looked at first.
    fn commit(&self, repository: &Repository, commit: &NewCommit) -> Call<String> {
        let first = with_file(repository.clone(), commit.clone(), 0, Vec::new());
        first.unwrap_or_else(Call::failed)
    }
}

/// Goes on with the change at `index`; `done` are the files before it as Gitea takes them.
fn with_file(
    repository: Repository,
    commit: NewCommit,
    mut index: usize,
    mut done: Vec<Value>,
) -> Result<Call<String>, ForgeError> {
    let about = About::new(&repository, &format!("committing to branch {}", commit.branch));
    while let Some(change) = commit.changes.get(index) {
        let (operation, content) = match &change.file {
            FileChange::Create(content) => {
                done.push(json!({"operation": "create", "path": change.path, "content": STANDARD.encode(content)}));
                index += 1;
                continue;
            }
            FileChange::Update(content) => ("update", Some(STANDARD.encode(content))),
            FileChange::Delete => ("delete", None),
        };
        let path: Vec<&str> = std::iter::once("contents").chain(change.path.split('/')).collect();
        let url = at(&repository, &path, &[("ref", &commit.parent)]);
        let mut file = json!({"operation": operation, "path": change.path});
        if let Some(content) = content {
            file["content"] = content.into();
        }
        let call = Call::new(&about, Method::GET, &url, Body::None, |answer| answer.text("/sha"));
        return Ok(call.then(move |sha| {
            file["sha"] = sha.into();
            done.push(file);
            with_file(repository, commit, index + 1, done).map(Next::Ask)
        }));
    }
    let mut body = json!({"branch": commit.base, "message": commit.message, "files": done});
    if commit.branch != commit.base {
        body["new_branch"] = commit.branch.as_str().into();
    }
    if let Some(author) = &commit.author {
        body["author"] = json!({"name": author.name, "email": author.email});
    }
    let url = at(&repository, &["contents"], &[]);
    Ok(Call::new(&about, Method::POST, &url, Body::Json(body), |answer| answer.text("/commit/sha")))
}

fn at(repository: &Repository, path: &[&str], query: &[(&str, &str)]) -> Url {
    let start = ["repos", repository.part(0), repository.part(1)];
    url(&repository.place.api, start.into_iter().chain(path.iter().copied()), query)
}
