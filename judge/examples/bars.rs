//! Seeded rollouts of one error metric against the sequential judge: false alarms, detection, promotion, needs, speed.
#![allow(clippy::unwrap_used, reason = "it may panic")]
#![expect(clippy::print_stdout, reason = "it is all that this program does")]
#![expect(clippy::disallowed_methods, reason = "speed is measured with a clock")]

use judge::policy::{Against, Direction, Effect, Measure, Method, Metric, Sequential, Weight};
use judge::sample::{Arm, Entry, Event, Kind, Log, Mark, Outcome, Sample, Series};
use judge::{Decision, Judge, Policy, judge};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};

const BASE: f64 = 0.005;
const WINDOW: u64 = 10;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Weather {
    Independent,
    Clumped,
    Pods,
    Restarts,
}

fn poisson(rng: &mut ChaCha8Rng, mean: f64) -> f64 {
    Poisson::new(mean).map_or(0.0, |poisson| poisson.sample(rng))
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    rand_distr::StandardNormal.sample(rng)
}

fn policy(metrics: usize, against: Against) -> Policy {
    let rule = Sequential::new(Measure::Errors, Direction::Higher, against, Effect::new(1.0, 0.0).unwrap()).unwrap();
    let metric = |place: usize| Metric {
        name: format!("m{place}"),
        weight: Weight::try_from(1.0).unwrap(),
        method: Method::Sequential(rule),
    };
    Policy::new((0..metrics).map(metric).collect()).unwrap()
}

fn rollout(seed: u64, rate: f64, ratio: f64, weather: Weather, metrics: usize, looks: u64, history: f64) -> Log {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut log = Log::default();
    let mut series = Vec::new();
    for metric in 0..metrics {
        for arm in [Arm::Canary, Arm::Baseline, Arm::Primary] {
            series.push(log.series(Series {
                metric: format!("m{metric}"),
                arm,
                kind: Kind::Counts,
                query: String::new(),
            }));
        }
    }
    let begin = 100_000_000;
    if history > 0.0 {
        for metric in 0..metrics {
            let outcome = Outcome::Counts { requests: history, errors: poisson(&mut rng, history * BASE) };
            let sample =
                Sample { series: series[metric * 3 + 2], from: 0, to: begin, asked: begin, newest: None, outcome };
            log.entries.push(Entry::Mark(Mark { at: begin, what: Event::Started }));
            log.entries.push(Entry::Sample(sample));
        }
    }
    let mut factor = [1.0; 3];
    let mut restart = [0; 3];
    if weather == Weather::Pods {
        for (arm, factor) in factor.iter_mut().enumerate() {
            let pods = if arm == 2 { 10 } else { 5 };
            *factor = (0..pods).map(|_| (0.2 * normal(&mut rng) - 0.02).exp()).sum::<f64>() / f64::from(pods);
        }
    }
    let mut before = 0.0;
    for window in 0..looks * 60 / WINDOW {
        let minute = window * WINDOW / 60;
        let share = 0.1 * (1 + (minute / 6).min(4)) as f64;
        let (from, to) = (begin + window * WINDOW * 1000, begin + (window + 1) * WINDOW * 1000);
        if share != before {
            log.entries.push(Entry::Mark(Mark { at: from, what: Event::Split { canary: share, baseline: share } }));
            before = share;
        }
        for metric in 0..metrics {
            for arm in 0..3 {
                let part = if arm == 2 { (1.0 - 2.0 * share).max(0.0) } else { share };
                let requests = poisson(&mut rng, rate * part * WINDOW as f64 / 60.0);
                let mut rate = BASE * factor[arm] * if arm == 0 { ratio } else { 1.0 };
                if weather == Weather::Restarts {
                    if restart[arm] == 0 && rng.random_bool(1.0 / 90.0) {
                        restart[arm] = 2;
                    }
                    if restart[arm] > 0 {
                        restart[arm] -= 1;
                        rate += 0.04;
                    }
                }
                let errors = if weather == Weather::Clumped {
                    let bursts = poisson(&mut rng, requests * rate / 5.0) as u32;
                    (0..bursts).map(|_| 1.0 + (rng.random::<f64>().ln() / 0.8_f64.ln()).floor()).sum::<f64>()
                } else {
                    poisson(&mut rng, requests * rate)
                };
                let outcome = Outcome::Counts { requests, errors: errors.min(requests) };
                let asked = begin + (to - begin).div_ceil(60_000) * 60_000;
                let newest = Some(to);
                log.entries.push(Entry::Sample(Sample {
                    series: series[metric * 3 + arm],
                    from,
                    to,
                    asked,
                    newest,
                    outcome,
                }));
            }
        }
    }
    log
}

struct Row {
    worse: f64,
    passed: f64,
    median: f64,
    failed: f64,
}

fn row(runs: u64, rate: f64, ratio: f64, weather: Weather, metrics: usize, looks: u64, against: Against) -> Row {
    let policy = policy(metrics, against);
    let (mut worse, mut passed, mut times, mut failed) = (0.0, 0.0, Vec::new(), Vec::new());
    for seed in 0..runs {
        let log = rollout(seed, rate, ratio, weather, metrics, looks, 0.0);
        let verdict = judge(&log, &policy);
        let mut minutes = f64::INFINITY;
        match verdict.decision {
            Decision::Worse { since, .. } => {
                worse += 1.0;
                minutes = ((since - 100_000_000) as f64 / 60_000.0).ceil();
            }
            Decision::NotWorse { .. } => passed += 1.0,
            Decision::CannotTell { .. } => {}
        }
        times.push(minutes);
        let until = 100_000_000.0 + minutes * 60_000.0;
        let errors = log.entries.iter().filter_map(|entry| match entry {
            Entry::Sample(sample) if sample.series == 0 && sample.to as f64 <= until => match sample.outcome {
                Outcome::Counts { errors, .. } => Some(errors),
                _ => None,
            },
            _ => None,
        });
        failed.push(errors.sum::<f64>());
    }
    times.sort_by(f64::total_cmp);
    failed.sort_by(f64::total_cmp);
    let runs = runs as f64;
    Row { worse: worse / runs, passed: passed / runs, median: times[times.len() / 2], failed: failed[failed.len() / 2] }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let runs: u64 = arguments.next().and_then(|runs| runs.parse().ok()).unwrap_or(300);
    let only = arguments.next().unwrap_or_default();
    let rates = arguments
        .next()
        .and_then(|rate| rate.parse().ok())
        .map_or(vec![60.0, 600.0, 6000.0, 60_000.0], |rate| vec![rate]);
    let table = |name: &str, rate, ratio, weather, against| {
        let Row { worse, passed, median, failed } = row(runs, rate, ratio, weather, 1, 30, against);
        println!(
            "{name} {rate}/min ×{ratio} {weather:?}: worse {worse:.3}, passed {passed:.3}, median {median} min, failed {failed}"
        );
    };
    if only.is_empty() || only == "alarms" {
        for weather in [Weather::Independent, Weather::Clumped, Weather::Pods, Weather::Restarts] {
            for rate in rates.iter().copied() {
                table("alarms", rate, 1.0, weather, Against::Baseline);
            }
        }
        for weather in [Weather::Independent, Weather::Clumped] {
            for rate in rates.iter().copied() {
                table("alarms, primary", rate, 1.0, weather, Against::Primary);
            }
        }
    }
    if only.is_empty() || only == "detection" {
        for (rate, ratio) in [(60.0, 4.0), (600.0, 2.0), (600.0, 4.0), (600.0, 10.0), (6000.0, 2.0), (6000.0, 4.0)] {
            table("baseline", rate, ratio, Weather::Independent, Against::Baseline);
            table("primary", rate, ratio, Weather::Independent, Against::Primary);
        }
        table("clumped", 600.0, 4.0, Weather::Clumped, Against::Baseline);
        table("clumped", 6000.0, 4.0, Weather::Clumped, Against::Baseline);
    }
    if only.is_empty() || only == "needs" {
        needs(runs);
    }
    if only.is_empty() || only == "speed" {
        speed();
    }
}

/// How near the first estimates come to what the middle of all runs takes, at 60 requests per minute.
fn needs(runs: u64) {
    let policy = policy(1, Against::Baseline);
    for (rate, looks) in [(60.0, 900_u64), (600.0, 120)] {
        let mut took = Vec::new();
        let mut told = Vec::new();
        for seed in 0..runs.min(400) {
            let log = rollout(seed, rate, 1.0, Weather::Independent, 1, looks, 24.0 * 60.0 * rate);
            let mut judge = Judge::new(policy.clone());
            // The traffic's share rises within the first half hour, so estimates are looked at from there on.
            let mut seen = Log { series: log.series.clone(), entries: Vec::new() };
            let first = 100_000_000 + 32 * 60_000;
            seen.entries = log
                .entries
                .iter()
                .filter(|entry| !matches!(entry, Entry::Sample(s) if s.to > first))
                .cloned()
                .collect();
            judge.learn(&seen);
            if let Decision::CannotTell { needs: Some(needs), .. } = judge.verdict().decision {
                told.push(32.0 + needs.seconds / 60.0);
            }
            took.push(match judge::judge(&log, &policy).decision {
                Decision::NotWorse { since } => (since - 100_000_000) as f64 / 60_000.0,
                _ => f64::INFINITY,
            });
        }
        took.sort_by(f64::total_cmp);
        let median = took[took.len() / 2];
        let near = told.iter().filter(|told| (**told / median - 1.0).abs() <= 0.3).count() as f64 / told.len() as f64;
        told.sort_by(f64::total_cmp);
        let middle = told.get(told.len() / 2);
        println!("needs {rate}/min: took {median:.0} min, told {middle:?}, within 30 % in {near:.3} of {}", told.len());
    }
}

fn speed() {
    let log = rollout(1, 600.0, 1.0, Weather::Independent, 20, 16_667, 0.0);
    let samples = log.entries.len();
    let policy = policy(20, Against::Baseline);
    let begin = std::time::Instant::now();
    let verdict = judge(&log, &policy);
    println!("{samples} samples in {:?}: {}", begin.elapsed(), judge::explain::headline(&verdict.decision, verdict.at));
    let mut judge = Judge::new(policy);
    judge.learn(&log);
    let begin = std::time::Instant::now();
    for _ in 0..100 {
        std::hint::black_box(judge.verdict());
    }
    println!("one decision: {:?}", begin.elapsed() / 100);
}
