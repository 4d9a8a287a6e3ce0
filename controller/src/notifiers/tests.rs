//! What is sent to each receiver, and what its answer means.

use std::collections::BTreeMap;

use crds::SecretReference;
use rollout::spec::{Target, TargetKind};
use serde_json::json;

use super::*;
use crate::loopback::{Answer, Loopback};
use crate::spec_fixture::spec;

fn notice(severity: Severity) -> Notice {
    Notice {
        severity,
        canary: "podinfo".into(),
        namespace: "shop".into(),
        message: "New revision detected, <progressing> canary analysis.".into(),
        fields: vec![("Cluster".into(), "blue".into()), ("Target".into(), "Deployment/podinfo.shop".into())],
        id: "0123456789abcdef".into(),
        time: Timestamp::UNIX_EPOCH,
        phase: if severity == Severity::Error { Phase::Failed } else { Phase::Progressing },
        cluster: "blue".into(),
        checks: vec![Check {
            name: "request-success-rate".into(),
            result: "Failed".into(),
            value: Some("83.87".into()),
            threshold: Some("99".into()),
            message: None,
        }],
        change: Some(Change {
            repository: Some("https://git.example.com/shop/config".into()),
            commit: "4f2c1e9a0c6f1a5d3b7e8f9012345678abcdef01".into(),
            pull_request: None,
        }),
        page: None,
    }
}

fn provider(type_: &str, address: &str) -> AlertProviderSpec {
    AlertProviderSpec { type_: type_.into(), address: Some(address.into()), ..Default::default() }
}

fn error_of(result: Result<Request, NotifierError>) -> String {
    match result {
        Ok(_) => panic!("there is a request"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_receiver_is_sent_its_format() {
    let mut all = serde_json::Map::new();
    for notifier in NOTIFIERS {
        for severity in [Severity::Info, Severity::Error] {
            let sent =
                request(&notice(severity), &provider(notifier.name(), "https://chat/hook/1?x=y"), None).ok().unwrap();
            let sent = json!({"url": sent.url.as_str(), "body": sent.body});
            all.insert(format!("{}, {severity:?}", notifier.name()), sent);
        }
    }
    insta::assert_json_snapshot!(all);
}

#[test]
fn the_secret_goes_before_the_field() {
    let mut provider = provider("slack", "https://from-field");
    provider.channel = Some("on-call".into());
    provider.username = Some(String::new());
    provider.proxy = Some("proxy.example.com:3128".into());
    provider.secret_ref = Some(SecretReference { name: "access".into() });
    let news = notice(Severity::Warn);
    assert!(error_of(request(&news, &provider, None)).starts_with("Secret access, which spec.secretRef"));

    let secret =
        BTreeMap::from([("address".into(), b"https://from-secret\n".to_vec()), ("token".into(), b"abc\n".to_vec())]);
    let sent = request(&news, &provider, Some(&secret)).ok().unwrap();
    assert_eq!(sent.url.as_str(), "https://from-secret/");
    assert_eq!(sent.headers[AUTHORIZATION], "Bearer abc");
    assert!(sent.headers[AUTHORIZATION].is_sensitive());
    assert_eq!(sent.proxy.unwrap().as_str(), "http://proxy.example.com:3128/");
    assert_eq!((&sent.body["channel"], &sent.body["username"]), (&json!("on-call"), &json!("flagger")));

    let only_token = BTreeMap::from([("token".into(), b"abc".to_vec())]);
    assert_eq!(request(&news, &provider, Some(&only_token)).ok().unwrap().url.as_str(), "https://from-field/");
}

#[test]
fn what_cannot_be_sent_names_the_field_and_no_secret() {
    let news = notice(Severity::Info);
    assert_eq!(
        error_of(request(&news, &provider("slak", "https://x"), None)),
        "spec.type slak is not known; known: slack, msteams, discord, rocket, gchat, cloudevents, github, \
         gitlab, gitea, bitbucket, bitbucketserver, azuredevops"
    );
    let none = AlertProviderSpec { type_: "slack".into(), ..Default::default() };
    assert_eq!(error_of(request(&news, &none, None)), "spec.address is missing: write the URL of the webhook");
    for address in ["s3cret", "ftp://s3cret", "https://s3cret:x:y"] {
        let error = error_of(request(&news, &provider("slack", address), None));
        assert!(error.starts_with("spec.address is not a URL") && !error.contains("s3cret"), "{error}");
    }
    let mut with_secret = provider("slack", "https://x");
    with_secret.secret_ref = Some(SecretReference { name: "access".into() });
    let broken = BTreeMap::from([("token".to_owned(), b"s3cret\x01x".to_vec())]);
    let error = error_of(request(&news, &with_secret, Some(&broken)));
    assert_eq!(error, "key token of the Secret has characters that HTTP does not allow");
}

#[test]
fn discord_is_spoken_to_in_slacks_words_once() {
    for written in ["https://d/api/1", "https://d/api/1/", "https://d/api/1/slack", "https://d/api/1/slack/"] {
        let url = discord::NOTIFIER.url(&Url::parse(written).unwrap());
        assert_eq!(url.as_str().trim_end_matches('/'), "https://d/api/1/slack", "{written}");
    }
}

#[test]
fn teams_goes_before_slack_and_neither_means_silence() {
    let mut settings = GlobalSettings::default();
    let news = notice(Severity::Info);
    assert!(global_request(&news, &settings).is_none());
    settings.slack_url = Some("https://slack/hook".into());
    settings.slack_token = Some("abc".into());
    settings.slack_channel = Some("ops".into());
    let sent = global_request(&news, &settings).unwrap().ok().unwrap();
    assert_eq!((sent.notifier.name(), sent.url.as_str()), ("slack", "https://slack/hook"));
    assert_eq!(sent.headers[AUTHORIZATION], "Bearer abc");
    assert_eq!(sent.body["channel"], "ops");
    settings.msteams_url = Some("https://teams/hook".into());
    let sent = global_request(&news, &settings).unwrap().ok().unwrap();
    assert_eq!((sent.notifier.name(), sent.url.as_str()), ("msteams", "https://teams/hook"));
    assert!(!sent.headers.contains_key(AUTHORIZATION));
}

#[test]
fn severity_is_a_floor() {
    use Severity::{Error, Info, Warn};
    let told = |least| [Info, Warn, Error].map(|news| wants(least, news));
    assert_eq!(told(Info), [true, true, true]);
    assert_eq!(told(Warn), [false, true, true]);
    assert_eq!(told(Error), [false, false, true]);
}

#[test]
fn the_fields_describe_the_canary() {
    let mut spec = spec();
    let pairs = |spec: &Spec, cluster: &str| {
        let fields = fields(spec, None, "shop", cluster);
        fields.iter().map(|(title, value)| format!("{title}={value}")).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        pairs(&spec, "blue"),
        "Cluster=blue; Target=Deployment/podinfo.shop; Failed checks threshold=5; Progress deadline=600s; \
         Traffic routing=Weight step: 10 max: 50"
    );
    spec.target = Target { kind: TargetKind::DaemonSet, name: "agent".into() };
    spec.strategy = Strategy::Canary { weights: vec![1, 2, 10], promotion_step: None, mirror: None };
    assert_eq!(
        pairs(&spec, ""),
        "Target=DaemonSet/agent.shop; Failed checks threshold=5; Progress deadline=600s; \
         Traffic routing=Weight steps: 1,2,10 max: 10"
    );
    spec.strategy = Strategy::BlueGreen { iterations: 3, mirror: None };
    assert!(pairs(&spec, "").ends_with("Traffic routing=Blue/Green"));
    spec.strategy = Strategy::AbTesting { iterations: 3, matches: vec![] };
    assert!(pairs(&spec, "").ends_with("Traffic routing=A/B Testing"));
}

async fn sent_to(type_: &str, answer: Answer) -> Result<(), String> {
    let server = Loopback::start(vec![answer]).await;
    let request = request(&notice(Severity::Info), &provider(type_, &server.url("/s3cret")), None).ok().unwrap();
    let sent = send(&request, &Clients::default(), Duration::from_millis(200)).await;
    let asked = server.asked().remove(0);
    assert_eq!((asked.method.as_str(), asked.header("content-type")), ("POST", vec![request.notifier.content_type()]));
    assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap(), request.body);
    sent.map_err(|error| error.to_string())
}

#[tokio::test]
async fn two_hundreds_are_success_and_all_else_is_told() {
    assert_eq!(sent_to("slack", Answer::text(200, "ok")).await, Ok(()));
    assert_eq!(sent_to("discord", Answer::text(204, "")).await, Ok(()));
    assert_eq!(sent_to("cloudevents", Answer::text(202, "")).await, Ok(()));
    assert_eq!(sent_to("slack", Answer::text(200, r#"{"ok":true}"#)).await, Ok(()));
    let refused = |text: &str| Err(text.to_owned());
    let answer = Answer::text(200, r#"{"ok":false,"error":"channel_not_found"}"#);
    assert_eq!(sent_to("slack", answer).await, refused("slack did not take the notice: channel_not_found"));
    let answer = Answer::text(400, "bad\nrequest");
    let wanted = "msteams did not take the notice: 400 Bad Request: bad request";
    assert_eq!(sent_to("msteams", answer).await, refused(wanted));
    let error = sent_to("gchat", Answer::redirect(302, "https://login/s3cret")).await.unwrap_err();
    assert!(error.contains("a redirect to login") && !error.contains("s3cret"), "{error}");
    assert_eq!(sent_to("rocket", Answer::Hang).await, refused("rocket cannot be told: no answer in time"));
}

#[tokio::test]
async fn a_notice_goes_through_its_proxy() {
    let proxy = Loopback::start(vec![Answer::text(200, "ok")]).await;
    let mut provider = provider("slack", "http://chat.example.com/hook");
    provider.proxy = Some(proxy.url_with_user("user:pass", ""));
    let request = request(&notice(Severity::Info), &provider, None).ok().unwrap();
    assert_eq!(send(&request, &Clients::default(), TIMEOUT).await, Ok(()));
    let asked = proxy.asked().remove(0);
    assert_eq!(asked.path, "http://chat.example.com/hook");
    assert_eq!(asked.header("proxy-authorization"), ["Basic dXNlcjpwYXNz"]);
}

/// Every YAML block of the documentation, and what it says must be known to what reads it.
#[test]
fn the_documentation_is_understood() {
    let text = include_str!("../../../docs/notifications.md");
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    let mut types = std::collections::BTreeSet::new();
    let mut kinds = std::collections::BTreeSet::new();
    for block in &blocks {
        let objects: Vec<Value> = serde_saphyr::from_multiple(block).unwrap_or_else(|error| panic!("{error}\n{block}"));
        for object in objects {
            assert!(object["apiVersion"].is_string() && object["metadata"]["name"].is_string(), "{object}");
            kinds.insert(object["kind"].as_str().unwrap().to_owned());
            if object["kind"] == "AlertProvider" {
                let provider: crds::AlertProvider = serde_json::from_value(object).unwrap();
                let name = provider.spec.type_;
                let address = provider.spec.address.unwrap();
                match crate::forges::find(&name) {
                    Some(forge) => {
                        let address = crate::forges::CloneAddress::parse(&address).unwrap();
                        assert!(address.path.is_empty() || crate::forges::locate(forge, &address).is_ok(), "{name}");
                    }
                    None => assert!(by_name(&name).is_ok(), "{name}"),
                }
                types.insert(name);
            } else if object["kind"] == "Canary" {
                let canary = rollout::parse::from_value(&object).unwrap();
                let abilities: Vec<_> =
                    crate::routers::ROUTERS.iter().flat_map(|router| router.abilities()).copied().collect();
                let defaults = rollout::spec::Defaults {
                    provider: "kubernetes",
                    routers: &abilities,
                    min_interval: Duration::from_secs(10),
                    no_cross_namespace_refs: false,
                };
                let spec = rollout::parse::parse(&canary, &defaults).unwrap();
                assert_eq!((spec.alerts.len(), spec.warnings), (1, vec![]));
            }
        }
    }
    let forges = crate::forges::FORGES.iter().map(|forge| forge.name().to_owned());
    let wanted: std::collections::BTreeSet<String> = forges.chain(["cloudevents".to_owned()]).collect();
    assert_eq!(types, wanted, "each forge has its example");
    for kind in ["Kustomization", "Provider", "Alert", "Application", "ConfigMap"] {
        assert!(kinds.contains(kind), "{kind}");
    }
    for notifier in NOTIFIERS {
        assert!(text.contains(&format!("`{}`", notifier.name())), "{}", notifier.name());
    }
}
