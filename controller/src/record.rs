//! Keeps the record of each rollout, a CanaryRun, beside its passes: what [`rollout::Step::log`] says is added after the
//! status was written. A record never keeps a pass from anything: what cannot be written now is written later, and what
//! was lost with the process is marked as a gap, out of the status. See docs/adr/0020.

use std::time::Duration;

use crds::{CANARY_LABEL, CanaryRunSpec, CanaryStatus, Phase, RunEntry, RunPolicy};
use jiff::{SignedDuration, Timestamp};
use rollout::Step;
use rollout::log::{missing, policy};
use rollout::revision::fingerprint;
use rollout::spec::Spec;
use serde_json::{Map, Value, json};

use crate::objects::Owner;
use crate::objects::kinds::CANARY_RUN;
use crate::problem::{ApiProblem, Class};
use crate::rest::{PatchType, Rest, Select};

/// Records kept of each Canary.
const KEPT: usize = 10;

/// Longest record, in bytes of JSON.
const LONGEST: usize = 256 * 1024;

/// How long a record is when it was made shorter, in bytes of JSON.
const SHORTENED: usize = 128 * 1024;

/// Entries that wait to be written; older ones become a gap.
const PENDING: usize = 64;

/// How long after its end a rollout is looked up, after a start, for an end that was not recorded.
const RECENT: Duration = Duration::from_secs(3600);

/// What is remembered of the record between passes. All of it may be lost.
#[derive(Clone, Default)]
pub struct Recording {
    /// A pass has seen to the record since the process started.
    resumed: bool,
    /// An entry of this process was told.
    told: bool,
    /// The record that is written to; none when no rollout is under way.
    open: Option<Open>,
    /// Entries that are not written yet, each with its record, policy and queries.
    pending: Vec<Pending>,
    /// By how much the clock was set since the last entry.
    clock_set: SignedDuration,
    /// When something was written last.
    written_at: Option<Timestamp>,
    /// Writing went wrong, and it was said.
    complained: bool,
}

impl Recording {
    /// Notes what led to that status, where what is known of the record tells that it was not written down.
    fn note_gap(&mut self, before: &CanaryStatus) {
        let Some(run) = &before.run else { return };
        let pending = self.pending.last().map(|pending| (&pending.run, &pending.entry));
        let known = pending.or(self.open.as_ref().map(|open| (&open.name, &open.last)));
        let last = known.filter(|(known, _)| *known == run).map(|(_, last)| last);
        if let Some(entry) = last.and_then(|last| missing(Some(last), before)) {
            self.pending.push(Pending { run: run.clone(), entry, queries: Vec::new() });
        }
    }
}

#[derive(Clone)]
struct Pending {
    run: String,
    entry: RunEntry,
    queries: Vec<Option<String>>,
}

/// A record, as far as it must be known to be added to.
#[derive(Clone)]
struct Open {
    name: String,
    version: String,
    bytes: usize,
    last: RunEntry,
    queries: Vec<String>,
    /// Checksum of the policy that stands last in it.
    policy: String,
    source: Option<crds::Source>,
}

/// What the pass knows.
#[derive(Clone, Copy)]
pub struct Decision<'a> {
    /// Whose rollout it is.
    pub owner: &'a Owner,
    /// The Canary as it was read.
    pub canary: &'a Value,
    /// How it was understood.
    pub spec: &'a Spec,
    /// The status before the pass.
    pub before: &'a CanaryStatus,
    /// What was decided.
    pub step: &'a Step,
    /// When.
    pub now: Timestamp,
    /// By how much the clock was set since the pass before.
    pub clock_set: SignedDuration,
}

/// Adds what was decided to the record; `drain` is how long requests take to leave a canary. What goes wrong is told in the
/// log of the program, once.
pub async fn record(rest: &Rest, drain: Duration, decision: Decision<'_>, recording: &mut Recording) {
    let first = !std::mem::replace(&mut recording.resumed, true);
    recording.clock_set += decision.clock_set;
    let set = i64::try_from(recording.clock_set.as_nanos()).ok().filter(|set| *set != 0);
    if !decision.step.log.is_empty() {
        recording.note_gap(decision.before);
    }
    for logged in &decision.step.log {
        let resumed = !std::mem::replace(&mut recording.told, true) && under_way(decision.before.phase);
        let entry = RunEntry { resumed, clock_set_nanoseconds: set, ..logged.entry.clone() };
        recording.pending.push(Pending { run: logged.run.clone(), entry, queries: logged.queries.clone() });
    }
    if !decision.step.log.is_empty() {
        recording.clock_set = SignedDuration::ZERO;
    }
    if recording.pending.len() > PENDING {
        recording.pending.drain(..recording.pending.len() - PENDING);
        recording.open = None;
    }
    let look_back = first && recording.pending.is_empty() && may_lack(decision.before, decision.now);
    if !look_back && !is_due(recording, decision) {
        return;
    }
    match write(rest, drain, decision, recording, look_back).await {
        Ok(()) => recording.complained = false,
        Err(problem) => {
            // Somebody else may have written, or not all may have come through: the record is read anew.
            recording.open = None;
            if !problem.is_passing() {
                recording.pending.clear();
            }
            if !std::mem::replace(&mut recording.complained, true) {
                tracing::warn!(
                    canary = %format_args!("{}.{}", decision.owner.name, decision.owner.namespace),
                    "the record of the rollout is not up to date: {problem}"
                );
            }
        }
    }
}

/// The entries of the record so far; none when it cannot be read, so that evidence is gathered anew.
pub async fn past(rest: &Rest, namespace: &str, run: &str) -> Vec<RunEntry> {
    let read = rest.get(CANARY_RUN, namespace, run).await;
    let spec = match read {
        Ok(object) => object.and_then(|mut object| serde_json::from_value::<CanaryRunSpec>(object["spec"].take()).ok()),
        Err(problem) => {
            tracing::warn!("evidence of {namespace}/{run} is gathered anew: {problem}");
            None
        }
    };
    spec.map(|spec| spec.entries).unwrap_or_default()
}

fn under_way(phase: Phase) -> bool {
    matches!(phase, Phase::Progressing | Phase::WaitingPromotion | Phase::Promoting | Phase::Finalising)
}

/// After a start: a rollout that is under way, or that ended when the process may have died, may lack its last entry.
fn may_lack(before: &CanaryStatus, now: Timestamp) -> bool {
    let recent = before
        .last_transition_time
        .is_some_and(|since| Duration::try_from(now.duration_since(since)).unwrap_or_default() < RECENT);
    before.run.is_some() && (under_way(before.phase) || recent)
}

/// A look and an end are written at once; what is told in between waits for them, but no longer than an interval.
fn is_due(recording: &Recording, decision: Decision<'_>) -> bool {
    let Some(first) = recording.pending.first() else { return false };
    let since = recording.written_at.map_or(first.entry.time, |at| at.max(first.entry.time));
    let waited = Duration::try_from(decision.now.duration_since(since)).unwrap_or_default();
    let at_once =
        |pending: &Pending| pending.entry.looked || pending.entry.command.is_some() || !under_way(pending.entry.phase);
    recording.pending.iter().any(at_once) || waited >= decision.spec.interval
}

async fn write(
    rest: &Rest,
    drain: Duration,
    decision: Decision<'_>,
    recording: &mut Recording,
    look_back: bool,
) -> Result<(), ApiProblem> {
    while let Some(run) = recording.pending.first().map(|pending| pending.run.clone()) {
        let count = recording.pending.iter().take_while(|pending| pending.run == run).count();
        let batch = recording.pending[..count].to_vec();
        write_run(rest, drain, decision, recording, &run, batch).await?;
        recording.pending.drain(..count);
        recording.written_at = Some(decision.now);
    }
    if let (true, Some(run)) = (look_back, &decision.before.run) {
        write_run(rest, drain, decision, recording, run, Vec::new()).await?;
    }
    if !under_way(decision.step.state.stage.phase()) {
        recording.open = None;
    }
    Ok(())
}

/// Adds the entries to one record, and makes it when it is not there.
async fn write_run(
    rest: &Rest,
    drain: Duration,
    decision: Decision<'_>,
    recording: &mut Recording,
    run: &str,
    mut batch: Vec<Pending>,
) -> Result<(), ApiProblem> {
    let namespace = &decision.owner.namespace;
    let goes_on = decision.before.run.as_deref() == Some(run);
    let open = match recording.open.take().filter(|open| open.name == run) {
        Some(open) => Some(open),
        None if goes_on => {
            let object = rest.get(CANARY_RUN, namespace, run).await?;
            // A write may have come through of which no answer did, and others may have added to it since.
            let written_already = object.as_ref().map(times).unwrap_or_default();
            let written = batch.iter().rposition(|new| written_already.contains(&new.entry.time));
            batch.drain(..written.map_or(0, |last| last + 1));
            object.as_ref().and_then(Open::read)
        }
        None => None,
    };
    let of_this_pass = decision.step.log.iter().filter(|logged| logged.run == run).count();
    let new = batch.split_off(batch.len().saturating_sub(of_this_pass));
    // What led to the status before this pass, where that was not written down.
    let last = batch.last().map(|pending| &pending.entry).or(open.as_ref().map(|open| &open.last));
    let gap = goes_on.then(|| missing(last, decision.before)).flatten().map(|entry| (entry, Vec::new()));
    let told = |pending: Pending| (pending.entry, pending.queries);
    let entries: Vec<_> = batch.into_iter().map(told).chain(gap).chain(new.into_iter().map(told)).collect();
    let Some((last, _)) = entries.last().cloned() else {
        recording.open = open;
        return Ok(());
    };
    let current = decision.step.state.run.as_deref() == Some(run);
    let mut policy = policy(&decision.canary["spec"]);
    policy.insert("provider".into(), decision.spec.provider.as_str().into());
    let written = match open {
        None => {
            let written = rest.create(CANARY_RUN, namespace, &body(decision, drain, run, policy, entries)).await?;
            prune(rest, decision.owner).await?;
            written
        }
        Some(open) if open.bytes > LONGEST => {
            let written = shorten(rest, namespace, &open).await?;
            let Some(shorter) = Open::read(&written) else { return Ok(()) };
            append(rest, namespace, &shorter, decision, policy.clone(), current, entries).await?
        }
        Some(open) => append(rest, namespace, &open, decision, policy, current, entries).await?,
    };
    recording.open = Open::read(&written).map(|open| Open { last, ..open });
    Ok(())
}

fn body(
    decision: Decision<'_>,
    drain: Duration,
    run: &str,
    policy: Map<String, Value>,
    entries: Vec<(RunEntry, Vec<Option<String>>)>,
) -> Value {
    let state = &decision.step.state;
    let begun = entries.first().map_or(decision.now, |(entry, _)| entry.time);
    let mut queries = Vec::new();
    let entries: Vec<RunEntry> = entries.into_iter().map(|entry| numbered(entry, &mut queries)).collect();
    let spec = CanaryRunSpec {
        canary: decision.owner.name.clone(),
        revision: state.applied.as_ref().map(|applied| applied.id.clone()).unwrap_or_default(),
        source: state.source.clone(),
        begun,
        phase: entries.last().map_or(state.stage.phase(), |entry| entry.phase),
        drain_seconds: u32::try_from(drain.as_secs()).unwrap_or(u32::MAX),
        policies: vec![RunPolicy { time: begun, spec: policy }],
        queries,
        truncated: 0,
        entries,
    };
    json!({
        "apiVersion": CANARY_RUN.api_version(), "kind": CANARY_RUN.kind,
        "metadata": {
            "name": run,
            "labels": { CANARY_LABEL: label(&decision.owner.name) },
            "ownerReferences": [decision.owner.reference()],
        },
        "spec": spec,
    })
}

fn numbered((entry, asked): (RunEntry, Vec<Option<String>>), queries: &mut Vec<String>) -> RunEntry {
    rollout::log::Logged { run: String::new(), entry, queries: asked }.numbered(queries)
}

async fn append(
    rest: &Rest,
    namespace: &str,
    open: &Open,
    decision: Decision<'_>,
    policy: Map<String, Value>,
    current: bool,
    entries: Vec<(RunEntry, Vec<Option<String>>)>,
) -> Result<Value, ApiProblem> {
    let mut operations = vec![json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": open.version })];
    let mut queries = open.queries.clone();
    let mut phase = None;
    for entry in entries {
        let entry = numbered(entry, &mut queries);
        phase = Some(entry.phase);
        operations.push(json!({ "op": "add", "path": "/spec/entries/-", "value": entry }));
    }
    for query in queries.iter().skip(open.queries.len()) {
        operations.push(json!({ "op": "add", "path": "/spec/queries/-", "value": query }));
    }
    if let Some(phase) = phase {
        operations.push(json!({ "op": "replace", "path": "/spec/phase", "value": phase }));
    }
    if current && checksum(&policy) != open.policy {
        let changed = RunPolicy { time: decision.now, spec: policy };
        operations.push(json!({ "op": "add", "path": "/spec/policies/-", "value": changed }));
    }
    let source = decision.step.state.source.as_ref();
    if current && source.is_some() && source != open.source.as_ref() {
        operations.push(json!({ "op": "add", "path": "/spec/source", "value": source }));
    }
    rest.patch(CANARY_RUN, namespace, &open.name, None, PatchType::Json, &Value::Array(operations)).await
}

/// Leaves entries out behind the first, the oldest ones first. What is left can still be replayed, from there on.
async fn shorten(rest: &Rest, namespace: &str, open: &Open) -> Result<Value, ApiProblem> {
    let missing = || ApiProblem {
        class: Class::NotFound,
        doing: format!("shorten {} {namespace}/{}", CANARY_RUN.kind, open.name),
        message: "it is gone".into(),
    };
    let live = rest.get(CANARY_RUN, namespace, &open.name).await?.ok_or_else(missing)?;
    let mut spec: CanaryRunSpec = serde_json::from_value(live["spec"].clone()).map_err(|_| missing())?;
    let excess = open.bytes.saturating_sub(SHORTENED);
    let mut cut = 0;
    let mut left_out = 0;
    while cut < excess && spec.entries.len() > left_out + 2 {
        left_out += 1;
        cut += size(&json!(spec.entries[left_out]));
    }
    spec.entries.drain(1..=left_out);
    spec.truncated = spec.truncated.saturating_add(u32::try_from(left_out).unwrap_or(u32::MAX));
    let operations = json!([
        { "op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"] },
        { "op": "replace", "path": "/spec", "value": spec },
    ]);
    rest.patch(CANARY_RUN, namespace, &open.name, None, PatchType::Json, &operations).await
}

/// Deletes the oldest records beyond those that are kept.
async fn prune(rest: &Rest, owner: &Owner) -> Result<(), ApiProblem> {
    let selector = format!("{CANARY_LABEL} in ({})", label(&owner.name));
    let mut records: Vec<(String, String)> = rest
        .list_metadata(CANARY_RUN, &owner.namespace, Select::Labels(&selector), 500)
        .await?
        .iter()
        .filter(|record| owner.controls(record))
        .map(|record| {
            let text = |field: &str| record["metadata"][field].as_str().unwrap_or_default().to_owned();
            (text("name"), text("uid"))
        })
        .collect();
    // The time is in the name.
    records.sort();
    let excess = records.len().saturating_sub(KEPT);
    for (name, uid) in &records[..excess] {
        rest.delete(CANARY_RUN, &owner.namespace, name, uid).await?;
    }
    Ok(())
}

/// A Canary's name as the value of a label, which has 63 letters at most.
pub fn label(canary: &str) -> String {
    if canary.len() <= 63 { canary.to_owned() } else { fingerprint(canary.as_bytes(), 16) }
}

fn checksum(policy: &Map<String, Value>) -> String {
    fingerprint(json!(policy).to_string().as_bytes(), 8)
}

fn size(value: &Value) -> usize {
    value.to_string().len()
}

/// The times of a record's entries.
fn times(object: &Value) -> Vec<Timestamp> {
    let entries = object["spec"]["entries"].as_array().into_iter().flatten();
    entries.filter(|entry| entry["gap"] != true).filter_map(|entry| entry["time"].as_str()?.parse().ok()).collect()
}

impl Open {
    /// `None` when there is nothing that could be added to.
    fn read(object: &Value) -> Option<Open> {
        let spec: CanaryRunSpec = serde_json::from_value(object["spec"].clone()).ok()?;
        Some(Open {
            name: object["metadata"]["name"].as_str()?.to_owned(),
            version: object["metadata"]["resourceVersion"].as_str()?.to_owned(),
            bytes: size(object),
            policy: spec.policies.last().map(|policy| checksum(&policy.spec)).unwrap_or_default(),
            last: spec.entries.into_iter().last()?,
            queries: spec.queries,
            source: spec.source,
        })
    }
}
