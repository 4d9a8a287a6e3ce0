//! The field: the rules of others as they come and as they are once tuned, and the judge.

use judge::policy::Against;

use crate::rules::{Answer, Argo, Flagger, Kayenta, Metric, PipeCd, Rule, Serin};
use crate::stream::{Bucket, Generator};
use crate::tournament::tune;

/// The share of good releases that a tuned rule may take back.
pub(super) const TUNED: f64 = 0.05;

/// What a user would set as Flagger's and Argo's threshold, for 0.5 % errors and a p99 of 421 ms on an ordinary day.
pub(super) fn threshold(metric: Metric) -> f64 {
    match metric {
        Metric::ErrorRatio => 0.01,
        Metric::P99 => 0.5,
    }
}

/// The rules of others as they come.
pub(super) fn usual(metric: Metric) -> Vec<Box<dyn Rule>> {
    let max = threshold(metric);
    vec![
        Box::new(Flagger { metric, max, threshold: 5 }),
        Box::new(Argo { metric, max, failure_limit: 0 }),
        Box::new(PipeCd { metric, failure_limit: 1 }),
        Box::new(Kayenta::usual(metric)),
    ]
}

/// Flagger's rule with the lowest threshold that takes back at most this share of good releases.
pub(super) fn tuned_flagger(good: &Generator, metric: Metric, rollouts: u64, share: f64) -> Flagger {
    let lowest = threshold(metric) / 4.0;
    let grid = (0..160).map(|step| Flagger { metric, max: lowest * 1.03_f64.powi(step), threshold: 5 }).collect();
    tune(good, rollouts, share, grid)
}

/// Kayenta's rule with the narrowest interval that takes back at most 5 % of good releases.
pub(super) fn tuned_kayenta(good: &Generator, metric: Metric, rollouts: u64) -> Kayenta {
    let grid = (0..40).map(|step| Kayenta { z: 0.4 + 0.05 * f64::from(step), ..Kayenta::usual(metric) }).collect();
    tune(good, rollouts, TUNED, grid)
}

/// A rule under another name.
pub(super) struct Named<R>(pub(super) &'static str, pub(super) R);

impl<R: Rule> Rule for Named<R> {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn play(&self, buckets: &[Bucket]) -> Option<(Answer, i32)> {
        self.1.play(buckets)
    }
}

/// The smallest effect that matters in the study: half as much again would be too much to promise at these rates, twice as much
/// is what nobody would let pass.
pub(super) const EFFECT: f64 = 1.0;

/// The judge against its baseline on these metrics.
pub(super) fn sequential(metrics: &[Metric], alpha: f64) -> anyhow::Result<Serin> {
    Serin::sequential(&format!("Serin, α {alpha}"), metrics, Against::Baseline, alpha, EFFECT)
}

/// The judge, its usual setting first.
pub(super) fn judge(metric: Metric, alpha: f64) -> anyhow::Result<Vec<Box<dyn Rule>>> {
    let primary = format!("Serin beside the primary, α {alpha}");
    Ok(vec![
        Box::new(sequential(&[metric], alpha)?),
        Box::new(Serin::sequential(&primary, &[metric], Against::Primary, alpha, EFFECT)?),
    ])
}

/// The field on errors and latencies at once, the judge first: a release is taken back if either is worse.
pub(super) fn both_metrics() -> anyhow::Result<Vec<Box<dyn Rule>>> {
    let judge = sequential(&[Metric::ErrorRatio, Metric::P99], 0.05)?;
    let others = usual(Metric::ErrorRatio).into_iter().zip(usual(Metric::P99));
    let others = others.map(|(errors, latency)| -> Box<dyn Rule> { Box::new(Either(errors, latency)) });
    Ok(std::iter::once(Box::new(judge) as Box<dyn Rule>).chain(others).collect())
}

/// Two rules, of which one is enough to take a release back.
struct Either(Box<dyn Rule>, Box<dyn Rule>);

impl Rule for Either {
    fn name(&self) -> String {
        if self.0.name() == self.1.name() { self.0.name() } else { format!("{}, {}", self.0.name(), self.1.name()) }
    }

    fn play(&self, buckets: &[Bucket]) -> Option<(Answer, i32)> {
        let worse = |rule: &dyn Rule| rule.play(buckets).filter(|(answer, _)| *answer == Answer::Worse);
        [worse(self.0.as_ref()), worse(self.1.as_ref())].into_iter().flatten().min_by_key(|(_, at)| *at)
    }
}
