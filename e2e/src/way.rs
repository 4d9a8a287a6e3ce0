//! The ways from users to the workload: the routers that Serin steers, each with what a user writes beside the Canary.

use serde_json::{Value, json};

use crate::Scene;
use crate::workload::{self, NAME};

/// The share of good answers among those that the canary behind an Ingress gave, in percent, as Traefik counts them: the
/// builtin queries ask for metrics that only Ingress-NGINX itself has.
const ANSWERS: &str = "\
    100 * sum(rate(traefik_service_requests_total{service=~\"{{ namespace }}-{{ ingress }}-.+-canary@.+\",code!~\"5..\"}[{{ interval }}])) \
    / sum(rate(traefik_service_requests_total{service=~\"{{ namespace }}-{{ ingress }}-.+-canary@.+\"}[{{ interval }}]))";

/// Who moves the users, by the Canary's `spec.provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// An HTTPRoute that Serin makes.
    Gateway,
    /// The same, asked for in its older version.
    GatewayV1Beta1,
    /// A TraefikService to which the user's IngressRoute points.
    Traefik,
    /// A copy of the user's Ingress, steered by annotations. Here Traefik reads them as Ingress-NGINX does.
    Nginx,
    /// Services alone: what leads to them is the user's own and stays as it is.
    Services,
}

impl Way {
    /// The Canary of the workload on this way.
    #[must_use]
    pub fn canary(self, scene: &Scene, analysis: &Value) -> Value {
        let mut canary = workload::canary(&scene.host, analysis);
        let spec = &mut canary["spec"];
        spec["provider"] = self.provider().into();
        match self {
            Self::Gateway | Self::GatewayV1Beta1 => {}
            Self::Traefik | Self::Nginx | Self::Services => {
                spec["service"] = json!({"port": 80, "targetPort": 9898});
            }
        }
        if self == Self::Nginx {
            spec["ingressRef"] = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": NAME});
        }
        canary
    }

    /// What the user has written, and Serin does not make.
    #[must_use]
    pub fn objects(self, scene: &Scene) -> Vec<Value> {
        let host = &scene.host;
        match self {
            Self::Gateway | Self::GatewayV1Beta1 => Vec::new(),
            Self::Traefik => vec![json!({
                "apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute",
                "metadata": {"name": NAME},
                "spec": {"entryPoints": ["web"], "routes": [{
                    "match": format!("Host(`{host}`)"), "kind": "Rule",
                    "services": [{"name": NAME, "kind": "TraefikService"}],
                }]},
            })],
            Self::Nginx => vec![
                json!({
                    "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
                    "metadata": {"name": NAME},
                    "spec": {"ingressClassName": "nginx", "rules": [{"host": host, "http": {"paths": [{
                        "path": "/", "pathType": "Prefix",
                        "backend": {"service": {"name": NAME, "port": {"number": 80}}},
                    }]}}]},
                }),
                json!({
                    "apiVersion": "flagger.app/v1beta1", "kind": "MetricTemplate",
                    "metadata": {"name": "answers"},
                    "spec": {"provider": {"type": "prometheus", "address": scene.cluster.prometheus()}, "query": ANSWERS},
                }),
            ],
            Self::Services => vec![workload::route("shop", host, &[(NAME, 1)])],
        }
    }

    /// The success rate of the canary, at least 99 %, as it is measured on this way.
    #[must_use]
    pub fn success_rate(self) -> Value {
        let mut metric = workload::success_rate();
        match self {
            Self::Gateway | Self::GatewayV1Beta1 | Self::Traefik | Self::Services => {}
            Self::Nginx => {
                metric["name"] = "answers".into();
                metric["templateRef"] = json!({"name": "answers"});
            }
        }
        metric
    }

    fn provider(self) -> &'static str {
        match self {
            Self::Gateway => "gatewayapi:v1",
            Self::GatewayV1Beta1 => "gatewayapi:v1beta1",
            Self::Traefik => "traefik",
            Self::Nginx => "nginx",
            Self::Services => "kubernetes",
        }
    }
}
