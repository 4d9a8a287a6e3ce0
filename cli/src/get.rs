//! `serin get`.

use jiff::Timestamp;
use serde::Serialize;

use crate::args::Format;
use crate::cluster::Cluster;
use crate::complaint::Complaint;
use crate::paint::{Paint, write_out};
use crate::text;
use crate::view::{Detail, RolloutView, Row};

/// Prints one Canary in full.
pub async fn one(cluster: &Cluster, name: &str, format: Format) -> Result<(), Complaint> {
    let snapshot = cluster.snapshot(name).await?;
    let detail = if format == Format::Wide { Detail::Wide } else { Detail::Usual };
    let view = RolloutView::of(&snapshot, Timestamp::now(), detail);
    print(format, &view, || text::rollout(&view, Paint::for_stdout()))
}

/// Prints the Canaries of the namespace, or of all.
pub async fn all(cluster: &Cluster, everywhere: bool, format: Format) -> Result<(), Complaint> {
    let canaries = cluster.canaries(everywhere).await?;
    let now = Timestamp::now();
    let rows: Vec<Row> = canaries.iter().map(|canary| Row::of(canary, now)).collect();
    if rows.is_empty() && matches!(format, Format::Text | Format::Wide) {
        let place = if everywhere { "the cluster".to_owned() } else { format!("namespace {}", cluster.namespace) };
        eprintln!("there are no canaries in {place}");
        return Ok(());
    }
    print(format, &rows, || text::rows(&rows, Paint::for_stdout(), everywhere, format == Format::Wide))
}

/// Prints the facts, or the text made of them.
pub(crate) fn print(format: Format, facts: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Complaint> {
    let rendered = match format {
        Format::Text | Format::Wide => text(),
        Format::Json => {
            let json = serde_json::to_string_pretty(facts).map_err(|failure| Complaint::Render(failure.to_string()))?;
            json + "\n"
        }
        Format::Yaml => serde_saphyr::to_string(facts).map_err(|failure| Complaint::Render(failure.to_string()))?,
    };
    Ok(write_out(&rendered)?)
}
