//! Bad releases: how many are taken back within half an hour, and how soon.

use super::{Settings, field};
use crate::plot;
use crate::report::{Bar, Cell, Report, Table, percent};
use crate::rules::{Answer, Metric, Rule};
use crate::stream::{Effect, Generator, Plan, Scenario};
use crate::tournament::{Tally, play};

const ROLLOUTS: u64 = 2_000;
const TUNING: u64 = 2_000;

/// Flagger's rule at the false alarms of the judge.
pub(super) const FLAGGER_EQUAL: &str = "Flagger, at the judge's false alarms";

/// A kind of bad release, and what is promised for it: within how many minutes half of them are taken back, and how many at all.
struct Case {
    rate: f64,
    effect: Effect,
    metric: Metric,
    promise: Option<(f64, f64)>,
}

fn cases() -> Vec<Case> {
    let errors =
        |rate, factor, promise| Case { rate, effect: Effect::errors(factor), metric: Metric::ErrorRatio, promise };
    let slow = |rate, factor, promise| Case { rate, effect: Effect::slow_path(factor), metric: Metric::P99, promise };
    vec![
        errors(60.0, 4.0, None),
        errors(60.0, 10.0, None),
        errors(600.0, 2.0, None),
        errors(600.0, 4.0, Some((9.0, 0.99))),
        errors(600.0, 10.0, Some((3.0, 0.0))),
        errors(6_000.0, 2.0, None),
        errors(6_000.0, 4.0, Some((2.0, 0.0))),
        errors(60_000.0, 2.0, None),
        slow(600.0, 1.5, None),
        slow(6_000.0, 1.5, Some((5.0, 0.0))),
        slow(60_000.0, 1.5, None),
    ]
}

pub(super) fn run(settings: &Settings) -> anyhow::Result<Report> {
    let mut bars = Vec::new();
    let mut tables = Vec::new();
    for scenario in [Scenario::Independent, Scenario::Clumped, Scenario::SharedDrift] {
        let mut rows = Vec::new();
        for case in cases() {
            let tallies = one(settings, scenario, &case)?;
            let promise = case.promise.filter(|_| scenario == Scenario::Independent);
            bars.extend(promise.map(|promise| bar(&case, promise, &tallies)));
            if scenario == Scenario::Independent && case.rate == 600.0 && case.effect == Effect::errors(4.0) {
                plot::detection(&settings.folder.join("detection.svg"), "errors ×4 at 600 requests/min", &tallies)?;
            }
            rows.push((case, tallies));
        }
        tables.push(table(scenario, settings.rollouts(ROLLOUTS), &rows));
    }
    Ok(Report {
        name: "detection".to_owned(),
        title: "How soon bad releases are taken back".to_owned(),
        command: settings.command("detection"),
        bars,
        tables,
        plots: vec!["detection.svg".to_owned()],
    })
}

/// One kind of bad release before all rules.
fn one(settings: &Settings, scenario: Scenario, case: &Case) -> anyhow::Result<Vec<Tally>> {
    let plan = Plan { latencies: case.metric == Metric::P99, ..Plan::half_hour(case.rate) };
    let bad = Generator { plan, scenario, effect: case.effect, seed: settings.seed };
    let rules = rules(settings, &Generator { effect: Effect::NONE, ..bad }, case.metric)?;
    let full = if plan.latencies { ROLLOUTS / 4 } else { ROLLOUTS };
    Ok(play(&bad, 0, settings.rollouts(full), &rules))
}

/// The field for detection, the judge first.
pub(super) fn rules(settings: &Settings, good: &Generator, metric: Metric) -> anyhow::Result<Vec<Box<dyn Rule>>> {
    let tuning = settings.rollouts(if metric == Metric::P99 { TUNING / 4 } else { TUNING });
    let mut rules = field::judge(metric, 0.05)?;
    let alarms = play(good, u64::MAX / 2, tuning, &rules[..1])[0].worse().value();
    rules.extend(field::usual(metric));
    let flagger = |share| field::tuned_flagger(good, metric, tuning, share);
    rules.push(Box::new(field::Named("Flagger, tuned", flagger(field::TUNED))));
    rules.push(Box::new(field::Named(FLAGGER_EQUAL, flagger(alarms))));
    rules.push(Box::new(field::Named("Kayenta, tuned", field::tuned_kayenta(good, metric, tuning))));
    Ok(rules)
}

fn name(case: &Case) -> String {
    match case.metric {
        Metric::ErrorRatio => format!("{}/min, errors ×{}", case.rate, case.effect.errors),
        Metric::P99 => format!("{}/min, p99 ×{}", case.rate, case.effect.slow_path),
    }
}

fn bar(case: &Case, (minutes, power): (f64, f64), tallies: &[Tally]) -> Bar {
    let median = tallies[0].minutes(Answer::Worse);
    let share = tallies[0].worse();
    let found = median.value.map_or("never".to_owned(), |value| format!("{value:.1} min"));
    Bar {
        promise: match power {
            0.0 => format!("{}: half of them within {minutes} min", name(case)),
            power => format!("{}: half of them within {minutes} min, {} % at all", name(case), percent(power)),
        },
        found: format!("{}: {found}, {} % at all", tallies[0].name, percent(share.value())),
        holds: median.value.is_some_and(|value| value <= minutes) && share.value() >= power,
    }
}

fn table(scenario: Scenario, rollouts: u64, rows: &[(Case, Vec<Tally>)]) -> Table {
    let names = rows[0].1.iter().flat_map(|tally| [tally.name.clone(), "median min".to_owned()]);
    Table {
        title: format!("Bad releases taken back: {scenario}"),
        note: format!(
            "{rollouts} rollouts of half an hour a row (a quarter for latencies). \"Tuned\" rules take back at most 5 % of good \
             releases in the same weather; the others are as they come, with the false alarms of the other table."
        ),
        columns: std::iter::once("traffic, fault".to_owned()).chain(names).collect(),
        rows: rows
            .iter()
            .map(|(case, tallies)| {
                let cells =
                    tallies.iter().flat_map(|tally| [tally.worse().into(), tally.minutes(Answer::Worse).into()]);
                std::iter::once(Cell::from(name(case))).chain(cells).collect()
            })
            .collect(),
    }
}
