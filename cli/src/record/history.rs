//! `serin history`.

use crds::Source;
use jiff::Timestamp;
use serde::Serialize;

use super::{Record, Verdict};
use crate::args::Format;
use crate::cluster::Cluster;
use crate::complaint::Complaint;
use crate::paint::Paint;
use crate::{get, text};

/// One rollout of a Canary.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PastRollout {
    /// Name of the record.
    pub run: String,
    /// When it began.
    pub begun: Timestamp,
    /// The revision.
    pub revision: String,
    /// Where the revision comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How it ended.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl PastRollout {
    /// What a record tells in one line.
    pub fn of(record: &Record) -> PastRollout {
        let run = &record.run;
        PastRollout {
            run: record.name.clone(),
            begun: run.begun,
            revision: run.revision.clone(),
            source: run.source.clone(),
            verdict: Verdict::of(&rollout::replay::recorded(run), run.begun),
        }
    }
}

/// Prints the rollouts that are on record.
///
/// # Errors
/// When there is no such Canary, or its records cannot be read.
pub async fn print(cluster: &Cluster, name: &str, format: Format) -> Result<(), Complaint> {
    let runs = cluster.runs(name).await?;
    if runs.is_empty() {
        cluster.canary(name).await?;
    }
    let past: Result<Vec<_>, _> =
        runs.iter().map(|run| Record::of(run, name).map(|record| PastRollout::of(&record))).collect();
    let past = past?;
    get::print(format, &past, || text::record::history(&past, Paint::for_stdout()))
}
