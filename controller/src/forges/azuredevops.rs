//! Azure DevOps Services, and Azure DevOps Server.

use ::http::Method;
use base64::Engine as _;
use serde_json::{Value, json};
use url::Url;

use super::call::{Answer, Body, Call, url};
use super::error::{About, ForgeError};
use super::{
    Branch, CloneAddress, Comment, CommitState, CommitStatus, FileChange, Forge, NewCommit, NewPull, Place, PullRequest,
    Repository, Scheme, short,
};

pub(super) static FORGE: AzureDevOps = AzureDevOps;

pub(super) struct AzureDevOps;

/// Understood by the service and by servers from 2022.1 on.
const VERSION: &str = "7.1";
/// Longest description of a pull request, in characters.
const DESCRIPTION: usize = 4000;

impl Forge for AzureDevOps {
    fn name(&self) -> &'static str {
        "azuredevops"
    }

    fn title(&self) -> &'static str {
        "Azure DevOps"
    }

    fn is_home(&self, host: &str) -> bool {
        matches!(host, "dev.azure.com" | "ssh.dev.azure.com") || host.ends_with(".visualstudio.com")
    }

    fn locate(&self, address: &CloneAddress) -> Result<Place, String> {
        let wrong = "the clone URL of a repository on Azure DevOps is \
                     https://dev.azure.com/ORGANISATION/PROJECT/_git/REPOSITORY or \
                     git@ssh.dev.azure.com:v3/ORGANISATION/PROJECT/REPOSITORY";
        let parts = address.parts();
        let service = |organisation: &str| {
            let base = Url::parse("https://dev.azure.com/").map_err(|error| error.to_string())?;
            Ok::<_, String>(url(&base, [organisation], &[]))
        };
        let (root, project, name) = match (address.host.as_str(), &parts[..]) {
            ("ssh.dev.azure.com" | "vs-ssh.visualstudio.com", ["v3", organisation, project, name]) => {
                (service(organisation)?, *project, *name)
            }
            // A repository that is named like its project may go without it.
            ("dev.azure.com", [organisation, "_git", name]) => (service(organisation)?, *name, *name),
            ("dev.azure.com", [organisation, project, "_git", name]) => (service(organisation)?, *project, *name),
            (host, [.., "_git", _]) if host.ends_with(".visualstudio.com") => {
                let organisation = host.split('.').next().unwrap_or_default();
                let rest = parts.strip_prefix(&["DefaultCollection"][..]).unwrap_or(&parts[..]);
                match rest {
                    ["_git", name] => (service(organisation)?, *name, *name),
                    [project, "_git", name] => (service(organisation)?, *project, *name),
                    _ => return Err(wrong.into()),
                }
            }
            (_, [collection @ .., project, "_git", name]) if address.scheme != Scheme::Ssh && !collection.is_empty() => {
                (url(&address.origin()?, collection.iter().copied(), &[]), *project, *name)
            }
            (_, _) => return Err(wrong.into()),
        };
        let web = url(&root, [project, "_git", name], &[]);
        Ok(Place { api: root, web, path: vec![project.to_owned(), name.to_owned()] })
    }

    /// Tokens of Microsoft Entra are JWTs, personal access tokens are passwords without a user.
    fn authorization(&self, token: &str) -> String {
        if token.starts_with("eyJ") && token.matches('.').count() == 2 {
            return format!("Bearer {token}");
        }
        let user_and_token = if token.contains(':') { token.to_owned() } else { format!(":{token}") };
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(user_and_token))
    }

    fn rights(&self) -> &'static str {
        "the scopes Code (read, write, status) and the permission to contribute to the repository"
    }

    fn longest_description(&self) -> usize {
        255
    }

    fn pulls_of(&self, repository: &Repository, commit: &str) -> Call<Vec<PullRequest>> {
        let about = About::new(repository, &format!("looking for the pull request of commit {}", short(commit)));
        let of_kind = |kind: &str| json!({"type": kind, "items": [commit]});
        let body = json!({"queries": [of_kind("lastMergeCommit"), of_kind("commit")]});
        let (url, web) = (at(repository, &["pullrequestquery"], &[]), repository.place.web.clone());
        Call::new(&about, Method::POST, &url, Body::Json(body), move |answer| {
            let mut found: Vec<PullRequest> = Vec::new();
            for by_commit in answer.list("/results")? {
                let lists = by_commit.as_object().into_iter().flatten();
                for pull in lists.filter_map(|(_, pulls)| pulls.as_array()).flatten() {
                    found.extend(pull_request(pull, &web).filter(|pull| !found.contains(pull)));
                }
            }
            Ok(found)
        })
    }

    fn set_status(&self, repository: &Repository, commit: &str, status: &CommitStatus) -> Call<()> {
        let about = About::new(repository, &format!("setting the status of commit {}", short(commit)));
        let state = match status.state {
            CommitState::Pending => "pending",
            CommitState::Success => "succeeded",
            CommitState::Failure => "failed",
        };
        let (genre, name) = status.context.split_once('/').unwrap_or(("serin", &status.context));
        let mut body = json!({
            "state": state,
            "description": status.description_for(self),
            "context": {"genre": genre, "name": name},
        });
        if let Some(target) = &status.target {
            body["targetUrl"] = target.as_str().into();
        }
        let url = at(repository, &["commits", commit, "statuses"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(body), |_| Ok(()))
    }

    fn open_pulls(&self, repository: &Repository, head: &str, base: &str) -> Call<Vec<PullRequest>> {
        let about = About::new(repository, &format!("looking for an open pull request of branch {head}"));
        let (from, to, web) = (reference(head), reference(base), repository.place.web.clone());
        let query = [
            ("searchCriteria.status", "active"),
            ("searchCriteria.sourceRefName", from.as_str()),
            ("searchCriteria.targetRefName", to.as_str()),
        ];
        Call::new(&about, Method::GET, &at(repository, &["pullrequests"], &query), Body::None, move |answer| {
            // A branch of that name in a fork is another one.
            let own = |pull: &&Value| pull.get("forkSource").is_none_or(Value::is_null);
            Ok(answer.list("/value")?.iter().filter(own).filter_map(|pull| pull_request(pull, &web)).collect())
        })
    }

    fn open_pull(&self, repository: &Repository, pull: &NewPull) -> Call<PullRequest> {
        let about = About::new(repository, &format!("opening a pull request of branch {}", pull.head));
        let body = json!({
            "sourceRefName": reference(&pull.head),
            "targetRefName": reference(&pull.base),
            "title": pull.title,
            "description": pull.body.chars().take(DESCRIPTION).collect::<String>(),
        });
        let (url, web) = (at(repository, &["pullrequests"], &[]), repository.place.web.clone());
        Call::new(&about, Method::POST, &url, Body::Json(body), move |answer| {
            pull_request(&answer.json()?, &web).ok_or_else(|| answer.lacks("pullRequestId"))
        })
    }

    /// All threads come in one answer.
    fn comments(&self, repository: &Repository, pull: u64, marker: &str) -> Call<Vec<Comment>> {
        let about = About::new(repository, &format!("reading the comments of pull request {pull}"));
        let url = at(repository, &["pullRequests", &pull.to_string(), "threads"], &[]);
        let marker = marker.to_owned();
        Call::new(&about, Method::GET, &url, Body::None, move |answer| {
            Ok(answer.list("/value")?.iter().filter_map(|thread| comment(thread, &marker)).collect())
        })
    }

    /// Closed from the start, so that it stands in nobody's way where all comments must be resolved.
    fn add_comment(&self, repository: &Repository, pull: u64, text: &str) -> Call<()> {
        let about = About::new(repository, &format!("commenting on pull request {pull}"));
        let url = at(repository, &["pullRequests", &pull.to_string(), "threads"], &[]);
        let body = json!({
            "comments": [{"parentCommentId": 0, "content": text, "commentType": "text"}],
            "status": "closed",
        });
        Call::new(&about, Method::POST, &url, Body::Json(body), |_| Ok(()))
    }

    fn edit_comment(&self, repository: &Repository, pull: u64, comment: &Comment, text: &str) -> Call<()> {
        let about = About::new(repository, &format!("updating the comment on pull request {pull}"));
        let (thread, id) = comment.id.split_once('/').unwrap_or((&comment.id, "1"));
        let url = at(repository, &["pullRequests", &pull.to_string(), "threads", thread, "comments", id], &[]);
        Call::new(&about, Method::PATCH, &url, Body::Json(json!({"content": text})), |_| Ok(()))
    }

    fn branch(&self, repository: &Repository, name: &str) -> Call<Option<Branch>> {
        let about = About::new(repository, &format!("reading branch {name}"));
        let url = at(repository, &["refs"], &[("filter", &format!("heads/{name}"))]);
        let wanted = reference(name);
        Call::new(&about, Method::GET, &url, Body::None, move |answer| {
            // The filter is a beginning.
            let all = answer.list("/value")?;
            let found = all.iter().find(|one| one.get("name").and_then(Value::as_str) == Some(&wanted));
            let head = found.and_then(|branch| branch.get("objectId")?.as_str());
            Ok(head.map(|head| Branch { head: head.to_owned(), protected: None }))
        })
    }

    /// A branch that does not exist yet begins at its `oldObjectId`; one that does must stand there.
    fn commit(&self, repository: &Repository, commit: &NewCommit) -> Call<String> {
        let about = About::new(repository, &format!("committing to branch {}", commit.branch));
        let change = |change: &super::Change| {
            let item = json!({"path": format!("/{}", change.path)});
            let with = |kind: &str, content: &str| {
                let content = json!({"content": content, "contentType": "rawtext"});
                json!({"changeType": kind, "item": item, "newContent": content})
            };
            match &change.file {
                FileChange::Create(content) => with("add", content),
                FileChange::Update(content) => with("edit", content),
                FileChange::Delete => json!({"changeType": "delete", "item": item}),
            }
        };
        let changes: Vec<Value> = commit.changes.iter().map(change).collect();
        let mut made = json!({"comment": commit.message, "changes": changes});
        if let Some(author) = &commit.author {
            made["author"] = json!({"name": author.name, "email": author.email});
        }
        let body = json!({
            "refUpdates": [{"name": reference(&commit.branch), "oldObjectId": commit.parent}],
            "commits": [made],
        });
        let url = at(repository, &["pushes"], &[]);
        Call::new(&about, Method::POST, &url, Body::Json(body), |answer| commit_id(&answer))
    }
}

fn commit_id(answer: &Answer) -> Result<String, ForgeError> {
    answer.text("/commits/0/commitId").or_else(|_| answer.text("/refUpdates/0/newObjectId"))
}

fn reference(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

fn comment(thread: &Value, marker: &str) -> Option<Comment> {
    let id = thread.get("id")?.as_u64()?;
    let first = thread.pointer("/comments/0")?;
    if first.get("isDeleted").and_then(Value::as_bool) == Some(true) {
        return None;
    }
    let text = first.get("content")?.as_str()?;
    let id = format!("{id}/{}", first.get("id")?.as_u64()?);
    text.starts_with(marker).then(|| Comment { id, version: None, text: text.to_owned() })
}

fn pull_request(value: &Value, web: &Url) -> Option<PullRequest> {
    let number = value.get("pullRequestId")?.as_u64()?;
    // The answer has the address for programs alone.
    Some(PullRequest { number, url: url(web, ["pullrequest", &number.to_string()], &[]).into() })
}

fn at(repository: &Repository, path: &[&str], query: &[(&str, &str)]) -> Url {
    let start = [repository.part(0), "_apis", "git", "repositories", repository.part(1)];
    let mut url = url(&repository.place.api, start.into_iter().chain(path.iter().copied()), query);
    url.query_pairs_mut().append_pair("api-version", VERSION);
    url
}
