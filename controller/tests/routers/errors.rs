//! What does not fit a router names the field and the mend.

use controller::routers::Intent;
use serde_json::{Value, json};

use crate::support::Case;

fn message(spec: Value, live: &[Value]) -> String {
    let mut case = Case::new(&spec, Intent { canary_weight: 10, ..Intent::default() });
    case.see(live);
    match case.router().render(&case.route(), &case.current) {
        Ok(desired) => panic!("rendered {desired:#?}"),
        Err(error) => error.to_string(),
    }
}

fn gateway(service: Value, analysis: Value) -> Value {
    let mut spec = json!({
        "provider": "gatewayapi:v1", "analysis": analysis,
        "service": {"port": 80, "gatewayRefs": [{"name": "public", "namespace": "edge"}]},
    });
    for (key, value) in service.as_object().expect("fields of the service") {
        spec["service"][key] = value.clone();
    }
    spec
}

#[test]
fn gateway_api_names_the_field() {
    let ab = |matches: Value| gateway(json!({}), json!({"iterations": 1, "match": matches}));
    for (spec, field) in [
        (gateway(json!({"gatewayRefs": []}), json!({})), "spec.service.gatewayRefs: "),
        (gateway(json!({"match": [{"uri": {"suffix": ".png"}}]}), json!({})), "spec.service.match[0].uri: "),
        (
            gateway(json!({"match": [{"uri": {"prefix": "/"}}, {"method": {"regex": "GET|PUT"}}]}), json!({})),
            "spec.service.match[1].method: ",
        ),
        (
            gateway(json!({"match": [{"headers": {"x-a": {"prefix": "b"}}}]}), json!({})),
            "spec.service.match[0].headers[\"x-a\"]: ",
        ),
        (gateway(json!({"timeout": "1.5s"}), json!({})), "spec.service.timeout: "),
        (gateway(json!({"backendTimeout": "soon"}), json!({})), "spec.service.backendTimeout: "),
        (
            gateway(
                json!({"rewrite": {"uri": "/v2", "type": "ReplacePrefixMatch"}, "match": [{"uri": {"exact": "/a"}}]}),
                json!({}),
            ),
            "spec.service.rewrite.type: ",
        ),
        (ab(json!([{"sourceLabels": {"app": "x"}}])), "spec.analysis.match[0]: "),
        (ab(json!([{"queryParams": {"v": {"prefix": "2"}}}])), "spec.analysis.match[0].queryParams[\"v\"]: "),
    ] {
        let message = message(spec, &[]);
        assert!(message.starts_with(field), "{message:?} does not start with {field:?}");
    }
}

#[test]
fn nginx_names_the_object_or_the_field() {
    let spec = |analysis: Value| {
        json!({
            "provider": "nginx", "service": {"port": 80}, "analysis": analysis,
            "ingressRef": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "web"},
        })
    };
    let ingress = |service: &str| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
            "spec": {"rules": [{"host": "bare.example.com"}, {"http": {"paths": [{"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": service, "port": {"number": 80}}}}]}}]},
        })
    };
    let ab = |matches: Value| spec(json!({"iterations": 1, "match": matches}));
    let without_ref = json!({"provider": "nginx", "service": {"port": 80}, "analysis": {}});
    for (spec, live, start) in [
        (without_ref, None, "spec.ingressRef: "),
        (spec(json!({})), None, "Ingress web not found: "),
        (
            spec(json!({})),
            Some(ingress("other")),
            "spec.ingressRef: Ingress web has no backend with the service podinfo",
        ),
        (
            ab(json!([{"headers": {"x-a": {"exact": "1"}}}, {"headers": {"x-b": {"exact": "1"}}}])),
            Some(ingress("podinfo")),
            "spec.analysis.match[1].headers[\"x-b\"]: ",
        ),
        (
            ab(json!([{"headers": {"x-a": {"exact": "1"}}}, {"headers": {"x-a": {"regex": "2+"}}}])),
            Some(ingress("podinfo")),
            "spec.analysis.match[1].headers[\"x-a\"]: ",
        ),
        (
            ab(json!([{"headers": {"cookie": {"regex": ".*always.*"}}}])),
            Some(ingress("podinfo")),
            "spec.analysis.match[0].headers[\"cookie\"]: ",
        ),
        (
            ab(json!([{"queryParams": {"v": {"exact": "2"}}}])),
            Some(ingress("podinfo")),
            "spec.analysis.match[0].queryParams: ",
        ),
        (ab(json!([{"sourceLabels": {"app": "x"}}])), Some(ingress("podinfo")), "spec.analysis.match: "),
    ] {
        let message = message(spec, &live.into_iter().collect::<Vec<_>>());
        assert!(message.starts_with(start), "{message:?} does not start with {start:?}");
    }
}
