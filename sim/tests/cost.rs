//! What a world costs: `cargo test --release -p sim --test cost -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use controller::providers::Span;
use controller::providers::builtin::{self, Signal, Subject};
use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rollout::spec::{Target, TargetKind};
use serde_json::{Value, json};
use sim::world::{Description, World};

/// A rollout of half an hour: a tick each second, two queries each thirty seconds, a new weight each minute.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "the measurement is what it is for")]
fn half_an_hour() {
    for (rate, affinity) in [("600/min", false), ("60000/min", false), ("60000/min", true)] {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let started = Instant::now();
            rollout(rate, affinity);
            best = best.min(started.elapsed());
        }
        println!("{rate}, affinity {affinity}: {best:?}");
    }
}

fn rollout(rate: &str, affinity: bool) {
    let text = format!(
        "traffic: {{rate: {rate}, classes: [{{name: insiders, share: 5%, headers: {{x-insider: 'yes'}}}}]}}\n\
         versions: {{'6.9.0': {{errors: 0.2%}}, '6.9.1': {{errors: 5%}}}}"
    );
    let description: Description = serde_saphyr::from_str(&text).expect("a description");
    let begin: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut world = World::new(description, begin, ChaCha8Rng::seed_from_u64(1));
    let target = Target { kind: TargetKind::Deployment, name: "podinfo".into() };
    let subject = Subject {
        namespace: "shop",
        target: &target,
        service: "podinfo",
        ingress: "podinfo",
        route: "podinfo",
        span: Span::until_now(Duration::from_secs(60)),
    };
    let queries = [Signal::SuccessRate, Signal::Duration]
        .map(|signal| builtin::query("gatewayapi:v1", signal, &subject).expect("a builtin query"));
    let fixed: Vec<Arc<Value>> = objects();
    let mut all = fixed.clone();
    for second in 1..=1800_u32 {
        if second % 60 == 1 {
            all = fixed.iter().cloned().chain([Arc::new(route(second / 60 * 3, affinity))]).collect();
        }
        let now = begin + Duration::from_secs(second.into());
        world.tick(now, &all[..]);
        if second % 30 == 0 {
            for query in &queries {
                world.query(now, query).expect("an answer");
            }
        }
    }
    assert_eq!(world.total().requests, world.total().answers());
}

fn objects() -> Vec<Arc<Value>> {
    let pod = |name: &str, app: &str, version: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": {"app": app}},
            "spec": {"containers": [{"image": format!("podinfo:{version}")}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "startTime": "2026-01-01T00:00:00Z"},
        })
    };
    let service = |name: &str, app: &str| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"selector": {"app": app}, "ports": [{"port": 80}]},
        })
    };
    let all = [
        service("podinfo-primary", "podinfo-primary"),
        service("podinfo-canary", "podinfo"),
        pod("podinfo-primary-6d4b8f9c7d-aaaaa", "podinfo-primary", "6.9.0"),
        pod("podinfo-primary-6d4b8f9c7d-bbbbb", "podinfo-primary", "6.9.0"),
        pod("podinfo-55b8c4d6f9-x7k2p", "podinfo", "6.9.1"),
        pod("podinfo-55b8c4d6f9-zzzzz", "podinfo", "6.9.1"),
    ];
    all.into_iter().map(Arc::new).collect()
}

fn route(weight: u32, affinity: bool) -> Value {
    let cookie = |value: &str| json!([{"responseHeaderModifier": {"add": [{"name": "Set-Cookie", "value": value}]}}]);
    let backends = |weight: u32, cookies: bool| {
        let filters = |value: &str| if cookies { cookie(value) } else { json!([]) };
        json!([
            {"name": "podinfo-primary", "weight": 100 - weight, "filters": filters("primary=abc; Max-Age=30")},
            {"name": "podinfo-canary", "weight": weight, "filters": filters("canary=def; Max-Age=86400")},
        ])
    };
    let sticky = |value: &str, weight: u32| {
        let header = json!({"name": "Cookie", "type": "RegularExpression", "value": format!(".*{value}.*")});
        json!({"matches": [{"headers": [header]}], "backendRefs": backends(weight, false)})
    };
    let mut rules = vec![json!({"backendRefs": backends(weight, affinity)})];
    if affinity {
        rules.splice(0..0, [sticky("canary.*def", 100), sticky("primary.*abc", 0)]);
    }
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "podinfo", "namespace": "shop"}, "spec": {"rules": rules},
    })
}
