//! The Canary: which workload, how traffic moves, and how the new revision is judged.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AnalysisPlan, CanaryService, CanaryStatus, GitPolicy, JudgePolicy, MatchRequest, Worse, number};

/// How changes of a workload are rolled out.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "flagger.app",
    version = "v1beta1",
    kind = "Canary",
    plural = "canaries",
    namespaced,
    status = "CanaryStatus",
    category = "all",
    derive = "Default",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn = r#"{"name":"Status","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Weight","type":"string","jsonPath":".status.canaryWeight"}"#,
    printcolumn = r#"{"name":"Suspended","type":"boolean","jsonPath":".spec.suspend","priority":1}"#,
    printcolumn = r#"{"name":"FailedChecks","type":"string","jsonPath":".status.failedChecks","priority":1}"#,
    printcolumn = r#"{"name":"Interval","type":"string","jsonPath":".spec.analysis.interval","priority":1}"#,
    printcolumn = r#"{"name":"Mirror","type":"boolean","jsonPath":".spec.analysis.mirror","priority":1}"#,
    printcolumn = r#"{"name":"StepWeight","type":"string","jsonPath":".spec.analysis.stepWeight","priority":1}"#,
    printcolumn = r#"{"name":"StepWeights","type":"string","jsonPath":".spec.analysis.stepWeights","priority":1}"#,
    printcolumn = r#"{"name":"MaxWeight","type":"string","jsonPath":".spec.analysis.maxWeight","priority":1}"#,
    printcolumn = r#"{"name":"LastTransitionTime","type":"string","jsonPath":".status.lastTransitionTime"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct CanarySpec {
    /// Router that steers the traffic; the controller's own setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [
        "apisix", "appmesh", "appmesh:v1beta2", "contour", "gatewayapi:v1", "gatewayapi:v1beta1", "gloo", "istio",
        "knative", "kubernetes", "kuma", "linkerd", "nginx", "osm", "skipper", "smi:v1alpha1", "smi:v1alpha2",
        "smi:v1alpha3", "traefik",
    ]))]
    pub provider: Option<String>,
    /// URL of the Prometheus that builtin and inline queries ask; the controller's own setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_server: Option<String>,
    /// Seconds that pods may take to become ready; 600 when absent.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub progress_deadline_seconds: Option<i64>,
    /// The workload that users change.
    #[schemars(transform = crate::schema::target_kinds)]
    pub target_ref: ObjectReference,
    /// The autoscaler of the target; the primary gets a copy of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler_ref: Option<AutoscalerReference>,
    /// The Ingress that the nginx and skipper routers copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = crate::schema::ingress_kinds)]
    pub ingress_ref: Option<ObjectReference>,
    /// The route that the apisix router copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = crate::schema::route_kinds)]
    pub route_ref: Option<ObjectReference>,
    /// The Upstream whose settings the gloo router copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = crate::schema::upstream_kinds)]
    pub upstream_ref: Option<UpstreamReference>,
    /// The Services and routes to make.
    #[serde(default, skip_serializing_if = "CanaryService::is_unset")]
    pub service: CanaryService,
    /// Promote without analysis.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_analysis: bool,
    /// Give the target back when the Canary is deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revert_on_deletion: bool,
    /// Do nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// How the new revision is judged.
    pub analysis: CanaryAnalysis,
    /// Serin: what happens in Git when a revision is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitPolicy>,
}

/// An object in the namespace of the Canary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// `group/version`.
    pub api_version: String,
    /// Kind as written in manifests.
    pub kind: String,
    /// Name of the object.
    pub name: String,
}

/// The autoscaler of the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerReference {
    /// `group/version`.
    pub api_version: String,
    /// HorizontalPodAutoscaler or ScaledObject.
    #[schemars(extend("enum" = ["HorizontalPodAutoscaler", "ScaledObject"]))]
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Queries of the primary's ScaledObject, by trigger name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub primary_scaler_queries: BTreeMap<String, String>,
    /// Replica bounds of the primary's autoscaler, where they differ from the target's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_scaler_replicas: Option<ScalerReplicas>,
}

/// Replica bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalerReplicas {
    /// Fewest replicas; at least 1.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_positive_integer")]
    pub min_replicas: Option<i64>,
    /// Most replicas; at least 1.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_positive_integer")]
    pub max_replicas: Option<i64>,
}

/// A Gloo Upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamReference {
    /// `group/version`.
    pub api_version: String,
    /// Kind as written in manifests.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Its namespace; the Canary's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// How the new revision is judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryAnalysis {
    /// Time between two looks, as `30s` or `1m30s`; 60s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_duration")]
    pub interval: Option<String>,
    /// Failed checks that end the rollout; 1 when 0 or less.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub threshold: Option<i64>,
    /// Checks before promotion, for A/B testing (with `match`) and blue/green (without).
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub iterations: Option<i64>,
    /// Percent where promotion begins; 100 when absent. Not used with `stepWeights`.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub max_weight: Option<i64>,
    /// Percent added to the canary's share at each look.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub step_weight: Option<i64>,
    /// The canary's shares one after the other, in percent; promotion begins at the last.
    #[serde(default, deserialize_with = "number::list", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "number::list_schema")]
    pub step_weights: Vec<i64>,
    /// Percent by which traffic goes back to the primary per look; at once when absent.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub step_weight_promotion: Option<i64>,
    /// Send the canary a copy of the traffic before it gets any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mirror: bool,
    /// Percent of the requests that is copied; 100 when absent.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub mirror_weight: Option<i64>,
    /// Percent of the primary's replicas that must be available; 100 when absent.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub primary_ready_threshold: Option<i64>,
    /// Percent of the canary's replicas that must be available; 100 when absent.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub canary_ready_threshold: Option<i64>,
    /// Who sees the canary in A/B testing: any of these.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub match_: Vec<MatchRequest>,
    /// Checks made at every look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<CanaryMetric>,
    /// Who is told; the controller's own channel when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<CanaryAlert>,
    /// Hooks and gates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<CanaryWebhook>,
    /// Keep users where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    /// Serin: how samples become a verdict; by `thresholdRange`, as Flagger has it, when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgePolicy>,
    /// Serin: who says how traffic moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<AnalysisPlan>,
    /// Serin: how many requests of users a bad canary may fail before it is found out: the shares of `plan: auto` are that small.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub failed_request_budget: Option<i64>,
}

/// A check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryMetric {
    /// `request-success-rate`, `request-duration`, or any name for a query of one's own.
    pub name: String,
    /// Window of the query, as `30s` or `1m30s`; 1m when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_duration")]
    pub interval: Option<String>,
    /// Deprecated: least success rate in percent, or largest value of any other metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub threshold: Option<f64>,
    /// Accepted values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_range: Option<ThresholdRange>,
    /// Deprecated: PromQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A MetricTemplate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<CrossNamespaceReference>,
    /// Values for `{{ variables.key }}` in the template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template_variables: BTreeMap<String, String>,
    /// Serin: the smallest difference that matters, in the metric's own unit: percent of the requests for `request-success-rate`,
    /// milliseconds for `request-duration`. `Sequential` and `MannWhitney` need this or `smallestEffectPercent`; the larger counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub smallest_effect: Option<f64>,
    /// Serin: the smallest difference that matters, in percent of what the canary is compared with: 100 is twice as many failed requests
    /// (not twice the success rate), or twice the latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub smallest_effect_percent: Option<f64>,
    /// Serin: what the canary is compared with instead of the primary or the baseline, in the metric's own unit; with `baseline: None`
    /// the bound of `thresholdRange` when absent. For `Sequential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub objective: Option<f64>,
    /// Serin: which quantile of `request-duration` is judged, above 0 and below 1; 0.99 when absent. For `Sequential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub quantile: Option<f64>,
    /// Serin: which way a metric of one's own is worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worse: Option<Worse>,
}

/// Accepted values, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThresholdRange {
    /// Smallest accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub min: Option<f64>,
    /// Largest accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub max: Option<f64>,
}

/// An object in this or another namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrossNamespaceReference {
    /// Name of the object.
    pub name: String,
    /// Its namespace; the Canary's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Who is told of what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryAlert {
    /// Any name.
    pub name: String,
    /// Least severity that is told; `info` when absent or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["", "info", "warn", "error"]))]
    pub severity: Option<String>,
    /// The AlertProvider.
    pub provider_ref: CrossNamespaceReference,
}

/// A hook or gate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryWebhook {
    /// Any name.
    pub name: String,
    /// When it is called; `rollout` when absent or empty.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [
        "", "confirm-rollout", "pre-rollout", "rollout", "confirm-promotion", "post-rollout", "event", "rollback",
        "confirm-traffic-increase",
    ]))]
    pub type_: Option<String>,
    /// Tell nobody that the gate is closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mute_alert: bool,
    /// Where it is called: http or https.
    pub url: String,
    /// For one attempt, as `30s`; 10s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_duration")]
    pub timeout: Option<String>,
    /// Further attempts; 0 when absent.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "number::optional_schema")]
    pub retries: Option<i64>,
    /// Do not verify the server's certificate.
    #[serde(default, rename = "disableTLS", skip_serializing_if = "std::ops::Not::not")]
    pub disable_tls: bool,
    /// Sent along.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// Keep users where they are by a cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionAffinity {
    /// Name of the cookie of users on the canary.
    pub cookie_name: String,
    /// Name of the cookie of users on the primary; they get none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_cookie_name: Option<String>,
    /// Host that gets the cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Hide the cookie from scripts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub http_only: bool,
    /// Seconds that the cookie lives; 86400 when absent.
    #[serde(default, deserialize_with = "number::optional", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::cookie_max_age")]
    pub max_age: Option<i64>,
    /// Store the cookie apart for each top-level site.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partitioned: bool,
    /// Path that a request must have to carry the cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Strict, Lax or None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Strict", "Lax", "None"]))]
    pub same_site: Option<String>,
    /// Send the cookie over https only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secure: bool,
}
