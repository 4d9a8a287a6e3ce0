//! Serin's judge, given the same buckets as the rules of others, in the form in which the controller would log them.

use judge::Judge;
use judge::policy::{Against, Direction, Effect, Measure, Method, Policy, Rate, Sequential};
use judge::sample::{Arm as LogArm, Entry, Event, Kind, Log, Mark, Millis, Outcome, Sample, Series};
use judge::verdict::{Decision, Verdict};

use super::{Answer, Metric, Rule};
use crate::stream::{Arm, BOUNDS, BUCKET_SECONDS, Bucket};

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
    pub fn sequential(
        name: &str,
        metrics: &[Metric],
        against: Against,
        alpha: f64,
        effect: f64,
    ) -> anyhow::Result<Serin> {
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
        let (from, to) = (moment(bucket.at - BUCKET_SECONDS), moment(bucket.at));
        if entries.is_empty() {
            // What follows and is older is how things usually are.
            entries.push(Entry::Mark(Mark { at: BEGIN, what: Event::Started }));
        }
        if bucket.weight != before {
            let share = f64::from(bucket.weight) / 100.0;
            let events = [
                Event::Split { canary: share, baseline: share },
                Event::Restarted(LogArm::Canary),
                Event::Restarted(LogArm::Baseline),
            ];
            entries.extend(events.map(|what| Entry::Mark(Mark { at: from, what })));
        }
        // In history there is nobody but the primary.
        let arms = if bucket.at > 0 { 0..3 } else { 2..3 };
        for (place, (bucket, metric)) in streams.iter().zip(&self.metrics).enumerate() {
            for arm in arms.clone() {
                let counts = [&bucket.canary, &bucket.baseline, &bucket.primary][arm];
                let series = (3 * place + arm) as u32;
                let outcome = outcome(*metric, counts);
                entries.push(Entry::Sample(Sample { series, from, to, asked: to, newest: Some(to), outcome }));
            }
        }
    }

    /// The log of a rollout, one stream per metric.
    pub fn log(&self, streams: &[&[Bucket]]) -> Log {
        let mut log = Log { series: self.series(), entries: Vec::new() };
        let mut weight = 0;
        for number in 0..streams.first().map_or(0, |stream| stream.len()) {
            let now: Vec<&Bucket> = streams.iter().map(|stream| &stream[number]).collect();
            self.entries(&now, weight, &mut log.entries);
            weight = now[0].weight;
        }
        log
    }
}

impl Serin {
    /// Shows streams to the judge bucket by bucket, and every so many of them what follows to `each`, until that says no.
    pub fn watch(&self, streams: &[&[Bucket]], every: usize, mut each: impl FnMut(i32, &Verdict) -> bool) {
        let whole = self.log(streams);
        let mut log = Log { series: whole.series, entries: Vec::with_capacity(whole.entries.len()) };
        let mut judge = Judge::new(self.policy.clone());
        let mut looks = 0_usize;
        let mut entries = whole.entries.into_iter().peekable();
        while let Some(entry) = entries.next() {
            let asked = |entry: &Entry| match entry {
                Entry::Sample(sample) => Some(sample.asked),
                Entry::Mark(_) => None,
            };
            let at = asked(&entry);
            log.entries.push(entry);
            let Some(at) = at.filter(|at| *at > BEGIN && entries.peek().and_then(asked) != Some(*at)) else { continue };
            looks += 1;
            if looks.is_multiple_of(every) {
                judge.learn(&log);
                if !each(((at - BEGIN) / 1000) as i32, &judge.verdict()) {
                    return;
                }
            }
        }
    }

    /// When this answer was given first, in seconds.
    pub fn first(&self, streams: &[&[Bucket]], wanted: Answer) -> Option<i32> {
        let mut found = None;
        self.watch(streams, 1, |at, verdict| {
            found = (answer(verdict) == wanted).then_some(at);
            found.is_none()
        });
        found
    }

    /// What the judge makes of all of it in the end.
    pub fn verdict(&self, streams: &[&[Bucket]]) -> Verdict {
        judge::judge(&self.log(streams), &self.policy)
    }
}

/// A verdict as the answer of a rule.
pub fn answer(verdict: &Verdict) -> Answer {
    match verdict.decision {
        Decision::Worse { .. } => Answer::Worse,
        Decision::NotWorse { .. } => Answer::NotWorse,
        Decision::CannotTell { .. } => Answer::GoOn,
    }
}

/// The seconds that an open verdict says are still needed.
pub fn needs_seconds(verdict: &Verdict) -> Option<f64> {
    match &verdict.decision {
        Decision::CannotTell { needs, .. } => needs.as_ref().map(|needs| needs.seconds),
        Decision::Worse { .. } | Decision::NotWorse { .. } => None,
    }
}

impl Rule for Serin {
    fn name(&self) -> String {
        self.name.clone()
    }

    /// A verdict stands once it is given and says since when, so that one look at the end tells what all looks would have said.
    fn play(&self, buckets: &[Bucket]) -> Option<(Answer, i32)> {
        let streams = vec![buckets; self.metrics.len()];
        match self.verdict(&streams).decision {
            Decision::Worse { since, .. } => Some((Answer::Worse, seconds(since))),
            Decision::NotWorse { since } => Some((Answer::NotWorse, seconds(since))),
            Decision::CannotTell { .. } => None,
        }
    }
}

fn seconds(moment: Millis) -> i32 {
    (moment.saturating_sub(BEGIN) / 1000) as i32
}

fn metric_name(place: usize) -> String {
    format!("metric-{place}")
}

fn moment(seconds: i32) -> Millis {
    BEGIN.saturating_add_signed(i64::from(seconds) * 1000)
}

fn outcome(metric: Metric, arm: &Arm) -> Outcome {
    match metric {
        Metric::ErrorRatio => Outcome::Counts { requests: f64::from(arm.requests), errors: f64::from(arm.errors) },
        Metric::P99 => Outcome::Histogram { counts: arm.latency.iter().copied().map(f64::from).collect(), sum: None },
    }
}
