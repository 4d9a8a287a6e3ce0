//! What each forge is asked, against answers as its documentation has them.

mod rules;

use serde_json::{Value, json};
use url::Url;

use super::*;

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
