mod description;
mod metrics_server;

use std::collections::BTreeMap;
use std::time::Duration;

use controller::providers::Span;
use controller::providers::builtin::{Signal, Subject, query};
use proptest::prelude::*;
use rand::SeedableRng;
use rollout::spec::{Target, TargetKind};
use serde_json::json;

use super::fixture::{CANARY, STABLE, http_route, rollout, shared};
use super::promql::Answer;
use super::routing::Failure;
use super::*;

const BASIC: &str = r#"
traffic: {rate: 600/min, users: 400}
versions:
  "6.9.0": {errors: 0.2%, latency: {median: 30ms, p99: 120ms}, start: 3s}
  "6.9.1": {errors: 5%, latency: {median: 60ms, p99: 400ms}, counters: {checkouts_total: 100%, checkout_failures_total: 10%}}
"#;

fn begin() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn after(seconds: u64) -> Timestamp {
    begin() + Duration::from_secs(seconds)
}

fn description(text: &str) -> Description {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn world(text: &str, seed: u64) -> World {
    World::new(description(text), begin(), ChaCha8Rng::seed_from_u64(seed))
}

fn objects(more: impl IntoIterator<Item = Value>) -> Vec<Arc<Value>> {
    shared(rollout().into_iter().chain(more))
}

/// A tick a second, from one second to another.
fn run(world: &mut World, seconds: std::ops::Range<u64>, objects: &[Arc<Value>]) -> Tick {
    let mut all = Tick::default();
    for second in seconds {
        all.merge(&world.tick(after(second + 1), objects));
    }
    all
}

/// What a query of one element gives.
fn value(world: &World, at: u64, text: &str) -> Option<f64> {
    match world.query(after(at), text).unwrap().answer {
        Answer::Vector(samples) => samples.last().map(|sample| sample.value),
        Answer::Scalar(value) => Some(value),
        Answer::Matrix(series) => panic!("{series:?}"),
    }
}

fn builtin(provider: &str, signal: Signal) -> String {
    let target = Target { kind: TargetKind::Deployment, name: "podinfo".into() };
    let subject = Subject {
        namespace: "shop",
        target: &target,
        service: "podinfo",
        ingress: "podinfo",
        route: "podinfo",
        span: Span::until_now(Duration::from_secs(300)),
    };
    query(provider, signal, &subject).unwrap()
}

fn traefik() -> Vec<Value> {
    let weighted = json!({"services": [
        {"name": "podinfo-primary", "port": 80, "weight": 50}, {"name": "podinfo-canary", "port": 80, "weight": 50},
    ]});
    vec![
        json!({"apiVersion": "traefik.io/v1alpha1", "kind": "TraefikService",
            "metadata": {"name": "podinfo", "namespace": "shop"}, "spec": {"weighted": weighted}}),
        json!({"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute",
            "metadata": {"name": "podinfo", "namespace": "shop"},
            "spec": {"routes": [{"match": "Host(`shop.test`)", "services": [{"name": "podinfo", "kind": "TraefikService"}]}]}}),
    ]
}

fn nginx() -> Vec<Value> {
    let ingress = |name: &str, service: &str, annotations: Value| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
        "spec": {"rules": [{"host": "shop.test", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}},
        ]}}]}})
    };
    let canary =
        json!({"nginx.ingress.kubernetes.io/canary": "true", "nginx.ingress.kubernetes.io/canary-weight": "50"});
    vec![ingress("podinfo", "podinfo", json!({})), ingress("podinfo-canary", "podinfo-canary", canary)]
}

#[test]
fn the_builtin_queries_see_what_flowed() {
    for (provider, routes) in [("gatewayapi:v1", vec![http_route(50)]), ("traefik", traefik()), ("nginx", nginx())] {
        let mut world = world(&BASIC.replace("600/min", "6000/min"), 1);
        let flowed = run(&mut world, 0..600, &objects(routes));
        assert_eq!(flowed.requests, 60_000);
        assert!((flowed.share_of_version(CANARY) - 0.5).abs() < 0.01, "{provider}: {flowed:?}");
        let canary = &flowed.by_version[CANARY];
        let true_rate = 100.0 * (1.0 - chance::float(canary.errors()) / chance::float(canary.count()));
        let rate = value(&world, 600, &builtin(provider, Signal::SuccessRate)).unwrap();
        assert!((rate - true_rate).abs() < 0.5 && (rate - 95.0).abs() < 0.7, "{provider}: {rate} {true_rate}");
        let time = value(&world, 600, &builtin(provider, Signal::Duration)).unwrap();
        let wanted = match provider {
            // Ingress-NGINX has the mean.
            "nginx" => 60.0..100.0,
            // Traefik's buckets end at 300 ms and at 1200 ms.
            "traefik" => 300.0..1200.0,
            _ => 300.0..600.0,
        };
        assert!(wanted.contains(&time), "{provider}: {time}");
    }
}

#[test]
fn without_a_router_only_load_on_the_canary_tells_of_it() {
    let text = BASIC.replace("users: 400}", "service: {namespace: shop, name: podinfo}, classes: [CLASS]}");
    let class = "{name: load, rate: 300/min, service: {namespace: shop, name: podinfo-canary}}";
    for (class, wanted) in [("", None), (class, Some(95.0))] {
        let mut world = world(&text.replace("CLASS", class), 1);
        run(&mut world, 0..600, &objects([]));
        let rate = value(&world, 600, &builtin("kubernetes", Signal::SuccessRate)).filter(|rate| !rate.is_nan());
        assert_eq!(rate.is_some(), wanted.is_some(), "{rate:?}");
        assert!(rate.zip(wanted).is_none_or(|(rate, wanted)| (rate - wanted).abs() < 2.0), "{rate:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    let flowed = |seed| {
        let mut world = world(&BASIC.replace("users: 400", "users: 400, arrivals: Random"), seed);
        let flowed = run(&mut world, 0..120, &objects([http_route(30)]));
        let rate = value(&world, 120, &builtin("gatewayapi:v1", Signal::SuccessRate)).map(f64::to_bits);
        (flowed, rate)
    };
    assert_eq!(flowed(7), flowed(7));
    assert_ne!(flowed(7), flowed(8));
}

#[test]
fn who_has_a_cookie_stays() {
    let routes = |canary_weight: u64| {
        let backend = |name: &str, weight: u64, cookie: Option<&str>| {
            let header = |cookie: &str| {
                json!([{"type": "ResponseHeaderModifier",
                    "responseHeaderModifier": {"add": [{"name": "Set-Cookie", "value": cookie}]}}])
            };
            json!({"name": name, "port": 80, "weight": weight, "filters": cookie.map_or(json!([]), header)})
        };
        let sticky = json!({"matches": [{"headers": [
                {"name": "Cookie", "type": "RegularExpression", "value": ".*canary.*abc.*"}]}],
            "backendRefs": [backend("podinfo-primary", 0, None), backend("podinfo-canary", 100, None)]});
        let weighted = json!({"backendRefs": [
            backend("podinfo-primary", 100 - canary_weight, None),
            backend("podinfo-canary", canary_weight, Some("canary=abc; Max-Age=86400")),
        ]});
        let mut route = http_route(0);
        route["spec"]["rules"] = json!([sticky, weighted]);
        objects([route])
    };
    // One by one, with all that each user saw.
    let mut exact = world(&BASIC.replace("users: 400", "users: 50, exact: true"), 1);
    let objects = routes(20);
    let mut exchanges = Vec::new();
    for second in 0..60 {
        exchanges.extend(exact.tick(after(second + 1), &objects[..]).exchanges);
    }
    assert_eq!(exchanges.len(), 600);
    assert!(exchanges.iter().filter(|one| one.with_cookies).all(|one| one.version.as_deref() == Some(CANARY)));
    assert!(exchanges.iter().any(|one| !one.with_cookies && one.version.as_deref() == Some(STABLE)));

    // All at once: everybody ends at the canary, as in the long run everybody is dealt to it once.
    let mut many = world(BASIC, 1);
    let first = run(&mut many, 0..10, &objects);
    assert!((0.1..0.5).contains(&first.share_of_version(CANARY)), "{first:?}");
    run(&mut many, 10..1200, &objects);
    let late = run(&mut many, 1200..1260, &objects);
    assert!(late.share_of_version(CANARY) > 0.98, "{}", late.share_of_version(CANARY));
}

#[test]
fn insiders_are_dealt_by_their_header() {
    let class = r#"classes: [{name: insiders, share: 5%, headers: {X-Insider: "yes"}}]"#;
    let mut world = world(&BASIC.replace("users: 400", class), 1);
    let mut route = http_route(0);
    let rule = json!({"matches": [{"headers": [{"name": "x-insider", "value": "yes"}]}],
        "backendRefs": [{"name": "podinfo-canary", "port": 80}]});
    route["spec"]["rules"].as_array_mut().unwrap().push(rule);
    let flowed = run(&mut world, 0..600, &objects([route]));
    let class = |name: &str, version: &str| {
        (name.to_owned(), BTreeMap::from([(version.to_owned(), flowed.by_class[name][version])]))
    };
    assert_eq!(flowed.by_class, BTreeMap::from([class("insiders", CANARY), class("users", STABLE)]));
    assert_eq!(flowed.by_class["insiders"][CANARY], 300);
    assert_eq!((flowed.share_of_service("shop/podinfo-canary") * 1000.0).round() as i64, 50);
}

#[test]
fn copies_are_counted_by_the_pod_and_answered_to_nobody() {
    let mut route = http_route(0);
    route["spec"]["rules"][0]["filters"] =
        json!([{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "podinfo-canary"}, "percent": 50}}]);
    let mut world = world(BASIC, 1);
    let flowed = run(&mut world, 0..600, &objects([route]));
    assert_eq!((flowed.requests, flowed.answers()), (6000, 6000));
    assert_eq!(flowed.by_version.keys().collect::<Vec<_>>(), [STABLE]);
    assert!((2800..3200).contains(&flowed.mirrored[CANARY]), "{flowed:?}");
    let rate = value(&world, 600, &builtin("gatewayapi:v1", Signal::SuccessRate)).unwrap();
    assert!((rate - 95.0).abs() < 2.0, "{rate}");
}

#[test]
fn a_service_without_ready_pods_is_an_outage_that_is_counted() {
    let mut objects = rollout();
    objects[5]["status"]["conditions"][0]["status"] = "False".into();
    objects.extend(traefik());
    let mut world = world(BASIC, 1);
    let flowed = run(&mut world, 0..60, &shared(objects));
    let unready = flowed.failures[&Failure::NoReadyPod];
    assert!((250..350).contains(&unready), "{flowed:?}");
    assert_eq!((flowed.answers(), flowed.refused[&503]), (600, unready));
    // Traefik counts what it refuses itself.
    assert_eq!(value(&world, 60, &builtin("traefik", Signal::SuccessRate)), Some(0.0));
}

#[test]
fn a_load_generator_waits_for_pods_and_no_user_does() {
    let text = |patient: bool| {
        let class = format!(
            "{{name: load, rate: 60/min, service: {{namespace: shop, name: podinfo-canary}}, patient: {patient}}}"
        );
        format!("traffic: {{rate: 600/min, classes: [{class}]}}")
    };
    let mut unready = rollout();
    unready[5]["status"]["conditions"][0]["status"] = "False".into();
    unready.push(http_route(0));
    for (patient, requests, failed) in [(true, 600, 0), (false, 660, 60)] {
        let flowed = run(&mut world(&text(patient), 1), 0..60, &shared(unready.clone()));
        assert_eq!((flowed.requests, flowed.failed()), (requests, failed), "patient: {patient}");
    }
    let flowed = run(&mut world(&text(true), 1), 0..60, &objects([http_route(0)]));
    assert_eq!(flowed.requests, 660, "with pods it sends");
}

#[test]
fn versions_start_slowly_and_change() {
    let text = r#"
traffic: {rate: 60000/min}
versions:
  "6.9.0": {latency: {median: 10ms, p99: 20ms}, warm_up: {for: 60s, factor: 11}, changes: [{after: 2m, errors: 50%}]}
"#;
    let mut world = world(text, 1);
    let objects = objects([http_route(0)]);
    let mean = |flowed: &Tick| flowed.by_version[STABLE].latencies.mean().unwrap();
    let first = run(&mut world, 0..1, &objects);
    run(&mut world, 1..60, &objects);
    let warm = run(&mut world, 60..119, &objects);
    let changed = run(&mut world, 120..130, &objects);
    assert!(mean(&first) > 9.0 * mean(&warm) && mean(&first) < 12.0 * mean(&warm), "{} {}", mean(&first), mean(&warm));
    assert_eq!(warm.failed(), 0);
    let share = chance::float(changed.failed()) / chance::float(changed.requests);
    assert!((0.45..0.55).contains(&share), "{share}");
}

#[test]
fn rates_change_with_time() {
    let flowed = |rate: &str| {
        let mut world = world(&format!("traffic: {{rate: {rate}}}"), 1);
        let objects = objects([http_route(0)]);
        let minute = |minute: u64| run(&mut world, minute * 60..minute * 60 + 60, &objects).requests;
        (0..4).map(minute).collect::<Vec<_>>()
    };
    assert_eq!(flowed("90/min"), [90, 90, 90, 90]);
    assert_eq!(flowed("{ramp: {from: 0/s, to: 10/s, over: 2m}}"), [150, 450, 600, 600]);
    let daily = flowed("{daily: {mean: 600/min, swing: 50%, period: 4m}}");
    assert!(daily[0] > 780 && daily[1] > 780 && daily[2] < 420 && daily[3] < 420, "{daily:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Every request has one answer, in whatever way it is counted, and shares follow weights.
    #[test]
    fn what_goes_in_comes_out(
        weight in 0_u64..=100,
        rate in 1_u32..2000,
        exact in proptest::bool::weighted(0.2),
        random in any::<bool>(),
        ready in any::<bool>(),
        insiders in 0_u32..=100,
        seed in any::<u64>(),
    ) {
        let rate = if exact { rate.min(40) } else { rate };
        let arrivals = if random { "Random" } else { "Even" };
        let text = format!(
            "traffic: {{rate: {rate}/s, exact: {exact}, arrivals: {arrivals}, classes: [{{name: insiders, share: {insiders}%}}]}}\n\
             versions: {{'6.9.1': {{errors: 30%}}}}"
        );
        let mut world = world(&text, seed);
        let mut objects = rollout();
        if !ready {
            objects[5]["status"]["conditions"] = json!([]);
        }
        objects.push(http_route(weight));
        let objects = shared(objects);
        let mut all = Tick::default();
        // Ticks of any length.
        for at in [1, 2, 7, 30, 60] {
            let tick = world.tick(after(at), &objects[..]);
            prop_assert_eq!(tick.exchanges.len() as u64, if exact { tick.requests } else { 0 });
            all.merge(&tick);
        }
        prop_assert_eq!(&all, world.total());
        prop_assert_eq!(all.requests, all.answers());
        prop_assert_eq!(all.requests, all.by_service.values().sum::<u64>());
        let answered: u64 = all.by_version.values().map(Answers::count).sum();
        prop_assert_eq!(answered, all.by_class.values().flat_map(BTreeMap::values).sum::<u64>());
        for answers in all.by_version.values() {
            prop_assert_eq!(answers.count(), answers.latencies.count());
        }
        let errors: u64 = all.by_version.values().map(Answers::errors).sum();
        prop_assert_eq!(all.failed(), errors + all.refused.values().sum::<u64>());
        if !random {
            let wanted = u64::from(rate) * 60;
            prop_assert!(all.requests.abs_diff(wanted) <= 1, "{} of {wanted}", all.requests);
        }
        // Six standard deviations.
        let share = weight as f64 / 100.0;
        let spread = 6.0 * (share * (1.0 - share) / all.requests.max(1) as f64).sqrt() + 1e-9;
        let found = all.share_of_service("shop/podinfo-canary");
        prop_assert!((found - share).abs() <= spread, "{found} for {share}, within {spread}");
        // What the pods count is what they answered.
        let counted = value(&world, 60, "sum(http_requests_total)").unwrap_or(0.0);
        prop_assert_eq!(counted as u64, answered);
    }
}
