//! What a bad release costs users before it is taken back: failed requests in the canary, beside Flagger's rule tuned to as many
//! false alarms.

use super::{Settings, detection};
use crate::plot;
use crate::report::{Bar, Cell, Report, Table};
use crate::rules::Metric;
use crate::stream::{Effect, Generator, Plan, Scenario};
use crate::tournament::{Tally, play};

const ROLLOUTS: u64 = 2_000;

pub(super) fn run(settings: &Settings) -> anyhow::Result<Report> {
    let mut rows = Vec::new();
    for scenario in [Scenario::Independent, Scenario::Clumped] {
        for (rate, factor) in [(600.0, 4.0), (600.0, 10.0), (6_000.0, 4.0), (6_000.0, 10.0), (60_000.0, 4.0)] {
            let bad = Generator {
                plan: Plan::half_hour(rate),
                scenario,
                effect: Effect::errors(factor),
                seed: settings.seed,
            };
            let rules = detection::rules(settings, &Generator { effect: Effect::NONE, ..bad }, Metric::ErrorRatio)?;
            let tallies = play(&bad, 0, settings.rollouts(ROLLOUTS), &rules);
            rows.push((format!("{scenario}, {rate}/min, errors ×{factor}"), tallies));
        }
    }
    plot::harm(&settings.folder.join("harm.svg"), &rows)?;
    Ok(Report {
        name: "harm".to_owned(),
        title: "How many requests fail before a bad release is taken back".to_owned(),
        command: settings.command("harm"),
        bars: rows.iter().filter(|(label, _)| label.starts_with("independent")).map(bar).collect(),
        tables: vec![table(settings.rollouts(ROLLOUTS), &rows)],
        plots: vec!["harm.svg".to_owned()],
    })
}

/// Median failed requests under the judge as a part of those under Flagger's rule at as many false alarms.
fn ratio(tallies: &[Tally]) -> Option<f64> {
    let flagger = tallies.iter().find(|tally| tally.name == detection::FLAGGER_EQUAL)?;
    Some(tallies[0].failed().value? / flagger.failed().value?)
}

fn bar((label, tallies): &(String, Vec<Tally>)) -> Bar {
    let ratio = ratio(tallies);
    Bar {
        promise: format!("{label}: at most 60 % of the failed requests of Flagger's rule at the same false alarms"),
        found: ratio.map_or("no figure".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0)),
        holds: ratio.is_some_and(|ratio| ratio <= 0.6),
    }
}

fn table(rollouts: u64, rows: &[(String, Vec<Tally>)]) -> Table {
    let names = rows[0].1.iter().map(|tally| tally.name.clone());
    Table {
        title: "Failed requests of users in the canary, median".to_owned(),
        note: format!("{rollouts} rollouts a row, up to the rollback or for half an hour."),
        columns: std::iter::once("weather, traffic, fault".to_owned())
            .chain(names)
            .chain(std::iter::once("judge / Flagger at its false alarms".to_owned()))
            .collect(),
        rows: rows
            .iter()
            .map(|(label, tallies)| {
                let cells = tallies.iter().map(|tally| tally.failed().into());
                let ratio = ratio(tallies).map_or(Cell::from("–"), |ratio| Cell::Number(ratio, 2));
                std::iter::once(Cell::from(label.as_str())).chain(cells).chain(std::iter::once(ratio)).collect()
            })
            .collect(),
    }
}
