//! GitLab, wherever it runs.

use ::http::Method;
use serde_json::{Value, json};
use url::Url;

use super::call::{Answer, Body, Call, Next, Page, pages, url};
use super::error::{About, ForgeError, Problem};
use super::github::none_when_missing;
use super::{
    Branch, CloneAddress, Comment, CommitState, CommitStatus, FileChange, Forge, NewCommit, NewPull, Place, PullRequest,
    Repository, short,
};

pub(super) static FORGE: GitLab = GitLab;

pub(super) struct GitLab;

const COMMENTS: usize = 30;

impl Forge for GitLab {
    fn name(&self) -> &'static str {
        "gitlab"
    }

    fn title(&self) -> &'static str {
        "GitLab"
    }

    fn is_home(&self, host: &str) -> bool {
        matches!(host, "gitlab.com" | "altssh.gitlab.com")
    }

    fn locate(&self, address: &CloneAddress) -> Result<Place, String> {
        if address.path.len() < 2 {
            return Err("the path of a project on GitLab is GROUP/PROJECT, with subgroups in between".into());
        }
        let origin = match address.host.as_str() {
            "altssh.gitlab.com" => Url::parse("https://gitlab.com/").map_err(|error| error.to_string())?,
            _ => address.origin()?,
        };
        let web = url(&origin, address.parts(), &[]);
        Ok(Place { api: url(&origin, ["api", "v4"], &[]), web, path: address.path.clone() })
    }

    fn authorization(&self, token: &str) -> String {
        format!("Bearer {token}")
    }

    fn rights(&self) -> &'static str {
        "the scope api and the role Developer (Maintainer for protected branches)"
    }

    fn longest_description(&self) -> usize {
        255
    }

    fn pulls_of(&self, repository: &Repository, commit: &str) -> Call<Vec<PullRequest>> {
        let about = About::new(repository, &format!("looking for the merge request of commit {}", short(commit)));
        let url = at(repository, &["repository", "commits", commit, "merge_requests"], &[("per_page", "20")]);
        Call::new(&about, Method::GET, &url, Body::None, |answer| pulls(&answer))
    }

    fn set_status(&self, repository: &Repository, commit: &str, status: &CommitStatus) -> Call<()> {
        let about = About::new(repository, &format!("setting the status of commit {}", short(commit)));
        let state = match status.state {
            CommitState::Pending => "running",
            CommitState::Success => "success",
            CommitState::Failure => "failed",
        };
        let mut body = json!({
            "state": state,
            "name": status.context,
            "description": status.description_for(self),
        });
        if let Some(target) = &status.target {
            body["target_url"] = target.as_str().into();
        }
        let url = at(repository, &["statuses", commit], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(body), |_| Ok(())).recover(|error| match &error.problem {
            // It has this state already: the words of its description stay the old ones.
            Problem::Refused(answer) if answer.contains("Cannot transition status") => Ok(Next::Done(())),
            Problem::Refused(_)
            | Problem::NotFound { .. }
            | Problem::Address(_)
            | Problem::Authentication { .. }
            | Problem::Permission { .. }
            | Problem::Conflict(_)
            | Problem::RateLimited(_)
            | Problem::Unreachable(_)
            | Problem::Unexpected(_)
            | Problem::Unsupported(_) => Err(error),
        })
    }

    fn open_pulls(&self, repository: &Repository, head: &str, base: &str) -> Call<Vec<PullRequest>> {
        let about = About::new(repository, &format!("looking for an open merge request of branch {head}"));
        let query = [("state", "opened"), ("source_branch", head), ("target_branch", base)];
        let url = at(repository, &["merge_requests"], &query);
        Call::new(&about, Method::GET, &url, Body::None, |answer| {
            // A branch of that name in a fork is another one.
            let own = |found: &&Value| found.get("source_project_id") == found.get("target_project_id");
            Ok(answer.list("")?.iter().filter(own).filter_map(merge_request).collect())
        })
    }

    fn open_pull(&self, repository: &Repository, pull: &NewPull) -> Call<PullRequest> {
        let about = About::new(repository, &format!("opening a merge request of branch {}", pull.head));
        let body = json!({
            "source_branch": pull.head,
            "target_branch": pull.base,
            "title": pull.title,
            "description": pull.body,
            "remove_source_branch": true,
        });
        let url = at(repository, &["merge_requests"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(body), |answer| {
            merge_request(&answer.json()?).ok_or_else(|| answer.lacks("iid"))
        })
    }

    fn comments(&self, repository: &Repository, pull: u64, marker: &str) -> Call<Vec<Comment>> {
        let (repository, marker) = (repository.clone(), marker.to_owned());
        pages(1, move |page| {
            let about = About::new(&repository, &format!("reading the comments of merge request {pull}"));
            let (number, size) = (page.to_string(), COMMENTS.to_string());
            let path = ["merge_requests", &pull.to_string(), "notes"];
            let query = [("sort", "asc"), ("order_by", "created_at"), ("per_page", size.as_str()), ("page", number.as_str())];
            let marker = marker.clone();
            Call::new(&about, Method::GET, &at(&repository, &path, &query), Body::None, move |answer| {
                let all = answer.list("")?;
                let next = (all.len() >= COMMENTS).then_some(page + 1);
                Ok(Page { items: all.iter().filter_map(|note| super::github::comment(note, &marker)).collect(), next })
            })
        })
    }

    fn add_comment(&self, repository: &Repository, pull: u64, text: &str) -> Call<()> {
        let about = About::new(repository, &format!("commenting on merge request {pull}"));
        let url = at(repository, &["merge_requests", &pull.to_string(), "notes"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(json!({"body": text})), |_| Ok(()))
    }

    fn edit_comment(&self, repository: &Repository, pull: u64, comment: &Comment, text: &str) -> Call<()> {
        let about = About::new(repository, &format!("updating the comment on merge request {pull}"));
        let url = at(repository, &["merge_requests", &pull.to_string(), "notes", &comment.id], &[]);
        Call::new(&about, Method::PUT, &url, Body::Json(json!({"body": text})), |_| Ok(()))
    }

    fn branch(&self, repository: &Repository, name: &str) -> Call<Option<Branch>> {
        let about = About::new(repository, &format!("reading branch {name}"));
        let url = at(repository, &["repository", "branches", name], &[]);
        Call::new(&about, Method::GET, &url, Body::None, |answer| {
            let json = answer.json()?;
            let told = |key: &str| json.get(key).and_then(Value::as_bool);
            // Protected from this token, that is.
            let protected = told("can_push").map(|may| !may).or_else(|| told("protected"));
            Ok(Some(Branch { head: answer.text("/commit/id")?, protected }))
        })
        .recover(none_when_missing)
    }

    fn commit(&self, repository: &Repository, commit: &NewCommit) -> Call<String> {
        let about = About::new(repository, &format!("committing to branch {}", commit.branch));
        let action = |change: &super::Change| match &change.file {
            FileChange::Create(content) => json!({"action": "create", "file_path": change.path, "content": content}),
            FileChange::Update(content) => json!({"action": "update", "file_path": change.path, "content": content}),
            FileChange::Delete => json!({"action": "delete", "file_path": change.path}),
        };
        let actions: Vec<Value> = commit.changes.iter().map(action).collect();
        let mut body = json!({"branch": commit.branch, "commit_message": commit.message, "actions": actions});
        if let Some(author) = &commit.author {
            body["author_name"] = author.name.as_str().into();
            body["author_email"] = author.email.as_str().into();
        }
        let url = at(repository, &["repository", "commits"], &[]);
        if commit.branch != commit.base {
            body["start_sha"] = commit.parent.as_str().into();
            return Call::new(&about, Method::POST, &url, Body::Json(body), |answer| answer.text("/id"));
        }
        // GitLab commits to the newest commit, whatever that is, so it is looked at first.
        let parent = commit.parent.clone();
        let moved = about.clone();
        self.branch(repository, &commit.branch).then(move |branch| {
            if branch.is_some_and(|branch| branch.head != parent) {
                let what = format!("the branch has moved on from commit {}", short(&parent));
                return Err(moved.error(Problem::Conflict(what)));
            }
            Ok(Next::Ask(Call::new(&about, Method::POST, &url, Body::Json(body), |answer| answer.text("/id"))))
        })
    }
}

fn merge_request(value: &Value) -> Option<PullRequest> {
    let url = value.get("web_url").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(PullRequest { number: value.get("iid")?.as_u64()?, url })
}

fn pulls(answer: &Answer) -> Result<Vec<PullRequest>, ForgeError> {
    Ok(answer.list("")?.iter().filter_map(merge_request).collect())
}

fn at(repository: &Repository, path: &[&str], query: &[(&str, &str)]) -> Url {
    // The whole path is one segment of the URL.
    let project = repository.name();
    url(&repository.place.api, ["projects", &project].into_iter().chain(path.iter().copied()), query)
}
