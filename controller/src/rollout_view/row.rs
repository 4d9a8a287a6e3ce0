//! One Canary in one line.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Detail, Look, RolloutView, Snapshot};

/// One Canary in one line.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Namespace of the Canary.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The phase as in the status; `New` before the controller has seen it.
    pub phase: String,
    /// How that is to be taken.
    pub look: Look,
    /// How far it has come: weight, or iterations.
    pub progress: String,
    /// Failed checks and how many end the rollout.
    pub failed_checks: String,
    /// The first reason why nothing moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// Seconds since the phase, the weight or an iteration last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_seconds: Option<i64>,
    /// Kind and name of the workload that users change.
    pub target: String,
    /// Kind and name of the template that the Canary is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// `canary`, `ab-testing` or `blue-green`.
    pub strategy: &'static str,
    /// The router, when the Canary names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Time between two looks.
    pub interval: String,
    /// Where the revision comes from, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `spec.suspend` is set.
    pub suspended: bool,
    /// The rollout is held by `serin pause`.
    pub paused: bool,
}

impl Row {
    /// Draws the line from a Canary.
    pub fn of(canary: &Value, now: Timestamp) -> Self {
        let snapshot = Snapshot { canary: canary.clone(), ..Snapshot::default() };
        let view = RolloutView::of(&snapshot, now, Detail::Usual);
        Row {
            namespace: view.namespace,
            name: view.name,
            phase: view.phase,
            look: view.look,
            progress: view.strategy.progress(),
            failed_checks: format!("{}/{}", view.analysis.failed_checks, view.analysis.threshold),
            waiting_for: view.waiting_for.into_iter().next().map(|reason| reason.message),
            last_transition_seconds: view.last_transition_seconds,
            target: view.target,
            template: view.template,
            strategy: view.strategy.name,
            router: view.strategy.router,
            interval: view.analysis.interval,
            source: view.source.as_ref().and_then(crds::Source::sentence),
            suspended: view.suspended,
            paused: view.paused,
        }
    }
}
