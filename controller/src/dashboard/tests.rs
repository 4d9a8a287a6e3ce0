//! Requests and answers, over the loopback and with tokens.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use futures::StreamExt as _;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::access::{Access, HEADER};
use super::made_up::World;
use super::{Dashboard, routes};
use crate::objects::kinds::CANARY;

struct Site {
    router: Router,
    /// The streams end when it goes.
    _stop: watch::Sender<bool>,
}

impl Site {
    fn new(dashboard: Dashboard) -> Site {
        let (stop, stopped) = watch::channel(false);
        Site { router: routes::router(dashboard.shared, stopped), _stop: stop }
    }

    async fn send(&self, request: Request<Body>) -> http::Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn json(&self, request: Request<Body>) -> (StatusCode, Value) {
        let answer = self.send(request).await;
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

fn get(path: &str) -> http::request::Builder {
    Request::get(path).header("host", "localhost:8081").header(HEADER, "1")
}

fn as_mia(request: http::request::Builder) -> http::request::Builder {
    request.header("authorization", "Bearer mias-token")
}

fn command(name: &str) -> http::request::Builder {
    let request = Request::post(format!("/api/rollouts/{name}/command"));
    request.header("host", "localhost:8081").header(HEADER, "1").header("content-type", "application/json")
}

fn body(value: &Value) -> Body {
    Body::from(value.to_string())
}

async fn on_the_loopback() -> (World, Site) {
    let (world, dashboard) = World::busy().await;
    (world, Site::new(dashboard))
}

async fn with_tokens() -> (World, Site) {
    let world = World::empty().await;
    let access = World::token_access(&world.fake, world.context());
    let dashboard = Dashboard::new(world.context(), access);
    for (namespace, name) in [("shop", "checkout"), ("payments", "ledger"), ("secret", "plan")] {
        world.put(namespace, name, ("i:1", "i:2"), json!({"phase": "Progressing", "appliedRevision": "6c9f"}));
    }
    while world.context().cache.canaries().len() < 3 {
        tokio::task::yield_now().await;
    }
    (world, Site::new(dashboard))
}

/// The next event of a stream, as name and data.
async fn event(frames: &mut BodyDataStream) -> (String, Value) {
    let next = async {
        let mut text = String::new();
        while !text.ends_with("\n\n") {
            text.push_str(std::str::from_utf8(&frames.next().await.unwrap().unwrap()).unwrap());
        }
        text
    };
    let text = tokio::time::timeout(Duration::from_secs(10), next).await.expect("an event");
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    (field("event:"), serde_json::from_str(&field("data:")).unwrap_or(Value::Null))
}

fn names(data: &Value) -> Vec<String> {
    let lines = data["rollouts"].as_array().unwrap().iter();
    lines.map(|line| format!("{}/{}", line["namespace"].as_str().unwrap(), line["name"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn the_page_is_self_contained_and_guarded() {
    let (_world, site) = on_the_loopback().await;
    for path in ["/", "/app.js", "/style.css", "/icon.svg", "/api/session", "/nothing"] {
        let answer = site.send(get(path).body(Body::empty()).unwrap()).await;
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(
            (header("x-content-type-options"), header("referrer-policy")),
            ("nosniff".into(), "no-referrer".into())
        );
    }
    let answer = site.send(get("/").body(Body::empty()).unwrap()).await;
    let html = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    let html = String::from_utf8(html.to_vec()).unwrap();
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains(" style="), "{html}");
}

#[tokio::test]
async fn another_name_or_another_origin_gets_nothing() {
    let (world, site) = on_the_loopback().await;
    let rebound = Request::get("/").header("host", "evil.example").body(Body::empty()).unwrap();
    assert_eq!(site.json(rebound).await.0, StatusCode::MISDIRECTED_REQUEST);
    let pause = json!({"verb": "pause"});
    let path = "/api/rollouts/shop/checkout/command";
    let post = || Request::post(path).header("host", "localhost:8081").header("content-type", "application/json");
    let foreign = [
        post(),
        post().header(HEADER, "1").header("origin", "http://evil.example"),
        post().header(HEADER, "1").header("sec-fetch-site", "cross-site"),
        Request::post(path)
            .header("host", "evil.example")
            .header(HEADER, "1")
            .header("content-type", "application/json"),
    ];
    for request in foreign {
        let (status, _) = site.json(request.body(body(&pause)).unwrap()).await;
        assert!(status == StatusCode::FORBIDDEN || status == StatusCode::MISDIRECTED_REQUEST, "{status}");
    }
    // A form can be sent from anywhere, but not as JSON.
    let form = Request::post(path).header("host", "localhost:8081").header(HEADER, "1").body(body(&pause)).unwrap();
    assert_eq!(site.json(form).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(world.fake.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_command_is_written_as_the_command_line_writes_it() {
    let (world, site) = on_the_loopback().await;
    let given = json!({"verb": "pause", "revision": "6c9f"});
    let (status, answer) = site.json(command("shop/checkout").body(body(&given)).unwrap()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let written = world.fake.object(CANARY, "shop", "checkout").unwrap();
    assert_eq!(
        written["metadata"]["annotations"],
        json!({"serin.dev/command": "pause", "serin.dev/command-id": answer["id"],
               "serin.dev/command-by": "dashboard on the loopback"})
    );
    assert_eq!(world.fake.requests().len(), 1, "{:?}", world.fake.requests());
}

#[tokio::test]
async fn what_cannot_be_commanded_is_refused_with_a_sentence() {
    let (world, site) = on_the_loopback().await;
    for (name, given, status, why) in [
        ("shop/checkout", json!({"verb": "retry"}), StatusCode::CONFLICT, "nothing to retry"),
        ("shop/checkout", json!({"verb": "pause", "revision": "old"}), StatusCode::CONFLICT, "newer revision"),
        ("shop/checkout", json!({"verb": "dance"}), StatusCode::BAD_REQUEST, "known are promote"),
        ("shop/checkout", json!({"verb": "pause", "by": "root"}), StatusCode::UNPROCESSABLE_ENTITY, "by"),
        ("shop/nothing", json!({"verb": "pause"}), StatusCode::NOT_FOUND, "no Canary nothing"),
        ("shop/..%2f..", json!({"verb": "pause"}), StatusCode::NOT_FOUND, "no Canary"),
        ("shop/checkout", json!({"verb": "x".repeat(9000)}), StatusCode::PAYLOAD_TOO_LARGE, ""),
    ] {
        let (code, answer) = site.json(command(name).body(body(&given)).unwrap()).await;
        assert_eq!(code, status, "{name} {given}: {answer}");
        assert!(answer["error"].as_str().unwrap_or_default().contains(why), "{given}: {answer}");
    }
    assert_eq!(world.fake.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn rights_decide_what_is_seen_and_done() {
    let (world, site) = with_tokens().await;
    assert_eq!(site.json(get("/api/session").body(Body::empty()).unwrap()).await.0, StatusCode::UNAUTHORIZED);
    let (status, session) = site.json(as_mia(get("/api/session")).body(Body::empty()).unwrap()).await;
    assert_eq!((status, &session["user"]), (StatusCode::OK, &json!("mia@example.com")));

    let stream = site.send(as_mia(get("/api/stream")).body(Body::empty()).unwrap()).await;
    let (name, data) = event(&mut stream.into_body().into_data_stream()).await;
    assert_eq!((name.as_str(), names(&data)), ("all", vec!["payments/ledger".to_owned(), "shop/checkout".to_owned()]));

    for (place, status) in
        [("secret", StatusCode::FORBIDDEN), ("shop", StatusCode::OK), ("payments", StatusCode::FORBIDDEN)]
    {
        let request = as_mia(get(&format!("/api/rollouts/{place}/checkout/pods"))).body(Body::empty()).unwrap();
        assert_eq!(site.json(request).await.0, status, "pods in {place}");
    }
    let path = "/api/stream?namespace=secret&name=plan";
    assert_eq!(site.json(as_mia(get(path)).body(Body::empty()).unwrap()).await.0, StatusCode::FORBIDDEN);

    let pause = json!({"verb": "pause"});
    let refused = as_mia(command("payments/ledger")).body(body(&pause)).unwrap();
    let (status, answer) = site.json(refused).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(answer["error"], "mia@example.com may not patch canaries in namespace payments");
    let given = as_mia(command("shop/checkout")).body(body(&pause)).unwrap();
    assert_eq!(site.json(given).await.0, StatusCode::ACCEPTED);
    let written = world.fake.object(CANARY, "shop", "checkout").unwrap();
    assert_eq!(written["metadata"]["annotations"]["serin.dev/command-by"], "mia@example.com");
}

#[tokio::test]
async fn a_namespace_that_comes_later_is_seen_by_whoever_may() {
    let world = World::empty().await;
    let access = World::token_access(&world.fake, world.context());
    let site = Site::new(Dashboard::new(world.context(), access));
    let put = |namespace: &str, name: &str| world.put(namespace, name, ("i:1", "i:2"), json!({"phase": "Progressing"}));
    put("shop", "checkout");
    let stream = site.send(as_mia(get("/api/stream")).body(Body::empty()).unwrap()).await;
    let mut frames = stream.into_body().into_data_stream();
    while names(&event(&mut frames).await.1).is_empty() {}
    put("secret", "plan");
    put("payments", "ledger");
    assert!(names(&event(&mut frames).await.1).contains(&"payments/ledger".to_owned()));
    put("secret", "other");
    put("shop", "cart");
    assert_eq!(names(&event(&mut frames).await.1), ["shop/cart"]);
}

#[tokio::test]
async fn a_stream_begins_with_everything_and_goes_on_with_what_changed() {
    let (world, site) = on_the_loopback().await;
    let answer = site.send(get("/api/stream").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let mut frames = answer.into_body().into_data_stream();
    let (name, all) = event(&mut frames).await;
    assert_eq!((name.as_str(), all["everything"].clone(), names(&all).len()), ("all", json!(true), 10));

    for weight in [11, 12, 13] {
        let status = json!({"phase": "Progressing", "canaryWeight": weight});
        world.put("shop", "cart", ("i:1", "i:2"), status);
    }
    let mut weight = json!(0);
    while weight != 13 {
        let (name, some) = event(&mut frames).await;
        assert_eq!((name.as_str(), names(&some)), ("some", vec!["shop/cart".to_owned()]));
        weight = some["rollouts"][0]["weight"].clone();
    }
    world.fake.remove(CANARY, "shop", "cart");
    assert_eq!(event(&mut frames).await.1["gone"], json!([["shop", "cart"]]));
    assert_eq!(world.fake.requests(), Vec::<String>::new(), "looking costs no request on the loopback");
}

#[tokio::test]
async fn one_rollout_comes_with_its_past_and_its_verbs() {
    let (world, site) = on_the_loopback().await;
    let answer = site.send(get("/api/stream?namespace=shop&name=checkout").body(Body::empty()).unwrap()).await;
    let mut frames = answer.into_body().into_data_stream();
    let (name, data) = event(&mut frames).await;
    let rollout = &data["rollout"];
    assert_eq!((name.as_str(), &data["mayAct"], &rollout["weight"]), ("rollout", &json!(true), &json!(25)));
    let weights: Vec<_> = rollout["history"]["samples"].as_array().unwrap().iter().map(|sample| &sample[1]).collect();
    assert!([0, 5, 10, 25].iter().all(|weight| weights.contains(&&json!(weight))), "{weights:?}");
    assert_eq!(rollout["history"]["checks"].as_array().unwrap().len(), 4);
    assert_eq!(rollout["source"]["author"], "Mia Finch");

    // What is only said is news as well.
    let canary = world.fake.object(CANARY, "shop", "checkout").unwrap();
    world.history().tell(&canary, false, "Advance checkout.shop canary weight 50", world.now);
    let (_, data) = event(&mut frames).await;
    let log = data["rollout"]["history"]["log"].as_array().unwrap();
    assert_eq!(log.last().unwrap()["message"], "Advance checkout.shop canary weight 50");

    world.fake.remove(CANARY, "shop", "checkout");
    assert_eq!(event(&mut frames).await.0, "missing");
}

#[tokio::test]
async fn pods_are_asked_for_when_somebody_looks_and_not_for_each() {
    let (world, site) = on_the_loopback().await;
    for _ in 0..5 {
        let request = get("/api/rollouts/shop/checkout/pods").body(Body::empty()).unwrap();
        let (status, answer) = site.json(request).await;
        let tags: Vec<_> = answer["pods"].as_array().unwrap().iter().map(|pod| pod["tag"].as_str().unwrap()).collect();
        assert_eq!((status, tags), (StatusCode::OK, vec!["stable", "stable", "stable", "canary", "canary"]));
    }
    assert_eq!(world.fake.requests().len(), 1, "{:?}", world.fake.requests());
}

#[tokio::test]
async fn streams_are_counted() {
    let (_world, site) = on_the_loopback().await;
    let mut open = Vec::new();
    loop {
        let answer = site.send(get("/api/stream").body(Body::empty()).unwrap()).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        open.push(answer);
        assert!(open.len() <= 64, "no end");
    }
    drop(open);
    let again = site.send(get("/api/stream").body(Body::empty()).unwrap()).await;
    assert_eq!(again.status(), StatusCode::OK);
}

/// A replica that stands by, with one rollout of which the leader has told in Events.
async fn standing_by() -> (World, Site) {
    let world = World::standing_by().await;
    let site = Site::new(Dashboard::new(world.context(), Access::Loopback));
    world.history().follow("serin-7d9c");
    world.put_told();
    while world.context().cache.canaries().is_empty() {
        tokio::task::yield_now().await;
    }
    (world, site)
}

#[tokio::test]
async fn a_replica_that_does_not_lead_shows_what_it_sees_and_says_who_leads() {
    let (world, site) = standing_by().await;
    let answer = site.send(get("/api/stream?namespace=shop&name=basket").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut frames = answer.into_body().into_data_stream();
    let (_, mut data) = event(&mut frames).await;
    let standing = &data["standing"];
    assert_eq!((&standing["leads"], &standing["leader"]), (&json!(false), &json!("serin-7d9c")));
    assert!(standing["seenSince"].is_i64() && standing["decidedSince"].is_null(), "{standing}");
    // Its workloads are watched because somebody looks.
    while data["rollout"]["canaryImages"] != json!(["registry.test/shop/basket:2"]) {
        data = event(&mut frames).await.1;
    }
    let mut basket = world.fake.object(CANARY, "shop", "basket").unwrap();
    basket["status"]["canaryWeight"] = 50.into();
    world.fake.put(CANARY, basket);
    while data["rollout"]["weight"] != 50 {
        data = event(&mut frames).await.1;
    }
    let weights: Vec<&Value> =
        data["rollout"]["history"]["samples"].as_array().unwrap().iter().map(|sample| &sample[1]).collect();
    assert_eq!(weights, [&json!(25), &json!(50)], "what the leader writes is recorded here as well");
    assert_eq!(world.fake.requests(), Vec::<String>::new(), "looking costs no request on the loopback");

    let (status, _) = site.json(command("shop/basket").body(body(&json!({"verb": "pause"}))).unwrap()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "commands are annotations, which any replica may write");

    world.history().lead(world.now);
    loop {
        let (name, data) = event(&mut frames).await;
        assert!(name == "standing" || name == "rollout", "{name}");
        if data["standing"]["leads"] == true {
            assert_eq!(data["standing"]["decidedSince"], world.now.as_millisecond());
            break;
        }
    }
}

#[tokio::test]
async fn what_was_before_is_asked_of_the_cluster_when_somebody_looks() {
    let (world, site) = standing_by().await;
    for _ in 0..5 {
        let (status, told) = site.json(get("/api/rollouts/shop/basket/events").body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        let weights: Vec<&Value> = told["weights"].as_array().unwrap().iter().map(|weight| &weight[1]).collect();
        assert_eq!(weights, [&json!(0), &json!(5), &json!(10), &json!(25)]);
        assert_eq!(told["log"].as_array().unwrap().len(), 5);
    }
    assert_eq!(world.fake.requests().len(), 1, "{:?}", world.fake.requests());
    let (status, _) = site.json(get("/api/rollouts/shop/nothing/events").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (world, site) = with_tokens().await;
    let (status, _) = site.json(as_mia(get("/api/rollouts/secret/plan/events")).body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{:?}", world.fake.requests());
}
