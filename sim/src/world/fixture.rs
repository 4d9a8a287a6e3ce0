//! Objects for tests.

use std::sync::Arc;

use serde_json::{Value, json};

/// Version of what `podinfo-primary` runs.
pub(super) const STABLE: &str = "6.9.0";
/// Version of what `podinfo` runs.
pub(super) const CANARY: &str = "6.9.1";

/// A ready pod in the namespace `shop`, which started at the begin of 2026.
pub(super) fn pod(name: &str, app: &str, version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "labels": {"app": app}},
        "spec": {"containers": [{"name": "podinfod", "image": format!("registry.test:5000/podinfo:{version}")}]},
        "status": {
            "phase": "Running", "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}},
            ],
        },
    })
}

/// A Service of the namespace `shop` before the pods of `app`.
pub(super) fn service(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": app}, "ports": [{"name": "http", "port": 80}]},
    })
}

/// Two pods of the stable version and one of the canary, behind the Services that Serin makes.
pub(super) fn rollout() -> Vec<Value> {
    vec![
        service("podinfo", "podinfo-primary"),
        service("podinfo-primary", "podinfo-primary"),
        service("podinfo-canary", "podinfo"),
        pod("podinfo-primary-6d4b8f9c7d-aaaaa", "podinfo-primary", STABLE),
        pod("podinfo-primary-6d4b8f9c7d-bbbbb", "podinfo-primary", STABLE),
        pod("podinfo-55b8c4d6f9-x7k2p", "podinfo", CANARY),
    ]
}

/// An HTTPRoute of `podinfo` with that much on the canary.
pub(super) fn http_route(weight: u64) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "podinfo", "namespace": "shop"},
        "spec": {"hostnames": ["shop.test"], "rules": [{"backendRefs": [
            {"name": "podinfo-primary", "port": 80, "weight": 100 - weight},
            {"name": "podinfo-canary", "port": 80, "weight": weight},
        ]}]},
    })
}

/// As a store hands them out.
pub(super) fn shared(objects: impl IntoIterator<Item = Value>) -> Vec<Arc<Value>> {
    objects.into_iter().map(Arc::new).collect()
}
