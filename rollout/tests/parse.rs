//! What a Canary means, and what is said about one that means nothing.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy as _;
use rollout::parse::{Invalid, from_value, parse};
use rollout::spec::{
    Defaults, HookKind, MetricSource, Mirror, Range, RouterAbility, SessionAffinity, Severity, Spec, Strategy,
    TargetKind,
};
use serde_json::{Value, json};

const ROUTERS: &[RouterAbility] = &[
    RouterAbility { name: "kubernetes", weights: false, matches: false, mirror: false, affinity: false },
    RouterAbility { name: "gatewayapi:v1", weights: true, matches: true, mirror: true, affinity: true },
    RouterAbility { name: "traefik", weights: true, matches: false, mirror: false, affinity: false },
    RouterAbility { name: "nginx", weights: true, matches: true, mirror: false, affinity: false },
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
        other => *into = other.clone(),
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

#[test]
fn malformed_canaries_are_refused_with_field_and_mend() {
    #[derive(serde::Deserialize)]
    struct Case {
        patch: Value,
        field: String,
        says: String,
    }
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("malformed.yaml")).unwrap();
    assert!(cases.len() >= 60);
    let mut surprises = Vec::new();
    for Case { patch, field, says } in cases {
        match read(&patched(&patch)) {
            Ok(_) => surprises.push(format!("{patch} was taken")),
            Err(errors) => {
                let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                let told = errors.len() == 1
                    && errors[0].field == field
                    && text.contains(&says)
                    && !errors[0].mend.is_empty()
                    && !text.ends_with('.');
                if !told {
                    surprises.push(format!("{patch} should say {says:?} of {field}, but says\n{text}"));
                }
            }
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n\n"));
}

#[test]
fn all_errors_come_at_once_and_read_well() {
    let errors = read(&patched(&json!({"spec": {
        "provider": "gatewayap", "progressDeadlineSeconds": 0, "service": {"port": 0},
        "analysis": {"interval": "1d", "stepWeight": null, "stepWeights": [5, 10, 7, 101], "maxWeight": 101},
    }})))
    .unwrap_err();
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    spec.provider: "gatewayap" is not a known router; write one of kubernetes, gatewayapi:v1, traefik, nginx
    spec.service.port: 0 is no port; write a port from 1 to 65535
    spec.progressDeadlineSeconds: 0 seconds cannot be waited; write a whole number from 1 to 31536000
    spec.analysis.interval: "1d" has a unit that is none of ns, us, ms, s, m, h; write a number with a unit (h, m, s, ms), as 30s or 1m30s
    spec.analysis.stepWeights[2]: must be greater than the step before it (10); list strictly increasing percents
    spec.analysis.stepWeights[3]: 101 is no percent from 1 to 100; list strictly increasing percents
    "#);
}

#[test]
fn errors_stay_short_however_long_the_text() {
    let long = "x".repeat(1_000_000);
    for patch in [
        json!({"spec": {"provider": long, "analysis": {"interval": long}}}),
        json!({"spec": {"targetRef": {"name": long, "kind": long}}}),
        json!({"spec": {"targetRef": long}}),
        json!({"status": {"phase": long}}),
        json!({"kind": long}),
        json!({"spec": {"analysis": {"match": [{"headers": {long.clone(): {"exact": "a", "prefix": "b"}}}]}}}),
        json!({"spec": {"analysis": {"match": [{"headers": {long.clone(): 5}}]}}}),
        json!({"spec": {"analysis": {"webhooks": [{"name": "a", "url": long}]}}}),
    ] {
        for error in read(&patched(&patch)).unwrap_err() {
            assert!(error.to_string().chars().count() < 500, "{}", error.to_string().len());
        }
    }
}

#[test]
fn schedules_never_overshoot() {
    for (patch, expected) in [
        (json!({"stepWeight": 10, "maxWeight": 50}), vec![10, 20, 30, 40, 50]),
        (json!({"stepWeight": 20, "maxWeight": 50}), vec![20, 40, 50]),
        (json!({"stepWeight": 60, "maxWeight": 50}), vec![50]),
        (json!({"stepWeight": 50}), vec![50, 100]),
        (json!({"stepWeight": 30, "maxWeight": 0}), vec![30, 60, 90, 100]),
        (json!({"stepWeight": 100}), vec![100]),
        (json!({"stepWeight": 10.0, "maxWeight": 20.0}), vec![10, 20]),
        (json!({"stepWeight": null, "stepWeights": [1, 2, 50], "maxWeight": 1000}), vec![1, 2, 50]),
        (json!({"stepWeight": 0, "stepWeights": [5]}), vec![5]),
    ] {
        let Strategy::Canary { weights, .. } = analysis(patch.clone()).unwrap().strategy else { panic!("{patch}") };
        assert_eq!(weights, expected, "{patch}");
    }
    let Strategy::Canary { weights, .. } = analysis(json!({"stepWeight": 1})).unwrap().strategy else { panic!() };
    assert_eq!(weights, (1..=100).collect::<Vec<u8>>());
}

#[test]
fn strategies_follow_iterations_match_and_router() {
    let matches = json!([{"headers": {"x-canary": {"exact": "insider"}}}]);
    let spec = analysis(json!({"stepWeight": null, "iterations": 5, "match": matches})).unwrap();
    assert_eq!(spec.strategy.as_str(), "ab-testing");
    let spec = analysis(json!({"stepWeight": null, "iterations": 5, "mirror": true})).unwrap();
    assert_eq!(spec.strategy, Strategy::BlueGreen { iterations: 5, mirror: Some(Mirror { percent: 100 }) });
    let spec = analysis(json!({"stepWeightPromotion": 20, "mirror": true, "mirrorWeight": 30})).unwrap();
    let Strategy::Canary { promotion_step, mirror, .. } = spec.strategy else { panic!() };
    assert_eq!((promotion_step, mirror), (Some(20), Some(Mirror { percent: 30 })));

    let spec = analysis(json!({"match": matches})).unwrap();
    assert_eq!(spec.strategy.as_str(), "canary");
    assert_eq!(spec.warnings, ["spec.analysis.match: ignored without iterations, which A/B testing needs"]);
    let spec = analysis(json!({"iterations": 3})).unwrap();
    assert_eq!(spec.strategy, Strategy::BlueGreen { iterations: 3, mirror: None });
    assert_eq!(spec.warnings.len(), 1, "{:?}", spec.warnings);
}

#[test]
fn the_kubernetes_router_checks_ten_times_without_traffic() {
    let read = |analysis: Value| {
        let spec = read(&patched(&json!({"spec": {"provider": null, "analysis": analysis}}))).unwrap();
        assert_eq!(spec.provider, "kubernetes");
        (spec.strategy, spec.warnings.len())
    };
    assert_eq!(read(json!({})), (Strategy::BlueGreen { iterations: 10, mirror: None }, 1));
    assert_eq!(read(json!({"stepWeight": null})), (Strategy::BlueGreen { iterations: 10, mirror: None }, 1));
    let matches = json!([{"headers": {"x-canary": {"exact": "insider"}}}]);
    let blue_green = Strategy::BlueGreen { iterations: 4, mirror: None };
    assert_eq!(read(json!({"iterations": 4, "match": matches})), (blue_green.clone(), 1));
    assert_eq!(read(json!({"iterations": 4, "mirror": true})), (blue_green.clone(), 1));
    assert_eq!(read(json!({"iterations": 4, "sessionAffinity": {"cookieName": "shop"}})), (blue_green, 1));
}

#[test]
fn what_a_router_cannot_do_is_ignored_with_a_warning() {
    let patch = json!({"spec": {"provider": "traefik", "analysis": {
        "mirror": true, "sessionAffinity": {"cookieName": "shop"}}}});
    let spec = read(&patched(&patch)).unwrap();
    assert_eq!(spec.affinity, None);
    assert_eq!(
        spec.warnings,
        [
            "spec.analysis.mirror: the traefik router cannot copy traffic; ignored (routers that can: gatewayapi:v1)",
            "spec.analysis.sessionAffinity: the traefik router cannot keep users by cookie; ignored (routers that can: \
             gatewayapi:v1)",
        ]
    );
}

#[test]
fn skip_analysis_needs_no_steps() {
    let spec = read(&patched(&json!({"spec": {"skipAnalysis": true, "analysis": {"stepWeight": null}}}))).unwrap();
    assert!(spec.skip_analysis);
    assert_eq!(spec.strategy.as_str(), "canary");
}

#[test]
fn defaults_are_those_of_the_api() {
    let spec = analysis(json!({"interval": null, "threshold": null})).unwrap();
    assert_eq!(spec.interval, Duration::from_secs(60));
    assert_eq!(spec.threshold, 1);
    assert_eq!((spec.primary_ready_percent, spec.canary_ready_percent), (100, 100));
    assert_eq!(spec.progress_deadline, Duration::from_secs(600));
    assert_eq!(spec.service_name, "podinfo");
    assert_eq!(analysis(json!({"threshold": -3})).unwrap().threshold, 1);
    assert_eq!(analysis(json!({"interval": ""})).unwrap().interval, Duration::from_secs(60));
    assert_eq!(analysis(json!({"interval": "1m30s"})).unwrap().interval, Duration::from_secs(90));

    let spec = analysis(json!({"interval": "500ms"})).unwrap();
    assert_eq!(spec.interval, Duration::from_secs(1));
    assert_eq!(spec.warnings.len(), 1);
}

#[test]
fn metrics_take_ranges_before_thresholds() {
    let spec = analysis(json!({"metrics": [
        {"name": "request-success-rate", "thresholdRange": {"min": 99}, "threshold": 50, "interval": "30s"},
        {"name": "request-success-rate", "threshold": 98.5},
        {"name": "request-duration", "threshold": 500},
        {"name": "errors", "query": "sum(errors)"},
        {"name": "errors", "templateRef": {"name": "errors"}, "templateVariables": {"code": "5.."}, "interval": ""},
        {"name": "near", "templateRef": {"name": "errors", "namespace": "test"}, "threshold": 1},
    ]}))
    .unwrap();
    let found: Vec<_> =
        spec.metrics.iter().map(|metric| (metric.name.as_str(), metric.range, metric.interval_text.as_str())).collect();
    let range = |min, max| Range { min, max };
    assert_eq!(
        found,
        [
            ("request-success-rate", range(Some(99.0), None), "30s"),
            ("request-success-rate", range(Some(98.5), None), "1m"),
            ("request-duration", range(None, Some(500.0)), "1m"),
            ("errors", range(None, Some(0.0)), "1m"),
            ("errors", range(None, Some(0.0)), "1m"),
            ("near", range(None, Some(1.0)), "1m"),
        ]
    );
    assert_eq!(spec.metrics[4].interval, Duration::from_secs(60));
    let MetricSource::Template { namespace, name, variables } = &spec.metrics[4].source else { panic!() };
    assert_eq!((namespace.as_str(), name.as_str(), variables["code"].as_str()), ("test", "errors", "5.."));
    assert_eq!(spec.warnings.len(), 2, "{:?}", spec.warnings);
}

#[test]
fn a_metric_with_several_sources_is_several_checks() {
    let spec = analysis(json!({"metrics": [
        {"name": "request-duration", "templateRef": {"name": "latency"}, "thresholdRange": {"max": 500}},
    ]}))
    .unwrap();
    assert_eq!(spec.metrics.len(), 2);
    assert_eq!(spec.metrics[0].source, MetricSource::Duration);
    assert!(matches!(spec.metrics[1].source, MetricSource::Template { .. }));
    assert_eq!(spec.warnings.len(), 1);
}

#[test]
fn webhooks_and_alerts_have_documented_defaults() {
    let spec = analysis(json!({
        "webhooks": [
            {"name": "load", "url": "http://loadtester.test/", "type": ""},
            {"name": "gate", "url": "https://gate.test/", "type": "confirm-promotion", "timeout": "1m30s", "retries": 3,
             "muteAlert": true, "disableTLS": true, "metadata": {"cmd": "x"}},
            {"name": "told", "url": "http://told.test/", "type": "event"},
        ],
        "alerts": [
            {"name": "a", "providerRef": {"name": "slack"}, "severity": ""},
            {"name": "b", "providerRef": {"name": "slack"}, "severity": "error"},
        ],
    }))
    .unwrap();
    let load = &spec.webhooks[0];
    assert_eq!((load.kind, load.timeout, load.retries), (HookKind::Rollout, Duration::from_secs(10), 0));
    let gate = &spec.webhooks[1];
    assert_eq!((gate.kind, gate.timeout, gate.retries), (HookKind::ConfirmPromotion, Duration::from_secs(90), 3));
    assert!(gate.mute_alert && gate.disable_tls);
    assert_eq!(spec.webhooks[2].kind, HookKind::Event);
    // BUG in Flagger: an alert without severity is told nothing, against its documentation.
    assert_eq!((spec.alerts[0].severity, spec.alerts[0].provider_namespace.as_str()), (Severity::Info, "test"));
    assert_eq!(spec.alerts[1].severity, Severity::Error);
}

#[test]
fn cookie_attributes_stand_in_the_order_of_the_contract() {
    let spec = analysis(json!({"sessionAffinity": {
        "cookieName": "shop", "primaryCookieName": "stay", "maxAge": 0, "secure": true, "sameSite": "Strict",
        "path": "/", "partitioned": true, "httpOnly": true, "domain": "shop.example.com"}}))
    .unwrap();
    assert_eq!(
        spec.affinity.unwrap(),
        SessionAffinity {
            cookie_name: "shop".into(),
            primary_cookie_name: Some("stay".into()),
            max_age: 86_400,
            attributes: "Domain=shop.example.com; HttpOnly; Partitioned; Path=/; SameSite=Strict; Secure".into(),
        }
    );
}

#[test]
fn references_into_other_namespaces_are_refused_only_where_configured() {
    let canary = patched(&json!({"spec": {"analysis": {"metrics": [
        {"name": "a", "templateRef": {"name": "latency", "namespace": "monitoring"}, "threshold": 1}]}}}));
    let canary = from_value(&canary).unwrap();
    assert!(parse(&canary, &defaults()).is_err());
    let spec = parse(&canary, &Defaults { no_cross_namespace_refs: false, ..defaults() }).unwrap();
    let MetricSource::Template { namespace, .. } = &spec.metrics[0].source else { panic!() };
    assert_eq!(namespace, "monitoring");
}

#[test]
fn the_weighted_fixtures_share_one_meaning() {
    for (name, provider) in
        [("gatewayapi", "gatewayapi:v1"), ("gatewayapi-session", "gatewayapi:v1"), ("traefik", "traefik")]
    {
        let spec = fixture(name);
        assert_eq!(spec.provider, provider);
        assert_eq!(spec.target.kind, TargetKind::Deployment);
        assert_eq!(spec.autoscaler.as_ref().unwrap().name, "podinfo");
        assert_eq!((spec.interval, spec.threshold), (Duration::from_secs(10), 3));
        assert_eq!(spec.progress_deadline, Duration::from_secs(60));
        assert_eq!(spec.strategy, Strategy::Canary { weights: vec![25, 50], promotion_step: None, mirror: None });
        assert_eq!(spec.webhooks.len(), 1);
        assert_eq!(spec.webhooks[0].kind, HookKind::ConfirmPromotion);
        assert!(spec.service.port_discovery);
        assert!(spec.warnings.is_empty(), "{:?}", spec.warnings);
    }
    let affinity = fixture("gatewayapi-session").affinity.unwrap();
    assert_eq!(
        (affinity.cookie_name.as_str(), affinity.max_age, affinity.attributes.as_str()),
        ("shop-canary", 3600, "")
    );
}

#[test]
fn the_other_fixtures_have_their_strategies() {
    let Strategy::AbTesting { iterations, matches } = fixture("gatewayapi-ab").strategy else { panic!() };
    assert_eq!((iterations, matches.len()), (2, 2));
    assert_eq!(matches[0].headers["x-canary"].exact.as_deref(), Some("insider"));

    let spec = fixture("kubernetes");
    assert_eq!(spec.strategy, Strategy::BlueGreen { iterations: 2, mirror: None });
    assert!(spec.warnings.is_empty());

    let spec = fixture("nginx");
    assert_eq!(spec.ingress.as_deref(), Some("podinfo"));
    let weights = vec![30, 31, 32, 33, 34, 35];
    assert_eq!(spec.strategy, Strategy::Canary { weights, promotion_step: None, mirror: None });
}

/// Any JSON, to be put anywhere.
fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
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
                if let Strategy::Canary { weights, .. } = &spec.strategy {
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
