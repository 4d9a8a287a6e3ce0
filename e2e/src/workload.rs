//! The workload of the tests, podinfo, and its Canary, as manifests.

use std::time::Duration;

use serde_json::{Value, json};

/// The name of the Deployment, the Service and the Canary in every test's namespace.
pub const NAME: &str = "podinfo";
/// The first release.
pub const V0: &str = "6.0.0";
/// A good next release.
pub const V1: &str = "6.0.1";
/// Another good release.
pub const V2: &str = "6.0.2";
/// A release that answers half of its requests with HTTP 500.
pub const ERRORS: &str = "6.0.1-errors";
/// A release that answers after 600 to 700 ms.
pub const SLOW: &str = "6.0.1-slow";

/// The Deployment at a release. Only the image's tag tells the releases apart; replicas are left to Serin, as in Git.
#[must_use]
pub fn deployment(tag: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": NAME, "labels": {"app": NAME}},
        "spec": {
            "selector": {"matchLabels": {"app": NAME}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "progressDeadlineSeconds": 60,
            "template": {
                "metadata": {
                    "labels": {"app": NAME},
                    "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9797"},
                },
                "spec": {"containers": [{
                    "name": "podinfod",
                    "image": format!("local/podinfo:{tag}"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/podinfo", "--port=9898", "--port-metrics=9797", "--level=info"],
                    "ports": [{"name": "http", "containerPort": 9898}, {"name": "http-metrics", "containerPort": 9797}],
                    // Beside what users ask, since a pod that ends says no to its probes, which would count as failed requests.
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": 9797}, "periodSeconds": 1},
                    // A gateway on a busy machine learns seconds later that a pod ends.
                    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                }]},
            },
        },
    })
}

/// The same as a DaemonSet. There is one node for it, so its new pod must come before the old one goes.
#[must_use]
pub fn daemon_set(tag: &str) -> Value {
    let mut workload = deployment(tag);
    workload["kind"] = "DaemonSet".into();
    if let Some(spec) = workload["spec"].as_object_mut() {
        spec.remove("progressDeadlineSeconds");
        spec.remove("strategy");
    }
    workload["spec"]["updateStrategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    workload
}

/// A Canary of it behind the cluster's Gateway.
#[must_use]
pub fn canary(host: &str, analysis: &Value) -> Value {
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {"name": NAME},
        "spec": {
            "provider": "gatewayapi:v1",
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "progressDeadlineSeconds": 60,
            "service": {
                "port": 80, "targetPort": 9898, "hosts": [host],
                "gatewayRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway", "namespace": "traefik"}],
            },
            "analysis": analysis,
        },
    })
}

/// The analysis interval of the tests, in seconds: two, or what `SERIN_E2E_INTERVAL` says for a controller that has a floor.
#[must_use]
pub fn interval() -> u64 {
    std::env::var("SERIN_E2E_INTERVAL").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(2)
}

/// The time that `count` analysis intervals may take on a busy machine, with pods to start.
#[must_use]
pub fn intervals(count: u64) -> Duration {
    Duration::from_secs(count * interval() + 45)
}

/// An analysis: the tests' interval, a threshold of three, and `more`.
#[must_use]
pub fn analysis(more: &Value) -> Value {
    let mut analysis = json!({"interval": format!("{}s", interval()), "threshold": 3});
    for (key, value) in more.as_object().into_iter().flatten() {
        analysis[key.as_str()] = value.clone();
    }
    analysis
}

/// A webhook of the analysis.
#[must_use]
pub fn webhook(kind: &str, url: &str) -> Value {
    json!({"name": kind, "type": kind, "url": url, "timeout": "2s"})
}

/// The builtin success rate: at least 99 % over the last five seconds.
#[must_use]
pub fn success_rate() -> Value {
    json!({"name": "request-success-rate", "interval": "5s", "thresholdRange": {"min": 99}})
}

/// The builtin duration: 99 % of requests within half a second, over the last five seconds.
#[must_use]
pub fn duration() -> Value {
    json!({"name": "request-duration", "interval": "5s", "thresholdRange": {"max": 500}})
}

/// An HTTPRoute from `host` to a Service of the namespace.
#[must_use]
pub fn route(name: &str, host: &str, backends: &[(&str, u32)]) -> Value {
    let backends: Vec<Value> =
        backends.iter().map(|(name, weight)| json!({"name": name, "port": 80, "weight": weight})).collect();
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"name": "gateway", "namespace": "traefik"}],
            "hostnames": [host],
            "rules": [{"backendRefs": backends}],
        },
    })
}
