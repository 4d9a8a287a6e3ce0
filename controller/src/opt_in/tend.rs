//! Does what was decided about the Canary of an annotated workload, and tells people.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rollout::report::Origin;
use rollout::spec::TargetKind;
use serde_json::Value;

use super::{Decision, Refusal, Situation, Template, Workload, decide, origin};
use crate::cache::{Cache, CanaryKey};
use crate::context::Context;
use crate::events::EventType;
use crate::objects::kinds::{CANARY, CANARY_TEMPLATE, CLUSTER_CANARY_TEMPLATE};
use crate::objects::{Kind, covers};
use crate::problem::ApiProblem;
use crate::rest::PatchType;
use crate::view::View;
use crate::workloads;

/// What is remembered between passes; all of it may be lost.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// What was told of late.
    told: Option<String>,
    /// What was told of late to another workload of the same name.
    told_other: Option<String>,
    /// Hash of what was applied last, and the last event about the Canary before.
    applied: Option<(u64, u64)>,
}

/// What came of it, for the pass over the Canary.
pub struct Noted {
    /// Everything that was looked up: a change there wakes the Canary.
    pub view: View,
    /// What the status is to say of the template; `None` when the Canary is not made from one.
    pub origin: Option<Origin>,
    /// The Canary was written: what was seen of it is old.
    pub written: bool,
}

/// Sees to it that an annotated workload has its Canary, and one that is no longer annotated none. `None` when
/// neither the name nor the Canary has anything to do with templates. Costs no request when nothing is to be changed.
///
/// # Errors
/// When the Canary cannot be written. The view is right all the same.
pub async fn tend(
    context: &Context,
    key: &CanaryKey,
    canary: Option<&Arc<Value>>,
    kept: &mut Kept,
) -> Option<(Noted, Result<(), ApiProblem>)> {
    let made = canary.is_some_and(|canary| origin(canary).is_some());
    if !made && !context.cache.is_opted_in(key) {
        *kept = Kept::default();
        return None;
    }
    let view = context.cache.view(key.clone());
    let mut noted = Noted { view, origin: None, written: false };
    let (seen, other) = look(&noted.view, key, canary);
    let Some(workload) = seen else { return Some((noted, Ok(()))) };
    let template = workload.template.as_deref().and_then(|name| find(&noted.view, key, name));
    if !is_settled(&context.cache, &noted.view) {
        // What was not found may well exist. The lists wake us.
        noted.origin = canary.and_then(|canary| Some(Origin::Current(origin(canary)?.replacen('/', " ", 1))));
        return Some((noted, Ok(())));
    }
    if let Some(other) = other {
        let message = format!(
            "{} {} has opted in before, and a Canary bears the name of its workload; rename one of the two",
            workload.kind.as_str(),
            key.name
        );
        tell(context, key, &other, &message, &mut kept.told_other);
    }
    let rivals: Vec<String> = context
        .cache
        .canaries_of_target(&key.namespace, workload.kind.as_str(), &key.name)
        .into_iter()
        .filter(|rival| rival != key)
        .map(|rival| rival.name.to_string())
        .collect();
    let decision = decide(Situation {
        key,
        workload: &workload,
        template: template.as_ref(),
        known: &known(&context.cache, key),
        canary: canary.map(AsRef::as_ref),
        rivals: &rivals,
        defaults: &context.defaults(),
    });
    if made {
        noted.origin = canary.and_then(|canary| of_status(&decision, origin(canary)?));
    }
    let done = act(context, key, &workload, canary, decision, kept).await;
    noted.written = matches!(done, Ok(true));
    Some((noted, done.map(drop)))
}

fn of_status(decision: &Decision, origin: &str) -> Option<Origin> {
    match decision {
        Decision::Nothing | Decision::Apply(_) => Some(Origin::Current(origin.replacen('/', " ", 1))),
        Decision::Stay(Refusal { reason, message }) | Decision::Refuse(Refusal { reason, message }) => {
            Some(Origin::Left { reason: (*reason).to_owned(), message: message.clone() })
        }
        Decision::GiveBack { why, .. } => Some(Origin::Left {
            reason: "GivingBack".to_owned(),
            message: why.as_ref().map_or_else(|| "the annotation was taken off".to_owned(), |why| why.message.clone()),
        }),
    }
}

/// True when something was written.
async fn act(
    context: &Context,
    key: &CanaryKey,
    workload: &Workload,
    canary: Option<&Arc<Value>>,
    decision: Decision,
    kept: &mut Kept,
) -> Result<bool, ApiProblem> {
    match decision {
        Decision::Nothing => Ok(false),
        Decision::Apply(body) => match apply(context, key, canary, &body, kept).await {
            Err(problem) => {
                if !problem.is_passing() {
                    tell(context, key, workload, &problem.to_string(), &mut kept.told);
                }
                Err(problem)
            }
            done => {
                kept.told = None;
                done
            }
        },
        Decision::GiveBack { uid, why } => {
            let message = match why {
                Some(why) => why.message,
                None => format!(
                    "the annotation {} is gone: {} {} is given back",
                    super::ANNOTATION,
                    workload.kind.as_str(),
                    key.name
                ),
            };
            context.rest.delete(CANARY, &key.namespace, &key.name, &uid).await?;
            tell(context, key, workload, &message, &mut kept.told);
            Ok(true)
        }
        Decision::Stay(refusal) => {
            let message = format!("{}; Canary {} stays as it is", refusal.message, key.name);
            if tell(context, key, workload, &message, &mut kept.told)
                && let Some(canary) = canary
            {
                context.events.publish(canary, EventType::Warning, message, BTreeMap::new());
            }
            Ok(false)
        }
        Decision::Refuse(refusal) => {
            tell(context, key, workload, &refusal.message, &mut kept.told);
            Ok(false)
        }
    }
}

async fn apply(
    context: &Context,
    key: &CanaryKey,
    canary: Option<&Arc<Value>>,
    body: &Value,
    kept: &mut Kept,
) -> Result<bool, ApiProblem> {
    if canary.is_some_and(|canary| covers(Some(canary), body)) {
        return Ok(false);
    }
    let mut hasher = DefaultHasher::new();
    body.to_string().hash(&mut hasher);
    let wish = (hasher.finish(), context.cache.last_event(CANARY, &key.namespace, &key.name));
    if kept.applied == Some(wish) {
        // Written already; the watch has not told yet.
        return Ok(false);
    }
    context.rest.patch(CANARY, &key.namespace, &key.name, None, PatchType::Apply, body).await?;
    kept.applied = Some(wish);
    Ok(true)
}

/// Tells it on the workload, once as long as it stays the same; true when it was told.
fn tell(context: &Context, key: &CanaryKey, workload: &Workload, message: &str, told: &mut Option<String>) -> bool {
    if told.as_deref() == Some(message) {
        return false;
    }
    *told = Some(message.to_owned());
    tracing::warn!(canary = %key, "{message}");
    let regarding = serde_json::json!({
        "apiVersion": "apps/v1", "kind": workload.kind.as_str(),
        "metadata": { "namespace": workload.namespace, "name": workload.name, "uid": workload.uid },
    });
    context.events.publish(&regarding, EventType::Warning, message, BTreeMap::new());
    true
}

/// The workload that the Canary is or would be made for, and another one that asks for the same name.
fn look(view: &View, key: &CanaryKey, canary: Option<&Arc<Value>>) -> (Option<Workload>, Option<Workload>) {
    let of = |kind: TargetKind| {
        let object = view.get_in(workloads::object_kind(kind), &key.namespace, &key.name)?;
        Some(Workload::of(kind, &object))
    };
    let (deployment, daemon_set) = (of(TargetKind::Deployment), of(TargetKind::DaemonSet));
    let made_for = canary.and_then(|canary| {
        origin(canary)?;
        canary.pointer("/spec/targetRef/kind")?.as_str().map(str::to_owned)
    });
    let asks = |workload: &Workload| workload.template.is_some() && !workload.is_of_a_canary;
    let daemon_set_first = match made_for.as_deref() {
        Some(kind) => kind == TargetKind::DaemonSet.as_str(),
        None => !deployment.as_ref().is_some_and(asks),
    };
    let (first, second) = if daemon_set_first { (daemon_set, deployment) } else { (deployment, daemon_set) };
    let second = second.filter(asks).filter(|_| first.is_some());
    (first, second)
}

/// The template of that name, that of the namespace first.
fn find(view: &View, key: &CanaryKey, name: &str) -> Option<Template> {
    let near = view.get_in(CANARY_TEMPLATE, &key.namespace, name);
    let far = view.cache().namespace().is_none().then(|| view.get_in(CLUSTER_CANARY_TEMPLATE, "", name)).flatten();
    let found = |kind: Kind, object: Arc<Value>| Template { kind: kind.kind, object: (*object).clone() };
    near.map(|object| found(CANARY_TEMPLATE, object))
        .or_else(|| far.map(|object| found(CLUSTER_CANARY_TEMPLATE, object)))
}

fn known(cache: &Cache, key: &CanaryKey) -> Vec<String> {
    let near = cache.names(CANARY_TEMPLATE, &key.namespace).into_iter();
    let far = cache.names(CLUSTER_CANARY_TEMPLATE, "").into_iter();
    let problems = [CANARY_TEMPLATE, CLUSTER_CANARY_TEMPLATE].into_iter().filter_map(|kind| cache.problem(kind));
    near.map(|name| format!("CanaryTemplate {name}"))
        .chain(far.map(|name| format!("ClusterCanaryTemplate {name}")))
        .chain(problems)
        .collect()
}

/// Everything asked for is listed, or cannot be; the Canaries are listed in any case.
fn is_settled(cache: &Cache, view: &View) -> bool {
    cache.is_synced(CANARY) && view.unsynced().into_iter().all(|kind| cache.problem(kind).is_some())
}
