//! `serin explain`.

use crds::{Check, CommandTaken, RunHook, Source, WaitingFor};
use jiff::Timestamp;
use rollout::replay::policies;
use serde::Serialize;

use super::{Record, Verdict, with_defaults};
use crate::args::{Format, Place};
use crate::complaint::Complaint;
use crate::paint::Paint;
use crate::{get, text};

/// The last decision about a rollout, with what it rests on.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Name of the record.
    pub run: String,
    /// Namespace of the Canary.
    pub namespace: String,
    /// Name of the Canary.
    pub canary: String,
    /// Where the revision comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// When the rollout began.
    pub begun: Timestamp,
    /// How it ended, or that it has not.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// When the last decision was taken.
    pub decided: Timestamp,
    /// Percent of the traffic that the canary had when it was taken.
    pub weight: i32,
    /// Failed checks after it.
    pub failed_checks: i32,
    /// Failed checks that end the rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<u32>,
    /// The command that led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandTaken>,
    /// What was told with it.
    pub told: Vec<String>,
    /// What the checks came to.
    pub checks: Vec<Check>,
    /// What hooks answered.
    pub hooks: Vec<RunHook>,
    /// Why nothing moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// The queries behind the checks, by metric, with the time when each was asked.
    pub queries: Vec<Asked>,
    /// Decisions that look the same and led here: so many looks found a failed check.
    pub failed_looks: usize,
    /// Looks in all.
    pub looks: usize,
    /// Entries that the record lacks, left out for it to stay small.
    pub truncated: u32,
    /// The decision cannot be had again from the record: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

/// What was asked about a metric.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// The metric.
    pub metric: String,
    /// When.
    pub at: Timestamp,
    /// Seconds that the query looks back.
    pub window_seconds: f64,
    /// In the provider's language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

impl Explanation {
    /// Explains the last decision on record.
    ///
    /// # Errors
    /// When the record holds none, or cannot be understood.
    pub fn of(record: &Record) -> Result<Explanation, Complaint> {
        let run = &record.run;
        let verdict = Verdict::of(&rollout::replay::recorded(run), run.begun);
        let refused = |why: String| Complaint::Refused(format!("{}: {why}", record.name));
        let replay = with_defaults(|defaults| policies(run, defaults))
            .and_then(|policies| Ok((rollout::replay::replay(run, &record.namespace, policies.clone())?, policies)));
        let (replay, policies) = replay.map_err(|why| refused(why.to_string()))?;
        // What ended the analysis, or else the last look.
        let decisive = run.entries.iter().position(|entry| entry.time == verdict.at && verdict.verdict != "Open");
        let last_look = run.entries.iter().rposition(|entry| entry.looked || entry.command.is_some());
        let place = decisive.or(last_look).unwrap_or(run.entries.len().saturating_sub(1));
        let entry = run.entries.get(place).ok_or_else(|| refused("there is no decision on record yet".into()))?;
        let turn = replay.turns.iter().find(|turn| turn.entry == place);
        let before = place.checked_sub(1).and_then(|before| run.entries.get(before));
        let failed = |entry: &&crds::RunEntry| entry.looked && entry.told.iter().any(|told| told.starts_with("Halt"));
        Ok(Explanation {
            run: record.name.clone(),
            namespace: record.namespace.clone(),
            canary: run.canary.clone(),
            source: run.source.clone(),
            begun: run.begun,
            verdict,
            decided: entry.time,
            weight: before.map_or(entry.weight, |before| before.weight),
            failed_checks: entry.failed_checks,
            threshold: policies.iter().rev().find(|(from, _)| *from <= entry.time).map(|(_, spec)| spec.threshold),
            command: entry.command.clone(),
            told: entry.told.clone(),
            checks: turn.map(|turn| turn.checks.clone()).unwrap_or_default(),
            hooks: entry.hooks.clone(),
            waiting_for: entry.waiting_for.clone(),
            queries: entry
                .samples
                .iter()
                .map(|sample| Asked {
                    metric: sample.metric.clone(),
                    at: sample.asked,
                    window_seconds: sample.window_milliseconds as f64 / 1000.0,
                    query: sample.query.and_then(|place| run.queries.get(usize::try_from(place).ok()?)).cloned(),
                })
                .collect(),
            failed_looks: run.entries.iter().filter(failed).count(),
            looks: run.entries.iter().filter(|entry| entry.looked).count(),
            truncated: run.truncated,
            doubt: replay.difference.map(|difference| {
                format!(
                    "decided once more, it comes to another result from {} UTC on",
                    difference.time.strftime("%H:%M:%S")
                )
            }),
        })
    }
}

/// Prints why the last decision was taken.
///
/// # Errors
/// When there is no such record, or it cannot be understood.
pub async fn print(place: &Place, subject: &str, format: Format) -> Result<(), Complaint> {
    let explanation = Explanation::of(&Record::find(place, subject).await?)?;
    get::print(format, &explanation, || text::record::explanation(&explanation, Paint::for_stdout()))
}
