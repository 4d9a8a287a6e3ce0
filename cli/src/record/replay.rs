//! `serin replay`.

use std::path::Path;
use std::process::ExitCode;

use crds::{Check, RunPolicy};
use jiff::Timestamp;
use rollout::replay::{Replay, policies, spec_of, what_if};
use rollout::spec::Spec;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Record, Verdict, with_defaults};
use crate::args::{Format, Place};
use crate::complaint::Complaint;
use crate::paint::Paint;
use crate::{get, text};

/// A rollout that was decided once more.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// Name of the record.
    pub run: String,
    /// Namespace of the Canary.
    pub namespace: String,
    /// Name of the Canary.
    pub canary: String,
    /// When the rollout began.
    pub begun: Timestamp,
    /// The file of the other policy; none when the record's own was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// How it ended.
    pub recorded: Verdict,
    /// How it ends this time.
    pub replayed: Verdict,
    /// Every decision is the same.
    pub same: bool,
    /// Where the two part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Parting>,
    /// Entries that the record lacks, left out for it to stay small.
    pub truncated: u32,
    /// The decisions.
    pub decisions: Vec<Decided>,
    /// What must be known to believe the result.
    pub notes: Vec<String>,
}

/// The first decision that is another.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Parting {
    /// When.
    pub at: Timestamp,
    /// Seconds since the rollout began.
    pub seconds: i64,
    /// As recorded.
    pub recorded: String,
    /// As it is this time.
    pub replayed: String,
}

/// One decision.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// When.
    pub at: Timestamp,
    /// Seconds since the rollout began.
    pub seconds: i64,
    /// The phase after it.
    pub phase: &'static str,
    /// Percent of the traffic meant for the canary after it.
    pub weight: i32,
    /// Failed checks after it.
    pub failed_checks: i32,
    /// What was told.
    pub told: Vec<String>,
    /// What the checks came to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// It rests on what no record holds, as on pods that do not become ready.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub given: bool,
}

impl Replayed {
    /// Decides once more, by the policy in `text` when there is one; `name` is its file.
    ///
    /// # Errors
    /// When the record or the policy cannot be understood.
    pub fn of(record: &Record, policy: Option<(&str, &str)>) -> Result<Replayed, Complaint> {
        let (run, namespace) = (&record.run, record.namespace.as_str());
        let unreadable = |why: &dyn std::fmt::Display| Complaint::Refused(format!("{}: {why}", record.name));
        let replay = match policy {
            None => with_defaults(|defaults| policies(run, defaults))
                .and_then(|policies| rollout::replay::replay(run, namespace, policies)),
            Some((name, text)) => what_if(run, namespace, other(record, name, text)?),
        };
        let replay = replay.map_err(|why| unreadable(&why))?;
        Ok(Replayed::told(record, policy.map(|(name, _)| name.to_owned()), replay))
    }

    fn told(record: &Record, policy: Option<String>, replay: Replay) -> Replayed {
        let begun = replay.begun;
        let seconds = |at: Timestamp| at.duration_since(begun).as_secs();
        let decisions = replay.turns.into_iter().map(|turn| Decided {
            at: turn.replayed.time,
            seconds: seconds(turn.replayed.time),
            phase: turn.replayed.phase.as_str(),
            weight: turn.replayed.weight,
            failed_checks: turn.replayed.failed_checks,
            told: turn.replayed.told,
            checks: turn.checks,
            given: turn.given,
        });
        let difference = replay.difference.map(|difference| Parting {
            at: difference.time,
            seconds: seconds(difference.time),
            recorded: difference.recorded,
            replayed: difference.replayed,
        });
        Replayed {
            run: record.name.clone(),
            namespace: record.namespace.clone(),
            canary: record.run.canary.clone(),
            begun,
            policy,
            recorded: Verdict::of(&replay.recorded, begun),
            replayed: Verdict::of(&replay.replayed, begun),
            same: difference.is_none(),
            difference,
            truncated: record.run.truncated,
            decisions: decisions.collect(),
            notes: replay.notes,
        }
    }
}

/// The other policy: a Canary as it stands, or the recorded one with what is written in its place.
fn other(record: &Record, name: &str, text: &str) -> Result<Spec, Complaint> {
    let refused = |why: &dyn std::fmt::Display| Complaint::Refused(format!("{name}: {why}"));
    let written: Value = serde_saphyr::from_str(text).map_err(|error| refused(&error))?;
    let last = record.run.policies.last().cloned().unwrap_or_default();
    let spec = match (written["kind"].as_str(), &written["spec"]) {
        (Some("Canary"), Value::Object(spec)) => {
            let mut spec = rollout::log::policy(&Value::Object(spec.clone()));
            for field in ["provider", "targetRef"] {
                if let (None, Some(value)) = (spec.get(field), last.spec.get(field)) {
                    spec.insert(field.to_owned(), value.clone());
                }
            }
            spec
        }
        (Some(kind), _) => return Err(refused(&format!("a policy is a Canary or a part of one, this is a {kind}"))),
        (None, _) => {
            let known = ["provider", "targetRef", "progressDeadlineSeconds", "skipAnalysis", "analysis"];
            let fields = written.as_object().ok_or_else(|| refused(&"it holds no fields"))?;
            if let Some(unknown) = fields.keys().find(|field| !known.contains(&field.as_str())) {
                let known = known.join(", ");
                return Err(refused(&format!("{unknown} is no field of a policy; known: {known}")));
            }
            let mut spec = Value::Object(last.spec.clone());
            merge(&mut spec, &written);
            spec.as_object().cloned().unwrap_or_default()
        }
    };
    let policy = RunPolicy { time: record.run.begun, spec };
    with_defaults(|defaults| spec_of(&record.run, &policy, defaults)).map_err(|why| refused(&why.why))
}

/// RFC 7386: fields that are written stand in place of the others, null takes one away.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        into.clone_from(patch);
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Some(fields) = into.as_object_mut() else { return };
    for (field, value) in patch {
        if value.is_null() {
            fields.remove(field);
        } else {
            merge(fields.entry(field.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Prints what comes of it; fails when the record's own policy comes to something else than is recorded.
///
/// # Errors
/// When there is no such record, or it or the policy cannot be understood.
pub async fn print(place: &Place, subject: &str, policy: Option<&Path>, format: Format) -> Result<ExitCode, Complaint> {
    let record = Record::find(place, subject).await?;
    let text = match policy {
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|why| Complaint::Refused(format!("reading the policy {name}: {why}")))?;
            Some((name, text))
        }
        None => None,
    };
    let policy = text.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    let replayed = Replayed::of(&record, policy)?;
    get::print(format, &replayed, || text::record::replayed(&replayed, Paint::for_stdout()))?;
    Ok(if replayed.same || replayed.policy.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
