//! Tells people: Kubernetes Events, event hooks, alerts, metrics. All after the status was written.

use crds::{AlertProvider, Source};
use rollout::spec::{HookKind, Severity, Spec};
use rollout::state::State;
use rollout::{Effect, Owed, Step};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use crate::context::{Context, Remembered};
use crate::events::EventType;
use crate::forges::{self, Told};
use crate::gather::secret_data;
use crate::metrics::AnalysisStatus;
use crate::notifiers::{self, Change, Notice};
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
            // Begun beside the pass, which is not to wait for it.
            Effect::RevertInGit | Effect::FindRevertInGit => {}
            Effect::Deliver(owed) => {
                if let Owed::Alert { severity, fields, message } = owed {
                    let notice = notice(scene, &step.state, *severity, *fields, message);
                    alert(scene, canary, &step.state, &notice).await;
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

fn notice(scene: &Scene<'_>, state: &State, severity: Severity, fields: bool, message: &str) -> Notice {
    let (context, spec, owner) = (scene.context, scene.spec, scene.owner);
    let (phase, time) = (state.stage.phase(), state.since.unwrap_or_else(|| context.now()));
    let cluster = context.settings.cluster_name.clone();
    let fields =
        if fields { notifiers::fields(spec, state.source.as_ref(), &owner.namespace, &cluster) } else { Vec::new() };
    let news = [&owner.uid, phase.as_str(), severity.as_str(), &time.to_string(), message].join("\n");
    Notice {
        severity,
        canary: owner.name.clone(),
        namespace: owner.namespace.clone(),
        message: message.to_owned(),
        fields,
        id: Sha256::digest(news).iter().take(16).map(|byte| format!("{byte:02x}")).collect(),
        time,
        phase,
        cluster,
        checks: state.checks.clone(),
        change: state.source.as_ref().and_then(change),
        page: context.settings.dashboard_url.as_ref().map(|dashboard| page(dashboard, &owner.namespace, &owner.name)),
    }
}

/// The page of a rollout on the dashboard.
fn page(dashboard: &Url, namespace: &str, name: &str) -> Url {
    let mut page = dashboard.clone();
    page.set_fragment(Some(&format!("/{namespace}/{name}")));
    page
}

/// What brought the revision. A source that is provisional may yet turn out to be another, so nothing is said of its commit.
fn change(source: &Source) -> Option<Change> {
    let hexadecimal = |id: &String| (7..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let commit = source.commit.clone().filter(|commit| !source.provisional && hexadecimal(commit))?;
    Some(Change { repository: source.repository.clone(), commit, pull_request: source.pull_request.clone() })
}

async fn alert(scene: &Scene<'_>, canary: &Value, state: &State, notice: &Notice) {
    let (context, spec, severity) = (scene.context, scene.spec, notice.severity);
    if spec.alerts.is_empty() {
        if let Some(request) = notifiers::global_request(notice, &context.settings.notifier) {
            let sent = match request {
                Ok(request) => context.outside.tell(&request).await,
                Err(problem) => Err(problem),
            };
            if let Err(problem) = sent {
                event(
                    context,
                    canary,
                    Some(spec),
                    state.source.as_ref(),
                    true,
                    &format!("Alert could not be sent: {problem}"),
                );
            }
        }
        return;
    }
    for alert in spec.alerts.iter().filter(|alert| alert.severity <= severity) {
        let (namespace, name) = (alert.provider_namespace.as_str(), alert.provider_name.as_str());
        if let Err(why) = send(scene, namespace, name, notice).await {
            let told = format!("Alert {} could not be sent: {why}", alert.name);
            event(context, canary, Some(spec), state.source.as_ref(), true, &told);
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
    if let Some(forge) = forges::find(&provider.spec.type_) {
        let told = forges::tell(forge, notice, &provider.spec, secret.as_ref(), context.outside.as_ref()).await;
        match told.map_err(|problem| problem.to_string())? {
            Told::Said => {}
            Told::Nothing(why) => tracing::debug!(canary = %notice.canary, provider = name, "no commit status: {why}"),
        }
        return Ok(());
    }
    let request = notifiers::request(notice, &provider.spec, secret.as_ref()).map_err(|problem| problem.to_string())?;
    context.outside.tell(&request).await.map_err(|problem| problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_commit_that_is_known_for_sure_is_told_of() {
        let commit = "4f2c1e9a0c6f1a5d3b7e8f9012345678abcdef01";
        let source = |commit: &str| Source {
            repository: Some("https://git.example.com/shop/config".into()),
            commit: Some(commit.into()),
            pull_request: Some("https://x/12".into()),
            ..Source::default()
        };
        let found = change(&source(commit)).unwrap();
        assert_eq!((found.commit.as_str(), found.pull_request.as_deref()), (commit, Some("https://x/12")));
        assert_eq!(change(&Source { provisional: true, ..source(commit) }), None);
        assert_eq!(change(&Source { commit: None, ..source(commit) }), None);
        for commit in ["main", "../../user", "4f2c1e", &"g".repeat(40)] {
            assert_eq!(change(&source(commit)), None, "{commit}");
        }
    }

    #[test]
    fn a_notice_leads_to_the_rollout_on_the_dashboard() {
        let dashboard = Url::parse("https://serin.example.com/").unwrap();
        assert_eq!(page(&dashboard, "shop", "podinfo").as_str(), "https://serin.example.com/#/shop/podinfo");
    }
}
