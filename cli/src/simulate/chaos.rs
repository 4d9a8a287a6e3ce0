//! A scenario from nothing but a seed: a policy, releases that are good, bad or never ready, commands, faults, crashes.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::scenario::{Scenario, ScenarioError};

/// The last command and fault come before this, in seconds.
const CALM: u32 = 480;

/// The scenario of that seed; always the same.
///
/// # Errors
/// When it cannot be read as a scenario.
pub fn scenario(seed: u64) -> Result<Scenario, ScenarioError> {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let value = written(seed, &mut dice);
    serde_path_to_error::deserialize(value).map_err(|error| ScenarioError::Stage(format!("chaos {seed}: {error}")))
}

fn written(seed: u64, dice: &mut ChaCha8Rng) -> Value {
    let style = one_of(dice, &["gateway", "gateway", "gateway", "traefik", "nginx", "insiders", "blue-green"]);
    let mut objects = vec![deployment(dice)];
    if dice.random_bool(0.3) {
        objects.push(autoscaler());
    }
    if style == "nginx" {
        objects.push(ingress());
    }
    if style == "traefik" {
        objects.push(ingress_route());
    }
    let gated = dice.random_bool(0.25);
    let skips = dice.random_bool(0.05);
    objects.push(canary(dice, style, gated, skips));

    let mut then = vec![];
    // Without users on the canary nothing can tell a bad release from a good one.
    let kinds: &[&str] =
        if style == "blue-green" { &["good", "good", "never"] } else { &["good", "good", "bad", "never"] };
    for release in 1..=dice.random_range(1..=4) {
        let image = format!("shop/podinfo:{}-{release}", one_of(dice, kinds));
        then.push(json!({ "at": at(dice, 400), "image": { "podinfo": image } }));
    }
    let commands = if dice.random_bool(0.4) { dice.random_range(1..=3) } else { 0 };
    let mut promoted = false;
    for _ in 0..commands {
        let verb = one_of(dice, &["promote", "promote-full", "abort", "pause", "resume", "retry"]);
        promoted |= verb.starts_with("promote");
        then.push(json!({ "at": at(dice, CALM), "command": { "podinfo": verb } }));
    }
    if gated {
        let closed = if dice.random_bool(0.3) { json!("hang") } else { json!(false) };
        then.push(json!({ "at": "1s", "hooks": { "http://gate/": closed } }));
        then.push(json!({ "at": format!("{CALM}s"), "hooks": { "http://gate/": true } }));
    }
    for _ in 0..dice.random_range(0..=2) {
        then.push(json!({ "at": at(dice, CALM), "restart": true }));
    }
    if dice.random_bool(0.3) {
        let manner = if dice.random_bool(0.5) { json!("hang") } else { json!({ "after": at(dice, 20), "says": true }) };
        then.push(json!({ "at": at(dice, CALM), "hooks": { "http://load/": manner } }));
        then.push(json!({ "at": format!("{CALM}s"), "hooks": { "http://load/": true } }));
    }
    if dice.random_bool(0.3) {
        then.extend(clocks(dice));
    }
    then.push(json!({ "at": format!("{}s", CALM + 1), "command": { "podinfo": "resume" } }));

    let faults: Vec<Value> = (0..dice.random_range(0..=3)).map(|_| trouble(dice)).collect();
    let deaths: Vec<u64> = (0..dice.random_range(0..=3)).map(|_| dice.random_range(1..=70)).collect();
    let mut traffic = json!({ "rate": "1200/min" });
    if style == "insiders" {
        traffic["classes"] = json!([{ "name": "insiders", "share": "20%", "headers": { "x-insider": "yes" } }]);
    }
    if style == "blue-green" {
        traffic["service"] = json!({ "namespace": "default", "name": "podinfo" });
    }
    let mut versions = json!({ "1.0.0": { "start": "3s" } });
    for release in 1..=4 {
        versions[format!("good-{release}")] = json!({ "start": "3s" });
        versions[format!("bad-{release}")] = json!({ "start": "3s", "errors": "40%" });
        versions[format!("never-{release}")] = json!({ "readiness": "Never" });
    }
    let mut metrics = json!({ "scrape": "5s" });
    if dice.random_bool(0.2) {
        let from = dice.random_range(30..CALM);
        let kind = one_of(dice, &["Unreachable", "Slow", "Stale"]);
        metrics["outage"] = json!([{ "from": format!("{from}s"), "to": format!("{}s", from + 45), "kind": kind }]);
    }
    let unfit = |kind: &str| (1..=4).map(|release| format!("{kind}-{release}")).collect::<Vec<_>>();
    let unfit = if promoted || skips { vec![] } else { [unfit("bad"), unfit("never")].concat() };
    let (replicas, elected) =
        *[(1, false), (1, false), (1, false), (2, true), (2, false)].choose(dice).expect("the list is not empty");
    let controller = if elected { json!(["--enable-leader-election"]) } else { json!([]) };
    json!({
        "about": format!("chaos {seed}: {style}"), "seed": seed, "objects": objects, "traffic": traffic,
        "versions": versions, "metrics": metrics, "then": then, "faults": faults, "diesAfterWrites": deaths,
        "replicas": replicas, "controller": controller, "unfit": unfit, "within": "2h", "expect": { "mayFail": true },
    })
}

fn deployment(dice: &mut ChaCha8Rng) -> Value {
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "podinfo" },
        "spec": {
            "minReadySeconds": dice.random_range(0..=3), "progressDeadlineSeconds": 60,
            "selector": { "matchLabels": { "app": "podinfo" } },
            "template": {
                "metadata": { "labels": { "app": "podinfo" } },
                "spec": { "containers": [{
                    "name": "podinfod", "image": "shop/podinfo:1.0.0", "ports": [{ "name": "http", "containerPort": 9898 }],
                    "resources": { "requests": { "cpu": "50m" } },
                }] },
            },
        },
    });
    if dice.random_bool(0.5) {
        deployment["spec"]["replicas"] = dice.random_range(1..=3).into();
    }
    deployment
}

fn autoscaler() -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "podinfo" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo" },
            "minReplicas": 2, "maxReplicas": 4,
            "metrics": [{ "type": "Resource",
                "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 90 } } }],
        },
    })
}

fn ingress() -> Value {
    let backend = json!({ "service": { "name": "podinfo", "port": { "number": 80 } } });
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "podinfo" },
        "spec": { "ingressClassName": "nginx", "rules": [{ "host": "podinfo.example.com",
            "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }] },
    })
}

fn ingress_route() -> Value {
    json!({
        "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": { "name": "podinfo" },
        "spec": { "entryPoints": ["web"], "routes": [{ "kind": "Rule", "match": "Host(`podinfo.example.com`)",
            "services": [{ "name": "podinfo", "kind": "TraefikService" }] }] },
    })
}

fn canary(dice: &mut ChaCha8Rng, style: &str, gated: bool, skips: bool) -> Value {
    let provider = match style {
        "traefik" => "traefik",
        "nginx" => "nginx",
        "blue-green" => "kubernetes",
        _ => "gatewayapi:v1",
    };
    let mut analysis = json!({
        "interval": format!("{}s", dice.random_range(10..=20)), "threshold": dice.random_range(1..=3),
        "metrics": [{ "name": "request-success-rate", "interval": "1m", "thresholdRange": { "min": 95 } }],
    });
    match style {
        "insiders" => {
            analysis["iterations"] = dice.random_range(2..=6).into();
            analysis["match"] = json!([{ "headers": { "x-insider": { "exact": "yes" } } }]);
        }
        "blue-green" => {
            analysis["iterations"] = dice.random_range(1..=5).into();
            analysis["metrics"] = json!([]);
        }
        _ => {
            analysis["stepWeight"] = dice.random_range(10..=50).into();
            analysis["maxWeight"] = dice.random_range(50..=100).into();
            if dice.random_bool(0.3) {
                analysis["stepWeightPromotion"] = dice.random_range(20..=60).into();
            }
            if style == "gateway" && dice.random_bool(0.3) {
                analysis["sessionAffinity"] = json!({ "cookieName": "release" });
            } else if (style == "gateway" || style == "traefik") && dice.random_bool(0.4) {
                analysis["judge"] = json!({ "baseline": "Concurrent" });
            }
        }
    }
    let (timeout, retries) = (format!("{}s", dice.random_range(2..=15)), dice.random_range(0..=2));
    let mut hooks = vec![json!({ "name": "load", "type": one_of(dice, &["rollout", "pre-rollout"]),
        "url": "http://load/", "timeout": timeout, "retries": retries })];
    if gated {
        let gate = one_of(dice, &["confirm-rollout", "confirm-promotion", "confirm-traffic-increase"]);
        hooks.push(json!({ "name": "gate", "type": gate, "url": "http://gate/", "timeout": timeout }));
    }
    analysis["webhooks"] = hooks.into();
    let mut spec = json!({
        "provider": provider, "progressDeadlineSeconds": 60, "skipAnalysis": skips,
        "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo" },
        "service": { "port": 80, "targetPort": 9898 }, "analysis": analysis,
    });
    if provider == "gatewayapi:v1" {
        spec["service"]["hosts"] = json!(["podinfo.example.com"]);
        spec["service"]["gatewayRefs"] = json!([{ "name": "public", "namespace": "edge" }]);
    }
    if provider == "nginx" {
        spec["ingressRef"] = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "podinfo" });
    }
    json!({ "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": { "name": "podinfo" }, "spec": spec })
}

/// The controller's clock is set forward and back by up to an hour, and right again in the end.
fn clocks(dice: &mut ChaCha8Rng) -> Vec<Value> {
    let mut off = 0_i64;
    let mut then = Vec::new();
    for _ in 0..dice.random_range(1..=3) {
        let longest = *[30_i64, 300, 3600].choose(dice).expect("the list is not empty");
        let by = dice.random_range(-longest..=longest);
        off += by;
        then.push(json!({ "at": at(dice, CALM), "clock": format!("{by}s") }));
    }
    then.push(json!({ "at": format!("{CALM}s"), "clock": format!("{}s", -off) }));
    then
}

fn trouble(dice: &mut ChaCha8Rng) -> Value {
    let from = dice.random_range(0..CALM);
    let to = from + dice.random_range(5..=120);
    let fault = match dice.random_range(0..8) {
        0 => json!("conflict"),
        1 => json!({ "tooManyRequests": dice.random_range(1..=5) }),
        2 => json!("internal"),
        3 => json!({ "delay": format!("{}ms", dice.random_range(10..=9000)) }),
        4 => json!("unheard"),
        5 => json!("unanswered"),
        6 => json!({ "stale": dice.random_range(1..=40) }),
        _ => json!({ "break": dice.random_range(0..=3) }),
    };
    json!({ "from": format!("{from}s"), "to": format!("{to}s"), "fault": fault,
        "share": format!("{}%", dice.random_range(5..=90)) })
}

fn at(dice: &mut ChaCha8Rng, before: u32) -> String {
    format!("{}ms", dice.random_range(2000..before * 1000))
}

fn one_of<'a>(dice: &mut ChaCha8Rng, of: &[&'a str]) -> &'a str {
    of.choose(dice).copied().unwrap_or_default()
}
