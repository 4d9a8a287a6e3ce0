//! What a pass adds to the record of its rollout: what the decision rests on, and what came of it. From that alone the
//! decision can be had again, see [`crate::replay`].

use std::time::Duration;

use crds::{CanaryStatus, RunEntry, RunHook, RunSample};
use jiff::Timestamp;
use serde_json::{Map, Value};
use url::Url;

use crate::observation::Answers;
use crate::reading::{HookAnswer, Measured, Reading};
use crate::revision::fingerprint;
use crate::spec::HookKind;
use crate::state::{Run, State};

/// Letters that are kept of a text; all that is told begins alike when its parts are cut before or after.
const TEXT: usize = 512;

/// Sentences that are kept of a pass.
const SENTENCES: usize = 16;

/// Letters that are kept of a Canary's name in that of a record, which may have 253.
const NAME: usize = 220;

/// An entry for the record of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Name of the record.
    pub run: String,
    /// The entry; its samples do not name their queries yet.
    pub entry: RunEntry,
    /// The query of each sample, in the provider's language.
    pub queries: Vec<Option<String>>,
}

/// Name of the record of the rollout that begins now: the Canary's, the time, and a checksum of the revision.
pub fn run_name(canary: &str, uid: &str, revision: &str, now: Timestamp) -> String {
    let end = (0..=NAME.min(canary.len())).rev().find(|end| canary.is_char_boundary(*end)).unwrap_or_default();
    let canary = canary[..end].trim_end_matches(['.', '-']);
    let checksum = fingerprint(format!("{uid}/{revision}").as_bytes(), 4);
    format!("{canary}-{}-{checksum}", now.strftime("%Y%m%dt%H%M%S"))
}

/// What of a Canary's `spec` decides, for the record: not whom it alerts, and of hooks neither what they are sent nor
/// credentials in their addresses.
pub fn policy(spec: &Value) -> Map<String, Value> {
    let mut policy = Map::new();
    for field in ["provider", "targetRef", "progressDeadlineSeconds", "skipAnalysis", "analysis"] {
        if let Some(value) = spec.get(field) {
            policy.insert(field.to_owned(), value.clone());
        }
    }
    let Some(analysis) = policy.get_mut("analysis").and_then(Value::as_object_mut) else { return policy };
    analysis.remove("alerts");
    for hook in analysis.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(hook) = hook.as_object_mut() else { continue };
        hook.remove("metadata");
        let url = hook.get("url").and_then(Value::as_str).and_then(|url| Url::parse(url).ok());
        if let Some(mut url) = url {
            url.set_query(None);
            // Only addresses without a host can have no credentials, and refuse to lose them.
            let _ = url.set_username("").and_then(|()| url.set_password(None));
            hook.insert("url".into(), Value::String(url.into()));
        }
    }
    policy
}

/// The entry of a decision that led to this state.
pub(crate) fn entry(state: &State, now: Timestamp, told: impl Iterator<Item = String>) -> RunEntry {
    let run = match state.stage.run() {
        Some(run) => run,
        None => Run { failed_checks: state.stage.failed_checks(), ..Run::default() },
    };
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    RunEntry {
        time: now,
        former_traffic_time: state.former_traffic,
        unavailable_since: state.unavailable_since,
        phase: state.stage.phase(),
        weight: i32::from(state.stage.weight()),
        iterations: count(run.iterations),
        failed_checks: count(run.failed_checks),
        mirrored: state.stage.mirrored(),
        paused: state.paused,
        told: told.take(SENTENCES).map(|text| cut(&text)).collect(),
        ..RunEntry::default()
    }
}

impl Logged {
    /// The entry with its queries named by their places in `queries`, to which those are added that are new.
    pub fn numbered(self, queries: &mut Vec<String>) -> RunEntry {
        let mut entry = self.entry;
        for (sample, query) in entry.samples.iter_mut().zip(self.queries) {
            let place = query.map(|query| {
                queries.iter().position(|known| *known == query).unwrap_or_else(|| {
                    queries.push(query);
                    queries.len() - 1
                })
            });
            sample.query = place.and_then(|place| u32::try_from(place).ok());
        }
        entry
    }
}

/// What led to that status, where a record with this `last` entry, if it has any, lacks it.
pub fn missing(last: Option<&RunEntry>, status: &CanaryStatus) -> Option<RunEntry> {
    let standing = |entry: &RunEntry| {
        (entry.phase, entry.weight, entry.iterations, entry.failed_checks, entry.mirrored, entry.paused)
    };
    let later = |last: &RunEntry| status.last_check_time.is_some_and(|checked| checked > last.time);
    gap(status).filter(|gap| last.is_none_or(|last| later(last) || standing(gap) != standing(last)))
}

/// What the status tells of a decision that was not recorded, because the process died before that or the API refused.
fn gap(status: &CanaryStatus) -> Option<RunEntry> {
    let state = State::from_status(status);
    let time = state.checked_at.into_iter().chain(state.since).max()?;
    let checks = status.checks.iter().map(|check| {
        let value = check.value.as_ref().map(|value| format!(" at {value}")).unwrap_or_default();
        format!("check {} {}{value}", check.name, check.result)
    });
    let looked = state.checked_at.is_some();
    Some(RunEntry {
        gap: true,
        looked,
        waiting_for: status.waiting_for.first().cloned(),
        ..entry(&state, time, checks)
    })
}

/// What hooks answered, but for those that decide nothing.
pub(crate) fn hooks(answers: &Answers) -> Vec<RunHook> {
    let mut hooks = Vec::new();
    for (kind, answers) in &answers.hooks {
        match kind {
            HookKind::ConfirmRollout
            | HookKind::PreRollout
            | HookKind::Rollout
            | HookKind::ConfirmTrafficIncrease
            | HookKind::ConfirmPromotion
            | HookKind::Rollback => {}
            HookKind::PostRollout | HookKind::Event => continue,
        }
        for (name, answer) in answers {
            let (answer, message) = match answer {
                HookAnswer::Yes => ("Yes", None),
                HookAnswer::No(why) => ("No", Some(cut(why))),
                HookAnswer::Failed(why) => ("Failed", Some(cut(why))),
            };
            hooks.push(RunHook { name: name.clone(), type_: kind.as_str().into(), answer: answer.into(), message });
        }
    }
    hooks
}

/// Reads what [`hooks`] wrote.
pub(crate) fn hook_answer(hook: &RunHook) -> Result<(HookKind, HookAnswer), String> {
    let kind = HookKind::parse(&hook.type_).ok_or_else(|| format!("hook type {:?} is not known", hook.type_))?;
    let why = || hook.message.clone().unwrap_or_default();
    let answer = match hook.answer.as_str() {
        "Yes" => HookAnswer::Yes,
        "No" => HookAnswer::No(why()),
        "Failed" => HookAnswer::Failed(why()),
        other => return Err(format!("answer {other:?} of a hook is not known; known: Yes, No, Failed")),
    };
    Ok((kind, answer))
}

/// What was measured, without the query.
pub(crate) fn sample(measured: &Measured) -> RunSample {
    let mut sample = RunSample {
        metric: measured.metric.clone(),
        asked: measured.asked,
        window_milliseconds: milliseconds(measured.window),
        ..RunSample::default()
    };
    let (missing, message) = match &measured.reading {
        Reading::Value(value) => {
            sample.value = Some(value.to_string());
            return sample;
        }
        Reading::Buckets(buckets) => {
            let buckets: Vec<String> = buckets.iter().map(|(edge, count)| format!("{edge}={count}")).collect();
            sample.buckets = Some(buckets.join(" "));
            return sample;
        }
        Reading::NoValue => ("NoValue", None),
        Reading::Unavailable(why) => ("Unavailable", Some(cut(why))),
        Reading::Stale { age, .. } => {
            sample.age_milliseconds = Some(milliseconds(*age));
            ("Stale", None)
        }
        Reading::Invalid(why) => ("Invalid", Some(cut(why))),
    };
    sample.missing = Some(missing.into());
    sample.message = message;
    sample
}

/// Reads what [`sample`] wrote.
pub(crate) fn measured(sample: &RunSample) -> Result<Measured, String> {
    let window = Duration::from_millis(sample.window_milliseconds);
    let why = || sample.message.clone().unwrap_or_default();
    if let Some(buckets) = &sample.buckets {
        let read = buckets.split(' ').map(|bucket| {
            let (edge, count) = bucket.split_once('=')?;
            Some((edge.parse().ok()?, count.parse().ok()?))
        });
        let read: Option<Vec<(f64, f64)>> = read.collect();
        let reading = read.ok_or_else(|| format!("the buckets of {} are no numbers", sample.metric))?;
        let reading = Reading::Buckets(reading);
        return Ok(Measured { metric: sample.metric.clone(), reading, query: None, asked: sample.asked, window });
    }
    let reading = match (&sample.value, sample.missing.as_deref()) {
        (Some(value), None) => {
            let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
            Reading::Value(number.ok_or_else(|| format!("value {value:?} of {} is no number", sample.metric))?)
        }
        (None, Some("NoValue")) => Reading::NoValue,
        (None, Some("Unavailable")) => Reading::Unavailable(why()),
        (None, Some("Stale")) => {
            let age = sample.age_milliseconds.map(Duration::from_millis);
            Reading::Stale { age: age.unwrap_or(window), window }
        }
        (None, Some("Invalid")) => Reading::Invalid(why()),
        (None, Some(other)) => {
            return Err(format!("missing: {other:?} is not known; known: NoValue, Unavailable, Stale, Invalid"));
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(format!("the sample of {} must have either value or missing", sample.metric));
        }
    };
    Ok(Measured { metric: sample.metric.clone(), reading, query: None, asked: sample.asked, window })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_as_it_was() {
        let window = Duration::from_millis(60_500);
        let readings = [
            Reading::Value(0.1 + 0.2),
            Reading::Value(-1e-300),
            Reading::Value(100.0),
            Reading::Buckets(vec![(0.1, 1.5), (f64::INFINITY, 2.0)]),
            Reading::NoValue,
            Reading::Unavailable("connection refused".into()),
            Reading::Stale { age: Duration::from_millis(70_001), window },
            Reading::Invalid("not a number".into()),
        ];
        for reading in readings {
            let written = Measured {
                metric: "errors".into(),
                reading,
                query: None,
                asked: "2026-03-01T12:00:00Z".parse().expect("a time"),
                window,
            };
            assert_eq!(measured(&sample(&written)), Ok(written));
        }
    }

    #[test]
    fn a_policy_is_recorded_without_what_is_nobodys_business() {
        let spec = serde_json::json!({
            "provider": "traefik", "service": {"port": 80}, "metricsServer": "http://u:p@prometheus",
            "analysis": {
                "threshold": 2, "alerts": [{"name": "x"}],
                "webhooks": [{"name": "load", "url": "http://me:secret@load/gate?token=1", "metadata": {"cmd": "hey"}}],
            },
        });
        let wanted = serde_json::json!({
            "provider": "traefik",
            "analysis": {"threshold": 2, "webhooks": [{"name": "load", "url": "http://load/gate"}]},
        });
        assert_eq!(Value::Object(policy(&spec)), wanted);
    }

    #[test]
    fn names_are_those_of_objects_however_long_the_canarys_is() {
        let now = "2026-03-01T12:00:05Z".parse().expect("a time");
        let name = run_name("podinfo", "uid", "s1-0a.1b", now);
        assert!(name.starts_with("podinfo-20260301t120005-") && name.len() == 32, "{name}");
        let long = run_name(&"a.".repeat(126), "uid", "s1-0a.1b", now);
        assert!(long.len() <= 253 && long.starts_with("a.a.") && !long.contains(".-"), "{long}");
    }
}
