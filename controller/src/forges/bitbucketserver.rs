//! Bitbucket Server and Data Center.

use ::http::Method;
use serde_json::{Value, json};
use url::Url;

use super::call::{Answer, Body, Call, Page, pages, url};
use super::error::{About, ForgeError, Problem};
use super::{
    Branch, Change, CloneAddress, Comment, CommitState, CommitStatus, FileChange, Forge, NewCommit, NewPull, Place,
    PullRequest, Repository, Scheme, bearer_or_basic, short,
};

pub(super) static FORGE: BitbucketServer = BitbucketServer;

pub(super) struct BitbucketServer;

/// Activities in one answer.
const ACTIVITIES: &str = "50";
const ONE_FILE: &str = "the API of Bitbucket Server commits one file at a time and deletes none: use an image with git, \
                        which pushes any commit";

impl Forge for BitbucketServer {
    fn name(&self) -> &'static str {
        "bitbucketserver"
    }

    fn title(&self) -> &'static str {
        "Bitbucket Server"
    }

    fn is_home(&self, _host: &str) -> bool {
        false
    }

    fn locate(&self, address: &CloneAddress) -> Result<Place, String> {
        let parts = address.parts();
        let (folder, project, name) = match (address.scheme, &parts[..]) {
            (Scheme::Ssh, [project, name]) => (&parts[..0], (*project).to_owned(), *name),
            (Scheme::Https | Scheme::Http, [folder @ .., "scm", project, name]) => (folder, (*project).to_owned(), *name),
            (Scheme::Https | Scheme::Http, [folder @ .., "projects", project, "repos", name]) => {
                (folder, (*project).to_owned(), *name)
            }
            (Scheme::Https | Scheme::Http, [folder @ .., "users", user, "repos", name]) => {
                (folder, format!("~{user}"), *name)
            }
            (Scheme::Ssh | Scheme::Https | Scheme::Http, _) => {
                return Err("the clone URL of a repository on Bitbucket Server is https://HOST/scm/PROJECT/REPOSITORY.git \
                            or ssh://git@HOST/PROJECT/REPOSITORY.git"
                    .into());
            }
        };
        // A server may stand below a path of its host.
        let root = url(&address.origin()?, folder.iter().copied(), &[]);
        let web = match project.strip_prefix('~') {
            Some(user) => url(&root, ["users", user, "repos", name], &[]),
            None => url(&root, ["projects", &project, "repos", name], &[]),
        };
        Ok(Place { api: url(&root, ["rest", "api", "latest"], &[]), web, path: vec![project, name.to_owned()] })
    }

    fn authorization(&self, token: &str) -> String {
        bearer_or_basic(token)
    }

    fn rights(&self) -> &'static str {
        "the permission Repository write"
    }

    fn longest_description(&self) -> usize {
        255
    }

    /// HTML is shown here and not understood; a definition that nothing refers to is hidden.
    fn marker(&self, id: &str) -> String {
        format!("[//]: # (serin: {id})")
    }

    fn pulls_of(&self, repository: &Repository, commit: &str) -> Call<Vec<PullRequest>> {
        let about = About::new(repository, &format!("looking for the pull request of commit {}", short(commit)));
        let url = at(repository, &["commits", commit, "pull-requests"], &[]);
        Call::new(&about, Method::GET, &url, Body::None, |answer| pulls(&answer))
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
            "key": status.context,
            "name": status.context,
            "state": state,
            "description": status.description_for(self),
            "url": target.as_str(),
        });
        let url = at(repository, &["commits", commit, "builds"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(body), |_| Ok(()))
    }

    fn open_pulls(&self, repository: &Repository, head: &str, base: &str) -> Call<Vec<PullRequest>> {
        let about = About::new(repository, &format!("looking for an open pull request of branch {head}"));
        let from = reference(head);
        let query = [("state", "OPEN"), ("direction", "OUTGOING"), ("at", from.as_str())];
        let (url, to) = (at(repository, &["pull-requests"], &query), reference(base));
        Call::new(&about, Method::GET, &url, Body::None, move |answer| {
            let all = answer.list("/values")?;
            let wanted = |pull: &&Value| pull.pointer("/toRef/id").and_then(Value::as_str) == Some(&to);
            Ok(all.iter().filter(wanted).filter_map(pull_request).collect())
        })
    }

    fn open_pull(&self, repository: &Repository, pull: &NewPull) -> Call<PullRequest> {
        let about = About::new(repository, &format!("opening a pull request of branch {}", pull.head));
        let body = json!({
            "title": pull.title,
            "description": pull.body,
            "fromRef": {"id": reference(&pull.head)},
            "toRef": {"id": reference(&pull.base)},
        });
        let url = at(repository, &["pull-requests"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(body), |answer| {
            pull_request(&answer.json()?).ok_or_else(|| answer.lacks("id"))
        })
    }

    fn comments(&self, repository: &Repository, pull: u64, marker: &str) -> Call<Vec<Comment>> {
        let (repository, marker) = (repository.clone(), marker.to_owned());
        let all = pages(0, move |start| {
            let about = About::new(&repository, &format!("reading the comments of pull request {pull}"));
            let start = start.to_string();
            let path = ["pull-requests", &pull.to_string(), "activities"];
            let url = at(&repository, &path, &[("limit", ACTIVITIES), ("start", &start)]);
            let marker = marker.clone();
            Call::new(&about, Method::GET, &url, Body::None, move |answer| {
                let json = answer.json()?;
                let last = json.get("isLastPage").and_then(Value::as_bool).unwrap_or(true);
                let next = json.get("nextPageStart").and_then(Value::as_u64).filter(|_| !last);
                let items = answer.list("/values")?.iter().filter_map(|one| comment(one, &marker)).collect();
                Ok(Page { items, next })
            })
        });
        // Activities come newest first.
        all.map(|mut comments| {
            comments.reverse();
            comments
        })
    }

    fn add_comment(&self, repository: &Repository, pull: u64, text: &str) -> Call<()> {
        let about = About::new(repository, &format!("commenting on pull request {pull}"));
        let url = at(repository, &["pull-requests", &pull.to_string(), "comments"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(json!({"text": text})), |_| Ok(()))
    }

    fn edit_comment(&self, repository: &Repository, pull: u64, comment: &Comment, text: &str) -> Call<()> {
        let about = About::new(repository, &format!("updating the comment on pull request {pull}"));
        let url = at(repository, &["pull-requests", &pull.to_string(), "comments", &comment.id], &[]);
        let body = json!({"text": text, "version": comment.version.unwrap_or_default()});
        Call::new(&about, Method::PUT, &url, Body::Json(body), |_| Ok(()))
    }

    fn branch(&self, repository: &Repository, name: &str) -> Call<Option<Branch>> {
        let about = About::new(repository, &format!("reading branch {name}"));
        let url = at(repository, &["branches"], &[("filterText", name), ("boostMatches", "true"), ("limit", "50")]);
        let wanted = reference(name);
        Call::new(&about, Method::GET, &url, Body::None, move |answer| {
            let all = answer.list("/values")?;
            let found = all.iter().find(|branch| branch.get("id").and_then(Value::as_str) == Some(&wanted));
            let head = found.and_then(|branch| branch.get("latestCommit")?.as_str());
            Ok(head.map(|head| Branch { head: head.to_owned(), protected: None }))
        })
    }

    fn commit(&self, repository: &Repository, commit: &NewCommit) -> Call<String> {
        let about = About::new(repository, &format!("committing to branch {}", commit.branch));
        let (path, content, existing) = match &commit.changes[..] {
            [Change { path, file: FileChange::Create(content) }] => (path, content, false),
            [Change { path, file: FileChange::Update(content) }] => (path, content, true),
            _ => return Call::failed(about.error(Problem::Unsupported(ONE_FILE))),
        };
        let mut fields = vec![("branch", &commit.branch), ("message", &commit.message), ("content", content)];
        if existing {
            fields.push(("sourceCommitId", &commit.parent));
        }
        if commit.branch != commit.base {
            fields.push(("sourceBranch", &commit.base));
        }
        let path: Vec<&str> = std::iter::once("browse").chain(path.split('/')).collect();
        let url = at(repository, &path, &[]);
        Call::new(&about, Method::PUT, &url, multipart(&fields), |answer| answer.text("/id"))
    }
}

/// A form whose fields are texts of any length.
fn multipart(fields: &[(&str, &String)]) -> Body {
    // A line that is in none of them.
    let mut boundary = "serin".to_owned();
    while fields.iter().any(|(_, text)| text.contains(&boundary)) {
        boundary.push('-');
        boundary.push_str(&boundary.len().to_string());
    }
    let mut body = String::new();
    for (name, text) in fields {
        body += &format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
    }
    body += &format!("--{boundary}--\r\n");
    Body::Raw(format!("multipart/form-data; boundary={boundary}"), body.into_bytes())
}

fn reference(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

fn comment(activity: &Value, marker: &str) -> Option<Comment> {
    if activity.get("action")?.as_str()? != "COMMENTED" {
        return None;
    }
    let comment = activity.get("comment")?;
    let text = comment.get("text")?.as_str()?;
    let id = comment.get("id")?.as_u64()?.to_string();
    let version = comment.get("version").and_then(Value::as_u64);
    text.starts_with(marker).then(|| Comment { id, version, text: text.to_owned() })
}

fn pull_request(value: &Value) -> Option<PullRequest> {
    let url = value.pointer("/links/self/0/href").and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(PullRequest { number: value.get("id")?.as_u64()?, url })
}

fn pulls(answer: &Answer) -> Result<Vec<PullRequest>, ForgeError> {
    Ok(answer.list("/values")?.iter().filter_map(pull_request).collect())
}

fn at(repository: &Repository, path: &[&str], query: &[(&str, &str)]) -> Url {
    let start = ["projects", repository.part(0), "repos", repository.part(1)];
    url(&repository.place.api, start.into_iter().chain(path.iter().copied()), query)
}
