//! What the page is told of a rollout: a line in the overview, and all of one.

use std::sync::Arc;

use crds::{CommandTaken, WaitingFor};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::cache::{Cache, CanaryKey};
use crate::command::{Verb, refusal};
use crate::objects::{Kind, kinds};
use crate::rollout_view::{Detail, Look, ReplicasView, RolloutView, Snapshot, Tag, read_status};

use super::story::Past;

/// One rollout in the overview.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line {
    namespace: String,
    name: String,
    phase: String,
    look: Look,
    paused: bool,
    suspended: bool,
    target: String,
    strategy: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    router: Option<String>,
    /// Percent of the traffic meant for the canary.
    weight: i32,
    /// The weights that the rollout goes through; empty when it does not go by weight.
    weights: Vec<i64>,
    iteration: i32,
    iterations: i64,
    mirrored: bool,
    stable_images: Vec<String>,
    canary_images: Vec<String>,
    /// When the phase, the weight or an iteration last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// The first reason why nothing moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<WaitingFor>,
    failed_checks: i32,
    /// Failed checks that end the rollout.
    threshold: i64,
    /// What brought the revision, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
    /// How it stands in Git with what was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    git: Option<String>,
}

/// All of one rollout.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rollout {
    #[serde(flatten)]
    line: Line,
    /// What the conditions say.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Why nothing moves, most important first.
    waiting: Vec<WaitingFor>,
    interval: String,
    analysis_skipped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_check: Option<Timestamp>,
    checks: Vec<CheckLine>,
    /// The revision that is rolled out now, or was last; a command is for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    promoted_revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary: Option<ReplicasView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<ReplicasView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_command: Option<CommandTaken>,
    verbs: Vec<VerbLine>,
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Past>,
}

/// A check as it stands, with what it is held against.
#[derive(Debug, PartialEq, Serialize)]
struct CheckLine {
    name: String,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
    /// Absent before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A verb, and why it cannot be given, if so.
#[derive(Debug, PartialEq, Serialize)]
struct VerbLine {
    verb: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// The commit that brought a revision; what is not known is absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Source {
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pull_request: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_by: Option<String>,
}

/// What the cache has of one rollout.
pub(super) struct Objects {
    /// The Canary.
    pub canary: Value,
    /// The workload that users change.
    pub target: Option<Value>,
    /// Its primary.
    pub primary: Option<Value>,
}

impl Objects {
    /// Looks into the cache; `None` when there is no such Canary. The passes of a replica that leads have asked for the
    /// workloads; where there are none, the one who looks asks: the kind is watched from then on.
    pub(super) fn of(cache: &Cache, key: &CanaryKey, leads: bool) -> Option<Objects> {
        let canary = Arc::unwrap_or_clone(cache.canary(key)?);
        let workload = |name: &str| {
            let kind = workload_kind(&canary)?;
            if leads {
                return cache.get(kind, &key.namespace, name).map(Arc::unwrap_or_clone);
            }
            let (packed, _) = cache.ask(key, kind, &key.namespace, name);
            packed.map(|packed| packed.parse())
        };
        let name = canary.pointer("/spec/targetRef/name").and_then(Value::as_str).unwrap_or_default();
        let (target, primary) = (workload(name), workload(&format!("{name}-primary")));
        Some(Objects { canary, target, primary })
    }

    /// The line of the overview.
    pub(super) fn line(self, now: Timestamp) -> Line {
        let (line, ..) = self.draw(now);
        line
    }

    /// All of the rollout.
    pub(super) fn rollout(self, history: Option<Past>, now: Timestamp) -> Rollout {
        let (line, view, canary) = self.draw(now);
        let status = read_status(&canary, &mut Vec::new());
        let verbs = Verb::ALL.map(|verb| VerbLine { verb: verb.as_str(), refused: refusal(&canary, verb) });
        Rollout {
            line,
            message: view.message,
            waiting: view.waiting_for,
            interval: view.analysis.interval,
            analysis_skipped: view.analysis.skipped,
            last_check: status.last_check_time,
            checks: checks(&canary, &status.checks),
            revision: status.applied_revision,
            promoted_revision: status.promoted_revision,
            primary: view.primary,
            canary: view.canary,
            last_command: view.last_command,
            verbs: verbs.into(),
            notes: view.notes,
            history,
        }
    }

    fn draw(self, now: Timestamp) -> (Line, RolloutView, Value) {
        let Objects { canary, target, primary } = self;
        let snapshot = Snapshot { canary, target, primary, ..Snapshot::default() };
        let mut view = RolloutView::of(&snapshot, now, Detail::Usual);
        let status = read_status(&snapshot.canary, &mut Vec::new());
        let images = |tag: Tag| {
            let tagged = view.images.iter().filter(|image| image.tags.contains(&tag));
            tagged.map(|image| image.image.clone()).collect()
        };
        let line = Line {
            stable_images: images(Tag::Stable),
            canary_images: images(Tag::Canary),
            namespace: std::mem::take(&mut view.namespace),
            name: std::mem::take(&mut view.name),
            phase: std::mem::take(&mut view.phase),
            look: if view.look == Look::Good && !view.waiting_for.is_empty() { Look::Held } else { view.look },
            paused: view.paused,
            suspended: view.suspended,
            target: std::mem::take(&mut view.target),
            strategy: view.strategy.name,
            router: view.strategy.router.take(),
            weight: view.strategy.weight,
            weights: std::mem::take(&mut view.strategy.weights),
            iteration: view.strategy.iteration,
            iterations: view.strategy.iterations,
            mirrored: view.strategy.mirrored,
            since: status.last_transition_time,
            waiting_for: view.waiting_for.first().cloned(),
            failed_checks: view.analysis.failed_checks,
            threshold: view.analysis.threshold,
            source: source(&snapshot.canary),
            git: git(&snapshot.canary),
        };
        (line, view, snapshot.canary)
    }
}

fn workload_kind(canary: &Value) -> Option<Kind> {
    match canary.pointer("/spec/targetRef/kind")?.as_str()? {
        "Deployment" => Some(kinds::DEPLOYMENT),
        "DaemonSet" => Some(kinds::DAEMON_SET),
        _ => None,
    }
}

/// The checks that the Canary asks for, with their last results, and those that were made beside them, as hooks are.
fn checks(canary: &Value, made: &[crds::Check]) -> Vec<CheckLine> {
    let metrics = canary.pointer("/spec/analysis/metrics").and_then(Value::as_array);
    let mut lines: Vec<CheckLine> = metrics.into_iter().flatten().filter_map(asked_for).collect();
    for check in made {
        let index = lines.iter().position(|line| line.name == check.name).unwrap_or_else(|| {
            let line = CheckLine {
                name: check.name.clone(),
                unit: "",
                min: None,
                max: None,
                result: None,
                value: None,
                message: None,
            };
            lines.push(line);
            lines.len() - 1
        });
        lines[index].result = Some(check.result.clone());
        lines[index].value.clone_from(&check.value);
        lines[index].message.clone_from(&check.message);
    }
    lines
}

fn asked_for(metric: &Value) -> Option<CheckLine> {
    let name = metric["name"].as_str()?.to_owned();
    let range = |end: &str| metric["thresholdRange"][end].as_f64();
    let (mut min, mut max) = (range("min"), range("max"));
    if metric["thresholdRange"].is_null() {
        let threshold = metric["threshold"].as_f64();
        if name == "request-success-rate" { min = threshold } else { max = threshold }
    }
    let unit = match name.as_str() {
        "request-success-rate" => "%",
        "request-duration" => "ms",
        _ => "",
    };
    Some(CheckLine { name, unit, min, max, result: None, value: None, message: None })
}

fn git(canary: &Value) -> Option<String> {
    let git: crds::GitRollback = serde_json::from_value(canary.pointer("/status/git")?.clone()).ok()?;
    Some(git.sentence())
}

fn source(canary: &Value) -> Option<Source> {
    let source: crds::Source = serde_json::from_value(canary.pointer("/status/source")?.clone()).ok()?;
    source.sentence()?;
    let author = source.author.and_then(|author| author.name.or(author.mail));
    Some(Source {
        repository: source.repository,
        path: source.path,
        commit: source.commit,
        author,
        message: source.message,
        branch: source.branch,
        revision: source.revision,
        pull_request: source.pull_request.filter(|url| url.starts_with("https://")),
        applied_by: source.applied_by.map(|by| by.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects(status: Value) -> Objects {
        let canary = json!({
            "metadata": {"namespace": "shop", "name": "web"},
            "spec": {
                "provider": "gatewayapi:v1", "targetRef": {"kind": "Deployment", "name": "web"},
                "analysis": {"interval": "30s", "threshold": 3, "stepWeights": [10, 50], "metrics": [
                    {"name": "request-success-rate", "thresholdRange": {"min": 99}},
                    {"name": "request-duration", "threshold": 500}]},
            },
            "status": status,
        });
        Objects { canary, target: None, primary: None }
    }

    fn rollout(status: Value) -> Value {
        serde_json::to_value(objects(status).rollout(None, Timestamp::UNIX_EPOCH)).unwrap()
    }

    #[test]
    fn checks_carry_what_they_are_held_against() {
        let status = json!({"phase": "Progressing", "checks": [
            {"name": "smoke", "result": "Passed"},
            {"name": "request-duration", "result": "Failed", "value": "612", "threshold": "at most 500 ms"}]});
        assert_eq!(
            rollout(status)["checks"],
            json!([
                {"name": "request-success-rate", "unit": "%", "min": 99.0},
                {"name": "request-duration", "unit": "ms", "max": 500.0, "result": "Failed", "value": "612"},
                {"name": "smoke", "unit": "", "result": "Passed"}
            ])
        );
    }

    #[test]
    fn the_commit_is_shown_where_it_is_known() {
        assert_eq!(rollout(json!({"phase": "Progressing"}))["source"], Value::Null);
        let source = json!({"commit": "4f2c1e9", "author": {"name": "mia"}, "pullRequest": "javascript:alert(1)"});
        let shown = rollout(json!({"phase": "Progressing", "source": source}));
        assert_eq!(shown["source"], json!({"commit": "4f2c1e9", "author": "mia"}));
        assert_eq!(rollout(json!({"phase": "Progressing", "source": {"images": []}}))["source"], Value::Null);
    }

    #[test]
    fn verbs_come_with_the_reason_why_not() {
        let verbs = rollout(json!({"phase": "Failed"}))["verbs"].clone();
        let open: Vec<&Value> = verbs
            .as_array()
            .unwrap()
            .iter()
            .filter(|line| line["refused"].is_null())
            .map(|line| &line["verb"])
            .collect();
        assert_eq!(open, ["retry"]);
    }

    #[test]
    fn a_status_of_another_version_is_said_not_to_be_understood() {
        let shown = rollout(json!({"phase": "Dancing"}));
        assert!(shown["notes"][0].as_str().unwrap().contains("not understood"), "{shown}");
    }
}
