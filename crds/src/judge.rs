//! Serin: how samples become a verdict on the canary.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Serin: how samples become a verdict on the canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JudgePolicy {
    /// The rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<JudgeMethod>,
    /// How often a canary that is as good as the primary may be called worse, over all metrics and looks of a rollout together: above
    /// 0, at most 0.5; 0.05 when absent. Not for `Threshold`, which cannot keep to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::number::optional_schema")]
    pub false_alarm_rate: Option<f64>,
    /// How often a canary may be promoted that is worse by `smallestEffect`: above 0, at most 0.5; 0.05 when absent. For `Sequential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::number::optional_schema")]
    pub false_promotion_rate: Option<f64>,
    /// What the canary is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// What follows when metrics cannot be read, or have no values; for `Threshold` what Flagger does when absent, for the others to
    /// hold for 10m and then to roll back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_data: Option<MissingData>,
    /// How long the canary is not judged after it got its first traffic, as `30s` or `1m30s`; judged from the beginning when
    /// absent. With `baseline: Concurrent` both warm up together and few need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_duration")]
    pub warm_up: Option<String>,
}

/// The rule by which the canary is judged; `Threshold` when absent: `Threshold`, each value within its `thresholdRange`, as Flagger has it; `Sequential`, evidence
/// that may be looked at as often as one likes, where promotion needs some; `MannWhitney`, the ranks of two samples, to compare with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum JudgeMethod {
    /// Each value within its range.
    #[default]
    Threshold,
    /// Evidence that may be looked at as often as one likes.
    Sequential,
    /// The ranks of two samples.
    MannWhitney,
}

/// What the canary is compared with; `Primary` when absent: `Primary`, which serves most of the users; `Concurrent`, a copy of the primary as large and as old
/// as the canary, with an equal share of the traffic, for the length of the analysis; `None`, nothing but each metric's `objective`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Baseline {
    /// The primary itself.
    #[default]
    Primary,
    /// A copy of the primary beside the canary.
    Concurrent,
    /// Objectives alone.
    None,
}

/// What follows when metrics cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingData {
    /// How long the rollout is held for them, as `10m`; 10m when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::optional_duration")]
    pub hold_for: Option<String>,
    /// What then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<AfterHold>,
}

/// What follows when metrics stay away; `Rollback` when absent: `Rollback`; `Promote`, go on as if they spoke for the canary; `Pause`, wait for a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AfterHold {
    /// Take the revision back.
    #[default]
    Rollback,
    /// Go on without them.
    Promote,
    /// Wait for a person.
    Pause,
}

/// Serin: which way a metric of one's own is worse; when absent `Higher` if `thresholdRange` has only a max, `Lower` if it has only a min.
/// For `Sequential` and `MannWhitney`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Worse {
    /// More is worse, as with latency.
    Higher,
    /// Less is worse, as with orders per minute.
    Lower,
}

/// Serin: `auto` derives the canary's shares and how long each lasts from the traffic, from what `judge` must find, and from
/// `failedRequestBudget`; instead of `stepWeight`, `stepWeights` and `iterations`, up to `maxWeight`, which is 50 when absent. Needs the
/// method `Sequential`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AnalysisPlan {
    /// The controller, from the traffic that it sees.
    #[serde(rename = "auto")]
    Auto,
}
