//! PipeCD: every five minutes a Mann–Whitney test at 5 % on the last five minutes alone, upwards, against the baseline; more
//! failures than the limit end the rollout. Looks before are not counted against it.

use super::mann_whitney::chance_of_greater;
use super::{Answer, Metric, Minutes, Stepwise, Watch};
use crate::stream::Bucket;

const ALPHA: f64 = 0.05; // fixed in its source
const INTERVAL: usize = 5;

/// PipeCD's rule.
#[derive(Clone, Copy, Debug)]
pub struct PipeCd {
    /// What is compared.
    pub metric: Metric,
    /// How many failures are let pass.
    pub failure_limit: u32,
}

impl PipeCd {
    /// Whether these points pass. Two empty arms do, and so do points that are all the same; one empty arm does not.
    fn passes(canary: &[f64], baseline: &[f64]) -> bool {
        match (canary.is_empty(), baseline.is_empty()) {
            (true, true) => true,
            (true, false) | (false, true) => false,
            (false, false) => chance_of_greater(canary, baseline).is_none_or(|chance| chance > ALPHA),
        }
    }
}

impl Stepwise for PipeCd {
    fn name(&self) -> String {
        format!("PipeCD, failureLimit {}", self.failure_limit)
    }

    fn begin(&self) -> Box<dyn Watch> {
        Box::new(Watching { rule: *self, minutes: Minutes::default(), points: Default::default(), seen: 0, failed: 0 })
    }
}

struct Watching {
    rule: PipeCd,
    minutes: Minutes,
    points: (Vec<f64>, Vec<f64>),
    seen: usize,
    failed: u32,
}

impl Watch for Watching {
    fn look(&mut self, bucket: &Bucket) -> Answer {
        let Some(minute) = self.minutes.add(bucket) else { return Answer::GoOn };
        self.points.0.extend(self.rule.metric.of(&minute.canary));
        self.points.1.extend(self.rule.metric.of(&minute.baseline));
        self.seen += 1;
        if self.seen.is_multiple_of(INTERVAL) {
            self.failed += u32::from(!PipeCd::passes(&self.points.0, &self.points.1));
            self.points.0.clear();
            self.points.1.clear();
        }
        if self.failed > self.rule.failure_limit { Answer::Worse } else { Answer::GoOn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::{minutes, play};

    #[test]
    fn its_own_vectors() {
        let (low, high) = ([0.1, 0.2, 0.3, 0.4, 0.5], [10.1, 10.2, 10.3, 10.4, 10.5]);
        assert!(!PipeCd::passes(&[], &low));
        assert!(PipeCd::passes(&[], &[]));
        assert!(PipeCd::passes(&low, &low), "no significance");
        assert!(!PipeCd::passes(&high, &low), "up, and up is looked for");
        assert!(PipeCd::passes(&low, &high), "down, and up is looked for");
        assert!(PipeCd::passes(&[0.0; 5], &[0.0; 5]), "all the same");
    }

    #[test]
    fn the_second_failure_ends_it_at_ten_minutes() {
        let canary: Vec<(u32, u32)> = (0..30).map(|minute| (1000, 40 + minute)).collect();
        let baseline: Vec<(u32, u32)> = (0..30).map(|minute| (1000, 5 + minute % 5)).collect();
        assert_eq!(
            play(&PipeCd { metric: Metric::ErrorRatio, failure_limit: 1 }, &minutes(&canary, &baseline)),
            Some(10)
        );
    }
}
