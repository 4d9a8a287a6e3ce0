//! The CanaryRun: one rollout as it was decided, so that every decision can be had again.

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::schema::free_form;
use crate::{CommandTaken, Phase, Source, WaitingFor};

/// Label of a CanaryRun: the name of its Canary, or a checksum of it where that is longer than a label may be.
pub const CANARY_LABEL: &str = "serin.dev/canary";

/// The record of one rollout: what was asked and answered, what was decided and why. The controller alone writes it, and
/// only adds to it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "serin.dev",
    version = "v1alpha1",
    kind = "CanaryRun",
    plural = "canaryruns",
    namespaced,
    derive = "PartialEq",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn = r#"{"name":"Canary","type":"string","jsonPath":".spec.canary"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".spec.phase"}"#,
    printcolumn = r#"{"name":"Begun","type":"date","jsonPath":".spec.begun"}"#,
    printcolumn = r#"{"name":"Commit","type":"string","jsonPath":".spec.source.commit","priority":1}"#,
    printcolumn = r#"{"name":"Revision","type":"string","jsonPath":".spec.revision","priority":1}"#
)]
#[serde(rename_all = "camelCase")]
pub struct CanaryRunSpec {
    /// Name of the Canary.
    pub canary: String,
    /// The revision (template and tracked configs) that was rolled out.
    pub revision: String,
    /// Where the revision comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// When the rollout began.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub begun: Timestamp,
    /// Where the rollout stands, or how it ended.
    pub phase: Phase,
    /// Seconds that the controller gives requests to leave the canary before they count as gone.
    #[serde(default)]
    pub drain_seconds: u32,
    /// The policy as it was, and as it was changed under way.
    #[serde(default)]
    pub policies: Vec<RunPolicy>,
    /// The queries that samples name by their place in this list.
    #[serde(default)]
    pub queries: Vec<String>,
    /// Entries that were left out behind the first, for the record to stay small.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub truncated: u32,
    /// What happened, in the order of time.
    #[serde(default)]
    pub entries: Vec<RunEntry>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A policy that a rollout was judged by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunPolicy {
    /// From when on; the first from the beginning.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// `provider`, `targetRef`, `skipAnalysis`, `progressDeadlineSeconds` and `analysis` of the Canary, without whom it alerts
    /// and without what its hooks are sent.
    #[schemars(schema_with = "free_form")]
    pub spec: Map<String, Value>,
}

/// One decision: what it rests on, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunEntry {
    /// When it was taken.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// Who took it had just started and remembered nothing of what is not in the status.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// A gap: what led here was not written down, and this is what the status said afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gap: bool,
    /// The controller's clock was set by so much since the entry before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_set_nanoseconds: Option<i64>,
    /// A command was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandTaken>,
    /// The canary was looked at: hooks and metrics were asked where there are any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub looked: bool,
    /// Until when the canary had traffic before this rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub former_traffic_time: Option<Timestamp>,
    /// Since when a metric could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub unavailable_since: Option<Timestamp>,
    /// What hooks answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<RunHook>,
    /// What metrics servers answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<RunSample>,
    /// The phase after it.
    pub phase: Phase,
    /// Percent of the traffic meant for the canary after it.
    #[serde(default)]
    pub weight: i32,
    /// Iterations done after it.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub iterations: i32,
    /// Failed checks after it.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub failed_checks: i32,
    /// The canary receives a copy of the traffic after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mirrored: bool,
    /// The rollout is held by a command after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// What was told, with the reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
    /// Why nothing moves after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
}

fn is_none_yet(count: &i32) -> bool {
    *count == 0
}

/// The answer of a hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunHook {
    /// Name of the webhook.
    pub name: String,
    /// Its type, as written in the Canary.
    #[serde(rename = "type")]
    pub type_: String,
    /// `Yes`, `No`, or `Failed` when it could not be asked.
    pub answer: String,
    /// Why it is not yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The answer to one query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunSample {
    /// Name of the metric.
    pub metric: String,
    /// Whose requests they are, when evidence is gathered: `Canary`, `Primary` or `Baseline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    /// Place of the query in `queries`, from 0; absent when there was nothing that could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<u32>,
    /// When it was asked.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub asked: Timestamp,
    /// Window of the query in milliseconds; a value is never older.
    pub window_milliseconds: u64,
    /// The value in the metric's own unit, as text that gives the same number back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Requests within the window, of evidence about errors; as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<String>,
    /// Those of them that failed; as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<String>,
    /// Requests within the window by how long they took, as `EDGE=COUNT` with blanks between: so many took at most so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<String>,
    /// Why there is no value: `NoValue`, `Unavailable`, `Stale` or `Invalid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Age of a stale value in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_milliseconds: Option<u64>,
}
