//! What holds for all forges: how a repository is found, what answers mean, and the way there.

use std::time::Duration;

use super::*;
use crate::http::Clients;
use crate::loopback::{Answer, Loopback};
use jiff::Timestamp;

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
