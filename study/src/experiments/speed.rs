//! How long a replay and a decision take, on one core of the machine that runs this.

use std::time::Instant;

use judge::{Judge, Log};

use super::{Settings, field};
use crate::report::{Bar, Cell, Report, Table};
use crate::rules::{Metric, Serin};
use crate::stream::{Bucket, Effect, Generator, Plan, Scenario};

const SAMPLES: usize = 1_000_000;
const ARMS: usize = 3;

pub(super) fn run(settings: &Settings) -> anyhow::Result<Report> {
    let streams = |metrics: usize, buckets: usize| -> Vec<Vec<Bucket>> {
        let plan = Plan { buckets: buckets as u32, history: 0, ..Plan::half_hour(6_000.0) };
        let generator = Generator { plan, scenario: Scenario::SharedDrift, effect: Effect::NONE, seed: settings.seed };
        (0..metrics)
            .map(|metric| {
                let mut stream = Vec::new();
                generator.rollout(metric as u64, &mut stream);
                stream
            })
            .collect()
    };
    let one = field::sequential(&[Metric::ErrorRatio], 0.05)?;
    let twenty = field::sequential(&[Metric::ErrorRatio; 20], 0.05)?;
    let long = replayed(&one, &streams(1, SAMPLES / ARMS + 1));
    let broad = replayed(&twenty, &streams(20, SAMPLES / ARMS / 20 + 1));
    let decision = decided(&twenty, &streams(20, 180));
    let row = |what: &str, seconds: f64| vec![Cell::from(what), Cell::Number(seconds * 1000.0, 3)];
    let bar = |promise: &str, seconds: f64, limit: f64| Bar {
        promise: promise.to_owned(),
        found: format!("{:.3} ms", seconds * 1000.0),
        holds: seconds < limit,
    };
    Ok(Report {
        name: "speed".to_owned(),
        title: "How long it takes".to_owned(),
        command: settings.command("speed"),
        bars: vec![
            bar("a million samples are replayed in under a second", long.max(broad), 1.0),
            bar("one decision over 20 metrics takes under a millisecond", decision, 0.001),
        ],
        tables: vec![Table {
            title: "Times".to_owned(),
            note: "The middle of five runs, on one core.".to_owned(),
            columns: ["what", "ms"].map(str::to_owned).to_vec(),
            rows: vec![
                row("replay of 1,000,000 samples of one metric", long),
                row("replay of 1,000,000 samples of twenty metrics", broad),
                row("one decision over 20 metrics, with half an hour behind it", decision),
            ],
        }],
        plots: Vec::new(),
    })
}

/// Seconds for one replay of these streams, the middle of five.
fn replayed(judge: &Serin, streams: &[Vec<Bucket>]) -> f64 {
    let log = judge.log(&streams.iter().map(Vec::as_slice).collect::<Vec<_>>());
    middle(|| {
        let began = Instant::now();
        std::hint::black_box(judge::judge(&log, &judge.policy));
        began.elapsed().as_secs_f64()
    })
}

/// Seconds for taking in the last look of these streams and deciding, the middle of five.
fn decided(judge: &Serin, streams: &[Vec<Bucket>]) -> f64 {
    let whole = judge.log(&streams.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let last = streams.len() * ARMS;
    let entries = whole.entries[..whole.entries.len() - last].to_vec();
    let before = Log { series: whole.series.clone(), entries };
    let mut learnt = Judge::new(judge.policy.clone());
    learnt.learn(&before);
    middle(|| {
        let mut judge = learnt.clone();
        let began = Instant::now();
        judge.learn(&whole);
        std::hint::black_box(judge.verdict());
        began.elapsed().as_secs_f64()
    })
}

/// The middle of five.
fn middle(mut measure: impl FnMut() -> f64) -> f64 {
    let mut times: [f64; 5] = std::array::from_fn(|_| measure());
    times.sort_unstable_by(f64::total_cmp);
    times[2]
}
