//! News on a commit: what is said, to whom, and who is never shown the token.

use std::collections::BTreeMap;

use crds::{AlertProviderSpec, Check, Phase, SecretReference};
use jiff::Timestamp;
use rollout::spec::Severity;
use serde_json::Value;

use super::*;
use crate::http::Clients;
use crate::loopback::{Answer, Loopback};
use crate::notifiers::{Change, Notice};

const COMMIT: &str = "4f2c1e9a0c6f1a5d3b7e8f9012345678abcdef01";

fn notice(phase: Phase, repository: Option<&str>) -> Notice {
    Notice {
        severity: Severity::Error,
        canary: "podinfo".into(),
        namespace: "shop".into(),
        message: "Canary analysis failed, @everyone <look>".into(),
        fields: Vec::new(),
        id: "1".into(),
        time: Timestamp::UNIX_EPOCH,
        phase,
        cluster: "blue".into(),
        checks: vec![Check {
            name: "request-success-rate".into(),
            result: "Failed".into(),
            value: Some("83.87".into()),
            threshold: Some("99 | 100".into()),
            message: None,
        }],
        change: Some(Change { repository: repository.map(str::to_owned), commit: COMMIT.into(), pull_request: None }),
        page: None,
    }
}

fn provider(address: Option<&str>) -> AlertProviderSpec {
    AlertProviderSpec {
        type_: "gitea".into(),
        address: address.map(str::to_owned),
        secret_ref: Some(SecretReference { name: "forge".into() }),
        ..Default::default()
    }
}

fn secret() -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([("token".into(), b"s3cret\n".to_vec())])
}

async fn told(news: &Notice, provider: &AlertProviderSpec) -> Result<Told, String> {
    let gitea = by_name("gitea").unwrap();
    let told = tell(gitea, news, provider, Some(&secret()), &Clients::default()).await;
    told.map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_verdict_is_set_on_the_commit_and_said_once_on_its_pull_request() {
    let ours = r#"[{"id":7,"body":"<!-- serin: serin/shop.podinfo -->\n\nis being rolled out"}]"#;
    let server = Loopback::start(vec![
        Answer::text(201, r#"{"id":1}"#),
        Answer::text(200, r#"{"number":12,"html_url":"http://x/12"}"#),
        Answer::text(200, ours),
        Answer::text(200, r#"{"id":7}"#),
    ])
    .await;
    let news = notice(Phase::Failed, Some("git@127.0.0.1:shop/config.git"));
    assert_eq!(told(&news, &provider(Some(&server.url("")))).await, Ok(Told::Said));
    let asked = server.asked();
    let lines: Vec<String> = asked.iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect();
    assert_eq!(
        lines,
        [
            format!("POST /api/v1/repos/shop/config/statuses/{COMMIT}"),
            format!("GET /api/v1/repos/shop/config/commits/{COMMIT}/pull"),
            "GET /api/v1/repos/shop/config/issues/12/comments".into(),
            "PATCH /api/v1/repos/shop/config/issues/comments/7".into(),
        ]
    );
    let status: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!((&status["state"], &status["context"]), (&"failure".into(), &"serin/shop.podinfo".into()));
    let comment: Value = serde_json::from_str(&asked[3].body).unwrap();
    insta::assert_snapshot!(comment["body"].as_str().unwrap());
}

#[tokio::test]
async fn a_pull_request_that_is_known_is_not_looked_for() {
    let server = Loopback::start(vec![Answer::text(201, "{}"), Answer::text(200, "[]"), Answer::text(201, "{}")]).await;
    let mut news = notice(Phase::Succeeded, None);
    news.change.as_mut().unwrap().pull_request = Some("https://git.example.com/shop/config/pulls/34/".into());
    let mut provider = provider(Some(&server.url("/shop/config.git")));
    provider.username = Some("production".into());
    assert_eq!(told(&news, &provider).await, Ok(Told::Said));
    let asked = server.asked();
    assert_eq!(asked[1].path, "/api/v1/repos/shop/config/issues/34/comments");
    assert!(asked[0].body.contains(r#""context":"production/shop.podinfo""#), "{}", asked[0].body);
}

#[tokio::test]
async fn the_token_goes_to_no_host_that_the_provider_does_not_name() {
    let server = Loopback::start(vec![]).await;
    let elsewhere = server.url("/shop/config.git");
    let news = notice(Phase::Failed, Some(&elsewhere));
    let error = told(&news, &provider(None)).await.unwrap_err();
    assert!(error.contains("does not say that its token is for that host: write https://127.0.0.1 into"), "{error}");
    let error = told(&news, &provider(Some("https://git.example.com"))).await.unwrap_err();
    assert_eq!(error, "the commit is on 127.0.0.1, and the AlertProvider is for git.example.com");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let gitea = by_name("gitea").unwrap();
    let outside = Clients::default();
    let news = notice(Phase::Failed, None);
    let mut provider = provider(None);
    let error = |error: NoticeError| error.to_string();
    let told = tell(gitea, &news, &provider, None, &outside).await.map_err(error);
    assert!(told.unwrap_err().starts_with("Secret forge, which spec.secretRef"));
    let told = tell(gitea, &news, &provider, Some(&BTreeMap::new()), &outside).await.map_err(error);
    assert!(told.unwrap_err().contains("has no key token: write a token of Gitea"));
    let told = tell(gitea, &news, &provider, Some(&secret()), &outside).await.map_err(error);
    assert!(told.unwrap_err().contains("write its URL into spec.address"));
    provider.secret_ref = None;
    let told = tell(gitea, &news, &provider, None, &outside).await.map_err(error);
    assert!(told.unwrap_err().starts_with("spec.secretRef of the AlertProvider is missing"));
    let unknown = Notice { change: None, ..news.clone() };
    assert!(matches!(tell(gitea, &unknown, &provider, None, &outside).await, Ok(Told::Nothing(_))));
    let deleted = Notice { phase: Phase::Terminating, ..news };
    assert!(matches!(tell(gitea, &deleted, &provider, None, &outside).await, Ok(Told::Nothing(_))));
}
