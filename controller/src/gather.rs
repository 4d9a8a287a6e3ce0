//! Asks the world what the core wants to know: hooks and metrics, side by side, each with its own deadline.

mod evidence;

use std::collections::BTreeMap;

use crds::{MetricTemplate, Phase};
use futures::future::join_all;
use rollout::spec::{HookKind, Metric, MetricSource, Spec};
use rollout::{Answers, Ask, History, HookAnswer, Measured, Reading, State};
use serde_json::Value;

use crate::context::Context;
use crate::objects::{Owner, kinds};
use crate::observe::Scene;
use crate::providers::{self, Query, TemplateFound};
use crate::record;
use crate::view::View;
use crate::webhooks::HookCall;

/// Asks, and adds the answers.
pub async fn gather(scene: &Scene<'_>, state: &State, asks: &[Ask], answers: &mut Answers) {
    let Scene { context, view, owner, spec, .. } = *scene;
    let phase = state.stage.phase();
    let checksum = state.applied.as_ref().map_or("", |revision| revision.id.as_str());
    let hooks = asks.iter().filter_map(|ask| match ask {
        Ask::Hooks(kind) => Some(*kind),
        Ask::Metrics | Ask::Evidence { .. } | Ask::Past | Ask::History => None,
    });
    let hooks = join_all(
        hooks.map(|kind| async move { (kind, call_hooks(context, owner, spec, phase, checksum, kind).await) }),
    );
    let metrics = async {
        if asks.contains(&Ask::Metrics) {
            let readings = spec.metrics.iter().map(|metric| read(context, view, owner, spec, metric));
            Some(join_all(readings).await)
        } else {
            None
        }
    };
    let evidence = asks.iter().find_map(|ask| match ask {
        Ask::Evidence { since, usual } => Some((*since, *usual)),
        Ask::Hooks(_) | Ask::Metrics | Ask::Past | Ask::History => None,
    });
    let gathered = async {
        match evidence {
            Some((since, usual)) => Some(evidence::gather(context, view, owner, spec, since, usual).await),
            None => None,
        }
    };
    let (hooks, metrics, gathered) = futures::join!(hooks, metrics, gathered);
    if gathered.is_some() {
        answers.gathered = gathered;
    }
    if let (true, Some(run)) = (asks.contains(&Ask::Past), &state.run) {
        answers.past = Some(record::past(&context.rest, &owner.namespace, run).await);
    }
    answers.hooks.extend(hooks);
    if let (true, Some(promoted)) = (asks.contains(&Ask::History), &state.promoted) {
        answers.history = Some(match scene.former_target(&promoted.id).await {
            Ok(Some(_)) => History::Kept,
            Ok(None) => History::Gone,
            Err(problem) => History::Unreadable(problem.to_string()),
        });
    }
    if let Some(readings) = metrics {
        for Measured { metric, reading, .. } in &readings {
            if let Reading::Value(value) = reading {
                context.metrics.analysis(&owner.namespace, &spec.target.name, metric, *value);
            }
        }
        answers.metrics = Some(readings);
    }
}

async fn call_hooks(
    context: &Context,
    owner: &Owner,
    spec: &Spec,
    phase: Phase,
    checksum: &str,
    kind: HookKind,
) -> Vec<(String, HookAnswer)> {
    let hooks = spec.webhooks.iter().filter(|hook| hook.kind == kind);
    join_all(hooks.map(|hook| async move {
        let call = HookCall { hook, canary: &owner.name, namespace: &owner.namespace, phase, checksum, event: None };
        (hook.name.clone(), context.outside.call(call).await)
    }))
    .await
}

async fn read(context: &Context, view: &View, owner: &Owner, spec: &Spec, metric: &Metric) -> Measured {
    let asked = context.now();
    let (query, reading) = match question(context, view, owner, spec, metric).await {
        Ok(query) => {
            let reading = context.outside.read(&query, asked).await;
            (Some(query.text), reading)
        }
        Err(reading) => (None, reading),
    };
    Measured { metric: metric.name.clone(), reading, query, asked, window: metric.interval }
}

/// What is to be asked, or why nothing can be.
async fn question(
    context: &Context,
    view: &View,
    owner: &Owner,
    spec: &Spec,
    metric: &Metric,
) -> Result<Query, Reading> {
    let template = match &metric.source {
        MetricSource::Template { namespace, name, .. } => template(context, view, namespace, name).await?,
        MetricSource::SuccessRate | MetricSource::Duration | MetricSource::Inline(_) => None,
    };
    let found =
        template.as_ref().map(|(template, secret)| TemplateFound { spec: &template.spec, secret: secret.as_ref() });
    let server = &context.settings.metrics_server;
    providers::prepare(metric, spec, &owner.name, &owner.namespace, server, found).map_err(Into::into)
}

/// What a Secret holds, decoded, by key.
pub type SecretData = BTreeMap<String, Vec<u8>>;

async fn template(
    context: &Context,
    view: &View,
    namespace: &str,
    name: &str,
) -> Result<Option<(MetricTemplate, Option<SecretData>)>, Reading> {
    let Some(object) = view.get_in(kinds::METRIC_TEMPLATE, namespace, name) else { return Ok(None) };
    let template: MetricTemplate = serde_path_to_error::deserialize(object.as_ref())
        .map_err(|error| Reading::Invalid(format!("MetricTemplate {namespace}/{name}: {error}")))?;
    let Some(secret) = template.spec.provider.secret_ref.as_ref() else { return Ok(Some((template, None))) };
    let data = secret_data(context, namespace, &secret.name).await.map_err(Reading::Unavailable)?;
    Ok(Some((template, data)))
}

/// Data of a Secret, decoded; `None` when there is no such Secret.
pub async fn secret_data(context: &Context, namespace: &str, name: &str) -> Result<Option<SecretData>, String> {
    let object = context.configs.read(kinds::SECRET, namespace, name).await.map_err(|problem| problem.to_string())?;
    Ok(object.map(|object| decode(&object)))
}

pub(crate) fn decode(secret: &Value) -> SecretData {
    use base64::Engine as _;
    let data = secret.get("data").and_then(Value::as_object);
    data.into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok()?;
            Some((key.clone(), bytes))
        })
        .collect()
}
