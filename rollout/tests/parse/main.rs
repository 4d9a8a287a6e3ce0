//! What a Canary means, and what is said about one that means nothing.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod judge;
mod meaning;
mod mutations;
mod refusals;

use std::time::Duration;

use rollout::parse::{Invalid, from_value, parse};
use rollout::spec::{Defaults, RouterAbility, Spec};
use serde_json::{Value, json};

const ROUTERS: &[RouterAbility] = &[
    RouterAbility {
        name: "kubernetes",
        weights: false,
        matches: false,
        mirror: false,
        affinity: false,
        baseline: false,
    },
    RouterAbility { name: "gatewayapi:v1", weights: true, matches: true, mirror: true, affinity: true, baseline: true },
    RouterAbility { name: "traefik", weights: true, matches: false, mirror: false, affinity: false, baseline: true },
    RouterAbility { name: "nginx", weights: true, matches: true, mirror: false, affinity: false, baseline: false },
];

fn defaults() -> Defaults<'static> {
    Defaults {
        provider: "kubernetes",
        routers: ROUTERS,
        min_interval: Duration::from_secs(1),
        no_cross_namespace_refs: true,
    }
}

fn good() -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "metadata": {"name": "podinfo", "namespace": "test"},
        "spec": {
            "provider": "gatewayapi:v1",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
            "service": {"port": 80, "gatewayRefs": [{"name": "gateway"}]},
            "analysis": {"interval": "30s", "threshold": 5, "stepWeight": 10},
        },
    })
}

fn patched(patch: &Value) -> Value {
    let mut canary = good();
    merge(&mut canary, patch);
    canary
}

/// JSON merge patch.
fn merge(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !into.is_object() {
                *into = json!({});
            }
            for (key, value) in fields {
                if value.is_null() {
                    into.as_object_mut().unwrap().remove(key);
                } else {
                    merge(&mut into[key], value);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => *into = patch.clone(),
    }
}

fn read(canary: &Value) -> Result<Spec, Vec<Invalid>> {
    parse(&from_value(canary).map_err(|invalid| vec![invalid])?, &defaults())
}

fn analysis(patch: Value) -> Result<Spec, Vec<Invalid>> {
    read(&patched(&json!({"spec": {"analysis": patch}})))
}

fn fixture(name: &str) -> Spec {
    let folder = format!("{}/../tests/fixtures/flagger-objects/{name}", env!("CARGO_MANIFEST_DIR"));
    let path = ["canary.yaml", "canary.json"].map(|file| format!("{folder}/{file}"));
    let path = path.iter().find(|path| std::path::Path::new(path).exists()).unwrap();
    let mut canary: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    canary["metadata"]["namespace"] = json!("shop");
    read(&canary).unwrap()
}
