//! Serin's judge, given the same buckets as the rules of others, in the form in which the controller would log them.

use judge::policy::{Against, Direction, Effect, Measure, Method, Policy, Rate, Sequential};
use judge::sample::{Arm as LogArm, Entry, Event, Kind, Log, Mark, Millis, Outcome, Sample, Series};

use super::{Answer, Metric, Rule, Watch};
use crate::stream::{Arm, BUCKET_SECONDS, BOUNDS, Bucket};

/// When all rollouts of the study begin.
const BEGIN: Millis = 1_700_000_000_000;

/// The judge with a policy.
#[derive(Clone, Debug)]
pub struct Serin {
    /// The name in tables.
    pub name: String,
    /// What is read off the arms, one per metric of the policy and in its order.
    pub metrics: Vec<Metric>,
    /// What the canary is compared with.
    pub against: Against,
    /// What it is judged by.
    pub policy: Policy,
}

impl Serin {
    /// The sequential method on these metrics, each `effect` times the reference or more being too much.
    pub fn sequential(name: &str, metrics: &[Metric], against: Against, alpha: f64, effect: f64) -> anyhow::Result<Serin> {
        let named = metrics.iter().enumerate().map(|(place, metric)| {
            let measure = match metric {
                Metric::ErrorRatio => Measure::Errors,
                Metric::P99 => Measure::Quantile(Rate::try_from(0.99)?),
            };
            let rule = Sequential::new(measure, Direction::Higher, against, Effect::new(effect, 0.0)?)?;
            let weight = judge::policy::Weight::try_from(1.0)?;
            Ok(judge::policy::Metric { name: metric_name(place), weight, method: Method::Sequential(rule) })
        });
        let mut policy = Policy::new(named.collect::<Result<_, judge::policy::Wrong>>()?)?;
        policy.false_alarm_rate = Rate::try_from(alpha)?;
        // An old arm has no young pods, so those of the canary say nothing beside it.
        policy.warm_up = if against == Against::Baseline { 0 } else { 60_000 };
        Ok(Serin { name: name.to_owned(), metrics: metrics.to_vec(), against, policy })
    }

    /// An empty log with the series of this policy.
    fn series(&self) -> Vec<Series> {
        let arms = [LogArm::Canary, LogArm::Baseline, LogArm::Primary];
        let of = |(place, metric): (usize, &Metric)| {
            let kind = match metric {
                Metric::ErrorRatio => Kind::Counts,
                Metric::P99 => Kind::Histogram { edges: BOUNDS.to_vec() },
            };
            arms.map(|arm| Series { metric: metric_name(place), arm, kind: kind.clone(), query: String::new() })
        };
        self.metrics.iter().enumerate().flat_map(of).collect()
    }

    /// What is learnt at the end of a bucket, one stream per metric.
    fn entries(&self, streams: &[&Bucket], before: u8, entries: &mut Vec<Entry>) {
        let Some(bucket) = streams.first() else { return };
        let (from, to) = (BEGIN + Millis::from(bucket.at - BUCKET_SECONDS) * 1000, BEGIN + Millis::from(bucket.at) * 1000);
        if bucket.weight != before {
            let share = f64::from(bucket.weight) / 100.0;
            let events = [
                Event::Split { canary: share, baseline: share },
                Event::Restarted(LogArm::Canary),
                Event::Restarted(LogArm::Baseline),
            ];
            entries.extend(events.map(|what| Entry::Mark(Mark { at: from, what })));
        }
        for (place, (bucket, metric)) in streams.iter().zip(&self.metrics).enumerate() {
            for (arm, counts) in [&bucket.canary, &bucket.baseline, &bucket.primary].into_iter().enumerate() {
                let series = (3 * place + arm) as u32;
                let outcome = outcome(*metric, counts);
                entries.push(Entry::Sample(Sample { series, from, to, asked: to, newest: Some(to), outcome }));
            }
        }
    }

    /// The log of a rollout, one stream per metric.
    pub fn log(&self, streams: &[&[Bucket]]) -> Log {
        let mut log = Log { series: self.series(), entries: vec![started()] };
        let mut weight = 0;
        for number in 0..streams.first().map_or(0, |stream| stream.len()) {
            let now: Vec<&Bucket> = streams.iter().map(|stream| &stream[number]).collect();
            self.entries(&now, weight, &mut log.entries);
            weight = now[0].weight;
        }
        log
    }
}

fn metric_name(place: usize) -> String {
    format!("metric-{place}")
}

fn started() -> Entry {
    Entry::Mark(Mark { at: BEGIN, what: Event::Started })
}

fn outcome(metric: Metric, arm: &Arm) -> Outcome {
    match metric {
        Metric::ErrorRatio => Outcome::Counts { requests: f64::from(arm.requests), errors: f64::from(arm.errors) },
        Metric::P99 => Outcome::Histogram { counts: arm.latency.iter().copied().map(f64::from).collect(), sum: None },
    }
}
