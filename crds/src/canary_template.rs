//! Templates of Canaries: a platform team writes the policy once, a workload opts in with one annotation.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What the Canary of a workload of this namespace is made from, when the workload is annotated with
/// `serin.dev/canary` and the name of this object.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "serin.dev",
    version = "v1alpha1",
    kind = "CanaryTemplate",
    plural = "canarytemplates",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn = r#"{"name":"Provider","type":"string","jsonPath":".spec.template.provider"}"#,
    printcolumn = r#"{"name":"Interval","type":"string","jsonPath":".spec.template.analysis.interval"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct CanaryTemplateSpec {
    /// What a template may ask of a workload, beside what it knows of each: `name`, `namespace`, `kind`, `port`,
    /// `labels.KEY` and `annotations.KEY`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<TemplateVariable>,
    /// Labels and annotations of the Canary.
    #[serde(default, skip_serializing_if = "TemplateMetadata::is_empty")]
    pub metadata: TemplateMetadata,
    /// The spec of the Canary without `targetRef`. Texts may hold variables, as in `{{ name }}.example.com`; where a
    /// number or a truth value belongs, a text of one variable alone becomes one.
    #[schemars(schema_with = "crate::schema::free_form")]
    pub template: Map<String, Value>,
}

/// As a CanaryTemplate, for workloads of every namespace that has no CanaryTemplate of that name.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "serin.dev",
    version = "v1alpha1",
    kind = "ClusterCanaryTemplate",
    plural = "clustercanarytemplates",
    derive = "Default",
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn = r#"{"name":"Provider","type":"string","jsonPath":".spec.template.provider"}"#,
    printcolumn = r#"{"name":"Interval","type":"string","jsonPath":".spec.template.analysis.interval"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterCanaryTemplateSpec {
    /// As in a CanaryTemplate.
    #[serde(flatten)]
    pub shared: CanaryTemplateSpec,
}

/// Something that workloads may say otherwise, by the annotation `serin.dev/canary-NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateVariable {
    /// Its name; not `name`, `namespace` or `kind`, which are always the workload's.
    #[schemars(regex(pattern = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"))]
    pub name: String,
    /// Its value for workloads that say nothing; without it each has to. May hold what is known of every workload, as
    /// in `{{ name }}.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Labels and annotations of the Canary. Keys by which GitOps operators know their own are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Its labels; values may hold variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its annotations; values may hold variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl TemplateMetadata {
    /// True when it says nothing.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.annotations.is_empty()
    }
}
