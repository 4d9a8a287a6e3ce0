//! Good releases in all weathers and at all rates: how many are taken back.

use super::{RATES, Settings, field};
use crate::plot;
use crate::report::{Bar, Cell, Report, Table, percent};
use crate::rules::{Metric, Rule};
use crate::stream::{Effect, Generator, Plan, Scenario};
use crate::tournament::{Tally, play};

const ROLLOUTS: u64 = 20_000;
const LATENCY_ROLLOUTS: u64 = 2_000;

pub(super) fn run(settings: &Settings) -> anyhow::Result<Report> {
    let mut bars = Vec::new();
    let mut tables = Vec::new();
    let mut rows = Vec::new();
    for (metric, full) in [(Metric::ErrorRatio, ROLLOUTS), (Metric::P99, LATENCY_ROLLOUTS)] {
        let mut rules = field::usual(metric);
        rules.extend(field::judge(metric, 0.05)?);
        let usual = rules.len();
        rules.extend(field::judge(metric, 0.01)?);
        let played = all(settings, metric, settings.rollouts(full), &rules);
        let what = match metric {
            Metric::ErrorRatio => "error ratio",
            Metric::P99 => "p99 latency",
        };
        for (range, alpha) in [(field::usual(metric).len()..usual, 0.05), (usual..rules.len(), 0.01)] {
            for rule in range {
                bars.push(bar(what, alpha, rule, &played));
            }
        }
        tables.push(table(what, settings.rollouts(full), &rules, &played));
        if metric == Metric::ErrorRatio {
            rows = played.into_iter().map(|(label, tallies)| (label, tallies[..usual].to_vec())).collect();
        }
    }
    plot::false_alarms(&settings.folder.join("false-alarms.svg"), &rows)?;
    Ok(Report {
        name: "false-alarms".to_owned(),
        title: "How often good releases are taken back".to_owned(),
        command: settings.command("false-alarms"),
        bars,
        tables,
        plots: vec!["false-alarms.svg".to_owned()],
    })
}

fn all(settings: &Settings, metric: Metric, rollouts: u64, rules: &[Box<dyn Rule>]) -> Vec<(String, Vec<Tally>)> {
    let mut rows = Vec::new();
    for scenario in Scenario::ALL {
        for rate in RATES {
            let plan = Plan { latencies: metric == Metric::P99, ..Plan::half_hour(rate) };
            let generator = Generator { plan, scenario, effect: Effect::NONE, seed: settings.seed };
            rows.push((format!("{scenario}, {rate}/min"), play(&generator, 0, rollouts, rules)));
        }
    }
    rows
}

fn bar(what: &str, alpha: f64, rule: usize, played: &[(String, Vec<Tally>)]) -> Bar {
    let worst = played.iter().max_by(|a, b| a.1[rule].worse().value().total_cmp(&b.1[rule].worse().value()));
    let (label, tallies) = worst.expect("scenarios are played");
    let share = tallies[rule].worse();
    Bar {
        promise: format!("{}, {what}: at most {} % of good releases taken back", tallies[rule].name, percent(alpha)),
        found: format!("at most {} % (up to {} %), in {label}", percent(share.value()), percent(share.interval().1)),
        holds: share.value() <= alpha,
    }
}

fn table(what: &str, rollouts: u64, rules: &[Box<dyn Rule>], played: &[(String, Vec<Tally>)]) -> Table {
    Table {
        title: format!("Good releases taken back, by {what}"),
        note: format!(
            "{rollouts} rollouts of half an hour a row; the rules of others look every minute or five, the judge every ten \
             seconds (180 looks)."
        ),
        columns: std::iter::once("weather, traffic".to_owned()).chain(rules.iter().map(|rule| rule.name())).collect(),
        rows: played
            .iter()
            .map(|(label, tallies)| {
                std::iter::once(Cell::from(label.as_str()))
                    .chain(tallies.iter().map(|tally| tally.worse().into()))
                    .collect()
            })
            .collect(),
    }
}
