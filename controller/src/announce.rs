//! Tells people: Kubernetes Events, event hooks, alerts, metrics. All after the status was written.

use crds::{AlertProvider, Source};
use rollout::spec::{HookKind, Severity, Spec};
use rollout::{Effect, Owed, Step};
use serde_json::Value;

use crate::context::{Context, Remembered};
use crate::events::EventType;
use crate::gather::secret_data;
use crate::metrics::AnalysisStatus;
use crate::notifiers::{self, Notice};
use crate::objects::kinds;
use crate::observe::Scene;
use crate::webhooks::{EventTold, HookCall};

/// Tells what a step brought. An alert that cannot be sent is told as an event and not tried again for ever.
pub async fn announce(scene: &Scene<'_>, canary: &Value, step: &Step, remembered: &mut Remembered) {
    let (context, spec, owner) = (scene.context, scene.spec, scene.owner);
    let (namespace, target) = (owner.namespace.as_str(), spec.target.name.as_str());
    let stage = &step.state.stage;
    context.metrics.status(namespace, target, stage.phase());
    context.metrics.weights(namespace, target, &spec.primary_name(), stage.weight());
    for effect in &step.effects {
        match effect {
            Effect::Event { warning, message } => {
                event(context, canary, Some(spec), step.state.source.as_ref(), *warning, message);
            }
            Effect::Ended { success, skipped } => {
                let analysis = if *skipped { AnalysisStatus::Skipped } else { AnalysisStatus::Completed };
                context.metrics.rollout(namespace, target, spec.strategy.as_str(), analysis, *success);
            }
            Effect::Deliver(owed) => {
                if let Owed::Alert { severity, fields, message } = owed {
                    alert(scene, canary, step.state.source.as_ref(), *severity, *fields, message).await;
                }
                remembered.memory.delivered.push(owed.clone());
            }
        }
    }
}

/// A Kubernetes Event, a line in the log, and a call of the event hooks in the background.
pub fn event(
    context: &Context,
    canary: &Value,
    spec: Option<&Spec>,
    source: Option<&Source>,
    warning: bool,
    message: &str,
) {
    let text = |pointer| canary.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
    if warning {
        tracing::warn!(canary = %format!("{name}.{namespace}"), "{message}");
    } else {
        tracing::info!(canary = %format!("{name}.{namespace}"), "{message}");
    }
    let kind = if warning { EventType::Warning } else { EventType::Normal };
    let facts = source.map(Source::facts).unwrap_or_default();
    // The message of a commit stands in the status; in an annotation it would be told with each of a hundred Events.
    let annotations = facts
        .iter()
        .filter(|(word, _)| matches!(*word, "repository" | "commit" | "author" | "pullRequest" | "appliedBy"))
        .map(|(word, value)| (format!("serin.dev/{word}"), value.clone()));
    context.events.publish(canary, kind, message, annotations.collect());
    context.history.tell(canary, warning, message, context.now());
    let own: Vec<_> =
        spec.into_iter().flat_map(|spec| &spec.webhooks).filter(|hook| hook.kind == HookKind::Event).cloned().collect();
    let hooks = if own.is_empty() { context.event_hook().into_iter().collect() } else { own };
    let phase = canary
        .pointer("/status/phase")
        .and_then(|phase| serde_json::from_value(phase.clone()).ok())
        .unwrap_or_default();
    let time = context.now();
    for hook in hooks {
        let Ok(permit) = context.event_calls.clone().try_acquire_owned() else {
            tracing::warn!(canary = %format!("{name}.{namespace}"), hook = %hook.name, "event hooks are too slow, one call is dropped");
            continue;
        };
        let (outside, name, namespace) = (context.outside.clone(), name.clone(), namespace.clone());
        let (message, facts) = (message.to_owned(), facts.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let told = EventTold { message: &message, warning, time, source: &facts };
            let call =
                HookCall { hook: &hook, canary: &name, namespace: &namespace, phase, checksum: "", event: Some(&told) };
            if let rollout::HookAnswer::No(why) | rollout::HookAnswer::Failed(why) = outside.call(call).await {
                tracing::warn!(canary = %format!("{name}.{namespace}"), hook = %hook.name, "event hook failed: {why}");
            }
        });
    }
}

async fn alert(
    scene: &Scene<'_>,
    canary: &Value,
    source: Option<&Source>,
    severity: Severity,
    fields: bool,
    message: &str,
) {
    let (context, spec) = (scene.context, scene.spec);
    let notice = Notice {
        severity,
        canary: scene.owner.name.clone(),
        namespace: scene.owner.namespace.clone(),
        message: message.to_owned(),
        fields: if fields {
            notifiers::fields(spec, source, &scene.owner.namespace, &context.settings.cluster_name)
        } else {
            Vec::new()
        },
    };
    if spec.alerts.is_empty() {
        if let Some(request) = notifiers::global_request(&notice, &context.settings.notifier) {
            let sent = match request {
                Ok(request) => context.outside.tell(&request).await,
                Err(problem) => Err(problem),
            };
            if let Err(problem) = sent {
                event(context, canary, Some(spec), source, true, &format!("Alert could not be sent: {problem}"));
            }
        }
        return;
    }
    for alert in spec.alerts.iter().filter(|alert| alert.severity <= severity) {
        let (namespace, name) = (alert.provider_namespace.as_str(), alert.provider_name.as_str());
        if let Err(why) = send(scene, namespace, name, &notice).await {
            event(context, canary, Some(spec), source, true, &format!("Alert {} could not be sent: {why}", alert.name));
        }
    }
}

async fn send(scene: &Scene<'_>, namespace: &str, name: &str, notice: &Notice) -> Result<(), String> {
    let context = scene.context;
    let object = scene
        .view
        .get_in(kinds::ALERT_PROVIDER, namespace, name)
        .ok_or_else(|| format!("AlertProvider {namespace}/{name} does not exist"))?;
    let provider: AlertProvider = serde_path_to_error::deserialize(object.as_ref())
        .map_err(|error| format!("AlertProvider {namespace}/{name}: {error}"))?;
    let secret = match &provider.spec.secret_ref {
        Some(reference) => secret_data(context, namespace, &reference.name).await?,
        None => None,
    };
    let request = notifiers::request(notice, &provider.spec, secret.as_ref()).map_err(|problem| problem.to_string())?;
    context.outside.tell(&request).await.map_err(|problem| problem.to_string())
}
