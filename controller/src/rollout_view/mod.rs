//! What is to be seen of a rollout: facts drawn from objects, without a client, a clock or a colour.

mod health;
mod pod;
mod row;
mod strategy;
mod tree;

use std::collections::BTreeSet;

use crds::{BaselineStatus, CanaryStatus, Check, CommandTaken, GitRollback, Phase, Source, WaitingFor};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use health::Look;
pub use pod::PodView;
pub use row::Row;
pub use strategy::StrategyView;
pub use tree::{Node, Tag};

/// The objects that one view is made of, as the API server gave them.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The Canary.
    pub canary: Value,
    /// The workload that users change.
    pub target: Option<Value>,
    /// Its primary.
    pub primary: Option<Value>,
    /// ReplicaSets, at least those of both.
    pub replica_sets: Vec<Value>,
    /// Pods, at least those of both.
    pub pods: Vec<Value>,
    /// Events about the Canary.
    pub events: Vec<Value>,
    /// What could not be read, as sentences.
    pub notes: Vec<String>,
}

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What one looks at during a rollout.
    Usual,
    /// Also old ReplicaSets, nodes and older events.
    Wide,
}

/// Everything about one rollout.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// Name of the Canary.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The phase as in the status; `New` before the controller has seen it.
    pub phase: String,
    /// How that is to be taken.
    pub look: Look,
    /// What the conditions say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `spec.suspend` is set.
    pub suspended: bool,
    /// The rollout is held by `serin pause`.
    pub paused: bool,
    /// Kind and name of the workload that users change.
    pub target: String,
    /// Kind and name of the template that the Canary is made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// How traffic moves, and how far it has moved.
    pub strategy: StrategyView,
    /// The checks.
    pub analysis: AnalysisView,
    /// Why nothing moves, most important first.
    pub waiting_for: Vec<WaitingFor>,
    /// Images of both workloads.
    pub images: Vec<ImageView>,
    /// Replicas of the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<ReplicasView>,
    /// Replicas of the target, which runs the canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<ReplicasView>,
    /// What the copy of the primary costs that the canary is compared with, as long as it takes part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineStatus>,
    /// Seconds since the phase, the weight or an iteration last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_seconds: Option<i64>,
    /// Where the revision comes from that is rolled out now, or was last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Where the revision comes from that the primary runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promoted_source: Option<Source>,
    /// How it stands in Git with the revision that was taken back last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<GitRollback>,
    /// The command taken last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_command: Option<CommandTaken>,
    /// The Canary and what hangs on it.
    pub tree: Node,
    /// Recent events, oldest first.
    pub events: Vec<EventView>,
    /// What could not be read or understood.
    pub notes: Vec<String>,
}

/// The checks of a rollout.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisView {
    /// Time between two looks, as written.
    pub interval: String,
    /// Failed checks of this rollout.
    pub failed_checks: i32,
    /// Failed checks that end it.
    pub threshold: i64,
    /// The analysis is skipped.
    pub skipped: bool,
    /// Seconds since the checks were last made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_check_seconds: Option<i64>,
    /// Their values and results.
    pub checks: Vec<Check>,
}

/// An image, and who runs it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImageView {
    /// The image as in the pod template.
    pub image: String,
    /// Who runs it.
    pub tags: Vec<Tag>,
}

/// How many pods there are of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReplicasView {
    /// Asked for.
    pub desired: i64,
    /// Made from the present template.
    pub updated: i64,
    /// Ready.
    pub ready: i64,
    /// Ready for long enough.
    pub available: i64,
}

/// An event about the Canary.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub type_: String,
    /// One word for programs.
    pub reason: String,
    /// What happened.
    pub message: String,
    /// How often.
    pub count: i64,
    /// Seconds since it last happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<i64>,
}

impl RolloutView {
    /// Draws the view from the objects; `now` is what ages are counted to.
    pub fn of(snapshot: &Snapshot, now: Timestamp, detail: Detail) -> Self {
        let canary = &snapshot.canary;
        let mut notes = snapshot.notes.clone();
        let status = read_status(canary, &mut notes);
        let suspended = canary.pointer("/spec/suspend") == Some(&Value::Bool(true));
        let analysis = &canary["spec"]["analysis"];
        let look = if suspended || status.paused { Look::Held } else { Look::of_phase(status.phase) };
        let seen = tree::Seen { snapshot, status: &status, look, now, detail };
        if snapshot.target.is_none() && !text(canary, "/spec/targetRef/name").is_empty() {
            notes.push(format!("the target {} was not found", target_name(canary)));
        }
        RolloutView {
            name: text(canary, "/metadata/name"),
            namespace: text(canary, "/metadata/namespace"),
            phase: phase_word(status.phase),
            look,
            message: message(&status),
            suspended,
            paused: status.paused,
            target: target_name(canary),
            template: crate::opt_in::origin(canary).map(str::to_owned),
            strategy: StrategyView::of(canary, &status),
            analysis: AnalysisView {
                interval: analysis["interval"].as_str().unwrap_or("60s").to_owned(),
                failed_checks: status.failed_checks,
                threshold: analysis["threshold"].as_i64().unwrap_or(1).max(1),
                skipped: canary.pointer("/spec/skipAnalysis") == Some(&Value::Bool(true)),
                last_check_seconds: status.last_check_time.map(|then| seconds_between(then, now)),
                checks: status.checks.clone(),
            },
            waiting_for: status.waiting_for.clone(),
            images: images(snapshot, &status),
            primary: snapshot.primary.as_ref().map(health::replicas),
            canary: snapshot.target.as_ref().map(health::replicas),
            baseline: status.baseline.clone(),
            last_transition_seconds: status.last_transition_time.map(|then| seconds_between(then, now)),
            source: status.source.clone(),
            promoted_source: status.promoted_source.clone(),
            git: status.git.clone(),
            last_command: status.last_command.clone(),
            tree: seen.tree(),
            events: events(&snapshot.events, now, detail),
            notes,
        }
    }
}

/// The status of a Canary; what cannot be understood is said in `notes` and taken as not there.
pub fn read_status(canary: &Value, notes: &mut Vec<String>) -> CanaryStatus {
    match canary.get("status") {
        None | Some(Value::Null) => CanaryStatus::default(),
        Some(status) => CanaryStatus::deserialize(status).unwrap_or_else(|failure| {
            notes.push(format!("the status was not understood ({failure}); is this serin older than the controller?"));
            CanaryStatus::default()
        }),
    }
}

/// The phase as people read it.
pub fn phase_word(phase: Phase) -> String {
    if phase == Phase::New { "New".to_owned() } else { phase.as_str().to_owned() }
}

/// A label selector that holds the pods of the target and of its primary, also of one that is still to come.
pub fn common_selector(target: Option<&Value>, primary: Option<&Value>) -> Option<String> {
    let labels = |workload: &Value| workload.pointer("/spec/selector/matchLabels").and_then(Value::as_object).cloned();
    let primary_labels = primary.and_then(labels).unwrap_or_default();
    let target_labels = target.and_then(labels)?;
    let key = primary_labels
        .keys()
        .map(String::as_str)
        .chain(["app", "name", "app.kubernetes.io/name"])
        .find(|key| target_labels.contains_key(*key))?;
    let value = target_labels[key].as_str()?;
    let of_primary =
        primary_labels.get(key).and_then(Value::as_str).map_or_else(|| format!("{value}-primary"), str::to_owned);
    Some(format!("{key} in ({value},{of_primary})"))
}

fn target_name(canary: &Value) -> String {
    format!("{}/{}", text(canary, "/spec/targetRef/kind"), text(canary, "/spec/targetRef/name"))
}

/// What the conditions say; a reason to wait that `Ready` repeats stands with the other reasons.
fn message(status: &CanaryStatus) -> Option<String> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let of = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
    let promoted = of("Promoted").and_then(|condition| condition.message.clone());
    let ready = of("Ready")
        .filter(|condition| condition.status != "True")
        .and_then(|condition| condition.message.clone())
        .filter(|message| Some(message) != promoted.as_ref())
        .filter(|message| status.waiting_for.iter().all(|waiting| waiting.message != *message));
    match (promoted, ready) {
        (Some(promoted), Some(ready)) => Some(format!("{}; {ready}", promoted.trim_end_matches('.'))),
        (promoted, ready) => promoted.or(ready),
    }
}

fn images(snapshot: &Snapshot, status: &CanaryStatus) -> Vec<ImageView> {
    let mut views: Vec<ImageView> = Vec::new();
    let mut add = |workload: Option<&Value>, tag: Tag| {
        for image in workload.map(health::images).unwrap_or_default() {
            match views.iter_mut().find(|view| view.image == image) {
                Some(view) if view.tags.contains(&tag) => {}
                Some(view) => view.tags.push(tag),
                None => views.push(ImageView { image, tags: vec![tag] }),
            }
        }
    };
    add(snapshot.primary.as_ref(), Tag::Stable);
    if snapshot.primary.is_none() || tree::target_is_canary(snapshot, status) {
        add(snapshot.target.as_ref(), if snapshot.primary.is_none() { Tag::Stable } else { Tag::Canary });
    }
    views
}

fn events(events: &[Value], now: Timestamp, detail: Detail) -> Vec<EventView> {
    const USUAL: usize = 8;
    const WIDE: usize = 50;
    let last_seen = |event: &Value| {
        ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/firstTimestamp", "/metadata/creationTimestamp"]
            .iter()
            .find_map(|pointer| time(event, pointer))
    };
    let mut dated: Vec<_> =
        events.iter().map(|event| (last_seen(event), text(event, "/metadata/name"), event)).collect();
    dated.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
    let shown = if detail == Detail::Wide { WIDE } else { USUAL };
    dated
        .iter()
        .skip(dated.len().saturating_sub(shown))
        .map(|(then, _, event)| EventView {
            type_: text(event, "/type"),
            reason: text(event, "/reason"),
            message: text(event, "/message"),
            count: event.pointer("/series/count").or(event.get("count")).and_then(Value::as_i64).unwrap_or(1),
            age_seconds: then.map(|then| seconds_between(then, now)),
        })
        .collect()
}

fn seconds_between(then: Timestamp, now: Timestamp) -> i64 {
    now.as_second() - then.as_second()
}

fn text(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    object.pointer(pointer).and_then(Value::as_str)?.parse().ok()
}

/// Uids of the owners of an object.
fn owners(object: &Value) -> BTreeSet<&str> {
    object
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .map(|owners| owners.iter().filter_map(|owner| owner["uid"].as_str()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_selector_holds_both_workloads() {
        let of = |labels: Value| json!({"spec": {"selector": {"matchLabels": labels}}});
        let target = of(json!({"tier": "web", "app": "podinfo"}));
        let primary = of(json!({"app": "podinfo-primary"}));
        let expected = Some("app in (podinfo,podinfo-primary)".to_owned());
        assert_eq!(common_selector(Some(&target), Some(&primary)), expected);
        assert_eq!(common_selector(Some(&target), None), expected);
        assert_eq!(common_selector(Some(&of(json!({"tier": "web"}))), None), None);
        assert_eq!(common_selector(None, Some(&primary)), None);
    }
}
