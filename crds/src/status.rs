//! What the status of a Canary tells: flat and printable, because other programs read it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GitRollback, PromotedCommit, Source};

/// Where a rollout stands. The names are a contract with Argo CD, Flux and every script that reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Not looked at yet.
    #[default]
    #[serde(rename = "")]
    New,
    /// The primary workload is being made.
    Initializing,
    /// The primary serves all traffic; no rollout has run yet.
    Initialized,
    /// A new revision waits for its confirm-rollout gate.
    Waiting,
    /// The canary is being analysed.
    Progressing,
    /// The analysis is done; the confirm-promotion gate is closed.
    WaitingPromotion,
    /// The primary is being updated to the new revision.
    Promoting,
    /// Traffic is back on the primary; the canary is being scaled down.
    Finalising,
    /// The new revision is the primary.
    Succeeded,
    /// The new revision was taken back.
    Failed,
    /// The Canary is being deleted and the target given back.
    Terminating,
    /// The target was given back.
    Terminated,
}

impl Phase {
    /// The phase as it stands in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::New => "",
            Phase::Initializing => "Initializing",
            Phase::Initialized => "Initialized",
            Phase::Waiting => "Waiting",
            Phase::Progressing => "Progressing",
            Phase::WaitingPromotion => "WaitingPromotion",
            Phase::Promoting => "Promoting",
            Phase::Finalising => "Finalising",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
            Phase::Terminating => "Terminating",
            Phase::Terminated => "Terminated",
        }
    }
}

/// The copy of the primary that the canary is compared with, and what it costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaselineStatus {
    /// How many pods it has.
    pub pods: u32,
    /// CPU that they request together, as `200m`.
    pub cpu: String,
    /// Memory that they request together, as `128Mi`.
    pub memory: String,
}

impl std::fmt::Display for BaselineStatus {
    /// `2 pods, 200m CPU, 128Mi of memory`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pods = if self.pods == 1 { "pod" } else { "pods" };
        write!(formatter, "{} {pods}, {} CPU, {} of memory", self.pods, self.cpu, self.memory)
    }
}

/// The status of a Canary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// Where the rollout stands.
    #[serde(default)]
    pub phase: Phase,
    /// Failed checks of the present rollout.
    #[serde(default)]
    pub failed_checks: i32,
    /// Percent of the traffic meant for the canary.
    #[serde(default)]
    pub canary_weight: i32,
    /// Iterations done, for A/B testing and blue/green.
    #[serde(default)]
    pub iterations: i32,
    /// Cookie that keeps a user on the canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity_cookie: Option<String>,
    /// Cookie that keeps a user on the primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_session_affinity_cookie: Option<String>,
    /// Cookie of the last rollout, to be expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_session_affinity_cookie: Option<String>,
    /// Checksums of the ConfigMaps and Secrets that the target uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracked_configs: Option<BTreeMap<String, String>>,
    /// Hash of the pod template being rolled out or rolled out last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied_spec: Option<String>,
    /// Hash of the pod template that was promoted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_promoted_spec: Option<String>,
    /// When the phase, the weight or an iteration last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_transition_time: Option<Timestamp>,
    /// `Promoted` as Flagger has it, `Ready` for kstatus, and `FromTemplate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<CanaryCondition>>,

    /// Serin: the generation of the Canary that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Serin: the revision (template and tracked configs) being rolled out or rolled out last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_revision: Option<String>,
    /// Serin: the revision that was promoted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_revision: Option<String>,
    /// Serin: where `appliedRevision` comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Serin: where `promotedRevision` comes from: the last good commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_source: Option<Source>,
    /// Serin: the commits that brought what was promoted, newest last, ten at most: where `serin undo` can go back to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promoted_commits: Vec<PromotedCommit>,
    /// Serin: the canary receives a copy of the traffic.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mirrored: bool,
    /// Serin: the analysis ends because its revision was taken back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reverted: bool,
    /// Serin: the rollout is held by `serin pause`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Serin: why nothing moves, most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<WaitingFor>,
    /// Serin: the checks of the last look, with their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Serin: when the checks were last made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_check_time: Option<Timestamp>,
    /// Serin: until when the canary had traffic before the present analysis; no metric is judged on that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub former_traffic_time: Option<Timestamp>,
    /// Serin: since when metrics cannot be read; the rollout is held no longer than its progress deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub unavailable_since: Option<Timestamp>,
    /// Serin: the copy of the primary that the canary is compared with, as long as it takes part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineStatus>,
    /// Serin: what is still to be done or told after the phase was written; empty when all is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owed: Vec<String>,
    /// Serin: name of the CanaryRun that records the rollout under way, or the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Serin: the command taken last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_command: Option<CommandTaken>,
    /// Serin: how it stands in Git with the revision that was taken back last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<GitRollback>,
}

/// A condition of a Canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryCondition {
    /// `Promoted`, `Ready` or `FromTemplate`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the condition was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_update_time: Option<Timestamp>,
    /// When its status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_transition_time: Option<Timestamp>,
}

/// A reason why nothing moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingFor {
    /// One word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
}

/// One metric or hook as it was last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// Name of the metric or webhook.
    pub name: String,
    /// `Passed`, `Failed`, `NoData`, `Unavailable`, or `Held` while its window is not one of this step.
    pub result: String,
    /// The value in the metric's own unit, six digits at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What the value is held against, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<String>,
    /// Why it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A command that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandTaken {
    /// The id that the asker gave it.
    pub id: String,
    /// promote, promote-full, abort, pause, resume, retry, or undo with the commit to go back to.
    pub command: String,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What came of it.
    pub outcome: String,
    /// When it was taken.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
}
