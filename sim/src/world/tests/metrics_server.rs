use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::fixture::{STABLE, http_route, pod, rollout, shared};
use super::super::metrics::{self, AskError};
use super::super::promql::Answer;
use super::{BASIC, after, objects, run, value, world};

#[test]
fn counters_of_ones_own_answer_templates() {
    let mut world = world(BASIC, 1);
    run(&mut world, 0..600, &objects([http_route(50)]));
    let text = r#"100 * sum(rate(checkout_failures_total{namespace="shop", pod=~"podinfo-[0-9a-z]+-[0-9a-z]+"}[5m]))
        / sum(rate(checkouts_total{namespace="shop", pod=~"podinfo-[0-9a-z]+-[0-9a-z]+"}[5m]))"#;
    let rate = value(&world, 600, text).unwrap();
    assert!((rate - 10.0).abs() < 2.5, "{rate}");
    assert_eq!(value(&world, 600, "count(up{app=\"podinfo-primary\"})"), Some(2.0));
}

#[test]
fn series_end_with_their_pod_and_begin_again_with_its_container() {
    let mut world = world(BASIC, 1);
    let first = objects([http_route(50)]);
    run(&mut world, 0..60, &first);
    let canary = r#"sum(http_requests_total{kubernetes_pod_name=~"podinfo-55.*"})"#;
    let before = value(&world, 60, canary).unwrap();
    assert!(before > 200.0, "{before}");

    let mut restarted = rollout();
    restarted[5]["status"]["containerStatuses"][0]["restartCount"] = 1.into();
    restarted.push(http_route(50));
    run(&mut world, 60..90, &shared(restarted));
    let again = value(&world, 90, canary).unwrap();
    assert!(again < before, "{again} after {before}");
    assert!(
        value(
            &world,
            90,
            &canary.replace("http_requests_total", "increase(http_requests_total").replace("})", "}[1m]))")
        )
        .unwrap()
            > again
    );

    let mut gone = rollout();
    gone.pop();
    gone.push(http_route(0));
    run(&mut world, 90..106, &shared(gone));
    assert_eq!(value(&world, 106, canary), None);
}

#[test]
fn the_metrics_server_has_its_outages() {
    let outages = "metrics: {outage: [{from: 1m, to: 2m, kind: KIND}]}";
    let asked = |kind: &str, at: u64| {
        let mut world = world(&format!("{BASIC}\n{}", outages.replace("KIND", kind)), 1);
        run(&mut world, 0..180, &objects([http_route(50)]));
        let reply = world.query(after(at), "sum(http_requests_total)")?;
        let values = match reply.answer {
            Answer::Vector(samples) => samples.into_iter().map(|sample| sample.value).collect(),
            Answer::Scalar(_) | Answer::Matrix(_) => Vec::new(),
        };
        Ok((reply.at, values))
    };
    for kind in ["Unreachable", "Slow", "Stale", "Empty"] {
        assert_eq!(asked(kind, 59), Ok((after(59), vec![450.0])), "{kind}");
        assert_eq!(asked(kind, 120), Ok((after(120), vec![1200.0])), "{kind}");
    }
    assert_eq!(asked("Unreachable", 60), Err(AskError::Unreachable));
    assert_eq!(asked("Slow", 119), Err(AskError::TooSlow));
    assert_eq!(asked("Stale", 100), Ok((after(60), vec![600.0])));
    assert_eq!(asked("Empty", 100), Ok((after(100), vec![])));
}

#[tokio::test(start_paused = true)]
async fn the_http_face_speaks_as_prometheus_does() {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    let mut world = world(&format!("{BASIC}\nmetrics: {{outage: [{{from: 2m, to: 3m, kind: Slow}}]}}"), 1);
    run(&mut world, 0..60, &shared(vec![pod("podinfo-a", "podinfo", STABLE)]));
    let world = Arc::new(world);
    let router = metrics::http::router(move |text: &str, time: Option<Timestamp>| {
        world.query(time.unwrap_or_else(|| after(60)), text)
    });
    let get = |query: &str| Request::get(format!("/api/v1/query?query={query}")).body(Body::empty()).unwrap();
    let post = |body: &'static str| {
        let request = Request::post("/api/v1/query").header("content-type", "application/x-www-form-urlencoded");
        request.body(Body::from(body)).unwrap()
    };
    let metric = json!({"app": "podinfo", "job": "kubernetes-pods", "kubernetes_namespace": "shop",
        "kubernetes_pod_name": "podinfo-a", "namespace": "shop", "pod": "podinfo-a"});
    let mut named = metric.clone();
    named["__name__"] = "up".into();
    let vector = |at: f64, metric: &Value, value: &str| json!({"status": "success", "data": {"resultType": "vector", "result": [{"metric": metric, "value": [at, value]}]}});
    let table = [
        (get("up"), 200, vector(1_767_225_660.0, &named, "1")),
        (post("query=up%20%2F%200&time=2026-01-01T00%3A00%3A30Z"), 200, vector(1_767_225_630.0, &metric, "+Inf")),
        (post("query=up%20%2A%20NaN&time=1767225630.5"), 200, vector(1_767_225_630.5, &metric, "NaN")),
        (
            get("1%2B1"),
            200,
            json!({"status": "success", "data": {"resultType": "scalar", "result": [1_767_225_660.0, "2"]}}),
        ),
        (
            get("up%5B15s%5D"),
            200,
            json!({"status": "success", "data": {"resultType": "matrix",
                "result": [{"metric": named, "values": [[1_767_225_660.0, "1"]]}]}}),
        ),
        (
            get("topk(1,up)"),
            400,
            json!({"status": "error", "errorType": "bad_data", "error":
                "the aggregation topk is not supported by this metrics server: it knows what rollouts use of PromQL"}),
        ),
        (
            post("query=up&time=150.x"),
            400,
            json!({"status": "error", "errorType": "bad_data", "error":
                "reading the parameter time: \"150.x\" is neither seconds nor RFC 3339"}),
        ),
        (
            post("query=up&time=1767225750"),
            503,
            json!({"status": "error", "errorType": "timeout", "error": "the metrics server does not answer in time"}),
        ),
    ];
    for (request, status, wanted) in table {
        let what = format!("{request:?}");
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{what}");
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), wanted, "{what}");
    }
}
