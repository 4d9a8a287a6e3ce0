//! One pass over one Canary, always in this order: view, parse, ask until the core decides, persist, converge,
//! announce. The status is written before anything else; dying between two writes costs one pass and nothing else.

use std::sync::Arc;
use std::time::Duration;

use crds::CanaryStatus;
use jiff::{SignedDuration, Timestamp};
use rollout::desired::{FinalizerAction, PrimaryAction};
use rollout::{Answers, Input, Outcome, Spec, State, Step};
use serde_json::Value;
use tokio::sync::SemaphorePermit;

use crate::announce;
use crate::cache::CanaryKey;
use crate::clock::Moment;
use crate::context::{Context, Remembered};
use crate::converge::{ConvergeError, converge};
use crate::gather::gather;
use crate::git_rollback;
use crate::objects::{At, Owner};
use crate::observe::{FINALIZER, Scene};
use crate::opt_in::{self, Noted};
use crate::problem::{ApiProblem, Class};
use crate::queue;
use crate::record::{Decision, record};

/// Questions asked in one pass at most; the core asks at most four times in a row.
const ROUNDS: usize = 8;

/// How long a change of the status's words alone waits for another reason to write it.
const WORDS_WAIT: SignedDuration = SignedDuration::from_secs(2);

/// Why a pass did not end well. It is tried again with back-off.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The Kubernetes API refused.
    #[error(transparent)]
    Api(#[from] ApiProblem),
    /// Something cannot be made true.
    #[error(transparent)]
    Converge(#[from] ConvergeError),
    /// The status cannot be read; it is not overwritten.
    #[error("reading the status of the Canary failed: {0}; mend or remove the field")]
    Status(String),
    /// The core never came to a decision.
    #[error("no decision after {ROUNDS} rounds of questions; this is a defect of Serin")]
    Undecided,
}

/// One pass.
pub async fn reconcile(context: Arc<Context>, key: CanaryKey) -> Result<queue::Outcome, ReconcileError> {
    let working = context.working.acquire().await.ok();
    let seen = context.cache.canary(&key);
    let mut remembered = context.recall(&key);
    let (noted, tended) = match opt_in::tend(&context, &key, seen.as_ref(), &mut remembered.opt_in).await {
        Some((noted, tended)) => (Some(noted), tended),
        None => (None, Ok(())),
    };
    let Some(seen) = seen else {
        forget(&context, &key, noted.as_ref());
        if noted.is_some() {
            context.remember(&key, Remembered { opt_in: remembered.opt_in, ..Remembered::default() });
        }
        return tended.map(|()| queue::Outcome::default()).map_err(Into::into);
    };
    if !context.knows(&key) {
        count(&context, &key);
    }
    if noted.as_ref().is_some_and(|noted| noted.written) {
        context.remember(&key, remembered);
        // Its new version wakes us, or has done so.
        return Ok(queue::Outcome { requeue_after: Some(Duration::from_secs(1)) });
    }
    if remembered.written.as_ref().is_some_and(|(base, _)| version(&seen) != base) {
        // The cache has caught up; a parsed Canary is too large to be kept for nothing.
        remembered.written = None;
    }
    let canary = newest(seen, &remembered);
    match pass(&context, &key, &canary, noted.as_ref(), &mut remembered, working).await {
        Ok(outcome) => {
            context.remember(&key, remembered);
            tended?;
            Ok(outcome)
        }
        // Someone else wrote the Canary: what was decided rests on old facts. Its new version wakes us.
        Err(ReconcileError::Api(ApiProblem { class: Class::Conflict | Class::NotFound, .. })) => {
            Ok(queue::Outcome { requeue_after: Some(Duration::from_millis(200)) })
        }
        Err(ReconcileError::Converge(problem)) => {
            context.remember(&key, remembered);
            if let ConvergeError::Api(ApiProblem { class: Class::Conflict, .. }) = problem {
                return Ok(queue::Outcome { requeue_after: Some(Duration::from_millis(200)) });
            }
            Err(ReconcileError::Converge(problem))
        }
        Err(ReconcileError::Api(problem)) => {
            if let Class::Denied(_) = problem.class {
                // Nothing can be written of it into the status when it is the status that is refused.
                note_refusal(
                    &context,
                    &canary,
                    None,
                    None,
                    (problem.reason().to_owned(), problem.to_string()),
                    &mut remembered,
                );
                context.remember(&key, remembered);
            }
            Err(ReconcileError::Api(problem))
        }
        Err(error) => Err(error),
    }
}

/// Keeps the refusal for the status, and tells it once.
fn note_refusal(
    context: &Context,
    canary: &Value,
    spec: Option<&Spec>,
    source: Option<&crds::Source>,
    refused: (String, String),
    remembered: &mut Remembered,
) {
    if remembered.refused.as_ref() != Some(&refused) {
        announce::event(context, canary, spec, source, true, &refused.1);
    }
    remembered.refused = Some(refused);
}

async fn pass(
    context: &Arc<Context>,
    key: &CanaryKey,
    canary: &Arc<Value>,
    noted: Option<&Noted>,
    remembered: &mut Remembered,
    mut working: Option<SemaphorePermit<'_>>,
) -> Result<queue::Outcome, ReconcileError> {
    let before: CanaryStatus = match canary.get("status") {
        Some(status) => {
            serde_path_to_error::deserialize(status).map_err(|error| ReconcileError::Status(error.to_string()))?
        }
        None => CanaryStatus::default(),
    };
    let now = context.now();
    let generation = canary.at("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
    let spec = match parse(context, key, canary) {
        Ok(spec) => spec,
        Err(problems) => {
            let view = context.cache.view(key.clone());
            view.finish_beside(noted.map(|noted| &noted.view));
            let mut status = rollout::report::invalid(&before, &problems, generation, now);
            add_origin(&mut status, &before, noted, now);
            if persist(context, canary, &before, &status, remembered).await? {
                for problem in &problems {
                    announce::event(context, canary, None, before.source.as_ref(), true, problem);
                }
            }
            context.history.record(canary, &status, now);
            return Ok(queue::Outcome::default());
        }
    };
    let owner = Owner {
        namespace: key.namespace.to_string(),
        name: key.name.to_string(),
        uid: canary.at("/metadata/uid").and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    remembered.names = Some((spec.target.name.clone(), spec.primary_name()));
    let written = State::from_status(&before);
    if let Some(outcome) = context.rollbacks.take(key) {
        remembered.memory.git_outcome = Some(outcome);
    }
    let mut answers = Answers::default();
    for _ in 0..ROUNDS {
        let view = context.cache.view(key.clone());
        let (mut scene, mut problems) = Scene::look(context, &view, &owner, &spec).await?;
        scene.heir = opt_in::heir(canary);
        let moment = context.clock().moment();
        let now = moment.wall;
        let (state, memory) = remembered.by_clock(&written, &moment);
        let blocked: Vec<String> = view.problems();
        let unsynced = view.unsynced().len() > blocked.len();
        problems.extend(blocked.into_iter().map(|problem| ("CannotWatch".to_owned(), problem)));
        let seen = scene.observation(canary, &state, problems, now);
        if unsynced || view.unsynced().len() > view.problems().len() {
            // What was not found may well exist: nothing is decided before all is listed, which wakes us.
            return Ok(queue::Outcome::default());
        }
        let settings = context.settings.rollout;
        let input = Input {
            spec: &spec,
            state: &state,
            seen: &seen,
            memory: &memory,
            answers: &answers,
            settings: &settings,
            now,
        };
        match rollout::step(input) {
            Outcome::Ask(asks) => {
                let started = std::time::Instant::now();
                drop(working.take());
                gather(&scene, &state, &asks, &mut answers).await;
                working = context.working.acquire().await.ok();
                context.metrics.duration(&owner.namespace, &spec.target.name, started.elapsed().as_secs_f64());
            }
            Outcome::Step(step) => {
                let decided = Decided { shared: context, canary, noted, before: &before, generation, moment };
                let outcome = carry_out(&scene, decided, *step, remembered).await;
                view.finish_beside(noted.map(|noted| &noted.view));
                return outcome;
            }
        }
    }
    Err(ReconcileError::Undecided)
}

struct Decided<'a> {
    shared: &'a Arc<Context>,
    canary: &'a Arc<Value>,
    noted: Option<&'a Noted>,
    before: &'a CanaryStatus,
    generation: i64,
    moment: Moment,
}

/// Persist, converge, announce.
async fn carry_out(
    scene: &Scene<'_>,
    decided: Decided<'_>,
    mut step: Step,
    remembered: &mut Remembered,
) -> Result<queue::Outcome, ReconcileError> {
    let context = scene.context;
    let Decided { shared, canary, noted, before, generation, moment } = decided;
    let now = moment.wall;
    if let Some((reason, message)) = remembered.refused.clone() {
        step.waiting.insert(0, crds::WaitingFor { reason, message });
    }
    let pods_refused = scene.refused_pods(now);
    if let Some(message) = pods_refused.clone() {
        let reason = rollout::report::POLICY_DENIED.to_owned();
        step.waiting.insert(0, crds::WaitingFor { reason, message });
    }
    if !is_current(context, scene.view.canary(), canary, remembered) {
        // Hooks and metrics may take long, and a pass that writes no status would not meet the conflict.
        return Ok(queue::Outcome { requeue_after: Some(Duration::ZERO) });
    }
    let mut status = rollout::report::status(&step, before, scene.spec.target.kind, generation, now);
    add_origin(&mut status, before, noted, now);
    let words_due = words_due(before, &status, remembered, now);
    if words_due.is_none() {
        persist(context, canary, before, &status, remembered).await?;
    }
    remembered.memory = step.memory.clone();
    let clock_set = remembered.decided.as_ref().map_or(SignedDuration::ZERO, |(decided, _)| moment.set_since(decided));
    remembered.decided = Some((moment, step.state.times()));
    // The primary is first made from what stands there; later only from what was analysed.
    let revision = match step.desired.primary {
        PrimaryAction::Keep | PrimaryAction::Create => None,
        PrimaryAction::Promote => step.state.applied.as_ref().map(|applied| applied.id.clone()),
        PrimaryAction::Rebuild => step.state.promoted.as_ref().map(|promoted| promoted.id.clone()),
    };
    let mut converged = converge(scene, &step.desired, revision.as_deref()).await;
    let key = scene.view.canary();
    let held = git_rollback::apply(&context.rest, key, step.desired.hold, &step.state, scene.view).await;
    if converged.is_ok() {
        converged = held.map_err(ConvergeError::Api);
    }
    context.rollbacks.begin(shared, key, scene.spec, &step, scene.view);
    announce::announce(scene, canary, &step, remembered).await;
    let decision = Decision { owner: scene.owner, canary, spec: scene.spec, before, step: &step, now, clock_set };
    record(&context.rest, context.settings.rollout.drain, decision, &mut remembered.recording).await;
    if let Some(message) = pods_refused.as_ref().filter(|message| remembered.pods_refused.as_ref() != Some(message)) {
        announce::event(context, canary, Some(scene.spec), status.source.as_ref(), true, message);
    }
    remembered.pods_refused = pods_refused;
    context.history.record(canary, &status, now);
    let finalizer = match step.desired.finalizer {
        FinalizerAction::Keep => None,
        FinalizerAction::Add => Some(true),
        FinalizerAction::Remove => Some(false),
    };
    if let Err(problem) = converged {
        if !problem.is_passing() {
            let refused = (problem.reason().to_owned(), problem.to_string());
            note_refusal(context, canary, Some(scene.spec), status.source.as_ref(), refused, remembered);
        }
        return Err(problem.into());
    }
    let mended = remembered.refused.take().is_some();
    if let Some(present) = finalizer {
        let newest = newest(canary.clone(), remembered);
        context.writer.set_finalizer(&newest, FINALIZER, present).await?;
    }
    if mended || !remembered.memory.delivered.is_empty() {
        return Ok(queue::Outcome { requeue_after: Some(Duration::ZERO) });
    }
    let requeue_after = [step.wake, words_due].into_iter().flatten().min().map(|wake| {
        // A hair later, so that the time has come when we look.
        Duration::try_from(wake.duration_since(context.now())).unwrap_or_default() + Duration::from_millis(1)
    });
    Ok(queue::Outcome { requeue_after })
}

fn add_origin(status: &mut CanaryStatus, before: &CanaryStatus, noted: Option<&Noted>, now: Timestamp) {
    if let Some(origin) = noted.and_then(|noted| noted.origin.as_ref()) {
        rollout::report::add_origin(status, before, origin, now);
    }
}

/// Until when a status that differs in its words alone may wait for a write that is needed anyway; `None` when it is to be
/// written now. Most waits are over before, and then there was nothing to tell.
fn words_due(
    before: &CanaryStatus,
    status: &CanaryStatus,
    remembered: &mut Remembered,
    now: Timestamp,
) -> Option<Timestamp> {
    // After a refusal the next look may be minutes away, and people are waiting for the reason.
    if remembered.refused.is_some() || !rollout::report::differ_in_words_only(before, status) {
        remembered.reworded_since = None;
        return None;
    }
    let since = *remembered.reworded_since.get_or_insert(now);
    // A time to come was noted before the clock was set back.
    let due = since.min(now) + WORDS_WAIT;
    if due > now {
        return Some(due);
    }
    remembered.reworded_since = None;
    None
}

/// Writes the status when it differs; true when it did.
async fn persist(
    context: &Context,
    canary: &Arc<Value>,
    before: &CanaryStatus,
    status: &CanaryStatus,
    remembered: &mut Remembered,
) -> Result<bool, ReconcileError> {
    if before == status && canary.get("status").is_some() {
        return Ok(false);
    }
    let value = serde_json::to_value(status).map_err(|error| ReconcileError::Status(error.to_string()))?;
    let mut written = context.writer.persist_status(canary, &value).await?;
    if let Some(metadata) = written.get_mut("metadata").and_then(Value::as_object_mut) {
        // The larger half of the object, and of no use here.
        metadata.remove("managedFields");
    }
    let replaced = version(canary).to_owned();
    // What the cache holds may be older than what we just replaced.
    let base = match remembered.written.take() {
        Some((base, ours)) if version(&ours) == replaced => base,
        Some(_) | None => replaced,
    };
    remembered.written = Some((base, Arc::new(written)));
    Ok(true)
}

/// False when somebody else has written the Canary since it was read.
fn is_current(context: &Context, key: &CanaryKey, canary: &Value, remembered: &Remembered) -> bool {
    let Some(seen) = context.cache.canary(key) else { return false };
    let replaced = match &remembered.written {
        Some((base, ours)) if version(ours) == version(canary) => Some(base.as_str()),
        Some(_) | None => None,
    };
    version(&seen) == version(canary) || Some(version(&seen)) == replaced
}

/// The Canary as the cache has it, or as our own last write left it when the cache has not seen that yet.
fn newest(cached: Arc<Value>, remembered: &Remembered) -> Arc<Value> {
    match &remembered.written {
        Some((base, ours)) if version(&cached) == base => ours.clone(),
        Some(_) | None => cached,
    }
}

fn version(object: &Value) -> &str {
    object.at("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default()
}

fn parse(context: &Context, key: &CanaryKey, canary: &Value) -> Result<Spec, Vec<String>> {
    let spec = parse_alone(context, canary)?;
    if let Some(first) = first_of_target(context, key, canary, &spec) {
        return Err(vec![format!(
            "spec.targetRef: {} {} is already the target of Canary {}; delete one of the two",
            spec.target.kind.as_str(),
            spec.target.name,
            first.name
        )]);
    }
    Ok(spec)
}

fn parse_alone(context: &Context, canary: &Value) -> Result<Spec, Vec<String>> {
    let typed = rollout::parse::from_value(canary).map_err(|invalid| vec![invalid.to_string()])?;
    rollout::parse::parse(&typed, &context.defaults())
        .map_err(|invalid| invalid.iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// An older Canary with the same target, if there is one: two would tear at the same workload. One that means nothing
/// does nothing, and so stands in nobody's way.
fn first_of_target(context: &Context, key: &CanaryKey, canary: &Value, spec: &Spec) -> Option<CanaryKey> {
    let rivals = context.cache.canaries_of_target(&key.namespace, spec.target.kind.as_str(), &spec.target.name);
    let born = |canary: &Value| {
        canary.at("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let own = (born(canary), key.name.clone());
    rivals
        .into_iter()
        .filter(|rival| rival != key)
        .filter_map(|rival| {
            let seen = context.cache.canary(&rival)?;
            parse_alone(context, &seen).ok()?;
            Some(((born(&seen), rival.name.clone()), rival))
        })
        .filter(|(age, _)| *age < own)
        .min_by(|left, right| left.0.cmp(&right.0))
        .map(|(_, rival)| rival)
}

/// How many Canaries there are beside this one.
fn count(context: &Context, key: &CanaryKey) {
    let neighbours = context.cache.canaries().into_iter().filter(|canary| canary.namespace == key.namespace);
    context.metrics.canaries(&key.namespace, neighbours.count());
}

fn forget(context: &Context, key: &CanaryKey, noted: Option<&Noted>) {
    context.cache.view(key.clone()).finish_beside(noted.map(|noted| &noted.view));
    context.writer.tidy();
    context.configs.tidy();
    context.history.forget(key);
    context.rollbacks.forget(key);
    count(context, key);
    if let Some(Remembered { names: Some((target, primary)), .. }) = context.forget(key) {
        context.metrics.forget(&key.namespace, &target, &primary);
    }
}
