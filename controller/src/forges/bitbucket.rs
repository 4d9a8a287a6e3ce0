//! Bitbucket Cloud.

use std::fmt::Write as _;

use ::http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;
use url::form_urlencoded::Serializer;

use super::call::{Answer, Body, Call, Page, pages, url};
use super::error::{About, ForgeError};
use super::github::{moved_on, none_when_missing};
use super::{
    Branch, CloneAddress, Comment, CommitState, CommitStatus, FileChange, Forge, NewCommit, NewPull, Place, PullRequest,
    Repository, bearer_or_basic, short,
};

pub(super) static FORGE: Bitbucket = Bitbucket;

pub(super) struct Bitbucket;

/// Longest key of a status, in characters.
const KEY: usize = 40;
const COMMENTS: usize = 50;

impl Forge for Bitbucket {
    fn name(&self) -> &'static str {
        "bitbucket"
    }

    fn title(&self) -> &'static str {
        "Bitbucket"
    }

    fn is_home(&self, host: &str) -> bool {
        matches!(host, "bitbucket.org" | "altssh.bitbucket.org")
    }

    fn locate(&self, address: &CloneAddress) -> Result<Place, String> {
        if !self.is_home(&address.host) {
            return Err("bitbucket is the service at bitbucket.org; for a server of your own write bitbucketserver".into());
        }
        let [workspace, name] = address.parts()[..] else {
            return Err("the path of a repository on Bitbucket is WORKSPACE/REPOSITORY".into());
        };
        let parse = |text: &str| Url::parse(text).map_err(|error| error.to_string());
        let web = url(&parse("https://bitbucket.org/")?, [workspace, name], &[]);
        let path = vec![workspace.to_owned(), name.to_owned()];
        Ok(Place { api: parse("https://api.bitbucket.org/2.0/")?, web, path })
    }

    /// Access tokens stand alone, API tokens have the account's mail address before them.
    fn authorization(&self, token: &str) -> String {
        bearer_or_basic(token)
    }

    fn rights(&self) -> &'static str {
        "the scopes repository:write and pullrequest:write"
    }

    fn longest_description(&self) -> usize {
        255
    }

    /// HTML is shown here and not understood; a definition that nothing refers to is hidden.
    fn marker(&self, id: &str) -> String {
        format!("[//]: # (serin: {id})")
    }

    /// The answer is 404 until somebody has opened the list of a commit's pull requests once on the web page.
    fn pulls_of(&self, repository: &Repository, commit: &str) -> Call<Vec<PullRequest>> {
        let about = About::new(repository, &format!("looking for the pull request of commit {}", short(commit)));
        let url = at(repository, &["commit", commit, "pullrequests"], &[]);
        Call::new(&about, Method::GET, &url, Body::None, |answer| Ok(Some(pulls(&answer)?)))
            .recover(none_when_missing)
            .map(Option::unwrap_or_default)
    }

    fn set_status(&self, repository: &Repository, commit: &str, status: &CommitStatus) -> Call<()> {
        let about = About::new(repository, &format!("setting the status of commit {}", short(commit)));
        let state = match status.state {
            CommitState::Pending => "INPROGRESS",
            CommitState::Success => "SUCCESSFUL",
            CommitState::Failure => "FAILED",
        };
        // A status must lead somewhere.
        let target = status.target.clone();
        let target = target.unwrap_or_else(|| super::call::url(&repository.place.web, ["commits", commit], &[]));
        let body = json!({
            "key": key(&status.context),
            "name": status.context,
            "state": state,
            "description": status.description_for(self),
            "url": target.as_str(),
        });
        let url = at(repository, &["commit", commit, "statuses", "build"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(body), |_| Ok(()))
    }

    fn open_pulls(&self, repository: &Repository, head: &str, base: &str) -> Call<Vec<PullRequest>> {
        let about = About::new(repository, &format!("looking for an open pull request of branch {head}"));
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        // A branch of that name in a fork is another one.
        let query = format!(
            "state=\"OPEN\" AND source.repository.full_name=\"{}\" AND source.branch.name=\"{}\" \
             AND destination.branch.name=\"{}\"",
            quoted(&repository.name()),
            quoted(head),
            quoted(base)
        );
        let url = at(repository, &["pullrequests"], &[("q", &query)]);
        Call::new(&about, Method::GET, &url, Body::None, |answer| pulls(&answer))
    }

    fn open_pull(&self, repository: &Repository, pull: &NewPull) -> Call<PullRequest> {
        let about = About::new(repository, &format!("opening a pull request of branch {}", pull.head));
        let body = json!({
            "title": pull.title,
            "description": pull.body,
            "source": {"branch": {"name": pull.head}},
            "destination": {"branch": {"name": pull.base}},
            "close_source_branch": true,
        });
        let url = at(repository, &["pullrequests"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(body), |answer| {
            pull_request(&answer.json()?).ok_or_else(|| answer.lacks("id"))
        })
    }

    fn comments(&self, repository: &Repository, pull: u64, marker: &str) -> Call<Vec<Comment>> {
        let (repository, marker) = (repository.clone(), marker.to_owned());
        pages(1, move |page| {
            let about = About::new(&repository, &format!("reading the comments of pull request {pull}"));
            let (number, size) = (page.to_string(), COMMENTS.to_string());
            let path = ["pullrequests", &pull.to_string(), "comments"];
            let url = at(&repository, &path, &[("pagelen", &size), ("page", &number)]);
            let marker = marker.clone();
            Call::new(&about, Method::GET, &url, Body::None, move |answer| {
                let next = answer.json()?.get("next").map(|_| page + 1);
                let items = answer.list("/values")?.iter().filter_map(|one| comment(one, &marker)).collect();
                Ok(Page { items, next })
            })
        })
    }

    fn add_comment(&self, repository: &Repository, pull: u64, text: &str) -> Call<()> {
        let about = About::new(repository, &format!("commenting on pull request {pull}"));
        let url = at(repository, &["pullrequests", &pull.to_string(), "comments"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(json!({"content": {"raw": text}})), |_| Ok(()))
    }

    fn edit_comment(&self, repository: &Repository, pull: u64, comment: &Comment, text: &str) -> Call<()> {
        let about = About::new(repository, &format!("updating the comment on pull request {pull}"));
        let url = at(repository, &["pullrequests", &pull.to_string(), "comments", &comment.id], &[]);
        Call::new(&about, Method::PUT, &url, Body::Json(json!({"content": {"raw": text}})), |_| Ok(()))
    }

    fn branch(&self, repository: &Repository, name: &str) -> Call<Option<Branch>> {
        let about = About::new(repository, &format!("reading branch {name}"));
        let path: Vec<&str> = ["refs", "branches"].into_iter().chain(name.split('/')).collect();
        Call::new(&about, Method::GET, &at(repository, &path, &[]), Body::None, |answer| {
            Ok(Some(Branch { head: answer.text("/target/hash")?, protected: None }))
        })
        .recover(none_when_missing)
    }

    fn commit(&self, repository: &Repository, commit: &NewCommit) -> Call<String> {
        let about = About::new(repository, &format!("committing to branch {}", commit.branch));
        let mut form = Serializer::new(String::new());
        form.append_pair("branch", &commit.branch)
            .append_pair("parents", &commit.parent)
            .append_pair("message", &commit.message);
        if let Some(author) = &commit.author {
            form.append_pair("author", &format!("{} <{}>", author.name, author.email));
        }
        for change in &commit.changes {
            match &change.file {
                // With the slash in front a file cannot be taken for a field.
                FileChange::Create(content) | FileChange::Update(content) => {
                    form.append_pair(&format!("/{}", change.path), content);
                }
                FileChange::Delete => {
                    form.append_pair("files", &format!("/{}", change.path));
                }
            }
        }
        let body = Body::Raw("application/x-www-form-urlencoded".into(), form.finish().into_bytes());
        // What was committed is told by the place where it can be looked at.
        let url = at(repository, &["src"], &[]);
        Call::new(&about, Method::POST, &url, body, |answer| {
            let commit = answer.header("location").and_then(|place| place.rsplit('/').next().map(str::to_owned));
            commit.filter(|commit| !commit.is_empty()).ok_or_else(|| answer.lacks("Location"))
        })
        .recover(|error| Err(moved_on(error, "parent")))
    }
}

/// The context itself when it is short enough, or what stands for it.
fn key(context: &str) -> String {
    if context.len() <= KEY {
        return context.to_owned();
    }
    let mut key = String::from("serin-");
    for byte in Sha256::digest(context).iter().take(16) {
        let _ = write!(key, "{byte:02x}");
    }
    key
}

fn comment(value: &Value, marker: &str) -> Option<Comment> {
    if value.get("deleted").and_then(Value::as_bool) == Some(true) {
        return None;
    }
    let text = value.pointer("/content/raw")?.as_str()?;
    let id = value.get("id")?.as_u64()?.to_string();
    text.starts_with(marker).then(|| Comment { id, version: None, text: text.to_owned() })
}

fn pull_request(value: &Value) -> Option<PullRequest> {
    let url = value.pointer("/links/html/href").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(PullRequest { number: value.get("id")?.as_u64()?, url })
}

fn pulls(answer: &Answer) -> Result<Vec<PullRequest>, ForgeError> {
    Ok(answer.list("/values")?.iter().filter_map(pull_request).collect())
}

fn at(repository: &Repository, path: &[&str], query: &[(&str, &str)]) -> Url {
    let start = ["repositories", repository.part(0), repository.part(1)];
    url(&repository.place.api, start.into_iter().chain(path.iter().copied()), query)
}
