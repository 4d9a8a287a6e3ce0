//! Twenty metrics at once, none of them worse: how often any of them is called worse.

use super::{Settings, field};
use crate::interval::Share;
use crate::report::{Bar, Report, Table, percent};
use crate::rules::{Answer, Metric, Serin, answer};
use crate::stream::{Bucket, Effect, Generator, Plan, Scenario};

const ROLLOUTS: u64 = 5_000;
const METRICS: usize = 20;

pub(super) fn run(settings: &Settings) -> anyhow::Result<Report> {
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for alpha in [0.05, 0.01] {
        let judge = field::sequential(&[Metric::ErrorRatio; METRICS], alpha)?;
        let mut worst = Share::default();
        for scenario in Scenario::ALL {
            for rate in [600.0, 6_000.0] {
                let share = called_worse(settings, &judge, scenario, rate);
                if worst.of == 0 || share.value() > worst.value() {
                    worst = share;
                }
                rows.push(vec![format!("{scenario}, {rate}/min").into(), format!("{alpha}").into(), share.into()]);
            }
        }
        bars.push(Bar {
            promise: format!(
                "of {METRICS} metrics any is called worse in at most {} % of good releases",
                percent(alpha)
            ),
            found: format!("at most {} % (up to {} %)", percent(worst.value()), percent(worst.interval().1)),
            holds: worst.value() <= alpha,
        });
    }
    Ok(Report {
        name: "family".to_owned(),
        title: "Twenty metrics at once".to_owned(),
        command: settings.command("family"),
        bars,
        tables: vec![Table {
            title: "Good releases taken back for any of twenty metrics".to_owned(),
            note: format!(
                "{} rollouts of half an hour a row, 180 looks; each metric has weather of its own.",
                settings.rollouts(ROLLOUTS)
            ),
            columns: ["weather, traffic", "α", "taken back"].map(str::to_owned).to_vec(),
            rows,
        }],
        plots: Vec::new(),
    })
}

fn called_worse(settings: &Settings, judge: &Serin, scenario: Scenario, rate: f64) -> Share {
    let generator = Generator { plan: Plan::half_hour(rate), scenario, effect: Effect::NONE, seed: settings.seed };
    let mut streams: Vec<Vec<Bucket>> = vec![Vec::new(); METRICS];
    let of = settings.rollouts(ROLLOUTS);
    let hits = (0..of)
        .filter(|rollout| {
            for (metric, stream) in streams.iter_mut().enumerate() {
                generator.rollout((1 << 40) + rollout * METRICS as u64 + metric as u64, stream);
            }
            let streams: Vec<&[Bucket]> = streams.iter().map(Vec::as_slice).collect();
            answer(&judge.verdict(&streams)) == Answer::Worse
        })
        .count();
    Share { hits: hits as u64, of }
}
