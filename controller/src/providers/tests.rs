//! Questions to a server on the loopback, and how metrics become questions.

use std::collections::BTreeMap;

use crds::{MetricProvider, SecretReference};
use rollout::spec::{Range, Target, TargetKind};

use super::*;
use crate::loopback::{Answer, Asked, Loopback};
use crate::spec_fixture::spec;

const QUICK: Patience = Patience {
    attempt: Duration::from_millis(200),
    retries: 2,
    pause: Duration::from_millis(1),
    total: Duration::from_secs(5),
};

fn endpoint(address: &str) -> Endpoint {
    Endpoint {
        provider: &prometheus::PROVIDER,
        field: "spec.metricsServer".into(),
        address: address.into(),
        headers: BTreeMap::new(),
        secret: BTreeMap::new(),
        insecure: false,
        region: None,
    }
}

fn query(endpoint: Endpoint, text: &str) -> Query {
    Query { endpoint, text: text.into(), window: Duration::from_secs(60), buckets: false }
}

fn now() -> Timestamp {
    "2026-01-01T00:01:00Z".parse().unwrap()
}

fn one() -> Answer {
    let time = now().as_second();
    Answer::text(
        200,
        &format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[{time},"1"]}}]}}}}"#
        ),
    )
}

async fn asked_with(change: impl FnOnce(&mut Endpoint, &Loopback)) -> Asked {
    let server = Loopback::start(vec![one()]).await;
    let mut endpoint = endpoint(&server.url(""));
    change(&mut endpoint, &server);
    let reading = read(&query(endpoint, "up"), &Clients::default(), QUICK, now()).await;
    assert_eq!(reading, Reading::Value(1.0));
    server.asked().remove(0)
}

async fn reading_of(answers: Vec<Answer>) -> (Reading, usize) {
    let server = Loopback::start(answers).await;
    let mut endpoint = endpoint(&server.url(""));
    endpoint.secret.insert("token".into(), b"s3cret-token".to_vec());
    let reading = read(&query(endpoint, "up"), &Clients::default(), QUICK, now()).await;
    let text = format!("{reading:?}");
    assert!(!text.contains("s3cret") && !text.contains("127.0.0.1"), "{text}");
    (reading, server.asked().len())
}

#[tokio::test]
async fn the_query_is_sent_as_one_line_below_the_path() {
    let server = Loopback::start(vec![one(), one(), one()]).await;
    let clients = Clients::default();
    for address in [server.url(""), server.url("/prometheus"), server.url("/prometheus/")] {
        let query = query(endpoint(&address), "sum(\n  up{a=\"b c\"}\n)\n");
        assert_eq!(read(&query, &clients, QUICK, now()).await, Reading::Value(1.0));
    }
    let asked: Vec<_> = server.asked().into_iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect();
    let query = "query=sum%28+up%7Ba%3D%22b+c%22%7D+%29";
    assert_eq!(
        asked,
        [
            format!("GET /api/v1/query?{query}"),
            format!("GET /prometheus/api/v1/query?{query}"),
            format!("GET /prometheus/api/v1/query?{query}"),
        ]
    );
}

#[tokio::test]
async fn a_long_query_goes_by_post() {
    let server = Loopback::start(vec![one()]).await;
    let query = query(endpoint(&server.url("")), &"up or ".repeat(2000));
    assert_eq!(read(&query, &Clients::default(), QUICK, now()).await, Reading::Value(1.0));
    let asked = server.asked().remove(0);
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/api/v1/query"));
    assert!(asked.body.starts_with("query=up+or+up"));
}

#[tokio::test]
async fn exactly_one_authorization_is_sent() {
    let basic = "Basic dXNlcjpwQHNz"; // user:p@ss
    let secret = |endpoint: &mut Endpoint, pairs: &[(&str, &str)]| {
        endpoint.secret = pairs.iter().map(|(key, value)| ((*key).into(), value.as_bytes().to_vec())).collect();
    };
    let asked = asked_with(|_, _| ()).await;
    assert!(asked.header("authorization").is_empty());

    let asked = asked_with(|endpoint, server| endpoint.address = server.url_with_user("user:p%40ss", "/")).await;
    assert_eq!(asked.header("authorization"), [basic]);

    let pairs = [("username", "user"), ("password", "p@ss\n")];
    let asked = asked_with(|endpoint, server| {
        endpoint.address = server.url_with_user("other:one", "");
        secret(endpoint, &pairs);
    })
    .await;
    assert_eq!(asked.header("authorization"), [basic]);

    let asked = asked_with(|endpoint, _| {
        secret(endpoint, &[("token", "abc\n"), ("username", "user"), ("password", "x")]);
        endpoint.headers = BTreeMap::from([
            ("Authorization".into(), vec!["mine".into()]),
            ("X-Scope-OrgID".into(), vec!["a".into(), "b".into()]),
        ]);
    })
    .await;
    assert_eq!(asked.header("authorization"), ["Bearer abc"]);
    assert_eq!(asked.header("x-scope-orgid"), ["a", "b"]);

    let asked = asked_with(|endpoint, _| {
        endpoint.headers = BTreeMap::from([("Authorization".into(), vec!["mine".into()])]);
    })
    .await;
    assert_eq!(asked.header("authorization"), ["mine"]);
}

#[tokio::test]
async fn asking_often_sends_the_same_each_time() {
    let server = Loopback::start((0..8).map(|_| one()).collect()).await;
    let mut endpoint = endpoint(&server.url(""));
    endpoint.secret.insert("token".into(), b"abc".to_vec());
    endpoint.headers.insert("Authorization".into(), vec!["mine".into()]);
    let query = query(endpoint, "up");
    let clients = Clients::default();
    futures::future::join_all((0..8).map(|_| read(&query, &clients, QUICK, now()))).await;
    for asked in server.asked() {
        assert_eq!(asked.header("authorization"), ["Bearer abc"]);
    }
}

#[tokio::test]
async fn what_passes_by_itself_is_asked_again() {
    let bad = |status| Answer::text(status, "down: s3cret-token");
    assert_eq!(reading_of(vec![bad(500), bad(503), one()]).await, (Reading::Value(1.0), 3));
    assert_eq!(reading_of(vec![bad(429), one()]).await, (Reading::Value(1.0), 2));
    assert_eq!(reading_of(vec![Answer::Hang, one()]).await, (Reading::Value(1.0), 2));
    let (reading, asked) = reading_of(vec![bad(503), bad(503), bad(503), one()]).await;
    assert_eq!(asked, 3);
    let wanted = "prometheus at spec.metricsServer cannot be asked: 503 Service Unavailable: down: ***";
    assert_eq!(reading, Reading::Unavailable(wanted.into()));
}

#[tokio::test]
async fn what_does_not_pass_by_itself_is_asked_once() {
    let bad_query = r#"{"status":"error","errorType":"bad_data","error":"parse error near s3cret-token"}"#;
    for (answer, wanted) in [
        (Answer::text(400, bad_query), "refuses the query (400 Bad Request): parse error near ***"),
        (Answer::text(422, bad_query), "refuses the query (422 Unprocessable Entity)"),
        (Answer::text(404, ""), "no Prometheus API at this address"),
        (Answer::redirect(302, "https://elsewhere/login?s3cret"), "a redirect to elsewhere that is not followed"),
        (Answer::text(200, "<html>"), "not JSON"),
        (Answer::text(200, &"x".repeat(2 << 20)), "longer than 1048576 bytes"),
    ] {
        let (reading, asked) = reading_of(vec![answer]).await;
        assert_eq!(asked, 1);
        let Reading::Invalid(text) = reading else { panic!("{reading:?}") };
        assert!(text.contains(wanted), "{text}");
    }
    for status in [401, 403] {
        let (reading, asked) = reading_of(vec![Answer::text(status, "s3cret-token")]).await;
        assert_eq!(asked, 1);
        let Reading::Unavailable(text) = reading else { panic!("{reading:?}") };
        assert!(text.contains("mend token, or username and password"), "{text}");
    }
}

#[tokio::test]
async fn a_question_ends_within_its_total() {
    let server = Loopback::start(vec![Answer::Hang, Answer::Hang, Answer::Hang, Answer::Hang]).await;
    let query = query(endpoint(&server.url("")), "up");
    let patience =
        Patience { attempt: Duration::from_millis(30), retries: 100, total: Duration::from_millis(80), ..QUICK };
    let reading = read(&query, &Clients::default(), patience, now()).await;
    assert!(matches!(&reading, Reading::Unavailable(text) if text.ends_with("no answer in time")), "{reading:?}");
    assert!(server.asked().len() <= 4);

    let gone = super::Query { endpoint: endpoint(&Loopback::nobody("")), ..query };
    let reading = read(&gone, &Clients::default(), QUICK, now()).await;
    assert!(matches!(&reading, Reading::Unavailable(text) if text.contains("cannot connect")), "{reading:?}");
}

#[tokio::test]
async fn a_server_without_a_trusted_certificate_is_unavailable_and_says_so() {
    let server = Loopback::start(vec![]).await;
    let address = server.url("").replace("http://", "https://");
    let reading = read(&query(endpoint(&address), "up"), &Clients::default(), QUICK, now()).await;
    assert!(matches!(&reading, Reading::Unavailable(_)), "{reading:?}");
}

fn metric(source: MetricSource) -> Metric {
    Metric {
        name: "m".into(),
        source,
        range: Range::default(),
        comparison: None,
        interval: Duration::from_secs(60),
        interval_text: "60s".into(),
    }
}

fn prepared(source: MetricSource, spec: &Spec, template: Option<TemplateFound<'_>>) -> Result<Query, QueryError> {
    prepare(&metric(source), spec, "web", "shop", "http://prometheus:9090", template)
}

fn of_template() -> MetricSource {
    let variables = BTreeMap::from([("key".into(), "value".into())]);
    MetricSource::Template { namespace: "shared".into(), name: "errors".into(), variables }
}

fn template(type_: &str, address: &str, secret: bool) -> MetricTemplateSpec {
    let secret_ref = secret.then(|| SecretReference { name: "access".into() });
    let provider =
        MetricProvider { type_: type_.into(), address: Some(address.into()), secret_ref, ..Default::default() };
    MetricTemplateSpec { provider, query: "{{ variables.key }} {{ interval }} {{ ingress }}".into() }
}

fn error_of(result: Result<Query, QueryError>) -> String {
    match result {
        Ok(_) => panic!("there is a question"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn each_source_has_its_question() {
    let mut spec = spec();
    let query =
        prepared(MetricSource::Inline("{{ name }} {{ target }} {{ service }}".into()), &spec, None).ok().unwrap();
    assert_eq!(
        (query.text.as_str(), query.endpoint.address.as_str()),
        ("web podinfo podinfo-svc", "http://prometheus:9090")
    );

    spec.metrics_server = Some("https://own/prom".into());
    let query = prepared(MetricSource::Duration, &spec, None).ok().unwrap();
    assert!(query.text.starts_with("1000 * histogram_quantile(0.99"), "{}", query.text);
    assert_eq!(
        (query.endpoint.address.as_str(), query.endpoint.field.as_str()),
        ("https://own/prom", "spec.metricsServer")
    );

    let found = template("prometheus", "http://theirs", false);
    let query = prepared(of_template(), &spec, Some(TemplateFound { spec: &found, secret: None })).ok().unwrap();
    assert_eq!((query.text.as_str(), query.endpoint.address.as_str()), ("value 60s podinfo", "http://theirs"));

    spec.ingress = Some("web-ingress".into());
    spec.provider = "nginx".into();
    let query = prepared(MetricSource::SuccessRate, &spec, None).ok().unwrap();
    assert!(query.text.contains(r#"ingress="web-ingress""#), "{}", query.text);
}

#[test]
fn daemon_sets_are_judged_by_their_own_pods() {
    let mut spec = spec();
    spec.target = Target { kind: TargetKind::DaemonSet, name: "agent".into() };
    let query = prepared(MetricSource::SuccessRate, &spec, None).ok().unwrap();
    assert!(query.text.contains(r#"kubernetes_pod_name=~"agent-[2456789bcdfghj-np-tv-xz]{5}""#), "{}", query.text);
}

#[test]
fn what_cannot_be_asked_names_the_field_and_the_mend() {
    let spec = spec();
    let of = |type_, address, secret: bool, data: Option<&BTreeMap<_, _>>| {
        let found = template(type_, address, secret);
        error_of(prepared(of_template(), &spec, Some(TemplateFound { spec: &found, secret: data })))
    };
    assert_eq!(error_of(prepared(of_template(), &spec, None)), "MetricTemplate shared/errors does not exist");
    let known = "known: prometheus";
    assert_eq!(
        of("datadog", "http://x", false, None),
        format!("spec.provider.type datadog is not supported by this version yet; {known}")
    );
    assert_eq!(
        of("promotheus", "http://x", false, None),
        format!("spec.provider.type promotheus is not known; {known}")
    );
    assert!(of("prometheus", "http://x", true, None).starts_with("Secret access, which spec.provider.secretRef"));
    let empty = BTreeMap::from([("tokn".to_owned(), vec![])]);
    assert!(of("prometheus", "http://x", true, Some(&empty)).contains("neither key token nor keys username"));
    let binary = BTreeMap::from([("token".to_owned(), vec![0xff])]);
    assert!(of("prometheus", "http://x", true, Some(&binary)).contains("not text"));
    let broken = BTreeMap::from([("token".to_owned(), b"a\nb".to_vec())]);
    assert!(of("prometheus", "http://x", true, Some(&broken)).contains("characters that HTTP does not allow"));
    for address in ["", "prometheus:9090", "http://", "ftp://x", "http://user:s3cret@:9090", "data:text/plain,x"] {
        let error = of("prometheus", address, false, None);
        assert!(error.starts_with("spec.provider.address of the MetricTemplate is"), "{address}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

#[test]
fn every_provider_has_one_name() {
    let mut names: Vec<_> = PROVIDERS.iter().map(|provider| provider.name()).collect();
    names.extend(NOT_YET);
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn questions_can_move_between_threads() {
    fn moves(_: impl Send) {}
    let query = query(endpoint("http://prometheus:9090"), "up");
    moves(read(&query, &Clients::default(), QUICK, now()));
}
