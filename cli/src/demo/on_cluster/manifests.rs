//! What the repository of the demo holds: the same image throughout, so that one has to be pulled; releases differ by what they
//! answer, and the bad one by podinfo's own switch for errors.

use super::NAMESPACE;

/// What the releases answer.
pub(super) const FIRST: &str = "first release";
/// The good one.
pub(super) const GOOD: &str = "second release";
/// The one that answers every third request with an error, or does not get ready.
pub(super) const BAD: &str = "third release";

/// How users' requests get to the workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// Through a Gateway, which gives each version its share.
    Gateway {
        /// Of the Gateway.
        namespace: String,
        /// Of the Gateway.
        name: String,
        /// `HOST:PORT`, where the cluster reaches it; unknown when it has told none.
        address: Option<String>,
    },
    /// By Services alone: users meet one version, the checks meet the other.
    Services,
}

/// The name under which users ask the Gateway for the workload.
pub(super) const HOST: &str = "podinfo.serin-demo.example.com";

/// What the manifests depend on.
pub(super) struct Manifests<'a> {
    pub(super) image: &'a str,
    pub(super) way: &'a Way,
    /// `HOST:PORT` of the rollout hook, as the controller reaches it.
    pub(super) hook: String,
    /// A metrics server judges.
    pub(super) by_metrics: bool,
}

impl Manifests<'_> {
    /// The workload.
    pub(super) fn app(&self) -> String {
        let image = self.image;
        format!(
            "# The workload: an ordinary Deployment that knows nothing of canaries.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: podinfo
  namespace: {NAMESPACE}
  labels: {{app: podinfo}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: podinfo}}}}
  template:
    metadata:
      labels: {{app: podinfo}}
      annotations: {{prometheus.io/scrape: \"true\", prometheus.io/port: \"9797\"}}
    spec:
      securityContext: {{runAsNonRoot: true, runAsUser: 10001, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: podinfod
        image: {image}
        command: [./podinfo, --port=9898, --port-metrics=9797, --level=warn]
        env:
        - {{name: PODINFO_UI_MESSAGE, value: {FIRST}}}
        - {{name: PODINFO_RANDOM_ERROR, value: \"false\"}}
        ports: [{{name: http, containerPort: 9898}}, {{name: http-metrics, containerPort: 9797}}]
        readinessProbe: {{tcpSocket: {{port: 9898}}, periodSeconds: 2}}
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        resources: {{requests: {{cpu: 10m, memory: 32Mi}}}}
"
        )
    }

    /// The policy.
    pub(super) fn canary(&self) -> String {
        let (provider, service, steps) = match self.way {
            Way::Gateway { namespace, name, .. } => (
                "gatewayapi:v1",
                format!("\n    hosts: [{HOST}]\n    gatewayRefs: [{{name: {name}, namespace: {namespace}}}]"),
                "stepWeights: [10, 25, 50]",
            ),
            Way::Services => ("kubernetes", String::new(), "iterations: 4"),
        };
        let metrics = if self.by_metrics {
            "\n    metrics:\n    - {name: request-success-rate, interval: 30s, thresholdRange: {min: 99}}"
        } else {
            ""
        };
        let hook = &self.hook;
        format!(
            "# How it is rolled out. Three failed checks take it back.
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {{name: podinfo, namespace: {NAMESPACE}}}
spec:
  provider: {provider}
  targetRef: {{apiVersion: apps/v1, kind: Deployment, name: podinfo}}
  progressDeadlineSeconds: 60
  service:
    port: 80
    targetPort: 9898{service}
  analysis:
    interval: 3s
    threshold: 3
    {steps}{metrics}
    webhooks:
    # The demo itself: it asks the canary's pods and counts what they answer.
    - {{name: answers, type: rollout, url: \"http://{hook}/\", timeout: 10s}}
"
        )
    }
}

/// The edit that makes the bad release of the good one, when its answers can be counted.
pub(super) const BROKEN: (&str, &str) =
    ("PODINFO_RANDOM_ERROR, value: \"false\"", "PODINFO_RANDOM_ERROR, value: \"true\"");
/// The edit that makes it when they cannot: nobody listens there.
pub(super) const NEVER_READY: (&str, &str) = ("tcpSocket: {port: 9898}", "tcpSocket: {port: 9}");

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn they_are_what_the_edits_and_the_parser_expect() {
        let gateway = Way::Gateway { namespace: "edge".into(), name: "public".into(), address: None };
        for (way, by_metrics) in [(&gateway, false), (&gateway, true), (&Way::Services, true), (&Way::Services, false)]
        {
            let manifests = Manifests { image: "podinfo:1", way, hook: "127.0.0.1:7".into(), by_metrics };
            let app: Value = serde_saphyr::from_str(&manifests.app()).expect("YAML");
            assert_eq!(app["spec"]["template"]["spec"]["containers"][0]["image"], "podinfo:1");
            for from in [FIRST, BROKEN.0, NEVER_READY.0] {
                assert_eq!(manifests.app().matches(from).count(), 1, "{from}");
            }
            for (from, to) in [BROKEN, NEVER_READY] {
                serde_saphyr::from_str::<Value>(&manifests.app().replace(from, to)).expect("YAML");
            }
            let canary: crds::Canary = serde_saphyr::from_str(&manifests.canary()).expect("a Canary");
            assert_eq!(!canary.spec.analysis.metrics.is_empty(), by_metrics);
        }
    }
}
