//! How often a release is let through that is worse by exactly what the policy calls too much, and how soon a good one is.

use super::{Settings, field};
use crate::report::{Bar, Cell, Report, Table, percent};
use crate::rules::{Answer, Metric};
use crate::stream::{Effect, Generator, Plan, Scenario};
use crate::tournament::{Tally, play};

const ROLLOUTS: u64 = 2_000;
const HOURS: u32 = 3;

pub(super) fn run(settings: &Settings) -> anyhow::Result<Report> {
    let rules = field::judge(Metric::ErrorRatio, 0.05)?;
    let mut rows = Vec::new();
    for scenario in Scenario::ALL {
        for rate in [60.0, 600.0, 6_000.0] {
            let plan = Plan { buckets: HOURS * 360, ..Plan::half_hour(rate) };
            let tallies = |effect| {
                let generator = Generator { plan, scenario, effect, seed: settings.seed };
                play(&generator, 0, settings.rollouts(ROLLOUTS), &rules)
            };
            let bad = tallies(Effect::errors(1.0 + field::EFFECT));
            rows.push((format!("{scenario}, {rate}/min"), bad, tallies(Effect::NONE)));
        }
    }
    let worst = rows.iter().max_by(|a, b| a.1[0].not_worse().value().total_cmp(&b.1[0].not_worse().value()));
    let (label, bad, _) = worst.expect("scenarios are played");
    let share = bad[0].not_worse();
    let bar = Bar {
        promise: format!(
            "a release that is worse by exactly the declared effect (errors ×{}) is let through in at most 5 %",
            1.0 + field::EFFECT
        ),
        found: format!("at most {} % (up to {} %), in {label}", percent(share.value()), percent(share.interval().1)),
        holds: share.value() <= 0.05,
    };
    let names = |what: &str| rules.iter().map(|rule| format!("{}: {what}", rule.name())).collect::<Vec<_>>();
    let columns = [
        vec!["weather, traffic".to_owned()],
        names("worse, let through"),
        names("good, let through"),
        names("median min"),
    ];
    let cells = |(label, bad, good): &(String, Vec<Tally>, Vec<Tally>)| {
        std::iter::once(Cell::from(label.as_str()))
            .chain(bad.iter().map(|tally| tally.not_worse().into()))
            .chain(good.iter().map(|tally| tally.not_worse().into()))
            .chain(good.iter().map(|tally| tally.minutes(Answer::NotWorse).into()))
            .collect()
    };
    Ok(Report {
        name: "promotion".to_owned(),
        title: "How often a bad release is let through".to_owned(),
        command: settings.command("promotion"),
        bars: vec![bar],
        tables: vec![Table {
            title: "Releases let through within three hours".to_owned(),
            note: format!(
                "{} rollouts of {HOURS} hours a row, a look every ten seconds; let through at the first look that finds evidence of \
                 its not being worse by the declared effect.",
                settings.rollouts(ROLLOUTS)
            ),
            columns: columns.concat(),
            rows: rows.iter().map(cells).collect(),
        }],
        plots: Vec::new(),
    })
}
