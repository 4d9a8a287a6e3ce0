//! Whatever is put into a Canary, it is read or refused.

use std::time::Duration;

use proptest::prelude::*;
use rollout::spec::Strategy as Traffic;
use serde_json::{Value, json};

use super::{patched, read};

/// Any JSON, to be put anywhere.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-2i64..103).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[0-9.]{0,25}(ms|s|m|h|µs|d)?".prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "Deployment",
            "Service",
            "nginx",
            "http://a/",
            "info",
            "1m",
            "a".repeat(300).leak()
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A good Canary with most fields, so that there is much to break.
fn rich() -> Value {
    patched(&json!({"spec": {
        "autoscalerRef": {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo",
                          "primaryScalerReplicas": {"minReplicas": 1, "maxReplicas": 3}},
        "ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "podinfo"},
        "metricsServer": "http://prometheus:9090", "progressDeadlineSeconds": 60, "provider": "gatewayapi:v1",
        "service": {"name": "podinfo", "portName": "http", "targetPort": "web", "match": [{"uri": {"prefix": "/"}}],
                    "mirror": [{"backendRef": {"name": "copy", "port": 80}}], "apex": {"labels": {"a": "b"}}},
        "analysis": {
            "maxWeight": 50, "stepWeightPromotion": 10, "mirror": true, "mirrorWeight": 10, "iterations": 0,
            "match": [{"headers": {"x": {"exact": "y"}}}], "stepWeights": [],
            "metrics": [{"name": "a", "interval": "1m", "thresholdRange": {"min": 1, "max": 2}, "templateRef": {"name": "t"}}],
            "webhooks": [{"name": "a", "url": "http://a/", "type": "event", "timeout": "5s", "retries": 1}],
            "alerts": [{"name": "a", "severity": "info", "providerRef": {"name": "slack"}}],
            "sessionAffinity": {"cookieName": "shop", "maxAge": 5, "path": "/"},
        },
    }}))
}

fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| paths(value, &format!("{path}/{key}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| paths(value, &format!("{path}/{index}"), found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_canary_makes_it_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..4)) {
        let mut canary = rich();
        for (place, value) in changes {
            let mut found = Vec::new();
            paths(&canary, "", &mut found);
            if let Some(slot) = canary.pointer_mut(place.get::<String>(&found)) {
                *slot = value;
            }
        }
        match read(&canary) {
            Ok(spec) => {
                if let Traffic::Canary { weights, .. } = &spec.strategy {
                    prop_assert!(!weights.is_empty() && weights.is_sorted_by(|a, b| a < b));
                    prop_assert!(weights.iter().all(|weight| (1..=100).contains(weight)));
                }
                prop_assert!(spec.threshold >= 1 && spec.interval >= Duration::from_secs(1));
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    prop_assert!(!error.field.is_empty() && !error.mend.is_empty());
                    prop_assert!(error.to_string().chars().count() < 500, "{}", error);
                }
            }
        }
    }
}

#[test]
fn the_rich_canary_is_good() {
    assert_eq!(read(&rich()).map(|spec| spec.metrics.len()), Ok(1));
}
