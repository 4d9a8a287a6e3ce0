//! What does not fit a router names the field and the mend.

use controller::routers::Intent;
use serde_json::{Value, json};

use crate::support::Case;

fn message(spec: Value, live: &[Value]) -> String {
    let mut case = Case::new(&spec, Intent { canary_weight: 10, ..Intent::default() });
    case.see(live);
    refusal(&case)
}

fn refusal(case: &Case) -> String {
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
        (
            gateway(json!({"match": [{"uri": {"suffix": ".png"}}]}), json!({"stepWeight": 10})),
            "spec.service.match[0].uri: ",
        ),
        (
            gateway(
                json!({"match": [{"uri": {"prefix": "/"}}, {"method": {"regex": "GET|PUT"}}]}),
                json!({"stepWeight": 10}),
            ),
            "spec.service.match[1].method: ",
        ),
        (
            gateway(json!({"match": [{"headers": {"x-a": {"prefix": "b"}}}]}), json!({"stepWeight": 10})),
            "spec.service.match[0].headers[\"x-a\"]: ",
        ),
        (gateway(json!({"timeout": "1.5s"}), json!({"stepWeight": 10})), "spec.service.timeout: "),
        (gateway(json!({"backendTimeout": "soon"}), json!({"stepWeight": 10})), "spec.service.backendTimeout: "),
        (
            gateway(
                json!({"rewrite": {"uri": "/v2", "type": "ReplacePrefixMatch"}, "match": [{"uri": {"exact": "/a"}}]}),
                json!({"stepWeight": 10}),
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
    let weighted = || spec(json!({"stepWeight": 10}));
    let ab = |matches: Value| spec(json!({"iterations": 1, "match": matches}));
    for (spec, live, start) in [
        (weighted(), None, "Ingress web not found: "),
        (weighted(), Some(ingress("other")), "spec.ingressRef: Ingress web has no backend with the service podinfo"),
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

/// The parser refuses these before; a router says so all the same.
#[test]
fn what_the_parser_refuses_is_no_panic() {
    let mut case = Case::new(&gateway(json!({}), json!({"stepWeight": 10})), Intent::default());
    case.spec.service.gateway_refs.clear();
    assert!(refusal(&case).starts_with("spec.service.gatewayRefs: "));
    case.spec.provider = "nginx".into();
    assert!(refusal(&case).starts_with("spec.ingressRef: "));
}
