//! The kinds of the gateways that Serin's routers speak to, as definitions that accept anything in `spec` and `status`: the
//! routing of the simulated world reads what it knows.

use serde_json::{Value, json};

/// Definitions of Gateway API (v1 and v1beta1) and Traefik, to be applied.
pub fn definitions() -> Vec<Value> {
    let gateway = |kind, plural, versions: &[&str]| definition("gateway.networking.k8s.io", kind, plural, versions);
    let traefik = |kind, plural| definition("traefik.io", kind, plural, &["v1alpha1"]);
    vec![
        gateway("GatewayClass", "gatewayclasses", &["v1", "v1beta1"]),
        gateway("Gateway", "gateways", &["v1", "v1beta1"]),
        gateway("HTTPRoute", "httproutes", &["v1", "v1beta1"]),
        traefik("TraefikService", "traefikservices"),
        traefik("IngressRoute", "ingressroutes"),
    ]
}

/// The first version is the stored one.
fn definition(group: &str, kind: &str, plural: &str, versions: &[&str]) -> Value {
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let versions = versions.iter().enumerate().map(|(position, version)| {
        json!({
            "name": version, "served": true, "storage": position == 0,
            "subresources": { "status": {} },
            "schema": { "openAPIV3Schema": {
                "type": "object", "properties": { "spec": anything, "status": anything },
            } },
        })
    });
    let mut singular = kind.to_owned();
    singular.make_ascii_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            // Groups under k8s.io are protected by this.
            "annotations": { "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api" },
        },
        "spec": {
            "group": group,
            "names": { "kind": kind, "plural": plural, "singular": singular, "listKind": format!("{kind}List") },
            "scope": if kind == "GatewayClass" { "Cluster" } else { "Namespaced" },
            "versions": versions.collect::<Value>(),
        },
    })
}
