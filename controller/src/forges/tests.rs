//! What each forge is asked, against answers as its documentation has them; what its answers mean; and the way there.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use url::Url;

use super::*;
use crate::http::Clients;
use crate::loopback::{Answer, Loopback};

const COMMIT: &str = "4f2c1e9a0c6f1a5d3b7e8f9012345678abcdef01";
const TREE: &str = "9fb037999f264ba9a7fc6274d15fa3ae2ab98312";
const MADE: &str = "7638417db6d59f3c431d3e1f261cc637155684cd";

fn repository(clone_url: &str) -> Repository {
    recognise(clone_url, &[]).unwrap()
}

fn on(name: &str, clone_url: &str) -> Repository {
    locate(by_name(name).unwrap(), &CloneAddress::parse(clone_url).unwrap()).unwrap()
}

/// Carries a conversation out against these answers, which must be just enough. Gives the requests as text, and the end.
fn play<T: Send + 'static>(call: Call<T>, answers: &[Scripted]) -> (String, Result<T, ForgeError>) {
    let (mut call, mut asked) = (call, String::new());
    for (index, scripted) in answers.iter().enumerate() {
        let request = match call.request() {
            Ok(request) => request,
            Err(error) => return (asked, Err(error)),
        };
        asked += &format!("{} {}\n", request.method(), request.uri());
        if let Some(content_type) = request.headers().get("content-type") {
            let body = String::from_utf8_lossy(request.body());
            asked += &format!("    {}\n    {}\n", content_type.to_str().unwrap(), body.replace("\r\n", "\n    "));
        }
        let response = scripted.response();
        match call.answer(response) {
            Ok(Next::Ask(next)) => call = next,
            Ok(Next::Done(found)) => {
                assert_eq!(index + 1, answers.len(), "fewer requests than answers:\n{asked}");
                return (asked, Ok(found));
            }
            Err(error) => {
                assert_eq!(index + 1, answers.len(), "fewer requests than answers: {error}\n{asked}");
                return (asked, Err(error));
            }
        }
    }
    panic!("more requests than answers:\n{asked}{:?}", call.request().map(Request::uri));
}

#[derive(Clone)]
struct Scripted {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn says(status: u16, body: Value) -> Scripted {
    Scripted { status, headers: Vec::new(), body: body.to_string() }
}

impl Scripted {
    fn response(&self) -> Response {
        let mut response = Response::new(self.body.clone().into_bytes());
        *response.status_mut() = ::http::StatusCode::from_u16(self.status).unwrap();
        for (name, value) in &self.headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        response
    }

    fn with(mut self, name: &'static str, value: &str) -> Scripted {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// The answers of one forge.
struct Script {
    pulls_of: Vec<Scripted>,
    status: Scripted,
    /// No pull request is open, and there is no such branch.
    nothing: Vec<Scripted>,
    commit: Vec<Scripted>,
    opened: Scripted,
    open: Vec<Scripted>,
    no_comment: Vec<Scripted>,
    added: Scripted,
    commented: Vec<Scripted>,
    edited: Scripted,
}

fn status() -> CommitStatus {
    CommitStatus {
        state: CommitState::Failure,
        context: "serin/shop.podinfo".into(),
        description: "Canary analysis failed, Deployment scaled to zero.".into(),
        target: Some(Url::parse("https://serin.example.com/").unwrap()),
    }
}

fn proposal(changes: Vec<Change>) -> Proposal {
    Proposal {
        commit: NewCommit {
            base: "main".into(),
            parent: COMMIT.into(),
            branch: "serin/revert-4f2c1e9".into(),
            message: "Revert \"Bump to 6.9.2\"".into(),
            author: Some(Author { name: "Serin".into(), email: "serin@example.com".into() }),
            changes,
        },
        title: "Revert \"Bump to 6.9.2\"".into(),
        body: "success rate 83.87% < 99%".into(),
    }
}

fn three_changes() -> Vec<Change> {
    vec![
        Change { path: "apps/pod info.yaml".into(), file: FileChange::Update("image: podinfo:6.9.1\n".into()) },
        Change { path: "apps/back.yaml".into(), file: FileChange::Create("kind: ConfigMap\n".into()) },
        Change { path: "apps/new.yaml".into(), file: FileChange::Delete },
    ]
}

/// All that a notice and a rollback ask, as text.
fn transcript(repository: &Repository, changes: Vec<Change>, script: Script) -> String {
    let mut text = format!("{}\n{} {}\n", repository.name(), repository.place.api, repository.place.web);
    let mut told = |title: &str, asked: String, end: String| text += &format!("\n# {title}\n{asked}=> {end}\n");

    let (asked, found) = play(pull_request_of(repository, COMMIT), &script.pulls_of);
    assert_eq!(found.clone().unwrap().unwrap().number, 12);
    told("the pull request of a commit", asked, format!("{found:?}"));

    let (asked, set) = play(repository.forge.set_status(repository, COMMIT, &status()), &[script.status]);
    assert_eq!(set, Ok(()));
    told("a status", asked, format!("{set:?}"));

    let proposal = proposal(changes);
    let steps = [script.nothing, script.commit, vec![script.opened]].concat();
    let (asked, opened) = play(propose(repository, &proposal), &steps);
    assert_eq!(opened.clone().unwrap().number, 13);
    told("a proposal", asked, format!("{opened:?}"));
    let (asked, again) = play(propose(repository, &proposal), &script.open);
    assert_eq!(again, opened);
    told("the same once more", asked, format!("{again:?}"));

    let say = |text: &str| comment(repository, 12, "serin/shop.podinfo", text);
    let (asked, added) = play(say("rolled back"), &[script.no_comment, vec![script.added]].concat());
    assert_eq!(added, Ok(Commented::Added));
    told("a comment", asked, format!("{added:?}"));
    let (asked, edited) = play(say("promoted"), &[script.commented.clone(), vec![script.edited]].concat());
    assert_eq!(edited, Ok(Commented::Updated));
    told("another text", asked, format!("{edited:?}"));
    let (_, unchanged) = play(say("rolled back"), &script.commented);
    assert_eq!(unchanged, Ok(Commented::Unchanged));
    text
}

#[test]
fn github() {
    let pull = |number: u64| json!({"number": number, "state": "open", "html_url": format!("https://github.com/shop/config/pull/{number}")});
    let ours = json!({"id": 1001, "body": "<!-- serin: serin/shop.podinfo -->\r\n\r\nrolled back"});
    let other: Vec<Value> = (0..30).map(|id| json!({"id": id, "body": "looks good"})).collect();
    let script = Script {
        pulls_of: vec![says(200, json!([pull(12)]))],
        status: says(201, json!({"id": 1, "state": "failure"})),
        nothing: vec![says(200, json!([])), says(404, json!({"message": "Branch not found", "status": "404"}))],
        commit: vec![
            says(200, json!({"sha": COMMIT, "tree": {"sha": TREE}})),
            says(201, json!({"sha": "cd8274d15fa3ae2ab983129fb037999f264ba9a7"})),
            says(201, json!({"sha": MADE})),
            says(201, json!({"ref": "refs/heads/serin/revert-4f2c1e9", "object": {"type": "commit", "sha": MADE}})),
        ],
        opened: says(201, pull(13)),
        open: vec![says(200, json!([pull(13)]))],
        no_comment: vec![says(200, json!([{"id": 1, "body": "looks good"}]))],
        added: says(201, json!({"id": 1001})),
        commented: vec![says(200, json!(other)), says(200, json!([ours]))],
        edited: says(200, json!({"id": 1001})),
    };
    insta::assert_snapshot!(transcript(&repository("git@github.com:shop/config.git"), three_changes(), script));
}

#[test]
fn gitlab() {
    let pull = |number: u64| json!({"id": 900 + number, "iid": number, "source_project_id": 5, "target_project_id": 5, "web_url": format!("https://gitlab.example.com/shop/team/config/-/merge_requests/{number}")});
    let ours = json!({"id": 301, "body": "<!-- serin: serin/shop.podinfo -->\n\nrolled back", "system": false});
    let mut fork = pull(7);
    fork["source_project_id"] = 6.into();
    let script = Script {
        pulls_of: vec![says(200, json!([pull(12)]))],
        status: says(201, json!({"id": 93, "status": "failed"})),
        nothing: vec![says(200, json!([fork])), says(404, json!({"message": "404 Branch Not Found"}))],
        commit: vec![says(201, json!({"id": MADE, "short_id": "7638417db6d"}))],
        opened: says(201, pull(13)),
        open: vec![says(200, json!([fork, pull(13)]))],
        no_comment: vec![says(200, json!([]))],
        added: says(201, json!({"id": 301})),
        commented: vec![says(200, json!([ours]))],
        edited: says(200, json!({"id": 301})),
    };
    let repository = on("gitlab", "https://gitlab.example.com/shop/team/config.git");
    insta::assert_snapshot!(transcript(&repository, three_changes(), script));
}

#[test]
fn gitea() {
    let pull = |number: u64| {
        json!({
            "number": number, "html_url": format!("http://gitea.git:3000/shop/config/pulls/{number}"),
            "head": {"ref": "serin/revert-4f2c1e9", "repo": {"full_name": "shop/config"}}, "base": {"ref": "main"},
        })
    };
    let mut fork = pull(7);
    fork["head"]["repo"]["full_name"] = "mia/config".into();
    let ours = json!({"id": 41, "body": "<!-- serin: serin/shop.podinfo -->\n\nrolled back"});
    let none = says(200, json!([]));
    let script = Script {
        pulls_of: vec![says(200, pull(12))],
        status: says(201, json!({"id": 1, "status": "failure"})),
        nothing: vec![
            says(200, json!([fork])),
            none.clone(),
            says(404, json!({"message": "branch does not exist", "url": "http://gitea.git:3000/api/swagger"})),
        ],
        commit: vec![
            says(200, json!({"name": "pod info.yaml", "sha": "aaa"})),
            says(200, json!({"name": "new.yaml", "sha": "bbb"})),
            says(201, json!({"commit": {"sha": MADE}, "files": []})),
        ],
        opened: says(201, pull(13)),
        open: vec![says(200, json!([fork, pull(13)])), none.clone()],
        no_comment: vec![none],
        added: says(201, json!({"id": 41})),
        commented: vec![says(200, json!([{"id": 40, "body": "why?"}, ours]))],
        edited: says(200, json!({"id": 41})),
    };
    let repository = on("gitea", "http://gitea.git:3000/shop/config.git");
    insta::assert_snapshot!(transcript(&repository, three_changes(), script));
}

#[test]
fn bitbucket() {
    let pull = |number: u64| json!({"id": number, "links": {"html": {"href": format!("https://bitbucket.org/shop/config/pull-requests/{number}")}}});
    let ours = json!({"id": 88, "content": {"raw": "[//]: # (serin: serin/shop.podinfo)\n\nrolled back"}});
    let gone = json!({"id": 87, "deleted": true, "content": {"raw": "[//]: # (serin: serin/shop.podinfo)"}});
    let none = says(200, json!({"values": [], "pagelen": 10}));
    let missing = json!({"type": "error", "error": {"message": "No such branch"}});
    let script = Script {
        pulls_of: vec![says(200, json!({"values": [pull(12)]}))],
        status: says(201, json!({"key": "serin/shop.podinfo", "state": "FAILED"})),
        nothing: vec![none.clone(), says(404, missing)],
        commit: vec![
            Scripted { status: 201, headers: Vec::new(), body: String::new() }
                .with("location", &format!("https://api.bitbucket.org/2.0/repositories/shop/config/commit/{MADE}")),
        ],
        opened: says(201, pull(13)),
        open: vec![says(200, json!({"values": [pull(13)]}))],
        no_comment: vec![none],
        added: says(201, json!({"id": 88})),
        commented: vec![
            says(200, json!({"values": [gone], "next": "https://api.bitbucket.org/2.0/x?page=2"})),
            says(200, json!({"values": [ours]})),
        ],
        edited: says(200, json!({"id": 88})),
    };
    insta::assert_snapshot!(transcript(
        &repository("https://mia@bitbucket.org/shop/config.git"),
        three_changes(),
        script
    ));
}

#[test]
fn bitbucketserver() {
    let pull = |number: u64, to: &str| {
        json!({
            "id": number, "version": 0, "toRef": {"id": to},
            "links": {"self": [{"href": format!("https://git.example.com/projects/SHOP/repos/config/pull-requests/{number}")}]},
        })
    };
    let main = "refs/heads/main";
    let text = "[//]: # (serin: serin/shop.podinfo)\n\nrolled back";
    let ours = json!({"id": 5, "action": "COMMENTED", "comment": {"id": 62, "version": 3, "text": text}});
    let none = says(200, json!({"values": [], "size": 0, "isLastPage": true}));
    let more = json!({"values": [{"id": 6, "action": "APPROVED"}], "isLastPage": false, "nextPageStart": 25});
    let script = Script {
        pulls_of: vec![says(200, json!({"values": [pull(12, main)], "isLastPage": true}))],
        status: Scripted { status: 204, headers: Vec::new(), body: String::new() },
        nothing: vec![
            says(200, json!({"values": [pull(9, "refs/heads/other")], "isLastPage": true})),
            says(200, json!({"values": [{"id": "refs/heads/serin/revert-4f2c1e9-2", "latestCommit": MADE}]})),
        ],
        commit: vec![says(200, json!({"id": MADE, "displayId": "7638417db6d"}))],
        opened: says(201, pull(13, main)),
        open: vec![says(200, json!({"values": [pull(13, main)], "isLastPage": true}))],
        no_comment: vec![none],
        added: says(201, json!({"id": 62})),
        commented: vec![says(200, more), says(200, json!({"values": [ours], "isLastPage": true}))],
        edited: says(200, json!({"id": 62, "version": 4})),
    };
    let repository = on("bitbucketserver", "ssh://git@git.example.com:7999/SHOP/config.git");
    let one = three_changes().into_iter().take(1).collect();
    insta::assert_snapshot!(transcript(&repository, one, script));

    let (asked, refused) =
        play(repository.forge.commit(&repository, &proposal(three_changes()).commit), &[says(200, json!({}))]);
    assert_eq!(asked, "");
    assert!(matches!(refused.unwrap_err().problem, Problem::Unsupported(_)));
}

#[test]
fn azuredevops() {
    let pull = |number: u64| json!({"pullRequestId": number, "status": "active", "url": "https://dev.azure.com/harbour/_apis/git/x"});
    let text = "<!-- serin: serin/shop.podinfo -->\n\nrolled back";
    let ours = json!({"id": 148, "status": "closed", "comments": [{"id": 1, "content": text, "commentType": "text"}]});
    let mut fork = pull(7);
    fork["forkSource"] = json!({"name": "refs/heads/serin/revert-4f2c1e9", "repository": {"name": "mia.config"}});
    let none = says(200, json!({"value": [], "count": 0}));
    let script = Script {
        pulls_of: vec![says(200, json!({"results": [{COMMIT: [pull(12)]}, {COMMIT: [pull(12), pull(11)]}]}))],
        status: says(201, json!({"id": 1, "state": "failed"})),
        nothing: vec![
            says(200, json!({"value": [fork], "count": 1})),
            says(200, json!({"value": [{"name": "refs/heads/serin/revert-4f2c1e9-2", "objectId": MADE}], "count": 1})),
        ],
        commit: vec![says(201, json!({"pushId": 21, "commits": [{"commitId": MADE}]}))],
        opened: says(201, pull(13)),
        open: vec![says(200, json!({"value": [pull(13)], "count": 1}))],
        no_comment: vec![none],
        added: says(200, json!({"id": 148})),
        commented: vec![says(200, json!({"value": [ours], "count": 1}))],
        edited: says(200, json!({"id": 1})),
    };
    let repository = repository("git@ssh.dev.azure.com:v3/harbour/My%20Shop/config");
    insta::assert_snapshot!(transcript(&repository, three_changes(), script));
}

#[test]
fn repositories_are_found_by_the_url_they_are_cloned_by() {
    let table = [
        ("", "https://github.com/shop/config", "github https://api.github.com/ shop/config"),
        ("", "https://x-access-token:s3cret@GitHub.com/shop/config.git/", "github https://api.github.com/ shop/config"),
        ("", "ssh://git@ssh.github.com:443/shop/config.git", "github https://api.github.com/ shop/config"),
        ("", "https://tenant.ghe.com/shop/config", "github https://api.tenant.ghe.com/ shop/config"),
        ("github", "git@git.example.com:shop/config.git", "github https://git.example.com/api/v3/ shop/config"),
        ("", "https://gitlab.com/a/b/c/config.git", "gitlab https://gitlab.com/api/v4 a/b/c/config"),
        ("gitlab", "http://git.local:8080/a/config", "gitlab http://git.local:8080/api/v4 a/config"),
        ("", "https://codeberg.org/shop/config.git", "gitea https://codeberg.org/api/v1 shop/config"),
        ("gitea", "https://example.com/git/shop/config", "gitea https://example.com/git/api/v1 shop/config"),
        ("gitea", "ssh://git@gitea.git:2222/shop/config.git", "gitea https://gitea.git/api/v1 shop/config"),
        ("", "git@bitbucket.org:shop/config.git", "bitbucket https://api.bitbucket.org/2.0/ shop/config"),
        (
            "bitbucketserver",
            "https://example.com/git/scm/~mia/config.git",
            "bitbucketserver https://example.com/git/rest/api/latest ~mia/config",
        ),
        (
            "bitbucketserver",
            "https://git.example.com/projects/SHOP/repos/config",
            "bitbucketserver https://git.example.com/rest/api/latest SHOP/config",
        ),
        (
            "",
            "https://harbour@dev.azure.com/harbour/My%20Shop/_git/config",
            "azuredevops https://dev.azure.com/harbour My Shop/config",
        ),
        ("", "https://dev.azure.com/harbour/_git/config", "azuredevops https://dev.azure.com/harbour config/config"),
        (
            "",
            "https://harbour.visualstudio.com/DefaultCollection/Shop/_git/config",
            "azuredevops https://dev.azure.com/harbour Shop/config",
        ),
        (
            "azuredevops",
            "https://tfs.example.com/tfs/Main/Shop/_git/config",
            "azuredevops https://tfs.example.com/tfs/Main Shop/config",
        ),
    ];
    for (configured, clone_url, wanted) in table {
        let host = CloneAddress::parse(clone_url).unwrap().host;
        let hosts: Vec<_> = find(configured).into_iter().map(|forge| (host.clone(), forge)).collect();
        let found = recognise(clone_url, &hosts).unwrap();
        let told = format!("{} {} {}", found.forge.name(), found.place.api, found.name());
        assert_eq!(told, wanted, "{clone_url}");
        assert!(!format!("{found:?}").contains("s3cret"));
    }
}

#[test]
fn a_url_that_is_none_is_told_without_repeating_it() {
    let table = [
        ("", "is empty"),
        ("s3cret", "is neither a URL nor"),
        ("/srv/s3cret:x", "is neither a URL nor"),
        ("file:///srv/s3cret", "must begin with https://"),
        ("https://:s3cret@/x", "is not a URL"),
        ("https://github.com/s3cret", "OWNER/REPOSITORY"),
        ("https://github.com/a/b/s3cret", "OWNER/REPOSITORY"),
        ("https://github.com/a/%2e%2e%2fs3cret", "that no repository has"),
        ("git@github.com:../s3cret", "that no repository has"),
        ("https://git.example.com/a/s3cret", "which forge git.example.com is: say so, one of github, gitlab, gitea,"),
        ("https://dev.azure.com/s3cret", "/_git/REPOSITORY"),
    ];
    for (clone_url, wanted) in table {
        let error = recognise(clone_url, &[]).unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains("s3cret"), "{clone_url}: {error}");
    }
    let long = format!("https://github.com/{}", "x".repeat(5000));
    assert!(recognise(&long, &[]).unwrap_err().to_string().contains("longer than"));
}

#[test]
fn what_a_forge_refuses_has_a_kind() {
    let problem = |scripted: Scripted| {
        let repository = repository("https://github.com/shop/config");
        let (_, end) = play(repository.forge.set_status(&repository, COMMIT, &status()), &[scripted]);
        let error = end.unwrap_err();
        assert!(error.to_string().starts_with("setting the status of commit 4f2c1e9a0c in shop/config on GitHub: "));
        error.problem
    };
    let message = |text: &str| json!({"message": text});
    assert!(matches!(problem(says(401, message("Bad credentials"))), Problem::Authentication { answer, .. }
        if answer == "401 Unauthorized: Bad credentials"));
    let permission = problem(says(403, message("Resource not accessible by personal access token")));
    assert!(matches!(&permission, Problem::Permission { rights, .. } if rights.contains("Commit statuses")));
    assert!(matches!(problem(says(404, message("Not Found"))), Problem::NotFound { .. }));
    assert!(matches!(problem(says(409, message("moved"))), Problem::Conflict(_)));
    let exists =
        json!({"message": "Validation Failed", "errors": [{"message": "A pull request already exists for shop:x."}]});
    assert!(matches!(problem(says(422, exists)), Problem::Conflict(_)));
    assert!(matches!(problem(says(422, message("No commit found for SHA"))), Problem::Refused(_)));
    let primary = says(403, message("API rate limit exceeded"))
        .with("x-ratelimit-remaining", "0")
        .with("x-ratelimit-reset", "1700000000");
    assert_eq!(problem(primary), Problem::RateLimited(Again::At(Timestamp::from_second(1_700_000_000).unwrap())));
    let secondary = says(403, message("You have exceeded a secondary limit")).with("retry-after", "60");
    assert_eq!(problem(secondary), Problem::RateLimited(Again::After(Duration::from_secs(60))));
    assert_eq!(problem(says(429, message("Retry later"))), Problem::RateLimited(Again::Later));
    let page = Scripted { status: 502, headers: Vec::new(), body: "<html><body>Bad gateway</body></html>".into() };
    assert_eq!(problem(page), Problem::Unreachable("it answers 502 Bad Gateway".into()));
    assert!(matches!(problem(says(301, json!({}))), Problem::Refused(answer) if answer.contains("redirect")));
    // Azure DevOps shows its sign-in page.
    assert!(matches!(problem(says(203, json!({}))), Problem::Authentication { .. }));
}

#[test]
fn answers_that_are_not_as_documented_are_errors() {
    for name in FORGES.iter().map(|forge| forge.name()) {
        let url = match name {
            "bitbucket" => "https://bitbucket.org/a/b",
            "bitbucketserver" => "https://h/scm/a/b",
            "azuredevops" => "https://h/c/a/_git/b",
            _ => "https://h/a/b",
        };
        let repository = on(name, url);
        for body in [json!(null), json!({}), json!([]), json!({"values": 3, "value": "x", "results": {}}), json!([[1]])]
        {
            // Whatever it makes of it, it does not panic.
            let _ = repository.forge.open_pulls(&repository, "x", "main").answer(says(200, body.clone()).response());
            let (_, opened) = play(
                repository.forge.open_pull(
                    &repository,
                    &NewPull { head: "x".into(), base: "main".into(), title: "t".into(), body: "b".into() },
                ),
                &[says(201, body)],
            );
            assert!(matches!(opened.unwrap_err().problem, Problem::Unexpected(_)), "{name}");
        }
    }
}

#[test]
fn gitlab_takes_the_state_it_has_for_said() {
    let repository = on("gitlab", "https://gitlab.com/shop/config");
    let answer = json!({"message": "Cannot transition status via :run from :running (Reason(s): Status cannot transition via \"run\")"});
    let (_, end) = play(repository.forge.set_status(&repository, COMMIT, &status()), &[says(400, answer)]);
    assert_eq!(end, Ok(()));
    let (_, end) = play(
        repository.forge.set_status(&repository, COMMIT, &status()),
        &[says(400, json!({"message": {"name": ["is invalid"]}}))],
    );
    assert!(end.unwrap_err().to_string().contains("is invalid"));
}

#[test]
fn a_long_description_is_cut_to_what_the_forge_takes() {
    let long = CommitStatus { description: "ä".repeat(500), ..status() };
    let repository = repository("https://github.com/shop/config");
    let call = repository.forge.set_status(&repository, COMMIT, &long);
    let body: Value = serde_json::from_slice(call.request().unwrap().body()).unwrap();
    assert_eq!(body["description"].as_str().unwrap().chars().count(), 140);
}

#[test]
fn a_proposal_goes_on_where_it_stopped() {
    let repository = repository("https://github.com/shop/config");
    let pull = json!({"number": 13, "html_url": "https://github.com/shop/config/pull/13"});
    let branch = says(200, json!({"commit": {"sha": MADE}, "protected": false}));
    // It died after the commit.
    let steps = [says(200, json!([])), branch.clone(), says(201, pull.clone())];
    let (_, end) = play(propose(&repository, &proposal(three_changes())), &steps);
    assert_eq!(end.unwrap().number, 13);
    // Another instance opened the pull request between look and act.
    let taken = says(
        422,
        json!({"message": "Validation Failed", "errors": [{"message": "A pull request already exists for shop:x."}]}),
    );
    let steps = [says(200, json!([])), branch, taken, says(200, json!([pull]))];
    let (_, end) = play(propose(&repository, &proposal(three_changes())), &steps);
    assert_eq!(end.unwrap().number, 13);
}

#[test]
fn a_commit_to_the_branch_itself_is_never_forced() {
    let direct = |repository: &Repository, answers: &[Scripted]| {
        let mut commit = proposal(three_changes()).commit;
        commit.branch = commit.base.clone();
        play(repository.forge.commit(repository, &commit), answers)
    };
    let github = repository("https://github.com/shop/config");
    let sha = |sha: &str| says(201, json!({"sha": sha}));
    let steps = [
        says(200, json!({"tree": {"sha": TREE}})),
        sha("new"),
        sha(MADE),
        says(422, json!({"message": "Update is not a fast forward"})),
    ];
    let (asked, end) = direct(&github, &steps);
    assert!(asked.contains("PATCH https://api.github.com/repos/shop/config/git/refs/heads/main\n"), "{asked}");
    assert!(asked.contains(r#""force":false"#), "{asked}");
    assert!(matches!(end.unwrap_err().problem, Problem::Conflict(_)));
    let gitlab = repository("https://gitlab.com/shop/config");
    let (_, end) = direct(&gitlab, &[says(200, json!({"commit": {"id": MADE}, "protected": true, "can_push": true}))]);
    assert!(matches!(end.unwrap_err().problem, Problem::Conflict(_)));
}

#[test]
fn tokens_go_into_the_header_as_each_forge_wants_them() {
    let header = |name: &str, token: &str| by_name(name).unwrap().authorization(token);
    assert_eq!(header("github", "t"), "Bearer t");
    assert_eq!(header("gitlab", "t"), "Bearer t");
    assert_eq!(header("gitea", "t"), "token t");
    assert_eq!(header("bitbucket", "t"), "Bearer t");
    assert_eq!(header("bitbucket", "u:p"), "Basic dTpw");
    assert_eq!(header("bitbucketserver", "t"), "Bearer t");
    assert_eq!(header("azuredevops", "t"), "Basic OnQ=");
    assert_eq!(header("azuredevops", "eyJh.b.c"), "Bearer eyJh.b.c");
    assert_eq!(format!("{:?}", Token::new("s3cret")), "Some(Token(…))");
    assert_eq!(Token::new(" \n"), None);
}

#[tokio::test]
async fn a_conversation_goes_over_the_wire_and_errors_have_no_token() {
    let token = Token::new("s3cret\n").unwrap();
    let server = Loopback::start(vec![
        Answer::text(200, r#"{"id":1}"#),
        Answer::text(401, r#"{"message":"token s3cret is not known"}"#),
        Answer::redirect(302, "https://login.example.com/s3cret"),
        Answer::text(200, &"x".repeat(crate::http::BODY_LIMIT + 1)),
    ])
    .await;
    let repository = on("gitea", &server.url("/shop/config.git"));
    let outside = Clients::default();
    let ask =
        || talk(repository.forge.set_status(&repository, COMMIT, &status()), repository.forge, &token, None, &outside);
    assert_eq!(ask().await, Ok(()));
    let asked = server.asked().remove(0);
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", format!("/api/v1/repos/shop/config/statuses/{COMMIT}").as_str())
    );
    assert_eq!(asked.header("authorization"), ["token s3cret"]);
    assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap()["state"], "failure");
    for wanted in ["token [token] is not known", "redirect", "longer than"] {
        let error = ask().await.unwrap_err();
        assert!(error.to_string().contains(wanted) && !format!("{error:?}{error}").contains("s3cret"), "{error:?}");
    }
    let nobody = on("gitea", &Loopback::nobody("/shop/config"));
    let error = talk(nobody.forge.set_status(&nobody, COMMIT, &status()), nobody.forge, &token, None, &outside).await;
    let error = error.unwrap_err();
    assert!(error.problem.is_passing() && error.to_string().contains("cannot connect"), "{error}");
    let bad = Token::new("s3\u{1}cret").unwrap();
    let error = talk(nobody.forge.set_status(&nobody, COMMIT, &status()), nobody.forge, &bad, None, &outside).await;
    assert!(error.unwrap_err().to_string().contains("characters that HTTP does not allow"));
}
