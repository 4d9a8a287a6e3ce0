//! One request a second: how often good releases are taken back, what the judge says it still needs and whether that comes true,
//! and what it says where nothing is asked at all.

use super::{Settings, field};
use crate::interval::{Median, Share};
use crate::report::{Bar, Cell, Report, Table, percent};
use crate::rules::{Answer, Metric};
use crate::stream::{Effect, Generator, Plan, Scenario};
use crate::tournament::play;

const RATE: f64 = 60.0;
const ROLLOUTS: u64 = 20_000;
const LONG_ROLLOUTS: u64 = 400;
const LONG: Plan =
    Plan { rate: RATE, history: 6 * 360, buckets: 48 * 360, weights: &[50], base: 0.005, latencies: false };
/// After this part of the time that it takes in the middle, the estimate is read.
const PARTS: [f64; 3] = [0.25, 0.5, 0.75];

pub(super) fn run(settings: &Settings) -> anyhow::Result<Report> {
    let (alarms, worst) = false_alarms(settings)?;
    let (estimates, bars) = estimates(settings)?;
    let silent = on_no_data()?;
    let bars = [
        vec![Bar {
            promise: "at 60 requests/min at most 1 % of good releases are taken back".to_owned(),
            found: format!("at most {} % (up to {} %)", percent(worst.value()), percent(worst.interval().1)),
            holds: worst.value() <= 0.01,
        }],
        bars,
        vec![Bar {
            promise: "nothing is let through on no data".to_owned(),
            found: silent.map_or("no verdict in two days".to_owned(), |answer| format!("{answer:?}")),
            holds: silent.is_none(),
        }],
    ]
    .concat();
    Ok(Report {
        name: "low-traffic".to_owned(),
        title: "One request a second".to_owned(),
        command: settings.command("low-traffic"),
        bars,
        tables: vec![alarms, estimates],
        plots: Vec::new(),
    })
}

fn false_alarms(settings: &Settings) -> anyhow::Result<(Table, Share)> {
    let rules = field::judge(Metric::ErrorRatio, 0.05)?;
    let mut worst = Share::default();
    let mut rows = Vec::new();
    for scenario in Scenario::ALL {
        let generator = Generator { plan: Plan::half_hour(RATE), scenario, effect: Effect::NONE, seed: settings.seed };
        let tallies = play(&generator, 0, settings.rollouts(ROLLOUTS), &rules);
        if worst.of == 0 || tallies[0].worse().value() > worst.value() {
            worst = tallies[0].worse();
        }
        let cells = tallies.iter().map(|tally| tally.worse().into());
        rows.push(std::iter::once(Cell::from(scenario.name())).chain(cells).collect());
    }
    let table = Table {
        title: "Good releases taken back at 60 requests/min".to_owned(),
        note: format!("{} rollouts of half an hour a row.", settings.rollouts(ROLLOUTS)),
        columns: std::iter::once("weather".to_owned()).chain(rules.iter().map(|rule| rule.name())).collect(),
        rows,
    };
    Ok((table, worst))
}

/// What was said and what came true in one long rollout.
struct Told {
    /// When it was let through, in minutes.
    took: Option<f64>,
    /// Each minute from the first on: the minutes that it would take in all, as it was said then.
    total: Vec<Option<f64>>,
}

fn estimates(settings: &Settings) -> anyhow::Result<(Table, Vec<Bar>)> {
    let judge = field::sequential(&[Metric::ErrorRatio], 0.05)?;
    let generator =
        Generator { plan: LONG, scenario: Scenario::Independent, effect: Effect::NONE, seed: settings.seed };
    let mut buckets = Vec::new();
    let told: Vec<Told> = (0..settings.rollouts(LONG_ROLLOUTS))
        .map(|number| {
            generator.rollout(number, &mut buckets);
            let mut told = Told { took: None, total: Vec::new() };
            judge.watch(&[&buckets], 6, |at, verdict| {
                let minutes = f64::from(at) / 60.0;
                match crate::rules::answer(verdict) {
                    Answer::NotWorse => told.took = Some(minutes),
                    Answer::Worse => {}
                    Answer::GoOn => {
                        told.total.push(crate::rules::needs_seconds(verdict).map(|seconds| minutes + seconds / 60.0));
                        return true;
                    }
                }
                false
            });
            told
        })
        .collect();
    let took = Median::of(told.iter().filter_map(|told| told.took).collect(), told.len());
    let Some(middle) = took.value else {
        let found = "most rollouts are not let through in two days".to_owned();
        let table = Table {
            title: "The time still needed".to_owned(),
            note: found.clone(),
            columns: Vec::new(),
            rows: Vec::new(),
        };
        return Ok((table, vec![Bar { promise: PROMISE.to_owned(), found, holds: false }]));
    };
    let mut rows = Vec::new();
    let mut best = Share::default();
    for part in PARTS {
        let minute = ((middle * part) as usize).max(1);
        let said: Vec<(f64, f64)> =
            told.iter().filter_map(|told| Some((told.total.get(minute - 1).copied()??, told.took?))).collect();
        let near = |said: f64, truth: f64| (said / truth - 1.0).abs() <= 0.3;
        let of_middle = Share::count(&said, |(said, _)| near(*said, middle));
        if part == PARTS[0] {
            best = of_middle;
        }
        let own = Share::count(&said, |(said, took)| near(*said, *took));
        rows.push(vec![
            Cell::Number(minute as f64, 0),
            Cell::Number(said.len() as f64, 0),
            of_middle.into(),
            own.into(),
        ]);
    }
    let bar = Bar {
        promise: PROMISE.to_owned(),
        found: format!("{} % of runs after a quarter of the time, {middle:.0} min", percent(best.value())),
        holds: best.value() >= 0.9,
    };
    let table = Table {
        title: "The time still needed, as it was told".to_owned(),
        note: format!(
            "Good releases at 60 requests/min, half of them to the canary; let through after {middle:.0} min in the middle. What a \
             single rollout takes is chance to a large part, which no estimate can know; so what was told is held against the \
             middle of all rollouts first, and against the rollout's own time beside it."
        ),
        columns: ["told at minute", "rollouts open then", "within 30 % of the middle", "within 30 % of its own"]
            .map(str::to_owned)
            .to_vec(),
        rows,
    };
    Ok((table, vec![bar]))
}

const PROMISE: &str = "the time still needed is told within 30 % in 90 % of rollouts";

/// Two days without a request.
fn on_no_data() -> anyhow::Result<Option<Answer>> {
    let generator =
        Generator { plan: Plan { rate: 0.0, ..LONG }, scenario: Scenario::Independent, effect: Effect::NONE, seed: 0 };
    let mut buckets = Vec::new();
    generator.rollout(0, &mut buckets);
    let judge = field::sequential(&[Metric::ErrorRatio], 0.05)?;
    let answers = [Answer::Worse, Answer::NotWorse].map(|answer| judge.first(&[&buckets], answer).map(|_| answer));
    Ok(answers.into_iter().flatten().next())
}
